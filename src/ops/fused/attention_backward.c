/* ops/fused/attention_backward: recomputes the probabilities tile by tile from the kept log-sum-exp. Layer ops.
 *
 * With P = softmax(scale q k^T) and dP = dO V^T:  dS = P * (dP - rowsum(dO * O)) * scale,
 *   dQ = dS K,  dK = dS^T Q,  dV = P^T dO,  then q's and k's gradients are rotated back.
 *
 * A work item is a run of query tiles of one kv head of one segment, the query heads of its group together: their
 * rows are stacked, which sums the group inside the products. Each item has float32 partials of its own, so that
 * items never meet; they are summed in order afterwards. The partials are those of dK^T and dV^T: there P and dS are
 * the packed operand, and packing pairs of rows costs half of what turning the tile around would.
 */
#include "ops/fused/attention.h"

#include "ops/fused/fused.h"

#include <math.h>

enum { LSE };

#define KV_TILE HONE_ATTENTION_KV_TILE
#define LD HONE_ATTENTION_LD
#define STACK 4           /* query heads whose rows are stacked, at most */
#define STACK_ROWS 128    /* rows of a stacked tile, at most */
#define CHUNK_QUERIES 256 /* a segment has an item for every so many queries, */
#define MOST_CHUNKS 4     /* at most so many: each costs partials of its own */
#define SUM_ROWS 64
#define TILE_COST 128 /* what a tile takes beside its keys, in keys */

/* The query rows [q, q_end) of one kv head of one segment, and its partials. */
typedef struct backward_item {
    const hone_segment *segment;
    size_t kv_head, q, q_end; /* counted from q_begin, whole tiles */
    size_t start;             /* the segment's first packed row */
    size_t keys, ld; /* keys that any of the rows sees; elements from row to row of the partials */
    size_t offset;   /* in the partials */
    size_t cost;
    bool last; /* of its kv head and segment */
} backward_item;

typedef struct backward_job {
    hone_ctx *ctx;
    const hone_attention_args *args;
    const float *lse;
    size_t stack, tile; /* heads stacked; query rows of a tile, of each head */
    hone_attention_panels k_columns, v_columns, k_depths; /* B of q k^T, of dO V^T, of dS K */
    float *dk, *dv;                                       /* each item's [head_dim, ld] */
    /* one thread's */
    float *scores, *dp;         /* [STACK_ROWS, LD] */
    void *p, *ds;               /* [STACK_ROWS, LD], compute type */
    void *panels;               /* P or dS as B of dO^T P and q^T dS */
    void *q_turned, *do_turned; /* [head_dim, LD_TURNED], compute type */
    float *dq;                  /* [STACK_ROWS, head_dim] */
    float delta[STACK_ROWS], tile_lse[STACK_ROWS];
    size_t valid[STACK_ROWS];
} backward_job;

#define LD_TURNED (STACK_ROWS + 32)

/* A tile of query rows of `heads` stacked heads: row r of head h is row h*rows + r. */
typedef struct backward_tile {
    const backward_item *item;
    size_t head, heads, q, rows;
    size_t offset; /* of the first head's first row in q, o and their gradients, elements */
} backward_tile;

typedef void backward_item_fn(backward_job *job, const backward_item *item, size_t before,
                              void *sum);

static size_t keys_seen(const hone_segment *segment, size_t q, size_t q_end) {
    return q < q_end ? hone_segment_visible(segment, q_end - 1) : 0;
}

/* Of the tile from q on, in keys that each of its rows sees. */
static size_t tile_cost(const hone_segment *segment, size_t q) {
    return TILE_COST + hone_segment_visible(segment, q);
}

/* Calls fn for every item in order, with the cost of those before it. The cuts between items depend on the shape
 * alone: each of a segment's chunks costs about the same. Returns the partials' elements. */
