/* eval/page: an offline page from a template, a JSON value and a script. Layer eval, over base alone.
 *
 * In the template, {{data}} stands where the JSON goes, inside <script type="application/json">...</script>, and
 * {{script}} where the script goes, inside <script>...</script>. Whatever the value's strings hold, the page's own
 * markup stays as the template has it. */
#ifndef HONE_EVAL_PAGE_H
#define HONE_EVAL_PAGE_H

#include "base/json.h"

/* Appends the page to *out. Either mark must be there once, the script's before or after the data's; HONE_ERR_FORMAT
 * when it is not. */
hone_status hone_page_format(const char *page_template, const json_t *data, const char *script,
                             hone_buf *out, hone_error *err);

/* Reads the template and the script from files and writes the page atomically. */
hone_status hone_page_write(const char *path, const char *template_path, const json_t *data,
                            const char *script_path, hone_error *err);

#endif
