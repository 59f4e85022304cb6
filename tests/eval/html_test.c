/* tests/eval/html: the report's page in a browser without a window: every chart is drawn, nothing fails, text that
 * looks like markup stays text. Needs chromium; without it these tests are skipped by name. */
#include "temp.h"

#include <math.h>
#include <sys/wait.h>

#include "base/file.h"
#include "eval/page.h"
#include "example.h"

static const char *const browsers[] = {"chromium", "chromium-browser", "google-chrome"};
static const char *browser;
static temp_folder folder;
static char *page;
static int runs;

/* Watches from before the first script: what goes wrong becomes an attribute of the document's element. */
static const char watch[] =
    "<script>var wrong = 0; addEventListener('error', function (e) { wrong++;"
    " document.documentElement.setAttribute('data-error', String(e.message || e.target.src)); }, "
    "true);"
    "</script>";

/* Looks at each canvas when all is done: has it pixels of more than one colour? And does all lie inside the window,
 * but for tables that scroll? */
static const char probe[] =
    "<script>addEventListener('load', function () { setTimeout(function () {"
    " var all = document.querySelectorAll('canvas'), drawn = 0;"
    " all.forEach(function (canvas) {"
    "  var data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data, "
    "colours = {};"
    "  for (var i = 0; i < data.length; i += 4) if (data[i + 3] > 200)"
    "   colours[data[i] + ',' + data[i + 1] + ',' + data[i + 2]] = 1;"
    "  if (Object.keys(colours).length > 3) drawn++; });"
    " var root = document.documentElement, wide = root.scrollWidth > root.clientWidth;"
    " document.querySelectorAll('body *').forEach(function (e) { wide = wide ||"
    "  !e.closest('.scroll > *') && e.getBoundingClientRect().right > root.clientWidth + 0.5 ||"
    "  e.id === 'facts' && e.scrollWidth > e.parentElement.clientWidth; });"
    " var found = all.length + ' canvases, ' + drawn + ' drawn, ' + wrong + ' errors' +"
    "  (wide ? ', too wide' : '');"
    " root.setAttribute('data-found', found); parent.postMessage(innerWidth + ' wide: ' + found, "
    "'*');"
    " }, 500); });</script>";

/* A window has its least width; a frame in it has not. It tells the window around it what its probe found. */
static const char frame[] =
    "<body><iframe src=\"%s\" style=\"border: 0; width: %dpx; height: 800px\"></iframe><script>"
    "addEventListener('message', function (e) {"
    " document.documentElement.setAttribute('data-found', e.data); });</script></body>";

static int setup_all(void **state) {
    (void)state;
    char command[64];
    for (size_t i = 0; i < sizeof browsers / sizeof browsers[0] && !browser; i++) {
        snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", browsers[i]);
        if (system(command) == 0) browser = browsers[i];
    }
    folder = temp_make();
    page = temp_path(&folder, "page.html");
    return 0;
}

static int teardown_all(void **state) {
    (void)state;
    free(page);
    temp_remove(&folder);
    return 0;
}

/* The page of the report with both scripts in it. */
static void write_page(const hone_eval_report *report) {
    hone_buf text, out = hone_buf_make(1 << 22);
    hone_error err;
    assert_ok(hone_eval_report_write_html(report, page, &err), err);
    assert_ok(hone_file_read(page, 1 << 22, &text, &err), err);
    char *head = strstr(text.data, "<head>"), *end = strstr(text.data, "</body>");
    assert_true(head && end && !strstr(end + 1, "</body>"));
    head += strlen("<head>");
    assert_ok(hone_buf_append(&out, text.data, (size_t)(head - text.data), &err), err);
    assert_ok(hone_buf_append_str(&out, watch, &err), err);
    assert_ok(hone_buf_append(&out, head, (size_t)(end - head), &err), err);
    assert_ok(hone_buf_append_str(&out, probe, &err), err);
    assert_ok(hone_buf_append_str(&out, end, &err), err);
    temp_write(page, out.data, out.size);
    hone_buf_free(&out);
    hone_buf_free(&text);
}

/* Runs the browser on a file, each time as if it were the first; its standard output, which the caller frees. */
static char *browse_file(const char *path, const char *what) {
    enum { LIMIT = 1 << 24 };
    char command[2048];
    snprintf(command, sizeof command,
             "timeout 120 %s --headless --no-sandbox --disable-gpu --hide-scrollbars "
             "--disable-dev-shm-usage "
             "--host-resolver-rules='MAP * ~NOTFOUND' --virtual-time-budget=5000 "
             "--user-data-dir=%s/profile%d %s "
             "file://%s 2>/dev/null",
             browser, folder.path, ++runs, what, path);
    FILE *out = popen(command, "r");
    char *text = malloc(LIMIT);
    assert_true(out && text);
    size_t size = fread(text, 1, LIMIT - 1, out);
    text[size] = 0;
    int how = pclose(out);
    if (!WIFEXITED(how) || WEXITSTATUS(how) != 0) fail_msg("%s failed: %d", browser, how);
    return text;
}

