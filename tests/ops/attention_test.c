/* Attention of both sets against the float64 oracle: packed segments, caches, rotary embedding, any team. */
#include "ops/ops_help.h"

#include "kernels/ref/ref.h"

typedef struct problem {
    hone_dtype compute;
    const hone_op_set *set;
    size_t heads, kv_heads, dim, rope_dim;
    bool interleaved, backward, saved;
    hone_segment segments[8];
    size_t segment_count, q_rows, kv_rows;
} problem;

typedef struct tensors {
    const problem *p;
    hone_attention_args args;
    double *q, *k, *v, *d_o;
    double *o, *dq, *dk, *dv; /* the oracle's */
    int32_t *positions;
    double *cos, *sin;
    float *cos_f, *sin_f;
} tensors;

static size_t q_count(const problem *p) { return p->q_rows * p->heads * p->dim; }
static size_t kv_count(const problem *p) { return p->kv_rows * p->kv_heads * p->dim; }

static void make_angles(tensors *t) {
    const problem *p = t->p;
    size_t rows = p->q_rows > p->kv_rows ? p->q_rows : p->kv_rows, half = p->rope_dim / 2;
    t->positions = calloc(rows, sizeof *t->positions);
    t->cos = ops_doubles(rows * half);
    t->sin = ops_doubles(rows * half);
    for (size_t s = 0; s < p->segment_count; s++) {
        for (size_t r = p->segments[s].q_begin; r < p->segments[s].q_end; r++) {
            t->positions[r] = (int32_t)(r - p->segments[s].q_begin);
        }
    }
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < half; j++) {
            double angle = (double)i * pow(10000.0, -2.0 * (double)j / (double)p->rope_dim);
            t->cos[i * half + j] = (float)cos(angle);
            t->sin[i * half + j] = (float)sin(angle);
        }
    }
    t->cos_f = ops_typed(HONE_F32, rows * half, t->cos);
    t->sin_f = ops_typed(HONE_F32, rows * half, t->sin);
}

static void make(tensors *t, const problem *p) {
    *t = (tensors){.p = p};
    hone_rng rng = hone_rng_make(7);
    t->q = ops_random(&rng, p->compute, q_count(p), 2.0);
    t->k = ops_random(&rng, p->compute, kv_count(p), 1.0);
    t->v = ops_random(&rng, p->compute, kv_count(p), 1.0);
    t->d_o = ops_random(&rng, p->compute, q_count(p), 1.0);
    t->o = ops_doubles(q_count(p));
    t->dq = ops_doubles(q_count(p));
    t->dk = ops_doubles(kv_count(p));
    t->dv = ops_doubles(kv_count(p));
    if (p->rope_dim > 0) make_angles(t);
    hone_ref_segment segments[8];
    for (size_t s = 0; s < p->segment_count; s++) {
        const hone_segment *from = &p->segments[s];
        segments[s] = (hone_ref_segment){from->q_begin, from->q_end, from->kv_begin, from->kv_end};
    }
    hone_ref_attention ref = {
        .heads = p->heads,
        .kv_heads = p->kv_heads,
        .head_dim = p->dim,
        .q_rows = p->q_rows,
        .kv_rows = p->kv_rows,
        .segments = segments,
        .segment_count = p->segment_count,
        .positions = t->positions,
        .cos = t->cos,
        .sin = t->sin,
        .rope_dim = p->rope_dim,
        .interleaved = p->interleaved,
    };
    assert_true(hone_ref_attention_forward(&ref, t->q, t->k, t->v, t->o));
    if (p->backward)
        assert_true(
            hone_ref_attention_backward(&ref, t->q, t->k, t->v, t->d_o, t->dq, t->dk, t->dv));
}

