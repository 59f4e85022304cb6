/* tests/eval/macro: trainings led step by step, with workers that misbehave (fake_worker.sh). */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "base/clock.h"
#include "eval/macro.h"

#define FAKE HONE_SOURCE_DIR "/tests/eval/fake_worker.sh"

typedef struct tally {
    int steps, naive_steps, starts, waits;
    int64_t samples;
    char order[4096]; /* "f" and "n" as steps end */
    int stop_after;
} tally;

static void on_start(void *user, int64_t samples) {
    tally *t = user;
    t->starts++;
    t->samples = samples;
}

static void on_step(void *user, const hone_training *training) {
    tally *t = user;
    bool naive = strcmp(training->name, "naive") == 0;
    size_t used = strlen(t->order);
    assert_true(isfinite(training->losses[training->steps - 1]));
    assert_true(training->seconds[training->steps - 1] > 0);
    if (used + 1 < sizeof t->order)
        t->order[used] = naive ? 'n' : strcmp(training->name, "candidate") == 0 ? 'f' : 'p';
    if (naive)
        t->naive_steps++;
    else
        t->steps++;
}

static bool keep_going(void *user, const char *what, double fraction) {
    tally *t = user;
    assert_true(what[0] && fraction >= 0 && fraction <= 1);
    t->waits++;
    return !t->stop_after || t->steps < t->stop_after;
}

/* No child may be left behind, dead or alive. */
static void assert_no_children(void) {
    int how;
    pid_t child = waitpid(-1, &how, WNOHANG);
    assert_true(child == -1 && errno == ECHILD);
}

/* State of the process that the folder `name` of /proc stands for, when it is a child of this one; else 0. */
static char child_state(const char *name) {
    char path[300], text[512] = "", state = 0;
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%s/stat", name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    const char *end = strrchr(text, ')');
    if (!end || sscanf(end, ") %c %d", &state, &parent) != 2) return 0;
    return parent == getpid() ? state : 0;
}

/* How many children there are that do not stand still. */
static int moving_children(int *all) {
    DIR *proc = opendir("/proc");
    int moving = 0;
    *all = 0;
    assert_non_null(proc);
    for (struct dirent *e; (e = readdir(proc)) != NULL;) {
        char state = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? child_state(e->d_name) : 0;
        *all += state != 0;
        moving += state != 0 && state != 'T';
    }
    closedir(proc);
    return moving;
}

/* After a step: both trainings wait for their turn, and what waits may not compute. */
static void assert_all_stand_still(void) {
    int all = 0, moving = 1;
    for (int i = 0; i < 100 && moving; i++) {
        moving = moving_children(&all);
        if (moving) usleep(10000); /* a signal takes its time */
    }
    assert_int_equal(all, 2);
    assert_int_equal(moving, 0);
}

static hone_eval_report *report;
static hone_macro_row *row;
static tally counted;
static char folder[] = "/tmp/hone-macro-XXXXXX";

static hone_macro_options options_for(const char *model) {
    return (hone_macro_options){.worker = FAKE,
                                .model = model,
                                .data = "/nonexistent/data",
                                .steps = 4,
                                .batch_size = 2,
                                .seq_len = 64,
                                .seconds = 60,
                                .folder = folder,
                                .start_seconds = 1.5,
                                .step_seconds = 1.5,
                                .on_start = on_start,
                                .on_step = on_step,
                                .keep_going = keep_going,
                                .user = &counted};
}

static hone_status run_with(const hone_macro_options *o) {
    hone_status status = hone_macro_run(o, report, row, NULL);
    assert_no_children();
    return status;
}

static hone_status run(const char *model) {
    hone_macro_options o = options_for(model);
    return run_with(&o);
}

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

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"candidate", "naive", "shipped", "hidden"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        rmdir(path);
    }
    return rmdir(folder);
}

static void on_step_of_two(void *user, const hone_training *training) {
    on_step(user, training);
    assert_all_stand_still();
}

static void waiting_is_standing_still(void **state) {
    (void)state;
    hone_macro_options o = options_for("well");
    o.on_step = on_step_of_two;
    assert_int_equal(run_with(&o), HONE_OK);
    if (row->status != HONE_MACRO_TESTED) fail_msg("%s", row->reason);
    assert_int_equal(counted.steps, 4);
}

