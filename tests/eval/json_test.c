/* tests/eval/json: a report as JSON: its members, its documentation, and files that are no reports. */
#include "temp.h"

#include <math.h>

#include "base/file.h"
#include "eval/schema.h"
#include "eval/score.h"
#include "example.h"

static hone_eval_report *report;
static temp_folder folder;
static char *path;

static int setup(void **state) {
    (void)state;
    folder = temp_make();
    path = temp_path(&folder, "report.json");
    if (hone_report_make(&report, NULL) != HONE_OK) return 1;
    report->machine = (hone_machine_info){.version = "0.1.0",
                                          .compiler = "gcc",
                                          .cpu = "a CPU",
                                          .tier = "AVX-512 BF16",
                                          .threads = 2};
    return 0;
}

static int teardown(void **state) {
    (void)state;
    hone_eval_report_free(&report);
    temp_remove(&folder);
    free(path);
    return 0;
}

static json_t *write_and_read(void) {
    json_t *value = NULL;
    hone_error err;
    assert_ok(hone_eval_report_write_json(report, path, &err), err);
    assert_ok(hone_report_read_json(path, &value, &err), err);
    return value;
}

static double figure(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static const json_t *member(const json_t *object, const char *first, const char *second) {
    return json_object_get(json_object_get(object, first), second);
}

static const json_t *row_of(const json_t *root, const char *rows, size_t index) {
    return json_array_get(json_object_get(root, rows), index);
}

/* ---- what is written is what the schema has, and what the document has ---- */

static bool in_schema(const hone_schema *schema, const char *key, size_t length) {
    for (size_t i = 0; i < schema->count; i++)
        if (strlen(schema->members[i].key) == length &&
            strncmp(schema->members[i].key, key, length) == 0)
            return true;
    return false;
}

/* The reader has seen that nothing is missing: here nothing may be more. */
static void assert_no_more(const json_t *object, const hone_schema *schema) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        if (!in_schema(schema, key, strlen(key)))
            fail_msg("\"%s\" of a %s is in no schema", key, schema->name);
    }
    for (size_t i = 0; i < schema->count; i++) {
        const hone_schema_member *m = &schema->members[i];
        value = json_object_get(object, m->key);
        if (m->of && json_is_object(value)) assert_no_more(value, m->of);
        for (size_t k = 0; m->of && k < json_array_size(value); k++)
            assert_no_more(json_array_get(value, k), m->of);
    }
}

static void report_has_the_schema_and_no_more(void **state) {
    (void)state;
    add_everything(report);
    json_t *root = write_and_read();
    assert_no_more(root, &hone_schema_report);
    assert_int_equal(json_array_size(json_object_get(root, "micro")), 12);
    assert_int_equal(json_array_size(json_object_get(root, "macro")), 3);
    assert_int_equal(json_array_size(json_object_get(row_of(root, "macro", 0), "peers")), 2);
    assert_int_equal(json_array_size(json_object_get(row_of(root, "macro", 0), "curves")), 2);
    json_decref(root);
}

/* The table's first cells: `a`, `b`. It ends with the first line that is no row. */
static void assert_documented(const char *docs, const hone_schema *schema) {
    char header[128];
    snprintf(header, sizeof header, "\n| %s | |\n|---|---|\n", schema->name);
    const char *at = strstr(docs, header);
    if (!at) fail_msg("docs/evaluation.md has no table \"| %s | |\"", schema->name);
    const char *line = at + strlen(header), *table = line;
    size_t found = 0;
    for (; *line == '|'; line = strchr(line, '\n') + 1) {
        const char *cell_end = strchr(line + 1, '|');
        for (const char *from = line; (from = strchr(from, '`')) && from < cell_end;) {
            const char *to = strchr(from + 1, '`');
            if (!in_schema(schema, from + 1, (size_t)(to - from - 1)))
                fail_msg("docs/evaluation.md: a %s has no %.*s", schema->name, (int)(to - from + 1),
                         from);
            found++;
            from = to + 1;
        }
    }
    if (found == schema->count) return;
    for (size_t i = 0; i < schema->count; i++) {
        char quoted[64];
        snprintf(quoted, sizeof quoted, "`%s`", schema->members[i].key);
        const char *there = strstr(table, quoted);
        if (!there || there > line)
            fail_msg("docs/evaluation.md does not have %s of a %s", quoted, schema->name);
    }
    fail_msg("docs/evaluation.md has a member of a %s twice", schema->name);
}

