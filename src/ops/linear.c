/* ops/linear: products that the linear layers of both sets are made of. Layer ops. */
#include "ops/linear.h"

enum {
    TRANSPOSE_COLUMNS = 32,
    SUM_COLUMNS = 64,
    THIN = 16 /* a wider operand is worth packing the other one for */
};

void hone_linear_product(hone_ctx *ctx, size_t rows, const void *x, size_t k, const hone_matrix *w,
                         bool by_rows, const float *bias, size_t n, void *y, hone_dtype y_dtype) {
    hone_matmul_args args = {.m = rows,
                             .n = n,
                             .k = k,
                             .a = x,
                             .lda = k,
                             .b = w,
                             .by_rows = by_rows,
                             .bias = bias,
                             .c = y,
                             .ldc = n,
                             .c_dtype = y_dtype};
    hone_matmul(ctx, &args);
}

void hone_linear_transpose(hone_ctx *ctx, size_t rows, size_t cols, const void *x, void *y) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    if (cols >= rows) {
        hone_split(ctx->team, cols, TRANSPOSE_COLUMNS, &begin, &end);
        ctx->kernels->transpose(rows, end - begin, hone_element_const(x, ctx->compute, begin), cols,
                                hone_element(y, ctx->compute, begin * rows), rows, ctx->compute);
    } else {
        hone_split(ctx->team, rows, TRANSPOSE_COLUMNS, &begin, &end);
        ctx->kernels->transpose(end - begin, cols,
                                hone_element_const(x, ctx->compute, begin * cols), cols,
                                hone_element(y, ctx->compute, begin), rows, ctx->compute);
    }
    hone_barrier(ctx->team);
}

/* c [m, n] float32 (+)= u^T v. */
static void outer(hone_ctx *ctx, size_t rows, const void *u, size_t m, const void *v, size_t n,
                  float *c, bool accumulate) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    void *across = hone_arena_scratch(&ctx->arena, m * rows * hone_element_bytes(ctx->compute));
    hone_linear_transpose(ctx, rows, m, u, across);
    hone_matrix b = hone_matrix_dense(v, ctx->compute, rows, n);
    hone_matmul_args args = {.m = m,
                             .n = n,
                             .k = rows,
                             .a = across,
                             .lda = rows,
                             .b = &b,
                             .c = c,
                             .ldc = n,
                             .c_dtype = HONE_F32,
                             .accumulate = accumulate};
    hone_matmul(ctx, &args);
    hone_arena_release_scratch(&ctx->arena, mark);
}

void hone_linear_add_outer(hone_ctx *ctx, size_t rows, const void *u, size_t m, const void *v,
                           size_t n, float *dw) {
    outer(ctx, rows, u, m, v, n, dw, true);
}

/* sum [n, m] float32 = v^T u for a thin v. Columns [*begin, *end), this thread's, are complete then; others may not be
 * yet. */
static void sum_thin(hone_ctx *ctx, size_t rows, const void *u, size_t m, const void *v, size_t n,
                     float *sum, size_t *begin, size_t *end) {
    hone_split(ctx->team, m, SUM_COLUMNS, begin, end);
    if (n > THIN) {
        outer(ctx, rows, v, n, u, m, sum, false);
    } else if (!hone_ctx_planning(ctx) && *begin < *end) {
        hone_thin_outer job = {.rows = rows,
                               .m = n,
                               .begin = *begin,
                               .end = *end,
                               .thin = v,
                               .wide = u,
                               .ld_thin = n,
                               .ld_wide = m,
                               .dtype = ctx->compute,
                               .c = sum,
                               .ldc = m};
        ctx->kernels->thin_outer(&job);
    }
}

/* dw += scale * v^T u, turned around where dw is [m, n] and not [n, m]. */
static void add_thin(hone_ctx *ctx, size_t rows, const void *u, size_t m, const void *v, size_t n,
                     float scale, bool turned, float *dw) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    float *sum = hone_arena_scratch(&ctx->arena, n * m * sizeof *sum);
    size_t begin, end;
    sum_thin(ctx, rows, u, m, v, n, sum, &begin, &end);
    if (!hone_ctx_planning(ctx)) {
        for (size_t j = 0; j < n; j++) {
            const float *row = sum + j * m;
            if (turned) {
                for (size_t i = begin; i < end; i++) dw[i * n + j] += scale * row[i];
            } else {
                ctx->kernels->scale(end - begin, scale, row + begin, HONE_F32, dw + j * m + begin,
                                    HONE_F32, true);
            }
        }
        hone_barrier(ctx->team);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}

void hone_linear_add_thin_rows(hone_ctx *ctx, size_t rows, const void *u, size_t m, const void *v,
                               size_t n, float scale, float *dw) {
    add_thin(ctx, rows, u, m, v, n, scale, false, dw);
}

void hone_linear_add_thin(hone_ctx *ctx, size_t rows, const void *u, size_t m, const void *v,
                          size_t n, float scale, float *dw) {
    add_thin(ctx, rows, u, m, v, n, scale, true, dw);
}

void hone_linear_add_columns(hone_ctx *ctx, size_t rows, const void *dy, size_t n, float *db) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, n, SUM_COLUMNS, &begin, &end);
    for (size_t r = 0; r < rows && begin < end; r++) {
        ctx->kernels->scale(end - begin, 1.0f, hone_element_const(dy, ctx->compute, r * n + begin),
                            ctx->compute, db + begin, HONE_F32, true);
    }
    hone_barrier(ctx->team);
}
