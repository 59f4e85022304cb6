/* kernels/vec/thin_outer: the gradient of an adapter's thin matrix. Layer kernels.
 *
 * A tile of accumulators stays in registers over all rows, while both operands are read as they lie: with a rank of 8,
 * packing the wide one as a matrix multiply wants it takes longer than multiplying. Where vdpbf16ps is there, two rows
 * of bfloat16 are interleaved on the way; it adds the odd row first and takes denormals for 0.
 */
#include "kernels/variants.h"
#include "kernels/vec/vec.h"

#if defined(VEC_AVX512) || defined(VEC_NEON)
enum { TILE_ROWS = 8, TILE_VECS = 3 };
#else
enum { TILE_ROWS = 4, TILE_VECS = 3 };
#endif
enum { WIDE = 8 }; /* vectors of a row alone, which has no others to wait for its sums with */

VEC_INLINE float element(const void *p, hone_dtype dtype, size_t i) {
    return dtype == HONE_F32 ? ((const float *)p)[i] : hone_bf16_to_f32(((const hone_bf16 *)p)[i]);
}

/* Rows [i, i+m) of c and `vecs` vectors of columns from j on, the only one cut to `cut` columns where that is not 0. */
VEC_INLINE void tile(const hone_thin_outer *a, hone_dtype dtype, int m, int vecs, size_t i,
                     size_t j, size_t cut) {
    vec_f acc[TILE_ROWS][WIDE];
#pragma GCC unroll 16
    for (int k = 0; k < m; k++) {
#pragma GCC unroll 16
        for (int v = 0; v < vecs; v++) acc[k][v] = vec_zero();
    }
    for (size_t r = 0; r < a->rows; r++) {
        const void *wide = vec_at(a->wide, dtype, r * a->ld_wide + j);
        const void *thin = vec_at(a->thin, dtype, r * a->ld_thin + i);
        vec_f w[WIDE];
#pragma GCC unroll 16
        for (int v = 0; v < vecs; v++)
            w[v] = cut > 0 ? vec_load_as_n(wide, dtype, 0, cut)
                           : vec_load_as(wide, dtype, (size_t)v * VEC_WIDTH);
#pragma GCC unroll 16
        for (int k = 0; k < m; k++) {
            vec_f t = vec_set1(element(thin, dtype, (size_t)k));
#pragma GCC unroll 16
            for (int v = 0; v < vecs; v++) acc[k][v] = vec_fma(t, w[v], acc[k][v]);
        }
    }
#pragma GCC unroll 16
    for (int k = 0; k < m; k++) {
        float *c = a->c + (i + (size_t)k) * a->ldc + j;
#pragma GCC unroll 16
        for (int v = 0; v < vecs; v++) {
            if (cut > 0)
                vec_store_n(c, acc[k][v], cut);
            else
                vec_store(c + (size_t)v * VEC_WIDTH, acc[k][v]);
        }
    }
}

VEC_INLINE void columns(const hone_thin_outer *a, hone_dtype dtype, int vecs, size_t j,
                        size_t cut) {
    size_t i = 0;
    for (; i + TILE_ROWS <= a->m; i += TILE_ROWS) tile(a, dtype, TILE_ROWS, vecs, i, j, cut);
    for (; i < a->m; i++) tile(a, dtype, 1, vecs, i, j, cut);
}

VEC_INLINE void thin_outer(const hone_thin_outer *a, hone_dtype dtype) {
    enum { WIDTH = TILE_VECS * VEC_WIDTH };
    size_t j = a->begin;
    for (; a->m == 1 && j + WIDE * VEC_WIDTH <= a->end; j += WIDE * VEC_WIDTH)
        tile(a, dtype, 1, WIDE, 0, j, 0);
    for (; j + WIDTH <= a->end; j += WIDTH) columns(a, dtype, TILE_VECS, j, 0);
    for (; j + VEC_WIDTH <= a->end; j += VEC_WIDTH) columns(a, dtype, 1, j, 0);
    if (j < a->end) columns(a, dtype, 1, j, a->end - j);
}

#ifdef VEC_AVX512CVT
enum {
    LINE = 2 * VEC_WIDTH, /* columns of a cache line */
    MOST_LINES = 4,
    AHEAD = 16 /* rows to ask for */
};

/* Pairs of two rows of thin. */
VEC_INLINE void pair_thin(const hone_bf16 *even, const hone_bf16 *odd, int m,
                          uint32_t pairs[TILE_ROWS]) {
    if (m == TILE_ROWS) {
        __m128i a = _mm_loadu_si128((const __m128i *)even);
        __m128i b = odd ? _mm_loadu_si128((const __m128i *)odd) : _mm_setzero_si128();
        _mm_store_si128((__m128i *)pairs, _mm_unpacklo_epi16(a, b));
        _mm_store_si128((__m128i *)pairs + 1, _mm_unpackhi_epi16(a, b));
        return;
    }
    for (int k = 0; k < m; k++) pairs[k] = even[k] | (odd ? (uint32_t)odd[k] << 16 : 0);
}

