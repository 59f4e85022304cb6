/* tests/eval/report: the lines of the text and the members of the JSON file. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
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

/* ---- JSON ---- */

typedef struct member {
    const char *key;
    char type; /* s string, n number, i integer, b boolean, a array; upper case: or null */
} member;

static bool has_type(const json_t *v, char type) {
    if (type >= 'A' && type <= 'Z') {
        if (json_is_null(v)) return true;
        type = (char)(type - 'A' + 'a');
    }
    return (type == 's' && json_is_string(v)) || (type == 'n' && json_is_number(v)) ||
           (type == 'i' && json_is_integer(v)) || (type == 'b' && json_is_boolean(v)) ||
           (type == 'a' && json_is_array(v)) || (type == 'o' && json_is_object(v));
}

static char *docs; /* docs/evaluation.md */

/* Exactly these members, each of its type, each documented. */
static void assert_members(const json_t *object, const member *members, size_t count) {
    assert_true(json_is_object(object));
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(object, members[i].key);
        if (!value || !has_type(value, members[i].type))
            fail_msg("\"%s\" is missing or not of type %c", members[i].key, members[i].type);
        char quoted[64];
        snprintf(quoted, sizeof quoted, "`%s`", members[i].key);
        if (!strstr(docs, quoted)) fail_msg("docs/evaluation.md does not mention %s", quoted);
    }
    assert_int_equal(json_object_size(object), count);
}
#define ASSERT_MEMBERS(object, ...)                                                                \
    do {                                                                                           \
        const member list[] = {__VA_ARGS__};                                                       \
        assert_members(object, list, sizeof list / sizeof list[0]);                                \
    } while (0)

static json_t *write_and_read(void) {
    char path[] = "/tmp/hone-report-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    json_t *value = NULL;
    hone_error err;
    if (hone_eval_report_write_json(report, path, &err) != HONE_OK) fail_msg("%s", err.message);
    assert_int_equal(hone_json_read(path, 1 << 20, &value, NULL), HONE_OK);
    unlink(path);
    return value;
}

static void assert_row_members(const json_t *root) {
    ASSERT_MEMBERS(json_array_get(json_object_get(root, "micro"), 0), {"kernel", 's'},
                   {"pass", 's'}, {"correct", 'B'}, {"dtype", 's'}, {"weights", 'S'},
                   {"shape", 's'}, {"speedup", 'N'}, {"speedup_interval", 'a'},
                   {"memory_ratio", 'N'}, {"ms", 'N'}, {"naive_ms", 'N'}, {"bytes", 'I'},
                   {"naive_bytes", 'I'}, {"gflops", 'N'}, {"naive_gflops", 'N'},
                   {"gb_per_sec", 'N'}, {"naive_gb_per_sec", 'N'}, {"trials", 'i'}, {"calls", 'i'},
                   {"reason", 'S'});
    for (size_t i = 0; i < 3; i++) {
        ASSERT_MEMBERS(json_array_get(json_object_get(root, "macro"), i), {"model", 's'},
                       {"path", 'S'}, {"size", 'S'}, {"precision", 'S'}, {"converted", 'b'},
                       {"status", 's'}, {"reason", 'S'}, {"steps", 'i'}, {"speedup", 'N'},
                       {"speedup_interval", 'a'}, {"shipped_speedup", 'N'}, {"memory_ratio", 'N'},
                       {"loss_diff", 'N'}, {"loss_diff_max", 'N'}, {"losses", 'a'},
                       {"naive_losses", 'a'}, {"seconds", 'a'}, {"naive_seconds", 'a'},
                       {"tokens_per_sec", 'N'}, {"naive_tokens_per_sec", 'N'},
                       {"peak_rss_mib", 'N'}, {"naive_peak_rss_mib", 'N'});
    }
    ASSERT_MEMBERS(json_object_get(root, "score"), {"valid", 'b'}, {"interrupted", 'b'},
                   {"micro", 'N'}, {"macro", 'N'}, {"overall", 'N'}, {"kernel_speedup", 'N'},
                   {"training_speedup", 'N'}, {"memory_ratio", 'N'}, {"loss_diff", 'N'},
                   {"loss_diff_max", 'N'}, {"models_tested", 'i'}, {"rows_tested", 'i'},
                   {"rows_failed", 'i'}, {"consistency", 's'});
}

