/* kernels/vec: silu(gate) * up and its backward pass. */
#include "kernels/vec/vec.h"

VEC_INLINE vec_f silu(vec_f x, hone_dtype dtype) {
    return dtype == HONE_F32 ? vec_silu(x) : x * vec_sigmoid_short(x).s;
}

VEC_INLINE void forward(size_t n, hone_dtype dtype, const void *gate, const void *up, void *h) {
    size_t i = 0;
    for (; i + VEC_2_WIDTH <= n; i += VEC_2_WIDTH) {
        vec_2 g = vec_load_2_as(gate, dtype, i, dtype), u = vec_load_2_as(up, dtype, i, dtype);
        vec_2 v = {silu(g.a, dtype) * u.a, silu(g.b, dtype) * u.b};
        vec_store_2_as(h, dtype, i, v, dtype);
    }
    for (size_t w; i < n; i += w) {
        w = HONE_MIN(n - i, (size_t)VEC_WIDTH);
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
    for (; i + VEC_2_WIDTH <= n; i += VEC_2_WIDTH) {
        vec_2 d = vec_load_2_as(dh, dtype, i, dtype), x = vec_load_2_as(gate, dtype, i, dtype),
              u = vec_load_2_as(up, dtype, i, dtype);
        gradients a = differentiate(d.a, x.a, u.a, dtype), b = differentiate(d.b, x.b, u.b, dtype);
        vec_store_2_as(dgate, dtype, i, (vec_2){a.dgate, b.dgate}, dtype);
        vec_store_2_as(dup, dtype, i, (vec_2){a.dup, b.dup}, dtype);
        if (h) vec_store_2_as(h, dtype, i, (vec_2){a.h, b.h}, dtype);
    }
    for (size_t w; i < n; i += w) {
        w = HONE_MIN(n - i, (size_t)VEC_WIDTH);
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
