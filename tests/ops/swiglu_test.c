/* swiglu_activation of both sets against float64: h and every gradient, h given back, inference that
 * keeps nothing, the same bits on one, two and three threads, also of one row, memory as planned. */
#include "ops/linear_help.h"

enum { ROWS = 45, HIDDEN = 64, FFN = 96, RANK = 8 };

typedef struct problem {
    const test_setting *setting;
    layer gate, up;
    tensor x, dh;
    void *dh_used;     /* a copy of dh: the op may overwrite it */
    void *h, *h_again; /* h_again NULL: backward gives h over dh */
    float *dx;
    bool backward, accumulate;
} problem;

static void forward_backward(hone_ctx *ctx, void *argument) {
    problem *p = argument;
    hone_saved saved = {{0}};
    hone_swiglu_args args = {.rows = ROWS,
                             .gate = &p->gate.linear,
                             .up = &p->up.linear,
                             .x = p->x.data,
                             .h = p->h,
                             .dh = p->dh_used,
                             .dx = p->dx,
                             .accumulate = p->accumulate};
    const hone_op_set *set = p->setting->set;
    set->swiglu_activation_forward(ctx, &args, p->backward ? &saved : NULL);
    if (!p->backward) return;
    args.h = p->h_again != NULL ? p->h_again : p->dh_used;
    set->swiglu_activation_backward(ctx, &args, &saved);
}

static problem problem_new(const test_setting *setting, bool accumulate) {
    hone_rng rng = hone_rng_make(11);
    problem p = {.setting = setting, .backward = true, .accumulate = accumulate};
    p.gate = layer_new(HIDDEN, FFN, RANK, HONE_Q4_1, 1);
    p.up = layer_new(HIDDEN, FFN, RANK, HONE_Q8_0, 2);
    p.x = tensor_new(setting->compute, ROWS * HIDDEN, 0.3, &rng);
    p.dh = tensor_new(setting->compute, ROWS * FFN, 1, &rng);
    p.dh_used = malloc(ROWS * FFN * sizeof(float));
    p.h = malloc(ROWS * FFN * sizeof(float));
    if (!accumulate) p.h_again = malloc(ROWS * FFN * sizeof(float));
    p.dx = malloc(ROWS * HIDDEN * sizeof(float));
    return p;
}

static void problem_free(problem *p) {
    layer_free(&p->gate);
    layer_free(&p->up);
    tensor_free(&p->x);
    tensor_free(&p->dh);
    free(p->dh_used);
    free(p->h);
    free(p->h_again);
    free(p->dx);
}

static void run(problem *p, int threads) {
    size_t bytes = ROWS * FFN * element_bytes(p->setting->compute);
    layer_reset(&p->gate);
    layer_reset(&p->up);
    memcpy(p->dh_used, p->dh.data, bytes);
    memset(p->h, 0xff, bytes);
    if (p->h_again != NULL) memset(p->h_again, 0xff, bytes);
    for (size_t i = 0; i < ROWS * HIDDEN; i++) p->dx[i] = p->accumulate ? 2.0f : NAN;
    run_step(p->setting, threads, forward_backward, p);
}

