/* lora_linear of both sets against float64: values and every gradient, every weight type, frozen
 * parts, accumulation, the same bits on one, two and three threads, also of layers that do not wait for each other,
 * memory as planned. */
#include "ops/linear_help.h"
#include "ops/watch.h"

typedef struct problem {
    const test_setting *setting;
    layer *layer;
    size_t rows;
    tensor x, dy;
    void *y, *dx;
    hone_dtype y_dtype, dx_dtype;
    bool accumulate, want_dx, backward;
} problem;

static void forward_backward(hone_ctx *ctx, void *argument) {
    problem *p = argument;
    hone_saved saved = {{0}};
    hone_lora_linear_args args = {.rows = p->rows,
                                  .linear = &p->layer->linear,
                                  .x = p->x.data,
                                  .y = p->y,
                                  .y_dtype = p->y_dtype,
                                  .accumulate = p->accumulate,
                                  .dy = p->dy.data,
                                  .dx = p->want_dx ? p->dx : NULL,
                                  .dx_dtype = p->dx_dtype,
                                  .dx_accumulate = p->accumulate};
    p->setting->set->lora_linear_forward(ctx, &args, p->backward ? &saved : NULL);
    if (p->backward) p->setting->set->lora_linear_backward(ctx, &args, &saved);
}

static void run(problem *p, int threads) {
    layer_reset(p->layer);
    size_t y_bytes = p->rows * p->layer->out * element_bytes(p->y_dtype);
    size_t dx_bytes = p->rows * p->layer->in * element_bytes(p->dx_dtype);
    memset(p->y, p->accumulate ? 0 : 0xff, y_bytes);
    memset(p->dx, p->accumulate ? 0 : 0xff, dx_bytes);
    run_step(p->setting, threads, forward_backward, p);
}

static void compare(problem *p) {
    layer *l = p->layer;
    double *y = calloc(p->rows * l->out, sizeof *y), *dx = calloc(p->rows * l->in, sizeof *dx);
    layer_reference(l, p->rows, p->x.values, y, p->dy.values, dx);
    double bound = norm_bound(p->setting->compute);
    check_norm("y", p->y, p->y_dtype, y, p->rows * l->out, bound);
    check_norm("dx", p->dx, p->dx_dtype, dx, p->rows * l->in, bound);
    layer_check(l, bound);
    free(y);
    free(dx);
}

static problem problem_new(const test_setting *setting, layer *l, size_t rows, bool accumulate) {
    hone_rng rng = hone_rng_make(rows + l->in);
    problem p = {.setting = setting,
                 .layer = l,
                 .rows = rows,
                 .accumulate = accumulate,
                 .want_dx = true,
                 .backward = true};
    p.y_dtype = p.dx_dtype = accumulate ? HONE_F32 : setting->compute;
    p.x = tensor_new(setting->compute, rows * l->in, 1, &rng);
    p.dy = tensor_new(setting->compute, rows * l->out, 1, &rng);
    p.y = malloc(rows * l->out * sizeof(float));
    p.dx = malloc(rows * l->in * sizeof(float));
    return p;
}

static void problem_free(problem *p) {
    tensor_free(&p->x);
    tensor_free(&p->dy);
    free(p->y);
    free(p->dx);
}

static void gradients(const test_setting *setting) {
    static const struct {
        size_t rows, in, out, rank;
        hone_dtype dtype;
    } shapes[] = {{33, 96, 70, 8, HONE_Q4_1},    {64, 64, 192, 16, HONE_Q8_0},
                  {1, 32, 17, 3, HONE_F32},      {50, 45, 31, 1, HONE_BF16},
                  {17, 64, 48, 0, HONE_AFFINE4}, {20, 128, 33, 8, HONE_Q4_0},
                  {40, 77, 5, 4, HONE_F16}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        layer l = layer_new(shapes[i].in, shapes[i].out, shapes[i].rank, shapes[i].dtype, i);
        problem p = problem_new(setting, &l, shapes[i].rows, i % 2 == 1);
        run(&p, 2);
        compare(&p);
        problem_free(&p);
        layer_free(&l);
    }
}

static void test_gradients(void **state) {
    (void)state;
    each_setting(gradients);
}

static void threads(const test_setting *setting) {
    layer l = layer_new(160, 130, 8, HONE_Q4_1, 3);
    problem p = problem_new(setting, &l, 75, false);
    void *bits[5] = {p.y, p.dx, l.da, l.db, l.dw};
    size_t bytes[5] = {75 * 130 * element_bytes(setting->compute),
                       75 * 160 * element_bytes(setting->compute), 8 * 160 * 4, 8 * 130 * 4,
                       160 * 130 * 4};
    void *first[5];
    run(&p, 1);
    for (int i = 0; i < 5; i++) first[i] = memcpy(malloc(bytes[i]), bits[i], bytes[i]);
    for (int n = 2; n <= 3; n++) {
        run(&p, n);
        for (int i = 0; i < 5; i++) assert_memory_equal(first[i], bits[i], bytes[i]);
    }
    for (int i = 0; i < 5; i++) free(first[i]);
    problem_free(&p);
    layer_free(&l);
}