static char *browse(const char *what) { return browse_file(page, what); }

/* What the probe found, e.g. "10 canvases, 10 drawn, 0 errors". */
static void assert_found(const char *dom, const char *want) {
    const char *at = strstr(dom, "data-found=\"");
    if (!at) fail_msg("the page's scripts did not run to their end");
    at += strlen("data-found=\"");
    const char *error = strstr(dom, "data-error=\"");
    if (strncmp(at, want, strlen(want)) != 0 || at[strlen(want)] != '"')
        fail_msg("expected %s, found %.60s; %.200s", want, at, error ? error : "");
}

static hone_eval_report *make_report(void) {
    hone_eval_report *report = NULL;
    assert_int_equal(hone_report_make(&report, NULL), HONE_OK);
    report->machine = (hone_machine_info){
        .version = "0.1.0", .compiler = "gcc", .cpu = "a CPU", .tier = "AVX2", .threads = 2};
    return report;
}

static void skip_without(bool charts) {
    if (!browser) {
        print_message("no chromium, chromium-browser or google-chrome here\n");
        skip();
    }
    if (charts && !hone_page_evaluation().charts[0]) {
        print_message("built without Chart.js (libjs-chart.js)\n");
        skip();
    }
}

/* Kernels and roofline; for each of two rows losses, curves, memory and step times. */
static void every_chart_is_drawn(void **state) {
    (void)state;
    skip_without(true);
    hone_eval_report *report = make_report();
    add_everything(report);
    write_page(report);
    static const char *const widths[] = {"--window-size=1200,900 --dump-dom",
                                         "--window-size=500,800 --dump-dom",
                                         "--window-size=800,800 --force-dark-mode --dump-dom"};
    for (size_t i = 0; i < 3; i++) {
        char *dom = browse(widths[i]);
        assert_found(dom, "10 canvases, 10 drawn, 0 errors");
        free(dom);
    }
    hone_eval_report_free(&report);
}

/* On a phone, with the longest of what stands in a table of its own. */
static void page_fits_a_phone(void **state) {
    (void)state;
    skip_without(true);
    hone_eval_report *report = make_report();
    char text[1024], *path = temp_path(&folder, "frame.html");
    add_everything(report);
    free(report->data);
    report->data = strdup("/home/somebody/a/folder_with_a_name_that_nobody_would_call_short/data");
    write_page(report);
    snprintf(text, sizeof text, frame, "page.html", 400);
    temp_write(path, text, strlen(text));
    char *dom = browse_file(path, "--window-size=1200,900 --dump-dom");
    assert_found(dom, "400 wide: 10 canvases, 10 drawn, 0 errors");
    free(dom);
    free(path);
    hone_eval_report_free(&report);
}

/* Who, where and when; what "valid" stands on; the time that it took; which kernel is which. */
static void page_explains_itself(void **state) {
    (void)state;
    skip_without(false);
    hone_eval_report *report = make_report();
    add_everything(report);
    report->machine.vectors = "avx512";
    report->machine.gemm_f32 = "avx2";
    report->seconds = 340;
    report->noise.same.interval.high = 1.3;
    write_page(report);
    char *dom = browse("--dump-dom");
    const char *date = strstr(dom, "<meta name=\"date\" content=\"20");
    assert_non_null(date);
    char title[128];
    snprintf(title, sizeof title, "<title>hone eval: kernels.c, a CPU, %.10s</title>",
             strchr(strstr(date, "content="), '"') + 1);
    assert_non_null(strstr(dom, title));
    assert_non_null(strstr(dom, ">Valid: no kernel was found wrong, each that was made wrong on "
                                "purpose changed the loss, and the file compiled"));
    assert_non_null(strstr(dom, "It took 340 s, longer than its budget of 300 s."));
    assert_non_null(strstr(dom, ">busy machine<"));
    assert_non_null(strstr(dom, ">vectors: avx512, matrix products in float32: avx2<"));
    assert_non_null(strstr(dom, "<li>org/absent: not on this machine</li>"));
    free(dom);
    report->seconds = 299;
    report->noise.same.interval.high = 1.2;
    report->micro[3].correct = false;
    report->macro[0].sabotage[4].change = 0;
    write_page(report);
    dom = browse("--dump-dom");
    assert_non_null(
        strstr(dom, ">Invalid, so that the overall score is 0: rope_embeddings backward was wrong; "
                    "lora_linear in SmolLM2-135M-Instruct 4-bit, made wrong on purpose, "
                    "did not change the loss.<"));
    assert_null(strstr(dom, "It took 299"));
    assert_null(strstr(dom, ">busy machine<"));
    assert_non_null(strstr(dom, ">299 s of 300 s<"));
    free(dom);
    hone_eval_report_free(&report);
}

