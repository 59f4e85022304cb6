/* kernels: single-threaded functions over a range of rows. Layer above base.
 *
 * A kernel allocates nothing, cannot fail, asserts its shapes, reads and writes nothing past the
 * ends (masked tails) and leaves rounding mode and flush flags as they were. Rows are independent:
 * a row's result does not depend on which other rows are in the call, so any split gives the same
 * bits. Where a function takes dtypes, each is HONE_F32 or HONE_BF16.
 *
 * The table is filled from kernels.def: each kernel's last variant whose CPU features are present.
 * There is no global table and no initialisation: who needs kernels selects them once.
 */
#ifndef HONE_KERNELS_KERNELS_H
#define HONE_KERNELS_KERNELS_H

#include "base/dtype.h"
#include "base/size.h"
#include "base/status.h"

/* ---- matrices ---------------------------------------------------------------------------- */

/* A dense matrix with `cols` elements from row to row. */
hone_matrix hone_matrix_dense(const void *data, hone_dtype dtype, size_t rows, size_t cols);

/* Tiles: Q4_0 and Q4_1 once more, HONE_TILE_ROWS rows together, in the order in which dot_rows of some variants takes
 * them (hone_kernels.wants_tiles). As many bytes as the rows have. Of each block of 32 columns of a tile, one after the
 * other:
 *   d[16], m[16]       float16; m of Q4_1 only
 *   codes[4][16][4]    for each j bytes 4 j to 4 j + 3 of every row's block */
#define HONE_TILE_ROWS 16

/* Bytes of the tiles of all whole groups of rows; 0 where there are none: another type, or too few rows. */
size_t hone_tiles_bytes(const hone_matrix *w);

/* Fills tiles [begin, end) at `tiles`, where all of them have room: hone_tiles_bytes. */
void hone_tiles_fill(const hone_matrix *w, size_t begin, size_t end, void *tiles);

/* Writes elements [col, col+count) of `row` as `out` (F32 or BF16, rounded to nearest even). */
typedef void hone_unpack_fn(const hone_matrix *w, size_t row, size_t col, size_t count,
                            hone_dtype out, void *dst);

/* ---- matrix multiply -----------------------------------------------------------------------
 * C[m, n] (+)= A[m, k] B[k, n] (+ A2[m, k2] B2[k2, n]), accumulated in float32.
 *
 * B is packed into panels of HONE_PANEL columns, zero-padded in n to a whole panel:
 *   float32   [ceil(n/16)][k][16]
 *   bfloat16  [ceil(n/16)][kp/2][16][2], kp = k rounded up to 32, zero-padded: two consecutive k side by side
 * The second product is how a LoRA adapter joins its linear layer while the tile is in registers.
 */
#define HONE_PANEL 16
#define HONE_PANEL_DEPTH 32 /* bfloat16 panels are padded to a multiple of this in k */

/* Bytes of a bfloat16 panel of depth k. */
static inline size_t hone_panel_bytes_bf16(size_t k) {
    return HONE_CEIL_DIV(k, HONE_PANEL_DEPTH) * HONE_PANEL_DEPTH * HONE_PANEL * sizeof(hone_bf16);
}

/* Bytes of packed B for n columns and depth k in compute type F32 or BF16. */
size_t hone_pack_bytes(hone_dtype compute, size_t n, size_t k);

/* Packs columns [n0, n0+n) x depths [k0, k0+k) of B. `by_rows`: B[k][n] = w[n][k], a column of B is
 * a row of w (y = x W^T); otherwise B[k][n] = w[k][n] (dx = dy W). Any dtype of w.
 * `scale` multiplies every element (1 for none). `dst` is 64-byte aligned. */
typedef void hone_pack_fn(const hone_matrix *w, bool by_rows, size_t n0, size_t n, size_t k0,
                          size_t k, float scale, void *dst);

