/* ops/naive/primitive: whole-tensor passes over the kernels. Layer ops. */
#include "ops/naive/primitive.h"

#define ELEMENT_GRAIN 4096
#define COLUMN_GRAIN 16
#define ROW_GRAIN 4

static const float one = 1.0f;

void hone_naive_scale_rows(hone_ctx *ctx, size_t rows, size_t cols, const float *x,
                           const float *alpha, float *y) {
    size_t begin, end;
    hone_split(ctx->team, rows, ROW_GRAIN, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        ctx->kernels->scale(cols, alpha[r], x + r * cols, HONE_F32, y + r * cols, HONE_F32, false);
    }
    hone_barrier(ctx->team);
}

/* The kernel that applies gamma is, with 1/rms = 1, the element-wise product. */
static void multiply(const hone_ctx *ctx, size_t n, const void *x, hone_dtype x_dtype,
                     const float *b, void *y, hone_dtype y_dtype) {
    hone_rms_norm_rebuild a = {
        .rows = 1,
        .hidden = n,
        .x = x,
        .x_dtype = x_dtype,
        .gamma = b,
        .rstd = &one,
        .y = y,
        .y_dtype = y_dtype,
    };
    ctx->kernels->rms_norm_rebuild(&a);
}

void hone_naive_multiply_rows(hone_ctx *ctx, size_t rows, size_t cols, const void *x,
                              hone_dtype x_dtype, const float *gamma, void *y, hone_dtype y_dtype) {
    size_t begin, end;
    hone_split(ctx->team, rows, ROW_GRAIN, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        multiply(ctx, cols, hone_element_const(x, x_dtype, r * cols), x_dtype, gamma,
                 hone_element(y, y_dtype, r * cols), y_dtype);
    }
    hone_barrier(ctx->team);
}

void hone_naive_multiply(hone_ctx *ctx, size_t n, const void *x, hone_dtype x_dtype, const float *b,
                         float *y) {
    size_t begin, end;
    hone_split(ctx->team, n, ELEMENT_GRAIN, &begin, &end);
    if (begin < end) {
        multiply(ctx, end - begin, hone_element_const(x, x_dtype, begin), x_dtype, b + begin,
                 y + begin, HONE_F32);
    }
    hone_barrier(ctx->team);
}

void hone_naive_scale(hone_ctx *ctx, size_t n, float alpha, const void *x, hone_dtype x_dtype,
                      void *y, hone_dtype y_dtype) {
    size_t begin, end;
    hone_split(ctx->team, n, ELEMENT_GRAIN, &begin, &end);
    if (begin < end) {
        ctx->kernels->scale(end - begin, alpha, hone_element_const(x, x_dtype, begin), x_dtype,
                            hone_element(y, y_dtype, begin), y_dtype, false);
    }
    hone_barrier(ctx->team);
}

void hone_naive_add(hone_ctx *ctx, size_t n, const void *a, const void *b, void *y,
                    hone_dtype dtype) {
    size_t begin, end;
    hone_split(ctx->team, n, ELEMENT_GRAIN, &begin, &end);
    if (begin < end) {
        ctx->kernels->add(end - begin, hone_element_const(a, dtype, begin), dtype,
                          hone_element_const(b, dtype, begin), dtype, hone_element(y, dtype, begin),
                          dtype);
    }
    hone_barrier(ctx->team);
}

void hone_naive_sum_rows(hone_ctx *ctx, size_t rows, size_t cols, const float *x, float *sum) {
    size_t begin, end;
    hone_split(ctx->team, rows, ROW_GRAIN, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        sum[r] = ctx->kernels->sum(cols, x + r * cols);
    }
    hone_barrier(ctx->team);
}

void hone_naive_sum_columns(hone_ctx *ctx, size_t rows, size_t cols, const float *x, float *sum) {
    size_t begin, end;
    hone_split(ctx->team, cols, COLUMN_GRAIN, &begin, &end);
    for (size_t r = 0; r < rows && begin < end; r++) {
        ctx->kernels->add(end - begin, sum + begin, HONE_F32, x + r * cols + begin, HONE_F32,
                          sum + begin, HONE_F32);
    }
    hone_barrier(ctx->team);
}

/* cos or sin of every row, once for each element of a head; what is past rope_dim turns by no angle. */
static void expand_angles(hone_ctx *ctx, const hone_naive_rotation *rotation, const float *table,
                          float past, float *expanded) {
    size_t half = rotation->rope_dim / 2, begin, end;
    hone_split(ctx->team, rotation->rows, ROW_GRAIN, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        const float *angles = table + (size_t)rotation->positions[r] * half;
        float *row = expanded + r * rotation->head_dim;
        for (size_t i = 0; i < half; i++) {
            row[rotation->interleaved ? 2 * i : i] = angles[i];
            row[rotation->interleaved ? 2 * i + 1 : half + i] = angles[i];
        }
        for (size_t i = rotation->rope_dim; i < rotation->head_dim; i++) row[i] = past;
    }
    hone_barrier(ctx->team);
}

