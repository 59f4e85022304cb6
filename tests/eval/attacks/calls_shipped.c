/* Calls the kernels that it is to be compared with. */
#include "rms_norm.h"

extern const char hone_ops_fused[];

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    if (hone_ops_fused[0]) honest_forward(host, a, saved);
}

EXPORT(forward, honest_backward)
