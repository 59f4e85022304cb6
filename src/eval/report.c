/* eval/report: making, filling and freeing a report. */
#include "eval/report.h"

#include "base/size.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const hone_side_names[HONE_SIDES] = {"candidate", "naive", "shipped"};
const char *const hone_purpose_names[HONE_PURPOSES] = {
    "program",   "data",    "weights", "tables",      "trained",
    "gradients", "moments", "saving",  "activations", "scratch"};

#define SIGNIFICANT 0.05
#define LOUD_NOISE 1.25

static const hone_comparison not_compared = {NAN, {NAN, NAN}, NAN, 0};

bool hone_comparison_shown(const hone_comparison *c) {
    return (c->interval.low > 1 || c->interval.high < 1) && c->p < SIGNIFICANT;
}

bool hone_noise_is_loud(const hone_noise *n) {
    return n->same.pairs > 0 &&
           (n->same.interval.low < 1 / LOUD_NOISE || n->same.interval.high > LOUD_NOISE);
}

bool hone_sabotage_noticed(const hone_sabotage *sabotage) { return !(sabotage->change == 0); }

hone_comparison hone_compare_seconds(const double *a, const double *b, size_t pairs,
                                     uint64_t seed) {
    double of_a[HONE_EVAL_MAX_PAIRS], of_b[HONE_EVAL_MAX_PAIRS];
    if (pairs < 1 || pairs > HONE_EVAL_MAX_PAIRS) return not_compared;
    memcpy(of_a, a, pairs * sizeof *a);
    memcpy(of_b, b, pairs * sizeof *b);
    return (hone_comparison){.ratio =
                                 hone_stats_median(of_a, pairs) / hone_stats_median(of_b, pairs),
                             .interval = hone_stats_ratio_interval(a, b, pairs, seed),
                             .p = hone_stats_wilcoxon(a, b, pairs),
                             .pairs = (int)pairs};
}

hone_status hone_report_make(hone_eval_report **out, hone_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out) return hone_fail_memory(err, "the report", sizeof **out);
    snprintf((*out)->candidate.name, sizeof(*out)->candidate.name, "fused (built in)");
    (*out)->candidate.verdict = "accepted";
    (*out)->noise = (hone_noise){NAN, NAN, NAN, NAN, NAN, not_compared};
    return HONE_OK;
}

static void free_training(hone_training *training) {
    free(training->losses);
    free(training->seconds);
}

void hone_eval_report_free(hone_eval_report **report) {
    if (!report || !*report) return;
    for (size_t i = 0; i < (*report)->macro_count; i++) {
        hone_macro_row *row = &(*report)->macro[i];
        free(row->model);
        free(row->path);
        for (int side = 0; side < HONE_SIDES; side++) {
            free_training(&row->side[side]);
            for (int c = 0; c < HONE_CURVES; c++) free(row->curves[c].losses[side]);
        }
        for (size_t k = 0; k < row->peer_count; k++) free_training(&row->peers[k]);
        free(row->peers);
    }
    free((*report)->macro);
    free((*report)->micro);
    free((*report)->data);
    free((*report)->candidate.path);
    for (size_t i = 0; i < (*report)->not_tested_count; i++) free((*report)->not_tested[i]);
    free(*report);
    *report = NULL;
}

/* Room for one more item of `size` bytes. */
static hone_status grow(void **items, size_t count, size_t *capacity, size_t size,
                        hone_error *err) {
    if (count < *capacity) return HONE_OK;
    size_t wanted = *capacity ? 2 * *capacity : 16, bytes;
    void *grown = hone_size_mul(wanted, size, &bytes) ? realloc(*items, bytes) : NULL;
    if (!grown) return hone_fail_memory(err, "the report's rows", wanted * size);
    *items = grown;
    *capacity = wanted;
    return HONE_OK;
}

hone_status hone_report_add_micro(hone_eval_report *report, hone_micro_row **out, hone_error *err) {
    void *rows = report->micro;
    HONE_TRY(grow(&rows, report->micro_count, &report->micro_capacity, sizeof *report->micro, err));
    report->micro = rows;
    *out = &report->micro[report->micro_count++];
    **out = (hone_micro_row){.dtype = "",
                             .seconds = {NAN, NAN, NAN},
                             .over_naive = not_compared,
                             .over_shipped = not_compared,
                             .memory_ratio = NAN};
    return HONE_OK;
}

static char *copy_text(const char *text) { return text ? strdup(text) : NULL; }

