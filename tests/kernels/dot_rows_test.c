/* Rows times stored rows of weights, every variant that runs here, every type of weight, against float64: sizes around
 * the vectors and around the rows that are taken together, guard pages behind every operand, outputs that start as NaN
 * and stay so outside the range, the same bits whatever else is in the call. */
#include "kernels/matrix_help.h"

typedef struct problem {
    size_t m, n, k, k2;
    hone_dtype x_dtype;
    test_matrix w, w2;
    guarded x, x2, bias;
} problem;

static guarded random_rows(hone_dtype dtype, size_t rows, size_t cols, size_t ld, hone_rng *rng) {
    guarded g = guarded_new(((rows - 1) * ld + cols) * (dtype == HONE_F32 ? 4 : 2));
    for (size_t i = 0; i < rows * cols; i++)
        dense_set(g.data, dtype, i / cols * ld + i % cols, random_value(rng));
    return g;
}

static problem problem_new(weight_kind kind, size_t m, size_t n, size_t k, weight_kind kind2,
                           size_t k2, hone_dtype x_dtype) {
    hone_rng rng = hone_rng_make(m * 1000003 + n * 1009 + k);
    problem p = {.m = m, .n = n, .k = k, .k2 = k2, .x_dtype = x_dtype};
    p.w = test_matrix_new(kind.dtype, n, k, kind.group, kind.affine, n + k);
    p.w2 = test_matrix_new(kind2.dtype, n, k2, kind2.group, kind2.affine, n + k2);
    p.x = random_rows(x_dtype, m, k, k + 3, &rng);
    p.x2 = random_rows(x_dtype, m, k2, k2 + 1, &rng);
    p.bias = random_rows(HONE_F32, 1, n, n, &rng);
    return p;
}

static void problem_free(problem *p) {
    test_matrix_free(&p->w);
    test_matrix_free(&p->w2);
    guarded_free(&p->x);
    guarded_free(&p->x2);
    guarded_free(&p->bias);
}

static hone_dot_rows problem_job(const problem *p, void *c, size_t ldc, bool second) {
    return (hone_dot_rows){.m = p->m,
                           .end = p->n,
                           .x = p->x.data,
                           .ldx = p->k + 3,
                           .w = &p->w.m,
                           .x2 = second ? p->x2.data : NULL,
                           .ldx2 = p->k2 + 1,
                           .w2 = second ? &p->w2.m : NULL,
                           .scale2 = 0.75f,
                           .x_dtype = p->x_dtype,
                           .c = c,
                           .ldc = ldc,
                           .c_dtype = HONE_F32};
}

/* Adds the products of row i of x and row j of w, times `scale`. */
static void add_products(const problem *p, const guarded *x, size_t ldx, const test_matrix *w,
                         size_t i, size_t j, double scale, double *sum, double *sum_abs) {
    for (size_t k = 0; k < w->m.cols; k++) {
        double value = w->values[j * w->m.cols + k];
        double term = scale * dense_get(x->data, p->x_dtype, i * ldx + k) * value;
        *sum += term;
        *sum_abs += fabs(term);
    }
}

static void check(const problem *p, const hone_dot_rows *job, const char *tier) {
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = job->begin; j < job->end; j++) {
            double want = 0, sum_abs = 0;
            add_products(p, &p->x, p->k + 3, &p->w, i, j, 1, &want, &sum_abs);
            if (job->w2) add_products(p, &p->x2, p->k2 + 1, &p->w2, i, j, 0.75, &want, &sum_abs);
            double more = (job->bias ? (double)job->bias[j] : 0) + (job->accumulate ? 3 : 0);
            want += more;
            double got = dense_get(job->c, job->c_dtype, i * job->ldc + j);
            double bound = (sum_abs + fabs(more) + 1) * ldexp((double)(p->k / 4 + p->k2 + 8), -24);
            if (job->c_dtype == HONE_BF16) bound += fabs(want) * 0x1.01p-8;
            if (!(fabs(got - want) <= bound))
                fail_msg("%s %s m %zu n %zu k %zu, element (%zu, %zu): %.9g, expected %.9g", tier,
                         hone_dtype_name(p->w.m.dtype), p->m, p->n, p->k, i, j, got, want);
        }
    }
}

