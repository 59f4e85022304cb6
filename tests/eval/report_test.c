/* tests/eval/report: the lines of the text. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "eval/lines.h"
#include "example.h"

static char lines[32768];

static bool collect(void *user, const char *line) {
    (void)user;
    assert_null(strchr(line, '\n'));
    size_t used = strlen(lines);
    snprintf(lines + used, sizeof lines - used, "%s\n", line);
    return true;
}

static hone_eval_report *report;
static hone_lines out;

static int setup(void **state) {
    (void)state;
    lines[0] = 0;
    out = (hone_lines){.on_line = collect};
    if (hone_report_make(&report, NULL) != HONE_OK) return 1;
    report->machine = (hone_machine_info){
        .version = "0.1.0", .cpu = "a CPU", .tier = "AVX-512 BF16", .threads = 2};
    return 0;
}

static int teardown(void **state) {
    (void)state;
    hone_eval_report_free(&report);
    return 0;
}

static void assert_has(const char *line) {
    char whole[512];
    snprintf(whole, sizeof whole, "%s\n", line);
    if (!strstr(lines, whole)) fail_msg("no line \"%s\" in:\n%s", line, lines);
}

static void fill(void) {
    add_kernels(report, 2.34, 1.1);
    add_model(report, 0, "SmolLM2-135M-Instruct 4-bit", 1.5, 0.0008, 310, 1000);
    hone_macro_row *second =
        add_model(report, 0, "SmolLM2-135M-Instruct 4-bit", 1.2, 0.002, 500, 1000);
    snprintf(second->precision, sizeof second->precision, "bfloat16");
    second->converted = true;
    hone_macro_row *absent;
    assert_int_equal(hone_report_add_macro(report, 1, "org/absent", NULL, &absent, NULL), HONE_OK);
    snprintf(absent->reason, sizeof absent->reason, "not on this machine");
}

static void print_all(void) {
    hone_lines_start(&out, report);
    hone_lines_micro_start(&out);
    for (int k = 0; k < HONE_OP_COUNT; k++) {
        hone_lines_kernel(&out, report, k, HONE_PASS_FORWARD);
        hone_lines_kernel(&out, report, k, HONE_PASS_BACKWARD);
    }
    hone_lines_micro_end(&out, report);
    hone_lines_macro_start(&out);
    double losses[8] = {[7] = 1.87654}, seconds[8] = {[7] = 1.234};
    hone_training step = {.name = "candidate", .steps = 8, .losses = losses, .seconds = seconds};
    hone_lines_step(&out, report, &step);
    snprintf(step.name, sizeof step.name, "naive");
    losses[7] = 1.87734, seconds[7] = 2.5;
    hone_lines_step(&out, report, &step);
    for (size_t i = 0; i < report->macro_count; i++) hone_lines_macro_row(&out, &report->macro[i]);
    hone_lines_macro_end(&out, report);
    hone_lines_final(&out, report);
}

static void lines_have_the_agreed_shape(void **state) {
    (void)state;
    fill();
    print_all();
    assert_has("🚀 Evaluating fine-tuning kernels: fused (built in) · AVX-512 BF16 · 2 threads");
    assert_has("📊 MICRO-BENCHMARKS: Individual Kernel Performance");
    assert_has("  rms_norm: 2.34x speedup, 0.50x memory (2.1ms vs 4.9ms) 🟢");
    assert_has("  rms_norm backward: 1.10x speedup, 0.50x memory (2.1ms vs 2.3ms) 🟡");
    assert_has("  attention_with_rope: 2.34x speedup, 0.50x memory (2.1ms vs 4.9ms) 🟢");
    assert_has("  Correct kernels: 6 of 6");
    assert_has("  Average Speedup: 1.72x (good: 1.2x minimum, 1.5x good, 2.0x excellent)");
    assert_has("🚀 COMPREHENSIVE REAL MODEL EVALUATION");
    assert_has("============================================================");
    assert_has("    🔬 FUSED  step 8/8: loss=1.8765, time=1.23s");
    assert_has("    🔬 NAIVE  step 8/8: loss=1.8773, time=2.50s");
    assert_has("  📊 Results: 1.50x speedup, 0.31x memory, 0.0008 loss diff");
    assert_has("  ⬜ Not tested: not on this machine");
    assert_has("📊 COMPREHENSIVE RESULTS");
    assert_has("  ✅ SmolLM2-135M-Instruct 4-bit (bfloat16 made from it): 1.20x speedup, 0.50x "
               "memory, 0.0020 loss diff");
    assert_has("  Average Speedup: 1.34x (20% faster: ✅)");
    assert_has("  Range: 1.20x – 1.50x");
    assert_has("  Average Memory Ratio: 0.41x (30% less: ✅)");
    assert_has("🏆 FINAL EVALUATION");
    assert_has("  Real Models Tested: 1 (in 2 precisions)");
    assert_has("  Cross-Model Consistency: not measurable (one model)");
}

static void plain_is_ascii(void **state) {
    (void)state;
    out.plain = true;
    fill();
    report->micro[3].correct = false;
    print_all();
    for (const char *c = lines; *c; c++) assert_true((unsigned char)*c < 0x80);
    assert_has("Evaluating fine-tuning kernels: fused (built in) | AVX-512 BF16 | 2 threads");
    assert_has("  rms_norm: 2.34x speedup, 0.50x memory (2.1ms vs 4.9ms) [++]");
    assert_has("  Range: 1.20x - 1.50x");
    char plain[32];
    hone_lines_plain("é\xff ✅", plain, sizeof plain);
    assert_string_equal(plain, "??? [ok]");
    hone_lines_plain("🟢🟢🟢", plain, 6);
    assert_string_equal(plain, "[++][");
}

static void wrong_kernel_is_named(void **state) {
    (void)state;
    fill();
    hone_micro_row *row = &report->micro[9]; /* lora_linear backward */
    row->correct = false;
    snprintf(row->reason, sizeof row->reason, "dx differs by 0.5");
    print_all();
    assert_has("  lora_linear backward: 1.10x speedup, 0.50x memory (2.1ms vs 2.3ms) ❌ WRONG");
    assert_has("    ❌ lora_linear backward, f32, weights q4_1, batch 4, seq 64, hidden 256: dx "
               "differs by 0.5");
    assert_has("  Correct kernels: 5 of 6");
    assert_has("  ❌ INVALID: a kernel is wrong; the overall score is 0");
    assert_has("  Overall Score: 0.000");
}

