/* eval/micro: see micro.h. A group is one kernel at one shape and type: two rows, since backward needs a forward
 * before it. */
#include "eval/micro.h"

#include "base/clock.h"
#include "cases/cases.h"
#include "eval/score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CANDIDATE, NAIVE, SIDES };
enum {
    MAX_SETS = 16,           /* of inputs with different contents */
    INPUT_BYTES = 256 << 20, /* that all sets of a group may take */
    MAX_CALLS = 256,         /* in a sample */
    MAX_TRIALS = HONE_EVAL_MAX_PAIRS,
    PASSES = 2 /* forward, backward */
};
#define SAMPLE_SECONDS 0.005 /* far above what the clock can tell apart, and a scheduler's slice */
#define LEAST_BUDGET 0.05

/* What SmolLM2-135M's layers look like: the model that comes without an account. */
static const hone_case_shape model_shape = {.batch = 4,
                                            .seq = 256,
                                            .hidden = 576,
                                            .vocab = 49152,
                                            .heads = 9,
                                            .kv_heads = 3,
                                            .head_dim = 64,
                                            .ffn = 1536,
                                            .rank = 8};

static const struct {
    hone_dtype compute, weight;
    bool linear_only;
} variants[] = {
    {HONE_F32, HONE_F32, false}, {HONE_BF16, HONE_BF16, false}, {HONE_BF16, HONE_Q4_1, true}};
enum { VARIANTS = sizeof variants / sizeof variants[0], MAX_SHAPES = 4 };

/* One set of inputs, with outputs and an arena for each side. */
typedef struct input_set {
    hone_case_run run[SIDES];
    hone_arena arena[SIDES];
} input_set;

typedef struct group {
    const hone_micro_options *options;
    const hone_case *kind;
    hone_case_shape shape;
    input_set sets[MAX_SETS];
    size_t set_count;
    int rounds; /* calls of a sample = rounds * set_count */
    hone_case_memory memory[SIDES];
    double samples[SIDES][PASSES][MAX_TRIALS];
} group;

/* ---- rows ---- */

static void describe_shape(const hone_case_shape *s, char *out, size_t size) {
    const struct {
        const char *name;
        size_t value;
    } fields[] = {{"batch", s->batch},
                  {"seq", s->seq},
                  {"hidden", s->hidden},
                  {"vocab", s->vocab},
                  {"heads", s->heads},
                  {"kv heads", s->kv_heads},
                  {"head size", s->head_dim},
                  {"ffn", s->ffn},
                  {"in", s->in},
                  {"out", s->out},
                  {"rank", s->rank}};
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && used < size; i++) {
        if (fields[i].value == 0) continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s %zu", used ? ", " : "",
                                 fields[i].name, fields[i].value);
    }
}

static hone_status add_rows(hone_eval_report *report, int kernel, const hone_case *kind,
                            const hone_case_shape *shape, hone_error *err) {
    for (int pass = 0; pass < PASSES; pass++) {
        hone_micro_row *row;
        HONE_TRY(hone_report_add_micro(report, &row, err));
        row->kernel = kernel;
        row->backward = pass == HONE_CASE_BACKWARD;
        row->dtype = hone_dtype_name(shape->compute);
        row->weights = kind->linear ? hone_dtype_name(shape->weight) : NULL;
        describe_shape(shape, row->shape, sizeof row->shape);
        snprintf(row->reason, sizeof row->reason, "the evaluation was stopped before it");
    }
    return HONE_OK;
}

/* The groups of one kernel: shapes by types. Returns how many. */
static size_t kernel_shapes(const hone_case *kind, hone_case_shape out[MAX_SHAPES * VARIANTS]) {
    hone_case_shape shapes[MAX_SHAPES];
    size_t count = 0, shape_count = hone_case_bench_shapes(kind, &model_shape, shapes, MAX_SHAPES);
    for (size_t i = 0; i < shape_count; i++) {
        for (size_t v = 0; v < VARIANTS; v++) {
            if (variants[v].linear_only && !kind->linear) continue;
            out[count] = shapes[i];
            out[count].compute = variants[v].compute;
            out[count].weight = variants[v].weight;
            count++;
        }
    }
    return count;
}

