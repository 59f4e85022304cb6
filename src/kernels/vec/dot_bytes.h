/* kernels/vec/dot_bytes: dot products with 8-bit codes, in integers, for AVX2. Private to dot_rows.c.
 *
 * As in dot_codes.h a block of x is written in fixed point, here in two digits of 16 bits: with the block's largest |x|
 * as 8191 * 2^12,
 *
 *   x = scale * (2^12 * digit[0] + digit[1]),   |digit| <= 8191, 2048,
 *
 * and vpmaddwd multiplies 16 pairs of numbers of 16 bits. A code times 256 is one without an instruction to widen it:
 * the upper byte of its 16 bits, which a shift or a mask leaves alone. What is rounded away of an element, by
 * two products in float32 and to an integer, is at most 2^-23 of the block's largest |x|.
 *
 * No overflow: four products of 2^15 and 8191 are 2^30. NaN and infinities of x make its scale a NaN and so the
 * result.
 */
#ifndef HONE_KERNELS_VEC_DOT_BYTES_H
#define HONE_KERNELS_VEC_DOT_BYTES_H

#include "kernels/vec/dot_codes.h"

enum { BYTES_SHIFT = 12, BYTES_MOST = 8191 };

/* A block of x: of each digit the even columns, then the odd ones. */
typedef struct fixed_bytes {
    _Alignas(32) int16_t digit[2][2][CODE_BLOCK / 2];
} fixed_bytes;

/* x: the even columns in the first two vectors, the odd ones in the others. *scale is for codes times 256. */
VEC_INLINE void fix_bytes(const vec_f x[4], fixed_bytes *to, float *scale) {
    float largest = largest_of(x);
    const vec_f by = vec_set1((float)(BYTES_MOST << BYTES_SHIFT) / largest);
    for (int odd = 0; odd < 2; odd++) {
        __m256i digit[2][2];
        for (int i = 0; i < 2; i++) {
            __m256i v = _mm256_cvtps_epi32(x[2 * odd + i] * by);
            digit[0][i] = shift_rounded(v, BYTES_SHIFT);
            digit[1][i] = _mm256_sub_epi32(v, _mm256_slli_epi32(digit[0][i], BYTES_SHIFT));
        }
        for (int d = 0; d < 2; d++) {
            __m256i both = _mm256_packs_epi32(digit[d][0], digit[d][1]);
            both = _mm256_permute4x64_epi64(both, 0xd8);
            memcpy(to->digit[d][odd], &both, sizeof both);
        }
    }
    const vec_f zero = vec_zero(); /* times what is not finite it is a NaN */
    *scale = largest / (256.0f * BYTES_MOST) +
             vec_sum((x[0] * zero + x[1] * zero) + (x[2] * zero + x[3] * zero));
}

/* The codes of a block times x's, in units of x's scale. */
VEC_INLINE vec_f multiply_bytes(const uint8_t *codes, const fixed_bytes *x) {
    __m256i v = _mm256_loadu_si256((const __m256i *)codes), sum[2];
    __m256i even = _mm256_slli_epi16(v, 8), odd = _mm256_and_si256(v, _mm256_set1_epi16(-0x100));
    for (int d = 0; d < 2; d++)
        sum[d] = _mm256_add_epi32(_mm256_madd_epi16(even, *(const __m256i *)x->digit[d][0]),
                                  _mm256_madd_epi16(odd, *(const __m256i *)x->digit[d][1]));
    return _mm256_cvtepi32_ps(_mm256_add_epi32(sum[0], shift_rounded(sum[1], BYTES_SHIFT)));
}

/* x . w[row] over `blocks` blocks from block `first` on, of which x is the fixed form. */
VEC_INLINE float dot_bytes(const hone_matrix *w, size_t row, size_t first, size_t blocks,
                           const fixed_bytes *x, const float *scale) {
    enum { BYTES = 2 + CODE_BLOCK };
    const uint8_t *p = (const uint8_t *)w->data + row * w->row_bytes + first * BYTES;
    vec_f sum = vec_zero();
    size_t block = 0;
    for (; block + QUAD <= blocks; block += QUAD, p += QUAD * BYTES) {
        uint64_t halves = (uint64_t)load_u16(p) | (uint64_t)load_u16(p + BYTES) << 16 |
                          (uint64_t)load_u16(p + 2 * BYTES) << 32 |
                          (uint64_t)load_u16(p + 3 * BYTES) << 48;
        __m128 four =
            _mm_cvtph_ps(_mm_cvtsi64_si128((long long)halves)) * _mm_loadu_ps(scale + block);
        vec_f d = _mm256_insertf128_ps(_mm256_castps128_ps256(four), four, 1);
        for (size_t line = 0; line < QUAD * BYTES; line += 64) prefetch_ahead(p + line);
        sum = vec_fma(_mm256_permute_ps(d, 0x00), multiply_bytes(p + 2, x + block), sum);
        sum =
            vec_fma(_mm256_permute_ps(d, 0x55), multiply_bytes(p + 2 + BYTES, x + block + 1), sum);
        sum = vec_fma(_mm256_permute_ps(d, 0xaa), multiply_bytes(p + 2 + 2 * BYTES, x + block + 2),
                      sum);
        sum = vec_fma(_mm256_permute_ps(d, 0xff), multiply_bytes(p + 2 + 3 * BYTES, x + block + 3),
                      sum);
    }
    for (; block < blocks; block++, p += BYTES) {
        vec_f d = vec_set1(f16_to_f32(load_u16(p)) * scale[block]);
        sum = vec_fma(d, multiply_bytes(p + 2, x + block), sum);
    }
    return vec_sum(sum);
}

#endif
