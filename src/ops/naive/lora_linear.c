/* ops/naive/lora_linear: a linear layer with its adapter as an eager framework runs it. Layer ops.
 *
 * Each primitive is a pass of its own with a buffer of its own: unpack, x W^T, x A^T, (.) B^T, scale,
 * add. Quantized weights are unpacked whole for every use; weights that are of the compute type
 * already are used as they are. The two branches are float32 until they are added: an adapter that
 * has just begun to learn is smaller than bfloat16's step at the base's size and would be rounded
 * away. Kept for backward: x A^T. The caller keeps x. Slot: 0 xa [rows, rank].
 */
#include "ops/linear.h"
#include "ops/naive/naive.h"
#include "ops/naive/primitive.h"

enum { XA };
enum { GRAIN = 4096 }; /* elements */

/* Takes scratch for the whole weight in the compute type and unpacks into it, where it is needed. */
static hone_matrix unpack_weight(hone_ctx *ctx, const hone_matrix *w) {
    if (w->dtype == ctx->compute) return *w;
    size_t bytes = w->rows * w->cols * hone_element_bytes(ctx->compute);
    char *dense = hone_arena_scratch(&ctx->arena, bytes);
    if (!hone_ctx_planning(ctx)) {
        size_t begin, end;
        hone_split(ctx->team, w->rows, 1, &begin, &end);
        for (size_t r = begin; r < end; r++) {
            ctx->kernels->unpack(w, r, 0, w->cols, ctx->compute,
                                 hone_element(dense, ctx->compute, r * w->cols));
        }
        hone_barrier(ctx->team);
    }
    return hone_matrix_dense(dense, ctx->compute, w->rows, w->cols);
}

static void multiply(hone_ctx *ctx, size_t n, float alpha, const void *x, hone_dtype x_dtype,
                     void *y, hone_dtype y_dtype) {
    if (!hone_ctx_planning(ctx)) hone_naive_scale(ctx, n, alpha, x, x_dtype, y, y_dtype);
}

/* y = base + low. */
static void add(hone_ctx *ctx, size_t n, const float *base, const float *low, void *y,
                hone_dtype y_dtype) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, n, GRAIN, &begin, &end);
    ctx->kernels->add(end - begin, base + begin, HONE_F32, low + begin, HONE_F32,
                      hone_element(y, y_dtype, begin), y_dtype);
    hone_barrier(ctx->team);
}

/* y = x op(w) + bias with the unpacked weight gone again afterwards. */
static void dense_product(hone_ctx *ctx, size_t rows, const void *x, const hone_linear *linear,
                          bool by_rows, void *y, hone_dtype y_dtype) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_matrix w = unpack_weight(ctx, &linear->weight);
    size_t k = by_rows ? w.cols : w.rows, n = by_rows ? w.rows : w.cols;
    hone_linear_product(ctx, rows, x, k, &w, by_rows, by_rows ? linear->bias : NULL, n, y, y_dtype);
    hone_arena_release_scratch(&ctx->arena, mark);
}

static void *buffer(hone_ctx *ctx, size_t count) {
    return hone_arena_scratch(&ctx->arena, count * hone_element_bytes(ctx->compute));
}

static float *floats(hone_ctx *ctx, size_t count) {
    return hone_arena_scratch(&ctx->arena, count * sizeof(float));
}

void hone_naive_lora_linear_forward(hone_ctx *ctx, const hone_lora_linear_args *args,
                                    hone_saved *saved) {
    const hone_linear *linear = args->linear;
    const hone_lora *lora = &linear->lora;
    const size_t rows = args->rows, in = linear->weight.cols, out = linear->weight.rows;
    const size_t rank = (size_t)lora->rank;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_matrix a = hone_matrix_dense(lora->a, HONE_F32, rank, in);
    bool keep = saved != NULL && rank > 0 && lora->db != NULL;
    size_t xa_bytes = rows * rank * hone_element_bytes(ctx->compute);
    if (args->y == NULL) {
        if (!keep) return;
        saved->slot[XA] = hone_arena_save(&ctx->arena, xa_bytes);
        hone_linear_product(ctx, rows, args->x, in, &a, true, NULL, rank, saved->slot[XA],
                            ctx->compute);
        return;
    }
    void *y = args->accumulate ? floats(ctx, rows * out) : args->y;
    if (rank == 0) {
        dense_product(ctx, rows, args->x, linear, true, y, args->y_dtype);
    } else {
        hone_matrix b = hone_matrix_dense(lora->b, HONE_F32, out, rank);
        void *xa = keep ? hone_arena_save(&ctx->arena, xa_bytes) : buffer(ctx, rows * rank);
        if (keep) saved->slot[XA] = xa;
        float *base = floats(ctx, rows * out);
        dense_product(ctx, rows, args->x, linear, true, base, HONE_F32);
        float *low = floats(ctx, rows * out), *scaled = floats(ctx, rows * out);
        hone_linear_product(ctx, rows, args->x, in, &a, true, NULL, rank, xa, ctx->compute);
        hone_linear_product(ctx, rows, xa, rank, &b, true, NULL, out, low, HONE_F32);
        multiply(ctx, rows * out, lora->scale, low, HONE_F32, scaled, HONE_F32);
        add(ctx, rows * out, base, scaled, y, args->y_dtype);
    }
    if (args->accumulate) hone_residual_add(ctx, rows * out, args->y, y, HONE_F32, args->y);
    hone_arena_release_scratch(&ctx->arena, mark);
}

