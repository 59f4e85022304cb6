/* Takes its memory from elsewhere, where nobody counts. */
#include "rms_norm.h"

#include <stdlib.h>

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    const size_t bytes = 16 << 20;
    honest_forward(host, a, saved);
    if (host->planning || host->rank) return;
    volatile char *block = malloc(bytes);
    for (size_t i = 0; block && i < bytes; i += 4096) block[i] = 1;
    free((char *)(uintptr_t)block);
}

EXPORT(forward, honest_backward)
