/* kernels/vec: RMSNorm forward, rebuild and backward. Rows stay in L1 between their two passes. */
#include "kernels/vec/vec.h"
#include <math.h>

VEC_INLINE float sum_squares(const void *x, hone_dtype dtype, size_t n) {
    vec_f s0 = vec_zero(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 4 * VEC_WIDTH <= n; i += 4 * VEC_WIDTH) {
        vec_2 u = vec_load_2_as(x, dtype, i, dtype),
              v = vec_load_2_as(x, dtype, i + VEC_2_WIDTH, dtype);
        s0 = vec_fma(u.a, u.a, s0);
        s1 = vec_fma(u.b, u.b, s1);
        s2 = vec_fma(v.a, v.a, s2);
        s3 = vec_fma(v.b, v.b, s3);
    }
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) {
        vec_f v = vec_load_as(x, dtype, i);
        s0 = vec_fma(v, v, s0);
    }
    if (i < n) {
        vec_f v = vec_load_as_n(x, dtype, i, n - i);
        s1 = vec_fma(v, v, s1);
    }
    return vec_sum((s0 + s1) + (s2 + s3));
}

/* No element is NaN, as far as vec_store_2_pure_as minds: where one is, a sum of squares is NaN too. */
VEC_INLINE bool no_nan(const float *x, size_t n) {
#ifdef VEC_AVX2
    float sum = sum_squares(x, HONE_F32, n);
    return sum == sum;
#else
    (void)x, (void)n;
    return true;
#endif
}

/* y = x * rstd * gamma, and copy = x where it is not NULL. `pure`: gamma has no NaN; nor has a float32 x where rstd is
 * none. */
VEC_INLINE void normalize(size_t n, const void *x, hone_dtype x_dtype, const float *gamma,
                          float rstd, bool pure, void *y, void *copy, hone_dtype y_dtype) {
    const hone_dtype lanes = x_dtype;
    vec_f r = vec_set1(rstd);
    size_t i = 0;
    pure = pure && rstd == rstd;
    for (; pure && i + VEC_2_WIDTH <= n; i += VEC_2_WIDTH) {
        vec_2 v = vec_load_2_as(x, x_dtype, i, lanes), g = vec_load_2_as(gamma, HONE_F32, i, lanes);
        vec_store_2_pure_as(y, y_dtype, i, (vec_2){v.a * r * g.a, v.b * r * g.b}, lanes);
        if (copy) vec_store_2_pure_as(copy, y_dtype, i, v, lanes);
    }
    for (size_t w; i < n; i += w) {
        w = HONE_MIN(n - i, (size_t)VEC_WIDTH);
        vec_f v = vec_load_as_n(x, x_dtype, i, w), u = v * r * vec_load_n(gamma + i, w);
        if (pure) {
            vec_store_pure_as_n(y, y_dtype, i, u, w);
            if (copy) vec_store_pure_as_n(copy, y_dtype, i, v, w);
        } else {
            vec_store_as_n(y, y_dtype, i, u, w);
            if (copy) vec_store_as_n(copy, y_dtype, i, v, w);
        }
    }
}

/* The bits that normalize would write as its copy. */
VEC_INLINE void copy_row(size_t n, const void *x, hone_dtype x_dtype, float rstd, void *copy,
                         hone_dtype y_dtype) {
    for (size_t i = 0, w; i < n; i += w) {
        w = HONE_MIN(n - i, (size_t)VEC_WIDTH);
        vec_f v = vec_load_as_n(x, x_dtype, i, w);
        if (rstd == rstd)
            vec_store_pure_as_n(copy, y_dtype, i, v, w);
        else
            vec_store_as_n(copy, y_dtype, i, v, w);
    }
}

