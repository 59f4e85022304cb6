/* ops/naive/attention_backward: the gradient of each of forward's passes, in reverse, each a tensor of its own.
 * Layer ops. */
#include "ops/naive/attention.h"
#include "ops/naive/naive.h"

#include <math.h>

/* The product of a matrix of scores, transposed, with the query rows of `x`, for a block of key rows. */
static void multiply_transposed(const hone_naive_attention *job, const hone_naive_block *block,
                                const void *scores, const void *x, void *out) {
    size_t dim = job->args->head_dim, stride = job->args->heads * dim;
    hone_dtype compute = job->ctx->compute;
    job->ctx->kernels->transpose(block->queries, block->rows,
                                 hone_element_const(scores, compute, block->scores + block->row),
                                 block->keys, job->turned, block->queries, compute);
    hone_naive_product product = {
        .rows = block->rows,
        .head = block->head,
        .a = job->turned,
        .lda = block->queries,
        .x = x,
        .x_row = block->segment->q_begin,
        .x_rows = block->queries,
        .c = hone_element(out, compute,
                          (block->segment->kv_begin + block->row) * stride + block->head * dim),
        .ldc = stride,
        .c_dtype = compute,
    };
    hone_naive_attention_multiply(job, &product);
}

static void gradient_of_v(const hone_naive_attention *job, const hone_naive_block *block,
                          const void *p, void *dv) {
    multiply_transposed(job, block, p, job->args->d_o, dv);
}

static void gradient_of_k(const hone_naive_attention *job, const hone_naive_block *block,
                          const void *ds, void *dk) {
    multiply_transposed(job, block, ds, job->q, dk);
}

static void gradient_of_q(const hone_naive_attention *job, const hone_naive_block *block,
                          const void *ds, void *dq) {
    size_t dim = job->args->head_dim, stride = job->args->heads * dim;
    hone_dtype compute = job->ctx->compute;
    hone_naive_product product = {
        .rows = block->rows,
        .head = block->head,
        .a = hone_element_const(ds, compute, block->scores + block->row * block->keys),
        .lda = block->keys,
        .x = job->k,
        .x_row = block->segment->kv_begin,
        .x_rows = block->keys,
        .c = hone_element(dq, compute,
                          (block->segment->q_begin + block->row) * stride + block->head * dim),
        .ldc = stride,
        .c_dtype = compute,
    };
    hone_naive_attention_multiply(job, &product);
}

/* dP = dO v^T */
static void gradient_of_p(const hone_naive_attention *job, const hone_naive_block *block,
                          const void *d_o, void *dp) {
    size_t dim = job->args->head_dim, stride = job->args->heads * dim;
    hone_naive_product product = {
        .rows = block->rows,
        .head = block->head,
        .a =
            hone_element_const(d_o, job->ctx->compute,
                               (block->segment->q_begin + block->row) * stride + block->head * dim),
        .lda = stride,
        .x = job->v,
        .x_row = block->segment->kv_begin,
        .x_rows = block->keys,
        .by_rows = true,
        .c = (float *)dp + block->scores + block->row * block->keys,
        .ldc = block->keys,
        .c_dtype = HONE_F32,
    };
    hone_naive_attention_multiply(job, &product);
}

/* ds holds p * dp: ds -= p * rowsum(p * dp), the softmax's own gradient. */
static void backward_softmax(const hone_naive_attention *job, const hone_naive_block *block,
                             const void *dp, void *ds) {
    const hone_kernels *kernels = job->ctx->kernels;
    for (size_t r = block->row; r < block->row + block->rows; r++) {
        size_t at = block->scores + r * block->keys;
        double sum =
            kernels->dot(block->keys, job->p + at, HONE_F32, (const float *)dp + at, HONE_F32);
        kernels->scale(block->keys, (float)-sum, job->p + at, HONE_F32, (float *)ds + at, HONE_F32,
                       true);
    }
}

/* The repeated heads' gradients summed: [rows, heads, dim] to [rows, kv_heads, dim]. */
static void sum_heads(hone_ctx *ctx, const hone_attention_args *args, const void *x, void *y) {
    size_t group = args->heads / args->kv_heads, dim = args->head_dim, begin, end;
    hone_dtype dtype = ctx->compute;
    hone_split(ctx->team, args->kv_rows, HONE_PANEL, &begin, &end);
    for (size_t v = begin * args->kv_heads; v < end * args->kv_heads; v++) {
        void *sum = hone_element(y, dtype, v * dim);
        memcpy(sum, hone_element_const(x, dtype, v * group * dim), dim * hone_element_bytes(dtype));
        for (size_t h = 1; h < group; h++) {
            ctx->kernels->add(dim, sum, dtype, hone_element_const(x, dtype, (v * group + h) * dim),
                              dtype, sum, dtype);
        }
    }
    hone_barrier(ctx->team);
}

