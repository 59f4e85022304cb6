/* eval/kernel_lead: leading one kernel worker (eval/desk) from outside: orders, the clock, and what can be seen of a
 * process whose word does not count. Layer eval. */
#ifndef HONE_EVAL_KERNEL_LEAD_H
#define HONE_EVAL_KERNEL_LEAD_H

#include "eval/desk.h"
#include "eval/sandbox.h"

#include <time.h>

/* Memory that two processes share, as this one sees it. */
typedef struct hone_shared {
    int fd; /* -1: none */
    char *base;
    size_t bytes;
} hone_shared;

/* `read_only`: who gets the descriptor can never write. Its size cannot be changed in any case. */
hone_status hone_shared_make(hone_shared *shared, const char *name, size_t bytes, bool read_only,
                             hone_error *err);
void hone_shared_free(hone_shared *shared); /* one that was never made (fd -1) is fine */

typedef struct hone_kernel_lead_options {
    const char *program; /* the hone that is started */
    const char *kernels; /* "naive", "fused", or the path of a shared object */
    int threads;
    unsigned features;
    hone_tuning tuning;
    const hone_shared *fixed; /* the const inputs of all workers; outlives them */
    size_t changing;          /* bytes of everything else */
    bool unsafe;              /* see hone_sandbox_options */
    double seconds;           /* that one order may take */
    bool (*keep_waiting)(
        void *user); /* asked at least twice a second; false: HONE_ERR_INTERRUPTED. NULL: wait */
    void *user;
} hone_kernel_lead_options;

typedef struct hone_kernel_lead {
    const hone_kernel_lead_options *options; /* must outlive it */
    hone_sandbox_child child;
    hone_shared desk, changing;
    unsigned called;
    hone_desk_answer loaded; /* to LOAD */
    hone_ending ending;      /* how it ended, once it has */
    bool ended;
    int threads;         /* of the process when it had loaded its kernels */
    size_t own_memory;   /* anonymous pages that it had before it loaded them, bytes */
    size_t shared;       /* bytes that it has mapped on behalf of its last OPEN, most */
    double allowed;      /* seconds that are left of hone_kernel_lead_allow */
    clockid_t cpu_clock; /* the processor time of all its threads */
    double cpu_answered; /* that clock when the last answer came */
} hone_kernel_lead;

/* Starts the worker and has it load its kernels. On failure the lead needs no stop; where the kernels are to blame,
 * lead->ending says how, or is OK and the error tells why they were refused. */
hone_status hone_kernel_lead_start(hone_kernel_lead *lead, const hone_kernel_lead_options *options,
                                   hone_error *err);

/* One order; *seconds (may be NULL) is from the call until its answer is here, by this process's clock. HONE_ERR_IO
 * when the worker has ended or took too long: lead->ending tells, and it is gone. HONE_ERR_UNSUPPORTED for an answer
 * that it could not do it. */
hone_status hone_kernel_lead_order(hone_kernel_lead *lead, const hone_desk_order *order,
                                   hone_desk_answer *answer, double *seconds, hone_error *err);

/* Its turns may take so many seconds together from now on, each what an order may take at most. INFINITY: no end. */
void hone_kernel_lead_allow(hone_kernel_lead *lead, double seconds);

/* Processor seconds that the worker has used since its last answer: work that was not done while the clock ran. */
double hone_kernel_lead_late_seconds(const hone_kernel_lead *lead);

/* What can be seen of it from outside. */
typedef struct hone_kernel_sight {
    int threads; /* that it has */
    size_t
        unplanned; /* bytes of the most memory that it had since hone_kernel_lead_watch, beyond what it had before
                         it loaded its kernels, the tensors of its last OPEN, code, and `planned` */
} hone_kernel_sight;
void hone_kernel_lead_watch(hone_kernel_lead *lead);
hone_kernel_sight hone_kernel_lead_see(const hone_kernel_lead *lead, size_t planned);

/* Ends it. Whoever was never started, or has ended, is fine. */
void hone_kernel_lead_stop(hone_kernel_lead *lead);

#endif
