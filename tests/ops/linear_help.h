/* Helpers of the tests of linear layers: a layer with its float64 values and gradients, running an op
 * of a set on a team within the memory that it planned, comparing with float64. */
#ifndef HONE_TESTS_LINEAR_HELP_H
#define HONE_TESTS_LINEAR_HELP_H

#include "kernels/matrix_help.h"
#include "ops/ops.h"

/* What a test of one set in one compute type runs with. */
typedef struct test_setting {
    const hone_op_set *set;
    hone_dtype compute;
    hone_kernels kernels;
} test_setting;

static inline size_t element_bytes(hone_dtype dtype) { return dtype == HONE_F32 ? 4 : 2; }

/* `count` random values of a type, and the same as float64. */
typedef struct tensor {
    void *data;
    double *values;
    size_t count;
    hone_dtype dtype;
} tensor;

static inline tensor tensor_new(hone_dtype dtype, size_t count, double magnitude, hone_rng *rng) {
    tensor t = {malloc(count * element_bytes(dtype)), calloc(count, sizeof(double)), count, dtype};
    assert_non_null(t.data);
    assert_non_null(t.values);
    for (size_t i = 0; i < count; i++) {
        dense_set(t.data, dtype, i, magnitude * random_value(rng));
        t.values[i] = dense_get(t.data, dtype, i);
    }
    return t;
}

static inline void tensor_free(tensor *t) {
    free(t->data);
    free(t->values);
}

/* Relative norm of the difference, at most `bound`. */
static inline void check_norm(const char *what, const void *got, hone_dtype dtype,
                              const double *want, size_t count, double bound) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        double d = dense_get(got, dtype, i) - want[i];
        difference += d * d;
        norm += want[i] * want[i];
    }
    if (!(sqrt(difference) <= bound * sqrt(norm) + 1e-30))
        fail_msg("%s: relative norm of the difference %.3g, at most %.3g", what,
                 sqrt(difference / norm), bound);
}

/* Rounding of the operands dominates in bfloat16; of the sums in float32. */
static inline double norm_bound(hone_dtype compute) { return compute == HONE_F32 ? 2e-6 : 8e-3; }

/* A linear layer whose parts all learn, with the values and the gradients in float64. */
typedef struct layer {
    hone_linear linear;
    size_t in, out, rank;
    test_matrix weight;
    tensor a, b, bias;
    float *da, *db, *dw, *dbias;                      /* the library's, start at 1 */
    double *want_da, *want_db, *want_dw, *want_dbias; /* start at 1 too */
} layer;

static inline float *ones(size_t count) {
    float *x = malloc(count * sizeof *x);
    for (size_t i = 0; i < count; i++) x[i] = 1;
    return x;
}

static inline double *ones64(size_t count) {
    double *x = malloc(count * sizeof *x);
    for (size_t i = 0; i < count; i++) x[i] = 1;
    return x;
}

static inline layer layer_new(size_t in, size_t out, size_t rank, hone_dtype dtype, uint64_t seed) {
    hone_rng rng = hone_rng_make(seed);
    layer l = {.in = in, .out = out, .rank = rank};
    l.weight = test_matrix_new(dtype, out, in, 32, HONE_F16, seed);
    l.a = tensor_new(HONE_F32, rank * in, 0.5, &rng);
    l.b = tensor_new(HONE_F32, out * rank, 0.5, &rng);
    l.bias = tensor_new(HONE_F32, out, 1, &rng);
    l.da = ones(rank * in), l.want_da = ones64(rank * in);
    l.db = ones(out * rank), l.want_db = ones64(out * rank);
    l.dw = ones(out * in), l.want_dw = ones64(out * in);
    l.dbias = ones(out), l.want_dbias = ones64(out);
    l.linear = (hone_linear){.weight = l.weight.m,
                             .bias = l.bias.data,
                             .lora = {(int)rank, 1.5f, l.a.data, l.b.data, l.da, l.db},
                             .dweight = l.dw,
                             .dbias = l.dbias};
    return l;
}

static inline void layer_reset(layer *l) {
    for (size_t i = 0; i < l->rank * l->in; i++) l->da[i] = 1;
    for (size_t i = 0; i < l->rank * l->out; i++) l->db[i] = 1;
    for (size_t i = 0; i < l->out * l->in; i++) l->dw[i] = 1;
    for (size_t i = 0; i < l->out; i++) l->dbias[i] = 1;
}

