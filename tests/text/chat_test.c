/* tests of text/chat: templates against what Jinja2 renders (tests/golden/jinja-cases.json), the
 * chats of the real model, generation ranges. */
#include "help.h"

#include "text/chat.h"

typedef struct rendered {
    hone_status status;
    hone_buf text;
    hone_chat_span *spans;
    size_t span_count;
    hone_error err;
} rendered;

static rendered render(const char *source, size_t size, const json_t *variables) {
    rendered r = {.text = hone_buf_make(SIZE_MAX)};
    hone_chat_template *chat;
    r.status = hone_chat_template_parse(source, size, "a template", &chat, &r.err);
    if (r.status != HONE_OK) {
        assert_null(chat);
        return r;
    }
    r.status = hone_chat_template_render(chat, variables, &r.text, &r.spans, &r.span_count, &r.err);
    hone_chat_template_free(&chat);
    assert_null(chat);
    return r;
}

static void rendered_free(rendered *r) {
    hone_buf_free(&r->text);
    free(r->spans);
}

static void assert_spans(const rendered *r, const json_t *wanted, const char *source) {
    if (r->span_count != json_array_size(wanted)) {
        fail_msg("%s: %zu ranges, expected %zu", source, r->span_count, json_array_size(wanted));
    }
    for (size_t i = 0; i < r->span_count; i++) {
        const json_t *range = json_array_get(wanted, i);
        assert_int_equal(r->spans[i].begin, json_integer_value(json_array_get(range, 0)));
        assert_int_equal(r->spans[i].end, json_integer_value(json_array_get(range, 1)));
    }
}

/* One case: its text and ranges, or an error with a message. */
static void check(const char *source, size_t size, const json_t *variables, const json_t *wanted) {
    rendered r = render(source, size, variables);
    const json_t *text = json_object_get(wanted, "text");
    if (text == NULL) {
        if (r.status == HONE_OK) {
            fail_msg("%s\nexpected %s\ngot      %s", source,
                     json_string_value(json_object_get(wanted, "error")), r.text.data);
        }
        assert_true(strstr(r.err.message, "a template") == r.err.message);
        assert_non_null(strstr(r.err.message, "line "));
        assert_int_equal(r.text.size, 0);
        assert_null(r.spans);
    } else {
        if (r.status != HONE_OK) fail_msg("%s\n%s", source, r.err.message);
        bool same =
            r.text.size == json_string_length(text) &&
            (r.text.size == 0 || memcmp(r.text.data, json_string_value(text), r.text.size) == 0);
        if (!same) {
            fail_msg("%s\nexpected \"%s\"\ngot      \"%s\"", source, json_string_value(text),
                     r.text.data == NULL ? "" : r.text.data);
        }
        assert_spans(&r, json_object_get(wanted, "spans"), source);
    }
    rendered_free(&r);
}

/* All cases of one group. */
static void snippets(void **state) {
    json_t *golden = golden_json("jinja-cases.json");
    const json_t *cases = json_object_get(golden, "cases");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        if (strcmp(json_string_value(json_object_get(c, "group")), *state) != 0) continue;
        const json_t *source = json_object_get(c, "template");
        check(json_string_value(source), json_string_length(source),
              json_object_get(golden, "variables"), c);
        count++;
    }
    assert_true(count >= 9);
    json_decref(golden);
}

static void families(void **state) {
    json_t *golden = golden_json("jinja-cases.json");
    const json_t *source =
        json_object_get(json_object_get(golden, "chat_templates"), (const char *)*state);
    const json_t *cases = json_object_get(golden, "chats");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        if (strcmp(json_string_value(json_object_get(c, "template")), *state) != 0) continue;
        check(json_string_value(source), json_string_length(source),
              json_object_get(c, "variables"), c);
        count++;
    }
    assert_true(count >= 10);
    json_decref(golden);
}

static void check_chat(const hone_chat_template *chat, json_t *messages, bool prompt,
                       const json_t *wanted) {
    hone_error err;
    hone_buf text = hone_buf_make(SIZE_MAX);
    json_t *variables =
        json_pack("{s:O,s:b}", "messages", messages, "add_generation_prompt", prompt);
    assert_ok(hone_chat_template_render(chat, variables, &text, NULL, NULL, &err), err);
    assert_string_equal(text.data, json_string_value(wanted));
    json_decref(variables);
    hone_buf_free(&text);
}

static void real_model(void **state) {
    (void)state;
    char *path = real_model_path();
    if (path == NULL) skip();
    hone_tokenizer *t = open_gguf(path);
    json_t *golden = golden_json("smollm2-tokens.json");
    const json_t *chats = json_object_get(golden, "chats");
    assert_int_equal(json_array_size(chats), 12);
    hone_error err;
    hone_chat_template *chat;
    const char *source = hone_tokenizer_chat_template(t);
    assert_ok(hone_chat_template_parse(source, strlen(source), "chat_template", &chat, &err), err);
    for (size_t i = 0; i < json_array_size(chats); i++) {
        const json_t *c = json_array_get(chats, i);
        json_t *messages = json_object_get(c, "messages");
        check_chat(chat, messages, false, json_object_get(c, "text"));
        json_t *without_last = json_copy(messages);
        json_array_remove(without_last, json_array_size(without_last) - 1);
        check_chat(chat, without_last, true, json_object_get(c, "text_generation_prompt"));
        json_decref(without_last);
    }
    hone_chat_template_free(&chat);
    json_decref(golden);
    hone_tokenizer_free(&t);
    free(path);
}

