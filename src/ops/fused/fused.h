/* ops/fused: the shipped set: one pass where one is enough, nothing kept that can be rebuilt.
 * Declarations for set.c. */
#ifndef HONE_OPS_FUSED_H
#define HONE_OPS_FUSED_H

#include "ops/ops.h"

void hone_fused_rms_norm_forward(hone_ctx *ctx, const hone_rms_norm_args *args, hone_saved *saved);
void hone_fused_rms_norm_backward(hone_ctx *ctx, const hone_rms_norm_args *args,
                                  const hone_saved *saved);
void hone_fused_rope_embeddings_forward(hone_ctx *ctx, const hone_rope_args *args,
                                        hone_saved *saved);
void hone_fused_rope_embeddings_backward(hone_ctx *ctx, const hone_rope_args *args,
                                         const hone_saved *saved);
void hone_fused_swiglu_activation_forward(hone_ctx *ctx, const hone_swiglu_args *args,
                                          hone_saved *saved);
void hone_fused_swiglu_activation_backward(hone_ctx *ctx, const hone_swiglu_args *args,
                                           const hone_saved *saved);
void hone_fused_cross_entropy_loss_forward(hone_ctx *ctx, const hone_cross_entropy_args *args,
                                           hone_saved *saved);
void hone_fused_cross_entropy_loss_backward(hone_ctx *ctx, const hone_cross_entropy_args *args,
                                            const hone_saved *saved);
void hone_fused_lora_linear_forward(hone_ctx *ctx, const hone_lora_linear_args *args,
                                    hone_saved *saved);
void hone_fused_lora_linear_backward(hone_ctx *ctx, const hone_lora_linear_args *args,
                                     const hone_saved *saved);
void hone_fused_attention_with_rope_forward(hone_ctx *ctx, const hone_attention_args *args,
                                            hone_saved *saved);
void hone_fused_attention_with_rope_backward(hone_ctx *ctx, const hone_attention_args *args,
                                             const hone_saved *saved);

void hone_fused_rms_norm_rebuild(hone_ctx *ctx, const hone_rms_norm_args *args,
                                 const hone_saved *saved);
void hone_fused_linear_cross_entropy(hone_ctx *ctx, const hone_linear_cross_entropy_args *args);

#endif
