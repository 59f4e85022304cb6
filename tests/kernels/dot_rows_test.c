/* Rows times stored rows of weights, every variant that runs here, every type of weight, as rows and as tiles, against
 * float64: sizes around the vectors and around the rows that are taken together, guard pages behind every operand,
 * outputs that start as NaN and stay so outside the range, the same bits whatever else is in the call. */
#include "kernels/matrix_help.h"

typedef struct problem {
    size_t m, n, k, k2;
    hone_dtype x_dtype;
    test_matrix w, w2;
    guarded x, x2, bias, tiles;
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

/* Gives w tiles, and nothing but NaN in the rows that are there, if the kernel wants tiles. False for a w that cannot
 * have any. */
static bool give_tiles(problem *p, const hone_kernels *kernels) {
    size_t bytes = hone_tiles_bytes(&p->w.m), whole = p->n / HONE_TILE_ROWS;
    if (bytes == 0) return false;
    p->tiles = guarded_new(bytes);
    hone_tiles_fill(&p->w.m, 0, whole, p->tiles.data);
    p->w.m.tiles = p->tiles.data;
    if (kernels->wants_tiles)
        memset(p->w.data.data, 0xff, whole * HONE_TILE_ROWS * p->w.m.row_bytes);
    return true;
}

static void problem_free(problem *p) {
    if (p->tiles.map != NULL) guarded_free(&p->tiles);
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

static void four_ways(const hone_kernels *kernels, const char *tier, const problem *p) {
    run(kernels, tier, p, 0, p->n, HONE_F32, false);
    run(kernels, tier, p, 0, p->n, HONE_F32, true);
    run(kernels, tier, p, p->n / 3, p->n, HONE_BF16, true);
    run(kernels, tier, p, 0, p->n - p->n / 3, HONE_BF16, false);
}

static void sizes(const hone_kernels *kernels, const char *tier) {
    static const size_t dense_depths[] = {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 100, 577};
    static const size_t block_depths[] = {32, 64, 96, 160, 576, 2080};
    static const size_t rows[] = {1, 2, 3, 4, 5, 8, 11, 16, 37};
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
                four_ways(kernels, tier, &p);
                if (give_tiles(&p, kernels)) four_ways(kernels, tier, &p);
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
        do {
            run(kernels, tier, &p, 0, p.n, HONE_F32, true);
            run(kernels, tier, &p, 1, p.n, HONE_F32, false);
        } while (!p.w.m.tiles && give_tiles(&p, kernels));
        problem_free(&p);
    }
}

static void test_strips(void **state) {
    (void)state;
    each_tier(strips);
}

/* An element has the bits that it has alone. */
static void check_alone(const hone_kernels *kernels, const problem *p) {
    enum { MOST = 3 * 37 };
    float whole[MOST], one[MOST];
    hone_dot_rows job = problem_job(p, whole, p->n, true);
    kernels->dot_rows(&job);
    for (size_t at = 0; at < p->m * p->n; at++) {
        size_t row = at / p->n, element = p->x_dtype == HONE_F32 ? 4 : 2;
        job = problem_job(p, one, p->n, true);
        job.m = 1;
        job.x = (char *)p->x.data + row * job.ldx * element;
        job.x2 = (char *)p->x2.data + row * job.ldx2 * element;
        job.begin = at % p->n;
        job.end = job.begin + 1;
        kernels->dot_rows(&job);
        assert_memory_equal(&one[job.begin], &whole[at], sizeof(float));
    }
}

static void alone(const hone_kernels *kernels, const char *tier) {
    (void)tier;
    for (size_t i = 0; i < 2 * KINDS; i++) {
        weight_kind f32 = {HONE_F32, 0, 0};
        problem p = problem_new(kinds[i / 2], 3, 37, 384, f32, 9, i % 2 ? HONE_BF16 : HONE_F32);
        check_alone(kernels, &p);
        if (give_tiles(&p, kernels)) check_alone(kernels, &p);
        problem_free(&p);
    }
}

static void test_alone(void **state) {
    (void)state;
    each_tier(alone);
}

/* The only row of x, in float32, times row j of w; *squares: plus those of the terms. */
static double exact(const problem *p, size_t j, double *squares) {
    double sum = 0;
    for (size_t k = 0; k < p->k; k++) {
        double term = dense_get(p->x.data, HONE_F32, k) * p->w.values[j * p->k + k];
        sum += term;
        *squares += term * term;
    }
    return sum;
}

/* The error of many sums is that of float32, also where an element is a thousand times as large as the others (of the
 * sum in which it lies). A digit less in a kernel's fixed point is 50 times above the bound. */
static void check_accuracy(const hone_kernels *kernels, const char *tier, const problem *p) {
    float c[64];
    hone_dot_rows job = problem_job(p, c, p->n, false);
    kernels->dot_rows(&job);
    double errors = 0, terms = 0;
    for (size_t j = 0; j < p->n; j++) {
        double error = c[j] - exact(p, j, &terms);
        errors += error * error;
    }
    if (!(sqrt(errors / terms) <= 5e-7))
        fail_msg("%s %s: error %g of the terms", tier, hone_dtype_name(p->w.m.dtype),
                 sqrt(errors / terms));
}

static void accuracy(const hone_kernels *kernels, const char *tier) {
    for (size_t i = 0; i < 2 * KINDS; i++) {
        weight_kind kind = kinds[i / 2], f32 = {HONE_F32, 0, 0};
        problem p = problem_new(kind, 1, 64, kind.group == 128 ? 640 : 576, f32, 1, HONE_F32);
        if (i % 2 != 0) dense_set(p.x.data, HONE_F32, 100, 1000);
        check_accuracy(kernels, tier, &p);
        if (give_tiles(&p, kernels)) check_accuracy(kernels, tier, &p);
        problem_free(&p);
    }
}

static void test_accuracy(void **state) {
    (void)state;
    each_tier(accuracy);
}

/* An x near the end of float32's range, whose quotients could be beyond it: what is lost is below 2^-118. */
static void check_tiny(const hone_kernels *kernels, const char *tier, const problem *p) {
    float c[21];
    hone_dot_rows job = problem_job(p, c, p->n, false);
    kernels->dot_rows(&job);
    for (size_t j = 0; j < p->n; j++) {
        double want = 0, sum_abs = 0;
        add_products(p, &p->x, p->k + 3, &p->w, 0, j, 1, &want, &sum_abs);
        if (!(fabs(c[j] - want) <= sum_abs * 1e-5 + 384 * 0x1p-118))
            fail_msg("%s %s: %g, expected %g", tier, hone_dtype_name(p->w.m.dtype), (double)c[j],
                     want);
    }
}

static void tiny(const hone_kernels *kernels, const char *tier) {
    for (size_t i = 0; i < KINDS; i++) {
        weight_kind f32 = {HONE_F32, 0, 0};
        problem p = problem_new(kinds[i], 1, 21, 384, f32, 1, HONE_F32);
        for (size_t k = 0; k < 384; k++)
            dense_set(p.x.data, HONE_F32, k, dense_get(p.x.data, HONE_F32, k) * 0x1p-112);
        check_tiny(kernels, tier, &p);
        if (give_tiles(&p, kernels)) check_tiny(kernels, tier, &p);
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
        problem p = problem_new(kinds[i / 4], 1, 21, 384, f32, 1, i % 3 ? HONE_BF16 : HONE_F32);
        for (size_t k = 0; k < 384 && values[i % 4] == 0; k++) dense_set(p.x.data, p.x_dtype, k, 0);
        dense_set(p.x.data, p.x_dtype, 37 + i, values[i % 4]);
        float c[21];
        do {
            hone_dot_rows job = problem_job(&p, c, p.n, false);
            kernels->dot_rows(&job);
            for (size_t j = 0; j < p.n; j++)
                assert_true(values[i % 4] == 0 ? c[j] == 0 : !isfinite(c[j]));
        } while (!p.w.m.tiles && give_tiles(&p, kernels));
        problem_free(&p);
    }
}

static void test_not_finite(void **state) {
    (void)state;
    each_tier(not_finite);
}

/* Long sums of bytes are not off to one side: the mean error of many is a fraction of an error. */
static void unbiased(const hone_kernels *kernels, const char *tier) {
    enum { ROWS = 512, DEPTH = 2048 };
    weight_kind bytes = {HONE_Q8_0, 0, 0}, f32 = {HONE_F32, 0, 0};
    problem p = problem_new(bytes, 1, ROWS, DEPTH, f32, 1, HONE_F32);
    /* Scales of one sign: errors cannot cancel. */
    for (size_t at = 0; at < ROWS * DEPTH / 32; at++) {
        uint8_t *d = (uint8_t *)p.w.data.data + at * 34;
        for (size_t i = 0; (d[1] & 0x80) != 0 && i < 32; i++) p.w.values[at * 32 + i] *= -1;
        d[1] &= 0x7f;
    }
    float c[ROWS];
    hone_dot_rows job = problem_job(&p, c, ROWS, false);
    kernels->dot_rows(&job);
    double mean = 0, terms = 0;
    for (size_t j = 0; j < ROWS; j++) mean += (c[j] - exact(&p, j, &terms)) / ROWS;
    terms /= ROWS;
    print_message("%s: mean error %.2g of the terms\n", tier, mean / sqrt(terms));
    problem_free(&p);
    if (!(fabs(mean) <= 4e-8 * sqrt(terms))) fail_msg("%s: the mean error is too large", tier);
}

static void test_unbiased(void **state) {
    (void)state;
    each_tier(unbiased);
}

/* Every code of w the largest, or of bytes the smallest. */
static void fill_codes(test_matrix *t) {
    size_t bytes = hone_dtype_block_bytes(t->m.dtype), codes = t->m.dtype == HONE_Q8_0 ? 32 : 16;
    for (size_t at = 0; at < t->m.rows * (t->m.cols / 32); at++) {
        uint8_t *p = (uint8_t *)t->data.data + at * bytes;
        double d = dense_get(p, HONE_F16, 0), m = 0;
        if (t->m.dtype == HONE_Q4_0) m = -8 * d;
        if (t->m.dtype == HONE_Q4_1) m = dense_get(p, HONE_F16, 1);
        memset(p + bytes - codes, codes == 32 ? 0x80 : 0xff, codes);
        for (size_t i = 0; i < 32; i++) t->values[at * 32 + i] = d * (codes == 32 ? -128 : 15) + m;
    }
}

/* The largest sums of integers that there are, for fixed point with digits of 7 and 8 bits and of 12. */
static void extremes(const hone_kernels *kernels, const char *tier) {
    static const hone_dtype types[] = {HONE_Q4_0, HONE_Q4_1, HONE_Q8_0};
    static const double least[] = {1, -1, 1 - 128.0 / (127 << 15), 1 - 2048.0 / (8191 << 12)};
    for (size_t i = 0; i < 3 * 4; i++) {
        weight_kind kind = {types[i / 4], 0, 0}, f32 = {HONE_F32, 0, 0};
        problem p = problem_new(kind, 1, 21, 96, f32, 1, HONE_F32);
        fill_codes(&p.w);
        for (size_t k = 0; k < p.k; k++)
            dense_set(p.x.data, HONE_F32, k, k % 32 == 0 ? 1 : least[i % 4]);
        do {
            run(kernels, tier, &p, 0, p.n, HONE_F32, false);
        } while (!p.w.m.tiles && give_tiles(&p, kernels));
        problem_free(&p);
    }
}

static void test_extremes(void **state) {
    (void)state;
    each_tier(extremes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),    cmocka_unit_test(test_strips),
        cmocka_unit_test(test_alone),    cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_accuracy), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_extremes), cmocka_unit_test(test_unbiased)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
