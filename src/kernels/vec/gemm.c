/* kernels/vec/gemm: matrix multiply over packed panels, for every ISA. Layer kernels.
 *
 * A tile of TILE_ROWS x TILE_PANELS*16 accumulators stays in registers over the whole depth. bfloat16 is widened to
 * float32: B's words as they are loaded, A's rows once for all panels (widening them for every panel took as many
 * instructions as multiplying: half of the speed on AVX2). Rows past the end repeat the last one and are not stored,
 * so each row's bits are those that it has in any other call. The float32 rows of A that come next are asked for while
 * a tile is multiplied, some rows by each tile: the processor's own prefetching stops at every row.
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

/* A [m, k] times packed B. */
typedef struct product {
    const void *a;
    size_t lda, k;
    const void *b;
    size_t b_depth; /* that B was packed with */
} product;

/* Rows of A as float32: where they lie, or a widened copy of bfloat16. */
typedef struct tile_rows {
    const float *row[TILE_ROWS];
    size_t k; /* how deep they are */
} tile_rows;

/* Depths that copies have room for: of A, of the second product's A, and of what is deeper, piece by piece. All even:
 * a word of B holds two depths. */
enum { DEPTH = 2048, SECOND_DEPTH = 128, PIECE = 256, PAD = 16 };

enum { LINE = 16 }; /* float32 of a cache line */

/* Rows of A to ask for. */
typedef struct ahead {
    const float *first;
    size_t rows, lda;
} ahead;

/* The tile's rows from depth k0 on: all that is left of float32, at most `room` of bfloat16. The rows of a copy lie a
 * cache line further apart than they are long, since a power of two would put all of them into one cache set. */
VEC_INLINE void take_rows(tile_rows *t, int rows, hone_dtype compute, const product *p, size_t row,
                          size_t last_row, size_t k0, float *copy, size_t room) {
    t->k = compute == HONE_F32 ? p->k - k0 : HONE_MIN(p->k - k0, room);
    size_t stride = HONE_CEIL_DIV(t->k, PAD) * PAD + PAD;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        const void *from = vec_at(p->a, compute, HONE_MIN(row + (size_t)r, last_row) * p->lda + k0);
        if (compute == HONE_F32) {
            t->row[r] = from;
            continue;
        }
        float *to = copy + (size_t)r * stride;
        size_t i = 0;
        for (; i + VEC_WIDTH <= t->k; i += VEC_WIDTH)
            vec_store(to + i, vec_load_as(from, compute, i));
        if (i < t->k) vec_store_n(to + i, vec_load_as_n(from, compute, i, t->k - i), t->k - i);
        t->row[r] = to;
    }
}

/* One depth of `a` times a row of B. */
VEC_INLINE void multiply_one(tile acc, int rows, int panels, const tile_rows *a, size_t i,
                             const vec_f bv[TILE_VECS]) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        vec_f av = vec_set1(a->row[r][i]);
#pragma GCC unroll 16
        for (int v = 0; v < panels * PANEL_VECS; v++) acc[r][v] = vec_fma(av, bv[v], acc[r][v]);
    }
}

/* Depths [from, to) with B's from b on. `panel`: words from one panel to the next. */
VEC_INLINE void multiply_depths(tile acc, int rows, int panels, const tile_rows *a, const float *b,
                                size_t panel, size_t from, size_t to) {
#pragma GCC unroll 4
    for (size_t i = from; i < to; i++, b += HONE_PANEL) {
        vec_f bv[TILE_VECS];
#pragma GCC unroll 16
        for (int v = 0; v < panels * PANEL_VECS; v++)
            bv[v] = vec_load(b + (v / PANEL_VECS) * panel + (v % PANEL_VECS) * VEC_WIDTH);
        multiply_one(acc, rows, panels, a, i, bv);
    }
}

VEC_INLINE void multiply_f32(tile acc, int rows, int panels, const tile_rows *a, const float *b,
                             size_t panel, const ahead *next) {
    size_t i = 0;
    for (; i + LINE <= a->k; i += LINE) {
        for (size_t r = 0; r < next->rows; r++) __builtin_prefetch(next->first + r * next->lda + i);
        multiply_depths(acc, rows, panels, a, b + i * HONE_PANEL, panel, i, i + LINE);
    }
    multiply_depths(acc, rows, panels, a, b + i * HONE_PANEL, panel, i, a->k);
}

