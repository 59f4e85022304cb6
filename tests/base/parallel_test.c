/* tests of base/parallel, base/cpu and base/clock: teams, and what the machine says of itself. */
#include "base/parallel.h"

#include "base/clock.h"
#include "base/cpu.h"

#include "support.h"

#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

enum { MOST = 8, ROUNDS = 200 };

typedef struct shared {
    atomic_int seen[MOST], size;
    int rounds[MOST]; /* plain memory: only barriers order it */
    atomic_int faults;
} shared;

static void walk(hone_team team, void *argument) {
    shared *s = argument;
    atomic_fetch_add(&s->seen[team.rank], 1);
    atomic_store(&s->size, team.size);
    for (int round = 1; round <= ROUNDS; round++) {
        s->rounds[team.rank] = round;
        hone_barrier(team);
        for (int i = 0; i < team.size; i++)
            if (s->rounds[i] != round) atomic_fetch_add(&s->faults, 1);
        hone_barrier(team);
    }
}

static void every_rank_runs_once_and_meets_the_others(void **state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        shared s = {0};
        hone_parallel(threads, walk, &s);
        assert_int_equal(atomic_load(&s.size), threads);
        for (int i = 0; i < MOST; i++) assert_int_equal(atomic_load(&s.seen[i]), i < threads);
        assert_int_equal(atomic_load(&s.faults), 0);
    }
}

/* OpenMP may make teams smaller than asked for, by what the machine is doing: memory was planned for all. */
static void a_team_is_as_large_as_asked_for(void **state) {
    (void)state;
    shared s = {0};
    omp_set_dynamic(1);
    hone_parallel(MOST, walk, &s);
    assert_int_equal(atomic_load(&s.size), MOST);
    assert_true(omp_get_dynamic());
    omp_set_dynamic(0);
}

enum { PIECES = 100, RUNS = 20 };

typedef struct dealt {
    atomic_int done[RUNS][PIECES], count[RUNS], slow;
} dealt;

/* Sleeps for a millisecond; true, and counted, after 20 seconds of that. Not by the clock: processes are stopped. */
static bool is_too_long(int waited, atomic_int *slow) {
    usleep(1000);
    if (waited < 20000) return false;
    atomic_fetch_add(slow, 1);
    return true;
}

/* Whoever draws the first piece is done with it only when all others are. */
static void deal(hone_team team, void *argument) {
    dealt *d = argument;
    for (int run = 0; run < RUNS; run++) {
        hone_turns turns = {.team = team};
        for (int piece = 0; piece < PIECES; piece++) {
            if (!hone_turns_next(&turns)) continue;
            for (int waited = 0; piece == 0 && team.size > 1; waited++) {
                if (atomic_load(&d->count[run]) == PIECES - 1) break;
                if (is_too_long(waited, &d->slow)) break;
            }
            atomic_fetch_add(&d->done[run][piece], 1);
            atomic_fetch_add(&d->count[run], 1);
        }
        hone_barrier(team);
    }
}

static void pieces_go_to_whoever_is_free(void **state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        static dealt d;
        memset(&d, 0, sizeof d);
        hone_parallel(threads, deal, &d);
        assert_int_equal(atomic_load(&d.slow), 0);
        for (int run = 0; run < RUNS; run++)
            for (int i = 0; i < PIECES; i++) assert_int_equal(atomic_load(&d.done[run][i]), 1);
    }
}

enum { OWN = 40 };

/* Pieces of each part in each run: some parts are empty. */
static size_t own_pieces(int run, int rank) { return (size_t)((run + rank * 3) % 4 * (OWN / 3)); }

typedef struct parts {
    atomic_int done[RUNS][MOST][OWN], count[RUNS], slow;
    size_t all[RUNS]; /* pieces of all parts together */
    bool meets;       /* after each run */
} parts;

/* Who draws the first piece of the first part is done with it only when all others are: the rest of that part has to
 * be somebody else's by then. */
static void share(hone_team team, void *argument) {
    parts *p = argument;
    for (int run = 0; run < RUNS; run++) {
        int owner;
        hone_shares shares = hone_shares_open(team, own_pieces(run, team.rank));
        if (p->meets) hone_barrier(team); /* all parts are open: none is passed over */
        for (size_t piece; hone_shares_next(&shares, &owner, &piece);) {
            bool waits = p->meets && team.size > 1 && owner == 0 && piece == 0;
            for (int waited = 0; waits && !atomic_load(&p->slow); waited++) {
                if ((size_t)atomic_load(&p->count[run]) + 1 == p->all[run]) break;
                if (is_too_long(waited, &p->slow)) break;
            }
            assert_true(owner >= 0 && owner < team.size && piece < OWN);
            atomic_fetch_add(&p->done[run][owner][piece], 1);
            atomic_fetch_add(&p->count[run], 1);
        }
        if (p->meets) hone_barrier(team);
    }
}

