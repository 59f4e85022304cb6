/* cases: rope_embeddings, half-split and interleaved. */
#include "cases/internal.h"

enum { X, Y, DY, DX, POSITIONS, COS, SIN };

static const hone_case_shape shapes[] = {
    {.batch = 1, .seq = 1, .heads = 1, .head_dim = 2},
    {.batch = 1, .seq = 5, .heads = 3, .head_dim = 6, .interleaved = true},
    {.batch = 2, .seq = 7, .heads = 3, .head_dim = 16},
    {.batch = 2, .seq = 7, .heads = 2, .head_dim = 16, .interleaved = true, .in_place = true},
    {.batch = 3, .seq = 11, .heads = 9, .head_dim = 64, .in_place = true},
    {.batch = 1, .seq = 13, .heads = 4, .head_dim = 80},
    {.batch = 1, .seq = 13, .heads = 4, .head_dim = 80, .rope_dim = 32, .in_place = true},
    {.batch = 1, .seq = 13, .heads = 4, .head_dim = 96, .interleaved = true},
    {.batch = 2, .seq = 9, .heads = 2, .head_dim = 128, .magnitude = 1e3},
    {.batch = 2, .seq = 9, .heads = 2, .head_dim = 67, .rope_dim = 38, .interleaved = true},
};

static void declare(hone_case_run *run) {
    const hone_case_shape *s = &run->shape;
    size_t rows = hone_case_rows(s), n = s->heads * s->head_dim, half = s->rope_dim / 2;
    if (s->in_place) {
        hone_case_declare(run, Y, "y", HONE_CASE_IN_PLACE, HONE_CASE_FORWARD, s->compute, rows, n,
                          s->magnitude);
        hone_case_declare(run, DX, "dx", HONE_CASE_IN_PLACE, HONE_CASE_BACKWARD, s->compute, rows,
                          n, 1);
    } else {
        hone_case_declare(run, X, "x", HONE_CASE_INPUT, HONE_CASE_FORWARD, s->compute, rows, n,
                          s->magnitude);
        hone_case_declare(run, Y, "y", HONE_CASE_OUTPUT, HONE_CASE_FORWARD, s->compute, rows, n, 0);
        hone_case_declare(run, DY, "dy", HONE_CASE_INPUT, HONE_CASE_BACKWARD, s->compute, rows, n,
                          1);
        hone_case_declare(run, DX, "dx", HONE_CASE_OUTPUT, HONE_CASE_BACKWARD, s->compute, rows, n,
                          0);
    }
    hone_case_declare(run, POSITIONS, "positions", HONE_CASE_INPUT, HONE_CASE_FORWARD,
                      HONE_CASE_INTEGERS, rows, 1, 0);
    size_t table = s->past + s->seq;
    hone_case_declare(run, COS, "cos", HONE_CASE_INPUT, HONE_CASE_FORWARD, HONE_F32, table, half,
                      0);
    hone_case_declare(run, SIN, "sin", HONE_CASE_INPUT, HONE_CASE_FORWARD, HONE_F32, table, half,
                      0);
}

/* Rows of a sequence are at successive positions, from `first` on and around. */
static void fill_positions(const hone_case_run *run, size_t first) {
    int32_t *positions = hone_case_data(run, POSITIONS);
    for (size_t r = 0; r < hone_case_rows(&run->shape); r++)
        positions[r] = (int32_t)(run->shape.past + (r + first) % run->shape.seq);
}

static void fill(const hone_case_run *run, hone_rng *rng) {
    (void)rng;
    fill_positions(run, 0);
    hone_case_fill_rope(run, COS, SIN);
}

static void redraw(const hone_case_run *run, hone_rng *rng) {
    fill_positions(run, (size_t)hone_rng_below(rng, run->shape.seq));
}

static hone_status bind(hone_case_run *run, hone_error *err) {
    (void)run, (void)err;
    return HONE_OK;
}

static hone_rope_args arguments(const hone_case_run *run, size_t x, size_t y) {
    const hone_case_shape *s = &run->shape;
    return (hone_rope_args){.rows = hone_case_rows(s),
                            .heads = s->heads,
                            .head_dim = s->head_dim,
                            .rope_dim = s->rope_dim,
                            .x = hone_case_data(run, s->in_place ? y : x),
                            .y = hone_case_data(run, y),
                            .positions = hone_case_data(run, POSITIONS),
                            .cos = hone_case_data(run, COS),
                            .sin = hone_case_data(run, SIN),
                            .interleaved = s->interleaved};
}

static void forward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_rope_args args = arguments(run, X, Y);
    run->set->rope_embeddings_forward(ctx, &args, saved);
}

static void backward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_rope_args args = arguments(run, DY, DX);
    run->set->rope_embeddings_backward(ctx, &args, saved);
}

static bool oracle(hone_case_run *run) {
    const hone_case_shape *s = &run->shape;
    hone_case_tensor *t = run->tensor;
    hone_ref_rope ref = {.rows = hone_case_rows(s),
                         .heads = s->heads,
                         .head_dim = s->head_dim,
                         .rope_dim = s->rope_dim,
                         .positions = hone_case_data(run, POSITIONS),
                         .cos = t[COS].values,
                         .sin = t[SIN].values,
                         .interleaved = s->interleaved};
    hone_ref_rope_forward(&ref, t[s->in_place ? Y : X].values, t[Y].want);
    hone_ref_rope_backward(&ref, t[s->in_place ? DX : DY].values, t[DX].want);
    return true;
}

static hone_case_bounds bounds(const hone_case_run *run, size_t tensor) {
    (void)tensor;
    if (run->shape.compute == HONE_F32) {
        return (hone_case_bounds){5e-7, 2e-7, 1e-7,
                                  "three float32 roundings of terms of the pair's size", 0};
    }
    return (hone_case_bounds){
        1.6e-2, 4e-3, 5e-3, "bfloat16 roundings (2^-8): one where fused, one per product elsewhere",
        0};
}

static void work(const hone_case_shape *s, hone_case_pass pass, double *flops, double *bytes) {
    (void)pass;
    double n = (double)hone_case_rows(s) * (double)(s->heads * s->head_dim);
    *flops = 3 * n;
    *bytes = n * (s->compute == HONE_F32 ? 8 : 4);
}

static void draw(hone_case_shape *s, hone_case_reach reach, hone_rng *rng) {
    bool near = reach == HONE_CASE_NEAR;
    s->batch = hone_case_between(rng, 1, 3);
    s->seq = hone_case_between(rng, 1, near ? 60 : 5);
    s->heads = hone_case_between(rng, 1, 9);
    s->head_dim = 2 * hone_case_between(rng, 1, near ? 66 : 3);
    if (!near) s->past = hone_case_reach_to(reach, 60, 80000, rng);
    if (hone_rng_below(rng, 3) == 0)
        s->rope_dim = 2 * hone_case_between(rng, 1, (s->head_dim + 1) / 2);
    s->interleaved = hone_rng_below(rng, 2);
    s->in_place = hone_rng_below(rng, 2);
    s->magnitude = hone_case_magnitude(rng, 1e-2, 1e2);
}

const hone_case hone_case_rope_embeddings = {
    .name = "rope_embeddings",
    .backward = true,
    .shapes = shapes,
    .shape_count = sizeof shapes / sizeof *shapes,
    .declare = declare,
    .fill = fill,
    .redraw = redraw,
    .bind = bind,
    .pass = {forward, backward},
    .oracle = oracle,
    .bounds = bounds,
    .work = work,
    .draw = draw,
};
