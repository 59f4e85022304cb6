/* kernels/ref: cross-entropy of logits with labels, in the form that does not overflow. */
#include "kernels/ref/ref.h"
#include <math.h>

enum { IGNORE = -100 };

static double log_sum_exp(size_t n, const double *x) {
    double m = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
    for (size_t i = 0; i < n; i++) sum += exp(x[i] - m);
    return m + log(sum);
}

void hone_ref_cross_entropy_forward(size_t rows, size_t vocab, const double *logits,
                                    const int32_t *labels, double *loss) {
    for (size_t r = 0; r < rows; r++) {
        const double *x = logits + r * vocab;
        loss[r] = labels[r] == IGNORE ? 0 : log_sum_exp(vocab, x) - x[labels[r]];
    }
}

/* d loss / d logits = softmax(logits) - onehot(label). */
void hone_ref_cross_entropy_backward(size_t rows, size_t vocab, const double *logits,
                                     const int32_t *labels, double scale, double *dlogits) {
    for (size_t r = 0; r < rows; r++) {
        const double *x = logits + r * vocab;
        double *dx = dlogits + r * vocab, lse = log_sum_exp(vocab, x);
        for (size_t i = 0; i < vocab; i++)
            dx[i] = labels[r] == IGNORE ? 0 : exp(x[i] - lse) * scale;
        if (labels[r] != IGNORE) dx[labels[r]] -= scale;
    }
}
