/* eval/tune: measures how work is best cut for the caches of this machine. Layer eval.
 *
 * What is timed are cases of a training step of SmolLM2-135M, in about its mixture: the linear layers forward and
 * backward with an adapter, and the fused loss over a part of the vocabulary (slices are all alike).
 *
 * First one constant after the other: its candidates and the best so far take turns. The best of several looks better
 * than it is, so what was chosen must win again, against the defaults and in measurements of its own; what is
 * reported is that gain. Every sample is taken only if it will end in time, going by the longest so far.
 */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/size.h"
#include "cases/cases.h"
#include "eval/stats.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

enum {
    CANDIDATES = 4,
    MOST_SIDES = 1 + CANDIDATES, /* with the base */
    MOST_PAIRS = 200,
    LEAST_PAIRS = 5, /* fewer show nothing */
    GOOD_PAIRS = 40, /* rather than more rows */
    MOST_ROWS = 1024,
    LEAST_ROWS = 64,
    VOCAB = 2048
};
#define USUAL_SECONDS 45.0
#define LONGEST_SECONDS 60.0
#define PACKED_SHARE 0.5 /* of the time until the candidates for packed_bytes are done */
#define LOSS_SHARE 0.72  /* and those for loss_rows; the rest is for the second look */
#define LEAST_GAIN 1.01  /* what the interval must clear for something to be worth adopting */

static const struct {
    size_t out, in;
} layers[] = {{576, 576}, {192, 576}, {1536, 576}, {576, 1536}};
enum { LAYERS = sizeof layers / sizeof layers[0], LOSS = LAYERS, WORKS };

typedef struct work {
    hone_case_run run;
    hone_arena arena;
} work;

typedef struct tuner {
    const hone_tune_options *options;
    hone_tune_result *result;
    hone_kernels kernels; /* with the defaults */
    hone_dtype compute;
    size_t rows;
    work works[WORKS];
    double start, seconds, longest; /* longest: sample so far, resetting included */
} tuner;

typedef struct span {
    size_t begin, end; /* of works */
} span;
static const span all_works = {0, WORKS};

typedef struct constant {
    const char *name;
    size_t offset; /* in hone_blocking */
    size_t least, most;
    span works; /* that it matters for */
} constant;
static const constant constants[] = {
    {"packed_bytes",
     offsetof(hone_blocking, packed_bytes),
     HONE_LEAST_PACKED_BYTES,
     HONE_MOST_PACKED_BYTES,
     {0, LAYERS}},
    {"loss_rows",
     offsetof(hone_blocking, loss_rows),
     HONE_LEAST_LOSS_ROWS,
     HONE_MOST_LOSS_ROWS,
     {LOSS, WORKS}},
};
enum { CONSTANTS = sizeof constants / sizeof constants[0] };

static size_t get(const hone_blocking *b, const constant *c) {
    size_t value;
    memcpy(&value, (const char *)b + c->offset, sizeof value);
    return value;
}

static hone_blocking with(hone_blocking b, const constant *c, size_t value) {
    memcpy((char *)&b + c->offset, &value, sizeof value);
    return b;
}

static hone_kernels kernels_with(const tuner *t, const hone_blocking *b) {
    hone_kernels kernels = t->kernels;
    *(t->compute == HONE_BF16 ? &kernels.tuning.bf16 : &kernels.tuning.f32) = *b;
    return kernels;
}

/* Candidate `index`, 0 when it would be out of range. Finer steps than doubling could not be told apart. */
static size_t candidate(const tuner *t, const constant *c, int index) {
    static const size_t quarters[CANDIDATES] = {1, 2, 8, 16};
    size_t value = get(&t->result->base, c) * quarters[index] / 4;
    return value >= c->least && value <= c->most ? value : 0;
}

/* ---- the work ---- */

static void close_works(tuner *t) {
    for (int i = 0; i < WORKS; i++) {
        hone_case_close(&t->works[i].run);
        if (t->works[i].arena.base) hone_arena_close(&t->works[i].arena);
        t->works[i] = (work){0};
    }
}

/* Room for any candidate. */
static hone_status open_arena(const tuner *t, work *w, hone_error *err) {
    size_t most =
        hone_case_plan(&w->run, &t->kernels, t->result->threads).arena; /* with the defaults */
    for (int c = 0; c < CONSTANTS; c++) {
        for (int i = 0; i < CANDIDATES; i++) {
            size_t value = candidate(t, &constants[c], i);
            if (value == 0) continue;
            hone_blocking b = with(t->result->base, &constants[c], value);
            hone_kernels kernels = kernels_with(t, &b);
            most = HONE_MAX(most, hone_case_plan(&w->run, &kernels, t->result->threads).arena);
        }
    }
    return hone_arena_open(&w->arena, most, true, err);
}

