/* eval/macro: see macro.h. A row is: all sides in turns until the figures are good enough; the losses of what they
 * wrote; each kernel made wrong once; all sides again with another seed, for the spread between curves. */
#include "eval/macro.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/size.h"
#include "eval/hidden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_PEERS = 4,
    MOST = HONE_SIDES + MOST_PEERS,
    LEAST_PAIRS = 8,
    LEAST_PAIRS_LATE = 3, /* when the row's time is over */
    MOST_WARM_UP = 6,
    ESTIMATE_AFTER = 3 /* rounds until it is known how long a round takes */
};
#define CLOSE_ENOUGH 0.02 /* half of an interval, of the ratio */
#define WARM 1.25         /* a step that took so much longer than the median was still warming up */
#define LEAST_CHANGE 1e-4 /* of the loss, that a wrong kernel has to bring about */
#define HIDDEN_TOKENS 50.0 /* of a hidden row, about */
#define PATIENCE 20.0      /* times the last step, and seconds */
#define START 1.0          /* seconds, about, until a training begins */

typedef struct row_run {
    const hone_macro_options *options;
    hone_eval_report *report;
    hone_macro_row *row;
    double begin, deadline;
    char what[96];
} row_run;

/* All sides with one seed, in turns. */
typedef struct paired_run {
    row_run *r;
    size_t count; /* of those below; peers come last */
    hone_training *training[MOST];
    hone_led_training led[MOST];
    hone_sandbox_options box[MOST];
    char *adapter[MOST]; /* folders; NULL: nothing is written */
    int rounds;
    double round_seconds[HONE_EVAL_MAX_PAIRS];
    double reserved; /* seconds, for the curves of another seed */
} paired_run;

static bool keep_waiting(void *user) {
    const row_run *r = user;
    const hone_macro_options *o = r->options;
    double part = (hone_clock_seconds() - r->begin) / fmax(o->seconds, 1);
    return !o->keep_going || o->keep_going(o->user, r->what, fmin(part, 1));
}

/* ---- starting ---- */

static hone_status make_folder(const hone_macro_options *o, const char *name, char **out,
                               hone_error *err) {
    *out = hone_path_join(o->folder, name);
    if (!*out) return hone_fail_memory(err, "a path", 1);
    return hone_file_make_directories(*out, err);
}

static bool is_third_wanted(const hone_macro_options *o) { return o->kernels != NULL; }

static hone_training_options side_options(row_run *r, int side, uint64_t seed) {
    const hone_macro_options *o = r->options;
    bool mine = side == HONE_SIDE_CANDIDATE;
    return (hone_training_options){.program = o->worker,
                                   .ops = mine && o->kernels        ? NULL
                                          : side == HONE_SIDE_NAIVE ? "naive"
                                                                    : "fused",
                                   .kernels = mine ? o->kernels : NULL,
                                   .model = o->model,
                                   .data = o->data,
                                   .weights = o->weights,
                                   .batch_size = o->batch_size,
                                   .seq_len = o->seq_len,
                                   .seed = seed,
                                   .start_seconds = o->start_seconds,
                                   .step_seconds = o->step_seconds,
                                   .keep_waiting = keep_waiting,
                                   .user = r};
}

/* `saves`: it writes its adapter at the end. */
static hone_status start_side(paired_run *run, int side, uint64_t seed, bool saves,
                              hone_training *training, hone_error *err) {
    row_run *r = run->r;
    size_t at = run->count++;
    hone_training_options options = side_options(r, side, seed);
    run->training[at] = training;
    if (saves) HONE_TRY(make_folder(r->options, hone_side_names[side], &run->adapter[at], err));
    options.adapter = run->adapter[at];
    if (r->options->box) {
        run->box[at] = *r->options->box;
        run->box[at].writable = run->adapter[at];
        options.box = &run->box[at];
    }
    HONE_TRY(hone_training_reserve(training, HONE_EVAL_MAX_PAIRS, err));
    return hone_led_start(&run->led[at], &options, training, err);
}