static void who_is_done_takes_over_from_others(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        int threads = 1 + i % 4;
        static parts p;
        memset(&p, 0, sizeof p);
        p.meets = i < 4;
        for (int run = 0; run < RUNS; run++)
            for (int rank = 0; rank < threads; rank++) p.all[run] += own_pieces(run, rank);
        hone_parallel(threads, share, &p);
        assert_int_equal(atomic_load(&p.slow), 0);
        for (int run = 0; run < RUNS; run++) {
            for (int rank = 0; rank < MOST; rank++) {
                size_t pieces = rank < threads ? own_pieces(run, rank) : 0;
                for (size_t piece = 0; piece < OWN; piece++)
                    assert_int_equal(atomic_load(&p.done[run][rank][piece]), piece < pieces);
            }
        }
    }
}

typedef struct places {
    cpu_set_t before, seen;
    int bound;
} places;

static void stay(hone_team team, void *argument) {
    places *p = argument;
    cpu_set_t own;
    hone_parallel_pin(team);
    for (int rank = 0; rank < team.size; rank++) {
        hone_barrier(team);
        if (rank != team.rank) continue;
        assert_int_equal(sched_getaffinity(0, sizeof own, &own), 0);
        p->bound += CPU_COUNT(&own) == 1;
        CPU_SET(sched_getcpu(), &p->seen);
    }
    hone_barrier(team);
    assert_int_equal(sched_setaffinity(0, sizeof p->before, &p->before), 0);
}

/* A whole team has all processors, one each; a smaller one is left alone. */
static void pinned_threads_have_processors_of_their_own(void **state) {
    (void)state;
    places p = {0};
    assert_int_equal(sched_getaffinity(0, sizeof p.before, &p.before), 0);
    int all = CPU_COUNT(&p.before);
    hone_parallel(all, stay, &p);
    assert_int_equal(p.bound, all);
    assert_true(CPU_EQUAL(&p.seen, &p.before));
    if (all == 1) return;
    p.bound = 0;
    hone_parallel(all - 1, stay, &p);
    assert_int_equal(p.bound, 0);
}

static void pieces_cover_everything_once(void **state) {
    (void)state;
    for (size_t count = 0; count < 70; count++) {
        for (size_t grain = 1; grain < 20; grain += 3) {
            for (int size = 1; size <= 5; size++) {
                size_t next = 0;
                for (int rank = 0; rank < size; rank++) {
                    size_t begin, end;
                    hone_split((hone_team){.rank = rank, .size = size}, count, grain, &begin, &end);
                    assert_int_equal(begin, next);
                    assert_true(end >= begin);
                    if (end != count) assert_int_equal(end % grain, 0);
                    next = end;
                }
                assert_int_equal(next, count);
            }
        }
    }
}

static void the_environment_lowers_the_threads(void **state) {
    (void)state;
    unsetenv("HONE_THREADS");
    unsetenv("OMP_NUM_THREADS");
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    int all = hone_parallel_default_threads();
    assert_int_equal(all, CPU_COUNT(&set));
    setenv("HONE_THREADS", "1", 1);
    assert_int_equal(hone_parallel_default_threads(), 1);
    static const char *const ignored[] = {"0", "-3", "100000", "two", ""};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        setenv("HONE_THREADS", ignored[i], 1);
        assert_int_equal(hone_parallel_default_threads(), all);
    }
    unsetenv("HONE_THREADS");
    setenv("OMP_NUM_THREADS", "1,2", 1);
    assert_int_equal(hone_parallel_default_threads(), 1);
    unsetenv("OMP_NUM_THREADS");
}

/* Whether /proc/cpuinfo lists the flag: what the kernel found out on its own. */
static bool listed(const char *flag) {
    FILE *file = fopen("/proc/cpuinfo", "r");
    assert_non_null(file);
    static char line[16384];
    bool found = false;
    size_t length = strlen(flag);
    while (!found && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "flags", 5) != 0 && strncmp(line, "Features", 8) != 0) continue;
        for (char *at = line; !found && (at = strstr(at, flag)) != NULL; at += length)
            found = at[-1] == ' ' && (at[length] == ' ' || at[length] == '\n');
    }
    fclose(file);
    return found;
}

