/* Comes back in time, but late each time. */
#include "rms_norm.h"

#include <time.h>

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    honest_forward(host, a, saved);
    if (host->planning || host->rank) return;
    nanosleep(&(struct timespec){.tv_nsec = 700000000}, NULL);
}

EXPORT(forward, honest_backward)
