/* tests/eval/micro: right kernels are measured, wrong ones are found out, whatever way they are wrong in. */
#include "kernel_file.h"

#include "base/cpu.h"
#include "cases/cases.h"
#include "eval/micro.h"
#include "eval/score.h"

#include <math.h>
#include <sys/wait.h>

static hone_eval_report *report;

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

static double check_seconds; /* 0: as many as the program gives */

/* `kernels`: a shared object, or NULL for the shipped set. */
static hone_status run(const char *kernels, unsigned only, tally *t) {
    tally none = {0};
    hone_error err;
    hone_micro_options o = {.program = own_program(),
                            .kernels = kernels,
                            .only = only,
                            .threads = 2,
                            .trials = 5,
                            .seed = 3,
                            .quick = true,
                            .seconds = 0.5,
                            .order_seconds = 20,
                            .check_seconds = check_seconds,
                            .on_progress = on_progress,
                            .on_kernel = on_kernel,
                            .user = t ? t : &none};
    assert_ok(hone_cpu_features(&o.features, &err), err);
    hone_status status = hone_micro_run(&o, report, &err);
    if (status == HONE_ERR_UNSUPPORTED) { /* this system cannot confine what is not trusted */
        print_message("%s\n", err.message);
        skip();
    }
    if (status != HONE_OK && status != HONE_ERR_INTERRUPTED) fail_msg("%s", err.message);
    return status;
}

static hone_noise noise; /* of this machine: measured by the first test */

static int setup(void **state) {
    (void)state;
    if (hone_report_make(&report, NULL) != HONE_OK) return 1;
    if (noise.peak_f32 > 0) report->noise = noise;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    noise = report->noise;
    hone_eval_report_free(&report);
    return 0;
}

static void assert_right(void) {
    if (strcmp(report->candidate.verdict, "accepted") != 0)
        fail_msg("%s: %s", report->candidate.verdict, report->candidate.reason);
    assert_true(report->micro_count > 0);
    for (size_t i = 0; i < report->micro_count; i++) {
        const hone_micro_row *r = &report->micro[i];
        if (!r->correct || !r->tested)
            fail_msg("%s %s %s: %s", r->backward ? "backward" : "forward", r->dtype, r->shape,
                     r->reason);
        assert_string_equal(r->reason, "");
    }
}

/* ---- what is right ---- */

static void shipped_kernel_is_measured(void **state) {
    (void)state;
    tally t = {0};
    assert_int_equal(run(NULL, 1 << HONE_OP_lora_linear, &t), HONE_OK);
    assert_int_equal(report->micro_count, 2 * 3 * 2); /* shapes, types, passes */
    assert_right();
    assert_int_equal(t.kernels_done, 1);
    bool four_bit = false;
    for (size_t i = 0; i < report->micro_count; i++) {
        const hone_micro_row *r = &report->micro[i];
        double own = r->seconds[HONE_SIDE_CANDIDATE], naive = r->seconds[HONE_SIDE_NAIVE];
        assert_true(own > 0 && naive > 0);
        assert_true(fabs(r->over_naive.ratio - naive / own) < 1e-12);
        assert_true(r->over_naive.interval.low <= r->over_naive.ratio &&
                    r->over_naive.ratio <= r->over_naive.interval.high);
        assert_true(r->bytes[HONE_SIDE_CANDIDATE] > 0 &&
                    r->bytes[HONE_SIDE_NAIVE] >= r->bytes[HONE_SIDE_CANDIDATE]);
        assert_true(r->over_naive.pairs >= 8 && r->calls >= 1 && !r->inherited);
        four_bit |= strcmp(r->weights, "q4_1") == 0 && strcmp(r->dtype, "bf16") == 0;
    }
    assert_true(four_bit);
    assert_non_null(strstr(report->micro[0].shape, "batch 4, seq 64, in 256"));
    assert_true(hone_eval_report_score(report).valid);
}

static void noise_is_measured(void **state) {
    (void)state;
    const hone_noise *n = &report->noise;
    assert_true(isnan(n->peak_f32));
    run(NULL, 1 << HONE_OP_rope_embeddings, NULL);
    assert_true(n->peak_f32 > 1e8 && n->memory_bandwidth > 1e8 &&
                n->cache_bandwidth > n->memory_bandwidth / 4);
    assert_true(n->call_seconds > 0 && n->call_seconds < 0.1);
    assert_true(n->same.pairs >= 8 && n->same.ratio > 0);
}

