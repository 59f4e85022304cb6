/* tests/eval/compare: two reports whose differences are known. */
#include "temp.h"

#include <math.h>

#include "eval/compare.h"
#include "eval/schema.h"
#include "example.h"

static hone_eval_report *before, *after;
static temp_folder folder;
static char *a_path, *b_path, lines[32768];

static hone_eval_report *make_report(void) {
    hone_eval_report *report = NULL;
    assert_int_equal(hone_report_make(&report, NULL), HONE_OK);
    report->machine = (hone_machine_info){
        .version = "0.1.0", .compiler = "gcc", .cpu = "a CPU", .tier = "AVX2", .threads = 2};
    add_everything(report);
    return report;
}

static int setup(void **state) {
    (void)state;
    folder = temp_make();
    a_path = temp_path(&folder, "a.json");
    b_path = temp_path(&folder, "b.json");
    before = make_report();
    after = make_report();
    lines[0] = 0;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    hone_eval_report_free(&before);
    hone_eval_report_free(&after);
    free(a_path);
    free(b_path);
    temp_remove(&folder);
    return 0;
}

static bool collect(void *user, const char *line) {
    (void)user;
    size_t used = strlen(lines);
    snprintf(lines + used, sizeof lines - used, "%s\n", line);
    return true;
}

static hone_eval_changes *compare(void) {
    hone_eval_changes *changes = NULL;
    hone_error err;
    assert_ok(hone_eval_report_write_json(before, a_path, &err), err);
    assert_ok(hone_eval_report_write_json(after, b_path, &err), err);
    assert_ok(hone_eval_compare(a_path, b_path, &changes, &err), err);
    return changes;
}

static void print(bool plain) {
    hone_eval_changes *changes = compare();
    assert_true(hone_eval_changes_print(changes, plain, collect, NULL));
    hone_eval_changes_free(&changes);
    assert_null(changes);
}

static void assert_has(const char *line) {
    char whole[512];
    snprintf(whole, sizeof whole, "%s\n", line);
    if (!strstr(lines, whole)) fail_msg("no line \"%s\" in:\n%s", line, lines);
}

static void the_same_twice_is_no_difference(void **state) {
    (void)state;
    print(false);
    assert_null(strstr(lines, "not the same"));
    assert_has("  ⚪ 12 of 12 rows: no difference shown");
    assert_has("  ⚪ SmolLM2-135M-Instruct 4-bit (4-bit): 1.50x → 1.50x, no difference shown");
    assert_has("     tokens/s 1014 → 1014, peak MiB 310 → 310, loss diff 0.0008 → 0.0008");
    assert_has("  ⬜ org/absent: not measured");
    assert_null(strstr(lines, "Not compared"));
}

/* Row 0 was [2.3166, 2.3634]; whatever touches that is no difference. */
static void intervals_that_are_apart_are_differences(void **state) {
    (void)state;
    hone_micro_row *rows = after->micro;
    rows[0].over_naive = (hone_comparison){2.5, {2.37, 2.6}, 0.01, 7};
    rows[2].over_naive = (hone_comparison){2.5, {2.36, 2.6}, 0.01, 7};
    rows[4].over_naive = (hone_comparison){2.0, {1.9, 2.31}, 0.01, 7};
    rows[6].over_naive = (hone_comparison){2.0, {1.9, 2.32}, 0.01, 7};
    rows[8].correct = false;
    before->micro[10].correct = false;
    rows[11].over_naive.interval = (hone_interval){NAN, NAN};
    before->micro[9].correct = rows[9].correct = false;
    after->macro[0].over_naive = (hone_comparison){1.2, {1.19, 1.21}, 0.01, 6};
    after->macro[1].status = HONE_MACRO_FAILED;
    print(false);
    assert_has(
        "  🟢 rms_norm forward, f32, batch 4, seq 64, hidden 256: 2.34x → 2.50x, faster");
    assert_has(
        "  🔴 swiglu_activation forward, f32, batch 4, seq 64, hidden 256: 2.34x → 2.00x, slower");
    assert_has(
        "  ❌ lora_linear forward, f32, weights q4_1, batch 4, seq 64, hidden 256: 2.34x → 2.34x, "
        "broken");
    assert_has("  ❌ lora_linear backward, f32, weights q4_1, batch 4, seq 64, hidden 256: 1.10x → "
               "1.10x, wrong");
    assert_has(
        "  🟢 attention_with_rope forward, f32, batch 4, seq 64, hidden 256: 2.34x → 2.34x, "
        "repaired");
    assert_has(
        "  ⬜ attention_with_rope backward, f32, batch 4, seq 64, hidden 256: 1.10x → 1.10x, not "
        "measured");
    assert_has("  ⚪ 6 of 12 rows: no difference shown");
    assert_has("  🔴 SmolLM2-135M-Instruct 4-bit (4-bit): 1.50x → 1.20x, slower");
    assert_has("  ❌ SmolLM2-135M-Instruct 4-bit (bfloat16 made from it): 1.50x → 1.50x, broken");
    assert_non_null(strstr(lines, "kernels.c ❌ INVALID\n"));
}

