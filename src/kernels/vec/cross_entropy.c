/* kernels/vec: cross-entropy over rows of logits; one pass over memory forward, one backward. */
#include "kernels/vec/vec.h"
#include <math.h>

/* Elements per block: read from memory for the maximum, from L1 for the sum. A sum per block also
 * keeps the rounding of a long float32 sum small. */
enum { BLOCK = 2048 };

VEC_INLINE float block_max(const void *x, hone_dtype dtype, size_t i, size_t end) {
    vec_f m0 = vec_set1(-INFINITY), m1 = m0, m2 = m0, m3 = m0;
    for (; i + 4 * VEC_WIDTH <= end; i += 4 * VEC_WIDTH) {
        m0 = vec_max(vec_load_as(x, dtype, i), m0);
        m1 = vec_max(vec_load_as(x, dtype, i + VEC_WIDTH), m1);
        m2 = vec_max(vec_load_as(x, dtype, i + 2 * VEC_WIDTH), m2);
        m3 = vec_max(vec_load_as(x, dtype, i + 3 * VEC_WIDTH), m3);
    }
    while (i < end) {
        size_t w = HONE_MIN(end - i, (size_t)VEC_WIDTH);
        m0 = vec_max(vec_keep(vec_load_as_n(x, dtype, i, w), w, vec_set1(-INFINITY)), m0);
        i += w;
    }
    return vec_max_lane(vec_max(vec_max(m0, m1), vec_max(m2, m3)));
}

VEC_INLINE float block_sum(const void *x, hone_dtype dtype, size_t i, size_t end, float m) {
    vec_f mv = vec_set1(m), s0 = vec_zero(), s1 = s0;
    for (; i + 2 * VEC_WIDTH <= end; i += 2 * VEC_WIDTH) {
        s0 += vec_exp_for(dtype, vec_load_as(x, dtype, i) - mv);
        s1 += vec_exp_for(dtype, vec_load_as(x, dtype, i + VEC_WIDTH) - mv);
    }
    while (i < end) {
        size_t w = HONE_MIN(end - i, (size_t)VEC_WIDTH);
        vec_f last = vec_exp_for(dtype, vec_load_as_n(x, dtype, i, w) - mv);
        s0 += vec_keep(last, w, vec_zero());
        i += w;
    }
    return vec_sum(s0 + s1);
}

VEC_INLINE void forward(size_t rows, size_t vocab, const void *logits, hone_dtype dtype, size_t ld,
                        const int32_t *labels, float *loss, float *lse) {
    for (size_t r = 0; r < rows; r++) {
        if (labels[r] == HONE_IGNORE && !lse) {
            loss[r] = 0;
            continue;
        }
        const void *x = vec_at(logits, dtype, r * ld);
        float m = -INFINITY, l = 0;
        for (size_t i = 0; i < vocab; i += BLOCK) {
            size_t end = HONE_MIN(i + BLOCK, vocab);
            float high = block_max(x, dtype, i, end);
            high = high > m ? high : m;
            float shift = high == -INFINITY ? 0 : high; /* -inf - -inf would be NaN */
            l = l * vec_exp(vec_set1(m - shift))[0] + block_sum(x, dtype, i, end, shift);
            m = high;
        }
        double log_sum = log((double)l);
        if (lse) lse[r] = (float)((double)m + log_sum);
        loss[r] = 0;
        if (labels[r] != HONE_IGNORE) {
            assert(labels[r] >= 0 && (size_t)labels[r] < vocab);
            loss[r] =
                (float)(((double)m - (double)vec_get_as(x, dtype, (size_t)labels[r])) + log_sum);
        }
    }
}

void HONE_VEC_NAME(cross_entropy_forward)(size_t rows, size_t vocab, const void *logits,
                                          hone_dtype dtype, size_t ld, const int32_t *labels,
                                          float *loss, float *lse) {
    if (dtype == HONE_F32)
        forward(rows, vocab, logits, HONE_F32, ld, labels, loss, lse);
    else
        forward(rows, vocab, logits, HONE_BF16, ld, labels, loss, lse);
}

VEC_INLINE void backward_row(size_t vocab, const void *x, void *dx, hone_dtype dtype, size_t label,
                             float lse, float scale) {
    vec_f lv = vec_set1(lse), k = vec_set1(scale);
    /* before dx = x overwrites it */
    float at_label = vec_exp(vec_set1(vec_get_as(x, dtype, label) - lse))[0];
    size_t i = 0;
    for (; i + 2 * VEC_WIDTH <= vocab; i += 2 * VEC_WIDTH) {
        vec_f p0 = vec_exp_for(dtype, vec_load_as(x, dtype, i) - lv),
              p1 = vec_exp_for(dtype, vec_load_as(x, dtype, i + VEC_WIDTH) - lv);
        vec_store_short_as(dx, dtype, i, p0 * k);
        vec_store_short_as(dx, dtype, i + VEC_WIDTH, p1 * k);
    }
    while (i < vocab) {
        size_t w = HONE_MIN(vocab - i, (size_t)VEC_WIDTH);
        vec_f last = vec_exp_for(dtype, vec_load_as_n(x, dtype, i, w) - lv);
        vec_store_as_n(dx, dtype, i, last * k, w);
        i += w;
    }
    vec_put_as(dx, dtype, label, (at_label - 1.0f) * scale);
}

VEC_INLINE void backward(size_t rows, size_t vocab, const void *logits, void *dlogits,
                         hone_dtype dtype, size_t ld, const int32_t *labels, const float *lse,
                         float scale) {
    for (size_t r = 0; r < rows; r++) {
        void *dx = vec_at_mut(dlogits, dtype, r * ld);
        if (labels[r] == HONE_IGNORE) {
            memset(dx, 0, vocab * (dtype == HONE_F32 ? sizeof(float) : sizeof(hone_bf16)));
        } else {
            assert(labels[r] >= 0 && (size_t)labels[r] < vocab);
            backward_row(vocab, vec_at(logits, dtype, r * ld), dx, dtype, (size_t)labels[r], lse[r],
                         scale);
        }
    }
}

void HONE_VEC_NAME(cross_entropy_backward)(size_t rows, size_t vocab, const void *logits,
                                           void *dlogits, hone_dtype dtype, size_t ld,
                                           const int32_t *labels, const float *lse, float scale) {
    if (dtype == HONE_F32)
        backward(rows, vocab, logits, dlogits, HONE_F32, ld, labels, lse, scale);
    else
        backward(rows, vocab, logits, dlogits, HONE_BF16, ld, labels, lse, scale);
}