static void features_are_those_the_kernel_lists(void **state) {
    (void)state;
    unsigned found = hone_cpu_detect();
#if defined(__x86_64__)
    bool avx2 = listed("avx2") && listed("fma") && listed("f16c") && listed("bmi2");
    bool avx512 =
        avx2 && listed("avx512f") && listed("avx512bw") && listed("avx512dq") && listed("avx512vl");
    assert_int_equal((found & HONE_CPU_AVX2) != 0, avx2);
    assert_int_equal((found & HONE_CPU_AVX512) != 0, avx512);
    assert_int_equal((found & HONE_CPU_AVX512BF16) != 0, avx512 && listed("avx512_bf16"));
    if ((found & HONE_CPU_AMX) != 0) assert_true(listed("amx_bf16"));
    assert_int_equal(found & (HONE_CPU_NEON | HONE_CPU_NEONBF16), 0);
#elif defined(__aarch64__)
    if (!listed("fp")) { /* which all of them have */
        print_message("/proc/cpuinfo is of another processor: this is an emulator\n");
        skip();
    }
    assert_int_equal((found & HONE_CPU_NEON) != 0, listed("asimd"));
    assert_int_equal((found & HONE_CPU_NEONBF16) != 0, listed("bf16"));
#else
    assert_int_equal(found, 0);
#endif
}

static void hone_cpu_caps_the_features(void **state) {
    (void)state;
    hone_error err = {0};
    unsigned all = hone_cpu_detect(), got = ~0u;
    unsetenv("HONE_CPU");
    assert_ok(hone_cpu_features(&got, &err), err);
    assert_int_equal(got, all);
    setenv("HONE_CPU", "scalar", 1);
    assert_ok(hone_cpu_features(&got, &err), err);
    assert_int_equal(got, 0);
    setenv("HONE_CPU", "avx512", 1);
    assert_ok(hone_cpu_features(&got, &err), err);
    assert_int_equal(got, all & (HONE_CPU_AVX2 | HONE_CPU_AVX512));
    setenv("HONE_CPU", "sse9", 1);
    assert_int_equal(hone_cpu_features(&got, &err), HONE_ERR_USAGE);
    assert_non_null(strstr(err.message, "HONE_CPU=sse9"));
    unsetenv("HONE_CPU");
}

static void tiers_have_names(void **state) {
    (void)state;
    assert_string_equal(hone_cpu_tier_name(0), "scalar");
    assert_string_equal(hone_cpu_tier_name(HONE_CPU_AVX2), "AVX2");
    assert_string_equal(hone_cpu_tier_name(HONE_CPU_AVX2 | HONE_CPU_AVX512), "AVX-512");
    assert_string_equal(hone_cpu_tier_name(HONE_CPU_AVX2 | HONE_CPU_AVX512 | HONE_CPU_AVX512BF16),
                        "AVX-512 BF16");
    assert_string_equal(hone_cpu_tier_name(HONE_CPU_NEON), "NEON");
    assert_true(strlen(hone_cpu_model()) > 0);
    assert_true(hone_cpu_last_level_bytes() >= hone_cpu_l2_bytes());
}

static void memory_is_what_the_system_counts(void **state) {
    (void)state;
    enum { BYTES = 64 << 20 };
    size_t before = hone_memory_rss();
    assert_in_range(before, 1 << 19, (size_t)4 << 30);
    char *block = malloc(BYTES);
    assert_non_null(block);
    memset(block, 1, BYTES);
    size_t during = hone_memory_rss();
    free(block);
    assert_true(during >= before + BYTES - (8 << 20));
    assert_true(hone_memory_peak_rss() >= during - (1 << 20));
    size_t available = hone_memory_available();
    size_t physical = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    assert_in_range(available, 1, physical);
}

static void the_clock_goes_forward_in_seconds(void **state) {
    (void)state;
    double begin = hone_clock_seconds();
    usleep(20000);
    double passed = hone_clock_seconds() - begin;
    assert_true(passed >= 0.0199 && passed < 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_runs_once_and_meets_the_others),
        cmocka_unit_test(a_team_is_as_large_as_asked_for),
        cmocka_unit_test(pieces_go_to_whoever_is_free),
        cmocka_unit_test(who_is_done_takes_over_from_others),
        cmocka_unit_test(pinned_threads_have_processors_of_their_own),
        cmocka_unit_test(pieces_cover_everything_once),
        cmocka_unit_test(the_environment_lowers_the_threads),
        cmocka_unit_test(features_are_those_the_kernel_lists),
        cmocka_unit_test(hone_cpu_caps_the_features),
        cmocka_unit_test(tiers_have_names),
        cmocka_unit_test(memory_is_what_the_system_counts),
        cmocka_unit_test(the_clock_goes_forward_in_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