static void make_args(tensors *t) {
    const problem *p = t->p;
    t->args = (hone_attention_args){
        .heads = p->heads,
        .kv_heads = p->kv_heads,
        .head_dim = p->dim,
        .segments = p->segments,
        .segment_count = p->segment_count,
        .q_rows = p->q_rows,
        .kv_rows = p->kv_rows,
        .q = ops_typed(p->compute, q_count(p), t->q),
        .k = ops_typed(p->compute, kv_count(p), t->k),
        .v = ops_typed(p->compute, kv_count(p), t->v),
        .o = ops_typed(p->compute, q_count(p), NULL),
        .positions = t->positions,
        .cos = t->cos_f,
        .sin = t->sin_f,
        .rope_dim = p->rope_dim,
        .interleaved = p->interleaved,
        .d_o = ops_typed(p->compute, q_count(p), t->d_o),
        .dq = ops_typed(p->compute, q_count(p), NULL),
        .dk = ops_typed(p->compute, kv_count(p), NULL),
        .dv = ops_typed(p->compute, kv_count(p), NULL),
    };
}

static void free_args(hone_attention_args *a) {
    free(a->q), free(a->k), free((void *)a->v), free(a->o), free((void *)a->d_o), free(a->dq),
        free(a->dk);
    free(a->dv);
}

static void free_tensors(tensors *t) {
    free(t->q), free(t->k), free(t->v), free(t->d_o), free(t->o), free(t->dq), free(t->dk),
        free(t->dv);
    free(t->positions), free(t->cos), free(t->sin), free(t->cos_f), free(t->sin_f);
}

static void body(hone_ctx *ctx, void *argument) {
    const tensors *t = argument;
    hone_saved saved = {{0}};
    t->p->set->attention_with_rope_forward(ctx, &t->args, t->p->saved ? &saved : NULL);
    if (t->p->backward) t->p->set->attention_with_rope_backward(ctx, &t->args, &saved);
}

static void check(problem p) {
    unsigned features = hone_cpu_detect();
    hone_kernels kernels;
    const char *tier;
    const hone_op_set *sets[] = {&hone_ops_fused, &hone_ops_naive};
    for (size_t i = 0; i < 4; i++) {
        p.compute = i % 2 == 0 ? HONE_F32 : HONE_BF16;
        p.set = sets[i / 2];
        p.saved = p.backward;
        double bound = p.compute == HONE_F32 ? 5e-6 : 1e-2;
        tensors t;
        make(&t, &p);
        for (size_t index = 0; hone_kernels_tier(index, features, &kernels, &tier); index++) {
            hone_attention_args first = {0};
            for (int threads = 1; threads <= 3; threads++) {
                make_args(&t);
                ops_run(&kernels, p.compute, threads, body, &t);
                assert_close(p.compute, q_count(&p), t.args.o, t.o, bound);
                if (p.backward) {
                    assert_close(p.compute, q_count(&p), t.args.dq, t.dq, bound);
                    assert_close(p.compute, kv_count(&p), t.args.dk, t.dk, bound);
                    assert_close(p.compute, kv_count(&p), t.args.dv, t.dv, bound);
                }
                if (threads == 1) {
                    first = t.args;
                    continue;
                }
                assert_memory_equal(t.args.o, first.o, ops_bytes(p.compute, q_count(&p)));
                if (p.backward) {
                    assert_memory_equal(t.args.dq, first.dq, ops_bytes(p.compute, q_count(&p)));
                    assert_memory_equal(t.args.dk, first.dk, ops_bytes(p.compute, kv_count(&p)));
                    assert_memory_equal(t.args.dv, first.dv, ops_bytes(p.compute, kv_count(&p)));
                }
                free_args(&t.args);
            }
            free_args(&first);
        }
        free_tensors(&t);
    }
}

static void one_sequence(void **state) {
    (void)state;
    check((problem){.heads = 6,
                    .kv_heads = 2,
                    .dim = 64,
                    .rope_dim = 64,
                    .backward = true,
                    .segments = {{0, 150, 0, 150}},
                    .segment_count = 1,
                    .q_rows = 150,
                    .kv_rows = 150});
}

