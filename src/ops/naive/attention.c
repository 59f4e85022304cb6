/* ops/naive/attention: rotation, repeated kv heads, scores, scale, mask, softmax and the product with v, each a pass
 * over whole tensors, all scores of all heads in memory as float32. Layer ops. */
#include "ops/naive/attention.h"

#include "ops/naive/naive.h"

#include <float.h>
#include <math.h>

#define BLOCK_ROWS 512

hone_naive_attention hone_naive_attention_begin(hone_ctx *ctx, const hone_attention_args *args) {
    hone_naive_attention job = {.ctx = ctx, .args = args};
    for (size_t s = 0; s < args->segment_count; s++) {
        size_t queries = hone_segment_queries(&args->segments[s]),
               keys = hone_segment_keys(&args->segments[s]);
        job.score_count += args->heads * queries * keys;
        job.longest_q = HONE_MAX(job.longest_q, queries);
        job.longest_kv = HONE_MAX(job.longest_kv, keys);
    }
    size_t longest = HONE_MAX(job.longest_q, job.longest_kv), dim = args->head_dim;
    size_t by_rows = hone_pack_bytes(ctx->compute, longest, dim);
    size_t by_depth = hone_pack_bytes(ctx->compute, dim, longest);
    job.panels = hone_ctx_scratch_own(ctx, HONE_MAX(by_rows, by_depth));
    size_t turned = HONE_MIN(longest, (size_t)BLOCK_ROWS) * job.longest_q;
    job.turned = hone_ctx_scratch_own(ctx, turned * hone_element_bytes(ctx->compute));
    return job;
}

void hone_naive_each_block(const hone_naive_attention *job, bool keys, hone_naive_block_fn *fn,
                           const void *in, void *out) {
    const hone_attention_args *args = job->args;
    size_t scores = 0, before = 0;
    for (size_t s = 0; s < args->segment_count; s++) {
        hone_naive_block block = {.segment = &args->segments[s],
                                  .queries = hone_segment_queries(&args->segments[s]),
                                  .keys = hone_segment_keys(&args->segments[s])};
        size_t rows = keys ? block.keys : block.queries,
               columns = keys ? block.queries : block.keys;
        for (block.head = 0; block.head < args->heads; block.head++) {
            block.scores = scores;
            scores += rows * columns;
            for (block.row = 0; block.row < rows; block.row += BLOCK_ROWS) {
                block.rows = HONE_MIN(rows - block.row, (size_t)BLOCK_ROWS);
                if (hone_segments_mine(job->ctx, before, job->score_count))
                    fn(job, &block, in, out);
                before += block.rows * columns;
            }
        }
    }
    hone_barrier(job->ctx->team);
}

void hone_naive_attention_multiply(const hone_naive_attention *job,
                                   const hone_naive_product *product) {
    size_t dim = job->args->head_dim, stride = job->args->heads * dim;
    hone_dtype compute = job->ctx->compute;
    hone_matrix w = hone_matrix_dense(
        hone_element_const(product->x, compute, product->x_row * stride + product->head * dim),
        compute, product->x_rows, dim);
    w.row_bytes = stride * hone_element_bytes(compute);
    size_t n = product->by_rows ? product->x_rows : dim,
           k = product->by_rows ? dim : product->x_rows;
    hone_ctx_pack(job->ctx)(&w, product->by_rows, 0, n, 0, k, 1.0f, job->panels);
    hone_gemm gemm = {
        .m = product->rows,
        .n = n,
        .k = k,
        .a = product->a,
        .lda = product->lda,
        .b = job->panels,
        .c = product->c,
        .ldc = product->ldc,
        .c_dtype = product->c_dtype,
    };
    hone_ctx_gemm(job->ctx)(&gemm);
}

/* scores = q k^T */
static void multiply_scores(const hone_naive_attention *job, const hone_naive_block *block,
                            const void *in, void *out) {
    (void)in;
    size_t dim = job->args->head_dim, stride = job->args->heads * dim;
    hone_naive_product product = {
        .rows = block->rows,
        .head = block->head,
        .a =
            hone_element_const(job->q, job->ctx->compute,
                               (block->segment->q_begin + block->row) * stride + block->head * dim),
        .lda = stride,
        .x = job->k,
        .x_row = block->segment->kv_begin,
        .x_rows = block->keys,
        .by_rows = true,
        .c = (float *)out + block->scores + block->row * block->keys,
        .ldc = block->keys,
        .c_dtype = HONE_F32,
    };
    hone_naive_attention_multiply(job, &product);
}

