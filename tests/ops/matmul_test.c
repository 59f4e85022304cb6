/* hone_matmul against float64: shapes that split over columns and over rows, few rows, blocks of k, second
 * products, bias, accumulation, every type of weight, both orientations; the same bits on one, two
 * and three threads; no more memory than planned. */
#include "kernels/matrix_help.h"
#include "ops/ops.h"

typedef struct shape {
    size_t m, n, k, k2;
    hone_dtype weight;
    bool by_rows, bias, accumulate;
    hone_dtype c_dtype;
} shape;

typedef struct problem {
    shape s;
    hone_dtype compute;
    hone_kernels kernels;
    test_matrix b, b2;
    void *a, *a2;
    float *bias, *before;
    void *c;
    hone_arena arena;
    size_t peak;
} problem;

static size_t element_bytes(hone_dtype dtype) { return dtype == HONE_F32 ? 4 : 2; }

static void *random_dense(hone_dtype dtype, size_t count, hone_rng *rng) {
    void *data = malloc(count * element_bytes(dtype));
    assert_non_null(data);
    for (size_t i = 0; i < count; i++) dense_set(data, dtype, i, random_value(rng));
    return data;
}

static problem problem_new(shape s, hone_dtype compute, const hone_kernels *kernels) {
    hone_rng rng = hone_rng_make(s.m * 31 + s.n * 17 + s.k);
    problem p = {.s = s, .compute = compute, .kernels = *kernels};
    size_t rows = s.by_rows ? s.n : s.k, cols = s.by_rows ? s.k : s.n;
    p.b = test_matrix_new(s.weight, rows, cols, 64, HONE_F16, 7);
    p.a = random_dense(compute, s.m * (s.k + 1), &rng);
    if (s.k2 > 0) {
        p.b2 = test_matrix_new(HONE_F32, s.n, s.k2, 0, 0, 9);
        p.a2 = random_dense(compute, s.m * s.k2, &rng);
    }
    p.bias = random_dense(HONE_F32, s.n, &rng);
    p.before = random_dense(HONE_F32, s.m * s.n, &rng);
    p.c = malloc(s.m * s.n * element_bytes(s.c_dtype));
    return p;
}

static void problem_free(problem *p) {
    test_matrix_free(&p->b);
    if (p->s.k2 > 0) test_matrix_free(&p->b2);
    free(p->a);
    free(p->a2);
    free(p->bias);
    free(p->before);
    free(p->c);
}

static void call(hone_ctx *ctx, const problem *p) {
    const shape *s = &p->s;
    hone_matmul_args args = {.m = s->m,
                             .n = s->n,
                             .k = s->k,
                             .a = p->a,
                             .lda = s->k + 1,
                             .b = &p->b.m,
                             .by_rows = s->by_rows,
                             .c = p->c,
                             .ldc = s->n,
                             .c_dtype = s->c_dtype,
                             .accumulate = s->accumulate,
                             .bias = s->bias ? p->bias : NULL};
    if (s->k2 > 0) {
        args.k2 = s->k2;
        args.a2 = p->a2;
        args.lda2 = s->k2;
        args.b2 = &p->b2.m;
        args.b2_by_rows = true;
        args.scale2 = 0.25f;
    }
    hone_matmul(ctx, &args);
}

static void body(hone_team team, void *argument) {
    problem *p = argument;
    hone_ctx ctx = {.team = team, .kernels = &p->kernels, .compute = p->compute, .arena = p->arena};
    call(&ctx, p);
    assert_false(ctx.arena.overflow);
    assert_int_equal(ctx.arena.scratch, 0);
    if (team.rank == 0) p->peak = ctx.arena.peak;
}

/* Plans, runs on `threads` threads within the plan. */
static void run(problem *p, int threads) {
    hone_ctx plan = {.team = {.size = threads},
                     .kernels = &p->kernels,
                     .compute = p->compute,
                     .arena = hone_arena_plan()};
    call(&plan, p);
    assert_int_equal(hone_arena_open(&p->arena, plan.arena.peak, false, NULL), HONE_OK);
    size_t count = p->s.m * p->s.n;
    memset(p->c, 0xff, count * element_bytes(p->s.c_dtype));
    if (p->s.accumulate) memcpy(p->c, p->before, count * sizeof(float));
    hone_parallel(threads, body, p);
    assert_int_equal(p->peak, plan.arena.peak);
    hone_arena_close(&p->arena);
}