static void packed_segments_odd_head(void **state) {
    (void)state;
    check((problem){.heads = 4,
                    .kv_heads = 4,
                    .dim = 18,
                    .rope_dim = 10,
                    .interleaved = true,
                    .backward = true,
                    .segments = {{0, 1, 0, 1}, {1, 34, 1, 34}, {34, 131, 34, 131}},
                    .segment_count = 3,
                    .q_rows = 131,
                    .kv_rows = 131});
}

/* Longer than a tile of keys, and padding rows between the segments, which must come out as zeros. */
static void long_with_gaps(void **state) {
    (void)state;
    check((problem){.heads = 2,
                    .kv_heads = 1,
                    .dim = 16,
                    .rope_dim = 16,
                    .backward = true,
                    .segments = {{3, 1103, 3, 1103}, {1110, 1120, 1110, 1120}},
                    .segment_count = 2,
                    .q_rows = 1125,
                    .kv_rows = 1125});
}

/* Generation: a few new queries after a cache, rotated already, several streams. */
static void cache(void **state) {
    (void)state;
    check((problem){.heads = 6,
                    .kv_heads = 3,
                    .dim = 32,
                    .segments = {{0, 1, 0, 700}, {1, 6, 700, 731}},
                    .segment_count = 2,
                    .q_rows = 6,
                    .kv_rows = 740});
    check((problem){.heads = 3,
                    .kv_heads = 1,
                    .dim = 7,
                    .segments = {{0, 90, 5, 205}},
                    .segment_count = 1,
                    .q_rows = 90,
                    .kv_rows = 205});
    check((problem){.heads = 6,
                    .kv_heads = 2,
                    .dim = 40,
                    .segments = {{0, 1, 3, 1103}},
                    .segment_count = 1,
                    .q_rows = 1,
                    .kv_rows = 1110});
}

/* Segments of one token, their heads side by side, with rotation and gradients. */
static void single_tokens(void **state) {
    (void)state;
    check((problem){.heads = 6,
                    .kv_heads = 2,
                    .dim = 64,
                    .rope_dim = 64,
                    .backward = true,
                    .segments = {{0, 1, 0, 1}, {1, 9, 1, 9}, {9, 10, 9, 10}},
                    .segment_count = 3,
                    .q_rows = 10,
                    .kv_rows = 10});
    check((problem){.heads = 70,
                    .kv_heads = 1,
                    .dim = 16,
                    .segments = {{0, 1, 0, 530}, {1, 2, 530, 600}},
                    .segment_count = 2,
                    .q_rows = 2,
                    .kv_rows = 600});
}

static void more_queries_than_tiles(void **state) {
    (void)state;
    check((problem){.heads = 2,
                    .kv_heads = 2,
                    .dim = 40,
                    .backward = true,
                    .segments = {{0, 70, 0, 560}, {70, 75, 560, 1110}},
                    .segment_count = 2,
                    .q_rows = 75,
                    .kv_rows = 1110});
}

/* More queries than keys: the first see nothing, whole tiles of them too. */
static void queries_without_keys(void **state) {
    (void)state;
    check((problem){.heads = 4,
                    .kv_heads = 2,
                    .dim = 16,
                    .backward = true,
                    .segments = {{0, 9, 0, 9}, {9, 159, 9, 29}},
                    .segment_count = 2,
                    .q_rows = 160,
                    .kv_rows = 29});
}

/* Keys that no query asks for have no gradient. */
static void keys_without_queries(void **state) {
    (void)state;
    check((problem){.heads = 4,
                    .kv_heads = 2,
                    .dim = 16,
                    .backward = true,
                    .segments = {{0, 0, 0, 3}, {0, 9, 3, 12}, {9, 9, 12, 40}},
                    .segment_count = 3,
                    .q_rows = 9,
                    .kv_rows = 41});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sequence),         cmocka_unit_test(packed_segments_odd_head),
        cmocka_unit_test(long_with_gaps),       cmocka_unit_test(cache),
        cmocka_unit_test(single_tokens),        cmocka_unit_test(more_queries_than_tiles),
        cmocka_unit_test(queries_without_keys), cmocka_unit_test(keys_without_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
