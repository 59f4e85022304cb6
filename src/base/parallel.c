/* base/parallel: a team of threads that runs one function. The only file that knows OpenMP. */
#define _GNU_SOURCE 1
#include "base/parallel.h"

#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

static int affinity_count(void) {
    /* The mask may be wider than cpu_set_t on large machines: grow until the kernel's fits. */
    for (int cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        if (set == NULL) break;
        size_t bytes = CPU_ALLOC_SIZE((size_t)cpus);
        int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0) return count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < 1 << 20 ? (int)online : 1;
}

/* The number in the environment variable, or `most` when there is none between 1 and `most`. */
static int lowered_by(const char *variable, int most) {
    const char *text = getenv(variable);
    if (text == NULL) return most;
    char *end;
    long value = strtol(text, &end, 10); /* OMP_NUM_THREADS may be a list: its first entry counts */
    bool number = end != text && (*end == '\0' || *end == ',');
    return number && value >= 1 && value < most ? (int)value : most;
}

int hone_parallel_default_threads(void) {
    return lowered_by("HONE_THREADS", lowered_by("OMP_NUM_THREADS", affinity_count()));
}

void hone_parallel(int threads, hone_parallel_fn fn, void *argument) {
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        /* The runtime may grant fewer threads than asked for; the team is what it granted. */
        hone_team team = {omp_get_thread_num(), omp_get_num_threads()};
        fn(team, argument);
    }
}

void hone_barrier(hone_team team) {
    if (team.size == 1) return;
#pragma omp barrier
}
