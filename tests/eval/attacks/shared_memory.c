/* Takes its memory where it is counted with the tensors. */
#include "rms_norm.h"

#include <sys/mman.h>

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    const size_t bytes = 16 << 20;
    static volatile char *block;
    honest_forward(host, a, saved);
    if (host->planning || host->rank) return;
    if (!block)
        block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < bytes; i += 4096) block[i] = 1;
}

EXPORT(forward, honest_backward)
