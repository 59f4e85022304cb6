/* kernels/arm/gemm_neonbf16: bfloat16 matrix multiply with bfmmla. Layer kernels.
 *
 * bfmmla adds a 2x4 times a 4x2 product to a 2x2 matrix: a register of A holds four depths of two rows, one of B
 * four depths of two columns, an accumulator two rows of two columns. A tile is 6 rows x 1 panel: 24 accumulators and
 * three registers of A. Panels have two depths of a column side by side, so two vectors of B are zipped into what
 * bfmmla wants, once for the three pairs of rows: 8 zips to 24 bfmmla. They should cost nothing on cores with four
 * vector pipes, of which two multiply matrices (Neoverse V1, V2), and a quarter of the rate on cores with two (N2);
 * this file has been run in an emulator, never timed.
 *
 * Rows past the end repeat the last one and are not stored, so a row's bits do not depend on its neighbours. A's
 * last depths are filled up with zeros without reading past the row. bfmmla rounds sums to odd and takes denormals
 * for 0, whatever the control register says: twice the error of a float32 sum that rounds to nearest, made
 * half as often.
 */
#include "base/size.h"
#include "kernels/variants.h"
#include <arm_neon.h>
#include <assert.h>

enum { ROWS = 6, PAIRS = ROWS / 2, VECS = HONE_PANEL / 2, DEPTHS = 4 };

#define INLINE static inline __attribute__((always_inline))

/* acc[p][v]: rows 2p and 2p + 1 of columns 2v and 2v + 1. */
typedef float32x4_t tile[PAIRS][VECS];

/* One of the two products: A's rows of the tile, B from its panel on. */
typedef struct product {
    const hone_bf16 *a[ROWS];
    const uint32_t *b; /* pairs of depths: [depth/2][16] */
    size_t k;
} product;

INLINE product take(const void *a, size_t lda, const void *b, size_t depth, size_t k, size_t row,
                    size_t last, size_t panel) {
    product p = {.k = k};
    size_t pairs = HONE_CEIL_DIV(depth, HONE_PANEL_DEPTH) * (HONE_PANEL_DEPTH / 2);
    p.b = (const uint32_t *)b + panel * pairs * HONE_PANEL;
    for (size_t r = 0; r < ROWS; r++) p.a[r] = (const hone_bf16 *)a + HONE_MIN(row + r, last) * lda;
    return p;
}

/* Four depths of two rows; and fewer, with zeros after. */
INLINE bfloat16x8_t two_rows(const hone_bf16 *even, const hone_bf16 *odd) {
    return vreinterpretq_bf16_u16(vcombine_u16(vld1_u16(even), vld1_u16(odd)));
}

INLINE bfloat16x8_t two_rows_n(const hone_bf16 *even, const hone_bf16 *odd, size_t n) {
    hone_bf16 padded[2][DEPTHS] = {{even[0], n > 1 ? even[1] : 0, n > 2 ? even[2] : 0},
                                   {odd[0], n > 1 ? odd[1] : 0, n > 2 ? odd[2] : 0}};
    return two_rows(padded[0], padded[1]);
}

/* Four depths. `b` is two pairs of depths of the panel. */
INLINE void multiply_depths(tile acc, int pairs, const bfloat16x8_t *a, const uint32_t *b) {
#pragma GCC unroll 4
    for (int v = 0; v < VECS; v += 2) {
        uint32x4_t low = vld1q_u32(b + 2 * v), high = vld1q_u32(b + HONE_PANEL + 2 * v);
        bfloat16x8_t left = vreinterpretq_bf16_u32(vzip1q_u32(low, high));
        bfloat16x8_t right = vreinterpretq_bf16_u32(vzip2q_u32(low, high));
#pragma GCC unroll 4
        for (int p = 0; p < pairs; p++) {
            acc[p][v] = vbfmmlaq_f32(acc[p][v], a[p], left);
            acc[p][v + 1] = vbfmmlaq_f32(acc[p][v + 1], a[p], right);
        }
    }
}

