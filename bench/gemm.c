/* bench/gemm: hone_matmul at the training shapes of SmolLM2-135M over 1,024 rows, unpacking and packing of the stored
 * weights included, beside oneDNN with weights packed beforehand and beside the register-only loop. */
#include "bench.h"

enum { ROWS = 1024 };

static const struct {
    size_t out, in;
} shapes[] = {{576, 576}, {192, 576}, {1536, 576}, {576, 1536}, {49152, 576}};
static const hone_dtype weights[] = {HONE_BF16, HONE_Q4_1, HONE_Q8_0};
enum { WEIGHTS = sizeof weights / sizeof *weights };

static void body(hone_ctx *ctx, void *argument) { hone_matmul(ctx, argument); }

bench_case bench_matmul_case(hone_dtype compute, const hone_matrix *w, size_t rows, bool by_rows) {
    bench_case c = {.job = {.body = body, .compute = compute}};
    size_t k = by_rows ? w->cols : w->rows, n = by_rows ? w->rows : w->cols;
    hone_matmul_args *args = bench_own(&c, bench_memory(sizeof *args));
    *args = (hone_matmul_args){.m = rows,
                               .n = n,
                               .k = k,
                               .a = bench_own(&c, bench_random(compute, rows * k, 1)),
                               .lda = k,
                               .b = w,
                               .by_rows = by_rows,
                               .ldc = n,
                               .c_dtype = compute};
    args->c = bench_own(&c, bench_memory(rows * n * hone_dtype_block_bytes(compute)));
    c.job.argument = args;
    c.job.work = 2.0 * (double)rows * (double)n * (double)k;
    return c;
}

#ifdef BENCH_ONEDNN
static double element(hone_dtype type, const void *x, size_t i) {
    if (type == HONE_F32) return ((const float *)x)[i];
    return hone_bf16_to_f32(((const hone_bf16 *)x)[i]);
}

/* Norm of the difference, of the norm of what oneDNN got. */
static double distance(hone_dtype type, const void *got, const void *want, size_t n) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        double g = element(type, got, i), w = element(type, want, i);
        difference += (g - w) * (g - w);
        size += w * w;
    }
    return sqrt(difference / size);
}

/* oneDNN on the same weights: whether the last result of the case is the right one. */
static bool agrees(const bench *b, const bench_case *c, char *reason, size_t room) {
    const hone_matmul_args *args = c->job.argument;
    bench_onednn *o = bench_onednn_open(b, c->job.compute, args->m, args->n, args->k, args->a,
                                        args->b, args->by_rows);
    bench_onednn_run(o);
    double away = distance(c->job.compute, args->c, bench_onednn_result(o), args->m * args->n);
    bench_onednn_close(o);
    bool good = away <= (c->job.compute == HONE_F32 ? 1e-5 : 1e-2);
    if (!good) snprintf(reason, room, "wrong: differs from oneDNN's result by %.2g", away);
    return good;
}
#endif

static double intensity(const bench_case *c) {
    const hone_matmul_args *args = c->job.argument;
    double element = (double)hone_dtype_block_bytes(c->job.compute);
    double bytes = element * (double)(args->m * (args->n + args->k)) +
                   (double)(args->b->rows * args->b->row_bytes);
    return c->job.work / bytes;
}

static void add_rows(bench *b, const bench_case *cases, const bench_job *jobs, bool peer,
                     size_t shape, bool by_rows) {
    hone_dtype compute = cases[0].job.compute;
    char name[96], reason[128];
    for (int i = 0; i < WEIGHTS; i++) {
        bench_row row = {.section = "gemm",
                         .name = name,
                         .unit = "GFLOP/s",
                         .series = by_rows ? "forward" : "transposed",
                         .peak = bench_peak_name(b, compute),
                         .intensity = intensity(&cases[i]),
                         .bar = BENCH_BAR_GEMM};
        snprintf(name, sizeof name, "%s %s %zux%zu in %s", by_rows ? "forward" : "transposed",
                 hone_dtype_name(weights[i]), shapes[shape].out, shapes[shape].in,
                 hone_dtype_name(compute));
        if (peer) {
            row.reference = "oneDNN";
        } else {
            row.reason = "no peer: built without oneDNN (libdnnl-dev)";
        }
#ifdef BENCH_ONEDNN
        if (!agrees(b, &cases[i], reason, sizeof reason)) {
            row.wrong = true;
            bench_add_missing(b, row, reason);
            continue;
        }
#else
        (void)reason;
#endif
        bench_add_rate(b, row, &jobs[i], peer ? &jobs[WEIGHTS + 1] : NULL, &jobs[WEIGHTS], 1e9);
    }
}

static void measure(bench *b, size_t shape, bool by_rows, hone_dtype compute) {
    hone_matrix w[WEIGHTS];
    bench_case cases[WEIGHTS];
    bench_job jobs[WEIGHTS + 2];
    bool peer = false;
    int count = WEIGHTS + 1;
    bench_progress("gemm: %zu x %zu %s in %s", shapes[shape].out, shapes[shape].in,
                   by_rows ? "forward" : "transposed", hone_dtype_name(compute));
    for (int i = 0; i < WEIGHTS; i++) {
        w[i] = bench_random_matrix(weights[i], shapes[shape].out, shapes[shape].in, 1);
        cases[i] = bench_matmul_case(compute, &w[i], ROWS, by_rows);
        jobs[i] = cases[i].job;
    }
    jobs[WEIGHTS] = bench_peak_job(b, compute, 0);
#ifdef BENCH_ONEDNN
    const hone_matmul_args *args = jobs[0].argument;
    bench_onednn *o =
        bench_onednn_open(b, compute, args->m, args->n, args->k, args->a, args->b, by_rows);
    jobs[count++] =
        (bench_job){.alone = bench_onednn_run, .argument = o, .work = cases[0].job.work};
    peer = true;
#endif
    bench_interleave(b, jobs, count, 5);
    add_rows(b, cases, jobs, peer, shape, by_rows);
#ifdef BENCH_ONEDNN
    bench_onednn_close(o);
#endif
    for (int i = 0; i < WEIGHTS; i++) {
        bench_case_free(&cases[i]);
        free((void *)(uintptr_t)w[i].data);
    }
}

void bench_gemm(bench *b) {
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int transposed = 0; transposed < 2; transposed++) {
            measure(b, s, !transposed, HONE_F32);
            if (b->multiply_bf16) measure(b, s, !transposed, HONE_BF16);
        }
}
