/* RMSNorm and the rotary embedding of both sets against the float64 oracle, and the fused norm's rebuilding. */
#include "ops/ops_help.h"

#include "kernels/ref/ref.h"

enum { ROWS = 150, HIDDEN = 100, HEADS = 5, DIM = 20, ROPE = 12 };

typedef struct problem {
    const hone_op_set *set;
    hone_rms_norm_args args;
    hone_rope_args rope;
    void *rebuilt;
} problem;

static void norm_body(hone_ctx *ctx, void *argument) {
    problem *p = argument;
    hone_saved saved = {{0}};
    p->set->rms_norm_forward(ctx, &p->args, &saved);
    if (p->set->rms_norm_rebuild) {
        hone_rms_norm_args again = p->args;
        again.x = NULL; /* the residual stream has moved on */
        again.y = p->rebuilt;
        p->set->rms_norm_rebuild(ctx, &again, &saved);
    }
    p->set->rms_norm_backward(ctx, &p->args, &saved);
}

typedef struct wanted {
    double *x, *gamma, *dy, *dx0;
    double *y, *dx, *dgamma;
} wanted;

static void make_norm(wanted *w, hone_dtype compute) {
    hone_rng rng = hone_rng_make(2);
    size_t n = (size_t)ROWS * HIDDEN;
    w->x = ops_random(&rng, compute, n, 1.0);
    w->gamma = ops_random(&rng, HONE_F32, HIDDEN, 1.0);
    w->dy = ops_random(&rng, compute, n, 1.0);
    w->dx0 = ops_random(&rng, HONE_F32, n, 1.0);
    w->y = ops_doubles(n), w->dx = ops_doubles(n), w->dgamma = ops_doubles(HIDDEN);
    hone_ref_rms_norm_forward(ROWS, HIDDEN, w->x, w->gamma, 1e-5, w->y);
    hone_ref_rms_norm_backward(ROWS, HIDDEN, w->x, w->gamma, 1e-5, w->dy, w->dx, w->dgamma);
    for (size_t i = 0; i < n; i++) w->dx[i] += w->dx0[i];
    for (size_t i = 0; i < HIDDEN; i++) w->dgamma[i] += 1;
}

static void free_norm(wanted *w) {
    free(w->x), free(w->gamma), free(w->dy), free(w->dx0), free(w->y), free(w->dx), free(w->dgamma);
}

static void run_norm(const hone_kernels *kernels, hone_dtype compute, int threads, const wanted *w,
                     problem *p) {
    size_t n = (size_t)ROWS * HIDDEN;
    double bound = compute == HONE_F32 ? 2e-6 : 5e-3;
    float *dgamma = malloc(HIDDEN * sizeof *dgamma);
    for (int i = 0; i < HIDDEN; i++) dgamma[i] = 1;
    p->args = (hone_rms_norm_args){
        .rows = ROWS,
        .hidden = HIDDEN,
        .x = ops_typed(HONE_F32, n, w->x),
        .gamma = ops_typed(HONE_F32, HIDDEN, w->gamma),
        .eps = 1e-5f,
        .y = ops_typed(compute, n, NULL),
        .dy = ops_typed(compute, n, w->dy),
        .dy_dtype = compute,
        .dx = ops_typed(HONE_F32, n, w->dx0),
        .dx_copy = ops_typed(compute, n, NULL),
        .dgamma = dgamma,
    };
    p->rebuilt = ops_typed(compute, n, NULL);
    ops_run(kernels, compute, threads, norm_body, p);
    assert_close(compute, n, p->args.y, w->y, bound);
    if (p->set->rms_norm_rebuild) assert_memory_equal(p->rebuilt, p->args.y, ops_bytes(compute, n));
    assert_close(HONE_F32, n, p->args.dx, w->dx, bound);
    assert_close(compute, n, p->args.dx_copy, w->dx, bound);
    assert_close(HONE_F32, HIDDEN, p->args.dgamma, w->dgamma, bound);
}

