/* ops/segments: what every attention needs to know about segments. Layer ops, private to the sets. */
#ifndef HONE_OPS_SEGMENTS_H
#define HONE_OPS_SEGMENTS_H

#include "ops/internal.h"

static inline size_t hone_segment_queries(const hone_segment *segment) {
    return segment->q_end - segment->q_begin;
}
static inline size_t hone_segment_keys(const hone_segment *segment) {
    return segment->kv_end - segment->kv_begin;
}

/* Keys that query row `q` (counted from q_begin) sees: always the first ones of the segment. */
static inline size_t hone_segment_visible(const hone_segment *segment, size_t q) {
    size_t keys = hone_segment_keys(segment), later = hone_segment_queries(segment) - 1 - q;
    return keys > later ? keys - later : 0;
}

/* Sets the rows of x that belong to no segment to zero: x has `keys` ? kv_rows : q_rows rows of `row_bytes`. Split
 * over the team, no barrier. */
void hone_segments_zero_gaps(hone_ctx *ctx, const hone_attention_args *args, bool keys, void *x,
                             size_t row_bytes);

/* The thread that does the piece of work that starts after `before` of `total` units: pieces of unlike size, in
 * order, each thread about the same amount. */
static inline bool hone_segments_mine(const hone_ctx *ctx, size_t before, size_t total) {
    int owner = total > 0 ? (int)((double)before / (double)total * ctx->team.size) : 0;
    /* A piece of no units may be the last one: nothing is left for it to start before. */
    return HONE_MIN(owner, ctx->team.size - 1) == ctx->team.rank;
}

#endif
