/* ops/fused/attention_backward: recomputes the probabilities tile by tile from the kept log-sum-exp. Layer ops.
 *
 * With P = softmax(scale q k^T) and dP = dO V^T:  dS = P * (dP - rowsum(dO * O)) * scale,
 *   dQ = dS K,  dK = dS^T Q,  dV = P^T dO,  then q's and k's gradients are rotated back.
 * A work item is one query head of one segment. It owns a float32 partial of dK and dV, so that items never meet;
 * the partials of the heads that share a kv head are summed in the order of the heads.
 */
#include "ops/fused/attention.h"

#include "ops/fused/fused.h"

#include <math.h>

enum { LSE };

#define KV_TILE HONE_ATTENTION_KV_TILE
#define LD HONE_ATTENTION_LD
#define Q_TILE 64
#define SUM_ROWS 64

typedef struct backward_job {
    hone_ctx *ctx;
    const hone_attention_args *args;
    const float *lse;
    hone_attention_panels k_columns, v_columns, k_depths; /* B of q k^T, of dO V^T, of dS K */
    float *dk, *dv;                                       /* [heads][kv_rows][head_dim] partials */
    /* one thread's */
    float *scores, *dp;              /* [Q_TILE, LD] */
    void *p, *ds, *p_turned, *ds_turned; /* [Q_TILE, LD] and [KV_TILE, Q_TILE], compute type */
    void *q_panels, *do_panels;      /* B of dS^T q and of P^T dO */
    float *dq;                       /* [Q_TILE, head_dim] */
    float delta[Q_TILE];
    size_t valid[Q_TILE];
} backward_job;

/* One tile of query rows of one head. */
typedef struct backward_tile {
    const hone_segment *segment;
    size_t head, kv_head, q, rows; /* first row counted from q_begin, rows <= Q_TILE */
    size_t start;                  /* the segment's first packed row */
    size_t offset;                 /* of the tile in q, o and their gradients, elements */
} backward_tile;

static void multiply(const backward_job *job, size_t m, size_t n, size_t k, const void *a, size_t lda, const void *b,
                     size_t b_depth, float *c, size_t ldc, bool accumulate) {
    hone_gemm product = {
        .m = m, .n = n, .k = k, .a = a, .lda = lda, .b = b, .b_depth = b_depth,
        .c = c, .ldc = ldc, .c_dtype = HONE_F32, .accumulate = accumulate,
    };
    hone_ctx_gemm(job->ctx)(&product);
}

/* P and dS of the tile's rows and the keys [kv, kv+n). */
static void tile_gradient_of_scores(backward_job *job, const backward_tile *tile, size_t kv, size_t n) {
    const hone_ctx *ctx = job->ctx;
    const hone_attention_args *args = job->args;
    size_t stride = args->heads * args->head_dim, dim = args->head_dim;
    size_t columns = HONE_CEIL_DIV(n, HONE_PANEL) * HONE_PANEL;
    multiply(job, tile->rows, columns, dim, hone_element(args->q, ctx->compute, tile->offset), stride,
             hone_attention_panel(&job->k_columns, tile->kv_head, tile->start, kv), 0, job->scores, LD, false);
    multiply(job, tile->rows, columns, dim, hone_element_const(args->d_o, ctx->compute, tile->offset), stride,
             hone_attention_panel(&job->v_columns, tile->kv_head, tile->start, kv), 0, job->dp, LD, false);
    for (size_t r = 0; r < tile->rows; r++) {
        size_t visible = hone_segment_visible(tile->segment, tile->q + r);
        job->valid[r] = visible > kv ? HONE_MIN(visible - kv, n) : 0;
    }
    hone_softmax_again again = {
        .rows = tile->rows,
        .cols = n,
        .scores = job->scores,
        .lds = LD,
        .valid = job->valid,
        .scale = 1.0f / sqrtf((float)dim),
        .lse = job->lse + tile->head * args->q_rows + tile->segment->q_begin + tile->q,
        .p = job->p,
        .dp = job->dp,
        .delta = job->delta,
        .ds = job->ds,
        .ldp = LD,
        .out_dtype = ctx->compute,
    };
    ctx->kernels->softmax_again(&again);
}

