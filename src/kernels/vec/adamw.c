/* kernels/vec: one AdamW step (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019),
 * in float32 and in the order of PyTorch: decay first, eps outside the root. */
#include "kernels/vec/vec.h"
#include <math.h>

typedef struct constants {
    vec_f decay, scale, one_minus_beta1, beta2, one_minus_beta2, root, eps, minus_step;
} constants;

typedef struct state {
    vec_f w, m, v;
} state;

VEC_INLINE state update(const constants *c, state s, vec_f g) {
    g *= c->scale;
    s.m = vec_fma(c->one_minus_beta1, g - s.m, s.m);
    s.v = vec_fma(c->one_minus_beta2 * g, g, s.v * c->beta2);
    vec_f denominator = vec_fma(vec_sqrt(s.v), c->root, c->eps);
    s.w = vec_fma(c->minus_step, s.m / denominator, s.w * c->decay);
    return s;
}

void HONE_VEC_NAME(adamw)(const hone_adamw *a) {
    const constants c = {
        .decay = vec_set1((float)(1.0 - a->lr * a->weight_decay)),
        .scale = vec_set1(a->grad_scale),
        .one_minus_beta1 = vec_set1((float)(1.0 - a->beta1)),
        .beta2 = vec_set1((float)a->beta2),
        .one_minus_beta2 = vec_set1((float)(1.0 - a->beta2)),
        .root = vec_set1((float)(1.0 / sqrt(a->correction2))),
        .eps = vec_set1((float)a->eps),
        .minus_step = vec_set1((float)(-a->lr / a->correction1)),
    };
    size_t i = 0;
    for (; i + VEC_WIDTH <= a->n; i += VEC_WIDTH) {
        state s = {vec_load(a->w + i), vec_load(a->m + i), vec_load(a->v + i)};
        s = update(&c, s, vec_load(a->g + i));
        vec_store(a->w + i, s.w);
        vec_store(a->m + i, s.m);
        vec_store(a->v + i, s.v);
    }
    if (i < a->n) {
        size_t w = a->n - i;
        state s = {vec_load_n(a->w + i, w), vec_load_n(a->m + i, w), vec_load_n(a->v + i, w)};
        s = update(&c, s, vec_load_n(a->g + i, w));
        vec_store_n(a->w + i, s.w, w);
        vec_store_n(a->m + i, s.m, w);
        vec_store_n(a->v + i, s.v, w);
    }
}
