/* cases: cross_entropy_loss over logits, and linear_cross_entropy, which never needs all of them. */
#include "cases/internal.h"

/* ---- over logits ------------------------------------------------------------------------- */

enum { LOGITS, LABELS, LOSS, DLOGITS };

static const hone_case_shape shapes[] = {
    {.batch = 1, .seq = 1, .vocab = 1},
    {.batch = 1, .seq = 1, .vocab = 2},
    {.batch = 1, .seq = 3, .vocab = 15, .in_place = true},
    {.batch = 1, .seq = 5, .vocab = 16, .labels = HONE_LABELS_SOME_IGNORED},
    {.batch = 2, .seq = 5, .vocab = 67, .labels = HONE_LABELS_SOME_IGNORED, .in_place = true},
    {.batch = 1, .seq = 5, .vocab = 33, .labels = HONE_LABELS_ALL_IGNORED},
    {.batch = 1, .seq = 5, .vocab = 33, .labels = HONE_LABELS_ALL_IGNORED, .in_place = true},
    {.batch = 1, .seq = 4, .vocab = 257, .magnitude = 1e4},
    {.batch = 1, .seq = 9, .vocab = 1000, .magnitude = 30, .in_place = true},
    {.batch = 2, .seq = 9, .vocab = 4999, .labels = HONE_LABELS_SOME_IGNORED},
};

static void declare(hone_case_run *run) {
    const hone_case_shape *s = &run->shape;
    size_t rows = hone_case_rows(s), n = s->vocab;
    hone_case_declare(run, LOGITS, "logits", HONE_CASE_CONSUMED, HONE_CASE_FORWARD, s->compute,
                      rows, n, s->magnitude);
    hone_case_declare(run, LABELS, "labels", HONE_CASE_INPUT, HONE_CASE_FORWARD, HONE_CASE_INTEGERS,
                      rows, 1, 0);
    hone_case_declare(run, LOSS, "loss", HONE_CASE_OUTPUT, HONE_CASE_FORWARD, HONE_F32, rows, 1, 0);
    if (s->in_place) {
        run->tensor[LOGITS].name = "dlogits in place";
        run->tensor[LOGITS].role = HONE_CASE_IN_PLACE;
        run->tensor[LOGITS].pass = HONE_CASE_BACKWARD;
    } else {
        hone_case_declare(run, DLOGITS, "dlogits", HONE_CASE_OUTPUT, HONE_CASE_BACKWARD, s->compute,
                          rows, n, 0);
    }
}

static void fill(const hone_case_run *run, hone_rng *rng) {
    hone_case_fill_labels(run, LABELS, rng);
}

static void redraw(const hone_case_run *run, hone_rng *rng) {
    hone_case_redraw_labels(run, LABELS, rng);
}

static hone_status bind(hone_case_run *run, hone_error *err) {
    (void)err;
    run->loss_scale = hone_case_loss_scale(run, LABELS);
    return HONE_OK;
}

static hone_cross_entropy_args arguments(const hone_case_run *run) {
    return (hone_cross_entropy_args){
        .rows = hone_case_rows(&run->shape),
        .vocab = run->shape.vocab,
        .logits = hone_case_data(run, LOGITS),
        .logits_dtype = run->shape.compute,
        .labels = hone_case_data(run, LABELS),
        .loss = hone_case_data(run, LOSS),
        .scale = run->loss_scale,
        .dlogits = hone_case_data(run, run->shape.in_place ? LOGITS : DLOGITS)};
}

static void forward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_cross_entropy_args args = arguments(run);
    run->set->cross_entropy_loss_forward(ctx, &args, saved);
}

static void backward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    hone_cross_entropy_args args = arguments(run);
    run->set->cross_entropy_loss_backward(ctx, &args, saved);
}

static bool oracle(hone_case_run *run) {
    hone_case_tensor *t = run->tensor;
    size_t rows = hone_case_rows(&run->shape), n = run->shape.vocab;
    const int32_t *labels = hone_case_data(run, LABELS);
    hone_ref_cross_entropy_forward(rows, n, t[LOGITS].values, labels, t[LOSS].want);
    hone_ref_cross_entropy_backward(rows, n, t[LOGITS].values, labels, (double)run->loss_scale,
                                    t[run->shape.in_place ? LOGITS : DLOGITS].want);
    return true;
}

static hone_case_bounds bounds(const hone_case_run *run, size_t tensor) {
    double m = HONE_MAX(run->shape.magnitude, 1);
    const char *why =
        "the log-sum-exp kept in float32 is off by 2^-24 of the largest logit, as a factor of all";
    if (tensor == LOSS)
        return (hone_case_bounds){3e-7 * m, 1e-6, 1e-6,
                                  "float32 logits of this size, a float32 sum", 1};
    if (run->shape.compute == HONE_F32)
        return (hone_case_bounds){1e-6 * m, 2e-6 + 4e-7 * m, 1e-6 * m, why,
                                  (double)run->loss_scale};
    return (hone_case_bounds){1e-2, 4e-3 + 4e-7 * m, 4e-3 + 4e-7 * m,
                              "one rounding of the gradient to bfloat16 (2^-8)", 0};
}

static void work(const hone_case_shape *s, hone_case_pass pass, double *flops, double *bytes) {
    double n = (double)hone_case_rows(s) * (double)s->vocab,
           element = s->compute == HONE_F32 ? 4 : 2;
    bool back = pass == HONE_CASE_BACKWARD;
    *flops = n * (back ? 3 : 4);
    *bytes = n * element * (back ? 2 : 1);
}

static void draw(hone_case_shape *s, hone_case_reach reach, hone_rng *rng) {
    s->in_place = hone_rng_below(rng, 2);
    if (reach != HONE_CASE_NEAR) {
        s->batch = 1;
        s->seq = 2;
        s->vocab = hone_case_reach_to(reach, 5000, 160000, rng);
        s->magnitude = hone_case_magnitude(rng, 1, 30);
        return;
    }
    s->batch = hone_case_between(rng, 1, 3);
    s->seq = hone_case_between(rng, 1, 20);
    s->vocab = hone_case_between(rng, 2, 5000);
    s->magnitude = hone_case_magnitude(rng, 1, 1e3);
    s->labels = hone_rng_below(rng, 2) ? HONE_LABELS_SOME_IGNORED : HONE_LABELS_RANDOM;
}

const hone_case hone_case_cross_entropy_loss = {
    .name = "cross_entropy_loss",
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