/* Adds the keys [kv, kv+n)'s part to dQ, dK and dV. */
static void tile_gradients(backward_job *job, const backward_tile *tile, size_t kv, size_t n) {
    const hone_ctx *ctx = job->ctx;
    size_t dim = job->args->head_dim;
    size_t keys = hone_segment_keys(tile->segment);
    size_t depth = HONE_MIN(keys - kv, (size_t)KV_TILE); /* as packed */
    size_t partial = (tile->head * job->args->kv_rows + tile->segment->kv_begin + kv) * dim;
    multiply(job, tile->rows, dim, n, job->ds, LD,
             hone_attention_panel(&job->k_depths, tile->kv_head, tile->start, kv), depth, job->dq, dim, kv > 0);
    ctx->kernels->transpose(tile->rows, n, job->p, LD, job->p_turned, Q_TILE, ctx->compute);
    multiply(job, n, dim, tile->rows, job->p_turned, Q_TILE, job->do_panels, 0, job->dv + partial, dim, true);
    ctx->kernels->transpose(tile->rows, n, job->ds, LD, job->ds_turned, Q_TILE, ctx->compute);
    multiply(job, n, dim, tile->rows, job->ds_turned, Q_TILE, job->q_panels, 0, job->dk + partial, dim, true);
}

static void pack_rows(const backward_job *job, const void *x, size_t rows, void *panels) {
    const hone_attention_args *args = job->args;
    hone_matrix w = hone_matrix_dense(x, job->ctx->compute, rows, args->head_dim);
    w.row_bytes = args->heads * args->head_dim * hone_element_bytes(job->ctx->compute);
    hone_ctx_pack(job->ctx)(&w, false, 0, args->head_dim, 0, rows, 1.0f, panels);
}

static void backward_one(backward_job *job, const backward_tile *tile) {
    const hone_ctx *ctx = job->ctx;
    const hone_attention_args *args = job->args;
    size_t stride = args->heads * args->head_dim, dim = args->head_dim;
    size_t row = tile->segment->q_begin + tile->q;
    size_t visible = hone_segment_visible(tile->segment, tile->q + tile->rows - 1);
    for (size_t r = 0; r < tile->rows; r++) {
        size_t at = tile->offset + r * stride;
        job->delta[r] = (float)ctx->kernels->dot(dim, hone_element_const(args->d_o, ctx->compute, at), ctx->compute,
                                                 hone_element_const(args->o, ctx->compute, at), ctx->compute);
    }
    pack_rows(job, hone_element(args->q, ctx->compute, tile->offset), tile->rows, job->q_panels);
    pack_rows(job, hone_element_const(args->d_o, ctx->compute, tile->offset), tile->rows, job->do_panels);
    if (visible == 0) memset(job->dq, 0, tile->rows * dim * sizeof(float));
    for (size_t kv = 0; kv < visible; kv += KV_TILE) {
        size_t n = HONE_MIN(visible - kv, (size_t)KV_TILE);
        tile_gradient_of_scores(job, tile, kv, n);
        tile_gradients(job, tile, kv, n);
    }
    hone_attention_rotate(ctx, args, row, tile->rows, job->dq, dim, HONE_F32, true);
    for (size_t r = 0; r < tile->rows; r++) {
        ctx->kernels->scale(dim, 1.0f, job->dq + r * dim, HONE_F32,
                            hone_element(args->dq, ctx->compute, tile->offset + r * stride), ctx->compute, false);
    }
}

/* All query tiles of one head of one segment. */
static void backward_item(backward_job *job, const hone_segment *segment, size_t head, size_t start) {
    const hone_attention_args *args = job->args;
    size_t dim = args->head_dim, queries = hone_segment_queries(segment);
    size_t first = (head * args->kv_rows + segment->kv_begin) * dim;
    size_t count = hone_segment_keys(segment) * dim;
    memset(job->dk + first, 0, count * sizeof *job->dk);
    memset(job->dv + first, 0, count * sizeof *job->dv);
    for (size_t q = 0; q < queries; q += Q_TILE) {
        backward_tile tile = {
            .segment = segment,
            .head = head,
            .kv_head = head / (args->heads / args->kv_heads),
            .q = q,
            .rows = HONE_MIN(queries - q, (size_t)Q_TILE),
            .start = start,
            .offset = (segment->q_begin + q) * args->heads * dim + head * dim,
        };
        backward_one(job, &tile);
    }
}

static size_t item_cost(const hone_segment *segment) {
    size_t keys = hone_segment_keys(segment);
    return 1 + (keys + 64) * (hone_segment_queries(segment));
}

static void backward_items(backward_job *job) {
    const hone_attention_args *args = job->args;
    size_t total = 0, before = 0, start = 0;
    for (size_t s = 0; s < args->segment_count; s++) total += item_cost(&args->segments[s]) * args->heads;
    for (size_t s = 0; s < args->segment_count; s++) {
        const hone_segment *segment = &args->segments[s];
        for (size_t head = 0; head < args->heads; head++) {
            bool mine = hone_segments_mine(job->ctx, before + item_cost(segment) / 2, total);
            before += item_cost(segment);
            if (mine) backward_item(job, segment, head, start);
        }
        start += hone_attention_padded(hone_segment_keys(segment));
    }
}

