/* bench/loss: the fused linear cross-entropy, T = 1,024 rows, V = 49,152, d = 576, the head Q8_0 as in SmolLM2-135M and
 * frozen: loss and dX, 4TVd FLOPs, beside the multiply kernel on operands that were packed beforehand. */
#include "bench.h"

#include "base/rng.h"

enum { ROWS = 1024, VOCAB = 49152, HIDDEN = 576, SIDE = 512 };

static void loss_body(hone_ctx *ctx, void *argument) {
    hone_ops_fused.linear_cross_entropy(ctx, argument);
}

bench_case bench_loss_case(hone_dtype compute) {
    bench_case c = {.job = {.body = loss_body, .compute = compute}};
    hone_linear_cross_entropy_args *args = bench_own(&c, bench_memory(sizeof *args));
    hone_linear *head = bench_own(&c, bench_memory(sizeof *head));
    int32_t *labels = bench_own(&c, bench_memory(ROWS * sizeof *labels));
    hone_rng rng = hone_rng_make(9);
    for (int r = 0; r < ROWS; r++) labels[r] = (int32_t)hone_rng_below(&rng, VOCAB);
    head->weight = bench_random_matrix(HONE_Q8_0, VOCAB, HIDDEN, 0.05);
    bench_own(&c, (void *)(uintptr_t)head->weight.data);
    *args = (hone_linear_cross_entropy_args){
        .rows = ROWS,
        .head = head,
        .x = bench_own(&c, bench_random(compute, (size_t)ROWS * HIDDEN, 1)),
        .labels = labels,
        .loss = bench_own(&c, bench_memory(ROWS * sizeof(float))),
        .scale = 1.0f / ROWS,
        .dx = bench_own(&c, bench_memory(sizeof(float) * ROWS * HIDDEN))};
    c.job.argument = args;
    c.job.work = 4.0 * ROWS * VOCAB * HIDDEN;
    return c;
}

/* The kernel that all products are made of, one [512 x 576] x [576 x 512] for each thread. */
static void kernel_body(hone_ctx *ctx, void *argument) {
    if (hone_ctx_planning(ctx)) return;
    hone_gemm gemm = *(const hone_gemm *)argument;
    gemm.c = (float *)gemm.c + (size_t)ctx->team.rank * SIDE * SIDE;
    (ctx->compute == HONE_BF16 ? ctx->kernels->gemm_bf16 : ctx->kernels->gemm_f32)(&gemm);
    hone_barrier(ctx->team);
}

static bench_case kernel_case(const bench *b, hone_dtype compute) {
    bench_case c = {.job = {.body = kernel_body, .compute = compute}};
    hone_gemm *gemm = bench_own(&c, bench_memory(sizeof *gemm));
    void *a = bench_own(&c, bench_random(compute, SIDE * HIDDEN, 1));
    void *packed = bench_own(&c, bench_memory(hone_pack_bytes(compute, SIDE, HIDDEN)));
    hone_matrix w = hone_matrix_dense(a, compute, SIDE, HIDDEN);
    hone_pack_fn *pack = compute == HONE_BF16 ? b->kernels.pack_bf16 : b->kernels.pack_f32;
    pack(&w, true, 0, SIDE, 0, HIDDEN, 1.0f, packed);
    *gemm = (hone_gemm){.m = SIDE, .n = SIDE, .k = HIDDEN, .a = a, .lda = HIDDEN, .b = packed};
    gemm->c = bench_own(&c, bench_memory(sizeof(float) * SIDE * SIDE * (size_t)b->threads));
    gemm->ldc = SIDE;
    c.job.argument = gemm;
    c.job.work = 2.0 * SIDE * SIDE * HIDDEN * b->threads;
    return c;
}

static void measure(bench *b, hone_dtype compute) {
    char name[96];
    bench_case loss = bench_loss_case(compute), kernel = kernel_case(b, compute);
    bench_job jobs[3] = {loss.job, kernel.job, bench_peak_job(b, compute, 0)};
    bench_progress("loss: in %s", hone_dtype_name(compute));
    bench_interleave(b, jobs, 3, 8);
    bench_row row = {.section = "loss", .name = name, .unit = "GFLOP/s", .series = "kernel"};
    row.peak = bench_peak_name(b, compute);
    snprintf(name, sizeof name, "multiply kernel in %s", hone_dtype_name(compute));
    bench_add_rate(b, row, &jobs[1], NULL, &jobs[2], 1e9);
    row.series = "loss";
    row.reference = "the multiply kernel";
    row.bar = BENCH_BAR_LOSS_RATE;
    /* x in, dX out, the head as stored: once each. */
    double element = (double)hone_dtype_block_bytes(compute);
    row.intensity =
        loss.job.work / ((double)ROWS * HIDDEN * (element + 4) + VOCAB * HIDDEN * 34.0 / 32);
    snprintf(name, sizeof name, "loss and gradient in %s", hone_dtype_name(compute));
    bench_add_rate(b, row, &jobs[0], &jobs[1], &jobs[2], 1e9);
    snprintf(name, sizeof name, "extra memory in %s", hone_dtype_name(compute));
    bench_add_value(
        b,
        (bench_row){.section = "loss", .name = name, .unit = "MiB", .bar = BENCH_BAR_LOSS_MEMORY},
        (double)jobs[0].memory / (1 << 20));
    bench_case_free(&loss);
    bench_case_free(&kernel);
}

void bench_loss(bench *b) {
    measure(b, HONE_F32);
    if (b->multiply_bf16) measure(b, HONE_BF16);
}
