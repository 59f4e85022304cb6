/* ops/fused/rms_norm: one pass over each row forward, one backward. Layer ops.
 *
 * Kept for backward: x in the compute type and 1/rms per row, so the residual stream itself may be
 * overwritten. Slots: 0 the copy [rows, hidden], 1 rstd [rows] float32.
 */
#include "ops/fused/fused.h"
#include "ops/internal.h"

enum { COPY, RSTD };

/* Rows per partial sum of dgamma: part of the result's definition, whatever the team. */
#define GAMMA_ROWS 64
#define ROW_GRAIN 4
#define COLUMN_GRAIN 16

void hone_fused_rms_norm_forward(hone_ctx *ctx, const hone_rms_norm_args *args, hone_saved *saved) {
    char *copy = NULL;
    float *rstd = NULL;
    if (saved) {
        saved->slot[COPY] = copy = hone_arena_save(
            &ctx->arena, args->rows * args->hidden * hone_element_bytes(ctx->compute));
        saved->slot[RSTD] = rstd = hone_arena_save(&ctx->arena, args->rows * sizeof *rstd);
    }
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, args->rows, ROW_GRAIN, &begin, &end);
    if (begin < end) {
        size_t first = begin * args->hidden;
        hone_rms_norm_forward a = {
            .rows = end - begin,
            .hidden = args->hidden,
            .x = args->x + first,
            .x_dtype = HONE_F32,
            .gamma = args->gamma,
            .eps = args->eps,
            .y = args->y ? hone_element(args->y, ctx->compute, first) : NULL,
            .y_dtype = ctx->compute,
            .rstd = rstd ? rstd + begin : NULL,
            .copy = copy ? hone_element(copy, ctx->compute, first) : NULL,
        };
        ctx->kernels->rms_norm_forward(&a);
    }
    hone_barrier(ctx->team);
}

void hone_fused_rms_norm_rebuild(hone_ctx *ctx, const hone_rms_norm_args *args,
                                 const hone_saved *saved) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, args->rows, ROW_GRAIN, &begin, &end);
    if (begin < end) {
        size_t first = begin * args->hidden;
        hone_rms_norm_rebuild a = {
            .rows = end - begin,
            .hidden = args->hidden,
            .x = hone_element(saved->slot[COPY], ctx->compute, first),
            .x_dtype = ctx->compute,
            .gamma = args->gamma,
            .rstd = (const float *)saved->slot[RSTD] + begin,
            .y = hone_element(args->y, ctx->compute, first),
            .y_dtype = ctx->compute,
        };
        ctx->kernels->rms_norm_rebuild(&a);
    }
    hone_barrier(ctx->team);
}

/* Rows [begin, end), their part of dgamma added to `dgamma` (NULL: none). */
static void backward_rows(const hone_ctx *ctx, const hone_rms_norm_args *args,
                          const hone_saved *saved, size_t begin, size_t end, float *dgamma) {
    if (begin >= end) return;
    size_t first = begin * args->hidden;
    hone_rms_norm_backward a = {
        .rows = end - begin,
        .hidden = args->hidden,
        .dy = hone_element_const(args->dy, args->dy_dtype, first),
        .dy_dtype = args->dy_dtype,
        .x = hone_element(saved->slot[COPY], ctx->compute, first),
        .x_dtype = ctx->compute,
        .gamma = args->gamma,
        .rstd = (const float *)saved->slot[RSTD] + begin,
        .dx = args->dx + first,
        .accumulate = true,
        .dx_copy = args->dx_copy ? hone_element(args->dx_copy, ctx->compute, first) : NULL,
        .copy_dtype = ctx->compute,
        .dgamma = dgamma,
    };
    ctx->kernels->rms_norm_backward(&a);
}

void hone_fused_rms_norm_backward(hone_ctx *ctx, const hone_rms_norm_args *args,
                                  const hone_saved *saved) {
    size_t begin, end;
    if (!args->dgamma) {
        if (hone_ctx_planning(ctx)) return;
        hone_split(ctx->team, args->rows, ROW_GRAIN, &begin, &end);
        backward_rows(ctx, args, saved, begin, end, NULL);
        hone_barrier(ctx->team);
        return;
    }
    size_t chunks = HONE_CEIL_DIV(args->rows, GAMMA_ROWS);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    float *partials = hone_arena_scratch(&ctx->arena, chunks * args->hidden * sizeof *partials);
    if (!hone_ctx_planning(ctx)) {
        hone_split(ctx->team, args->rows, GAMMA_ROWS, &begin, &end);
        for (size_t r = begin; r < end; r += GAMMA_ROWS) {
            float *partial = partials + r / GAMMA_ROWS * args->hidden;
            memset(partial, 0, args->hidden * sizeof *partial);
            backward_rows(ctx, args, saved, r, HONE_MIN(r + GAMMA_ROWS, end), partial);
        }
        hone_barrier(ctx->team);
        hone_split(ctx->team, args->hidden, COLUMN_GRAIN, &begin, &end);
        for (size_t c = 0; c < chunks && begin < end; c++) {
            ctx->kernels->add(end - begin, args->dgamma + begin, HONE_F32,
                              partials + c * args->hidden + begin, HONE_F32, args->dgamma + begin,
                              HONE_F32);
        }
        hone_barrier(ctx->team);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
