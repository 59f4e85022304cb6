/* eval/score: see score.h. */
#include "eval/score.h"

#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

double hone_score_micro(double correct_share, double speedup) {
    return 0.6 * correct_share + 0.4 * fmin(speedup / 1.2, 2);
}

double hone_score_macro(double speedup, double shipped_speedup, double loss_diff,
                        double memory_ratio) {
    double memory = fmin(fmax(2 - 2 * memory_ratio, 0), 1);
    return 0.4 * fmin(speedup / 1.2, 2) + 0.2 * fmin(shipped_speedup / 1.1, 2) +
           0.3 * fmax(0, 1 - loss_diff / 0.1) + 0.1 * memory;
}

static bool is_unnoticed(const hone_macro_row *row, int kernel) {
    const hone_sabotage *sabotage = &row->sabotage[kernel];
    const uint64_t *calls = row->side[HONE_SIDE_CANDIDATE].calls[kernel];
    return sabotage->tested && calls[0] + calls[1] > 0 && !hone_sabotage_noticed(sabotage);
}

bool hone_report_is_void(const hone_eval_report *report, char *why, size_t size) {
    const hone_candidate *c = &report->candidate;
    bool whole = strcmp(c->verdict, "accepted") == 0 || strcmp(c->verdict, "not accepted") == 0;
    if (!whole) { /* it did not compile, or broke a rule */
        snprintf(why, size, "%s: %s", c->verdict, c->reason[0] ? c->reason : "no reason is known");
        return true;
    }
    for (size_t i = 0; i < report->macro_count; i++) {
        const hone_macro_row *row = &report->macro[i];
        for (int k = 0; row->status == HONE_MACRO_TESTED && k < HONE_OP_COUNT; k++) {
            if (!is_unnoticed(row, k)) continue;
            snprintf(why, size, "%s: made wrong on purpose, %s did not change the loss", row->model,
                     hone_op_names[k]);
            return true;
        }
    }
    return false;
}

bool hone_row_is_wrong(const hone_micro_row *row) {
    return (row->checked || row->tested) && !row->correct;
}

/* A geometric mean with its interval, growing row by row. */
typedef struct mean {
    size_t count;
    double sum, below, above; /* logarithms; squares of the distances to the ends */
} mean;

static void mean_add(mean *m, const hone_comparison *c) {
    double middle = log(c->ratio), below = middle - log(c->interval.low),
           above = log(c->interval.high) - middle;
    if (!(c->ratio > 0)) return;
    m->count++;
    m->sum += middle;
    m->below += below * below;
    m->above += above * above;
}

static double mean_ratio(const mean *m, hone_interval *interval) {
    double n = (double)m->count, middle = m->sum / n;
    *interval = (hone_interval){NAN, NAN};
    if (m->count == 0) return NAN;
    *interval = (hone_interval){exp(middle - sqrt(m->below) / n), exp(middle + sqrt(m->above) / n)};
    return exp(middle);
}

/* Forward and backward of one shape together, from what each gained over side `slow`: work that one of them does for
 * the other gains nothing then. An end of the interval is where both are at theirs. */
static hone_comparison both_passes(const hone_micro_row *forward, const hone_micro_row *backward,
                                   hone_side slow, const hone_comparison *f,
                                   const hone_comparison *b) {
    double of_f = forward->seconds[slow], of_b = backward->seconds[slow], all = of_f + of_b;
    return (hone_comparison){
        .ratio = all / (of_f / f->ratio + of_b / b->ratio),
        .interval = {all / (of_f / f->interval.low + of_b / b->interval.low),
                     all / (of_f / f->interval.high + of_b / b->interval.high)},
        .p = fmax(f->p, b->p),
        .pairs = HONE_MIN(f->pairs, b->pairs)};
}

/* The timed row of the same shape's backward pass, which follows that of its forward pass; NULL: it is not there. */
static const hone_micro_row *backward_of(const hone_eval_report *report, size_t i) {
    const hone_micro_row *f = &report->micro[i], *b = f + 1;
    if (f->backward || i + 1 == report->micro_count) return NULL;
    bool pair = b->backward && b->kernel == f->kernel && b->tested && b->over_naive.ratio > 0 &&
                strcmp(b->shape, f->shape) == 0 && strcmp(b->dtype, f->dtype) == 0;
    return pair ? b : NULL;
}

