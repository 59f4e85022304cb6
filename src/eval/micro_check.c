/* eval/micro_check: right or wrong: the candidate's worker on the cases' shapes, and on shapes that are drawn for this
 * evaluation, against the oracle in float64. */
#include "eval/micro_internal.h"

#include <math.h>
#include <stdio.h>

/* Shapes that are drawn. */
static const hone_case_reach drawn[] = {HONE_CASE_NEAR, HONE_CASE_NEAR, HONE_CASE_FARTHEST,
                                        HONE_CASE_FAR,  HONE_CASE_NEAR, HONE_CASE_NEAR};
enum { DRAWN_SHAPES = sizeof drawn / sizeof *drawn };
#define CHECK_SECONDS 30.0 /* that the candidate may take for all cases of a kernel */

/* One run: the tensors are laid out and filled here, and compared here. */
typedef struct trial {
    hone_level *level;
    hone_kernel_lead *lead;
    size_t kind_index;
    const hone_case *kind;
    hone_case_shape shape;
    uint64_t seed;
    hone_case_run run;
} trial;

static hone_status pass(trial *t, hone_case_pass which, bool alone, hone_desk_answer *answer,
                        hone_error *err) {
    if (!hone_case_has(t->kind, t->run.set, which)) return HONE_OK;
    hone_desk_order order = {
        .verb = HONE_DESK_PASS, .shape = t->shape, .pass = which, .alone = alone};
    return hone_kernel_lead_order(t->lead, &order, answer, NULL, err);
}

static void find_wrong(hone_finding *f, hone_verdict verdict, const char *tensor,
                       const char *message) {
    if (f->verdict != HONE_VERDICT_OK) return;
    f->verdict = verdict;
    f->tensor = tensor;
    snprintf(f->message, sizeof f->message, "%s", message);
}

/* Every pass, in the order of a training step. */
static hone_status run_passes(trial *t, bool alone, bool *kept, hone_desk_answer *answer,
                              hone_finding *f, hone_error *err) {
    hone_case_report report;
    HONE_TRY(pass(t, HONE_CASE_FORWARD, alone, answer, err));
    hone_case_compare(&t->run, HONE_CASE_FORWARD, 1, &report);
    if (!report.passed) find_wrong(f, HONE_VERDICT_WRONG, report.tensor, report.message);
    *kept = hone_case_forget(&t->run, &t->run);
    HONE_TRY(pass(t, HONE_CASE_REBUILD, alone, answer, err));
    return pass(t, HONE_CASE_BACKWARD, alone, answer, err);
}

static void find_broken_rules(trial *t, const hone_desk_answer *answer, hone_finding *f) {
    if (answer->overflow)
        find_wrong(f, HONE_VERDICT_INVALID, NULL, "it took more memory than it planned");
    if (answer->changed_mode)
        find_wrong(f, HONE_VERDICT_INVALID, NULL,
                   "it left another rounding mode or other flush flags than it found");
    if (hone_kernel_lead_see(t->lead, 0).threads != t->lead->threads)
        find_wrong(f, HONE_VERDICT_INVALID, NULL, "it started threads of its own");
}

static hone_status open_sets(trial *t, hone_desk_answer *answer, hone_error *err) {
    hone_desk_order open = {.verb = HONE_DESK_OPEN,
                            .kind = t->kind_index,
                            .shape = t->shape,
                            .guarded = true,
                            .sets = 1};
    return hone_kernel_lead_order(t->lead, &open, answer, NULL, err);
}

/* All passes by a team, or by one thread alone; `digest`: of the bits of all outputs. */
static hone_status run_and_compare(trial *t, bool alone, uint64_t *digest, hone_finding *f,
                                   hone_error *err) {
    hone_desk_answer answer;
    hone_case_report report;
    bool kept = true;
    hone_case_reset(&t->run);
    HONE_TRY(open_sets(t, &answer, err));
    HONE_TRY(run_passes(t, alone, &kept, &answer, f, err));
    hone_case_compare_all(&t->run, &report, digest);
    if (!kept) hone_case_blame_residual(&t->run, &report);
    if (!report.passed) find_wrong(f, HONE_VERDICT_WRONG, report.tensor, report.message);
    find_broken_rules(t, &answer, f);
    return HONE_OK;
}

/* Forward as in validation, in generation and below the lowest layer that learns: before all else, so that there is
 * nothing that it could find again. */
static hone_status run_unsaved(trial *t, uint64_t hashes[HONE_CASE_TENSORS], hone_finding *f,
                               hone_error *err) {
    hone_desk_order order = {
        .verb = HONE_DESK_PASS, .shape = t->shape, .pass = HONE_CASE_FORWARD, .unsaved = true};
    hone_desk_answer answer;
    hone_case_report report = {.passed = true};
    hone_case_reset(&t->run);
    HONE_TRY(open_sets(t, &answer, err));
    HONE_TRY(hone_kernel_lead_order(t->lead, &order, &answer, NULL, err));
    hone_case_hash_forward(&t->run, hashes);
    if (!hone_case_forget(&t->run, &t->run)) hone_case_blame_residual(&t->run, &report);
    if (!report.passed) find_wrong(f, HONE_VERDICT_WRONG, report.tensor, report.message);
    find_broken_rules(t, &answer, f);
    return HONE_OK;
}

