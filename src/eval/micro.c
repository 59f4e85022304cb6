/* eval/micro: see micro.h. A group is one kernel at one shape and type: two rows, since backward needs a forward
 * before it. */
#include "eval/micro.h"

#include "base/clock.h"
#include "eval/micro_internal.h"
#include "eval/roof.h"
#include "eval/score.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PASSES = HONE_MICRO_PASSES, MAX_SHAPES = 4, EMPTY_ORDERS = 100 };
#define LEAST_BUDGET 0.05
#define NOISE_SECONDS 0.3
#define ORDER_SECONDS 30.0            /* that a kernel of the candidate may take */
#define TRUSTED_SECONDS 300.0         /* and one of ours, on a machine that is busy otherwise */
#define ROOM_BYTES ((size_t)80 << 20) /* for several sets, where one does not need more */

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
enum { VARIANTS = sizeof variants / sizeof variants[0] };

/* ---- rows ---- */

static void describe_shape(const hone_case_shape *s, char *out, size_t size) {
    const struct {
        const char *name;
        size_t value;
    } fields[] = {{"batch", s->batch},       {"seq", s->seq},
                  {"past", s->past},         {"hidden", s->hidden},
                  {"vocab", s->vocab},       {"heads", s->heads},
                  {"kv heads", s->kv_heads}, {"head size", s->head_dim},
                  {"ffn", s->ffn},           {"in", s->in},
                  {"out", s->out},           {"rank", s->rank}};
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

/* The groups of one kernel: shapes by types; quick: the smallest and the model's. Returns how many. */
static size_t kernel_shapes(const hone_case *kind, bool quick,
                            hone_case_shape out[MAX_SHAPES * VARIANTS]) {
    hone_case_shape shapes[MAX_SHAPES];
    size_t count = 0, shape_count = hone_case_bench_shapes(kind, &model_shape, shapes, MAX_SHAPES);
    if (quick) /* rows of logits do not know each other: a quarter of 200 MB says the same */
        shapes[shape_count - 1].seq /= shapes[shape_count - 1].vocab ? 4 : 1;
    for (size_t i = 0; i < shape_count; i++) {
        if (quick && i > 0 && i + 1 < shape_count) continue;
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

/* ---- findings ---- */

static bool goes_on(void *user) {
    const hone_level *l = user;
    const hone_micro_options *o = l->options;
    double fraction = l->groups ? (double)l->done / (double)l->groups : 0;
    return !o->on_progress || o->on_progress(o->user, l->what, fraction);
}

bool hone_level_goes_on(hone_level *l, const char *what) {
    snprintf(l->what, sizeof l->what, "%s", what);
    return goes_on(l);
}

hone_status hone_level_find(hone_level *l, int side, hone_status failed, const hone_error *problem,
                            hone_finding *finding, hone_error *err) {
    const hone_kernel_lead *lead = &l->leads[side];
    if (side != HONE_SIDE_CANDIDATE || failed == HONE_ERR_INTERRUPTED)
        return hone_fail(err, failed, "%s%s%s",
                         failed == HONE_ERR_INTERRUPTED ? "" : hone_side_names[side],
                         failed == HONE_ERR_INTERRUPTED ? "" : " kernels: ", problem->message);
    /* Its death counts more than what was wrong before; what it could not do (memory it wants, say) is told. */
    finding->tensor = NULL;
    finding->verdict = lead->ended ? lead->ending.verdict : HONE_VERDICT_INVALID;
    snprintf(finding->message, sizeof finding->message, "%.300s", problem->message);
    return HONE_OK;
}

/* The first finding is the candidate's verdict. */
static void judge(hone_level *l, int kernel, const hone_finding *f, const char *where) {
    hone_candidate *c = &l->report->candidate;
    if (strcmp(c->verdict, "accepted") != 0) return;
    c->verdict = hone_verdict_name(f->verdict);
    snprintf(c->reason, sizeof c->reason, "%s%s%s: %s", kernel >= 0 ? hone_op_names[kernel] : "",
             kernel >= 0 ? ", " : "", where, f->message);
}

static void mark_wrong(hone_micro_row *row, const char *where, const char *message) {
    if (row->correct) snprintf(row->reason, sizeof row->reason, "%.180s: %.319s", where, message);
    row->checked = true;
    row->correct = false;
}

/* Pass that writes the tensor that a comparison complains of; HONE_CASE_PASSES when all are concerned. */
static hone_case_pass pass_of(const hone_case *kind, const hone_case_shape *shape,
                              const hone_op_set *set, const char *tensor) {
    hone_case_run run = {.kind = kind, .set = set, .shape = *shape};
    if (run.shape.magnitude == 0) run.shape.magnitude = 1;
    kind->declare(&run);
    for (int i = 0; i < HONE_CASE_TENSORS && tensor; i++) {
        const hone_case_tensor *t = &run.tensor[i];
        if (t->name && t->role >= HONE_CASE_OUTPUT && strcmp(t->name, tensor) == 0) return t->pass;
    }
    return HONE_CASE_PASSES;
}

/* The rows of one kernel, while it is looked at. */
typedef struct subject {
    hone_level *level;
    int kernel;
    const hone_case *kind;
    hone_micro_row *rows;
    size_t count;
} subject;

/* Wrong are the rows of this type and pass; all rows when the worker died or a rule was broken. */
static void mark(subject *s, const hone_case_shape *shape, const char *where,
                 const hone_finding *f) {
    char text[192], place[256];
    hone_case_pass pass =
        pass_of(s->kind, shape, &s->level->stands[HONE_SIDE_CANDIDATE], f->tensor);
    describe_shape(shape, text, sizeof text);
    snprintf(place, sizeof place, "%s %s, %s", where, text, hone_dtype_name(shape->compute));
    judge(s->level, s->kernel, f, place);
    for (size_t i = 0; i < s->count; i++) {
        hone_micro_row *row = &s->rows[i];
        bool other = pass == (row->backward ? HONE_CASE_FORWARD : HONE_CASE_BACKWARD) ||
                     strcmp(row->dtype, hone_dtype_name(shape->compute)) != 0;
        if (f->verdict != HONE_VERDICT_WRONG || !other) mark_wrong(row, place, f->message);
    }
}

static void on_wrong(void *user, const hone_case_shape *shape, const char *where,
                     const hone_finding *f) {
    mark(user, shape, where, f);
}

/* ---- one kernel ---- */

static bool is_alive(const hone_level *l) {
    const hone_kernel_lead *lead = &l->leads[HONE_SIDE_CANDIDATE];
    return lead->options && !lead->ended;
}

/* A worker that has died is started again, for the next kernel. */
static hone_status revive(subject *s, const hone_case_shape *shape, hone_error *err) {
    hone_level *l = s->level;
    hone_kernel_lead *lead = &l->leads[HONE_SIDE_CANDIDATE];
    hone_finding f = {.verdict = HONE_VERDICT_OK};
    hone_error problem = {0};
    if (is_alive(l)) return HONE_OK;
    hone_kernel_lead_stop(lead);
    hone_status status =
        hone_kernel_lead_start(lead, &l->lead_options[HONE_SIDE_CANDIDATE], &problem);
    if (status == HONE_OK) return HONE_OK;
    HONE_TRY(hone_level_find(l, HONE_SIDE_CANDIDATE, status, &problem, &f, err));
    mark(s, shape, "loading it again for", &f);
    return HONE_OK;
}

/* What no finding has marked is right as far as it was looked at. */
static void close_row(hone_micro_row *row, const char *reason) {
    if (row->correct) snprintf(row->reason, sizeof row->reason, "%s", reason);
}

static hone_status measure_shape(subject *s, const hone_case_shape *shape, hone_micro_row *rows,
                                 hone_error *err) {
    hone_level *l = s->level;
    hone_finding f = {.verdict = HONE_VERDICT_OK};
    double left = l->deadline - hone_clock_seconds();
    double budget = fmax(left / (double)(l->groups - l->done), LEAST_BUDGET);
    HONE_TRY(hone_level_measure(l, s->kernel, shape, budget, rows, &f, err));
    if (f.verdict != HONE_VERDICT_OK) mark(s, shape, "measuring", &f);
    for (int pass = 0; pass < PASSES; pass++) {
        hone_candidate *c = &l->report->candidate;
        rows[pass].inherited = !c->has[s->kernel];
        if (rows[pass].tested) close_row(&rows[pass], "");
    }
    return HONE_OK;
}

static hone_status run_kernel(hone_level *l, int kernel, size_t first_row, hone_error *err) {
    hone_case_shape shapes[MAX_SHAPES * VARIANTS];
    const hone_case *kind = hone_case_find(hone_op_names[kernel]);
    size_t count = kernel_shapes(kind, l->options->quick, shapes), before = l->done;
    subject s = {l, kernel, kind, &l->report->micro[first_row], PASSES * count};
    for (size_t i = 0; i < s.count; i++) s.rows[i].correct = true;
    HONE_TRY(revive(&s, &shapes[0], err));
    if (is_alive(l)) HONE_TRY(hone_level_check(l, kernel, on_wrong, &s, err));
    for (size_t i = 0; i < s.count; i++) s.rows[i].checked = true;
    bool wrong = false;
    for (size_t i = 0; i < s.count; i++) wrong |= !s.rows[i].correct;
    /* Evolution's inner loop has no use for the speed of what is wrong. */
    for (size_t i = 0; i < count && is_alive(l) && !(wrong && l->options->quick); i++) {
        HONE_TRY(measure_shape(&s, &shapes[i], &s.rows[PASSES * i], err));
        l->done++;
    }
    l->done = before + count;
    if (l->options->on_kernel) l->options->on_kernel(l->options->user, kernel);
    return HONE_OK;
}

/* ---- the level ---- */

static const hone_op_set *trusted_set(int side) {
    return side == HONE_SIDE_NAIVE ? &hone_ops_naive : &hone_ops_fused;
}

/* `kernels`: a built-in set's name or a path. */
static hone_status start_side(hone_level *l, int side, const char *kernels, hone_error *err) {
    const hone_micro_options *o = l->options;
    bool trusted = !strchr(kernels, '/');
    hone_kernel_lead *lead = &l->leads[side];
    double seconds = o->order_seconds > 0 ? o->order_seconds : ORDER_SECONDS;
    l->lead_options[side] =
        (hone_kernel_lead_options){.program = o->program,
                                   .kernels = kernels,
                                   .threads = o->threads,
                                   .features = o->features,
                                   .tuning = o->tuning,
                                   .fixed = &l->fixed,
                                   .changing = l->changing,
                                   .unsafe = o->unsafe || trusted,
                                   .seconds = trusted ? TRUSTED_SECONDS : seconds,
                                   .keep_waiting = goes_on,
                                   .user = l};
    HONE_TRY(hone_kernel_lead_start(lead, &l->lead_options[side], err));
    l->sides[l->side_count++] = side;
    l->stands[side] = trusted ? *hone_op_set_find(kernels) : hone_ops_fused;
    l->stands[side].keeps_residual = lead->loaded.keeps_residual;
    if (!lead->loaded.rebuilds) l->stands[side].rms_norm_rebuild = NULL;
    return HONE_OK;
}

static void stop_sides(hone_level *l) {
    for (int side = 0; side < HONE_SIDES; side++)
        if (l->leads[side].options) hone_kernel_lead_stop(&l->leads[side]);
    l->side_count = 0;
}

static hone_status measure_order(hone_level *l, hone_error *err) {
    hone_desk_order order = {.verb = HONE_DESK_NOTHING};
    hone_desk_answer answer;
    double least = INFINITY, seconds;
    for (int i = 0; i < EMPTY_ORDERS; i++) {
        HONE_TRY(hone_kernel_lead_order(&l->leads[l->sides[0]], &order, &answer, &seconds, err));
        least = fmin(least, seconds); /* what is always there: more would be taken off too much */
    }
    l->report->noise.call_seconds = l->call_seconds = least;
    return HONE_OK;
}

/* What an order costs, and two workers of the same set against each other, in the slots of others. */
static hone_status measure_noise(hone_level *l, hone_error *err) {
    hone_case_shape shape = {0};
    const hone_case *kind = hone_case_find(hone_op_names[HONE_OP_rms_norm]);
    HONE_TRY(hone_roof_measure(l->crew, l->options->features, &l->report->noise, err));
    HONE_TRY(start_side(l, HONE_SIDE_NAIVE, "fused", err));
    HONE_TRY(start_side(l, HONE_SIDE_SHIPPED, "fused", err));
    HONE_TRY(measure_order(l, err));
    hone_case_bench_shapes(kind, NULL, &shape, 1);
    HONE_TRY(hone_level_compare(l, HONE_OP_rms_norm, &shape, NOISE_SECONDS, &l->report->noise.same,
                                err));
    stop_sides(l);
    return HONE_OK;
}

/* A candidate that cannot even be loaded: a result. */
static void refuse(hone_level *l, const hone_error *problem) {
    const hone_kernel_lead *lead = &l->leads[HONE_SIDE_CANDIDATE];
    hone_finding f = {.verdict = HONE_VERDICT_INVALID};
    if (lead->ended && lead->ending.verdict != HONE_VERDICT_OK) f.verdict = lead->ending.verdict;
    snprintf(f.message, sizeof f.message, "%.300s", problem->message);
    judge(l, -1, &f, "loading");
    for (size_t i = 0; i < l->report->micro_count; i++) {
        l->report->micro[i].correct = true;
        mark_wrong(&l->report->micro[i], "loading", f.message);
    }
}

/* *loaded: the candidate is there. */
static hone_status start_sides(hone_level *l, bool *loaded, hone_error *err) {
    const hone_micro_options *o = l->options;
    hone_error problem = {0};
    hone_candidate *c = &l->report->candidate;
    hone_status status =
        start_side(l, HONE_SIDE_CANDIDATE, o->kernels ? o->kernels : "fused", &problem);
    *loaded = status == HONE_OK;
    bool its_fault = o->kernels && (status == HONE_ERR_IO || l->leads[HONE_SIDE_CANDIDATE].called);
    if (!*loaded && (!its_fault || status == HONE_ERR_INTERRUPTED))
        return hone_fail(err, status, "%s", problem.message);
    if (!*loaded) {
        refuse(l, &problem);
        return HONE_OK;
    }
    const hone_desk_answer *said = &l->leads[HONE_SIDE_CANDIDATE].loaded;
    memcpy(c->has, said->has, sizeof c->has);
    snprintf(c->set_name, sizeof c->set_name, "%s", said->set_name);
    HONE_TRY(start_side(l, HONE_SIDE_NAIVE, "naive", err));
    return o->kernels ? start_side(l, HONE_SIDE_SHIPPED, "fused", err) : HONE_OK;
}

static bool is_wanted(const hone_micro_options *o, int kernel) {
    return !o->only || (o->only >> kernel & 1);
}

/* Adds the rows, and finds how much room the largest group needs. */
static hone_status prepare(hone_level *l, size_t first[HONE_OP_COUNT], size_t *fixed,
                           hone_error *err) {
    *fixed = l->changing = ROOM_BYTES;
    for (int k = 0; k < HONE_OP_COUNT; k++) {
        if (!is_wanted(l->options, k)) continue;
        hone_case_shape shapes[MAX_SHAPES * VARIANTS];
        const hone_case *kind = hone_case_find(hone_op_names[k]);
        size_t count = kernel_shapes(kind, l->options->quick, shapes);
        first[k] = l->report->micro_count;
        for (size_t i = 0; i < count; i++) {
            size_t bytes[HONE_CASE_SPACES];
            HONE_TRY(add_rows(l->report, k, kind, &shapes[i], err));
            HONE_TRY(
                hone_case_measure(kind, &shapes[i], trusted_set(HONE_SIDE_SHIPPED), bytes, err));
            *fixed = HONE_MAX(*fixed, bytes[HONE_CASE_FIXED]);
            l->changing = HONE_MAX(l->changing, bytes[HONE_CASE_CHANGING]);
        }
        l->groups += count;
    }
    return HONE_OK;
}

typedef struct whole {
    hone_level level;
    hone_status status;
    hone_error *err;
} whole;

static hone_status run_level(hone_level *l, hone_error *err) {
    size_t first[HONE_OP_COUNT], fixed;
    bool loaded = false;
    snprintf(l->what, sizeof l->what, "measuring this machine");
    HONE_TRY(prepare(l, first, &fixed, err));
    HONE_TRY(hone_shared_make(&l->fixed, "inputs", fixed, true, err));
    if (isnan(l->report->noise.peak_f32)) HONE_TRY(measure_noise(l, err));
    l->call_seconds = l->report->noise.call_seconds;
    HONE_TRY(start_sides(l, &loaded, err));
    for (int k = 0; k < HONE_OP_COUNT && loaded; k++)
        if (is_wanted(l->options, k)) HONE_TRY(run_kernel(l, k, first[k], err));
    return HONE_OK;
}

/* By the first thread of the crew. */
static void lead_level(hone_crew *crew, void *user) {
    whole *w = user;
    w->level.crew = crew;
    w->status = run_level(&w->level, w->err);
    stop_sides(&w->level);
    hone_shared_free(&w->level.fixed);
}

hone_status hone_micro_run(const hone_micro_options *options, hone_eval_report *report,
                           hone_error *err) {
    whole w = {.err = err};
    if (options->trials < 1 || options->trials > HONE_EVAL_MAX_PAIRS)
        return hone_fail(err, HONE_ERR_USAGE, "%d trials; expected 1 to %d", options->trials,
                         (int)HONE_EVAL_MAX_PAIRS);
    w.level.options = options;
    w.level.report = report;
    w.level.fixed.fd = -1;
    w.level.contents = options->seed * 0x9e3779b97f4a7c15u;
    w.level.deadline = hone_clock_seconds() + options->seconds;
    w.level.g = hone_group_make();
    if (!w.level.g) return hone_fail_memory(err, "kernel measurements", 0);
    hone_crew_run(options->threads, lead_level, &w);
    hone_group_free(w.level.g);
    return w.status;
}
