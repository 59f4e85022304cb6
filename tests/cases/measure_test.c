/* What the evaluation does with a run: plan, several runs with different contents, passes in a team, comparison of the
 * sets with each other at a shape that the oracle would take long for. */
#include "support.h"

#include "base/cpu.h"
#include "cases/cases.h"

#include <math.h>

typedef struct job {
    const hone_case_run *run;
    const hone_kernels *kernels;
    hone_arena arena;
    size_t peak;
} job;

static void passes(hone_team team, void *argument) {
    job *j = argument;
    hone_ctx ctx = {
        .team = team, .kernels = j->kernels, .compute = j->run->shape.compute, .arena = j->arena};
    hone_saved saved = {0};
    hone_case_run_pass(j->run, HONE_CASE_FORWARD, &ctx, &saved);
    if (j->run->kind->backward) hone_case_run_pass(j->run, HONE_CASE_BACKWARD, &ctx, &saved);
    if (team.rank == 0) j->peak = ctx.arena.peak;
}

static void run_once(const hone_case_run *run, const hone_kernels *kernels, int threads) {
    hone_error err;
    hone_case_memory memory = hone_case_plan(run, kernels, threads);
    job j = {.run = run, .kernels = kernels};
    assert_ok(hone_arena_open(&j.arena, memory.arena + 1, false, &err), err);
    hone_parallel(threads, passes, &j);
    assert_int_equal(j.peak, memory.arena);
    hone_arena_close(&j.arena);
}

static void compare_sets(const hone_case *kind, const hone_case_shape *shape) {
    hone_case_run naive, fused, other;
    hone_kernels kernels;
    hone_error err;
    hone_kernels_select(hone_cpu_detect(), &kernels);
    assert_ok(hone_case_open(kind, shape, &hone_ops_naive, 1, false, NULL, &naive, &err), err);
    assert_ok(hone_case_open(kind, shape, &hone_ops_fused, 1, false, NULL, &fused, &err), err);
    assert_ok(hone_case_open(kind, shape, &hone_ops_fused, 2, false, NULL, &other, &err), err);
    run_once(&naive, &kernels, 2);
    run_once(&fused, &kernels, 2);
    run_once(&other, &kernels, 2);
    hone_case_reset(&fused);
    run_once(&fused, &kernels, 1);
    assert_ok(hone_case_expect(&fused, &naive, &err), err);
    assert_ok(hone_case_expect(&other, &naive, &err), err);
    for (hone_case_pass pass = HONE_CASE_FORWARD; pass <= HONE_CASE_BACKWARD; pass++) {
        hone_case_report report;
        hone_case_compare(&fused, pass, 2, &report);
        if (!report.passed) fail_msg("%s: %s", kind->name, report.message);
        assert_true(!kind->pass[pass] || report.tensor);
        hone_case_compare(&other, pass, 2, &report);
        assert_true(!kind->pass[pass] || !report.passed);
    }
    hone_case_close(&naive);
    hone_case_close(&fused);
    hone_case_close(&other);
}

static void test_sets_agree(void **state) {
    (void)state;
    const hone_case *kind;
    for (size_t i = 0; (kind = hone_case_at(i)); i++) {
        hone_case_shape shapes[4];
        assert_int_equal(hone_case_bench_shapes(kind, NULL, shapes, 4), 3);
        compare_sets(kind, &shapes[0]);
        shapes[0].compute = HONE_BF16;
        if (kind->linear) shapes[0].weight = HONE_Q4_1;
        compare_sets(kind, &shapes[0]);
    }
}