static void test_same_bits(void **state) {
    (void)state;
    each_setting(threads);
}

/* Frozen parts keep no memory, get no gradient and change no other result. */
static void frozen(const test_setting *setting) {
    layer l = layer_new(96, 64, 8, HONE_Q4_1, 5);
    problem p = problem_new(setting, &l, 40, false);
    run(&p, 2);
    float *dx =
        memcpy(malloc(40 * 96 * sizeof *dx), p.dx, 40 * 96 * element_bytes(setting->compute));
    l.linear.dweight = NULL;
    l.linear.dbias = NULL;
    l.linear.lora.da = NULL;
    l.linear.lora.db = NULL;
    run(&p, 2);
    assert_memory_equal(dx, p.dx, 40 * 96 * element_bytes(setting->compute));
    for (size_t i = 0; i < 8 * 96; i++) assert_true(l.da[i] == 1);
    for (size_t i = 0; i < 8 * 64; i++) assert_true(l.db[i] == 1);
    for (size_t i = 0; i < 96 * 64; i++) assert_true(l.dw[i] == 1);
    p.want_dx = false;
    run(&p, 2);
    for (size_t i = 0; i < 40 * 96; i++) assert_true(isnan(dense_get(p.dx, p.dx_dtype, i)));
    p.backward = false;
    run(&p, 2);
    free(dx);
    problem_free(&p);
    layer_free(&l);
}

static void test_frozen(void **state) {
    (void)state;
    each_setting(frozen);
}

/* Layers over the same rows, the team not meeting after the first ones; y of each. */
enum { LAYERS = 3, TIMES = 20 };
typedef struct row_of_layers {
    const test_setting *setting;
    const hone_op_set *set; /* the setting's, or one that watches it and spoils y */
    layer *layers[LAYERS];
    tensor x;
    size_t rows;
    void *y[LAYERS];
    bool independent;
} row_of_layers;

static void forward_all(hone_ctx *ctx, void *argument) {
    row_of_layers *p = argument;
    for (int time = 0; time < TIMES; time++) {
        for (int i = 0; i < LAYERS; i++) {
            hone_lora_linear_args args = {.rows = p->rows,
                                          .linear = &p->layers[i]->linear,
                                          .x = p->x.data,
                                          .y = p->y[i],
                                          .y_dtype = p->setting->compute};
            bool independent = p->independent && i + 1 < LAYERS;
            ctx->independent = independent;
            ctx->ops = p->set;
            p->set->lora_linear_forward(ctx, &args, NULL);
            assert_true(ctx->independent == independent);
        }
    }
}

/* One row of x and several, with adapters, whose scratch is shared, and without. */
static void independent(const test_setting *setting) {
    for (size_t kind = 0; kind < 8; kind++) {
        hone_watch watch;
        hone_rng rng = hone_rng_make(kind);
        size_t rank = kind % 2 * 8, rows = 1 + kind / 2 % 2 * 8, in = 96,
               out[LAYERS] = {200, 33, 65};
        row_of_layers p = {.setting = setting, .set = setting->set, .rows = rows};
        hone_watch_start(&watch, setting->set, HONE_OP_lora_linear);
        if (kind >= 4) p.set = &watch.ops;
        layer layers[LAYERS];
        void *want[LAYERS];
        p.x = tensor_new(setting->compute, rows * in, 1, &rng);
        for (int i = 0; i < LAYERS; i++) {
            layers[i] = layer_new(in, out[i], rank, HONE_Q4_1, (uint64_t)i);
            p.layers[i] = &layers[i];
            p.y[i] = calloc(rows * out[i], sizeof(float));
        }
        run_step(setting, 1, forward_all, &p);
        for (int i = 0; i < LAYERS; i++) {
            want[i] = p.y[i];
            p.y[i] = calloc(rows * out[i], sizeof(float));
        }
        p.independent = true;
        for (int n = 1; n <= 3; n++) {
            run_step(setting, n, forward_all, &p);
            for (int i = 0; i < LAYERS; i++) {
                size_t bytes = rows * out[i] * element_bytes(setting->compute);
                assert_memory_equal(want[i], p.y[i], bytes);
                memset(p.y[i], 0, bytes);
            }
        }
        for (int i = 0; i < LAYERS; i++) {
            free(want[i]);
            free(p.y[i]);
            layer_free(&layers[i]);
        }
        tensor_free(&p.x);
    }
}

static void test_independent(void **state) {
    (void)state;
    each_setting(independent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
