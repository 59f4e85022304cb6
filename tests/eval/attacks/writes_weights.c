/* Changes a const input, so that everybody's results are wrong the same way. */
#include "rms_norm.h"

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    honest_forward(host, a, saved);
    if (host->planning || host->rank) return;
    ((float *)(uintptr_t)a->gamma)[0] = 0;
}

EXPORT(forward, honest_backward)