static void both_train_in_turns(void **state) {
    (void)state;
    assert_int_equal(run("sleeps"), HONE_OK);
    const hone_training *mine = &row->side[HONE_SIDE_CANDIDATE],
                        *naive = &row->side[HONE_SIDE_NAIVE];
    if (row->status != HONE_MACRO_TESTED) fail_msg("%s", row->reason);
    assert_string_equal(row->reason, "");
    assert_string_equal(counted.order, "fnnffnnf");
    assert_int_equal(counted.starts, 1);
    assert_int_equal(counted.samples, 77);
    assert_int_equal(row->steps, 4);
    for (int i = 0; i < 4; i++) {
        assert_true(fabs(mine->losses[i] - (1999 - i)) < 1e-12);
        assert_true(fabs(naive->losses[i] - (1999.1 - i)) < 1e-12);
    }
    assert_true(fabs(row->loss_diff - 0.1) < 1e-9);
    /* By our clock, not the microsecond that the worker claims. */
    assert_true(mine->seconds[1] >= 0.3 && mine->seconds[1] < 5);
    /* a worker may only make itself worse than the system says */
    assert_true(mine->peak_rss == (size_t)5000 << 20);
    assert_true(row->over_naive.ratio > 0 && mine->tokens_per_sec > 0);
    assert_true(row->over_shipped.ratio == 1 && row->over_shipped.pairs == 0);
    assert_int_equal(mine->calls[HONE_OP_lora_linear][1], 3);
    assert_int_equal(mine->purpose[2], 1000); /* weights */
    assert_int_equal(mine->purpose[9], 0);    /* less than nothing is nothing */
    assert_true(isnan(mine->hidden_loss));    /* there is no data to draw rows from */
    assert_int_equal(report->not_tested_count, 1);
}

static void weights_are_passed_on(void **state) {
    (void)state;
    hone_macro_options o = options_for("bf16");
    o.weights = "bf16";
    assert_int_equal(run_with(&o), HONE_OK);
    assert_int_equal(row->status, HONE_MACRO_TESTED);
}

/* Without a number of steps: until the interval is narrow, at least eight pairs after warming up, or time is over. */
static void steps_go_on_until_the_figures_are_good(void **state) {
    (void)state;
    hone_macro_options o = options_for("well");
    o.steps = 0;
    o.seconds = 5;
    assert_int_equal(run_with(&o), HONE_OK);
    if (row->status != HONE_MACRO_TESTED) fail_msg("%s", row->reason);
    hone_interval i = row->over_naive.interval;
    bool narrow = 0.5 * (i.high - i.low) <= 0.02 * row->over_naive.ratio;
    assert_true(row->steps == HONE_EVAL_MAX_PAIRS || narrow || row->steps - row->skipped >= 8);
    assert_true(row->skipped >= 1 && row->skipped <= 6);
    assert_int_equal(row->over_naive.pairs, row->steps - row->skipped);
}

static void curves_have_two_seeds(void **state) {
    (void)state;
    hone_macro_options o = options_for("well");
    o.steps = 0;
    o.curve = 12;
    o.seconds = 3;
    assert_int_equal(run_with(&o), HONE_OK);
    if (row->status != HONE_MACRO_TESTED) fail_msg("%s", row->reason);
    assert_true(row->curves[0].steps >= 12);
    assert_int_equal(row->curves[1].steps, 12);
    assert_int_equal(row->curves[1].seed, 1);
    assert_null(row->curves[0].losses[HONE_SIDE_SHIPPED]);
    /* the second seed's losses are one higher */
    assert_true(row->curves[1].losses[HONE_SIDE_CANDIDATE][3] == 1997);
    assert_true(fabs(row->curve_diff_max - 0.1) < 1e-9);
    assert_true(fabs(row->curve_diff_final - 0.1) < 1e-9);
    assert_true(fabs(row->seed_spread - 1) < 1e-9);
}

static void curve_that_takes_too_long_is_listed_as_not_tested(void **state) {
    (void)state;
    hone_macro_options o = options_for("sleeps");
    o.steps = 0;
    o.curve = 1000;
    o.seconds = 1;
    assert_int_equal(run_with(&o), HONE_OK);
    assert_int_equal(row->status, HONE_MACRO_TESTED);
    assert_true(row->steps < 1000);
    assert_null(row->curves[0].losses[HONE_SIDE_NAIVE]);
    assert_true(isnan(row->curve_diff_max) && isnan(row->seed_spread));
    assert_int_equal(report->not_tested_count, 2);
    assert_non_null(strstr(report->not_tested[1], "loss curves over 1000 steps"));
}

static void wrong_kernels_must_change_the_loss(void **state) {
    (void)state;
    hone_macro_options o = options_for("well");
    o.sabotages = HONE_OP_COUNT;
    assert_int_equal(run_with(&o), HONE_OK);
    if (row->status != HONE_MACRO_TESTED) fail_msg("%s", row->reason);
    for (int k = 0; k < HONE_OP_COUNT; k++) {
        bool called = k != HONE_OP_rope_embeddings; /* as the fake says */
        assert_int_equal(row->sabotage[k].tested, called);
        if (called) assert_true(fabs(row->sabotage[k].change - 1) < 1e-9);
    }
    teardown(NULL);
    assert_int_equal(setup(NULL), 0);
    o.model = "deaf";
    assert_int_equal(run_with(&o), HONE_OK);
    assert_int_equal(row->status, HONE_MACRO_FAILED);
    assert_non_null(strstr(row->reason, "void: with "));
}

static void training_that_calls_no_kernel_has_not_tested_it(void **state) {
    (void)state;
    assert_int_equal(run("uncalled"), HONE_OK);
    assert_int_equal(row->status, HONE_MACRO_FAILED);
    assert_string_equal(row->reason, "the candidate's training never called rms_norm");
}

