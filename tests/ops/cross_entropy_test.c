/* Cross-entropy: of given logits (both sets), and fused with its linear layer, against the float64 oracle. */
#include "ops/ops_help.h"

#include "kernels/ref/ref.h"

typedef struct linear_problem {
    size_t rows, hidden, vocab, rank;
    bool bias, weights, only_loss;
    int ignore_every; /* 0: none; 1: all */
    double magnitude;
} linear_problem;

typedef struct linear_tensors {
    linear_problem p;
    hone_dtype compute;
    double *x, *w, *bias, *a, *b;
    double *loss, *dx, *dw, *dbias, *da, *db; /* the oracle's */
    int32_t *labels;
    hone_linear head;
    hone_linear_cross_entropy_args args;
} linear_tensors;

static const double scale = 0.125;

static void oracle(linear_tensors *t) {
    const linear_problem *p = &t->p;
    hone_ref_linear l = {.in = p->hidden,
                         .out = p->vocab,
                         .rank = p->rank,
                         .w = t->w,
                         .bias = t->bias,
                         .scale = 0.5,
                         .a = t->a,
                         .b = t->b};
    double *logits = ops_doubles(p->rows * p->vocab), *dlogits = ops_doubles(p->rows * p->vocab);
    assert_true(hone_ref_linear_forward(&l, p->rows, t->x, logits));
    hone_ref_cross_entropy_forward(p->rows, p->vocab, logits, t->labels, t->loss);
    hone_ref_cross_entropy_backward(p->rows, p->vocab, logits, t->labels, scale, dlogits);
    hone_ref_linear_gradients g = {
        .dw = t->dw, .dbias = p->bias ? t->dbias : NULL, .da = t->da, .db = t->db};
    assert_true(hone_ref_linear_backward(&l, p->rows, t->x, dlogits, t->dx, &g));
    free(logits), free(dlogits);
}

static void make(linear_tensors *t, const linear_problem *p, hone_dtype compute) {
    *t = (linear_tensors){.p = *p, .compute = compute};
    hone_rng rng = hone_rng_make(3);
    size_t wide = p->rank > 0 ? p->rank : 1;
    t->x = ops_random(&rng, compute, p->rows * p->hidden, 1.0);
    t->w = ops_random(&rng, compute, p->vocab * p->hidden, p->magnitude);
    t->bias = p->bias ? ops_random(&rng, HONE_F32, p->vocab, 1.0) : NULL;
    t->a = ops_random(&rng, compute, wide * p->hidden, 0.3);
    t->b = ops_random(&rng, compute, p->vocab * wide, 0.3);
    t->labels = calloc(p->rows + 1, sizeof *t->labels);
    for (size_t r = 0; r < p->rows; r++) {
        t->labels[r] = (int32_t)hone_rng_below(&rng, p->vocab);
        if (p->ignore_every > 0 && r % (size_t)p->ignore_every == 0) t->labels[r] = HONE_IGNORE;
    }
    t->loss = ops_doubles(p->rows);
    t->dx = ops_doubles(p->rows * p->hidden);
    t->dw = ops_doubles(p->vocab * p->hidden);
    t->dbias = ops_doubles(p->vocab);
    t->da = ops_doubles(wide * p->hidden);
    t->db = ops_doubles(p->vocab * wide);
    oracle(t);
}

static float *ones(size_t n) {
    float *x = malloc(n * sizeof *x + 1);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) x[i] = 1;
    return x;
}

/* Gradients of the head start at 1: they are added to. */
static void make_args(linear_tensors *t) {
    const linear_problem *p = &t->p;
    t->head = (hone_linear){
        .weight = hone_matrix_dense(ops_typed(t->compute, p->vocab * p->hidden, t->w), t->compute,
                                    p->vocab, p->hidden),
        .bias = p->bias ? ops_typed(HONE_F32, p->vocab, t->bias) : NULL,
        .lora = {.rank = (int)p->rank,
                 .scale = 0.5f,
                 .a = ops_typed(HONE_F32, p->rank * p->hidden, t->a),
                 .b = ops_typed(HONE_F32, p->vocab * p->rank, t->b)},
    };
    if (p->weights) {
        t->head.dweight = ones(p->vocab * p->hidden);
        t->head.dbias = p->bias ? ones(p->vocab) : NULL;
        t->head.lora.da = ones(p->rank * p->hidden);
        t->head.lora.db = ones(p->vocab * p->rank);
    }
    t->args = (hone_linear_cross_entropy_args){
        .rows = p->rows,
        .head = &t->head,
        .x = ops_typed(t->compute, p->rows * p->hidden, t->x),
        .labels = t->labels,
        .loss = ops_typed(HONE_F32, p->rows, NULL),
        .scale = (float)scale,
        .dx = p->only_loss ? NULL : ops_typed(HONE_F32, p->rows * p->hidden, NULL),
    };
}

