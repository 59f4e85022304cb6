/* bench/measure: timing in turns, the machine's own loops as jobs, random inputs. */
#include "bench.h"

#include "base/clock.h"
#include "base/rng.h"

#include <sys/mman.h>

static const double sample_seconds = 0.004;

void bench_need(hone_status status, const hone_error *err) {
    if (status == HONE_OK) return;
    fprintf(stderr, "bench: %s\n", err->message);
    exit(EXIT_FAILURE);
}

void *bench_memory(size_t bytes) {
    const size_t huge = (size_t)2 << 20, align = bytes < huge ? 64 : huge;
    size_t rounded = HONE_CEIL_DIV(HONE_MAX(bytes, (size_t)1), align) * align;
    void *memory = aligned_alloc(align, rounded);
    if (!memory) {
        fprintf(stderr, "bench: out of memory, %zu bytes were wanted\n", rounded);
        exit(EXIT_FAILURE);
    }
    if (align == huge) (void)madvise(memory, rounded, MADV_HUGEPAGE); /* as training's arena does */
    return memset(memory, 0, rounded);
}

/* ---- in turns ---- */

typedef struct sample {
    const bench_job *job;
    hone_ctx ctx;
} sample;

static void run_thread(hone_team team, void *argument) {
    const sample *s = argument;
    hone_ctx ctx = s->ctx;
    ctx.team = team;
    for (int i = 0; i < s->job->calls; i++) s->job->body(&ctx, s->job->argument);
}

double bench_sample(const bench *b, bench_job *job) {
    sample s = {job, {.kernels = &b->kernels, .compute = job->compute, .arena = job->arena}};
    double start = hone_clock_seconds();
    if (job->body)
        hone_parallel(job->threads, run_thread, &s);
    else
        for (int i = 0; i < job->calls; i++) job->alone(job->argument);
    return (hone_clock_seconds() - start) / job->calls;
}

void bench_prepare(const bench *b, bench_job *job) {
    hone_error err;
    if (job->threads == 0) job->threads = b->threads;
    job->calls = 1;
    if (job->body) {
        hone_ctx plan = {.team = {.size = job->threads},
                         .kernels = &b->kernels,
                         .compute = job->compute,
                         .arena = hone_arena_plan()};
        job->body(&plan, job->argument);
        job->memory = plan.arena.peak;
        bench_need(hone_arena_open(&job->arena, HONE_MAX(job->memory, (size_t)4096), true, &err),
                   &err);
    }
    bench_sample(b, job);
    double seconds = bench_sample(b, job);
    job->calls = (int)HONE_MAX(1.0, HONE_MIN(4096.0, ceil(sample_seconds / seconds)));
    job->seconds[0] = seconds;
}

void bench_finish(bench_job *job) {
    if (job->body) hone_arena_close(&job->arena);
}

void bench_interleave(const bench *b, bench_job *jobs, int count, double patience) {
    bool quick = b->options.quick;
    double round = 0;
    for (int i = 0; i < count; i++) {
        bench_prepare(b, &jobs[i]);
        round += jobs[i].seconds[0] * jobs[i].calls;
    }
    double fit = (quick ? patience / 4 : patience) / round;
    int rounds = (int)HONE_MIN((double)(quick ? 9 : BENCH_MOST_ROUNDS), fit);
    rounds = HONE_MAX(rounds, quick ? 3 : 5);
    for (int r = 0; r < rounds; r++)
        for (int i = 0; i < count; i++) {
            bench_job *job = &jobs[(i + r) % count];
            job->seconds[r] = bench_sample(b, job);
        }
    for (int i = 0; i < count; i++) {
        jobs[i].rounds = rounds;
        bench_finish(&jobs[i]);
    }
}

void bench_quotients(const bench_job *job, const bench_job *reference, double *out) {
    for (int r = 0; r < job->rounds; r++)
        out[r] = job->work / job->seconds[r] / (reference->work / reference->seconds[r]);
}

/* ---- the machine's loops ---- */

enum { MULTIPLY_ROUNDS = 200000 }; /* about half a millisecond */

static void multiply_f32_body(hone_ctx *ctx, void *argument) {
    const bench *b = argument;
    if (hone_ctx_planning(ctx)) return;
    b->loops->multiply_f32(MULTIPLY_ROUNDS);
}

static void multiply_bf16_body(hone_ctx *ctx, void *argument) {
    const bench *b = argument;
    if (hone_ctx_planning(ctx)) return;
    b->multiply_bf16(MULTIPLY_ROUNDS);
}

bench_job bench_peak_job(const bench *b, hone_dtype compute, int threads) {
    bool bf16 = compute == HONE_BF16 && b->multiply_bf16;
    if (threads == 0) threads = b->threads;
    double work = bf16 ? b->multiply_bf16(1) : b->loops->multiply_f32(1);
    return (bench_job){.body = bf16 ? multiply_bf16_body : multiply_f32_body,
                       .argument = (void *)(uintptr_t)b,
                       .threads = threads,
                       .work = work * MULTIPLY_ROUNDS * threads};
}

