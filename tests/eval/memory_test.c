/* tests of eval's reports: every allocation fails in turn, once and from then on. No crash, no leak, no file that is
 * whole but for what there was no memory for. */
#include "fault.h"

#include <math.h>

#include "eval/compare.h"
#include "example.h"

#ifndef FAULT_POSSIBLE

int main(void) { return without_faults(); }

#else

static hone_eval_report *report;
static json_t *whole, *changes;

static int setup(void **state) {
    (void)state;
    hone_error err;
    assert_int_equal(hone_report_make(&report, NULL), HONE_OK);
    report->machine = (hone_machine_info){
        .version = "0.1.0", .compiler = "gcc", .cpu = "a CPU", .tier = "AVX2", .threads = 2};
    add_everything(report);
    report->micro_count = 2;
    assert_ok(hone_report_json(report, &whole, &err), err);
    assert_ok(hone_compare_reports(whole, "a", whole, "b", &changes, &err), err);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    json_decref(whole);
    json_decref(changes);
    hone_eval_report_free(&report);
    return 0;
}

static hone_status make_json(const char *path, hone_error *err) {
    (void)path;
    json_t *value;
    HONE_TRY(hone_report_json(report, &value, err));
    bool same = json_equal(value, whole);
    json_decref(value);
    return same ? HONE_OK : hone_fail(err, HONE_ERR_FORMAT, "a part of the report is missing");
}

static void json_is_whole_or_none(void **state) {
    (void)state;
    fail_in_turn(make_json, NULL, 500);
}

static hone_status compare(const char *path, hone_error *err) {
    (void)path;
    json_t *value;
    HONE_TRY(hone_compare_reports(whole, "a", whole, "b", &value, err));
    bool same = json_equal(value, changes);
    json_decref(value);
    return same ? HONE_OK : hone_fail(err, HONE_ERR_FORMAT, "a part of the comparison is missing");
}

static void comparison_is_whole_or_none(void **state) {
    (void)state;
    fail_in_turn(compare, NULL, 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_whole_or_none),
        cmocka_unit_test(comparison_is_whole_or_none),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

#endif
