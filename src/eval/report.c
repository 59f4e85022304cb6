/* eval/report: making, filling and freeing a report. */
#include "eval/report.h"

#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

hone_status hone_report_make(hone_eval_report **out, hone_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out) return hone_fail_memory(err, "the report", sizeof **out);
    (*out)->candidate = "fused (built in)";
    return HONE_OK;
}

void hone_eval_report_free(hone_eval_report **report) {
    if (!report || !*report) return;
    for (size_t i = 0; i < (*report)->macro_count; i++) {
        hone_macro_row *row = &(*report)->macro[i];
        free(row->model);
        free(row->path);
        free(row->losses);
        free(row->naive_losses);
        free(row->seconds);
        free(row->naive_seconds);
    }
    free((*report)->macro);
    free((*report)->micro);
    free((*report)->data);
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
                             .seconds = NAN,
                             .naive_seconds = NAN,
                             .speedup = NAN,
                             .speedup_interval = {NAN, NAN},
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
                             .tokens_per_sec = NAN,
                             .naive_tokens_per_sec = NAN,
                             .speedup = NAN,
                             .shipped_speedup = NAN,
                             .speedup_interval = {NAN, NAN},
                             .memory_ratio = NAN,
                             .loss_diff = NAN,
                             .loss_diff_max = NAN};
    return HONE_OK;
}

hone_status hone_macro_row_reserve(hone_macro_row *row, int steps, hone_error *err) {
    size_t n = (size_t)steps;
    if (steps < 1 || steps > HONE_EVAL_MAX_PAIRS)
        return hone_fail(err, HONE_ERR_USAGE, "%d steps; expected 1 to %d", steps,
                         (int)HONE_EVAL_MAX_PAIRS);
    row->losses = calloc(n, sizeof(double));
    row->naive_losses = calloc(n, sizeof(double));
    row->seconds = calloc(n, sizeof(double));
    row->naive_seconds = calloc(n, sizeof(double));
    if (!row->losses || !row->naive_losses || !row->seconds || !row->naive_seconds)
        return hone_fail_memory(err, "loss curves", 4 * n * sizeof(double));
    return HONE_OK;
}

/* Median of one set's step times. The first two steps warm caches and page in the model: they are left out where
 * there are more than four. */
static double median_step(const double *seconds, int steps) {
    double kept[HONE_EVAL_MAX_PAIRS];
    int skip = steps > 4 ? 2 : 0;
    size_t count = (size_t)(steps - skip);
    memcpy(kept, seconds + skip, count * sizeof kept[0]);
    return hone_stats_median(kept, count);
}

void hone_macro_row_finish(hone_macro_row *row, size_t tokens_per_step, uint64_t seed) {
    int steps = row->steps, skip = steps > 4 ? 2 : 0, quarter = (steps + 3) / 4;
    if (steps < 1) return;
    double seconds = median_step(row->seconds, steps),
           naive_seconds = median_step(row->naive_seconds, steps);
    row->tokens_per_sec = (double)tokens_per_step / seconds;
    row->naive_tokens_per_sec = (double)tokens_per_step / naive_seconds;
    row->speedup = naive_seconds / seconds;
    row->speedup_interval = hone_stats_ratio_interval(
        row->naive_seconds + skip, row->seconds + skip, (size_t)(steps - skip), seed);
    if (row->naive_peak_rss > 0)
        row->memory_ratio = (double)row->peak_rss / (double)row->naive_peak_rss;
    row->shipped_speedup = 1;    /* the built-in set is the shipped set: nothing to measure */
    double sum = 0, largest = 0; /* in one loop they make gcc 12 fail for aarch64 */
    for (int i = 0; i < steps; i++)
        largest = fmax(largest, fabs(row->losses[i] - row->naive_losses[i]));
    for (int i = steps - quarter; i < steps; i++)
        sum += fabs(row->losses[i] - row->naive_losses[i]);
    row->loss_diff = sum / quarter;
    row->loss_diff_max = largest;
}
