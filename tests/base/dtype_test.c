/* tests of base/dtype and base/size: conversions against the definition of the formats. */
#include "base/dtype.h"
#include "base/size.h"

#include "support.h"

#include <math.h>

/* binary16 by its definition: (-1)^s * 2^(e-15) * 1.m, or 2^-14 * 0.m. */
static double half_value(unsigned bits) {
    double sign = (bits & 0x8000) ? -1 : 1;
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, -24);
    return sign * ldexp(1024 + mantissa, exponent - 25);
}

static void every_half_reads_as_defined(void **state) {
    (void)state;
    for (unsigned x = 0; x < 65536; x++) {
        double want = half_value(x);
        float got = hone_f16_to_f32((hone_f16)x);
        if (isnan(want)) {
            assert_true(isnan(got));
        } else if (got != want || !signbit(got) != !signbit(want)) {
            fail_msg("half %04x reads as %.9g, expected %.9g", x, got, want);
        }
    }
}

static void every_half_survives_the_way_back(void **state) {
    (void)state;
    for (unsigned x = 0; x < 65536; x++) {
        hone_f16 back = hone_f32_to_f16(hone_f16_to_f32((hone_f16)x));
        if (isnan(half_value(x))) {
            assert_true(isnan(half_value(back)));
        } else {
            assert_int_equal(back, x);
        }
    }
}

/* Between two neighbours: below the middle the lower, above it the upper, at it the even one. */
static void halves_round_to_nearest_even(void **state) {
    (void)state;
    for (unsigned x = 0; x < 0x7bff; x++) {
        double low = half_value(x), high = half_value(x + 1);
        float middle = (float)((low + high) / 2); /* exact: 12 bits */
        unsigned even = x & 1 ? x + 1 : x;
        assert_int_equal(hone_f32_to_f16(middle), even);
        assert_int_equal(hone_f32_to_f16(-middle), even | 0x8000);
        assert_int_equal(hone_f32_to_f16(nextafterf(middle, 0)), x);
        assert_int_equal(hone_f32_to_f16(nextafterf(middle, INFINITY)), x + 1);
    }
    assert_int_equal(hone_f32_to_f16(65504.0f), 0x7bff);
    assert_int_equal(hone_f32_to_f16(nextafterf(65520.0f, 0)), 0x7bff);
    assert_int_equal(hone_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(hone_f32_to_f16(-1e30f), 0xfc00);
    assert_int_equal(hone_f32_to_f16(1e-40f), 0);
}

static void bfloat16_rounds_to_nearest_even(void **state) {
    (void)state;
    for (unsigned x = 0; x < 0x7f7f; x++) {
        double low = hone_bf16_to_f32((hone_bf16)x), high = hone_bf16_to_f32((hone_bf16)(x + 1));
        float middle = (float)((low + high) / 2);
        assert_int_equal(hone_f32_to_bf16((float)low), x);
        assert_int_equal(hone_f32_to_bf16(middle), x & 1 ? x + 1 : x);
        assert_int_equal(hone_f32_to_bf16(nextafterf(middle, 0)), x);
        assert_int_equal(hone_f32_to_bf16(nextafterf(middle, INFINITY)), x + 1);
    }
    assert_int_equal(hone_f32_to_bf16(1.0f), 0x3f80);
    assert_int_equal(hone_f32_to_bf16(-2.0f), 0xc000);
    assert_int_equal(hone_f32_to_bf16(INFINITY), 0x7f80);
    assert_true(isnan(hone_bf16_to_f32(hone_f32_to_bf16(NAN))));
    uint32_t bits = 0x7f800001; /* a NaN whose upper half alone would be infinity */
    float nan;
    memcpy(&nan, &bits, sizeof nan);
    assert_true(isnan(hone_bf16_to_f32(hone_f32_to_bf16(nan))));
}

static void rows_have_the_bytes_of_their_blocks(void **state) {
    (void)state;
    size_t bytes = 77;
    assert_true(hone_dtype_row_bytes(HONE_F32, 5, &bytes));
    assert_int_equal(bytes, 20);
    assert_true(hone_dtype_row_bytes(HONE_Q4_0, 64, &bytes));
    assert_int_equal(bytes, 36);
    assert_true(hone_dtype_row_bytes(HONE_Q4_1, 576, &bytes));
    assert_int_equal(bytes, 360);
    assert_true(hone_dtype_row_bytes(HONE_Q8_0, 32, &bytes));
    assert_int_equal(bytes, 34);
    assert_true(hone_dtype_row_bytes(HONE_AFFINE4, 64, &bytes));
    assert_int_equal(bytes, 32);
    assert_false(hone_dtype_row_bytes(HONE_Q4_1, 33, &bytes));
    assert_false(hone_dtype_row_bytes(HONE_F32, SIZE_MAX / 2, &bytes));
    assert_false(hone_dtype_row_bytes((hone_dtype)99, 32, &bytes));
    assert_string_equal(hone_dtype_name(HONE_Q4_1), "q4_1");
    assert_string_equal(hone_dtype_name((hone_dtype)-1), "?");
}

static void size_arithmetic_does_not_wrap(void **state) {
    (void)state;
    size_t out = 5;
    assert_false(hone_size_add(SIZE_MAX, 1, &out));
    assert_false(hone_size_mul(SIZE_MAX / 2 + 1, 2, &out));
    assert_false(hone_size_align(SIZE_MAX - 3, 32, &out));
    assert_false(hone_size_align(1, 0, &out));
    assert_false(hone_size_align(1, 24, &out));
    assert_int_equal(out, 5);
    assert_true(hone_size_align(33, 32, &out));
    assert_int_equal(out, 64);
    assert_true(hone_size_align(64, 32, &out));
    assert_int_equal(out, 64);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_reads_as_defined),
        cmocka_unit_test(every_half_survives_the_way_back),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(bfloat16_rounds_to_nearest_even),
        cmocka_unit_test(rows_have_the_bytes_of_their_blocks),
        cmocka_unit_test(size_arithmetic_does_not_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
