/* tests/eval/page: what a page says is what it was given, and nothing given can end its elements. */
#include "eval/page.h"

#include "base/file.h"
#include "temp.h"

static const char page_template[] =
    "<style>{{style}}</style><script>{{charts}}</script><script>{{helpers}}</script>"
    "<script type=\"application/json\">{{data}}</script></body>";

/* The page of this value and helping script, or NULL; the caller frees. */
static char *format(const char *shape, const json_t *data, const char *script, hone_error *err) {
    hone_buf out = hone_buf_make(1 << 20);
    hone_page_parts parts = {shape, "p{}", script, "chart", "2026-05-31"};
    if (hone_page_format(&parts, data, &out, err) == HONE_OK) return out.data;
    hone_buf_free(&out);
    return NULL;
}

static int count(const char *text, const char *word) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += strlen(word)) n++;
    return n;
}

static void marks_give_way(void **state) {
    (void)state;
    hone_error err;
    json_t *data = json_pack("{s:i, s:s}", "a", 1, "b", "two");
    char *page = format(page_template, data, "run();", &err);
    assert_non_null(page);
    assert_string_equal(page, "<style>p{}</style><script>chart</script><script>run();</script>"
                              "<script type=\"application/json\">"
                              "{\"a\": 1, \"b\": \"two\"}</script></body>");
    free(page);
    page = format("{{data}} then {{helpers}}!{{charts}}{{style}}{{date}}", data, "x", &err);
    assert_non_null(page);
    assert_string_equal(page, "{\"a\": 1, \"b\": \"two\"} then x!chartp{}2026-05-31");
    free(page);
    json_decref(data);
}

static void data_cannot_leave_its_element(void **state) {
    (void)state;
    const char *hostile =
        "</script><script>alert(1)</script><!-- \xe2\x80\xa8 {{helpers}} {{data}}";
    hone_error err;
    json_t *data = json_pack("[s, {s:i}]", hostile, hostile, 1), *back;
    char *page = format(page_template, data, "run();", &err);
    assert_non_null(page);
    assert_int_equal(count(page, "</script"), 3);
    assert_int_equal(count(page, "<script"), 3);
    assert_int_equal(count(page, "<!--"), 0);
    assert_int_equal(count(page, "run();"), 1); /* a mark inside the data is text */
    char *begin = strstr(page, "json\">") + 6, *end = strstr(begin, "</script>");
    assert_ok(hone_json_parse(begin, (size_t)(end - begin), "page", &back, &err), err);
    assert_true(json_equal(back, data));
    json_decref(back);
    json_decref(data);
    free(page);
}

static void script_cannot_leave_its_element(void **state) {
    (void)state;
    hone_error err;
    json_t *data = json_array();
    char *page = format(page_template, data, "a = '</SCRIPT>' + '<!--' + (b<c) + '</b>';", &err);
    assert_non_null(page);
    assert_non_null(strstr(page, "a = '<\\/SCRIPT>' + '<\\!--' + (b<c) + '</b>';"));
    free(page);
    json_decref(data);
}

static void template_needs_each_mark_once(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"", "{{data}}"},
        {"{{data}}{{style}}{{charts}}", "{{helpers}}"},
        {"{{data}}{{helpers}}{{charts}}", "{{style}}"},
        {"{{data}}{{helpers}}{{style}}", "{{charts}}"},
        {"{{data}}{{helpers}}{{style}}{{charts}}{{data}}", "{{data}}"},
        {"{{date}}{{data}}{{helpers}}{{style}}{{charts}}{{date}}", "{{date}}"}};
    json_t *data = json_array();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hone_error err = {0};
        assert_null(format(bad[i][0], data, "x", &err));
        assert_int_equal(err.status, HONE_ERR_FORMAT);
        assert_non_null(strstr(err.message, bad[i][1]));
    }
    json_decref(data);
}

static void page_is_a_file(void **state) {
    (void)state;
    hone_error err;
    temp_folder folder = temp_make();
    char *path = temp_path(&folder, "page.html");
    json_t *data = json_pack("[i]", 7);
    hone_page_parts parts = {.page = page_template, .style = "", .helpers = "go()", .charts = ""};
    assert_int_equal(hone_page_write("/nonexistent/page.html", &parts, data, &err), HONE_ERR_IO);
    assert_ok(hone_page_write(path, &parts, data, &err), err);
    hone_buf page;
    assert_ok(hone_file_read(path, 1 << 16, &page, &err), err);
    assert_non_null(strstr(page.data, "<script>go()</script>"));
    assert_non_null(strstr(page.data, ">[7]</script>"));
    hone_buf_free(&page);
    json_decref(data);
    free(path);
    temp_remove(&folder);
}

/* What the build took along is whole, and names nothing that a browser would fetch. */
static void own_files_are_whole(void **state) {
    (void)state;
    static const char *const names[] = {"evaluation.html", "style.css", "helpers.js"};
    hone_page_parts parts = hone_page_evaluation();
    const char *const held[] = {parts.page, parts.style, parts.helpers};
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        hone_buf file;
        hone_error err;
        snprintf(path, sizeof path, "%s/src/eval/page/%s", HONE_SOURCE_DIR, names[i]);
        assert_ok(hone_file_read(path, 1 << 20, &file, &err), err);
        assert_string_equal(held[i], file.data);
        assert_int_equal(
            count(held[i], "http:") + count(held[i], "https:") + count(held[i], "url("), 0);
        assert_int_equal(count(held[i], "innerHTML") + count(held[i], "eval("), 0);
        hone_buf_free(&file);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_give_way),
        cmocka_unit_test(data_cannot_leave_its_element),
        cmocka_unit_test(script_cannot_leave_its_element),
        cmocka_unit_test(template_needs_each_mark_once),
        cmocka_unit_test(page_is_a_file),
        cmocka_unit_test(own_files_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
