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
    PAIRS = 512, /* pairs of rows that are done together */
    AHEAD = 16   /* rows to ask for */
};

/* Pairs of rows of thin, paired once for all columns: beside vdpbf16ps there is little room for shuffles. */
typedef struct thin_pairs {
    size_t row, rows; /* the first of them in `a`, and how many */
    _Alignas(64) uint32_t pair[PAIRS * TILE_ROWS];
} thin_pairs;

/* Columns [i, i+m) of the rows from `row` on. */
VEC_INLINE void pair_thin(const hone_thin_outer *a, int m, size_t i, size_t row, thin_pairs *to) {
    to->row = row;
    to->rows = HONE_MIN(a->rows - row, (size_t)2 * PAIRS);
    const hone_bf16 *even = (const hone_bf16 *)a->thin + row * a->ld_thin + i;
    uint32_t *pair = to->pair;
    if (m == 1 && a->ld_thin == 1) { /* they lie as pairs */
        pair[to->rows / 2] = 0;
        memcpy(pair, even, to->rows * sizeof *even);
        return;
    }
    for (size_t r = 0; r < to->rows; r += 2, even += 2 * a->ld_thin, pair += m) {
        const bool both = r + 1 < to->rows; /* else the last row is paired with zeros */
        if (m == TILE_ROWS) {
            __m128i x = _mm_loadu_si128((const __m128i *)even), y = _mm_setzero_si128();
            if (both) y = _mm_loadu_si128((const __m128i *)(even + a->ld_thin));
            _mm_store_si128((__m128i *)pair, _mm_unpacklo_epi16(x, y));
            _mm_store_si128((__m128i *)pair + 1, _mm_unpackhi_epi16(x, y));
        } else {
            for (int k = 0; k < m; k++)
                pair[k] = even[k] | (both ? (uint32_t)even[a->ld_thin + (size_t)k] << 16 : 0);
        }
    }
}

/* Columns 0-3, 8-11, ... of a line and 4-7, 12-15, ..., as unpacking two rows leaves them, and back. */
VEC_INLINE void split_line(__m512 line[2]) {
    const __m512i even =
        _mm512_setr_epi32(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(4));
    __m512 first = _mm512_permutex2var_ps(line[0], even, line[1]);
    line[1] = _mm512_permutex2var_ps(line[0], odd, line[1]);
    line[0] = first;
}
VEC_INLINE void join_line(__m512 line[2]) {
    const __m512i low = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    __m512 first = _mm512_permutex2var_ps(line[0], low, line[1]);
    line[1] = _mm512_permutex2var_ps(line[0], high, line[1]);
    line[0] = first;
}

/* Rows [i, i+m) of c, `lines` times 32 columns from j on, the last line cut to `cut`: adds the products of these pairs,
 * or starts the sums where they are the first. */
