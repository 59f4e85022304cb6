/* Computes with 11 bits, as in fp16, where float32 was asked for. */
#include "rms_norm.h"

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    size_t begin, end;
    honest_forward(host, a, saved);
    if (host->planning) return;
    hone_share(host, a->rows, 1, &begin, &end);
    for (size_t i = begin * a->hidden; i < end * a->hidden; i++) {
        float y = get(a->y, host->compute, i);
        uint32_t bits;
        memcpy(&bits, &y, sizeof bits);
        bits = (bits + 0xfffu) & ~0x1fffu;
        memcpy(&y, &bits, sizeof bits);
        put(a->y, host->compute, i, y);
    }
}

EXPORT(forward, honest_backward)
