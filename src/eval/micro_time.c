/* eval/micro_time: how fast: one kernel at one shape and type, by all sides in turns.
 *
 * A sample is one call on each of several sets of inputs, all between two looks at this process's clock. Every round
 * gives all sets new contents, the same for every side, has each side do its forward and its backward passes, and then
 * compares what the candidate has written with what the naive side has, for every call. So no call can profit from one
 * before it, and none goes unchecked. */
#include "eval/micro_internal.h"

#include "eval/roof.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    PASSES = HONE_MICRO_PASSES,
    MAX_SETS = HONE_DESK_MAX_SETS,
    SET_BYTES = 16 << 20, /* that all sets of a side may take, one may take more */
    LEAST_PAIRS = 8,
    MAX_PAIRS = 64,
    ALIKE = 3,
    MOST_WARM_UP = 6,
    LOOK_EVERY = 4, /* pairs between two looks at the intervals */
    ROOF_AGAIN = 5
};
#define SAMPLE_SECONDS 0.004 /* far above what an order costs, and what a scheduler takes away */
#define NARROW 0.02          /* of the ratio, to both sides: enough is known */
#define STABLE 0.05
#define SETTLE_SECONDS 150e-6 /* until helping threads sleep */
/* Processor time after an answer: what waking up and lying down again costs, with room. */
#define LATE_SECONDS 250e-6
#define LATE_SHARE 0.03
/* Unplanned memory: the counters of a process with several threads are not exact. */
#define MEMORY_SLACK ((size_t)2 << 20)
struct hone_group {
    hone_level *level;
    size_t kind_index;
    const hone_case *kind;
    hone_case_shape shape;
    size_t sets;
    hone_case_run runs[MAX_SETS][HONE_SIDES];
    hone_case_memory memory[HONE_SIDES];
    int rounds, pairs;
    double warm
        [MOST_WARM_UP]; /* seconds of the rounds that no figure counts, since sets were opened */
    int warmed;
    double seconds[HONE_SIDES][PASSES]; /* of the round that runs, by sample */
    double samples[HONE_SIDES][PASSES][MAX_PAIRS];
    double late[PASSES]; /* the candidate's processor seconds after its last answer to each pass */
    double late_samples[PASSES][MAX_PAIRS];
    bool changed_input; /* of the candidate */
    bool agrees[PASSES];
    hone_case_sums sums;
};
typedef struct hone_group group;

group *hone_group_make(void) { return calloc(1, sizeof(group)); }
void hone_group_free(group *g) { free(g); }

/* ---- sets of inputs ---- */

static void close_sets(group *g) {
    for (size_t i = 0; i < g->sets; i++)
        for (int side = 0; side < HONE_SIDES; side++) hone_case_close(&g->runs[i][side]);
    g->sets = 0;
}

/* The first side fills; the others see the same const inputs and have room of their own for the rest. */
static hone_status open_set(group *g, hone_case_room rooms[HONE_SIDES], hone_error *err) {
    hone_level *l = g->level;
    size_t index = g->sets++, before = rooms[l->sides[0]].space[HONE_CASE_FIXED].used;
    for (int k = 0; k < l->side_count; k++) {
        int side = l->sides[k];
        rooms[side].space[HONE_CASE_FIXED].used = before;
        HONE_TRY(hone_case_open(g->kind, &g->shape, &l->stands[side], l->contents++, false,
                                &rooms[side], &g->runs[index][side], err));
    }
    return HONE_OK;
}

static hone_status open_sets(group *g, size_t count, int *side, hone_error *err) {
    hone_level *l = g->level;
    hone_case_room rooms[HONE_SIDES] = {0};
    hone_desk_order order = {
        .verb = HONE_DESK_OPEN, .kind = g->kind_index, .shape = g->shape, .sets = (int)count};
    close_sets(g);
    *side = l->sides[0];
    for (int k = 0; k < l->side_count; k++) {
        const hone_shared *changing = &l->leads[l->sides[k]].changing;
        hone_case_room *room = &rooms[l->sides[k]];
        room->filled = k > 0;
        room->space[HONE_CASE_FIXED] = (hone_case_space){l->fixed.base, l->fixed.bytes, 0};
        room->space[HONE_CASE_CHANGING] = (hone_case_space){changing->base, changing->bytes, 0};
    }
    while (g->sets < count) HONE_TRY(open_set(g, rooms, err));
    for (int k = 0; k < l->side_count; k++) {
        hone_desk_answer answer;
        *side = l->sides[k];
        HONE_TRY(hone_kernel_lead_order(&l->leads[*side], &order, &answer, NULL, err));
        g->memory[*side] = answer.memory;
    }
    return HONE_OK;
}

