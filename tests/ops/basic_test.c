/* What a model needs beside the six operations, and the sets by name. */
#include "ops/ops_help.h"

#include "kernels/ref/ref.h"

enum { VOCAB = 50, HIDDEN = 96, ROWS = 200, COUNT = 40000 };

typedef struct everything {
    hone_matrix table;
    int32_t ids[ROWS];
    float *y, *dy, *dtable;
    float *w, *m, *v, *g;
    float *sum_in, *sum_out;
    hone_bf16 *narrow;
    double squares[3];
    unsigned char *bytes;
} everything;

static void body(hone_ctx *ctx, void *argument) {
    everything *e = argument;
    hone_embedding_forward(ctx, &e->table, e->ids, ROWS, e->y);
    hone_embedding_backward(ctx, e->ids, ROWS, HIDDEN, e->dy, e->dtable);
    hone_convert(ctx, COUNT, e->sum_in, HONE_F32, e->narrow, HONE_BF16);
    hone_residual_add(ctx, COUNT, e->sum_in, e->narrow, HONE_BF16, e->sum_out);
    hone_adamw adamw = {.n = COUNT,
                        .w = e->w,
                        .m = e->m,
                        .v = e->v,
                        .g = e->g,
                        .lr = 1e-2,
                        .beta1 = 0.9,
                        .beta2 = 0.99,
                        .eps = 1e-8,
                        .weight_decay = 0.1,
                        .correction1 = 0.1,
                        .correction2 = 0.01,
                        .grad_scale = 0.5f};
    hone_adamw_step(ctx, &adamw);
    double squares = hone_sum_squares(ctx, e->g, COUNT);
    if (!hone_ctx_planning(ctx)) e->squares[ctx->team.rank] = squares;
    hone_zero(ctx, e->bytes, 10001);
}

static float *floats(const double *x, size_t n) { return ops_typed(HONE_F32, n, x); }

static void check(const hone_kernels *kernels, int threads, everything *e, double *const x[5]) {
    hone_rng rng = hone_rng_make(1);
    for (int r = 0; r < ROWS; r++) e->ids[r] = (int32_t)hone_rng_below(&rng, VOCAB);
    e->table =
        hone_matrix_dense(ops_typed(HONE_BF16, VOCAB * HIDDEN, x[0]), HONE_BF16, VOCAB, HIDDEN);
    e->y = floats(NULL, ROWS * HIDDEN), e->dy = floats(x[1], ROWS * HIDDEN),
    e->dtable = floats(x[0], VOCAB * HIDDEN);
    e->w = floats(x[1], COUNT), e->m = floats(x[2], COUNT), e->v = floats(x[3], COUNT),
    e->g = floats(x[4], COUNT);
    e->sum_in = floats(x[2], COUNT), e->sum_out = floats(NULL, COUNT);
    e->narrow = ops_typed(HONE_BF16, COUNT, NULL);
    e->bytes = malloc(10002);
    memset(e->bytes, 0xff, 10002);
    ops_run(kernels, HONE_BF16, threads, body, e);

    double *want = ops_doubles(VOCAB * HIDDEN);
    memcpy(want, x[0], VOCAB * HIDDEN * sizeof *want);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < HIDDEN; c++) {
            assert_true(e->y[r * HIDDEN + c] == (float)x[0][(size_t)e->ids[r] * HIDDEN + c]);
            want[(size_t)e->ids[r] * HIDDEN + c] += x[1][r * HIDDEN + c];
        }
    }
    assert_close(HONE_F32, VOCAB * HIDDEN, e->dtable, want, 1e-6);
    free(want);
    double squares = 0;
    for (size_t i = 0; i < COUNT; i++) {
        squares += x[4][i] * x[4][i];
        assert_true(e->sum_out[i] ==
                    (float)x[2][i] + hone_bf16_to_f32(hone_f32_to_bf16((float)x[2][i])));
    }
    for (int t = 0; t < threads; t++) assert_true(e->squares[t] == e->squares[0]);
    assert_true(fabs(e->squares[0] - squares) <= 1e-7 * squares);
    for (int i = 0; i < 10001; i++) assert_int_equal(e->bytes[i], 0);
    assert_int_equal(e->bytes[10001], 0xff);
}

