/* tests/eval/report: the lines of the text. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "eval/lines.h"
#include "example.h"

static char lines[16384];

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
    hone_lines_step(&out, false, 8, 8, 1.87654, 1.234);
    hone_lines_step(&out, true, 8, 8, 1.87734, 2.5);
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
    assert_has("  Average Speedup: 1.60x (good: 1.2x minimum, 1.5x good, 2.0x excellent)");
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_have_the_agreed_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_is_ascii, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_kernel_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_measured_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_without_times_is_wrong, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
