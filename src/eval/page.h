/* eval/page: an offline page from a template, a JSON value, a stylesheet and scripts. Layer eval, over base alone.
 *
 * In the template {{data}} stands where the JSON goes, inside <script type="application/json">...</script>,
 * {{style}} inside <style>...</style>, {{helpers}} (page/helpers.js) and {{charts}} (Chart.js) inside
 * <script>...</script>, and {{date}}, which a template may do without, inside an attribute. Whatever the value's
 * strings hold, the page's own markup stays as the template has it. */
#ifndef HONE_EVAL_PAGE_H
#define HONE_EVAL_PAGE_H

#include "base/json.h"

/* The files of src/eval/page, and Chart.js, as they were when the library was built: "" where Chart.js was not. */
extern const char hone_page_file_evaluation[], hone_page_file_style[], hone_page_file_helpers[],
    hone_page_file_charts[];

typedef struct hone_page_parts {
    const char *page; /* the template */
    const char *style, *helpers, *charts;
    char date[24]; /* "2026-05-31 10:15 UTC", or empty when the clock is out of order */
} hone_page_parts;

/* The page of an evaluation, written now; another page takes its own template and the rest from here. */
hone_page_parts hone_page_evaluation(void);

/* Appends the page to *out. Each mark must be in the template once, {{date}} at most once, in any order;
 * HONE_ERR_FORMAT when it is not. */
hone_status hone_page_format(const hone_page_parts *parts, const json_t *data, hone_buf *out,
                             hone_error *err);

/* Writes the page atomically. */
hone_status hone_page_write(const char *path, const hone_page_parts *parts, const json_t *data,
                            hone_error *err);

#endif