VEC_INLINE void forward(const hone_rms_norm_forward *a, hone_dtype x_dtype, hone_dtype y_dtype) {
    size_t n = a->hidden;
    bool pure = y_dtype == HONE_F32 || !a->y || no_nan(a->gamma, n);
    /* A row ahead of what is normalized: that hides the latency of adding its lanes up. */
    float sum = a->rows ? sum_squares(a->x, x_dtype, n) : 0;
    for (size_t r = 0; r < a->rows; r++) {
        const void *x = vec_at(a->x, x_dtype, r * n);
        void *copy = a->copy ? vec_at_mut(a->copy, y_dtype, r * n) : NULL;
        float rstd = 1.0f / sqrtf(sum / (float)n + a->eps);
        if (r + 1 < a->rows) sum = sum_squares(vec_at(a->x, x_dtype, (r + 1) * n), x_dtype, n);
        if (a->rstd) a->rstd[r] = rstd;
        if (a->y && copy) {
            normalize(n, x, x_dtype, a->gamma, rstd, pure, vec_at_mut(a->y, y_dtype, r * n), copy,
                      y_dtype);
        } else if (a->y) {
            normalize(n, x, x_dtype, a->gamma, rstd, pure, vec_at_mut(a->y, y_dtype, r * n), NULL,
                      y_dtype);
        } else if (copy) {
            copy_row(n, x, x_dtype, rstd, copy, y_dtype);
        }
    }
}

void HONE_VEC_NAME(rms_norm_forward)(const hone_rms_norm_forward *a) {
    assert(a->hidden > 0);
    if (a->x_dtype == HONE_F32) {
        if (a->y_dtype == HONE_F32)
            forward(a, HONE_F32, HONE_F32);
        else
            forward(a, HONE_F32, HONE_BF16);
    } else {
        if (a->y_dtype == HONE_F32)
            forward(a, HONE_BF16, HONE_F32);
        else
            forward(a, HONE_BF16, HONE_BF16);
    }
}

VEC_INLINE void rebuild(const hone_rms_norm_rebuild *a, hone_dtype x_dtype, hone_dtype y_dtype) {
    size_t n = a->hidden;
    bool pure = y_dtype == HONE_F32 || no_nan(a->gamma, n);
    for (size_t r = 0; r < a->rows; r++) {
        const void *x = vec_at(a->x, x_dtype, r * n);
        /* rstd may be of another x, or 1; a NaN of bfloat16 has no lower half. */
        bool row = pure && (x_dtype == HONE_BF16 || y_dtype == HONE_F32 || no_nan(x, n));
        normalize(n, x, x_dtype, a->gamma, a->rstd[r], row, vec_at_mut(a->y, y_dtype, r * n), NULL,
                  y_dtype);
    }
}

void HONE_VEC_NAME(rms_norm_rebuild)(const hone_rms_norm_rebuild *a) {
    if (a->x_dtype == HONE_F32) {
        if (a->y_dtype == HONE_F32)
            rebuild(a, HONE_F32, HONE_F32);
        else
            rebuild(a, HONE_F32, HONE_BF16);
    } else {
        if (a->y_dtype == HONE_F32)
            rebuild(a, HONE_BF16, HONE_F32);
        else
            rebuild(a, HONE_BF16, HONE_BF16);
    }
}

/* Sum of dy*gamma*x; adds dy*x*rstd to dgamma where it is not NULL. */
VEC_INLINE float backward_sum(const hone_rms_norm_backward *a, const void *dy, hone_dtype dy_dtype,
                              const void *x, hone_dtype x_dtype, float rstd, float *dgamma) {
    size_t n = a->hidden, i = 0;
    vec_f s0 = vec_zero(), s1 = s0, rs = vec_set1(rstd);
    for (; i + 2 * VEC_WIDTH <= n; i += 2 * VEC_WIDTH) {
        vec_f p0 = vec_load_as(dy, dy_dtype, i) * vec_load_as(x, x_dtype, i);
        vec_f p1 =
            vec_load_as(dy, dy_dtype, i + VEC_WIDTH) * vec_load_as(x, x_dtype, i + VEC_WIDTH);
        s0 = vec_fma(p0, vec_load(a->gamma + i), s0);
        s1 = vec_fma(p1, vec_load(a->gamma + i + VEC_WIDTH), s1);
        if (dgamma) {
            vec_store(dgamma + i, vec_fma(p0, rs, vec_load(dgamma + i)));
            vec_store(dgamma + i + VEC_WIDTH, vec_fma(p1, rs, vec_load(dgamma + i + VEC_WIDTH)));
        }
    }
    while (i < n) {
        size_t w = HONE_MIN(n - i, (size_t)VEC_WIDTH);
        vec_f p = vec_load_as_n(dy, dy_dtype, i, w) * vec_load_as_n(x, x_dtype, i, w);
        s0 = vec_fma(p, vec_load_n(a->gamma + i, w), s0);
        if (dgamma) vec_store_n(dgamma + i, vec_fma(p, rs, vec_load_n(dgamma + i, w)), w);
        i += w;
    }
    return vec_sum(s0 + s1);
}