static void compare(problem *p) {
    double gate[ROWS * FFN] = {0}, up[ROWS * FFN] = {0}, h[ROWS * FFN], dx[ROWS * HIDDEN];
    double dgate[ROWS * FFN], dup[ROWS * FFN], unused[ROWS * FFN] = {0};
    layer_reference(&p->gate, ROWS, p->x.values, gate, NULL, NULL);
    layer_reference(&p->up, ROWS, p->x.values, up, NULL, NULL);
    for (size_t i = 0; i < ROWS * FFN; i++) {
        double s = 1 / (1 + exp(-gate[i])), dh = p->dh.values[i];
        h[i] = gate[i] * s * up[i];
        dgate[i] = dh * up[i] * s * (1 + gate[i] * (1 - s));
        dup[i] = dh * gate[i] * s;
    }
    for (size_t i = 0; i < ROWS * HIDDEN; i++) dx[i] = p->accumulate ? 2 : 0;
    layer_reference(&p->gate, ROWS, p->x.values, unused, dgate, dx);
    layer_reference(&p->up, ROWS, p->x.values, unused, dup, dx);
    double bound = 2 * norm_bound(p->setting->compute);
    check_norm("h", p->h, p->setting->compute, h, ROWS * FFN, bound);
    const void *again = p->h_again != NULL ? p->h_again : p->dh_used;
    check_norm("h again", again, p->setting->compute, h, ROWS * FFN, bound);
    check_norm("dx", p->dx, HONE_F32, dx, ROWS * HIDDEN, bound);
    layer_check(&p->gate, bound);
    layer_check(&p->up, bound);
}

static void values(const test_setting *setting) {
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        problem p = problem_new(setting, accumulate);
        run(&p, 2);
        compare(&p);
        problem_free(&p);
    }
}

static void test_values(void **state) {
    (void)state;
    each_setting(values);
}

static void threads(const test_setting *setting) {
    problem p = problem_new(setting, false);
    size_t bytes = ROWS * FFN * element_bytes(setting->compute);
    run(&p, 1);
    void *h = memcpy(malloc(bytes), p.h, bytes);
    float *dx = memcpy(malloc(sizeof(float) * ROWS * HIDDEN), p.dx, sizeof(float) * ROWS * HIDDEN);
    float *da =
        memcpy(malloc(sizeof(float) * RANK * HIDDEN), p.gate.da, sizeof(float) * RANK * HIDDEN);
    for (int n = 2; n <= 3; n++) {
        run(&p, n);
        assert_memory_equal(h, p.h, bytes);
        assert_memory_equal(dx, p.dx, sizeof(float) * ROWS * HIDDEN);
        assert_memory_equal(da, p.gate.da, sizeof(float) * RANK * HIDDEN);
    }
    p.backward = false; /* nothing kept: the same h */
    run(&p, 2);
    assert_memory_equal(h, p.h, bytes);
    free(h);
    free(dx);
    free(da);
    problem_free(&p);
}

static void test_same_bits(void **state) {
    (void)state;
    each_setting(threads);
}

/* One row, whose gate and up do not wait for each other. */
enum { TIMES = 20, WIDE = 600 };
typedef struct one_row {
    const test_setting *setting;
    layer gate, up;
    tensor x;
    void *h;
} one_row;

static void forward_often(hone_ctx *ctx, void *argument) {
    one_row *p = argument;
    hone_swiglu_args args = {
        .rows = 1, .gate = &p->gate.linear, .up = &p->up.linear, .x = p->x.data, .h = p->h};
    for (int time = 0; time < TIMES; time++) {
        p->setting->set->swiglu_activation_forward(ctx, &args, NULL);
        assert_false(ctx->independent);
    }
}

static void rows_alone(const test_setting *setting) {
    hone_rng rng = hone_rng_make(5);
    one_row p = {.setting = setting};
    size_t bytes = WIDE * element_bytes(setting->compute);
    p.gate = layer_new(HIDDEN, WIDE, 0, HONE_Q4_1, 1);
    p.up = layer_new(HIDDEN, WIDE, 0, HONE_Q8_0, 2);
    p.x = tensor_new(setting->compute, HIDDEN, 0.3, &rng);
    void *first = malloc(bytes);
    for (int n = 1; n <= 3; n++) {
        p.h = calloc(WIDE, sizeof(float));
        run_step(setting, n, forward_often, &p);
        if (n == 1) memcpy(first, p.h, bytes);
        assert_memory_equal(first, p.h, bytes);
        free(p.h);
    }
    free(first);
    tensor_free(&p.x);
    layer_free(&p.gate);
    layer_free(&p.up);
}

static void test_one_row(void **state) {
    (void)state;
    each_setting(rows_alone);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_one_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
