/* base/dtype: element types of tensors and weights, their sizes and their conversions.
 *
 * Block formats store a row of a matrix as blocks of consecutive elements along the last axis:
 *   Q4_0  32 elements, 18 bytes: fp16 d, 16 bytes of codes;          w = d * (q - 8)
 *   Q4_1  32 elements, 20 bytes: fp16 d, fp16 m, 16 bytes of codes;  w = d * q + m
 *   Q8_0  32 elements, 34 bytes: fp16 d, 32 int8 codes;              w = d * q
 * (codes 0-15 of a 4-bit block in the low nibbles, 16-31 in the high ones; source: the GGUF format).
 * AFFINE4 is MLX's layout, three arrays: codes uint32 [rows, cols/8], least significant code first,
 * scales and biases [rows, cols/group] in a float type; w = q * scale + bias; group 32, 64 or 128.
 */
#ifndef HONE_BASE_DTYPE_H
#define HONE_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum hone_dtype {
    HONE_F32,
    HONE_F16,
    HONE_BF16,
    HONE_Q4_0,
    HONE_Q4_1,
    HONE_Q8_0,
    HONE_AFFINE4,
    HONE_DTYPE_COUNT
} hone_dtype;

typedef uint16_t hone_bf16; /* the upper half of a float32 */
typedef uint16_t hone_f16;  /* IEEE 754 binary16 */

/* "f32", "bf16", "q4_1", ...; "?" outside the enum. */
const char *hone_dtype_name(hone_dtype dtype);

/* Elements per block: 1 for floats, 32 for Q*. 8 for AFFINE4 (one word of codes). */
size_t hone_dtype_block(hone_dtype dtype);

/* Bytes per block. For AFFINE4 the codes only: 4. */
size_t hone_dtype_block_bytes(hone_dtype dtype);

/* Bytes of a row of `cols` elements; false when cols is no multiple of the block or it overflows. */
bool hone_dtype_row_bytes(hone_dtype dtype, size_t cols, size_t *bytes);

static inline float hone_bf16_to_f32(hone_bf16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Round to nearest, ties to even; NaN stays NaN (quieted). */
static inline hone_bf16 hone_f32_to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (hone_bf16)((bits >> 16) | 0x40u);
    return (hone_bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float hone_f16_to_f32(hone_f16 x);
hone_f16 hone_f32_to_f16(float f); /* round to nearest even, overflow to infinity */

#endif
