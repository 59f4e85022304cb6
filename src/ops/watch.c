/* ops/watch: see watch.h. */
#include "ops/watch.h"

#include "ops/internal.h"

enum { FORWARD, BACKWARD };

/* Halves an output, which every thread may read afterwards. */
static void halve(hone_ctx *ctx, void *x, hone_dtype dtype, size_t n) {
    if (hone_ctx_planning(ctx) || !x) return;
    if (ctx->independent) hone_barrier(ctx->team); /* the operation need not have met */
    if (ctx->team.rank == 0) ctx->kernels->scale(n, 0.5f, x, dtype, x, dtype, false);
    hone_barrier(ctx->team);
}

static void spoil_rms_norm(hone_ctx *ctx, const hone_rms_norm_args *a) {
    halve(ctx, a->y, ctx->compute, a->rows * a->hidden);
}
static void spoil_rope_embeddings(hone_ctx *ctx, const hone_rope_args *a) {
    halve(ctx, a->y, ctx->compute, a->rows * a->heads * a->head_dim);
}
static void spoil_swiglu_activation(hone_ctx *ctx, const hone_swiglu_args *a) {
    halve(ctx, a->h, ctx->compute, a->rows * a->gate->weight.rows);
}
static void spoil_cross_entropy_loss(hone_ctx *ctx, const hone_cross_entropy_args *a) {
    halve(ctx, a->loss, HONE_F32, a->rows);
}
static void spoil_lora_linear(hone_ctx *ctx, const hone_lora_linear_args *a) {
    halve(ctx, a->y, a->y_dtype, a->rows * a->linear->weight.rows);
}
static void spoil_attention_with_rope(hone_ctx *ctx, const hone_attention_args *a) {
    halve(ctx, a->o, ctx->compute, a->q_rows * a->heads * a->head_dim);
}

/* The inner set sees itself in the context, as when it runs alone. */
static hone_watch *enter(hone_ctx *ctx) {
    hone_watch *w = ctx->ops->inside;
    ctx->ops = w->inner;
    return w;
}

static void leave(hone_ctx *ctx, hone_watch *w, hone_op op, int pass) {
    ctx->ops = &w->ops;
    if (ctx->team.rank == 0 && !hone_ctx_planning(ctx)) w->calls[op][pass]++;
}

#define OPERATION(name, type)                                                                      \
    static void name##_forward(hone_ctx *ctx, const type *args, hone_saved *saved) {               \
        hone_watch *w = enter(ctx);                                                                \
        w->inner->name##_forward(ctx, args, saved);                                                \
        leave(ctx, w, HONE_OP_##name, FORWARD);                                                    \
        if (w->sabotaged == (int)HONE_OP_##name) spoil_##name(ctx, args);                          \
    }                                                                                              \
    static void name##_backward(hone_ctx *ctx, const type *args, const hone_saved *saved) {        \
        hone_watch *w = enter(ctx);                                                                \
        w->inner->name##_backward(ctx, args, saved);                                               \
        leave(ctx, w, HONE_OP_##name, BACKWARD);                                                   \
    }
HONE_OPS(OPERATION)
#undef OPERATION

static void linear_cross_entropy(hone_ctx *ctx, const hone_linear_cross_entropy_args *args) {
    hone_watch *w = enter(ctx);
    w->inner->linear_cross_entropy(ctx, args);
    leave(ctx, w, HONE_OP_cross_entropy_loss, FORWARD);
    if (args->dx) leave(ctx, w, HONE_OP_cross_entropy_loss, BACKWARD);
    if (w->sabotaged == HONE_OP_cross_entropy_loss) halve(ctx, args->loss, HONE_F32, args->rows);
}

static void rms_norm_rebuild(hone_ctx *ctx, const hone_rms_norm_args *args,
                             const hone_saved *saved) {
    hone_watch *w = enter(ctx);
    w->inner->rms_norm_rebuild(ctx, args, saved);
    ctx->ops = &w->ops;
}

void hone_watch_start(hone_watch *watch, const hone_op_set *inner, int sabotaged) {
    *watch = (hone_watch){.ops = *inner, .inner = inner, .sabotaged = sabotaged};
    watch->ops.inside = watch;
#define WATCH(name, type)                                                                          \
    watch->ops.name##_forward = name##_forward;                                                    \
    watch->ops.name##_backward = name##_backward;
    HONE_OPS(WATCH)
#undef WATCH
    if (inner->linear_cross_entropy) watch->ops.linear_cross_entropy = linear_cross_entropy;
    if (inner->rms_norm_rebuild) watch->ops.rms_norm_rebuild = rms_norm_rebuild;
}