const char *bench_peak_name(const bench *b, hone_dtype compute) {
    return compute == HONE_BF16 && b->multiply_bf16 ? "bf16 peak" : "f32 peak";
}

static void touch_body(hone_ctx *ctx, void *argument) {
    const bench_buffers *buffers = argument;
    size_t begin, end;
    hone_split(ctx->team, buffers->bytes, 4096, &begin, &end);
    if (buffers->from) memset(buffers->from + begin, 1, end - begin);
    if (buffers->to) memset(buffers->to + begin, 2, end - begin);
}

static void touch_thread(hone_team team, void *argument) {
    hone_ctx ctx = {.team = team};
    touch_body(&ctx, argument);
}

static bench_buffers make_buffers(const bench *b, size_t bytes, bool two) {
    bench_buffers buffers = {.bytes = HONE_CEIL_DIV(bytes, 4096) * 4096};
    buffers.from = bench_memory(buffers.bytes);
    if (two) buffers.to = bench_memory(buffers.bytes);
    hone_parallel(b->threads, touch_thread, &buffers);
    return buffers;
}

bench_buffers bench_copy_buffers(const bench *b, size_t bytes) {
    return make_buffers(b, bytes / 2, true);
}

bench_buffers bench_read_buffers(const bench *b, size_t bytes) {
    return make_buffers(b, bytes, false);
}

void bench_buffers_free(bench_buffers *buffers) {
    free(buffers->from);
    free(buffers->to);
    *buffers = (bench_buffers){0};
}

static const hone_loops *loops_of(const hone_ctx *ctx) {
    return hone_loops_select(ctx->kernels->features);
}

static void copy_body(hone_ctx *ctx, void *argument) {
    const bench_buffers *buffers = argument;
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, buffers->bytes, 4096, &begin, &end);
    loops_of(ctx)->copy(buffers->to + begin, buffers->from + begin, end - begin);
    hone_barrier(ctx->team);
}

static void read_body(hone_ctx *ctx, void *argument) {
    const bench_buffers *buffers = argument;
    if (hone_ctx_planning(ctx)) return;
    size_t begin, end;
    hone_split(ctx->team, buffers->bytes, 4096, &begin, &end);
    loops_of(ctx)->read(buffers->from + begin, end - begin);
    hone_barrier(ctx->team);
}

bench_job bench_copy_job(bench_buffers *buffers, int threads) {
    return (bench_job){.body = copy_body,
                       .argument = buffers,
                       .threads = threads,
                       .work = 2.0 * (double)buffers->bytes};
}

bench_job bench_read_job(bench_buffers *buffers, int threads) {
    return (bench_job){
        .body = read_body, .argument = buffers, .threads = threads, .work = (double)buffers->bytes};
}

/* ---- inputs ---- */

void *bench_random(hone_dtype dtype, size_t n, double scale) {
    void *x = bench_memory(n * hone_dtype_block_bytes(dtype));
    hone_rng rng = hone_rng_make(n);
    for (size_t i = 0; i < n; i++) {
        float f = (float)((hone_rng_uniform(&rng) - 0.5) * 3.4641 * scale); /* variance scale^2 */
        if (dtype == HONE_F32)
            ((float *)x)[i] = f;
        else
            ((hone_bf16 *)x)[i] = hone_f32_to_bf16(f);
    }
    return x;
}

hone_matrix bench_random_matrix(hone_dtype dtype, size_t rows, size_t cols, double scale) {
    if (dtype == HONE_F32 || dtype == HONE_BF16)
        return hone_matrix_dense(bench_random(dtype, rows * cols, scale), dtype, rows, cols);
    hone_matrix w = {.rows = rows, .cols = cols, .dtype = dtype};
    if (!hone_dtype_row_bytes(dtype, cols, &w.row_bytes)) {
        fprintf(stderr, "bench: no rows of %zu columns in %s\n", cols, hone_dtype_name(dtype));
        exit(EXIT_FAILURE);
    }
    size_t block = hone_dtype_block_bytes(dtype), bytes = rows * w.row_bytes;
    uint8_t *data = bench_memory(bytes);
    hone_rng rng = hone_rng_make(bytes);
    /* Codes 0 to 15 have a deviation of 4.6 about 7.5, codes -128 to 127 one of 74 about 0. */
    double step = scale / (dtype == HONE_Q8_0 ? 74 : 4.6);
    uint16_t scales[2] = {hone_f32_to_f16((float)step), hone_f32_to_f16((float)(-7.5 * step))};
    for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)hone_rng_next(&rng);
    for (size_t i = 0; i < bytes; i += block) memcpy(data + i, scales, dtype == HONE_Q8_0 ? 2 : 4);
    w.data = data;
    return w;
}

void *bench_own(bench_case *c, void *memory) {
    if (c->owned_count == sizeof c->owned / sizeof *c->owned) {
        fprintf(stderr, "bench: a case owns too much\n");
        exit(EXIT_FAILURE);
    }
    c->owned[c->owned_count++] = memory;
    return memory;
}

void bench_case_free(bench_case *c) {
    for (int i = 0; i < c->owned_count; i++) free(c->owned[i]);
    *c = (bench_case){0};
}
