/* cases: one description per operation: shapes, inputs, oracle, bounds, FLOPs and bytes moved. The
 * correctness check, the tests and the evaluation all read it. Layer above ops.
 *
 * A hone_case_run is one operation at one shape with one set of ops and buffers of its own, filled from
 * a seed. Its arrays are named tensors; what is compared are outputs: results and gradients. The
 * oracle sees the inputs as they are stored: bfloat16 rounded, quantized weights as they decode.
 *
 *   check:    hone_case_check does all of it.
 *   measure:  hone_case_open (several, with different seeds) -> hone_case_plan, hone_arena_open -> per
 *             sample, outside the clock: hone_case_refill, hone_case_reset; in a team: hone_case_run_pass for
 *             FORWARD, then BACKWARD (once per reset) -> hone_case_agrees with the run of a trusted set.
 *
 * Two processes may share a run: both open it with the same shape in rooms over the same memory, one with `filled`.
 */
#ifndef HONE_CASES_CASES_H
#define HONE_CASES_CASES_H

#include "base/rng.h"
#include "ops/ops.h"

/* What to run. Fields that an op has no use for are 0. */
typedef struct hone_case_shape {
    size_t batch, seq, hidden,
        vocab; /* rows = batch * seq; attention: `batch` segments of seq rows */
    size_t heads, kv_heads, head_dim, rope_dim; /* rope_dim 0: head_dim */
    size_t ffn, in, out, rank;                  /* in, out: lora_linear */
    hone_dtype compute;                         /* F32 or BF16 */
    hone_dtype weight; /* of linears: F32, F16, BF16, Q4_0, Q4_1, Q8_0, AFFINE4 (group below) */
    int group;
    double magnitude; /* of the inputs; 0 means 1 */
    enum { HONE_LABELS_RANDOM, HONE_LABELS_SOME_IGNORED, HONE_LABELS_ALL_IGNORED } labels;
    bool interleaved;
    bool
        in_place; /* rope: y is x; cross_entropy: dlogits is logits; linears: y and dx are float32, added to;
                      rms_norm: dy is float32 */
    bool trained; /* gradients of weights, biases and gamma too, and a bias there */
    bool uneven;  /* attention: segments of different lengths, from 1 row up */
    size_t
        past; /* attention: keys before each segment's first query; q and k are rotated already then;
                    rope: positions before the first */
    enum {
        HONE_FROZEN_NONE,
        HONE_FROZEN_A,
        HONE_FROZEN_B,
        HONE_FROZEN_BOTH
    } frozen; /* of adapters */
} hone_case_shape;

/* The passes of an op. REBUILD: a set's composite that writes again what forward did not keep. */
typedef enum hone_case_pass {
    HONE_CASE_FORWARD,
    HONE_CASE_BACKWARD,
    HONE_CASE_REBUILD,
    HONE_CASE_PASSES
} hone_case_pass;

/* Bounds of one output. With size the larger of `floor` and the root mean square of what is expected:
 * |got - want| <= absolute * size + relative * |want| element by element, AND, from 64 elements on,
 * |got - want|_2 <= norm * size * sqrt(elements). NaN never passes. `why` says where they come from. */
typedef struct hone_case_bounds {
    double absolute, relative, norm;
    const char *why;
    double floor; /* size of the terms where they may cancel: 0 where they do not */
} hone_case_bounds;

typedef enum hone_case_role {
    HONE_CASE_INPUT,    /* const: unchanged after every pass */
    HONE_CASE_RESIDUAL, /* an input that forward alone reads, unless the set keeps_residual */
    HONE_CASE_CONSUMED, /* an input that a set may overwrite */
    HONE_CASE_OUTPUT,   /* NaN before the run */
    HONE_CASE_ADDED,    /* an output that a pass adds to (+=) */
    HONE_CASE_IN_PLACE  /* an input that a pass overwrites with an output */
} hone_case_role;

typedef struct hone_case_tensor {
    const char *name; /* NULL: this run has no such tensor */
    hone_case_role role;
    hone_case_pass pass; /* outputs: the pass that writes it */
    bool gradient;       /* an output of FORWARD that is left out where no backward follows */
    hone_dtype dtype;    /* HONE_DTYPE_COUNT: int32 */
    size_t rows, cols;
    size_t bytes;
    double scale; /* of the random values that fill it */
    int group; /* AFFINE4: cols per scale and bias, which follow the codes in `data` as float32 */
    void *data;
    void *start;    /* contents before the run, of what a pass may change; else NULL */
    uint64_t hash;  /* INPUT: of its contents */
    double *values; /* inputs as float64, [rows, cols]: after hone_case_oracle; else NULL */
    double *want;   /* outputs, [rows, cols]: after hone_case_oracle */
} hone_case_tensor;

