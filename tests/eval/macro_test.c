/* tests/eval/macro: trainings led step by step, with workers that misbehave (fake_worker.sh). */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/clock.h"
#include "eval/macro.h"

#define FAKE HONE_SOURCE_DIR "/tests/eval/fake_worker.sh"

typedef struct tally {
    int steps, naive_steps, starts, waits;
    int64_t samples;
    char order[64]; /* "f" and "n" as steps end */
    int stop_after;
} tally;

static void on_start(void *user, int64_t samples) {
    tally *t = user;
    t->starts++;
    t->samples = samples;
}

static void on_step(void *user, bool naive, int step, double loss, double seconds) {
    tally *t = user;
    (void)step;
    assert_true(isfinite(loss) && seconds > 0);
    t->order[strlen(t->order)] = naive ? 'n' : 'f';
    if (naive)
        t->naive_steps++;
    else
        t->steps++;
}

static bool keep_waiting(void *user) {
    tally *t = user;
    t->waits++;
    return !t->stop_after || t->steps < t->stop_after;
}

/* No child may be left behind, dead or alive. */
static void assert_no_children(void) {
    int how;
    pid_t child = waitpid(-1, &how, WNOHANG);
    assert_true(child == -1 && errno == ECHILD);
}

static hone_status run(const char *model, const char *weights, tally *t, hone_macro_row *row) {
    hone_macro_options o = {.worker = FAKE,
                            .model = model,
                            .data = "/data",
                            .weights = weights,
                            .candidate = "fused",
                            .steps = 4,
                            .batch_size = 2,
                            .seq_len = 64,
                            .start_seconds = 1.5,
                            .step_seconds = 1.5,
                            .on_start = on_start,
                            .on_step = on_step,
                            .keep_waiting = keep_waiting,
                            .user = t};
    hone_status status = hone_macro_run(&o, row, NULL);
    assert_no_children();
    return status;
}

static hone_eval_report *report;
static hone_macro_row *row;
static tally counted;

static int setup(void **state) {
    (void)state;
    counted = (tally){0};
    return hone_report_make(&report, NULL) ||
           hone_report_add_macro(report, 0, "m", "/m", &row, NULL);
}

static int teardown(void **state) {
    (void)state;
    hone_eval_report_free(&report);
    return 0;
}

static void both_train_in_turns(void **state) {
    (void)state;
    const hone_training *mine = &row->side[HONE_SIDE_CANDIDATE];
    assert_int_equal(run("sleeps", NULL, &counted, row), HONE_OK);
    assert_int_equal(row->status, HONE_MACRO_TESTED);
    assert_string_equal(row->reason, "");
    assert_string_equal(counted.order, "fnnffnnf");
    assert_int_equal(counted.starts, 1);
    assert_int_equal(counted.samples, 77);
    assert_int_equal(row->steps, 4);
    for (int i = 0; i < 4; i++) {
        assert_true(fabs(row->side[HONE_SIDE_CANDIDATE].losses[i] - (8 - i)) < 1e-12);
        assert_true(fabs(row->side[HONE_SIDE_NAIVE].losses[i] - (8.1 - i)) < 1e-12);
    }
    assert_true(fabs(row->loss_diff - 0.1) < 1e-9);
    /* By our clock, not the microsecond that the worker claims. */
    assert_true(mine->seconds[1] >= 0.3 && mine->seconds[1] < 5);
    assert_true(mine->peak_rss ==
                (size_t)5000 << 20); /* a worker may only make itself worse than the system says */
    assert_true(row->over_naive.ratio > 0 && mine->tokens_per_sec > 0);
}

static void weights_are_passed_on(void **state) {
    (void)state;
    assert_int_equal(run("bf16", "bf16", &counted, row), HONE_OK);
    assert_int_equal(row->status, HONE_MACRO_TESTED);
}

