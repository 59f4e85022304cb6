/* base/parallel: a team of threads that runs one function (SPMD). The only file that knows OpenMP.
 *
 * Inside hone_parallel every thread runs the same code with its own rank; they meet at
 * hone_barrier. A whole training step is one such region.
 */
#ifndef HONE_BASE_PARALLEL_H
#define HONE_BASE_PARALLEL_H

#include "base/size.h"

typedef struct hone_team {
    int rank; /* 0 .. size-1 */
    int size;
    struct hone_meeting *meeting; /* where the team's barrier is; NULL outside hone_parallel */
} hone_team;

typedef void (*hone_parallel_fn)(hone_team team, void *argument);

/* Processors this process may use (its affinity mask); HONE_THREADS or OMP_NUM_THREADS lower it. */
int hone_parallel_default_threads(void);

/* The most threads a team can have (OMP_THREAD_LIMIT). Asking for more would get a smaller team than
 * memory was planned for. */
int hone_parallel_most_threads(void);

/* Runs fn on `threads` threads (1 to the most) and returns when all have returned. Not nested. */
void hone_parallel(int threads, hone_parallel_fn fn, void *argument);

/* Every thread of the running region must reach it. A team of one passes at once. Waits awake for a
 * fraction of a millisecond, then asleep: a core that is shared with others is not burnt. */
void hone_barrier(hone_team team);

/* Pieces of work that go to whoever is free: for pieces of unlike cost, and cores of unlike speed. Every thread of the
 * running region asks about the same pieces in the same order and does those that are its own; all meet at a barrier
 * before such a row of pieces and after it. Who does a piece differs from run to run: what it computes must not. */
typedef struct hone_turns {
    hone_team team;
    size_t piece, mine; /* asked about next; the one this thread has drawn */
    bool drawn;
} hone_turns;

/* Is the next piece this thread's? What it had before is done then. */
bool hone_turns_next(hone_turns *turns);

/* Work that is cut into a part for each thread, and each part into pieces: who has done its own takes over what is left
 * of the others', so that cores of unlike speed end together, and each goes through its own part in order. Which thread
 * does a piece differs from run to run: what it computes must not. */
typedef struct hone_shares {
    hone_team team;
    unsigned round;      /* of sharing in this region, counted */
    int past;            /* parts, from the caller's on, that nothing is left of */
    size_t pieces, next; /* where nothing is shared: a team of one */
} hone_shares;

/* Opens the caller's part of `pieces` (fewer than 2^24): from now on others may do them. Every thread of the running
 * region calls it, as often as the others do, and asks for pieces until there are none. What pieces read and write is
 * in use until the next barrier, of which there has to be one in 2^15 rounds. */
hone_shares hone_shares_open(hone_team team, size_t pieces);

/* The next piece to do: number *piece of the part of rank *owner. False: all that could be had are done or being done;
 * they are done after the next barrier. A part that its owner has not opened by then is passed over. */
bool hone_shares_next(hone_shares *shares, int *owner, size_t *piece);

/* By every thread of the running region: keeps each on a processor of its own from now on, where the team is as large
 * as the processors that this process may use; does nothing otherwise. For teams that sleep between short pieces of
 * work: threads that are woken together may be put on one core, and stay there for many pieces. */
void hone_parallel_pin(hone_team team);

/* The part of [0, count) that `rank` owns when cut into pieces of `grain` (the last may be short):
 * contiguous, in order, covering all. The pieces depend on the shape alone; only who computes a
 * piece depends on the team, so results do not. */
static inline void hone_split(hone_team team, size_t count, size_t grain, size_t *begin,
                              size_t *end) {
    size_t pieces = HONE_CEIL_DIV(count, grain);
    size_t first = pieces * (size_t)team.rank / (size_t)team.size;
    size_t last = pieces * ((size_t)team.rank + 1) / (size_t)team.size;
    *begin = HONE_MIN(first * grain, count);
    *end = HONE_MIN(last * grain, count);
}

#endif
