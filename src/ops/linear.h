/* ops/linear: products that the linear layers of both sets are made of. Layer ops; not for other
 * layers. */
#ifndef HONE_OPS_LINEAR_H
#define HONE_OPS_LINEAR_H

#include "ops/internal.h"

/* y [rows, n] = x [rows, k] op(w) + bias (NULL: none). */
void hone_linear_product(hone_ctx *ctx, size_t rows, const void *x, size_t k, const hone_matrix *w,
                         bool by_rows, const float *bias, size_t n, void *y, hone_dtype y_dtype);

/* y [cols, rows] = x [rows, cols] transposed, compute type, split over the team. */
void hone_linear_transpose(hone_ctx *ctx, size_t rows, size_t cols, const void *x, void *y);

/* dw [m, n] (float32) += u^T v for u [rows, m] and v [rows, n] of the compute type. */
void hone_linear_add_outer(hone_ctx *ctx, size_t rows, const void *u, size_t m, const void *v,
                           size_t n, float *dw);

/* The same for a thin v (n small): computed as (v^T u)^T, without packing the wide operand where n is an ordinary
 * rank. `scale` multiplies the sum. */
void hone_linear_add_thin(hone_ctx *ctx, size_t rows, const void *u, size_t m, const void *v,
                          size_t n, float scale, float *dw);

/* The transposed sum: dw [n, m] += scale * v^T u, v thin. */
void hone_linear_add_thin_rows(hone_ctx *ctx, size_t rows, const void *u, size_t m, const void *v,
                               size_t n, float scale, float *dw);

/* db [n] (float32) += the sum of the rows of dy [rows, n], compute type. */
void hone_linear_add_columns(hone_ctx *ctx, size_t rows, const void *dy, size_t n, float *db);

#endif
