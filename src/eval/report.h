/* eval/report: everything an evaluation found out, in one struct. The text lines, the JSON file and the scores are
 * all made from it. Layer eval.
 *
 * A figure that was not measured is NaN, a size that was not measured 0. */
#ifndef HONE_EVAL_REPORT_H
#define HONE_EVAL_REPORT_H

#include "base/json.h"
#include "eval/stats.h"
#include "ops/ops.h"

/* Who is measured. With no file of kernels the candidate is the shipped set, and there is no third side. */
typedef enum hone_side {
    HONE_SIDE_CANDIDATE,
    HONE_SIDE_NAIVE,
    HONE_SIDE_SHIPPED,
    HONE_SIDES
} hone_side;
extern const char *const hone_side_names[HONE_SIDES]; /* "candidate", "naive", "shipped" */

/* How much faster one side is than another, from pairs of samples that were taken in turns. */
typedef struct hone_comparison {
    double ratio;           /* of the medians: more than 1 is faster; NaN: not measured */
    hone_interval interval; /* 95%, bootstrap over the pairs */
    double p;               /* Wilcoxon's signed ranks, two-sided */
    int pairs;
} hone_comparison;

/* Whether the interval leaves 1 out and p is below 0.05, which takes six pairs: else no difference was shown. */
bool hone_comparison_shown(const hone_comparison *c);

/* Compares a's seconds with b's: ratio = median(a) / median(b). */
hone_comparison hone_compare_seconds(const double *a, const double *b, size_t pairs, uint64_t seed);

/* One kernel, one pass, one type, one shape. */
typedef struct hone_micro_row {
    int kernel; /* a hone_op */
    bool backward;
    const char *dtype;   /* of the computation: "f32", "bf16"; static */
    const char *weights; /* of the linear layers: "f32", "bf16", "q4_1"; NULL: it has none */
    char shape[96];      /* e.g. "batch 4, seq 64, hidden 256" */
    bool hidden;         /* the shape was drawn for this evaluation */
    bool inherited; /* the file has no such kernel: the shipped one ran, and nothing is credited */
    bool checked;   /* against the oracle, in whole or until a case failed */
    bool tested;    /* timed, and the timed calls compared */
    bool correct;   /* as far as checked or tested */
    char reason[512]; /* why not correct or not tested: the case, the output, by how much */
    int calls;        /* in each sample */
    double seconds[HONE_SIDES]; /* of one call, medians; NaN: not measured */
    size_t bytes[HONE_SIDES];   /* peak of outputs, saved tensors and scratch; inputs apart */
    hone_comparison over_naive, over_shipped;
    double memory_ratio;   /* candidate over naive */
    double flops, traffic; /* of one call: operations and bytes that it cannot do without */
} hone_micro_row;

typedef enum hone_macro_status {
    HONE_MACRO_NOT_TESTED, /* not here, not readable by this version, or stopped before its end */
    HONE_MACRO_FAILED,     /* a training that began and did not end well */
    HONE_MACRO_TESTED
} hone_macro_status;

/* Memory at the peak as `hone train --plan` shows it, and what the system counted. */
enum { HONE_PURPOSES = 10 };
extern const char *const hone_purpose_names[HONE_PURPOSES]; /* "program", "data", ..., "scratch" */

/* One training of a model. */
typedef struct hone_training {
    char name[64];         /* of the side or of the peer */
    int steps;             /* done */
    double *losses;        /* [steps], owned: as the training process told them */
    double *seconds;       /* [steps], owned: by the clock of the evaluating process */
    double tokens_per_sec; /* over the median step; NaN: not measured */
    size_t peak_rss;       /* bytes, whole process; 0: not known */
    size_t purpose[HONE_PURPOSES];
    double
        hidden_loss; /* of the adapter it wrote, on batches it has not seen, by the evaluating process; NaN */
    uint64_t calls[HONE_OP_COUNT][2]; /* forward, backward */
    char problem[256];                /* why it has no figures; empty: it has */
} hone_training;

/* A longer training for the loss curves alone, with one seed. */
typedef struct hone_curve {
    uint64_t seed;
    int steps;
    double *losses[HONE_SIDES]; /* [steps], owned; NULL: not this side */
} hone_curve;
enum { HONE_CURVES = 2 };

/* What became of the loss when a kernel was made wrong on purpose. */
typedef struct hone_sabotage {
    bool tested;
    double
        change; /* |loss with the wrong kernel - loss| of the first step; NaN: the loss was no number any more */
} hone_sabotage;

/* Whether the loss was another one. */
bool hone_sabotage_noticed(const hone_sabotage *sabotage);