/* ---- right or wrong ---- */

/* Pass that writes the tensor a report complains of; HONE_CASE_PASSES when it is no output. */
static hone_case_pass pass_of(const hone_case_run *run, const char *tensor) {
    for (int i = 0; i < HONE_CASE_TENSORS && tensor; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        bool output = t->role == HONE_CASE_OUTPUT || t->role == HONE_CASE_ADDED ||
                      t->role == HONE_CASE_IN_PLACE;
        if (t->name && output && strcmp(t->name, tensor) == 0) return t->pass;
    }
    return HONE_CASE_PASSES;
}

static void mark_wrong(hone_micro_row *row, const char *where, const char *message) {
    if (row->correct)
        snprintf(row->reason, sizeof row->reason, "%s%s%s", where, where[0] ? ": " : "", message);
    row->checked = true;
    row->correct = false;
}

/* A case failed: wrong are all rows of this kernel and type, of the pass that the tensor belongs to. */
static hone_status mark_case(const hone_micro_options *o, hone_eval_report *report, int kernel,
                             const hone_case *kind, const hone_case_shape *shape,
                             const hone_case_report *failed, hone_error *err) {
    hone_case_run run;
    char where[224], text[192];
    HONE_TRY(hone_case_open(kind, shape, o->candidate, o->seed, false, &run, err));
    hone_case_pass pass = pass_of(&run, failed->tensor);
    hone_case_close(&run);
    describe_shape(shape, text, sizeof text);
    snprintf(where, sizeof where, "case %s", text);
    for (size_t i = 0; i < report->micro_count; i++) {
        hone_micro_row *row = &report->micro[i];
        bool other = pass == (row->backward ? HONE_CASE_FORWARD : HONE_CASE_BACKWARD);
        if (row->kernel != kernel || other ||
            strcmp(row->dtype, hone_dtype_name(shape->compute)) != 0)
            continue;
        mark_wrong(row, where, failed->message);
    }
    return HONE_OK;
}

/* The kernel's cases against the float64 oracle. */
static hone_status check_kernel(const hone_micro_options *o, hone_eval_report *report, int kernel,
                                const hone_case *kind, double fraction, hone_error *err) {
    static const hone_dtype types[] = {HONE_F32, HONE_BF16};
    char what[96];
    snprintf(what, sizeof what, "%s: checking", hone_op_names[kernel]);
    for (size_t i = 0; i < kind->shape_count; i++) {
        for (int t = 0; t < 2; t++) {
            if (o->on_progress && !o->on_progress(o->user, what, fraction))
                return hone_fail(err, HONE_ERR_INTERRUPTED, "stopped");
            hone_case_shape shape = kind->shapes[i];
            hone_case_report result;
            shape.compute = types[t];
            HONE_TRY(hone_case_check(kind, &shape, o->candidate, o->kernels, o->threads,
                                     o->seed + i, &result, NULL, err));
            if (!result.passed) HONE_TRY(mark_case(o, report, kernel, kind, &shape, &result, err));
        }
    }
    return HONE_OK;
}

/* ---- timed calls ---- */

static const hone_op_set *set_of(const group *g, int side) {
    return side == NAIVE ? g->options->naive : g->options->candidate;
}

static hone_status open_set(group *g, hone_error *err) {
    input_set *set = &g->sets[g->set_count];
    uint64_t seed = g->options->seed + 1000 + g->set_count;
    for (int side = 0; side < SIDES; side++) {
        HONE_TRY(
            hone_case_open(g->kind, &g->shape, set_of(g, side), seed, false, &set->run[side], err));
        hone_case_memory memory =
            hone_case_plan(&set->run[side], g->options->kernels, g->options->threads);
        HONE_TRY(hone_arena_open(&set->arena[side], memory.arena, false, err));
        g->memory[side] = memory;
    }
    g->set_count++;
    return HONE_OK;
}

