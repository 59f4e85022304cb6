/* cases: attention_with_rope, causal, grouped heads, several sequences in one batch. */
#include "cases/internal.h"

#include <math.h>
#include <stdlib.h>

enum { Q, K, V, O, D_O, DQ, DK, DV, POSITIONS, COS, SIN };

static const hone_case_shape shapes[] = {
    {.batch = 1, .seq = 1, .heads = 1, .kv_heads = 1, .head_dim = 16},
    {.batch = 1, .seq = 7, .heads = 2, .kv_heads = 1, .head_dim = 16},
    {.batch = 2, .seq = 17, .heads = 4, .kv_heads = 2, .head_dim = 64},
    {.batch = 1, .seq = 67, .heads = 3, .kv_heads = 1, .head_dim = 64},
    {.batch = 1, .seq = 130, .heads = 2, .kv_heads = 2, .head_dim = 32, .interleaved = true},
    {.batch = 1, .seq = 19, .heads = 2, .kv_heads = 1, .head_dim = 80},
    {.batch = 1, .seq = 33, .heads = 2, .kv_heads = 2, .head_dim = 96, .rope_dim = 48},
    {.batch = 1, .seq = 40, .heads = 2, .kv_heads = 1, .head_dim = 128},
    {.batch = 1, .seq = 9, .heads = 6, .kv_heads = 2, .head_dim = 6},
    {.batch = 5, .seq = 13, .heads = 4, .kv_heads = 2, .head_dim = 16, .uneven = true},
    {.batch = 3, .seq = 70, .heads = 9, .kv_heads = 3, .head_dim = 64, .uneven = true},
    {.batch = 1, .seq = 35, .heads = 2, .kv_heads = 1, .head_dim = 16, .magnitude = 3},
    {.batch = 2, .seq = 3, .heads = 4, .kv_heads = 2, .head_dim = 16, .past = 21},
    {.batch = 1, .seq = 1, .heads = 9, .kv_heads = 3, .head_dim = 64, .past = 130},
};

static size_t kv_rows(const hone_case_shape *s) { return hone_case_rows(s) + s->batch * s->past; }

static void declare(hone_case_run *run) {
    const hone_case_shape *s = &run->shape;
    size_t rows = hone_case_rows(s), kv = kv_rows(s), n = s->heads * s->head_dim,
           kn = s->kv_heads * s->head_dim;
    hone_dtype type = s->compute;
    hone_case_declare(run, Q, "q", HONE_CASE_CONSUMED, HONE_CASE_FORWARD, type, rows, n,
                      s->magnitude);
    hone_case_declare(run, K, "k", HONE_CASE_CONSUMED, HONE_CASE_FORWARD, type, kv, kn,
                      s->magnitude);
    hone_case_declare(run, V, "v", HONE_CASE_INPUT, HONE_CASE_FORWARD, type, kv, kn, 1);
    hone_case_declare(run, O, "o", HONE_CASE_OUTPUT, HONE_CASE_FORWARD, type, rows, n, 0);
    hone_case_declare(run, D_O, "do", HONE_CASE_INPUT, HONE_CASE_BACKWARD, type, rows, n, 1);
    hone_case_declare(run, DQ, "dq", HONE_CASE_OUTPUT, HONE_CASE_BACKWARD, type, rows, n, 0);
    hone_case_declare(run, DK, "dk", HONE_CASE_OUTPUT, HONE_CASE_BACKWARD, type, kv, kn, 0);
    hone_case_declare(run, DV, "dv", HONE_CASE_OUTPUT, HONE_CASE_BACKWARD, type, kv, kn, 0);
    if (s->past) return;
    size_t half = s->rope_dim / 2, longest = s->uneven ? rows : s->seq;
    hone_case_declare(run, POSITIONS, "positions", HONE_CASE_INPUT, HONE_CASE_FORWARD,
                      HONE_CASE_INTEGERS, rows, 1, 0);
    hone_case_declare(run, COS, "cos", HONE_CASE_INPUT, HONE_CASE_FORWARD, HONE_F32, longest, half,
                      0);
    hone_case_declare(run, SIN, "sin", HONE_CASE_INPUT, HONE_CASE_FORWARD, HONE_F32, longest, half,
                      0);
}