static void nothing_measured_says_so(void **state) {
    (void)state;
    add_kernels(report, 2, 2);
    for (size_t i = 1; i < report->micro_count; i++) report->micro[i].tested = false;
    report->interrupted = true;
    print_all();
    assert_has("  rms_norm backward: ⬜ not tested");
    assert_has("  Correct kernels: 1 of 6 (not all were tested)");
    assert_has("  Micro Score: not measured");
    assert_has("  No model was fine-tuned: nothing to compare");
    assert_has("  Stopped early: what is not shown above was not tested");
    assert_has("  Overall Score: not measured");
    assert_has("  Real Models Tested: 0");
    assert_has("  Cross-Model Consistency: not measurable");
}

/* The check found it wrong; then the evaluation was stopped, before it was timed. */
static void wrong_without_times_is_wrong(void **state) {
    (void)state;
    add_kernels(report, 2, 2);
    for (size_t i = 0; i < report->micro_count; i++) report->micro[i].tested = false;
    hone_micro_row *row = &report->micro[8];
    row->checked = true;
    row->correct = false;
    snprintf(row->reason, sizeof row->reason, "case batch 1: y differs");
    report->interrupted = true;
    print_all();
    assert_has("  lora_linear: ❌ WRONG, not timed");
    assert_has("  ❌ INVALID: a kernel is wrong; the overall score is 0");
    assert_has("    ❌ lora_linear forward, f32, weights q4_1, batch 4, seq 64, hidden 256: case "
               "batch 1: y differs");
}

/* A file of kernels, three sides, a peer, curves, controls, and what was not tested. */
static void everything_has_its_line(void **state) {
    (void)state;
    add_everything(report);
    print_all();
    assert_has("   compiled by gcc 12.2.0 with -O3 -march=native");
    assert_has("    over the shipped kernel: no difference shown (0.97–1.04) ⚪");
    assert_has("  rope_embeddings: ⬜ inherited: the shipped kernel ran, nothing is credited");
    assert_has("  Correct kernels: 5 of 6");
    assert_has("  Noise: measuring a kernel that does nothing takes 41 ns");
    assert_has("  Noise: the shipped set against itself: no difference shown (0.99–1.01, p=0.800)");
    assert_has("  Roofs of this machine: float32 200 GFLOP/s, cache 90 GB/s, memory 20 GB/s");
    assert_has("    🔬 CANDIDATE  step 8/8: loss=1.8765, time=1.23s");
    assert_has("     over naive: 1.50x (1.50–1.50, p=0.035)");
    assert_has("     over shipped: no difference shown (0.94–1.01, p=0.399)");
    assert_has("     candidate: 1014 tokens/s, peak 310 MiB, loss diff 0.0008, hidden loss 2.2508");
    assert_has("     naive: 676 tokens/s, peak 1000 MiB, hidden loss 2.2500");
    assert_has(
        "     torch_lora.py: 507 tokens/s, peak 2000 MiB, loss diff 0.0100, hidden loss 2.2600");
    assert_has("     mlx: ❌ exit status 127");
    assert_has(
        "     memory of shipped, MiB: data 2, weights 3, tables 4, trained 5, gradients 6, moments "
        "7, saving 8, activations 9, scratch 10, other 1");
    assert_has("     curves of 120 steps, 2 seeds: loss diff 0.0005 at the end, 0.0005 at most");
    assert_has("     seeds alone differ by 0.0500: the candidate's difference is within that ✅");
    assert_has("     hidden loss of the model untrained: 3.5000");
    assert_has("     sabotage: each of 6 kernels, made wrong, changed the loss ✅");
    assert_has("     calls: each of 6 kernels ran, 2880 times in all");
    assert_has("⬜ Not tested:");
    assert_has("  - org/absent: not on this machine");
    assert_has("  - GPUs: hone has no kernels for them");
}

