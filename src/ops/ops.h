/* ops: the six fine-tuning operations, and what a model needs beside them, over kernels.
 *
 * Their arguments are those of include/hone_kernels.h, so a set may come from a file (ops/plugin.h).
 *
 * Ops are SPMD: every thread of a team calls them with its own hone_ctx and the same arguments, and
 * meets the others at barriers inside. When an op returns, its outputs may be read by every thread
 * (each op ends with a barrier, but for hone_ctx.independent). A team of one works the same.
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

typedef struct hone_op_set hone_op_set;

/* One thread's view of a running step. Copies share the arena's memory, not its counters. */
typedef struct hone_ctx {
    hone_team team;
    const hone_kernels *kernels;
    hone_dtype compute; /* HONE_F32 or HONE_BF16 */
    hone_arena arena;
    const hone_op_set *ops; /* the set that runs: who calls through a set puts it there first */
    /* The caller's word that none of the calls up to and with the next one without it touches what another of them
     * writes: the team need not meet between them. A hint, which operations that use no scratch may take. */
    bool independent;
} hone_ctx;

static inline bool hone_ctx_planning(const hone_ctx *ctx) {
    return hone_arena_planning(&ctx->arena);
}

/* ---- matrix multiply, the primitive that all sets share ------------------------------------ */

/* hone_matmul_args of include/hone_kernels.h, split over the team; ends with a barrier. */
void hone_matmul(hone_ctx *ctx, const hone_matmul_args *args);

/* ---- the six ----------------------------------------------------------------------------------- */

/* X(name, type of the arguments), in the order of hone_op. */
#define HONE_OPS(X)                                                                                \
    X(rms_norm, hone_rms_norm_args)                                                                \
    X(rope_embeddings, hone_rope_args)                                                             \
    X(swiglu_activation, hone_swiglu_args)                                                         \
    X(cross_entropy_loss, hone_cross_entropy_args)                                                 \
    X(lora_linear, hone_lora_linear_args)                                                          \
    X(attention_with_rope, hone_attention_args)

typedef enum hone_op {
#define HONE_OP_ENUM(name, type) HONE_OP_##name,
    HONE_OPS(HONE_OP_ENUM)
#undef HONE_OP_ENUM
        HONE_OP_COUNT
} hone_op;

/* "rms_norm", ...: as reports and options name them. */
extern const char *const hone_op_names[HONE_OP_COUNT];

/* ---- a set -------------------------------------------------------------------------------------- */

struct hone_op_set {
    const char *name; /* "fused", "naive", ... */
    void *inside;     /* of a set that was made at run time; else NULL */

    /* What the model has to keep for this set's backward. */
    /* rms_norm backward reads args.x again: every residual add needs a buffer of its own */
    bool keeps_residual;
    /* linear backward reads its x again: normed tensors and h stay; else they are rebuilt */
    bool keeps_normed;
    /* q and k go through rope_embeddings and attention gets cos NULL; else attention rotates */
    bool separate_rope;

#define HONE_OP_MEMBERS(name, type)                                                                \
    void (*name##_forward)(hone_ctx * ctx, const type *args, hone_saved *saved);                   \
    void (*name##_backward)(hone_ctx * ctx, const type *args, const hone_saved *saved);
    HONE_OPS(HONE_OP_MEMBERS)
#undef HONE_OP_MEMBERS

    /* Composites; where NULL the model composes the plain ops. */
    void (*linear_cross_entropy)(hone_ctx *ctx, const hone_linear_cross_entropy_args *args);
    /* Writes y again from what forward saved; needed unless keeps_normed (then swiglu's backward
     * gives h back, over dh where args.h is dh). */
    void (*rms_norm_rebuild)(hone_ctx *ctx, const hone_rms_norm_args *args,
                             const hone_saved *saved);
};

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
