/* bench/report: rows as JSON (docs/benchmarks.md gives the members), and the text that is made from it. */
#include "bench.h"

#include "base/cpu.h"
#include "eval/stats.h"

#include <stdarg.h>
#include <time.h>
#include <unistd.h>

/* ---- rows ---- */

static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }
static json_t *text(const char *value) { return value ? json_string(value) : json_null(); }
static json_t *positive(double value) { return value > 0 ? json_real(value) : json_null(); }

/* Three values at least: below that there is nothing to draw from. */
static json_t *interval_of(const double *values, int count) {
    double ones[BENCH_MOST_ROUNDS];
    if (count < 3 || count > BENCH_MOST_ROUNDS) return json_null();
    for (int i = 0; i < count; i++) ones[i] = 1;
    hone_interval i = hone_stats_ratio_interval(values, ones, (size_t)count, 1);
    return json_pack("[o, o]", number(i.low), number(i.high));
}

static double median_of(const double *values, int count) {
    double copy[BENCH_MOST_ROUNDS];
    if (!values || count == 0) return NAN;
    memcpy(copy, values, sizeof *copy * (size_t)count);
    return hone_stats_median(copy, (size_t)count);
}

static double least_of(const double *values, int count) {
    double least = count ? values[0] : NAN;
    for (int i = 1; i < count; i++) least = fmin(least, values[i]);
    return least;
}

static void need_memory(bool got) {
    if (got) return;
    fprintf(stderr, "bench: out of memory\n");
    exit(EXIT_FAILURE);
}

static void set(json_t *object, const char *key, json_t *value) {
    need_memory(value && json_object_set_new(object, key, value) == 0);
}

static void set_verdict(json_t *object, const bench_row *row) {
    if (row->bar == BENCH_NO_BAR) return;
    const bench_bar_info *bar = &bench_bars[row->bar];
    double figure = bar->what == BENCH_VALUE          ? median_of(row->values, row->count)
                    : bar->what == BENCH_OF_REFERENCE ? median_of(row->fractions, row->count)
                                                      : median_of(row->peak_fractions, row->count);
    bool met = bar->at_least ? figure >= bar->limit : figure <= bar->limit;
    set(object, "bar", json_string(bar->id));
    set(object, "bar_text", json_string(bar->text));
    set(object, "at_least", json_boolean(bar->at_least));
    set(object, "limit", json_real(bar->limit));
    set(object, "figure", number(figure));
    set(object, "verdict",
        json_string(row->wrong      ? "not met"
                    : isnan(figure) ? "not measurable here"
                    : met           ? "met"
                                    : "not met"));
}

void bench_add(bench *b, const bench_row *row) {
    json_t *o = json_object();
    need_memory(o != NULL);
    set(o, "section", text(row->section));
    set(o, "name", text(row->name));
    set(o, "unit", text(row->unit));
    set(o, "series", text(row->series));
    set(o, "x", positive(row->x));
    set(o, "value", number(median_of(row->values, row->count)));
    set(o, "minimum", number(least_of(row->values, row->count)));
    set(o, "interval", interval_of(row->values, row->count));
    set(o, "samples", json_integer(row->count));
    set(o, "seconds", positive(row->seconds));
    set(o, "least_seconds", positive(row->least_seconds));
    set(o, "reference", text(row->reference));
    set(o, "reference_value", positive(row->reference_value));
    set(o, "fraction", number(median_of(row->fractions, row->count)));
    set(o, "fraction_interval",
        row->fractions ? interval_of(row->fractions, row->count) : json_null());
    set(o, "peak", text(row->peak));
    set(o, "of_peak", number(median_of(row->peak_fractions, row->count)));
    set(o, "of_peak_interval",
        row->peak_fractions ? interval_of(row->peak_fractions, row->count) : json_null());
    set(o, "intensity", positive(row->intensity));
    set_verdict(o, row);
    set(o, "reason", text(row->reason));
    bench_progress_clear();
    bench_print_row(o);
    need_memory(json_array_append_new(b->rows, o) == 0);
}