static double expected(const problem *p, size_t i, size_t j, double *sum_abs) {
    const shape *s = &p->s;
    double sum =
        (s->bias ? (double)p->bias[j] : 0) + (s->accumulate ? (double)p->before[i * s->n + j] : 0);
    *sum_abs = fabs(sum) + 1;
    for (size_t k = 0; k < s->k; k++) {
        double b = p->b.values[s->by_rows ? j * s->k + k : k * s->n + j];
        double term = dense_get(p->a, p->compute, i * (s->k + 1) + k) * b;
        sum += term;
        *sum_abs += fabs(term);
    }
    for (size_t k = 0; k < s->k2; k++) {
        double term = dense_get(p->a2, p->compute, i * s->k2 + k) * p->b2.values[j * s->k2 + k] / 4;
        sum += term;
        *sum_abs += fabs(term);
    }
    return sum;
}

/* Weights are rounded to the compute type while they are packed: in bfloat16 by at most 2^-8. */
static void check(const problem *p) {
    double step = p->compute == HONE_BF16 ? 0x1p-8 : ldexp((double)p->s.k + 8, -24);
    for (size_t i = 0; i < p->s.m; i += 1 + p->s.m / 23) {
        for (size_t j = 0; j < p->s.n; j += 1 + p->s.n / 57) {
            double sum_abs, want = expected(p, i, j, &sum_abs);
            double got = dense_get(p->c, p->s.c_dtype, i * p->s.n + j);
            double bound = sum_abs * step + (p->s.c_dtype == HONE_BF16 ? fabs(want) * 0x1p-8 : 0);
            if (!(fabs(got - want) <= bound)) {
                fail_msg("m %zu n %zu k %zu %s (%zu, %zu): %.9g, expected %.9g", p->s.m, p->s.n,
                         p->s.k, hone_dtype_name(p->s.weight), i, j, got, want);
            }
        }
    }
}

static void run_shape(const hone_kernels *kernels, shape s, hone_dtype compute) {
    problem p = problem_new(s, compute, kernels);
    size_t bytes = s.m * s.n * element_bytes(s.c_dtype);
    void *first = malloc(bytes);
    run(&p, 1);
    check(&p);
    memcpy(first, p.c, bytes);
    for (int time = 0; time < 6; time++) { /* who does what differs from time to time */
        run(&p, 2 + time % 2);
        assert_memory_equal(first, p.c, bytes);
    }
    free(first);
    problem_free(&p);
}

static void shapes(const hone_kernels *kernels, const char *tier) {
    (void)tier;
    static const shape all[] = {
        {64, 576, 192, 0, HONE_Q4_1, true, false, false, HONE_BF16},
        {37, 192, 576, 8, HONE_Q4_1, false, false, false, HONE_F32},
        {200, 8, 64, 0, HONE_F32, true, true, false, HONE_BF16},
        {8, 600, 131, 0, HONE_BF16, false, false, true, HONE_F32},
        {1, 49, 320, 5, HONE_Q8_0, true, true, false, HONE_F32},
        {33, 33, 64, 3, HONE_Q4_0, true, true, true, HONE_F32},
        {65, 128, 64, 0, HONE_AFFINE4, true, false, false, HONE_BF16},
        {5, 64, 77, 9, HONE_AFFINE4, false, true, false, HONE_BF16},
        {3, 100, 6500, 2, HONE_F16, false, true, false, HONE_BF16},
        {2, 40, 3200, 0, HONE_Q4_1, true, false, true, HONE_F32},
        {1, 1, 1, 1, HONE_F32, true, false, false, HONE_F32},
        {1, 131, 577, 8, HONE_F32, true, true, true, HONE_F32},
        {2, 77, 131, 3, HONE_F16, true, false, false, HONE_BF16},
        {1, 50, 333, 0, HONE_BF16, true, true, false, HONE_BF16},
        {2, 97, 576, 8, HONE_Q4_0, true, true, true, HONE_F32},
        {1, 200, 1536, 8, HONE_Q4_1, true, false, true, HONE_F32},
        {1, 33, 192, 0, HONE_AFFINE4, true, true, false, HONE_BF16},
        {2, 35, 576, 5, HONE_Q8_0, true, false, false, HONE_BF16},
        {1, 64, 96, 4, HONE_Q4_1, false, true, true, HONE_F32},
        {3, 40, 96, 4, HONE_Q4_1, true, true, true, HONE_F32},
        {70, 3000, 64, 0, HONE_Q8_0, true, false, false, HONE_BF16},
        /* several pieces of the last columns: a long sum in bfloat16; cut by rows; by both */
        {150, 64, 2500, 3, HONE_Q4_1, false, true, false, HONE_BF16},
        {301, 8, 64, 5, HONE_F32, true, true, true, HONE_F32},
        {500, 96, 2100, 0, HONE_Q8_0, false, false, true, HONE_F32},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        run_shape(kernels, all[i], HONE_F32);
        run_shape(kernels, all[i], HONE_BF16);
    }
}

static void test_shapes(void **state) {
    (void)state;
    each_tier(shapes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
