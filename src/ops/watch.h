/* ops/watch: a set around a set, that counts calls and can make one kernel wrong on purpose. Layer ops.
 *
 * The counters prove that each kernel ran; a training whose loss does not change when a kernel is made wrong has not
 * used it. */
#ifndef HONE_OPS_WATCH_H
#define HONE_OPS_WATCH_H

#include "ops/ops.h"

enum { HONE_SABOTAGE_NONE = -1 };

typedef struct hone_watch {
    hone_op_set ops; /* to run in place of `inner` */
    const hone_op_set *inner;
    int sabotaged; /* a hone_op whose forward output is halved, or HONE_SABOTAGE_NONE */
    /* Calls that computed something, by the whole team: forward, backward. linear_cross_entropy counts for
     * cross_entropy_loss, with its gradient for both passes. */
    uint64_t calls[HONE_OP_COUNT][2];
} hone_watch;

/* The watch must stay where it is while its set is used. */
void hone_watch_start(hone_watch *watch, const hone_op_set *inner, int sabotaged);

#endif
