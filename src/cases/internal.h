/* cases/internal: what the operations' files share. Layer cases; not for other layers. */
#ifndef HONE_CASES_INTERNAL_H
#define HONE_CASES_INTERNAL_H

#include "cases/cases.h"
#include "kernels/ref/ref.h"

#define HONE_CASE_INTEGERS HONE_DTYPE_COUNT /* dtype of int32 tensors */

extern const hone_case hone_case_rms_norm, hone_case_rope_embeddings, hone_case_swiglu_activation,
    hone_case_cross_entropy_loss, hone_case_linear_cross_entropy, hone_case_lora_linear,
    hone_case_attention_with_rope;

static inline size_t hone_case_rows(const hone_case_shape *shape) {
    return shape->batch * shape->seq;
}

/* Describes tensor `index`; `scale` is the standard deviation of what fills it. */
void hone_case_declare(hone_case_run *run, size_t index, const char *name, hone_case_role role,
                       hone_case_pass pass, hone_dtype dtype, size_t rows, size_t cols,
                       double scale);

/* A linear layer's tensors, from a first slot on. */
enum {
    LINEAR_W,
    LINEAR_BIAS,
    LINEAR_A,
    LINEAR_B,
    LINEAR_DW,
    LINEAR_DBIAS,
    LINEAR_DA,
    LINEAR_DB,
    LINEAR_SLOTS
};

/* Declares them (named "da", "gate.da" or "up.da"). */
typedef enum hone_case_linear_name {
    HONE_CASE_LINEAR,
    HONE_CASE_GATE,
    HONE_CASE_UP
} hone_case_linear_name;
void hone_case_declare_linear(hone_case_run *run, size_t first, hone_case_linear_name name,
                              hone_case_pass pass, size_t in, size_t out);
/* Points run->linear[which] at them. */
void hone_case_bind_linear(hone_case_run *run, size_t first, int which);

/* The size that a gradient among them has for x and dy of these sizes; 0 for other tensors. */
double hone_case_linear_size(const hone_case_run *run, size_t first, size_t tensor, double x,
                             double dy);

/* The same for the oracle, and where its gradients go. */
hone_ref_linear hone_case_ref_linear(const hone_case_run *run, size_t first);
hone_ref_linear_gradients hone_case_ref_gradients(const hone_case_run *run, size_t first);

/* Fills the tables cos, sin [positions, rope_dim/2]. */
void hone_case_fill_rope(const hone_case_run *run, size_t cosine, size_t sine);

/* Labels in [0, vocab), the last row's in the upper half, and HONE_IGNORE as the shape says; others where they count;
 * 1 / how many count. */
void hone_case_fill_labels(const hone_case_run *run, size_t labels, hone_rng *rng);
void hone_case_redraw_labels(const hone_case_run *run, size_t labels, hone_rng *rng);
float hone_case_loss_scale(const hone_case_run *run, size_t labels);

/* For draws: a size from low to high, a magnitude spread evenly over its logarithm. */
size_t hone_case_between(hone_rng *rng, size_t low, size_t high);
double hone_case_magnitude(hone_rng *rng, double low, double high);
/* One size of a FAR or FARTHEST shape: beyond `near`, up to `far`. */
size_t hone_case_reach_to(hone_case_reach reach, size_t near, size_t far, hone_rng *rng);
/* None, or one of a rank up to `most` of which A, B, both or neither are frozen. */
void hone_case_draw_adapter(hone_case_shape *shape, size_t most, hone_rng *rng);
/* A type of weights, with `in` made a multiple of its block. */
void hone_case_draw_weight(hone_case_shape *shape, size_t *in, hone_rng *rng);
/* A linear layer from *in to *out, both of the shape's: up to so much NEAR; beyond, one of the two reaches further. */
typedef struct hone_case_limits {
    size_t seq, in, out, rank;
} hone_case_limits;
void hone_case_draw_linear(hone_case_shape *shape, size_t *in, size_t *out,
                           const hone_case_limits *near, hone_case_reach reach, hone_rng *rng);

/* Roughly normal with mean 0 and variance 1, cheap: of four uniform values of 16 bits. */
double hone_case_normal(hone_rng *rng);

/* Bytes of a tensor of this type; false when it has none. */
bool hone_case_tensor_bytes(const hone_case_tensor *t, size_t *bytes);
/* Random contents of any dtype, and their values. */
void hone_case_fill(const hone_case_tensor *t, hone_rng *rng);
void hone_case_decode(const hone_case_tensor *t, const void *data, double *values);
/* A step between codes that gives values of standard deviation t->scale, different from block to block. */
double hone_case_step(const hone_case_tensor *t, double uniform);
/* A dense or quantized tensor as a matrix. */
hone_matrix hone_case_matrix(const hone_case_tensor *t);

/* A hash of `bytes` bytes, which continues `start`. */
uint64_t hone_case_hash(const void *data, size_t bytes, uint64_t start);

enum {
    HONE_CASE_MOST_THREADS = 64,
    HONE_CASE_NORM_COUNT = 64 /* fewer elements have no norm: one rounding could be all of it */
};

static inline void *hone_case_data(const hone_case_run *run, size_t index) {
    return run->tensor[index].data;
}

#endif
