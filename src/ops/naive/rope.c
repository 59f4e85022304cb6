/* ops/naive/rope: x * cos + rotate_half(x) * sin with every intermediate in memory. Layer ops. Nothing is kept. */
#include "ops/naive/naive.h"
#include "ops/naive/primitive.h"

static void rotate(hone_ctx *ctx, const hone_rope_args *args, bool inverse) {
    hone_naive_rotation rotation = {
        .rows = args->rows,
        .heads = args->heads,
        .head_dim = args->head_dim,
        .rope_dim = args->rope_dim,
        .positions = args->positions,
        .cos = args->cos,
        .sin = args->sin,
        .interleaved = args->interleaved,
        .inverse = inverse,
    };
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_naive_gather_angles(ctx, &rotation);
    hone_naive_rotate(ctx, &rotation, args->x, args->y);
    hone_arena_release_scratch(&ctx->arena, mark);
}

void hone_naive_rope_embeddings_forward(hone_ctx *ctx, const hone_rope_args *args,
                                        hone_saved *saved) {
    (void)saved;
    rotate(ctx, args, false);
}

void hone_naive_rope_embeddings_backward(hone_ctx *ctx, const hone_rope_args *args,
                                         const hone_saved *saved) {
    (void)saved;
    rotate(ctx, args, true);
}
