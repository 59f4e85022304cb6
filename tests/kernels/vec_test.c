/* Element-wise and row-wise kernels, every tier that runs here: each kernel against the float64 oracle at every length
 * from 1 to 67 with guard pages behind every array, outputs that start as NaN, special values, and rows that are the
 * same alone. */
#include "kernels/vec_help.h"

#include "kernels/ref/ref.h"

static const hone_dtype types[2] = {HONE_F32, HONE_BF16};
enum { LONGEST = 67 };

/* ---- rms_norm ---- */

static void rms_norm_case(const hone_kernels *k, size_t n, hone_dtype x_type, hone_dtype y_type) {
    enum { ROWS = 3 };
    hone_rng rng = hone_rng_make(n);
    array x = array_random(x_type, ROWS * n, 2, &rng), gamma = array_random(HONE_F32, n, 1, &rng);
    array y = array_new(y_type, ROWS * n), copy = array_new(y_type, ROWS * n),
          rstd = array_new(HONE_F32, ROWS);
    array again = array_new(y_type, ROWS * n), want = array_new(HONE_F32, ROWS * n),
          alone = array_new(y_type, n);
    hone_rms_norm_forward f = {ROWS,  n,        x.g.data, x_type,      gamma.g.data,
                               1e-5f, y.g.data, y_type,   rstd.g.data, copy.g.data};
    k->rms_norm_forward(&f);
    hone_rms_norm_rebuild b = {ROWS,         n,           x.g.data,     x_type,
                               gamma.g.data, rstd.g.data, again.g.data, y_type};
    k->rms_norm_rebuild(&b);
    hone_ref_rms_norm_forward(ROWS, n, x.values, gamma.values, 1e-5f, want.values);
    for (size_t i = 0; i < ROWS * n; i++) {
        check("y", &y, i, want.values[i], want.values[i], 12);
        check("copy", &copy, i, x.values[i], x.values[i], 0);
        assert_true(array_get(&again, i) == array_get(&y, i));
    }
    f.rows = 1;
    f.x = (char *)x.g.data + n * (x_type == HONE_F32 ? 4 : 2);
    f.y = alone.g.data;
    f.rstd = f.copy = NULL;
    k->rms_norm_forward(&f);
    for (size_t i = 0; i < n; i++) assert_true(array_get(&alone, i) == array_get(&y, n + i));
    array *all[] = {&x, &gamma, &y, &copy, &rstd, &again, &want, &alone};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_free(all[i]);
}

static void rms_norm_backward_case(const hone_kernels *k, size_t n, hone_dtype dy_type,
                                   hone_dtype x_type, bool add) {
    enum { ROWS = 3 };
    hone_rng rng = hone_rng_make(n);
    array x = array_random(x_type, ROWS * n, 1, &rng), gamma = array_random(HONE_F32, n, 1, &rng);
    array dy = array_random(dy_type, ROWS * n, 1, &rng), rstd = array_new(HONE_F32, ROWS);
    array dx = add ? array_random(HONE_F32, ROWS * n, 1, &rng) : array_new(HONE_F32, ROWS * n);
    array copy = array_new(dy_type, ROWS * n), dgamma = array_random(HONE_F32, n, 1, &rng);
    double *want = calloc(ROWS * n, sizeof *want), *want_gamma = calloc(n, sizeof *want_gamma);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += x.values[r * n + i] * x.values[r * n + i];
        array_set(&rstd, r, 1 / sqrt(sum / (double)n + 0.25));
    }
    hone_rms_norm_backward b = {ROWS,         n,           dy.g.data, dy_type, x.g.data,    x_type,
                                gamma.g.data, rstd.g.data, dx.g.data, add,     copy.g.data, dy_type,
                                dgamma.g.data};
    k->rms_norm_backward(&b);
    hone_ref_rms_norm_backward(ROWS, n, x.values, gamma.values, 0.25, dy.values, want, want_gamma);
    for (size_t i = 0; i < ROWS * n; i++) {
        double value = want[i] + (add ? dx.values[i] : 0);
        check("dx", &dx, i, value, 8, 16);
        check("copy", &copy, i, array_get(&dx, i), array_get(&dx, i), 0);
    }
    for (size_t i = 0; i < n; i++)
        check("dgamma", &dgamma, i, want_gamma[i] + dgamma.values[i], 8, 16);
    array *all[] = {&x, &gamma, &dy, &rstd, &dx, &copy, &dgamma};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_free(all[i]);
    free(want);
    free(want_gamma);
}