static inline void layer_free(layer *l) {
    test_matrix_free(&l->weight);
    tensor_free(&l->a);
    tensor_free(&l->b);
    tensor_free(&l->bias);
    float *got[] = {l->da, l->db, l->dw, l->dbias};
    double *want[] = {l->want_da, l->want_db, l->want_dw, l->want_dbias};
    for (int i = 0; i < 4; i++) {
        free(got[i]);
        free(want[i]);
    }
}

/* W + scale B A. */
static inline double layer_weight(const layer *l, size_t o, size_t i) {
    double w = l->weight.values[o * l->in + i];
    for (size_t r = 0; r < l->rank; r++)
        w += 1.5 * l->b.values[o * l->rank + r] * l->a.values[r * l->in + i];
    return w;
}

/* y [rows, out] and, where dy is given, dx [rows, in] (+=) and all gradients (+=), by the definition. */
static inline void layer_reference(layer *l, size_t rows, const double *x, double *y,
                                   const double *dy, double *dx) {
    for (size_t o = 0; o < l->out; o++) {
        for (size_t i = 0; i < l->in; i++) {
            double w = layer_weight(l, o, i), sum = 0;
            for (size_t r = 0; r < rows; r++) {
                y[r * l->out + o] += (i == 0 ? l->bias.values[o] : 0) + w * x[r * l->in + i];
                if (dy == NULL) continue;
                double g = dy[r * l->out + o];
                sum += g * x[r * l->in + i];
                if (dx != NULL) dx[r * l->in + i] += w * g;
                if (i == 0) l->want_dbias[o] += g;
            }
            if (dy == NULL) continue;
            l->want_dw[o * l->in + i] += sum;
            for (size_t k = 0; k < l->rank; k++) {
                l->want_da[k * l->in + i] += 1.5 * l->b.values[o * l->rank + k] * sum;
                l->want_db[o * l->rank + k] += 1.5 * l->a.values[k * l->in + i] * sum;
            }
        }
    }
}

static inline void layer_check(const layer *l, double bound) {
    check_norm("dA", l->da, HONE_F32, l->want_da, l->rank * l->in, bound);
    check_norm("dB", l->db, HONE_F32, l->want_db, l->rank * l->out, bound);
    check_norm("dW", l->dw, HONE_F32, l->want_dw, l->out * l->in, bound);
    check_norm("dbias", l->dbias, HONE_F32, l->want_dbias, l->out, bound);
}

/* A call to run on a team: it is planned first, and then may take what was planned and no more. */
typedef void step_fn(hone_ctx *ctx, void *argument);
typedef struct step {
    const test_setting *setting;
    step_fn *fn;
    void *argument;
    hone_arena arena;
    size_t peak;
} step;

static inline void step_body(hone_team team, void *argument) {
    step *s = argument;
    hone_ctx ctx = {.team = team,
                    .kernels = &s->setting->kernels,
                    .compute = s->setting->compute,
                    .arena = s->arena};
    s->fn(&ctx, s->argument);
    assert_int_equal(ctx.arena.scratch, 0);
    if (team.rank == 0) s->peak = ctx.arena.peak;
}

/* Returns the peak. */
static inline size_t run_step(const test_setting *setting, int threads, step_fn *fn,
                              void *argument) {
    hone_ctx plan = {.team = {.size = threads},
                     .kernels = &setting->kernels,
                     .compute = setting->compute,
                     .arena = hone_arena_plan()};
    fn(&plan, argument);
    step s = {.setting = setting, .fn = fn, .argument = argument};
    assert_int_equal(hone_arena_open(&s.arena, plan.arena.peak, false, NULL), HONE_OK);
    memset(s.arena.base, 0xff, s.arena.capacity);
    hone_parallel(threads, step_body, &s);
    assert_int_equal(s.peak, plan.arena.peak);
    hone_arena_close(&s.arena);
    return s.peak;
}

/* Runs `body` for both sets and compute types, on the best kernels and on plain ones. */
static inline void each_setting(void (*body)(const test_setting *s)) {
    static const char *const names[] = {"naive", "fused"};
    for (int i = 0; i < 8; i++) {
        test_setting b = {hone_op_set_find(names[i & 1]), i & 2 ? HONE_BF16 : HONE_F32, {0}};
        hone_kernels_select(i & 4 ? hone_cpu_detect() : 0, &b.kernels);
        body(&b);
    }
}

#endif