/* A file with one kernel: three sides, and what it leaves out is not its own. */
static void honest_file_is_accepted(void **state) {
    (void)state;
    char path[64];
    compile_kernel_file("honest", path);
    run(path, 1 << HONE_OP_rms_norm, NULL);
    assert_right();
    assert_string_equal(report->candidate.set_name, "attack");
    for (int op = 0; op < HONE_OP_COUNT; op++)
        assert_int_equal(report->candidate.has[op], op == HONE_OP_rms_norm);
    for (size_t i = 0; i < report->micro_count; i++) {
        const hone_micro_row *r = &report->micro[i];
        assert_true(!r->inherited && r->over_shipped.pairs >= 8 && r->over_shipped.ratio > 0);
        assert_true(r->seconds[HONE_SIDE_SHIPPED] > 0);
    }
    size_t before = report->micro_count;
    run(path, 1 << HONE_OP_rope_embeddings, NULL);
    for (size_t i = before; i < report->micro_count; i++) {
        assert_true(report->micro[i].inherited && report->micro[i].correct);
    }
    unlink(path);
}

/* ---- what is wrong ---- */

typedef enum concerned { FORWARD, ALL } concerned; /* rows that are wrong */

static const struct attack {
    const char *name, *verdict, *words; /* in the reason */
    concerned rows;
} attacks[] = {
    {"stale", "WRONG", "y[0, 0] is", FORWARD},
    {"next_pass", "WRONG", "y[0, 0] is", FORWARD},
    {"zeros", "WRONG", "y[", FORWARD},
    {"nan", "WRONG", "y[0, 0] is", FORWARD},
    {"writes_weights", "CRASH", "signal 11", ALL},
    {"writes_x", "WRONG", "input x was changed", ALL},
    {"constants", "WRONG", "a timed call", FORWARD},
    {"pointer_cache", "WRONG", "a timed call", FORWARD},
    {"shape_cache", "WRONG", "a timed call", FORWARD},
    {"late", "WRONG", "a timed call", FORWARD},
    {"deferred", "VIOLATION", "system call", ALL},
    {"forged", "INVALID or WRONG", "", ALL}, /* found at work, or its outputs not done yet */
    {"goes_on", "INVALID", "went on working", ALL},
    {"low_precision", "WRONG", "y", FORWARD},
    {"half_precision", "WRONG", "y", FORWARD},
    {"calls_shipped", "INVALID", "hone_ops_fused", ALL},
    {"finds_shipped", "WRONG", "y[0, 0] is", FORWARD},
    {"past_end", "CRASH", "signal 11", ALL},
    {"flush_mode", "INVALID", "flush flags", ALL},
    {"overflows", "INVALID", "more memory than it planned", ALL},
    {"own_memory", "INVALID", "not taken from its host", ALL},
    {"one_thread", "WRONG", "y[", FORWARD},
    {"by_threads", "WRONG", "number of threads", ALL},
    {"endless", "TIMEOUT", "its time was up", ALL},
    {"without_backward", "WRONG", "y has other bits where no backward follows", FORWARD},
    {"composite", "WRONG", "linear_cross_entropy case", ALL},
    {"wide", "WRONG", "hidden case", FORWARD},
    {"many_keys", "WRONG", "hidden case", FORWARD},
    {"short_labels", "WRONG", "hidden case", FORWARD},
    {"frozen_adapter", "WRONG", "lora_linear: dx", ALL},
    {"shared_memory", "INVALID", "not taken from its host", ALL},
    {"static_memory", "INVALID", "not taken from its host", ALL},
};

/* Of another kernel than rms_norm. */
static const struct {
    const char *attack;
    hone_op kernel;
} elsewhere[] = {
    {"composite", HONE_OP_cross_entropy_loss},
    {"short_labels", HONE_OP_cross_entropy_loss},
    {"many_keys", HONE_OP_attention_with_rope},
    {"frozen_adapter", HONE_OP_lora_linear},
};

static hone_op kernel_of(const char *attack) {
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
        if (strcmp(elsewhere[i].attack, attack) == 0) return elsewhere[i].kernel;
    return HONE_OP_rms_norm;
}

static void try_attack(const struct attack *a) {
    char path[64];
    compile_kernel_file(a->name, path);
    run(path, 1u << kernel_of(a->name), NULL);
    unlink(path);
    if (!strstr(a->verdict, report->candidate.verdict))
        fail_msg("%s: %s, expected %s: %s", a->name, report->candidate.verdict, a->verdict,
                 report->candidate.reason);
    if (!strstr(report->candidate.reason, a->words))
        fail_msg("%s: \"%s\" says nothing of \"%s\"", a->name, report->candidate.reason, a->words);
    size_t wrong = 0;
    for (size_t i = 0; i < report->micro_count; i++) {
        const hone_micro_row *r = &report->micro[i];
        wrong += !r->correct;
        if (!r->correct && !r->reason[0]) fail_msg("%s: a row without a reason", a->name);
        if (a->rows == FORWARD && r->backward && !r->correct)
            fail_msg("%s: backward is called wrong: %s", a->name, r->reason);
    }
    if (wrong == 0) fail_msg("%s: no row is wrong", a->name);
    hone_eval_score score = hone_eval_report_score(report);
    assert_false(score.valid);
    assert_true(score.overall == 0);
}

static void attack_is_found(void **state) { try_attack(*state); }