INLINE void multiply(tile acc, int pairs, const product *in) {
    bfloat16x8_t a[PAIRS];
    const uint32_t *b = in->b;
    size_t i = 0;
    for (; i + DEPTHS <= in->k; i += DEPTHS, b += DEPTHS / 2 * HONE_PANEL) {
#pragma GCC unroll 4
        for (int p = 0; p < pairs; p++) a[p] = two_rows(in->a[2 * p] + i, in->a[2 * p + 1] + i);
        multiply_depths(acc, pairs, a, b);
    }
    if (i == in->k) return;
#pragma GCC unroll 4
    for (int p = 0; p < pairs; p++)
        a[p] = two_rows_n(in->a[2 * p] + i, in->a[2 * p + 1] + i, in->k - i);
    multiply_depths(acc, pairs, a, b);
}

/* Up to four columns of a row. */
INLINE void store_sums(const hone_gemm *g, float32x4_t sums, size_t row, size_t col) {
    size_t at = row * g->ldc + col, valid = HONE_MIN(g->n - col, (size_t)4);
    float bias[4] = {0}, before[4] = {0}, out[4];
    if (g->bias != NULL) memcpy(bias, g->bias + col, valid * sizeof(float));
    if (g->accumulate) memcpy(before, (const float *)g->c + at, valid * sizeof(float));
    sums = vaddq_f32(vaddq_f32(sums, vld1q_f32(bias)), vld1q_f32(before));
    vst1q_f32(out, sums);
    if (g->c_dtype == HONE_F32) {
        memcpy((float *)g->c + at, out, valid * sizeof(float));
        return;
    }
    bfloat16x4_t rounded = vcvt_bf16_f32(sums);
    memcpy((hone_bf16 *)g->c + at, &rounded, valid * sizeof(hone_bf16));
}

INLINE void compute_tile(const hone_gemm *g, int pairs, size_t row, size_t panel) {
    tile acc;
#pragma GCC unroll 4
    for (int p = 0; p < pairs; p++) {
#pragma GCC unroll 8
        for (int v = 0; v < VECS; v++) acc[p][v] = vdupq_n_f32(0);
    }
    size_t depth = g->b_depth > 0 ? g->b_depth : g->k;
    product in = take(g->a, g->lda, g->b, depth, g->k, row, g->m - 1, panel);
    multiply(acc, pairs, &in);
    if (g->k2 > 0) {
        in = take(g->a2, g->lda2, g->b2, g->k2, g->k2, row, g->m - 1, panel);
        multiply(acc, pairs, &in);
    }
    for (size_t p = 0; p < (size_t)pairs; p++) {
        for (size_t v = 0; v < VECS && panel * HONE_PANEL + 2 * v < g->n; v += 2) {
            float64x2_t left = vreinterpretq_f64_f32(acc[p][v]);
            float64x2_t right = vreinterpretq_f64_f32(acc[p][v + 1]);
            size_t even = row + 2 * p, col = panel * HONE_PANEL + 2 * v;
            store_sums(g, vreinterpretq_f32_f64(vzip1q_f64(left, right)), even, col);
            if (even + 1 < g->m)
                store_sums(g, vreinterpretq_f32_f64(vzip2q_f64(left, right)), even + 1, col);
        }
    }
}

void hone_gemm_bf16_neonbf16(const hone_gemm *g) {
    assert(!g->accumulate || g->c_dtype == HONE_F32);
    size_t panels = HONE_CEIL_DIV(g->n, HONE_PANEL);
    for (size_t row = 0; row < g->m; row += ROWS) {
        size_t left = HONE_MIN(g->m - row, (size_t)ROWS);
        for (size_t p = 0; p < panels; p++) {
            if (left > 4)
                compute_tile(g, 3, row, p);
            else if (left > 2)
                compute_tile(g, 2, row, p);
            else
                compute_tile(g, 1, row, p);
        }
    }
}
