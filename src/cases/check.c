/* cases/check: expected outputs, comparison, and the whole check of one shape. Layer cases. */
#include "cases/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_output(const hone_case_tensor *t) { return t->name && t->role >= HONE_CASE_OUTPUT; }

/* Room for float64 values of a tensor, once. */
static hone_status need(double **values, const hone_case_tensor *t, hone_error *err) {
    size_t count = t->rows * t->cols;
    if (!*values) *values = calloc(HONE_MAX(count, 1), sizeof **values);
    return *values ? HONE_OK : hone_fail_memory(err, t->name, count * sizeof **values);
}

hone_status hone_case_oracle(hone_case_run *run, hone_error *err) {
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        hone_case_tensor *t = &run->tensor[i];
        if (!t->name || t->dtype == HONE_CASE_INTEGERS) continue;
        if (is_output(t)) HONE_TRY(need(&t->want, t, err));
        if (t->role == HONE_CASE_OUTPUT) continue;
        HONE_TRY(need(&t->values, t, err));
        hone_case_decode(t, t->start ? t->start : t->data, t->values);
    }
    if (!run->kind->oracle(run)) return hone_fail_memory(err, "the oracle", 0);
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        if (!t->name || t->role != HONE_CASE_ADDED) continue;
        for (size_t j = 0; j < t->rows * t->cols; j++) t->want[j] += t->values[j];
    }
    return HONE_OK;
}

hone_status hone_case_expect(hone_case_run *run, const hone_case_run *trusted, hone_error *err) {
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        hone_case_tensor *t = &run->tensor[i];
        const hone_case_tensor *from = &trusted->tensor[i];
        if (!is_output(t) || !from->name)
            continue; /* a pass that the other set has not: not compared */
        HONE_TRY(need(&t->want, t, err));
        hone_case_decode(from, from->data, t->want);
    }
    return HONE_OK;
}

/* Multiples of the bound: above 1, or not a number, fails. */
static double share_of(double error, double bound) { return error == 0 ? 0 : error / bound; }

/* Puts a finding into the report when nothing worse is there; says whether it did. */
static bool put(hone_case_report *report, const char *tensor, double error, double bound) {
    double share = share_of(error, bound);
    if (report->tensor && !(report->share < share) && !(isnan(share) && !isnan(report->share)))
        return false;
    report->tensor = tensor;
    report->error = error;
    report->bound = bound;
    report->share = share;
    report->passed = share <= 1;
    return true;
}

static double element(const hone_case_tensor *t, size_t i) {
    if (t->dtype == HONE_F32) return (double)((const float *)t->data)[i];
    return (double)hone_bf16_to_f32(((const hone_bf16 *)t->data)[i]);
}

static void compare_tensor(const hone_case_run *run, size_t index, double slack,
                           hone_case_report *report) {
    const hone_case_tensor *t = &run->tensor[index];
    const hone_case_bounds b = run->kind->bounds(run, index);
    size_t count = t->rows * t->cols, at = 0;
    double squares = 0, error_squares = 0, worst = 0, worst_bound = 0;
    for (size_t i = 0; i < count; i++) squares += t->want[i] * t->want[i];
    double size = HONE_MAX(sqrt(squares / (double)HONE_MAX(count, 1)), b.floor);
    for (size_t i = 0; i < count; i++) {
        double error = fabs(element(t, i) - t->want[i]);
        double bound = slack * (b.absolute * size + b.relative * fabs(t->want[i]));
        error_squares += error * error;
        if (share_of(error, bound) <= share_of(worst, worst_bound)) continue;
        worst = error, worst_bound = bound, at = i;
        if (isnan(error)) break;
    }
    if (put(report, t->name, worst, worst_bound) && !report->passed) {
        snprintf(report->message, sizeof report->message,
                 "%s: %s[%zu, %zu] is %.9g, expected %.9g within %.3g (%s)", run->kind->name,
                 t->name, at / t->cols, at % t->cols, element(t, at), t->want[at], worst_bound,
                 b.why);
    }
    if (count < HONE_CASE_NORM_COUNT) return;
    double norm = slack * b.norm * size * sqrt((double)count), error_norm = sqrt(error_squares);
    if (put(report, t->name, error_norm, norm) && !report->passed) {
        snprintf(report->message, sizeof report->message,
                 "%s: %s is off by %.3g as a whole, allowed %.3g (%s)", run->kind->name, t->name,
                 error_norm, norm, b.why);
    }
}

static void blame_input(const hone_case_run *run, const hone_case_tensor *t,
                        hone_case_report *report) {
    *report = (hone_case_report){.tensor = t->name, .error = INFINITY, .share = INFINITY};
    snprintf(report->message, sizeof report->message, "%s: input %s was changed", run->kind->name,
             t->name);
}

void hone_case_compare(const hone_case_run *run, hone_case_pass pass, double slack,
                       hone_case_report *report) {
    *report = (hone_case_report){.passed = true};
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        if (is_output(t) && t->pass == pass && t->want) compare_tensor(run, i, slack, report);
    }
}

static void compare_inputs(const hone_case_run *run, hone_case_report *report) {
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        if (!t->name || t->role != HONE_CASE_INPUT) continue;
        if (hone_case_hash(t->data, t->bytes, 0) != t->hash) blame_input(run, t, report);
    }
}

