/* eval/macro: see macro.h. */
#include "eval/macro.h"

#include "base/clock.h"
#include "eval/worker.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CANDIDATE, NAIVE, SIDES };

typedef struct macro_run {
    const hone_macro_options *options;
    hone_macro_row *row;
    hone_worker workers[SIDES];
    size_t told_rss[SIDES]; /* what the workers say of their own peak */
    int64_t samples;
} macro_run;

static hone_patience patience_of(const hone_macro_options *o, double seconds) {
    return (hone_patience){.seconds = seconds, .keep_waiting = o->keep_waiting, .user = o->user};
}

static hone_status start_side(macro_run *run, int side, hone_error *err) {
    const hone_macro_options *o = run->options;
    char batch[16], seq[16], steps[16], seed[24];
    snprintf(batch, sizeof batch, "%d", o->batch_size);
    snprintf(seq, sizeof seq, "%d", o->seq_len);
    snprintf(steps, sizeof steps, "%d", o->steps);
    snprintf(seed, sizeof seed, "%" PRIu64, o->seed);
    const char *set = side == NAIVE ? "naive" : o->candidate;
    const char *argv[] = {o->worker,   "train",
                          "--json",    "--lockstep",
                          "--no-save", "--ops",
                          set,         "--model",
                          o->model,    "--data",
                          o->data,     "--packing",
                          "concat",    "--batch-size",
                          batch,       "--max-seq-length",
                          seq,         "--iters",
                          steps,       "--num-layers",
                          "-1",        "--rank",
                          "8",         "--learning-rate",
                          "1e-4",      "--val-batches",
                          "0",         "--save-every",
                          "0",         "--seed",
                          seed,        o->weights ? "--weights" : NULL,
                          o->weights,  NULL};
    return hone_worker_start(&run->workers[side], set, (char *const *)argv, err);
}

/* The next event of this name; events of other names (saved, validation, ...) are passed over. */
static hone_status wait_event(macro_run *run, int side, const char *name, double seconds,
                              json_t **event, hone_error *err) {
    double deadline = hone_clock_seconds() + seconds;
    for (;;) {
        hone_patience patience = patience_of(run->options, deadline - hone_clock_seconds());
        hone_status status = hone_worker_event(&run->workers[side], &patience, event, err);
        if (status == HONE_ERR_LIMIT)
            return hone_fail(err, HONE_ERR_LIMIT,
                             "the %s worker did not reach its next \"%s\" within %.0f s",
                             run->workers[side].name, name, seconds);
        if (status != HONE_OK) return status;
        const char *is = json_string_value(json_object_get(*event, "event"));
        if (strcmp(is, name) == 0) return HONE_OK;
        bool early = strcmp(is, "done") == 0 || strcmp(is, "step") == 0 || strcmp(is, "start") == 0;
        if (early)
            status = hone_fail(err, HONE_ERR_FORMAT,
                               "the %s worker reported \"%s\" where \"%s\" was expected",
                               run->workers[side].name, is, name);
        json_decref(*event);
        *event = NULL;
        if (early) return status;
    }
}

static hone_status wait_start(macro_run *run, int side, hone_error *err) {
    json_t *event;
    HONE_TRY(wait_event(run, side, "start", run->options->start_seconds, &event, err));
    json_t *samples = json_object_get(event, "samples");
    if (json_is_integer(samples)) run->samples = json_integer_value(samples);
    json_decref(event);
    return HONE_OK;
}

/* Reads loss and peak of a step; `step` counts from 1. */
static hone_status read_step(macro_run *run, int side, const json_t *event, int step, double *loss,
                             hone_error *err) {
    const char *who = run->workers[side].name;
    const json_t *iter = json_object_get(event, "iter"), *value = json_object_get(event, "loss");
    if (!json_is_integer(iter) || json_integer_value(iter) != step)
        return hone_fail(err, HONE_ERR_FORMAT, "the %s worker reported another step than %d", who,
                         step);
    *loss = json_number_value(value);
    if (!json_is_number(value) || !isfinite(*loss))
        return hone_fail(err, HONE_ERR_FORMAT,
                         "the %s training's loss of step %d is not a finite number", who, step);
    double mib = json_number_value(json_object_get(event, "peak_rss_mib"));
    if (mib > 0 && mib < 1e9) run->told_rss[side] = (size_t)(mib * 1048576);
    return HONE_OK;
}

