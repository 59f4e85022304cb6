/* ops/fused/rope: rotary embedding in one pass, in place where the caller's buffers are the same. Layer ops.
 * Nothing is kept: backward rotates back. */
#include "ops/fused/fused.h"
#include "ops/internal.h"

#define ROW_GRAIN 4

static void rotate(hone_ctx *ctx, const hone_rope_args *args, bool inverse) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end, stride = args->heads * args->head_dim;
    hone_split(ctx->team, args->rows, ROW_GRAIN, &begin, &end);
    if (begin < end) {
        hone_rope a = {
            .rows = end - begin,
            .heads = args->heads,
            .head_dim = args->head_dim,
            .rope_dim = args->rope_dim,
            .x = hone_element(args->x, ctx->compute, begin * stride),
            .y = hone_element(args->y, ctx->compute, begin * stride),
            .x_stride = stride,
            .y_stride = stride,
            .dtype = ctx->compute,
            .positions = args->positions + begin,
            .cos = args->cos,
            .sin = args->sin,
            .interleaved = args->interleaved,
            .inverse = inverse,
        };
        ctx->kernels->rope(&a);
    }
    hone_ctx_end(ctx);
}

void hone_fused_rope_embeddings_forward(hone_ctx *ctx, const hone_rope_args *args,
                                        hone_saved *saved) {
    (void)saved;
    rotate(ctx, args, false);
}

void hone_fused_rope_embeddings_backward(hone_ctx *ctx, const hone_rope_args *args,
                                         const hone_saved *saved) {
    (void)saved;
    rotate(ctx, args, true);
}