/* Rows [i, i+m) of c and `lines` times 32 columns from j on, of the last of which `cut` are there. A pair of
 * accumulators holds columns 0-3, 8-11, ... of a line and 4-7, 12-15, ... */
VEC_INLINE void tile_pairs(const hone_thin_outer *a, int m, int lines, size_t i, size_t j,
                           size_t cut) {
    const hone_bf16 *wide = (const hone_bf16 *)a->wide + j, *thin = (const hone_bf16 *)a->thin + i;
    const __mmask32 last = (__mmask32)(((uint64_t)1 << cut) - 1);
    __m512 acc[TILE_ROWS][2 * MOST_LINES];
#pragma GCC unroll 16
    for (int k = 0; k < m; k++) {
#pragma GCC unroll 8
        for (int v = 0; v < 2 * lines; v++) acc[k][v] = _mm512_setzero_ps();
    }
    for (size_t r = 0; r < a->rows; r += 2, wide += 2 * a->ld_wide, thin += 2 * a->ld_thin) {
        const bool both = r + 1 < a->rows; /* else the last row is paired with zeros */
        const size_t next = both ? a->ld_wide : 0;
        _Alignas(32) uint32_t pairs[TILE_ROWS];
        pair_thin(thin, both ? thin + a->ld_thin : NULL, m, pairs);
        __m512bh w[2 * MOST_LINES];
#pragma GCC unroll 4
        for (int l = 0; l < lines; l++) {
            const hone_bf16 *at = wide + l * LINE;
            const __mmask32 valid = l + 1 < lines ? 0xffffffffu : last;
            __m512i even = _mm512_maskz_loadu_epi16(valid, at);
            __m512i odd = _mm512_maskz_loadu_epi16(both ? valid : 0, at + next);
            w[2 * l] = (__m512bh)_mm512_unpacklo_epi16(even, odd);
            w[2 * l + 1] = (__m512bh)_mm512_unpackhi_epi16(even, odd);
            uintptr_t later =
                (uintptr_t)at + AHEAD * a->ld_wide * sizeof *at; /* maybe past the end */
            __builtin_prefetch((const void *)later);
            __builtin_prefetch((const void *)(later + a->ld_wide * sizeof *at));
        }
#pragma GCC unroll 16
        for (int k = 0; k < m; k++) {
            __m512bh t = (__m512bh)_mm512_set1_epi32((int)pairs[k]);
#pragma GCC unroll 8
            for (int v = 0; v < 2 * lines; v++) acc[k][v] = _mm512_dpbf16_ps(acc[k][v], t, w[v]);
        }
    }
    const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
#pragma GCC unroll 16
    for (int k = 0; k < m; k++) {
        float *c = a->c + (i + (size_t)k) * a->ldc + j;
#pragma GCC unroll 4
        for (int l = 0; l < lines; l++, c += LINE) {
            const __mmask32 valid = l + 1 < lines ? 0xffffffffu : last;
            __m512 first = acc[k][2 * l], second = acc[k][2 * l + 1];
            _mm512_mask_storeu_ps(c, (__mmask16)valid, _mm512_permutex2var_ps(first, low, second));
            if (valid >> VEC_WIDTH != 0)
                _mm512_mask_storeu_ps(c + VEC_WIDTH, (__mmask16)(valid >> VEC_WIDTH),
                                      _mm512_permutex2var_ps(first, high, second));
        }
    }
}

VEC_INLINE void thin_outer_pairs(const hone_thin_outer *a) {
    for (size_t j = a->begin, columns; j < a->end; j += columns) {
        size_t i = 0, left = a->end - j;
        if (a->m == 1 && left >= MOST_LINES * LINE) {
            columns = MOST_LINES * LINE;
            tile_pairs(a, 1, MOST_LINES, 0, j, LINE);
        } else if (a->m == 1 && left >= 2 * LINE) {
            columns = 2 * LINE;
            tile_pairs(a, 1, 2, 0, j, LINE);
        } else {
            columns = HONE_MIN(left, (size_t)LINE);
            for (; i + TILE_ROWS <= a->m; i += TILE_ROWS)
                tile_pairs(a, TILE_ROWS, 1, i, j, columns);
            for (; i + 4 <= a->m; i += 4) tile_pairs(a, 4, 1, i, j, columns);
            for (; i + 2 <= a->m; i += 2) tile_pairs(a, 2, 1, i, j, columns);
            if (i < a->m) tile_pairs(a, 1, 1, i, j, columns);
        }
    }
}
#endif

void HONE_VEC_NAME(thin_outer)(const hone_thin_outer *a) {
    if (a->dtype == HONE_F32) thin_outer(a, HONE_F32);
#ifdef VEC_AVX512CVT
    else
        thin_outer_pairs(a);
#else
    else
        thin_outer(a, HONE_BF16);
#endif
}