static hone_status open_works(tuner *t, size_t rows, hone_error *err) {
    t->rows = rows;
    t->result->rows = (int)rows;
    for (size_t i = 0; i < WORKS; i++) {
        work *w = &t->works[i];
        bool loss = i == LOSS;
        hone_case_shape shape = {
            .batch = 1, .seq = rows, .compute = t->compute, .weight = loss ? HONE_Q8_0 : HONE_Q4_1};
        if (loss) {
            shape.hidden = layers[0].in;
            shape.vocab = VOCAB;
        } else {
            shape.in = layers[i].in;
            shape.out = layers[i].out;
            shape.rank = 8;
        }
        const hone_case *kind = hone_case_find(loss ? "linear_cross_entropy" : "lora_linear");
        HONE_TRY(hone_case_open(kind, &shape, &hone_ops_fused, i, false, NULL, &w->run, err));
        HONE_TRY(open_arena(t, w, err));
    }
    return HONE_OK;
}

/* ---- a sample ---- */

typedef struct job {
    const tuner *t;
    const hone_kernels *kernels;
    span works;
    bool overflow;
} job;

static void run_works(hone_team team, void *argument) {
    job *j = argument;
    for (size_t i = j->works.begin; i < j->works.end; i++) {
        const work *w = &j->t->works[i];
        hone_ctx ctx = {
            .team = team, .kernels = j->kernels, .compute = j->t->compute, .arena = w->arena};
        hone_saved saved = {{NULL}};
        hone_case_run_pass(&w->run, HONE_CASE_FORWARD, &ctx, &saved);
        if (w->run.kind->backward) hone_case_run_pass(&w->run, HONE_CASE_BACKWARD, &ctx, &saved);
        if (team.rank == 0) j->overflow |= ctx.arena.overflow;
    }
}

static hone_status sample(tuner *t, const hone_blocking *b, span works, double *seconds,
                          hone_error *err) {
    hone_kernels kernels = kernels_with(t, b);
    job j = {.t = t, .kernels = &kernels, .works = works};
    double begin = hone_clock_seconds();
    for (size_t i = works.begin; i < works.end; i++) hone_case_reset(&t->works[i].run);
    double ready = hone_clock_seconds();
    hone_parallel(t->result->threads, run_works, &j);
    double end = hone_clock_seconds();
    *seconds = end - ready;
    t->longest = fmax(t->longest, end - begin);
    if (j.overflow)
        return hone_fail(err, HONE_ERR_INTERNAL, "tuning took more memory than was planned");
    return HONE_OK;
}

static hone_status report_progress(const tuner *t, const char *what, hone_error *err) {
    double elapsed = hone_clock_seconds() - t->start;
    if (!t->options->on_progress ||
        t->options->on_progress(t->options->user, what, fmin(elapsed / t->seconds, 1)))
        return HONE_OK;
    return hone_fail(err, HONE_ERR_INTERRUPTED, "stopped");
}

/* ---- comparing ---- */

typedef struct comparison {
    const char *what;
    hone_blocking side[MOST_SIDES]; /* the base first */
    size_t value[MOST_SIDES];       /* of the constant in question */
    int sides, pairs;
    span works;
    double times[MOST_SIDES][MOST_PAIRS];
} comparison;

/* Rounds in which every side has its turn, each round beginning with another, until `until` (seconds from the start).
 * A round that is not finished does not count; nor does the first, which warms up. */
static hone_status measure(tuner *t, comparison *c, double until, hone_error *err) {
    for (int round = 0; round <= MOST_PAIRS; round++) {
        for (int turn = 0; turn < c->sides; turn++) {
            int side = (turn + round) % c->sides;
            double elapsed = hone_clock_seconds() - t->start, seconds;
            if (elapsed + 1.2 * t->longest > until) return HONE_OK;
            HONE_TRY(report_progress(t, c->what, err));
            HONE_TRY(sample(t, &c->side[side], c->works, &seconds, err));
            if (round > 0) c->times[side][round - 1] = seconds;
        }
        c->pairs = round;
    }
    return HONE_OK;
}

/* A trial of each candidate, by the ratios within rounds: what else the machine did then slowed both sides. Returns the
 * side that was the fastest and clearly faster than the base, 0 for none. */
