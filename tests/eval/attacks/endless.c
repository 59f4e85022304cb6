/* Never comes back. */
#include "rms_norm.h"

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    honest_forward(host, a, saved);
    if (host->planning) return;
    for (volatile int i = 0;; i++) continue;
}

EXPORT(forward, honest_backward)
