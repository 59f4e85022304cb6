/* base/dtype: element types, their sizes and the conversions that are too long to inline. */
#include "base/dtype.h"

#include "base/size.h"

static const struct {
    const char *name;
    size_t block; /* elements */
    size_t block_bytes;
} dtypes[HONE_DTYPE_COUNT] = {
    [HONE_F32] = {"f32", 1, 4},         [HONE_F16] = {"f16", 1, 2},
    [HONE_BF16] = {"bf16", 1, 2},       [HONE_Q4_0] = {"q4_0", 32, 18},
    [HONE_Q4_1] = {"q4_1", 32, 20},     [HONE_Q8_0] = {"q8_0", 32, 34},
    [HONE_AFFINE4] = {"affine4", 8, 4},
};

static bool known(hone_dtype dtype) { return (unsigned)dtype < HONE_DTYPE_COUNT; }

const char *hone_dtype_name(hone_dtype dtype) { return known(dtype) ? dtypes[dtype].name : "?"; }

size_t hone_dtype_block(hone_dtype dtype) { return known(dtype) ? dtypes[dtype].block : 1; }

size_t hone_dtype_block_bytes(hone_dtype dtype) {
    return known(dtype) ? dtypes[dtype].block_bytes : 0;
}

bool hone_dtype_row_bytes(hone_dtype dtype, size_t cols, size_t *bytes) {
    if (!known(dtype) || cols % dtypes[dtype].block != 0) return false;
    return hone_size_mul(cols / dtypes[dtype].block, dtypes[dtype].block_bytes, bytes);
}

static float float_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

float hone_f16_to_f32(hone_f16 x) {
    uint32_t sign = (uint32_t)(x & 0x8000u) << 16;
    uint32_t exponent = x >> 10 & 0x1fu;
    uint32_t mantissa = x & 0x3ffu;
    if (exponent == 0x1f) return float_from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent != 0) return float_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    /* Zero or subnormal: mantissa * 2^-24, exact in float32. */
    float magnitude = (float)mantissa * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
}

hone_f16 hone_f32_to_f16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (hone_f16)(sign | 0x7e00u | (magnitude >> 13 & 0x1ffu));
    if (magnitude >= 0x477ff000u) return (hone_f16)(sign | 0x7c00u); /* 65520 and above */
    if (magnitude < 0x33000001u) return (hone_f16)sign; /* 2^-25 and below, a tie to zero */
    uint32_t exponent = magnitude >> 23;
    uint32_t drop = 13,
             rebias = 112u << 23; /* bits below the half's last, and the exponents' distance */
    uint32_t value = magnitude - rebias;
    if (exponent < 113) { /* below 2^-14: a subnormal half, the leading one is explicit */
        value = (magnitude & 0x7fffffu) | 0x800000u;
        drop = 126 - exponent;
    }
    uint32_t rest = value & ((1u << drop) - 1);
    uint32_t half = 1u << (drop - 1);
    uint32_t result = value >> drop;
    result += rest > half || (rest == half && (result & 1u));
    return (hone_f16)(sign | result); /* a carry into the exponent is the right answer */
}
