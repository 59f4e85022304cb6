/* kernels/matrix: descriptors of matrices and sizes of packed ones. Layer kernels. */
#include "base/size.h"
#include "kernels/kernels.h"

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
    size_t depth = HONE_CEIL_DIV(k, HONE_PANEL_DEPTH) * HONE_PANEL_DEPTH;
    return panels * depth * HONE_PANEL * sizeof(hone_bf16);
}