static void rms_norm(const hone_kernels *k) {
    for (size_t n = 1; n <= LONGEST; n++) {
        for (size_t t = 0; t < 4; t++) {
            rms_norm_case(k, n, types[t / 2], types[t % 2]);
            rms_norm_backward_case(k, n, types[t / 2], types[t % 2], n % 2);
        }
    }
}

static void test_rms_norm(void **state) {
    (void)state;
    each_vec_tier(rms_norm);
}

/* The same in rows that vectors do not divide, y and the copy apart: an element's bits do not depend on the cut. */
static void rms_norm_cut(const hone_kernels *k, size_t n, const float *ones, const float *values,
                         const hone_bf16 *y, const hone_bf16 *copy) {
    enum { CUT = 19 };
    hone_bf16 part[CUT], rest[CUT];
    for (size_t i = 0, count; i < n; i += count) {
        count = HONE_MIN(n - i, (size_t)CUT);
        hone_rms_norm_forward a = {.rows = 1,
                                   .hidden = count,
                                   .x = ones + i,
                                   .gamma = values + i,
                                   .y = part,
                                   .y_dtype = HONE_BF16};
        k->rms_norm_forward(&a);
        a.x = values + i, a.gamma = NULL, a.y = NULL, a.copy = rest;
        k->rms_norm_forward(&a);
        assert_memory_equal(part, y + i, count * sizeof *y);
        assert_memory_equal(rest, copy + i, count * sizeof *copy);
    }
}

/* Results are the bfloat16 nearest to what was computed: here to gamma and, as the copy, to x. Of two that are as near
 * either will do. */
static void rms_norm_rounding(const hone_kernels *k) {
    enum { ALL = 0x7f80, COUNT = 2 * ALL }; /* finite, of both signs */
    static const uint16_t low[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    static float values[COUNT], ones[COUNT];
    static hone_bf16 ones_16[COUNT], y[3][COUNT];
    for (size_t i = 0; i < COUNT; i++) ones[i] = 1, ones_16[i] = hone_f32_to_bf16(1);
    for (size_t l = 0; l < sizeof low / sizeof *low; l++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            uint32_t bits = (i < ALL ? i : i - ALL + 0x8000) << 16 | low[l];
            memcpy(&values[i], &bits, 4);
        }
        hone_rms_norm_forward a = {.rows = 1,
                                   .hidden = COUNT,
                                   .x = ones,
                                   .gamma = values,
                                   .y = y[0],
                                   .y_dtype = HONE_BF16};
        k->rms_norm_forward(&a);
        a.x = ones_16, a.x_dtype = HONE_BF16, a.y = y[1];
        k->rms_norm_forward(&a);
        a.x = values, a.x_dtype = HONE_F32, a.gamma = ones, a.y = ones_16, a.copy = y[2];
        k->rms_norm_forward(&a);
        for (size_t i = 0; i < COUNT; i++) ones_16[i] = hone_f32_to_bf16(1);
        for (int which = 0; which < 3; which++)
            for (size_t i = 0; i < COUNT; i++) {
                hone_bf16 even = hone_f32_to_bf16(values[i]), got = y[which][i];
                bool tie = low[l] == 0x8000 && got == (even ^ 1);
                assert_true(got == even || tie);
            }
        rms_norm_cut(k, COUNT, ones, values, y[0], y[2]);
    }
}

static void test_rms_norm_rounding(void **state) {
    (void)state;
    each_vec_tier(rms_norm_rounding);
}

