/* Matrix multiply kernels, every variant that runs here, against float64: sizes around the tiles,
 * guard pages behind every operand, outputs that start as NaN, rows that are the same alone. */
#include "kernels/matrix_help.h"

/* One product's operands: A and packed B with their float64 values. */
typedef struct operand {
    guarded a, b;
    size_t k, lda;
    double *av, *bv; /* [m, k], [k, n] */
} operand;

typedef struct problem {
    hone_dtype compute;
    size_t m, n;
    operand one, two; /* two.k == 0: none */
    float *bias;
} problem;

static operand operand_new(hone_dtype compute, size_t m, size_t n, size_t k, hone_rng *rng) {
    operand o = {.k = k, .lda = k + 3};
    size_t element = compute == HONE_F32 ? 4 : 2;
    o.a = guarded_new(((m - 1) * o.lda + k) * element);
    o.b = guarded_new(hone_pack_bytes(compute, n, k));
    o.av = calloc(m * k, sizeof *o.av);
    o.bv = calloc(n * k, sizeof *o.bv);
    memset(o.b.data, 0, hone_pack_bytes(compute, n, k));
    for (size_t i = 0; i < m * k; i++) {
        size_t at = i / k * o.lda + i % k;
        dense_set(o.a.data, compute, at, random_value(rng));
        o.av[i] = dense_get(o.a.data, compute, at);
    }
    for (size_t i = 0; i < n * k; i++) {
        size_t at = packed_index(compute, k, i / n, i % n);
        dense_set(o.b.data, compute, at, random_value(rng));
        o.bv[i] = dense_get(o.b.data, compute, at);
    }
    return o;
}

static void operand_free(operand *o) {
    guarded_free(&o->a);
    guarded_free(&o->b);
    free(o->av);
    free(o->bv);
}

static problem problem_new(hone_dtype compute, size_t m, size_t n, size_t k, size_t k2, bool bias) {
    hone_rng rng = hone_rng_make(m * 1000003 + n * 1009 + k);
    problem p = {.compute = compute, .m = m, .n = n};
    p.one = operand_new(compute, m, n, k, &rng);
    if (k2 > 0) p.two = operand_new(compute, m, n, k2, &rng);
    if (bias) {
        p.bias = malloc(n * sizeof *p.bias);
        for (size_t j = 0; j < n; j++) p.bias[j] = (float)random_value(&rng);
    }
    return p;
}

static void problem_free(problem *p) {
    operand_free(&p->one);
    if (p->two.k > 0) operand_free(&p->two);
    free(p->bias);
}

static hone_gemm problem_gemm(const problem *p, void *c, size_t ldc, hone_dtype c_dtype) {
    return (hone_gemm){.m = p->m,
                       .n = p->n,
                       .k = p->one.k,
                       .a = p->one.a.data,
                       .lda = p->one.lda,
                       .b = p->one.b.data,
                       .k2 = p->two.k,
                       .a2 = p->two.a.data,
                       .lda2 = p->two.lda,
                       .b2 = p->two.b.data,
                       .c = c,
                       .ldc = ldc,
                       .c_dtype = c_dtype,
                       .bias = p->bias};
}

/* Adds a row of A times a column of B; `sum_abs` bounds what rounding can do. */
static void add_product(const operand *o, size_t n, size_t i, size_t j, double *sum,
                        double *sum_abs) {
    for (size_t k = 0; k < o->k; k++) {
        double term = o->av[i * o->k + k] * o->bv[k * n + j];
        *sum += term;
        *sum_abs += fabs(term);
    }
}

static void check(const problem *p, const void *c, size_t ldc, hone_dtype c_dtype,
                  const double *before, const char *what) {
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            double want = 0, sum_abs = 0;
            add_product(&p->one, p->n, i, j, &want, &sum_abs);
            add_product(&p->two, p->n, i, j, &want, &sum_abs);
            double bias = p->bias != NULL ? (double)p->bias[j] : 0;
            double old = before != NULL ? before[i * p->n + j] : 0;
            want += bias + old;
            sum_abs += fabs(bias) + fabs(old);
            double got = dense_get(c, c_dtype, i * ldc + j);
            double bound = sum_abs * ldexp((double)(p->one.k + p->two.k + 4), -24);
            if (c_dtype == HONE_BF16) bound += fabs(want) * 0x1.01p-8;
            if (!(fabs(got - want) <= bound)) {
                fail_msg("%s m %zu n %zu k %zu k2 %zu, element (%zu, %zu): %.9g, expected %.9g",
                         what, p->m, p->n, p->one.k, p->two.k, i, j, got, want);
            }
        }
    }
}

