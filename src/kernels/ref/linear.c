/* kernels/ref: a linear layer with a low-rank adapter (Hu et al., "LoRA", 2021), and SwiGLU over two of
 * them (Shazeer, "GLU Variants Improve Transformer", 2020, eq. 6). */
#include "kernels/ref/ref.h"
#include <math.h>
#include <stdlib.h>

/* c[m, n] (+)= a b, a read as [m, k] through strides, b as [k, n]. */
typedef struct strided {
    const double *data;
    size_t row, col;
} strided;

static void product(size_t m, size_t n, size_t k, strided a, strided b, double factor, int add,
                    double *c) {
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t p = 0; p < k; p++)
                sum += a.data[i * a.row + p * a.col] * b.data[p * b.row + j * b.col];
            c[i * n + j] = factor * sum + (add ? c[i * n + j] : 0);
        }
    }
}

static strided plain(const double *data, size_t cols) { return (strided){data, cols, 1}; }
static strided flipped(const double *data, size_t cols) { return (strided){data, 1, cols}; }

bool hone_ref_linear_forward(const hone_ref_linear *l, size_t rows, const double *x, double *y) {
    product(rows, l->out, l->in, plain(x, l->in), flipped(l->w, l->in), 1, 0, y);
    for (size_t i = 0; l->bias && i < rows * l->out; i++) y[i] += l->bias[i % l->out];
    if (l->rank == 0) return true;
    double *t = calloc(rows * l->rank, sizeof *t); /* x A^T */
    if (!t) return false;
    product(rows, l->rank, l->in, plain(x, l->in), flipped(l->a, l->in), 1, 0, t);
    product(rows, l->out, l->rank, plain(t, l->rank), flipped(l->b, l->rank), l->scale, 1, y);
    free(t);
    return true;
}

/* With t = x A^T and u = dy B: dx = dy W + scale u A, dA = scale u^T x, dB = scale dy^T t, dW = dy^T x. */
bool hone_ref_linear_backward(const hone_ref_linear *l, size_t rows, const double *x,
                              const double *dy, double *dx, const hone_ref_linear_gradients *g) {
    if (dx) product(rows, l->in, l->out, plain(dy, l->out), plain(l->w, l->in), 1, 0, dx);
    if (g->dw) product(l->out, l->in, rows, flipped(dy, l->out), plain(x, l->in), 1, 0, g->dw);
    for (size_t j = 0; g->dbias && j < l->out; j++) {
        g->dbias[j] = 0;
        for (size_t r = 0; r < rows; r++) g->dbias[j] += dy[r * l->out + j];
    }
    if (l->rank == 0) return true;
    double *t = calloc(2 * rows * l->rank, sizeof *t), *u = t + rows * l->rank;
    if (!t) return false;
    product(rows, l->rank, l->in, plain(x, l->in), flipped(l->a, l->in), 1, 0, t);
    product(rows, l->rank, l->out, plain(dy, l->out), plain(l->b, l->rank), 1, 0, u);
    if (dx) product(rows, l->in, l->rank, plain(u, l->rank), plain(l->a, l->in), l->scale, 1, dx);
    if (g->da)
        product(l->rank, l->in, rows, flipped(u, l->rank), plain(x, l->in), l->scale, 0, g->da);
    if (g->db)
        product(l->out, l->rank, rows, flipped(dy, l->out), plain(t, l->rank), l->scale, 0, g->db);
    free(t);
    return true;
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

bool hone_ref_swiglu_forward(const hone_ref_linear *gate, const hone_ref_linear *up, size_t rows,
                             const double *x, double *h) {
    size_t n = rows * gate->out;
    double *u = calloc(n, sizeof *u);
    bool done =
        u && hone_ref_linear_forward(gate, rows, x, h) && hone_ref_linear_forward(up, rows, x, u);
    for (size_t i = 0; done && i < n; i++) h[i] = h[i] * sigmoid(h[i]) * u[i];
    free(u);
    return done;
}

/* silu'(g) = s (1 + g (1 - s)), s = sigmoid(g). */
bool hone_ref_swiglu_backward(const hone_ref_linear *gate, const hone_ref_linear *up, size_t rows,
                              const double *x, const double *dh, double *dx,
                              const hone_ref_linear_gradients *gate_gradients,
                              const hone_ref_linear_gradients *up_gradients) {
    size_t n = rows * gate->out;
    double *g = calloc(2 * n + rows * up->in, sizeof *g), *u = g + n, *from_up = u + n;
    bool done =
        g && hone_ref_linear_forward(gate, rows, x, g) && hone_ref_linear_forward(up, rows, x, u);
    for (size_t i = 0; done && i < n; i++) {
        double s = sigmoid(g[i]), slope = s * (1 + g[i] * (1 - s)), silu = g[i] * s;
        g[i] = dh[i] * u[i] * slope;
        u[i] = dh[i] * silu;
    }
    done = done && hone_ref_linear_backward(gate, rows, x, g, dx, gate_gradients) &&
           hone_ref_linear_backward(up, rows, x, u, dx ? from_up : NULL, up_gradients);
    for (size_t i = 0; done && dx && i < rows * up->in; i++) dx[i] += from_up[i];
    free(g);
    return done;
}
