/* kernels/vec/dot_vnni: dot products with 4-bit codes in tiles (kernels.h) and with rows of bytes, by vpdpbusd. Private
 * to dot_rows.c.
 *
 * x is in fixed point as in dot_codes.h, where the arithmetic is explained:
 *
 *   x = scale * (2^15 * digit[0] + 2^8 * digit[1] + digit[2]),   |digit| <= 127, 64, 128,
 *
 * and vpdpbusd multiplies four bytes without a sign by four with one in each of 16 lanes and adds them up in 32 bits.
 *
 * Of a tile a lane holds four columns of a row: the row's sum stays there. A block's sum of codes times x is at most
 * 32 * 15 * 127 * 2^15 < 2^31.
 *
 * Of a row of bytes a vector holds two blocks. Codes get their sign bit turned over, which adds 128 to each; what that
 * adds to a lane's sum is the same for all rows and is taken off again. The sum itself, of four codes times x, is at
 * most 4 * 128 * 127 * 2^15 < 2^31: sums before that may go round the end, in integers without harm. NaN and infinities
 * of x make the block's scale a NaN and so the result.
 */
#ifndef HONE_KERNELS_VEC_DOT_VNNI_H
#define HONE_KERNELS_VEC_DOT_VNNI_H

#include "kernels/vec/unpack.h"

enum { CODE_BLOCK = 32, CODE_BYTES = CODE_BLOCK / 2, DIGITS = 3, TILE_ROWS = HONE_TILE_ROWS };
enum { FIXED_COLUMNS = 2048 }; /* of x in fixed point at a time */

/* A block of x: its digits, in front those of the columns whose codes are low nibbles; its scale; factor * the sum of
 * its elements. */
typedef struct fixed_block {
    int8_t digit[DIGITS][2][CODE_BYTES];
    float scale, shift;
} fixed_block;

/* v / 2^bits, rounded to nearest. */
VEC_INLINE __m512i shift_rounded(__m512i v, int bits) {
    return _mm512_srai_epi32(_mm512_add_epi32(v, _mm512_set1_epi32(1 << (bits - 1))),
                             (unsigned)bits);
}

/* Not 0, and far enough from the end of the range for quotients: what is lost is below 2^-118. */
VEC_INLINE float largest_of(const vec_f x[2]) {
    return HONE_MAX(vec_max_lane(vec_max(vec_abs(x[0]), vec_abs(x[1]))), 0x1p-96f);
}

enum { ONE = 127 << 15 }; /* the largest |x| */

/* 16 elements in fixed point, and their digits. */
VEC_INLINE __m512i fix_half(vec_f x, float by, __m128i digit[DIGITS]) {
    __m512i all = _mm512_cvtps_epi32(x * vec_set1(by)), first = shift_rounded(all, 15);
    __m512i rest = _mm512_sub_epi32(all, _mm512_slli_epi32(first, 15));
    __m512i second = shift_rounded(rest, 8);
    digit[0] = _mm512_cvtsepi32_epi8(first);
    digit[1] = _mm512_cvtsepi32_epi8(second);
    digit[2] = _mm512_cvtsepi32_epi8(_mm512_sub_epi32(rest, _mm512_slli_epi32(second, 8)));
    return all;
}

/* x: 32 elements in the order of the codes. */
VEC_INLINE void fix_block(const vec_f x[2], float factor, fixed_block *to) {
    float largest = largest_of(x);
    for (int half = 0; half < 2; half++) {
        __m128i digit[DIGITS];
        fix_half(x[half], (float)ONE / largest, digit);
        for (int d = 0; d < DIGITS; d++) memcpy(to->digit[d][half], &digit[d], sizeof digit[d]);
    }
    to->scale = largest / (float)ONE;
    to->shift = factor * vec_sum(x[0] + x[1]);
}

/* 2^15 sum[0] + 2^8 sum[1] + sum[2] */
VEC_INLINE __m512i add_digits(const __m512i sum[DIGITS]) {
    __m512i upper = _mm512_add_epi32(_mm512_slli_epi32(sum[0], 15), _mm512_slli_epi32(sum[1], 8));
    return _mm512_add_epi32(upper, sum[2]);
}

/* ---- tiles --------------------------------------------------------------------------------- */

/* Four bytes at p in every lane. */
VEC_INLINE __m512i load_four(const int8_t *p) {
    int four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

/* Codes of 16 rows times a block of x, in units of x's scale. */
VEC_INLINE vec_f multiply_tile(const uint8_t *codes, const fixed_block *x) {
    enum { GROUPS = CODE_BYTES / 4 };
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i sum[DIGITS];
    for (int d = 0; d < DIGITS; d++) sum[d] = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int g = 0; g < GROUPS; g++, codes += 4 * TILE_ROWS) {
        __m512i both = _mm512_loadu_si512(codes), low = _mm512_and_si512(both, mask);
        __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
#pragma GCC unroll 3
        for (int d = 0; d < DIGITS; d++) {
            sum[d] = _mm512_dpbusd_epi32(sum[d], low, load_four(&x->digit[d][0][4 * g]));
            sum[d] = _mm512_dpbusd_epi32(sum[d], high, load_four(&x->digit[d][1][4 * g]));
        }
    }
    return _mm512_cvtepi32_ps(add_digits(sum));
}

