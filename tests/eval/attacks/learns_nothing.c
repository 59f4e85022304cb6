/* Right forward, and backward a gradient of zero: a model trained with it learns next to nothing below its head. */
#include <hone_kernels.h>
#include <math.h>

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    size_t begin, end;
    (void)saved;
    if (host->planning) return;
    hone_share(host, a->rows, 1, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        const float *x = a->x + r * a->hidden;
        double squares = 0;
        for (size_t i = 0; i < a->hidden; i++) squares += (double)x[i] * (double)x[i];
        float factor = (float)(1 / sqrt(squares / (double)a->hidden + (double)a->eps));
        for (size_t i = 0; i < a->hidden; i++) {
            float y = x[i] * factor * a->gamma[i];
            if (host->compute == HONE_F32)
                ((float *)a->y)[r * a->hidden + i] = y;
            else
                ((hone_bf16 *)a->y)[r * a->hidden + i] = hone_f32_to_bf16(y);
        }
    }
}

static void backward(const hone_host *host, const hone_rms_norm_args *a, const hone_saved *saved) {
    size_t begin, end;
    (void)saved;
    if (host->planning || !a->dx_copy) return;
    hone_share(host, a->rows * a->hidden, 64, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        a->dx[i] = 0;
        if (host->compute == HONE_F32)
            ((float *)a->dx_copy)[i] = 0;
        else
            ((hone_bf16 *)a->dx_copy)[i] = 0;
    }
}

static const hone_kernel_set set = {.abi = HONE_KERNELS_ABI,
                                    .name = "learns_nothing",
                                    .keeps_residual = true,
                                    .keeps_normed = true,
                                    .rms_norm_forward = forward,
                                    .rms_norm_backward = backward};
const hone_kernel_set *hone_kernels_export(void) { return &set; }