static void document_all(const char *docs, const hone_schema *schema) {
    assert_documented(docs, schema);
    for (size_t i = 0; i < schema->count; i++)
        if (schema->members[i].of) document_all(docs, schema->members[i].of);
}

static void document_has_the_schema_and_no_more(void **state) {
    (void)state;
    hone_buf text;
    hone_error err;
    assert_ok(hone_file_read(HONE_SOURCE_DIR "/docs/evaluation.md", 1 << 20, &text, &err), err);
    document_all(text.data, &hone_schema_report);
    document_all(text.data, &hone_schema_comparison);
    hone_buf_free(&text);
}

/* ---- figures ---- */

static void figures_of_kernels(void **state) {
    (void)state;
    add_everything(report);
    json_t *root = write_and_read();
    const json_t *row = row_of(root, "micro", 9);
    assert_string_equal(json_string_value(json_object_get(row, "kernel")), "lora_linear");
    assert_string_equal(json_string_value(json_object_get(row, "pass")), "backward");
    assert_string_equal(json_string_value(json_object_get(row, "weights")), "q4_1");
    assert_true(json_is_true(json_object_get(row, "correct")));
    const json_t *mine = member(row, "sides", "candidate"), *naive = member(row, "sides", "naive");
    assert_true(fabs(figure(mine, "ms") - 2.1) < 1e-9);
    assert_true(fabs(figure(mine, "gflops") - 2) < 1e-9);
    assert_true(fabs(figure(naive, "gb_per_sec") - 1) < 1e-9);
    assert_true(fabs(figure(member(row, "sides", "shipped"), "bytes") - 510) < 1e-9);
    assert_true(json_is_true(member(row, "over_naive", "shown")));
    assert_true(json_is_false(member(row, "over_shipped", "shown")));
    assert_true(figure(json_object_get(row, "over_shipped"), "p") == 0.3);
    const json_t *candidate = json_object_get(root, "candidate");
    assert_int_equal(json_array_size(json_object_get(candidate, "kernels")), 5);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(candidate, "inherited"), 0)),
        "rope_embeddings");
    const json_t *noise = json_object_get(root, "noise");
    assert_true(fabs(figure(noise, "call_ns") - 41) < 1e-9);
    assert_true(fabs(figure(noise, "peak_f32_gflops") - 200) < 1e-9);
    assert_true(json_is_null(json_object_get(noise, "peak_bf16_gflops")));
    json_decref(root);
}

static void figures_of_models(void **state) {
    (void)state;
    add_everything(report);
    json_t *root = write_and_read();
    const json_t *row = row_of(root, "macro", 1), *mine = member(row, "sides", "candidate");
    assert_string_equal(json_string_value(json_object_get(row, "precision")), "bfloat16");
    assert_string_equal(json_string_value(json_object_get(row, "status")), "tested");
    assert_true(json_is_null(json_object_get(row, "reason")));
    assert_int_equal(json_array_size(json_object_get(mine, "losses")), 8);
    assert_true(figure(mine, "peak_rss") == 310 << 20);
    assert_true(figure(json_object_get(mine, "memory"), "weights") == 3 << 20);
    assert_true(figure(member(mine, "calls", "lora_linear"), "backward") == 240);
    const json_t *curve = row_of(row, "curves", 1);
    assert_int_equal(json_array_size(json_object_get(curve, "shipped")), 120);
    assert_true(fabs(figure(row, "curve_diff_max") - 0.0005) < 1e-9);
    assert_true(fabs(figure(row, "seed_spread") - 0.05) < 1e-9);
    const json_t *unreadable = member(row, "sabotage", "rms_norm");
    assert_true(json_is_null(json_object_get(unreadable, "change"))); /* NaN */
    assert_true(json_is_true(json_object_get(unreadable, "noticed")));
    assert_string_equal(json_string_value(json_object_get(row_of(row, "peers", 1), "problem")),
                        "exit status 127");
    row = row_of(root, "macro", 2);
    assert_string_equal(json_string_value(json_object_get(row, "status")), "not tested");
    assert_string_equal(json_string_value(json_object_get(row, "reason")), "not on this machine");
    assert_true(json_is_null(member(row, "over_naive", "ratio")));
    assert_true(json_is_null(member(row, "sides", "shipped")));
    double overall = hone_eval_report_score(report).overall;
    assert_true(fabs(figure(json_object_get(root, "score"), "overall") - overall) < 1e-12);
    json_decref(root);
}

