/* cases: linear_cross_entropy, the loss of softmax(x W^T) and its gradients in one call. A set without the
 * composite runs its parts over logits in scratch, as a model does. */
#include "cases/internal.h"

#include <math.h>
#include <stdlib.h>

enum { HEAD, X = HEAD + LINEAR_SLOTS, LABELS, LOSS, DX };

static const hone_case_shape shapes[] = {
    {.batch = 1, .seq = 1, .hidden = 16, .vocab = 2},
    {.batch = 1, .seq = 7, .hidden = 33, .vocab = 67},
    {.batch = 1, .seq = 7, .hidden = 33, .vocab = 67, .labels = HONE_LABELS_SOME_IGNORED},
    {.batch = 1, .seq = 7, .hidden = 32, .vocab = 67, .labels = HONE_LABELS_ALL_IGNORED},
    {.batch = 2, .seq = 37, .hidden = 67, .vocab = 1031, .labels = HONE_LABELS_SOME_IGNORED},
    {.batch = 1, .seq = 67, .hidden = 64, .vocab = 999, .weight = HONE_Q8_0},
    {.batch = 1, .seq = 9, .hidden = 64, .vocab = 999, .weight = HONE_Q4_1, .magnitude = 10},
    {.batch = 1, .seq = 9, .hidden = 48, .vocab = 515, .weight = HONE_BF16},
    {.batch = 1,
     .seq = 9,
     .hidden = 40,
     .vocab = 130,
     .rank = 8,
     .labels = HONE_LABELS_SOME_IGNORED},
    {.batch = 2, .seq = 19, .hidden = 40, .vocab = 130, .trained = true},
    {.batch = 2,
     .seq = 19,
     .hidden = 64,
     .vocab = 613,
     .rank = 4,
     .trained = true,
     .labels = HONE_LABELS_SOME_IGNORED},
};

static void declare(hone_case_run *run) {
    const hone_case_shape *s = &run->shape;
    size_t rows = hone_case_rows(s);
    hone_case_declare_linear(run, HEAD, HONE_CASE_LINEAR, HONE_CASE_FORWARD, s->hidden, s->vocab);
    hone_case_declare(run, X, "x", HONE_CASE_INPUT, HONE_CASE_FORWARD, s->compute, rows, s->hidden,
                      s->magnitude);
    hone_case_declare(run, LABELS, "labels", HONE_CASE_INPUT, HONE_CASE_FORWARD, HONE_CASE_INTEGERS,
                      rows, 1, 0);
    hone_case_declare(run, LOSS, "loss", HONE_CASE_OUTPUT, HONE_CASE_FORWARD, HONE_F32, rows, 1, 0);
    hone_case_declare(run, DX, "dx", HONE_CASE_OUTPUT, HONE_CASE_FORWARD, HONE_F32, rows, s->hidden,
                      0);
    /* Gradients of the head are of the size of 1/rows: so is what they are added to. */
    for (size_t i = LINEAR_DW; i <= LINEAR_DB; i++) run->tensor[HEAD + i].scale = 1 / (double)rows;
    for (size_t i = LINEAR_DW; i <= LINEAR_DB; i++) run->tensor[HEAD + i].gradient = true;
    run->tensor[DX].gradient = true;
}

static void fill(const hone_case_run *run, hone_rng *rng) {
    hone_case_fill_labels(run, LABELS, rng);
}

static void redraw(const hone_case_run *run, hone_rng *rng) {
    hone_case_redraw_labels(run, LABELS, rng);
}

static hone_status bind(hone_case_run *run, hone_error *err) {
    (void)err;
    hone_case_bind_linear(run, HEAD, 0);
    run->loss_scale = hone_case_loss_scale(run, LABELS);
    return HONE_OK;
}

/* logits and their gradient in scratch, float32 where the loss is computed. */
static void by_parts(const hone_case_run *run, hone_ctx *ctx, bool backward) {
    const hone_op_set *set = run->set;
    const size_t rows = hone_case_rows(&run->shape), count = rows * run->shape.vocab;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_saved of_linear = {0}, of_loss = {0};
    float *logits = hone_arena_scratch(&ctx->arena, count * sizeof *logits);
    hone_lora_linear_args linear = {.rows = rows,
                                    .linear = &run->linear[0],
                                    .x = hone_case_data(run, X),
                                    .y = logits,
                                    .y_dtype = HONE_F32};
    set->lora_linear_forward(ctx, &linear, backward ? &of_linear : NULL);
    hone_cross_entropy_args loss = {.rows = rows,
                                    .vocab = run->shape.vocab,
                                    .logits = logits,
                                    .logits_dtype = HONE_F32,
                                    .labels = hone_case_data(run, LABELS),
                                    .loss = hone_case_data(run, LOSS),
                                    .scale = run->loss_scale};
    set->cross_entropy_loss_forward(ctx, &loss, backward ? &of_loss : NULL);
    if (!backward) {
        hone_arena_release(&ctx->arena, mark);
        return;
    }
    loss.dlogits = hone_arena_scratch(&ctx->arena, count * sizeof(float));
    set->cross_entropy_loss_backward(ctx, &loss, &of_loss);
    linear.dy = loss.dlogits;
    if (ctx->compute != HONE_F32) {
        void *dy = hone_arena_scratch(&ctx->arena, count * sizeof(hone_bf16));
        hone_convert(ctx, count, loss.dlogits, HONE_F32, dy, ctx->compute);
        linear.dy = dy;
    }
    linear.dx = hone_case_data(run, DX);
    linear.dx_dtype = HONE_F32;
    set->lora_linear_backward(ctx, &linear, &of_linear);
    hone_arena_release(&ctx->arena, mark);
}

