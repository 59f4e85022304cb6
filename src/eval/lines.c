/* eval/lines: see lines.h. */
#include "eval/lines.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *symbol, *plain;
} symbols[] = {{"🚀 ", ""},      {"📊 ", ""},    {"🔍 ", ""},   {"🧪 ", ""}, {"🔬 ", ""},
               {"🏆 ", ""},      {"✅", "[ok]"}, {"⬜", "[ ]"}, {"❌", "[x]"},  {"🟢", "[++]"},
               {"🟡", "[+]"}, {"🔴", "[-]"},  {"·", "|"},   {"…", "..."},  {"×", "x"},
               {"−", "-"},      {"–", "-"},    {"≥", ">="},  {"≤", "<="}};

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

void hone_lines_line(hone_lines *text, const char *format, ...) {
    char line[2048], ascii[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (!text->on_line) return;
    if (text->plain) hone_lines_plain(line, ascii, sizeof ascii);
    if (!text->on_line(text->user, text->plain ? ascii : line)) text->stopped = true;
}

void hone_lines_start(hone_lines *text, const hone_eval_report *report) {
    hone_lines_line(text, "🚀 Evaluating fine-tuning kernels: %s · %s · %d thread%s",
                    report->candidate.name, report->machine.tier, report->machine.threads,
                    report->machine.threads == 1 ? "" : "s");
}

static const char *light(double speedup) {
    return speedup >= 1.2 ? "🟢" : speedup >= 1 ? "🟡" : "🔴";
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
    if (s.tested == 0 && s.wrong) {
        hone_lines_line(text, "  %s%s: ❌ WRONG, not timed", name, suffix);
    } else if (s.tested == 0) {
        hone_lines_line(text, "  %s%s: ⬜ not tested", name, suffix);
    } else if (!isfinite(s.speedup)) {
        hone_lines_line(text, "  %s%s: %s", name, suffix,
                        s.correct ? "✅ correct, not timed" : "❌ WRONG");
    } else {
        hone_lines_line(text, "  %s%s: %.2fx speedup, %.2fx memory (%.1fms vs %.1fms) %s%s", name,
                        suffix, s.speedup, s.memory_ratio, s.seconds * 1e3, s.naive_seconds * 1e3,
                        s.correct ? light(s.speedup) : "❌ WRONG",
                        s.tested < s.rows ? " (in part)" : "");
    }
    wrong_line(text, s.wrong);
    if (s.missing && s.missing != s.wrong && s.missing->reason[0]) {
        char row[192];
        describe_row(s.missing, row, sizeof row);
        hone_lines_line(text, "    ⬜ %s: %s", row, s.missing->reason);
    }
}

void hone_lines_micro_end(hone_lines *text, const hone_eval_report *report) {
    hone_eval_score score = hone_eval_report_score(report);
    int correct = 0, tested = 0;
    for (int k = 0; k < HONE_OP_COUNT; k++) {
        hone_kernel_summary s = hone_summarize_kernel(report, k, HONE_PASS_BOTH);
        tested += s.tested > 0;
        correct += s.tested > 0 && s.correct;
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
}

void hone_lines_macro_start(hone_lines *text) {
    hone_lines_line(text, "%s", "");
    hone_lines_line(text, "🚀 COMPREHENSIVE REAL MODEL EVALUATION");
    hone_lines_line(text, "============================================================");
}

void hone_lines_step(hone_lines *text, const hone_training *training) {
    int last = training->steps - 1;
    hone_lines_line(text, "    🔬 %-9s step %d: loss=%.4f, time=%.2fs", training->name, last + 1,
                    training->losses[last], training->seconds[last]);
}

void hone_lines_macro_row(hone_lines *text, const hone_macro_row *row) {
    switch (row->status) {
    case HONE_MACRO_NOT_TESTED:
        hone_lines_line(text, "  ⬜ Not tested: %s", row->reason);
        break;
    case HONE_MACRO_FAILED:
        hone_lines_line(text, "  ❌ Failed: %s", row->reason);
        break;
    case HONE_MACRO_TESTED:
        hone_lines_line(text, "  📊 Results: %.2fx speedup, %.2fx memory, %.4f loss diff",
                        row->over_naive.ratio, row->memory_ratio, row->loss_diff);
        hone_lines_line(text,
                        "     %.0f vs %.0f tokens/s, peak %.0f vs %.0f MiB, largest loss diff %.4f",
                        row->side[HONE_SIDE_CANDIDATE].tokens_per_sec,
                        row->side[HONE_SIDE_NAIVE].tokens_per_sec,
                        (double)row->side[HONE_SIDE_CANDIDATE].peak_rss / 1048576,
                        (double)row->side[HONE_SIDE_NAIVE].peak_rss / 1048576, row->loss_diff_max);
        break;
    }
}

static void text_result(hone_lines *text, const hone_macro_row *row) {
    char name[256];
    snprintf(name, sizeof name, "%s%s", row->model,
             row->converted ? " (bfloat16 made from it)" : "");
    if (row->status == HONE_MACRO_TESTED)
        hone_lines_line(text, "  ✅ %s: %.2fx speedup, %.2fx memory, %.4f loss diff", name,
                        row->over_naive.ratio, row->memory_ratio, row->loss_diff);
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
                    v.faster ? "✅" : "🔴 no");
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

void hone_lines_final(hone_lines *text, const hone_eval_report *report) {
    hone_eval_score score = hone_eval_report_score(report);
    hone_macro_summary macro = hone_summarize_macro(report);
    hone_lines_line(text, "%s", "");
    hone_lines_line(text, "🏆 FINAL EVALUATION");
    if (report->interrupted)
        hone_lines_line(text, "  Stopped early: what is not shown above was not tested");
    if (!score.valid) {
        hone_lines_line(text, "  ❌ INVALID: a kernel is wrong; the overall score is 0");
        for (int k = 0; k < HONE_OP_COUNT; k++)
            wrong_line(text, hone_summarize_kernel(report, k, HONE_PASS_BOTH).wrong);
    }
    score_line(text, "Overall Score", score.overall);
    score_line(text, "Micro Score", score.micro);
    score_line(text, "Macro Score", score.macro);
    char precisions[48] = "";
    if (macro.rows > macro.models)
        snprintf(precisions, sizeof precisions, " (in %zu precisions)", macro.rows);
    hone_lines_line(text, "  Real Models Tested: %d%s%s", score.models_tested, precisions,
                    score.rows_failed ? "; some trainings failed, see above" : "");
    hone_lines_line(text, "  Cross-Model Consistency: %s%s", hone_consistency(report),
                    score.models_tested == 1 ? " (one model)" : "");
}