static void release(everything *e) {
    free((void *)e->table.data), free(e->y), free(e->dy), free(e->dtable), free(e->w), free(e->m),
        free(e->v);
    free(e->g), free(e->sum_in), free(e->sum_out), free(e->narrow), free(e->bytes);
}

static void on_any_team(void **state) {
    (void)state;
    hone_rng rng = hone_rng_make(5);
    double *x[5];
    for (int i = 0; i < 5; i++) x[i] = ops_random(&rng, i == 0 ? HONE_BF16 : HONE_F32, COUNT, 1.0);
    for (int i = 0; i < COUNT; i++) x[3][i] = (float)fabs(x[3][i]);
    double *w = ops_doubles(COUNT), *m = ops_doubles(COUNT), *v = ops_doubles(COUNT),
           *g = ops_doubles(COUNT);
    for (int i = 0; i < COUNT; i++)
        w[i] = x[1][i], m[i] = x[2][i], v[i] = x[3][i], g[i] = x[4][i] * 0.5;
    hone_ref_adamw adamw = {1e-2, 0.9, 0.99, 1e-8, 0.1, 0.1, 0.01};
    hone_ref_adamw_step(&adamw, COUNT, g, w, m, v);
    hone_kernels kernels;
    const char *tier;
    for (size_t index = 0; hone_kernels_tier(index, hone_cpu_detect(), &kernels, &tier); index++) {
        everything first = {0};
        for (int threads = 1; threads <= 3; threads++) {
            everything e = {0};
            check(&kernels, threads, &e, x);
            assert_close(HONE_F32, COUNT, e.w, w, 1e-6);
            if (threads == 1) {
                first = e;
                continue;
            }
            assert_true(e.squares[0] == first.squares[0]);
            assert_memory_equal(e.dtable, first.dtable, VOCAB * HIDDEN * sizeof(float));
            assert_memory_equal(e.w, first.w, COUNT * sizeof(float));
            release(&e);
        }
        release(&first);
    }
    for (int i = 0; i < 5; i++) free(x[i]);
    free(w), free(m), free(v), free(g);
}

/* Two sums in turns, whose partial sums lie at the same place: who is late may not find the next one's. */
typedef struct sums {
    const float *x;
    size_t many, few;
    double want[2];
    size_t wrong[2]; /* by thread */
} sums;

static void sum_often(hone_ctx *ctx, void *argument) {
    sums *s = argument;
    for (int i = 0; i < (hone_ctx_planning(ctx) ? 1 : 50000); i++) {
        double many = hone_sum_squares(ctx, s->x, s->many),
               few = hone_sum_squares(ctx, s->x, s->few);
        if (!hone_ctx_planning(ctx))
            s->wrong[ctx->team.rank] += many != s->want[0] || few != s->want[1];
    }
}

static void sums_in_turns(void **state) {
    (void)state;
    enum { MANY = 16384 + 1 };
    static float x[MANY];
    hone_kernels kernels;
    hone_kernels_select(hone_cpu_detect(), &kernels);
    for (size_t i = 0; i < MANY; i++) x[i] = i == MANY - 1 ? 2 : 1;
    sums s = {x, MANY, 3, {MANY + 3, 3}, {0}};
    ops_run(&kernels, HONE_F32, 2, sum_often, &s);
    for (int t = 0; t < 2; t++) assert_int_equal(s.wrong[t], 0);
}

static void sets_by_name(void **state) {
    (void)state;
    assert_ptr_equal(hone_op_set_find("naive"), &hone_ops_naive);
    assert_ptr_equal(hone_op_set_find("fused"), &hone_ops_fused);
    assert_null(hone_op_set_find("Fused"));
    assert_null(hone_op_set_find(""));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_any_team),
                                       cmocka_unit_test(sums_in_turns),
                                       cmocka_unit_test(sets_by_name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