/* A NaN whose lower half is full stays one: as a number it would round to 0. */
static void rms_norm_nans(const hone_kernels *k) {
    enum { ROWS = 3, N = 41 };
    for (size_t at = 0; at < N; at++) {
        const uint32_t bits = at % 2 ? 0xffffffff : 0x7fffffff;
        float x[ROWS * N], gamma[N];
        hone_bf16 x16[ROWS * N], y[ROWS * N], copy[ROWS * N];
        for (size_t i = 0; i < ROWS * N; i++) x[i] = 1, x16[i] = hone_f32_to_bf16(1);
        for (size_t i = 0; i < N; i++) gamma[i] = 1;
        memcpy(&x[N + at], &bits, 4);
        hone_rms_norm_forward a = {.rows = ROWS,
                                   .hidden = N,
                                   .x = x,
                                   .gamma = gamma,
                                   .y = y,
                                   .y_dtype = HONE_BF16,
                                   .copy = copy};
        k->rms_norm_forward(&a);
        for (size_t i = 0; i < ROWS * N; i++) {
            assert_int_equal(isnan(hone_bf16_to_f32(y[i])), i / N == 1);
            assert_int_equal(isnan(hone_bf16_to_f32(copy[i])), i == N + at);
        }
        const float one[ROWS] = {1, 1, 1};
        hone_rms_norm_rebuild b = {ROWS, N, x, HONE_F32, gamma, one, y, HONE_BF16};
        k->rms_norm_rebuild(&b);
        for (size_t i = 0; i < ROWS * N; i++)
            assert_int_equal(isnan(hone_bf16_to_f32(y[i])), i == N + at);
        x[N + at] = 1;
        memcpy(&gamma[at], &bits, 4);
        for (int narrow = 0; narrow < 2; narrow++) {
            if (narrow) a.x = x16, a.x_dtype = HONE_BF16;
            k->rms_norm_forward(&a);
            for (size_t i = 0; i < ROWS * N; i++) {
                assert_int_equal(isnan(hone_bf16_to_f32(y[i])), i % N == at);
                assert_false(isnan(hone_bf16_to_f32(copy[i])));
            }
            b = (hone_rms_norm_rebuild){ROWS, N, a.x, a.x_dtype, gamma, one, y, HONE_BF16};
            k->rms_norm_rebuild(&b);
            for (size_t i = 0; i < ROWS * N; i++)
                assert_int_equal(isnan(hone_bf16_to_f32(y[i])), i % N == at);
        }
    }
}

static void test_rms_norm_nans(void **state) {
    (void)state;
    each_vec_tier(rms_norm_nans);
}

/* ---- rope ---- */

static void rope_case(const hone_kernels *k, size_t half, size_t rest, hone_dtype type, int mode,
                      bool in_place) {
    enum { ROWS = 3, HEADS = 2, POSITIONS = 4 };
    bool interleaved = mode & 1, inverse = mode & 2;
    size_t dim = 2 * half + rest, stride = HEADS * dim, count = ROWS * stride;
    hone_rng rng = hone_rng_make(half);
    array x = array_random(type, count, 1, &rng), y = array_new(type, count);
    array cosine = array_new(HONE_F32, POSITIONS * half),
          sine = array_new(HONE_F32, POSITIONS * half);
    for (size_t i = 0; i < POSITIONS * half; i++) {
        double angle = hone_rng_uniform(&rng) * 6;
        array_set(&cosine, i, cos(angle));
        array_set(&sine, i, sin(angle));
    }
    int32_t positions[ROWS] = {2, 0, 3};
    hone_rope a = {
        ROWS,        HEADS,  dim,  2 * half,  x.g.data,      in_place ? x.g.data : y.g.data,
        stride,      stride, type, positions, cosine.g.data, sine.g.data,
        interleaved, inverse};
    k->rope(&a);
    hone_ref_rope ref = {ROWS,      HEADS,         dim,         2 * half,
                         positions, cosine.values, sine.values, interleaved};
    double *want = calloc(count, sizeof *want);
    (inverse ? hone_ref_rope_backward : hone_ref_rope_forward)(&ref, x.values, want);
    for (size_t i = 0; i < count; i++) check("y", in_place ? &x : &y, i, want[i], 4, 3);
    free(want);
    array_free(&x);
    array_free(&y);
    array_free(&cosine);
    array_free(&sine);
}

static void rope(const hone_kernels *k) {
    for (size_t half = 1; half <= LONGEST; half++) {
        for (int mode = 0; mode < 8; mode++)
            rope_case(k, half, half % 4, types[half % 2], mode & 3, mode & 4);
        rope_case(k, half, 0, types[(half + 1) % 2], half & 3, false);
    }
}

static void test_rope(void **state) {
    (void)state;
    each_vec_tier(rope);
}