/* y = x * angles, the angles the same for all heads of a row. */
static void multiply_angles(hone_ctx *ctx, const hone_naive_rotation *rotation, const void *x,
                            const float *angles, void *y) {
    size_t dim = rotation->head_dim, begin, end;
    hone_split(ctx->team, rotation->rows, ROW_GRAIN, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        for (size_t h = 0; h < rotation->heads; h++) {
            size_t at = (r * rotation->heads + h) * dim;
            multiply(ctx, dim, hone_element_const(x, ctx->compute, at), ctx->compute,
                     angles + r * dim, hone_element(y, ctx->compute, at), ctx->compute);
        }
    }
    hone_barrier(ctx->team);
}

void hone_naive_gather_angles(hone_ctx *ctx, hone_naive_rotation *rotation) {
    size_t bytes = rotation->rows * rotation->head_dim * sizeof(float);
    float *cos = hone_arena_scratch(&ctx->arena, bytes);
    float *sin = hone_arena_scratch(&ctx->arena, bytes);
    if (!hone_ctx_planning(ctx)) {
        expand_angles(ctx, rotation, rotation->cos, 1.0f, cos);
        expand_angles(ctx, rotation, rotation->sin, 0.0f, sin);
    }
    rotation->row_cos = cos;
    rotation->row_sin = sin;
}

/* Interleaved pairs of one vector: (x1, x2) becomes (sign * x2, -sign * x1). */
static void swap_pairs(size_t pairs, float sign, const void *x, void *y, hone_dtype dtype) {
    if (dtype == HONE_F32) {
        const float *from = x;
        float *to = y;
        for (size_t i = 0; i < 2 * pairs; i += 2) {
            to[i] = sign * from[i + 1];
            to[i + 1] = -sign * from[i];
        }
        return;
    }
    const hone_bf16 *from = x;
    hone_bf16 *to = y;
    hone_bf16 first = sign < 0 ? 0x8000 : 0, second = first ^ 0x8000; /* what flips the sign */
    for (size_t i = 0; i < 2 * pairs; i += 2) {
        to[i] = from[i + 1] ^ first;
        to[i + 1] = from[i] ^ second;
    }
}

/* (x1, x2) becomes (-x2, x1); its transpose, for the gradient, (x2, -x1). */
static void rotate_half(hone_ctx *ctx, const hone_naive_rotation *rotation, const void *x,
                        void *y) {
    hone_dtype dtype = ctx->compute;
    size_t half = rotation->rope_dim / 2, dim = rotation->head_dim, begin, end;
    size_t past_bytes = (dim - rotation->rope_dim) * hone_element_bytes(dtype);
    float sign = rotation->inverse ? 1.0f : -1.0f;
    hone_split(ctx->team, rotation->rows * rotation->heads, ROW_GRAIN, &begin, &end);
    for (size_t v = begin; v < end; v++) {
        size_t first = v * dim, second = first + half;
        if (rotation->interleaved) {
            swap_pairs(half, sign, hone_element_const(x, dtype, first),
                       hone_element(y, dtype, first), dtype);
        } else {
            ctx->kernels->scale(half, sign, hone_element_const(x, dtype, second), dtype,
                                hone_element(y, dtype, first), dtype, false);
            ctx->kernels->scale(half, -sign, hone_element_const(x, dtype, first), dtype,
                                hone_element(y, dtype, second), dtype, false);
        }
        memset(hone_element(y, dtype, first + rotation->rope_dim), 0, past_bytes);
    }
    hone_barrier(ctx->team);
}

void hone_naive_rotate(hone_ctx *ctx, const hone_naive_rotation *rotation, const void *x, void *y) {
    size_t n = rotation->rows * rotation->heads * rotation->head_dim;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    void *straight = hone_arena_scratch(&ctx->arena, n * hone_element_bytes(ctx->compute));
    void *turned = hone_arena_scratch(&ctx->arena, n * hone_element_bytes(ctx->compute));
    void *turned_sin = hone_arena_scratch(&ctx->arena, n * hone_element_bytes(ctx->compute));
    if (!hone_ctx_planning(ctx)) {
        multiply_angles(ctx, rotation, x, rotation->row_cos, straight);
        rotate_half(ctx, rotation, x, turned);
        /* both of a pair have one angle: order is free */
        multiply_angles(ctx, rotation, turned, rotation->row_sin, turned_sin);
        hone_naive_add(ctx, n, straight, turned_sin, y, ctx->compute);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
