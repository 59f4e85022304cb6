/* eval/desk: the page of memory over which an evaluation leads a kernel worker, a process that runs kernels on tensors
 * that both see. Layer eval.
 *
 * The leader writes an order and calls; the worker's threads wake, carry it out and answer. Nothing else passes
 * between them. A worker that has loaded a stranger's kernels may write anything here at any time: the leader reads
 * nothing back that it wrote itself, copies an answer before it looks at it, and believes none of it. */
#ifndef HONE_EVAL_DESK_H
#define HONE_EVAL_DESK_H

#include "cases/cases.h"

#include <stdatomic.h>

/* Descriptors that a worker starts with. */
enum { HONE_DESK_FD = 3, HONE_DESK_FIXED_FD = 4, HONE_DESK_CHANGING_FD = 5 };

enum { HONE_DESK_MAX_SETS = 128 }; /* of inputs with different contents */

typedef enum hone_desk_verb {
    HONE_DESK_LOAD,    /* select kernels, load the set: the first order */
    HONE_DESK_OPEN,    /* lay out the tensors of a shape, reserve what its passes plan to take */
    HONE_DESK_PASS,    /* one pass over every set of inputs */
    HONE_DESK_NOTHING, /* what an order costs */
    HONE_DESK_END
} hone_desk_verb;

typedef struct hone_desk_order {
    hone_desk_verb verb;
    /* LOAD */
    unsigned features; /* HONE_CPU_* */
    hone_tuning tuning;
    /* OPEN */
    size_t kind; /* index for hone_case_at */
    hone_case_shape shape;
    bool guarded; /* see hone_case_open */
    int sets;
    /* PASS */
    hone_case_pass pass;
    bool alone;   /* by a team of one */
    bool unsaved; /* FORWARD: no BACKWARD follows */
} hone_desk_order;

typedef struct hone_desk_answer {
    bool done;         /* else the message says why not */
    char message[256]; /* without control characters */
    /* LOAD */
    char set_name[64];
    bool has[HONE_OP_COUNT];                 /* which operations the set implements itself */
    bool keeps_residual, rebuilds, has_loss; /* has_loss: a linear_cross_entropy of its own */
    /* OPEN */
    hone_case_memory memory; /* of one set of inputs */
    /* PASS */
    bool overflow;     /* more memory was taken than planned */
    bool changed_mode; /* a kernel left another rounding mode or other flush flags, so far */
} hone_desk_answer;

typedef struct hone_desk {
    _Alignas(64) atomic_uint called;   /* how many orders were given: what the worker waits for */
    _Alignas(64) atomic_uint answered; /* the number of the last order that was carried out */
    _Alignas(
        64) size_t bytes[HONE_CASE_SPACES]; /* of the two spaces; read before anything is loaded */
    hone_desk_order order;
    hone_desk_answer answer;
} hone_desk;

/* Sleeps until *word is not `old` any more, or for `seconds` (negative: for ever). False when it still is. */
bool hone_desk_wait(atomic_uint *word, unsigned old, double seconds);
/* Sets *word and wakes who waits for it, in whatever process. */
void hone_desk_post(atomic_uint *word, unsigned value);

#endif