hone_kernel_summary hone_summarize_kernel(const hone_eval_report *report, int kernel, int passes) {
    hone_kernel_summary s = {.correct = true, .inherited = true};
    double log_memory = 0, log_seconds = 0, log_naive = 0;
    size_t weighed = 0, timed = 0;
    bool paired = false; /* the row before has counted this one, too */
    mean over_naive = {0}, over_shipped = {0};
    for (size_t i = 0; i < report->micro_count; i++) {
        const hone_micro_row *row = &report->micro[i];
        int pass = row->backward ? HONE_PASS_BACKWARD : HONE_PASS_FORWARD;
        if (row->kernel != kernel || (pass & passes) == 0) continue;
        s.rows++;
        s.inherited &= row->inherited;
        if (hone_row_is_wrong(row)) {
            s.correct = false;
            if (!s.wrong) s.wrong = row;
        }
        if (!row->tested && !s.missing) s.missing = row;
        if (!row->tested) continue;
        s.tested++;
        if (!(row->over_naive.ratio > 0)) continue;
        const hone_micro_row *back = passes == HONE_PASS_BOTH ? backward_of(report, i) : NULL;
        if (back) {
            hone_comparison c =
                both_passes(row, back, HONE_SIDE_NAIVE, &row->over_naive, &back->over_naive);
            mean_add(&over_naive, &c);
            c = both_passes(row, back, HONE_SIDE_SHIPPED, &row->over_shipped, &back->over_shipped);
            mean_add(&over_shipped, &c);
        } else if (passes != HONE_PASS_BOTH || !paired) {
            mean_add(&over_naive, &row->over_naive);
            mean_add(&over_shipped, &row->over_shipped);
        }
        paired = back != NULL;
        if (row->memory_ratio > 0) {
            weighed++;
            log_memory += log(row->memory_ratio);
        }
        log_seconds += log(row->seconds[HONE_SIDE_CANDIDATE]);
        log_naive += log(row->seconds[HONE_SIDE_NAIVE]);
        timed++;
    }
    s.inherited &= s.rows > 0;
    s.speedup = mean_ratio(&over_naive, &s.interval);
    s.over_shipped = mean_ratio(&over_shipped, &s.over_shipped_interval);
    s.memory_ratio = weighed ? exp(log_memory / (double)weighed) : NAN;
    s.seconds = timed ? exp(log_seconds / (double)timed) : NAN;
    s.naive_seconds = timed ? exp(log_naive / (double)timed) : NAN;
    return s;
}

/* Average of one model's rows. */
typedef struct model_average {
    size_t tested, failed;
    double score, log_speedup, memory_ratio, loss_diff;
} model_average;

static model_average average_model(const hone_eval_report *report, size_t index) {
    model_average out = {0};
    for (size_t i = 0; i < report->macro_count; i++) {
        const hone_macro_row *row = &report->macro[i];
        if (row->model_index != index) continue;
        if (row->status == HONE_MACRO_FAILED) out.failed++;
        if (row->status != HONE_MACRO_TESTED) continue;
        out.tested++;
        out.score += hone_score_macro(row->over_naive.ratio, row->over_shipped.ratio,
                                      row->loss_diff, row->memory_ratio);
        out.log_speedup += log(row->over_naive.ratio);
        out.memory_ratio += row->memory_ratio;
        out.loss_diff += row->loss_diff;
    }
    if (out.tested) {
        double n = (double)out.tested;
        out.log_speedup /= n;
        out.memory_ratio /= n;
        out.loss_diff /= n;
    }
    if (out.tested + out.failed) out.score /= (double)(out.tested + out.failed);
    return out;
}

