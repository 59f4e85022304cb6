/* ops/naive/lora_linear: a linear layer with its adapter as an eager framework runs it. Layer ops.
 *
 * Each primitive is a pass of its own with a buffer of its own: unpack, x W^T, x A^T, (.) B^T, scale,
 * add. Quantized weights are unpacked whole for every use; weights that are of the compute type
 * already are used as they are. Kept for backward: x A^T. The caller keeps x. Slot: 0 xa [rows, rank].
 */
#include "ops/linear.h"
#include "ops/naive/naive.h"

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

/* y = alpha x (+ y). */
static void scale(hone_ctx *ctx, size_t n, float alpha, const void *x, hone_dtype x_dtype, void *y,
                  hone_dtype y_dtype, bool accumulate) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, n, GRAIN, &begin, &end);
    ctx->kernels->scale(end - begin, alpha, hone_element_const(x, x_dtype, begin), x_dtype,
                        hone_element(y, y_dtype, begin), y_dtype, accumulate);
    hone_barrier(ctx->team);
}

static void add(hone_ctx *ctx, size_t n, const void *a, const void *b, void *y,
                hone_dtype y_dtype) {
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, n, GRAIN, &begin, &end);
    ctx->kernels->add(end - begin, hone_element_const(a, ctx->compute, begin), ctx->compute,
                      hone_element_const(b, ctx->compute, begin), ctx->compute,
                      hone_element(y, y_dtype, begin), y_dtype);
    hone_barrier(ctx->team);
}

/* y = x op(w) + bias with the unpacked weight gone again afterwards. */
static void dense_product(hone_ctx *ctx, size_t rows, const void *x, const hone_linear *linear,
                          bool by_rows, void *y) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_matrix w = unpack_weight(ctx, &linear->weight);
    size_t k = by_rows ? w.cols : w.rows, n = by_rows ? w.rows : w.cols;
    hone_matmul_args args = {.m = rows,
                             .n = n,
                             .k = k,
                             .a = x,
                             .lda = k,
                             .b = &w,
                             .by_rows = by_rows,
                             .bias = by_rows ? linear->bias : NULL,
                             .c = y,
                             .ldc = n,
                             .c_dtype = ctx->compute};
    hone_matmul(ctx, &args);
    hone_arena_release_scratch(&ctx->arena, mark);
}

/* `sum` of the compute type goes to the caller's buffer: as it is, converted, or added. */
static void deliver(hone_ctx *ctx, size_t n, const void *sum, void *y, hone_dtype y_dtype,
                    bool accumulate) {
    if (sum != y) scale(ctx, n, 1.0f, sum, ctx->compute, y, y_dtype, accumulate);
}

static void *buffer(hone_ctx *ctx, size_t count) {
    return hone_arena_scratch(&ctx->arena, count * hone_element_bytes(ctx->compute));
}

void hone_naive_lora_linear_forward(hone_ctx *ctx, const hone_lora_linear_args *args,
                                    hone_saved *saved) {
    const hone_linear *linear = args->linear;
    const hone_lora *lora = &linear->lora;
    const size_t rows = args->rows, in = linear->weight.cols, out = linear->weight.rows;
    const size_t rank = (size_t)lora->rank;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    bool direct = args->y_dtype == ctx->compute && !args->accumulate;
    void *y = direct ? args->y : buffer(ctx, rows * out);
    if (rank == 0) {
        dense_product(ctx, rows, args->x, linear, true, y);
    } else {
        hone_matrix a = hone_matrix_dense(lora->a, HONE_F32, rank, in);
        hone_matrix b = hone_matrix_dense(lora->b, HONE_F32, out, rank);
        bool keep = saved != NULL && lora->db != NULL;
        size_t xa_bytes = rows * rank * hone_element_bytes(ctx->compute);
        void *xa = keep ? hone_arena_save(&ctx->arena, xa_bytes) : buffer(ctx, rows * rank);
        if (keep) saved->slot[XA] = xa;
        void *base = buffer(ctx, rows * out);
        dense_product(ctx, rows, args->x, linear, true, base);
        void *low = buffer(ctx, rows * out), *scaled = buffer(ctx, rows * out);
        hone_linear_product(ctx, rows, args->x, in, &a, true, rank, xa);
        hone_linear_product(ctx, rows, xa, rank, &b, true, out, low);
        scale(ctx, rows * out, lora->scale, low, ctx->compute, scaled, ctx->compute, false);
        add(ctx, rows * out, base, scaled, y, ctx->compute);
    }
    deliver(ctx, rows * out, y, args->y, args->y_dtype, args->accumulate);
    hone_arena_release_scratch(&ctx->arena, mark);
}

/* dA and dB as buffers of their own, added to the gradients afterwards; returns nothing kept. */
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
                             void *low) {
    const hone_linear *linear = args->linear;
    const hone_lora *lora = &linear->lora;
    const size_t rows = args->rows, in = linear->weight.cols, out = linear->weight.rows;
    const size_t rank = (size_t)lora->rank;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_matrix a = hone_matrix_dense(lora->a, HONE_F32, rank, in);
    hone_matrix b = hone_matrix_dense(lora->b, HONE_F32, out, rank);
    void *scaled = buffer(ctx, rows * out), *t = buffer(ctx, rows * rank);
    scale(ctx, rows * out, lora->scale, args->dy, ctx->compute, scaled, ctx->compute, false);
    hone_linear_product(ctx, rows, scaled, out, &b, false, rank, t);
    adapter_gradients(ctx, args, scaled, t, xa);
    if (low != NULL) hone_linear_product(ctx, rows, t, rank, &a, false, in, low);
    hone_arena_release_scratch(&ctx->arena, mark);
}

void hone_naive_lora_linear_backward(hone_ctx *ctx, const hone_lora_linear_args *args,
                                     const hone_saved *saved) {
    const hone_linear *linear = args->linear;
    const size_t rows = args->rows, in = linear->weight.cols, out = linear->weight.rows;
    const bool adapter = linear->lora.rank > 0, wanted = args->dx != NULL;
    const bool learns = linear->lora.da != NULL || linear->lora.db != NULL;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    void *low = adapter && wanted ? buffer(ctx, rows * in) : NULL;
    if (adapter && (wanted || learns)) adapter_backward(ctx, args, saved->slot[XA], low);
    if (linear->dweight != NULL)
        hone_linear_add_outer(ctx, rows, args->dy, out, args->x, in, linear->dweight);
    if (linear->dbias != NULL) hone_linear_add_columns(ctx, rows, args->dy, out, linear->dbias);
    if (wanted) {
        bool direct = args->dx_dtype == ctx->compute && !args->dx_accumulate;
        void *dx = direct ? args->dx : buffer(ctx, rows * in);
        void *base = adapter ? buffer(ctx, rows * in) : dx;
        dense_product(ctx, rows, args->dy, linear, false, base);
        if (adapter) add(ctx, rows * in, base, low, dx, ctx->compute);
        deliver(ctx, rows * in, dx, args->dx, args->dx_dtype, args->dx_accumulate);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
