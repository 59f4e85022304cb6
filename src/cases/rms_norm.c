/* cases: rms_norm. */
#include "cases/internal.h"

#include <math.h>

enum { X, GAMMA, Y, DY, DX, COPY, DGAMMA, AGAIN };
#define EPS 1e-5f

static const hone_case_shape shapes[] = {
    {.batch = 1, .seq = 1, .hidden = 4, .trained = true},
    {.batch = 1, .seq = 1, .hidden = 64},
    {.batch = 1, .seq = 3, .hidden = 15, .trained = true},
    {.batch = 1, .seq = 5, .hidden = 16, .in_place = true},
    {.batch = 2, .seq = 7, .hidden = 17, .trained = true, .in_place = true},
    {.batch = 1, .seq = 13, .hidden = 63, .trained = true, .magnitude = 1e-4},
    {.batch = 1, .seq = 65, .hidden = 65, .trained = true},
    {.batch = 3, .seq = 43, .hidden = 131, .trained = true, .magnitude = 1e4},
    {.batch = 2, .seq = 33, .hidden = 576, .trained = true},
};

static void declare(hone_case_run *run) {
    const hone_case_shape *s = &run->shape;
    size_t rows = hone_case_rows(s), n = s->hidden;
    hone_dtype dy = s->in_place ? HONE_F32 : s->compute;
    hone_case_declare(run, X, "x", HONE_CASE_RESIDUAL, HONE_CASE_FORWARD, HONE_F32, rows, n,
                      s->magnitude);
    hone_case_declare(run, GAMMA, "gamma", HONE_CASE_INPUT, HONE_CASE_FORWARD, HONE_F32, 1, n, 1);
    hone_case_declare(run, Y, "y", HONE_CASE_OUTPUT, HONE_CASE_FORWARD, s->compute, rows, n, 0);
    hone_case_declare(run, DY, "dy", HONE_CASE_INPUT, HONE_CASE_BACKWARD, dy, rows, n, 1);
    hone_case_declare(run, DX, "dx", HONE_CASE_ADDED, HONE_CASE_BACKWARD, HONE_F32, rows, n,
                      1 / s->magnitude);
    hone_case_declare(run, COPY, "dx_copy", HONE_CASE_OUTPUT, HONE_CASE_BACKWARD, s->compute, rows,
                      n, 0);
    if (s->trained) {
        hone_case_declare(run, DGAMMA, "dgamma", HONE_CASE_ADDED, HONE_CASE_BACKWARD, HONE_F32, 1,
                          n, 1);
    }
    if (hone_case_has(run->kind, run->set, HONE_CASE_REBUILD)) {
        hone_case_declare(run, AGAIN, "y again", HONE_CASE_OUTPUT, HONE_CASE_REBUILD, s->compute,
                          rows, n, 0);
    }
}

static hone_status bind(hone_case_run *run, hone_error *err) {
    (void)run, (void)err;
    return HONE_OK;
}

static hone_rms_norm_args arguments(const hone_case_run *run) {
    return (hone_rms_norm_args){.rows = hone_case_rows(&run->shape),
                                .hidden = run->shape.hidden,
                                .x = hone_case_data(run, X),
                                .gamma = hone_case_data(run, GAMMA),
                                .eps = EPS,
                                .y = hone_case_data(run, Y),
                                .dy = hone_case_data(run, DY),
                                .dy_dtype = run->tensor[DY].dtype,
                                .dx = hone_case_data(run, DX),
                                .dx_copy = hone_case_data(run, COPY),
                                .dgamma = hone_case_data(run, DGAMMA)};
}

static void forward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_rms_norm_args args = arguments(run);
    run->set->rms_norm_forward(ctx, &args, saved);
}

static void rebuild(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_rms_norm_args args = arguments(run);
    args.y = hone_case_data(run, AGAIN);
    run->set->rms_norm_rebuild(ctx, &args, saved);
}

static void backward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_rms_norm_args args = arguments(run);
    run->set->rms_norm_backward(ctx, &args, saved);
}

static bool oracle(hone_case_run *run) {
    hone_case_tensor *t = run->tensor;
    size_t rows = hone_case_rows(&run->shape), n = run->shape.hidden;
    hone_ref_rms_norm_forward(rows, n, t[X].values, t[GAMMA].values, (double)EPS, t[Y].want);
    hone_ref_rms_norm_backward(rows, n, t[X].values, t[GAMMA].values, (double)EPS, t[DY].values,
                               t[DX].want, t[DGAMMA].want);
    for (size_t i = 0; i < rows * n; i++) t[COPY].want[i] = t[DX].values[i] + t[DX].want[i];
    if (t[AGAIN].name) memcpy(t[AGAIN].want, t[Y].want, rows * n * sizeof *t[Y].want);
    return true;
}

static hone_case_bounds bounds(const hone_case_run *run, size_t tensor) {
    /* dx is the difference of terms of the size of rstd dy gamma; dgamma is a sum over rows. */
    double floor = 0;
    if (tensor == DX || tensor == COPY) floor = 1 / HONE_MAX(run->shape.magnitude, 0.003);
    if (tensor == DGAMMA) floor = sqrt((double)hone_case_rows(&run->shape));
    if (run->shape.compute == HONE_F32) {
        return (hone_case_bounds){3e-6, 2e-6, 1e-6,
                                  "float32 sums of `hidden` terms, a dozen roundings", floor};
    }
    return (hone_case_bounds){
        6e-2, 1e-2, 6e-3, "y and the x kept for backward are rounded to bfloat16 (2^-8)", floor};
}

/* Of bytes: every tensor once. Backward reads x in the compute type, the type that has to be kept. */
static void work(const hone_case_shape *s, hone_case_pass pass, double *flops, double *bytes) {
    double n = (double)hone_case_rows(s) * (double)s->hidden,
           element = s->compute == HONE_F32 ? 4 : 2;
    *flops = n * (pass == HONE_CASE_BACKWARD ? 9 : 4);
    *bytes = n * (pass == HONE_CASE_BACKWARD ? 3 * element + 8 : 4 + element);
}

static void draw(hone_case_shape *s, hone_case_reach reach, hone_rng *rng) {
    bool near = reach == HONE_CASE_NEAR;
    s->batch = hone_case_between(rng, 1, 3);
    s->seq = hone_case_between(rng, 1, near ? 70 : 2);
    s->hidden = near ? hone_case_between(rng, 5, 700) : hone_case_reach_to(reach, 700, 16384, rng);
    s->trained = hone_rng_below(rng, 2);
    s->in_place = hone_rng_below(rng, 2);
    s->magnitude = hone_case_magnitude(rng, 1e-3, 1e3);
}

const hone_case hone_case_rms_norm = {
    .name = "rms_norm",
    .backward = true,
    .shapes = shapes,
    .shape_count = sizeof shapes / sizeof *shapes,
    .declare = declare,
    .bind = bind,
    .pass = {forward, backward, rebuild},
    .oracle = oracle,
    .bounds = bounds,
    .work = work,
    .draw = draw,
};