/* What the controls found, and what is a speedup in name only. */
static void doubts_have_their_lines(void **state) {
    (void)state;
    add_everything(report);
    hone_macro_row *row = &report->macro[0];
    row->sabotage[4].change = 0;
    row->side[HONE_SIDE_CANDIDATE].calls[1][0] = row->side[HONE_SIDE_CANDIDATE].calls[1][1] = 0;
    row->curve_diff_final = 0.2;
    row->over_naive = (hone_comparison){1.03, {0.98, 1.08}, 0.2, 10};
    for (int i = 0; i < 2; i++) {
        report->micro[i].over_naive = (hone_comparison){1.3, {0.6, 1.9}, 0.5, 7};
        report->micro[10 + i].over_naive = (hone_comparison){0.8, {0.79, 0.82}, 0.01, 7};
    }
    hone_report_not_tested(report, "%s",
                           "a sentence that is so long that it has to be broken into a second line "
                           "where there is a blank, and not within a word");
    print_all();
    assert_has("  rms_norm: no difference shown (0.60–1.90), 0.50x memory (2.1ms vs 4.9ms) ⚪");
    assert_has("  attention_with_rope: 0.80x speedup, 0.50x memory (2.1ms vs 4.9ms) 🔴");
    assert_has("  📊 Results: no difference shown (0.98–1.08), 0.31x memory, 0.0008 loss diff");
    assert_has("     sabotage: 🔴 the loss stayed the same with wrong lora_linear");
    assert_has("     never called in this model: rope_embeddings");
    assert_has("     seeds alone differ by 0.0500: the candidate's difference is more than that 🔴");
    assert_has(
        "  ❌ INVALID: SmolLM2-135M-Instruct 4-bit: made wrong on purpose, lora_linear did not "
        "change the loss; the overall score is 0");
    assert_has(
        "  - a sentence that is so long that it has to be broken into a second line where there "
        "is a blank,");
    assert_has("    and not within a word");
    assert_null(strstr(lines, "busy"));
    assert_null(strstr(lines, "Took"));
    lines[0] = 0;
    /* The best three pairs can say is p = 0.25; and the noise is as large as what is measured. */
    row->over_naive = (hone_comparison){1.5, {1.4, 1.6}, 0.25, 3};
    report->noise.same = (hone_comparison){0.9, {0.7, 1.1}, 0.5, 8};
    report->budget = 10;
    report->seconds = 40;
    print_all();
    assert_has("  📊 Results: no difference shown (1.40–1.60), 0.31x memory, 0.0008 loss diff");
    assert_has("     over naive: no difference shown (1.40–1.60, p=0.250)");
    assert_has(
        "  Average Speedup: 1.50x (20% faster: ⬜ not shown: too few steps, or too much noise)");
    assert_has(
        "  🔴 This machine was busy: the very same kernels seemed to differ. Do not rely on the "
        "speedups");
    assert_has("  🔴 Measured on a busy machine: see \"Noise\"");
    assert_has("  Took 40 s, more than the 10 s it was given: what must be measured takes so long "
               "here");
    lines[0] = 0;
    report->candidate.verdict = "VIOLATION";
    snprintf(report->candidate.reason, sizeof report->candidate.reason, "it opened a socket");
    print_all();
    assert_has("  ❌ INVALID: VIOLATION: it opened a socket; the overall score is 0");
    assert_has("  Overall Score: 0.000");
}

static void consistency_comes_with_its_rule(void **state) {
    (void)state;
    add_kernels(report, 2, 2);
    add_model(report, 0, "a", 1.5, 0, 50, 100);
    add_model(report, 1, "b", 1.2, 0, 50, 100);
    print_all();
    assert_has(
        "  Cross-Model Consistency: High (largest speedup 1.25 times the smallest; High ≤ 1.25, "
        "Medium ≤ 1.6)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_have_the_agreed_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(everything_has_its_line, setup, teardown),
        cmocka_unit_test_setup_teardown(doubts_have_their_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(consistency_comes_with_its_rule, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_is_ascii, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_kernel_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_measured_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_without_times_is_wrong, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
