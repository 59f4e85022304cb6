/* kernels/vec/dot_tiles: dot_codes with 16 rows of w at a time, from tiles (kernels.h). Private to dot_rows.c.
 *
 * A vector holds four columns of eight rows, so that a row's products stay in its lane: the sums of a whole block fit
 * in 16 bits (16 products of 15 and 128), and what dot_codes does for every pair of blocks, widening the sums of three
 * digits, adding them and multiplying by scales, is done once for eight.
 */
#ifndef HONE_KERNELS_VEC_DOT_TILES_H
#define HONE_KERNELS_VEC_DOT_TILES_H

#include "kernels/vec/dot_codes.h"

enum { TILE_ROWS = HONE_TILE_ROWS, TILE_VECTORS = TILE_ROWS / VEC_WIDTH, COLUMN_GROUPS = 4 };

/* Four bytes at p in every lane. */
VEC_INLINE __m256i load_four(const int8_t *p) {
    int four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
}

/* Adds four low and four high codes of 16 rows times one digit of x; `fresh`: to nothing. */
VEC_INLINE void add_group(const __m256i low[TILE_VECTORS], const __m256i high[TILE_VECTORS],
                          const int8_t *digit, bool fresh, __m256i sum[TILE_VECTORS]) {
    __m256i x_low = load_four(digit), x_high = load_four(digit + CODE_BYTES);
#pragma GCC unroll 2
    for (int v = 0; v < TILE_VECTORS; v++) {
        __m256i part = _mm256_maddubs_epi16(low[v], x_low);
        part = _mm256_add_epi16(part, _mm256_maddubs_epi16(high[v], x_high));
        sum[v] = fresh ? part : _mm256_add_epi16(sum[v], part);
    }
    /* Additions are not to be put in another order: there are too few registers for that. */
    __asm__("" : "+x"(sum[0]), "+x"(sum[1]));
}

/* Codes of 16 rows times a block of x, in units of x's scale. worth: DIGIT_WORTHS. */
VEC_INLINE void multiply_tile(const uint8_t *codes, const fixed_block *x,
                              const __m256i worth[DIGITS], vec_f products[TILE_VECTORS]) {
    const __m256i mask = _mm256_set1_epi8(15);
    __m256i first[TILE_VECTORS], second[TILE_VECTORS], third[TILE_VECTORS];
#pragma GCC unroll 4
    for (int g = 0; g < COLUMN_GROUPS; g++, codes += TILE_ROWS * 4) {
        __m256i low[TILE_VECTORS], high[TILE_VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < TILE_VECTORS; v++) {
            __m256i both = _mm256_loadu_si256((const __m256i *)(codes + v * VEC_WIDTH * 4));
            low[v] = _mm256_and_si256(both, mask);
            high[v] = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
        }
        add_group(low, high, &x->digit[0][0][4 * g], g == 0, first);
        add_group(low, high, &x->digit[1][0][4 * g], g == 0, second);
        add_group(low, high, &x->digit[2][0][4 * g], g == 0, third);
    }
    __asm__("" : "+r"(worth)); /* read where it is wanted: in registers it would push out sums */
    for (int v = 0; v < TILE_VECTORS; v++)
        products[v] = add_digits(first[v], second[v], third[v], worth);
}

/* out[r] = x . row r over `blocks` blocks, the first at p, of which x is the fixed form. */
VEC_INLINE void dot_tile(hone_dtype dtype, const uint8_t *p, size_t blocks, const fixed_block *x,
                         float out[TILE_ROWS]) {
    const size_t skip = TILE_ROWS * before_codes(dtype), bytes = skip + TILE_ROWS * CODE_BYTES;
    const __m256i worth[DIGITS] = DIGIT_WORTHS;
    vec_f sum[TILE_VECTORS] = {{0}};
    for (const fixed_block *end = x + blocks; x < end; x++, p += bytes) {
        vec_f products[TILE_VECTORS];
        for (size_t line = 0; line < bytes; line += 64) prefetch_ahead(p + line);
        multiply_tile(p + skip, x, worth, products);
        for (int v = 0; v < TILE_VECTORS; v++) {
            vec_f d = load_f16(p + v * VEC_WIDTH * 2);
            vec_f m = dtype == HONE_Q4_1 ? load_f16(p + (TILE_ROWS + v * VEC_WIDTH) * 2) : d;
            sum[v] = vec_fma(d * vec_set1(x->scale), products[v], sum[v]);
            sum[v] = vec_fma(m, vec_set1(x->shift), sum[v]);
        }
    }
    for (int v = 0; v < TILE_VECTORS; v++) vec_store(out + v * VEC_WIDTH, sum[v]);
}

#endif