typedef struct hone_gemm {
    size_t m, n, k;
    const void *a;  /* [m, k] in the compute type */
    size_t lda;     /* elements from row to row */
    const void *b;  /* packed */
    size_t b_depth; /* the depth b was packed with, where only its first k are wanted; 0: k */
    size_t k2;      /* 0: no second product */
    const void *a2;
    size_t lda2;
    const void *b2;
    void *c;            /* [m, n] */
    size_t ldc;         /* elements */
    hone_dtype c_dtype; /* F32, or BF16 (rounded once at the end) */
    bool accumulate;    /* C += instead of C =; F32 only */
    const float *bias;  /* [n], added once; NULL for none */
} hone_gemm;
typedef void hone_gemm_fn(const hone_gemm *g);

/* c[i, j] (+)= x[i] . w[j] (+ scale2 * x2[i] . w2[j]) (+ bias[j]) for i < m and j in [begin, end), accumulated in
 * float32 straight from the stored rows of any dtype: for so few rows of x that packing w would cost more. */
typedef struct hone_dot_rows {
    size_t m, begin, end;
    const void *x; /* [m, w->cols] */
    size_t ldx;    /* elements from row to row */
    const hone_matrix *w;
    const void *x2; /* [m, w2->cols] */
    size_t ldx2;
    const hone_matrix *w2; /* NULL: no second product */
    float scale2;
    hone_dtype x_dtype; /* of x and x2: F32 or BF16 */
    const float *bias;  /* [end] or NULL */
    void *c;            /* [m, end] */
    size_t ldc;
    hone_dtype c_dtype; /* F32 or BF16 */
    bool accumulate;    /* F32 only */
} hone_dot_rows;
typedef void hone_dot_rows_fn(const hone_dot_rows *a);

/* c[i, j] = sum over r of thin[r, i] * wide[r, j] for i < m and j in [begin, end), accumulated in float32 in an
 * order that depends on `rows` alone: the gradient of an adapter's matrix, whose rank m is small. Nothing is packed. */
typedef struct hone_thin_outer {
    size_t rows, m, begin, end;
    const void *thin, *wide; /* [rows, m], [rows, end] of dtype */
    size_t ld_thin, ld_wide; /* elements from row to row */
    hone_dtype dtype;        /* F32 or BF16 */
    float *c;                /* [m, end] */
    size_t ldc;
} hone_thin_outer;
typedef void hone_thin_outer_fn(const hone_thin_outer *a);

/* ---- element-wise and row-wise ----------------------------------------------------------- */

/* y[r] = x[r] * rstd * gamma, rstd = 1/sqrt(mean(x^2) + eps). (Zhang and Sennrich, 2019.)
 * rstd [rows] and copy [rows, hidden] (x in y's type) are written where not NULL. y may be NULL. */
typedef struct hone_rms_norm_forward {
    size_t rows, hidden;
    const void *x; /* [rows, hidden], x_dtype */
    hone_dtype x_dtype;
    const float *gamma; /* [hidden] */
    float eps;
    void *y; /* [rows, hidden], y_dtype */
    hone_dtype y_dtype;
    float *rstd;
    void *copy; /* y_dtype */
} hone_rms_norm_forward;
typedef void hone_rms_norm_forward_fn(const hone_rms_norm_forward *a);

/* y = x * rstd * gamma with rstd given: rebuilds what the forward pass did not keep. */
typedef struct hone_rms_norm_rebuild {
    size_t rows, hidden;
    const void *x;
    hone_dtype x_dtype;
    const float *gamma, *rstd;
    void *y;
    hone_dtype y_dtype;
} hone_rms_norm_rebuild;
typedef void hone_rms_norm_rebuild_fn(const hone_rms_norm_rebuild *a);

/* dx (+)= rstd * (dy*gamma - x_hat * mean(dy*gamma*x_hat)), x_hat = x*rstd. dx is float32;
 * dx_copy (copy_dtype, may be NULL) receives the resulting dx too. dgamma [hidden] (+=, one float32
 * partial of the caller's, may be NULL) sums dy*x_hat over these rows in order. */
typedef struct hone_rms_norm_backward {
    size_t rows, hidden;
    const void *dy;
    hone_dtype dy_dtype;
    const void *x;
    hone_dtype x_dtype;
    const float *gamma, *rstd;
    float *dx;
    bool accumulate;
    void *dx_copy;
    hone_dtype copy_dtype;
    float *dgamma;
} hone_rms_norm_backward;
typedef void hone_rms_norm_backward_fn(const hone_rms_norm_backward *a);