static bool is_peer(const paired_run *run, size_t at) {
    const hone_macro_row *row = run->r->row;
    for (size_t i = 0; i < row->peer_count; i++)
        if (run->training[at] == &row->peers[i]) return true;
    return false;
}

/* A peer that fails has no figures; the row goes on. */
static hone_status forgive_peer(paired_run *run, size_t at, hone_status status, hone_error *err) {
    if (status == HONE_OK || status == HONE_ERR_INTERRUPTED || !is_peer(run, at)) return status;
    hone_training *t = run->training[at];
    snprintf(t->problem, sizeof t->problem, "%.250s", err->message);
    t->steps = 0;
    hone_led_stop(&run->led[at]);
    return HONE_OK;
}

static bool runs(const paired_run *run, size_t at) { return run->led[at].result != NULL; }

/* By the last part of the command's last path: "peer: torch_lora.py". */
static void name_peer(hone_training *t, const char *command) {
    const char *slash = strrchr(command, '/'), *name = slash ? slash + 1 : command;
    snprintf(t->name, sizeof t->name, "peer: %.*s",
             (int)HONE_MIN(strcspn(name, " '\""), (size_t)57), name);
}

static hone_status start_peers(paired_run *run, hone_error *err) {
    const hone_macro_options *o = run->r->options;
    hone_macro_row *row = run->r->row;
    size_t count = HONE_MIN(o->peer_count, (size_t)MOST_PEERS);
    if (count == 0) return HONE_OK;
    row->peers = calloc(count, sizeof *row->peers);
    if (!row->peers) return hone_fail_memory(err, "peers", count * sizeof *row->peers);
    row->peer_count = count;
    for (size_t i = 0; i < count; i++) {
        hone_training *t = &row->peers[i];
        size_t at = run->count++;
        hone_training_options options = side_options(run->r, HONE_SIDE_SHIPPED, o->seed);
        name_peer(t, o->peers[i]);
        t->tokens_per_sec = t->hidden_loss = NAN;
        run->training[at] = t;
        options.ops = NULL;
        options.peer = o->peers[i];
        HONE_TRY(hone_training_reserve(t, HONE_EVAL_MAX_PAIRS, err));
        HONE_TRY(forgive_peer(run, at, hone_led_start(&run->led[at], &options, t, err), err));
    }
    return HONE_OK;
}

static hone_status get_ready(paired_run *run, hone_error *err) {
    for (size_t i = 0; i < run->count; i++)
        if (runs(run, i)) HONE_TRY(forgive_peer(run, i, hone_led_ready(&run->led[i], err), err));
    return HONE_OK;
}

static void stop_all(paired_run *run) {
    for (size_t i = 0; i < run->count; i++) {
        hone_led_stop(&run->led[i]);
        free(run->adapter[i]);
        run->adapter[i] = NULL;
    }
}

/* ---- rounds ---- */

/* How long a step may take: once all have done one, many times the longest of them. */
static double patience_of(const paired_run *run) {
    double longest = 0;
    for (size_t i = 0; i < run->count && run->rounds > 0; i++)
        if (runs(run, i)) longest = fmax(longest, run->training[i]->seconds[run->rounds - 1]);
    double most = run->r->options->step_seconds;
    return longest > 0 ? fmin(PATIENCE * longest + PATIENCE, most) : most;
}

/* One step of each. Who goes first changes with every round, so a machine that slows down or speeds up favours none. */
static hone_status do_round(paired_run *run, hone_error *err) {
    const hone_macro_options *o = run->r->options;
    double begin = hone_clock_seconds(), patience = patience_of(run);
    for (size_t turn = 0; turn < run->count; turn++) {
        size_t at = (turn + (size_t)run->rounds) % run->count;
        if (!runs(run, at)) continue;
        run->led[at].patience = patience;
        HONE_TRY(forgive_peer(run, at, hone_led_step(&run->led[at], err), err));
        if (o->on_step && runs(run, at)) o->on_step(o->user, run->training[at]);
    }
    run->round_seconds[run->rounds++] = hone_clock_seconds() - begin;
    return HONE_OK;
}