static void free_run(problem *p) {
    free((void *)p->args.x), free((void *)p->args.gamma), free(p->args.y), free((void *)p->args.dy);
    free(p->args.dx), free(p->args.dx_copy), free(p->args.dgamma), free(p->rebuilt);
}

static void norms(void **state) {
    (void)state;
    const hone_op_set *sets[] = {&hone_ops_fused, &hone_ops_naive};
    hone_kernels kernels;
    const char *tier;
    for (int i = 0; i < 4; i++) {
        hone_dtype compute = i % 2 == 0 ? HONE_F32 : HONE_BF16;
        wanted w;
        make_norm(&w, compute);
        for (size_t index = 0; hone_kernels_tier(index, hone_cpu_detect(), &kernels, &tier);
             index++) {
            problem first = {.set = sets[i / 2]};
            run_norm(&kernels, compute, 1, &w, &first);
            for (int threads = 2; threads <= 3; threads++) {
                problem p = {.set = sets[i / 2]};
                run_norm(&kernels, compute, threads, &w, &p);
                assert_memory_equal(p.args.dx, first.args.dx,
                                    (size_t)ROWS * HIDDEN * sizeof(float));
                assert_memory_equal(p.args.dgamma, first.args.dgamma, HIDDEN * sizeof(float));
                free_run(&p);
            }
            free_run(&first);
        }
        free_norm(&w);
    }
}

static void rope_body(hone_ctx *ctx, void *argument) {
    problem *p = argument;
    hone_rope_args back = p->rope;
    p->set->rope_embeddings_forward(ctx, &p->rope, NULL);
    back.x = p->rope.y;
    back.y = p->rebuilt;
    p->set->rope_embeddings_backward(ctx, &back, NULL);
}

static void rotations(void **state) {
    (void)state;
    const hone_op_set *sets[] = {&hone_ops_fused, &hone_ops_naive};
    size_t n = (size_t)ROWS * HEADS * DIM, angles = (size_t)ROWS * ROPE / 2;
    int32_t positions[ROWS];
    double *cosine = ops_doubles(angles), *sine = ops_doubles(angles), *want = ops_doubles(n);
    for (size_t i = 0; i < angles; i++)
        cosine[i] = (float)cos((double)i), sine[i] = (float)sin((double)i);
    for (int r = 0; r < ROWS; r++) positions[r] = (r * 7) % ROWS;
    float *cos_f = ops_typed(HONE_F32, angles, cosine), *sin_f = ops_typed(HONE_F32, angles, sine);
    hone_kernels kernels;
    const char *tier;
    for (int i = 0; i < 8; i++) {
        hone_dtype compute = i % 2 == 0 ? HONE_F32 : HONE_BF16;
        hone_rng rng = hone_rng_make(4);
        double *x = ops_random(&rng, compute, n, 1.0);
        hone_ref_rope ref = {ROWS, HEADS, DIM, ROPE, positions, cosine, sine, i / 4 == 1};
        hone_ref_rope_forward(&ref, x, want);
        for (size_t index = 0; hone_kernels_tier(index, hone_cpu_detect(), &kernels, &tier);
             index++) {
            for (int threads = 1; threads <= 3; threads++) {
                problem p = {.set = sets[i / 2 % 2], .rebuilt = ops_typed(compute, n, NULL)};
                p.rope = (hone_rope_args){ROWS, HEADS,     DIM,   ROPE,  ops_typed(compute, n, x),
                                          NULL, positions, cos_f, sin_f, i / 4 == 1};
                p.rope.y = p.rope.x; /* in place */
                ops_run(&kernels, compute, threads, rope_body, &p);
                assert_close(compute, n, p.rope.y, want, compute == HONE_F32 ? 1e-6 : 5e-3);
                assert_close(compute, n, p.rebuilt, x, compute == HONE_F32 ? 1e-6 : 8e-3);
                free(p.rope.x), free(p.rebuilt);
            }
        }
        free(x);
    }
    free(cosine), free(sine), free(want), free(cos_f), free(sin_f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(norms), cmocka_unit_test(rotations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
