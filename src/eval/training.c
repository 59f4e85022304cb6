/* eval/training: see training.h. */
#include "eval/training.h"

#include "base/clock.h"
#include "base/size.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <wordexp.h>

enum { MOST_ARGUMENTS = 96 };

/* ---- its command ---- */

typedef struct command {
    const char *argv[MOST_ARGUMENTS];
    int count;
    char batch[16], seq[16], steps[16], seed[24];
    wordexp_t words; /* of a peer */
} command;

static void add(command *c, const char *word) {
    if (c->count + 1 < MOST_ARGUMENTS) c->argv[c->count++] = word;
}

static void add_option(command *c, const char *name, const char *value) {
    if (!value) return;
    add(c, name);
    add(c, value);
}

/* A peer's command is split like a shell does it, without running anything. */
static hone_status add_program(command *c, const hone_training_options *o, hone_error *err) {
    if (!o->peer) {
        add(c, o->program);
        if (o->box) add(c, "confined");
        add(c, "train");
        return HONE_OK;
    }
    if (wordexp(o->peer, &c->words, WRDE_NOCMD) != 0 || c->words.we_wordc == 0)
        return hone_fail(err, HONE_ERR_USAGE, "\"%s\": expected a command to run", o->peer);
    for (size_t i = 0; i < c->words.we_wordc; i++) add(c, c->words.we_wordv[i]);
    return HONE_OK;
}

static hone_status make_command(command *c, const hone_training_options *o, hone_error *err) {
    snprintf(c->batch, sizeof c->batch, "%d", o->batch_size);
    snprintf(c->seq, sizeof c->seq, "%d", o->seq_len);
    snprintf(c->steps, sizeof c->steps, "%d", (int)HONE_EVAL_MAX_PAIRS);
    snprintf(c->seed, sizeof c->seed, "%" PRIu64, o->seed);
    HONE_TRY(add_program(c, o, err));
    add(c, "--json");
    add(c, "--lockstep");
    add_option(c, "--model", o->model);
    add_option(c, "--data", o->data);
    add_option(c, "--packing", "concat");
    add_option(c, "--batch-size", c->batch);
    add_option(c, "--max-seq-length", c->seq);
    add_option(c, "--iters", c->steps);
    add_option(c, "--num-layers", "-1");
    add_option(c, "--rank", "8");
    add_option(c, "--learning-rate", "1e-4");
    add_option(c, "--val-batches", "0");
    add_option(c, "--save-every", "0");
    add_option(c, "--seed", c->seed);
    add_option(c, "--weights", o->weights);
    add_option(c, "--adapter-path", o->adapter);
    if (!o->adapter) add(c, "--no-save");
    add_option(c, "--ops", o->ops);
    add_option(c, "--kernels", o->kernels);
    if (o->kernels && o->box) add(c, "--unsafe"); /* the box is what makes it safe */
    add_option(c, "--sabotage", o->sabotage);
    c->argv[c->count] = NULL;
    return HONE_OK;
}

hone_status hone_led_start(hone_led_training *led, const hone_training_options *options,
                           hone_training *result, hone_error *err) {
    command c = {.count = 0};
    *led = (hone_led_training){
        .options = *options, .result = result, .patience = options->step_seconds, .samples = -1};
    hone_status status = make_command(&c, options, err);
    if (status == HONE_OK)
        status =
            hone_worker_start(&led->worker, result->name, (char *const *)c.argv, options->box, err);
    if (options->peer) wordfree(&c.words);
    return status;
}

/* ---- its events ---- */

static hone_patience patience_of(const hone_led_training *led, double seconds) {
    return (hone_patience){
        .seconds = seconds, .keep_waiting = led->options.keep_waiting, .user = led->options.user};
}

/* The next event of this name; events of other names (saved, validation, ...) are passed over. */
static hone_status wait_event(hone_led_training *led, const char *name, double seconds,
                              json_t **event, hone_error *err) {
    const char *who = led->result->name;
    double deadline = hone_clock_seconds() + seconds;
    for (;;) {
        hone_patience patience = patience_of(led, deadline - hone_clock_seconds());
        hone_status status = hone_worker_event(&led->worker, &patience, event, err);
        if (status == HONE_ERR_LIMIT)
            return hone_fail(err, HONE_ERR_LIMIT,
                             "the %s worker did not reach its next \"%s\" within %.0f s", who, name,
                             seconds);
        if (status != HONE_OK) return status;
        const char *is = json_string_value(json_object_get(*event, "event"));
        if (strcmp(is, name) == 0) return HONE_OK;
        bool early = strcmp(is, "done") == 0 || strcmp(is, "step") == 0 || strcmp(is, "start") == 0;
        if (early)
            status =
                hone_fail(err, HONE_ERR_FORMAT,
                          "the %s worker reported \"%s\" where \"%s\" was expected", who, is, name);
        json_decref(*event);
        *event = NULL;
        if (early) return status;
    }
}

