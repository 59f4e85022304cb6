/* ops/matmul: the matrix multiply that every set shares, split over the team. Layer ops.
 *
 * The team forms a grid: `across` column slices times `down` row slices. Each thread packs its own
 * columns into its own scratch, as many panels at a time as fit the second-level cache (the kernels'
 * blocking says how many bytes), and sweeps its rows over them; nobody waits before the end. Long products
 * are cut into blocks of k, summed in float32 in order. Blocks depend on the shape alone and an element's
 * products are always added in the order of k, so the bits do not depend on the team.
 *
 * A row alone (generation) against rows of weights is dot products over the weights as they are stored: what is
 * read once is not worth packing.
 */
#include "ops/internal.h"

#include <assert.h>

enum {
    GRAIN = 2 * HONE_PANEL, /* columns that the kernels like to have together */
    DEPTH = 2048,           /* longest block of k */
    PACKING_ROWS =
        96, /* packing a column costs about what multiplying it by these many rows does */
    FEW_ROWS =
        1, /* at most these many rows of A are multiplied without packing: two cost as much as packing */
    FEW_GRAIN = 16 /* columns of C that a thread owns together then: a cache line of float32 */
};

typedef struct grid {
    size_t rows_begin, rows_end, cols_begin, cols_end; /* this thread's part of C */
    size_t most_cols;                                  /* of any thread's part */
} grid;

static size_t block_depth(size_t k) {
    size_t even = HONE_CEIL_DIV(k, HONE_CEIL_DIV(k, DEPTH));
    return HONE_MIN(HONE_CEIL_DIV(even, HONE_PANEL_DEPTH) * HONE_PANEL_DEPTH, k);
}

/* The cut with the least work for the busiest thread, packing counted. */
static grid cut(hone_team team, size_t m, size_t n) {
    size_t size = (size_t)team.size, columns = HONE_CEIL_DIV(n, GRAIN);
    size_t best = 1, best_cost = SIZE_MAX;
    for (size_t down = 1; down <= size; down++) {
        if (size % down != 0) continue;
        size_t cost = HONE_CEIL_DIV(columns, size / down) * (HONE_CEIL_DIV(m, down) + PACKING_ROWS);
        if (cost < best_cost) best = down, best_cost = cost;
    }
    size_t across = size / best;
    grid g;
    hone_team row = {.rank = team.rank / (int)across, .size = (int)best};
    hone_team column = {.rank = team.rank % (int)across, .size = (int)across};
    hone_split(row, m, GRAIN, &g.rows_begin, &g.rows_end);
    hone_split(column, n, GRAIN, &g.cols_begin, &g.cols_end);
    g.most_cols = HONE_MIN(HONE_CEIL_DIV(columns, across) * GRAIN, n);
    return g;
}

/* What one pass over the rows needs: columns at a time, and where they are packed. */
typedef struct plan {
    size_t depth; /* of a block of k; the same for all but the last */
    size_t cols;
    char *packed, *packed2;
    float *sums; /* [rows, cols] float32 between blocks of k, when C cannot hold them; else NULL */
} plan;

static plan make_plan(hone_ctx *ctx, const hone_matmul_args *args, const grid *g) {
    plan p = {.depth = block_depth(args->k)};
    size_t bytes = hone_pack_bytes(ctx->compute, GRAIN, p.depth);
    size_t pieces = HONE_MAX(hone_ctx_blocking(ctx)->packed_bytes / HONE_MAX(bytes, 1), 1);
    size_t groups = HONE_CEIL_DIV(HONE_CEIL_DIV(g->most_cols, GRAIN), pieces);
    p.cols = HONE_CEIL_DIV(HONE_CEIL_DIV(g->most_cols, GRAIN), HONE_MAX(groups, 1)) * GRAIN;
    p.packed = hone_ctx_scratch_each(ctx, hone_pack_bytes(ctx->compute, p.cols, p.depth));
    p.packed2 = hone_ctx_scratch_each(ctx, hone_pack_bytes(ctx->compute, p.cols, args->k2));
    if (p.depth < args->k && args->c_dtype == HONE_BF16)
        p.sums = hone_ctx_scratch_each(ctx, args->m * p.cols * sizeof(float));
    return p;
}