static void json_has_the_documented_members(void **state) {
    (void)state;
    fill();
    hone_buf text;
    assert_int_equal(hone_file_read(HONE_SOURCE_DIR "/docs/evaluation.md", 1 << 20, &text, NULL),
                     HONE_OK);
    docs = text.data;
    json_t *root = write_and_read();
    ASSERT_MEMBERS(root, {"schema", 'i'}, {"machine", 'o'}, {"options", 'o'}, {"micro", 'a'},
                   {"macro", 'a'}, {"score", 'o'}, {"seconds", 'n'});
    ASSERT_MEMBERS(json_object_get(root, "machine"), {"hone", 's'}, {"cpu", 's'}, {"tier", 's'},
                   {"gemm_f32", 'S'}, {"gemm_bf16", 'S'}, {"vectors", 'S'}, {"compiler", 'S'},
                   {"threads", 'i'}, {"memory_available_mib", 'N'}, {"l2_bytes", 'I'},
                   {"last_level_bytes", 'I'});
    ASSERT_MEMBERS(json_object_get(root, "options"), {"candidate", 's'}, {"micro", 'b'},
                   {"macro", 'b'}, {"trials", 'i'}, {"steps", 'i'}, {"batch_size", 'i'},
                   {"seq_len", 'i'}, {"seed", 'i'}, {"data", 'S'});
    assert_row_members(root);
    json_decref(root);
    hone_buf_free(&text);
}

static void json_has_the_figures(void **state) {
    (void)state;
    fill();
    json_t *root = write_and_read(), *row;
    row = json_array_get(json_object_get(root, "micro"), 9);
    assert_string_equal(json_string_value(json_object_get(row, "kernel")), "lora_linear");
    assert_string_equal(json_string_value(json_object_get(row, "pass")), "backward");
    assert_string_equal(json_string_value(json_object_get(row, "weights")), "q4_1");
    assert_true(json_is_true(json_object_get(row, "correct")));
    assert_true(fabs(json_number_value(json_object_get(row, "ms")) - 2.1) < 1e-9);
    assert_true(fabs(json_number_value(json_object_get(row, "gflops")) - 2) < 1e-9);
    assert_true(fabs(json_number_value(json_object_get(row, "naive_gb_per_sec")) - 1) < 1e-9);
    row = json_array_get(json_object_get(root, "macro"), 1);
    assert_string_equal(json_string_value(json_object_get(row, "precision")), "bfloat16");
    assert_string_equal(json_string_value(json_object_get(row, "status")), "tested");
    assert_true(json_is_null(json_object_get(row, "reason")));
    assert_int_equal(json_array_size(json_object_get(row, "losses")), 8);
    assert_true(fabs(json_number_value(json_object_get(row, "peak_rss_mib")) - 500) < 1e-9);
    row = json_array_get(json_object_get(root, "macro"), 2);
    assert_string_equal(json_string_value(json_object_get(row, "status")), "not tested");
    assert_string_equal(json_string_value(json_object_get(row, "reason")), "not on this machine");
    assert_true(json_is_null(json_object_get(row, "speedup")));
    double overall = hone_eval_report_score(report).overall;
    assert_true(fabs(json_number_value(json_object_get(json_object_get(root, "score"), "overall")) -
                     overall) < 1e-12);
    json_decref(root);
}

static void json_of_foreign_bytes_and_untested_rows(void **state) {
    (void)state;
    hone_macro_row *row;
    hone_micro_row *micro;
    assert_int_equal(hone_report_add_macro(report, 0, "caf\xe9", "/m/caf\xe9", &row, NULL),
                     HONE_OK);
    assert_int_equal(hone_report_add_micro(report, &micro, NULL), HONE_OK);
    json_t *root = write_and_read();
    json_t *object = json_array_get(json_object_get(root, "macro"), 0);
    assert_string_equal(json_string_value(json_object_get(object, "model")), "caf?");
    assert_true(json_is_null(
        json_object_get(json_array_get(json_object_get(root, "micro"), 0), "correct")));
    assert_true(json_is_null(json_object_get(json_object_get(root, "score"), "overall")));
    json_decref(root);
}

static void unwritable_file_is_an_error(void **state) {
    (void)state;
    hone_error err;
    assert_int_equal(hone_eval_report_write_json(report, "/nonexistent/dir/r.json", &err),
                     HONE_ERR_IO);
    assert_non_null(strstr(err.message, "/nonexistent/dir/r.json"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_have_the_agreed_shape, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_is_ascii, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_kernel_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_measured_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_without_times_is_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(json_has_the_documented_members, setup, teardown),
        cmocka_unit_test_setup_teardown(json_has_the_figures, setup, teardown),
        cmocka_unit_test_setup_teardown(json_of_foreign_bytes_and_untested_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(unwritable_file_is_an_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