/* A row of one depth of B out of its words: the even depth lies in the low halves, the odd one in the high halves. */
VEC_INLINE void widen_half(vec_f bv[TILE_VECS], int panels, const uint32_t *b, size_t panel,
                           bool odd) {
#pragma GCC unroll 16
    for (int v = 0; v < panels * PANEL_VECS; v++) {
        vec_u words;
        memcpy(&words, b + (v / PANEL_VECS) * panel + (v % PANEL_VECS) * VEC_WIDTH, sizeof words);
        bv[v] = (vec_f)(odd ? words & 0xffff0000u : words << 16);
    }
}

VEC_INLINE void multiply_bf16(tile acc, int rows, int panels, const tile_rows *a, const uint32_t *b,
                              size_t panel) {
#pragma GCC unroll 2
    for (size_t i = 0; i < a->k; i += 2, b += HONE_PANEL) {
        vec_f bv[TILE_VECS];
        widen_half(bv, panels, b, panel, false);
        multiply_one(acc, rows, panels, a, i, bv);
        if (i + 1 == a->k) break;
        __asm__("" : "+r"(b)); /* read the words again: no register is left to keep them in */
        widen_half(bv, panels, b, panel, true);
        multiply_one(acc, rows, panels, a, i + 1, bv);
    }
}

/* acc += a B[k0 ...] for `panels` panels from `first` on. */
VEC_INLINE void multiply(tile acc, int rows, int panels, hone_dtype compute, const product *p,
                         const tile_rows *a, size_t first, size_t k0, const ahead *next) {
    size_t words = compute == HONE_F32
                       ? p->b_depth
                       : HONE_CEIL_DIV(p->b_depth, HONE_PANEL_DEPTH) * (HONE_PANEL_DEPTH / 2);
    size_t panel = words * HONE_PANEL, at = compute == HONE_F32 ? k0 : k0 / 2;
    const uint32_t *b = (const uint32_t *)p->b + first * panel + at * HONE_PANEL;
    if (compute == HONE_F32)
        multiply_f32(acc, rows, panels, a, (const float *)b, panel, next);
    else
        multiply_bf16(acc, rows, panels, a, b, panel);
}

/* A row of a tile at c[at ...], all `vecs` of them within n, without a bias. */
VEC_INLINE void store_whole_row(const hone_gemm *g, bool accumulate, const vec_f *acc, int vecs,
                                size_t at) {
#pragma GCC unroll 16
    for (int v = 0; v < vecs; v++, at += VEC_WIDTH) {
        if (accumulate)
            vec_store((float *)g->c + at, acc[v] + vec_load((const float *)g->c + at));
        else
            vec_store_as(g->c, g->c_dtype, at, acc[v]);
    }
}

VEC_INLINE void store_whole_tile(const hone_gemm *g, bool accumulate, tile acc, int rows, int vecs,
                                 size_t at) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++, at += g->ldc) store_whole_row(g, accumulate, acc[r], vecs, at);
}

/* Asks for what is there of a tile that is added to: at its end it would be waited for. */
VEC_INLINE void fetch_tile(const hone_gemm *g, int rows, int panels, size_t row, size_t col) {
    const size_t valid = HONE_MIN(g->m - row, (size_t)rows);
    const float *c = (const float *)g->c + row * g->ldc + col;
    for (size_t r = 0; r < valid; r++, c += g->ldc)
        for (int p = 0; p < panels; p++) __builtin_prefetch(c + p * HONE_PANEL);
}

/* A row of a tile at c[at ...], cut at n, with what is to be added. */
VEC_INLINE void store_cut_row(const hone_gemm *g, const vec_f *acc, int vecs, size_t at,
                              size_t col) {
    for (int v = 0; v < vecs; v++) {
        size_t first = (size_t)v * VEC_WIDTH;
        if (col + first >= g->n) break;
        size_t count = HONE_MIN(g->n - col - first, (size_t)VEC_WIDTH);
        vec_f sum = acc[v];
        if (g->bias != NULL) sum += vec_load_n(g->bias + col + first, count);
        if (g->accumulate) sum += vec_load_n((const float *)g->c + at + first, count);
        vec_store_as_n(g->c, g->c_dtype, at + first, sum, count);
    }
}

typedef struct job {
    const hone_gemm *g;
    product product[2];
    tile_rows ready[2];     /* of the rows at hand, for all panels */
    float *copy[2], *piece; /* room for DEPTH, SECOND_DEPTH and PIECE of them */
} job;

/* What a tile asks for: its share of the rows after those at `row`. */
VEC_INLINE ahead rows_ahead(const hone_gemm *g, hone_dtype compute, size_t row, size_t panel,
                            int panels) {
    if (compute != HONE_F32) return (ahead){0};
    size_t all = HONE_CEIL_DIV(g->n, HONE_PANEL), next = row + TILE_ROWS;
    size_t begin = HONE_MIN(next + TILE_ROWS * panel / all, g->m);
    size_t end = HONE_MIN(next + TILE_ROWS * (panel + (size_t)panels) / all, g->m);
    if (begin == end) return (ahead){0};
    return (ahead){(const float *)g->a + begin * g->lda, end - begin, g->lda};
}

