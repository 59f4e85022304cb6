/* base/arena: one reservation, two stacks.
 *
 *   base                                                                    base + capacity
 *   | saved: grows up ->                          free                    <- scratch: grows down |
 *     kept from forward to backward                        gone when the op or the layer returns
 *
 * The arena is plain arithmetic over a base address, so every thread of a team keeps a copy of its
 * own (`hone_arena a = *shared;`), makes the same calls in the same order and gets the same
 * addresses without talking. With `base == NULL` it plans: addresses are not to be touched, peaks
 * are exact. That is how memory is known before the first step.
 *
 * Invariants: saved + scratch <= capacity (planning: capacity SIZE_MAX); every block starts on a
 * 64-byte boundary relative to base, which is page-aligned; peak >= saved + scratch;
 * peak == at_peak.saved + at_peak.scratch.
 */
#ifndef HONE_BASE_ARENA_H
#define HONE_BASE_ARENA_H

#include "base/status.h"

typedef struct hone_arena_mark {
    size_t saved, scratch;
} hone_arena_mark;

typedef struct hone_arena {
    char *base;              /* page-aligned; NULL while planning */
    size_t capacity;         /* bytes reserved */
    size_t saved;            /* bytes in use at the low end */
    size_t scratch;          /* bytes in use at the high end */
    size_t peak;             /* largest saved + scratch so far */
    hone_arena_mark at_peak; /* what was in use when it was reached first */
    bool overflow; /* a request did not fit: the run's results are void, hone_arena_check fails */
} hone_arena;

/* Reserves `capacity` bytes of zero pages, committed on first touch; asks for huge pages when
 * `huge`. The owner calls hone_arena_close once; copies are never closed. */
hone_status hone_arena_open(hone_arena *arena, size_t capacity, bool huge, hone_error *err);
void hone_arena_close(hone_arena *arena);

/* A planning arena: no memory, unlimited. */
hone_arena hone_arena_plan(void);
static inline bool hone_arena_planning(const hone_arena *arena) { return arena->base == NULL; }

/* Blocks of `bytes`, 64-byte aligned, contents undefined. Never NULL while not planning: a request
 * that does not fit sets `overflow` and returns the base, so that kernels stay in bounds only when
 * the plan was right; callers size arenas by planning the same calls first. */
void *hone_arena_save(hone_arena *arena, size_t bytes);
void *hone_arena_scratch(hone_arena *arena, size_t bytes);

/* Everything taken after the mark is given back. */
static inline hone_arena_mark hone_arena_get_mark(const hone_arena *arena) {
    return (hone_arena_mark){arena->saved, arena->scratch};
}
static inline void hone_arena_release(hone_arena *arena, hone_arena_mark mark) {
    arena->saved = mark.saved;
    arena->scratch = mark.scratch;
}
static inline void hone_arena_release_scratch(hone_arena *arena, hone_arena_mark mark) {
    arena->scratch = mark.scratch;
}
static inline void hone_arena_release_saved(hone_arena *arena, hone_arena_mark mark) {
    arena->saved = mark.saved;
}

/* From now on the peak is that of what follows. */
static inline void hone_arena_restart_peak(hone_arena *arena) {
    arena->at_peak = hone_arena_get_mark(arena);
    arena->peak = arena->saved + arena->scratch;
}

/* Fails with HONE_ERR_INTERNAL when a request overflowed. */
hone_status hone_arena_check(const hone_arena *arena, hone_error *err);

#endif
