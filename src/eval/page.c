/* eval/page: see page.h. */
#include "eval/page.h"

#include "base/file.h"

#include <string.h>
#include <strings.h>

static const size_t template_limit = 1 << 20, script_limit = 8 << 20, page_limit = 64 << 20;

/* JSON has "<" inside strings alone, where \u003c means the same and is no markup. */
static hone_status append_data(const json_t *data, hone_buf *out, hone_error *err) {
    hone_buf text = hone_buf_make(page_limit);
    hone_status status = hone_json_format(data, 0, &text, err);
    for (const char *from = text.data; status == HONE_OK && from && *from;) {
        size_t run = strcspn(from, "<");
        status = hone_buf_append(out, from, run, err);
        from += run;
        if (status != HONE_OK || *from != '<') continue;
        status = hone_buf_append_str(out, "\\u003c", err);
        from++;
    }
    hone_buf_free(&text);
    return status;
}

/* A script is ours or a library's, and may name the end of its own element in a string: "<\/script" is the same. */
static hone_status append_script(const char *script, hone_buf *out, hone_error *err) {
    for (const char *from = script; *from;) {
        const char *end = strchr(from, '<');
        size_t run = end ? (size_t)(end - from) : strlen(from);
        HONE_TRY(hone_buf_append(out, from, run, err));
        from += run;
        if (!end) break;
        bool closes = strncasecmp(from, "</script", 8) == 0;
        bool comments = strncmp(from, "<!--", 4) == 0;
        HONE_TRY(hone_buf_append_str(out, closes || comments ? "<\\" : "<", err));
        from++;
    }
    return HONE_OK;
}

static hone_status find_mark(const char *text, const char *mark, const char **out,
                             hone_error *err) {
    *out = strstr(text, mark);
    if (*out && !strstr(*out + 1, mark)) return HONE_OK;
    return hone_fail(err, HONE_ERR_FORMAT, "the page's template: expected one %s, found %s", mark,
                     *out ? "more" : "none");
}

hone_status hone_page_format(const char *page_template, const json_t *data, const char *script,
                             hone_buf *out, hone_error *err) {
    static const char *const marks[2] = {"{{data}}", "{{script}}"};
    const char *at[2];
    for (int i = 0; i < 2; i++) HONE_TRY(find_mark(page_template, marks[i], &at[i], err));
    const char *from = page_template;
    for (int i = 0; i < 2; i++) {
        int mark = (at[0] < at[1]) == (i == 0) ? 0 : 1;
        HONE_TRY(hone_buf_append(out, from, (size_t)(at[mark] - from), err));
        HONE_TRY(mark == 0 ? append_data(data, out, err) : append_script(script, out, err));
        from = at[mark] + strlen(marks[mark]);
    }
    return hone_buf_append_str(out, from, err);
}

hone_status hone_page_write(const char *path, const char *template_path, const json_t *data,
                            const char *script_path, hone_error *err) {
    hone_buf page_template = {0}, script = {0}, page = hone_buf_make(page_limit);
    hone_status status;
    HONE_TRY_GOTO(status, done, hone_file_read(template_path, template_limit, &page_template, err));
    HONE_TRY_GOTO(status, done, hone_file_read(script_path, script_limit, &script, err));
    HONE_TRY_GOTO(status, done,
                  hone_page_format(page_template.data, data, script.data, &page, err));
    status = hone_file_write_atomic(path, page.data, page.size, err);
done:
    hone_buf_free(&page_template);
    hone_buf_free(&script);
    hone_buf_free(&page);
    return status;
}