/* ---- one round ---- */

typedef struct part {
    group *g;
    int side, pass;
    uint64_t seed;
} part;

static void refill(hone_team team, void *argument) {
    const part *p = argument;
    for (size_t i = 0; i < p->g->sets; i++)
        hone_case_refill(&p->g->runs[i][p->g->level->sides[0]], p->seed + i, team);
}

static void reset(hone_team team, void *argument) {
    const part *p = argument;
    int first = p->g->level->sides[0];
    for (size_t i = 0; i < p->g->sets; i++)
        hone_case_reset_from(&p->g->runs[i][p->side], &p->g->runs[i][first], team);
}

static void forget(hone_team team, void *argument) {
    const part *p = argument;
    int first = p->g->level->sides[0];
    for (size_t i = (size_t)team.rank; i < p->g->sets; i += (size_t)team.size)
        if (!hone_case_forget(&p->g->runs[i][p->side], &p->g->runs[i][first]))
            p->g->changed_input = true;
}

static void compare(hone_team team, void *argument) {
    const part *p = argument;
    group *g = p->g;
    bool agrees = true;
    for (size_t i = 0; i < g->sets; i++)
        agrees &= hone_case_agrees(&g->runs[i][HONE_SIDE_CANDIDATE], &g->runs[i][HONE_SIDE_NAIVE],
                                   (hone_case_pass)p->pass, 2, team, &g->sums);
    if (team.rank == 0) g->agrees[p->pass] = agrees;
}

/* Lets this process's own threads fall asleep. */
static void settle(void) {
    struct timespec t = {.tv_nsec = (long)(SETTLE_SECONDS * 1e9)};
    nanosleep(&t, NULL);
}

static hone_status order_pass(group *g, int side, int pass, hone_desk_answer *answer,
                              hone_error *err) {
    hone_kernel_lead *lead = &g->level->leads[side];
    hone_desk_order order = {
        .verb = HONE_DESK_PASS, .shape = g->shape, .pass = (hone_case_pass)pass};
    double seconds;
    settle();
    if (side == HONE_SIDE_CANDIDATE && (g->rounds > 0 || pass > 0))
        g->late[(pass + PASSES - 1) % PASSES] = hone_kernel_lead_late_seconds(lead);
    HONE_TRY(hone_kernel_lead_order(lead, &order, answer, &seconds, err));
    g->seconds[side][pass] =
        fmax(seconds - g->level->call_seconds, 1e-9) / (double)HONE_MAX(g->sets, (size_t)1);
    return HONE_OK;
}

static bool is_there(const hone_level *l, int side) {
    for (int k = 0; k < l->side_count; k++)
        if (l->sides[k] == side) return true;
    return false;
}

/* The fast comparison said no: the exact one has the last word. */
static void find_disagreement(group *g, int pass, hone_finding *f) {
    for (size_t i = 0; i < g->sets && f->verdict == HONE_VERDICT_OK; i++) {
        hone_case_run *run = &g->runs[i][HONE_SIDE_CANDIDATE];
        hone_case_report report;
        hone_error problem;
        if (hone_case_expect(run, &g->runs[i][HONE_SIDE_NAIVE], &problem) != HONE_OK) {
            f->verdict = HONE_VERDICT_WRONG;
            snprintf(f->message, sizeof f->message, "%.300s", problem.message);
            return;
        }
        hone_case_compare(run, (hone_case_pass)pass, 2, &report);
        if (report.passed) continue;
        f->verdict = HONE_VERDICT_WRONG;
        f->tensor = report.tensor;
        snprintf(f->message, sizeof f->message, "a timed call: %s", report.message);
    }
}

static void find_broken(group *g, const hone_desk_answer *answer, hone_finding *f) {
    const hone_kernel_lead *lead = &g->level->leads[HONE_SIDE_CANDIDATE];
    const char *what = NULL;
    if (answer->overflow) what = "it took more memory than it planned";
    if (answer->changed_mode)
        what = "it left another rounding mode or other flush flags than it found";
    if (g->changed_input) what = "it changed an input";
    if (hone_kernel_lead_see(lead, 0).threads != lead->threads)
        what = "it started threads of its own";
    if (!what || f->verdict != HONE_VERDICT_OK) return;
    f->verdict = HONE_VERDICT_INVALID;
    snprintf(f->message, sizeof f->message, "a timed call: %s", what);
}