/* dA and dB as buffers of their own, added to the gradients afterwards. */
static void adapter_gradients(hone_ctx *ctx, const hone_lora_linear_args *args, const void *scaled,
                              const void *t, const void *xa) {
    const hone_linear *linear = args->linear;
    const size_t in = linear->weight.cols, out = linear->weight.rows;
    const size_t rank = (size_t)linear->lora.rank;
    if (linear->lora.db != NULL)
        hone_linear_add_thin(ctx, args->rows, scaled, out, xa, rank, 1.0f, linear->lora.db);
    if (linear->lora.da != NULL)
        hone_linear_add_thin_rows(ctx, args->rows, args->x, in, t, rank, 1.0f, linear->lora.da);
}

/* The adapter's share of dx, in `low` [rows, in] (NULL: not wanted), and its gradients. */
static void adapter_backward(hone_ctx *ctx, const hone_lora_linear_args *args, const void *xa,
                             float *low) {
    const hone_linear *linear = args->linear;
    const hone_lora *lora = &linear->lora;
    const size_t rows = args->rows, in = linear->weight.cols, out = linear->weight.rows;
    const size_t rank = (size_t)lora->rank;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_matrix a = hone_matrix_dense(lora->a, HONE_F32, rank, in);
    hone_matrix b = hone_matrix_dense(lora->b, HONE_F32, out, rank);
    void *scaled = buffer(ctx, rows * out), *t = buffer(ctx, rows * rank);
    multiply(ctx, rows * out, lora->scale, args->dy, ctx->compute, scaled, ctx->compute);
    hone_linear_product(ctx, rows, scaled, out, &b, false, NULL, rank, t, ctx->compute);
    adapter_gradients(ctx, args, scaled, t, xa);
    if (low != NULL) hone_linear_product(ctx, rows, t, rank, &a, false, NULL, in, low, HONE_F32);
    hone_arena_release_scratch(&ctx->arena, mark);
}

void hone_naive_lora_linear_backward(hone_ctx *ctx, const hone_lora_linear_args *args,
                                     const hone_saved *saved) {
    const hone_linear *linear = args->linear;
    const size_t rows = args->rows, in = linear->weight.cols, out = linear->weight.rows;
    const bool adapter = linear->lora.rank > 0, wanted = args->dx != NULL;
    const bool learns = linear->lora.da != NULL || linear->lora.db != NULL;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    float *low = adapter && wanted ? floats(ctx, rows * in) : NULL;
    if (adapter && (wanted || learns)) adapter_backward(ctx, args, saved->slot[XA], low);
    if (linear->dweight != NULL)
        hone_linear_add_outer(ctx, rows, args->dy, out, args->x, in, linear->dweight);
    if (linear->dbias != NULL) hone_linear_add_columns(ctx, rows, args->dy, out, linear->dbias);
    if (wanted) {
        void *dx = args->dx_accumulate ? floats(ctx, rows * in) : args->dx;
        float *base = adapter ? floats(ctx, rows * in) : NULL;
        hone_dtype base_dtype = adapter ? HONE_F32 : args->dx_dtype;
        dense_product(ctx, rows, args->dy, linear, false, adapter ? base : dx, base_dtype);
        if (adapter) add(ctx, rows * in, base, low, dx, args->dx_dtype);
        if (args->dx_accumulate)
            hone_residual_add(ctx, rows * in, args->dx, dx, HONE_F32, args->dx);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
