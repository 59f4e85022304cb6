/* kernels/vec: dot product in float64. Element i is added to sum i mod 16 whatever the ISA, and the
 * product of two float32 is exact in float64: every tier returns the same bits. */
#include "kernels/vec/vec.h"

enum { LANES = 16, VECTORS = LANES / VEC_WIDTH };

VEC_INLINE void add_products(vec_d *sums, vec_f a, vec_f b) {
    sums[0] += vec_low_d(a) * vec_low_d(b);
    sums[1] += vec_high_d(a) * vec_high_d(b);
}

VEC_INLINE double dot(size_t n, const void *a, hone_dtype a_dtype, const void *b,
                      hone_dtype b_dtype) {
    vec_d sums[2 * VECTORS] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t u = 0; u < VECTORS; u++) {
            add_products(sums + 2 * u, vec_load_as(a, a_dtype, i + u * VEC_WIDTH),
                         vec_load_as(b, b_dtype, i + u * VEC_WIDTH));
        }
    }
    for (size_t u = 0; u < VECTORS && i < n; u++) {
        size_t w = HONE_MIN(n - i, (size_t)VEC_WIDTH);
        add_products(sums + 2 * u, vec_load_as_n(a, a_dtype, i, w),
                     vec_load_as_n(b, b_dtype, i, w));
        i += w;
    }
    double lane[LANES];
    memcpy(lane, sums, sizeof lane);
    for (size_t half = LANES / 2; half; half /= 2) {
        for (size_t j = 0; j < half; j++) lane[j] += lane[j + half];
    }
    return lane[0];
}

double HONE_VEC_NAME(dot)(size_t n, const void *a, hone_dtype a_dtype, const void *b,
                          hone_dtype b_dtype) {
    if (a_dtype == HONE_F32) {
        if (b_dtype == HONE_F32) return dot(n, a, HONE_F32, b, HONE_F32);
        return dot(n, a, HONE_F32, b, HONE_BF16);
    }
    if (b_dtype == HONE_F32) return dot(n, a, HONE_BF16, b, HONE_F32);
    return dot(n, a, HONE_BF16, b, HONE_BF16);
}