/* The shapes of the evaluation's table, and the model's as it gives them. */
static void test_shapes(void **state) {
    (void)state;
    const hone_case_shape model = {.batch = 4,
                                   .seq = 256,
                                   .hidden = 576,
                                   .vocab = 49152,
                                   .heads = 9,
                                   .kv_heads = 3,
                                   .head_dim = 64,
                                   .ffn = 1536,
                                   .rank = 8};
    hone_case_shape s[4];
    assert_int_equal(hone_case_bench_shapes(hone_case_find("attention_with_rope"), &model, s, 4),
                     4);
    assert_true(s[2].batch == 2 && s[2].seq == 256 && s[2].heads == 12 && s[2].kv_heads == 6 &&
                s[2].head_dim == 64);
    assert_true(s[3].batch == 4 && s[3].heads == 9 && s[3].kv_heads == 3);
    assert_int_equal(hone_case_bench_shapes(hone_case_find("swiglu_activation"), &model, s, 4), 4);
    assert_true(s[1].batch == 8 && s[1].seq == 128 && s[1].hidden == 512 && s[1].ffn == 2048 &&
                s[1].rank == 8);
    assert_int_equal(hone_case_bench_shapes(hone_case_find("cross_entropy_loss"), &model, s, 2), 2);
    assert_true(s[1].vocab == 2000 && s[1].hidden == 0);
    assert_null(hone_case_find("softmax"));
    assert_null(hone_case_at(7));
}

/* Forward of fused rms_norm: y, the copy and rstd; of naive cross-entropy: at least the probabilities. */
static void test_memory(void **state) {
    (void)state;
    hone_kernels kernels;
    hone_case_run run;
    hone_error err;
    hone_kernels_select(0, &kernels);
    hone_case_shape shape = {.batch = 2, .seq = 64, .hidden = 128, .compute = HONE_BF16};
    assert_ok(hone_case_open(hone_case_find("rms_norm"), &shape, &hone_ops_fused, 1, false, NULL,
                             &run, &err),
              err);
    hone_case_memory memory = hone_case_plan(&run, &kernels, 1);
    assert_int_equal(memory.outputs[HONE_CASE_FORWARD], 128 * 128 * 2);
    assert_int_equal(memory.peak[HONE_CASE_FORWARD], 128 * 128 * 2 + 128 * 128 * 2 + 128 * 4);
    hone_case_close(&run);
    hone_case_shape logits = {.batch = 2, .seq = 64, .vocab = 256, .in_place = true};
    assert_ok(hone_case_open(hone_case_find("cross_entropy_loss"), &logits, &hone_ops_naive, 1,
                             false, NULL, &run, &err),
              err);
    memory = hone_case_plan(&run, &kernels, 1);
    assert_int_equal(memory.outputs[HONE_CASE_BACKWARD], 0);
    assert_true(memory.peak[HONE_CASE_FORWARD] >= 128 * 256 * 4);
    hone_case_close(&run);
}

/* ---- two processes, one run --------------------------------------------------------------- */

typedef struct agreement {
    const hone_case_run *run, *trusted;
    hone_case_sums sums;
    bool forward, backward;
} agreement;

static void agree(hone_team team, void *argument) {
    agreement *a = argument;
    bool forward = hone_case_agrees(a->run, a->trusted, HONE_CASE_FORWARD, 2, team, &a->sums);
    bool backward = hone_case_agrees(a->run, a->trusted, HONE_CASE_BACKWARD, 2, team, &a->sums);
    if (team.rank == 0) a->forward = forward, a->backward = backward;
}

static bool agrees(const hone_case_run *run, const hone_case_run *trusted) {
    agreement a = {.run = run, .trusted = trusted};
    hone_parallel(2, agree, &a);
    return a.forward && a.backward;
}

static void refill(hone_team team, void *argument) { hone_case_refill(argument, 77, team); }

static double value_at(const hone_case_tensor *t, size_t i) {
    return (double)(t->dtype == HONE_F32 ? ((const float *)t->data)[i]
                                         : hone_bf16_to_f32(((const hone_bf16 *)t->data)[i]));
}

static void put_at(const hone_case_tensor *t, size_t i, double value) {
    if (t->dtype == HONE_F32)
        ((float *)t->data)[i] = (float)value;
    else
        ((hone_bf16 *)t->data)[i] = hone_f32_to_bf16((float)value);
}