/* `both`: also by one thread, with the same bits. */
static hone_status try_shape(trial *t, bool both, hone_finding *f, hone_error *err) {
    hone_level *l = t->level;
    hone_case_room room = {.filled = false};
    uint64_t team = 0, single = 0, unsaved[HONE_CASE_TENSORS];
    hone_case_report report = {.passed = true};
    hone_status status;
    room.space[HONE_CASE_FIXED] = (hone_case_space){l->fixed.base, l->fixed.bytes, 0};
    room.space[HONE_CASE_CHANGING] =
        (hone_case_space){t->lead->changing.base, t->lead->changing.bytes, 0};
    HONE_TRY_GOTO(status, done,
                  hone_case_open(t->kind, &t->shape, &l->stands[HONE_SIDE_CANDIDATE], t->seed, true,
                                 &room, &t->run, err));
    HONE_TRY_GOTO(status, done, hone_case_oracle(&t->run, err));
    HONE_TRY_GOTO(status, done, run_unsaved(t, unsaved, f, err));
    HONE_TRY_GOTO(status, done, run_and_compare(t, false, &team, f, err));
    hone_case_compare_forward(&t->run, unsaved, &report);
    if (!report.passed) find_wrong(f, HONE_VERDICT_WRONG, report.tensor, report.message);
    if (both && f->verdict == HONE_VERDICT_OK) {
        HONE_TRY_GOTO(status, done, run_and_compare(t, true, &single, f, err));
        if (f->verdict != HONE_VERDICT_OK) {
            char alone[sizeof f->message];
            snprintf(alone, sizeof alone, "with one thread: %.280s", f->message);
            memcpy(f->message, alone, sizeof alone);
        } else if (team != single) {
            find_wrong(f, HONE_VERDICT_WRONG, NULL, "its results depend on the number of threads");
        }
    }
done:
    hone_case_close(&t->run);
    return status;
}

typedef struct checking {
    hone_level *level;
    hone_wrong_fn *wrong;
    void *user;
    size_t kind_index;
    char what[96];
} checking;

/* Both types. *ended: the worker is gone. */
static hone_status check_shape(checking *c, const hone_case_shape *shape, const char *where,
                               uint64_t seed, bool both, bool *ended, hone_error *err) {
    static const hone_dtype types[] = {HONE_F32, HONE_BF16};
    hone_level *l = c->level;
    for (size_t i = 0; i < sizeof types / sizeof *types && !*ended; i++) {
        trial t = {.level = l,
                   .lead = &l->leads[HONE_SIDE_CANDIDATE],
                   .kind_index = c->kind_index,
                   .kind = hone_case_at(c->kind_index),
                   .shape = *shape,
                   .seed = seed};
        hone_finding f = {.verdict = HONE_VERDICT_OK};
        hone_error problem = {0};
        t.shape.compute = types[i];
        if (!hone_level_goes_on(l, c->what)) return hone_fail(err, HONE_ERR_INTERRUPTED, "stopped");
        hone_status status = try_shape(&t, both, &f, &problem);
        if (status != HONE_OK)
            HONE_TRY(hone_level_find(l, HONE_SIDE_CANDIDATE, status, &problem, &f, err));
        *ended = l->leads[HONE_SIDE_CANDIDATE].ended;
        if (f.verdict != HONE_VERDICT_OK) c->wrong(c->user, &t.shape, where, &f);
    }
    return HONE_OK;
}

/* All shapes of one kind of case. `name`: of the kind where it is not the kernel's own, else "". */
static hone_status check_kind(checking *c, const char *name, bool *ended, hone_error *err) {
    const hone_micro_options *o = c->level->options;
    const hone_case *kind = hone_case_at(c->kind_index);
    char listed[64], hidden[80];
    snprintf(listed, sizeof listed, "%s%scase", name, name[0] ? " " : "");
    snprintf(hidden, sizeof hidden, "hidden %s", listed);
    for (size_t i = 0; i < kind->shape_count && !*ended; i++) {
        HONE_TRY(check_shape(c, &kind->shapes[i], listed, o->seed + i, true, ended, err));
        if (!o->quick && !*ended)
            HONE_TRY(check_shape(c, &kind->shapes[i], listed, ~o->seed - i, false, ended, err));
    }
    hone_rng rng = hone_rng_make(o->seed ^ (0x68696464656eu + (uint64_t)c->kind_index));
    for (size_t i = 0; i < DRAWN_SHAPES && !*ended; i++) {
        hone_case_shape shape = hone_case_draw(kind, drawn[i], &rng);
        HONE_TRY(check_shape(c, &shape, hidden, hone_rng_next(&rng), i == 0, ended, err));
    }
    return HONE_OK;
}

static size_t index_of(const char *name) {
    size_t index = 0;
    while (strcmp(hone_case_at(index)->name, name) != 0) index++;
    return index;
}

static hone_status check_kernel(checking *c, int kernel, bool *ended, hone_error *err) {
    const hone_desk_answer *loaded = &c->level->leads[HONE_SIDE_CANDIDATE].loaded;
    HONE_TRY(check_kind(c, "", ended, err));
    /* What training runs in place of the loss, or makes of it and a linear layer. */
    if (kernel != HONE_OP_cross_entropy_loss || *ended) return HONE_OK;
    if (!loaded->has_loss && !loaded->has[kernel]) return HONE_OK;
    c->kind_index = index_of("linear_cross_entropy");
    return check_kind(c, "linear_cross_entropy", ended, err);
}

hone_status hone_level_check(hone_level *level, int kernel, hone_wrong_fn *wrong, void *user,
                             hone_error *err) {
    const char *name = hone_op_names[kernel];
    const double own = level->options->check_seconds;
    hone_kernel_lead *lead = &level->leads[HONE_SIDE_CANDIDATE];
    checking c = {.level = level, .wrong = wrong, .user = user, .kind_index = index_of(name)};
    bool ended = false;
    snprintf(c.what, sizeof c.what, "%s: checking", name);
    hone_kernel_lead_allow(lead, own > 0 ? own : CHECK_SECONDS);
    hone_status status = check_kernel(&c, kernel, &ended, err);
    hone_kernel_lead_allow(lead, INFINITY);
    return status;
}