static void compare_pass(group *g, int pass, hone_finding *f) {
    if (!is_there(g->level, HONE_SIDE_CANDIDATE)) return;
    hone_crew_do(g->level->crew, compare, &(part){.g = g, .pass = pass});
    if (!g->agrees[pass]) find_disagreement(g, pass, f);
}

/* Every side once, `turn` says who begins. What forward wrote is looked at before anybody goes backward: work that was
 * put off would be seen. *side: who an error is about. */
static hone_status run_round(group *g, int turn, hone_finding *f, int *side, hone_error *err) {
    hone_level *l = g->level;
    hone_desk_answer answers[HONE_SIDES];
    part p = {.g = g, .seed = l->contents};
    l->contents += MAX_SETS;
    hone_crew_do(l->crew, refill, &p);
    for (int pass = 0; pass < PASSES; pass++) {
        for (int k = 0; k < l->side_count; k++) {
            p.side = *side = l->sides[(turn + k) % l->side_count];
            if (pass == HONE_CASE_FORWARD) hone_crew_do(l->crew, reset, &p);
            HONE_TRY(order_pass(g, *side, pass, &answers[*side], err));
            if (pass == HONE_CASE_FORWARD) hone_crew_do(l->crew, forget, &p);
        }
        compare_pass(g, pass, f);
    }
    g->rounds++;
    if (is_there(l, HONE_SIDE_CANDIDATE)) find_broken(g, &answers[HONE_SIDE_CANDIDATE], f);
    return HONE_OK;
}

/* ---- enough of them ---- */

/* As many sets as make a sample long enough for the clock, and as their memory allows. */
static size_t choose_sets(const group *g) {
    const hone_level *l = g->level;
    double shortest = INFINITY;
    size_t bytes = 1;
    for (int k = 0; k < l->side_count; k++) {
        int side = l->sides[k];
        size_t spaces[HONE_CASE_SPACES] = {0};
        if (hone_case_measure(g->kind, &g->shape, &l->stands[side], spaces, NULL) != HONE_OK)
            return 1;
        /* What a worker says that it plans is its own affair: a lie makes a sample short or long. */
        size_t arena = HONE_MIN(g->memory[side].arena, (size_t)SET_BYTES);
        bytes = HONE_MAX(bytes, spaces[HONE_CASE_FIXED] + spaces[HONE_CASE_CHANGING] + arena);
        for (int pass = 0; pass < PASSES; pass++) shortest = fmin(shortest, g->seconds[side][pass]);
    }
    size_t wanted = (size_t)fmin(ceil(SAMPLE_SECONDS / fmax(shortest, 1e-7)), MAX_SETS);
    return HONE_MAX(HONE_MIN(wanted, SET_BYTES / bytes), (size_t)1);
}

static double sample_sum(const group *g) {
    double sum = 0;
    for (int k = 0; k < g->level->side_count; k++)
        for (int pass = 0; pass < PASSES; pass++) sum += g->seconds[g->level->sides[k]][pass];
    return sum;
}

/* A round that no figure counts. */
static hone_status warm_round(group *g, hone_finding *f, int *side, hone_error *err) {
    HONE_TRY(run_round(g, g->warmed, f, side, err));
    g->warm[g->warmed++] = sample_sum(g);
    return HONE_OK;
}

static bool is_warm(const group *g) {
    const double *last = g->warm + g->warmed - ALIKE;
    if (g->warmed < ALIKE) return false;
    double low = fmin(last[0], fmin(last[1], last[2])),
           high = fmax(last[0], fmax(last[1], last[2]));
    return high <= low * (1 + STABLE);
}

/* Until the last three rounds are alike, or time presses. */
static hone_status warm_up(group *g, double deadline, hone_finding *f, int *side, hone_error *err) {
    while (g->warmed < MOST_WARM_UP && !is_warm(g) &&
           (g->warmed == 0 || hone_clock_seconds() < deadline))
        HONE_TRY(warm_round(g, f, side, err));
    return HONE_OK;
}

static hone_comparison compare_sides(const group *g, int slow, int fast, int pass) {
    return hone_compare_seconds(g->samples[slow][pass], g->samples[fast][pass], (size_t)g->pairs,
                                g->level->options->seed);
}