VEC_INLINE void compute_tile(const job *j, int rows, int panels, hone_dtype compute, size_t row,
                             size_t panel) {
    const hone_gemm *g = j->g;
    const size_t col = panel * HONE_PANEL;
    tile acc;
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 16
        for (int v = 0; v < panels * PANEL_VECS; v++) acc[r][v] = vec_zero();
    }
    if (g->accumulate) fetch_tile(g, rows, panels, row, col);
    for (int i = 0; i < 2; i++) {
        const product *p = &j->product[i];
        if (p->k == 0) break;
        ahead next = i == 0 ? rows_ahead(g, compute, row, panel, panels) : (ahead){0};
        multiply(acc, rows, panels, compute, p, &j->ready[i], panel, 0, &next);
        tile_rows rest;
        for (size_t done = j->ready[i].k; done < p->k; done += rest.k) {
            take_rows(&rest, rows, compute, p, row, g->m - 1, done, j->piece, PIECE);
            multiply(acc, rows, panels, compute, p, &rest, panel, done, &(ahead){0});
        }
    }
    const size_t valid = HONE_MIN(g->m - row, (size_t)rows);
    const bool whole = valid == (size_t)rows && col + (size_t)panels * HONE_PANEL <= g->n;
    if (whole && g->bias == NULL) {
        if (g->accumulate)
            store_whole_tile(g, true, acc, rows, panels * PANEL_VECS, row * g->ldc + col);
        else
            store_whole_tile(g, false, acc, rows, panels * PANEL_VECS, row * g->ldc + col);
        return;
    }
    tile sums; /* a copy: accumulators whose address is taken may be stored in the inner loop */
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 16
        for (int v = 0; v < panels * PANEL_VECS; v++) sums[r][v] = acc[r][v];
    }
    for (size_t r = 0; r < valid; r++)
        store_cut_row(g, sums[r], panels * PANEL_VECS, (row + r) * g->ldc + col, col);
}

/* Panels by TILE_PANELS; where three of them would leave one, two and two are better: a panel alone has too few
 * accumulators to keep the multipliers busy. */
VEC_INLINE void compute_rows(job *j, int rows, hone_dtype compute, size_t row) {
    enum { LEFT = 2 < TILE_PANELS ? 2 : 1 };
    size_t last = j->g->m - 1, panels = HONE_CEIL_DIV(j->g->n, HONE_PANEL);
    size_t whole = rows == 1 ? 0 : panels / TILE_PANELS * TILE_PANELS;
    if (TILE_PANELS == 3 && whole > 0 && panels - whole == 1) whole -= TILE_PANELS;
    take_rows(&j->ready[0], rows, compute, &j->product[0], row, last, 0, j->copy[0], DEPTH);
    take_rows(&j->ready[1], rows, compute, &j->product[1], row, last, 0, j->copy[1], SECOND_DEPTH);
    size_t p = 0;
    for (; p < whole; p += TILE_PANELS) compute_tile(j, rows, TILE_PANELS, compute, row, p);
    for (; rows > 1 && p + LEFT <= panels; p += LEFT) compute_tile(j, rows, LEFT, compute, row, p);
    for (; p < panels; p++) compute_tile(j, rows, 1, compute, row, p);
}

VEC_INLINE void gemm(const hone_gemm *g, hone_dtype compute) {
    assert(!g->accumulate || g->c_dtype == HONE_F32);
    float copy[TILE_ROWS * (DEPTH + PAD)], second[TILE_ROWS * (SECOND_DEPTH + PAD)],
        piece[TILE_ROWS * (PIECE + PAD)];
    job j = {.g = g,
             .product = {{g->a, g->lda, g->k, g->b, g->b_depth > 0 ? g->b_depth : g->k},
                         {g->a2, g->lda2, g->k2, g->b2, g->k2}},
             .copy = {copy, second},
             .piece = piece};
    size_t row = 0;
    for (; row + 1 < g->m; row += TILE_ROWS) compute_rows(&j, TILE_ROWS, compute, row);
    if (row < g->m) compute_rows(&j, 1, compute, row);
}

void HONE_VEC_NAME(gemm_f32)(const hone_gemm *g) { gemm(g, HONE_F32); }
void HONE_VEC_NAME(gemm_bf16)(const hone_gemm *g) { gemm(g, HONE_BF16); }
