/* ops/fused/attention: softmax(q k^T / sqrt(head_dim)) v by tiles with an online softmax (Dao et al., 2022), so that
 * memory grows with the length and not with its square. Layer ops.
 *
 * q and k are rotated in place on the way; backward finds them rotated. Slot: 0 log-sum-exp [heads, q_rows] float32.
 *
 * One query over a cache (generation) reads keys and values as they lie: packing them would take longer than all the
 * rest.
 */
#include "ops/fused/attention.h"

#include "ops/fused/fused.h"

#include <math.h>

enum { LSE };

#define KV_TILE HONE_ATTENTION_KV_TILE
#define LD HONE_ATTENTION_LD
#define Q_TILE 48
#define ROW_GRAIN 16

hone_attention_panels hone_attention_take_panels(hone_ctx *ctx, const hone_attention_args *args,
                                                 bool by_rows) {
    hone_attention_panels panels = {.by_rows = by_rows};
    for (size_t s = 0; s < args->segment_count; s++) {
        panels.rows += hone_attention_padded(hone_segment_keys(&args->segments[s]));
    }
    size_t unit = HONE_PANEL_DEPTH;
    panels.row_bytes = (by_rows ? hone_pack_bytes(ctx->compute, unit, args->head_dim)
                                : hone_pack_bytes(ctx->compute, args->head_dim, unit)) /
                       unit;
    panels.data = hone_arena_scratch(&ctx->arena, args->kv_heads * panels.rows * panels.row_bytes);
    return panels;
}

void hone_attention_rotate(const hone_ctx *ctx, const hone_attention_args *args, size_t first_row,
                           hone_rope part) {
    if (!args->cos) return;
    part.head_dim = args->head_dim;
    part.rope_dim = args->rope_dim;
    part.y = (void *)(uintptr_t)part.x;
    part.y_stride = part.x_stride;
    part.positions = args->positions + first_row;
    part.cos = args->cos;
    part.sin = args->sin;
    part.interleaved = args->interleaved;
    ctx->kernels->rope(&part);
}

void hone_attention_pack(hone_ctx *ctx, const hone_attention_args *args, void *x, bool rotate,
                         const hone_attention_panels *panels, size_t panel_count) {
    size_t stride = args->kv_heads * args->head_dim;
    size_t total = panels->rows * args->kv_heads, before = 0, start = 0;
    for (size_t s = 0; s < args->segment_count; s++) {
        const hone_segment *segment = &args->segments[s];
        size_t keys = hone_segment_keys(segment);
        for (size_t head = 0; head < args->kv_heads; head++) {
            for (size_t row = 0; row < keys; row += KV_TILE) {
                size_t rows = HONE_MIN(keys - row, (size_t)KV_TILE);
                bool mine = hone_segments_mine(ctx, before, total);
                before += hone_attention_padded(rows);
                if (!mine) continue;
                void *tile = hone_element(
                    x, ctx->compute, (segment->kv_begin + row) * stride + head * args->head_dim);
                if (rotate) {
                    hone_rope part = {.rows = rows,
                                      .heads = 1,
                                      .x = tile,
                                      .x_stride = stride,
                                      .dtype = ctx->compute};
                    hone_attention_rotate(ctx, args, segment->kv_begin + row, part);
                }
                hone_matrix w = hone_matrix_dense(tile, ctx->compute, rows, args->head_dim);
                w.row_bytes = stride * hone_element_bytes(ctx->compute);
                for (size_t p = 0; p < panel_count; p++) {
                    size_t n = panels[p].by_rows ? rows : args->head_dim;
                    size_t k = panels[p].by_rows ? args->head_dim : rows;
                    hone_ctx_pack(ctx)(&w, panels[p].by_rows, 0, n, 0, k, 1.0f,
                                       hone_attention_panel(&panels[p], head, start, row));
                }
            }
        }
        start += hone_attention_padded(keys);
    }
}

