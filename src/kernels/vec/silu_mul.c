/* kernels/vec: silu(gate) * up and its backward pass.
 *
 * AVX2 and AVX-512 compute the exponentials of a chunk of elements before the rest: the chain of dependent steps from a
 * gate to its result is longer than the window that is executed out of order, and two shorter loops overlap their
 * iterations where a long one does not. On Zen 3 1.1 to 1.6 times as fast, on Zen 5 1.3 times.
 */
#include "kernels/vec/vec.h"

#if defined(VEC_AVX2) || defined(VEC_AVX512)
enum { CHUNK = 32 * VEC_WIDTH };
#else
enum { CHUNK = VEC_2_WIDTH };
#endif

/* e^-x of bfloat16, whole pairs of vectors, into t. */
VEC_INLINE void exp_minus_chunk(size_t count, const hone_bf16 *x, float *t) {
    for (size_t j = 0; j < count; j += VEC_2_WIDTH) {
        vec_2 v = vec_exp_minus_2(vec_load_2h(x, j));
        vec_store(t + j, v.a);
        vec_store(t + j + VEC_WIDTH, v.b);
    }
}

/* ---- forward ---- */

/* `count` elements: at most CHUNK, whole vectors. */
VEC_INLINE void forward_chunk_f32(size_t count, const float *gate, const float *up, float *h) {
    float t[CHUNK]; /* e^-x */
    for (size_t j = 0; j < count; j += VEC_WIDTH)
        vec_store(t + j, vec_silu_exp(vec_load(gate + j)));
    for (size_t j = 0; j < count; j += VEC_WIDTH)
        vec_store(h + j, vec_silu_from(vec_load(gate + j), vec_load(t + j)) * vec_load(up + j));
}

/* The same in bfloat16, whole pairs of vectors. */
VEC_INLINE void forward_chunk_bf16(size_t count, const hone_bf16 *gate, const hone_bf16 *up,
                                   hone_bf16 *h) {
    float t[CHUNK];
    exp_minus_chunk(count, gate, t);
    for (size_t j = 0; j < count; j += VEC_2_WIDTH) {
        vec_2 x = vec_load_pairs(gate, j), u = vec_load_pairs(up, j);
        vec_2 v = {x.a * vec_sigmoid_short(vec_load(t + j)).s * u.a,
                   x.b * vec_sigmoid_short(vec_load(t + j + VEC_WIDTH)).s * u.b};
        vec_store_pairs(h, j, v);
    }
}

static void forward_f32(size_t n, const float *gate, const float *up, float *h) {
    size_t i = 0;
    for (; i + CHUNK <= n; i += CHUNK) forward_chunk_f32(CHUNK, gate + i, up + i, h + i);
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH)
        forward_chunk_f32(VEC_WIDTH, gate + i, up + i, h + i);
    if (i < n) {
        vec_f x = vec_load_n(gate + i, n - i);
        vec_store_n(h + i, vec_silu(x) * vec_load_n(up + i, n - i), n - i);
    }
}

static void forward_bf16(size_t n, const hone_bf16 *gate, const hone_bf16 *up, hone_bf16 *h) {
    size_t i = 0;
    for (; i + CHUNK <= n; i += CHUNK) forward_chunk_bf16(CHUNK, gate + i, up + i, h + i);
    for (; i + VEC_2_WIDTH <= n; i += VEC_2_WIDTH)
        forward_chunk_bf16(VEC_2_WIDTH, gate + i, up + i, h + i);
    if (i < n) {
        size_t bytes = (n - i) * sizeof *gate;
        hone_bf16 x[VEC_2_WIDTH] = {0}, u[VEC_2_WIDTH] = {0};
        memcpy(x, gate + i, bytes);
        memcpy(u, up + i, bytes);
        forward_chunk_bf16(VEC_2_WIDTH, x, u, x);
        memcpy(h + i, x, bytes);
    }
}

void HONE_VEC_NAME(silu_mul)(size_t n, hone_dtype dtype, const void *gate, const void *up,
                             void *h) {
    if (dtype == HONE_F32)
        forward_f32(n, gate, up, h);
    else
        forward_bf16(n, gate, up, h);
}

/* ---- backward ---- */

typedef struct gradients {
    vec_f dgate, dup, h;
} gradients;

/* silu'(x) = s + x s (1 - s), s the sigmoid of x. */
VEC_INLINE gradients differentiate(vec_f dh, vec_f gate, vec_f up, vec_sigmoid_pair p) {
    vec_f silu = gate * p.s, slope = vec_fma(silu, p.one_minus_s, p.s);
    return (gradients){dh * up * slope, dh * silu, silu * up};
}

