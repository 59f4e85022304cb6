/* eval/lines: see lines.h. */
#include "eval/lines.h"

#include "base/size.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *symbol, *plain;
} symbols[] = {{"🚀 ", ""},      {"📊 ", ""},    {"🔍 ", ""},   {"🧪 ", ""}, {"🔬 ", ""},
               {"🏆 ", ""},      {"✅", "[ok]"}, {"⬜", "[ ]"}, {"❌", "[x]"},  {"🟢", "[++]"},
               {"🟡", "[+]"}, {"🔴", "[-]"},  {"⚪", "[=]"}, {"·", "|"},    {"…", "..."},
               {"×", "x"},      {"−", "-"},    {"–", "-"},   {"≥", ">="},   {"≤", "<="},
               {"→", "->"}};

void hone_lines_plain(const char *line, char *out, size_t size) {
    size_t used = 0;
    while (*line && used + 1 < size) {
        size_t eaten = 1;
        char one[2] = {(unsigned char)*line < 0x80 ? *line : '?', 0};
        const char *plain = one;
        for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
            size_t length = strlen(symbols[i].symbol);
            if (strncmp(line, symbols[i].symbol, length) != 0) continue;
            eaten = length;
            plain = symbols[i].plain;
            break;
        }
        line += eaten;
        while (*plain && used + 1 < size) out[used++] = *plain++;
    }
    out[used] = 0;
}

/* Names and reasons may come from a model, a worker or another machine's file: nothing in them may steer a terminal. */
static void remove_controls(char *line) {
    for (unsigned char *c = (unsigned char *)line; *c; c++) {
        bool upper = c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0; /* U+0080 to U+009F */
        if (upper) c[1] = '?';
        if (upper || *c < 0x20 || *c == 0x7f) *c = '?';
    }
}