/* ---- silu_mul ---- */

static void silu_mul_case(const hone_kernels *k, size_t n, hone_dtype type) {
    hone_rng rng = hone_rng_make(n);
    array dh = array_random(type, n, 1, &rng), gate = array_random(type, n, 4, &rng),
          up = array_random(type, n, 1, &rng);
    array h = array_new(type, n), dgate = array_new(type, n), dup = array_new(type, n),
          again = array_new(type, n);
    k->silu_mul(n, type, gate.g.data, up.g.data, h.g.data);
    k->silu_mul_backward(n, type, dh.g.data, gate.g.data, up.g.data, dgate.g.data, dup.g.data,
                         again.g.data);
    const double bound = type == HONE_F32 ? 8 : 0x1p11; /* bfloat16: the sigmoid is good to 2^-13 */
    for (size_t i = 0; i < n; i++) {
        double x = gate.values[i], u = up.values[i], s = 1 / (1 + exp(-x)),
               slope = s * (1 + x * (1 - s));
        check("h", &h, i, x * s * u, x * s * u, bound);
        check("dup", &dup, i, dh.values[i] * x * s, dh.values[i] * x * s, bound);
        check("dgate", &dgate, i, dh.values[i] * u * slope, dh.values[i] * u, bound);
        check("h again", &again, i, x * s * u, x * s * u, bound);
    }
    size_t cut = n / 3;
    array part = array_new(type, n);
    size_t element = type == HONE_F32 ? 4 : 2;
    k->silu_mul(cut, type, gate.g.data, up.g.data, part.g.data);
    k->silu_mul(n - cut, type, (char *)gate.g.data + cut * element,
                (char *)up.g.data + cut * element, (char *)part.g.data + cut * element);
    assert_memory_equal(part.g.data, h.g.data, n * element);
    array *in_place[] = {&gate, &up};
    for (size_t i = 0; i < 2; i++) {
        memcpy(part.g.data, in_place[i]->g.data, n * element);
        k->silu_mul(n, type, i == 0 ? part.g.data : gate.g.data, i == 1 ? part.g.data : up.g.data,
                    part.g.data);
        assert_memory_equal(part.g.data, h.g.data, n * element);
    }
    k->silu_mul_backward(n, type, dh.g.data, gate.g.data, up.g.data, gate.g.data, up.g.data,
                         dh.g.data);
    assert_memory_equal(gate.g.data, dgate.g.data, n * element);
    assert_memory_equal(up.g.data, dup.g.data, n * element);
    assert_memory_equal(dh.g.data, again.g.data, n * element);
    array *all[] = {&dh, &gate, &up, &h, &dgate, &dup, &again, &part};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_free(all[i]);
}

static void silu_mul(const hone_kernels *k) {
    for (size_t n = 1; n <= LONGEST; n++) {
        silu_mul_case(k, n, HONE_F32);
        silu_mul_case(k, n, HONE_BF16);
    }
    silu_mul_case(k, 1003, HONE_F32); /* chunks, pairs of vectors, vectors, and a rest */
    silu_mul_case(k, 1003, HONE_BF16);
}

static void test_silu_mul(void **state) {
    (void)state;
    each_vec_tier(silu_mul);
}

/* Every NaN of an operand in bfloat16 reaches its results, whole vectors and rests of them. */
static void short_nans(const hone_kernels *k) {
    enum { NANS = 254, COUNT = 3 * NANS };
    static hone_bf16 nan[COUNT], ones[COUNT], h[COUNT], again[COUNT], dgate[COUNT], dup[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        uint32_t of = (uint32_t)(i % NANS);
        nan[i] = (hone_bf16)(of < NANS / 2 ? 0x7f81 + of : 0xff81 + of - NANS / 2);
        ones[i] = hone_f32_to_bf16(1);
        assert_true(isnan(hone_bf16_to_f32(nan[i])));
    }
    const hone_bf16 *operands[3] = {ones, ones, ones}; /* gate, up, dh */
    for (int which = 0; which < 3; which++) {
        operands[which] = nan;
        k->silu_mul(COUNT, HONE_BF16, operands[0], operands[1], h);
        k->silu_mul_backward(COUNT, HONE_BF16, operands[2], operands[0], operands[1], dgate, dup,
                             again);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(isnan(hone_bf16_to_f32(h[i])), which < 2);
            assert_int_equal(isnan(hone_bf16_to_f32(again[i])), which < 2);
            assert_int_equal(isnan(hone_bf16_to_f32(dgate[i])), true);
            assert_int_equal(isnan(hone_bf16_to_f32(dup[i])), which != 1);
        }
        operands[which] = ones;
    }
    static float cosine[COUNT / 2], sine[COUNT / 2];
    for (size_t i = 0; i < COUNT / 2; i++) cosine[i] = sine[i] = 0.7f;
    const int32_t position = 0;
    hone_rope turn = {1,     1,         COUNT,     COUNT,  nan,  h,     COUNT,
                      COUNT, HONE_BF16, &position, cosine, sine, false, false};
    k->rope(&turn);
    for (size_t i = 0; i < COUNT; i++) assert_true(isnan(hone_bf16_to_f32(h[i])));
}

