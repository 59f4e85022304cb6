/* kernels/vec/silu: silu, its derivative and a product, each alone: the primitives of silu_mul.
 * Layer kernels. */
#include "kernels/variants.h"
#include "kernels/vec/vec.h"

typedef enum primitive { SILU, SILU_BACKWARD, MULTIPLY } primitive;

/* silu'(x) = s (1 + x (1 - s)), s the sigmoid of x. */
VEC_INLINE vec_f apply(primitive what, vec_f a, vec_f b) {
    if (what == SILU) return vec_silu(a);
    if (what == MULTIPLY) return a * b;
    vec_sigmoid_pair p = vec_sigmoid_from(b, vec_exp(-vec_abs(b)));
    return a * (p.s * vec_fma(b, p.one_minus_s, vec_set1(1.0f)));
}

VEC_INLINE void pass(primitive what, size_t n, hone_dtype dtype, const void *a, const void *b,
                     void *y) {
    size_t i = 0;
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH)
        vec_store_as(y, dtype, i, apply(what, vec_load_as(a, dtype, i), vec_load_as(b, dtype, i)));
    if (i < n) {
        size_t rest = n - i;
        vec_f v = apply(what, vec_load_as_n(a, dtype, i, rest), vec_load_as_n(b, dtype, i, rest));
        vec_store_as_n(y, dtype, i, v, rest);
    }
}

VEC_INLINE void pass_as(primitive what, size_t n, hone_dtype dtype, const void *a, const void *b,
                        void *y) {
    if (dtype == HONE_F32)
        pass(what, n, HONE_F32, a, b, y);
    else
        pass(what, n, HONE_BF16, a, b, y);
}

void HONE_VEC_NAME(silu)(size_t n, hone_dtype dtype, const void *x, void *y) {
    pass_as(SILU, n, dtype, x, x, y);
}

void HONE_VEC_NAME(silu_backward)(size_t n, hone_dtype dtype, const void *dy, const void *x,
                                  void *dx) {
    pass_as(SILU_BACKWARD, n, dtype, dy, x, dx);
}

void HONE_VEC_NAME(multiply)(size_t n, hone_dtype dtype, const void *a, const void *b, void *y) {
    pass_as(MULTIPLY, n, dtype, a, b, y);
}
