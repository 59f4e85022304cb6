/* bench/attention: causal attention with rotary embedding, forward and backward, at the shape of SmolLM2-135M. Only
 * what a causal mask leaves is counted: half of each S x S product, two products forward and five backward (one of
 * them computes the probabilities again). */
#include "bench.h"

enum { HEADS = 9, KV_HEADS = 3, DIM = 64, LENGTHS = 3, COUNT = 2 * LENGTHS };

static const size_t lengths[LENGTHS] = {256, 1024, 4096};

static void forward_body(hone_ctx *ctx, void *argument) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_saved saved = {{0}};
    hone_ops_fused.attention_with_rope_forward(ctx, argument, &saved);
    hone_arena_release(&ctx->arena, mark);
}

static void both_body(hone_ctx *ctx, void *argument) {
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_saved saved = {{0}};
    hone_ops_fused.attention_with_rope_forward(ctx, argument, &saved);
    hone_ops_fused.attention_with_rope_backward(ctx, argument, &saved);
    hone_arena_release(&ctx->arena, mark);
}

static void make_angles(bench_case *c, hone_attention_args *args, size_t length) {
    size_t half = DIM / 2;
    int32_t *positions = bench_own(c, bench_memory(length * sizeof *positions));
    float *cosine = bench_own(c, bench_memory(length * half * sizeof *cosine));
    float *sine = bench_own(c, bench_memory(length * half * sizeof *sine));
    for (size_t r = 0; r < length; r++) positions[r] = (int32_t)r;
    for (size_t i = 0; i < length * half; i++) {
        double angle = (double)(i / half) * pow(1e5, -(double)(i % half) / (double)half);
        cosine[i] = (float)cos(angle);
        sine[i] = (float)sin(angle);
    }
    args->positions = positions;
    args->cos = cosine;
    args->sin = sine;
}

bench_case bench_attention_case(hone_dtype compute, size_t length, bool backward) {
    bench_case c = {.job = {.body = backward ? both_body : forward_body, .compute = compute}};
    size_t q = length * HEADS * DIM, kv = length * KV_HEADS * DIM;
    size_t size = hone_dtype_block_bytes(compute);
    hone_attention_args *args = bench_own(&c, bench_memory(sizeof *args));
    hone_segment *segment = bench_own(&c, bench_memory(sizeof *segment));
    *segment = (hone_segment){0, length, 0, length};
    *args = (hone_attention_args){.heads = HEADS,
                                  .kv_heads = KV_HEADS,
                                  .head_dim = DIM,
                                  .segments = segment,
                                  .segment_count = 1,
                                  .q_rows = length,
                                  .kv_rows = length,
                                  .q = bench_own(&c, bench_random(compute, q, 1)),
                                  .k = bench_own(&c, bench_random(compute, kv, 1)),
                                  .v = bench_own(&c, bench_random(compute, kv, 1)),
                                  .o = bench_own(&c, bench_memory(q * size)),
                                  .rope_dim = DIM,
                                  .d_o = bench_own(&c, bench_random(compute, q, 1)),
                                  .dq = bench_own(&c, bench_memory(q * size)),
                                  .dk = bench_own(&c, bench_memory(kv * size)),
                                  .dv = bench_own(&c, bench_memory(kv * size))};
    make_angles(&c, args, length);
    double product = 2.0 * HEADS * DIM * (double)length * (double)(length + 1) / 2;
    c.job.argument = args;
    c.job.work = product * (backward ? 7 : 2);
    return c;
}

/* What backward alone took and did. */
static bench_job backward_alone(const bench_job *both, const bench_job *forward) {
    bench_job job = *both;
    job.work = both->work - forward->work;
    for (int r = 0; r < job.rounds; r++) job.seconds[r] = both->seconds[r] - forward->seconds[r];
    return job;
}

static void add_rates(bench *b, const bench_job *jobs, hone_dtype compute) {
    char name[96];
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < LENGTHS; i++) {
            bench_job job = pass ? backward_alone(&jobs[LENGTHS + i], &jobs[i]) : jobs[i];
            double elements = (double)lengths[i] * (2 * HEADS + 2 * KV_HEADS) * DIM;
            double size = (double)hone_dtype_block_bytes(compute);
            bench_row row = {.section = "attention",
                             .name = name,
                             .unit = "GFLOP/s",
                             .series = pass ? "backward" : "forward",
                             .x = (double)lengths[i],
                             .peak = bench_peak_name(b, compute),
                             .intensity = job.work / (elements * size * (pass ? 2 : 1))};
            if (lengths[i] == 4096) row.bar = BENCH_BAR_ATTENTION_RATE;
            snprintf(name, sizeof name, "%s %zu tokens in %s", row.series, lengths[i],
                     hone_dtype_name(compute));
            bench_add_rate(b, row, &job, NULL, &jobs[COUNT], 1e9);
        }
}

/* From 1,024 to 4,096 tokens: 2 where a figure grows with the square. */
static void add_growth(bench *b, const bench_job *jobs, hone_dtype compute) {
    char name[96];
    double exponents[BENCH_MOST_ROUNDS];
    for (int i = 0; i < LENGTHS; i++) {
        snprintf(name, sizeof name, "memory of %zu tokens in %s", lengths[i],
                 hone_dtype_name(compute));
        bench_row row = {.section = "attention", .name = name, .unit = "MiB", .series = "memory"};
        row.x = (double)lengths[i];
        bench_add_value(b, row, (double)jobs[LENGTHS + i].memory / (1 << 20));
    }
    const bench_job *middle = &jobs[COUNT - 2], *longest = &jobs[COUNT - 1];
    for (int r = 0; r < middle->rounds; r++)
        exponents[r] = log(longest->seconds[r] / middle->seconds[r]) / log(4);
    bench_row row = {.section = "attention",
                     .name = name,
                     .unit = "",
                     .values = exponents,
                     .count = middle->rounds,
                     .bar = BENCH_BAR_ATTENTION_TIME};
    snprintf(name, sizeof name, "growth of time in %s", hone_dtype_name(compute));
    bench_add(b, &row);
    row.bar = BENCH_BAR_ATTENTION_MEMORY;
    snprintf(name, sizeof name, "growth of memory in %s", hone_dtype_name(compute));
    bench_add_value(b, row, log((double)longest->memory / (double)middle->memory) / log(4));
}

static void measure(bench *b, hone_dtype compute) {
    bench_case cases[COUNT];
    bench_job jobs[COUNT + 1];
    bench_progress("attention: in %s", hone_dtype_name(compute));
    for (int i = 0; i < COUNT; i++) {
        cases[i] = bench_attention_case(compute, lengths[i % LENGTHS], i >= LENGTHS);
        jobs[i] = cases[i].job;
    }
    jobs[COUNT] = bench_peak_job(b, compute, 0);
    bench_interleave(b, jobs, COUNT + 1, 15);
    add_rates(b, jobs, compute);
    add_growth(b, jobs, compute);
    for (int i = 0; i < COUNT; i++) bench_case_free(&cases[i]);
}

void bench_attention(bench *b) {
    measure(b, HONE_F32);
    if (b->multiply_bf16) measure(b, HONE_BF16);
}