static int judge(tuner *t, const comparison *c) {
    int best = 0;
    double best_gain = 1;
    for (int side = 1; side < c->sides; side++) {
        size_t pairs = (size_t)c->pairs;
        hone_tune_trial trial = {.constant = c->what,
                                 .value = c->value[side],
                                 .base = c->value[0],
                                 .gain = NAN,
                                 .low = NAN,
                                 .high = NAN,
                                 .pairs = c->pairs};
        if (c->pairs >= LEAST_PAIRS) {
            double ratios[MOST_PAIRS], ones[MOST_PAIRS];
            for (size_t i = 0; i < pairs; i++) {
                ratios[i] = c->times[0][i] / c->times[side][i];
                ones[i] = 1;
            }
            hone_interval interval = hone_stats_ratio_interval(ratios, ones, pairs, 1);
            trial.gain = hone_stats_median(ratios, pairs);
            trial.low = interval.low;
            trial.high = interval.high;
        }
        if (trial.low > LEAST_GAIN && trial.gain > best_gain) {
            best = side;
            best_gain = trial.gain;
        }
        t->result->trials[t->result->trial_count++] = trial;
        if (t->options->on_trial) t->options->on_trial(t->options->user, &trial);
    }
    return best;
}

static hone_status try_constant(tuner *t, const constant *which, double until, hone_blocking *best,
                                hone_error *err) {
    comparison c = {.what = which->name,
                    .side = {*best},
                    .value = {get(best, which)},
                    .sides = 1,
                    .works = which->works};
    for (int i = 0; i < CANDIDATES; i++) {
        size_t value = candidate(t, which, i);
        if (value == 0) continue;
        c.value[c.sides] = value;
        c.side[c.sides++] = with(*best, which, value);
    }
    HONE_TRY(measure(t, &c, until, err));
    *best = c.side[judge(t, &c)];
    return HONE_OK;
}

/* What was chosen against the defaults, in fresh measurements. */
static hone_status confirm(tuner *t, const hone_blocking *best, hone_error *err) {
    comparison c = {
        .what = "all", .side = {t->result->base, *best}, .sides = 2, .works = all_works};
    if (memcmp(best, &t->result->base, sizeof *best) == 0) return HONE_OK;
    HONE_TRY(measure(t, &c, t->seconds, err));
    if (judge(t, &c) == 1) t->result->chosen = *best;
    return HONE_OK;
}

/* As many rows as let every candidate for the first constant have its turn often enough. */
static hone_status choose_rows(tuner *t, hone_error *err) {
    double affordable = PACKED_SHARE * t->seconds / (GOOD_PAIRS * MOST_SIDES), seconds = 0;
    HONE_TRY(open_works(t, LEAST_ROWS, err));
    while (t->rows < MOST_ROWS) {
        for (int i = 0; i < 2; i++) /* the first warms up */
            HONE_TRY(sample(t, &t->result->base, all_works, &seconds, err));
        if (2 * seconds > affordable) break;
        close_works(t);
        HONE_TRY(open_works(t, 2 * t->rows, err));
    }
    return HONE_OK;
}

static hone_status run_tuner(tuner *t, hone_error *err) {
    hone_blocking best = t->result->base;
    HONE_TRY(report_progress(t, "making room", err));
    HONE_TRY(choose_rows(t, err));
    HONE_TRY(try_constant(t, &constants[0], PACKED_SHARE * t->seconds, &best, err));
    HONE_TRY(try_constant(t, &constants[1], LOSS_SHARE * t->seconds, &best, err));
    return confirm(t, &best, err);
}

hone_status hone_tune(const hone_tune_options *options, hone_tune_result *result, hone_error *err) {
    static const hone_tune_options none;
    tuner t = {.options = options ? options : &none, .result = result};
    unsigned features;
    *result = (hone_tune_result){0};
    if (err) *err = (hone_error){0};
    t.start = hone_clock_seconds();
    t.seconds = t.options->seconds > 0 ? t.options->seconds : USUAL_SECONDS;
    if (!(t.seconds >= 1 && t.seconds <= LONGEST_SECONDS))
        return hone_fail(err, HONE_ERR_USAGE, "%g seconds of tuning: expected 1 to %g",
                         t.options->seconds, LONGEST_SECONDS);
    if (t.options->threads < 0 || t.options->threads > hone_parallel_most_threads())
        return hone_fail(err, HONE_ERR_USAGE, "%d threads: expected 0 to %d", t.options->threads,
                         hone_parallel_most_threads());
    HONE_TRY(hone_cpu_features(&features, err));
    hone_kernels_select(features, &t.kernels);
    result->compute = hone_compute_resolve(t.options->compute, features);
    t.compute = result->compute == HONE_COMPUTE_BF16 ? HONE_BF16 : HONE_F32;
    result->threads = t.options->threads > 0 ? t.options->threads : hone_parallel_default_threads();
    result->base = t.compute == HONE_BF16 ? t.kernels.tuning.bf16 : t.kernels.tuning.f32;
    hone_status status = run_tuner(&t, err);
    close_works(&t);
    result->seconds = hone_clock_seconds() - t.start;
    return status;
}
