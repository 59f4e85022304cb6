/* tests/ops/ops_help: runs operations on a team as the model does (planned first), and typed arrays. */
#ifndef HONE_TESTS_OPS_HELP_H
#define HONE_TESTS_OPS_HELP_H

#include "support.h"

#include "base/cpu.h"
#include "base/rng.h"
#include "ops/ops.h"

#include <math.h>

typedef void ops_body(hone_ctx *ctx, void *argument);

typedef struct ops_run_state {
    hone_ctx ctx;
    ops_body *body;
    void *argument;
    size_t peaks[64];
} ops_run_state;

static inline void ops_run_thread(hone_team team, void *argument) {
    ops_run_state *state = argument;
    hone_ctx ctx = state->ctx;
    ctx.team = team;
    state->body(&ctx, state->argument);
    state->peaks[team.rank] = ctx.arena.overflow ? SIZE_MAX : ctx.arena.peak;
}

/* Plans `body`, then runs it on `threads` threads in an arena of just that size, filled with NaNs. Every thread's peak
 * must be the planned one, which is returned. */
static inline size_t ops_run(const hone_kernels *kernels, hone_dtype compute, int threads,
                             ops_body *body, void *argument) {
    ops_run_state state = {
        .ctx = {.kernels = kernels, .compute = compute}, .body = body, .argument = argument};
    state.ctx.arena = hone_arena_plan();
    state.ctx.team.size = threads;
    hone_ctx plan = state.ctx;
    body(&plan, argument);
    size_t peak = plan.arena.peak;
    hone_error err;
    assert_ok(hone_arena_open(&state.ctx.arena, peak + 64, false, &err), err);
    memset(state.ctx.arena.base, 0xff, peak + 64);
    hone_parallel(threads, ops_run_thread, &state);
    for (int t = 0; t < threads; t++) assert_int_equal(state.peaks[t], peak);
    hone_arena_close(&state.ctx.arena);
    return peak;
}

static inline size_t ops_bytes(hone_dtype dtype, size_t n) {
    return n * (dtype == HONE_F32 ? 4 : 2);
}

/* Normal numbers times `scale`, rounded to `dtype` so that the typed array holds just these. */
static inline double *ops_random(hone_rng *rng, hone_dtype dtype, size_t n, double scale) {
    double *x = malloc(n * sizeof *x + 1);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        float f = (float)(hone_rng_normal(rng) * scale);
        x[i] = dtype == HONE_F32 ? f : hone_bf16_to_f32(hone_f32_to_bf16(f));
    }
    return x;
}

static inline double *ops_doubles(size_t n) {
    double *x = calloc(n + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

/* x as `dtype`, in exactly its bytes (a sanitizer sees one more). NULL gives NaNs. */
static inline void *ops_typed(hone_dtype dtype, size_t n, const double *x) {
    void *y = malloc(n == 0 ? 1 : ops_bytes(dtype, n));
    assert_non_null(y);
    if (!x) memset(y, 0xff, ops_bytes(dtype, n));
    for (size_t i = 0; x && i < n; i++) {
        if (dtype == HONE_F32) {
            ((float *)y)[i] = (float)x[i];
        } else {
            ((hone_bf16 *)y)[i] = hone_f32_to_bf16((float)x[i]);
        }
    }
    return y;
}

static inline double ops_at(hone_dtype dtype, const void *x, size_t i) {
    return dtype == HONE_F32 ? ((const float *)x)[i] : hone_bf16_to_f32(((const hone_bf16 *)x)[i]);
}

/* |got - want| / |want| in the Euclidean norm; infinite when something is not finite. */
static inline double ops_error(hone_dtype dtype, size_t n, const void *got, const double *want) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double g = ops_at(dtype, got, i);
        if (!isfinite(g)) return INFINITY;
        difference += (g - want[i]) * (g - want[i]);
        norm += want[i] * want[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

#define assert_close(dtype, n, got, want, bound)                                                   \
    do {                                                                                           \
        double error_ = ops_error(dtype, n, got, want);                                            \
        if (!(error_ <= (bound))) fail_msg("%s: error %.3g, bound %.3g", #got, error_, bound);     \
    } while (0)

#endif
