/* kernels/vec/unpack: elements of a weight matrix as floats, shared by unpack.c and pack.c. */
#ifndef HONE_KERNELS_VEC_UNPACK_H
#define HONE_KERNELS_VEC_UNPACK_H

#include "kernels/vec/vec.h"

/* hone_unpack_fn with every element multiplied by `scale` before it is rounded. */
void HONE_VEC_NAME(unpack_scaled)(const hone_matrix *w, size_t row, size_t col, size_t count,
                                  float scale, hone_dtype out, void *dst);

#endif