static bool are_narrow(const group *g, int slow, int fast) {
    for (int pass = 0; pass < PASSES; pass++) {
        hone_comparison c = compare_sides(g, slow, fast, pass);
        if (!(c.interval.low >= c.ratio * (1 - NARROW) &&
              c.interval.high <= c.ratio * (1 + NARROW)))
            return false;
    }
    return true;
}

static hone_status take_pairs(group *g, int slow, int fast, double deadline, hone_finding *f,
                              int *side, hone_error *err) {
    const hone_micro_options *o = g->level->options;
    const int least = HONE_MIN(HONE_MAX(o->trials, (int)LEAST_PAIRS), (int)MAX_PAIRS);
    char what[96];
    snprintf(what, sizeof what, "%s: %s", g->kind->name, hone_dtype_name(g->shape.compute));
    while (g->pairs < MAX_PAIRS) {
        if (!hone_level_goes_on(g->level, what))
            return hone_fail(err, HONE_ERR_INTERRUPTED, "stopped");
        HONE_TRY(run_round(g, g->pairs, f, side, err));
        for (int k = 0; k < g->level->side_count; k++)
            for (int pass = 0; pass < PASSES; pass++)
                g->samples[g->level->sides[k]][pass][g->pairs] =
                    g->seconds[g->level->sides[k]][pass];
        for (int pass = 0; pass < PASSES; pass++) /* backward's is that of the round before */
            g->late_samples[pass][g->pairs] = g->late[pass];
        g->pairs++;
        if (g->pairs < least) continue;
        if (hone_clock_seconds() > deadline) break;
        if ((g->pairs - least) % LOOK_EVERY == 0 && are_narrow(g, slow, fast)) break;
    }
    return HONE_OK;
}

static void start_group(group *g, hone_level *level, int kernel, const hone_case_shape *shape) {
    memset(g, 0, sizeof *g);
    g->level = level;
    while (strcmp(hone_case_at(g->kind_index)->name, hone_op_names[kernel]) != 0) g->kind_index++;
    g->kind = hone_case_at(g->kind_index);
    g->shape = *shape;
}

/* Samples of two sides, and of the third if there is one. */
static hone_status run_group(group *g, int slow, int fast, double budget, hone_finding *f,
                             int *side, hone_error *err) {
    double begin = hone_clock_seconds();
    HONE_TRY(open_sets(g, 1, side, err));
    HONE_TRY(warm_round(g, f, side, err)); /* new pages, new caches */
    if (choose_sets(g) > 1) HONE_TRY(warm_round(g, f, side, err));
    size_t sets = choose_sets(g);
    if (sets > 1) {
        HONE_TRY(open_sets(g, sets, side, err));
        g->warmed = 0;
    }
    for (int k = 0; k < g->level->side_count; k++)
        hone_kernel_lead_watch(&g->level->leads[g->level->sides[k]]);
    HONE_TRY(warm_up(g, begin + budget / 3, f, side, err));
    return take_pairs(g, slow, fast, begin + budget, f, side, err);
}

/* ---- rows ---- */

static void raise_roof(hone_noise *noise, const hone_noise *now) {
    noise->peak_f32 = fmax(noise->peak_f32, now->peak_f32);
    noise->peak_bf16 = fmax(noise->peak_bf16, now->peak_bf16);
    noise->cache_bandwidth = fmax(noise->cache_bandwidth, now->cache_bandwidth);
    noise->memory_bandwidth = fmax(noise->memory_bandwidth, now->memory_bandwidth);
}

/* Did it go on working after it had answered? By the medians of each pass: a busy machine takes its time from some
 * samples, and what is put off in fewer than half of them does not show in the figures, which are medians too. */
static bool find_late(group *g, const hone_micro_row *rows, hone_finding *f) {
    for (int pass = 0; pass < PASSES; pass++) {
        double late = hone_stats_median(g->late_samples[pass], (size_t)g->pairs),
               called = rows[pass].seconds[HONE_SIDE_CANDIDATE] * (double)g->sets;
        if (late <= LATE_SECONDS + LATE_SHARE * called) continue;
        f->verdict = HONE_VERDICT_INVALID;
        snprintf(f->message, sizeof f->message,
                 "it went on working after it had answered: %.0f us of processor time for each "
                 "sample of %.0f us",
                 late * 1e6, called * 1e6);
        return true;
    }
    return false;
}

