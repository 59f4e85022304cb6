/* ops/naive/set: the baseline set of operations. */
#include "ops/naive/naive.h"

const hone_op_set hone_ops_naive = {
    .name = "naive",
    .keeps_residual = true,
    .keeps_normed = true,
    .rms_norm_forward = hone_naive_rms_norm_forward,
    .rms_norm_backward = hone_naive_rms_norm_backward,
    .rope_embeddings_forward = hone_naive_rope_embeddings_forward,
    .rope_embeddings_backward = hone_naive_rope_embeddings_backward,
    .swiglu_activation_forward = hone_naive_swiglu_activation_forward,
    .swiglu_activation_backward = hone_naive_swiglu_activation_backward,
    .cross_entropy_loss_forward = hone_naive_cross_entropy_loss_forward,
    .cross_entropy_loss_backward = hone_naive_cross_entropy_loss_backward,
    .lora_linear_forward = hone_naive_lora_linear_forward,
    .lora_linear_backward = hone_naive_lora_linear_backward,
    .attention_with_rope_forward = hone_naive_attention_with_rope_forward,
    .attention_with_rope_backward = hone_naive_attention_with_rope_backward,
};
