/* eval/worker: one training in a process of its own, led step by step. Layer eval.
 *
 * The worker is any program that speaks the lines of `hone train --json --lockstep`: JSON objects on standard output,
 * one a line, {"event": "start"}, then for every line that it reads on standard input one {"event": "step", "iter",
 * "loss"}, at last {"event": "done"}; it ends when its input does. Nothing it says about time is used: this side has
 * the clock. It leads a process group of its own, which is killed whole. */
#ifndef HONE_EVAL_WORKER_H
#define HONE_EVAL_WORKER_H

#include "base/json.h"
#include "eval/sandbox.h"

typedef struct hone_worker {
    const char *name; /* for messages: "candidate", "naive" */
    pid_t pid;        /* 0 when none runs */
    bool boxed;       /* in a sandbox, as `child` */
    hone_sandbox_child child;
    int in, out, err;     /* our ends of its standard streams; -1 when closed */
    hone_buf lines;       /* output not yet taken */
    hone_buf said;        /* the beginning of what it wrote to standard error, for messages */
    size_t peak_rss;      /* bytes, as the system counts them, last look */
    hone_verdict verdict; /* of how it ended */
} hone_worker;

/* How long to wait, and who may end it sooner. */
typedef struct hone_patience {
    double seconds;
    bool (*keep_waiting)(void *user); /* asked at least twice a second; NULL: wait */
    void *user;
} hone_patience;

/* Starts argv[0] (a path, or a name to be found in PATH), in a sandbox where `box` is not NULL (then an absolute
 * path). */
hone_status hone_worker_start(hone_worker *worker, const char *name, char *const argv[],
                              const hone_sandbox_options *box, hone_error *err);

/* Lets it go on by one step. */
hone_status hone_worker_go(hone_worker *worker, hone_error *err);

/* Whether all of its processes stand still: what is not its turn is not its time to compute. */
void hone_worker_rest(hone_worker *worker, bool rests);

/* Its input ends: a training does its last things and ends. */
void hone_worker_end_input(hone_worker *worker);

/* Its next event, a new reference to an object with a string "event". HONE_ERR_LIMIT when it takes too long,
 * HONE_ERR_IO when it ended, HONE_ERR_FORMAT for output that is no event, HONE_ERR_INTERRUPTED. */
hone_status hone_worker_event(hone_worker *worker, const hone_patience *patience, json_t **event,
                              hone_error *err);

/* Waits for it to end well, ignoring further events. Fails when it does not. */
hone_status hone_worker_finish(hone_worker *worker, const hone_patience *patience, hone_error *err);

/* Kills what still runs and frees what is held. A zeroed worker, or one that was never started, is fine. */
void hone_worker_stop(hone_worker *worker);

#endif
