/* kernels/ref: causal attention with rotary embedding and grouped key/value heads. Vaswani et al.,
 * "Attention Is All You Need", 2017, eq. 1; Ainslie et al., "GQA", 2023. */
#include "kernels/ref/ref.h"
#include <math.h>
#include <stdlib.h>

/* q and k after rotation, and a row of probabilities; one allocation, at q. */
typedef struct work {
    double *q, *k, *p;
} work;

static hone_ref_rope rope_of(const hone_ref_attention *a, size_t rows, size_t heads) {
    return (hone_ref_rope){.rows = rows,
                           .heads = heads,
                           .head_dim = a->head_dim,
                           .rope_dim = a->positions ? a->rope_dim : 0,
                           .positions = a->positions,
                           .cos = a->cos,
                           .sin = a->sin,
                           .interleaved = a->interleaved};
}

static bool begin(const hone_ref_attention *a, const double *q, const double *k, work *x) {
    hone_ref_rope rq = rope_of(a, a->q_rows, a->heads), rk = rope_of(a, a->kv_rows, a->kv_heads);
    size_t q_size = a->q_rows * a->heads * a->head_dim,
           k_size = a->kv_rows * a->kv_heads * a->head_dim;
    x->q = calloc(q_size + k_size + a->kv_rows, sizeof *x->q);
    if (!x->q) return false;
    x->k = x->q + q_size;
    x->p = x->k + k_size;
    hone_ref_rope_forward(&rq, q, x->q);
    hone_ref_rope_forward(&rk, k, x->k);
    return true;
}

/* Offsets of a query's and a key's head vector. */
static size_t at_q(const hone_ref_attention *a, size_t row, size_t head) {
    return (row * a->heads + head) * a->head_dim;
}
static size_t at_kv(const hone_ref_attention *a, size_t row, size_t head) {
    return (row * a->kv_heads + head / (a->heads / a->kv_heads)) * a->head_dim;
}

static double dot(size_t n, const double *x, const double *y) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* x->p[j] for the keys that query row i sees; returns how many. */
static size_t probabilities(const hone_ref_attention *a, const hone_ref_segment *s, size_t i,
                            size_t head, const work *x) {
    double *p = x->p;
    size_t keys = s->kv_end - s->kv_begin, later = s->q_end - i - 1;
    size_t count = keys > later ? keys - later : 0;
    double m = -INFINITY, sum = 0;
    for (size_t j = 0; j < count; j++) {
        p[j] = dot(a->head_dim, x->q + at_q(a, i, head), x->k + at_kv(a, s->kv_begin + j, head)) /
               sqrt((double)a->head_dim);
        m = p[j] > m ? p[j] : m;
    }
    for (size_t j = 0; j < count; j++) sum += p[j] = exp(p[j] - m);
    for (size_t j = 0; j < count; j++) p[j] /= sum;
    return count;
}

bool hone_ref_attention_forward(const hone_ref_attention *a, const double *q, const double *k,
                                const double *v, double *o) {
    work x;
    if (!begin(a, q, k, &x)) return false;
    for (const hone_ref_segment *s = a->segments; s < a->segments + a->segment_count; s++) {
        for (size_t i = s->q_begin; i < s->q_end; i++) {
            for (size_t head = 0; head < a->heads; head++) {
                size_t count = probabilities(a, s, i, head, &x);
                for (size_t d = 0; d < a->head_dim; d++) {
                    double sum = 0;
                    for (size_t j = 0; j < count; j++)
                        sum += x.p[j] * v[at_kv(a, s->kv_begin + j, head) + d];
                    o[at_q(a, i, head) + d] = sum;
                }
            }
        }
    }
    free(x.q);
    return true;
}

/* dP = dO V^T, dS = P * (dP - sum_j P dP) / sqrt(head_dim), dQ = dS K, dK = dS^T Q, dV = P^T dO. */
static void backward_row(const hone_ref_attention *a, const hone_ref_segment *s, size_t i,
                         size_t head, const work *x, const double *v, const double *d_o, double *dq,
                         double *dk, double *dv) {
    const double *p = x->p;
    size_t count = probabilities(a, s, i, head, x), qi = at_q(a, i, head);
    double mean = 0;
    for (size_t j = 0; j < count; j++) {
        mean += p[j] * dot(a->head_dim, d_o + qi, v + at_kv(a, s->kv_begin + j, head));
    }
    for (size_t j = 0; j < count; j++) {
        size_t kj = at_kv(a, s->kv_begin + j, head);
        double ds = p[j] * (dot(a->head_dim, d_o + qi, v + kj) - mean) / sqrt((double)a->head_dim);
        for (size_t d = 0; d < a->head_dim; d++) {
            dq[qi + d] += ds * x->k[kj + d];
            dk[kj + d] += ds * x->q[qi + d];
            dv[kj + d] += p[j] * d_o[qi + d];
        }
    }
}

bool hone_ref_attention_backward(const hone_ref_attention *a, const double *q, const double *k,
                                 const double *v, const double *d_o, double *dq, double *dk,
                                 double *dv) {
    work x;
    if (!begin(a, q, k, &x)) return false;
    for (size_t i = 0; i < a->q_rows * a->heads * a->head_dim; i++) dq[i] = 0;
    for (size_t i = 0; i < a->kv_rows * a->kv_heads * a->head_dim; i++) dk[i] = dv[i] = 0;
    for (const hone_ref_segment *s = a->segments; s < a->segments + a->segment_count; s++) {
        for (size_t i = s->q_begin; i < s->q_end; i++) {
            for (size_t head = 0; head < a->heads; head++)
                backward_row(a, s, i, head, &x, v, d_o, dq, dk, dv);
        }
    }
    hone_ref_rope rq = rope_of(a, a->q_rows, a->heads), rk = rope_of(a, a->kv_rows, a->kv_heads);
    hone_ref_rope_backward(&rq, dq, dq);
    hone_ref_rope_backward(&rk, dk, dk);
    free(x.q);
    return true;
}