/* What one thread needs for a tile of queries. */
typedef struct forward_scratch {
    float *scores; /* [Q_TILE, LD] */
    void *p;       /* [Q_TILE, LD], compute type; scores themselves when that is float32 */
    float *acc;    /* [Q_TILE, head_dim] */
    float *part;   /* [head_dim] what a tile of keys adds to one row of acc */
    float m[Q_TILE], l[Q_TILE], correction[Q_TILE];
    size_t valid[Q_TILE];
} forward_scratch;

/* Query rows of one head that one thread works on together. */
typedef struct forward_tile {
    const hone_segment *segment;
    size_t head, q, rows; /* first row counted from q_begin, rows <= Q_TILE */
    size_t start;         /* the segment's first packed row */
    size_t offset;        /* of row 0 in q and o, elements */
} forward_tile;

static size_t width(const hone_attention_args *args) { return args->heads * args->head_dim; }

/* One query over rotated keys. */
static bool reads_in_place(const hone_attention_args *args) {
    return args->q_rows == 1 && args->segment_count == 1 && !args->cos;
}

/* Keys that row r of the tile sees. */
static size_t tile_visible(const forward_tile *tile, size_t r) {
    return hone_segment_visible(tile->segment, tile->q + r);
}

static void tile_scores(const hone_ctx *ctx, const hone_attention_args *args,
                        const forward_tile *tile, const void *k_panels, size_t kv, size_t n,
                        forward_scratch *scratch) {
    hone_gemm product = {
        .m = tile->rows,
        .n = HONE_CEIL_DIV(n, HONE_PANEL) *
             HONE_PANEL, /* whole panels: what is past n is never looked at */
        .k = args->head_dim,
        .a = hone_element(args->q, ctx->compute, tile->offset),
        .lda = width(args),
        .b = k_panels,
        .c = scratch->scores,
        .ldc = LD,
        .c_dtype = HONE_F32,
    };
    hone_ctx_gemm(ctx)(&product);
    for (size_t r = 0; r < tile->rows; r++) {
        size_t visible = tile_visible(tile, r);
        scratch->valid[r] = visible > kv ? HONE_MIN(visible - kv, n) : 0;
    }
}

/* acc = acc * correction + p V over n keys of a tile of `depth`. */
static void tile_accumulate(const hone_ctx *ctx, const hone_attention_args *args,
                            const forward_tile *tile, const void *v_panels, size_t n, size_t depth,
                            bool first, forward_scratch *scratch) {
    for (size_t r = 0; r < tile->rows && !first; r++) {
        float *row = scratch->acc + r * args->head_dim;
        if (scratch->correction[r] == 1.0f) continue;
        ctx->kernels->scale(args->head_dim, scratch->correction[r], row, HONE_F32, row, HONE_F32,
                            false);
    }
    hone_gemm product = {
        .m = tile->rows,
        .n = args->head_dim,
        .k = n,
        .a = scratch->p,
        .lda = LD,
        .b = v_panels,
        .b_depth = depth,
        .c = scratch->acc,
        .ldc = args->head_dim,
        .c_dtype = HONE_F32,
        .accumulate = !first,
    };
    hone_ctx_gemm(ctx)(&product);
}

/* The same two for one query: `keys` and `values` are the head's rows from the tile's first one on, as they lie. */
static void query_scores(const hone_ctx *ctx, const hone_attention_args *args,
                         const forward_tile *tile, const void *keys, size_t n,
                         forward_scratch *scratch) {
    hone_matrix k = hone_matrix_dense(keys, ctx->compute, n, args->head_dim);
    k.row_bytes *= args->kv_heads;
    hone_dot_rows product = {
        .m = 1,
        .end = n,
        .x = hone_element(args->q, ctx->compute, tile->offset),
        .ldx = args->head_dim,
        .w = &k,
        .x_dtype = ctx->compute,
        .c = scratch->scores,
        .ldc = LD,
        .c_dtype = HONE_F32,
    };
    ctx->kernels->dot_rows(&product);
    scratch->valid[0] = n;
}