/* A clock of its own changes nothing. Were it believed, no time would pass and it would be 10,000 times as fast; it is
 * several times as slow, and the bound leaves room for a busy machine. */
static void own_clock_has_no_effect(void **state) {
    (void)state;
    char path[64];
    compile_kernel_file("clock", path);
    run(path, 1 << HONE_OP_rms_norm, NULL);
    unlink(path);
    assert_right();
    for (size_t i = 0; i < report->micro_count; i++)
        if (report->micro[i].over_shipped.ratio >= 10)
            fail_msg("%g times as fast", report->micro[i].over_shipped.ratio);
}

/* What has no kernels earns nothing by those that it inherits. */
static void nothing_is_credited_to_nothing(void **state) {
    (void)state;
    char path[64];
    compile_kernel_file("nothing", path);
    run(path, 1 << HONE_OP_rms_norm, NULL);
    unlink(path);
    assert_right();
    for (size_t i = 0; i < report->micro_count; i++) assert_true(report->micro[i].inherited);
}

/* One kernel's death is not another's. */
static void others_are_still_measured(void **state) {
    (void)state;
    char path[64];
    tally t = {0};
    compile_kernel_file("past_end", path);
    run(path, 1 << HONE_OP_rms_norm | 1 << HONE_OP_rope_embeddings, &t);
    unlink(path);
    assert_int_equal(t.kernels_done, 2);
    for (size_t i = 0; i < report->micro_count; i++) {
        const hone_micro_row *r = &report->micro[i];
        if (r->correct != (r->kernel != HONE_OP_rms_norm) || r->tested != r->correct)
            fail_msg("%s: %s", hone_op_names[r->kernel], r->reason);
    }
}

/* Each order ends in time, all of them do not; and the next kernel has its own time. */
static void all_cases_have_one_deadline(void **state) {
    (void)state;
    char path[64];
    tally t = {0};
    compile_kernel_file("slow", path);
    check_seconds = 4;
    run(path, 1 << HONE_OP_rms_norm | 1 << HONE_OP_rope_embeddings, &t);
    check_seconds = 0;
    unlink(path);
    assert_int_equal(t.kernels_done, 2);
    assert_string_equal(report->candidate.verdict, "TIMEOUT");
    assert_non_null(strstr(report->candidate.reason, "rms_norm, case"));
    for (size_t i = 0; i < report->micro_count; i++) {
        const hone_micro_row *r = &report->micro[i];
        if (r->correct != (r->kernel != HONE_OP_rms_norm) || r->tested != r->correct)
            fail_msg("%s: %s", hone_op_names[r->kernel], r->reason);
    }
}

/* ---- stopping ---- */

static void stopping_leaves_the_rest_untested(void **state) {
    (void)state;
    tally t = {.stop_after = 5};
    assert_int_equal(run(NULL, 0, &t), HONE_ERR_INTERRUPTED);
    assert_int_equal(t.kernels_done, 0);
    for (size_t i = 0; i < report->micro_count; i++) {
        assert_false(report->micro[i].tested);
        assert_true(isnan(report->micro[i].over_naive.ratio) && report->micro[i].reason[0]);
    }
    assert_int_equal(report->micro_count, 2 * 2 * (4 * 2 + 2 * 3)); /* shapes, passes, types */
}

static void no_process_is_left(void **state) {
    (void)state;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* ---- work ---- */

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

enum { ATTACKS = sizeof attacks / sizeof *attacks };

int main(int argc, char **argv) {
    const struct CMUnitTest others[] = {
        cmocka_unit_test_setup_teardown(noise_is_measured, setup, teardown),
        cmocka_unit_test_setup_teardown(shipped_kernel_is_measured, setup, teardown),
        cmocka_unit_test_setup_teardown(honest_file_is_accepted, setup, teardown),
        cmocka_unit_test_setup_teardown(own_clock_has_no_effect, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_credited_to_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(others_are_still_measured, setup, teardown),
        cmocka_unit_test_setup_teardown(all_cases_have_one_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(stopping_leaves_the_rest_untested, setup, teardown),
        cmocka_unit_test(no_process_is_left),
        cmocka_unit_test(operations_are_counted),
    };
    enum { OTHERS = sizeof others / sizeof *others };
    struct CMUnitTest tests[ATTACKS + OTHERS];
    int worker = be_kernel_worker(argc, argv);
    if (getenv("ONLY_TEST")) cmocka_set_test_filter(getenv("ONLY_TEST"));
    if (worker >= 0) return worker;
    for (int i = 0; i < ATTACKS; i++)
        tests[OTHERS + i] = (struct CMUnitTest){.name = attacks[i].name,
                                                .test_func = attack_is_found,
                                                .setup_func = setup,
                                                .teardown_func = teardown,
                                                .initial_state = (void *)(uintptr_t)&attacks[i]};
    memcpy(tests, others, sizeof others);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
