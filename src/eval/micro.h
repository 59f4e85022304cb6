/* eval/micro: level 1: each of the six kernels, forward and backward, against the oracle and against the naive set.
 * Layer eval. */
#ifndef HONE_EVAL_MICRO_H
#define HONE_EVAL_MICRO_H

#include "eval/report.h"
#include "ops/ops.h"

typedef struct hone_micro_options {
    const hone_op_set *candidate, *naive;
    const hone_kernels *kernels;
    const char *only; /* one kernel's name; NULL: all six */
    int threads, trials;
    uint64_t seed;
    double seconds; /* of the whole level: each row gets its share */
    /* What runs now, how far the level is; false stops. NULL: none. */
    bool (*on_progress)(void *user, const char *what, double fraction);
    /* All rows of this kernel are done. NULL: none. */
    void (*on_kernel)(void *user, int kernel);
    void *user;
} hone_micro_options;

/* Adds every row to the report and measures them in order. HONE_ERR_INTERRUPTED leaves the rest not tested. */
hone_status hone_micro_run(const hone_micro_options *options, hone_eval_report *report,
                           hone_error *err);

#endif
