/* kernels/x86/gemm_avx512bf16: bfloat16 matrix multiply with vdpbf16ps. Layer kernels.
 *
 * A tile is 6 rows x 4 panels: 24 accumulators, four vectors of B and one pair of A broadcast from
 * memory; where one or two panels are left, 12 rows are taken together. Rows past the end repeat the
 * last one and are not stored, so a row's bits do not depend on its neighbours. A's last odd element
 * is paired with zero without reading past the row. The last panel, where it has at most eight columns, is
 * multiplied two pairs of depths at a time, whose sums are added at the end; A's last elements are filled
 * up to four with zeros then.
 *
 * The rows of A that come next are asked for while a tile is multiplied, some rows by each tile: the
 * processor's own prefetching stops at every row, and waiting for them took up to a tenth of the time.
 */
#include "base/size.h"
#include "kernels/variants.h"
#include <assert.h>
#include <immintrin.h>

enum {
    ROWS = 6,
    PANELS = 4,
    LAST_ROWS = 4,  /* where no more are left */
    MOST_ROWS = 12, /* of a tile of one or two panels */
    THIN =
        8, /* columns of a last panel, at most, that are multiplied two pairs of depths at once */
    THIN_DEPTHS = 4,
    LINE = 32 /* elements of a cache line */
};

#define INLINE static inline __attribute__((always_inline))

/* One of the two products: A from the tile's first row on, B from its first panel on. */
typedef struct product {
    const hone_bf16 *a[MOST_ROWS];
    const char *b;
    size_t k, panel; /* panel: bytes from one to the next */
} product;

/* Rows of A to ask for. */
typedef struct ahead {
    const hone_bf16 *first;
    size_t rows, lda;
} ahead;

INLINE product take(const void *a, size_t lda, const void *b, size_t depth, size_t k, int rows,
                    size_t row, size_t last, size_t first_panel) {
    product p = {.k = k};
    p.panel = hone_panel_bytes_bf16(depth);
    p.b = (const char *)b + first_panel * p.panel;
    for (size_t r = 0; r < (size_t)rows; r++)
        p.a[r] = (const hone_bf16 *)a + HONE_MIN(row + r, last) * lda;
    return p;
}

INLINE void multiply_pair(__m512 acc[MOST_ROWS][PANELS], int rows, int panels, const uint32_t *a,
                          const char *b, size_t panel) {
    __m512bh bv[PANELS];
#pragma GCC unroll 8
    for (int v = 0; v < panels; v++) bv[v] = (__m512bh)_mm512_load_si512(b + (size_t)v * panel);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        __m512bh av = (__m512bh)_mm512_set1_epi32((int)a[r]);
#pragma GCC unroll 8
        for (int v = 0; v < panels; v++) acc[r][v] = _mm512_dpbf16_ps(acc[r][v], av, bv[v]);
    }
}

/* Depths [from, to), `to` - `from` even. */
INLINE const char *multiply_depths(__m512 acc[MOST_ROWS][PANELS], int rows, int panels,
                                   const product *p, const char *b, size_t from, size_t to) {
    uint32_t pairs[MOST_ROWS];
    for (size_t i = from; i < to; i += 2, b += 2 * HONE_PANEL * sizeof(hone_bf16)) {
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) memcpy(&pairs[r], p->a[r] + i, sizeof pairs[r]);
        multiply_pair(acc, rows, panels, pairs, b, p->panel);
    }
    return b;
}

INLINE void multiply(__m512 acc[MOST_ROWS][PANELS], int rows, int panels, const product *p,
                     const ahead *next) {
    const char *b = p->b;
    size_t i = 0;
    for (; i + LINE <= p->k; i += LINE) {
        for (size_t r = 0; r < next->rows; r++)
            _mm_prefetch((const char *)(next->first + r * next->lda + i), _MM_HINT_T0);
        b = multiply_depths(acc, rows, panels, p, b, i, i + LINE);
    }
    b = multiply_depths(acc, rows, panels, p, b, i, p->k / 2 * 2);
    if (p->k % 2 != 0) {
        uint32_t pairs[MOST_ROWS];
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) pairs[r] = p->a[r][p->k - 1];
        multiply_pair(acc, rows, panels, pairs, b, p->panel);
    }
}

