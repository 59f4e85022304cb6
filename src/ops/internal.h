/* ops/internal: what the operations share among themselves. Layer ops; not for other layers. */
#ifndef HONE_OPS_INTERNAL_H
#define HONE_OPS_INTERNAL_H

#include "ops/ops.h"

/* Memory of every thread of the team. */
typedef struct hone_each {
    char *first; /* of rank 0; NULL while planning */
    size_t stride;
} hone_each;

static inline void *hone_each_of(const hone_each *each, int rank) {
    return each->first == NULL ? NULL : each->first + each->stride * (size_t)rank;
}

/* Scratch of `bytes` for every thread of the team. Every thread calls it. */
static inline hone_each hone_ctx_scratch_each(hone_ctx *ctx, size_t bytes) {
    hone_each each = {.stride = HONE_CEIL_DIV(bytes, 64) * 64};
    char *all = hone_arena_scratch(&ctx->arena, each.stride * (size_t)ctx->team.size);
    if (!hone_ctx_planning(ctx)) each.first = all;
    return each;
}

/* The caller's own of that. NULL while planning. */
static inline void *hone_ctx_scratch_own(hone_ctx *ctx, size_t bytes) {
    hone_each each = hone_ctx_scratch_each(ctx, bytes);
    return hone_each_of(&each, ctx->team.rank);
}

/* The end of an operation that shares nothing but its arguments. */
static inline void hone_ctx_end(const hone_ctx *ctx) {
    if (!ctx->independent) hone_barrier(ctx->team);
}

/* hone_matmul as such an end: where nothing is packed, it minds ctx->independent. */
void hone_matmul_end(hone_ctx *ctx, const hone_matmul_args *args);

/* Bytes of an element of a dense type (F32, F16 or BF16). */
static inline size_t hone_element_bytes(hone_dtype dtype) { return dtype == HONE_F32 ? 4 : 2; }

/* Element `index` of a dense array. */
static inline void *hone_element(void *data, hone_dtype dtype, size_t index) {
    return (char *)data + index * hone_element_bytes(dtype);
}
static inline const void *hone_element_const(const void *data, hone_dtype dtype, size_t index) {
    return (const char *)data + index * hone_element_bytes(dtype);
}

/* The matrix-multiply kernels of the context's compute type, and how work is cut around them. */
static inline hone_gemm_fn *hone_ctx_gemm(const hone_ctx *ctx) {
    return ctx->compute == HONE_BF16 ? ctx->kernels->gemm_bf16 : ctx->kernels->gemm_f32;
}
static inline hone_pack_fn *hone_ctx_pack(const hone_ctx *ctx) {
    return ctx->compute == HONE_BF16 ? ctx->kernels->pack_bf16 : ctx->kernels->pack_f32;
}
static inline const hone_blocking *hone_ctx_blocking(const hone_ctx *ctx) {
    return ctx->compute == HONE_BF16 ? &ctx->kernels->tuning.bf16 : &ctx->kernels->tuning.f32;
}

#endif