VEC_INLINE void backward_chunk_f32(size_t count, const float *dh, const float *gate,
                                   const float *up, float *dgate, float *dup, float *h) {
    float t[CHUNK]; /* e^-|x| */
    for (size_t j = 0; j < count; j += VEC_WIDTH)
        vec_store(t + j, vec_exp(-vec_abs(vec_load(gate + j))));
    for (size_t j = 0; j < count; j += VEC_WIDTH) {
        vec_f x = vec_load(gate + j);
        gradients g = differentiate(vec_load(dh + j), x, vec_load(up + j),
                                    vec_sigmoid_from(x, vec_load(t + j)));
        vec_store(dgate + j, g.dgate);
        vec_store(dup + j, g.dup);
        if (h) vec_store(h + j, g.h);
    }
}

VEC_INLINE void backward_chunk_bf16(size_t count, const hone_bf16 *dh, const hone_bf16 *gate,
                                    const hone_bf16 *up, hone_bf16 *dgate, hone_bf16 *dup,
                                    hone_bf16 *h) {
    float t[CHUNK];
    exp_minus_chunk(count, gate, t);
    for (size_t j = 0; j < count; j += VEC_2_WIDTH) {
        vec_2 d = vec_load_pairs(dh, j), x = vec_load_pairs(gate, j), u = vec_load_pairs(up, j);
        vec_sigmoid_pair sa = vec_sigmoid_short(vec_load(t + j)),
                         sb = vec_sigmoid_short(vec_load(t + j + VEC_WIDTH));
        gradients a = differentiate(d.a, x.a, u.a, sa), b = differentiate(d.b, x.b, u.b, sb);
        vec_store_pairs(dgate, j, (vec_2){a.dgate, b.dgate});
        vec_store_pairs(dup, j, (vec_2){a.dup, b.dup});
        if (h) vec_store_pairs(h, j, (vec_2){a.h, b.h});
    }
}

VEC_INLINE void backward_f32(size_t n, const float *dh, const float *gate, const float *up,
                             float *dgate, float *dup, float *h) {
    size_t i = 0;
    for (; i + CHUNK <= n; i += CHUNK)
        backward_chunk_f32(CHUNK, dh + i, gate + i, up + i, dgate + i, dup + i, h ? h + i : NULL);
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH)
        backward_chunk_f32(VEC_WIDTH, dh + i, gate + i, up + i, dgate + i, dup + i,
                           h ? h + i : NULL);
    if (i < n) {
        size_t w = n - i;
        vec_f x = vec_load_n(gate + i, w);
        gradients g = differentiate(vec_load_n(dh + i, w), x, vec_load_n(up + i, w),
                                    vec_sigmoid_from(x, vec_exp(-vec_abs(x))));
        vec_store_n(dgate + i, g.dgate, w);
        vec_store_n(dup + i, g.dup, w);
        if (h) vec_store_n(h + i, g.h, w);
    }
}

VEC_INLINE void backward_bf16(size_t n, const hone_bf16 *dh, const hone_bf16 *gate,
                              const hone_bf16 *up, hone_bf16 *dgate, hone_bf16 *dup, hone_bf16 *h) {
    size_t i = 0;
    for (; i + CHUNK <= n; i += CHUNK)
        backward_chunk_bf16(CHUNK, dh + i, gate + i, up + i, dgate + i, dup + i, h ? h + i : NULL);
    for (; i + VEC_2_WIDTH <= n; i += VEC_2_WIDTH)
        backward_chunk_bf16(VEC_2_WIDTH, dh + i, gate + i, up + i, dgate + i, dup + i,
                            h ? h + i : NULL);
    if (i < n) {
        size_t bytes = (n - i) * sizeof *gate;
        hone_bf16 d[VEC_2_WIDTH] = {0}, x[VEC_2_WIDTH] = {0}, u[VEC_2_WIDTH] = {0};
        memcpy(d, dh + i, bytes);
        memcpy(x, gate + i, bytes);
        memcpy(u, up + i, bytes);
        backward_chunk_bf16(VEC_2_WIDTH, d, x, u, x, d, u);
        memcpy(dgate + i, x, bytes);
        memcpy(dup + i, d, bytes);
        if (h) memcpy(h + i, u, bytes);
    }
}

void HONE_VEC_NAME(silu_mul_backward)(size_t n, hone_dtype dtype, const void *dh, const void *gate,
                                      const void *up, void *dgate, void *dup, void *h) {
    if (dtype == HONE_F32) {
        if (h)
            backward_f32(n, dh, gate, up, dgate, dup, h);
        else
            backward_f32(n, dh, gate, up, dgate, dup, NULL);
    } else {
        if (h)
            backward_bf16(n, dh, gate, up, dgate, dup, h);
        else
            backward_bf16(n, dh, gate, up, dgate, dup, NULL);
    }
}
