/* kernels/ref: rotary position embedding. Su et al., "RoFormer", 2021, eq. 34. */
#include "kernels/ref/ref.h"

/* A rotation's gradient is the rotation back: the transposed matrix, sign = -1. */
static void rotate(const hone_ref_rope *a, double sign, const double *x, double *y) {
    size_t half = a->rope_dim / 2;
    for (size_t r = 0; r < a->rows; r++) {
        for (size_t h = 0; h < a->heads; h++) {
            const double *xr = x + (r * a->heads + h) * a->head_dim;
            double *yr = y + (r * a->heads + h) * a->head_dim;
            for (size_t i = a->rope_dim; i < a->head_dim; i++) yr[i] = xr[i];
            for (size_t i = 0; i < half; i++) {
                size_t u = a->interleaved ? 2 * i : i, v = a->interleaved ? 2 * i + 1 : i + half;
                double c = a->cos[(size_t)a->positions[r] * half + i];
                double s = a->sin[(size_t)a->positions[r] * half + i] * sign;
                double xu = xr[u], xv = xr[v];
                yr[u] = xu * c - xv * s;
                yr[v] = xv * c + xu * s;
            }
        }
    }
}

void hone_ref_rope_forward(const hone_ref_rope *a, const double *x, double *y) {
    rotate(a, 1, x, y);
}
void hone_ref_rope_backward(const hone_ref_rope *a, const double *dy, double *dx) {
    rotate(a, -1, dy, dx);
}
