/* ops/naive/rms_norm: x.pow(2).mean(), rsqrt, x * rstd, conversion, * gamma, each its own pass. Layer ops.
 *
 * Autograd would keep x, which is the caller's (keeps_residual), and rstd. Slot: 0 rstd [rows] float32. */
#include "ops/naive/naive.h"
#include "ops/naive/primitive.h"

#include <math.h>

enum { RSTD };

/* rstd[r] = 1/sqrt(sum[r]/hidden + eps), in place. */
static void inverse_root(hone_ctx *ctx, const hone_rms_norm_args *args, float *sum) {
    size_t begin, end;
    hone_split(ctx->team, args->rows, HONE_PANEL, &begin, &end);
    for (size_t r = begin; r < end; r++)
        sum[r] = 1.0f / sqrtf(sum[r] / (float)args->hidden + args->eps);
    hone_barrier(ctx->team);
}

void hone_naive_rms_norm_forward(hone_ctx *ctx, const hone_rms_norm_args *args, hone_saved *saved) {
    size_t n = args->rows * args->hidden;
    float *rstd = NULL;
    if (saved) saved->slot[RSTD] = rstd = hone_arena_save(&ctx->arena, args->rows * sizeof *rstd);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    if (!rstd) rstd = hone_arena_scratch(&ctx->arena, args->rows * sizeof *rstd);
    hone_arena_mark before = hone_arena_get_mark(&ctx->arena);
    float *squares = hone_arena_scratch(&ctx->arena, n * sizeof *squares);
    if (!hone_ctx_planning(ctx)) {
        hone_naive_multiply(ctx, n, args->x, HONE_F32, args->x, squares);
        hone_naive_sum_rows(ctx, args->rows, args->hidden, squares, rstd);
        inverse_root(ctx, args, rstd);
    }
    hone_arena_release_scratch(&ctx->arena, before);
    float *normed = hone_arena_scratch(&ctx->arena, n * sizeof *normed);
    void *converted = normed;
    if (ctx->compute != HONE_F32)
        converted = hone_arena_scratch(&ctx->arena, n * hone_element_bytes(ctx->compute));
    if (!hone_ctx_planning(ctx)) {
        hone_naive_scale_rows(ctx, args->rows, args->hidden, args->x, rstd, normed);
        if (converted != normed) hone_convert(ctx, n, normed, HONE_F32, converted, ctx->compute);
        hone_naive_multiply_rows(ctx, args->rows, args->hidden, converted, ctx->compute,
                                 args->gamma, args->y, ctx->compute);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}

/* dgamma += column sums of dy * (x * rstd). */
static void backward_gamma(hone_ctx *ctx, const hone_rms_norm_args *args, const float *rstd) {
    size_t n = args->rows * args->hidden;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    float *normed = hone_arena_scratch(&ctx->arena, n * sizeof *normed);
    float *product = hone_arena_scratch(&ctx->arena, n * sizeof *product);
    if (!hone_ctx_planning(ctx)) {
        hone_naive_scale_rows(ctx, args->rows, args->hidden, args->x, rstd, normed);
        hone_naive_multiply(ctx, n, args->dy, args->dy_dtype, normed, product);
        hone_naive_sum_columns(ctx, args->rows, args->hidden, product, args->dgamma);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}

/* d(x^2 * c)/dx through the mean and the root: factor[r] = -rstd^3 / hidden * sum(dnormed * x), in place. */
static void through_root(hone_ctx *ctx, const hone_rms_norm_args *args, const float *rstd,
                         float *factor) {
    size_t begin, end;
    hone_split(ctx->team, args->rows, HONE_PANEL, &begin, &end);
    for (size_t r = begin; r < end; r++)
        factor[r] *= -rstd[r] * rstd[r] * rstd[r] / (float)args->hidden;
    hone_barrier(ctx->team);
}

void hone_naive_rms_norm_backward(hone_ctx *ctx, const hone_rms_norm_args *args,
                                  const hone_saved *saved) {
    size_t n = args->rows * args->hidden;
    const float *rstd = saved->slot[RSTD];
    if (args->dgamma) backward_gamma(ctx, args, rstd);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    float *factor = hone_arena_scratch(&ctx->arena, args->rows * sizeof *factor);
    float *straight = hone_arena_scratch(&ctx->arena, n * sizeof *straight);
    float *dnormed = hone_arena_scratch(&ctx->arena, n * sizeof *dnormed);
    float *product = hone_arena_scratch(&ctx->arena, n * sizeof *product);
    void *scaled = dnormed;
    if (args->dy_dtype != HONE_F32)
        scaled = hone_arena_scratch(&ctx->arena, n * hone_element_bytes(args->dy_dtype));
    if (!hone_ctx_planning(ctx)) {
        hone_naive_multiply_rows(ctx, args->rows, args->hidden, args->dy, args->dy_dtype,
                                 args->gamma, scaled, args->dy_dtype);
        if (scaled != dnormed) hone_convert(ctx, n, scaled, args->dy_dtype, dnormed, HONE_F32);
        hone_naive_scale_rows(ctx, args->rows, args->hidden, dnormed, rstd, straight);
        hone_naive_multiply(ctx, n, dnormed, HONE_F32, args->x, product);
        hone_naive_sum_rows(ctx, args->rows, args->hidden, product, factor);
        through_root(ctx, args, rstd, factor);
        hone_naive_scale_rows(ctx, args->rows, args->hidden, args->x, factor, product);
        hone_naive_add(ctx, n, straight, product, straight, HONE_F32);
        hone_naive_add(ctx, n, args->dx, straight, args->dx, HONE_F32);
        if (args->dx_copy) hone_convert(ctx, n, args->dx, HONE_F32, args->dx_copy, ctx->compute);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
