/* tests/eval/micro: right kernels are measured, wrong ones are found out, whatever way they are wrong in. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/cpu.h"
#include "cases/cases.h"
#include "eval/micro.h"
#include "eval/score.h"

static hone_kernels kernels;
static hone_eval_report *report;
static hone_op_set broken;

typedef struct tally {
    int kernels_done, asked, stop_after;
} tally;

static bool on_progress(void *user, const char *what, double fraction) {
    tally *t = user;
    assert_true(what[0] && fraction >= 0 && fraction <= 1);
    return ++t->asked != t->stop_after;
}

static void on_kernel(void *user, int kernel) {
    tally *t = user;
    assert_true(kernel >= 0 && kernel < HONE_OP_COUNT);
    t->kernels_done++;
}

static hone_status run(const hone_op_set *candidate, const char *only, tally *t) {
    hone_micro_options o = {.candidate = candidate,
                            .naive = &hone_ops_naive,
                            .kernels = &kernels,
                            .only = only,
                            .threads = 2,
                            .trials = 5,
                            .seed = 3,
                            .seconds = 0.5,
                            .on_progress = on_progress,
                            .on_kernel = on_kernel,
                            .user = t};
    return hone_micro_run(&o, report, NULL);
}

static int setup(void **state) {
    (void)state;
    unsigned features;
    if (hone_cpu_features(&features, NULL) != HONE_OK) return 1;
    hone_kernels_select(features, &kernels);
    broken = hone_ops_fused;
    broken.name = "broken";
    return hone_report_make(&report, NULL);
}

static int teardown(void **state) {
    (void)state;
    hone_eval_report_free(&report);
    return 0;
}

static void assert_rows(const char *kernel, bool forward_right, bool backward_right) {
    assert_true(report->micro_count > 0);
    for (size_t i = 0; i < report->micro_count; i++) {
        const hone_micro_row *r = &report->micro[i];
        assert_string_equal(hone_op_names[r->kernel], kernel);
        assert_true(r->tested);
        if (r->correct != (r->backward ? backward_right : forward_right))
            fail_msg("%s %s %s %s: %s", kernel, r->backward ? "backward" : "forward", r->dtype,
                     r->shape, r->reason);
        if (r->correct) assert_string_equal(r->reason, "");
    }
}

static const hone_micro_row *first_wrong(void) {
    for (size_t i = 0; i < report->micro_count; i++)
        if (!report->micro[i].correct) return &report->micro[i];
    return NULL;
}

static void shipped_kernel_is_measured(void **state) {
    (void)state;
    tally t = {0};
    assert_int_equal(run(&hone_ops_fused, "lora_linear", &t), HONE_OK);
    assert_int_equal(report->micro_count, 4 * 3 * 2); /* shapes, types, passes */
    assert_rows("lora_linear", true, true);
    assert_int_equal(t.kernels_done, 1);
    bool four_bit = false;
    for (size_t i = 0; i < report->micro_count; i++) {
        const hone_micro_row *r = &report->micro[i];
        assert_true(r->seconds[HONE_SIDE_CANDIDATE] > 0 && r->seconds[HONE_SIDE_NAIVE] > 0);
        assert_true(fabs(r->over_naive.ratio -
                         r->seconds[HONE_SIDE_NAIVE] / r->seconds[HONE_SIDE_CANDIDATE]) < 1e-12);
        assert_true(r->over_naive.interval.low <= r->over_naive.ratio &&
                    r->over_naive.ratio <= r->over_naive.interval.high);
        assert_true(r->bytes[HONE_SIDE_CANDIDATE] > 0 &&
                    r->bytes[HONE_SIDE_NAIVE] >= r->bytes[HONE_SIDE_CANDIDATE]);
        assert_int_equal(r->over_naive.pairs, 5);
        assert_true(r->calls >= 1);
        four_bit |= strcmp(r->weights, "q4_1") == 0 && strcmp(r->dtype, "bf16") == 0;
    }
    assert_true(four_bit);
    assert_non_null(strstr(report->micro[0].shape, "batch 4, seq 64, in 256"));
    assert_true(hone_eval_report_score(report).valid);
}