/* Through the repetition and the rotation: from the gradient of k as it was used to that of args->k. */
static void finish_k(hone_ctx *ctx, const hone_attention_args *args, void *repeated, void *dk,
                     hone_naive_rotation *rotation) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    size_t bytes =
        args->kv_rows * args->kv_heads * args->head_dim * hone_element_bytes(ctx->compute);
    void *summed = repeated;
    if (args->heads != args->kv_heads) {
        summed = args->cos ? hone_arena_scratch(&ctx->arena, bytes) : dk;
        if (!hone_ctx_planning(ctx)) sum_heads(ctx, args, repeated, summed);
    }
    rotation->heads = args->kv_heads;
    if (args->cos) hone_naive_rotate(ctx, rotation, summed, dk);
    hone_arena_release_scratch(&ctx->arena, mark);
}

void hone_naive_attention_with_rope_backward(hone_ctx *ctx, const hone_attention_args *args,
                                             const hone_saved *saved) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_naive_attention job = hone_naive_attention_begin(ctx, args);
    job.q = saved->slot[HONE_NAIVE_Q];
    job.k = saved->slot[HONE_NAIVE_K];
    job.v = saved->slot[HONE_NAIVE_V];
    job.p = saved->slot[HONE_NAIVE_P];
    bool run = !hone_ctx_planning(ctx);
    size_t count = job.score_count, bytes = hone_element_bytes(ctx->compute),
           width = args->heads * args->head_dim, kv_bytes = args->kv_rows * width * bytes;
    bool grouped = args->heads != args->kv_heads;
    void *dq = args->cos ? hone_arena_scratch(&ctx->arena, args->q_rows * width * bytes) : args->dq;
    void *dk = args->cos || grouped ? hone_arena_scratch(&ctx->arena, kv_bytes) : args->dk;
    void *dv = grouped ? hone_arena_scratch(&ctx->arena, kv_bytes) : args->dv;
    void *ds_compute = hone_arena_scratch(&ctx->arena, count * bytes);
    hone_arena_mark before = hone_arena_get_mark(&ctx->arena);
    float *dp = hone_arena_scratch(&ctx->arena, count * sizeof *dp);
    float *ds = hone_arena_scratch(&ctx->arena, count * sizeof *ds);
    if (run) {
        hone_segments_zero_gaps(ctx, args, false, dq, width * bytes);
        hone_segments_zero_gaps(ctx, args, true, dk, width * bytes);
        hone_segments_zero_gaps(ctx, args, true, dv, width * bytes);
        hone_naive_each_block(&job, true, gradient_of_v, saved->slot[HONE_NAIVE_P_COMPUTE], dv);
        hone_naive_each_block(&job, false, gradient_of_p, args->d_o, dp);
        hone_naive_multiply(ctx, count, dp, HONE_F32, job.p, ds);
        hone_naive_each_block(&job, false, backward_softmax, dp, ds);
        hone_naive_scale(ctx, count, 1.0f / sqrtf((float)args->head_dim), ds, HONE_F32, ds_compute,
                         ctx->compute);
    }
    hone_arena_release_scratch(&ctx->arena, before);
    if (run) {
        hone_naive_each_block(&job, false, gradient_of_q, ds_compute, dq);
        hone_naive_each_block(&job, true, gradient_of_k, ds_compute, dk);
        if (grouped) sum_heads(ctx, args, dv, args->dv);
    }
    hone_naive_rotation rotation = {
        .rows = args->q_rows,
        .heads = args->heads,
        .head_dim = args->head_dim,
        .rope_dim = args->rope_dim,
        .positions = args->positions,
        .cos = args->cos,
        .sin = args->sin,
        .interleaved = args->interleaved,
        .inverse = true,
    };
    if (args->cos) {
        hone_naive_gather_angles(ctx, &rotation);
        hone_naive_rotate(ctx, &rotation, dq, args->dq);
    }
    finish_k(ctx, args, dk, args->dk, &rotation);
    hone_arena_release_scratch(&ctx->arena, mark);
}