/* The causal mask of one head's matrices, written into every head's: 0 or the lowest float. */
static void add_mask(const hone_naive_attention *job, const hone_naive_block *block, const void *in,
                     void *out) {
    for (size_t r = block->row; r < block->row + block->rows; r++) {
        float *row = (float *)out + block->scores + r * block->keys;
        const float *scores = (const float *)in + block->scores + r * block->keys;
        size_t visible = hone_segment_visible(block->segment, r);
        job->ctx->kernels->scale(visible, 1.0f, scores, HONE_F32, row, HONE_F32, false);
        for (size_t c = visible; c < block->keys; c++) row[c] = -FLT_MAX;
    }
}

static void softmax_rows(const hone_naive_attention *job, const hone_naive_block *block,
                         const void *in, void *out) {
    for (size_t r = block->row; r < block->row + block->rows; r++) {
        size_t at = block->scores + r * block->keys;
        float m = -INFINITY, l = 0, correction;
        if (hone_segment_visible(block->segment, r) == 0) { /* all is masked */
            memset((float *)out + at, 0, block->keys * sizeof(float));
            continue;
        }
        hone_softmax_tile tile = {
            .rows = 1,
            .cols = block->keys,
            .scores = (const float *)in + at,
            .lds = block->keys,
            .valid = &block->keys,
            .scale = 1.0f,
            .p = (float *)out + at,
            .ldp = block->keys,
            .p_dtype = HONE_F32,
            .m = &m,
            .l = &l,
            .correction = &correction,
        };
        job->ctx->kernels->softmax_tile(&tile);
        job->ctx->kernels->scale(block->keys, 1.0f / l, (float *)out + at, HONE_F32,
                                 (float *)out + at, HONE_F32, false);
    }
}

/* out [q_rows, heads, head_dim] by heads: each head's rows lie together. */
static void multiply_values(const hone_naive_attention *job, const hone_naive_block *block,
                            const void *in, void *out) {
    size_t dim = job->args->head_dim, at = block->segment->q_begin * job->args->heads * dim;
    hone_naive_product product = {
        .rows = block->rows,
        .head = block->head,
        .a = hone_element_const(in, job->ctx->compute, block->scores + block->row * block->keys),
        .lda = block->keys,
        .x = job->v,
        .x_row = block->segment->kv_begin,
        .x_rows = block->keys,
        .c = hone_element(out, job->ctx->compute,
                          at + (block->head * block->queries + block->row) * dim),
        .ldc = dim,
        .c_dtype = job->ctx->compute,
    };
    hone_naive_attention_multiply(job, &product);
}

/* From each head's rows together to each row's heads together. */
static void transpose_heads(const hone_naive_attention *job, const hone_naive_block *block,
                            const void *in, void *out) {
    size_t dim = job->args->head_dim, bytes = dim * hone_element_bytes(job->ctx->compute);
    size_t heads = job->args->heads, begin = block->segment->q_begin;
    for (size_t r = block->row; r < block->row + block->rows; r++) {
        memcpy((char *)out + ((begin + r) * heads + block->head) * bytes,
               (const char *)in + (begin * heads + block->head * block->queries + r) * bytes,
               bytes);
    }
}

/* Each kv head copied for every query head of its group: [rows, kv_heads, dim] to [rows, heads, dim]. */
static void repeat_heads(hone_ctx *ctx, const hone_attention_args *args, const void *x, void *y) {
    size_t group = args->heads / args->kv_heads,
           bytes = args->head_dim * hone_element_bytes(ctx->compute);
    size_t begin, end;
    hone_split(ctx->team, args->kv_rows, HONE_PANEL, &begin, &end);
    for (size_t v = begin * args->heads; v < end * args->heads; v++) {
        memcpy((char *)y + v * bytes, (const char *)x + v / group * bytes, bytes);
    }
    hone_barrier(ctx->team);
}

static void *keep(hone_ctx *ctx, hone_saved *saved, int slot, size_t bytes) {
    if (!saved) return hone_arena_scratch(&ctx->arena, bytes);
    return saved->slot[slot] = hone_arena_save(&ctx->arena, bytes);
}