/* A tile of C from c[at] on, without a bias. */
INLINE void store_tile(const hone_gemm *g, __m512 acc[MOST_ROWS][PANELS], int rows, int panels,
                       size_t at) {
    const size_t ldc = g->ldc;
    if (g->c_dtype == HONE_F32) {
        float *c = (float *)g->c + at;
        if (g->accumulate) {
#pragma GCC unroll 16
            for (int r = 0; r < rows; r++, c += ldc) {
#pragma GCC unroll 8
                for (int v = 0; v < panels; v++) {
                    float *to = c + v * HONE_PANEL;
                    _mm512_storeu_ps(to, _mm512_add_ps(acc[r][v], _mm512_loadu_ps(to)));
                }
            }
            return;
        }
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++, c += ldc) {
#pragma GCC unroll 8
            for (int v = 0; v < panels; v++) _mm512_storeu_ps(c + v * HONE_PANEL, acc[r][v]);
        }
        return;
    }
    hone_bf16 *c = (hone_bf16 *)g->c + at;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++, c += ldc) {
#pragma GCC unroll 8
        for (int v = 0; v + 2 <= panels; v += 2)
            _mm512_storeu_si512(c + v * HONE_PANEL,
                                (__m512i)_mm512_cvtne2ps_pbh(acc[r][v + 1], acc[r][v]));
        if (panels % 2 != 0)
            _mm256_storeu_si256((__m256i *)(c + (panels - 1) * HONE_PANEL),
                                (__m256i)_mm512_cvtneps_pbh(acc[r][panels - 1]));
    }
}

/* A vector of C, cut at n, with what is to be added. */
INLINE void store_vector(const hone_gemm *g, __m512 sum, size_t row, size_t col) {
    size_t at = row * g->ldc + col, left = g->n - col;
    __mmask16 valid = left >= HONE_PANEL ? 0xffff : (__mmask16)((1u << left) - 1);
    if (g->bias != NULL) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(valid, g->bias + col));
    if (g->accumulate)
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(valid, (const float *)g->c + at));
    if (g->c_dtype == HONE_F32)
        _mm512_mask_storeu_ps((float *)g->c + at, valid, sum);
    else
        _mm256_mask_storeu_epi16((hone_bf16 *)g->c + at, valid, (__m256i)_mm512_cvtneps_pbh(sum));
}

/* Asks for what is there of a tile that is added to: at its end it would be waited for. */
INLINE void fetch_tile(const hone_gemm *g, int rows, int panels, size_t row, size_t col) {
    const size_t valid = HONE_MIN(g->m - row, (size_t)rows);
    const float *c = (const float *)g->c + row * g->ldc + col;
    for (size_t r = 0; r < valid; r++, c += g->ldc) {
#pragma GCC unroll 8
        for (int v = 0; v < panels; v++)
            _mm_prefetch((const char *)(c + v * HONE_PANEL), _MM_HINT_T0);
    }
}

INLINE void compute_tile(const hone_gemm *g, int rows, int panels, size_t row, size_t panel,
                         ahead next) {
    const size_t col = panel * HONE_PANEL;
    __m512 acc[MOST_ROWS][PANELS];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < panels; v++) acc[r][v] = _mm512_setzero_ps();
    }
    if (g->accumulate) fetch_tile(g, rows, panels, row, col);
    product p = take(g->a, g->lda, g->b, g->b_depth > 0 ? g->b_depth : g->k, g->k, rows, row,
                     g->m - 1, panel);
    multiply(acc, rows, panels, &p, &next);
    if (g->k2 > 0) {
        const ahead none = {0};
        p = take(g->a2, g->lda2, g->b2, g->k2, g->k2, rows, row, g->m - 1, panel);
        multiply(acc, rows, panels, &p, &none);
    }
    bool whole = row + (size_t)rows <= g->m && col + (size_t)panels * HONE_PANEL <= g->n;
    if (whole && g->bias == NULL) {
        store_tile(g, acc, rows, panels, row * g->ldc + col);
        return;
    }
    size_t valid = HONE_MIN(g->m - row, (size_t)rows);
    __m512 sums[MOST_ROWS]
               [PANELS]; /* accumulators whose address is taken may be stored in the inner loop */
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < panels; v++) sums[r][v] = acc[r][v];
    }
    for (size_t r = 0; r < valid; r++) {
        for (int v = 0; v < panels; v++)
            store_vector(g, sums[r][v], row + r, col + (size_t)v * HONE_PANEL);
    }
}