void hone_case_blame_residual(const hone_case_run *run, hone_case_report *report) {
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        if (t->name && t->role == HONE_CASE_RESIDUAL) blame_input(run, t, report);
    }
}

void hone_case_hash_forward(const hone_case_run *run, uint64_t hashes[HONE_CASE_TENSORS]) {
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        bool counts = is_output(t) && t->pass == HONE_CASE_FORWARD && !t->gradient;
        hashes[i] = counts ? hone_case_hash(t->data, t->bytes, 0) : 0;
    }
}

void hone_case_compare_forward(const hone_case_run *run, const uint64_t unsaved[HONE_CASE_TENSORS],
                               hone_case_report *report) {
    uint64_t saved[HONE_CASE_TENSORS];
    hone_case_hash_forward(run, saved);
    for (size_t i = 0; i < HONE_CASE_TENSORS && report->passed; i++) {
        const char *name = run->tensor[i].name;
        if (saved[i] == unsaved[i]) continue;
        *report = (hone_case_report){.tensor = name, .error = INFINITY, .share = INFINITY};
        snprintf(report->message, sizeof report->message,
                 "%s: %s has other bits where no backward follows (saved is NULL)", run->kind->name,
                 name);
    }
}

/* ---- one shape from the beginning to the end --------------------------------------------- */

typedef struct check {
    hone_case_run *run;
    const hone_kernels *kernels;
    hone_arena arena;
    bool overflow[HONE_CASE_MOST_THREADS];
    bool kept; /* what forward alone reads is as it was */
} check;

static void run_unsaved(hone_team team, void *argument) {
    check *c = argument;
    hone_ctx ctx = {
        .team = team, .kernels = c->kernels, .compute = c->run->shape.compute, .arena = c->arena};
    hone_case_run_pass(c->run, HONE_CASE_FORWARD, &ctx, NULL);
    c->overflow[team.rank] = ctx.arena.overflow;
}

static void run_passes(hone_team team, void *argument) {
    check *c = argument;
    const hone_case_run *run = c->run;
    hone_ctx ctx = {
        .team = team, .kernels = c->kernels, .compute = run->shape.compute, .arena = c->arena};
    hone_saved saved = {0};
    hone_case_run_pass(run, HONE_CASE_FORWARD, &ctx, &saved);
    hone_barrier(team);
    if (team.rank == 0) c->kept &= hone_case_forget(run, run);
    hone_barrier(team);
    if (hone_case_has(run->kind, run->set, HONE_CASE_REBUILD)) {
        hone_case_run_pass(run, HONE_CASE_REBUILD, &ctx, &saved);
    }
    if (hone_case_has(run->kind, run->set, HONE_CASE_BACKWARD)) {
        hone_case_run_pass(run, HONE_CASE_BACKWARD, &ctx, &saved);
    }
    c->overflow[team.rank] |= ctx.arena.overflow;
}

void hone_case_compare_all(const hone_case_run *run, hone_case_report *report, uint64_t *digest) {
    if (digest) *digest = 0;
    *report = (hone_case_report){.passed = true};
    for (int pass = 0; pass < HONE_CASE_PASSES && report->passed; pass++) {
        hone_case_report one;
        hone_case_compare(run, (hone_case_pass)pass, 1, &one);
        if (!one.passed || !report->tensor || one.share > report->share) *report = one;
    }
    compare_inputs(run, report);
    for (size_t i = 0; digest && i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        if (is_output(t)) *digest = hone_case_hash(t->data, t->bytes, *digest);
    }
}

hone_status hone_case_check(const hone_case *kind, const hone_case_shape *shape,
                            const hone_op_set *set, const hone_kernels *kernels, int threads,
                            uint64_t seed, hone_case_report *report, uint64_t *digest,
                            hone_error *err) {
    hone_case_run run;
    check c = {.run = &run, .kernels = kernels};
    uint64_t unsaved[HONE_CASE_TENSORS];
    hone_status status;
    *report = (hone_case_report){0};
    threads = HONE_MIN(threads, HONE_CASE_MOST_THREADS);
    HONE_TRY_GOTO(status, done, hone_case_open(kind, shape, set, seed, true, NULL, &run, err));
    HONE_TRY_GOTO(status, done, hone_case_oracle(&run, err));
    size_t bytes = HONE_MAX(hone_case_plan(&run, kernels, threads).arena, 1);
    HONE_TRY_GOTO(status, done, hone_arena_open(&c.arena, bytes, false, err));
    memset(c.arena.base, 0xff, c.arena.capacity); /* what is read before it is written is NaN */
    hone_parallel(threads, run_unsaved, &c);
    hone_case_hash_forward(&run, unsaved);
    c.kept = hone_case_forget(&run, &run);
    hone_case_reset(&run);
    memset(c.arena.base, 0xff, c.arena.capacity);
    hone_parallel(threads, run_passes, &c);
    for (int i = 0; i < threads; i++) c.arena.overflow |= c.overflow[i];
    HONE_TRY_GOTO(status, done, hone_arena_check(&c.arena, err));
    hone_case_compare_all(&run, report, digest);
    hone_case_compare_forward(&run, unsaved, report);
    if (!c.kept) hone_case_blame_residual(&run, report);
done:
    if (c.arena.base) hone_arena_close(&c.arena);
    hone_case_close(&run);
    return status;
}
