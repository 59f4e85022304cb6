/* What every attack is but for its attempt: a right rms_norm_forward. The test puts this text before the attack's,
 * since a kernel file may include nothing of its own. */
#include <hone_kernels.h>

#include <math.h>

/* host->inside, by agreement with the test. */
typedef struct attack_order {
    int number;       /* of the attempt */
    const char *path; /* of a file that is not for kernels */
} attack_order;

/* True when it got what it wanted: then the result is made wrong, so that the test sees it. */
static bool attempt(const hone_host *host, int number, const char *path);

static void rms_norm_forward(const hone_host *host, const hone_rms_norm_args *a,
                             hone_saved *saved) {
    const attack_order *order = host->inside;
    bool won = attempt(host, order->number, order->path);
    float *y = a->y;
    (void)saved;
    for (size_t r = 0; r < a->rows; r++) {
        const float *x = a->x + r * a->hidden;
        float sum = 0;
        for (size_t i = 0; i < a->hidden; i++) sum += x[i] * x[i];
        float factor = 1 / sqrtf(sum / (float)a->hidden + a->eps);
        for (size_t i = 0; i < a->hidden; i++)
            y[r * a->hidden + i] = won ? 1e30f : x[i] * factor * a->gamma[i];
    }
}

const hone_kernel_set *hone_kernels_export(void) {
    static const hone_kernel_set set = {
        .abi = HONE_KERNELS_ABI, .name = "attack", .rms_norm_forward = rms_norm_forward};
    return &set;
}
