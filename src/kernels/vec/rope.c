/* kernels/vec: rotary position embedding, half-split and interleaved pairs, forward and back. */
#include "kernels/vec/vec.h"

/* (u, v) turned by the angle whose cosine and sine are c and s. */
typedef struct rotated {
    vec_f u, v;
} rotated;

VEC_INLINE rotated rotate(vec_f u, vec_f v, vec_f c, vec_f s) {
    return (rotated){vec_fnma(v, s, u * c), vec_fma(u, s, v * c)};
}

/* Pairs (i, i + half) of all heads of a row: the angles are loaded once for all. Both elements of a pair are read
 * before either is written: y may be x. */
VEC_INLINE void rotate_halves(const hone_rope *a, size_t half, const void *x, void *y,
                              hone_dtype dtype, const float *cosine, const float *sine,
                              vec_f sign) {
    const size_t end = a->heads * a->head_dim, step = a->head_dim;
    size_t i = 0;
    for (; i + VEC_2_WIDTH <= half; i += VEC_2_WIDTH) {
        vec_2 c = vec_load_2_as(cosine, HONE_F32, i, dtype),
              s = vec_load_2_as(sine, HONE_F32, i, dtype);
        s = (vec_2){s.a * sign, s.b * sign};
        for (size_t u = i, v = half + i; u < end; u += step, v += step) {
            vec_2 xu = vec_load_2_as(x, dtype, u, dtype), xv = vec_load_2_as(x, dtype, v, dtype);
            rotated p = rotate(xu.a, xv.a, c.a, s.a), q = rotate(xu.b, xv.b, c.b, s.b);
            vec_store_2_pure_as(y, dtype, u, (vec_2){p.u, q.u}, dtype);
            vec_store_2_pure_as(y, dtype, v, (vec_2){p.v, q.v}, dtype);
        }
    }
    for (size_t w; i < half; i += w) {
        w = HONE_MIN(half - i, (size_t)VEC_WIDTH);
        vec_f c = vec_load_n(cosine + i, w), s = vec_load_n(sine + i, w) * sign;
        for (size_t u = i, v = half + i; u < end; u += step, v += step) {
            rotated p = rotate(vec_load_as_n(x, dtype, u, w), vec_load_as_n(x, dtype, v, w), c, s);
            vec_store_pure_as_n(y, dtype, u, p.u, w);
            vec_store_pure_as_n(y, dtype, v, p.v, w);
        }
    }
}

/* Pairs (2i, 2i + 1). */
VEC_INLINE void rotate_neighbours(size_t half, const void *x, void *y, hone_dtype dtype,
                                  const float *cosine, const float *sine, vec_f sign) {
    size_t i = 0;
    for (; i + VEC_WIDTH <= half; i += VEC_WIDTH) {
        vec_f a = vec_load_as(x, dtype, 2 * i), b = vec_load_as(x, dtype, 2 * i + VEC_WIDTH);
        rotated p =
            rotate(vec_even(a, b), vec_odd(a, b), vec_load(cosine + i), vec_load(sine + i) * sign);
        vec_2 v = {vec_zip_low(p.u, p.v), vec_zip_high(p.u, p.v)};
        vec_store_2_pure_as(y, dtype, 2 * i, v, HONE_F32);
    }
    if (i < half) {
        size_t w = half - i, low = HONE_MIN(2 * w, (size_t)VEC_WIDTH), high = 2 * w - low;
        vec_f a = vec_load_as_n(x, dtype, 2 * i, low);
        vec_f b = high ? vec_load_as_n(x, dtype, 2 * i + low, high) : vec_zero();
        rotated p = rotate(vec_even(a, b), vec_odd(a, b), vec_load_n(cosine + i, w),
                           vec_load_n(sine + i, w) * sign);
        vec_store_pure_as_n(y, dtype, 2 * i, vec_zip_low(p.u, p.v), low);
        if (high) vec_store_pure_as_n(y, dtype, 2 * i + low, vec_zip_high(p.u, p.v), high);
    }
}

VEC_INLINE void rope(const hone_rope *a, hone_dtype dtype, bool interleaved) {
    size_t half = a->rope_dim / 2, rest = a->head_dim - a->rope_dim;
    size_t element = dtype == HONE_F32 ? sizeof(float) : sizeof(hone_bf16);
    vec_f sign = vec_set1(a->inverse ? -1.0f : 1.0f);
    for (size_t r = 0; r < a->rows; r++) {
        const float *cosine = a->cos + (size_t)a->positions[r] * half,
                    *sine = a->sin + (size_t)a->positions[r] * half;
        const void *row = vec_at(a->x, dtype, r * a->x_stride);
        void *out = vec_at_mut(a->y, dtype, r * a->y_stride);
        if (!interleaved) rotate_halves(a, half, row, out, dtype, cosine, sine, sign);
        for (size_t h = 0; h < a->heads && (interleaved || rest); h++) {
            const void *x = vec_at(row, dtype, h * a->head_dim);
            void *y = vec_at_mut(out, dtype, h * a->head_dim);
            if (interleaved) rotate_neighbours(half, x, y, dtype, cosine, sine, sign);
            if (rest && x != y) {
                memcpy(vec_at_mut(y, dtype, a->rope_dim), vec_at(x, dtype, a->rope_dim),
                       rest * element);
            }
        }
    }
}

void HONE_VEC_NAME(rope)(const hone_rope *a) {
    assert(a->rope_dim % 2 == 0 && a->rope_dim <= a->head_dim);
    if (a->dtype == HONE_F32) {
        if (a->interleaved)
            rope(a, HONE_F32, true);
        else
            rope(a, HONE_F32, false);
    } else {
        if (a->interleaved)
            rope(a, HONE_BF16, true);
        else
            rope(a, HONE_BF16, false);
    }
}