static void test_short_nans(void **state) {
    (void)state;
    each_vec_tier(short_nans);
}

/* ---- softmax ---- */

/* Two tiles of n columns each, the second with fewer valid ones from row to row (the last row: none). */
static void softmax_case(const hone_kernels *k, size_t n, hone_dtype type, double magnitude) {
    enum { ROWS = 37 }; /* more than are done together, and a rest */
    hone_rng rng = hone_rng_make(n);
    array s[2] = {array_random(HONE_F32, ROWS * n, magnitude, &rng),
                  array_random(HONE_F32, ROWS * n, magnitude, &rng)};
    array p[2] = {array_new(type, ROWS * n), array_new(type, ROWS * n)};
    size_t whole[ROWS], some[ROWS];
    for (size_t r = 0; r < ROWS; r++) whole[r] = n, some[r] = n - n * r / (ROWS - 1);
    float m[ROWS], l[ROWS], lse[ROWS], first[ROWS], correction[ROWS], scale = 0.125f;
    for (size_t r = 0; r < ROWS; r++) m[r] = -INFINITY, l[r] = 0;
    for (size_t t = 0; t < 2; t++) {
        hone_softmax_tile a = {
            ROWS, n,    s[t].g.data, n, t ? some : whole,      scale, p[t].g.data,
            n,    type, m,           l, t ? correction : first};
        k->softmax_tile(&a);
    }
    for (size_t r = 0; r < ROWS; r++) lse[r] = m[r] + logf(l[r]);
    array dp = array_random(HONE_F32, ROWS * n, 1, &rng),
          delta = array_random(HONE_F32, ROWS, 1, &rng);
    array again = array_new(type, ROWS * n), ds = array_new(type, ROWS * n);
    hone_softmax_again b = {ROWS,         n,         s[1].g.data,  n,         some, scale, lse,
                            again.g.data, dp.g.data, delta.g.data, ds.g.data, n,    type};
    k->softmax_again(&b);
    for (size_t r = 0; r < ROWS; r++) {
        double high = -INFINITY, sum = 0, slack = 8 + 4 * magnitude * scale;
        for (size_t j = 0; j < n + some[r]; j++)
            high = fmax(high, scale * s[j / n].values[r * n + j % n]);
        for (size_t j = 0; j < n + some[r]; j++)
            sum += exp(scale * s[j / n].values[r * n + j % n] - high);
        assert_true(fabs(lse[r] - (high + log(sum))) <= slack * 0x1p-24 * (4 + fabs(high)));
        assert_true(first[r] == 0 && (some[r] > 0 || correction[r] == 1));
        for (size_t j = 0; j < n; j++) {
            size_t i = r * n + j;
            double a = scale * s[0].values[i], c = scale * s[1].values[i];
            double want = j < some[r] ? exp(c - high - log(sum)) : 0;
            check("p0", &p[0], i, exp(a - high) / correction[r], exp(a - high) / correction[r],
                  4 * slack);
            check("p1", &p[1], i, j < some[r] ? exp(c - m[r]) : 0, exp(c - m[r]), 2 * slack);
            check("p", &again, i, want, want, 4 * slack);
            check("ds", &ds, i, want * (dp.values[i] - delta.values[r]) * scale, 4 * want * scale,
                  4 * slack);
        }
    }
    array *all[] = {&s[0], &s[1], &p[0], &p[1], &dp, &delta, &again, &ds};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_free(all[i]);
}

