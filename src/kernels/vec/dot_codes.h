/* kernels/vec/dot_codes: dot products with 4-bit codes, in integers, for AVX2. Private to dot_rows.c.
 *
 * An element of a block is d * code + m, so that a block's products add up to d * sum(code * x) + m * sum(x). The
 * second sum is the same for every row of w. For the first one x is written in fixed point once for all rows: with a
 * block's largest |x| as 127 * 2^15, each element is rounded to an integer of 23 bits, of three digits,
 *
 *   x = scale * (2^15 * digit[0] + 2^8 * digit[1] + digit[2]),   |digit| <= 127, 64, 128,
 *
 * and vpmaddubsw multiplies 32 codes and digits at once. Twice as fast as widening every code to float32.
 *
 * What is rounded away is at most 2^-22 of the block's largest |x|, for an element. Adding products up in float32 loses
 * as much, since that element is in the sum: the bounds of float32 hold, and there is one path for both compute types.
 * (Two digits, 15 bits, would do for bfloat16 but not for float32.)
 *
 * No overflow: four products of 15 and 128 in 16 bits (16 in dot_tiles.h), two such sums times 2^15 in 32. NaN and
 * infinities of x reach the result through sum(x): it is not finite where one of them is in the row.
 */
#ifndef HONE_KERNELS_VEC_DOT_CODES_H
#define HONE_KERNELS_VEC_DOT_CODES_H

#include "kernels/vec/unpack.h"

enum { CODE_BLOCK = 32, CODE_BYTES = CODE_BLOCK / 2, DIGITS = 3, QUAD = 4 };
enum { FIXED_COLUMNS = 2048 }; /* of x in fixed point at a time */

/* A block of x: its digits, in front those of the columns whose codes are low nibbles; its scale; factor * the sum of
 * its elements. */
typedef struct fixed_block {
    _Alignas(64) int8_t digit[DIGITS][2][CODE_BYTES];
    float scale, shift;
} fixed_block;

/* QUAD blocks of x: two pairs. A digit's halves lie as the low and the high nibbles of a pair's codes do. `scale` holds
 * the scale and the shift of each block, in the order of quad_place. */
typedef struct fixed_quad {
    _Alignas(32) int8_t digit[QUAD / 2][DIGITS][2][2 * CODE_BYTES];
    _Alignas(32) float scale[2 * QUAD];
} fixed_quad;

/* Where a block's two numbers stand, so that those of a pair are in the two halves of a vector, at the same place. */
VEC_INLINE int quad_place(int block) { return block % 2 * 4 + block / 2 * 2; }

/* 32 integers of at most 8 bits each as bytes, in order. */
VEC_INLINE __m256i pack_bytes(const __m256i v[4]) {
    __m256i words = _mm256_packs_epi32(v[0], v[1]), more = _mm256_packs_epi32(v[2], v[3]);
    __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words, more), order);
}

/* The largest |x|; not 0, and far enough from the end of the range for quotients: what is lost is below 2^-118. */
VEC_INLINE float largest_of(const vec_f x[4]) {
    vec_f larger =
        vec_max(vec_max(vec_abs(x[0]), vec_abs(x[1])), vec_max(vec_abs(x[2]), vec_abs(x[3])));
    return HONE_MAX(vec_max_lane(larger), 0x1p-96f);
}

/* v / 2^bits, rounded to nearest. */
VEC_INLINE __m256i shift_rounded(__m256i v, int bits) {
    return _mm256_srai_epi32(_mm256_add_epi32(v, _mm256_set1_epi32(1 << (bits - 1))), bits);
}

/* x: 32 elements in the order of the codes. */
VEC_INLINE void fix_block(const vec_f x[4], float factor, fixed_block *to) {
    const float one = 127 * 0x1p15f;
    float largest = largest_of(x);
    __m256i digit[DIGITS][4];
    for (int i = 0; i < 4; i++) {
        __m256i v = _mm256_cvtps_epi32(x[i] * vec_set1(one / largest));
        digit[0][i] = shift_rounded(v, 15);
        v = _mm256_sub_epi32(v, _mm256_slli_epi32(digit[0][i], 15));
        digit[1][i] = shift_rounded(v, 8);
        digit[2][i] = _mm256_sub_epi32(v, _mm256_slli_epi32(digit[1][i], 8));
    }
    for (int d = 0; d < DIGITS; d++) {
        __m256i bytes = pack_bytes(digit[d]);
        memcpy(to->digit[d], &bytes, sizeof bytes);
    }
    to->scale = largest / one;
    to->shift = factor * vec_sum((x[0] + x[1]) + (x[2] + x[3]));
}

/* Block `which` of four. */
VEC_INLINE void put_block(const fixed_block *block, int which, fixed_quad *to) {
    for (int d = 0; d < DIGITS; d++) {
        for (int half = 0; half < 2; half++)
            memcpy(to->digit[which / 2][d][half] + which % 2 * CODE_BYTES, block->digit[d][half],
                   CODE_BYTES);
    }
    float *scale = to->scale + quad_place(which);
    scale[0] = block->scale;
    scale[1] = block->shift;
}

/* What a digit is worth; 2^15 is no 16-bit integer, its negative is. */
#define DIGIT_WORTHS                                                                               \
    { _mm256_set1_epi16(-0x8000), _mm256_set1_epi16(0x100), _mm256_set1_epi16(1) }

/* 2^15 first + 2^8 second + third, pairs of 16-bit sums added up. worth: DIGIT_WORTHS. */
VEC_INLINE vec_f add_digits(__m256i first, __m256i second, __m256i third,
                            const __m256i worth[DIGITS]) {
    first = _mm256_madd_epi16(first, worth[0]);
    second = _mm256_madd_epi16(second, worth[1]);
    third = _mm256_madd_epi16(third, worth[2]);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_add_epi32(second, third), first));
}