/* The same set on both sides is as fast as itself: nothing favours one side. */
static void naive_against_itself_is_one(void **state) {
    (void)state;
    tally t = {0};
    assert_int_equal(run(&hone_ops_naive, "rms_norm", &t), HONE_OK);
    assert_rows("rms_norm", true, true);
    double speedup = hone_summarize_kernel(report, 0, HONE_PASS_BOTH).speedup;
    if (!(speedup > 0.7 && speedup < 1.4)) fail_msg("speedup over itself: %f", speedup);
    assert_true(hone_summarize_kernel(report, 0, HONE_PASS_BOTH).memory_ratio == 1);
}

/* One element of one gradient is off by a tenth. */
static void slightly_wrong_backward(hone_ctx *ctx, const hone_rms_norm_args *args,
                                    const hone_saved *saved) {
    hone_ops_fused.rms_norm_backward(ctx, args, saved);
    if (hone_ctx_planning(ctx)) return;
    if (ctx->team.rank == 0) args->dx[args->hidden / 2] *= 1.1f;
    hone_barrier(ctx->team);
}

static void wrong_gradient_is_named(void **state) {
    (void)state;
    tally t = {0};
    broken.rms_norm_backward = slightly_wrong_backward;
    assert_int_equal(run(&broken, "rms_norm", &t), HONE_OK);
    assert_rows("rms_norm", true, false);
    const hone_micro_row *wrong = first_wrong();
    assert_non_null(strstr(wrong->reason, "case batch "));
    assert_non_null(strstr(wrong->reason, "dx"));
    hone_eval_score score = hone_eval_report_score(report);
    assert_false(score.valid);
    assert_true(score.overall == 0);
}

/* Right at every size that cases check, wrong where the time is measured. */
static void wrong_when_large(hone_ctx *ctx, const hone_rms_norm_args *args, hone_saved *saved) {
    hone_ops_fused.rms_norm_forward(ctx, args, saved);
    if (hone_ctx_planning(ctx)) return;
    if (ctx->team.rank == 0 && args->rows >= 256) memset(args->y, 0, 64);
    hone_barrier(ctx->team);
}

static void timed_calls_are_checked(void **state) {
    (void)state;
    tally t = {0};
    broken.rms_norm_forward = wrong_when_large;
    assert_int_equal(run(&broken, "rms_norm", &t), HONE_OK);
    assert_rows("rms_norm", false, true);
    assert_non_null(strstr(first_wrong()->reason, "a timed call"));
}

static void does_nothing(hone_ctx *ctx, const hone_rope_args *args, hone_saved *saved) {
    (void)args;
    (void)saved;
    if (!hone_ctx_planning(ctx)) hone_barrier(ctx->team);
}

static void output_that_is_not_written_is_found(void **state) {
    (void)state;
    tally t = {0};
    broken.rope_embeddings_forward = does_nothing;
    assert_int_equal(run(&broken, "rope_embeddings", &t), HONE_OK);
    assert_rows("rope_embeddings", false, true);
    assert_true(hone_summarize_kernel(report, 1, HONE_PASS_FORWARD).speedup >
                1); /* and how fast it was! */
    assert_false(hone_eval_report_score(report).valid);
}

static void spoils_its_input(hone_ctx *ctx, const hone_rms_norm_args *args, hone_saved *saved) {
    hone_ops_fused.rms_norm_forward(ctx, args, saved);
    if (hone_ctx_planning(ctx)) return;
    if (ctx->team.rank == 0) ((float *)args->gamma)[0] += 1;
    hone_barrier(ctx->team);
}

static void changed_input_is_found(void **state) {
    (void)state;
    tally t = {0};
    broken.rms_norm_forward = spoils_its_input;
    assert_int_equal(run(&broken, "rms_norm", &t), HONE_OK);
    assert_non_null(first_wrong());
    assert_false(hone_eval_report_score(report).valid);
}

static void stopping_leaves_the_rest_untested(void **state) {
    (void)state;
    tally t = {.stop_after = 1};
    assert_int_equal(run(&hone_ops_fused, NULL, &t), HONE_ERR_INTERRUPTED);
    assert_int_equal(t.kernels_done, 0);
    for (size_t i = 0; i < report->micro_count; i++) {
        assert_false(report->micro[i].tested);
        assert_true(isnan(report->micro[i].over_naive.ratio) && report->micro[i].reason[0]);
    }
    assert_int_equal(report->micro_count,
                     4 * 2 * (4 * 2 + 2 * 3)); /* shapes, passes, kernels by types */
}