/* ---- a last panel of at most eight columns -------------------------------------------------------- */

/* Columns 0-7 of two pairs of depths: lanes 2j and 2j+1 are column j's. */
INLINE __m512bh two_pairs(const char *b) {
    const __m512i side_by_side =
        _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return (__m512bh)_mm512_permutex2var_epi32(_mm512_load_si512(b), side_by_side,
                                               _mm512_load_si512(b + 64));
}

/* `rows` rows, 1, 4 or 12, that all exist: a[g] is row 4g, `stride` and `stride3` are one and three rows in bytes. That
 * takes fewer registers than an address for each. */
INLINE const char *multiply_thin_depths(__m512 acc[MOST_ROWS], int rows, const char *a[3],
                                        size_t stride, size_t stride3, const char *b,
                                        size_t depths) {
#pragma GCC unroll 8
    for (size_t i = 0; i < depths; i += THIN_DEPTHS, b += 2 * 64) {
        const __m512bh bv = two_pairs(b);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            int64_t pairs;
            memcpy(&pairs,
                   a[r / 4] + i * sizeof(hone_bf16) +
                       (r % 4 == 3 ? stride3 : (size_t)(r % 4) * stride),
                   sizeof pairs);
            acc[r] = _mm512_dpbf16_ps(acc[r], (__m512bh)_mm512_set1_epi64(pairs), bv);
        }
    }
    return b;
}

INLINE void multiply_thin(__m512 acc[MOST_ROWS], int rows, const hone_bf16 *a, size_t lda,
                          const char *b, size_t k, const ahead *next) {
    const char *at[3];
    for (int g = 0; g < 3; g++) at[g] = (const char *)(a + (size_t)HONE_MIN(4 * g, rows - 1) * lda);
    size_t stride = lda * sizeof *a, stride3 = 3 * stride, i = 0;
    __asm__("" : "+r"(stride3)); /* one register more, or the compiler takes one for every row */
    for (; i + LINE <= k; i += LINE) {
        for (size_t r = 0; r < next->rows; r++)
            _mm_prefetch((const char *)(next->first + r * next->lda + i), _MM_HINT_T0);
        b = multiply_thin_depths(acc, rows, at, stride, stride3, b, LINE);
        for (int g = 0; g < 3; g++) at[g] += LINE * sizeof *a;
    }
    for (; i < k; i += THIN_DEPTHS, b += 2 * 64) {
        const __m512bh bv = two_pairs(b);
        const size_t left = HONE_MIN(k - i, (size_t)THIN_DEPTHS);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            int64_t pairs = 0;
            memcpy(&pairs, a + (size_t)r * lda + i, left * sizeof *a);
            acc[r] = _mm512_dpbf16_ps(acc[r], (__m512bh)_mm512_set1_epi64(pairs), bv);
        }
    }
}

INLINE void compute_thin_tile(const hone_gemm *g, int rows, size_t row, size_t panel, ahead next) {
    __m512 acc[MOST_ROWS];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) acc[r] = _mm512_setzero_ps();
    multiply_thin(acc, rows, (const hone_bf16 *)g->a + row * g->lda, g->lda,
                  (const char *)g->b +
                      panel * hone_panel_bytes_bf16(g->b_depth > 0 ? g->b_depth : g->k),
                  g->k, &next);
    if (g->k2 > 0) {
        const ahead none = {0};
        multiply_thin(acc, rows, (const hone_bf16 *)g->a2 + row * g->lda2, g->lda2,
                      (const char *)g->b2 + panel * hone_panel_bytes_bf16(g->k2), g->k2, &none);
    }
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        __m512 sum = _mm512_add_ps(acc[r], _mm512_movehdup_ps(acc[r]));
        store_vector(g, _mm512_permutexvar_ps(even, sum), row + (size_t)r, panel * HONE_PANEL);
    }
}