static hone_status do_step(macro_run *run, int side, int step, hone_error *err) {
    hone_macro_row *row = run->row;
    json_t *event;
    double begin = hone_clock_seconds(), loss = NAN;
    HONE_TRY(hone_worker_go(&run->workers[side], err));
    HONE_TRY(wait_event(run, side, "step", run->options->step_seconds, &event, err));
    double seconds = hone_clock_seconds() - begin;
    hone_status status = read_step(run, side, event, step, &loss, err);
    json_decref(event);
    if (status != HONE_OK) return status;
    hone_training *training = &row->side[side];
    training->losses[step - 1] = loss;
    training->seconds[step - 1] = seconds;
    training->steps = step;
    if (run->options->on_step)
        run->options->on_step(run->options->user, side == NAIVE, step, loss, seconds);
    return HONE_OK;
}

/* The system's figure for a worker's memory; its own where that is higher or the system tells none. */
static void take_memory(macro_run *run) {
    size_t peak[SIDES];
    for (int side = 0; side < SIDES; side++) {
        peak[side] = run->workers[side].peak_rss;
        if (run->told_rss[side] > peak[side]) peak[side] = run->told_rss[side];
    }
    for (int side = 0; side < SIDES; side++) run->row->side[side].peak_rss = peak[side];
}

static hone_status run_sides(macro_run *run, hone_error *err) {
    const hone_macro_options *o = run->options;
    for (int side = 0; side < SIDES; side++) HONE_TRY(start_side(run, side, err));
    for (int side = 0; side < SIDES; side++) HONE_TRY(wait_start(run, side, err));
    if (o->on_start) o->on_start(o->user, run->samples);
    for (int step = 1; step <= o->steps; step++) {
        /* Who goes first changes with every step, so a machine that slows down or speeds up favours neither. */
        int first = step % 2 ? CANDIDATE : NAIVE;
        HONE_TRY(do_step(run, first, step, err));
        HONE_TRY(do_step(run, first == NAIVE ? CANDIDATE : NAIVE, step, err));
        run->row->steps = step;
    }
    for (int side = 0; side < SIDES; side++) {
        json_t *event;
        HONE_TRY(wait_event(run, side, "done", o->step_seconds, &event, err));
        json_decref(event);
        hone_patience patience = patience_of(o, o->step_seconds);
        HONE_TRY(hone_worker_finish(&run->workers[side], &patience, err));
    }
    return HONE_OK;
}

hone_status hone_macro_run(const hone_macro_options *options, hone_macro_row *row,
                           hone_error *err) {
    macro_run run = {.options = options, .row = row, .samples = -1};
    hone_error failure = {0};
    for (int side = 0; side < SIDES; side++)
        HONE_TRY(hone_training_reserve(&row->side[side], options->steps, err));
    hone_status status = run_sides(&run, &failure);
    take_memory(&run);
    for (int side = 0; side < SIDES; side++) hone_worker_stop(&run.workers[side]);
    if (status == HONE_OK) {
        row->status = HONE_MACRO_TESTED;
        row->skipped = row->steps > 4 ? 2 : 0;
        hone_macro_row_finish(row, (size_t)options->batch_size * (size_t)options->seq_len,
                              options->seed);
        return HONE_OK;
    }
    if (status == HONE_ERR_INTERRUPTED) {
        row->status = HONE_MACRO_NOT_TESTED;
        snprintf(row->reason, sizeof row->reason, "stopped after %d of %d steps", row->steps,
                 options->steps);
        return hone_fail(err, status, "stopped");
    }
    if (status == HONE_ERR_MEMORY) return hone_fail(err, status, "%s", failure.message);
    row->status = HONE_MACRO_FAILED;
    snprintf(row->reason, sizeof row->reason, "%s", failure.message);
    return HONE_OK;
}