/* One group of columns: all of k, block by block. */
static void multiply_columns(hone_ctx *ctx, const hone_matmul_args *args, const grid *g,
                             const plan *p, size_t col, size_t cols) {
    size_t row = g->rows_begin;
    hone_gemm gemm = {.m = g->rows_end - row, .n = cols, .b = p->packed};
    for (size_t done = 0; done < args->k; done += gemm.k) {
        gemm.k = HONE_MIN(args->k - done, p->depth);
        bool first = done == 0, last = done + gemm.k == args->k;
        hone_ctx_pack(ctx)(args->b, args->by_rows, col, cols, done, gemm.k, 1.0f, p->packed);
        gemm.a = hone_element_const(args->a, ctx->compute, row * args->lda + done);
        gemm.lda = args->lda;
        gemm.accumulate = first ? args->accumulate : true;
        gemm.c = hone_element(args->c, args->c_dtype, row * args->ldc + col);
        gemm.ldc = args->ldc;
        gemm.c_dtype = args->c_dtype;
        if (p->sums != NULL) {
            gemm.c = p->sums;
            gemm.ldc = cols;
            gemm.c_dtype = HONE_F32;
        }
        if (last) {
            gemm.bias = args->bias == NULL ? NULL : args->bias + col;
            if (args->k2 > 0) {
                hone_ctx_pack(ctx)(args->b2, args->b2_by_rows, col, cols, 0, args->k2, args->scale2,
                                   p->packed2);
                gemm.k2 = args->k2;
                gemm.b2 = p->packed2;
                gemm.lda2 = args->lda2;
                gemm.a2 = hone_element_const(args->a2, ctx->compute, row * args->lda2);
            }
        }
        hone_ctx_gemm(ctx)(&gemm);
    }
    for (size_t r = 0; p->sums != NULL && r < gemm.m; r++) {
        ctx->kernels->scale(cols, 1.0f, p->sums + r * cols, HONE_F32,
                            (hone_bf16 *)args->c + (row + r) * args->ldc + col, HONE_BF16, false);
    }
}

static bool goes_unpacked(const hone_matmul_args *args) {
    return args->m <= FEW_ROWS && args->by_rows && args->k == args->b->cols &&
           (args->k2 == 0 || (args->b2_by_rows && args->k2 == args->b2->cols));
}

static void multiply_unpacked(const hone_ctx *ctx, const hone_matmul_args *args) {
    hone_dot_rows job = {.m = args->m,
                         .x = args->a,
                         .ldx = args->lda,
                         .w = args->b,
                         .x2 = args->a2,
                         .ldx2 = args->lda2,
                         .w2 = args->k2 > 0 ? args->b2 : NULL,
                         .scale2 = args->scale2,
                         .x_dtype = ctx->compute,
                         .bias = args->bias,
                         .c = args->c,
                         .ldc = args->ldc,
                         .c_dtype = args->c_dtype,
                         .accumulate = args->accumulate};
    hone_split(ctx->team, args->n, FEW_GRAIN, &job.begin, &job.end);
    ctx->kernels->dot_rows(&job);
    hone_barrier(ctx->team);
}

void hone_matmul(hone_ctx *ctx, const hone_matmul_args *args) {
    assert(args->m > 0 && args->n > 0 && args->k > 0);
    assert(!args->accumulate || args->c_dtype == HONE_F32);
    if (goes_unpacked(args)) { /* needs no memory */
        if (!hone_ctx_planning(ctx)) multiply_unpacked(ctx, args);
        return;
    }
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    grid g = cut(ctx->team, args->m, args->n);
    plan p = make_plan(ctx, args, &g);
    if (!hone_ctx_planning(ctx)) {
        if (g.rows_begin < g.rows_end) {
            for (size_t col = g.cols_begin; col < g.cols_end; col += p.cols)
                multiply_columns(ctx, args, &g, &p, col, HONE_MIN(g.cols_end - col, p.cols));
        }
        hone_barrier(ctx->team);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
