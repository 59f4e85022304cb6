/* cases: one description per operation: shapes, inputs, oracle, tolerances, FLOPs and bytes moved.
 * The correctness check, the gradient check, the benchmark and the evaluation all read it.
 *
 * An operation's case file fills a hone_case_instance with float64 inputs drawn from a seed, knows
 * the float64 oracle (kernels/ref), and how to call one hone_op_set on those inputs. What it compares
 * are the op's outputs: forward results and every gradient.
 */
#ifndef HONE_CASES_CASES_H
#define HONE_CASES_CASES_H

#include "base/rng.h"
#include "kernels/kernels.h"

/* What to run. Fields that an op has no use for are 0. */
typedef struct hone_case_shape {
    size_t batch, seq, hidden, vocab; /* rows = batch * seq */
    size_t heads, kv_heads, head_dim, ffn, rank, in, out;
    hone_dtype compute; /* F32 or BF16 */
    hone_dtype weight;  /* linears: F32, BF16, Q4_0, Q4_1, Q8_0, AFFINE4 (group below) */
    int group;
    double magnitude; /* of the inputs; 0 means 1 */
    enum { HONE_LABELS_RANDOM, HONE_LABELS_SOME_IGNORED, HONE_LABELS_ALL_IGNORED } labels;
    bool interleaved, in_place;
} hone_case_shape;

/* Bounds of one output: |got - want| <= absolute + relative * |want| element by element, AND the
 * relative norm |got - want|_2 / |want|_2 <= norm. NaN/Inf classes must match. `why` says where they come from. */
typedef struct hone_case_bounds {
    double absolute, relative, norm;
    const char *why;
} hone_case_bounds;

#endif