static void foreign_bytes_and_untested_rows(void **state) {
    (void)state;
    hone_macro_row *row;
    hone_micro_row *micro;
    assert_int_equal(hone_report_add_macro(report, 0, "caf\xe9", "/m/caf\xe9", &row, NULL),
                     HONE_OK);
    assert_int_equal(hone_report_add_micro(report, &micro, NULL), HONE_OK);
    json_t *root = write_and_read();
    const json_t *object = row_of(root, "macro", 0);
    assert_string_equal(json_string_value(json_object_get(object, "model")), "caf?");
    assert_true(json_is_null(json_object_get(row_of(root, "micro", 0), "correct")));
    assert_true(json_is_null(member(root, "score", "overall")));
    json_decref(root);
}

static void unwritable_file_is_an_error(void **state) {
    (void)state;
    hone_error err;
    assert_int_equal(hone_eval_report_write_json(report, "/nonexistent/dir/r.json", &err),
                     HONE_ERR_IO);
    assert_non_null(strstr(err.message, "/nonexistent/dir/r.json"));
}

/* ---- files that are no reports ---- */

static void assert_refused(const char *text, size_t size, const char *what) {
    json_t *value = NULL;
    hone_error err = {0};
    temp_write(path, text, size);
    if (hone_report_read_json(path, &value, &err) == HONE_OK) fail_msg("%s was accepted", what);
    assert_null(value);
    if (!strstr(err.message, path)) fail_msg("%s: no file in \"%s\"", what, err.message);
}

static void truncated_files_are_refused(void **state) {
    (void)state;
    add_everything(report);
    hone_buf text = hone_buf_make(1 << 22);
    hone_error err;
    json_t *root = write_and_read();
    assert_ok(hone_json_format(root, 0, &text, &err), err);
    for (size_t size = 0; size < text.size; size += 1 + size / 16)
        assert_refused(text.data, size, "a piece");
    assert_refused(text.data, text.size - 1, "all but a byte");
    hone_buf_free(&text);
    json_decref(root);
}

static void other_files_are_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        "[]",
                                        "7",
                                        "{}",
                                        "{\"schema\": 1}",
                                        "{\"schema\": 3}",
                                        "{\"schema\": \"3\"}",
                                        "{\"schema\": 3}",
                                        "{\"schema\": 3, \"schema\": 3}",
                                        "{\"event\": \"step\"}\n{\"event\": \"step\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_refused(texts[i], strlen(texts[i]), texts[i]);
}

static json_t *whole;
static size_t replaced;

static void assert_whole_refused(const char *what) {
    char *text = json_dumps(whole, JSON_COMPACT);
    assert_non_null(text);
    assert_refused(text, strlen(text), what);
    free(text);
    replaced++;
}

/* No member may be an empty object. Of long arrays some items stand for all. */
static void replace_each(json_t *value) {
    const char *key;
    json_t *item;
    void *next;
    json_object_foreach_safe(value, next, key, item) {
        json_incref(item);
        json_object_set_new(value, key, json_object());
        assert_whole_refused(key);
        json_object_set(value, key, item);
        replace_each(item);
        json_decref(item);
    }
    for (size_t i = 0; i < json_array_size(value); i += 1 + json_array_size(value) / 2) {
        item = json_incref(json_array_get(value, i));
        json_array_set_new(value, i, json_object());
        assert_whole_refused("an item");
        json_array_set(value, i, item);
        replace_each(item);
        json_decref(item);
    }
}

static void wrong_types_are_refused_wherever_they_are(void **state) {
    (void)state;
    hone_error err;
    add_kernels(report, 1, 1);
    report->micro_count = 1;
    add_whole_model(report, 0, "m");
    hone_report_not_tested(report, "%s", "x");
    assert_ok(hone_report_json(report, &whole, &err), err);
    replace_each(whole);
    assert_true(replaced > 300);
    json_t *row = json_array_get(json_object_get(whole, "macro"), 0);
    json_object_set_new(row, "steps", json_integer(-1));
    assert_whole_refused("a negative count");
    assert_int_equal(hone_report_read_json(path, &row, &err), HONE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "macro[0].steps: expected a whole number from 0"));
    json_decref(whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(report_has_the_schema_and_no_more, setup, teardown),
        cmocka_unit_test(document_has_the_schema_and_no_more),
        cmocka_unit_test_setup_teardown(figures_of_kernels, setup, teardown),
        cmocka_unit_test_setup_teardown(figures_of_models, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_bytes_and_untested_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(unwritable_file_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(truncated_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(other_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_types_are_refused_wherever_they_are, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