static void close_sets(group *g) {
    for (size_t i = 0; i < MAX_SETS; i++) {
        for (int side = 0; side < SIDES; side++) {
            hone_case_close(&g->sets[i].run[side]);
            if (g->sets[i].arena[side].base) hone_arena_close(&g->sets[i].arena[side]);
        }
    }
    g->set_count = 0;
}

static size_t set_bytes(const group *g) {
    size_t bytes = 0;
    for (int side = 0; side < SIDES; side++) {
        const hone_case_run *run = &g->sets[0].run[side];
        for (int i = 0; i < HONE_CASE_TENSORS; i++) {
            if (run->tensor[i].name) bytes += run->tensor[i].bytes * (run->tensor[i].start ? 2 : 1);
        }
    }
    return bytes;
}

typedef struct series {
    group *g;
    int side;
    double seconds[PASSES];
    bool overflow;
} series;

/* Every set of inputs once: all forward passes, then all backward passes, each kind between two looks at the clock. */
static void run_series(hone_team team, void *argument) {
    series *s = argument;
    hone_ctx ctx[MAX_SETS];
    hone_saved saved[MAX_SETS] = {{{NULL}}};
    for (size_t i = 0; i < s->g->set_count; i++) {
        ctx[i] = (hone_ctx){.team = team,
                            .kernels = s->g->options->kernels,
                            .compute = s->g->shape.compute,
                            .arena = s->g->sets[i].arena[s->side]};
    }
    for (int pass = 0; pass < PASSES; pass++) {
        hone_barrier(team);
        double begin = hone_clock_seconds();
        for (size_t i = 0; i < s->g->set_count; i++)
            hone_case_run_pass(&s->g->sets[i].run[s->side], (hone_case_pass)pass, &ctx[i],
                               &saved[i]);
        hone_barrier(team);
        if (team.rank == 0) s->seconds[pass] += hone_clock_seconds() - begin;
    }
    for (size_t i = 0; i < s->g->set_count && team.rank == 0; i++)
        s->overflow |= ctx[i].arena.overflow;
}

/* Seconds of one call of each pass, over `rounds` rounds. */
static hone_status sample(group *g, int side, int rounds, double seconds[PASSES], hone_error *err) {
    series s = {.g = g, .side = side};
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < g->set_count; i++) hone_case_reset(&g->sets[i].run[side]);
        hone_parallel(g->options->threads, run_series, &s);
    }
    if (s.overflow)
        return hone_fail(err, HONE_ERR_INTERNAL, "%s (%s) took more memory than it planned",
                         g->kind->name, set_of(g, side)->name);
    for (int pass = 0; pass < PASSES; pass++)
        seconds[pass] = s.seconds[pass] / (double)((size_t)rounds * g->set_count);
    return HONE_OK;
}

/* Enough calls that a sample of either pass is long enough for the clock, unless all samples would not fit `budget`. */
static hone_status choose_calls(group *g, int trials, double budget, hone_error *err) {
    double seconds[SIDES][PASSES], shortest = INFINITY;
    HONE_TRY(open_set(g, err));
    for (int side = 0; side < SIDES; side++)
        HONE_TRY(sample(g, side, 1, seconds[side], err)); /* warm up */
    double begin = hone_clock_seconds();
    for (int side = 0; side < SIDES; side++) {
        HONE_TRY(sample(g, side, 1, seconds[side], err));
        for (int pass = 0; pass < PASSES; pass++) shortest = fmin(shortest, seconds[side][pass]);
    }
    double pair = fmax(hone_clock_seconds() - begin, 1e-7); /* with resetting */
    double wanted = ceil(fmax(SAMPLE_SECONDS / fmax(shortest, 1e-9), 2));
    double affordable = fmax(floor(budget / (pair * trials)), 1);
    size_t calls = (size_t)fmin(fmin(wanted, affordable), MAX_CALLS);
    size_t room = INPUT_BYTES / HONE_MAX(set_bytes(g), (size_t)1);
    size_t sets = HONE_MAX(HONE_MIN(HONE_MIN(calls, (size_t)MAX_SETS), room), (size_t)1);
    while (g->set_count < sets) HONE_TRY(open_set(g, err));
    g->rounds = (int)HONE_CEIL_DIV(calls, sets);
    for (int side = 0; side < SIDES; side++)
        HONE_TRY(sample(g, side, 1, seconds[side], err)); /* new pages */
    return HONE_OK;
}

