/* kernels/ref: RMSNorm. Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, eq. 4. */
#include "kernels/ref/ref.h"
#include <math.h>

static double inverse_rms(size_t n, const double *x, double eps) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return 1 / sqrt(sum / (double)n + eps);
}

void hone_ref_rms_norm_forward(size_t rows, size_t hidden, const double *x, const double *gamma,
                               double eps, double *y) {
    for (size_t r = 0; r < rows; r++) {
        double rstd = inverse_rms(hidden, x + r * hidden, eps);
        for (size_t i = 0; i < hidden; i++) y[r * hidden + i] = x[r * hidden + i] * rstd * gamma[i];
    }
}

/* With x^ = x rstd: d rstd / dx_i = -rstd^2 x^_i / n, so
 * dx_i = rstd (dy_i gamma_i - x^_i mean_j(dy_j gamma_j x^_j)) and dgamma_i = sum_r dy_i x^_i. */
void hone_ref_rms_norm_backward(size_t rows, size_t hidden, const double *x, const double *gamma,
                                double eps, const double *dy, double *dx, double *dgamma) {
    for (size_t i = 0; dgamma && i < hidden; i++) dgamma[i] = 0;
    for (size_t r = 0; r < rows; r++) {
        const double *xr = x + r * hidden, *dyr = dy + r * hidden;
        double rstd = inverse_rms(hidden, xr, eps), mean = 0;
        for (size_t i = 0; i < hidden; i++)
            mean += dyr[i] * gamma[i] * xr[i] * rstd / (double)hidden;
        for (size_t i = 0; i < hidden; i++) {
            dx[r * hidden + i] = rstd * (dyr[i] * gamma[i] - xr[i] * rstd * mean);
            if (dgamma) dgamma[i] += dyr[i] * xr[i] * rstd;
        }
    }
}
