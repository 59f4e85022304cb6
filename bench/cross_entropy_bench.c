/* bench/cross_entropy: time and rate of the fused linear cross-entropy, T = 1,024 rows, V = 49,152, d = 576, the head
 * Q8_0 as in SmolLM2-135M (or bf16, f32), frozen: loss and dX, 4TVd operations. Then the plain loss of logits in
 * memory, by both sets. Usage: cross_entropy_bench [f32|bf16] */
#include "bench.h"

enum { ROWS = 1024, VOCAB = 49152, HIDDEN = 576 };

static void linear_body(hone_ctx *ctx, void *argument) {
    hone_ops_fused.linear_cross_entropy(ctx, argument);
}

/* Any bytes are a Q8_0 matrix but for the scales, which have to be sensible float16 numbers. */
static hone_matrix random_q8(void) {
    size_t blocks = (size_t)VOCAB * HIDDEN / 32;
    unsigned char *data = malloc(blocks * 34);
    hone_rng rng = hone_rng_make(1);
    hone_f16 scale = hone_f32_to_f16(0.001f);
    for (size_t i = 0; i < blocks; i++) {
        memcpy(data + i * 34, &scale, sizeof scale);
        for (size_t j = 0; j < 32; j++)
            data[i * 34 + 2 + j] = (unsigned char)hone_rng_below(&rng, 256);
    }
    hone_matrix w = hone_matrix_dense(data, HONE_Q8_0, VOCAB, HIDDEN);
    w.row_bytes = HIDDEN / 32 * 34;
    return w;
}

static void measure_linear(bench *b, hone_matrix weight, const int32_t *labels, double rate) {
    hone_linear head = {.weight = weight};
    float *loss = malloc(ROWS * sizeof *loss), *dx = malloc(sizeof *dx * ROWS * HIDDEN);
    void *x = bench_random(b->compute, (size_t)ROWS * HIDDEN, 1);
    hone_linear_cross_entropy_args args = {.rows = ROWS,
                                           .head = &head,
                                           .x = x,
                                           .labels = labels,
                                           .loss = loss,
                                           .scale = 1.0f / ROWS,
                                           .dx = dx};
    bench_time time = bench_run(b, linear_body, &args);
    double work = 4.0 * ROWS * VOCAB * HIDDEN;
    printf("linear, %-4s head: loss and dX %8.2f ms (min %8.2f) %6.0f GFLOP/s, %3.0f%% of the "
           "multiply kernel; %.1f "
           "MiB\n",
           hone_dtype_name(weight.dtype), time.median * 1e3, time.minimum * 1e3,
           work / time.median / 1e9, work / time.median / 1e7 / rate, (double)b->peak / (1 << 20));
    free(x), free(loss), free(dx);
}

typedef struct plain {
    const hone_op_set *set;
    hone_cross_entropy_args args;
} plain;

static void plain_body(hone_ctx *ctx, void *argument) {
    const plain *p = argument;
    hone_saved saved = {{0}};
    p->set->cross_entropy_loss_forward(ctx, &p->args, &saved);
    p->set->cross_entropy_loss_backward(ctx, &p->args, &saved);
}

static void measure_plain(bench *b, const hone_op_set *set, const int32_t *labels) {
    float *loss = malloc(ROWS * sizeof *loss);
    void *logits = bench_random(b->compute, (size_t)ROWS * VOCAB, 1), *dlogits = logits;
    if (set == &hone_ops_naive) dlogits = bench_random(b->compute, (size_t)ROWS * VOCAB, 1);
    plain p = {set,
               {.rows = ROWS,
                .vocab = VOCAB,
                .logits = logits,
                .logits_dtype = b->compute,
                .labels = labels,
                .loss = loss,
                .scale = 1.0f / ROWS,
                .dlogits = dlogits}};
    bench_time time = bench_run(b, plain_body, &p);
    printf("plain, %s: loss and dlogits %8.2f ms (min %8.2f); %.1f MiB\n", set->name,
           time.median * 1e3, time.minimum * 1e3, (double)b->peak / (1 << 20));
    if (dlogits != logits) free(dlogits);
    free(logits), free(loss);
}

int main(int argc, char **argv) {
    bench b = bench_start(argc > 1 && strcmp(argv[1], "f32") == 0 ? HONE_F32 : HONE_BF16);
    double rate = bench_multiply_rate(&b);
    printf("the multiply kernel itself: %.0f GFLOP/s\n", rate);
    int32_t labels[ROWS];
    hone_rng rng = hone_rng_make(9);
    for (int r = 0; r < ROWS; r++) labels[r] = (int32_t)hone_rng_below(&rng, VOCAB);
    hone_matrix q8 = random_q8();
    measure_linear(&b, q8, labels, rate);
    void *dense = bench_random(b.compute, (size_t)VOCAB * HIDDEN, 0.05);
    measure_linear(&b, hone_matrix_dense(dense, b.compute, VOCAB, HIDDEN), labels, rate);
    measure_plain(&b, &hone_ops_fused, labels);
    measure_plain(&b, &hone_ops_naive, labels);
    free(dense), free((void *)q8.data);
    return 0;
}
