/* eval/macro: level 2: a real model fine-tuned with the candidate's kernels, with the naive set and, where the
 * candidate is a file, with the shipped set. Layer eval.
 *
 * The trainings run in processes of their own, step by step in turns, on the same batches and seeds. Either all end
 * well or the row says why not: nothing is estimated. */
#ifndef HONE_EVAL_MACRO_H
#define HONE_EVAL_MACRO_H

#include "eval/training.h"

typedef struct hone_macro_options {
    const char *worker; /* the program that trains: path of `hone`, or one that speaks like it */
    const char *model, *data;
    const char *weights;      /* NULL: as stored; "bf16" */
    const char *kernels;      /* the candidate's shared object; NULL: it is the shipped set */
    const char *const *peers; /* [peer_count] commands */
    size_t peer_count;
    int steps;       /* of each training; 0: as many as the figures take, within `seconds` */
    int curve;       /* steps that a loss curve has, if time allows; 0: no curves */
    int sabotages;   /* kernels that are made wrong, once each: drawn with `seed` where not all */
    int hidden_rows; /* that what was learnt is judged by */
    int batch_size, seq_len;
    uint64_t seed;
    double seconds;     /* what the row should take */
    const char *folder; /* an empty one of this row's own, for adapters and drawn rows */
    const hone_sandbox_options
        *box; /* where the trainings run, `writable` apart; NULL: unconfined */
    double start_seconds, step_seconds; /* longest that a start and a step may take */
    /* All trainings are ready for their first step. `samples`: -1 when not told. NULL: none. */
    void (*on_start)(void *user, int64_t samples);
    /* After each step of each training, step from 1. NULL: none. */
    void (*on_step)(void *user, const hone_training *training);
    /* What is done now, how much of the row is: asked at least twice a second; false stops. NULL: go on. */
    bool (*keep_going)(void *user, const char *what, double fraction);
    void *user;
} hone_macro_options;

/* Fills row's status, reason, curves and figures; what was not done goes to report->not_tested. A training that fails
 * is a result (HONE_MACRO_FAILED, HONE_OK); HONE_ERR_INTERRUPTED leaves the row not tested, with the steps that all
 * have done. */
hone_status hone_macro_run(const hone_macro_options *options, hone_eval_report *report,
                           hone_macro_row *row, hone_error *err);

#endif