enum { HONE_CASE_TENSORS = 24 };

typedef struct hone_case hone_case;

/* How large drawn shapes are. FAR: one size (columns, keys, vocabulary, positions) is anywhere up to the largest of
 * real models, FARTHEST: in the last fifth of that way; all others are small. */
typedef enum hone_case_reach { HONE_CASE_NEAR, HONE_CASE_FAR, HONE_CASE_FARTHEST } hone_case_reach;

typedef struct hone_case_run {
    const hone_case *kind;
    const hone_op_set *set;
    hone_case_shape shape;
    hone_case_tensor tensor[HONE_CASE_TENSORS];
    hone_linear linear[2];  /* descriptors that the arguments point to */
    hone_segment *segments; /* [segment_count], owned */
    size_t segment_count;
    float loss_scale;
    void *pages; /* [page_bytes], owned: of a run that was opened without a room */
    size_t page_bytes;
} hone_case_run;

/* One operation. The functions are for this layer. */
struct hone_case {
    const char *name;              /* "rms_norm", ... */
    bool backward;                 /* false: one call does all, counted as FORWARD */
    bool linear;                   /* reads `weight`: measured with quantized weights too */
    const hone_case_shape *shapes; /* of the check, in float32 and bfloat16 each */
    size_t shape_count;
    void (*declare)(hone_case_run *run);
    void (*fill)(const hone_case_run *run, hone_rng *rng);    /* integers and tables; NULL: none */
    void (*redraw)(const hone_case_run *run, hone_rng *rng);  /* other integers; NULL: none */
    hone_status (*bind)(hone_case_run *run, hone_error *err); /* descriptors, from the contents */
    void (*pass[HONE_CASE_PASSES])(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved);
    bool (*oracle)(hone_case_run *run);
    hone_case_bounds (*bounds)(const hone_case_run *run, size_t tensor);
    void (*work)(const hone_case_shape *shape, hone_case_pass pass, double *flops, double *bytes);
    void (*draw)(hone_case_shape *shape, hone_case_reach reach, hone_rng *rng); /* sizes */
};

/* rms_norm, rope_embeddings, swiglu_activation, cross_entropy_loss, lora_linear, attention_with_rope, and
 * linear_cross_entropy, the fused linear form (sets without it: its parts). NULL past the end. */
const hone_case *hone_case_at(size_t index);
const hone_case *hone_case_find(const char *name);

/* Whether `set` has this pass of this operation. */
bool hone_case_has(const hone_case *kind, const hone_op_set *set, hone_case_pass pass);

/* The shapes to measure, without `compute` and `weight` (both F32): three fixed ones and, where `model` is not
 * NULL, a model's, of which batch, seq, hidden, vocab, heads, kv_heads, head_dim, ffn and rank count.
 * Returns how many were written; 4 is room enough. */
size_t hone_case_bench_shapes(const hone_case *kind, const hone_case_shape *model,
                              hone_case_shape *out, size_t room);

/* FLOPs and bytes that a pass cannot do without: unavoidable reads of inputs and writes of outputs. */
void hone_case_work(const hone_case *kind, const hone_case_shape *shape, hone_case_pass pass,
                    double *flops, double *bytes);

/* ---- a run ------------------------------------------------------------------------------- */

/* Where tensors are laid out, one after another, each followed by a page that is not used. */
typedef struct hone_case_space {
    char *base; /* on a page */
    size_t bytes, used;
} hone_case_space;

/* Memory for runs: the const inputs may lie in pages that cannot be written. */
enum { HONE_CASE_FIXED, HONE_CASE_CHANGING, HONE_CASE_SPACES };
typedef struct hone_case_room {
    hone_case_space space[HONE_CASE_SPACES]; /* of INPUT, of all others */
    bool filled;                             /* by who shares it: contents are read, not written */
    bool guards; /* the pages between are made inaccessible, for as long as they are mapped */
} hone_case_room;

/* Buffers filled from `seed`, in `room` or, where it is NULL, in pages of their own, with guards. `guarded`: each ends
 * where the unused page begins (and starts wherever that puts it); else each starts on a page. Close it in any case. */
hone_status hone_case_open(const hone_case *kind, const hone_case_shape *shape,
                           const hone_op_set *set, uint64_t seed, bool guarded,
                           hone_case_room *room, hone_case_run *run, hone_error *err);
void hone_case_close(hone_case_run *run);

/* Bytes of each space that such a run takes. */
hone_status hone_case_measure(const hone_case *kind, const hone_case_shape *shape,
                              const hone_op_set *set, size_t bytes[HONE_CASE_SPACES],
                              hone_error *err);