/* One model in one precision, fine-tuned with every side. */
typedef struct hone_macro_row {
    size_t
        model_index; /* below model_count; rows with the same one are one model, whatever its name */
    char *model, *path; /* owned; path NULL when the model is not here */
    char size[16];      /* "135M" */
    char precision[16]; /* "4-bit", "bfloat16", "q8_0", ...; empty when it could not be opened */
    bool converted;     /* bfloat16 was made from the stored weights */
    hone_macro_status status;
    char reason[1024]; /* why not tested or failed */
    int steps;         /* that all sides have done */
    int skipped;       /* of them, at the start: warm-up that no figure counts */
    hone_training side[HONE_SIDES];
    hone_training *peers; /* [peer_count], owned */
    size_t peer_count;
    hone_comparison over_naive, over_shipped;
    double memory_ratio;  /* candidate over naive */
    double loss_diff;     /* |candidate - naive|, mean over the last quarter of the steps */
    double loss_diff_max; /* and the largest */
    hone_curve curves[HONE_CURVES];
    double curve_diff_max,
        curve_diff_final;  /* candidate and naive, same seed: largest over steps and seeds; over the
                                                last quarter. NaN: not measured */
    double seed_spread;    /* the naive set with one seed and with the other, last quarter */
    double untrained_loss; /* of the model as it is, on the hidden batches; NaN */
    hone_sabotage sabotage[HONE_OP_COUNT];
} hone_macro_row;

/* What this machine does in the same minutes: the roof over every kernel, and the noise in every figure. */
typedef struct hone_noise {
    double peak_f32, peak_bf16; /* FLOP/s of multiply-adds on registers, all threads; NaN: none */
    double cache_bandwidth,
        memory_bandwidth; /* bytes/s that a copy reads and writes, all threads */
    double call_seconds;  /* of a kernel that does nothing: what measuring a call costs */
    hone_comparison same; /* the shipped set against itself */
} hone_noise;

/* Whether the interval of the shipped set against itself leaves 1/1.25 to 1.25: other programs were in the way. */
bool hone_noise_is_loud(const hone_noise *noise);

/* Where the candidate's kernels come from. */
typedef struct hone_candidate {
    char name[80];          /* "fused (built in)", "kernels.c" */
    char *path;             /* owned; NULL: built in */
    char sha256[65];        /* of the source */
    char object_sha256[65]; /* of what was compiled from it */
    char compiler[128], flags[256];
    char set_name[64];
    bool has[HONE_OP_COUNT]; /* which of the six it implements itself */
    const char *verdict;     /* "accepted", "not accepted", "WRONG", ...; static */
    char reason[1024];
} hone_candidate;

struct hone_eval_report {
    hone_machine_info machine;
    hone_candidate candidate;
    bool micro_wanted, macro_wanted, quick, interrupted;
    int trials, steps, batch_size, seq_len;
    uint64_t seed;
    double budget; /* seconds that the evaluation may take */
    char *data;    /* owned */
    hone_noise noise;
    hone_micro_row *micro;
    size_t micro_count, micro_capacity;
    hone_macro_row *macro;
    size_t macro_count, macro_capacity;
    size_t model_count; /* models that the rows are of, tested or not */
    char
        *not_tested[32]; /* owned sentences: what a reader would expect and was not done, and why */
    size_t not_tested_count;
    double seconds; /* the evaluation took */
};

/* Adds a sentence to not_tested. What no longer fits is left out. */
void hone_report_not_tested(hone_eval_report *report, const char *format, ...) HONE_PRINTF(2, 3);

hone_status hone_report_make(hone_eval_report **out, hone_error *err);

/* A new row of zeros and NaNs at the end, not tested; pointers to earlier rows become invalid. */
hone_status hone_report_add_micro(hone_eval_report *report, hone_micro_row **out, hone_error *err);
/* `index` says which model: report->model_count for a new one. */
hone_status hone_report_add_macro(hone_eval_report *report, size_t index, const char *model,
                                  const char *path, hone_macro_row **out, hone_error *err);

/* Memory for the curves of `steps` steps of a training: 1 to HONE_EVAL_MAX_PAIRS. */
hone_status hone_training_reserve(hone_training *training, int steps, hone_error *err);

/* Figures that follow from the curves and sizes: comparisons, ratio, loss differences, tokens per second. */
void hone_macro_row_finish(hone_macro_row *row, size_t tokens_per_step, uint64_t seed);

/* Figures that follow from the longer curves. */
void hone_macro_row_finish_curves(hone_macro_row *row);

/* The report as schema.h and docs/evaluation.md describe it: a new reference. */
hone_status hone_report_json(const hone_eval_report *report, json_t **out, hone_error *err);

/* A file that was written so, checked: every member is there and of its type, whatever the file holds. */
hone_status hone_report_read_json(const char *path, json_t **out, hone_error *err);

#endif
