/* hone_kernels: what a file of kernels implements and what it is lent.
 *
 * A kernel file is one C source. It includes this header and headers of the C standard and of the CPU's intrinsics,
 * nothing else, and exports hone_kernels_export(), which returns its set: the six operations of fine-tuning, forward
 * and backward. An operation that the set leaves out (both passes NULL) is inherited from hone's own and earns nothing.
 * examples/kernels.c is a whole one; docs/evaluation.md tells how they are judged.
 *
 *   hone eval kernels.c                    is it right, faster, smaller? alone and in the training of real models
 *   hone train --kernels kernels.so ...    trains with one that was found right
 *
 * The rules of a kernel
 *  - Every thread of a team calls it with its own host and the same arguments, and shares the work by host->rank and
 *    host->size. Threads meet at host->barrier; the host meets them once more after the kernel has returned. Results
 *    may not depend on the size of the team: cut work into pieces by its shape alone (hone_share).
 *  - It takes memory from the host alone, the same amounts in the same order in every thread and, for the same
 *    shapes, in every call. When host->planning it takes them, calls matmul as it would, touches nothing and returns:
 *    that is how memory is known before the first step. Of the arguments only shapes, types, segments and which
 *    pointers are NULL may be looked at then.
 *  - It reads and writes nothing else than its arguments say, keeps nothing between calls but what it saved, starts no
 *    threads, makes no system calls, and leaves rounding mode, flush flags and inputs as they were.
 *  - Where one operation's function calls another's in the same file, the barrier after it and giving back its scratch
 *    are the caller's to do: the host does so only around the outermost.
 *  - `compute` is HONE_F32 or HONE_BF16: the type of the tensors that flow between operations. Sums are float32 or
 *    better. Matrices are row-major.
 */
#ifndef HONE_KERNELS_H
#define HONE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A set built against another version is refused. */
#define HONE_KERNELS_ABI 2

/* ---- types and matrices --------------------------------------------------------------------- */

/* Element types. Block formats store a row of a matrix as blocks of consecutive elements:
 *   Q4_0  32 elements, 18 bytes: fp16 d, 16 bytes of codes;          w = d * (q - 8)
 *   Q4_1  32 elements, 20 bytes: fp16 d, fp16 m, 16 bytes of codes;  w = d * q + m
 *   Q8_0  32 elements, 34 bytes: fp16 d, 32 int8 codes;              w = d * q
 * (codes 0-15 of a 4-bit block in the low nibbles, 16-31 in the high ones; source: the GGUF format).
 * AFFINE4 is MLX's layout, three arrays: codes uint32 [rows, cols/8], least significant code first,
 * scales and biases [rows, cols/group] in a float type; w = q * scale + bias; group 32, 64 or 128. */
typedef enum hone_dtype {
    HONE_F32,
    HONE_F16,
    HONE_BF16,
    HONE_Q4_0,
    HONE_Q4_1,
    HONE_Q8_0,
    HONE_AFFINE4,
    HONE_DTYPE_COUNT
} hone_dtype;

typedef uint16_t hone_bf16; /* the upper half of a float32 */
typedef uint16_t hone_f16;  /* IEEE 754 binary16 */