static size_t each_item(backward_job *job, backward_item_fn *fn, void *sum) {
    const hone_attention_args *args = job->args;
    size_t before = 0, offset = 0, start = 0;
    for (size_t s = 0; s < args->segment_count; s++) {
        const hone_segment *segment = &args->segments[s];
        size_t queries = hone_segment_queries(segment), total = 0;
        size_t chunks = HONE_MAX(HONE_MIN(queries / CHUNK_QUERIES, (size_t)MOST_CHUNKS), 1);
        for (size_t q = 0; q < queries; q += job->tile) total += tile_cost(segment, q);
        for (size_t head = 0; head < args->kv_heads; head++) {
            size_t q = 0, done = 0;
            for (size_t chunk = 0; chunk < chunks; chunk++) {
                backward_item item = {.segment = segment,
                                      .kv_head = head,
                                      .q = q,
                                      .start = start,
                                      .offset = offset,
                                      .last = chunk + 1 == chunks};
                while (q < queries && done * chunks < total * (chunk + 1)) {
                    item.cost += tile_cost(segment, q);
                    done += tile_cost(segment, q);
                    q = HONE_MIN(q + job->tile, queries);
                }
                item.q_end = q;
                item.keys = item.last ? hone_segment_keys(segment) : keys_seen(segment, item.q, q);
                item.ld = HONE_CEIL_DIV(item.keys, HONE_PANEL) * HONE_PANEL + HONE_PANEL;
                if (fn) fn(job, &item, before, sum);
                before += item.cost;
                offset += item.ld * args->head_dim;
            }
        }
        start += hone_attention_padded(hone_segment_keys(segment));
    }
    return offset;
}

static void add_cost(backward_job *job, const backward_item *item, size_t before, void *sum) {
    (void)job;
    *(size_t *)sum = before + item->cost;
}

static void multiply(const backward_job *job, size_t m, size_t n, size_t k, const void *a,
                     size_t lda, const void *b, size_t b_depth, float *c, size_t ldc,
                     bool accumulate) {
    hone_gemm product = {
        .m = m,
        .n = n,
        .k = k,
        .a = a,
        .lda = lda,
        .b = b,
        .b_depth = b_depth,
        .c = c,
        .ldc = ldc,
        .c_dtype = HONE_F32,
        .accumulate = accumulate,
    };
    hone_ctx_gemm(job->ctx)(&product);
}

/* P and dS of the tile's rows and the keys [kv, kv+n). */
static void tile_gradient_of_scores(backward_job *job, const backward_tile *tile, size_t kv,
                                    size_t n) {
    const hone_ctx *ctx = job->ctx;
    const hone_attention_args *args = job->args;
    const backward_item *item = tile->item;
    size_t stride = args->heads * args->head_dim, dim = args->head_dim;
    size_t columns = HONE_CEIL_DIV(n, HONE_PANEL) * HONE_PANEL;
    for (size_t h = 0; h < tile->heads; h++) {
        size_t at = tile->offset + h * dim, row = h * tile->rows;
        multiply(job, tile->rows, columns, dim, hone_element(args->q, ctx->compute, at), stride,
                 hone_attention_panel(&job->k_columns, item->kv_head, item->start, kv), 0,
                 job->scores + row * LD, LD, false);
        multiply(job, tile->rows, columns, dim, hone_element_const(args->d_o, ctx->compute, at),
                 stride, hone_attention_panel(&job->v_columns, item->kv_head, item->start, kv), 0,
                 job->dp + row * LD, LD, false);
        for (size_t r = 0; r < tile->rows; r++) {
            size_t visible = hone_segment_visible(item->segment, tile->q + r);
            job->valid[row + r] = visible > kv ? HONE_MIN(visible - kv, n) : 0;
        }
    }
    hone_softmax_again again = {
        .rows = tile->heads * tile->rows,
        .cols = n,
        .scores = job->scores,
        .lds = LD,
        .valid = job->valid,
        .scale = 1.0f / sqrtf((float)dim),
        .lse = job->tile_lse,
        .p = job->p,
        .dp = job->dp,
        .delta = job->delta,
        .ds = job->ds,
        .ldp = LD,
        .out_dtype = ctx->compute,
    };
    ctx->kernels->softmax_again(&again);
}

