/* kernels/ref: AdamW. Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2,
 * with eps outside the root as in Kingma and Ba, "Adam", 2015, algorithm 1. */
#include "kernels/ref/ref.h"
#include <math.h>

void hone_ref_adamw_step(const hone_ref_adamw *a, size_t n, const double *g, double *w, double *m,
                         double *v) {
    for (size_t i = 0; i < n; i++) {
        m[i] = a->beta1 * m[i] + (1 - a->beta1) * g[i];
        v[i] = a->beta2 * v[i] + (1 - a->beta2) * g[i] * g[i];
        w[i] -= a->lr * a->weight_decay * w[i];
        w[i] -= a->lr * (m[i] / a->correction1) / (sqrt(v[i] / a->correction2) + a->eps);
    }
}