static double median_round(const paired_run *run) {
    double seconds[HONE_EVAL_MAX_PAIRS];
    int skip = run->rounds > 2; /* the first one pages in the model */
    size_t count = (size_t)(run->rounds - skip);
    memcpy(seconds, run->round_seconds + skip, count * sizeof seconds[0]);
    return hone_stats_median(seconds, count);
}

/* Steps at the start that took much longer than the median, of any side: at most MOST_WARM_UP, and one at least where
 * there are more than four. */
static int warm_up_steps(const hone_macro_row *row, int steps) {
    int most = HONE_MIN(MOST_WARM_UP, steps / 4), skip = steps > 4;
    for (int side = 0; side < HONE_SIDES; side++) {
        double sorted[HONE_EVAL_MAX_PAIRS];
        const double *seconds = row->side[side].seconds;
        if (!seconds || steps < 1) continue;
        memcpy(sorted, seconds, (size_t)steps * sizeof sorted[0]);
        double median = hone_stats_median(sorted, (size_t)steps);
        while (skip < most && seconds[skip] > WARM * median) skip++;
    }
    return skip;
}

static bool is_close(const hone_training *a, const hone_training *b, int skip, int steps) {
    if (!a->seconds) return true;
    hone_comparison c =
        hone_compare_seconds(a->seconds + skip, b->seconds + skip, (size_t)(steps - skip), 1);
    return 0.5 * (c.interval.high - c.interval.low) <= CLOSE_ENOUGH * c.ratio;
}

/* Whether the speed is known well enough. */
static bool is_measured(const hone_macro_row *row, int steps) {
    int skip = warm_up_steps(row, steps);
    const hone_training *mine = &row->side[HONE_SIDE_CANDIDATE];
    return steps - skip >= LEAST_PAIRS &&
           is_close(&row->side[HONE_SIDE_NAIVE], mine, skip, steps) &&
           is_close(&row->side[HONE_SIDE_SHIPPED], mine, skip, steps);
}

/* Peers have had their pairs: from here on they would only take time. */
static hone_status finish_peers(paired_run *run, hone_error *err) {
    for (size_t i = 0; i < run->count; i++) {
        if (!runs(run, i) || !is_peer(run, i)) continue;
        HONE_TRY(forgive_peer(run, i, hone_led_finish(&run->led[i], err), err));
        hone_led_stop(&run->led[i]);
    }
    return HONE_OK;
}

/* What hidden rows and sabotage will take after the steps, about: half a step's time for a forward pass. */
static double seconds_afterwards(const paired_run *run) {
    const hone_macro_options *o = run->r->options;
    double step = median_round(run) / (double)run->count;
    double tokens = (double)(run->count + 1) * o->hidden_rows * HIDDEN_TOKENS;
    return 0.5 * step * tokens / ((double)o->batch_size * o->seq_len) +
           o->sabotages * (step + START);
}

/* The longest curve that time allows: all its steps, or no curve; and then time for the second one, if there is. */
static int affordable_curve(paired_run *run) {
    const row_run *r = run->r;
    int curve = r->options->curve;
    double left = r->deadline - hone_clock_seconds() - seconds_afterwards(run);
    double round = median_round(run), first = (curve - run->rounds) * round;
    if (first > left) return 0;
    if (first + curve * round <= left) run->reserved = curve * round;
    return curve;
}