static inline float hone_bf16_to_f32(hone_bf16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Round to nearest, ties to even; NaN stays NaN (quieted). */
static inline hone_bf16 hone_f32_to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (hone_bf16)((bits >> 16) | 0x40u);
    return (hone_bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* A row-major matrix that a kernel reads: dense or quantized. */
typedef struct hone_matrix {
    const void *data; /* [rows, cols]; for AFFINE4 the codes */
    size_t rows, cols;
    size_t row_bytes; /* from one row to the next */
    hone_dtype dtype;
    const void *scales, *biases; /* AFFINE4 only: [rows, cols/group], dense */
    hone_dtype affine_dtype;     /* AFFINE4 only: type of scales and biases: F32, F16 or BF16 */
    int group;                   /* AFFINE4 only: 32, 64 or 128 */
    const void *tiles;           /* the host's: a second copy in another order, or NULL */
} hone_matrix;

/* A label that counts for nothing. */
#define HONE_IGNORE (-100)

/* What forward leaves for backward: pointers to saved memory, meaning private to the set. Forward gets NULL where no
 * backward will follow (generation, evaluation). Backward runs at most once, and may overwrite what was saved. */
typedef struct hone_saved {
    void *slot[8];
} hone_saved;

/* ---- matrix multiply ------------------------------------------------------------------------ */

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

/* ---- arguments of the six --------------------------------------------------------------------- */

/* Low-rank adapter of a linear layer: y += scale * (x A^T) B^T (Hu et al., 2021). */
typedef struct hone_lora {
    int rank;
    float scale;
    const float *a; /* [rank, in] */
    const float *b; /* [out, rank] */
    float *da, *db; /* gradients, += ; NULL when the adapter is frozen, and at rank 0 */
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
    bool accumulate; /* y +=, of float32 y alone */
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

/* softmax(q k^T / sqrt(head_dim)) v with rotary embedding of q and k, grouped kv heads. A query may see no key; rows of
 * o, dq, dk and dv that belong to no segment, or see nothing, are 0. */
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
    void *dq, *dk, *dv; /* gradients of q and k before rotation, and of v, compute type */
} hone_attention_args;

/* Cross-entropy of logits with labels; HONE_IGNORE rows count for nothing. */
typedef struct hone_cross_entropy_args {
    size_t rows, vocab;
    void *logits; /* [rows, vocab], logits_dtype; backward may overwrite it */
    hone_dtype logits_dtype;
    const int32_t *labels; /* [rows] */
    float *loss;           /* [rows], 0 where ignored */
    /* backward only */
    float scale;   /* d(total)/d(loss[r]): 1/number of labels for a mean */
    void *dlogits; /* [rows, vocab], logits_dtype; may be logits */
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

/* ---- what a kernel is lent ------------------------------------------------------------------- */

/* One thread's view of its host. `scratch` and `save` return 64-byte aligned memory with undefined contents that the
 * whole team shares: every thread gets the same address. While planning it is an address that may not be touched, but
 * is not NULL, so that plan and run branch alike. */
typedef struct hone_host hone_host;
struct hone_host {
    int rank, size; /* of this thread, of the team */
    hone_dtype compute;
    bool planning; /* take memory, touch none, compute nothing */
    void *inside;  /* the host's own */
    /* Memory until the kernel returns, or until it is released. */
    void *(*scratch)(const hone_host *host, size_t bytes);
    /* Memory until backward has run: for what forward leaves in hone_saved. Not in backward. */
    void *(*save)(const hone_host *host, size_t bytes);
    /* What scratch has given since the mark was taken is given back. */
    size_t (*scratch_mark)(const hone_host *host);
    void (*scratch_release)(const hone_host *host, size_t mark);
    /* All threads of the team reach it before any goes on. Does nothing while planning. */
    void (*barrier)(const hone_host *host);
    /* hone_matmul_args: called by the whole team with the same arguments; m, n and k are not 0; ends with a barrier.
     * Takes scratch of its own, and gives it back. There is none for one thread alone: products too small for a team
     * are loops of the file's own. */
    void (*matmul)(const hone_host *host, const hone_matmul_args *args);
    /* Elements [col, col + count) of a row of any matrix as `out` (F32 or BF16); one thread alone. */
    void (*unpack)(const hone_host *host, const hone_matrix *w, size_t row, size_t col,
                   size_t count, hone_dtype out, void *dst);
};

/* The part of [0, count) that this thread does, in pieces of `grain`: the pieces depend on the shape alone. */
static inline void hone_share(const hone_host *host, size_t count, size_t grain, size_t *begin,
                              size_t *end) {
    size_t pieces = (count + grain - 1) / grain;
    size_t first = pieces * (size_t)host->rank / (size_t)host->size * grain;
    size_t last = pieces * ((size_t)host->rank + 1) / (size_t)host->size * grain;
    *begin = first < count ? first : count;
    *end = last < count ? last : count;
}

/* ---- a set ------------------------------------------------------------------------------------ */

typedef struct hone_kernel_set {
    uint32_t abi;     /* HONE_KERNELS_ABI */
    const char *name; /* short, for reports; NULL: none */

    /* What the model has to keep for this set's backward. */
    bool keeps_residual; /* rms_norm backward reads args.x again */
    bool keeps_normed; /* lora_linear and swiglu backward read args.x again, and h is not rebuilt */
    /* The model rotates q and k with rope_embeddings, and attention gets cos NULL. Else attention rotates. */
    bool separate_rope;

    void (*rms_norm_forward)(const hone_host *host, const hone_rms_norm_args *args,
                             hone_saved *saved);
    void (*rms_norm_backward)(const hone_host *host, const hone_rms_norm_args *args,
                              const hone_saved *saved);
    void (*rope_embeddings_forward)(const hone_host *host, const hone_rope_args *args,
                                    hone_saved *saved);
    void (*rope_embeddings_backward)(const hone_host *host, const hone_rope_args *args,
                                     const hone_saved *saved);
    void (*swiglu_activation_forward)(const hone_host *host, const hone_swiglu_args *args,
                                      hone_saved *saved);
    void (*swiglu_activation_backward)(const hone_host *host, const hone_swiglu_args *args,
                                       const hone_saved *saved);
    void (*cross_entropy_loss_forward)(const hone_host *host, const hone_cross_entropy_args *args,
                                       hone_saved *saved);
    void (*cross_entropy_loss_backward)(const hone_host *host, const hone_cross_entropy_args *args,
                                        const hone_saved *saved);
    void (*lora_linear_forward)(const hone_host *host, const hone_lora_linear_args *args,
                                hone_saved *saved);
    void (*lora_linear_backward)(const hone_host *host, const hone_lora_linear_args *args,
                                 const hone_saved *saved);
    void (*attention_with_rope_forward)(const hone_host *host, const hone_attention_args *args,
                                        hone_saved *saved);
    void (*attention_with_rope_backward)(const hone_host *host, const hone_attention_args *args,
                                         const hone_saved *saved);

    /* Composites, NULL where there is none: the model composes the six. */
    void (*linear_cross_entropy)(const hone_host *host, const hone_linear_cross_entropy_args *args);
    /* Writes y again from what forward saved. Without it keeps_normed has to be true. */
    void (*rms_norm_rebuild)(const hone_host *host, const hone_rms_norm_args *args,
                             const hone_saved *saved);
} hone_kernel_set;

/* The one symbol that a kernel file exports, visible where everything else is hidden. The set is static. */
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif
const hone_kernel_set *hone_kernels_export(void);
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