/* The outputs of the last timed calls, each set's, against the naive set's. */
static hone_status verify(group *g, hone_micro_row *rows, hone_error *err) {
    for (size_t i = 0; i < g->set_count; i++) {
        hone_case_run *run = &g->sets[i].run[CANDIDATE];
        HONE_TRY(hone_case_expect(run, &g->sets[i].run[NAIVE], err));
        for (int pass = 0; pass < PASSES; pass++) {
            hone_case_report result;
            hone_case_compare(run, (hone_case_pass)pass, 2, &result);
            if (!result.passed) mark_wrong(&rows[pass], "a timed call", result.message);
        }
        hone_case_close(run); /* what was expected takes more room than the outputs */
    }
    return HONE_OK;
}

static void fill_row(const group *g, int pass, int trials, hone_micro_row *row) {
    size_t n = (size_t)trials;
    if (row->correct) row->reason[0] = 0;
    hone_case_work(g->kind, &g->shape, (hone_case_pass)pass, &row->flops, &row->traffic);
    for (int side = 0; side < SIDES; side++) {
        double samples[MAX_TRIALS];
        memcpy(samples, g->samples[side][pass], n * sizeof samples[0]);
        row->seconds[side] = hone_stats_median(samples, n);
        row->bytes[side] = g->memory[side].peak[pass];
    }
    row->over_naive = hone_compare_seconds(g->samples[NAIVE][pass], g->samples[CANDIDATE][pass], n,
                                           g->options->seed);
    if (row->bytes[NAIVE] > 0)
        row->memory_ratio = (double)row->bytes[CANDIDATE] / (double)row->bytes[NAIVE];
    row->calls = g->rounds * (int)g->set_count;
    row->tested = true;
}

/* Interleaved trials; who goes first changes with each. */
static hone_status run_trials(group *g, int trials, double fraction, hone_error *err) {
    char what[96];
    const hone_micro_options *o = g->options;
    snprintf(what, sizeof what, "%s: %s", g->kind->name, hone_dtype_name(g->shape.compute));
    for (int trial = 0; trial < trials; trial++) {
        if (o->on_progress && !o->on_progress(o->user, what, fraction))
            return hone_fail(err, HONE_ERR_INTERRUPTED, "stopped");
        for (int turn = 0; turn < SIDES; turn++) {
            int side = (trial + turn) % 2;
            double seconds[PASSES] = {0};
            HONE_TRY(sample(g, side, g->rounds, seconds, err));
            for (int pass = 0; pass < PASSES; pass++) g->samples[side][pass][trial] = seconds[pass];
        }
    }
    return HONE_OK;
}

static hone_status measure(group *g, hone_micro_row *rows, double budget, double fraction,
                           hone_error *err) {
    int trials = g->options->trials;
    hone_status status;
    HONE_TRY_GOTO(status, done, choose_calls(g, trials, budget, err));
    HONE_TRY_GOTO(status, done, run_trials(g, trials, fraction, err));
    HONE_TRY_GOTO(status, done, verify(g, rows, err));
    for (int pass = 0; pass < PASSES; pass++) fill_row(g, pass, trials, &rows[pass]);
done:
    close_sets(g);
    return status;
}

/* ---- the level ---- */