hone_macro_summary hone_summarize_macro(const hone_eval_report *report) {
    hone_macro_summary s = {.speedup_low = INFINITY, .speedup_high = -INFINITY, .shown = true};
    size_t scored = 0;
    double log_speedup = 0;
    for (size_t i = 0; i < report->model_count; i++) {
        model_average model = average_model(report, i);
        s.failed += model.failed;
        s.rows += model.tested;
        if (model.tested + model.failed) {
            scored++;
            s.score += model.score;
        }
        if (!model.tested) continue;
        s.models++;
        log_speedup += model.log_speedup;
        s.memory_ratio += model.memory_ratio;
        s.loss_diff += model.loss_diff;
    }
    for (size_t i = 0; i < report->macro_count; i++) {
        const hone_macro_row *row = &report->macro[i];
        if (row->status != HONE_MACRO_TESTED) continue;
        s.speedup_low = fmin(s.speedup_low, row->over_naive.ratio);
        s.speedup_high = fmax(s.speedup_high, row->over_naive.ratio);
        s.loss_diff_max = fmax(s.loss_diff_max, row->loss_diff_max);
        s.shown &= hone_comparison_shown(&row->over_naive);
    }
    double models = (double)s.models;
    s.score = scored ? s.score / (double)scored : NAN;
    s.speedup = s.models ? exp(log_speedup / models) : NAN;
    s.memory_ratio = s.models ? s.memory_ratio / models : NAN;
    s.loss_diff = s.models ? s.loss_diff / models : NAN;
    if (!s.models) s.speedup_low = s.speedup_high = s.loss_diff_max = NAN;
    return s;
}

/* A score needs every row: a mean over what happened to be measured would be another figure. */
static void score_micro(const hone_eval_report *report, hone_eval_score *score) {
    double speedups[HONE_OP_COUNT];
    int correct = 0;
    bool whole = report->micro_wanted;
    for (int k = 0; k < HONE_OP_COUNT; k++) {
        hone_kernel_summary s = hone_summarize_kernel(report, k, HONE_PASS_BOTH);
        if (s.rows == 0 || (s.tested != s.rows && !s.inherited)) whole = false;
        if (s.correct && !s.inherited) correct++;
        if (s.wrong) score->valid = false;
        speedups[k] = s.inherited ? 1 : s.speedup;
    }
    if (!whole) return;
    score->kernel_speedup = hone_stats_geometric_mean(speedups, HONE_OP_COUNT);
    score->micro = hone_score_micro((double)correct / HONE_OP_COUNT, score->kernel_speedup);
}

static double worst_loss_diff(const hone_eval_report *report) {
    double worst = NAN; /* fmax passes over it */
    for (size_t i = 0; i < report->macro_count; i++) {
        const hone_macro_row *row = &report->macro[i];
        if (row->status == HONE_MACRO_FAILED) return NAN;
        if (row->status != HONE_MACRO_TESTED) continue;
        if (!isfinite(row->loss_diff)) return NAN;
        worst = fmax(worst, row->loss_diff);
    }
    return worst;
}

hone_eval_score hone_eval_report_score(const hone_eval_report *report) {
    hone_eval_score score = {
        .valid = true, .micro = NAN, .macro = NAN, .overall = NAN, .kernel_speedup = NAN};
    score.accepted = strcmp(report->candidate.verdict, "accepted") == 0;
    char why[256];
    if (hone_report_is_void(report, why, sizeof why)) score.valid = false;
    score_micro(report, &score);
    hone_macro_summary macro = hone_summarize_macro(report);
    score.macro = report->interrupted ? NAN : macro.score;
    score.training_speedup = macro.speedup;
    score.models_tested = (int)macro.models;
    score.models_listed = (int)report->model_count;
    score.rows_failed = (int)macro.failed;
    score.worst_loss_diff = worst_loss_diff(report);
    score.overall = score.valid ? 0.5 * score.micro + 0.5 * score.macro : 0;
    return score;
}

const char *hone_verdict_micro(double speedup) {
    if (speedup >= 2.0) return "excellent";
    if (speedup >= 1.5) return "good";
    return speedup >= 1.2 ? "minimum reached" : "below the minimum";
}

hone_macro_verdict hone_verdict_macro(double speedup, double memory_ratio, double loss_diff) {
    return (hone_macro_verdict){.faster = speedup >= 1.2,
                                .smaller = memory_ratio <= 0.7,
                                .converges = loss_diff <= HONE_SAME_LOSS};
}

const char *hone_consistency(const hone_eval_report *report) {
    hone_macro_summary s = hone_summarize_macro(report);
    if (s.models < 2) return "not measurable";
    double spread = s.speedup_high / s.speedup_low;
    return spread <= 1.25 ? "High" : spread <= 1.6 ? "Medium" : "Low";
}
