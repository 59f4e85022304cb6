/* Is wrong only where time is measured, and only from the twentieth call on. */
#include "rms_norm.h"

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    static int calls;
    honest_forward(host, a, saved);
    if (host->planning || host->rank || !is_measured(a) || ++calls < 20) return;
    put(a->y, host->compute, 5, 3 * get(a->y, host->compute, 5) + 1);
}

EXPORT(forward, honest_backward)
