/* ops/basic: what a model needs beside the six operations. Layer ops, over kernels. */
#include "ops/internal.h"

/* Elements per piece of an element-wise pass: 16 KiB of float32, so that neighbours share no line. */
#define ELEMENT_GRAIN 4096
/* Elements per partial sum. Part of the result's definition: the order of summation. */
#define SUM_CHUNK 16384
/* Columns per piece where the rows have to stay in order. */
#define COLUMN_GRAIN 16
#define ROW_GRAIN 8

void hone_embedding_forward(hone_ctx *ctx, const hone_matrix *table, const int32_t *ids,
                            size_t rows, float *y) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, rows, ROW_GRAIN, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        ctx->kernels->unpack(table, (size_t)ids[r], 0, table->cols, HONE_F32, y + r * table->cols);
    }
    hone_barrier(ctx->team);
}

void hone_embedding_backward(hone_ctx *ctx, const int32_t *ids, size_t rows, size_t hidden,
                             const float *dy, float *dtable) {
    if (hone_ctx_planning(ctx)) return;
    /* Two rows may have the same id: threads own columns, so each sum runs over the rows in order. */
    size_t begin, end;
    hone_split(ctx->team, hidden, COLUMN_GRAIN, &begin, &end);
    for (size_t r = 0; r < rows && begin < end; r++) {
        float *row = dtable + (size_t)ids[r] * hidden + begin;
        ctx->kernels->add(end - begin, row, HONE_F32, dy + r * hidden + begin, HONE_F32, row,
                          HONE_F32);
    }
    hone_barrier(ctx->team);
}

void hone_residual_add(hone_ctx *ctx, size_t n, const float *a, const void *b, hone_dtype b_dtype,
                       float *y) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, n, ELEMENT_GRAIN, &begin, &end);
    if (begin < end) {
        ctx->kernels->add(end - begin, a + begin, HONE_F32, hone_element_const(b, b_dtype, begin),
                          b_dtype, y + begin, HONE_F32);
    }
    hone_barrier(ctx->team);
}

void hone_convert(hone_ctx *ctx, size_t n, const void *x, hone_dtype x_dtype, void *y,
                  hone_dtype y_dtype) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, n, ELEMENT_GRAIN, &begin, &end);
    if (begin < end) {
        ctx->kernels->scale(end - begin, 1.0f, hone_element_const(x, x_dtype, begin), x_dtype,
                            hone_element(y, y_dtype, begin), y_dtype, false);
    }
    hone_barrier(ctx->team);
}

void hone_adamw_step(hone_ctx *ctx, const hone_adamw *args) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, args->n, ELEMENT_GRAIN, &begin, &end);
    if (begin < end) {
        hone_adamw part = *args;
        part.n = end - begin;
        part.w += begin;
        part.m += begin;
        part.v += begin;
        part.g += begin;
        ctx->kernels->adamw(&part);
    }
    hone_barrier(ctx->team);
}

double hone_sum_squares(hone_ctx *ctx, const float *x, size_t n) {
    size_t chunks = HONE_CEIL_DIV(n, SUM_CHUNK);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    double *partial = hone_arena_scratch(&ctx->arena, chunks * sizeof *partial);
    double sum = 0;
    if (!hone_ctx_planning(ctx)) {
        size_t begin, end;
        hone_split(ctx->team, n, SUM_CHUNK, &begin, &end);
        for (size_t i = begin; i < end; i += SUM_CHUNK) {
            size_t count = HONE_MIN((size_t)SUM_CHUNK, end - i);
            partial[i / SUM_CHUNK] = ctx->kernels->dot(count, x + i, HONE_F32, x + i, HONE_F32);
        }
        hone_barrier(ctx->team);
        for (size_t c = 0; c < chunks; c++) sum += partial[c];
        hone_barrier(ctx->team); /* the scratch is another's from here on */
    }
    hone_arena_release_scratch(&ctx->arena, mark);
    return sum;
}

void hone_zero(hone_ctx *ctx, void *data, size_t bytes) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, bytes, ELEMENT_GRAIN, &begin, &end);
    if (begin < end) memset((char *)data + begin, 0, end - begin);
    hone_barrier(ctx->team);
}