/* Work outside of the clock, memory outside of the arena, and speed outside of what is possible. */
static void find_impossible(group *g, hone_micro_row *rows, size_t unplanned, hone_finding *f) {
    const hone_noise *noise = &g->level->report->noise;
    int c = HONE_SIDE_CANDIDATE;
    if (f->verdict != HONE_VERDICT_OK || find_late(g, rows, f)) return;
    f->verdict = HONE_VERDICT_INVALID;
    if (unplanned > MEMORY_SLACK) {
        snprintf(f->message, sizeof f->message,
                 "it held %zu KiB of memory that it had not taken from its host", unplanned >> 10);
        return;
    }
    for (int pass = 0; pass < PASSES; pass++) {
        const hone_micro_row *row = &rows[pass];
        double least = hone_roof_least_seconds(noise, row);
        for (int again = 0; again < ROOF_AGAIN && row->seconds[c] < least; again++) {
            /* The roof may have been measured while something else had the machine. */
            hone_noise now = *noise;
            if (hone_roof_measure(g->level->crew, g->level->options->features, &now, NULL) !=
                HONE_OK)
                break;
            raise_roof(&g->level->report->noise, &now);
            least = hone_roof_least_seconds(noise, row);
        }
        if (!(row->seconds[c] < least)) continue;
        snprintf(f->message, sizeof f->message,
                 "impossibly fast: %.3g us a call, and this machine needs %.3g us for its "
                 "operations and bytes at the least",
                 row->seconds[c] * 1e6, least * 1e6);
        return;
    }
    f->verdict = HONE_VERDICT_OK;
}

static void fill_row(const group *g, int pass, size_t unplanned, hone_micro_row *row) {
    const hone_level *l = g->level;
    hone_case_work(g->kind, &g->shape, (hone_case_pass)pass, &row->flops, &row->traffic);
    for (int k = 0; k < l->side_count; k++) {
        int side = l->sides[k];
        double samples[MAX_PAIRS];
        memcpy(samples, g->samples[side][pass], (size_t)g->pairs * sizeof *samples);
        row->seconds[side] = hone_stats_median(samples, (size_t)g->pairs);
        row->bytes[side] = g->memory[side].peak[pass];
    }
    row->bytes[HONE_SIDE_CANDIDATE] += unplanned > MEMORY_SLACK ? unplanned : 0;
    row->over_naive = compare_sides(g, HONE_SIDE_NAIVE, HONE_SIDE_CANDIDATE, pass);
    if (is_there(l, HONE_SIDE_SHIPPED))
        row->over_shipped = compare_sides(g, HONE_SIDE_SHIPPED, HONE_SIDE_CANDIDATE, pass);
    if (row->bytes[HONE_SIDE_NAIVE] > 0)
        row->memory_ratio =
            (double)row->bytes[HONE_SIDE_CANDIDATE] / (double)row->bytes[HONE_SIDE_NAIVE];
    row->calls = (int)g->sets;
    row->tested = true;
}

hone_status hone_level_measure(hone_level *level, int kernel, const hone_case_shape *shape,
                               double budget, hone_micro_row *rows, hone_finding *finding,
                               hone_error *err) {
    group *g = level->g;
    hone_error problem = {0};
    int side = HONE_SIDE_CANDIDATE;
    start_group(g, level, kernel, shape);
    hone_status status =
        run_group(g, HONE_SIDE_NAIVE, HONE_SIDE_CANDIDATE, budget, finding, &side, &problem);
    if (status == HONE_OK) {
        size_t planned = g->sets * g->memory[HONE_SIDE_CANDIDATE].arena;
        size_t unplanned =
            hone_kernel_lead_see(&level->leads[HONE_SIDE_CANDIDATE], planned).unplanned;
        for (int pass = 0; pass < PASSES; pass++) fill_row(g, pass, unplanned, &rows[pass]);
        find_impossible(g, rows, unplanned, finding);
    } else {
        status = hone_level_find(level, side, status, &problem, finding, err);
    }
    close_sets(g);
    return status;
}

hone_status hone_level_compare(hone_level *level, int kernel, const hone_case_shape *shape,
                               double budget, hone_comparison *forward, hone_error *err) {
    group *g = level->g;
    hone_finding finding = {.verdict = HONE_VERDICT_OK};
    int side, slow = level->sides[0], fast = level->sides[1];
    start_group(g, level, kernel, shape);
    hone_status status = run_group(g, slow, fast, budget, &finding, &side, err);
    if (status == HONE_OK) *forward = compare_sides(g, slow, fast, HONE_CASE_FORWARD);
    close_sets(g);
    return status;
}
