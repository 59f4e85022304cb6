/* eval/crew: see crew.h. */
#include "eval/crew.h"

#include <stddef.h>

typedef struct start {
    hone_crew crew;
    void (*lead)(hone_crew *crew, void *user);
    void *user;
} start;

static void work(hone_team team, void *argument) {
    start *s = argument;
    if (team.rank == 0) {
        s->crew = (hone_crew){.team = team};
        s->lead(&s->crew, s->user);
        s->crew.task = NULL;
        hone_barrier(team);
        return;
    }
    for (;;) {
        hone_barrier(team);
        if (!s->crew.task) return;
        s->crew.task(team, s->crew.argument);
        hone_barrier(team);
    }
}

void hone_crew_run(int threads, void (*lead)(hone_crew *crew, void *user), void *user) {
    start s = {.lead = lead, .user = user};
    hone_parallel(threads, work, &s);
}

void hone_crew_do(hone_crew *crew, hone_parallel_fn task, void *argument) {
    crew->task = task;
    crew->argument = argument;
    hone_barrier(crew->team);
    task(crew->team, argument);
    hone_barrier(crew->team);
}