/* Runs once; what lies between n and ldc must stay as it was (NaN). */
static void run(hone_gemm_fn *kernel, const problem *p, hone_dtype c_dtype, bool accumulate,
                const char *what) {
    size_t ldc = p->n + 5;
    guarded c = guarded_new(((p->m - 1) * ldc + p->n) * (c_dtype == HONE_F32 ? 4 : 2));
    double *before = accumulate ? calloc(p->m * p->n, sizeof *before) : NULL;
    for (size_t i = 0; accumulate && i < p->m * p->n; i++) {
        before[i] = (double)(int)(i % 13) - 6;
        dense_set(c.data, c_dtype, i / p->n * ldc + i % p->n, before[i]);
    }
    hone_gemm g = problem_gemm(p, c.data, ldc, c_dtype);
    g.accumulate = accumulate;
    kernel(&g);
    check(p, c.data, ldc, c_dtype, before, what);
    for (size_t i = 0; i + 1 < p->m; i++) {
        for (size_t j = p->n; j < ldc; j++)
            assert_true(isnan(dense_get(c.data, c_dtype, i * ldc + j)));
    }
    free(before);
    guarded_free(&c);
}

static void run_kinds(const hone_kernels *kernels, const char *tier, hone_dtype compute, size_t m,
                      size_t n, size_t k) {
    hone_gemm_fn *kernel = compute == HONE_F32 ? kernels->gemm_f32 : kernels->gemm_bf16;
    problem p = problem_new(compute, m, n, k, 0, false);
    run(kernel, &p, HONE_F32, false, tier);
    run(kernel, &p, HONE_BF16, false,
        tier); /* without a bias whole tiles are stored in another way */
    run(kernel, &p, HONE_F32, true, tier);
    problem_free(&p);
    p = problem_new(compute, m, n, k, 1 + (m + n + k) % 40, true);
    run(kernel, &p, HONE_BF16, false, tier);
    run(kernel, &p, HONE_F32, true, tier);
    problem_free(&p);
}

static void sizes(const hone_kernels *kernels, const char *tier) {
    static const size_t rows[] = {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 61};
    static const size_t cols[] = {1, 3, 8, 15, 16, 17, 25, 31, 32, 33, 48, 67, 97};
    static const size_t depths[] = {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t j = 0; j < sizeof cols / sizeof *cols; j++) {
            for (size_t l = 0; l < sizeof depths / sizeof *depths; l++) {
                if ((i + j + l) % 2 == 0)
                    run_kinds(kernels, tier, HONE_F32, rows[i], cols[j], depths[l]);
                else
                    run_kinds(kernels, tier, HONE_BF16, rows[i], cols[j], depths[l]);
            }
        }
    }
    static const size_t large[][3] = {
        {101, 211, 576}, {64, 96, 1536}, {37, 576, 192}, {8, 80, 2503}};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        run_kinds(kernels, tier, HONE_F32, large[i][0], large[i][1], large[i][2]);
        run_kinds(kernels, tier, HONE_BF16, large[i][0], large[i][1], large[i][2]);
    }
    problem wide_adapter = problem_new(HONE_BF16, 13, 50, 64, 331, true);
    run(kernels->gemm_bf16, &wide_adapter, HONE_F32, false, tier);
    problem_free(&wide_adapter);
}

static void test_sizes(void **state) {
    (void)state;
    each_tier(sizes);
}