static hone_status measure_speed(paired_run *run, hone_error *err) {
    const row_run *r = run->r;
    const hone_macro_options *o = r->options;
    hone_macro_row *row = r->row;
    int curve = o->steps || !o->curve ? 0 : -1; /* -1: not known yet */
    for (;;) {
        HONE_TRY(do_round(run, err));
        row->steps = run->rounds;
        if (run->rounds == LEAST_PAIRS + MOST_WARM_UP) HONE_TRY(finish_peers(run, err));
        if (run->rounds == HONE_EVAL_MAX_PAIRS) break;
        if (o->steps) {
            if (run->rounds >= o->steps) break;
            continue;
        }
        if (curve < 0 && run->rounds >= ESTIMATE_AFTER) curve = affordable_curve(run);
        int pairs = run->rounds - warm_up_steps(row, run->rounds);
        bool late = hone_clock_seconds() + seconds_afterwards(run) + run->reserved > r->deadline;
        if (late && pairs >= LEAST_PAIRS_LATE) break;
        if (curve >= 0 && run->rounds >= curve && is_measured(row, run->rounds)) break;
    }
    row->skipped = warm_up_steps(row, row->steps);
    return HONE_OK;
}

/* ---- what it has learnt ---- */

static hone_status hidden_loss_of(const row_run *r, const char *folder, const char *adapter,
                                  double *loss, hone_error *err) {
    const hone_macro_options *o = r->options;
    return hone_hidden_loss(&(hone_hidden_options){.model = o->model,
                                                   .weights = o->weights,
                                                   .folder = folder,
                                                   .adapter = adapter,
                                                   .seq_len = o->seq_len,
                                                   .keep_going = keep_waiting,
                                                   .user = (void *)(uintptr_t)r},
                            loss, err);
}

/* The losses of the adapters that were written, on rows that none of the trainings has seen. */
static hone_status judge_adapters(paired_run *run, hone_error *err) {
    row_run *r = run->r;
    hone_macro_row *row = r->row;
    char *folder = NULL;
    bool found = false;
    hone_status status;
    snprintf(r->what, sizeof r->what, "%s: losses on hidden rows", row->model);
    HONE_TRY_GOTO(status, done, make_folder(r->options, "hidden", &folder, err));
    HONE_TRY_GOTO(status, done,
                  hone_hidden_draw(r->options->data, folder, (size_t)r->options->hidden_rows,
                                   r->options->seed + 1, &found, err));
    if (!found) {
        hone_report_not_tested(
            r->report, "%s: losses on hidden rows: the data has no test.jsonl or valid.jsonl",
            row->model);
        goto done;
    }
    HONE_TRY_GOTO(status, done, hidden_loss_of(r, folder, NULL, &row->untrained_loss, err));
    for (size_t i = 0; i < run->count; i++) {
        hone_training *t = run->training[i];
        if (!run->adapter[i]) continue;
        status = hidden_loss_of(r, folder, run->adapter[i], &t->hidden_loss, err);
        if (status != HONE_OK) {
            hone_fail_prefix(err, "the %s training's adapter", t->name);
            goto done;
        }
    }
done:
    free(folder);
    return status;
}

/* A training with a kernel must have called it, and what was learnt must be what naive kernels learn. */
static hone_status check_learnt(const row_run *r, hone_error *err) {
    hone_macro_row *row = r->row;
    const hone_training *mine = &row->side[HONE_SIDE_CANDIDATE],
                        *naive = &row->side[HONE_SIDE_NAIVE];
    for (int k = 0; k < HONE_OP_COUNT; k++) {
        if (k == HONE_OP_rope_embeddings) continue; /* most attentions rotate by themselves */
        if (!mine->calls[k][0] || !mine->calls[k][1])
            return hone_fail(err, HONE_ERR_FORMAT, "the candidate's training never called %s",
                             hone_op_names[k]);
    }
    if (isnan(mine->hidden_loss)) return HONE_OK;
    double apart = fabs(mine->hidden_loss - naive->hidden_loss);
    row->loss_diff = fmax(row->loss_diff, apart);
    row->loss_diff_max = fmax(row->loss_diff_max, apart);
    return HONE_OK;
}

/* ---- controls ---- */

