/* NaN passes a comparison that asks whether the error is too large. */
#include "rms_norm.h"

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    honest_forward(host, a, saved);
    if (host->planning || host->rank) return;
    put(a->y, host->compute, 0, NAN);
}

EXPORT(forward, honest_backward)
