/* bench/page: the report as a page with charts. */
#include "bench.h"

#include "base/file.h"
#include "eval/page.h"

hone_status bench_write_page(const char *path, const json_t *report, hone_error *err) {
    enum { LIMIT = 1 << 20 };
    hone_buf shape = {0};
    hone_page_parts parts = hone_page_evaluation();
    if (!parts.charts[0])
        return hone_fail(
            err, HONE_ERR_IO,
            "Chart.js was not here at build time: install libjs-chart.js, build again");
    hone_status status = hone_file_read(BENCH_PAGE, LIMIT, &shape, err);
    parts.page = shape.data;
    if (status == HONE_OK) status = hone_page_write(path, &parts, report, err);
    hone_buf_free(&shape);
    return status;
}
