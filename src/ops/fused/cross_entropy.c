/* ops/fused/cross_entropy: loss and log-sum-exp in one pass over the logits; the gradient overwrites them. Layer ops.
 * Slot: 0 log-sum-exp [rows] float32. */
#include "ops/fused/fused.h"
#include "ops/internal.h"

enum { LSE };

void hone_fused_cross_entropy_loss_forward(hone_ctx *ctx, const hone_cross_entropy_args *args,
                                           hone_saved *saved) {
    float *lse = NULL;
    if (saved) saved->slot[LSE] = lse = hone_arena_save(&ctx->arena, args->rows * sizeof *lse);
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, args->rows, 1, &begin, &end);
    if (begin < end) {
        ctx->kernels->cross_entropy_forward(
            end - begin, args->vocab,
            hone_element(args->logits, args->logits_dtype, begin * args->vocab), args->logits_dtype,
            args->vocab, args->labels + begin, args->loss + begin, lse ? lse + begin : NULL);
    }
    hone_barrier(ctx->team);
}

void hone_fused_cross_entropy_loss_backward(hone_ctx *ctx, const hone_cross_entropy_args *args,
                                            const hone_saved *saved) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, args->rows, 1, &begin, &end);
    if (begin < end) {
        size_t first = begin * args->vocab;
        ctx->kernels->cross_entropy_backward(
            end - begin, args->vocab, hone_element(args->logits, args->logits_dtype, first),
            hone_element(args->dlogits, args->logits_dtype, first), args->logits_dtype, args->vocab,
            args->labels + begin, (const float *)saved->slot[LSE] + begin, args->scale);
    }
    hone_barrier(ctx->team);
}
