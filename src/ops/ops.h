/* ops: the six fine-tuning operations, and what a model needs beside them, over kernels.
 *
 * Ops are SPMD: every thread of a team calls them with its own hone_ctx and the same arguments, and
 * meets the others at barriers inside. When an op returns, its outputs may be read by every thread
 * (each op ends with a barrier). A team of one works the same.
 *
 * Memory: outputs are the caller's. What backward needs beyond the arguments is taken from the
 * saved end of the arena in forward and found again through a hone_saved; scratch is taken and
 * given back inside. In a planning context (hone_ctx_planning) an op takes and gives back the same
 * memory, touches none and computes nothing: that is the memory plan.
 *
 * Types: `compute` is HONE_F32 or HONE_BF16. Tensors that flow between ops are of that type; the
 * residual stream, its gradient, norms, losses, adapters and weight gradients are float32.
 */
#ifndef HONE_OPS_OPS_H
#define HONE_OPS_OPS_H

#include "base/arena.h"
#include "base/parallel.h"
#include "kernels/kernels.h"

/* One thread's view of a running step. Copies share the arena's memory, not its counters. */
typedef struct hone_ctx {
    hone_team team;
    const hone_kernels *kernels;
    hone_dtype compute; /* HONE_F32 or HONE_BF16 */
    hone_arena arena;
} hone_ctx;

static inline bool hone_ctx_planning(const hone_ctx *ctx) {
    return hone_arena_planning(&ctx->arena);
}

/* What forward leaves for backward: pointers into the saved end, meaning private to the set. */
typedef struct hone_saved {
    void *slot[8];
} hone_saved;

/* ---- matrix multiply, the primitive that all sets share ------------------------------------ */

/* C[m, n] (+)= A[m, k] op(B) + scale2 * A2[m, k2] op(B2) + bias, split over the team.
 * by_rows: B[k][n] = b[n][k] (y = x W^T), else B[k][n] = b[k][n] (dx = dy W). Quantized b is unpacked while
 * it is packed, panel by panel. Ends with a barrier. */
typedef struct hone_matmul_args {
    size_t m, n, k;
    const void *a; /* [m, k], compute type */
    size_t lda;
    const hone_matrix *b;
    bool by_rows;
    size_t k2; /* 0: none */
    const void *a2;
    size_t lda2;
    const hone_matrix *b2;
    bool b2_by_rows;
    float scale2;
    const float *bias; /* [n] or NULL */
    void *c;
    size_t ldc;
    hone_dtype c_dtype;
    bool accumulate; /* float32 c only */
} hone_matmul_args;
void hone_matmul(hone_ctx *ctx, const hone_matmul_args *args);

/* ---- arguments of the six --------------------------------------------------------------------- */

/* Low-rank adapter of a linear layer: y += scale * (x A^T) B^T (Hu et al., 2021). */
typedef struct hone_lora {
    int rank;
    float scale;
    const float *a; /* [rank, in] */
    const float *b; /* [out, rank] */
    float *da, *db; /* gradients, += ; NULL when the adapter is frozen */
} hone_lora;

typedef struct hone_linear {
    hone_matrix weight; /* [out, in] */
    const float *bias;  /* [out] or NULL */
    hone_lora lora;     /* rank 0: none */
    float *dweight;     /* [out, in] gradient, +=; NULL when frozen */
    float *dbias;       /* [out], += ; NULL when frozen */
} hone_linear;

typedef struct hone_rms_norm_args {
    size_t rows, hidden;
    const float *x;     /* [rows, hidden], the residual stream */
    const float *gamma; /* [hidden] */
    float eps;
    void *y; /* [rows, hidden], compute type */
    /* backward only */
    const void *dy; /* [rows, hidden], dy_dtype */
    hone_dtype dy_dtype;
    float *dx;     /* [rows, hidden], += */
    void *dx_copy; /* [rows, hidden], compute type: dx after the addition; NULL if not wanted */
    float *dgamma; /* [hidden], +=; NULL when frozen */
} hone_rms_norm_args;