/* Rows of segment i: all the same, or 1, 2, ... and the last the rest. */
static size_t segment_rows(const hone_case_shape *s, size_t i) {
    if (!s->uneven) return s->seq;
    return i + 1 < s->batch ? i + 1 : hone_case_rows(s) - s->batch * (s->batch - 1) / 2;
}

/* Each sequence's rows are at successive positions, from `first` on and around the table. */
static void fill_positions(const hone_case_run *run, size_t first) {
    const hone_case_shape *s = &run->shape;
    int32_t *positions = hone_case_data(run, POSITIONS);
    for (size_t i = 0, q = 0; positions && i < s->batch; i++) {
        size_t rows = segment_rows(s, i);
        for (size_t r = 0; r < rows; r++)
            positions[q + r] = (int32_t)((first + r) % run->tensor[COS].rows);
        q += rows;
    }
}

static void fill(const hone_case_run *run, hone_rng *rng) {
    (void)rng;
    fill_positions(run, 0);
    if (!run->shape.past) hone_case_fill_rope(run, COS, SIN);
}

static void redraw(const hone_case_run *run, hone_rng *rng) {
    if (!run->shape.past) fill_positions(run, (size_t)hone_rng_below(rng, run->tensor[COS].rows));
}

static hone_status bind(hone_case_run *run, hone_error *err) {
    const hone_case_shape *s = &run->shape;
    run->segments = calloc(s->batch, sizeof *run->segments);
    if (!run->segments) return hone_fail_memory(err, "segments", s->batch * sizeof *run->segments);
    run->segment_count = s->batch;
    for (size_t i = 0, q = 0, kv = 0; i < s->batch; i++) {
        size_t rows = segment_rows(s, i);
        run->segments[i] = (hone_segment){q, q + rows, kv, kv + rows + s->past};
        q += rows;
        kv += rows + s->past;
    }
    return HONE_OK;
}

static hone_attention_args arguments(const hone_case_run *run) {
    const hone_case_shape *s = &run->shape;
    return (hone_attention_args){.heads = s->heads,
                                 .kv_heads = s->kv_heads,
                                 .head_dim = s->head_dim,
                                 .segments = run->segments,
                                 .segment_count = run->segment_count,
                                 .q_rows = hone_case_rows(s),
                                 .kv_rows = kv_rows(s),
                                 .q = hone_case_data(run, Q),
                                 .k = hone_case_data(run, K),
                                 .v = hone_case_data(run, V),
                                 .o = hone_case_data(run, O),
                                 .positions = hone_case_data(run, POSITIONS),
                                 .cos = hone_case_data(run, COS),
                                 .sin = hone_case_data(run, SIN),
                                 .rope_dim = s->rope_dim,
                                 .interleaved = s->interleaved,
                                 .d_o = hone_case_data(run, D_O),
                                 .dq = hone_case_data(run, DQ),
                                 .dk = hone_case_data(run, DK),
                                 .dv = hone_case_data(run, DV)};
}

static void forward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_attention_args args = arguments(run);
    run->set->attention_with_rope_forward(ctx, &args, saved);
}

static void backward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_attention_args args = arguments(run);
    run->set->attention_with_rope_backward(ctx, &args, saved);
}