typedef struct level {
    const hone_micro_options *options;
    hone_eval_report *report;
    size_t groups, done; /* of all kernels */
    double deadline;
    group *g;
} level;

/* What cannot be measured here is a result, of these rows alone: the others go on. */
static hone_status pass_over(hone_status status, hone_micro_row *rows, size_t count,
                             const hone_error *problem, hone_error *err) {
    if (status == HONE_ERR_INTERRUPTED) return hone_fail(err, status, "%s", problem->message);
    for (size_t i = 0; status != HONE_OK && i < count; i++) {
        if (!hone_row_is_wrong(&rows[i]))
            snprintf(rows[i].reason, sizeof rows[i].reason, "%.500s", problem->message);
    }
    return HONE_OK;
}

static hone_status run_kernel(level *l, int kernel, size_t first_row, hone_error *err) {
    const hone_micro_options *o = l->options;
    hone_case_shape shapes[MAX_SHAPES * VARIANTS];
    const hone_case *kind = hone_case_find(hone_op_names[kernel]);
    size_t count = kernel_shapes(kind, shapes);
    hone_micro_row *rows = &l->report->micro[first_row];
    hone_error problem = {0};
    for (size_t i = 0; i < PASSES * count; i++) rows[i].correct = true;
    hone_status checked =
        check_kernel(o, l->report, kernel, kind, (double)l->done / (double)l->groups, &problem);
    HONE_TRY(pass_over(checked, rows, PASSES * count, &problem, err));
    for (size_t i = 0; i < PASSES * count && checked == HONE_OK; i++) rows[i].checked = true;
    if (checked != HONE_OK) l->done += count;
    for (size_t i = 0; i < count && checked == HONE_OK; i++) {
        double left = l->deadline - hone_clock_seconds();
        double budget = fmax(left / (double)(l->groups - l->done), LEAST_BUDGET);
        memset(l->g, 0, sizeof *l->g);
        l->g->options = o;
        l->g->kind = kind;
        l->g->shape = shapes[i];
        hone_status measured =
            measure(l->g, &rows[PASSES * i], budget, (double)l->done / (double)l->groups, &problem);
        HONE_TRY(pass_over(measured, &rows[PASSES * i], PASSES, &problem, err));
        l->done++;
    }
    if (o->on_kernel) o->on_kernel(o->user, kernel);
    return HONE_OK;
}

static bool is_wanted(const hone_micro_options *o, int kernel) {
    return !o->only || strcmp(o->only, hone_op_names[kernel]) == 0;
}

hone_status hone_micro_run(const hone_micro_options *options, hone_eval_report *report,
                           hone_error *err) {
    level l = {
        .options = options, .report = report, .deadline = hone_clock_seconds() + options->seconds};
    size_t first[HONE_OP_COUNT];
    if (options->trials < 1 || options->trials > MAX_TRIALS)
        return hone_fail(err, HONE_ERR_USAGE, "%d trials; expected 1 to %d", options->trials,
                         (int)MAX_TRIALS);
    for (int k = 0; k < HONE_OP_COUNT; k++) {
        if (!is_wanted(options, k)) continue;
        hone_case_shape shapes[MAX_SHAPES * VARIANTS];
        const hone_case *kind = hone_case_find(hone_op_names[k]);
        size_t count = kernel_shapes(kind, shapes);
        first[k] = report->micro_count;
        for (size_t i = 0; i < count; i++) HONE_TRY(add_rows(report, k, kind, &shapes[i], err));
        l.groups += count;
    }
    l.g = malloc(sizeof *l.g);
    if (!l.g) return hone_fail_memory(err, "kernel measurements", sizeof *l.g);
    hone_status status = HONE_OK;
    for (int k = 0; k < HONE_OP_COUNT && status == HONE_OK; k++) {
        if (is_wanted(options, k)) status = run_kernel(&l, k, first[k], err);
    }
    free(l.g);
    return status;
}
