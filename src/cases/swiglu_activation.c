/* cases: swiglu_activation, h = silu(gate(x)) * up(x), both linear layers with their adapters. */
#include "cases/internal.h"

#include <math.h>

enum { GATE, UP = GATE + LINEAR_SLOTS, X = UP + LINEAR_SLOTS, H, DH, DX, H_BACK };

static const hone_case_shape shapes[] = {
    {.batch = 1, .seq = 1, .hidden = 1, .ffn = 1, .rank = 1, .trained = true},
    {.batch = 1, .seq = 1, .hidden = 64, .ffn = 96, .rank = 8},
    {.batch = 1, .seq = 7, .hidden = 17, .ffn = 33, .rank = 4, .trained = true},
    {.batch = 2, .seq = 17, .hidden = 67, .ffn = 131, .rank = 8, .trained = true, .in_place = true},
    {.batch = 1, .seq = 9, .hidden = 40, .ffn = 56, .rank = 0, .trained = true},
    {.batch = 1, .seq = 33, .hidden = 48, .ffn = 72, .rank = 40, .weight = HONE_BF16},
    {.batch = 1, .seq = 19, .hidden = 96, .ffn = 160, .rank = 8, .weight = HONE_Q4_0},
    {.batch = 1,
     .seq = 19,
     .hidden = 96,
     .ffn = 160,
     .rank = 8,
     .weight = HONE_Q4_1,
     .in_place = true},
    {.batch = 1, .seq = 19, .hidden = 64, .ffn = 67, .rank = 1, .weight = HONE_Q8_0},
    {.batch = 1,
     .seq = 19,
     .hidden = 128,
     .ffn = 67,
     .rank = 8,
     .weight = HONE_AFFINE4,
     .group = 64},
    {.batch = 1, .seq = 21, .hidden = 40, .ffn = 67, .rank = 8, .frozen = HONE_FROZEN_A},
    {.batch = 1, .seq = 21, .hidden = 40, .ffn = 67, .rank = 3, .frozen = HONE_FROZEN_B},
    {.batch = 1, .seq = 21, .hidden = 40, .ffn = 67, .rank = 8, .frozen = HONE_FROZEN_BOTH},
    {.batch = 1, .seq = 19, .hidden = 48, .ffn = 67, .rank = 8, .magnitude = 8},
};

static void declare(hone_case_run *run) {
    const hone_case_shape *s = &run->shape;
    size_t rows = hone_case_rows(s);
    hone_case_role dx = s->in_place ? HONE_CASE_ADDED : HONE_CASE_OUTPUT;
    hone_case_declare_linear(run, GATE, HONE_CASE_GATE, HONE_CASE_BACKWARD, s->hidden, s->ffn);
    hone_case_declare_linear(run, UP, HONE_CASE_UP, HONE_CASE_BACKWARD, s->hidden, s->ffn);
    hone_case_declare(run, X, "x", HONE_CASE_INPUT, HONE_CASE_FORWARD, s->compute, rows, s->hidden,
                      s->magnitude);
    hone_case_declare(run, H, "h", HONE_CASE_OUTPUT, HONE_CASE_FORWARD, s->compute, rows, s->ffn,
                      0);
    hone_case_declare(run, DH, "dh", HONE_CASE_CONSUMED, HONE_CASE_BACKWARD, s->compute, rows,
                      s->ffn, 1);
    hone_case_declare(run, DX, "dx", dx, HONE_CASE_BACKWARD, HONE_F32, rows, s->hidden, 1);
    if (s->in_place) {
        hone_case_declare(run, H_BACK, "h from backward", HONE_CASE_OUTPUT, HONE_CASE_BACKWARD,
                          s->compute, rows, s->ffn, 0);
    }
}

static hone_status bind(hone_case_run *run, hone_error *err) {
    (void)err;
    hone_case_bind_linear(run, GATE, 0);
    hone_case_bind_linear(run, UP, 1);
    return HONE_OK;
}