/* q and k rotated, k and v repeated: new tensors where something is to be done. */
static void prepare(hone_naive_attention *job, hone_saved *saved) {
    hone_ctx *ctx = job->ctx;
    const hone_attention_args *args = job->args;
    size_t head_bytes = args->head_dim * hone_element_bytes(ctx->compute);
    bool grouped = args->heads != args->kv_heads;
    void *q = args->q, *k = args->k, *v = (void *)(uintptr_t)args->v;
    if (args->cos) q = keep(ctx, saved, HONE_NAIVE_Q, args->q_rows * args->heads * head_bytes);
    if (args->cos || grouped)
        k = keep(ctx, saved, HONE_NAIVE_K, args->kv_rows * args->heads * head_bytes);
    if (grouped) v = keep(ctx, saved, HONE_NAIVE_V, args->kv_rows * args->heads * head_bytes);
    if (saved) {
        saved->slot[HONE_NAIVE_Q] = q;
        saved->slot[HONE_NAIVE_K] = k;
        saved->slot[HONE_NAIVE_V] = v;
    }
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    void *rotated = args->k;
    if (args->cos) {
        hone_naive_rotation rotation = {
            .rows = args->q_rows,
            .heads = args->heads,
            .head_dim = args->head_dim,
            .rope_dim = args->rope_dim,
            .positions = args->positions,
            .cos = args->cos,
            .sin = args->sin,
            .interleaved = args->interleaved,
        };
        hone_naive_gather_angles(ctx, &rotation);
        hone_naive_rotate(ctx, &rotation, args->q, q);
        rotated = grouped
                      ? hone_arena_scratch(&ctx->arena, args->kv_rows * args->kv_heads * head_bytes)
                      : k;
        rotation.heads = args->kv_heads;
        hone_naive_rotate(ctx, &rotation, args->k, rotated);
    }
    if (grouped && !hone_ctx_planning(ctx)) {
        repeat_heads(ctx, args, rotated, k);
        repeat_heads(ctx, args, args->v, v);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
    job->q = q;
    job->k = k;
    job->v = v;
}

void hone_naive_attention_with_rope_forward(hone_ctx *ctx, const hone_attention_args *args,
                                            hone_saved *saved) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_naive_attention job = hone_naive_attention_begin(ctx, args);
    bool run = !hone_ctx_planning(ctx);
    size_t count = job.score_count, o_bytes = args->q_rows * args->heads * args->head_dim;
    prepare(&job, saved);
    hone_arena_mark before = hone_arena_get_mark(&ctx->arena);
    float *masked = hone_arena_scratch(&ctx->arena,
                                       count * sizeof *masked); /* the product first, then masked */
    hone_arena_mark second = hone_arena_get_mark(&ctx->arena);
    float *scaled = hone_arena_scratch(&ctx->arena, count * sizeof *scaled);
    if (run) {
        hone_naive_each_block(&job, false, multiply_scores, NULL, masked);
        hone_naive_scale(ctx, count, 1.0f / sqrtf((float)args->head_dim), masked, HONE_F32, scaled,
                         HONE_F32);
        hone_naive_each_block(&job, false, add_mask, scaled, masked);
    }
    hone_arena_release_scratch(&ctx->arena, second);
    float *p = keep(ctx, saved, HONE_NAIVE_P, count * sizeof *p);
    if (run) hone_naive_each_block(&job, false, softmax_rows, masked, p);
    if (saved) hone_arena_release_scratch(&ctx->arena, before);
    void *p_compute = p;
    if (ctx->compute != HONE_F32) {
        p_compute =
            keep(ctx, saved, HONE_NAIVE_P_COMPUTE, count * hone_element_bytes(ctx->compute));
        if (run) hone_convert(ctx, count, p, HONE_F32, p_compute, ctx->compute);
    }
    if (saved) saved->slot[HONE_NAIVE_P_COMPUTE] = p_compute;
    void *by_heads = hone_arena_scratch(&ctx->arena, o_bytes * hone_element_bytes(ctx->compute));
    if (run) {
        hone_naive_each_block(&job, false, multiply_values, p_compute, by_heads);
        hone_segments_zero_gaps(ctx, args, false, args->o,
                                args->heads * args->head_dim * hone_element_bytes(ctx->compute));
        hone_naive_each_block(&job, false, transpose_heads, by_heads, args->o);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
