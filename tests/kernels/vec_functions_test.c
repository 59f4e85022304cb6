/* The functions inside the vector kernels, every tier that runs here: exp, silu and its derivative within bounds of
 * float64 over their ranges. */
#include "kernels/vec_help.h"

enum { SWEEP = 4096 };

/* The distance in units of the last place of float32 at `want`. */
static double ulps(double got, double want) {
    if (fabs(want) > 0x1.fffffffp127)
        return isinf(got) && signbit(got) == signbit(want) ? 0 : INFINITY;
    int exponent;
    frexp(want, &exponent);
    return fabs(got - want) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static void exp_of(const hone_kernels *k, const float *x, float *y) {
    size_t valid = SWEEP;
    float lse = 0;
    hone_softmax_again a = {.rows = 1,
                            .cols = SWEEP,
                            .scores = x,
                            .lds = SWEEP,
                            .valid = &valid,
                            .scale = 1,
                            .lse = &lse,
                            .p = y,
                            .ldp = SWEEP,
                            .out_dtype = HONE_F32};
    k->softmax_again(&a);
}

static void silu_of(const hone_kernels *k, const float *x, float *y) {
    static float ones[SWEEP];
    for (size_t i = 0; i < SWEEP; i++) ones[i] = 1;
    k->silu_mul(SWEEP, HONE_F32, x, ones, y);
}

static void slope_of(const hone_kernels *k, const float *x, float *y) {
    static float ones[SWEEP], dup[SWEEP];
    for (size_t i = 0; i < SWEEP; i++) ones[i] = 1;
    k->silu_mul_backward(SWEEP, HONE_F32, ones, x, ones, y, dup, NULL);
}

/* Every `step`th float32 from 0 to `limit` with both signs; the largest distance from `want`. */
static double sweep(const hone_kernels *k,
                    void (*kernel)(const hone_kernels *k, const float *x, float *y),
                    double (*want)(double x), double (*distance)(double got, double want),
                    float limit) {
    static float x[SWEEP], y[SWEEP];
    double worst = 0;
    uint32_t end, bits = 0, step = 611;
    memcpy(&end, &limit, 4);
    while (bits < end) {
        for (size_t i = 0; i < SWEEP; i += 2) {
            uint32_t b = bits < end ? bits : end;
            memcpy(&x[i], &b, 4);
            x[i + 1] = -x[i];
            bits += step;
        }
        kernel(k, x, y);
        for (size_t i = 0; i < SWEEP; i++) {
            double d = distance(y[i], want(x[i]));
            if (!(d <= worst)) worst = d;
        }
    }
    return worst;
}

static double silu_exact(double x) { return x / (1 + exp(-x)); }
static double slope_exact(double x) {
    double s = 1 / (1 + exp(-x));
    return s * (1 + x * (1 - s));
}
static double absolute(double got, double want) { return fabs(got - want); }

static void functions(const hone_kernels *k) {
    double e = sweep(k, exp_of, exp, ulps, 110), s = sweep(k, silu_of, silu_exact, ulps, 80);
    double d = sweep(k, slope_of, slope_exact, absolute, 110);
    print_message("  exp %.3f ulp, silu %.3f ulp, silu' %.3g\n", e, s, d);
    assert_true(e <= 1.5); /* 1 in units of normal numbers */
    assert_true(s <= 1.7); /* 2.03 without the low part of the denominator */
    assert_true(d <= 3e-7);

    float x[SWEEP] = {-INFINITY, INFINITY, NAN, 0.0f, -0.0f, -1e30f, 1e30f, 88.7228f, 0x1p-140f},
          y[SWEEP];
    exp_of(k, x, y);
    assert_true(y[0] == 0 && isinf(y[1]) && isnan(y[2]) && y[3] == 1 && y[4] == 1 && y[5] == 0 &&
                isinf(y[6]));
    assert_true(isfinite(y[7]) && y[8] == 1);
    silu_of(k, x, y);
    assert_true(isinf(y[1]) && isnan(y[2]) && y[3] == 0 && y[5] == 0 && y[6] == 1e30f &&
                y[8] == 0x1p-141f);
}

/* The exponential that softmax takes where p is bfloat16, as it is summed up: one score a row, the maximum being 0. */
static void short_exp_of(const hone_kernels *k, const float *x, float *y) {
    static hone_bf16 p[SWEEP];
    static float m[SWEEP], correction[SWEEP];
    static size_t valid[SWEEP];
    for (size_t i = 0; i < SWEEP; i++) m[i] = 0, y[i] = 0, valid[i] = 1;
    hone_softmax_tile a = {SWEEP, 1, x, 1, valid, 1, p, 1, HONE_BF16, m, y, correction};
    k->softmax_tile(&a);
}

static void short_functions(const hone_kernels *k) {
    static float x[SWEEP], y[SWEEP];
    double worst = 0, slope = strcmp(k->vec_name, "scalar") == 0 ? 0x1p-23 : 0x1p-25;
    for (uint32_t bits = 0x80000000u; bits < 0xc2ae0000u; bits += SWEEP * 101) { /* to -87 */
        for (uint32_t i = 0; i < SWEEP; i++) {
            uint32_t b = HONE_MIN(bits + i * 101, 0xc2ae0000u);
            memcpy(&x[i], &b, 4);
        }
        short_exp_of(k, x, y);
        for (size_t i = 0; i < SWEEP; i++) {
            double want = exp((double)x[i]);
            double bound = 2e-7 + fabs((double)x[i]) * slope,
                   share = fabs((double)y[i] / want - 1) / bound;
            if (!(share <= worst)) worst = share;
        }
    }
    print_message("  short exp: %.3f of its bound\n", worst);
    assert_true(worst <= 1);
}

/* How far above its rounding to bfloat16 an error is, in parts of what was wanted. */
static double excess(hone_bf16 got, double want) {
    int exponent;
    frexp(want, &exponent);
    return (fabs(hone_bf16_to_f32(got) - want) - ldexp(1, exponent - 9)) / fabs(want);
}

/* silu(gate) * up for every bfloat16 gate and mantissas spread from 1 to 2 as up: the product falls on all sides of a
 * rounding, so that the error before it shows. In whole vectors and, for the first up, one by one. */
static void short_silu(const hone_kernels *k) {
    enum { ALL = 65536, UPS = 16 };
    static hone_bf16 gate[ALL], up[ALL], h[ALL], dgate[ALL], dup[ALL], again[ALL];
    static double want[ALL], slope[ALL];
    double worst = 0, worst_slope = 0;
    for (size_t i = 0; i < ALL; i++) {
        gate[i] = (hone_bf16)i;
        want[i] = silu_exact(hone_bf16_to_f32(gate[i]));
        slope[i] = slope_exact(hone_bf16_to_f32(gate[i]));
    }
    for (int u = 0; u < UPS; u++) {
        for (size_t i = 0; i < ALL; i++) up[i] = (hone_bf16)(0x3f80 + 8 * u); /* from 1 to 2 */
        double factor = hone_bf16_to_f32(up[0]);
        k->silu_mul(ALL, HONE_BF16, gate, up, h);
        k->silu_mul_backward(ALL, HONE_BF16, up, gate, up, dgate, dup, again);
        assert_memory_equal(dup, h, sizeof h);
        assert_memory_equal(again, h, sizeof h);
        for (size_t i = 0; i < ALL; i++) {
            double g = hone_bf16_to_f32(gate[i]), got = hone_bf16_to_f32(h[i]);
            hone_bf16 alone[4];
            if (isnan(g) || g == -INFINITY) continue;
            if (u == 0) {
                k->silu_mul(1, HONE_BF16, &gate[i], up, &alone[0]);
                k->silu_mul_backward(1, HONE_BF16, up, &gate[i], up, &alone[1], &alone[2],
                                     &alone[3]);
                assert_true(alone[0] == h[i] && alone[1] == dgate[i] && alone[2] == dup[i] &&
                            alone[3] == again[i]);
            }
            if (g < -87) assert_true(fabs(got) < 1e-35);
            if (g > 1e38) assert_true(got >= g);
            if (fabs(g) > 1e33 || g < -87 || fabs(g) < 0x1p-120) continue;
            double e = excess(h[i], factor * want[i]);
            double d = excess(dgate[i], factor * factor * slope[i]) * fabs(slope[i]);
            if (!(e <= worst)) worst = e;
            if (!(d <= worst_slope)) worst_slope = d;
        }
    }
    print_message("  short silu: %.3g, silu' %.3g above the rounding\n", worst, worst_slope);
    bool coarse = strncmp(k->vec_name, "avx512", 6) == 0; /* its reciprocal is within 2^-14 */
    assert_true(worst <= (coarse ? 1.4e-4 : 8e-5) && worst_slope <= (coarse ? 9e-5 : 3e-5));
}

static void test_functions(void **state) {
    (void)state;
    each_vec_tier(functions);
}

static void test_short_functions(void **state) {
    (void)state;
    each_vec_tier(short_functions);
}

static void test_short_silu(void **state) {
    (void)state;
    each_vec_tier(short_silu);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_short_functions),
        cmocka_unit_test(test_short_silu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