static bool oracle(hone_case_run *run) {
    const hone_case_shape *s = &run->shape;
    hone_case_tensor *t = run->tensor;
    hone_ref_segment *segments = calloc(run->segment_count, sizeof *segments);
    if (!segments) return false;
    for (size_t i = 0; i < run->segment_count; i++) {
        const hone_segment *from = &run->segments[i];
        segments[i] = (hone_ref_segment){from->q_begin, from->q_end, from->kv_begin, from->kv_end};
    }
    hone_ref_attention ref = {.heads = s->heads,
                              .kv_heads = s->kv_heads,
                              .head_dim = s->head_dim,
                              .q_rows = hone_case_rows(s),
                              .kv_rows = kv_rows(s),
                              .segments = segments,
                              .segment_count = run->segment_count,
                              .positions = hone_case_data(run, POSITIONS),
                              .cos = t[COS].values,
                              .sin = t[SIN].values,
                              .rope_dim = s->rope_dim,
                              .interleaved = s->interleaved};
    const double *q = t[Q].values, *k = t[K].values, *v = t[V].values;
    bool done = hone_ref_attention_forward(&ref, q, k, v, t[O].want) &&
                hone_ref_attention_backward(&ref, q, k, v, t[D_O].values, t[DQ].want, t[DK].want,
                                            t[DV].want);
    free(segments);
    return done;
}

static hone_case_bounds bounds(const hone_case_run *run, size_t tensor) {
    const double size = run->shape.magnitude,
                 m = HONE_MAX(size * size, 1);                    /* scores are of the size of m */
    double floor = tensor == DQ || tensor == DK ? 0.1 * size : 0; /* sums of ds, which cancel */
    if (run->shape.compute == HONE_F32) {
        return (hone_case_bounds){2e-5 * m, 3e-6 * m, 2e-6 * m,
                                  "float32 scores, whose error is a factor of p", floor};
    }
    return (hone_case_bounds){1e-1 * m, 2e-2, 1e-2 * m,
                              "rotated q and k, p and ds are rounded to bfloat16 (2^-8)", floor};
}

/* Causal FLOPs alone: two products forward, five backward, of which half the square counts. */
static void work(const hone_case_shape *s, hone_case_pass pass, double *flops, double *bytes) {
    double rows = (double)hone_case_rows(s), seq = (double)s->seq,
           element = s->compute == HONE_F32 ? 4 : 2;
    double n = (double)(s->heads * s->head_dim), kn = (double)(s->kv_heads * s->head_dim);
    bool back = pass == HONE_CASE_BACKWARD;
    *flops = rows * (seq + 1) * n * (back ? 5 : 2);
    *bytes = rows * element * (back ? 4 * n + 4 * kn : 2 * n + 2 * kn);
}

/* Many keys: of few queries, or of as many with small heads. */
static void draw_far(hone_case_shape *s, hone_case_reach reach, hone_rng *rng) {
    bool whole = reach == HONE_CASE_FAR;
    s->batch = s->heads = s->kv_heads = 1;
    s->head_dim = 2 * hone_case_between(rng, 4, whole ? 6 : 32);
    s->seq = whole ? hone_case_between(rng, 310, 640) : hone_case_between(rng, 1, 4);
    if (!whole) s->past = hone_case_reach_to(reach, 90, 2100, rng);
    s->interleaved = hone_rng_below(rng, 2);
}

static void draw(hone_case_shape *s, hone_case_reach reach, hone_rng *rng) {
    if (reach != HONE_CASE_NEAR) {
        draw_far(s, reach, rng);
        return;
    }
    s->batch = hone_case_between(rng, 1, 4);
    s->kv_heads = hone_case_between(rng, 1, 3);
    s->heads = s->kv_heads * hone_case_between(rng, 1, 3);
    s->head_dim = 2 * hone_case_between(rng, 2, 50);
    s->seq = hone_case_between(rng, s->batch, 90);
    s->uneven = hone_rng_below(rng, 2);
    s->interleaved = hone_rng_below(rng, 2);
    s->magnitude = hone_case_magnitude(rng, 0.3, 3);
}

const hone_case hone_case_attention_with_rope = {
    .name = "attention_with_rope",
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
