/* tests of base/json: positions, limits, numbers, look-ups. */
#include "base/json.h"

#include "temp.h"

static json_t *parse(const char *text) {
    hone_error err = {0};
    json_t *value = NULL;
    assert_ok(hone_json_parse(text, strlen(text), "t.json", &value, &err), err);
    return value;
}

static void expect_failure(const char *text, size_t size, hone_status status, const char *start) {
    hone_error err = {0};
    json_t *value = NULL;
    assert_int_equal(hone_json_parse(text, size, "t.json", &value, &err), status);
    assert_null(value);
    if (strncmp(err.message, start, strlen(start)) != 0)
        fail_msg("\"%s\" does not start with \"%s\"", err.message, start);
}

static void messages_say_line_and_column(void **state) {
    (void)state;
    static const struct {
        const char *text, *start;
    } rows[] = {
        {"{\"a\": 1,\n  ]}", "t.json: line 2, column 3: string or '}' expected near ']'"},
        {"", "t.json: line 1, column 1: "},
        {"{\"a\":1,\"a\":2}", "t.json: line 1, column 10: duplicate object key"},
        {"[1,2] x", "t.json: line 1, column 7: end of file expected"},
        {"[1,\n\n", "t.json: line 3, column 1: ']' expected near end of file"},
        {"{\"\xc3\xa9\": tru}", "t.json: line 1, column 9: invalid token"},
        {"\"a\xff\"", "t.json: line 1, column 2: unable to decode byte 0xff"},
        {"\"\\u0000\"", "t.json: line 1, column 8: a NUL character in a string is not supported"},
        {"1e999", "t.json: line 1, column 5: real number overflow"},
        {"[NaN]", "t.json: line 1, column "},
        {"{'a': 1}", "t.json: line 1, column 2: "},
        {"\"abc", "t.json: line 1, column 4: premature end of input"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_failure(rows[i].text, strlen(rows[i].text), HONE_ERR_FORMAT, rows[i].start);
}

static void deep_nesting_is_an_error_and_quick(void **state) {
    (void)state;
    enum { DEPTH = 100000 };
    char *text = malloc(6 * DEPTH);
    double begin = cpu_seconds();
    memset(text, '[', DEPTH);
    expect_failure(text, DEPTH, HONE_ERR_LIMIT,
                   "t.json: line 1, column 2049: maximum parsing depth");
    for (int i = 0; i < DEPTH; i++) memcpy(text + 5 * i, "{\"a\":", 5);
    expect_failure(text, 5 * DEPTH, HONE_ERR_LIMIT, "t.json: line 1, column ");
    assert_true(cpu_seconds() - begin < 1);
    free(text);
}

static void integers_beyond_64_bits_become_reals(void **state) {
    (void)state;
    json_t *v = parse(
        "{\"model_max_length\": 1000000000000000019884624838656, \"t\": "
        "\"99999999999999999999\\\"1\","
        " \"n\": [-9223372036854775809, 9223372036854775807, 1.5, 12345678901234567890123e-3]}");
    assert_true(json_is_real(json_object_get(v, "model_max_length")));
    assert_true(json_real_value(json_object_get(v, "model_max_length")) == 1e30);
    assert_string_equal(json_string_value(json_object_get(v, "t")), "99999999999999999999\"1");
    const json_t *n = json_object_get(v, "n");
    assert_true(json_real_value(json_array_get(n, 0)) == -9223372036854775808.0);
    assert_true(json_is_integer(json_array_get(n, 1)));
    assert_true(json_integer_value(json_array_get(n, 1)) == INT64_MAX);
    assert_true(json_real_value(json_array_get(n, 3)) == 12345678901234567890.123);
    json_decref(v);
}

static void lookups_check_type_and_range(void **state) {
    (void)state;
    hone_error err = {0};
    json_t *v =
        parse("{\"i\": 7, \"r\": 0.5, \"b\": true, \"s\": \"x\", \"null\": null, \"list\": []}");
    int64_t i;
    double r;
    bool b;
    const char *s;
    assert_ok(hone_json_get_int(v, "i", "c", 0, 7, 1, &i, &err), err);
    assert_int_equal(i, 7);
    assert_ok(hone_json_get_int(v, "none", "c", 0, 7, -1, &i, &err), err);
    assert_int_equal(i, -1);
    assert_ok(hone_json_get_int(v, "null", "c", 0, 7, 3, &i, &err), err);
    assert_int_equal(i, 3);
    assert_ok(hone_json_get_number(v, "r", "c", 0, &r, &err), err);
    assert_true(r == 0.5);
    assert_ok(hone_json_get_number(v, "i", "c", 0, &r, &err), err);
    assert_true(r == 7);
    assert_ok(hone_json_get_bool(v, "b", "c", false, &b, &err), err);
    assert_true(b);
    assert_ok(hone_json_get_string(v, "s", "c", "", &s, &err), err);
    assert_string_equal(s, "x");
    assert_int_equal(hone_json_get_int(v, "i", "config.json", 0, 6, 1, &i, &err), HONE_ERR_FORMAT);
    assert_string_equal(err.message, "config.json: \"i\" is 7; expected an integer from 0 to 6");
    assert_int_equal(hone_json_get_int(v, "r", "config.json", 0, 6, 1, &i, &err), HONE_ERR_FORMAT);
    assert_string_equal(err.message, "config.json: \"r\" is a number; expected an integer");
    assert_int_equal(hone_json_get_number(v, "s", "c", 0, &r, &err), HONE_ERR_FORMAT);
    assert_int_equal(hone_json_get_bool(v, "i", "c", 0, &b, &err), HONE_ERR_FORMAT);
    assert_int_equal(hone_json_get_string(v, "list", "c", "", &s, &err), HONE_ERR_FORMAT);
    assert_string_equal(err.message, "c: \"list\" is an array; expected a string");
    json_decref(v);
}

static void text_reads_back_as_the_same_value(void **state) {
    (void)state;
    static const char text[] =
        "{\n  \"z\": [\n    1,\n    0.1,\n    1e-05,\n    100000.0,\n    -0.0,\n"
        "    0.30000000000000004,\n    1e+22\n  ],\n  \"a\": {},\n  \"e\\\"\": [],\n"
        "  \"s\": \"é\\n\",\n  \"n\": null\n}";
    hone_error err = {0};
    json_t *v = parse(text);
    hone_buf b = hone_buf_make(SIZE_MAX);
    assert_ok(hone_json_format(v, 2, &b, &err), err);
    assert_string_equal(b.data, text);
    b.size = 0;
    assert_ok(hone_json_format(v, 0, &b, &err), err);
    assert_null(strchr(b.data, '\n'));
    json_t *again = parse(b.data);
    assert_true(json_equal(v, again));
    json_decref(again);
    json_decref(v);
    hone_buf_free(&b);
}

static void files_are_written_and_read(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path = temp_path(&t, "x.json");
    hone_error err = {0};
    json_t *v = parse("{\"a\": [1, 2.5]}"), *back;
    assert_ok(hone_json_write(path, v, &err), err);
    assert_ok(hone_json_read(path, 1000, &back, &err), err);
    assert_true(json_equal(v, back));
    json_decref(back);
    assert_int_equal(hone_json_read(path, 5, &back, &err), HONE_ERR_LIMIT);
    assert_non_null(strstr(err.message, "x.json"));
    temp_write(path, "{\n\"a\" 1}", 8);
    assert_int_equal(hone_json_read(path, 1000, &back, &err), HONE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "x.json: line 2, column 5: "));
    assert_null(back);
    json_decref(v);
    free(path);
    temp_remove(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_say_line_and_column),
        cmocka_unit_test(deep_nesting_is_an_error_and_quick),
        cmocka_unit_test(integers_beyond_64_bits_become_reals),
        cmocka_unit_test(lookups_check_type_and_range),
        cmocka_unit_test(text_reads_back_as_the_same_value),
        cmocka_unit_test(files_are_written_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
