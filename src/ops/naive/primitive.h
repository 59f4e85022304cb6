/* ops/naive/primitive: passes over whole tensors, one primitive each, as an eager framework runs them: split over the
 * team, vectorized, ending with a barrier. Layer ops, private to the baseline set. None runs while planning. */
#ifndef HONE_OPS_NAIVE_PRIMITIVE_H
#define HONE_OPS_NAIVE_PRIMITIVE_H

#include "ops/internal.h"

/* y[r, :] = alpha[r] * x[r, :] */
void hone_naive_scale_rows(hone_ctx *ctx, size_t rows, size_t cols, const float *x,
                           const float *alpha, float *y);

/* y[r, :] = x[r, :] * gamma */
void hone_naive_multiply_rows(hone_ctx *ctx, size_t rows, size_t cols, const void *x,
                              hone_dtype x_dtype, const float *gamma, void *y, hone_dtype y_dtype);

/* y = x * b, element by element */
void hone_naive_multiply(hone_ctx *ctx, size_t n, const void *x, hone_dtype x_dtype, const float *b,
                         float *y);

/* y = alpha * x */
void hone_naive_scale(hone_ctx *ctx, size_t n, float alpha, const void *x, hone_dtype x_dtype,
                      void *y, hone_dtype y_dtype);

/* y = a + b of one dtype; y may be a */
void hone_naive_add(hone_ctx *ctx, size_t n, const void *a, const void *b, void *y,
                    hone_dtype dtype);

/* sum[r] = sum of x[r, :] */
void hone_naive_sum_rows(hone_ctx *ctx, size_t rows, size_t cols, const float *x, float *sum);

/* sum[:] += x[r, :], rows in order */
void hone_naive_sum_columns(hone_ctx *ctx, size_t rows, size_t cols, const float *x, float *sum);

/* The rotary embedding as x * cos + rotate_half(x) * sin, each product and the rotation with a buffer of its own
 * (scratch); `inverse` runs its gradient. x, y: [rows, heads, head_dim], compute type. Takes memory while planning.
 *
 * hone_naive_gather_angles comes first: it gathers cos and sin of every row, for all rotations of the same rows. */
typedef struct hone_naive_rotation {
    size_t rows, heads, head_dim, rope_dim;
    const int32_t *positions;
    const float *cos, *sin;
    bool interleaved, inverse;
    const float *row_cos, *row_sin; /* [rows, head_dim], gathered, in scratch */
} hone_naive_rotation;
void hone_naive_gather_angles(hone_ctx *ctx, hone_naive_rotation *rotation);
void hone_naive_rotate(hone_ctx *ctx, const hone_naive_rotation *rotation, const void *x, void *y);

#endif
