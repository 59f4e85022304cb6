/* Proof that checks can fail: each output of each operation is damaged in turn after a correct pass, and every damage
 * must be found. */
#include "support.h"

#include "base/cpu.h"
#include "cases/cases.h"
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

typedef enum damage {
    NONE,
    ZEROS,
    NEGATED,
    NOTHING_DONE,
    CONSTANT,
    ONE_ELEMENT,
    ONE_NAN,
    DOUBLED,
    DAMAGES
} damage;
static const char *const names[] = {"none",     "zeros",       "negated", "nothing done",
                                    "constant", "one element", "one NaN", "doubled"};

static const hone_case *real;
static size_t victim;
static damage how;

static double get(const hone_case_tensor *t, size_t i) {
    if (t->dtype == HONE_F32) return (double)((const float *)t->data)[i];
    return (double)hone_bf16_to_f32(((const hone_bf16 *)t->data)[i]);
}

static void set(const hone_case_tensor *t, size_t i, double x) {
    if (t->dtype == HONE_F32)
        ((float *)t->data)[i] = (float)x;
    else
        ((hone_bf16 *)t->data)[i] = hone_f32_to_bf16((float)x);
}

static void spoil(const hone_case_tensor *t) {
    size_t count = t->rows * t->cols, last = count - 1;
    double squares = 0;
    for (size_t i = 0; i < count; i++) squares += get(t, i) * get(t, i);
    double size = sqrt(squares / (double)count);
    if (how == ONE_ELEMENT) set(t, last, get(t, last) + 2 * size);
    if (how == ONE_NAN) set(t, last, NAN);
    if (how == NOTHING_DONE && t->start)
        memcpy(t->data, t->start, t->bytes);
    else if (how == NOTHING_DONE)
        memset(t->data, 0xff, t->bytes);
    for (size_t i = 0; i < count; i++) {
        if (how == ZEROS) set(t, i, 0);
        if (how == NEGATED) set(t, i, -get(t, i));
        if (how == DOUBLED) set(t, i, 2 * get(t, i));
        if (how == CONSTANT) set(t, i, size);
    }
}

static void run_and_spoil(const hone_case_run *run, hone_case_pass pass, hone_ctx *ctx,
                          hone_saved *saved) {
    real->pass[pass](run, ctx, saved);
    if (hone_ctx_planning(ctx)) return;
    const hone_case_tensor *t = &run->tensor[victim];
    hone_barrier(ctx->team);
    if (ctx->team.rank == 0 && t->pass == pass && how != NONE) {
        if (t->role >= HONE_CASE_OUTPUT)
            spoil(t);
        else
            set(t, 0, get(t, 0) + 1); /* an input that was to stay */
    }
    hone_barrier(ctx->team);
}

static void forward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    run_and_spoil(run, HONE_CASE_FORWARD, ctx, saved);
}

static void backward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    run_and_spoil(run, HONE_CASE_BACKWARD, ctx, saved);
}

static hone_case_report check(const hone_case *kind, const hone_case_shape *shape) {
    hone_kernels kernels;
    hone_case_report report;
    hone_error err;
    hone_kernels_select(hone_cpu_detect(), &kernels);
    assert_ok(hone_case_check(kind, shape, &hone_ops_fused, &kernels, 2, 3, &report, NULL, &err),
              err);
    return report;
}

/* The last shape of each kind has labels, segments and gradients of every sort. */
static void spoil_kind(const hone_case *kind, hone_dtype compute) {
    real = kind;
    hone_case wrapped = *kind;
    wrapped.pass[HONE_CASE_FORWARD] = forward;
    if (kind->pass[HONE_CASE_BACKWARD]) wrapped.pass[HONE_CASE_BACKWARD] = backward;
    hone_case_shape shape = kind->shapes[kind->shape_count - 1];
    shape.compute = compute;
    hone_case_run run;
    hone_error err;
    assert_ok(hone_case_open(&wrapped, &shape, &hone_ops_fused, 3, false, NULL, &run, &err), err);
    how = NONE;
    assert_true(check(&wrapped, &shape).passed);
    for (victim = 0; victim < HONE_CASE_TENSORS; victim++) {
        const hone_case_tensor *t = &run.tensor[victim];
        bool input = t->role == HONE_CASE_INPUT && (t->dtype == HONE_F32 || t->dtype == HONE_BF16);
        if (!t->name || (t->role < HONE_CASE_OUTPUT && !input)) continue;
        for (how = ZEROS; how < DAMAGES; how++) {
            hone_case_report report = check(&wrapped, &shape);
            if (report.passed)
                fail_msg("%s: %s: %s was not found", kind->name, t->name, names[how]);
            assert_true(!(report.share <= 1) && strstr(report.message, t->name));
            if (input) break;
        }
    }
    hone_case_close(&run);
}