/* out[r] = x . row r over `blocks` blocks, the first at p, of which x is the fixed form. */
VEC_INLINE void dot_tile(hone_dtype dtype, const uint8_t *p, size_t blocks, const fixed_block *x,
                         float out[TILE_ROWS]) {
    const size_t head = (dtype == HONE_Q4_1 ? 2 : 1) * TILE_ROWS * sizeof(hone_f16);
    const size_t bytes = head + TILE_ROWS * CODE_BYTES;
    vec_f sum = vec_zero();
    for (const fixed_block *end = x + blocks; x < end; x++, p += bytes) {
        for (size_t line = 0; line < bytes; line += 64) prefetch_ahead(p + line);
        vec_f products = multiply_tile(p + head, x), d = load_f16(p);
        vec_f m = dtype == HONE_Q4_1 ? load_f16(p + head / 2) : d;
        sum = vec_fma(d * vec_set1(x->scale), products, sum);
        sum = vec_fma(m, vec_set1(x->shift), sum);
    }
    vec_store(out, sum);
}

/* ---- rows of bytes ------------------------------------------------------------------------- */

/* Two blocks of x. `shift` is what has to be added to the sums of a lane. */
typedef struct fixed_pair {
    _Alignas(64) int8_t digit[DIGITS][2 * CODE_BLOCK];
    int32_t shift[VEC_WIDTH];
} fixed_pair;

/* A block of x as the upper or lower half of a pair, and its scale. */
VEC_INLINE void fix_bytes(const vec_f x[2], bool upper, fixed_pair *to, float *scale) {
    const vec_f zero = vec_zero(); /* times what is not finite it is a NaN */
    float largest = largest_of(x);
    for (size_t half = 0; half < 2; half++) {
        const size_t at = upper * CODE_BLOCK + half * VEC_WIDTH;
        __m128i digit[DIGITS];
        int32_t all[VEC_WIDTH];
        _mm512_storeu_si512(all, fix_half(x[half], (float)ONE / largest, digit));
        for (int d = 0; d < DIGITS; d++) memcpy(to->digit[d] + at, &digit[d], sizeof digit[d]);
        for (size_t i = 0; i < VEC_WIDTH; i += 4) {
            uint32_t sum = (uint32_t)all[i] + (uint32_t)all[i + 1] + (uint32_t)all[i + 2] +
                           (uint32_t)all[i + 3];
            to->shift[(at + i) / 4] = (int32_t)(sum * (uint32_t)-128);
        }
    }
    *scale = largest / (float)ONE + vec_sum(x[0] * zero + x[1] * zero);
}

/* Codes of two blocks times those of x, in units of x's scales. */
VEC_INLINE vec_f multiply_bytes(__m512i codes, const fixed_pair *x) {
    __m512i sum[DIGITS];
    codes = _mm512_xor_si512(codes, _mm512_set1_epi8((char)0x80));
    for (int d = 0; d < DIGITS; d++)
        sum[d] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes,
                                     _mm512_load_si512((const void *)x->digit[d]));
    sum[2] = _mm512_add_epi32(sum[2], _mm512_load_si512((const void *)x->shift));
    return _mm512_cvtepi32_ps(add_digits(sum));
}

VEC_INLINE __m512i load_halves(const uint8_t *lower, const uint8_t *upper) {
    __m512i v = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)lower));
    return _mm512_inserti64x4(v, _mm256_loadu_si256((const __m256i *)upper), 1);
}

enum { BYTES_BLOCK = 2 + CODE_BLOCK, QUAD = 4 };

/* Adds `count` <= QUAD blocks of a row, the first at p. scale: of QUAD blocks, 0 for those that are missing. */
VEC_INLINE vec_f add_bytes(const uint8_t *p, size_t count, const fixed_pair *x, const float *scale,
                           vec_f sum) {
    const __m512i halves[2] = {_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                               _mm512_setr_epi32(2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3)};
    uint64_t d = 0;
    for (size_t b = 0; b < count; b++) d |= (uint64_t)load_u16(p + b * BYTES_BLOCK) << (16 * b);
    __m128 four = _mm_cvtph_ps(_mm_cvtsi64_si128((long long)d)) * _mm_loadu_ps(scale);
    for (size_t pair = 0; 2 * pair < count; pair++) {
        const uint8_t *codes = p + 2 * pair * BYTES_BLOCK + 2;
        bool both = 2 * pair + 1 < count; /* what stands in for a missing block is times 0 */
        vec_f products = multiply_bytes(load_halves(codes, codes + both * BYTES_BLOCK), x + pair);
        vec_f by = _mm512_permutexvar_ps(halves[pair], _mm512_castps128_ps512(four));
        sum = vec_fma(by, products, sum);
    }
    return sum;
}

/* x . w[row] over `blocks` blocks from block `first` on, of which x is the fixed form. */
VEC_INLINE float dot_bytes(const hone_matrix *w, size_t row, size_t first, size_t blocks,
                           const fixed_pair *x, const float *scale) {
    const uint8_t *p = (const uint8_t *)w->data + row * w->row_bytes + first * BYTES_BLOCK;
    vec_f sum = vec_zero();
    size_t block = 0;
    for (; block + QUAD <= blocks; block += QUAD, p += QUAD * BYTES_BLOCK, x += QUAD / 2) {
        for (size_t line = 0; line < QUAD * BYTES_BLOCK; line += 64) prefetch_ahead(p + line);
        sum = add_bytes(p, QUAD, x, scale + block, sum);
    }
    if (block < blocks) sum = add_bytes(p, blocks - block, x, scale + block, sum);
    return vec_sum(sum);
}

#endif