/* Each of the two rules alone says no: one element beyond its own bound, by so little that the norm of all does not
 * tell; all elements within theirs, but more of them than the norm allows. Counts those there is room for. */
static void each_rule_shows(const hone_case_run *run, const hone_case_run *trusted, size_t i,
                            int shown[2]) {
    const hone_case_tensor *t = &run->tensor[i], *want = &trusted->tensor[i];
    const hone_case_bounds b = run->kind->bounds(run, i);
    size_t count = t->rows * t->cols, at = count / 2;
    double squares = 0;
    for (size_t k = 0; k < count; k++) squares += pow(value_at(want, k), 2);
    double size = fmax(sqrt(squares / (double)count), b.floor), before = value_at(t, at);
    double away = 2.5 * (b.absolute * size + b.relative * fabs(value_at(want, at)));
    if (count >= 64 && away <= b.norm * size * sqrt((double)count)) {
        put_at(t, at, value_at(want, at) + away);
        assert_false(agrees(run, trusted));
        put_at(t, at, before);
        shown[0]++;
    }
    if (count < 64 || t->dtype != HONE_F32 || b.absolute < 2 * b.norm) return;
    float *kept = malloc(t->bytes);
    assert_non_null(kept);
    memcpy(kept, t->data, t->bytes);
    for (size_t k = 0; k < count; k++) put_at(t, k, value_at(want, k) + 3 * b.norm * size);
    assert_false(agrees(run, trusted));
    memcpy(t->data, kept, t->bytes);
    free(kept);
    shown[1]++;
}

/* Another team fills with the same contents, which look like those of hone_case_open. */
static void assert_refill(const hone_case_run *run) {
    hone_case_run other;
    hone_error err;
    assert_ok(hone_case_open(run->kind, &run->shape, run->set, 1, false, NULL, &other, &err), err);
    hone_parallel(1, refill, &other);
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        if (!t->name || t->role == HONE_CASE_OUTPUT) continue;
        const void *own = t->start ? t->start : t->data;
        assert_memory_equal(
            own, other.tensor[i].start ? other.tensor[i].start : other.tensor[i].data, t->bytes);
        size_t block = hone_dtype_block_bytes(t->dtype), codes = 16; /* at a block's end */
        if (hone_dtype_block(t->dtype) > 1 && t->bytes >= 2 * block)
            assert_memory_not_equal((const char *)own + block - codes,
                                    (const char *)own + 2 * block - codes, codes);
        if (t->dtype != HONE_F32 || t->scale == 0 || t->rows * t->cols < 1000) continue;
        double squares = 0, sum = 0, count = (double)(t->rows * t->cols);
        for (size_t k = 0; k < t->rows * t->cols; k++) {
            double x = (double)((const float *)own)[k];
            sum += x;
            squares += x * x;
        }
        assert_true(squares > 0.8 * count * t->scale * t->scale &&
                    squares < 1.2 * count * t->scale * t->scale);
        assert_true(sum * sum < 25 * count * t->scale * t->scale);
    }
    hone_case_close(&other);
}

