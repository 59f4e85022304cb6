/* kernels/x86/gemm_avx512bf16: bfloat16 matrix multiply with vdpbf16ps. Layer kernels.
 *
 * A tile is 6 rows x 4 panels: 24 accumulators, four vectors of B and one pair of A broadcast from
 * memory. Rows past the end repeat the last one and are not stored, so a row's bits do not depend on
 * its neighbours. A's last odd element is paired with zero without reading past the row.
 */
#include "base/size.h"
#include "kernels/variants.h"
#include <assert.h>
#include <immintrin.h>

enum { ROWS = 6, PANELS = 4 };

#define INLINE static inline __attribute__((always_inline))

/* One of the two products: A from the tile's first row on, B from its first panel on. */
typedef struct product {
    const hone_bf16 *a[ROWS];
    const char *b;
    size_t k, panel; /* panel: bytes from one to the next */
} product;

INLINE product take(const void *a, size_t lda, const void *b, size_t depth, size_t k, size_t row,
                    size_t last, size_t first_panel) {
    product p = {.k = k};
    p.panel =
        HONE_CEIL_DIV(depth, HONE_PANEL_DEPTH) * HONE_PANEL_DEPTH * HONE_PANEL * sizeof(hone_bf16);
    p.b = (const char *)b + first_panel * p.panel;
    for (size_t r = 0; r < ROWS; r++) p.a[r] = (const hone_bf16 *)a + HONE_MIN(row + r, last) * lda;
    return p;
}

INLINE void multiply_pair(__m512 acc[ROWS][PANELS], int rows, int panels, const uint32_t *a,
                          const char *b, size_t panel) {
    __m512bh bv[PANELS];
#pragma GCC unroll 8
    for (int v = 0; v < panels; v++) bv[v] = (__m512bh)_mm512_load_si512(b + (size_t)v * panel);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        __m512bh av = (__m512bh)_mm512_set1_epi32((int)a[r]);
#pragma GCC unroll 8
        for (int v = 0; v < panels; v++) acc[r][v] = _mm512_dpbf16_ps(acc[r][v], av, bv[v]);
    }
}

INLINE void multiply(__m512 acc[ROWS][PANELS], int rows, int panels, const product *p) {
    uint32_t pairs[ROWS];
    const char *b = p->b;
    for (size_t i = 0; i + 2 <= p->k; i += 2, b += 2 * HONE_PANEL * sizeof(hone_bf16)) {
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) memcpy(&pairs[r], p->a[r] + i, sizeof pairs[r]);
        multiply_pair(acc, rows, panels, pairs, b, p->panel);
    }
    if (p->k % 2 != 0) {
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) pairs[r] = p->a[r][p->k - 1];
        multiply_pair(acc, rows, panels, pairs, b, p->panel);
    }
}

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

INLINE void compute_tile(const hone_gemm *g, int rows, int panels, size_t row, size_t panel) {
    __m512 acc[ROWS][PANELS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 8
        for (int v = 0; v < panels; v++) acc[r][v] = _mm512_setzero_ps();
    }
    product p =
        take(g->a, g->lda, g->b, g->b_depth > 0 ? g->b_depth : g->k, g->k, row, g->m - 1, panel);
    multiply(acc, rows, panels, &p);
    if (g->k2 > 0) {
        p = take(g->a2, g->lda2, g->b2, g->k2, g->k2, row, g->m - 1, panel);
        multiply(acc, rows, panels, &p);
    }
    size_t valid = HONE_MIN(g->m - row, (size_t)rows);
    for (size_t r = 0; r < valid; r++) {
        for (int v = 0; v < panels; v++)
            store_vector(g, acc[r][v], row + r, (panel + (size_t)v) * HONE_PANEL);
    }
}

void hone_gemm_bf16_avx512bf16(const hone_gemm *g) {
    assert(!g->accumulate || g->c_dtype == HONE_F32);
    size_t panels = HONE_CEIL_DIV(g->n, HONE_PANEL);
    size_t whole = panels / PANELS * PANELS;
    for (size_t row = 0; row < g->m; row += ROWS) {
        if (g->m - row == 1) {
            for (size_t p = 0; p < panels; p++) compute_tile(g, 1, 1, row, p);
            break;
        }
        for (size_t p = 0; p < whole; p += PANELS) compute_tile(g, ROWS, PANELS, row, p);
        switch (panels - whole) {
        case 3:
            compute_tile(g, ROWS, 3, row, whole);
            break;
        case 2:
            compute_tile(g, ROWS, 2, row, whole);
            break;
        case 1:
            compute_tile(g, ROWS, 1, row, whole);
            break;
        default:
            break;
        }
    }
}