static hone_status sabotage(row_run *r, int kernel, hone_error *err) {
    hone_macro_row *row = r->row;
    hone_training training = {.name = "sabotaged"};
    hone_led_training led = {.result = NULL};
    hone_training_options options = side_options(r, HONE_SIDE_CANDIDATE, r->options->seed);
    hone_status status;
    options.sabotage = hone_op_names[kernel];
    options.box = r->options->box;
    snprintf(r->what, sizeof r->what, "%s: with %s made wrong", row->model, hone_op_names[kernel]);
    HONE_TRY_GOTO(status, done, hone_training_reserve(&training, 1, err));
    HONE_TRY_GOTO(status, done, hone_led_start(&led, &options, &training, err));
    HONE_TRY_GOTO(status, done, hone_led_ready(&led, err));
    status = hone_led_step(&led, err);
    hone_sabotage *result = &row->sabotage[kernel];
    result->tested =
        status == HONE_OK || status == HONE_ERR_FORMAT; /* no number is a change, too */
    result->change = NAN;
    if (status == HONE_OK)
        result->change = fabs(training.losses[0] - row->side[HONE_SIDE_CANDIDATE].losses[0]);
    if (status == HONE_OK &&
        !(result->change > LEAST_CHANGE * fabs(row->side[HONE_SIDE_CANDIDATE].losses[0])))
        status = hone_fail(err, HONE_ERR_LIMIT,
                           "void: with %s made wrong on purpose the loss stayed what it was, so "
                           "the training does not depend on it",
                           hone_op_names[kernel]);
    if (status == HONE_ERR_FORMAT) status = HONE_OK;
done:
    hone_led_stop(&led);
    free(training.losses);
    free(training.seconds);
    return status;
}

/* As many kernels as were asked for, from one that the seed decides on. */
static hone_status sabotage_some(row_run *r, hone_error *err) {
    int done = 0;
    for (int i = 0; i < HONE_OP_COUNT && done < r->options->sabotages; i++) {
        int kernel = (int)((r->options->seed + (uint64_t)i) % HONE_OP_COUNT);
        if (r->row->side[HONE_SIDE_CANDIDATE].calls[kernel][0] == 0)
            continue; /* it is not called */
        HONE_TRY(sabotage(r, kernel, err));
        done++;
    }
    return HONE_OK;
}

/* ---- curves ---- */

static hone_status keep_curve(hone_curve *curve, uint64_t seed, int steps,
                              const hone_training *const sides[HONE_SIDES], hone_error *err) {
    size_t bytes = (size_t)steps * sizeof(double);
    curve->seed = seed;
    curve->steps = steps;
    for (int side = 0; side < HONE_SIDES; side++) {
        if (!sides[side] || !sides[side]->losses) continue;
        curve->losses[side] = malloc(bytes);
        if (!curve->losses[side]) return hone_fail_memory(err, "a loss curve", bytes);
        memcpy(curve->losses[side], sides[side]->losses, bytes);
    }
    return HONE_OK;
}

static hone_status second_seed(row_run *r, hone_error *err) {
    hone_macro_row *row = r->row;
    uint64_t seed = r->options->seed + 1;
    hone_training again[HONE_SIDES] = {
        {.name = "candidate"}, {.name = "naive"}, {.name = "shipped"}};
    const hone_training *sides[HONE_SIDES] = {NULL};
    paired_run run = {.r = r};
    hone_status status = HONE_OK;
    snprintf(r->what, sizeof r->what, "%s: loss curves with another seed", row->model);
    for (int side = 0; side < HONE_SIDES && status == HONE_OK; side++) {
        if (!row->side[side].losses) continue;
        sides[side] = &again[side];
        status = start_side(&run, side, seed, false, &again[side], err);
    }
    if (status == HONE_OK) status = get_ready(&run, err);
    while (status == HONE_OK && run.rounds < r->options->curve) status = do_round(&run, err);
    if (status == HONE_OK) status = keep_curve(&row->curves[1], seed, run.rounds, sides, err);
    stop_all(&run);
    for (int side = 0; side < HONE_SIDES; side++) {
        free(again[side].losses);
        free(again[side].seconds);
    }
    return status;
}

