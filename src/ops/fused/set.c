/* ops/fused/set: the shipped set of operations. */
#include "ops/fused/fused.h"

const hone_op_set hone_ops_fused = {
    .name = "fused",
    .rms_norm_forward = hone_fused_rms_norm_forward,
    .rms_norm_backward = hone_fused_rms_norm_backward,
    .rope_embeddings_forward = hone_fused_rope_embeddings_forward,
    .rope_embeddings_backward = hone_fused_rope_embeddings_backward,
    .swiglu_activation_forward = hone_fused_swiglu_activation_forward,
    .swiglu_activation_backward = hone_fused_swiglu_activation_backward,
    .cross_entropy_loss_forward = hone_fused_cross_entropy_loss_forward,
    .cross_entropy_loss_backward = hone_fused_cross_entropy_loss_backward,
    .lora_linear_forward = hone_fused_lora_linear_forward,
    .lora_linear_backward = hone_fused_lora_linear_backward,
    .attention_with_rope_forward = hone_fused_attention_with_rope_forward,
    .attention_with_rope_backward = hone_fused_attention_with_rope_backward,
    .linear_cross_entropy = hone_fused_linear_cross_entropy,
    .rms_norm_rebuild = hone_fused_rms_norm_rebuild,
};
