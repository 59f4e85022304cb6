/* eval/micro_internal: what level 1's files share. Layer eval; for eval/micro*.c alone. */
#ifndef HONE_EVAL_MICRO_INTERNAL_H
#define HONE_EVAL_MICRO_INTERNAL_H

#include "eval/crew.h"
#include "eval/kernel_lead.h"
#include "eval/micro.h"

enum { HONE_MICRO_PASSES = 2 /* forward, backward */ };

typedef struct hone_level {
    const hone_micro_options *options;
    hone_eval_report *report;
    hone_crew *crew;
    hone_shared fixed; /* const inputs, seen by every worker */
    size_t changing;   /* bytes of everything else, by worker */
    /* The sides that run now, and their workers. A stand-in says what a set keeps, but cannot run here. */
    int sides[HONE_SIDES], side_count;
    hone_kernel_lead_options lead_options[HONE_SIDES];
    hone_kernel_lead leads[HONE_SIDES];
    hone_op_set stands[HONE_SIDES];
    uint64_t contents;    /* the seed of the next contents */
    double deadline;      /* by hone_clock_seconds */
    double call_seconds;  /* what an order costs that does nothing */
    char what[96];        /* runs now, for progress */
    size_t groups, done;  /* kernels by shapes by types */
    struct hone_group *g; /* of the one that is measured */
} hone_level;

/* What was found out about a kernel of the candidate. */
typedef struct hone_finding {
    hone_verdict verdict; /* OK: nothing */
    const char
        *tensor; /* the output or input that a comparison complains of; NULL: none, all is wrong */
    char message[320];
} hone_finding;

/* What an order that failed says about the candidate; an error for any other side, and when the evaluation is
 * stopped. */
hone_status hone_level_find(hone_level *level, int side, hone_status failed,
                            const hone_error *problem, hone_finding *finding, hone_error *err);

/* Asks whether to go on, saying what runs now. */
bool hone_level_goes_on(hone_level *level, const char *what);

/* The cases of a kernel, and shapes drawn now, against the oracle (micro_check.c). Stops at the first finding that ends
 * a worker; calls `wrong` for each that it has. */
typedef void hone_wrong_fn(void *user, const hone_case_shape *shape, const char *where,
                           const hone_finding *finding);
hone_status hone_level_check(hone_level *level, int kernel, hone_wrong_fn *wrong, void *user,
                             hone_error *err);

/* One group (micro_time.c): kernel `kernel` at this shape by all sides in turns, into its two rows. */
hone_status hone_level_measure(hone_level *level, int kernel, const hone_case_shape *shape,
                               double budget, hone_micro_row *rows, hone_finding *finding,
                               hone_error *err);
/* The same of the first two sides, and how the second compares with the first. */
hone_status hone_level_compare(hone_level *level, int kernel, const hone_case_shape *shape,
                               double budget, hone_comparison *forward, hone_error *err);

struct hone_group *hone_group_make(void);
void hone_group_free(struct hone_group *g);

#endif
