/* ops/fused/attention: what forward and backward of the fused attention share: how keys and values are packed, how
 * work is shared out. Layer ops, private to attention.c and attention_backward.c.
 *
 * A segment's key rows are cut into tiles of KV_TILE. Each tile of each kv head is packed as gemm operands, once, by
 * one thread, for all heads and query tiles. Segments start at multiples of 32 packed rows, which makes the bytes of
 * a packed tile proportional to its rows.
 */
#ifndef HONE_OPS_FUSED_ATTENTION_H
#define HONE_OPS_FUSED_ATTENTION_H

#include "ops/segments.h"

#define HONE_ATTENTION_KV_TILE 512
/* Elements from row to row of a tile: a power of two would send all rows to few sets of a cache. */
#define HONE_ATTENTION_LD (HONE_ATTENTION_KV_TILE + 32)

/* Packed rows of `rows` key rows. */
static inline size_t hone_attention_padded(size_t rows) {
    return HONE_CEIL_DIV(rows, HONE_PANEL_DEPTH) * HONE_PANEL_DEPTH;
}

/* The keys or values of all kv heads as gemm operands. */
typedef struct hone_attention_panels {
    char *data;       /* [kv_heads][packed rows] */
    size_t rows;      /* packed rows, all segments */
    size_t row_bytes; /* of one packed row */
    bool by_rows;     /* true: B[k][n] = x[n][k], rows are columns of B; false: rows are depths */
} hone_attention_panels;

hone_attention_panels hone_attention_take_panels(hone_ctx *ctx, const hone_attention_args *args,
                                                 bool by_rows);

/* The panels of rows [row, ...) of a segment that starts at packed row `start`; row a multiple of KV_TILE. */
static inline char *hone_attention_panel(const hone_attention_panels *panels, size_t kv_head,
                                         size_t start, size_t row) {
    return panels->data + (kv_head * panels->rows + start + row) * panels->row_bytes;
}

/* Packs every tile of x [kv_rows, kv_heads, head_dim] into each of `panels`, the tiles split over the team. When
 * `rotate`, x is k and is rotated in place first. No barrier. */
void hone_attention_pack(hone_ctx *ctx, const hone_attention_args *args, void *x, bool rotate,
                         const hone_attention_panels *panels, size_t panel_count);

/* Rotates, in place, `part`'s rows, heads and x (x_stride, dtype, inverse), whose first row is `first_row`; the rest of
 * `part` is filled in. Nothing where there is no rotary embedding. */
void hone_attention_rotate(const hone_ctx *ctx, const hone_attention_args *args, size_t first_row,
                           hone_rope part);

#endif