/* The codes of two blocks times those of pair `pair` of x, in units of x's scale; the first in the lower four lanes. */
VEC_INLINE vec_f multiply_codes(const uint8_t *codes, const uint8_t *more, const fixed_quad *x,
                                int pair) {
    const __m256i mask = _mm256_set1_epi8(15), worth[DIGITS] = DIGIT_WORTHS;
    __m256i both =
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)codes)),
                                _mm_loadu_si128((const __m128i *)more), 1);
    __m256i low = _mm256_and_si256(both, mask);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask), sum[DIGITS];
#pragma GCC unroll 3
    for (int d = 0; d < DIGITS; d++) {
        __m256i a = _mm256_maddubs_epi16(low, *(const __m256i *)x->digit[pair][d][0]);
        __m256i b = _mm256_maddubs_epi16(high, *(const __m256i *)x->digit[pair][d][1]);
        sum[d] = _mm256_add_epi16(a, b);
    }
    return add_digits(sum[0], sum[1], sum[2], worth);
}

/* Bytes of a block before its codes. */
VEC_INLINE size_t before_codes(hone_dtype dtype) {
    return dtype == HONE_AFFINE4 ? 0 : dtype == HONE_Q4_0 ? 2 : 4;
}

/* (d, m) of a block at p, of an AFFINE4 matrix those of a group, as two float16; of Q4_0, whose m is -8 d, d twice: x's
 * factor holds the rest. */
VEC_INLINE int load_halves(hone_dtype dtype, const uint8_t *p) {
    if (dtype == HONE_Q4_0) return (int)(load_u16(p) * 0x10001u);
    int both;
    memcpy(&both, p, sizeof both);
    return both;
}

/* A row's sums so far. */
typedef struct code_sums {
    vec_f products; /* to be added up */
    vec_f shifts;   /* m * sum(x) in the odd lanes */
} code_sums;

/* (d, m) of QUAD blocks, in the order of quad_place: at p[], of an AFFINE4 matrix those of group[]. */
VEC_INLINE vec_f load_quad(hone_dtype dtype, const hone_matrix *w, const uint8_t *const p[QUAD],
                           const size_t group[QUAD]) {
    if (dtype == HONE_AFFINE4) {
        vec_f both = vec_zero();
        for (int b = 0; b < QUAD; b++) {
            both[quad_place(b)] = affine_value(w->scales, w->affine_dtype, group[b]);
            both[quad_place(b) + 1] = affine_value(w->biases, w->affine_dtype, group[b]);
        }
        return both;
    }
    return _mm256_cvtph_ps(_mm_setr_epi32(load_halves(dtype, p[0]), load_halves(dtype, p[2]),
                                          load_halves(dtype, p[1]), load_halves(dtype, p[3])));
}

/* Adds `count` blocks of a row, the first at p. Of those that are missing a scale may be anything: x is 0 there. */
VEC_INLINE void add_quad(hone_dtype dtype, const hone_matrix *w, const uint8_t *p, size_t count,
                         const size_t group[QUAD], const fixed_quad *x, code_sums *sums) {
    static const uint8_t none[CODE_BYTES + 4] = {0};
    const size_t skip = before_codes(dtype), bytes = skip + CODE_BYTES;
    const uint8_t *at[QUAD];
    for (size_t b = 0; b < QUAD; b++) at[b] = b < count ? p + b * bytes : none;
    vec_f scaled = load_quad(dtype, w, at, group) * *(const vec_f *)x->scale;
    sums->shifts += scaled;
    vec_f products = multiply_codes(at[0] + skip, at[1] + skip, x, 0);
    sums->products = vec_fma(products, _mm256_permute_ps(scaled, 0x00), sums->products);
    if (count <= QUAD / 2) return;
    products = multiply_codes(at[2] + skip, at[3] + skip, x, 1);
    sums->products = vec_fma(products, _mm256_permute_ps(scaled, 0xaa), sums->products);
}

/* x . w[row] over `blocks` blocks from block `first` on, of which x is the fixed form. */
VEC_INLINE float dot_codes(hone_dtype dtype, const hone_matrix *w, size_t row, size_t first,
                           size_t blocks, const fixed_quad *x) {
    const size_t bytes = before_codes(dtype) + CODE_BYTES;
    const size_t per_group = dtype == HONE_AFFINE4 ? (size_t)w->group / CODE_BLOCK : 1;
    const size_t groups = w->cols / CODE_BLOCK / per_group * row;
    const uint8_t *p = (const uint8_t *)w->data + row * w->row_bytes + first * bytes;
    code_sums sums = {vec_zero(), vec_zero()};
    size_t block = first, end = first + blocks, group[QUAD];
    for (; block + QUAD <= end; block += QUAD, p += QUAD * bytes, x++) {
        prefetch_ahead(p);
        prefetch_ahead(p + 64);
        for (size_t b = 0; b < QUAD; b++) group[b] = groups + (block + b) / per_group;
        add_quad(dtype, w, p, QUAD, group, x, &sums);
    }
    if (block < end) {
        for (size_t b = 0; b < QUAD; b++)
            group[b] = groups + HONE_MIN(block + b, end - 1) / per_group;
        add_quad(dtype, w, p, end - block, group, x, &sums);
    }
    const vec_i odd = (vec_i){0, -1, 0, -1, 0, -1, 0, -1};
    return vec_sum(sums.products + (vec_f)((vec_i)sums.shifts & odd));
}

#endif