/* Memory of forward and, after it, backward on a team of `threads`, inputs and what they update left out. */
typedef struct hone_case_memory {
    size_t arena;                     /* to reserve for both passes */
    size_t outputs[HONE_CASE_PASSES]; /* bytes of the outputs that a pass writes */
    size_t peak[HONE_CASE_PASSES];    /* outputs + the most saved and scratch during the pass */
} hone_case_memory;
hone_case_memory hone_case_plan(const hone_case_run *run, const hone_kernels *kernels, int threads);

/* Poisons outputs with NaN and restores what a set may overwrite: before each FORWARD. _from: to what `start`, a run
 * of the same shape, began with; every thread of a team does its part. */
void hone_case_reset(const hone_case_run *run);
void hone_case_reset_from(const hone_case_run *run, const hone_case_run *start, hone_team team);

/* New random contents of the same kind, every thread of a team its part: of the const inputs at once, of all others
 * with the next reset. What has to be ignored, and with it the descriptors, stays. What hone_case_compare expects and
 * the hashes of inputs do not follow. */
void hone_case_refill(const hone_case_run *run, uint64_t seed, hone_team team);

/* After FORWARD: overwrites what it alone may read with NaN. False when it is not what `start` began with. */
bool hone_case_forget(const hone_case_run *run, const hone_case_run *start);

/* One pass, called by every thread of a team with its own ctx (kernels, compute and arena filled) and
 * saved ({0} before FORWARD, kept until BACKWARD; NULL: a FORWARD that no BACKWARD follows). Starts and ends
 * together. */
void hone_case_run_pass(const hone_case_run *run, hone_case_pass pass, hone_ctx *ctx,
                        hone_saved *saved);

/* ---- right or wrong ---------------------------------------------------------------------- */

typedef struct hone_case_report {
    bool passed;
    const char *tensor;  /* the worst output, or the input that was changed */
    double error, bound; /* there, of the rule that came closest: element or norm */
    double share;        /* error / bound: above 1, or not a number, fails */
    char message[256];   /* one line on what failed; empty after success */
} hone_case_report;

/* Expected outputs: from the oracle in float64, or, where that would take too long, from a run of another set with
 * the same shape and seed, already run. */
hone_status hone_case_oracle(hone_case_run *run, hone_error *err);
hone_status hone_case_expect(hone_case_run *run, const hone_case_run *trusted, hone_error *err);

/* Compares the outputs of `pass` with what is expected. `slack` multiplies the bounds: 1 against the oracle,
 * 2 against another set. */
void hone_case_compare(const hone_case_run *run, hone_case_pass pass, double slack,
                       hone_case_report *report);

/* Hashes of what a FORWARD without a backward writes, by tensor. It has to write the same bits with one: the report
 * then tells of the first tensor where they differ from `unsaved`, unless it tells of something else. */
void hone_case_hash_forward(const hone_case_run *run, uint64_t hashes[HONE_CASE_TENSORS]);
void hone_case_compare_forward(const hone_case_run *run, const uint64_t unsaved[HONE_CASE_TENSORS],
                               hone_case_report *report);

/* Says that forward has changed what it alone may read. */
void hone_case_blame_residual(const hone_case_run *run, hone_case_report *report);

/* The same of all passes against the oracle, the worst, and that const inputs are as they were. With `digest` not NULL:
 * a hash of all outputs' bits. */
void hone_case_compare_all(const hone_case_run *run, hone_case_report *report, uint64_t *digest);

/* Whether every output of `pass` is within `slack` times the bounds of what `trusted`, a run of the same shape with the
 * same contents, has there. Fast, as they are stored, in float32: where it says no, hone_case_expect and
 * hone_case_compare have the last word, and words. Every thread of a team calls it, with the same scratch. */
typedef struct hone_case_sums {
    double squares[64], errors[64]; /* [threads] */
    bool wrong[64];
} hone_case_sums;
bool hone_case_agrees(const hone_case_run *run, const hone_case_run *trusted, hone_case_pass pass,
                      double slack, hone_team team, hone_case_sums *sums);

/* A shape of the kind's own space that no list holds: odd sizes, large inputs, ignored labels, quantized weights; small
 * enough for the oracle. `compute` is F32. */
hone_case_shape hone_case_draw(const hone_case *kind, hone_case_reach reach, hone_rng *rng);

/* Opens, runs forward without a backward and then every pass of the set on `threads` threads, compares with the oracle,
 * closes. The report is of the worst pass. */
hone_status hone_case_check(const hone_case *kind, const hone_case_shape *shape,
                            const hone_op_set *set, const hone_kernels *kernels, int threads,
                            uint64_t seed, hone_case_report *report, uint64_t *digest,
                            hone_error *err);

#endif
