/* eval/macro: level 2: a real model fine-tuned with the candidate's set and with the naive one. Layer eval.
 *
 * Both trainings run in processes of their own, step by step in turns, on the same batches and seeds. Either ends
 * well or the row says why not: nothing is estimated. */
#ifndef HONE_EVAL_MACRO_H
#define HONE_EVAL_MACRO_H

#include "eval/report.h"

typedef struct hone_macro_options {
    const char *worker; /* the program that trains: path of `hone`, or one that speaks like it */
    const char *model, *data;
    const char *weights;   /* NULL: as stored; "bf16" */
    const char *candidate; /* the set to compare with "naive": "fused" */
    int steps, batch_size, seq_len;
    uint64_t seed;
    double start_seconds, step_seconds; /* longest that a start and a step may take */
    /* Both trainings are ready for their first step. `samples`: -1 when not told. NULL: none. */
    void (*on_start)(void *user, int64_t samples);
    /* After each step of each training, step from 1. NULL: none. */
    void (*on_step)(void *user, bool naive, int step, double loss, double seconds);
    bool (*keep_waiting)(void *user); /* asked at least twice a second; false stops. NULL: wait */
    void *user;
} hone_macro_options;

/* Fills row's status, reason, curves and figures. A training that fails is a result (HONE_MACRO_FAILED, HONE_OK);
 * HONE_ERR_INTERRUPTED leaves the row not tested, with the steps that both have done. */
hone_status hone_macro_run(const hone_macro_options *options, hone_macro_row *row, hone_error *err);

#endif