/* Sums the heads' partials of rows [row, row+rows) of one kv head, rotates them back where asked, writes them. */
static void sum_partials(backward_job *job, const float *partials, size_t kv_head, size_t row, size_t rows,
                         bool rotate, void *out) {
    const hone_ctx *ctx = job->ctx;
    const hone_attention_args *args = job->args;
    size_t dim = args->head_dim, group = args->heads / args->kv_heads, stride = args->kv_heads * dim;
    const float *part = partials + (kv_head * group * args->kv_rows + row) * dim;
    float *sum = job->scores; /* [SUM_ROWS, head_dim] */
    ctx->kernels->scale(rows * dim, 1.0f, part, HONE_F32, sum, HONE_F32, false);
    for (size_t h = 1; h < group; h++) {
        ctx->kernels->add(rows * dim, sum, HONE_F32, part + h * args->kv_rows * dim, HONE_F32, sum, HONE_F32);
    }
    if (rotate) hone_attention_rotate(ctx, args, row, rows, sum, dim, HONE_F32, true);
    for (size_t r = 0; r < rows; r++) {
        ctx->kernels->scale(dim, 1.0f, sum + r * dim, HONE_F32,
                            hone_element(out, ctx->compute, (row + r) * stride + kv_head * dim), ctx->compute, false);
    }
}

static void sum_all_partials(backward_job *job) {
    const hone_attention_args *args = job->args;
    size_t piece = 0;
    for (size_t s = 0; s < args->segment_count; s++) {
        const hone_segment *segment = &args->segments[s];
        for (size_t row = segment->kv_begin; row < segment->kv_end; row += SUM_ROWS) {
            size_t rows = HONE_MIN(segment->kv_end - row, (size_t)SUM_ROWS);
            if ((int)(piece++ % (size_t)job->ctx->team.size) != job->ctx->team.rank) continue;
            for (size_t head = 0; head < args->kv_heads; head++) {
                sum_partials(job, job->dk, head, row, rows, true, args->dk);
                sum_partials(job, job->dv, head, row, rows, false, args->dv);
            }
        }
    }
}

static void take_scratch(backward_job *job) {
    hone_ctx *ctx = job->ctx;
    const hone_attention_args *args = job->args;
    size_t dim = args->head_dim, partials = args->heads * args->kv_rows * dim * sizeof(float);
    size_t tile = Q_TILE * LD * hone_element_bytes(ctx->compute);
    job->k_columns = hone_attention_take_panels(ctx, args, true);
    job->v_columns = hone_attention_take_panels(ctx, args, true);
    job->k_depths = hone_attention_take_panels(ctx, args, false);
    job->dk = hone_arena_scratch(&ctx->arena, partials);
    job->dv = hone_arena_scratch(&ctx->arena, partials);
    job->scores = hone_ctx_scratch_each(ctx, HONE_MAX(Q_TILE * LD, SUM_ROWS * dim) * sizeof(float));
    job->dp = hone_ctx_scratch_each(ctx, Q_TILE * LD * sizeof(float));
    job->p = hone_ctx_scratch_each(ctx, tile);
    job->ds = hone_ctx_scratch_each(ctx, tile);
    job->p_turned = hone_ctx_scratch_each(ctx, tile);
    job->ds_turned = hone_ctx_scratch_each(ctx, tile);
    job->q_panels = hone_ctx_scratch_each(ctx, hone_pack_bytes(ctx->compute, dim, Q_TILE));
    job->do_panels = hone_ctx_scratch_each(ctx, hone_pack_bytes(ctx->compute, dim, Q_TILE));
    job->dq = hone_ctx_scratch_each(ctx, Q_TILE * dim * sizeof(float));
}

void hone_fused_attention_with_rope_backward(hone_ctx *ctx, const hone_attention_args *args,
                                             const hone_saved *saved) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    backward_job job = {.ctx = ctx, .args = args, .lse = saved->slot[LSE]};
    take_scratch(&job);
    if (!hone_ctx_planning(ctx)) {
        hone_attention_panels k_panels[2] = {job.k_columns, job.k_depths};
        hone_attention_pack(ctx, args, args->k, false, k_panels, 2);
        hone_attention_pack(ctx, args, (void *)(uintptr_t)args->v, false, &job.v_columns, 1);
        size_t head_bytes = args->head_dim * hone_element_bytes(ctx->compute);
        hone_segments_zero_gaps(ctx, args, false, args->dq, args->heads * head_bytes);
        hone_segments_zero_gaps(ctx, args, true, args->dk, args->kv_heads * head_bytes);
        hone_segments_zero_gaps(ctx, args, true, args->dv, args->kv_heads * head_bytes);
        hone_barrier(ctx->team);
        backward_items(&job);
        hone_barrier(ctx->team);
        sum_all_partials(&job);
        hone_barrier(ctx->team);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
