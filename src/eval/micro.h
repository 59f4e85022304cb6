/* eval/micro: level 1: each of the six kernels, forward and backward, against the oracle and against the naive set.
 * Layer eval.
 *
 * Every side runs in a process of its own (eval/kernel_lead) and can only fill buffers that this process laid out. What
 * is in them, when a call began and ended, and what it is worth is decided here. */
#ifndef HONE_EVAL_MICRO_H
#define HONE_EVAL_MICRO_H

#include "eval/report.h"

typedef struct hone_micro_options {
    const char *program; /* the hone that workers are started from, an absolute path */
    const char *kernels; /* a shared object: the candidate; NULL: the shipped set is */
    unsigned only;       /* bits, 1 << hone_op, of the kernels to look at; 0: all six */
    int threads;
    int trials; /* pairs of samples at least, and 8; more until the intervals are narrow or time is up */
    uint64_t seed;     /* of contents and of the shapes that are drawn */
    unsigned features; /* HONE_CPU_* that kernels may use */
    hone_tuning tuning;
    bool quick;           /* fewer shapes, one seed; what was found wrong is not timed */
    bool unsafe;          /* go on where the sandbox is not complete */
    double seconds;       /* of the whole level: each row gets its share */
    double order_seconds; /* that the candidate may take for one order; 0: 30 */
    double check_seconds; /* and for all cases of one kernel; 0: 30 */
    /* What runs now, how far the level is; false stops. NULL: none. */
    bool (*on_progress)(void *user, const char *what, double fraction);
    /* All rows of this kernel are done. NULL: none. */
    void (*on_kernel)(void *user, int kernel);
    void *user;
} hone_micro_options;

/* Adds every row to the report and measures them in order; fills the report's noise unless it is there, and of its
 * candidate has, set_name and, when something was wrong, verdict and reason. A candidate that is wrong, dies or cannot
 * be loaded is a result, not an error. HONE_ERR_INTERRUPTED leaves the rest not tested. */
hone_status hone_micro_run(const hone_micro_options *options, hone_eval_report *report,
                           hone_error *err);

#endif
