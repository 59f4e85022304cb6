/* bench/machine: what this machine can do at best. Every other section takes turns with these loops, so its fractions
 * are of what they reach in the same moments. */
#include "bench.h"

#include "base/cpu.h"

static void add_peak(bench *b, const char *name, const char *series, const bench_job *job,
                     const bench_job *single, const char *how) {
    bench_row row = {.section = "machine",
                     .name = name,
                     .unit = "GFLOP/s",
                     .series = series,
                     .x = job->threads,
                     .reason = how};
    if (single != job) row.reference = "one thread";
    bench_add_rate(b, row, job, single != job ? single : NULL, NULL, 1e9);
}

static void peaks(bench *b) {
    bench_job jobs[4] = {bench_peak_job(b, HONE_F32, 1), bench_peak_job(b, HONE_F32, 0),
                         bench_peak_job(b, HONE_BF16, 1), bench_peak_job(b, HONE_BF16, 0)};
    bench_progress("machine: multiply-adds on registers");
    bench_interleave(b, jobs, b->multiply_bf16 ? 4 : 2, 2);
    add_peak(b, "float32, 1 thread", NULL, &jobs[0], &jobs[0], b->loops->name);
    add_peak(b, "float32, all threads", "roof f32", &jobs[1], &jobs[0], b->loops->name);
    if (b->multiply_bf16) {
        add_peak(b, "bfloat16, 1 thread", NULL, &jobs[2], &jobs[2], b->multiply_bf16_name);
        add_peak(b, "bfloat16, all threads", "roof bf16", &jobs[3], &jobs[2],
                 b->multiply_bf16_name);
    } else {
        bench_row row = {.section = "machine", .name = "bfloat16, all threads", .unit = "GFLOP/s"};
        bench_add_missing(b, row, "none: this CPU has no bfloat16 multiplication");
    }
}

static void bandwidth(bench *b, const char *where, const char *copy_series, const char *read_series,
                      size_t bytes) {
    char name[96];
    bench_buffers copied = bench_copy_buffers(b, bytes), read = bench_read_buffers(b, bytes);
    bench_job jobs[2] = {bench_copy_job(&copied, 0), bench_read_job(&read, 0)};
    bench_interleave(b, jobs, 2, 3);
    bench_row row = {.section = "machine", .name = name, .unit = "GB/s", .series = copy_series};
    snprintf(name, sizeof name, "copy %s", where);
    bench_add_rate(b, row, &jobs[0], NULL, NULL, 1e9);
    row.series = read_series;
    snprintf(name, sizeof name, "read %s", where);
    bench_add_rate(b, row, &jobs[1], NULL, NULL, 1e9);
    bench_buffers_free(&copied);
    bench_buffers_free(&read);
}

void bench_machine(bench *b) {
    size_t cache = hone_cpu_last_level_bytes();
    peaks(b);
    bench_progress("machine: bandwidth");
    bandwidth(b, "beyond the caches", "roof copy", "roof read",
              HONE_MAX(4 * cache, (size_t)256 << 20));
    if (cache) bandwidth(b, "inside the last-level cache", NULL, "roof cache", cache / 4);
}
