/* eval/crew: threads that help one thread with what is wide, and sleep in between. Layer eval.
 *
 * A team of base/parallel for each piece of work would leave its threads spinning after it, on the cores of the process
 * that is about to be measured. */
#ifndef HONE_EVAL_CREW_H
#define HONE_EVAL_CREW_H

#include "base/parallel.h"

typedef struct hone_crew {
    hone_team team;
    hone_parallel_fn task; /* NULL: the crew goes home */
    void *argument;
} hone_crew;

/* Runs `lead` on this thread, with `threads` - 1 others at hand until it returns. */
void hone_crew_run(int threads, void (*lead)(hone_crew *crew, void *user), void *user);

/* Runs `task` on the whole crew; returns when all have done theirs. Called by `lead` alone. */
void hone_crew_do(hone_crew *crew, hone_parallel_fn task, void *argument);

#endif