static hone_swiglu_args arguments(const hone_case_run *run, size_t h) {
    return (hone_swiglu_args){.rows = hone_case_rows(&run->shape),
                              .gate = &run->linear[0],
                              .up = &run->linear[1],
                              .x = hone_case_data(run, X),
                              .h = hone_case_data(run, h),
                              .dh = hone_case_data(run, DH),
                              .dx = hone_case_data(run, DX),
                              .accumulate = run->shape.in_place};
}

static void forward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_swiglu_args args = arguments(run, H);
    run->set->swiglu_activation_forward(ctx, &args, saved);
}

static void backward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_swiglu_args args = arguments(run, H_BACK);
    run->set->swiglu_activation_backward(ctx, &args, saved);
}

static bool oracle(hone_case_run *run) {
    hone_case_tensor *t = run->tensor;
    size_t rows = hone_case_rows(&run->shape), bytes = rows * run->shape.ffn * sizeof(double);
    hone_ref_linear gate = hone_case_ref_linear(run, GATE), up = hone_case_ref_linear(run, UP);
    hone_ref_linear_gradients of_gate = hone_case_ref_gradients(run, GATE),
                              of_up = hone_case_ref_gradients(run, UP);
    if (!hone_ref_swiglu_forward(&gate, &up, rows, t[X].values, t[H].want)) return false;
    if (t[H_BACK].name) memcpy(t[H_BACK].want, t[H].want, bytes);
    return hone_ref_swiglu_backward(&gate, &up, rows, t[X].values, t[DH].values, t[DX].want,
                                    &of_gate, &of_up);
}

static hone_case_bounds bounds(const hone_case_run *run, size_t tensor) {
    /* Gradients of gate and up are of the size of up and of silu(gate): x. */
    double x = run->shape.magnitude, floor = hone_case_linear_size(run, GATE, tensor, x, x / 2);
    if (tensor >= UP) floor = hone_case_linear_size(run, UP, tensor, x, x / 2);
    if (tensor == H || tensor == H_BACK) floor = x * x / 2;
    if (tensor == DX) floor = x / 2 * sqrt((double)run->shape.ffn / (double)run->shape.hidden);
    if (run->shape.compute == HONE_F32) {
        double n = sqrt(HONE_MAX((double)run->shape.hidden / 1024, 1)); /* errors of long sums */
        return (hone_case_bounds){1e-5 * n, 3e-6 * n, 2e-6 * n,
                                  "float32 sums, then silu of gates that carry their error", floor};
    }
    double m = HONE_MAX(x / 4, 1); /* the slope of silu at large gates, where it is not yet flat */
    return (hone_case_bounds){1.5e-1 * m, 2e-2, 1.5e-2 * m,
                              "gate, up, dgate and dup are rounded to bfloat16 (2^-8)", floor};
}

static void work(const hone_case_shape *s, hone_case_pass pass, double *flops, double *bytes) {
    bool back = pass == HONE_CASE_BACKWARD;
    size_t weight_row = 0;
    hone_dtype_row_bytes(s->weight, s->hidden, &weight_row);
    double rows = (double)hone_case_rows(s), in = (double)s->hidden, out = (double)s->ffn,
           rank = (double)s->rank;
    double element = s->compute == HONE_F32 ? 4 : 2;
    *flops = 4 * rows * in * out * (back && s->trained ? 2 : 1) +
             4 * rows * rank * (in + out) * (back ? 2 : 1);
    *bytes = 2 * out * (double)weight_row + 2 * rank * (in + out) * (back ? 8 : 4) +
             rows * in * element + rows * out * element * (back ? 3 : 1);
    if (back) *bytes += rows * in * 4;
    if (back && s->trained) *bytes += 2 * in * out * 8;
}

static void draw(hone_case_shape *s, hone_case_reach reach, hone_rng *rng) {
    static const hone_case_limits near = {30, 150, 200, 17};
    hone_case_draw_linear(s, &s->hidden, &s->ffn, &near, reach, rng);
}

const hone_case hone_case_swiglu_activation = {
    .name = "swiglu_activation",
    .backward = true,
    .linear = true,
    .shapes = shapes,
    .shape_count = sizeof shapes / sizeof *shapes,
    .declare = declare,
    .bind = bind,
    .pass = {forward, backward},
    .oracle = oracle,
    .bounds = bounds,
    .work = work,
    .draw = draw,
};