/* Rows [begin, end) of w; everything else in c must stay NaN. */
static void run(const hone_kernels *kernels, const char *tier, const problem *p, size_t begin,
                size_t end, hone_dtype c_dtype, bool all) {
    size_t ldc = p->n + 2, count = (p->m - 1) * ldc + p->n;
    guarded c = guarded_new(count * (c_dtype == HONE_F32 ? 4 : 2));
    hone_dot_rows job = problem_job(p, c.data, ldc, all);
    job.begin = begin;
    job.end = end;
    job.c_dtype = c_dtype;
    job.accumulate = all && c_dtype == HONE_F32;
    job.bias = all ? p->bias.data : NULL;
    for (size_t i = 0; job.accumulate && i < p->m; i++) {
        for (size_t j = begin; j < end; j++) dense_set(c.data, c_dtype, i * ldc + j, 3);
    }
    kernels->dot_rows(&job);
    check(p, &job, tier);
    for (size_t at = 0; at < count; at++) {
        if (at % ldc < begin || at % ldc >= end) assert_true(isnan(dense_get(c.data, c_dtype, at)));
    }
    guarded_free(&c);
}

static void sizes(const hone_kernels *kernels, const char *tier) {
    static const size_t dense_depths[] = {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 100, 577};
    static const size_t block_depths[] = {32, 64, 96, 160, 576, 2080};
    static const size_t rows[] = {1, 2, 3, 4, 5, 8, 11};
    for (size_t i = 0; i < KINDS; i++) {
        bool dense = hone_dtype_block(kinds[i].dtype) == 1;
        size_t depths = dense ? sizeof dense_depths / sizeof(size_t) : 6;
        for (size_t d = 0; d < depths; d++) {
            size_t unit = HONE_MAX((size_t)kinds[i].group, 1);
            size_t k = dense ? dense_depths[d] : HONE_CEIL_DIV(block_depths[d], unit) * unit;
            for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
                hone_dtype x_dtype = (d + r) % 2 ? HONE_BF16 : HONE_F32;
                weight_kind second = {r % 3 ? HONE_F32 : HONE_Q8_0, 0, 0};
                problem p =
                    problem_new(kinds[i], 1 + r % 3, rows[r], k, second, r % 3 ? r : 32, x_dtype);
                run(kernels, tier, &p, 0, p.n, HONE_F32, false);
                run(kernels, tier, &p, 0, p.n, HONE_F32, true);
                run(kernels, tier, &p, p.n / 3, p.n, HONE_BF16, true);
                run(kernels, tier, &p, 0, p.n - p.n / 3, HONE_BF16, false);
                problem_free(&p);
            }
        }
    }
}

static void test_sizes(void **state) {
    (void)state;
    each_tier(sizes);
}

/* More rows of w than are done between two looks at x, and longer than what is kept of x from one look to the next: in
 * fixed point, and widened. */
static void strips(const hone_kernels *kernels, const char *tier) {
    static const size_t rows[] = {131, 7}, depths[] = {2080, 8224};
    for (size_t i = 0; i < 4 * KINDS; i++) {
        size_t n = rows[i % 4 / 2], k = depths[i % 4 / 2];
        size_t unit = HONE_MAX((size_t)kinds[i / 4].group, hone_dtype_block(kinds[i / 4].dtype));
        weight_kind f32 = {HONE_F32, 0, 0};
        problem p = problem_new(kinds[i / 4], 2, n, HONE_CEIL_DIV(k, unit) * unit, f32, 3,
                                i % 2 ? HONE_BF16 : HONE_F32);
        run(kernels, tier, &p, 0, p.n, HONE_F32, true);
        run(kernels, tier, &p, 1, p.n, HONE_F32, false);
        problem_free(&p);
    }
}

static void test_strips(void **state) {
    (void)state;
    each_tier(strips);
}

/* An element has the bits that it has alone. */
static void alone(const hone_kernels *kernels, const char *tier) {
    (void)tier;
    for (size_t i = 0; i < 2 * KINDS; i++) {
        weight_kind f32 = {HONE_F32, 0, 0};
        problem p = problem_new(kinds[i / 2], 3, 11, 384, f32, 9, i % 2 ? HONE_BF16 : HONE_F32);
        float whole[33], one[33];
        hone_dot_rows job = problem_job(&p, whole, p.n, true);
        kernels->dot_rows(&job);
        for (size_t at = 0; at < p.m * p.n; at++) {
            size_t row = at / p.n, element = p.x_dtype == HONE_F32 ? 4 : 2;
            job = problem_job(&p, one, p.n, true);
            job.m = 1;
            job.x = (char *)p.x.data + row * job.ldx * element;
            job.x2 = (char *)p.x2.data + row * job.ldx2 * element;
            job.begin = at % p.n;
            job.end = job.begin + 1;
            kernels->dot_rows(&job);
            assert_memory_equal(&one[job.begin], &whole[at], sizeof(float));
        }
        problem_free(&p);
    }
}