/* Text is appended; ranges count from where it began, in bytes. */
static void appended(void **state) {
    (void)state;
    static const char source[] = "\xc3\xa9{% generation %}ab{% endgeneration %}!";
    hone_error err;
    hone_chat_template *chat;
    hone_chat_span *spans;
    size_t count;
    hone_buf text = hone_buf_make(100);
    json_t *variables = json_object();
    assert_ok(hone_buf_append_str(&text, "before ", &err), err);
    assert_ok(hone_chat_template_parse(source, sizeof source - 1, "t", &chat, &err), err);
    assert_ok(hone_chat_template_render(chat, variables, &text, &spans, &count, &err), err);
    assert_string_equal(text.data, "before \xc3\xa9"
                                   "ab!");
    assert_int_equal(count, 1);
    assert_int_equal(spans[0].begin, 2);
    assert_int_equal(spans[0].end, 4);
    free(spans);
    /* A second time from the same template, into a buffer that is too small: nothing is left. */
    text.limit = text.size + 2;
    assert_int_equal(hone_chat_template_render(chat, variables, &text, &spans, &count, &err),
                     HONE_ERR_LIMIT);
    assert_string_equal(text.data, "before \xc3\xa9"
                                   "ab!");
    assert_null(spans);
    assert_int_equal(count, 0);
    json_decref(variables);
    hone_chat_template_free(&chat);
    hone_buf_free(&text);
}

/* Positions in messages: the line of the source, also behind \r\n and comments. */
static void positions(void **state) {
    (void)state;
    static const struct {
        const char *source, *part;
    } cases[] = {
        {"a\n\n {% if %}", "a template: line 3, column 8: expected an expression"},
        {"{#\n\n#}\n{{ 1 + }}", "a template: line 4, column 8: expected an expression"},
        {"\r\n\r\n{{ x.y }}", "a template, line 3: 'x' is undefined"},
        {"{% for i in [1] %}\n{{\n1 / 0 }}{% endfor %}", "a template, line 3: division by zero"},
        {"{% macro m() %}\n{{ none.x.y }}{% endmacro %}\n\n{{ m() }}",
         "a template, line 2: 'NoneType object' has no attribute 'x'"},
        {"\n{{ raise_exception('only user') }}",
         "a template, line 2: the template refuses the messages: only user"},
        {"{% if 1 %}", "expected endif, found the end of the template"},
        {"{% include 'a' %}", "line 1: the statement \"include\" is not supported"},
        {"{{ 'a'|b }}", "line 1: the filter 'b' is not supported"},
        {"{{ 1 is b }}", "line 1: the test 'b' is not supported"},
        {"\xff", "not UTF-8"},
    };
    json_t *variables = json_object();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rendered r = render(cases[i].source, strlen(cases[i].source), variables);
        assert_int_not_equal(r.status, HONE_OK);
        assert_int_equal(r.err.status, r.status);
        if (strstr(r.err.message, cases[i].part) == NULL) {
            fail_msg("no \"%s\" in: %s", cases[i].part, r.err.message);
        }
        rendered_free(&r);
    }
    json_decref(variables);
}

static void variables_that_are_none(void **state) {
    (void)state;
    json_t *list = json_array();
    rendered r = render("a", 1, list);
    assert_int_equal(r.status, HONE_ERR_USAGE);
    json_decref(list);
    rendered_free(&r);
}

/* strftime_now against the C library's own clock (the day may turn in between: then it is tried
 * again). */
static void today(void **state) {
    (void)state;
    json_t *variables = json_object();
    for (int attempt = 0; attempt < 2; attempt++) {
        char before[64], after[64];
        time_t now = time(NULL);
        strftime(before, sizeof before, "%d %b %Y", localtime(&now));
        rendered r = render("{{ strftime_now('%d %b %Y') }}", 31, variables);
        now = time(NULL);
        strftime(after, sizeof after, "%d %b %Y", localtime(&now));
        assert_int_equal(r.status, HONE_OK);
        bool same = strcmp(r.text.data, before) == 0;
        if (strcmp(before, after) == 0) assert_true(same);
        rendered_free(&r);
        if (same) break;
    }
    json_decref(variables);
}

#define CASE(run, what)                                                                            \
    (struct CMUnitTest) { .name = what, .test_func = run, .initial_state = (void *)what }
#define GROUP(what) CASE(snippets, what)
#define FAMILY(what) CASE(families, what)

int main(void) {
    const struct CMUnitTest tests[] = {
        GROUP("for"),
        GROUP("if"),
        GROUP("set"),
        GROUP("macro"),
        GROUP("filters"),
        GROUP("tests"),
        GROUP("strings"),
        GROUP("dicts"),
        GROUP("math"),
        GROUP("whitespace"),
        GROUP("misc"),
        FAMILY("llama3-style"),
        FAMILY("qwen-style"),
        FAMILY("phi-style"),
        FAMILY("tinyllama-style"),
        FAMILY("mistral-style"),
        FAMILY("gemma-style"),
        cmocka_unit_test(real_model),
        cmocka_unit_test(appended),
        cmocka_unit_test(positions),
        cmocka_unit_test(variables_that_are_none),
        cmocka_unit_test(today),
    };
    return cmocka_run_group_tests_name("text/chat", tests, NULL, NULL);
}