typedef struct hone_rope_args {
    size_t rows, heads, head_dim, rope_dim;
    void *x; /* forward: [rows, heads, head_dim] compute type, input; backward: gradient of y */
    void *y; /* forward: rotated; backward: gradient of x. May be x */
    const int32_t *positions; /* [rows] */
    const float *cos, *sin;   /* [positions, rope_dim/2] */
    bool interleaved;
} hone_rope_args;

/* h = silu(x Wg^T) * (x Wu^T), both linears with their adapters. */
typedef struct hone_swiglu_args {
    size_t rows;
    const hone_linear *gate, *up; /* [ffn, hidden] each */
    const void *x;                /* [rows, hidden], compute type */
    void *h; /* [rows, ffn], compute type. Backward: where h is to be rebuilt, NULL if not wanted */
    /* backward only */
    const void *dh; /* [rows, ffn], compute type; NOT preserved; h may be dh */
    float *dx;      /* [rows, hidden]; NULL if not wanted */
    bool accumulate;
} hone_swiglu_args;

/* y = linear(x). */
typedef struct hone_lora_linear_args {
    size_t rows;
    const hone_linear *linear;
    const void *x; /* [rows, in], compute type; the caller keeps or rebuilds it for backward */
    void *y;       /* [rows, out], y_dtype; NULL: only what backward wants is computed and kept */
    hone_dtype y_dtype;
    bool accumulate; /* y += (float32): the residual add of a composite */
    /* backward only */
    const void *dy; /* [rows, out], compute type */
    void *dx;       /* [rows, in], dx_dtype; NULL if not wanted */
    hone_dtype dx_dtype;
    bool dx_accumulate; /* float32 only */
} hone_lora_linear_args;

/* One sequence: query rows [q_begin, q_end) attend to key rows [kv_begin, kv_end), causally, the last query to all:
 * query i sees keys up to kv_end - (q_end - i) inclusive. In training both ranges are the same. */
typedef struct hone_segment {
    size_t q_begin, q_end, kv_begin, kv_end;
} hone_segment;

/* softmax(q k^T / sqrt(head_dim)) v with rotary embedding of q and k, grouped kv heads. */
typedef struct hone_attention_args {
    size_t heads, kv_heads, head_dim; /* heads is a multiple of kv_heads */
    const hone_segment *segments;     /* [segment_count], rows ascending and disjoint */
    size_t segment_count;
    size_t q_rows, kv_rows;
    /* A set may rotate q and k in place: after forward they belong to the set until backward. */
    void *q;       /* [q_rows, heads, head_dim], compute type */
    void *k;       /* [kv_rows, kv_heads, head_dim] */
    const void *v; /* [kv_rows, kv_heads, head_dim] */
    void *o;       /* [q_rows, heads, head_dim]; the caller keeps it for backward */
    /* rotary embedding; cos NULL: q and k are rotated already */
    const int32_t *positions; /* [rows]; q and k share it (q_rows == kv_rows then) */
    const float *cos, *sin;
    size_t rope_dim;
    bool interleaved;
    /* backward only */
    const void *d_o;    /* [q_rows, heads, head_dim], compute type */
    void *dq, *dk, *dv; /* gradients of the unrotated q, k and of v, compute type. */
} hone_attention_args;

/* Cross-entropy of logits with labels; HONE_IGNORE rows count for nothing. */
typedef struct hone_cross_entropy_args {
    size_t rows, vocab;
    void *logits; /* [rows, vocab], logits_dtype. Backward: fused overwrites it with dlogits */
    hone_dtype logits_dtype;
    const int32_t *labels; /* [rows] */
    float *loss;           /* [rows], 0 where ignored */
    /* backward only */
    float scale;   /* d(total)/d(loss[r]): 1/number of labels for a mean */
    void *dlogits; /* [rows, vocab] logits_dtype; set by the op: where it wrote, may be logits */
} hone_cross_entropy_args;

/* The fused linear form: loss of softmax(x W^T), its gradient to x in the same call, and never all logits. */
typedef struct hone_linear_cross_entropy_args {
    size_t rows;
    const hone_linear *head; /* [vocab, hidden]; its dweight, bias and adapter are honoured */
    const void *x;           /* [rows, hidden], compute type */
    const int32_t *labels;
    float *loss; /* [rows] */
    float scale;
    float *dx; /* [rows, hidden], overwritten; NULL: only the loss */
} hone_linear_cross_entropy_args;