static void test_alone(void **state) {
    (void)state;
    each_tier(alone);
}

/* The error of many sums is that of float32, also where an element is a thousand times as large as the others (of the
 * sum in which it lies). A digit less in a kernel's fixed point is 50 times above the bound. */
static void accuracy(const hone_kernels *kernels, const char *tier) {
    enum { ROWS = 64, DEPTH = 576 };
    for (size_t i = 0; i < 2 * KINDS; i++) {
        weight_kind kind = kinds[i / 2], f32 = {HONE_F32, 0, 0};
        size_t depth = kind.group == 128 ? 640 : DEPTH;
        problem p = problem_new(kind, 1, ROWS, depth, f32, 1, HONE_F32);
        if (i % 2 != 0) dense_set(p.x.data, HONE_F32, 100, 1000);
        float c[ROWS];
        hone_dot_rows job = problem_job(&p, c, ROWS, false);
        kernels->dot_rows(&job);
        double errors = 0, terms = 0;
        for (size_t j = 0; j < ROWS; j++) {
            double want = 0;
            for (size_t k = 0; k < depth; k++) {
                double term = dense_get(p.x.data, HONE_F32, k) * p.w.values[j * depth + k];
                want += term;
                terms += term * term;
            }
            errors += (c[j] - want) * (c[j] - want);
        }
        if (!(sqrt(errors / terms) <= 5e-7))
            fail_msg("%s %s: error %g of the terms", tier, hone_dtype_name(kind.dtype),
                     sqrt(errors / terms));
        problem_free(&p);
    }
}

static void test_accuracy(void **state) {
    (void)state;
    each_tier(accuracy);
}

/* An x near the end of float32's range, whose quotients could be beyond it: what is lost is below 2^-118. */
static void tiny(const hone_kernels *kernels, const char *tier) {
    for (size_t i = 0; i < KINDS; i++) {
        weight_kind f32 = {HONE_F32, 0, 0};
        problem p = problem_new(kinds[i], 1, 5, 384, f32, 1, HONE_F32);
        for (size_t k = 0; k < 384; k++)
            dense_set(p.x.data, HONE_F32, k, dense_get(p.x.data, HONE_F32, k) * 0x1p-112);
        float c[5];
        hone_dot_rows job = problem_job(&p, c, 5, false);
        kernels->dot_rows(&job);
        for (size_t j = 0; j < 5; j++) {
            double want = 0, sum_abs = 0;
            add_products(&p, &p.x, p.k + 3, &p.w, 0, j, 1, &want, &sum_abs);
            if (!(fabs(c[j] - want) <= sum_abs * 1e-5 + 384 * 0x1p-118))
                fail_msg("%s %s: %g, expected %g", tier, hone_dtype_name(kinds[i].dtype),
                         (double)c[j], want);
        }
        problem_free(&p);
    }
}

static void test_tiny(void **state) {
    (void)state;
    each_tier(tiny);
}

/* What is not finite in x shows in every element of c; an x of zeros gives zeros. */
static void not_finite(const hone_kernels *kernels, const char *tier) {
    (void)tier;
    static const double values[] = {NAN, INFINITY, -INFINITY, 0};
    for (size_t i = 0; i < 4 * KINDS; i++) {
        weight_kind f32 = {HONE_F32, 0, 0};
        problem p = problem_new(kinds[i / 4], 1, 5, 384, f32, 1, i % 3 ? HONE_BF16 : HONE_F32);
        for (size_t k = 0; k < 384 && values[i % 4] == 0; k++) dense_set(p.x.data, p.x_dtype, k, 0);
        dense_set(p.x.data, p.x_dtype, 37 + i, values[i % 4]);
        float c[5];
        hone_dot_rows job = problem_job(&p, c, 5, false);
        kernels->dot_rows(&job);
        for (size_t j = 0; j < 5; j++)
            assert_true(values[i % 4] == 0 ? c[j] == 0 : !isfinite(c[j]));
        problem_free(&p);
    }
}

static void test_not_finite(void **state) {
    (void)state;
    each_tier(not_finite);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),    cmocka_unit_test(test_strips),
        cmocka_unit_test(test_alone),    cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_accuracy), cmocka_unit_test(test_not_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
