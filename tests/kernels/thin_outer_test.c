/* Outer products with a thin operand, every variant that runs here, against float64: sizes around the tiles, guard
 * pages behind every operand, nothing written outside the columns asked for, the same bits however they are cut. */
#include "kernels/matrix_help.h"

typedef struct problem {
    size_t rows, m, n;
    hone_dtype dtype;
    guarded thin, wide, c;
} problem;

static guarded random_rows(hone_dtype dtype, size_t rows, size_t cols, size_t ld, hone_rng *rng) {
    guarded g = guarded_new(((rows - 1) * ld + cols) * (dtype == HONE_F32 ? 4 : 2));
    for (size_t i = 0; i < rows * cols; i++)
        dense_set(g.data, dtype, i / cols * ld + i % cols, random_value(rng));
    return g;
}

/* A row alone lies without gaps, as the weights of one query do. */
static size_t ld_thin(size_t m) { return m == 1 ? 1 : m + 1; }

static problem problem_new(hone_dtype dtype, size_t rows, size_t m, size_t n) {
    hone_rng rng = hone_rng_make(rows * 1000003 + m * 1009 + n);
    return (problem){.rows = rows,
                     .m = m,
                     .n = n,
                     .dtype = dtype,
                     .thin = random_rows(dtype, rows, m, ld_thin(m), &rng),
                     .wide = random_rows(dtype, rows, n, n + 3, &rng),
                     .c = guarded_new(((m - 1) * (n + 2) + n) * sizeof(float))};
}

static void problem_free(problem *p) {
    guarded_free(&p->thin);
    guarded_free(&p->wide);
    guarded_free(&p->c);
}

static hone_thin_outer problem_job(const problem *p, size_t begin, size_t end) {
    return (hone_thin_outer){.rows = p->rows,
                             .m = p->m,
                             .begin = begin,
                             .end = end,
                             .thin = p->thin.data,
                             .ld_thin = ld_thin(p->m),
                             .wide = p->wide.data,
                             .ld_wide = p->n + 3,
                             .dtype = p->dtype,
                             .c = p->c.data,
                             .ldc = p->n + 2};
}

static void check(const problem *p, size_t begin, size_t end, const char *tier) {
    const float *c = p->c.data;
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            float got = c[i * (p->n + 2) + j];
            if (j < begin || j >= end) {
                assert_true(isnan(got));
                continue;
            }
            double want = 0, sum_abs = 0;
            for (size_t r = 0; r < p->rows; r++) {
                double term = dense_get(p->thin.data, p->dtype, r * ld_thin(p->m) + i) *
                              dense_get(p->wide.data, p->dtype, r * (p->n + 3) + j);
                want += term;
                sum_abs += fabs(term);
            }
            if (!(fabs((double)got - want) <= sum_abs * ldexp((double)p->rows, -24)))
                fail_msg("%s rows %zu m %zu n %zu, element (%zu, %zu): %.9g, expected %.9g", tier,
                         p->rows, p->m, p->n, i, j, (double)got, want);
        }
    }
}

static void sizes(const hone_kernels *kernels, const char *tier) {
    static const size_t rows[] = {1, 2, 37, 300}, ranks[] = {1, 2, 3, 4, 7, 8, 9, 16},
                        cols[] = {1, 3, 4, 8, 11, 12, 16, 24, 25, 47, 48, 49, 97, 131, 229};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
            for (size_t j = 0; j < sizeof cols / sizeof *cols; j++) {
                hone_dtype dtype = (r + i + j) % 2 ? HONE_BF16 : HONE_F32;
                problem p = problem_new(dtype, rows[r], ranks[i], cols[j]);
                size_t begin = cols[j] / 3, end = i % 2 ? cols[j] : cols[j] - cols[j] / 4;
                hone_thin_outer job = problem_job(&p, begin, end);
                kernels->thin_outer(&job);
                check(&p, begin, end, tier);
                job = problem_job(&p, 0, p.n);
                kernels->thin_outer(&job);
                check(&p, 0, p.n, tier);
                problem_free(&p);
            }
        }
    }
}

static void test_sizes(void **state) {
    (void)state;
    each_tier(sizes);
}

/* More rows than are paired together: the sums go on where they were. */
static void many_rows(const hone_kernels *kernels, const char *tier) {
    static const size_t rows[] = {1024, 1025, 1026, 2051}, ranks[] = {1, 2, 3, 8, 13};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
            problem p = problem_new((r + i) % 4 ? HONE_BF16 : HONE_F32, rows[r], ranks[i],
                                    i % 2 ? 71 : 229);
            hone_thin_outer job = problem_job(&p, 5, p.n);
            kernels->thin_outer(&job);
            check(&p, 5, p.n, tier);
            problem_free(&p);
        }
    }
}

static void test_many_rows(void **state) {
    (void)state;
    each_tier(many_rows);
}

/* A column has the bits that it has alone. */
static void alone(const hone_kernels *kernels, const char *tier) {
    (void)tier;
    for (int i = 0; i < 4; i++) {
        problem p =
            problem_new(i % 2 == 0 ? HONE_F32 : HONE_BF16, 131, i < 2 ? 15 : 1, i < 2 ? 61 : 229);
        hone_thin_outer job = problem_job(&p, 0, p.n);
        kernels->thin_outer(&job);
        float *one = calloc(p.m * job.ldc, sizeof *one);
        for (size_t j = 0; j < p.n; j++) {
            job = problem_job(&p, j, j + 1);
            job.c = one;
            kernels->thin_outer(&job);
            for (size_t k = 0; k < p.m; k++)
                assert_memory_equal(&one[k * job.ldc + j], (float *)p.c.data + k * job.ldc + j,
                                    sizeof *one);
        }
        free(one);
        problem_free(&p);
    }
}

static void test_alone(void **state) {
    (void)state;
    each_tier(alone);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes),
                                       cmocka_unit_test(test_many_rows),
                                       cmocka_unit_test(test_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