static void softmax(const hone_kernels *k) {
    for (size_t n = 1; n <= LONGEST; n++) {
        for (size_t t = 0; t < 2; t++) {
            softmax_case(k, n, types[t], 1);
            softmax_case(k, n, types[t], 100);
        }
    }
    /* In place, scores of -inf weigh nothing, a row of them is left for later tiles. */
    float s[2][5] = {{-INFINITY, 0, 1, NAN, NAN}, {-INFINITY, -INFINITY, -INFINITY, NAN, NAN}};
    float m[2] = {-INFINITY, -INFINITY}, l[2] = {0}, correction[2];
    size_t valid[2] = {3, 3};
    hone_softmax_tile a = {2, 5, s[0], 5, valid, 1, s[0], 5, HONE_F32, m, l, correction};
    k->softmax_tile(&a);
    assert_true(s[0][0] == 0 && fabsf(s[0][1] - expf(-1)) < 1e-6f && s[0][2] == 1 && s[0][3] == 0 &&
                s[0][4] == 0);
    assert_true(m[0] == 1 && fabsf(l[0] - 1 - expf(-1)) < 1e-6f && correction[0] == 0);
    for (size_t j = 0; j < 5; j++) assert_true(s[1][j] == 0);
    assert_true(isinf(m[1]) && l[1] == 0 && correction[1] == 1);
}

static void test_softmax(void **state) {
    (void)state;
    each_vec_tier(softmax);
}

/* ---- cross_entropy ---- */

static void cross_entropy_case(const hone_kernels *k, size_t n, hone_dtype type, double magnitude) {
    enum { ROWS = 4 };
    hone_rng rng = hone_rng_make(n);
    array x = array_random(type, ROWS * n, magnitude, &rng), dx = array_new(type, ROWS * n);
    array loss = array_new(HONE_F32, ROWS), lse = array_new(HONE_F32, ROWS);
    int32_t labels[ROWS] = {0, (int32_t)n - 1, HONE_IGNORE, (int32_t)(n / 2)};
    k->cross_entropy_forward(ROWS, n, x.g.data, type, n, labels, loss.g.data, lse.g.data);
    k->cross_entropy_backward(ROWS, n, x.g.data, dx.g.data, type, n, labels, lse.g.data, 0.5f);
    double *want = calloc(ROWS, sizeof *want), *gradient = calloc(ROWS * n, sizeof *gradient);
    hone_ref_cross_entropy_forward(ROWS, n, x.values, labels, want);
    hone_ref_cross_entropy_backward(ROWS, n, x.values, labels, 0.5, gradient);
    for (size_t r = 0; r < ROWS; r++) {
        check("loss", &loss, r, want[r], 1 + want[r], 8);
        /* Error of exp(x - lse): half an ulp of lse, as it is kept in float32. */
        for (size_t j = 0; j < n; j++)
            check("dx", &dx, r * n + j, gradient[r * n + j], 0.5, 8 + 4 * magnitude);
    }
    size_t bytes = ROWS * n * (type == HONE_F32 ? 4 : 2);
    k->cross_entropy_backward(ROWS, n, x.g.data, x.g.data, type, n, labels, lse.g.data, 0.5f);
    assert_memory_equal(x.g.data, dx.g.data, bytes);
    free(want);
    free(gradient);
    array_free(&x);
    array_free(&dx);
    array_free(&loss);
    array_free(&lse);
}

static void cross_entropy(const hone_kernels *k) {
    for (size_t n = 1; n <= LONGEST; n++) {
        for (size_t t = 0; t < 2; t++) {
            cross_entropy_case(k, n, types[t], 1);
            cross_entropy_case(k, n, types[t], 1000);
        }
    }
    cross_entropy_case(k, 4999, HONE_F32, 3);
    cross_entropy_case(k, 4096, HONE_BF16, 3);
    /* -inf weighs nothing, even a whole block of it; NaN is NaN. */
    static float x[5000];
    float loss, lse;
    int32_t label = 4999;
    for (size_t i = 0; i < 5000; i++) x[i] = i < 2500 ? -INFINITY : 1;
    k->cross_entropy_forward(1, 5000, x, HONE_F32, 5000, &label, &loss, &lse);
    assert_true(fabs(loss - log(2500)) < 1e-5 && fabs(lse - 1 - log(2500)) < 1e-5);
    x[17] = NAN;
    k->cross_entropy_forward(1, 5000, x, HONE_F32, 5000, &label, &loss, &lse);
    assert_true(isnan(loss) && isnan(lse));
}

