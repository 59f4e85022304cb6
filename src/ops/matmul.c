/* ops/matmul: the matrix multiply that every set shares, split over the team. Layer ops.
 *
 * The team forms a grid: `across` column slices times `down` row slices. Each thread packs its own
 * columns into its own scratch, as many panels at a time as fit the second-level cache (the kernels'
 * blocking says how many bytes), and sweeps its rows over them. The last panels of all are shared, some
 * rows at a time: who is done helps the others, since cores are seldom of one speed. Nobody waits before
 * the end. Long products are cut into blocks of k, summed in float32 in order. Blocks depend on the shape
 * alone and an element's products are always added in the order of k, so the bits do not depend on the team.
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
    SHARED_ROWS =
        96, /* of A in a piece that any thread may take: a multiple of every bfloat16 kernel's tile, */
    SHARED_ROWS_F32 = 48, /* and of every float32 kernel's: a row takes twice the time there */
    FEW_ROWS =
        1, /* at most these many rows of A are multiplied without packing: two cost as much as packing */
    FEW_GRAIN = 16 /* columns of C that a thread owns together then: a cache line of float32 */
};

/* How C is cut: `down` rows of parts, `across` in each, one for each thread. */
typedef struct grid {
    size_t down, across;
} grid;

/* A thread's part of C. */
typedef struct area {
    size_t rows_begin, rows_end, cols_begin, cols_end;
} area;

/* What one call does, for all threads. `cols` columns are packed at a time, where `packed` and `packed2` say. */
typedef struct job {
    hone_ctx *ctx;
    const hone_matmul_args *args;
    grid grid;
    size_t depth; /* of a block of k; the same for all but the last */
    size_t cols;
    hone_each packed, packed2;
    hone_each sums; /* [m, cols] float32 between blocks of k, when C cannot hold them; else NULL */
} job;

static size_t block_depth(size_t k) {
    size_t even = HONE_CEIL_DIV(k, HONE_CEIL_DIV(k, DEPTH));
    return HONE_MIN(HONE_CEIL_DIV(even, HONE_PANEL_DEPTH) * HONE_PANEL_DEPTH, k);
}

/* The cut with the least work for the busiest thread, packing counted. */
static grid cut(size_t threads, size_t m, size_t n) {
    size_t columns = HONE_CEIL_DIV(n, GRAIN), best = 1, best_cost = SIZE_MAX;
    for (size_t down = 1; down <= threads; down++) {
        if (threads % down != 0) continue;
        size_t cost =
            HONE_CEIL_DIV(columns, threads / down) * (HONE_CEIL_DIV(m, down) + PACKING_ROWS);
        if (cost < best_cost) best = down, best_cost = cost;
    }
    return (grid){best, threads / best};
}

static area area_of(const job *j, int rank) {
    area p;
    int across = (int)j->grid.across;
    hone_team row = {.rank = rank / across, .size = (int)j->grid.down};
    hone_team column = {.rank = rank % across, .size = across};
    hone_split(row, j->args->m, GRAIN, &p.rows_begin, &p.rows_end);
    hone_split(column, j->args->n, GRAIN, &p.cols_begin, &p.cols_end);
    if (p.rows_begin == p.rows_end) p.cols_end = p.cols_begin; /* no rows: nothing to pack either */
    return p;
}

static job make_job(hone_ctx *ctx, const hone_matmul_args *args) {
    job j = {.ctx = ctx,
             .args = args,
             .grid = cut((size_t)ctx->team.size, args->m, args->n),
             .depth = block_depth(args->k)};
    size_t most = HONE_CEIL_DIV(HONE_CEIL_DIV(args->n, GRAIN), j.grid.across); /* of any part */
    size_t bytes = hone_pack_bytes(ctx->compute, GRAIN, j.depth);
    size_t pieces = HONE_MAX(hone_ctx_blocking(ctx)->packed_bytes / HONE_MAX(bytes, 1), 1);
    j.cols = HONE_CEIL_DIV(most, HONE_CEIL_DIV(most, pieces)) * GRAIN;
    j.packed = hone_ctx_scratch_each(ctx, hone_pack_bytes(ctx->compute, j.cols, j.depth));
    j.packed2 = hone_ctx_scratch_each(ctx, hone_pack_bytes(ctx->compute, j.cols, args->k2));
    if (j.depth < args->k && args->c_dtype == HONE_BF16)
        j.sums = hone_ctx_scratch_each(ctx, args->m * j.cols * sizeof(float));
    return j;
}

/* Packs B's columns of one block of k; with the last block, those of the second product. */
static void pack(const job *j, size_t col, size_t cols, size_t done) {
    const hone_matmul_args *args = j->args;
    hone_pack_fn *fn = hone_ctx_pack(j->ctx);
    int rank = j->ctx->team.rank;
    size_t k = HONE_MIN(args->k - done, j->depth);
    fn(args->b, args->by_rows, col, cols, done, k, 1.0f, hone_each_of(&j->packed, rank));
    if (done + k == args->k && args->k2 > 0)
        fn(args->b2, args->b2_by_rows, col, cols, 0, args->k2, args->scale2,
           hone_each_of(&j->packed2, rank));
}

