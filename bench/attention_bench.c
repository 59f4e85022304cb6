/* bench/attention: time and rate of attention, forward and backward, at the shapes of SmolLM2-135M (9 heads, 3 kv
 * heads of 64), one sequence of 256, 1,024 and 4,096 tokens, and four of 256. Causal operations only are counted:
 * half of each S x S product. Usage: attention_bench [naive|fused [f32|bf16 [length [count]]]] */
#include "bench.h"

#include <math.h>

enum { HEADS = 9, KV_HEADS = 3, DIM = 64 };

typedef struct job {
    const hone_op_set *set;
    hone_attention_args args;
    bool backward;
} job;

static void body(hone_ctx *ctx, void *argument) {
    const job *j = argument;
    hone_saved saved = {{0}};
    j->set->attention_with_rope_forward(ctx, &j->args, &saved);
    if (j->backward) j->set->attention_with_rope_backward(ctx, &j->args, &saved);
}

static void measure(bench *b, const hone_op_set *set, size_t length, size_t count, double rate) {
    size_t rows = length * count, q = rows * HEADS * DIM, kv = rows * KV_HEADS * DIM,
           half = DIM / 2;
    hone_segment segments[4];
    int32_t *positions = malloc(rows * sizeof *positions);
    for (size_t r = 0; r < rows; r++) positions[r] = (int32_t)(r % length);
    for (size_t s = 0; s < count; s++) {
        segments[s] = (hone_segment){s * length, (s + 1) * length, s * length, (s + 1) * length};
    }
    float *cosine = malloc(length * half * sizeof *cosine),
          *sine = malloc(length * half * sizeof *sine);
    for (size_t i = 0; i < length * half; i++) {
        double angle = (double)(i / half) * pow(1e5, -(double)(i % half) / (double)half);
        cosine[i] = (float)cos(angle);
        sine[i] = (float)sin(angle);
    }
    job j = {.set = set,
             .args = {.heads = HEADS,
                      .kv_heads = KV_HEADS,
                      .head_dim = DIM,
                      .segments = segments,
                      .segment_count = count,
                      .q_rows = rows,
                      .kv_rows = rows,
                      .q = bench_random(b->compute, q, 1),
                      .k = bench_random(b->compute, kv, 1),
                      .v = bench_random(b->compute, kv, 1),
                      .o = bench_random(b->compute, q, 1),
                      .positions = positions,
                      .cos = cosine,
                      .sin = sine,
                      .rope_dim = DIM,
                      .d_o = bench_random(b->compute, q, 1),
                      .dq = bench_random(b->compute, q, 1),
                      .dk = bench_random(b->compute, kv, 1),
                      .dv = bench_random(b->compute, kv, 1)}};
    double causal = (double)count * HEADS * (double)length * (double)(length + 1) / 2 * DIM * 2;
    bench_time forward = bench_run(b, body, &j);
    j.backward = true;
    bench_time both = bench_run(b, body, &j);
    double back = both.median - forward.median;
    printf("%zu x %4zu tokens: forward %8.3f ms (min %8.3f) %6.0f GFLOP/s %3.0f%%   backward %8.3f "
           "ms %6.0f GFLOP/s "
           "%3.0f%%   memory %.1f MiB\n",
           count, length, forward.median * 1e3, forward.minimum * 1e3,
           2 * causal / forward.median / 1e9, 2 * causal / forward.median / 1e7 / rate, back * 1e3,
           5 * causal / back / 1e9, 5 * causal / back / 1e7 / rate, (double)b->peak / (1 << 20));
    free(j.args.q), free(j.args.k), free((void *)j.args.v), free(j.args.o),
        free((void *)j.args.d_o);
    free(j.args.dq), free(j.args.dk), free(j.args.dv), free(positions), free(cosine), free(sine);
}

int main(int argc, char **argv) {
    const hone_op_set *set = hone_op_set_find(argc > 1 ? argv[1] : "fused");
    if (!set) {
        fprintf(stderr, "usage: attention_bench [naive|fused [f32|bf16 [length [count]]]]\n");
        return 2;
    }
    bench b = bench_start(argc > 2 && strcmp(argv[2], "f32") == 0 ? HONE_F32 : HONE_BF16);
    double rate = bench_multiply_rate(&b);
    printf("set %s; the multiply kernel itself: %.0f GFLOP/s\n", set->name, rate);
    if (argc > 3) {
        measure(&b, set, strtoul(argv[3], NULL, 10),
                argc > 4 ? HONE_MIN(strtoul(argv[4], NULL, 10), 4ul) : 1, rate);
        return 0;
    }
    measure(&b, set, 256, 4, rate);
    measure(&b, set, 256, 1, rate);
    measure(&b, set, 1024, 1, rate);
    if (set == &hone_ops_fused) measure(&b, set, 4096, 1, rate);
    return 0;
}
