/* eval/report: everything an evaluation found out, in one struct. The text lines, the JSON file and the scores are
 * all made from it. Layer eval.
 *
 * A figure that was not measured is NaN, a size that was not measured 0. */
#ifndef HONE_EVAL_REPORT_H
#define HONE_EVAL_REPORT_H

#include "base/status.h"
#include "eval/stats.h"
#include "ops/ops.h"

/* One kernel, one pass, one type, one shape. */
typedef struct hone_micro_row {
    int kernel; /* a hone_op */
    bool backward;
    const char *dtype; /* of the computation: "f32", "bf16"; static */
    const char
        *weights;      /* of the linear layers: "f32", "bf16", "q4_1"; NULL: the kernel has none */
    char shape[80];    /* e.g. "batch 4, seq 64, hidden 256" */
    bool checked;      /* against the oracle, in whole or until a case failed */
    bool tested;       /* timed, and the timed calls compared */
    bool correct;      /* as far as checked or tested */
    char reason[512];  /* why not correct or not tested: the case, the output, by how much */
    int trials, calls; /* pairs of samples, calls in each sample */
    double seconds, naive_seconds;  /* of one call, medians */
    double speedup;                 /* naive / candidate */
    hone_interval speedup_interval; /* 95% */
    size_t bytes, naive_bytes;      /* peak of outputs, saved tensors and scratch; inputs apart */
    double memory_ratio;
    double flops, traffic; /* of one call: operations and bytes that it cannot do without */
} hone_micro_row;

typedef enum hone_macro_status {
    HONE_MACRO_NOT_TESTED, /* not here, not readable by this version, or stopped before its end */
    HONE_MACRO_FAILED,     /* a training that began and did not end well */
    HONE_MACRO_TESTED
} hone_macro_status;

/* One model in one precision, fine-tuned with both sets. */
typedef struct hone_macro_row {
    size_t
        model_index; /* below model_count; rows with the same one are one model, whatever its name */
    char *model, *path; /* owned; path NULL when the model is not here */
    char size[16];      /* "135M" */
    char precision[16]; /* "4-bit", "bfloat16", "q8_0", ...; empty when it could not be opened */
    bool converted;     /* bfloat16 was made from the stored weights */
    hone_macro_status status;
    char reason[1024];               /* why not tested or failed */
    int steps;                       /* of each set, that both have done */
    double *losses, *naive_losses;   /* [steps], owned */
    double *seconds, *naive_seconds; /* [steps], owned; by the clock of the evaluating process */
    double tokens_per_sec, naive_tokens_per_sec; /* medians */
    size_t peak_rss, naive_peak_rss;             /* bytes, whole process */
    double speedup, shipped_speedup;             /* over the naive set, over the shipped one */
    hone_interval speedup_interval;
    double memory_ratio;
    double loss_diff,
        loss_diff_max; /* |difference| in the last quarter of the steps: mean; over all steps: largest */
} hone_macro_row;

struct hone_eval_report {
    hone_machine_info machine;
    const char *candidate; /* "fused (built in)" */
    bool micro_wanted, macro_wanted, interrupted;
    int trials, steps, batch_size, seq_len;
    uint64_t seed;
    char *data; /* owned */
    hone_micro_row *micro;
    size_t micro_count, micro_capacity;
    hone_macro_row *macro;
    size_t macro_count, macro_capacity;
    size_t model_count; /* models that the rows are of, tested or not */
    double seconds;     /* the evaluation took */
};

hone_status hone_report_make(hone_eval_report **out, hone_error *err);

/* A new row of zeros and NaNs at the end, not tested; pointers to earlier rows become invalid. */
hone_status hone_report_add_micro(hone_eval_report *report, hone_micro_row **out, hone_error *err);
/* `index` says which model: report->model_count for a new one. */
hone_status hone_report_add_macro(hone_eval_report *report, size_t index, const char *model,
                                  const char *path, hone_macro_row **out, hone_error *err);

/* Memory for the curves of `steps` steps: 1 to HONE_EVAL_MAX_PAIRS. */
hone_status hone_macro_row_reserve(hone_macro_row *row, int steps, hone_error *err);

/* Figures that follow from the curves and sizes: speedup, ratio, loss difference, tokens per second. */
void hone_macro_row_finish(hone_macro_row *row, size_t tokens_per_step, uint64_t seed);

#endif
