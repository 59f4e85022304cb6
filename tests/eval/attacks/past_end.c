/* Writes one element too many. */
#include "rms_norm.h"

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    honest_forward(host, a, saved);
    if (host->planning || host->rank) return;
    put(a->y, host->compute, a->rows * a->hidden, 0);
}

EXPORT(forward, honest_backward)