static void free_args(hone_linear *head, hone_linear_cross_entropy_args *args) {
    free((void *)head->weight.data), free((void *)head->bias), free((void *)head->lora.a),
        free((void *)head->lora.b);
    free(head->dweight), free(head->dbias), free(head->lora.da), free(head->lora.db);
    free((void *)args->x), free(args->loss), free(args->dx);
}

static void free_tensors(linear_tensors *t) {
    free(t->x), free(t->w), free(t->bias), free(t->a), free(t->b), free(t->labels), free(t->loss),
        free(t->dx);
    free(t->dw), free(t->dbias), free(t->da), free(t->db);
}

static void linear_body(hone_ctx *ctx, void *argument) {
    hone_ops_fused.linear_cross_entropy(ctx, &((linear_tensors *)argument)->args);
}

static void less_one(size_t n, float *x) {
    for (size_t i = 0; x && i < n; i++) x[i] -= 1;
}

static void check_gradients(linear_tensors *t, double bound) {
    const linear_problem *p = &t->p;
    if (!p->only_loss) assert_close(HONE_F32, p->rows * p->hidden, t->args.dx, t->dx, bound);
    if (!p->weights) return;
    less_one(p->vocab * p->hidden, t->head.dweight);
    less_one(p->vocab, t->head.dbias);
    less_one(p->rank * p->hidden, t->head.lora.da);
    less_one(p->vocab * p->rank, t->head.lora.db);
    assert_close(HONE_F32, p->vocab * p->hidden, t->head.dweight, t->dw, bound);
    if (p->bias) assert_close(HONE_F32, p->vocab, t->head.dbias, t->dbias, bound);
    if (p->rank == 0) return;
    assert_close(HONE_F32, p->rank * p->hidden, t->head.lora.da, t->da, bound);
    assert_close(HONE_F32, p->vocab * p->rank, t->head.lora.db, t->db, bound);
}

static void check_same(const linear_tensors *t, const hone_linear *head,
                       const hone_linear_cross_entropy_args *args) {
    const linear_problem *p = &t->p;
    assert_memory_equal(t->args.loss, args->loss, p->rows * sizeof(float));
    if (!p->only_loss)
        assert_memory_equal(t->args.dx, args->dx, p->rows * p->hidden * sizeof(float));
    if (!p->weights) return;
    assert_memory_equal(t->head.dweight, head->dweight, p->vocab * p->hidden * sizeof(float));
    if (p->bias) assert_memory_equal(t->head.dbias, head->dbias, p->vocab * sizeof(float));
    assert_memory_equal(t->head.lora.da, head->lora.da, p->rank * p->hidden * sizeof(float));
    assert_memory_equal(t->head.lora.db, head->lora.db, p->vocab * p->rank * sizeof(float));
}

static void check_linear(linear_problem p) {
    hone_kernels kernels;
    const char *tier;
    if (p.magnitude == 0) p.magnitude = 0.2;
    for (int type = 0; type < 2; type++) {
        hone_dtype compute = type == 0 ? HONE_F32 : HONE_BF16;
        linear_tensors t;
        make(&t, &p, compute);
        for (size_t index = 0; hone_kernels_tier(index, hone_cpu_detect(), &kernels, &tier);
             index++) {
            hone_linear_cross_entropy_args first = {0};
            hone_linear first_head = {0};
            for (int threads = 1; threads <= 3; threads++) {
                make_args(&t);
                ops_run(&kernels, compute, threads, linear_body, &t);
                if (threads > 1) check_same(&t, &first_head, &first);
                if (threads == 1) {
                    /* x A^T is rounded to the compute type */
                    double bound = compute == HONE_F32 ? 2e-6 : p.rank > 0 ? 1e-3 : 1e-5;
                    assert_close(HONE_F32, p.rows, t.args.loss, t.loss, bound);
                    first = t.args;
                    first_head = t.head;
                    continue;
                }
                free_args(&t.head, &t.args);
            }
            t.args = first;
            t.head = first_head;
            check_gradients(&t, compute == HONE_F32 ? 5e-6 : 6e-3);
            free_args(&t.head, &t.args);
        }
        free_tensors(&t);
    }
}

static void frozen_head(void **state) {
    (void)state;
    check_linear((linear_problem){.rows = 70, .hidden = 64, .vocab = 1100});
    check_linear((linear_problem){.rows = 3, .hidden = 17, .vocab = 33});
}

static void only_the_loss(void **state) {
    (void)state;
    check_linear((linear_problem){.rows = 40, .hidden = 32, .vocab = 700, .only_loss = true});
}

static void ignored_rows(void **state) {
    (void)state;
    check_linear((linear_problem){.rows = 77, .hidden = 40, .vocab = 600, .ignore_every = 3});
    check_linear((linear_problem){
        .rows = 77, .hidden = 40, .vocab = 600, .ignore_every = 3, .weights = true});
    check_linear((linear_problem){.rows = 9, .hidden = 16, .vocab = 50, .ignore_every = 1});
    check_linear(
        (linear_problem){.rows = 9, .hidden = 16, .vocab = 50, .ignore_every = 1, .weights = true});
    check_linear((linear_problem){.rows = 9,
                                  .hidden = 16,
                                  .vocab = 50,
                                  .ignore_every = 1,
                                  .weights = true,
                                  .rank = 2,
                                  .bias = true});
}

