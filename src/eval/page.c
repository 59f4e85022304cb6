/* eval/page: see page.h. */
#include "eval/page.h"

#include "base/file.h"

#include <string.h>
#include <strings.h>
#include <time.h>

static const size_t page_limit = 128 << 20;

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

hone_page_parts hone_page_evaluation(void) {
    hone_page_parts parts = {.page = hone_page_file_evaluation,
                             .style = hone_page_file_style,
                             .helpers = hone_page_file_helpers,
                             .charts = hone_page_file_charts};
    time_t now = time(NULL);
    struct tm utc;
    if (!gmtime_r(&now, &utc) ||
        !strftime(parts.date, sizeof parts.date, "%Y-%m-%d %H:%M UTC", &utc))
        parts.date[0] = 0;
    return parts;
}

enum { DATA, STYLE, HELPERS, CHARTS, DATE, MARKS };
static const char *const marks[MARKS] = {"{{data}}", "{{style}}", "{{helpers}}", "{{charts}}",
                                         "{{date}}"};

static hone_status check_marks(const char *page, hone_error *err) {
    for (int i = 0; i < MARKS; i++) {
        const char *at = strstr(page, marks[i]);
        if (i == DATE && !at) continue;
        if (!at || strstr(at + 1, marks[i]))
            return hone_fail(err, HONE_ERR_FORMAT, "the page's template: expected one %s, found %s",
                             marks[i], at ? "more" : "none");
    }
    return HONE_OK;
}

/* The mark that stands first in `text`; MARKS when there is none. */
static int next_mark(const char *text, const char **at) {
    int next = MARKS;
    *at = NULL;
    for (int i = 0; i < MARKS; i++) {
        const char *found = strstr(text, marks[i]);
        if (!found || (*at && *at < found)) continue;
        *at = found;
        next = i;
    }
    return next;
}

static hone_status append_part(int mark, const hone_page_parts *parts, const json_t *data,
                               hone_buf *out, hone_error *err) {
    switch (mark) {
    case DATA:
        return append_data(data, out, err);
    case STYLE:
        return hone_buf_append_str(out, parts->style, err);
    case HELPERS:
        return append_script(parts->helpers, out, err);
    case DATE:
        return hone_buf_append_str(out, parts->date, err);
    default:
        return append_script(parts->charts, out, err);
    }
}

hone_status hone_page_format(const hone_page_parts *parts, const json_t *data, hone_buf *out,
                             hone_error *err) {
    const char *from = parts->page, *at;
    HONE_TRY(check_marks(from, err));
    for (int mark; (mark = next_mark(from, &at)) != MARKS;) {
        HONE_TRY(hone_buf_append(out, from, (size_t)(at - from), err));
        HONE_TRY(append_part(mark, parts, data, out, err));
        from = at + strlen(marks[mark]);
    }
    return hone_buf_append_str(out, from, err);
}

hone_status hone_page_write(const char *path, const hone_page_parts *parts, const json_t *data,
                            hone_error *err) {
    hone_buf page = hone_buf_make(page_limit);
    hone_status status = hone_page_format(parts, data, &page, err);
    if (status == HONE_OK) status = hone_file_write_atomic(path, page.data, page.size, err);
    hone_buf_free(&page);
    return status;
}