static void other_machines_and_builds_are_said_first(void **state) {
    (void)state;
    after->machine.cpu = "another CPU";
    after->machine.threads = 8;
    memset(after->candidate.sha256, 'c', 64);
    after->steps = 24;
    snprintf(after->micro[4].shape, sizeof after->micro[4].shape, "batch 3, drawn");
    print(false);
    assert_has("  not the same processor: a CPU, then another CPU");
    assert_has("  not the same threads: 2, then 8");
    assert_has("  not the same steps: 8, then 24");
    assert_non_null(strstr(lines, "not the same source of the candidate: aaaa"));
    assert_true(strstr(lines, "not the same") < strstr(lines, "Kernels:"));
    assert_has("  ⚪ 11 of 11 rows: no difference shown");
    assert_has("⬜ Not compared: 1 rows of the first and 1 of the second alone");
}

static void plain_is_ascii_and_nothing_steers_the_terminal(void **state) {
    (void)state;
    snprintf(after->candidate.name, sizeof after->candidate.name,
             "\x1b[2Jgone\r\xc2\x9b"
             "2J");
    after->micro[0].correct = false;
    print(false);
    for (const char *c = lines; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        assert_true((byte >= 0x20 && byte != 0x7f) || byte == '\n');
        if (byte == 0xc2) assert_true((unsigned char)c[1] >= 0xa0);
    }
    assert_non_null(strstr(lines, "?[2Jgone???2J"));
    lines[0] = 0;
    print(true);
    for (const char *c = lines; *c; c++) assert_true((unsigned char)*c < 0x80);
    assert_has("  [=] 11 of 12 rows: no difference shown");
    assert_non_null(strstr(lines, "1.50x -> 1.50x"));
}

static bool refuse(void *user, const char *line) {
    (void)line;
    return ++*(int *)user < 2;
}

static void json_has_the_figures(void **state) {
    (void)state;
    after->micro[0].over_naive = (hone_comparison){4.68, {4.6, 4.7}, 0.01, 7};
    after->macro[0].side[HONE_SIDE_CANDIDATE].tokens_per_sec = 2000;
    hone_eval_changes *changes = compare();
    hone_error err;
    json_t *root;
    char *path = temp_path(&folder, "changes.json");
    int count = 0;
    assert_ok(hone_eval_changes_write_json(changes, path, &err), err);
    assert_false(hone_eval_changes_print(changes, false, refuse, &count));
    hone_eval_changes_free(&changes);
    assert_ok(hone_json_read(path, 1 << 20, &root, &err), err);
    assert_ok(hone_schema_check(root, &hone_schema_comparison, path, &err), err);
    const json_t *row = json_array_get(json_object_get(root, "kernels"), 0);
    assert_true(fabs(json_number_value(json_object_get(row, "change")) - 2) < 1e-12);
    assert_string_equal(json_string_value(json_object_get(row, "verdict")), "faster");
    row = json_object_get(json_array_get(json_object_get(root, "models"), 0), "tokens_per_sec");
    assert_true(json_number_value(json_object_get(row, "b")) == 2000);
    assert_int_equal(json_array_size(json_object_get(root, "models")), 3);
    json_decref(root);
    free(path);
}

/* The error names the file that is wrong. */
static void malformed_files_are_refused(void **state) {
    (void)state;
    hone_eval_changes *changes = NULL;
    hone_error err;
    assert_ok(hone_eval_report_write_json(before, a_path, &err), err);
    temp_write(b_path, "{\"schema\": 3, \"machine\": 7}", 27);
    assert_int_equal(hone_eval_compare(a_path, b_path, &changes, &err), HONE_ERR_FORMAT);
    assert_null(changes);
    assert_non_null(strstr(err.message, "b.json: machine: expected an object"));
    assert_int_equal(hone_eval_compare(b_path, a_path, &changes, &err), HONE_ERR_FORMAT);
    assert_int_equal(hone_eval_compare(a_path, "/nonexistent/r.json", &changes, &err), HONE_ERR_IO);
    assert_non_null(strstr(err.message, "/nonexistent/r.json"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_twice_is_no_difference, setup, teardown),
        cmocka_unit_test_setup_teardown(intervals_that_are_apart_are_differences, setup, teardown),
        cmocka_unit_test_setup_teardown(other_machines_and_builds_are_said_first, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_is_ascii_and_nothing_steers_the_terminal, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(json_has_the_figures, setup, teardown),
        cmocka_unit_test_setup_teardown(malformed_files_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