/* partial[:, kv:kv+n] += turned x, x [stacked rows, n] being P or dS. */
static void add_to_partial(const backward_job *job, const backward_tile *tile, size_t kv, size_t n,
                           const void *x, const void *turned, float *partial) {
    size_t rows = tile->heads * tile->rows;
    hone_matrix w = hone_matrix_dense(x, job->ctx->compute, rows, n);
    w.row_bytes = LD * hone_element_bytes(job->ctx->compute);
    hone_ctx_pack(job->ctx)(&w, false, 0, n, 0, rows, 1.0f, job->panels);
    multiply(job, job->args->head_dim, n, rows, turned, LD_TURNED, job->panels, 0,
             partial + tile->item->offset + kv, tile->item->ld, true);
}

/* Adds the keys [kv, kv+n)'s part to dQ, dK and dV. */
static void tile_gradients(const backward_job *job, const backward_tile *tile, size_t kv,
                           size_t n) {
    const backward_item *item = tile->item;
    size_t dim = job->args->head_dim;
    size_t depth = HONE_MIN(hone_segment_keys(item->segment) - kv, (size_t)KV_TILE); /* as packed */
    multiply(job, tile->heads * tile->rows, dim, n, job->ds, LD,
             hone_attention_panel(&job->k_depths, item->kv_head, item->start, kv), depth, job->dq,
             dim, kv > 0);
    add_to_partial(job, tile, kv, n, job->p, job->do_turned, job->dv);
    add_to_partial(job, tile, kv, n, job->ds, job->q_turned, job->dk);
}

/* What the tile's rows need whatever the keys: q^T, dO^T, rowsum(dO * O), the log-sum-exp. */
static void prepare_tile(backward_job *job, const backward_tile *tile) {
    const hone_ctx *ctx = job->ctx;
    const hone_attention_args *args = job->args;
    size_t stride = args->heads * args->head_dim, dim = args->head_dim;
    for (size_t h = 0; h < tile->heads; h++) {
        size_t at = tile->offset + h * dim, row = h * tile->rows;
        const float *lse =
            job->lse + (tile->head + h) * args->q_rows + tile->item->segment->q_begin + tile->q;
        for (size_t r = 0; r < tile->rows; r++) {
            const void *d_o = hone_element_const(args->d_o, ctx->compute, at + r * stride);
            const void *o = hone_element_const(args->o, ctx->compute, at + r * stride);
            job->delta[row + r] = (float)ctx->kernels->dot(dim, d_o, ctx->compute, o, ctx->compute);
            job->tile_lse[row + r] = lse[r];
        }
        ctx->kernels->transpose(tile->rows, dim, hone_element(args->q, ctx->compute, at), stride,
                                hone_element(job->q_turned, ctx->compute, row), LD_TURNED,
                                ctx->compute);
        ctx->kernels->transpose(tile->rows, dim, hone_element_const(args->d_o, ctx->compute, at),
                                stride, hone_element(job->do_turned, ctx->compute, row), LD_TURNED,
                                ctx->compute);
    }
}

/* dQ rotated back and written. */
static void finish_tile(const backward_job *job, const backward_tile *tile) {
    const hone_ctx *ctx = job->ctx;
    const hone_attention_args *args = job->args;
    size_t stride = args->heads * args->head_dim, dim = args->head_dim;
    for (size_t h = 0; h < tile->heads; h++) {
        float *dq = job->dq + h * tile->rows * dim;
        hone_rope part = {.rows = tile->rows,
                          .heads = 1,
                          .x = dq,
                          .x_stride = dim,
                          .dtype = HONE_F32,
                          .inverse = true};
        hone_attention_rotate(ctx, args, tile->item->segment->q_begin + tile->q, part);
        for (size_t r = 0; r < tile->rows; r++) {
            void *to = hone_element(args->dq, ctx->compute, tile->offset + h * dim + r * stride);
            ctx->kernels->scale(dim, 1.0f, dq + r * dim, HONE_F32, to, ctx->compute, false);
        }
    }
}

