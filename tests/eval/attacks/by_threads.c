/* Adds up in an order that depends on the number of threads. */
#include "rms_norm.h"

static void backward(const hone_host *host, const hone_rms_norm_args *a, const hone_saved *saved) {
    honest_backward(host, a, saved);
    if (host->planning) return;
    host->barrier(host);
    if (host->rank == 0) a->dx[0] *= host->size == 1 ? 1 : 1.0000002f;
}

EXPORT(honest_forward, backward)