static void query_accumulate(const hone_ctx *ctx, const hone_attention_args *args,
                             const void *values, size_t n, bool first, forward_scratch *scratch) {
    hone_thin_outer product = {
        .rows = n,
        .m = 1,
        .end = args->head_dim,
        .thin = scratch->p,
        .wide = values,
        .ld_thin = 1,
        .ld_wide = args->kv_heads * args->head_dim,
        .dtype = ctx->compute,
        .c = first ? scratch->acc : scratch->part,
        .ldc = args->head_dim,
    };
    ctx->kernels->thin_outer(&product);
    if (first) return;
    ctx->kernels->scale(args->head_dim, scratch->correction[0], scratch->acc, HONE_F32,
                        scratch->acc, HONE_F32, false);
    ctx->kernels->add(args->head_dim, scratch->acc, HONE_F32, scratch->part, HONE_F32, scratch->acc,
                      HONE_F32);
}

static void finish_tile(const hone_ctx *ctx, const hone_attention_args *args,
                        const forward_tile *tile, const forward_scratch *scratch, float *lse) {
    size_t first = tile->head * args->q_rows + tile->segment->q_begin + tile->q; /* in lse */
    for (size_t r = 0; r < tile->rows; r++) {
        void *o = hone_element(args->o, ctx->compute, tile->offset + r * width(args));
        if (scratch->l[r] == 0) { /* a query that sees no key */
            memset(o, 0, args->head_dim * hone_element_bytes(ctx->compute));
        } else {
            ctx->kernels->scale(args->head_dim, 1.0f / scratch->l[r],
                                scratch->acc + r * args->head_dim, HONE_F32, o, ctx->compute,
                                false);
        }
        if (lse) lse[first + r] = scratch->m[r] + logf(scratch->l[r]);
    }
}

static void forward_one(const hone_ctx *ctx, const hone_attention_args *args,
                        const forward_tile *tile, const hone_attention_panels *panels,
                        forward_scratch *scratch, float *lse) {
    bool packed = !reads_in_place(args);
    size_t kv_head = tile->head / (args->heads / args->kv_heads);
    size_t keys = hone_segment_keys(tile->segment);
    size_t visible = tile_visible(tile, tile->rows - 1);
    for (size_t r = 0; r < tile->rows; r++) {
        scratch->m[r] = -INFINITY;
        scratch->l[r] = 0;
    }
    for (size_t kv = 0; kv < visible; kv += KV_TILE) {
        size_t n = HONE_MIN(visible - kv, (size_t)KV_TILE);
        size_t depth = HONE_MIN(keys - kv, (size_t)KV_TILE); /* as packed */
        size_t at = ((tile->segment->kv_begin + kv) * args->kv_heads + kv_head) * args->head_dim;
        if (packed)
            tile_scores(ctx, args, tile, hone_attention_panel(&panels[0], kv_head, tile->start, kv),
                        kv, n, scratch);
        else
            query_scores(ctx, args, tile, hone_element_const(args->k, ctx->compute, at), n,
                         scratch);
        hone_softmax_tile softmax = {
            .rows = tile->rows,
            .cols = n,
            .scores = scratch->scores,
            .lds = LD,
            .valid = scratch->valid,
            .scale = 1.0f / sqrtf((float)args->head_dim),
            .p = scratch->p,
            .ldp = LD,
            .p_dtype = ctx->compute,
            .m = scratch->m,
            .l = scratch->l,
            .correction = scratch->correction,
        };
        ctx->kernels->softmax_tile(&softmax);
        if (packed)
            tile_accumulate(ctx, args, tile,
                            hone_attention_panel(&panels[1], kv_head, tile->start, kv), n, depth,
                            kv == 0, scratch);
        else
            query_accumulate(ctx, args, hone_element_const(args->v, ctx->compute, at), n, kv == 0,
                             scratch);
    }
    finish_tile(ctx, args, tile, scratch, lse);
}

