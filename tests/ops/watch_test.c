/* The set around a set: it computes what the inner one does, counts the calls, and spoils the one it was told to. */
#include "ops/ops_help.h"

#include "ops/watch.h"

enum { ROWS = 6, HIDDEN = 32, VOCAB = 40 };

typedef struct problem {
    const hone_op_set *set;
    float *x, *gamma, *y, *dx, *dgamma, *logits, *dlogits, *loss;
    int32_t *labels;
} problem;

static void body(hone_ctx *ctx, void *argument) {
    problem *p = argument;
    hone_saved norm_saved = {{0}}, loss_saved = {{0}};
    hone_rms_norm_args norm = {.rows = ROWS,
                               .hidden = HIDDEN,
                               .x = p->x,
                               .gamma = p->gamma,
                               .eps = 1e-5f,
                               .y = p->y,
                               .dy = p->x,
                               .dx = p->dx,
                               .dgamma = p->dgamma};
    hone_cross_entropy_args loss = {.rows = ROWS,
                                    .vocab = VOCAB,
                                    .logits = p->logits,
                                    .labels = p->labels,
                                    .loss = p->loss,
                                    .scale = 1,
                                    .dlogits = p->dlogits};
    ctx->ops = p->set;
    p->set->rms_norm_forward(ctx, &norm, &norm_saved);
    p->set->rms_norm_backward(ctx, &norm, &norm_saved);
    p->set->cross_entropy_loss_forward(ctx, &loss, &loss_saved);
    assert_true(ctx->ops == p->set); /* the inner set has left nothing behind */
}

static float *numbers(size_t n) {
    hone_rng rng = hone_rng_make(n);
    double *x = ops_random(&rng, HONE_F32, n, 1);
    float *y = ops_typed(HONE_F32, n, x);
    free(x);
    return y;
}

static problem run(const hone_op_set *set, int threads) {
    static int32_t labels[ROWS] = {1, 2, 3, HONE_IGNORE, 5, 39};
    hone_kernels kernels;
    problem p = {.set = set, .labels = labels};
    hone_kernels_select(hone_cpu_detect(), &kernels);
    p.x = numbers(ROWS * HIDDEN), p.gamma = numbers(HIDDEN), p.y = numbers(ROWS * HIDDEN);
    p.dx = calloc(ROWS * HIDDEN, sizeof(float)), p.dgamma = calloc(HIDDEN, sizeof(float));
    p.logits = numbers(ROWS * VOCAB), p.dlogits = numbers(ROWS * VOCAB), p.loss = numbers(ROWS);
    ops_run(&kernels, HONE_F32, threads, body, &p);
    return p;
}

static void release(problem *p) {
    free(p->x), free(p->gamma), free(p->y), free(p->dx), free(p->dgamma);
    free(p->logits), free(p->dlogits), free(p->loss);
}

static void counts_and_changes_nothing(void **state) {
    (void)state;
    const hone_op_set *const sets[] = {&hone_ops_naive, &hone_ops_fused};
    for (int s = 0; s < 2; s++) {
        hone_watch watch;
        hone_watch_start(&watch, sets[s], HONE_SABOTAGE_NONE);
        assert_string_equal(watch.ops.name, sets[s]->name);
        problem plain = run(sets[s], 2), watched = run(&watch.ops, 2);
        assert_memory_equal(plain.y, watched.y, ROWS * HIDDEN * sizeof(float));
        assert_memory_equal(plain.dx, watched.dx, ROWS * HIDDEN * sizeof(float));
        assert_memory_equal(plain.loss, watched.loss, ROWS * sizeof(float));
        for (int op = 0; op < HONE_OP_COUNT; op++) { /* once for the team; planning is no call */
            bool norm = op == HONE_OP_rms_norm, loss = op == HONE_OP_cross_entropy_loss;
            assert_int_equal(watch.calls[op][0], norm || loss);
            assert_int_equal(watch.calls[op][1], norm);
        }
        release(&plain), release(&watched);
    }
}

static void spoils_one_kernel(void **state) {
    (void)state;
    hone_watch watch;
    problem plain = run(&hone_ops_fused, 1);
    hone_watch_start(&watch, &hone_ops_fused, HONE_OP_rms_norm);
    problem norm = run(&watch.ops, 2);
    hone_watch_start(&watch, &hone_ops_fused, HONE_OP_cross_entropy_loss);
    problem loss = run(&watch.ops, 2);
    for (int i = 0; i < ROWS * HIDDEN; i++) {
        assert_true(norm.y[i] == plain.y[i] / 2);
        assert_true(loss.y[i] == plain.y[i]);
    }
    for (int r = 0; r < ROWS; r++) {
        assert_true(loss.loss[r] == plain.loss[r] / 2);
        assert_true(norm.loss[r] == plain.loss[r]);
    }
    release(&plain), release(&norm), release(&loss);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_changes_nothing),
        cmocka_unit_test(spoils_one_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