static void head_with_gradients(void **state) {
    (void)state;
    check_linear((linear_problem){.rows = 70, .hidden = 64, .vocab = 1100, .weights = true});
    check_linear(
        (linear_problem){.rows = 33, .hidden = 48, .vocab = 530, .weights = true, .bias = true});
}

static void head_with_adapter(void **state) {
    (void)state;
    check_linear((linear_problem){.rows = 70, .hidden = 64, .vocab = 1100, .rank = 8});
    check_linear((linear_problem){
        .rows = 70, .hidden = 64, .vocab = 1100, .rank = 8, .weights = true, .bias = true});
}

/* Logits in the hundreds: exp must not overflow, and rows with almost no loss must have the right gradient. */
static void large_logits(void **state) {
    (void)state;
    check_linear((linear_problem){.rows = 20, .hidden = 64, .vocab = 1100, .magnitude = 20});
}

/* The bar: at 1,024 rows and a vocabulary of 49,152, two threads, at most 8 MiB beside the arguments. */
static void memory_bound(void **state) {
    (void)state;
    hone_kernels kernels;
    hone_kernels_select(0, &kernels);
    hone_linear head = {.weight = hone_matrix_dense(NULL, HONE_BF16, 49152, 576)};
    float dx = 0, loss = 0;
    hone_ctx ctx = {
        .team = {0, 2}, .kernels = &kernels, .compute = HONE_BF16, .arena = hone_arena_plan()};
    hone_linear_cross_entropy_args args = {.rows = 1024, .head = &head, .loss = &loss, .dx = &dx};
    hone_ops_fused.linear_cross_entropy(&ctx, &args);
    assert_true(ctx.arena.peak <= (size_t)8 << 20);
    assert_int_equal(ctx.arena.scratch, 0);
    assert_int_equal(ctx.arena.saved, 0);
}

typedef struct plain {
    const hone_op_set *set;
    hone_cross_entropy_args args;
} plain;

static void plain_body(hone_ctx *ctx, void *argument) {
    plain *p = argument;
    hone_saved saved = {{0}};
    p->set->cross_entropy_loss_forward(ctx, &p->args, &saved);
    p->set->cross_entropy_loss_backward(ctx, &p->args, &saved);
}

static void given_logits(void **state) {
    (void)state;
    enum { ROWS = 13, VOCAB = 1003 };
    const hone_op_set *sets[] = {&hone_ops_fused, &hone_ops_naive};
    hone_kernels kernels;
    const char *tier;
    for (int i = 0; i < 4; i++) {
        hone_dtype dtype = i % 2 == 0 ? HONE_F32 : HONE_BF16;
        hone_rng rng = hone_rng_make(11);
        double *logits = ops_random(&rng, dtype, ROWS * VOCAB, 5.0),
               *dlogits = ops_doubles(ROWS * VOCAB);
        double loss[ROWS];
        int32_t labels[ROWS];
        for (int r = 0; r < ROWS; r++)
            labels[r] = r == 4 ? HONE_IGNORE : (int32_t)hone_rng_below(&rng, VOCAB);
        hone_ref_cross_entropy_forward(ROWS, VOCAB, logits, labels, loss);
        hone_ref_cross_entropy_backward(ROWS, VOCAB, logits, labels, scale, dlogits);
        for (size_t index = 0; hone_kernels_tier(index, hone_cpu_detect(), &kernels, &tier);
             index++) {
            for (int threads = 1; threads <= 3; threads++) {
                float got[ROWS];
                plain p = {sets[i / 2],
                           {.rows = ROWS,
                            .vocab = VOCAB,
                            .logits = ops_typed(dtype, ROWS * VOCAB, logits),
                            .logits_dtype = dtype,
                            .labels = labels,
                            .loss = got,
                            .scale = (float)scale}};
                p.args.dlogits = p.args.logits;
                ops_run(&kernels, dtype, threads, plain_body, &p);
                assert_close(HONE_F32, ROWS, got, loss, 1e-6);
                assert_close(dtype, ROWS * VOCAB, p.args.dlogits, dlogits,
                             dtype == HONE_F32 ? 2e-6 : 3e-3);
                free(p.args.logits);
            }
        }
        free(logits), free(dlogits);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frozen_head),       cmocka_unit_test(only_the_loss),
        cmocka_unit_test(ignored_rows),      cmocka_unit_test(head_with_gradients),
        cmocka_unit_test(head_with_adapter), cmocka_unit_test(large_logits),
        cmocka_unit_test(memory_bound),      cmocka_unit_test(given_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
