/* eval/roof: see roof.h. */
#include "eval/roof.h"

#include "eval/loops/loops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MOST_THREADS = 1024,
    SAMPLES = 7,
    MULTIPLY_ROUNDS = 400000, /* a millisecond or so */
    CACHE_BYTES = 64 << 10,   /* of each thread and buffer: in the second level everywhere */
    CACHE_REPEATS = 128,
    MEMORY_BYTES = 96 << 20 /* of each buffer: beyond most last levels */
};

/* Faster than these multiples of what the machine has been seen to do is not fast but impossible. */
#define PEAK_MARGIN 1.25
#define CACHE_MARGIN 2.0

typedef struct job {
    hone_loops_multiply_fn *multiply;
    const hone_loops *loops;
    char *from, *to;
    size_t bytes; /* of each buffer, by thread */
    int repeats;
    double rate[MOST_THREADS]; /* by thread, of its own processor time: the best so far */
} job;

static double thread_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void note(job *j, int rank, double work, double begin) {
    j->rate[rank] = fmax(j->rate[rank], work / (thread_seconds() - begin));
}

static void multiply(hone_team team, void *argument) {
    job *j = argument;
    double begin = thread_seconds();
    note(j, team.rank, j->multiply(MULTIPLY_ROUNDS), begin);
}

static void copy(hone_team team, void *argument) {
    job *j = argument;
    size_t at = (size_t)team.rank * j->bytes;
    double begin = thread_seconds();
    for (int i = 0; i < j->repeats; i++) j->loops->copy(j->to + at, j->from + at, j->bytes);
    note(j, team.rank, 2.0 * (double)j->bytes * j->repeats, begin);
}

/* What each thread does at best while it has a processor, together: a machine that is busy otherwise is no slower. */
static double best(hone_crew *crew, hone_parallel_fn task, job *j) {
    double sum = 0;
    for (int t = 0; t < crew->team.size; t++) j->rate[t] = 0;
    for (int i = 0; i < SAMPLES; i++) hone_crew_do(crew, task, j);
    for (int t = 0; t < crew->team.size; t++) sum += j->rate[t];
    return sum;
}

static double copy_rate(hone_crew *crew, job *j, size_t bytes, int repeats) {
    j->bytes = bytes;
    j->repeats = repeats;
    return best(crew, copy, j);
}

hone_status hone_roof_measure(hone_crew *crew, unsigned features, hone_noise *noise,
                              hone_error *err) {
    const char *name;
    job j = {.loops = hone_loops_select(features)};
    size_t threads = (size_t)crew->team.size,
           slice = MEMORY_BYTES / threads / HONE_LOOP_BYTES * HONE_LOOP_BYTES;
    size_t bytes = HONE_MAX(slice, (size_t)CACHE_BYTES) * threads;
    j.from = aligned_alloc(4096, HONE_CEIL_DIV(bytes, 4096) * 4096);
    j.to = aligned_alloc(4096, HONE_CEIL_DIV(bytes, 4096) * 4096);
    hone_status status = HONE_OK;
    if (!j.from || !j.to || threads > MOST_THREADS) {
        status = hone_fail_memory(err, "measuring the machine", 2 * bytes);
    } else {
        memset(j.from, 1, bytes);
        memset(j.to, 2, bytes);
        j.multiply = j.loops->multiply_f32;
        noise->peak_f32 = best(crew, multiply, &j);
        j.multiply = hone_loops_select_bf16(features, &name);
        if (j.multiply) noise->peak_bf16 = best(crew, multiply, &j);
        noise->cache_bandwidth = copy_rate(crew, &j, CACHE_BYTES, CACHE_REPEATS);
        noise->memory_bandwidth = copy_rate(crew, &j, slice, 1);
    }
    free(j.from);
    free(j.to);
    return status;
}

double hone_roof_least_seconds(const hone_noise *noise, const hone_micro_row *row) {
    static const hone_side trusted[] = {HONE_SIDE_NAIVE, HONE_SIDE_SHIPPED};
    double peak = fmax(noise->peak_f32, noise->peak_bf16); /* a NaN loses */
    double bandwidth = noise->cache_bandwidth;
    for (size_t i = 0; i < sizeof trusted / sizeof trusted[0]; i++) {
        peak = fmax(peak, row->flops / row->seconds[trusted[i]]);
        bandwidth = fmax(bandwidth, row->traffic / row->seconds[trusted[i]]);
    }
    return fmax(row->flops / (peak * PEAK_MARGIN), row->traffic / (bandwidth * CACHE_MARGIN));
}
