/* tests of train/rows: which lines are rows, and what is said of lines that are none. */
#define _GNU_SOURCE 1
#include "help.h"

#include "train/rows.h"

static void blank_lines_marks_and_carriage_returns_are_no_rows(void **state) {
    (void)state;
    static const char text[] = "\xef\xbb\xbf{\"text\": \"a\"}\r\n\n \t\r\n{\"prompt\": \"p\", "
                               "\"completion\": \"c\", \"text\": \"t\"}\n"
                               "{\"messages\": [{\"role\": \"user\", \"content\": \"u\"}]}";
    const hone_row_kind want[] = {HONE_ROW_TEXT, HONE_ROW_COMPLETION, HONE_ROW_MESSAGES};
    hone_error err;
    hone_rows rows;
    folder f;
    make_folder(&f);
    assert_ok(hone_rows_open(&rows, put(&f, "train.jsonl", text), &err), err);
    assert_int_equal(rows.count, 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *row;
        hone_row_kind kind;
        assert_ok(hone_rows_read(&rows, i, &row, &kind, &err), err);
        assert_int_equal(kind, want[i]);
        json_decref(row);
    }
    hone_rows_close(&rows);
    remove_folder(&f);
}

static void faulty_rows_are_named_by_file_and_line(void **state) {
    (void)state;
    const struct {
        const char *line, *sentence;
    } cases[] = {
        {"{\"text\": \"a\"", "line 3, column "},
        {"{\"text\": \"a\"} x", "line 3, column "},
        {"{\"text\": \"\xff\"}", "line 3, column "},
        {"{\"text\": \"a\", \"text\": \"b\"}", "line 3, column "},
        {"[1, 2]", "expected a JSON object"},
        {"\"text\"", "expected a JSON object"},
        {"null", "expected a JSON object"},
        {"{}", "neither"},
        {"{\"question\": \"a\", \"answer\": \"b\"}", "neither"},
        {"{\"prompt\": \"a\"}", "neither"},
        {"{\"text\": 7}", "\"text\" is to be a string"},
        {"{\"text\": [\"a\"]}", "\"text\" is to be a string"},
        {"{\"prompt\": \"a\", \"completion\": null}", "\"completion\" is to be a string"},
        {"{\"prompt\": {}, \"completion\": \"b\"}", "\"prompt\" is to be a string"},
        {"{\"messages\": []}", "\"messages\" is to be a list"},
        {"{\"messages\": \"hi\"}", "\"messages\" is to be a list"},
        {"{\"messages\": [\"hi\"]}", "message 1 has no \"role\""},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": 1, \"content\": "
         "\"b\"}]}",
         "message 2 has no \"role\""},
        {"{\"messages\": [{\"role\": \"user\"}]}", "message 1 has no \"content\""},
        {"{\"messages\": [{\"role\": \"user\", \"content\": 5}]}", "message 1 has no \"content\""},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": 1}",
         "\"tools\" is to be a list"},
    };
    folder f;
    make_folder(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hone_error err;
        hone_rows rows;
        hone_row_kind kind;
        json_t *row;
        char *text;
        assert_true(asprintf(&text, "{\"text\": \"good\"}\n\n%s\n{\"text\": \"good\"}\n",
                             cases[i].line) > 0);
        assert_ok(hone_rows_open(&rows, put(&f, "data.jsonl", text), &err), err);
        free(text);
        assert_int_equal(hone_rows_read(&rows, 1, &row, &kind, &err), HONE_ERR_FORMAT);
        assert_null(row);
        if (!strstr(err.message, cases[i].sentence) || !strstr(err.message, "data.jsonl: line 3"))
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].sentence);
        assert_ok(hone_rows_read(&rows, 2, &row, &kind, &err), err);
        json_decref(row);
        hone_rows_close(&rows);
    }
    remove_folder(&f);
}

static void files_without_rows_are_refused(void **state) {
    (void)state;
    hone_error err;
    hone_rows rows;
    folder f;
    make_folder(&f);
    assert_int_equal(hone_rows_open(&rows, put(&f, "a", ""), &err), HONE_ERR_FORMAT);
    assert_int_equal(hone_rows_open(&rows, put(&f, "a", "\n \n\r\n"), &err), HONE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "no rows"));
    assert_int_equal(hone_rows_open(&rows, in(&f, "missing"), &err), HONE_ERR_IO);
    assert_int_equal(hone_rows_open(&rows, f.path, &err), HONE_ERR_IO);
    char *line = malloc(HONE_ROW_LIMIT + 3);
    memset(line, 'x', HONE_ROW_LIMIT + 1);
    strcpy(line + HONE_ROW_LIMIT + 1, "\n");
    assert_int_equal(hone_rows_open(&rows, put(&f, "a", line), &err), HONE_ERR_LIMIT);
    assert_non_null(strstr(err.message, "line 1"));
    free(line);
    remove_folder(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blank_lines_marks_and_carriage_returns_are_no_rows),
        cmocka_unit_test(faulty_rows_are_named_by_file_and_line),
        cmocka_unit_test(files_without_rows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
