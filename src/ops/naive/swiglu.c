/* ops/naive/swiglu: h = silu(gate) * up in primitives: two linears, silu, a product; each a pass with
 * a buffer of its own. Layer ops.
 *
 * Kept as autograd would: gate (silu's input), up and silu(gate) (the product's operands), and x A^T of
 * the adapters. Slots: 0 gate, 1 up, 2 silu(gate) [rows, ffn] compute type; 3, 4 x A^T.
 */
#include "ops/internal.h"
#include "ops/naive/naive.h"

enum { GATE, UP, SILU, GATE_XA, UP_XA };
enum { GRAIN = 4096 }; /* elements */

static size_t element_count(const hone_swiglu_args *args) {
    return args->rows * args->gate->weight.rows;
}

static void project(hone_ctx *ctx, const hone_swiglu_args *args, const hone_linear *linear, void *y,
                    hone_saved *saved, int slot) {
    hone_saved inner = {{0}};
    hone_lora_linear_args product = {
        .rows = args->rows, .linear = linear, .x = args->x, .y = y, .y_dtype = ctx->compute};
    hone_naive_lora_linear_forward(ctx, &product, saved == NULL ? NULL : &inner);
    if (saved != NULL) saved->slot[slot] = inner.slot[0];
}

typedef void element_fn(const hone_ctx *ctx, size_t n, const void *a, const void *b, void *y);

static void silu(const hone_ctx *ctx, size_t n, const void *a, const void *b, void *y) {
    (void)b;
    ctx->kernels->silu(n, ctx->compute, a, y);
}
static void silu_backward(const hone_ctx *ctx, size_t n, const void *a, const void *b, void *y) {
    ctx->kernels->silu_backward(n, ctx->compute, a, b, y);
}
static void multiply(const hone_ctx *ctx, size_t n, const void *a, const void *b, void *y) {
    ctx->kernels->multiply(n, ctx->compute, a, b, y);
}

/* One primitive over n elements, split over the team. */
static void pass(hone_ctx *ctx, element_fn *fn, size_t n, const void *a, const void *b, void *y) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, n, GRAIN, &begin, &end);
    fn(ctx, end - begin, hone_element_const(a, ctx->compute, begin),
       hone_element_const(b, ctx->compute, begin), hone_element(y, ctx->compute, begin));
    hone_barrier(ctx->team);
}

void hone_naive_swiglu_activation_forward(hone_ctx *ctx, const hone_swiglu_args *args,
                                          hone_saved *saved) {
    const size_t count = element_count(args), bytes = count * hone_element_bytes(ctx->compute);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    void *kept[3];
    for (int i = GATE; i <= SILU; i++) {
        kept[i] = saved != NULL ? hone_arena_save(&ctx->arena, bytes)
                                : hone_arena_scratch(&ctx->arena, bytes);
        if (saved != NULL) saved->slot[i] = kept[i];
    }
    project(ctx, args, args->gate, kept[GATE], saved, GATE_XA);
    project(ctx, args, args->up, kept[UP], saved, UP_XA);
    pass(ctx, silu, count, kept[GATE], kept[GATE], kept[SILU]);
    pass(ctx, multiply, count, kept[SILU], kept[UP], args->h);
    hone_arena_release_scratch(&ctx->arena, mark);
}

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
    hone_naive_lora_linear_backward(ctx, &product, &inner);
}

void hone_naive_swiglu_activation_backward(hone_ctx *ctx, const hone_swiglu_args *args,
                                           const hone_saved *saved) {
    const size_t count = element_count(args), bytes = count * hone_element_bytes(ctx->compute);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    void *dup = hone_arena_scratch(&ctx->arena, bytes);
    pass(ctx, multiply, count, args->dh, saved->slot[SILU], dup);
    pull_back(ctx, args, args->up, dup, saved->slot[UP_XA], args->accumulate);
    hone_arena_release_scratch(&ctx->arena, mark);
    void *dgate = hone_arena_scratch(&ctx->arena, bytes);
    void *dsilu = hone_arena_scratch(&ctx->arena, bytes);
    pass(ctx, multiply, count, args->dh, saved->slot[UP], dsilu);
    pass(ctx, silu_backward, count, dsilu, saved->slot[GATE], dgate);
    pull_back(ctx, args, args->gate, dgate, saved->slot[GATE_XA], true);
    if (args->h != NULL) pass(ctx, multiply, count, saved->slot[SILU], saved->slot[UP], args->h);
    hone_arena_release_scratch(&ctx->arena, mark);
}
