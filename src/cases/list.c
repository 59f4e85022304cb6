/* cases/list: the operations by name, the shapes to measure, and what a pass has to do at least. Layer cases. */
#include "cases/internal.h"

#include <math.h>

static const hone_case *const all[] = {
    &hone_case_rms_norm,
    &hone_case_rope_embeddings,
    &hone_case_swiglu_activation,
    &hone_case_cross_entropy_loss,
    &hone_case_lora_linear,
    &hone_case_attention_with_rope,
    &hone_case_linear_cross_entropy,
};

const hone_case *hone_case_at(size_t index) {
    return index < sizeof all / sizeof *all ? all[index] : NULL;
}

const hone_case *hone_case_find(const char *name) {
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i]->name, name) == 0) return all[i];
    }
    return NULL;
}

/* Keeps of a model's dimensions what the operation has a use for. */
static hone_case_shape select_fields(const hone_case *kind, const hone_case_shape *m) {
    hone_case_shape s = {.batch = m->batch, .seq = m->seq};
    if (kind == &hone_case_rms_norm) {
        s.hidden = m->hidden;
        s.trained = true;
    } else if (kind == &hone_case_rope_embeddings) {
        s.heads = m->heads;
        s.head_dim = m->head_dim;
    } else if (kind == &hone_case_swiglu_activation) {
        s.hidden = m->hidden;
        s.ffn = m->ffn;
        s.rank = m->rank;
    } else if (kind == &hone_case_cross_entropy_loss) {
        s.vocab = m->vocab;
        s.in_place = true; /* nobody needs the logits after their gradient */
    } else if (kind == &hone_case_lora_linear) {
        s.in = s.out = m->hidden;
        s.rank = m->rank;
    } else if (kind == &hone_case_attention_with_rope) {
        s.heads = m->heads;
        s.kv_heads = m->kv_heads;
        s.head_dim = m->head_dim;
    } else {
        s.hidden = m->hidden;
        s.vocab = m->vocab;
    }
    return s;
}

size_t hone_case_bench_shapes(const hone_case *kind, const hone_case_shape *model,
                              hone_case_shape *out, size_t room) {
    static const size_t fixed[][4] = {{4, 64, 256, 1000}, {8, 128, 512, 2000}, {2, 256, 768, 5000}};
    size_t count = 0;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed && count < room; i++) {
        const size_t *f = fixed[i], head_dim = 64, heads = f[2] / head_dim;
        hone_case_shape m = {.batch = f[0],
                             .seq = f[1],
                             .hidden = f[2],
                             .vocab = f[3],
                             .heads = heads,
                             .kv_heads = heads / 2,
                             .head_dim = head_dim,
                             .ffn = 4 * f[2],
                             .rank = 8};
        out[count++] = select_fields(kind, &m);
    }
    if (model && count < room) out[count++] = select_fields(kind, model);
    return count;
}

void hone_case_work(const hone_case *kind, const hone_case_shape *shape, hone_case_pass pass,
                    double *flops, double *bytes) {
    kind->work(shape, pass, flops, bytes);
}

/* ---- shapes that nobody knows beforehand -------------------------------------------------- */

size_t hone_case_between(hone_rng *rng, size_t low, size_t high) {
    return low + (size_t)hone_rng_below(rng, high - low + 1);
}

double hone_case_magnitude(hone_rng *rng, double low, double high) {
    return low * pow(high / low, hone_rng_uniform(rng));
}

void hone_case_draw_weight(hone_case_shape *shape, size_t *in, hone_rng *rng) {
    static const hone_dtype types[] = {HONE_F32,  HONE_BF16, HONE_F16,    HONE_Q4_0,
                                       HONE_Q4_1, HONE_Q8_0, HONE_AFFINE4};
    shape->weight = types[hone_rng_below(rng, sizeof types / sizeof *types)];
    size_t block = hone_dtype_block(shape->weight);
    if (shape->weight == HONE_AFFINE4) block = (size_t)(shape->group = 64);
    *in = HONE_CEIL_DIV(*in, block) * block;
}

size_t hone_case_reach_to(hone_case_reach reach, size_t near, size_t far, hone_rng *rng) {
    return hone_case_between(rng, reach == HONE_CASE_FARTHEST ? far - (far - near) / 5 : near, far);
}

void hone_case_draw_adapter(hone_case_shape *shape, size_t most, hone_rng *rng) {
    if (hone_rng_below(rng, 4) == 0) return;
    shape->rank = hone_case_between(rng, 1, most);
    shape->frozen = (int)hone_rng_below(rng, HONE_FROZEN_BOTH + 1);
}

void hone_case_draw_linear(hone_case_shape *shape, size_t *in, size_t *out,
                           const hone_case_limits *near, hone_case_reach reach, hone_rng *rng) {
    enum { SMALL = 9, FAR = 16384 };
    bool is_near = reach == HONE_CASE_NEAR;
    shape->batch = hone_case_between(rng, 1, 3);
    shape->seq = hone_case_between(rng, 1, is_near ? near->seq : 2);
    *in = hone_case_between(rng, 1, is_near ? near->in : SMALL);
    *out = hone_case_between(rng, 1, is_near ? near->out : SMALL);
    bool wide = !is_near && hone_rng_below(rng, 2);
    if (!is_near) *(wide ? in : out) = hone_case_reach_to(reach, near->out, FAR, rng);
    hone_case_draw_adapter(shape, is_near ? near->rank : 3, rng);
    if (is_near || wide) hone_case_draw_weight(shape, in, rng);
    shape->trained = shape->weight == HONE_F32 && hone_rng_below(rng, 2);
    shape->in_place = hone_rng_below(rng, 2);
}

hone_case_shape hone_case_draw(const hone_case *kind, hone_case_reach reach, hone_rng *rng) {
    hone_case_shape shape = {0};
    kind->draw(&shape, reach, rng);
    return shape;
}