/* The first curve is that of the measured steps; the second takes a training of its own. */
static hone_status draw_curves(row_run *r, double round, bool reserved, hone_error *err) {
    const hone_macro_options *o = r->options;
    hone_macro_row *row = r->row;
    const hone_training *sides[HONE_SIDES];
    if (o->curve == 0) return HONE_OK;
    if (row->steps < o->curve) {
        hone_report_not_tested(r->report,
                               "%s (%s): loss curves over %d steps with %d seeds: they would take "
                               "about %.0f s more here (--budget)",
                               row->model, row->precision, o->curve, (int)HONE_CURVES,
                               (HONE_CURVES * o->curve - row->steps) * round);
        return HONE_OK;
    }
    for (int side = 0; side < HONE_SIDES; side++) sides[side] = &row->side[side];
    HONE_TRY(keep_curve(&row->curves[0], o->seed, row->steps, sides, err));
    if (reserved || hone_clock_seconds() + o->curve * round <= r->deadline)
        return second_seed(r, err);
    hone_report_not_tested(r->report,
                           "%s (%s): the spread between seeds: another %d steps would take about "
                           "%.0f s more here (--budget)",
                           row->model, row->precision, o->curve, o->curve * round);
    return HONE_OK;
}

/* ---- the row ---- */

static hone_status run_first(paired_run *run, hone_error *err) {
    row_run *r = run->r;
    const hone_macro_options *o = r->options;
    for (int side = 0; side < HONE_SIDES; side++) {
        if (side == HONE_SIDE_SHIPPED && !is_third_wanted(o)) continue;
        HONE_TRY(start_side(run, side, o->seed, true, &r->row->side[side], err));
    }
    HONE_TRY(start_peers(run, err));
    HONE_TRY(get_ready(run, err));
    if (o->on_start) o->on_start(o->user, run->led[0].samples);
    HONE_TRY(measure_speed(run, err));
    HONE_TRY(finish_peers(run, err));
    for (size_t i = 0; i < run->count; i++)
        if (runs(run, i)) HONE_TRY(hone_led_finish(&run->led[i], err));
    return HONE_OK;
}

static hone_status run_row(row_run *r, hone_error *err) {
    const hone_macro_options *o = r->options;
    hone_macro_row *row = r->row;
    paired_run run = {.r = r};
    snprintf(r->what, sizeof r->what, "%s (%s)", row->model, row->precision);
    hone_status status = run_first(&run, err);
    for (size_t i = 0; i < run.count; i++) hone_led_stop(&run.led[i]);
    double round = run.rounds > 0 ? median_round(&run) : NAN;
    if (status == HONE_OK) {
        hone_macro_row_finish(row, (size_t)o->batch_size * (size_t)o->seq_len, o->seed);
        status = judge_adapters(&run, err);
    }
    stop_all(&run);
    HONE_TRY(status);
    HONE_TRY(check_learnt(r, err));
    HONE_TRY(sabotage_some(r, err));
    HONE_TRY(draw_curves(r, round, run.reserved > 0, err));
    hone_macro_row_finish_curves(row);
    return HONE_OK;
}

hone_status hone_macro_run(const hone_macro_options *options, hone_eval_report *report,
                           hone_macro_row *row, hone_error *err) {
    row_run r = {.options = options, .report = report, .row = row, .begin = hone_clock_seconds()};
    hone_error failure = {0};
    r.deadline = r.begin + options->seconds;
    hone_status status = run_row(&r, &failure);
    if (status == HONE_OK) {
        row->status = HONE_MACRO_TESTED;
        row->reason[0] = 0;
        return HONE_OK;
    }
    if (status == HONE_ERR_INTERRUPTED) {
        row->status = HONE_MACRO_NOT_TESTED;
        snprintf(row->reason, sizeof row->reason, "stopped after %d steps", row->steps);
        return hone_fail(err, status, "stopped");
    }
    if (status == HONE_ERR_MEMORY) return hone_fail(err, status, "%s", failure.message);
    row->status = HONE_MACRO_FAILED;
    snprintf(row->reason, sizeof row->reason, "%s", failure.message);
    return HONE_OK;
}
