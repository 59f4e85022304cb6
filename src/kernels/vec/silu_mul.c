/* kernels/vec: silu(gate) * up and its backward pass. */
#include "kernels/vec/vec.h"

VEC_INLINE vec_f silu(vec_f x, hone_dtype dtype) {
    return dtype == HONE_F32 ? vec_silu(x) : x * vec_sigmoid_short(x).s;
}

VEC_INLINE void forward(size_t n, hone_dtype dtype, const void *gate, const void *up, void *h) {
    size_t i = 0;
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) {
        vec_store_as(h, dtype, i,
                     silu(vec_load_as(gate, dtype, i), dtype) * vec_load_as(up, dtype, i));
    }
    if (i < n) {
        size_t w = n - i;
        vec_f v = silu(vec_load_as_n(gate, dtype, i, w), dtype) * vec_load_as_n(up, dtype, i, w);
        vec_store_as_n(h, dtype, i, v, w);
    }
}

void HONE_VEC_NAME(silu_mul)(size_t n, hone_dtype dtype, const void *gate, const void *up,
                             void *h) {
    if (dtype == HONE_F32)
        forward(n, HONE_F32, gate, up, h);
    else
        forward(n, HONE_BF16, gate, up, h);
}

typedef struct gradients {
    vec_f dgate, dup, h;
} gradients;

/* silu'(x) = s (1 + x (1 - s)), s the sigmoid of x. */
VEC_INLINE gradients differentiate(vec_f dh, vec_f gate, vec_f up, hone_dtype dtype) {
    vec_sigmoid_pair p = dtype == HONE_F32 ? vec_sigmoid(gate) : vec_sigmoid_short(gate);
    vec_f silu = gate * p.s;
    vec_f slope = p.s * vec_fma(gate, p.one_minus_s, vec_set1(1.0f));
    return (gradients){dh * up * slope, dh * silu, silu * up};
}

VEC_INLINE void backward(size_t n, hone_dtype dtype, const void *dh, const void *gate,
                         const void *up, void *dgate, void *dup, void *h) {
    size_t i = 0;
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) {
        gradients g = differentiate(vec_load_as(dh, dtype, i), vec_load_as(gate, dtype, i),
                                    vec_load_as(up, dtype, i), dtype);
        vec_store_as(dgate, dtype, i, g.dgate);
        vec_store_as(dup, dtype, i, g.dup);
        if (h) vec_store_as(h, dtype, i, g.h);
    }
    if (i < n) {
        size_t w = n - i;
        gradients g =
            differentiate(vec_load_as_n(dh, dtype, i, w), vec_load_as_n(gate, dtype, i, w),
                          vec_load_as_n(up, dtype, i, w), dtype);
        vec_store_as_n(dgate, dtype, i, g.dgate, w);
        vec_store_as_n(dup, dtype, i, g.dup, w);
        if (h) vec_store_as_n(h, dtype, i, g.h, w);
    }
}

void HONE_VEC_NAME(silu_mul_backward)(size_t n, hone_dtype dtype, const void *dh, const void *gate,
                                      const void *up, void *dgate, void *dup, void *h) {
    if (dtype == HONE_F32) {
        if (h)
            backward(n, HONE_F32, dh, gate, up, dgate, dup, h);
        else
            backward(n, HONE_F32, dh, gate, up, dgate, dup, NULL);
    } else {
        if (h)
            backward(n, HONE_BF16, dh, gate, up, dgate, dup, h);
        else
            backward(n, HONE_BF16, dh, gate, up, dgate, dup, NULL);
    }
}
