/* kernels/vec: rotary position embedding, half-split and interleaved pairs, forward and back. */
#include "kernels/vec/vec.h"

/* (u, v) turned by the angle whose cosine and sine are c and s. */
typedef struct rotated {
    vec_f u, v;
} rotated;

VEC_INLINE rotated rotate(vec_f u, vec_f v, vec_f c, vec_f s) {
    return (rotated){vec_fnma(v, s, u * c), vec_fma(u, s, v * c)};
}

/* Pairs (i, i + half). Both elements of a pair are read before either is written: y may be x. */
VEC_INLINE void rotate_halves(size_t half, const void *x, void *y, hone_dtype dtype,
                              const float *cosine, const float *sine, vec_f sign) {
    size_t i = 0;
    for (; i + VEC_WIDTH <= half; i += VEC_WIDTH) {
        rotated p = rotate(vec_load_as(x, dtype, i), vec_load_as(x, dtype, half + i),
                           vec_load(cosine + i), vec_load(sine + i) * sign);
        vec_store_as(y, dtype, i, p.u);
        vec_store_as(y, dtype, half + i, p.v);
    }
    if (i < half) {
        size_t w = half - i;
        rotated p = rotate(vec_load_as_n(x, dtype, i, w), vec_load_as_n(x, dtype, half + i, w),
                           vec_load_n(cosine + i, w), vec_load_n(sine + i, w) * sign);
        vec_store_as_n(y, dtype, i, p.u, w);
        vec_store_as_n(y, dtype, half + i, p.v, w);
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
        vec_store_as(y, dtype, 2 * i, vec_zip_low(p.u, p.v));
        vec_store_as(y, dtype, 2 * i + VEC_WIDTH, vec_zip_high(p.u, p.v));
    }
    if (i < half) {
        size_t w = half - i, low = HONE_MIN(2 * w, (size_t)VEC_WIDTH), high = 2 * w - low;
        vec_f a = vec_load_as_n(x, dtype, 2 * i, low);
        vec_f b = high ? vec_load_as_n(x, dtype, 2 * i + low, high) : vec_zero();
        rotated p = rotate(vec_even(a, b), vec_odd(a, b), vec_load_n(cosine + i, w),
                           vec_load_n(sine + i, w) * sign);
        vec_store_as_n(y, dtype, 2 * i, vec_zip_low(p.u, p.v), low);
        if (high) vec_store_as_n(y, dtype, 2 * i + low, vec_zip_high(p.u, p.v), high);
    }
}

VEC_INLINE void rope(const hone_rope *a, hone_dtype dtype, bool interleaved) {
    size_t half = a->rope_dim / 2, rest = a->head_dim - a->rope_dim;
    size_t element = dtype == HONE_F32 ? sizeof(float) : sizeof(hone_bf16);
    vec_f sign = vec_set1(a->inverse ? -1.0f : 1.0f);
    for (size_t r = 0; r < a->rows; r++) {
        const float *cosine = a->cos + (size_t)a->positions[r] * half,
                    *sine = a->sin + (size_t)a->positions[r] * half;
        for (size_t h = 0; h < a->heads; h++) {
            const void *x = vec_at(a->x, dtype, r * a->x_stride + h * a->head_dim);
            void *y = vec_at_mut(a->y, dtype, r * a->y_stride + h * a->head_dim);
            if (interleaved)
                rotate_neighbours(half, x, y, dtype, cosine, sine, sign);
            else
                rotate_halves(half, x, y, dtype, cosine, sine, sign);
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
