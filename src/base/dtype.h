/* base/dtype: sizes and names of the element types, which include/hone_kernels.h defines, and conversions. */
#ifndef HONE_BASE_DTYPE_H
#define HONE_BASE_DTYPE_H

#include <hone_kernels.h>

/* "f32", "bf16", "q4_1", ...; "?" outside the enum. */
const char *hone_dtype_name(hone_dtype dtype);

/* Elements per block: 1 for floats, 32 for Q*. 8 for AFFINE4 (one word of codes). */
size_t hone_dtype_block(hone_dtype dtype);

/* Bytes per block. For AFFINE4 the codes only: 4. */
size_t hone_dtype_block_bytes(hone_dtype dtype);

/* Bytes of a row of `cols` elements; false when cols is no multiple of the block or it overflows. */
bool hone_dtype_row_bytes(hone_dtype dtype, size_t cols, size_t *bytes);

float hone_f16_to_f32(hone_f16 x);
hone_f16 hone_f32_to_f16(float f); /* round to nearest even, overflow to infinity */

#endif
