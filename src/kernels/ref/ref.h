/* kernels/ref: the oracle. The six operations and AdamW, forward and backward, in float64, written
 * to be read: one loop per sum, nothing kept between forward and backward. It is what every variant
 * is compared with, and is never a fallback. Layer: kernels.
 *
 * Arrays are dense and row-major. Gradients are overwritten; a NULL gradient is not wanted. The functions
 * that need room of their own return false when there is no memory.
 */
#ifndef HONE_KERNELS_REF_REF_H
#define HONE_KERNELS_REF_REF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* y = x / sqrt(mean(x^2) + eps) * gamma, row by row. x, y, dy, dx: [rows, hidden]; gamma, dgamma: [hidden]. */
void hone_ref_rms_norm_forward(size_t rows, size_t hidden, const double *x, const double *gamma,
                               double eps, double *y);
void hone_ref_rms_norm_backward(size_t rows, size_t hidden, const double *x, const double *gamma,
                                double eps, const double *dy, double *dx, double *dgamma);

/* Pairs (i, i + rope_dim/2), or (2i, 2i + 1) when interleaved, turned by the angle of the row's position. */
typedef struct hone_ref_rope {
    size_t rows, heads, head_dim, rope_dim;
    const int32_t *positions; /* [rows] */
    const double *cos, *sin;  /* [positions, rope_dim/2] */
    bool interleaved;
} hone_ref_rope;
void hone_ref_rope_forward(const hone_ref_rope *a, const double *x, double *y);
void hone_ref_rope_backward(const hone_ref_rope *a, const double *dy, double *dx);

/* y = x W^T + bias + scale (x A^T) B^T. */
typedef struct hone_ref_linear {
    size_t in, out, rank;   /* rank 0: no adapter */
    const double *w, *bias; /* [out, in]; [out] or NULL */
    double scale;
    const double *a, *b; /* [rank, in], [out, rank] */
} hone_ref_linear;
typedef struct hone_ref_linear_gradients {
    double *dw, *dbias, *da, *db;
} hone_ref_linear_gradients;
bool hone_ref_linear_forward(const hone_ref_linear *l, size_t rows, const double *x, double *y);
bool hone_ref_linear_backward(const hone_ref_linear *l, size_t rows, const double *x,
                              const double *dy, double *dx,
                              const hone_ref_linear_gradients *gradients);

/* h = silu(gate(x)) * up(x). */
bool hone_ref_swiglu_forward(const hone_ref_linear *gate, const hone_ref_linear *up, size_t rows,
                             const double *x, double *h);
bool hone_ref_swiglu_backward(const hone_ref_linear *gate, const hone_ref_linear *up, size_t rows,
                              const double *x, const double *dh, double *dx,
                              const hone_ref_linear_gradients *gate_gradients,
                              const hone_ref_linear_gradients *up_gradients);

/* loss[r] = log sum exp(logits[r]) - logits[r, labels[r]], 0 for label -100. The gradient is that of
 * scale * sum of loss. */
void hone_ref_cross_entropy_forward(size_t rows, size_t vocab, const double *logits,
                                    const int32_t *labels, double *loss);
void hone_ref_cross_entropy_backward(size_t rows, size_t vocab, const double *logits,
                                     const int32_t *labels, double scale, double *dlogits);

/* Causal attention of query rows [q_begin, q_end) to key rows [kv_begin, kv_end); the last query sees all. */
typedef struct hone_ref_segment {
    size_t q_begin, q_end, kv_begin, kv_end;
} hone_ref_segment;
typedef struct hone_ref_attention {
    size_t heads, kv_heads, head_dim, q_rows, kv_rows;
    const hone_ref_segment *segments;
    size_t segment_count;
    const int32_t *positions; /* [q_rows] == [kv_rows]; NULL: no rotary embedding */
    const double *cos, *sin;
    size_t rope_dim;
    bool interleaved;
} hone_ref_attention;
/* q, o: [q_rows, heads, head_dim]; k, v: [kv_rows, kv_heads, head_dim]. q and k are not yet rotated. Rows of no
 * segment are left alone in o and get zero gradients. */
bool hone_ref_attention_forward(const hone_ref_attention *a, const double *q, const double *k,
                                const double *v, double *o);
bool hone_ref_attention_backward(const hone_ref_attention *a, const double *q, const double *k,
                                 const double *v, const double *d_o, double *dq, double *dk,
                                 double *dv);

/* One step; correction1, correction2 = 1 - beta^t. */
typedef struct hone_ref_adamw {
    double lr, beta1, beta2, eps, weight_decay, correction1, correction2;
} hone_ref_adamw;
void hone_ref_adamw_step(const hone_ref_adamw *a, size_t n, const double *g, double *w, double *m,
                         double *v);

#endif