/* Share `part` of `parts` of the rows [row, row + rows). */
INLINE ahead share(const hone_gemm *g, size_t row, size_t rows, size_t part, size_t parts) {
    size_t begin = HONE_MIN(row + rows * part / parts, g->m);
    size_t end = HONE_MIN(row + rows * (part + 1) / parts, g->m);
    if (begin == end) return (ahead){0};
    return (ahead){(const hone_bf16 *)g->a + begin * g->lda, end - begin, g->lda};
}

/* `rows` rows, six or four, times all panels that come by three or four. */
INLINE void compute_rows(const hone_gemm *g, int rows, size_t row, size_t panels) {
    size_t tiles = HONE_CEIL_DIV(panels, PANELS);
    for (size_t t = 0; t < panels / PANELS; t++)
        compute_tile(g, rows, PANELS, row, t * PANELS, share(g, row + ROWS, ROWS, t, tiles));
    if (panels % PANELS != 0)
        compute_tile(g, rows, 3, row, panels / PANELS * PANELS,
                     share(g, row + ROWS, ROWS, tiles - 1, tiles));
}

/* At most 12 rows times the one or two panels that are left from `panel` on. */
INLINE void compute_narrow(const hone_gemm *g, size_t row, size_t panel, size_t panels) {
    ahead next = panel > 0 ? (ahead){0} : share(g, row + MOST_ROWS, MOST_ROWS, 0, 1);
    if (g->m - row <= ROWS) {
        if (panels == 1)
            compute_tile(g, ROWS, 1, row, panel, next);
        else
            compute_tile(g, ROWS, 2, row, panel, next);
    } else if (panels == 1) {
        compute_tile(g, MOST_ROWS, 1, row, panel, next);
    } else {
        compute_tile(g, MOST_ROWS, 2, row, panel, next);
    }
}

/* At most 12 rows times the last panel. */
INLINE void compute_thin(const hone_gemm *g, size_t row, size_t panel) {
    const size_t end = HONE_MIN(row + MOST_ROWS, g->m);
    if (end - row == MOST_ROWS) {
        ahead next = panel > 0 ? (ahead){0} : share(g, row + MOST_ROWS, MOST_ROWS, 0, 1);
        compute_thin_tile(g, MOST_ROWS, row, panel, next);
        return;
    }
    for (; row + 4 <= end; row += 4) compute_thin_tile(g, 4, row, panel, (ahead){0});
    for (; row < end; row++) compute_thin_tile(g, 1, row, panel, (ahead){0});
}

void hone_gemm_bf16_avx512bf16(const hone_gemm *g) {
    assert(!g->accumulate || g->c_dtype == HONE_F32);
    const bool thin = g->n % HONE_PANEL > 0 && g->n % HONE_PANEL <= THIN;
    size_t panels = g->n / HONE_PANEL + (g->n % HONE_PANEL > THIN ? 1 : 0);
    size_t narrow = panels % PANELS < 3 ? panels % PANELS : 0;
    if (g->m == 1) {
        for (size_t p = 0; p < panels; p++) compute_tile(g, 1, 1, 0, p, (ahead){0});
        if (thin) compute_thin(g, 0, panels);
        return;
    }
    for (size_t row = 0; row < g->m; row += MOST_ROWS) {
        for (size_t at = row; at < HONE_MIN(row + MOST_ROWS, g->m); at += ROWS) {
            if (g->m - at > LAST_ROWS)
                compute_rows(g, ROWS, at, panels - narrow);
            else
                compute_rows(g, LAST_ROWS, at, panels - narrow);
        }
        if (narrow > 0) compute_narrow(g, row, panels - narrow, narrow);
        if (thin) compute_thin(g, row, panels);
    }
}
