/* bench/page: the report as a page with charts. */
#include "bench.h"

#include "base/file.h"
#include "eval/page.h"

/* Where Debian's libjs-chart.js, of several versions, has it. */
static const char *const scripts[] = {"/usr/share/javascript/chart.js/chart.min.js",
                                      "/usr/share/javascript/chart.js/chart.umd.js"};

hone_status bench_write_page(const char *path, const json_t *report, hone_error *err) {
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
        if (hone_file_exists(scripts[i]))
            return hone_page_write(path, BENCH_PAGE, report, scripts[i], err);
    return hone_fail(err, HONE_ERR_IO, "Chart.js is not here: install libjs-chart.js");
}
