/* kernels/vec/gemm: matrix multiply over packed panels, for every ISA. Layer kernels.
 *
 * A tile of TILE_ROWS x TILE_PANELS*16 accumulators stays in registers over the whole depth. bfloat16
 * operands are widened to float32 as they are loaded: right everywhere, fast where nothing multiplies
 * bfloat16 itself. Rows past the end repeat the last one and are not stored, so each row's bits are
 * those that it has in any other call.
 */
#include "base/size.h"
#include "kernels/variants.h"
#include "kernels/vec/vec.h"

#if defined(VEC_AVX512)
enum { TILE_ROWS = 8, TILE_PANELS = 3 };
#elif defined(VEC_AVX2)
enum { TILE_ROWS = 6, TILE_PANELS = 1 };
#elif defined(VEC_NEON)
enum { TILE_ROWS = 6, TILE_PANELS = 1 };
#else
enum { TILE_ROWS = 2, TILE_PANELS = 1 };
#endif
enum { PANEL_VECS = HONE_PANEL / VEC_WIDTH, TILE_VECS = TILE_PANELS * PANEL_VECS };

typedef vec_f tile[TILE_ROWS][TILE_VECS];

/* `panel`: floats from one panel to the next. */
VEC_INLINE void multiply_f32(tile acc, int rows, int panels, const void *const *a, size_t k,
                             const float *b, size_t panel) {
    for (size_t i = 0; i < k; i++, b += HONE_PANEL) {
        vec_f bv[TILE_VECS];
#pragma GCC unroll 16
        for (int v = 0; v < panels * PANEL_VECS; v++)
            bv[v] = vec_load(b + (v / PANEL_VECS) * panel + (v % PANEL_VECS) * VEC_WIDTH);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vec_f av = vec_set1(((const float *)a[r])[i]);
#pragma GCC unroll 16
            for (int v = 0; v < panels * PANEL_VECS; v++) acc[r][v] = vec_fma(av, bv[v], acc[r][v]);
        }
    }
}

/* Two products of one pair of k, even before odd. `pair` is [16][2] bfloat16 of each panel. */
VEC_INLINE void multiply_pair(tile acc, int rows, int panels, const uint32_t *a,
                              const uint32_t *pair, size_t panel) {
    for (int half = 0; half < 2; half++) {
        const uint32_t shift = half == 0 ? 16 : 0;
        vec_f bv[TILE_VECS];
#pragma GCC unroll 16
        for (int v = 0; v < panels * PANEL_VECS; v++) {
            vec_u words;
            memcpy(&words, pair + (v / PANEL_VECS) * panel + (v % PANEL_VECS) * VEC_WIDTH,
                   sizeof words);
            bv[v] = (vec_f)((words << shift) & 0xffff0000u);
        }
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vec_f av = (vec_f)(((a[r] << shift) & 0xffff0000u) + (vec_u){0});
#pragma GCC unroll 16
            for (int v = 0; v < panels * PANEL_VECS; v++) acc[r][v] = vec_fma(av, bv[v], acc[r][v]);
        }
    }
}

VEC_INLINE void multiply_bf16(tile acc, int rows, int panels, const void *const *a, size_t k,
                              const uint32_t *b, size_t panel) {
    uint32_t pairs[TILE_ROWS];
    for (size_t i = 0; i + 2 <= k; i += 2, b += HONE_PANEL) {
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
            memcpy(&pairs[r], (const hone_bf16 *)a[r] + i, sizeof pairs[r]);
        multiply_pair(acc, rows, panels, pairs, b, panel);
    }
    if (k % 2 != 0) {
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) pairs[r] = ((const hone_bf16 *)a[r])[k - 1];
        multiply_pair(acc, rows, panels, pairs, b, panel);
    }
}

