/* eval/training: one training in a process of its own, led step by step: a worker (eval/worker.h) that is started with
 * the options of a training and whose events fill a hone_training. Layer eval. */
#ifndef HONE_EVAL_TRAINING_H
#define HONE_EVAL_TRAINING_H

#include "eval/report.h"
#include "eval/worker.h"

typedef struct hone_training_options {
    const char *program;  /* `hone`, or what speaks like it */
    const char *peer;     /* NULL, or the words of a command to run in place of `program` */
    const char *ops;      /* "naive", "fused"; NULL with `kernels`, and for a peer */
    const char *kernels;  /* a shared object, in a box or accepted; NULL: none */
    const char *sabotage; /* a kernel's name; NULL: none */
    const char *model, *data;
    const char *weights; /* NULL: as stored; "bf16" */
    const char *adapter; /* folder to write the adapter to; NULL: nothing is written */
    int batch_size, seq_len;
    uint64_t seed;
    const hone_sandbox_options *box;    /* where it runs; NULL: as this process does */
    double start_seconds, step_seconds; /* longest that a start and a step may take */
    bool (*keep_waiting)(void *user);   /* asked at least twice a second; false stops. NULL: wait */
    void *user;
} hone_training_options;

/* A running one. All zeros: none. */
typedef struct hone_led_training {
    hone_training_options options;
    hone_training *result; /* the caller's */
    double
        patience; /* longest that the next step may take; the options' until the caller knows better */
    hone_worker worker;
    size_t told_rss; /* what it says of its own peak */
    int64_t samples; /* rows of data, as it says; -1: it does not */
} hone_led_training;

/* Starts the process; `result`, with its name, is filled as it goes. */
hone_status hone_led_start(hone_led_training *led, const hone_training_options *options,
                           hone_training *result, hone_error *err);

/* Until it is ready for its first step: to be called after all were started, so that they get ready together. */
hone_status hone_led_ready(hone_led_training *led, hone_error *err);

/* One step, by this process's clock; result must have room for it. */
hone_status hone_led_step(hone_led_training *led, hone_error *err);

/* Ends it well: what it was to write is written, its calls are counted. */
hone_status hone_led_finish(hone_led_training *led, hone_error *err);

/* Notes its peak memory, kills what still runs and frees what is held. */
void hone_led_stop(hone_led_training *led);

#endif
