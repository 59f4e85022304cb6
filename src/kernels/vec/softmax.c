/* kernels/vec: tiles of softmax for attention: online in forward, again from a kept lse in backward. */
#include "kernels/vec/vec.h"
#include <math.h>

/* Zeroes elements [begin, end). */
VEC_INLINE void zero_from(void *p, hone_dtype dtype, size_t begin, size_t end) {
    for (; begin + VEC_WIDTH <= end; begin += VEC_WIDTH) vec_store_as(p, dtype, begin, vec_zero());
    if (begin < end) vec_store_as_n(p, dtype, begin, vec_zero(), end - begin);
}

/* The largest of n scores; scaling keeps their order. */
VEC_INLINE float row_max(const float *s, size_t n) {
    vec_f m0 = vec_set1(-INFINITY), m1 = m0, m2 = m0, m3 = m0;
    size_t i = 0;
    for (; i + 4 * VEC_WIDTH <= n; i += 4 * VEC_WIDTH) {
        m0 = vec_max(vec_load(s + i), m0);
        m1 = vec_max(vec_load(s + i + VEC_WIDTH), m1);
        m2 = vec_max(vec_load(s + i + 2 * VEC_WIDTH), m2);
        m3 = vec_max(vec_load(s + i + 3 * VEC_WIDTH), m3);
    }
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) m0 = vec_max(vec_load(s + i), m0);
    if (i < n) m1 = vec_max(vec_keep(vec_load_n(s + i, n - i), n - i, vec_set1(-INFINITY)), m1);
    return vec_max_lane(vec_max(vec_max(m0, m1), vec_max(m2, m3)));
}

/* p = exp(scale*s - m); returns the sum. */
VEC_INLINE float row_exp(const float *s, size_t n, float scale, float m, void *p,
                         hone_dtype dtype) {
    vec_f k = vec_set1(scale), minus_m = vec_set1(-m);
    vec_f s0 = vec_zero(), s1 = s0;
    size_t i = 0;
    for (; i + 2 * VEC_WIDTH <= n; i += 2 * VEC_WIDTH) {
        vec_f e0 = vec_exp_for(dtype, vec_fma(vec_load(s + i), k, minus_m));
        vec_f e1 = vec_exp_for(dtype, vec_fma(vec_load(s + i + VEC_WIDTH), k, minus_m));
        vec_store_short_as(p, dtype, i, e0);
        vec_store_short_as(p, dtype, i + VEC_WIDTH, e1);
        s0 += e0;
        s1 += e1;
    }
    while (i < n) {
        size_t w = HONE_MIN(n - i, (size_t)VEC_WIDTH);
        vec_f last = vec_exp_for(dtype, vec_fma(vec_load_n(s + i, w), k, minus_m));
        vec_store_as_n(p, dtype, i, last, w);
        s0 += vec_keep(last, w, vec_zero());
        i += w;
    }
    return vec_sum(s0 + s1);
}

/* Rows [first, first + rows), at most VEC_WIDTH: what depends on each other in a row is done for all of them before the
 * next step, so that one does not wait for another. */
VEC_INLINE void tile_rows(const hone_softmax_tile *a, hone_dtype dtype, size_t first, size_t rows) {
    float m[VEC_WIDTH], shift[VEC_WIDTH], sum[VEC_WIDTH], correction[VEC_WIDTH];
    for (size_t i = 0; i < rows; i++) {
        const size_t r = first + i;
        assert(a->valid[r] <= a->cols);
        m[i] = row_max(a->scores + r * a->lds, a->valid[r]) * a->scale;
        m[i] = m[i] > a->m[r] ? m[i] : a->m[r];
        /* only -inf so far: weights of 0, not exp(-inf - -inf) */
        shift[i] = m[i] == -INFINITY ? 0 : m[i];
    }
    for (size_t i = 0; i < rows; i++) {
        const size_t r = first + i;
        void *p = vec_at_mut(a->p, dtype, r * a->ldp);
        sum[i] = row_exp(a->scores + r * a->lds, a->valid[r], a->scale, shift[i], p, dtype);
        zero_from(p, dtype, a->valid[r], a->cols);
    }
    vec_store_n(correction, vec_exp(vec_load_n(a->m + first, rows) - vec_load_n(shift, rows)),
                rows);
    for (size_t i = 0; i < rows; i++) {
        const size_t r = first + i;
        a->correction[r] = m[i] == a->m[r] ? 1 : correction[i];
        a->l[r] = a->l[r] * a->correction[r] + sum[i];
        a->m[r] = m[i];
    }
}

VEC_INLINE void tile(const hone_softmax_tile *a, hone_dtype dtype) {
    assert(a->scale > 0);
    for (size_t r = 0; r < a->rows; r += VEC_WIDTH)
        tile_rows(a, dtype, r, HONE_MIN(a->rows - r, (size_t)VEC_WIDTH));
}

void HONE_VEC_NAME(softmax_tile)(const hone_softmax_tile *a) {
    if (a->p_dtype == HONE_F32)
        tile(a, HONE_F32);
    else
        tile(a, HONE_BF16);
}

typedef struct again_row {
    const float *s, *dp; /* dp NULL: only p */
    vec_f scale, minus_lse, delta;
    void *p, *ds; /* p may be NULL where dp is not */
} again_row;

VEC_INLINE void again_at(const again_row *row, hone_dtype dtype, size_t i, size_t w) {
    bool whole = w == VEC_WIDTH;
    vec_f s = whole ? vec_load(row->s + i) : vec_load_n(row->s + i, w);
    vec_f p = vec_exp_for(dtype, vec_fma(s, row->scale, row->minus_lse));
    if (row->p) {
        if (whole)
            vec_store_short_as(row->p, dtype, i, p);
        else
            vec_store_as_n(row->p, dtype, i, p, w);
    }
    if (row->dp) {
        vec_f dp = whole ? vec_load(row->dp + i) : vec_load_n(row->dp + i, w);
        vec_f ds = p * (dp - row->delta) * row->scale;
        if (whole)
            vec_store_short_as(row->ds, dtype, i, ds);
        else
            vec_store_as_n(row->ds, dtype, i, ds, w);
    }
}

VEC_INLINE void again(const hone_softmax_again *a, hone_dtype dtype) {
    for (size_t r = 0; r < a->rows; r++) {
        size_t valid = a->valid[r], i = 0;
        assert(valid <= a->cols);
        again_row row = {.s = a->scores + r * a->lds, .scale = vec_set1(a->scale)};
        if (a->p) row.p = vec_at_mut(a->p, dtype, r * a->ldp);
        if (valid) row.minus_lse = vec_set1(-a->lse[r]);
        if (a->dp) {
            row.dp = a->dp + r * a->lds;
            row.ds = vec_at_mut(a->ds, dtype, r * a->ldp);
            row.delta = vec_set1(a->delta[r]);
        }
        for (; i + VEC_WIDTH <= valid; i += VEC_WIDTH) again_at(&row, dtype, i, VEC_WIDTH);
        if (i < valid) again_at(&row, dtype, i, valid - i);
        if (row.p) zero_from(row.p, dtype, valid, a->cols);
        if (row.ds) zero_from(row.ds, dtype, valid, a->cols);
    }
}

void HONE_VEC_NAME(softmax_again)(const hone_softmax_again *a) {
    assert(a->p || a->dp);
    if (a->out_dtype == HONE_F32)
        again(a, HONE_F32);
    else
        again(a, HONE_BF16);
}
