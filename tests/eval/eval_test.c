/* tests/eval/eval: which models an evaluation lists, and the options that it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "eval/report.h"

static char folder[] = "/tmp/hone-eval-XXXXXX";
static const char *const entries[] = {"run1/model.gguf", "run2/model.gguf", "link.gguf", "run1",
                                      "run2"};
enum { FILES = 2, FOLDERS = 3, ENTRIES = sizeof entries / sizeof entries[0] };

static void path_of(const char *name, char out[64]) { snprintf(out, 64, "%s/%s", folder, name); }

static int setup(void **state) {
    (void)state;
    char path[64], first[64];
    if (!mkdtemp(folder)) return 1;
    for (int i = FOLDERS; i < ENTRIES; i++) {
        path_of(entries[i], path);
        if (mkdir(path, 0700) != 0) return 1;
    }
    for (int i = 0; i < FILES; i++) {
        path_of(entries[i], path);
        FILE *file = fopen(path, "w");
        if (!file || fputs("no model", file) < 0 || fclose(file) != 0) return 1;
    }
    path_of(entries[0], first);
    path_of("link.gguf", path);
    return symlink(first, path);
}

static int teardown(void **state) {
    (void)state;
    char path[64];
    for (int i = 0; i < ENTRIES; i++) {
        path_of(entries[i], path);
        remove(path);
    }
    return rmdir(folder);
}

static hone_eval_report *list(const char *const *models, size_t count) {
    hone_eval_report *report = NULL;
    hone_error err;
    hone_eval_options o = {.macro = true,
                           .models = models,
                           .model_count = count,
                           .data = folder,
                           .worker = "/nonexistent/hone"};
    if (hone_eval(&o, &report, &err) != HONE_OK) fail_msg("%s", err.message);
    return report;
}

/* No file here is a model, so each that is listed gives one row that says so. */
static void repeated_models_are_listed_once(void **state) {
    (void)state;
    char a[64], b[64], link[64], detour[64];
    path_of("run1/model.gguf", a);
    path_of("run2/model.gguf", b);
    path_of("link.gguf", link);
    path_of("run2/../run1/model.gguf", detour);
    const char *models[] = {a, b, a, link, detour, "qwen3", "Qwen3-0.6B"};
    setenv("HONE_HOME", "/nonexistent", 1);
    setenv("HF_HUB_CACHE", "/nonexistent", 1);
    hone_eval_report *report = list(models, 7);
    assert_int_equal(report->macro_count, 3);
    assert_int_equal(hone_eval_report_score(report).models_listed, 3);
    for (size_t i = 0; i < 3; i++) assert_int_equal(report->macro[i].model_index, i);
    assert_string_equal(report->macro[0].path, a);
    assert_string_equal(report->macro[1].path, b);
    assert_string_equal(report->macro[0].model, "model");
    assert_string_equal(report->macro[1].model, b); /* the name alone is taken */
    assert_string_equal(report->macro[2].model, "mlx-community/Qwen3-0.6B-bf16");
    hone_eval_report_free(&report);
}

/* Nothing is left out in silence: what would not be counted is not begun. */
static void too_many_pairs_are_refused(void **state) {
    (void)state;
    hone_eval_report *report = NULL;
    hone_error err;
    hone_eval_options o = {.macro = true, .data = folder, .worker = "/nonexistent/hone"};
    o.steps = HONE_EVAL_MAX_PAIRS + 1;
    assert_int_equal(hone_eval(&o, &report, &err), HONE_ERR_USAGE);
    assert_null(report);
    assert_non_null(strstr(err.message, "the number of steps is 1025; expected 0 to 1024"));
    o.steps = 0;
    o.trials = HONE_EVAL_MAX_PAIRS + 1;
    assert_int_equal(hone_eval(&o, &report, &err), HONE_ERR_USAGE);
    assert_non_null(strstr(err.message, "trials is 1025; expected 5 to 1024"));
}

/* 1001 steps count, after two to warm up: 500 slow ones, then 501 fast ones. */
static void every_step_counts(void **state) {
    (void)state;
    hone_eval_report *report = NULL;
    hone_macro_row *row;
    enum { STEPS = 1003 };
    assert_int_equal(hone_report_make(&report, NULL), HONE_OK);
    assert_int_equal(hone_report_add_macro(report, 0, "m", "/m", &row, NULL), HONE_OK);
    hone_training *mine = &row->side[HONE_SIDE_CANDIDATE], *naive = &row->side[HONE_SIDE_NAIVE];
    assert_int_equal(hone_training_reserve(mine, HONE_EVAL_MAX_PAIRS + 1, NULL), HONE_ERR_USAGE);
    assert_int_equal(hone_training_reserve(mine, STEPS, NULL), HONE_OK);
    assert_int_equal(hone_training_reserve(naive, STEPS, NULL), HONE_OK);
    row->steps = mine->steps = naive->steps = STEPS;
    row->skipped = 2;
    for (int i = 0; i < STEPS; i++) {
        mine->seconds[i] = i < 502 ? 2 : 1;
        naive->seconds[i] = 3;
    }
    hone_macro_row_finish(row, 10, 1);
    assert_true(row->over_naive.ratio == 3); /* the 501 last of 1001 took 1 s each */
    hone_eval_report_free(&report);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeated_models_are_listed_once),
        cmocka_unit_test(too_many_pairs_are_refused),
        cmocka_unit_test(every_step_counts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