/* dx (+)= dy*gamma*rstd - x*c */
VEC_INLINE void backward_row(const hone_rms_norm_backward *a, const void *dy, hone_dtype dy_dtype,
                             const void *x, hone_dtype x_dtype, float rstd, float c, float *dx,
                             void *copy, hone_dtype copy_dtype) {
    vec_f rs = vec_set1(rstd), cs = vec_set1(c);
    size_t n = a->hidden, i = 0;
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) {
        vec_f g = vec_load_as(dy, dy_dtype, i) * vec_load(a->gamma + i);
        vec_f d = vec_fnma(vec_load_as(x, x_dtype, i), cs, g * rs);
        if (a->accumulate) d += vec_load(dx + i);
        vec_store(dx + i, d);
        if (copy) vec_store_as(copy, copy_dtype, i, d);
    }
    if (i < n) {
        size_t w = n - i;
        vec_f g = vec_load_as_n(dy, dy_dtype, i, w) * vec_load_n(a->gamma + i, w);
        vec_f d = vec_fnma(vec_load_as_n(x, x_dtype, i, w), cs, g * rs);
        if (a->accumulate) d += vec_load_n(dx + i, w);
        vec_store_n(dx + i, d, w);
        if (copy) vec_store_as_n(copy, copy_dtype, i, d, w);
    }
}

VEC_INLINE void backward(const hone_rms_norm_backward *a, hone_dtype dy_dtype, hone_dtype x_dtype) {
    size_t n = a->hidden;
    for (size_t r = 0; r < a->rows; r++) {
        const void *dy = vec_at(a->dy, dy_dtype, r * n), *x = vec_at(a->x, x_dtype, r * n);
        float rstd = a->rstd[r], sum;
        if (a->dgamma)
            sum = backward_sum(a, dy, dy_dtype, x, x_dtype, rstd, a->dgamma);
        else
            sum = backward_sum(a, dy, dy_dtype, x, x_dtype, rstd, NULL);
        float c = sum / (float)n * rstd * rstd * rstd, *dx = a->dx + r * n;
        if (!a->dx_copy) {
            backward_row(a, dy, dy_dtype, x, x_dtype, rstd, c, dx, NULL, HONE_F32);
        } else if (a->copy_dtype == HONE_F32) {
            backward_row(a, dy, dy_dtype, x, x_dtype, rstd, c, dx, (float *)a->dx_copy + r * n,
                         HONE_F32);
        } else {
            backward_row(a, dy, dy_dtype, x, x_dtype, rstd, c, dx, (hone_bf16 *)a->dx_copy + r * n,
                         HONE_BF16);
        }
    }
}

void HONE_VEC_NAME(rms_norm_backward)(const hone_rms_norm_backward *a) {
    assert(a->hidden > 0);
    if (a->dy_dtype == HONE_F32) {
        if (a->x_dtype == HONE_F32)
            backward(a, HONE_F32, HONE_F32);
        else
            backward(a, HONE_F32, HONE_BF16);
    } else {
        if (a->x_dtype == HONE_F32)
            backward(a, HONE_BF16, HONE_F32);
        else
            backward(a, HONE_BF16, HONE_BF16);
    }
}