static void test_cross_entropy(void **state) {
    (void)state;
    each_vec_tier(cross_entropy);
}

/* ---- add, scale, dot, transpose, adamw ---- */

static void elementwise_case(const hone_kernels *k, size_t n, const hone_dtype *t) {
    hone_rng rng = hone_rng_make(n);
    array a = array_random(t[0], n, 1, &rng), b = array_random(t[1], n, 1, &rng),
          y = array_new(t[2], n);
    array z = array_random(t[2], n, 1, &rng), scaled = array_new(t[2], n);
    k->add(n, a.g.data, t[0], b.g.data, t[1], y.g.data, t[2]);
    k->scale(n, 0.75f, a.g.data, t[0], scaled.g.data, t[2], false);
    k->scale(n, 0.75f, a.g.data, t[0], z.g.data, t[2], true);
    array same = array_random(t[2], n, 1, &rng);
    k->scale(n, 0.75f, same.g.data, t[2], same.g.data, t[2], true);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        check("scale, in place", &same, i, 1.75 * same.values[i], 1.75 * same.values[i], 4);
        check("add", &y, i, a.values[i] + b.values[i], a.values[i] + b.values[i], 1);
        check("scale", &scaled, i, 0.75 * a.values[i], a.values[i], 1);
        check("scale, added", &z, i, 0.75 * a.values[i] + z.values[i], 4, 2);
        sum += a.values[i] * b.values[i];
    }
    assert_true(fabs(k->dot(n, a.g.data, t[0], b.g.data, t[1]) - sum) <= 1e-13);
    array *all[] = {&a, &b, &y, &z, &scaled, &same};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_free(all[i]);
}

static void shift_and_sum_case(const hone_kernels *k, size_t n) {
    hone_rng rng = hone_rng_make(n);
    array x = array_random(HONE_F32, n, 1, &rng), y = array_new(HONE_F32, n);
    k->shift(n, -0.75f, x.g.data, y.g.data);
    double sum = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        check("shift", &y, i, x.values[i] - 0.75, x.values[i] - 0.75, 1);
        sum += x.values[i];
        size += fabs(x.values[i]);
    }
    assert_true(fabs(k->sum(n, x.g.data) - sum) <= 16 * rounding(HONE_F32, size));
    array_free(&x);
    array_free(&y);
}

static void transpose_case(const hone_kernels *k, size_t rows, size_t cols, hone_dtype type) {
    hone_rng rng = hone_rng_make(rows * 100 + cols);
    array x = array_random(type, (rows - 1) * (cols + 3) + cols, 1, &rng);
    array y = array_new(type, (cols - 1) * (rows + 1) + rows);
    k->transpose(rows, cols, x.g.data, cols + 3, y.g.data, rows + 1, type);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++)
            assert_true(array_get(&y, j * (rows + 1) + i) == x.values[i * (cols + 3) + j]);
    }
    for (size_t j = 0; j + 1 < cols; j++) assert_true(isnan(array_get(&y, j * (rows + 1) + rows)));
    array_free(&x);
    array_free(&y);
}

static void adamw_case(const hone_kernels *k, size_t n) {
    hone_rng rng = hone_rng_make(n);
    array w = array_random(HONE_F32, n, 1, &rng), m = array_random(HONE_F32, n, 0.1, &rng);
    array v = array_new(HONE_F32, n), g = array_random(HONE_F32, n, 1, &rng);
    for (size_t i = 0; i < n; i++) array_set(&v, i, hone_rng_uniform(&rng));
    hone_adamw a = {n,     w.g.data, m.g.data, v.g.data, g.g.data, 1e-2, 0.9,
                    0.999, 1e-8,     0.1,      0.19,     0.001999, 0.5f};
    hone_ref_adamw ref = {1e-2, 0.9, 0.999, 1e-8, 0.1, 0.19, 0.001999};
    k->adamw(&a);
    for (size_t i = 0; i < n; i++) g.values[i] *= 0.5;
    hone_ref_adamw_step(&ref, n, g.values, w.values, m.values, v.values);
    for (size_t i = 0; i < n; i++) {
        check("w", &w, i, w.values[i], 4, 2);
        check("m", &m, i, m.values[i], 1, 4);
        check("v", &v, i, v.values[i], 2, 4);
    }
    array *all[] = {&w, &m, &v, &g};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_free(all[i]);
}