void bench_add_rate(bench *b, bench_row row, const bench_job *job, const bench_job *reference,
                    const bench_job *peak, double per) {
    double values[BENCH_MOST_ROUNDS], fractions[BENCH_MOST_ROUNDS], of_peak[BENCH_MOST_ROUNDS];
    row.count = job->rounds;
    row.values = values;
    for (int r = 0; r < job->rounds; r++) values[r] = job->work / job->seconds[r] / per;
    row.seconds = median_of(job->seconds, job->rounds);
    row.least_seconds = least_of(job->seconds, job->rounds);
    if (reference) {
        bench_quotients(job, reference, fractions);
        row.fractions = fractions;
        row.reference_value = reference->work / median_of(reference->seconds, job->rounds) / per;
    }
    if (peak) {
        bench_quotients(job, peak, of_peak);
        row.peak_fractions = of_peak;
    }
    bench_add(b, &row);
}

void bench_add_value(bench *b, bench_row row, double value) {
    row.values = &value;
    row.count = 1;
    bench_add(b, &row);
}

void bench_add_missing(bench *b, bench_row row, const char *reason) {
    row.count = 0;
    row.reason = reason;
    bench_add(b, &row);
}

/* ---- the whole ---- */

json_t *bench_report_json(const bench *b, double seconds) {
    char when[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    json_t *machine =
        json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:I, s:I}", "cpu", hone_cpu_model(), "tier",
                  hone_cpu_tier_name(b->kernels.features), "threads", b->threads, "gemm_f32",
                  b->kernels.gemm_f32_name, "gemm_bf16", b->kernels.gemm_bf16_name, "compute",
                  hone_dtype_name(b->compute), "l2_bytes", (json_int_t)hone_cpu_l2_bytes(),
                  "last_level_bytes", (json_int_t)hone_cpu_last_level_bytes());
    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:b, s:f, s:o, s:O}", "schema", 1, "date", when,
                     "hone", HONE_VERSION, "compiler", __VERSION__, "build", BENCH_FLAGS, "quick",
                     b->options.quick, "seconds", seconds, "machine", machine, "rows", b->rows);
}

/* ---- text ---- */

bool bench_color(FILE *stream) {
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if ((no_color && *no_color) || !term || strcmp(term, "dumb") == 0) return false;
    return isatty(fileno(stream));
}

void bench_progress_clear(void) {
    if (isatty(fileno(stderr))) fprintf(stderr, "\r\033[K");
    fflush(stderr);
}

void bench_progress(const char *format, ...) {
    va_list list;
    bench_progress_clear();
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    if (!isatty(fileno(stderr))) fputc('\n', stderr);
    fflush(stderr);
}

static double real_of(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static const char *text_of(const json_t *row, const char *key) {
    return json_string_value(json_object_get(row, key));
}

/* Three significant digits, thousands whole. */
static const char *figure(double value, char out[32]) {
    double size = fabs(value);
    int decimals = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4;
    snprintf(out, 32, "%.*f", decimals, value);
    return out;
}

static void print_interval(const json_t *row, const char *key) {
    const json_t *pair = json_object_get(row, key);
    char low[32], high[32];
    if (json_array_size(pair) != 2) return;
    printf(" [%s, %s]", figure(json_number_value(json_array_get(pair, 0)), low),
           figure(json_number_value(json_array_get(pair, 1)), high));
}

static void print_verdict(const json_t *row) {
    const char *verdict = text_of(row, "verdict");
    if (!verdict) return;
    bool color = bench_color(stdout);
    const char *paint = strcmp(verdict, "met") == 0       ? "\033[32m"
                        : strcmp(verdict, "not met") == 0 ? "\033[31m"
                                                          : "\033[33m";
    printf("   %s%s%s (%s %g)", color ? paint : "", verdict, color ? "\033[0m" : "",
           json_is_true(json_object_get(row, "at_least")) ? "at least" : "at most",
           real_of(row, "limit"));
}

void bench_print_row(const json_t *row) {
    char value[32];
    double figures = real_of(row, "value"), fraction = real_of(row, "fraction"),
           of_peak = real_of(row, "of_peak"), seconds = real_of(row, "seconds");
    printf("%-9s %-36s", text_of(row, "section"), text_of(row, "name"));
    if (!isnan(figures)) {
        printf(" %8s %s", figure(figures, value), text_of(row, "unit"));
        print_interval(row, "interval");
    }
    if (!isnan(seconds)) {
        printf("  %s ms", figure(seconds * 1e3, value));
        printf(" (min %s)", figure(real_of(row, "least_seconds") * 1e3, value));
    }
    if (!isnan(fraction)) {
        printf("   %s of %s", figure(fraction, value), text_of(row, "reference"));
        print_interval(row, "fraction_interval");
    }
    if (!isnan(of_peak)) printf("   %.0f%% of %s", 100 * of_peak, text_of(row, "peak"));
    print_verdict(row);
    if (text_of(row, "reason")) printf("   %s", text_of(row, "reason"));
    printf("\n");
    fflush(stdout);
}

/* ---- by bars ---- */

typedef struct bar_sum {
    int met, missed, missing;
    double worst;
    const json_t *worst_row;
} bar_sum;

static bar_sum sum_bar(const json_t *rows, const bench_bar_info *bar) {
    bar_sum sum = {.worst = NAN};
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row) {
        const char *id = text_of(row, "bar"), *verdict = text_of(row, "verdict");
        if (!id || !verdict || strcmp(id, bar->id) != 0) continue;
        double value = real_of(row, "figure");
        sum.met += strcmp(verdict, "met") == 0;
        sum.missed += strcmp(verdict, "not met") == 0;
        sum.missing += strcmp(verdict, "not measurable here") == 0;
        bool worse = bar->at_least ? value < sum.worst : value > sum.worst;
        if (!isnan(value) ? !sum.worst_row || isnan(sum.worst) || worse : !sum.worst_row) {
            sum.worst = value;
            sum.worst_row = row;
        }
    }
    return sum;
}