VEC_INLINE void tile_pairs(const hone_thin_outer *a, const thin_pairs *thin, int m, int lines,
                           size_t i, size_t j, size_t cut) {
    const hone_bf16 *wide = (const hone_bf16 *)a->wide + thin->row * a->ld_wide + j;
    const uint32_t *pair = thin->pair;
    const __mmask32 last = (__mmask32)(((uint64_t)1 << cut) - 1);
    __m512 acc[TILE_ROWS][2 * MOST_LINES];
#pragma GCC unroll 16
    for (int k = 0; k < m; k++) {
        const float *c = a->c + (i + (size_t)k) * a->ldc + j;
#pragma GCC unroll 4
        for (int l = 0; l < lines; l++, c += LINE) {
            const __mmask32 valid = thin->row == 0 ? 0 : l + 1 < lines ? 0xffffffffu : last;
            acc[k][2 * l] = _mm512_maskz_loadu_ps((__mmask16)valid, c);
            acc[k][2 * l + 1] =
                _mm512_maskz_loadu_ps((__mmask16)(valid >> VEC_WIDTH), c + VEC_WIDTH);
            split_line(&acc[k][2 * l]);
        }
    }
    for (size_t r = 0; r < thin->rows; r += 2, wide += 2 * a->ld_wide, pair += m) {
        const bool both = r + 1 < thin->rows;
        const size_t next = both ? a->ld_wide : 0;
        __m512bh w[2 * MOST_LINES];
#pragma GCC unroll 4
        for (int l = 0; l < lines; l++) {
            const hone_bf16 *at = wide + l * LINE;
            const __mmask32 valid = l + 1 < lines ? 0xffffffffu : last;
            __m512i even = _mm512_maskz_loadu_epi16(valid, at);
            __m512i odd = _mm512_maskz_loadu_epi16(both ? valid : 0, at + next);
            w[2 * l] = (__m512bh)_mm512_unpacklo_epi16(even, odd);
            w[2 * l + 1] = (__m512bh)_mm512_unpackhi_epi16(even, odd);
            /* these columns some rows on, and these rows of the next columns: all maybe past the end */
            const uintptr_t address = (uintptr_t)at, row = a->ld_wide * sizeof *at;
            _mm_prefetch((const char *)(address + AHEAD * row), _MM_HINT_T0);
            _mm_prefetch((const char *)(address + (AHEAD + 1) * row), _MM_HINT_T0);
            _mm_prefetch((const char *)(address + 64 * (size_t)lines), _MM_HINT_T1);
            _mm_prefetch((const char *)(address + row + 64 * (size_t)lines), _MM_HINT_T1);
        }
#pragma GCC unroll 16
        for (int k = 0; k < m; k++) {
            __m512bh t = (__m512bh)_mm512_set1_epi32((int)pair[k]);
#pragma GCC unroll 8
            for (int v = 0; v < 2 * lines; v++) acc[k][v] = _mm512_dpbf16_ps(acc[k][v], t, w[v]);
        }
    }
#pragma GCC unroll 16
    for (int k = 0; k < m; k++) {
        float *c = a->c + (i + (size_t)k) * a->ldc + j;
#pragma GCC unroll 4
        for (int l = 0; l < lines; l++, c += LINE) {
            const __mmask32 valid = l + 1 < lines ? 0xffffffffu : last;
            join_line(&acc[k][2 * l]);
            _mm512_mask_storeu_ps(c, (__mmask16)valid, acc[k][2 * l]);
            if (valid >> VEC_WIDTH != 0)
                _mm512_mask_storeu_ps(c + VEC_WIDTH, (__mmask16)(valid >> VEC_WIDTH),
                                      acc[k][2 * l + 1]);
        }
    }
}

/* Rows [i, i+m) of c. */
VEC_INLINE void rows_pairs(const hone_thin_outer *a, int m, size_t i) {
    thin_pairs thin;
    size_t row = 0;
    do { /* once where there are no rows: the sums are 0 then */
        pair_thin(a, m, i, row, &thin);
        size_t j = a->begin;
        for (; m == 1 && j + MOST_LINES * LINE <= a->end; j += MOST_LINES * LINE)
            tile_pairs(a, &thin, 1, MOST_LINES, i, j, LINE);
        for (; m == 1 && j + 2 * LINE <= a->end; j += 2 * LINE)
            tile_pairs(a, &thin, 1, 2, i, j, LINE);
        for (; j < a->end; j += LINE)
            tile_pairs(a, &thin, m, 1, i, j, HONE_MIN(a->end - j, (size_t)LINE));
        row += 2 * (size_t)PAIRS;
    } while (row < a->rows);
}

VEC_INLINE void thin_outer_pairs(const hone_thin_outer *a) {
    size_t i = 0;
    for (; i + TILE_ROWS <= a->m; i += TILE_ROWS) rows_pairs(a, TILE_ROWS, i);
    for (; i + 4 <= a->m; i += 4) rows_pairs(a, 4, i);
    for (; i + 2 <= a->m; i += 2) rows_pairs(a, 2, i);
    if (i < a->m) rows_pairs(a, 1, i);
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
