/* bench/bench: what the programs behind the figures share: a team, an arena, repeated timing. */
#ifndef HONE_BENCH_BENCH_H
#define HONE_BENCH_BENCH_H

#include "base/clock.h"
#include "base/cpu.h"
#include "base/rng.h"
#include "ops/ops.h"

#include <stdio.h>
#include <stdlib.h>

#define BENCH_REPEATS 15

typedef struct bench {
    hone_kernels kernels;
    hone_dtype compute;
    int threads;
    size_t peak; /* of the arena, in the last run */
} bench;

typedef void bench_body(hone_ctx *ctx, void *argument);

typedef struct bench_time {
    double median, minimum; /* seconds */
} bench_time;

typedef struct bench_state {
    hone_ctx ctx;
    bench_body *body;
    void *argument;
} bench_state;

static inline bench bench_start(hone_dtype compute) {
    bench b = {.compute = compute, .threads = hone_parallel_default_threads()};
    hone_error err;
    unsigned features = 0;
    if (hone_cpu_features(&features, &err) != HONE_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
    hone_kernels_select(features, &b.kernels);
    printf("%s, %s, multiplying with %s, %d threads\n", hone_cpu_model(), hone_dtype_name(compute),
           compute == HONE_BF16 ? b.kernels.gemm_bf16_name : b.kernels.gemm_f32_name, b.threads);
    return b;
}

static inline void bench_thread(hone_team team, void *argument) {
    bench_state *state = argument;
    hone_ctx ctx = state->ctx;
    ctx.team = team;
    state->body(&ctx, state->argument);
}

static inline int bench_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Plans the body, warms up, and times it. */
static inline bench_time bench_run(bench *b, bench_body *body, void *argument) {
    bench_state state = {
        .ctx = {.team = {0, b->threads}, .kernels = &b->kernels, .compute = b->compute},
        .body = body,
        .argument = argument};
    hone_ctx plan = state.ctx;
    plan.arena = hone_arena_plan();
    body(&plan, argument);
    b->peak = plan.arena.peak;
    hone_error err;
    if (hone_arena_open(&state.ctx.arena, b->peak, true, &err) != HONE_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    double times[BENCH_REPEATS];
    for (int i = -2; i < BENCH_REPEATS; i++) {
        double start = hone_clock_seconds();
        hone_parallel(b->threads, bench_thread, &state);
        if (i >= 0) times[i] = hone_clock_seconds() - start;
    }
    hone_arena_close(&state.ctx.arena);
    qsort(times, BENCH_REPEATS, sizeof *times, bench_compare);
    return (bench_time){times[BENCH_REPEATS / 2], times[0]};
}

/* Normal numbers of F32 or BF16; the caller frees. */
static inline void *bench_random(hone_dtype dtype, size_t n, double scale) {
    void *x = aligned_alloc(64, HONE_CEIL_DIV(n * hone_dtype_block_bytes(dtype), 64) * 64);
    if (!x) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    hone_rng rng = hone_rng_make(n);
    for (size_t i = 0; i < n; i++) {
        float f = (float)(hone_rng_normal(&rng) * scale);
        if (dtype == HONE_F32) {
            ((float *)x)[i] = f;
        } else {
            ((hone_bf16 *)x)[i] = hone_f32_to_bf16(f);
        }
    }
    return x;
}

/* GFLOP/s of the matrix-multiply kernel on operands packed beforehand, [512 x 576] x [576 x 512] each thread. */
enum { BENCH_SIDE = 512, BENCH_DEPTH = 576, BENCH_PRODUCTS = 20 };

static inline void bench_multiply_body(hone_ctx *ctx, void *argument) {
    if (hone_ctx_planning(ctx)) return;
    hone_gemm gemm = *(const hone_gemm *)argument;
    gemm.c = (float *)gemm.c + (size_t)ctx->team.rank * BENCH_SIDE * BENCH_SIDE;
    for (int i = 0; i < BENCH_PRODUCTS; i++) {
        (ctx->compute == HONE_BF16 ? ctx->kernels->gemm_bf16 : ctx->kernels->gemm_f32)(&gemm);
    }
}

static inline double bench_multiply_rate(bench *b) {
    size_t side = BENCH_SIDE, depth = BENCH_DEPTH;
    void *a = bench_random(b->compute, side * depth, 1.0);
    void *packed = aligned_alloc(64, hone_pack_bytes(b->compute, side, depth));
    float *c = malloc(sizeof *c * side * side * (size_t)b->threads);
    hone_matrix w = hone_matrix_dense(a, b->compute, side, depth);
    (b->compute == HONE_BF16 ? b->kernels.pack_bf16 : b->kernels.pack_f32)(&w, true, 0, side, 0,
                                                                           depth, 1.0f, packed);
    hone_gemm gemm = {
        .m = side, .n = side, .k = depth, .a = a, .lda = depth, .b = packed, .c = c, .ldc = side};
    bench_time time = bench_run(b, bench_multiply_body, &gemm);
    free(a), free(packed), free(c);
    return BENCH_PRODUCTS * 2.0 * (double)(side * side * depth) * b->threads / time.median / 1e9;
}

#endif