void bench_print_summary(const json_t *report) {
    int met = 0, missed = 0, missing = 0;
    for (int i = 1; i < BENCH_BARS; i++) {
        bar_sum sum = sum_bar(json_object_get(report, "rows"), &bench_bars[i]);
        met += sum.met;
        missed += sum.missed;
        missing += sum.missing;
    }
    printf("\n%d met, %d not met, %d not measurable here\n", met, missed, missing);
}

static void print_training(const json_t *rows) {
    size_t i;
    const json_t *row;
    char value[32], memory[32];
    printf("| training | tokens/s | 95%% | of the machine's limit | peak memory, MiB |\n"
           "|---|---|---|---|---|\n");
    json_array_foreach(rows, i, row) {
        const char *section = text_of(row, "section"), *series = text_of(row, "series");
        bool training = strcmp(section, "train") == 0 || strcmp(section, "long") == 0;
        if (!training || !series || strcmp(series, "tokens") != 0) continue;
        double rate = real_of(row, "value"), of_peak = real_of(row, "of_peak");
        const json_t *next = json_array_get(rows, i + 1); /* its memory, added together with it */
        printf("| %s |", text_of(row, "name"));
        if (isnan(rate)) {
            const char *reason = text_of(row, "reason");
            printf(" %s | | | |\n", reason ? reason : "");
            continue;
        }
        printf(" %s |", figure(rate, value));
        print_interval(row, "interval");
        if (isnan(of_peak))
            printf(" | |");
        else
            printf(" | %.0f%% |", 100 * of_peak);
        printf(" %s |\n", figure(real_of(next, "value"), memory));
    }
}

void bench_print_markdown(const json_t *report) {
    const json_t *rows = json_object_get(report, "rows"),
                 *machine = json_object_get(report, "machine");
    char worst[32];
    printf("%s, %s, %d threads, %.10s\n\n", text_of(machine, "cpu"), text_of(machine, "tier"),
           (int)real_of(machine, "threads"), text_of(report, "date"));
    print_training(rows);
    printf("\n| | bar | worst figure | where | met |\n|---|---|---|---|---|\n");
    for (int i = 1; i < BENCH_BARS; i++) {
        const bench_bar_info *bar = &bench_bars[i];
        bar_sum sum = sum_bar(rows, bar);
        int all = sum.met + sum.missed + sum.missing;
        if (!all) continue;
        printf("| %s | %s %g | ", bar->text, bar->at_least ? "≥" : "≤", bar->limit);
        if (isnan(sum.worst)) {
            const char *reason = text_of(sum.worst_row, "reason");
            printf("| | not measurable here: %s |\n", reason ? reason : "no reference");
            continue;
        }
        printf("%s | %s | %d of %d |\n", figure(sum.worst, worst), text_of(sum.worst_row, "name"),
               sum.met, all);
    }
}