/* q in place, whole rows, split over the team. */
static void rotate_queries(const hone_ctx *ctx, const hone_attention_args *args) {
    size_t begin, end;
    hone_split(ctx->team, args->q_rows, ROW_GRAIN, &begin, &end);
    for (size_t s = 0; s < args->segment_count; s++) {
        size_t from = HONE_MAX(begin, args->segments[s].q_begin),
               to = HONE_MIN(end, args->segments[s].q_end);
        if (from >= to) continue;
        hone_rope part = {.rows = to - from,
                          .heads = args->heads,
                          .x = hone_element(args->q, ctx->compute, from * width(args)),
                          .x_stride = width(args),
                          .dtype = ctx->compute};
        hone_attention_rotate(ctx, args, from, part);
    }
}

typedef void forward_tile_fn(const forward_tile *tile, void *argument);

/* Calls fn for every tile; of a head those that see the most keys come first. */
static void each_tile(const hone_attention_args *args, forward_tile_fn *fn, void *argument) {
    size_t start = 0;
    for (size_t s = 0; s < args->segment_count; s++) {
        const hone_segment *segment = &args->segments[s];
        size_t queries = hone_segment_queries(segment);
        for (size_t head = 0; head < args->heads; head++) {
            for (size_t left = HONE_CEIL_DIV(queries, (size_t)Q_TILE); left > 0; left--) {
                size_t q = (left - 1) * Q_TILE;
                forward_tile tile = {.segment = segment,
                                     .head = head,
                                     .q = q,
                                     .rows = HONE_MIN(queries - q, (size_t)Q_TILE),
                                     .start = start};
                tile.offset = (segment->q_begin + q) * width(args) + head * args->head_dim;
                fn(&tile, argument);
            }
        }
        start += hone_attention_padded(hone_segment_keys(segment));
    }
}

typedef struct forward_job {
    const hone_ctx *ctx;
    const hone_attention_args *args;
    const hone_attention_panels *panels;
    forward_scratch *scratch;
    float *lse;
    hone_turns turns;
} forward_job;

static void run_tile(const forward_tile *tile, void *argument) {
    forward_job *job = argument;
    if (!hone_turns_next(&job->turns)) return;
    forward_one(job->ctx, job->args, tile, job->panels, job->scratch, job->lse);
}

void hone_fused_attention_with_rope_forward(hone_ctx *ctx, const hone_attention_args *args,
                                            hone_saved *saved) {
    float *lse = NULL;
    if (saved) {
        saved->slot[LSE] = lse =
            hone_arena_save(&ctx->arena, args->heads * args->q_rows * sizeof *lse);
    }
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_attention_panels panels[2] = {{0}};
    bool packed = !reads_in_place(args);
    for (int p = 0; p < 2 && packed; p++) panels[p] = hone_attention_take_panels(ctx, args, p == 0);
    forward_scratch scratch = {
        .scores = hone_ctx_scratch_own(ctx, Q_TILE * LD * sizeof(float)),
        .acc = hone_ctx_scratch_own(ctx, Q_TILE * args->head_dim * sizeof(float)),
        .part = hone_ctx_scratch_own(ctx, args->head_dim * sizeof(float)),
    };
    scratch.p = scratch.scores;
    if (ctx->compute != HONE_F32)
        scratch.p = hone_ctx_scratch_own(ctx, Q_TILE * LD * sizeof(hone_bf16));
    if (!hone_ctx_planning(ctx)) {
        if (packed) {
            rotate_queries(ctx, args);
            hone_attention_pack(ctx, args, args->k, true, &panels[0], 1);
            hone_attention_pack(ctx, args, (void *)(uintptr_t)args->v, false, &panels[1], 1);
        }
        hone_segments_zero_gaps(ctx, args, false, args->o,
                                width(args) * hone_element_bytes(ctx->compute));
        if (packed) hone_barrier(ctx->team);
        forward_job job = {ctx, args, panels, &scratch, lse, {.team = ctx->team}};
        each_tile(args, run_tile, &job);
        hone_barrier(ctx->team);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