/* A row has the bits that it has alone, whatever rows and columns are computed with it. */
static void alone(const hone_kernels *kernels, const char *tier) {
    (void)tier;
    for (int i = 0; i < 4; i++) {
        bool f32 = i % 2 == 0, bias = i < 2;
        hone_dtype compute = f32 ? HONE_F32 : HONE_BF16;
        hone_gemm_fn *kernel = f32 ? kernels->gemm_f32 : kernels->gemm_bf16;
        problem p = problem_new(compute, 45, bias ? 83 : 96, 131, 8, bias);
        float *whole = calloc(p.m * p.n, sizeof *whole), *row = calloc(p.n, sizeof *row);
        hone_gemm g = problem_gemm(&p, whole, p.n, HONE_F32);
        kernel(&g);
        for (size_t r = 0; r < p.m; r++) {
            size_t element = compute == HONE_F32 ? 4 : 2;
            hone_gemm one = problem_gemm(&p, row, p.n, HONE_F32);
            one.m = 1;
            one.a = (char *)p.one.a.data + r * p.one.lda * element;
            one.a2 = (char *)p.two.a.data + r * p.two.lda * element;
            kernel(&one);
            assert_memory_equal(row, whole + r * p.n, p.n * sizeof *row);
            one.n = 16;
            kernel(&one);
            assert_memory_equal(row, whole + r * p.n, 16 * sizeof *row);
        }
        if (bias) { /* the last panel alone */
            hone_gemm last = problem_gemm(&p, whole, p.n, HONE_F32);
            const size_t first = p.n / 16 * 16;
            float *part = calloc(p.m * 16, sizeof *part);
            last.n = p.n - first;
            last.b = (const char *)last.b + hone_pack_bytes(compute, first, last.k);
            last.b2 = (const char *)last.b2 + hone_pack_bytes(compute, first, last.k2);
            last.bias += first;
            last.c = part;
            last.ldc = 16;
            kernel(&last);
            for (size_t r = 0; r < p.m; r++)
                assert_memory_equal(part + r * 16, whole + r * p.n + first, last.n * sizeof *part);
            free(part);
        }
        free(whole);
        free(row);
        problem_free(&p);
    }
}

static void test_rows_alone(void **state) {
    (void)state;
    each_tier(alone);
}

/* A NaN or an infinity in A reaches its own row and no other. */
static void special(const hone_kernels *kernels, const char *tier) {
    (void)tier;
    for (int type = 0; type < 2; type++) {
        hone_dtype compute = type == 0 ? HONE_F32 : HONE_BF16;
        problem p = problem_new(compute, 33, 35, 37, 0, false);
        dense_set(p.one.a.data, compute, 5 * p.one.lda + 36, (double)NAN);
        dense_set(p.one.a.data, compute, 7 * p.one.lda + 3, (double)INFINITY);
        float *c = calloc(p.m * p.n, sizeof *c);
        hone_gemm g = problem_gemm(&p, c, p.n, HONE_F32);
        (compute == HONE_F32 ? kernels->gemm_f32 : kernels->gemm_bf16)(&g);
        for (size_t i = 0; i < p.m * p.n; i++) {
            if (i / p.n == 5)
                assert_true(isnan(c[i]));
            else if (i / p.n == 7)
                assert_true(isinf(c[i]));
            else
                assert_true(isfinite(c[i]));
        }
        free(c);
        problem_free(&p);
    }
}

static void test_special(void **state) {
    (void)state;
    each_tier(special);
}

/* Only the first depths of what was packed (b_depth): the others must not get in, zero or not. */
static void first_depths(const hone_kernels *kernels, const char *tier) {
    static const size_t depths[] = {1, 32, 41, 64, 700};
    for (int i = 0; i < 10; i++) {
        hone_dtype compute = i % 2 == 0 ? HONE_F32 : HONE_BF16;
        problem p = problem_new(compute, 45, 83, 731, 8, true);
        float *c = calloc(p.m * p.n, sizeof *c);
        hone_gemm g = problem_gemm(&p, c, p.n, HONE_F32);
        g.k = depths[i / 2];
        g.b_depth = p.one.k;
        (compute == HONE_F32 ? kernels->gemm_f32 : kernels->gemm_bf16)(&g);
        for (size_t r = 0; r < p.m; r++) {
            for (size_t k = g.k; k < p.one.k; k++) p.one.av[r * p.one.k + k] = 0;
        }
        check(&p, c, p.n, HONE_F32, NULL, tier);
        free(c);
        problem_free(&p);
    }
}

static void test_first_depths(void **state) {
    (void)state;
    each_tier(first_depths);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_depths),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_rows_alone),
        cmocka_unit_test(test_special),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
