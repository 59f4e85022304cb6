/* base/parallel: a team of threads that runs one function. The only file that knows OpenMP. */
#define _GNU_SOURCE 1
#include "base/parallel.h"

#include <assert.h>
#include <linux/futex.h>
#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ThreadSanitizer does not see how OpenMP, which was built without it, starts and ends a region: it is told, and passed
 * over in the function that shares its variables with the team. What a region does is watched. */
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define UNWATCHED __attribute__((no_sanitize_thread))
static void happens_after(void *what) { __tsan_acquire(what); }
static void happens_before(void *what) { __tsan_release(what); }
#else
#define UNWATCHED
static void happens_after(const void *what) { (void)what; }
static void happens_before(const void *what) { (void)what; }
#endif

/* A thread's part of what is shared: round << 48 | pieces << 24 | those that are taken. One word, so that nobody takes
 * a piece of another round than the one he looked at. */
typedef struct part {
    _Alignas(64) atomic_uint_least64_t word;
} part;
enum { PART_BITS = 24, ROUND_BITS = 16 };

/* One per region, on its caller's stack. Each word on a cache line of its own. */
struct hone_meeting {
    _Alignas(64) atomic_uint arrived;
    _Alignas(64)
        atomic_uint generation; /* counts completed barriers; the word that sleepers wait on */
    _Alignas(64) atomic_uint sleepers;
    _Alignas(64) atomic_size_t drawn; /* pieces since the last barrier */
    part *parts;                      /* of each thread; NULL: no memory, and nothing is shared */
};

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
    int threads = lowered_by("HONE_THREADS", lowered_by("OMP_NUM_THREADS", affinity_count()));
    return HONE_MIN(threads, hone_parallel_most_threads());
}

int hone_parallel_most_threads(void) { return omp_get_thread_limit(); }

/* A thread that was put on the core of the team's first one moves to another that it may use. Some kernels take a long
 * time to do that themselves, and two threads on one core wait for each other's time slice: milliseconds. */
static void leave_core(int core) {
    cpu_set_t allowed, others;
    if (sched_getcpu() != core || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    others = allowed;
    CPU_CLR(core, &others);
    if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
    (void)sched_setaffinity(0, sizeof allowed, &allowed); /* moved, and free to be moved again */
}

void hone_parallel_pin(hone_team team) {
    cpu_set_t allowed, own;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    if (CPU_COUNT(&allowed) != team.size) return;
    int core = -1;
    for (int left = team.rank; left >= 0; left -= CPU_ISSET(core, &allowed) ? 1 : 0) core++;
    CPU_ZERO(&own);
    CPU_SET(core, &own);
    (void)sched_setaffinity(0, sizeof own, &own); /* a hint: without it all is as it was */
}

UNWATCHED void hone_parallel(int threads, hone_parallel_fn fn, void *argument) {
    struct hone_meeting meeting = {0};
    if (threads > 1) meeting.parts = aligned_alloc(_Alignof(part), (size_t)threads * sizeof(part));
    if (meeting.parts) memset(meeting.parts, 0, (size_t)threads * sizeof(part));
    int dynamic = omp_get_dynamic(), core = sched_getcpu();
    omp_set_dynamic(0); /* the team that memory was planned for, not one that suits the load */
    happens_before(&meeting);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        happens_after(&meeting);
        hone_team team = {omp_get_thread_num(), omp_get_num_threads(), &meeting};
        if (team.rank > 0 && core >= 0 && core < CPU_SETSIZE) leave_core(core);
        fn(team, argument);
        /* OpenMP spins at the end too: threads that share a core for a moment would wait for its next time slice. */
        hone_barrier(team);
        happens_before(&meeting);
    }
    happens_after(&meeting);
    omp_set_dynamic(dynamic);
    free(meeting.parts);
}

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void wait_for_next(struct hone_meeting *meeting, unsigned generation) {
    /* OpenMP's own barrier spins for milliseconds, which starves the others when cores are shared. */
    enum { SPINS = 4000 };
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&meeting->generation, memory_order_acquire) != generation) return;
        pause_briefly();
    }
    /* Sequentially consistent: either the last to arrive sees a sleeper, or the sleeper sees the new generation. */
    atomic_fetch_add(&meeting->sleepers, 1);
    while (atomic_load(&meeting->generation) == generation)
        syscall(SYS_futex, &meeting->generation, FUTEX_WAIT_PRIVATE, generation, NULL, NULL, 0);
    atomic_fetch_sub(&meeting->sleepers, 1);
}

void hone_barrier(hone_team team) {
    if (team.size == 1) return;
    struct hone_meeting *meeting = team.meeting;
    unsigned generation = atomic_load_explicit(&meeting->generation, memory_order_acquire);
    unsigned before = atomic_fetch_add_explicit(&meeting->arrived, 1, memory_order_acq_rel);
    if (before + 1 < (unsigned)team.size) {
        wait_for_next(meeting, generation);
        return;
    }
    atomic_store_explicit(&meeting->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&meeting->drawn, 0, memory_order_relaxed);
    atomic_fetch_add(&meeting->generation, 1);
    if (atomic_load(&meeting->sleepers) > 0)
        syscall(SYS_futex, &meeting->generation, FUTEX_WAKE_PRIVATE, team.size, NULL, NULL, 0);
}

bool hone_turns_next(hone_turns *turns) {
    if (turns->team.size == 1) return true;
    if (!turns->drawn) /* the last piece is done */
        turns->mine =
            atomic_fetch_add_explicit(&turns->team.meeting->drawn, 1, memory_order_relaxed);
    turns->drawn = turns->piece++ != turns->mine;
    return !turns->drawn;
}

hone_shares hone_shares_open(hone_team team, size_t pieces) {
    hone_shares shares = {.team = team, .pieces = pieces};
    assert(pieces < (size_t)1 << PART_BITS);
    if (team.size == 1 || !team.meeting->parts) return shares;
    atomic_uint_least64_t *word = &team.meeting->parts[team.rank].word;
    /* Nobody else writes it here: its owner leaves a round when all pieces of its own part are taken. */
    uint64_t last = atomic_load_explicit(word, memory_order_relaxed) >> (2 * PART_BITS);
    shares.round = (unsigned)(last + 1) & ((1u << ROUND_BITS) - 1);
    uint64_t opened = (uint64_t)shares.round << (2 * PART_BITS) | (uint64_t)pieces << PART_BITS;
    atomic_store_explicit(word, opened, memory_order_release);
    return shares;
}

/* Takes the next piece of a part in that round; false where there is none left, or its owner is in another round. */
static bool take_piece(part *from, unsigned round, size_t *piece) {
    const uint64_t mask = (1u << PART_BITS) - 1;
    uint64_t seen = atomic_load_explicit(&from->word, memory_order_acquire);
    while (seen >> (2 * PART_BITS) == round && (seen & mask) < (seen >> PART_BITS & mask)) {
        *piece = seen & mask;
        if (atomic_compare_exchange_weak_explicit(&from->word, &seen, seen + 1,
                                                  memory_order_acquire, memory_order_acquire))
            return true;
    }
    return false;
}

bool hone_shares_next(hone_shares *shares, int *owner, size_t *piece) {
    hone_team team = shares->team;
    *owner = team.rank;
    *piece = shares->next;
    if (team.size == 1 || !team.meeting->parts) return shares->next++ < shares->pieces;
    for (; shares->past < team.size; shares->past++) {
        *owner = (team.rank + shares->past) % team.size;
        if (take_piece(&team.meeting->parts[*owner], shares->round, piece)) return true;
    }
    return false;
}
