/* ops/fused/lora_linear: the adapter joins its linear layer inside one matrix multiply. Layer ops.
 *
 *   forward   xa = x A^T;  y = x W^T + scale xa B^T + bias
 *   backward  t = dy B;    dx = dy W + scale t A
 *             dA += scale t^T x,  dB += scale dy^T xa,  dW += dy^T x,  dbias += sum of dy
 *
 * Quantized weights are unpacked panel by panel inside the multiply. Frozen gradients (NULL) are not
 * computed. Slot: 0 xa [rows, rank], compute type, when B learns.
 */
#include "ops/fused/fused.h"
#include "ops/linear.h"

enum { XA };

static size_t thin_bytes(const hone_ctx *ctx, const hone_lora_linear_args *args) {
    return args->rows * (size_t)args->linear->lora.rank * hone_element_bytes(ctx->compute);
}

static hone_matrix lora_a(const hone_linear *linear) {
    return hone_matrix_dense(linear->lora.a, HONE_F32, (size_t)linear->lora.rank,
                             linear->weight.cols);
}

static hone_matrix lora_b(const hone_linear *linear) {
    return hone_matrix_dense(linear->lora.b, HONE_F32, linear->weight.rows,
                             (size_t)linear->lora.rank);
}

void hone_fused_lora_linear_forward(hone_ctx *ctx, const hone_lora_linear_args *args,
                                    hone_saved *saved) {
    const hone_linear *linear = args->linear;
    const size_t in = linear->weight.cols, out = linear->weight.rows;
    const size_t rank = (size_t)linear->lora.rank;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_matrix a = lora_a(linear), b = lora_b(linear);
    void *xa = NULL;
    bool keep = saved != NULL && linear->lora.db != NULL;
    if (rank > 0 && (keep || args->y != NULL)) {
        xa = keep ? hone_arena_save(&ctx->arena, thin_bytes(ctx, args))
                  : hone_arena_scratch(&ctx->arena, thin_bytes(ctx, args));
        if (keep) saved->slot[XA] = xa;
        hone_linear_product(ctx, args->rows, args->x, in, &a, true, NULL, rank, xa, ctx->compute);
    }
    if (args->y == NULL) {
        hone_arena_release_scratch(&ctx->arena, mark);
        return;
    }
    hone_matmul_args product = {.m = args->rows,
                                .n = out,
                                .k = in,
                                .a = args->x,
                                .lda = in,
                                .b = &linear->weight,
                                .by_rows = true,
                                .k2 = rank,
                                .a2 = xa,
                                .lda2 = rank,
                                .b2 = &b,
                                .b2_by_rows = true,
                                .scale2 = linear->lora.scale,
                                .bias = linear->bias,
                                .c = args->y,
                                .ldc = out,
                                .c_dtype = args->y_dtype,
                                .accumulate = args->accumulate};
    if (xa == NULL)
        hone_matmul_end(ctx, &product);
    else
        hone_matmul(ctx, &product);
    hone_arena_release_scratch(&ctx->arena, mark);
}

static void parameter_gradients(hone_ctx *ctx, const hone_lora_linear_args *args, const void *t,
                                const void *xa) {
    const hone_linear *linear = args->linear;
    const hone_lora *lora = &linear->lora;
    const size_t in = linear->weight.cols, out = linear->weight.rows, rank = (size_t)lora->rank;
    if (rank > 0 && lora->da != NULL)
        hone_linear_add_thin_rows(ctx, args->rows, args->x, in, t, rank, lora->scale, lora->da);
    if (rank > 0 && lora->db != NULL)
        hone_linear_add_thin(ctx, args->rows, args->dy, out, xa, rank, lora->scale, lora->db);
    if (linear->dweight != NULL)
        hone_linear_add_outer(ctx, args->rows, args->dy, out, args->x, in, linear->dweight);
    if (linear->dbias != NULL)
        hone_linear_add_columns(ctx, args->rows, args->dy, out, linear->dbias);
}

void hone_fused_lora_linear_backward(hone_ctx *ctx, const hone_lora_linear_args *args,
                                     const hone_saved *saved) {
    const hone_linear *linear = args->linear;
    const size_t in = linear->weight.cols, out = linear->weight.rows;
    const size_t rank = (size_t)linear->lora.rank;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_matrix a = lora_a(linear), b = lora_b(linear);
    void *t = NULL;
    if (rank > 0 && (args->dx != NULL || linear->lora.da != NULL)) {
        t = hone_arena_scratch(&ctx->arena, thin_bytes(ctx, args));
        hone_linear_product(ctx, args->rows, args->dy, out, &b, false, NULL, rank, t, ctx->compute);
    }
    parameter_gradients(ctx, args, t, rank > 0 ? saved->slot[XA] : NULL);
    if (args->dx != NULL) {
        hone_matmul_args product = {.m = args->rows,
                                    .n = in,
                                    .k = out,
                                    .a = args->dy,
                                    .lda = out,
                                    .b = &linear->weight,
                                    .k2 = rank,
                                    .a2 = t,
                                    .lda2 = rank,
                                    .b2 = &a,
                                    .scale2 = linear->lora.scale,
                                    .c = args->dx,
                                    .ldc = in,
                                    .c_dtype = args->dx_dtype,
                                    .accumulate = args->dx_accumulate};
        hone_matmul(ctx, &product);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