/* Rotates pairs by the angle of the row's position (Su et al., 2021). Half-split pairs (i, i+dim/2),
 * interleaved pairs (2i, 2i+1). cos, sin: [positions, rope_dim/2], finite. Elements past rope_dim are copied. inverse
 * rotates back (the backward pass). y may be x. */
typedef struct hone_rope {
    size_t rows, heads, head_dim, rope_dim; /* rope_dim even, <= head_dim */
    const void *x;                          /* [rows, heads, head_dim] */
    void *y;
    size_t x_stride, y_stride; /* elements from row to row */
    hone_dtype dtype;
    const int32_t *positions; /* [rows] */
    const float *cos, *sin;
    bool interleaved, inverse;
} hone_rope;
typedef void hone_rope_fn(const hone_rope *a);

/* h = silu(gate) * up over n elements; h may be gate or up. */
typedef void hone_silu_mul_fn(size_t n, hone_dtype dtype, const void *gate, const void *up,
                              void *h);

/* dgate = dh*up*silu'(gate), dup = dh*silu(gate); h = silu(gate)*up again where h is not NULL.
 * Outputs may be any of the inputs. In bfloat16 silu' is 1 for gates up to 1e33 only. */
typedef void hone_silu_mul_backward_fn(size_t n, hone_dtype dtype, const void *dh, const void *gate,
                                       const void *up, void *dgate, void *dup, void *h);

/* The same in primitives, as the baseline set runs them: y = silu(x); dx = dy*silu'(x); y = a*b. */
typedef void hone_silu_fn(size_t n, hone_dtype dtype, const void *x, void *y);
typedef void hone_silu_backward_fn(size_t n, hone_dtype dtype, const void *dy, const void *x,
                                   void *dx);
typedef void hone_multiply_fn(size_t n, hone_dtype dtype, const void *a, const void *b, void *y);

/* One tile of online softmax (Milakov and Gimelshein, 2018; Dao et al., 2022) for each of `rows` rows of scores:
 *   s = scale * scores[r, :valid[r]]; m' = max(m, max s); p = exp(s - m'); l = l*exp(m-m') + sum p
 * writes p (p_dtype, zero from valid[r] to cols), m, l, and correction[r] = exp(m - m') for the
 * accumulators. Start: m = -inf, l = 0.
 * A row with valid 0 leaves m and l, writes zeros and correction 1. The sum is over unrounded p. */
typedef struct hone_softmax_tile {
    size_t rows, cols;
    const float *scores; /* [rows, cols], stride lds */
    size_t lds;
    const size_t *valid; /* [rows] */
    float scale;
    void *p; /* [rows, cols], stride ldp; may be scores when p_dtype is F32 and ldp == lds */
    size_t ldp;
    hone_dtype p_dtype;
    float *m, *l, *correction; /* [rows] */
} hone_softmax_tile;
typedef void hone_softmax_tile_fn(const hone_softmax_tile *a);

/* p = exp(scale*s - lse) for the first valid[r] columns, zero after: softmax again from a kept lse.
 * With dp: ds = p * (dp - delta[r]) * scale (p may be NULL then). Types: p and ds are out_dtype. */
typedef struct hone_softmax_again {
    size_t rows, cols;
    const float *scores;
    size_t lds;
    const size_t *valid; /* [rows] */
    float scale;
    const float *lse; /* [rows] */
    void *p;          /* [rows, cols], stride ldp */
    const float *dp;  /* [rows, cols], stride lds; NULL: only p */
    const float *delta;
    void *ds; /* [rows, cols], stride ldp */
    size_t ldp;
    hone_dtype out_dtype;
} hone_softmax_again;
typedef void hone_softmax_again_fn(const hone_softmax_again *a);

/* Cross-entropy over whole rows of logits. loss[r] = logsumexp(logits[r]) - logits[r, label], 0 for a label
 * of HONE_IGNORE; lse[r] is written where not NULL. */
