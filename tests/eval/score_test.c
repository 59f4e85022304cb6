/* tests/eval/score: scores and verdicts against figures computed by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "eval/score.h"
#include "example.h"

#define NEAR(got, want) assert_true(fabs((got) - (want)) <= 1e-12)

static void micro_formula(void **state) {
    (void)state;
    NEAR(hone_score_micro(1, 1.2), 1.0);
    NEAR(hone_score_micro(1, 0.6), 0.8);
    NEAR(hone_score_micro(5 / 6.0, 1.8), 0.5 + 0.6);
    NEAR(hone_score_micro(1, 2.4), 1.4);
    NEAR(hone_score_micro(1, 50), 1.4); /* capped */
}

static void macro_formula(void **state) {
    (void)state;
    /* 0.4*1 + 0.2/1.1 + 0.3*1 + 0.1*0.6 */
    NEAR(hone_score_macro(1.2, 1, 0, 0.7), 0.4 + 0.2 / 1.1 + 0.3 + 0.06);
    NEAR(hone_score_macro(2.4, 1.1, 0.05, 0.5), 0.8 + 0.2 + 0.15 + 0.1);
    NEAR(hone_score_macro(99, 99, 0, 0.01), 0.8 + 0.4 + 0.3 + 0.1); /* capped */
    NEAR(hone_score_macro(0.6, 1.1, 0.2, 1.5), 0.2 + 0.2);          /* no credit below zero */
}

static void kernels_weigh_the_same(void **state) {
    (void)state;
    hone_eval_report *r = NULL;
    hone_micro_row *row;
    assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
    add_kernels(r, 1, 4); /* 2.1 ms each, of 2.1 and 8.4: 2.5 for each kernel */
    for (int i = 0; i < 20; i++) {
        /* more rows of one kernel with the same mean change nothing */
        assert_int_equal(hone_report_add_micro(r, &row, NULL), HONE_OK);
        *row = r->micro[0];
        row->over_naive.ratio = 2.5;
    }
    hone_eval_score s = hone_eval_report_score(r);
    assert_true(s.valid);
    NEAR(s.kernel_speedup, 2.5);
    NEAR(s.micro, 0.6 + 0.4 * 2);
    assert_true(isnan(s.macro) && isnan(s.overall) && isnan(s.training_speedup));
    hone_kernel_summary k = hone_summarize_kernel(r, 1, HONE_PASS_BACKWARD);
    NEAR(k.speedup, 4);
    NEAR(k.memory_ratio, 0.5);
    NEAR(k.naive_seconds, 0.0084);
    assert_int_equal(k.rows, 1);
    hone_eval_report_free(&r);
}

static void wrong_kernel_voids_the_run(void **state) {
    (void)state;
    hone_eval_report *r = NULL;
    assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
    add_kernels(r, 1.2, 1.2);
    add_model(r, 0, "a", 1.2, 0, 70, 100);
    assert_true(hone_eval_report_score(r).overall > 0.9);
    r->micro[5].correct = false; /* swiglu, backward */
    hone_eval_score s = hone_eval_report_score(r);
    assert_false(s.valid);
    NEAR(s.micro, 0.6 * 5 / 6 + 0.4);
    assert_true(s.macro > 0.9);
    NEAR(s.overall, 0);
    assert_ptr_equal(hone_summarize_kernel(r, 2, HONE_PASS_BOTH).wrong, &r->micro[5]);
    hone_eval_report_free(&r);
}

static void part_of_the_kernels_has_no_score(void **state) {
    (void)state;
    hone_eval_report *r = NULL;
    assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
    add_kernels(r, 2, 2);
    r->micro[11].tested = false;
    hone_eval_score s = hone_eval_report_score(r);
    assert_true(s.valid && isnan(s.micro) && isnan(s.kernel_speedup));
    r->micro[0].correct = false;
    s = hone_eval_report_score(r);
    assert_false(s.valid);
    NEAR(s.overall, 0);
    hone_eval_report_free(&r);
}