static void test_damage(void **state) {
    (void)state;
    const hone_case *kind;
    for (size_t i = 0; (kind = hone_case_at(i)); i++) {
        spoil_kind(kind, HONE_F32);
        spoil_kind(kind, HONE_BF16);
    }
}

/* An op that changes the order of things only where the size is odd, or drops the last row, is found by shapes. */
static void forget_last_row(hone_ctx *ctx, const hone_rms_norm_args *args, hone_saved *saved) {
    hone_rms_norm_args fewer = *args;
    fewer.rows--;
    hone_ops_fused.rms_norm_forward(ctx, fewer.rows ? &fewer : args, saved);
}

static void swap_signs(hone_ctx *ctx, const hone_rope_args *args, hone_saved *saved) {
    hone_ops_fused.rope_embeddings_backward(ctx, args, saved);
}

static void copy_input(hone_ctx *ctx, const hone_rms_norm_args *args, hone_saved *saved) {
    hone_ops_fused.rms_norm_forward(ctx, args, saved);
    if (!hone_ctx_planning(ctx))
        hone_convert(ctx, args->rows * args->hidden, args->x, HONE_F32, args->y, ctx->compute);
}

static void forget_first(hone_ctx *ctx, const hone_rms_norm_args *args, hone_saved *saved) {
    hone_ops_fused.rms_norm_forward(ctx, args, saved);
    if (hone_ctx_planning(ctx) || saved || ctx->team.rank) return;
    memset(args->y, 0, ctx->compute == HONE_F32 ? 4 : 2);
}

static void expect_failure(const char *name, const hone_op_set *set) {
    const hone_case *kind = hone_case_find(name);
    hone_kernels kernels;
    hone_kernels_select(hone_cpu_detect(), &kernels);
    size_t failed = 0;
    for (size_t i = 0; i < kind->shape_count; i++) {
        hone_case_shape shape = kind->shapes[i];
        hone_case_report report;
        hone_error err;
        assert_ok(hone_case_check(kind, &shape, set, &kernels, 1, 5, &report, NULL, &err), err);
        failed += !report.passed;
    }
    assert_true(failed >= kind->shape_count / 2);
}

static void test_wrong_ops(void **state) {
    (void)state;
    hone_op_set wrong = hone_ops_fused;
    wrong.rms_norm_forward = forget_last_row;
    wrong.rope_embeddings_forward = swap_signs;
    expect_failure("rms_norm", &wrong);
    expect_failure("rope_embeddings", &wrong);
    wrong.rms_norm_forward = copy_input;
    expect_failure("rms_norm", &wrong);
    wrong.rms_norm_forward = forget_first; /* where no backward follows */
    expect_failure("rms_norm", &wrong);
}

/* One byte past the end of any buffer ends the process. */
static void test_guard_pages(void **state) {
    (void)state;
    const hone_case *kind = hone_case_find("lora_linear");
    hone_case_run run;
    hone_error err;
    assert_ok(hone_case_open(kind, &kind->shapes[2], &hone_ops_fused, 3, true, NULL, &run, &err),
              err);
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        if (!run.tensor[i].name) continue;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            fclose(stderr); /* neither the test library nor a sanitizer is to report this */
            signal(SIGSEGV, SIG_DFL);
            signal(SIGBUS, SIG_DFL);
            ((volatile char *)run.tensor[i].data)[run.tensor[i].bytes] = 1;
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    hone_case_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_wrong_ops),
        cmocka_unit_test(test_guard_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