/* Wrong by the check, and stopped before the first timed call: wrong all the same. */
static void stopping_does_not_hide_a_wrong_kernel(void **state) {
    (void)state;
    tally count = {0};
    broken.rms_norm_backward = slightly_wrong_backward;
    const hone_case *kind = hone_case_find("rms_norm");
    count.stop_after = 2 * (int)kind->shape_count + 1; /* asked once for each case and type */
    assert_int_equal(run(&broken, "rms_norm", &count), HONE_ERR_INTERRUPTED);
    size_t wrong = 0;
    for (size_t i = 0; i < report->micro_count; i++) {
        assert_false(report->micro[i].tested);
        assert_true(report->micro[i].checked);
        wrong += hone_row_is_wrong(&report->micro[i]);
    }
    assert_int_equal(wrong, report->micro_count / 2);
    assert_non_null(strstr(first_wrong()->reason, "case batch "));
    assert_false(hone_summarize_kernel(report, 0, HONE_PASS_BOTH).correct);
    hone_eval_score score = hone_eval_report_score(report);
    assert_false(score.valid);
    assert_true(score.overall == 0);
}

/* Plans more memory than any machine has, at one of the measured shapes. */
static void wants_too_much(hone_ctx *ctx, const hone_rms_norm_args *args, hone_saved *saved) {
    if (hone_ctx_planning(ctx) && args->hidden == 512 && args->rows == 1024)
        (void)hone_arena_scratch(&ctx->arena, (size_t)1 << 60);
    hone_ops_fused.rms_norm_forward(ctx, args, saved);
}

static void what_does_not_fit_is_not_tested(void **state) {
    (void)state;
    tally t = {0};
    broken.rms_norm_forward = wants_too_much;
    assert_int_equal(run(&broken, "rms_norm", &t), HONE_OK);
    assert_int_equal(t.kernels_done, 1);
    size_t untested = 0;
    for (size_t i = 0; i < report->micro_count; i++) {
        const hone_micro_row *r = &report->micro[i];
        assert_true(r->tested == !strstr(r->shape, "hidden 512"));
        if (r->tested) continue;
        untested++;
        assert_null(strstr(r->reason, "stopped")); /* but what could not be had */
        assert_true(r->reason[0]);
        assert_true(isnan(r->over_naive.ratio));
    }
    assert_int_equal(untested, 2 * 2); /* passes, types */
    hone_eval_score score = hone_eval_report_score(report);
    assert_true(score.valid && isnan(score.micro));
}

/* 6 rows: x W^T is 2*6*5*7 = 420, x A^T and its product with B^T 2*6*2*5 + 2*6*2*7 = 288. Backward does dx, and for
 * the adapters dx and their own gradients; a trained weight's gradient is another 420. */
static void operations_are_counted(void **state) {
    (void)state;
    hone_case_shape shape = {.batch = 2, .seq = 3, .in = 5, .out = 7, .rank = 2};
    const hone_case *kind = hone_case_find("lora_linear");
    double flops, bytes;
    hone_case_work(kind, &shape, HONE_CASE_FORWARD, &flops, &bytes);
    assert_true(flops == 420 + 288);
    assert_true(bytes == 4 * (6 * 5 + 6 * 7 + 5 * 7 + 2 * 5 + 2 * 7)); /* x, y, W, A, B */
    hone_case_work(kind, &shape, HONE_CASE_BACKWARD, &flops, &bytes);
    assert_true(flops == 420 + 2 * 288);
    shape.trained = true;
    hone_case_work(kind, &shape, HONE_CASE_BACKWARD, &flops, &bytes);
    assert_true(flops == 2 * 420 + 2 * 288);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(shipped_kernel_is_measured, setup, teardown),
        cmocka_unit_test_setup_teardown(naive_against_itself_is_one, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_gradient_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(timed_calls_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(output_that_is_not_written_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(changed_input_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(stopping_leaves_the_rest_untested, setup, teardown),
        cmocka_unit_test_setup_teardown(stopping_does_not_hide_a_wrong_kernel, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_not_tested, setup, teardown),
        cmocka_unit_test(operations_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