static void picture_and_print_are_made(void **state) {
    (void)state;
    skip_without(true);
    static const char *const kinds[][3] = {{"--screenshot=", "page.png", "\x89PNG"},
                                           {"--print-to-pdf=", "page.pdf", "%PDF"}};
    hone_eval_report *report = make_report();
    add_everything(report);
    write_page(report);
    for (size_t i = 0; i < 2; i++) {
        char what[600], *path = temp_path(&folder, kinds[i][1]);
        hone_buf file;
        hone_error err;
        snprintf(what, sizeof what, "--window-size=1200,4200 %s%s", kinds[i][0], path);
        free(browse(what));
        assert_ok(hone_file_read(path, 1 << 26, &file, &err), err);
        assert_memory_equal(file.data, kinds[i][2], 4);
        assert_true(file.size > 40000); /* white paper is a tenth of that */
        hone_buf_free(&file);
        free(path);
    }
    hone_eval_report_free(&report);
}

/* Nothing measured: no chart, no error, and the list of what was not tested. */
static void page_of_nothing_has_no_errors(void **state) {
    (void)state;
    skip_without(false);
    hone_eval_report *report = make_report();
    report->macro_wanted = true;
    report->interrupted = true;
    hone_macro_row *row;
    assert_int_equal(hone_report_add_macro(report, 0, "org/absent", NULL, &row, NULL), HONE_OK);
    snprintf(row->reason, sizeof row->reason, "not on this machine");
    write_page(report);
    char *dom = browse("--dump-dom");
    assert_found(dom, "0 canvases, 0 drawn, 0 errors");
    assert_non_null(strstr(dom, "<li>org/absent: not on this machine</li>"));
    free(dom);
    hone_eval_report_free(&report);
}

static void page_without_charts_has_its_tables(void **state) {
    (void)state;
    skip_without(false);
    hone_eval_report *report = make_report();
    hone_page_parts parts = hone_page_evaluation();
    hone_error err;
    json_t *value;
    add_everything(report);
    parts.charts = "";
    assert_ok(hone_report_json(report, &value, &err), err);
    assert_ok(hone_page_write(page, &parts, value, &err), err);
    char *dom = browse("--dump-dom");
    assert_non_null(
        strstr(dom, "no charts: hone was built without Chart.js (libjs-chart.js)</span>"));
    assert_null(strstr(dom, "<canvas"));
    assert_non_null(strstr(dom, "<summary>kernels: 12 rows</summary>"));
    free(dom);
    json_decref(value);
    hone_eval_report_free(&report);
}

static void hostile_text_stays_text(void **state) {
    (void)state;
    skip_without(false);
    static const char hostile[] =
        "</script><script>wrong = 99</script><img src=x onerror=wrong++>\"'&amp;<!--";
    hone_eval_report *report = make_report();
    add_everything(report);
    free(report->macro[0].model);
    report->macro[0].model = strdup(hostile);
    snprintf(report->candidate.name, sizeof report->candidate.name, "%s", hostile);
    snprintf(report->micro[3].shape, sizeof report->micro[3].shape, "%s", hostile);
    snprintf(report->macro[1].peers[1].problem, 256, "%s", hostile);
    hone_report_not_tested(report, "%s", hostile);
    write_page(report);
    char *dom = browse("--dump-dom");
    const char *found = strstr(dom, "data-found=\"");
    assert_true(found && strstr(found, " drawn, 0 errors"));
    assert_null(strstr(dom, "<img"));
    /* As a list item: its own characters, as the browser writes them out. */
    assert_non_null(
        strstr(dom, "<li>&lt;/script&gt;&lt;script&gt;wrong = 99&lt;/script&gt;&lt;img src=x "
                    "onerror=wrong++&gt;\"'&amp;amp;&lt;!--</li>"));
    free(dom);
    hone_eval_report_free(&report);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chart_is_drawn),
        cmocka_unit_test(page_fits_a_phone),
        cmocka_unit_test(page_explains_itself),
        cmocka_unit_test(picture_and_print_are_made),
        cmocka_unit_test(page_of_nothing_has_no_errors),
        cmocka_unit_test(page_without_charts_has_its_tables),
        cmocka_unit_test(hostile_text_stays_text),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