VEC_INLINE void multiply(tile acc, int rows, int panels, hone_dtype compute, const void *a,
                         size_t lda, size_t row, size_t last_row, size_t k, const void *b,
                         size_t b_depth, size_t first_panel) {
    const void *rows_of_a[TILE_ROWS];
    for (int r = 0; r < rows; r++)
        rows_of_a[r] = vec_at(a, compute, HONE_MIN(row + (size_t)r, last_row) * lda);
    if (compute == HONE_F32) {
        size_t panel = b_depth * HONE_PANEL;
        multiply_f32(acc, rows, panels, rows_of_a, k, (const float *)b + first_panel * panel,
                     panel);
    } else {
        size_t depth = HONE_CEIL_DIV(b_depth, HONE_PANEL_DEPTH) * (HONE_PANEL_DEPTH / 2);
        size_t panel = depth * HONE_PANEL;
        multiply_bf16(acc, rows, panels, rows_of_a, k, (const uint32_t *)b + first_panel * panel,
                      panel);
    }
}

VEC_INLINE void store_row(const hone_gemm *g, const vec_f *acc, int vecs, size_t row, size_t col) {
    size_t at = row * g->ldc + col, valid = HONE_MIN(g->n - col, (size_t)vecs * VEC_WIDTH);
    for (int v = 0; v < vecs; v++) {
        size_t first = (size_t)v * VEC_WIDTH;
        if (first >= valid) break;
        size_t count = HONE_MIN(valid - first, (size_t)VEC_WIDTH);
        vec_f sum = acc[v];
        if (g->bias != NULL) sum += vec_load_n(g->bias + col + first, count);
        if (g->accumulate) sum += vec_load_n((const float *)g->c + at + first, count);
        if (count == VEC_WIDTH)
            vec_store_as(g->c, g->c_dtype, at + first, sum);
        else
            vec_store_as_n(g->c, g->c_dtype, at + first, sum, count);
    }
}

VEC_INLINE void compute_tile(const hone_gemm *g, int rows, int panels, hone_dtype compute,
                             size_t row, size_t panel) {
    tile acc;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 16
        for (int v = 0; v < panels * PANEL_VECS; v++) acc[r][v] = vec_zero();
    }
    size_t b_depth = g->b_depth > 0 ? g->b_depth : g->k;
    multiply(acc, rows, panels, compute, g->a, g->lda, row, g->m - 1, g->k, g->b, b_depth, panel);
    if (g->k2 > 0)
        multiply(acc, rows, panels, compute, g->a2, g->lda2, row, g->m - 1, g->k2, g->b2, g->k2,
                 panel);
    tile sums; /* a copy: accumulators whose address is taken would be stored in the inner loop */
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 16
        for (int v = 0; v < panels * PANEL_VECS; v++) sums[r][v] = acc[r][v];
    }
    size_t valid = HONE_MIN(g->m - row, (size_t)rows);
    for (size_t r = 0; r < valid; r++)
        store_row(g, sums[r], panels * PANEL_VECS, row + r, panel * HONE_PANEL);
}

VEC_INLINE void gemm(const hone_gemm *g, hone_dtype compute) {
    assert(!g->accumulate || g->c_dtype == HONE_F32);
    size_t panels = HONE_CEIL_DIV(g->n, HONE_PANEL);
    size_t whole = panels / TILE_PANELS * TILE_PANELS;
    for (size_t row = 0; row < g->m; row += TILE_ROWS) {
        if (g->m - row == 1) {
            for (size_t p = 0; p < panels; p++) compute_tile(g, 1, 1, compute, row, p);
            break;
        }
        for (size_t p = 0; p < whole; p += TILE_PANELS)
            compute_tile(g, TILE_ROWS, TILE_PANELS, compute, row, p);
        if (panels - whole == 2)
            compute_tile(g, TILE_ROWS, 2 < TILE_PANELS ? 2 : 1, compute, row, whole);
        else if (panels - whole == 1)
            compute_tile(g, TILE_ROWS, 1, compute, row, whole);
    }
}

void HONE_VEC_NAME(gemm_f32)(const hone_gemm *g) { gemm(g, HONE_F32); }
void HONE_VEC_NAME(gemm_bf16)(const hone_gemm *g) { gemm(g, HONE_BF16); }