static void backward_one(backward_job *job, const backward_tile *tile) {
    size_t visible = hone_segment_visible(tile->item->segment, tile->q + tile->rows - 1);
    prepare_tile(job, tile);
    if (visible == 0)
        memset(job->dq, 0, tile->heads * tile->rows * job->args->head_dim * sizeof *job->dq);
    for (size_t kv = 0; kv < visible; kv += KV_TILE) {
        size_t n = HONE_MIN(visible - kv, (size_t)KV_TILE);
        tile_gradient_of_scores(job, tile, kv, n);
        tile_gradients(job, tile, kv, n);
    }
    finish_tile(job, tile);
}

static void run_item(backward_job *job, const backward_item *item, size_t before, void *sum) {
    const hone_attention_args *args = job->args;
    if (!hone_segments_mine(job->ctx, before + item->cost / 2, *(const size_t *)sum)) return;
    size_t dim = args->head_dim, group = args->heads / args->kv_heads;
    memset(job->dk + item->offset, 0, dim * item->ld * sizeof *job->dk);
    memset(job->dv + item->offset, 0, dim * item->ld * sizeof *job->dv);
    for (size_t q = item->q; q < item->q_end; q += job->tile) {
        for (size_t h = 0; h < group; h += job->stack) {
            backward_tile tile = {
                .item = item,
                .head = item->kv_head * group + h,
                .heads = HONE_MIN(group - h, job->stack),
                .q = q,
                .rows = HONE_MIN(item->q_end - q, job->tile),
            };
            tile.offset = (item->segment->q_begin + q) * args->heads * dim + tile.head * dim;
            backward_one(job, &tile);
        }
    }
}

/* One chunk's part of the rows [row, row+rows) of a kv head, added to sum [head_dim, SUM_ROWS]. */
static void add_partial(const backward_job *job, const backward_item *item, const float *partial,
                        size_t row, size_t rows, float *sum) {
    for (size_t d = 0; d < job->args->head_dim && row < item->keys; d++) {
        size_t count = HONE_MIN(rows, item->keys - row);
        job->ctx->kernels->add(count, sum + d * SUM_ROWS, HONE_F32,
                               partial + item->offset + d * item->ld + row, HONE_F32,
                               sum + d * SUM_ROWS, HONE_F32);
    }
}

/* The chunks of one kv head of one segment, as each_item meets them. */
typedef struct chunk_list {
    backward_item items[MOST_CHUNKS];
    size_t count, pieces;
} chunk_list;

static void write_rows(backward_job *job, const chunk_list *chunks, const float *partial,
                       size_t row, size_t rows, bool rotate, void *out) {
    const hone_ctx *ctx = job->ctx;
    const hone_attention_args *args = job->args;
    const backward_item *item = &chunks->items[0];
    size_t dim = args->head_dim, stride = args->kv_heads * dim,
           first = item->segment->kv_begin + row;
    float *sum = job->scores, *turned = job->dp; /* [head_dim, SUM_ROWS], [SUM_ROWS, head_dim] */
    memset(sum, 0, dim * SUM_ROWS * sizeof *sum);
    for (size_t c = 0; c < chunks->count; c++)
        add_partial(job, &chunks->items[c], partial, row, rows, sum);
    ctx->kernels->transpose(dim, rows, sum, SUM_ROWS, turned, dim, HONE_F32);
    hone_rope part = {
        .rows = rows, .heads = 1, .x = turned, .x_stride = dim, .dtype = HONE_F32, .inverse = true};
    if (rotate) hone_attention_rotate(ctx, args, first, part);
    for (size_t r = 0; r < rows; r++) {
        void *to = hone_element(out, ctx->compute, (first + r) * stride + item->kv_head * dim);
        ctx->kernels->scale(dim, 1.0f, turned + r * dim, HONE_F32, to, ctx->compute, false);
    }
}