/* A room's tensors are seen by a second run in the same memory, which fills nothing. */
static void share_run(const hone_case *kind, const hone_case_shape *shape, int shown[2]) {
    size_t bytes[HONE_CASE_SPACES];
    hone_case_run own, other, naive;
    hone_kernels kernels;
    hone_error err;
    hone_kernels_select(hone_cpu_detect(), &kernels);
    assert_ok(hone_case_measure(kind, shape, &hone_ops_fused, bytes, &err), err);
    hone_case_room room = {.filled = false}, again = {.filled = true};
    for (int s = 0; s < HONE_CASE_SPACES; s++) {
        room.space[s].base = again.space[s].base = aligned_alloc(4096, bytes[s]);
        room.space[s].bytes = again.space[s].bytes = bytes[s];
    }
    assert_ok(hone_case_open(kind, shape, &hone_ops_fused, 1, false, &room, &own, &err), err);
    hone_parallel(2, refill, &own);
    hone_case_reset(&own);
    assert_ok(hone_case_open(kind, shape, &hone_ops_fused, 2, false, &again, &other, &err), err);
    for (int s = 0; s < HONE_CASE_SPACES; s++)
        assert_true(room.space[s].used == bytes[s] && again.space[s].used == bytes[s]);
    assert_refill(&own);
    run_once(&other, &kernels, 2);
    /* The naive set on the same contents: alike. One element off, or no number: not. */
    assert_ok(hone_case_open(kind, shape, &hone_ops_naive, 1, false, NULL, &naive, &err), err);
    hone_parallel(1, refill, &naive);
    hone_case_reset(&naive);
    run_once(&naive, &kernels, 1);
    assert_true(agrees(&own, &naive));
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &own.tensor[i];
        if (!t->name || t->role < HONE_CASE_OUTPUT || t->pass == HONE_CASE_REBUILD) continue;
        unsigned char before[4], *last = (unsigned char *)t->data + t->bytes - 4;
        memcpy(before, last, 4);
        memset(last, 0xff, 4);
        assert_false(agrees(&own, &naive));
        memcpy(last, before, 4);
        const float much = 1e4f; /* its upper half is the same in bfloat16 */
        memcpy(last + 2, (const char *)&much + 2, 2);
        assert_false(agrees(&own, &naive));
        memcpy(last, before, 4);
        each_rule_shows(&own, &naive, i, shown);
    }
    assert_true(agrees(&own, &naive));
    hone_case_close(&own);
    hone_case_close(&other);
    hone_case_close(&naive);
    for (int s = 0; s < HONE_CASE_SPACES; s++) free(room.space[s].base);
}

static void test_shared_runs(void **state) {
    (void)state;
    int shown[2] = {0, 0};
    const hone_case *kind;
    for (size_t i = 0; (kind = hone_case_at(i)); i++) {
        hone_case_shape shapes[4];
        hone_case_bench_shapes(kind, NULL, shapes, 4);
        if (!kind->backward) continue;
        share_run(kind, &shapes[0], shown);
        shapes[0].compute = HONE_BF16;
        if (kind->linear) shapes[0].weight = HONE_Q4_1;
        share_run(kind, &shapes[0], shown);
    }
    assert_true(shown[0] > 0 && shown[1] > 0);
}

/* Whatever is drawn can be run, and the shipped set is right there. */
static void test_drawn_shapes(void **state) {
    (void)state;
    const hone_case *kind;
    hone_kernels kernels;
    hone_rng rng = hone_rng_make(11);
    hone_kernels_select(hone_cpu_detect(), &kernels);
    for (size_t i = 0; (kind = hone_case_at(i)); i++) {
        for (int n = 0; n < 24; n++) {
            hone_case_reach reach = (hone_case_reach)(n / 2 % 3);
            hone_case_shape shape = hone_case_draw(kind, reach, &rng);
            hone_case_report report;
            hone_error err;
            shape.compute = n % 2 ? HONE_BF16 : HONE_F32;
            assert_ok(hone_case_check(kind, &shape, &hone_ops_fused, &kernels, 2, (uint64_t)n,
                                      &report, NULL, &err),
                      err);
            if (!report.passed) fail_msg("%s", report.message);
        }
    }
}

/* A shape that cannot be is refused in words. */
static void test_refusal(void **state) {
    (void)state;
    hone_case_run run;
    hone_error err;
    hone_case_shape odd = {.batch = 1, .seq = 2, .in = 33, .out = 8, .weight = HONE_Q4_1};
    assert_int_equal(hone_case_open(hone_case_find("lora_linear"), &odd, &hone_ops_fused, 1, true,
                                    NULL, &run, &err),
                     HONE_ERR_USAGE);
    assert_non_null(strstr(err.message, "weight"));
    hone_case_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets_agree),   cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_memory),       cmocka_unit_test(test_shared_runs),
        cmocka_unit_test(test_drawn_shapes), cmocka_unit_test(test_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