/* Losses 3 - 0.1 i, differences 0, 0, 0, 0, 0.5, 0, -0.02, 0.04: last quarter 0.03, largest 0.5. */
static void figures_of_a_model(void **state) {
    (void)state;
    hone_eval_report *r = NULL;
    assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
    hone_macro_row *row = add_model(r, 0, "a", 1.5, 0, 250, 1000);
    hone_training *mine = &row->side[HONE_SIDE_CANDIDATE];
    mine->losses[4] += 0.5;
    mine->losses[6] -= 0.02;
    mine->losses[7] += 0.04;
    mine->seconds[0] = 100; /* warming up is left out */
    mine->seconds[1] = 50;
    mine->seconds[5] = 2; /* and a median bears one outlier */
    hone_macro_row_finish(row, 1024, 1);
    NEAR(row->loss_diff, 0.03);
    NEAR(row->loss_diff_max, 0.5);
    NEAR(row->over_naive.ratio, 1.5);
    NEAR(row->memory_ratio, 0.25);
    NEAR(mine->tokens_per_sec, 1024);
    NEAR(row->side[HONE_SIDE_NAIVE].tokens_per_sec, 1024 / 1.5);
    NEAR(row->over_shipped.ratio, 1);
    NEAR(hone_eval_report_score(r).macro, 0.4 * 1.25 + 0.2 / 1.1 + 0.3 * 0.7 + 0.1);
    hone_eval_report_free(&r);
}

static void few_steps_count_the_last(void **state) {
    (void)state;
    hone_eval_report *r = NULL;
    assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
    hone_macro_row *row = add_model(r, 0, "a", 1, 0, 1, 1);
    hone_training *mine = &row->side[HONE_SIDE_CANDIDATE];
    row->skipped = 0;
    row->steps = 2;
    mine->losses[1] += 0.25;
    hone_macro_row_finish(row, 1024, 1);
    NEAR(row->loss_diff, 0.25);
    row->steps = 5; /* a quarter of 5, rounded up, is 2 */
    mine->losses[3] += 0.1;
    mine->losses[4] += 0.3;
    hone_macro_row_finish(row, 1024, 1);
    NEAR(row->loss_diff, 0.2);
    hone_eval_report_free(&r);
}

static void rows_are_averaged_before_models(void **state) {
    (void)state;
    hone_eval_report *r = NULL;
    hone_macro_row *absent;
    assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
    add_model(r, 0, "a", 1.2, 0, 50, 100);
    add_model(r, 0, "a", 2.4, 0.1, 100, 100);
    assert_string_equal(hone_consistency(r), "not measurable"); /* two precisions are one model */
    add_model(r, 1, "b", 1.2, 0, 50, 100);
    assert_int_equal(hone_report_add_macro(r, 2, "c", NULL, &absent, NULL), HONE_OK);
    double first = 0.4 + 0.2 / 1.1 + 0.3 + 0.1, second = 0.8 + 0.2 / 1.1 + 0 + 0;
    hone_macro_summary s = hone_summarize_macro(r);
    assert_int_equal(s.models, 2);
    assert_int_equal(s.rows, 3);
    NEAR(s.score, ((first + second) / 2 + first) / 2);
    NEAR(s.speedup, sqrt(sqrt(1.2 * 2.4) * 1.2));
    NEAR(s.memory_ratio, (0.75 + 0.5) / 2);
    NEAR(s.loss_diff, 0.025);
    NEAR(s.speedup_low, 1.2);
    NEAR(s.speedup_high, 2.4);
    assert_string_equal(hone_consistency(r), "Low"); /* 2.4 / 1.2, in one model */
    hone_eval_report_free(&r);
}

