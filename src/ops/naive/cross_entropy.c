/* ops/naive/cross_entropy: logits.float(), log_softmax, nll_loss; backward by way of the gradient of the
 * log-probabilities and the probabilities, each a tensor of its own. Layer ops.
 *
 * Autograd would keep the log-probabilities. Slot: 0 log-probabilities [rows, vocab] float32. */
#include "ops/naive/naive.h"
#include "ops/naive/primitive.h"

enum { LOG_PROBABILITIES };

/* logp = logits - lse, and loss = -logp[label]. */
static void log_softmax(hone_ctx *ctx, const hone_cross_entropy_args *args, const float *logits,
                        float *logp) {
    size_t begin, end;
    hone_split(ctx->team, args->rows, 1, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        const float *in = logits + r * args->vocab;
        float *out = logp + r * args->vocab, lse;
        ctx->kernels->cross_entropy_forward(1, args->vocab, in, HONE_F32, args->vocab,
                                            args->labels + r, args->loss + r, &lse);
        ctx->kernels->shift(args->vocab, -lse, in, out);
    }
    hone_barrier(ctx->team);
    for (size_t r = begin; r < end; r++) {
        int32_t label = args->labels[r];
        args->loss[r] = label == HONE_IGNORE ? 0.0f : -logp[r * args->vocab + (size_t)label];
    }
    hone_barrier(ctx->team);
}

void hone_naive_cross_entropy_loss_forward(hone_ctx *ctx, const hone_cross_entropy_args *args,
                                           hone_saved *saved) {
    size_t n = args->rows * args->vocab;
    float *logp = NULL;
    if (saved)
        saved->slot[LOG_PROBABILITIES] = logp = hone_arena_save(&ctx->arena, n * sizeof *logp);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    if (!logp) logp = hone_arena_scratch(&ctx->arena, n * sizeof *logp);
    float *wide = args->logits;
    if (args->logits_dtype != HONE_F32) wide = hone_arena_scratch(&ctx->arena, n * sizeof *wide);
    if (!hone_ctx_planning(ctx)) {
        if (wide != args->logits)
            hone_convert(ctx, n, args->logits, args->logits_dtype, wide, HONE_F32);
        log_softmax(ctx, args, wide, logp);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}

/* The gradient of the mean of -logp[label]: zeros but for the labels. */
static void backward_loss(hone_ctx *ctx, const hone_cross_entropy_args *args, float *dlogp) {
    hone_zero(ctx, dlogp, args->rows * args->vocab * sizeof *dlogp);
    size_t begin, end;
    hone_split(ctx->team, args->rows, 1, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        int32_t label = args->labels[r];
        if (label != HONE_IGNORE) dlogp[r * args->vocab + (size_t)label] = -args->scale;
    }
    hone_barrier(ctx->team);
}

/* dlogits = dlogp - exp(logp) * sum(dlogp), the sum being -scale, or 0 for an ignored row. `gradient` holds dlogp
 * and then dlogits. */
static void backward_log_softmax(hone_ctx *ctx, const hone_cross_entropy_args *args,
                                 const float *logp, float *p, float *gradient) {
    const float zero = 0.0f;
    size_t begin, end;
    hone_split(ctx->team, args->rows, 1, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        size_t row = r * args->vocab;
        float factor = args->labels[r] == HONE_IGNORE ? 0.0f : args->scale;
        hone_softmax_again exponential = {
            .rows = 1,
            .cols = args->vocab,
            .scores = logp + row,
            .lds = args->vocab,
            .valid = &args->vocab,
            .scale = 1.0f,
            .lse = &zero,
            .p = p + row,
            .ldp = args->vocab,
            .out_dtype = HONE_F32,
        };
        ctx->kernels->softmax_again(&exponential);
        ctx->kernels->scale(args->vocab, factor, p + row, HONE_F32, gradient + row, HONE_F32, true);
    }
    hone_barrier(ctx->team);
}

void hone_naive_cross_entropy_loss_backward(hone_ctx *ctx, const hone_cross_entropy_args *args,
                                            const hone_saved *saved) {
    size_t n = args->rows * args->vocab;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    float *p = hone_arena_scratch(&ctx->arena, n * sizeof *p);
    float *wide = args->dlogits;
    if (args->logits_dtype != HONE_F32) wide = hone_arena_scratch(&ctx->arena, n * sizeof *wide);
    if (!hone_ctx_planning(ctx)) {
        backward_loss(ctx, args, wide);
        backward_log_softmax(ctx, args, saved->slot[LOG_PROBABILITIES], p, wide);
        if (wide != args->dlogits)
            hone_convert(ctx, n, wide, HONE_F32, args->dlogits, args->logits_dtype);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
