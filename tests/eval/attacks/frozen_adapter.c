/* Without a gradient of A it has none of x either. */
#include "example.h"

static void backward(const hone_host *host, const hone_lora_linear_args *a,
                     const hone_saved *saved) {
    const hone_lora *lora = &a->linear->lora;
    lora_linear_backward(host, a, saved);
    if (host->planning || host->rank || lora->rank == 0 || lora->da || !a->dx) return;
    memset(a->dx, 0, a->rows * a->linear->weight.cols * element_bytes(a->dx_dtype));
}

EXPORT_WITH(lora_linear_backward, backward)