hone_status hone_led_ready(hone_led_training *led, hone_error *err) {
    json_t *event;
    HONE_TRY(wait_event(led, "start", led->options.start_seconds, &event, err));
    hone_worker_rest(&led->worker, true);
    const json_t *samples = json_object_get(event, "samples"),
                 *plan = json_object_get(event, "plan");
    if (json_is_integer(samples)) led->samples = json_integer_value(samples);
    for (int i = 0; i < HONE_PURPOSES; i++) {
        json_int_t bytes = json_integer_value(json_object_get(plan, hone_purpose_names[i]));
        led->result->purpose[i] = bytes > 0 ? (size_t)bytes : 0;
    }
    json_decref(event);
    return HONE_OK;
}

/* Reads loss and peak of a step; `step` counts from 1. */
static hone_status read_step(hone_led_training *led, const json_t *event, int step, double *loss,
                             hone_error *err) {
    const char *who = led->result->name;
    const json_t *iter = json_object_get(event, "iter"), *value = json_object_get(event, "loss");
    if (!json_is_integer(iter) || json_integer_value(iter) != step)
        return hone_fail(err, HONE_ERR_FORMAT, "the %s worker reported another step than %d", who,
                         step);
    *loss = json_number_value(value);
    if (!json_is_number(value) || !isfinite(*loss))
        return hone_fail(err, HONE_ERR_FORMAT,
                         "the %s training's loss of step %d is not a finite number", who, step);
    double mib = json_number_value(json_object_get(event, "peak_rss_mib"));
    if (mib > 0 && mib < 1e9) led->told_rss = (size_t)(mib * 1048576);
    return HONE_OK;
}

hone_status hone_led_step(hone_led_training *led, hone_error *err) {
    hone_training *result = led->result;
    json_t *event;
    double begin = hone_clock_seconds(), loss = NAN;
    hone_worker_rest(&led->worker, false);
    HONE_TRY(hone_worker_go(&led->worker, err));
    HONE_TRY(wait_event(led, "step", led->patience, &event, err));
    double seconds = hone_clock_seconds() - begin;
    hone_worker_rest(&led->worker, true);
    hone_status status = read_step(led, event, result->steps + 1, &loss, err);
    json_decref(event);
    if (status != HONE_OK) return status;
    result->losses[result->steps] = loss;
    result->seconds[result->steps] = seconds;
    result->steps++;
    return HONE_OK;
}

static void read_calls(hone_training *result, const json_t *event) {
    const json_t *calls = json_object_get(event, "kernel_calls");
    for (int k = 0; k < HONE_OP_COUNT; k++) {
        const json_t *pair = json_object_get(calls, hone_op_names[k]);
        for (size_t pass = 0; pass < 2; pass++) {
            json_int_t count = json_integer_value(json_array_get(pair, pass));
            result->calls[k][pass] = count > 0 ? (uint64_t)count : 0;
        }
    }
}

hone_status hone_led_finish(hone_led_training *led, hone_error *err) {
    json_t *event;
    double seconds = led->options.step_seconds;
    hone_worker_rest(&led->worker, false);
    hone_worker_end_input(&led->worker);
    HONE_TRY(wait_event(led, "done", seconds, &event, err));
    read_calls(led->result, event);
    json_decref(event);
    hone_patience patience = patience_of(led, seconds);
    return hone_worker_finish(&led->worker, &patience, err);
}

void hone_led_stop(hone_led_training *led) {
    /* The system's figure; its own where that is higher or the system tells none: it can only make itself worse. */
    if (led->result) led->result->peak_rss = HONE_MAX(led->worker.peak_rss, led->told_rss);
    hone_worker_stop(&led->worker);
    *led = (hone_led_training){.result = NULL};
}