static void forward(const hone_case_run *run, hone_ctx *ctx, hone_saved *saved) {
    if (!run->set->linear_cross_entropy) {
        by_parts(run, ctx, saved != NULL);
        return;
    }
    hone_linear_cross_entropy_args args = {.rows = hone_case_rows(&run->shape),
                                           .head = &run->linear[0],
                                           .x = hone_case_data(run, X),
                                           .labels = hone_case_data(run, LABELS),
                                           .loss = hone_case_data(run, LOSS),
                                           .scale = run->loss_scale,
                                           .dx = saved ? hone_case_data(run, DX) : NULL};
    run->set->linear_cross_entropy(ctx, &args);
}

static bool oracle(hone_case_run *run) {
    hone_case_tensor *t = run->tensor;
    size_t rows = hone_case_rows(&run->shape), n = run->shape.vocab;
    const int32_t *labels = hone_case_data(run, LABELS);
    hone_ref_linear head = hone_case_ref_linear(run, HEAD);
    hone_ref_linear_gradients gradients = hone_case_ref_gradients(run, HEAD);
    double *logits = calloc(rows * n, sizeof *logits);
    bool done = logits && hone_ref_linear_forward(&head, rows, t[X].values, logits);
    if (done) {
        hone_ref_cross_entropy_forward(rows, n, logits, labels, t[LOSS].want);
        hone_ref_cross_entropy_backward(rows, n, logits, labels, (double)run->loss_scale, logits);
        done = hone_ref_linear_backward(&head, rows, t[X].values, logits, t[DX].want, &gradients);
    }
    free(logits);
    return done;
}

static hone_case_bounds bounds(const hone_case_run *run, size_t tensor) {
    (void)tensor;
    double m = HONE_MAX(run->shape.magnitude, 1);
    if (run->shape.compute == HONE_F32) {
        m *= sqrt(HONE_MAX((double)run->shape.vocab / 5000, 1)); /* errors of long sums */
        return (hone_case_bounds){1e-5 * m, 3e-6 * m, 2e-6 * m,
                                  "logits are float32 sums; their error is a factor of p", 0};
    }
    return (hone_case_bounds){
        6e-2 * m, 2e-2 * m, 1e-2 * m,
        "p - onehot is rounded to bfloat16 (2^-8) before it meets the weights; logits may be", 0};
}

static void work(const hone_case_shape *s, hone_case_pass pass, double *flops, double *bytes) {
    (void)pass;
    size_t weight_row = 0;
    hone_dtype_row_bytes(s->weight, s->hidden, &weight_row);
    double rows = (double)hone_case_rows(s), in = (double)s->hidden, out = (double)s->vocab;
    *flops = (s->trained ? 6 : 4) * rows * in * out;
    *bytes = 2 * out * (double)weight_row + rows * in * (s->compute == HONE_F32 ? 8 : 6);
}

static void draw(hone_case_shape *s, hone_case_reach reach, hone_rng *rng) {
    s->labels = hone_rng_below(rng, 2) ? HONE_LABELS_SOME_IGNORED : HONE_LABELS_RANDOM;
    if (reach != HONE_CASE_NEAR) {
        s->labels = HONE_LABELS_RANDOM;
        s->batch = 1;
        s->seq = 2;
        s->hidden = hone_case_between(rng, 1, 3);
        s->vocab = hone_case_reach_to(reach, 1100, 160000, rng);
        return;
    }
    s->batch = hone_case_between(rng, 1, 2);
    s->seq = hone_case_between(rng, 1, 30);
    s->hidden = hone_case_between(rng, 8, 80);
    s->vocab = hone_case_between(rng, 2, 1100);
    hone_case_draw_weight(s, &s->hidden, rng);
    hone_case_draw_adapter(s, 17, rng);
    s->trained = hone_rng_below(rng, 2);
}

const hone_case hone_case_linear_cross_entropy = {
    .name = "linear_cross_entropy",
    .linear = true,
    .shapes = shapes,
    .shape_count = sizeof shapes / sizeof *shapes,
    .declare = declare,
    .fill = fill,
    .redraw = redraw,
    .bind = bind,
    .pass = {forward},
    .oracle = oracle,
    .bounds = bounds,
    .work = work,
    .draw = draw,
};