static void peers_train_beside(void **state) {
    (void)state;
    const char *const peers[] = {FAKE " --ops peer", "/nonexistent/peer 'a b'", "unbalanced '"};
    hone_macro_options o = options_for("well");
    o.peers = peers;
    o.peer_count = 3;
    assert_int_equal(run_with(&o), HONE_OK);
    if (row->status != HONE_MACRO_TESTED) fail_msg("%s", row->reason);
    assert_int_equal(row->peer_count, 3);
    assert_int_equal(row->peers[0].steps, 4);
    assert_true(row->peers[0].tokens_per_sec > 0);
    assert_string_equal(row->peers[0].problem, "");
    assert_non_null(strstr(row->peers[1].problem, "/nonexistent/peer"));
    assert_true(isnan(row->peers[1].tokens_per_sec));
    assert_non_null(strstr(row->peers[2].problem, "expected a command to run"));
}

/* Each ends as failed, soon, with a reason that says what happened. */
static void misbehaviour_is_a_failure_with_its_reason(void **state) {
    (void)state;
    static const struct {
        const char *model, *reason;
        int steps;
    } cases[] = {
        {"no-start",
         "the candidate worker ended too early with exit status 1: hone: the model is broken", 0},
        {"silent-start", "the candidate worker did not reach its next \"start\" within 2 s", 0},
        {"dies", "the candidate worker ended too early with exit status 3: last words", 1},
        {"naive-dies", "the naive worker ended too early with exit status 3: last words", 1},
        {"killed", "the candidate worker was killed by signal 11", 1},
        {"garbage", "the candidate worker printed \"Segmentation fault?\"", 1},
        {"array", "the candidate worker printed \"[1, 2]\"", 1},
        {"hangs", "the candidate worker did not reach its next \"step\" within 2 s", 1},
        {"closes", "the candidate worker was killed", 1},
        {"nan", "the candidate worker printed \"{\"event\":\"step\",\"iter\":2,\"loss\":NaN}\"", 1},
        {"null", "the candidate training's loss of step 2 is not a finite number", 1},
        {"skips", "the candidate worker reported another step than 2", 1},
        {"endless", "the candidate worker printed a line of more than 65536 bytes", 1},
        {"chatters", "the candidate worker did not reach its next \"step\" within 2 s", 1},
        {"done-early", "the candidate worker reported \"done\" where \"step\" was expected", 1},
        {"no-done", "the candidate worker ended too early with exit status 0", 4},
        {"bad-end",
         "the candidate worker finished its steps but ended with exit status 1: the disk is full",
         4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        teardown(NULL);
        assert_int_equal(setup(NULL), 0);
        double begin = hone_clock_seconds();
        assert_int_equal(run(cases[i].model), HONE_OK);
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
    hone_macro_options o = options_for("m");
    o.worker = "/nonexistent/hone";
    assert_int_equal(run_with(&o), HONE_OK);
    assert_int_equal(row->status, HONE_MACRO_FAILED);
    assert_non_null(strstr(row->reason, "/nonexistent/hone"));
}

static void stopping_keeps_what_was_done(void **state) {
    (void)state;
    counted.stop_after = 2;
    assert_int_equal(run("well"), HONE_ERR_INTERRUPTED);
    assert_int_equal(row->status, HONE_MACRO_NOT_TESTED);
    assert_int_equal(row->steps, 1 + (counted.naive_steps == 2));
    assert_non_null(strstr(row->reason, "stopped after"));
    assert_true(counted.waits > 0);
}

/* Whose children are not kept cannot be told how they ended: that is not taken for a good end. */
static void end_that_nobody_saw_is_no_success(void **state) {
    (void)state;
    void (*before)(int) = signal(SIGCHLD, SIG_IGN);
    assert_int_equal(run("well"), HONE_OK);
    signal(SIGCHLD, before);
    assert_int_equal(row->status, HONE_MACRO_FAILED);
    assert_non_null(strstr(row->reason, "ended cannot be known"));
    assert_int_equal(row->steps, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_train_in_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(waiting_is_standing_still, setup, teardown),
        cmocka_unit_test_setup_teardown(weights_are_passed_on, setup, teardown),
        cmocka_unit_test_setup_teardown(steps_go_on_until_the_figures_are_good, setup, teardown),
        cmocka_unit_test_setup_teardown(curves_have_two_seeds, setup, teardown),
        cmocka_unit_test_setup_teardown(curve_that_takes_too_long_is_listed_as_not_tested, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(wrong_kernels_must_change_the_loss, setup, teardown),
        cmocka_unit_test_setup_teardown(training_that_calls_no_kernel_has_not_tested_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(peers_train_beside, setup, teardown),
        cmocka_unit_test_setup_teardown(misbehaviour_is_a_failure_with_its_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(worker_that_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(stopping_keeps_what_was_done, setup, teardown),
        cmocka_unit_test_setup_teardown(end_that_nobody_saw_is_no_success, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