typedef void hone_cross_entropy_forward_fn(size_t rows, size_t vocab, const void *logits,
                                           hone_dtype dtype, size_t ld, const int32_t *labels,
                                           float *loss, float *lse);
/* dlogits[r] = (exp(logits - lse) - onehot(label)) * scale, zero for ignored rows. May be in place. */
typedef void hone_cross_entropy_backward_fn(size_t rows, size_t vocab, const void *logits,
                                            void *dlogits, hone_dtype dtype, size_t ld,
                                            const int32_t *labels, const float *lse, float scale);

/* y = a + b; y may be either. Each its own dtype. */
typedef void hone_add_fn(size_t n, const void *a, hone_dtype a_dtype, const void *b,
                         hone_dtype b_dtype, void *y, hone_dtype y_dtype);
/* y = alpha * x (+ y when accumulate); converts between dtypes; y may be x when the dtypes agree. */
typedef void hone_scale_fn(size_t n, float alpha, const void *x, hone_dtype x_dtype, void *y,
                           hone_dtype y_dtype, bool accumulate);
/* As the baseline set runs them: y = x + by, y may be x; the sum of x in float32, in an order that depends on n and
 * the tier alone. */
typedef void hone_shift_fn(size_t n, float by, const float *x, float *y);
typedef float hone_sum_fn(size_t n, const float *x);
/* sum of a[i]*b[i], accumulated in float64 in an order that depends on n alone. */
typedef double hone_dot_fn(size_t n, const void *a, hone_dtype a_dtype, const void *b,
                           hone_dtype b_dtype);
/* y[j, i] = x[i, j] for x [rows, cols] with strides in elements, same dtype. */
typedef void hone_transpose_fn(size_t rows, size_t cols, const void *x, size_t ldx, void *y,
                               size_t ldy, hone_dtype dtype);

/* AdamW (Loshchilov and Hutter, 2019) with bias correction, as PyTorch: decay decoupled, eps outside the root. */
typedef struct hone_adamw {
    size_t n;
    float *w, *m, *v; /* [n] weights and moments, updated */
    const float *g;   /* [n] */
    double lr, beta1, beta2, eps, weight_decay;
    double correction1, correction2; /* 1 - beta^t */
    float grad_scale;                /* multiplies g: clipping, accumulation */
} hone_adamw;
typedef void hone_adamw_fn(const hone_adamw *a);

/* ---- the table --------------------------------------------------------------------------- */

typedef struct hone_kernels {
#define HONE_KERNEL_FIELD(name, type) type *name;
#include "kernels/kernels_list.h"
#undef HONE_KERNEL_FIELD
    unsigned features;          /* those it was selected for */
    bool wants_tiles;           /* dot_rows is faster with hone_matrix.tiles */
    hone_tuning tuning;         /* how work is cut around gemm_f32 and gemm_bf16; no member is 0 */
    const char *gemm_bf16_name; /* variant in use, e.g. "amx": for reports */
    const char *gemm_f32_name;
    const char *vec_name;
} hone_kernels;

/* Fills the table for a set of HONE_CPU_* features (base/cpu.h). */
void hone_kernels_select(unsigned features, hone_kernels *out);

/* Members of hone_blocking may only be what changes no result: the tuning of a machine must never show in what it
 * computes. Lengths of sums (matmul's blocks of k, the loss's slices) do not belong there: bits depend on them. */
enum {
    HONE_LEAST_PACKED_BYTES = 16 << 10,
    HONE_MOST_PACKED_BYTES = 64 << 20,
    HONE_LEAST_LOSS_ROWS = 8,
    HONE_MOST_LOSS_ROWS = 512
};

/* Puts the members of `tuning` that are not 0 in place of the defaults. HONE_ERR_USAGE for one out of range; the table
 * is as it was then. */
hone_status hone_kernels_tune(hone_kernels *kernels, const hone_tuning *tuning, hone_error *err);

/* Every variant of every kernel that this machine can run: for tests. Index from 0; false past the end.
 * The table holds the whole tier `tier_name`, selected with that tier's features. */
bool hone_kernels_tier(size_t index, unsigned features, hone_kernels *out, const char **tier_name);

#endif