/* Multiplies rows of A by what thread `owner` has packed: columns [col, col + cols) of the block of k after `done`. */
static void multiply(const job *j, int owner, size_t row, size_t rows, size_t col, size_t cols,
                     size_t done) {
    const hone_matmul_args *args = j->args;
    hone_dtype compute = j->ctx->compute;
    float *sums = hone_each_of(&j->sums, owner);
    hone_gemm gemm = {.m = rows,
                      .n = cols,
                      .k = HONE_MIN(args->k - done, j->depth),
                      .a = hone_element_const(args->a, compute, row * args->lda + done),
                      .lda = args->lda,
                      .b = hone_each_of(&j->packed, owner),
                      .accumulate = done > 0 || args->accumulate,
                      .c = hone_element(args->c, args->c_dtype, row * args->ldc + col),
                      .ldc = args->ldc,
                      .c_dtype = args->c_dtype};
    bool last = done + gemm.k == args->k;
    if (sums != NULL) {
        gemm.c = sums + row * j->cols;
        gemm.ldc = j->cols;
        gemm.c_dtype = HONE_F32;
    }
    if (last) {
        gemm.bias = args->bias == NULL ? NULL : args->bias + col;
        gemm.k2 = args->k2;
        gemm.b2 = hone_each_of(&j->packed2, owner);
        gemm.lda2 = args->lda2;
        gemm.a2 = args->k2 > 0 ? hone_element_const(args->a2, compute, row * args->lda2) : NULL;
    }
    hone_ctx_gemm(j->ctx)(&gemm);
    for (size_t r = row; sums != NULL && last && r < row + rows; r++) {
        j->ctx->kernels->scale(cols, 1.0f, sums + r * j->cols, HONE_F32,
                               (hone_bf16 *)args->c + r * args->ldc + col, HONE_BF16, false);
    }
}

/* Where the last columns of a part begin that are packed together. */
static size_t last_group(const job *j, const area *p) {
    size_t cols = p->cols_end - p->cols_begin;
    return cols == 0 ? p->cols_end : p->cols_begin + (cols - 1) / j->cols * j->cols;
}

/* This thread's part, except for the last block of its last columns: that is packed only. */
static void multiply_part(const job *j) {
    area p = area_of(j, j->ctx->team.rank);
    size_t rows = p.rows_end - p.rows_begin, last = last_group(j, &p);
    for (size_t col = p.cols_begin; col < p.cols_end; col += j->cols) {
        size_t cols = HONE_MIN(p.cols_end - col, j->cols);
        for (size_t done = 0; done < j->args->k; done += j->depth) {
            pack(j, col, cols, done);
            if (col < last || done + j->depth < j->args->k)
                multiply(j, j->ctx->team.rank, p.rows_begin, rows, col, cols, done);
        }
    }
}

/* The last blocks of all parts, rows by rows, by whoever is free. */
static void multiply_last(const job *j) {
    const hone_matmul_args *args = j->args;
    const size_t together = j->ctx->compute == HONE_F32 ? SHARED_ROWS_F32 : SHARED_ROWS;
    area own = area_of(j, j->ctx->team.rank);
    size_t pieces =
        own.cols_begin < own.cols_end ? HONE_CEIL_DIV(own.rows_end - own.rows_begin, together) : 0;
    hone_shares shares = hone_shares_open(j->ctx->team, pieces);
    int owner;
    for (size_t piece; hone_shares_next(&shares, &owner, &piece);) {
        area p = area_of(j, owner);
        size_t row = p.rows_begin + piece * together, col = last_group(j, &p);
        multiply(j, owner, row, HONE_MIN(p.rows_end - row, together), col, p.cols_end - col,
                 (args->k - 1) / j->depth * j->depth);
    }
}

static bool goes_unpacked(const hone_matmul_args *args) {
    return args->m <= FEW_ROWS && args->by_rows && args->k == args->b->cols &&
           (args->k2 == 0 || (args->b2_by_rows && args->k2 == args->b2->cols));
}

static void multiply_unpacked(const hone_ctx *ctx, const hone_matmul_args *args) {
    hone_dot_rows dots = {.m = args->m,
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
    hone_split(ctx->team, args->n, FEW_GRAIN, &dots.begin, &dots.end);
    ctx->kernels->dot_rows(&dots);
}

static void multiply_packed(hone_ctx *ctx, const hone_matmul_args *args) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    job j = make_job(ctx, args);
    if (!hone_ctx_planning(ctx)) {
        multiply_part(&j);
        multiply_last(&j);
        hone_barrier(ctx->team);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}

void hone_matmul_end(hone_ctx *ctx, const hone_matmul_args *args) {
    assert(args->m > 0 && args->n > 0 && args->k > 0);
    assert(!args->accumulate || args->c_dtype == HONE_F32);
    if (!goes_unpacked(args)) {
        multiply_packed(ctx, args);
    } else if (!hone_ctx_planning(ctx)) { /* needs no memory */
        multiply_unpacked(ctx, args);
        hone_ctx_end(ctx);
    }
}

void hone_matmul(hone_ctx *ctx, const hone_matmul_args *args) {
    bool independent = ctx->independent;
    ctx->independent = false;
    hone_matmul_end(ctx, args);
    ctx->independent = independent;
}
