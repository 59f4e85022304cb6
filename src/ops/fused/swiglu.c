/* ops/fused/swiglu: h = silu(x Wg^T) * (x Wu^T) in three passes, of which one is element-wise.
 * Layer ops.
 *
 * Kept: gate and up before the activation; h is rebuilt from them when backward wants it. Backward
 * writes their gradients over them, so what was saved serves once. Slots: 0 gate, 1 up [rows, ffn]
 * compute type; 2, 3 x A^T of their adapters.
 */
#include "ops/fused/fused.h"
#include "ops/internal.h"

enum { GATE, UP, GATE_XA, UP_XA };
enum { GRAIN = 256 }; /* elements */

static size_t element_count(const hone_swiglu_args *args) {
    return args->rows * args->gate->weight.rows;
}

/* One of the two linears, forward. */
static void project(hone_ctx *ctx, const hone_swiglu_args *args, const hone_linear *linear, void *y,
                    hone_saved *saved, int slot) {
    hone_saved inner = {{0}};
    hone_lora_linear_args product = {
        .rows = args->rows, .linear = linear, .x = args->x, .y = y, .y_dtype = ctx->compute};
    hone_fused_lora_linear_forward(ctx, &product, saved == NULL ? NULL : &inner);
    if (saved != NULL) saved->slot[slot] = inner.slot[0];
}

static void activate(hone_ctx *ctx, const hone_swiglu_args *args, const void *gate,
                     const void *up) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, element_count(args), GRAIN, &begin, &end);
    ctx->kernels->silu_mul(end - begin, ctx->compute, hone_element_const(gate, ctx->compute, begin),
                           hone_element_const(up, ctx->compute, begin),
                           hone_element(args->h, ctx->compute, begin));
    hone_barrier(ctx->team);
}

void hone_fused_swiglu_activation_forward(hone_ctx *ctx, const hone_swiglu_args *args,
                                          hone_saved *saved) {
    const size_t bytes = element_count(args) * hone_element_bytes(ctx->compute);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    void *gate, *up;
    if (saved != NULL) {
        saved->slot[GATE] = gate = hone_arena_save(&ctx->arena, bytes);
        saved->slot[UP] = up = hone_arena_save(&ctx->arena, bytes);
    } else {
        gate = hone_arena_scratch(&ctx->arena, bytes);
        up = args->h;
    }
    bool independent = ctx->independent;
    ctx->independent = true;
    project(ctx, args, args->gate, gate, saved, GATE_XA);
    ctx->independent = false;
    project(ctx, args, args->up, up, saved, UP_XA);
    activate(ctx, args, gate, up);
    ctx->independent = independent;
    hone_arena_release_scratch(&ctx->arena, mark);
}

/* One of the two linears, backward; the first writes dx, the second adds to it. */
static void pull_back(hone_ctx *ctx, const hone_swiglu_args *args, const hone_linear *linear,
                      const void *dy, void *xa, bool accumulate) {
    hone_saved inner = {{xa}};
    hone_lora_linear_args product = {.rows = args->rows,
                                     .linear = linear,
                                     .x = args->x,
                                     .dy = dy,
                                     .dx = args->dx,
                                     .dx_dtype = HONE_F32,
                                     .dx_accumulate = accumulate};
    hone_fused_lora_linear_backward(ctx, &product, &inner);
}

void hone_fused_swiglu_activation_backward(hone_ctx *ctx, const hone_swiglu_args *args,
                                           const hone_saved *saved) {
    void *gate = saved->slot[GATE], *up = saved->slot[UP];
    if (!hone_ctx_planning(ctx)) {
        size_t begin, end;
        hone_split(ctx->team, element_count(args), GRAIN, &begin, &end);
        void *dgate = hone_element(gate, ctx->compute, begin);
        void *dup = hone_element(up, ctx->compute, begin);
        void *h = args->h == NULL ? NULL : hone_element(args->h, ctx->compute, begin);
        ctx->kernels->silu_mul_backward(end - begin, ctx->compute,
                                        hone_element_const(args->dh, ctx->compute, begin), dgate,
                                        dup, dgate, dup, h);
        hone_barrier(ctx->team);
    }
    pull_back(ctx, args, args->gate, gate, saved->slot[GATE_XA], args->accumulate);
    pull_back(ctx, args, args->up, up, saved->slot[UP_XA], true);
}