void hone_lines_line(hone_lines *text, const char *format, ...) {
    char line[2048], ascii[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (!text->on_line) return;
    remove_controls(line);
    if (text->plain) hone_lines_plain(line, ascii, sizeof ascii);
    if (!text->on_line(text->user, text->plain ? ascii : line)) text->stopped = true;
}

void hone_lines_start(hone_lines *text, const hone_eval_report *report) {
    const hone_candidate *c = &report->candidate;
    hone_lines_line(text, "🚀 Evaluating fine-tuning kernels: %s · %s · %d thread%s", c->name,
                    report->machine.tier, report->machine.threads,
                    report->machine.threads == 1 ? "" : "s");
    if (c->compiler[0]) hone_lines_line(text, "   compiled by %s with %s", c->compiler, c->flags);
    if (c->sha256[0]) hone_lines_line(text, "   source's SHA-256 %s", c->sha256);
    hone_lines_line(text, "   seed %llu", (unsigned long long)report->seed);
}

/* A light only for what was shown: else the interval of the ratio holds 1. */
static const char *light(double speedup, bool shown) {
    if (!shown) return "⚪";
    return speedup >= 1.2 ? "🟢" : speedup >= 1 ? "🟡" : "🔴";
}

static bool leaves_one_out(hone_interval i) { return i.low > 1 || i.high < 1; }

/* "2.34x speedup" or "no difference shown (0.97–1.04)". */
static void speedup_text(double ratio, hone_interval i, bool shown, char *out, size_t size) {
    if (shown)
        snprintf(out, size, "%.2fx speedup", ratio);
    else if (isfinite(i.low))
        snprintf(out, size, "no difference shown (%.2f–%.2f)", i.low, i.high);
    else
        snprintf(out, size, "no difference measured");
}

/* "1.08x (1.05–1.11)" or "no difference shown (0.97–1.04)"; p where it is known. */
static void comparison_text(const hone_comparison *c, char *out, size_t size) {
    char p[24] = "";
    if (isfinite(c->p)) snprintf(p, sizeof p, c->p < 0.001 ? ", p<0.001" : ", p=%.3f", c->p);
    if (hone_comparison_shown(c))
        snprintf(out, size, "%.2fx (%.2f–%.2f%s)", c->ratio, c->interval.low, c->interval.high, p);
    else
        snprintf(out, size, "no difference shown (%.2f–%.2f%s)", c->interval.low, c->interval.high,
                 p);
}

void hone_lines_micro_start(hone_lines *text) {
    hone_lines_line(text, "%s", "");
    hone_lines_line(text, "📊 MICRO-BENCHMARKS: Individual Kernel Performance");
}

static void describe_row(const hone_micro_row *row, char *out, size_t size) {
    snprintf(out, size, "%s %s, %s%s%s, %s", hone_op_names[row->kernel],
             row->backward ? "backward" : "forward", row->dtype, row->weights ? ", weights " : "",
             row->weights ? row->weights : "", row->shape);
}

static void wrong_line(hone_lines *text, const hone_micro_row *wrong) {
    char row[192];
    if (!wrong) return;
    describe_row(wrong, row, sizeof row);
    hone_lines_line(text, "    ❌ %s: %s", row, wrong->reason);
}

void hone_lines_kernel(hone_lines *text, const hone_eval_report *report, int kernel, int pass) {
    hone_kernel_summary s = hone_summarize_kernel(report, kernel, pass);
    const char *name = hone_op_names[kernel];
    const char *suffix = pass == HONE_PASS_BACKWARD ? " backward" : "";
    if (s.inherited && !s.wrong) {
        hone_lines_line(text, "  %s%s: ⬜ inherited: the shipped kernel ran, nothing is credited",
                        name, suffix);
        return;
    }
    if (s.tested == 0 && s.wrong) {
        hone_lines_line(text, "  %s%s: ❌ WRONG, not timed", name, suffix);
    } else if (s.tested == 0) {
        hone_lines_line(text, "  %s%s: ⬜ not tested", name, suffix);
    } else if (!isfinite(s.speedup)) {
        hone_lines_line(text, "  %s%s: %s", name, suffix,
                        s.correct ? "✅ correct, not timed" : "❌ WRONG");
    } else {
        char speed[64];
        speedup_text(s.speedup, s.interval, leaves_one_out(s.interval), speed, sizeof speed);
        hone_lines_line(text, "  %s%s: %s, %.2fx memory (%.1fms vs %.1fms) %s%s", name, suffix,
                        speed, s.memory_ratio, s.seconds * 1e3, s.naive_seconds * 1e3,
                        s.correct ? light(s.speedup, leaves_one_out(s.interval)) : "❌ WRONG",
                        s.tested < s.rows ? " (in part)" : "");
    }
    if (s.tested > 0 && isfinite(s.over_shipped)) {
        char speed[64];
        speedup_text(s.over_shipped, s.over_shipped_interval,
                     leaves_one_out(s.over_shipped_interval), speed, sizeof speed);
        hone_lines_line(text, "    over the shipped kernel: %s %s", speed,
                        light(s.over_shipped, leaves_one_out(s.over_shipped_interval)));
    }
    wrong_line(text, s.wrong);
    if (s.missing && s.missing != s.wrong && s.missing->reason[0]) {
        char row[192];
        describe_row(s.missing, row, sizeof row);
        hone_lines_line(text, "    ⬜ %s: %s", row, s.missing->reason);
    }
}

static void rate_text(const char *what, double rate, const char *unit, char *out, size_t size) {
    size_t used = strlen(out);
    if (isfinite(rate))
        snprintf(out + used, size - used, "%s%s %.0f %s", used ? ", " : "", what, rate / 1e9, unit);
}

static void noise_lines(hone_lines *text, const hone_noise *n) {
    char same[96], roofs[192] = "";
    if (isfinite(n->call_seconds))
        hone_lines_line(text, "  Noise: measuring a kernel that does nothing takes %.0f ns",
                        n->call_seconds * 1e9);
    if (n->same.pairs > 0) {
        comparison_text(&n->same, same, sizeof same);
        hone_lines_line(text, "  Noise: the shipped set against itself: %s", same);
    }
    if (hone_noise_is_loud(n))
        hone_lines_line(text,
                        "  🔴 This machine was busy: the very same kernels seemed to differ. Do not "
                        "rely on the speedups");
    rate_text("float32", n->peak_f32, "GFLOP/s", roofs, sizeof roofs);
    rate_text("bfloat16", n->peak_bf16, "GFLOP/s", roofs, sizeof roofs);
    rate_text("cache", n->cache_bandwidth, "GB/s", roofs, sizeof roofs);
    rate_text("memory", n->memory_bandwidth, "GB/s", roofs, sizeof roofs);
    if (roofs[0]) hone_lines_line(text, "  Roofs of this machine: %s", roofs);
}

void hone_lines_micro_end(hone_lines *text, const hone_eval_report *report) {
    hone_eval_score score = hone_eval_report_score(report);
    int correct = 0, tested = 0;
    for (int k = 0; k < HONE_OP_COUNT; k++) {
        hone_kernel_summary s = hone_summarize_kernel(report, k, HONE_PASS_BOTH);
        tested += s.tested > 0;
        correct += s.tested > 0 && s.correct && !s.inherited;
    }
    hone_lines_line(text, "  Correct kernels: %d of %d%s", correct, HONE_OP_COUNT,
                    tested < HONE_OP_COUNT ? " (not all were tested)" : "");
    if (isfinite(score.micro)) {
        hone_lines_line(text,
                        "  Average Speedup: %.2fx (%s: 1.2x minimum, 1.5x good, 2.0x excellent)",
                        score.kernel_speedup, hone_verdict_micro(score.kernel_speedup));
        hone_lines_line(text, "  Micro Score: %.3f%s", score.micro,
                        score.valid ? "" : " (for diagnosis: INVALID)");
    } else {
        hone_lines_line(text, "  Micro Score: not measured");
    }
    noise_lines(text, &report->noise);
}

void hone_lines_macro_start(hone_lines *text) {
    hone_lines_line(text, "%s", "");
    hone_lines_line(text, "🚀 COMPREHENSIVE REAL MODEL EVALUATION");
    hone_lines_line(text, "============================================================");
}

void hone_lines_step(hone_lines *text, const hone_eval_report *report,
                     const hone_training *training) {
    char name[sizeof training->name], of[16] = "";
    int last = training->steps - 1;
    bool built_in = !report->candidate.path && strcmp(training->name, "candidate") == 0;
    snprintf(name, sizeof name, "%s", built_in ? "fused" : training->name);
    for (char *c = name; *c && *c != ':'; c++) *c = (char)toupper((unsigned char)*c);
    if (report->steps) snprintf(of, sizeof of, "/%d", report->steps);
    hone_lines_line(text, "    🔬 %s  step %d%s: loss=%.4f, time=%.2fs", name, last + 1, of,
                    training->losses[last], training->seconds[last]);
}

/* "1.50x speedup, 0.31x memory, 0.0008 loss diff" */
static void result_text(const hone_macro_row *row, char *out, size_t size) {
    char speed[64];
    speedup_text(row->over_naive.ratio, row->over_naive.interval,
                 hone_comparison_shown(&row->over_naive), speed, sizeof speed);
    snprintf(out, size, "%s, %.2fx memory, %.4f loss diff", speed, row->memory_ratio,
             row->loss_diff);
}

static void training_line(hone_lines *text, const hone_training *t, double diff) {
    char loss[48] = "", hidden[48] = "", rss[32] = "";
    if (t->problem[0]) {
        hone_lines_line(text, "     %s: ❌ %s", t->name, t->problem);
        return;
    }
    if (!t->losses) return;
    if (t->peak_rss) snprintf(rss, sizeof rss, ", peak %.0f MiB", (double)t->peak_rss / 1048576);
    if (isfinite(diff)) snprintf(loss, sizeof loss, ", loss diff %.4f", diff);
    if (isfinite(t->hidden_loss))
        snprintf(hidden, sizeof hidden, ", hidden loss %.4f", t->hidden_loss);
    hone_lines_line(text, "     %s: %.0f tokens/s%s%s%s", t->name, t->tokens_per_sec, rss, loss,
                    hidden);
}

/* Bytes by purpose, those that are a part of 32 or more: the rest is "other". */
static void memory_line(hone_lines *text, const hone_training *t) {
    char parts[256] = "";
    size_t all = 0, other = 0, used;
    for (int i = 0; i < HONE_PURPOSES; i++) all += t->purpose[i];
    if (all == 0) return;
    for (int i = 0; i < HONE_PURPOSES; i++) {
        if (t->purpose[i] < all / 32) {
            other += t->purpose[i];
            continue;
        }
        used = strlen(parts);
        snprintf(parts + used, sizeof parts - used, "%s %.0f, ", hone_purpose_names[i],
                 (double)t->purpose[i] / 1048576);
    }
    used = strlen(parts);
    snprintf(parts + used, sizeof parts - used, "other %.0f", (double)other / 1048576);
    hone_lines_line(text, "     memory of %s, MiB: %s", t->name, parts);
}

static void convergence_lines(hone_lines *text, const hone_macro_row *row) {
    int steps = row->curves[0].steps, seeds = 0;
    for (int c = 0; c < HONE_CURVES; c++) seeds += row->curves[c].steps > 0;
    if (isfinite(row->curve_diff_final)) {
        hone_lines_line(
            text, "     curves of %d steps, %d seed%s: loss diff %.4f at the end, %.4f at most",
            steps, seeds, seeds == 1 ? "" : "s", row->curve_diff_final, row->curve_diff_max);
    }
    if (isfinite(row->curve_diff_final) && isfinite(row->seed_spread)) {
        bool within = row->curve_diff_final <= row->seed_spread;
        hone_lines_line(
            text, "     seeds alone differ by %.4f: the candidate's difference is %s %s",
            row->seed_spread, within ? "within that" : "more than that", within ? "✅" : "🔴");
    }
    if (isfinite(row->untrained_loss))
        hone_lines_line(text, "     hidden loss of the model untrained: %.4f", row->untrained_loss);
}

/* Appends ", name". */
static void add_name(char *out, size_t size, const char *name) {
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s%s", used ? ", " : "", name);
}

static void control_lines(hone_lines *text, const hone_macro_row *row) {
    char unnoticed[192] = "", unused[192] = "";
    const hone_training *mine = &row->side[HONE_SIDE_CANDIDATE];
    int tested = 0;
    uint64_t calls = 0;
    for (int k = 0; k < HONE_OP_COUNT; k++) {
        uint64_t own = mine->calls[k][0] + mine->calls[k][1];
        tested += row->sabotage[k].tested;
        calls += own;
        if (row->sabotage[k].tested && !hone_sabotage_noticed(&row->sabotage[k]))
            add_name(unnoticed, sizeof unnoticed, hone_op_names[k]);
        if (!own) add_name(unused, sizeof unused, hone_op_names[k]);
    }
    if (tested && !unnoticed[0])
        hone_lines_line(text, "     sabotage: each of %d kernel%s, made wrong, changed the loss ✅",
                        tested, tested == 1 ? "" : "s");
    if (unnoticed[0])
        hone_lines_line(text, "     sabotage: 🔴 the loss stayed the same with wrong %s", unnoticed);
    if (calls && unused[0]) hone_lines_line(text, "     never called in this model: %s", unused);
    if (calls && !unused[0])
        hone_lines_line(text, "     calls: each of %d kernels ran, %llu times in all",
                        (int)HONE_OP_COUNT, (unsigned long long)calls);
}

static double difference_of(const hone_macro_row *row, const hone_training *peer) {
    const hone_training *naive = &row->side[HONE_SIDE_NAIVE];
    int steps = HONE_MIN(peer->steps, row->steps);
    double largest = NAN; /* fmax passes over it */
    for (int i = 0; peer->losses && naive->losses && i < steps; i++)
        largest = fmax(largest, fabs(peer->losses[i] - naive->losses[i]));
    return largest;
}

static void tested_lines(hone_lines *text, const hone_macro_row *row) {
    char result[160];
    result_text(row, result, sizeof result);
    hone_lines_line(text, "  📊 Results: %s", result);
    comparison_text(&row->over_naive, result, sizeof result);
    hone_lines_line(text, "     over naive: %s", result);
    if (row->over_shipped.pairs > 0) {
        comparison_text(&row->over_shipped, result, sizeof result);
        hone_lines_line(text, "     over shipped: %s", result);
    }
    for (int side = 0; side < HONE_SIDES; side++)
        training_line(text, &row->side[side],
                      side == HONE_SIDE_CANDIDATE ? row->loss_diff_max : NAN);
    for (size_t i = 0; i < row->peer_count; i++)
        training_line(text, &row->peers[i], difference_of(row, &row->peers[i]));
    for (int side = 0; side < HONE_SIDES; side++) memory_line(text, &row->side[side]);
    convergence_lines(text, row);
    control_lines(text, row);
}

void hone_lines_macro_row(hone_lines *text, const hone_macro_row *row) {
    if (row->status == HONE_MACRO_NOT_TESTED)
        hone_lines_line(text, "  ⬜ Not tested: %s", row->reason);
    else if (row->status == HONE_MACRO_FAILED)
        hone_lines_line(text, "  ❌ Failed: %s", row->reason);
    else
        tested_lines(text, row);
}

static void text_result(hone_lines *text, const hone_macro_row *row) {
    char name[256], result[160];
    snprintf(name, sizeof name, "%s%s", row->model,
             row->converted ? " (bfloat16 made from it)" : "");
    result_text(row, result, sizeof result);
    if (row->status == HONE_MACRO_TESTED)
        hone_lines_line(text, "  ✅ %s: %s", name, result);
    else
        hone_lines_line(text, "  %s %s: %s", row->status == HONE_MACRO_FAILED ? "❌" : "⬜", name,
                        row->reason);
}

void hone_lines_macro_end(hone_lines *text, const hone_eval_report *report) {
    hone_macro_summary s = hone_summarize_macro(report);
    hone_lines_line(text, "%s", "");
    hone_lines_line(text, "📊 COMPREHENSIVE RESULTS");
    for (size_t i = 0; i < report->macro_count; i++) text_result(text, &report->macro[i]);
    if (s.models == 0) {
        hone_lines_line(text, "  No model was fine-tuned: nothing to compare");
        return;
    }
    hone_macro_verdict v = hone_verdict_macro(s.speedup, s.memory_ratio, s.loss_diff);
    hone_lines_line(text, "  Average Speedup: %.2fx (20%% faster: %s)", s.speedup,
                    !v.faster ? "🔴 no"
                    : s.shown ? "✅"
                              : "⬜ not shown: too few steps, or too much noise");
    hone_lines_line(text, "  Range: %.2fx – %.2fx", s.speedup_low, s.speedup_high);
    hone_lines_line(text, "  Average Memory Ratio: %.2fx (30%% less: %s)", s.memory_ratio,
                    v.smaller ? "✅" : "🔴 no");
    hone_lines_line(text, "  Average Loss Difference: %.4f, largest %.4f (same convergence: %s)",
                    s.loss_diff, s.loss_diff_max, v.converges ? "✅" : "🔴 no");
    if (!report->interrupted) hone_lines_line(text, "  Comprehensive Score: %.3f", s.score);
}

static void score_line(hone_lines *text, const char *name, double value) {
    if (isfinite(value))
        hone_lines_line(text, "  %s: %.3f", name, value);
    else
        hone_lines_line(text, "  %s: not measured", name);
}

enum { COLUMNS = 100, INDENT = 4 };
#define LATE 1.1 /* of the budget: worth a word */

/* "  - sentence", broken at blanks. */
static void item_lines(hone_lines *text, const char *sentence) {
    for (bool first = true; *sentence; first = false) {
        size_t size = strlen(sentence), most = COLUMNS - INDENT, cut = size;
        if (size > most)
            for (cut = most; cut > most / 2 && sentence[cut] != ' ';) cut--;
        if (size > most && sentence[cut] != ' ') cut = size; /* no place to break it */
        hone_lines_line(text, "  %s %.*s", first ? "-" : " ", (int)cut, sentence);
        sentence += cut;
        while (*sentence == ' ') sentence++;
    }
}

static void not_tested_lines(hone_lines *text, const hone_eval_report *report) {
    size_t untimed = 0, absent = 0;
    char item[1536];
    for (size_t i = 0; i < report->micro_count; i++) untimed += !report->micro[i].tested;
    for (size_t i = 0; i < report->macro_count; i++)
        absent += report->macro[i].status == HONE_MACRO_NOT_TESTED;
    if (untimed + absent + report->not_tested_count == 0) return;
    hone_lines_line(text, "⬜ Not tested:");
    if (untimed) {
        snprintf(item, sizeof item, "%zu of %zu kernel rows", untimed, report->micro_count);
        item_lines(text, item);
    }
    for (size_t i = 0; i < report->macro_count; i++) {
        const hone_macro_row *row = &report->macro[i];
        if (row->status != HONE_MACRO_NOT_TESTED) continue;
        snprintf(item, sizeof item, "%s%s: %s", row->model,
                 row->converted ? " (bfloat16 made from it)" : "", row->reason);
        item_lines(text, item);
    }
    for (size_t i = 0; i < report->not_tested_count; i++) item_lines(text, report->not_tested[i]);
}

static void consistency_line(hone_lines *text, const hone_eval_report *report,
                             const hone_macro_summary *macro) {
    if (macro->models < 2) {
        hone_lines_line(text, "  Cross-Model Consistency: not measurable%s",
                        macro->models == 1 ? " (one model)" : "");
        return;
    }
    hone_lines_line(text,
                    "  Cross-Model Consistency: %s (largest speedup %.2f times the smallest; "
                    "High ≤ 1.25, Medium ≤ 1.6)",
                    hone_consistency(report), macro->speedup_high / macro->speedup_low);
}

/* Why it is invalid; a compiler's words keep their lines. */
static void invalid_lines(hone_lines *text, const char *why) {
    if (!strchr(why, '\n')) {
        hone_lines_line(text, "  ❌ INVALID: %s; the overall score is 0", why);
        return;
    }
    hone_lines_line(text, "  ❌ INVALID: the overall score is 0");
    for (size_t size; *why; why += size + (why[size] == '\n')) {
        size = strcspn(why, "\n");
        hone_lines_line(text, "    %.*s", (int)size, why);
    }
}

void hone_lines_final(hone_lines *text, const hone_eval_report *report) {
    hone_eval_score score = hone_eval_report_score(report);
    hone_macro_summary macro = hone_summarize_macro(report);
    char why[1200];
    hone_lines_line(text, "%s", "");
    hone_lines_line(text, "🏆 FINAL EVALUATION");
    if (report->interrupted)
        hone_lines_line(text, "  Stopped early: what is not shown above was not tested");
    if (hone_report_is_void(report, why, sizeof why))
        invalid_lines(text, why);
    else if (!score.valid)
        hone_lines_line(text, "  ❌ INVALID: a kernel is wrong; the overall score is 0");
    for (int k = 0; k < HONE_OP_COUNT; k++)
        wrong_line(text, hone_summarize_kernel(report, k, HONE_PASS_BOTH).wrong);
    if (hone_noise_is_loud(&report->noise))
        hone_lines_line(text, "  🔴 Measured on a busy machine: see \"Noise\"");
    if (strcmp(report->candidate.verdict, "not accepted") == 0)
        hone_lines_line(text, "  ⬜ Not accepted for hone train --kernels: %s",
                        report->candidate.reason);
    score_line(text, "Overall Score", score.overall);
    score_line(text, "Micro Score", score.micro);
    score_line(text, "Macro Score", score.macro);
    char precisions[48] = "";
    if (macro.rows > macro.models)
        snprintf(precisions, sizeof precisions, " (in %zu precisions)", macro.rows);
    hone_lines_line(text, "  Real Models Tested: %d%s%s", score.models_tested, precisions,
                    score.rows_failed ? "; some trainings failed, see above" : "");
    consistency_line(text, report, &macro);
    if (report->seconds > LATE * report->budget)
        hone_lines_line(text,
                        "  Took %.0f s, more than the %.0f s it was given: what must be measured "
                        "takes so long here",
                        report->seconds, report->budget);
    not_tested_lines(text, report);
}
