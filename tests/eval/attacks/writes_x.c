/* Changes the residual stream, which lies in memory that can be written. */
#include "rms_norm.h"

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    honest_forward(host, a, saved);
    if (host->planning) return;
    host->barrier(host);
    if (host->rank == 0) ((float *)(uintptr_t)a->x)[0] *= 1.0000001f;
}

EXPORT(forward, honest_backward)