hone_status hone_report_add_macro(hone_eval_report *report, size_t index, const char *model,
                                  const char *path, hone_macro_row **out, hone_error *err) {
    void *rows = report->macro;
    HONE_TRY(grow(&rows, report->macro_count, &report->macro_capacity, sizeof *report->macro, err));
    report->macro = rows;
    char *model_copy = copy_text(model), *path_copy = copy_text(path);
    if (!model_copy || (path && !path_copy)) {
        free(model_copy);
        free(path_copy);
        return hone_fail_memory(err, "the report's rows", strlen(model) + 1);
    }
    report->model_count = HONE_MAX(report->model_count, index + 1);
    *out = &report->macro[report->macro_count++];
    **out = (hone_macro_row){.model_index = index,
                             .model = model_copy,
                             .path = path_copy,
                             .over_naive = not_compared,
                             .over_shipped = not_compared,
                             .memory_ratio = NAN,
                             .loss_diff = NAN,
                             .loss_diff_max = NAN,
                             .curve_diff_max = NAN,
                             .curve_diff_final = NAN,
                             .seed_spread = NAN,
                             .untrained_loss = NAN};
    for (int side = 0; side < HONE_SIDES; side++) {
        hone_training *training = &(*out)->side[side];
        snprintf(training->name, sizeof training->name, "%s", hone_side_names[side]);
        training->tokens_per_sec = training->hidden_loss = NAN;
    }
    return HONE_OK;
}

hone_status hone_training_reserve(hone_training *training, int steps, hone_error *err) {
    size_t n = (size_t)steps;
    if (steps < 1 || steps > HONE_EVAL_MAX_PAIRS)
        return hone_fail(err, HONE_ERR_USAGE, "%d steps; expected 1 to %d", steps,
                         (int)HONE_EVAL_MAX_PAIRS);
    training->losses = calloc(n, sizeof(double));
    training->seconds = calloc(n, sizeof(double));
    if (!training->losses || !training->seconds)
        return hone_fail_memory(err, "loss curves", 2 * n * sizeof(double));
    return HONE_OK;
}

void hone_report_not_tested(hone_eval_report *report, const char *format, ...) {
    char sentence[512];
    va_list arguments;
    size_t most = sizeof report->not_tested / sizeof *report->not_tested;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    char *copy = report->not_tested_count < most ? strdup(sentence) : NULL;
    if (copy) report->not_tested[report->not_tested_count++] = copy;
}

/* What one pair of trainings' losses differ by: the mean over the last quarter of the steps, and the most. */
static void compare_losses(const double *a, const double *b, int steps, double *final,
                           double *largest) {
    int quarter = (steps + 3) / 4;
    double sum = 0, most = 0; /* in one loop they make gcc 12 fail for aarch64 */
    for (int i = 0; i < steps; i++) most = fmax(most, fabs(a[i] - b[i]));
    for (int i = steps - quarter; i < steps; i++) sum += fabs(a[i] - b[i]);
    *final = sum / quarter;
    *largest = most;
}

void hone_macro_row_finish_curves(hone_macro_row *row) {
    double final, largest;
    for (int c = 0; c < HONE_CURVES; c++) {
        const hone_curve *curve = &row->curves[c];
        const double *mine = curve->losses[HONE_SIDE_CANDIDATE],
                     *naive = curve->losses[HONE_SIDE_NAIVE];
        if (!mine || !naive || curve->steps < 1) continue;
        compare_losses(mine, naive, curve->steps, &final, &largest);
        row->curve_diff_max = fmax(row->curve_diff_max, largest); /* fmax passes over NaN */
        row->curve_diff_final = fmax(row->curve_diff_final, final);
    }
    const hone_curve *one = &row->curves[0], *other = &row->curves[1];
    const double *a = one->losses[HONE_SIDE_NAIVE], *b = other->losses[HONE_SIDE_NAIVE];
    int steps = HONE_MIN(one->steps, other->steps);
    if (a && b && steps > 0) compare_losses(a, b, steps, &row->seed_spread, &largest);
}

static void finish_training(hone_training *t, int skipped, size_t tokens_per_step) {
    double kept[HONE_EVAL_MAX_PAIRS];
    size_t count = (size_t)(t->steps - skipped);
    if (!t->seconds || t->steps <= skipped) return;
    memcpy(kept, t->seconds + skipped, count * sizeof kept[0]);
    t->tokens_per_sec = (double)tokens_per_step / hone_stats_median(kept, count);
}

void hone_macro_row_finish(hone_macro_row *row, size_t tokens_per_step, uint64_t seed) {
    const hone_training *mine = &row->side[HONE_SIDE_CANDIDATE],
                        *naive = &row->side[HONE_SIDE_NAIVE],
                        *shipped = &row->side[HONE_SIDE_SHIPPED];
    int skipped = row->skipped;
    if (row->steps <= skipped) return;
    size_t pairs = (size_t)(row->steps - skipped);
    for (int side = 0; side < HONE_SIDES; side++)
        finish_training(&row->side[side], skipped, tokens_per_step);
    for (size_t i = 0; i < row->peer_count; i++)
        finish_training(&row->peers[i], skipped, tokens_per_step);
    row->over_naive =
        hone_compare_seconds(naive->seconds + skipped, mine->seconds + skipped, pairs, seed);
    if (shipped->seconds)
        row->over_shipped =
            hone_compare_seconds(shipped->seconds + skipped, mine->seconds + skipped, pairs, seed);
    else /* the candidate is the shipped set: nothing to measure */
        row->over_shipped = (hone_comparison){.ratio = 1, .interval = {1, 1}, .p = 1};
    if (naive->peak_rss > 0) row->memory_ratio = (double)mine->peak_rss / (double)naive->peak_rss;
    compare_losses(mine->losses, naive->losses, row->steps, &row->loss_diff, &row->loss_diff_max);
}
