/* tests/eval/attacks/rms_norm: an honest rms_norm for the files here to spoil, each in a way of its own. They leave the
 * other operations out. */
#include "hone_kernels.h"

#include <math.h>

static inline float get(const void *x, hone_dtype dtype, size_t i) {
    return dtype == HONE_F32 ? ((const float *)x)[i] : hone_bf16_to_f32(((const hone_bf16 *)x)[i]);
}

static inline void put(void *x, hone_dtype dtype, size_t i, float value) {
    if (dtype == HONE_F32)
        ((float *)x)[i] = value;
    else
        ((hone_bf16 *)x)[i] = hone_f32_to_bf16(value);
}

static double reciprocal(const hone_rms_norm_args *a, const float *x) {
    double sum = 0;
    for (size_t i = 0; i < a->hidden; i++) sum += (double)x[i] * (double)x[i];
    return 1 / sqrt(sum / (double)a->hidden + (double)a->eps);
}

static void honest_forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    size_t begin, end;
    (void)saved;
    if (host->planning) return;
    hone_share(host, a->rows, 1, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        const float *x = a->x + r * a->hidden;
        double rstd = reciprocal(a, x);
        for (size_t i = 0; i < a->hidden; i++)
            put(a->y, host->compute, r * a->hidden + i,
                (float)((double)x[i] * rstd * (double)a->gamma[i]));
    }
}

static void honest_row(const hone_host *host, const hone_rms_norm_args *a, size_t r, double rstd) {
    const float *x = a->x + r * a->hidden;
    double dot = 0;
    for (size_t i = 0; i < a->hidden; i++)
        dot +=
            (double)get(a->dy, a->dy_dtype, r * a->hidden + i) * (double)a->gamma[i] * (double)x[i];
    for (size_t i = 0; i < a->hidden; i++) {
        size_t at = r * a->hidden + i;
        double dy = (double)get(a->dy, a->dy_dtype, at) * (double)a->gamma[i];
        a->dx[at] += (float)(rstd * (dy - (double)x[i] * rstd * rstd * dot / (double)a->hidden));
        if (a->dx_copy) put(a->dx_copy, host->compute, at, a->dx[at]);
    }
}

static void honest_backward(const hone_host *host, const hone_rms_norm_args *a,
                            const hone_saved *saved) {
    double *rstd = host->scratch(host, a->rows * sizeof *rstd);
    size_t begin, end;
    (void)saved;
    if (host->planning) return;
    hone_share(host, a->rows, 1, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        rstd[r] = reciprocal(a, a->x + r * a->hidden);
        honest_row(host, a, r, rstd[r]);
    }
    host->barrier(host);
    hone_share(host, a->dgamma ? a->hidden : 0, 16, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        double sum = 0;
        for (size_t r = 0; r < a->rows; r++) {
            size_t at = r * a->hidden + i;
            sum += (double)get(a->dy, a->dy_dtype, at) * (double)a->x[at] * rstd[r];
        }
        a->dgamma[i] += (float)sum;
    }
}

/* Nothing of the model's fixed buffers has to be rebuilt, and x stays. */
#define EXPORT(forward, backward)                                                                  \
    const hone_kernel_set *hone_kernels_export(void) {                                             \
        static const hone_kernel_set set = {.abi = HONE_KERNELS_ABI,                               \
                                            .name = "attack",                                      \
                                            .keeps_residual = true,                                \
                                            .keeps_normed = true,                                  \
                                            .rms_norm_forward = forward,                           \
                                            .rms_norm_backward = backward};                        \
        (void)honest_forward, (void)honest_backward;                                               \
        return &set;                                                                               \
    }

/* The sizes that level 1 measures at, and no case has. */
static inline int is_measured(const hone_rms_norm_args *a) { return a->rows >= 256; }
