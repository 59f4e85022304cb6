/* kernels/matrix: descriptors of matrices, sizes of packed ones, and tiles. Layer kernels. */
#include "base/size.h"
#include "kernels/kernels.h"

#include <assert.h>
#include <string.h>

hone_matrix hone_matrix_dense(const void *data, hone_dtype dtype, size_t rows, size_t cols) {
    return (hone_matrix){.data = data,
                         .rows = rows,
                         .cols = cols,
                         .row_bytes = cols * hone_dtype_block_bytes(dtype),
                         .dtype = dtype};
}

size_t hone_pack_bytes(hone_dtype compute, size_t n, size_t k) {
    size_t panels = HONE_CEIL_DIV(n, HONE_PANEL);
    if (compute == HONE_F32) return panels * k * HONE_PANEL * sizeof(float);
    return panels * hone_panel_bytes_bf16(k);
}

size_t hone_tiles_bytes(const hone_matrix *w) {
    if (w->dtype != HONE_Q4_0 && w->dtype != HONE_Q4_1) return 0;
    return w->rows / HONE_TILE_ROWS * HONE_TILE_ROWS * (w->cols / hone_dtype_block(w->dtype)) *
           hone_dtype_block_bytes(w->dtype);
}

/* One block of a tile from the same block of its rows, the first at `from`. */
static uint8_t *fill_block(const uint8_t *from, size_t row_bytes, size_t scales, uint8_t *to) {
    enum { GROUPS = 4, GROUP_BYTES = 4 };
    for (size_t s = 0; s < scales; s++) {
        for (size_t r = 0; r < HONE_TILE_ROWS; r++, to += sizeof(hone_f16))
            memcpy(to, from + r * row_bytes + s * sizeof(hone_f16), sizeof(hone_f16));
    }
    from += scales * sizeof(hone_f16);
    for (size_t g = 0; g < GROUPS; g++) {
        for (size_t r = 0; r < HONE_TILE_ROWS; r++, to += GROUP_BYTES)
            memcpy(to, from + r * row_bytes + g * GROUP_BYTES, GROUP_BYTES);
    }
    return to;
}

void hone_tiles_fill(const hone_matrix *w, size_t begin, size_t end, void *tiles) {
    const size_t bytes = hone_dtype_block_bytes(w->dtype), scales = w->dtype == HONE_Q4_1 ? 2 : 1;
    const size_t blocks = w->cols / hone_dtype_block(w->dtype);
    assert(end * HONE_TILE_ROWS * blocks * bytes <= hone_tiles_bytes(w));
    uint8_t *to = (uint8_t *)tiles + begin * HONE_TILE_ROWS * blocks * bytes;
    for (size_t tile = begin; tile < end; tile++) {
        const uint8_t *from = (const uint8_t *)w->data + tile * HONE_TILE_ROWS * w->row_bytes;
        for (size_t block = 0; block < blocks; block++, from += bytes)
            to = fill_block(from, w->row_bytes, scales, to);
    }
}