/* ---- a set -------------------------------------------------------------------------------------- */

typedef struct hone_op_set {
    const char *name; /* "fused", "naive", ... */

    /* What the model has to keep for this set's backward. */
    /* rms_norm backward reads args.x again: every residual add needs a buffer of its own */
    bool keeps_residual;
    /* linear backward reads its x again: normed tensors and h stay; else they are rebuilt */
    bool keeps_normed;

    void (*rms_norm_forward)(hone_ctx *ctx, const hone_rms_norm_args *args, hone_saved *saved);
    void (*rms_norm_backward)(hone_ctx *ctx, const hone_rms_norm_args *args,
                              const hone_saved *saved);
    void (*rope_embeddings_forward)(hone_ctx *ctx, const hone_rope_args *args, hone_saved *saved);
    void (*rope_embeddings_backward)(hone_ctx *ctx, const hone_rope_args *args,
                                     const hone_saved *saved);
    void (*swiglu_activation_forward)(hone_ctx *ctx, const hone_swiglu_args *args,
                                      hone_saved *saved);
    void (*swiglu_activation_backward)(hone_ctx *ctx, const hone_swiglu_args *args,
                                       const hone_saved *saved);
    void (*cross_entropy_loss_forward)(hone_ctx *ctx, const hone_cross_entropy_args *args,
                                       hone_saved *saved);
    void (*cross_entropy_loss_backward)(hone_ctx *ctx, const hone_cross_entropy_args *args,
                                        const hone_saved *saved);
    void (*lora_linear_forward)(hone_ctx *ctx, const hone_lora_linear_args *args,
                                hone_saved *saved);
    void (*lora_linear_backward)(hone_ctx *ctx, const hone_lora_linear_args *args,
                                 const hone_saved *saved);
    void (*attention_with_rope_forward)(hone_ctx *ctx, const hone_attention_args *args,
                                        hone_saved *saved);
    void (*attention_with_rope_backward)(hone_ctx *ctx, const hone_attention_args *args,
                                         const hone_saved *saved);

    /* Composites; where NULL the model composes the plain ops. */
    void (*linear_cross_entropy)(hone_ctx *ctx, const hone_linear_cross_entropy_args *args);
    /* Writes y again from what forward saved; needed unless keeps_normed (then swiglu's backward
     * gives h back, over dh where args.h is dh). */
    void (*rms_norm_rebuild)(hone_ctx *ctx, const hone_rms_norm_args *args,
                             const hone_saved *saved);
} hone_op_set;

/* `saved` may be NULL in a forward call whose backward will not run (generation, evaluation): nothing is kept then. */
extern const hone_op_set hone_ops_naive;
extern const hone_op_set hone_ops_fused;

/* "naive" or "fused"; NULL for another name. */
const hone_op_set *hone_op_set_find(const char *name);

/* ---- what a model needs beside the six (the same for every set) ---------------------------------- */

/* y[r] = table[ids[r]], float32 [rows, hidden]. */
void hone_embedding_forward(hone_ctx *ctx, const hone_matrix *table, const int32_t *ids,
                            size_t rows, float *y);
/* dtable[ids[r]] += dy[r], rows in order. */
void hone_embedding_backward(hone_ctx *ctx, const int32_t *ids, size_t rows, size_t hidden,
                             const float *dy, float *dtable);
/* y = a + b over n elements; float32 a and y, b of b_dtype. y may be a. */
void hone_residual_add(hone_ctx *ctx, size_t n, const float *a, const void *b, hone_dtype b_dtype,
                       float *y);
/* y = x converted, n elements. */
void hone_convert(hone_ctx *ctx, size_t n, const void *x, hone_dtype x_dtype, void *y,
                  hone_dtype y_dtype);
/* One AdamW step over one tensor, split over the team. */
void hone_adamw_step(hone_ctx *ctx, const hone_adamw *args);
/* Sum of squares in float64, in an order that depends on n alone; every thread returns it. */
double hone_sum_squares(hone_ctx *ctx, const float *x, size_t n);
/* Sets n bytes to zero, split over the team; ends with a barrier. */
void hone_zero(hone_ctx *ctx, void *data, size_t bytes);

#endif
