/* ops/naive/attention: what forward and backward of the baseline attention share. Layer ops, private to both. */
#ifndef HONE_OPS_NAIVE_ATTENTION_H
#define HONE_OPS_NAIVE_ATTENTION_H

#include "ops/naive/primitive.h"
#include "ops/segments.h"

/* Autograd would keep the rotated q, the rotated and repeated k, the repeated v, the probabilities and what the
 * product with v used of them. */
enum { HONE_NAIVE_Q, HONE_NAIVE_K, HONE_NAIVE_V, HONE_NAIVE_P, HONE_NAIVE_P_COMPUTE };

/* Tensors of scores hold, segment by segment, [heads, queries, keys]. */
typedef struct hone_naive_attention {
    hone_ctx *ctx;
    const hone_attention_args *args;
    size_t score_count; /* elements of such a tensor */
    size_t longest_q, longest_kv;
    const void *q, *k, *v; /* [rows, heads, head_dim], rotated, heads repeated */
    const float *p;        /* backward: the probabilities */
    void *panels, *turned; /* one thread's */
} hone_naive_attention;

/* A block of rows of one head of one segment's matrices: query rows, or key rows. */
typedef struct hone_naive_block {
    const hone_segment *segment;
    size_t head, row, rows;
    size_t queries, keys;
    size_t scores; /* where the head's matrix starts */
} hone_naive_block;

typedef void hone_naive_block_fn(const hone_naive_attention *job, const hone_naive_block *block,
                                 const void *in, void *out);

/* Runs fn on every block, split over the team, and ends with a barrier: a batched operation. */
void hone_naive_each_block(const hone_naive_attention *job, bool keys, hone_naive_block_fn *fn,
                           const void *in, void *out);

/* Sizes, and each thread's scratch for packing and transposing. */
hone_naive_attention hone_naive_attention_begin(hone_ctx *ctx, const hone_attention_args *args);

/* c[rows, n] = a[rows, k] B, with B[k][n] the rows of x [.., heads, head_dim] that start at x_row (by_rows: their
 * transpose). */
typedef struct hone_naive_product {
    size_t rows, head;
    const void *a;
    size_t lda;
    const void *x;
    size_t x_row, x_rows;
    bool by_rows;
    void *c;
    size_t ldc;
    hone_dtype c_dtype;
} hone_naive_product;
void hone_naive_attention_multiply(const hone_naive_attention *job,
                                   const hone_naive_product *product);

#endif