/* Each ends as failed, soon, with a reason that says what happened. */
static void misbehaviour_is_a_failure_with_its_reason(void **state) {
    (void)state;
    static const struct {
        const char *model, *reason;
        int steps;
    } cases[] = {
        {"no-start",
         "the fused worker ended too early with exit status 1: hone: the model is broken", 0},
        {"silent-start", "the fused worker did not reach its next \"start\" within 2 s", 0},
        {"dies", "the fused worker ended too early with exit status 3: last words", 1},
        {"naive-dies", "the naive worker ended too early with exit status 3: last words", 1},
        {"killed", "the fused worker was killed by signal 11", 1},
        {"garbage", "the fused worker printed \"Segmentation fault?\"", 1},
        {"array", "the fused worker printed \"[1, 2]\"", 1},
        {"hangs", "the fused worker did not reach its next \"step\" within 2 s", 1},
        {"closes", "the fused worker was killed", 1},
        {"nan", "the fused worker printed \"{\"event\":\"step\",\"iter\":2,\"loss\":NaN}\"", 1},
        {"null", "the fused training's loss of step 2 is not a finite number", 1},
        {"skips", "the fused worker reported another step than 2", 1},
        {"endless", "the fused worker printed a line of more than 65536 bytes", 1},
        {"chatters", "the fused worker did not reach its next \"step\" within 2 s", 1},
        {"done-early", "the fused worker reported \"done\" where \"step\" was expected", 1},
        {"no-done", "the fused worker ended too early with exit status 0", 4},
        {"bad-end",
         "the fused worker finished its steps but ended with exit status 1: the disk is full", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        teardown(NULL);
        assert_int_equal(setup(NULL), 0);
        double begin = hone_clock_seconds();
        assert_int_equal(run(cases[i].model, NULL, &counted, row), HONE_OK);
        if (row->status != HONE_MACRO_FAILED ||
            strncmp(row->reason, cases[i].reason, strlen(cases[i].reason)) != 0)
            fail_msg("%s: status %d, reason: %s", cases[i].model, row->status, row->reason);
        assert_int_equal(row->steps, cases[i].steps);
        assert_true(hone_clock_seconds() - begin < 10);
        assert_true(isnan(row->over_naive.ratio) && isnan(row->loss_diff));
    }
}

static void worker_that_is_not_there(void **state) {
    (void)state;
    hone_macro_options o = {.worker = "/nonexistent/hone",
                            .model = "m",
                            .data = "d",
                            .candidate = "fused",
                            .steps = 1,
                            .batch_size = 1,
                            .seq_len = 2,
                            .start_seconds = 1,
                            .step_seconds = 1};
    assert_int_equal(hone_macro_run(&o, row, NULL), HONE_OK);
    assert_int_equal(row->status, HONE_MACRO_FAILED);
    assert_non_null(strstr(row->reason, "/nonexistent/hone"));
    assert_no_children();
}

static void stopping_keeps_what_was_done(void **state) {
    (void)state;
    counted.stop_after = 2;
    assert_int_equal(run("well", NULL, &counted, row), HONE_ERR_INTERRUPTED);
    assert_int_equal(row->status, HONE_MACRO_NOT_TESTED);
    assert_int_equal(row->steps, 1 + (counted.naive_steps == 2));
    assert_non_null(strstr(row->reason, "of 4 steps"));
    assert_true(counted.waits > 0);
}

/* Whose children are not kept cannot be told how they ended: that is not taken for a good end. */
static void end_that_nobody_saw_is_no_success(void **state) {
    (void)state;
    void (*before)(int) = signal(SIGCHLD, SIG_IGN);
    assert_int_equal(run("well", NULL, &counted, row), HONE_OK);
    signal(SIGCHLD, before);
    assert_int_equal(row->status, HONE_MACRO_FAILED);
    assert_non_null(strstr(row->reason, "ended cannot be known"));
    assert_int_equal(row->steps, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_train_in_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(weights_are_passed_on, setup, teardown),
        cmocka_unit_test_setup_teardown(misbehaviour_is_a_failure_with_its_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(worker_that_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(stopping_keeps_what_was_done, setup, teardown),
        cmocka_unit_test_setup_teardown(end_that_nobody_saw_is_no_success, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