/* Rows of A, B, A again: two models, wherever the rows are and whatever the models are called. */
static void models_are_told_apart_by_index(void **state) {
    (void)state;
    static const char *const names[2][3] = {{"a", "b", "a"}, {"model", "model", "model"}};
    for (int i = 0; i < 2; i++) {
        hone_eval_report *r = NULL;
        assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
        add_model(r, 0, names[i][0], 1.2, 0, 50, 100);
        add_model(r, 1, names[i][1], 2.4, 0, 50, 100);
        add_model(r, 0, names[i][2], 1.2, 0, 50, 100);
        hone_macro_summary s = hone_summarize_macro(r);
        assert_int_equal(s.models, 2);
        assert_int_equal(s.rows, 3);
        NEAR(s.speedup, sqrt(1.2 * 2.4)); /* not the cube root of 1.2 * 2.4 * 1.2 */
        assert_string_equal(hone_consistency(r), "Low");
        assert_int_equal(hone_eval_report_score(r).models_listed, 2);
        hone_eval_report_free(&r);
    }
}

/* The spread is over rows of all models in all precisions; at both limits. */
static void consistency_has_a_rule(void **state) {
    (void)state;
    static const struct {
        double rows[3];
        const char *word;
    } cases[] = {{{1, 1.25, 1.1}, "High"},
                 {{1, 1.1, 1.26}, "Medium"},
                 {{1.6, 1, 1}, "Medium"},
                 {{1, 1.61, 1}, "Low"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_eval_report *r = NULL;
        assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
        add_model(r, 0, "a", cases[i].rows[0], 0, 50, 100);
        assert_string_equal(hone_consistency(r), "not measurable");
        add_model(r, 0, "a", cases[i].rows[1], 0, 50, 100);
        assert_string_equal(hone_consistency(r), "not measurable"); /* two precisions, one model */
        add_model(r, 1, "b", cases[i].rows[2], 0, 50, 100);
        assert_string_equal(hone_consistency(r), cases[i].word);
        r->macro[1].status = HONE_MACRO_FAILED; /* what was not measured does not count */
        if (i == 3) assert_string_equal(hone_consistency(r), "High");
        hone_eval_report_free(&r);
    }
}

/* A pass that leaves its work to the other one is fast, and nothing is gained. */
static void passes_count_together(void **state) {
    (void)state;
    hone_eval_report *r = NULL;
    assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
    add_kernels(r, 2, 0.5); /* 2.1 ms each, of 4.2 and 1.05 */
    hone_kernel_summary k = hone_summarize_kernel(r, 0, HONE_PASS_BOTH);
    NEAR(k.speedup, 5.25 / 4.2);
    NEAR(k.interval.low, 0.99 * 5.25 / 4.2);
    NEAR(k.interval.high, 1.01 * 5.25 / 4.2);
    NEAR(hone_summarize_kernel(r, 0, HONE_PASS_FORWARD).speedup, 2);
    /* 0.1 ms and 4.1 ms of the same two */
    r->micro[0].over_naive.ratio = 42;
    r->micro[1].over_naive.ratio = 1.05 / 4.1;
    NEAR(hone_summarize_kernel(r, 0, HONE_PASS_BOTH).speedup, 5.25 / 4.2);
    hone_eval_report_free(&r);
}

/* Means of logarithms: 2 and 4.5 give 3. Distances to the ends add as squares, over their number. */
static void kernels_have_intervals(void **state) {
    (void)state;
    hone_eval_report *r = NULL;
    assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
    add_kernels(r, 2, 4.5);
    snprintf(r->micro[1].shape, sizeof r->micro[1].shape, "another shape");
    r->micro[0].over_naive.interval = (hone_interval){2 * exp(-0.3), 2 * exp(0.06)};
    r->micro[1].over_naive.interval = (hone_interval){4.5 * exp(-0.4), 4.5 * exp(0.08)};
    hone_kernel_summary k = hone_summarize_kernel(r, 0, HONE_PASS_BOTH);
    NEAR(k.speedup, 3);
    NEAR(k.interval.low, 3 * exp(-0.25));
    NEAR(k.interval.high, 3 * exp(0.05));
    assert_true(isnan(k.over_shipped) && isnan(k.over_shipped_interval.low));
    hone_eval_report_free(&r);
}

static void inherited_kernels_are_not_credited(void **state) {
    (void)state;
    hone_eval_report *r = NULL;
    assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
    add_kernels(r, 2, 2);
    r->micro[2].inherited = r->micro[3].inherited = true;
    r->micro[3].tested = false; /* nor need they be measured */
    hone_eval_score s = hone_eval_report_score(r);
    NEAR(s.kernel_speedup, pow(2, 5 / 6.0));
    NEAR(s.micro, 0.6 * 5 / 6 + 0.4 * pow(2, 5 / 6.0) / 1.2);
    hone_eval_report_free(&r);
}

static void controls_void_the_run(void **state) {
    (void)state;
    hone_eval_report *r = NULL;
    char why[256];
    assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
    add_everything(r);
    assert_false(hone_report_is_void(r, why, sizeof why)); /* NaN was noticed too */
    r->macro[1].sabotage[3].change = 0;
    r->macro[1].side[HONE_SIDE_CANDIDATE].calls[3][0] = 0;
    r->macro[1].side[HONE_SIDE_CANDIDATE].calls[3][1] = 0; /* the model has no such kernel */
    assert_true(hone_eval_report_score(r).valid);
    r->macro[1].side[HONE_SIDE_CANDIDATE].calls[3][1] = 1;
    assert_true(hone_report_is_void(r, why, sizeof why));
    assert_non_null(strstr(why, "cross_entropy_loss did not change the loss"));
    assert_false(hone_eval_report_score(r).valid);
    NEAR(hone_eval_report_score(r).overall, 0);
    r->macro[1].sabotage[3].change = 1e-9;
    assert_true(hone_eval_report_score(r).valid);
    r->candidate.verdict = "TIMEOUT";
    assert_false(hone_eval_report_score(r).valid);
    hone_eval_report_free(&r);
}

static void failures_are_not_dropped(void **state) {
    (void)state;
    hone_eval_report *r = NULL;
    assert_int_equal(hone_report_make(&r, NULL), HONE_OK);
    add_model(r, 0, "a", 1.2, 0, 50, 100);
    add_model(r, 0, "a", 1.2, 0, 50, 100)->status = HONE_MACRO_FAILED;
    hone_eval_score s = hone_eval_report_score(r);
    NEAR(s.macro, (0.4 + 0.2 / 1.1 + 0.3 + 0.1) / 2);
    assert_int_equal(s.rows_failed, 1);
    assert_int_equal(s.models_tested, 1);
    r->interrupted = true;
    assert_true(isnan(hone_eval_report_score(r).macro));
    hone_eval_report_free(&r);
}

static void verdicts(void **state) {
    (void)state;
    assert_string_equal(hone_verdict_micro(1.19), "below the minimum");
    assert_string_equal(hone_verdict_micro(1.2), "minimum reached");
    assert_string_equal(hone_verdict_micro(1.5), "good");
    assert_string_equal(hone_verdict_micro(2), "excellent");
    assert_string_equal(hone_verdict_micro(NAN), "below the minimum");
    hone_macro_verdict v = hone_verdict_macro(1.2, 0.7, 0.01);
    assert_true(v.faster && v.smaller && v.converges);
    v = hone_verdict_macro(NAN, NAN, NAN);
    assert_false(v.faster || v.smaller || v.converges);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(micro_formula),
        cmocka_unit_test(macro_formula),
        cmocka_unit_test(kernels_weigh_the_same),
        cmocka_unit_test(wrong_kernel_voids_the_run),
        cmocka_unit_test(part_of_the_kernels_has_no_score),
        cmocka_unit_test(figures_of_a_model),
        cmocka_unit_test(few_steps_count_the_last),
        cmocka_unit_test(rows_are_averaged_before_models),
        cmocka_unit_test(models_are_told_apart_by_index),
        cmocka_unit_test(consistency_has_a_rule),
        cmocka_unit_test(passes_count_together),
        cmocka_unit_test(kernels_have_intervals),
        cmocka_unit_test(inherited_kernels_are_not_credited),
        cmocka_unit_test(controls_void_the_run),
        cmocka_unit_test(failures_are_not_dropped),
        cmocka_unit_test(verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
