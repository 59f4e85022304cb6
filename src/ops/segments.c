/* ops/segments: rows that no segment holds. Layer ops. */
#include "ops/segments.h"

#define ROW_GRAIN 16

void hone_segments_zero_gaps(hone_ctx *ctx, const hone_attention_args *args, bool keys, void *x,
                             size_t row_bytes) {
    size_t rows = keys ? args->kv_rows : args->q_rows, gap = 0;
    size_t begin, end;
    hone_split(ctx->team, rows, ROW_GRAIN, &begin, &end);
    for (size_t s = 0; s <= args->segment_count; s++) {
        size_t gap_end = rows, next = rows;
        if (s < args->segment_count) {
            gap_end = keys ? args->segments[s].kv_begin : args->segments[s].q_begin;
            next = keys ? args->segments[s].kv_end : args->segments[s].q_end;
        }
        size_t from = HONE_MAX(gap, begin), to = HONE_MIN(gap_end, end);
        if (from < to) memset((char *)x + from * row_bytes, 0, (to - from) * row_bytes);
        gap = next;
    }
}
