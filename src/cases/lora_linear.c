/* cases: lora_linear, y = x W^T + bias + scale (x A^T) B^T over dense and quantized weights. */
#include "cases/internal.h"

#include <math.h>

enum { LAYER, X = LAYER + LINEAR_SLOTS, Y, DY, DX };

static const hone_case_shape shapes[] = {
    {.batch = 1, .seq = 1, .in = 1, .out = 1, .rank = 1, .trained = true},
    {.batch = 1, .seq = 1, .in = 64, .out = 48, .rank = 8},
    {.batch = 1, .seq = 7, .in = 17, .out = 33, .rank = 1, .trained = true},
    {.batch = 3, .seq = 5, .in = 67, .out = 31, .rank = 4, .trained = true, .in_place = true},
    {.batch = 1, .seq = 37, .in = 131, .out = 257, .rank = 40, .trained = true},
    {.batch = 2, .seq = 9, .in = 40, .out = 24, .rank = 0, .trained = true},
    {.batch = 2, .seq = 9, .in = 96, .out = 40, .rank = 0, .in_place = true},
    {.batch = 1, .seq = 19, .in = 80, .out = 65, .rank = 8, .weight = HONE_BF16},
    {.batch = 1, .seq = 19, .in = 72, .out = 49, .rank = 8, .weight = HONE_F16},
    {.batch = 1, .seq = 19, .in = 96, .out = 65, .rank = 8, .weight = HONE_Q4_0},
    {.batch = 1, .seq = 1, .in = 32, .out = 17, .rank = 8, .weight = HONE_Q4_1},
    {.batch = 2, .seq = 35, .in = 160, .out = 97, .rank = 8, .weight = HONE_Q4_1, .in_place = true},
    {.batch = 1, .seq = 19, .in = 96, .out = 65, .rank = 8, .weight = HONE_Q8_0},
    {.batch = 1, .seq = 19, .in = 96, .out = 65, .rank = 4, .weight = HONE_AFFINE4, .group = 32},
    {.batch = 1, .seq = 19, .in = 192, .out = 65, .rank = 8, .weight = HONE_AFFINE4, .group = 64},
    {.batch = 1, .seq = 19, .in = 256, .out = 65, .rank = 8, .weight = HONE_AFFINE4, .group = 128},
    {.batch = 1, .seq = 70, .in = 576, .out = 192, .rank = 8, .magnitude = 100},
    {.batch = 1, .seq = 21, .in = 66, .out = 35, .rank = 8, .frozen = HONE_FROZEN_A},
    {.batch = 1, .seq = 21, .in = 66, .out = 35, .rank = 3, .frozen = HONE_FROZEN_B},
    {.batch = 1, .seq = 21, .in = 66, .out = 35, .rank = 8, .frozen = HONE_FROZEN_BOTH},
    {.batch = 1, .seq = 5, .in = 3200, .out = 35, .rank = 8},
};

static void declare(hone_case_run *run) {
    const hone_case_shape *s = &run->shape;
    size_t rows = hone_case_rows(s);
    hone_dtype type = s->in_place ? HONE_F32 : s->compute;
    hone_case_role role = s->in_place ? HONE_CASE_ADDED : HONE_CASE_OUTPUT;
    hone_case_declare_linear(run, LAYER, HONE_CASE_LINEAR, HONE_CASE_BACKWARD, s->in, s->out);
    hone_case_declare(run, X, "x", HONE_CASE_INPUT, HONE_CASE_FORWARD, s->compute, rows, s->in,
                      s->magnitude);
    hone_case_declare(run, Y, "y", role, HONE_CASE_FORWARD, type, rows, s->out, 1);
    hone_case_declare(run, DY, "dy", HONE_CASE_INPUT, HONE_CASE_BACKWARD, s->compute, rows, s->out,
                      1);
    hone_case_declare(run, DX, "dx", role, HONE_CASE_BACKWARD, type, rows, s->in, 1);
}

static hone_status bind(hone_case_run *run, hone_error *err) {
    (void)err;
    hone_case_bind_linear(run, LAYER, 0);
    return HONE_OK;
}

static hone_lora_linear_args arguments(const hone_case_run *run) {
    return (hone_lora_linear_args){.rows = hone_case_rows(&run->shape),
                                   .linear = &run->linear[0],
                                   .x = hone_case_data(run, X),
                                   .y = hone_case_data(run, Y),
                                   .y_dtype = run->tensor[Y].dtype,
                                   .accumulate = run->shape.in_place,
                                   .dy = hone_case_data(run, DY),
                                   .dx = hone_case_data(run, DX),
                                   .dx_dtype = run->tensor[DX].dtype,
                                   .dx_accumulate = run->shape.in_place};
}

static void forward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_lora_linear_args args = arguments(run);
    run->set->lora_linear_forward(ctx, &args, saved);
}

static void backward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_lora_linear_args args = arguments(run);
    run->set->lora_linear_backward(ctx, &args, saved);
}

static bool oracle(hone_case_run *run) {
    hone_case_tensor *t = run->tensor;
    size_t rows = hone_case_rows(&run->shape);
    hone_ref_linear linear = hone_case_ref_linear(run, LAYER);
    hone_ref_linear_gradients gradients = hone_case_ref_gradients(run, LAYER);
    return hone_ref_linear_forward(&linear, rows, t[X].values, t[Y].want) &&
           hone_ref_linear_backward(&linear, rows, t[X].values, t[DY].values, t[DX].want,
                                    &gradients);
}

static hone_case_bounds bounds(const hone_case_run *run, size_t tensor) {
    double x = run->shape.magnitude, floor = hone_case_linear_size(run, LAYER, tensor, x, 1);
    if (tensor == Y) floor = x;
    if (tensor == DX) floor = sqrt((double)run->shape.out / (double)run->shape.in);
    if (run->shape.compute == HONE_F32) {
        return (hone_case_bounds){1e-5, 2e-6, 2e-6,
                                  "float32 sums of `in`, `out` or `rows` products", floor};
    }
    return (hone_case_bounds){4e-2, 1e-2, 8e-3,
                              "A, B, x A^T, dy B and results are rounded to bfloat16 (2^-8 each)",
                              floor};
}

static void work(const hone_case_shape *s, hone_case_pass pass, double *flops, double *bytes) {
    bool back = pass == HONE_CASE_BACKWARD;
    size_t weight_row = 0;
    hone_dtype_row_bytes(s->weight, s->in, &weight_row);
    double rows = (double)hone_case_rows(s), in = (double)s->in, out = (double)s->out,
           rank = (double)s->rank;
    double element = s->compute == HONE_F32 ? 4 : 2;
    *flops = 2 * rows * in * out * (back && s->trained ? 2 : 1) +
             2 * rows * rank * (in + out) * (back ? 2 : 1);
    *bytes =
        rows * element * (in + out) + out * (double)weight_row + rank * (in + out) * (back ? 8 : 4);
    if (back) *bytes += rows * element * in;
    if (back && s->trained) *bytes += in * out * 8;
}

static void draw(hone_case_shape *s, hone_case_reach reach, hone_rng *rng) {
    static const hone_case_limits near = {40, 300, 300, 41};
    hone_case_draw_linear(s, &s->in, &s->out, &near, reach, rng);
    s->magnitude = hone_case_magnitude(rng, 1e-1, 1e2);
}

const hone_case hone_case_lora_linear = {
    .name = "lora_linear",
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