/* Collects a kv head's chunks; with the last of them, its sums are written, rows dealt out to the team. */
static void sum_item(backward_job *job, const backward_item *item, size_t before, void *sum) {
    chunk_list *chunks = sum;
    (void)before;
    chunks->items[chunks->count++] = *item;
    if (!item->last) return;
    size_t keys = hone_segment_keys(item->segment);
    for (size_t row = 0; row < keys; row += SUM_ROWS) {
        if (chunks->pieces++ % (size_t)job->ctx->team.size != (size_t)job->ctx->team.rank) continue;
        size_t rows = HONE_MIN(keys - row, (size_t)SUM_ROWS);
        write_rows(job, chunks, job->dk, row, rows, true, job->args->dk);
        write_rows(job, chunks, job->dv, row, rows, false, job->args->dv);
    }
    chunks->count = 0;
}

static void take_scratch(backward_job *job) {
    hone_ctx *ctx = job->ctx;
    const hone_attention_args *args = job->args;
    size_t dim = args->head_dim, group = args->heads / args->kv_heads;
    size_t floats = HONE_MAX(STACK_ROWS * LD, SUM_ROWS * dim) * sizeof(float);
    size_t tile = STACK_ROWS * LD * hone_element_bytes(ctx->compute);
    size_t turned = dim * LD_TURNED * hone_element_bytes(ctx->compute);
    job->stack = HONE_MIN(group, (size_t)STACK);
    job->tile = job->stack > 2 ? STACK_ROWS / STACK : STACK_ROWS / 2;
    job->k_columns = hone_attention_take_panels(ctx, args, true);
    job->v_columns = hone_attention_take_panels(ctx, args, true);
    job->k_depths = hone_attention_take_panels(ctx, args, false);
    size_t partials = each_item(job, NULL, NULL) * sizeof(float);
    job->dk = hone_arena_scratch(&ctx->arena, partials);
    job->dv = hone_arena_scratch(&ctx->arena, partials);
    job->scores = hone_ctx_scratch_own(ctx, floats);
    job->dp = hone_ctx_scratch_own(ctx, floats);
    job->p = hone_ctx_scratch_own(ctx, tile);
    job->ds = hone_ctx_scratch_own(ctx, tile);
    job->panels = hone_ctx_scratch_own(ctx, hone_pack_bytes(ctx->compute, KV_TILE, STACK_ROWS));
    job->q_turned = hone_ctx_scratch_own(ctx, turned);
    job->do_turned = hone_ctx_scratch_own(ctx, turned);
    job->dq = hone_ctx_scratch_own(ctx, STACK_ROWS * dim * sizeof(float));
}

void hone_fused_attention_with_rope_backward(hone_ctx *ctx, const hone_attention_args *args,
                                             const hone_saved *saved) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    backward_job job = {.ctx = ctx, .args = args, .lse = saved->slot[LSE]};
    take_scratch(&job);
    if (!hone_ctx_planning(ctx)) {
        size_t head_bytes = args->head_dim * hone_element_bytes(ctx->compute), total = 0;
        hone_attention_panels k_panels[2] = {job.k_columns, job.k_depths};
        hone_attention_pack(ctx, args, args->k, false, k_panels, 2);
        hone_attention_pack(ctx, args, (void *)(uintptr_t)args->v, false, &job.v_columns, 1);
        hone_segments_zero_gaps(ctx, args, false, args->dq, args->heads * head_bytes);
        hone_segments_zero_gaps(ctx, args, true, args->dk, args->kv_heads * head_bytes);
        hone_segments_zero_gaps(ctx, args, true, args->dv, args->kv_heads * head_bytes);
        hone_barrier(ctx->team);
        each_item(&job, add_cost, &total);
        each_item(&job, run_item, &total);
        hone_barrier(ctx->team);
        chunk_list chunks = {.count = 0};
        each_item(&job, sum_item, &chunks);
        hone_barrier(ctx->team);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