static void elementwise(const hone_kernels *k) {
    for (size_t n = 1; n <= LONGEST; n++) {
        for (size_t t = 0; t < 8; t++) {
            hone_dtype of[3] = {types[t / 4], types[t / 2 % 2], types[t % 2]};
            elementwise_case(k, n, of);
        }
        for (size_t m = 1; m <= 35; m += 1 + m / 3) {
            transpose_case(k, n, m, HONE_F32);
            transpose_case(k, m, n, HONE_BF16);
        }
        shift_and_sum_case(k, n);
        adamw_case(k, n);
    }
    shift_and_sum_case(k, 1000);
    const hone_dtype mixed[3] = {HONE_F32, HONE_BF16, HONE_F32};
    elementwise_case(k, 1000, mixed);
}

static void test_elementwise(void **state) {
    (void)state;
    each_vec_tier(elementwise);
}

/* Conversion to bfloat16: every upper half with lower halves around the tie, as dtype.h rounds. */
static void conversion(const hone_kernels *k) {
    static const uint16_t low[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    for (size_t l = 0; l < sizeof low / sizeof *low; l++) {
        static float x[65536];
        static hone_bf16 y[65536], scaled[65536];
        for (uint32_t i = 0; i < 65536; i++) {
            uint32_t bits = i << 16 | low[l];
            memcpy(&x[i], &bits, 4);
        }
        static const float zeros[65536];
        static hone_bf16 cut[65536]; /* by pieces that a vector does not hold */
        k->add(65536, x, HONE_F32, zeros, HONE_F32, y, HONE_BF16);
        for (size_t i = 0; i < 65536; i += 19)
            k->add(HONE_MIN(65536 - i, (size_t)19), x + i, HONE_F32, zeros, HONE_F32, cut + i,
                   HONE_BF16);
        assert_memory_equal(cut, y, sizeof y);
        k->scale(65536, 1, x, HONE_F32, scaled, HONE_BF16, false);
        for (uint32_t i = 0; i < 65536; i++) {
            if (i == 0x8000 && low[l] == 0) continue; /* -0 + 0 is 0 */
            assert_int_equal(scaled[i], y[i]);
            if (isnan(x[i]))
                assert_true(isnan(hone_bf16_to_f32(y[i])));
            else
                assert_int_equal(y[i], hone_f32_to_bf16(x[i]));
        }
    }
}

static void test_conversion(void **state) {
    (void)state;
    each_vec_tier(conversion);
}

/* dot returns the same bits in every tier. */
static double first_dot[8];
static void same_dot(const hone_kernels *k) {
    hone_rng rng = hone_rng_make(1);
    for (size_t i = 0; i < 8; i++) {
        array a = array_random(HONE_F32, 1 + i * 149, 1, &rng),
              b = array_random(types[i % 2], 1 + i * 149, 1, &rng);
        double dot = k->dot(a.count, a.g.data, HONE_F32, b.g.data, b.dtype);
        if (strcmp(k->vec_name, "scalar") == 0) first_dot[i] = dot;
        assert_true(dot == first_dot[i]);
        array_free(&a);
        array_free(&b);
    }
    assert_true(k->dot(0, NULL, HONE_F32, NULL, HONE_F32) == 0);
}

static void test_same_dot(void **state) {
    (void)state;
    each_vec_tier(same_dot);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rms_norm),      cmocka_unit_test(test_rms_norm_rounding),
        cmocka_unit_test(test_rms_norm_nans), cmocka_unit_test(test_rope),
        cmocka_unit_test(test_silu_mul),      cmocka_unit_test(test_short_nans),
        cmocka_unit_test(test_softmax),       cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_elementwise),   cmocka_unit_test(test_conversion),
        cmocka_unit_test(test_same_dot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
