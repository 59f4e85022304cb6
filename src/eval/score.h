/* eval/score: scores and verdicts from a report's rows. Layer eval; docs/evaluation.md states the rules. */
#ifndef HONE_EVAL_SCORE_H
#define HONE_EVAL_SCORE_H

#include "eval/report.h"

/* The largest loss difference that counts as the same convergence. */
#define HONE_SAME_LOSS 0.01

/* 0.6 * correct share + 0.4 * min(speedup / 1.2, 2). */
double hone_score_micro(double correct_share, double speedup);

/* 0.4 * min(speedup / 1.2, 2) + 0.2 * min(shipped_speedup / 1.1, 2) + 0.3 * max(0, 1 - loss_diff / 0.1)
 * + 0.1 * clamp(2 - 2 * memory_ratio, 0, 1). */
double hone_score_macro(double speedup, double shipped_speedup, double loss_diff,
                        double memory_ratio);

/* Why the run is void, apart from wrong kernels: the candidate was not accepted, or a kernel that ran in a model was
 * made wrong there and the loss did not change. False: it is not. */
bool hone_report_is_void(const hone_eval_report *report, char *why, size_t size);

/* Found wrong, by the check before the timing or by a timed call. */
bool hone_row_is_wrong(const hone_micro_row *row);

/* All rows of one kernel (passes: 1 forward, 2 backward, 3 both). */
typedef struct hone_kernel_summary {
    size_t rows, tested;
    bool correct;                 /* of those checked or tested */
    bool inherited;               /* all rows are: the candidate has no such kernel */
    double speedup, memory_ratio; /* geometric means over the rows; NaN for none */
    hone_interval
        interval; /* of the speedup: the rows' distances to their ends, in logarithms, as the root
                                    * of the sum of squares over the number of rows */
    double over_shipped; /* the same over the shipped set */
    hone_interval over_shipped_interval;
    double seconds, naive_seconds; /* of a call: geometric means over the rows */
    const hone_micro_row *wrong;   /* the first wrong one; NULL when correct */
    const hone_micro_row *missing; /* the first one not tested; NULL when all were */
} hone_kernel_summary;
enum { HONE_PASS_FORWARD = 1, HONE_PASS_BACKWARD = 2, HONE_PASS_BOTH = 3 };
hone_kernel_summary hone_summarize_kernel(const hone_eval_report *report, int kernel, int passes);

/* All models. Rows of one model are averaged before models are. */
typedef struct hone_macro_summary {
    size_t models, rows, failed; /* models fine-tuned, in how many rows; rows that failed */
    double score;                /* a failed row counts 0; NaN when no row was tested or failed */
    double speedup, memory_ratio, loss_diff,
        loss_diff_max;                /* speedup: geometric mean; NaN for none */
    double speedup_low, speedup_high; /* over rows */
    bool shown;                       /* the speedup of every row was: no interval holds 1 */
} hone_macro_summary;
hone_macro_summary hone_summarize_macro(const hone_eval_report *report);

/* "excellent", "good", "minimum reached" or "below the minimum" for a geometric mean of kernel speedups. */
const char *hone_verdict_micro(double speedup);

typedef struct hone_macro_verdict {
    bool faster, smaller,
        converges; /* >= 20% faster, <= 0.7 of the memory, loss difference <= HONE_SAME_LOSS */
} hone_macro_verdict;
hone_macro_verdict hone_verdict_macro(double speedup, double memory_ratio, double loss_diff);

/* Over all rows tested, of every model in every precision: "High" when the largest speedup is at most 1.25 times the
 * smallest, "Medium" up to 1.6 times, else "Low"; "not measurable" with fewer than two models. */
const char *hone_consistency(const hone_eval_report *report);

#endif
