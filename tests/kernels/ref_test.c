/* The oracle: known values, and every backward pass against central differences of its forward pass. */
#include "support.h"

#include "base/rng.h"
#include "base/size.h"
#include "kernels/ref/ref.h"
#include <math.h>
#include <string.h>

#define assert_near(got, want, bound) assert_true(fabs((got) - (want)) <= (bound))

enum { LIMIT = 4096, INPUTS = 8 };

/* One operation under test: inputs and their gradients by name, output and the weights that make it a scalar. */
typedef struct probe {
    void *op;
    void (*forward)(struct probe *p);
    struct {
        const char *name;
        double *value, *gradient;
        size_t count;
    } input[INPUTS];
    size_t inputs, outputs;
    double y[LIMIT], dy[LIMIT];
} probe;

static double pool[1 << 16];
static size_t pool_used;
static hone_rng rng;

static double *take(size_t count) {
    double *p = pool + pool_used;
    pool_used += count;
    assert_true(pool_used <= sizeof pool / sizeof *pool);
    return p;
}

static double *random_values(size_t count) {
    double *p = take(count);
    for (size_t i = 0; i < count; i++) p[i] = hone_rng_normal(&rng);
    return p;
}

static double *add_input(probe *p, const char *name, size_t count) {
    size_t i = p->inputs++;
    assert_true(i < INPUTS);
    p->input[i].name = name;
    p->input[i].count = count;
    p->input[i].value = random_values(count);
    p->input[i].gradient = take(count);
    for (size_t j = 0; j < count; j++) p->input[i].gradient[j] = NAN;
    return p->input[i].value;
}

static double *gradient_of(probe *p, const char *name) {
    for (size_t i = 0; i < p->inputs; i++) {
        if (strcmp(p->input[i].name, name) == 0) return p->input[i].gradient;
    }
    fail_msg("no input %s", name);
    return NULL;
}

static probe *start(uint64_t seed, void *op, void (*forward)(probe *p), size_t outputs) {
    static probe p;
    pool_used = 0;
    rng = hone_rng_make(seed);
    memset(&p, 0, sizeof p);
    p.op = op;
    p.forward = forward;
    p.outputs = outputs;
    for (size_t i = 0; i < outputs; i++) p.dy[i] = hone_rng_normal(&rng);
    return &p;
}

static double objective(probe *p) {
    double sum = 0;
    p->forward(p);
    for (size_t i = 0; i < p->outputs; i++) sum += p->y[i] * p->dy[i];
    return sum;
}

/* |difference quotient - gradient| <= 1e-6 of the gradient's largest element, for every element. */
static void check_gradients(probe *p) {
    for (size_t i = 0; i < p->inputs; i++) {
        double *x = p->input[i].value, *g = p->input[i].gradient, largest = 0;
        for (size_t j = 0; j < p->input[i].count; j++) largest = fmax(largest, fabs(g[j]));
        assert_true(largest > 0);
        for (size_t j = 0; j < p->input[i].count; j++) {
            double kept = x[j], h = 1e-5;
            x[j] = kept + h;
            double above = objective(p);
            x[j] = kept - h;
            double below = objective(p);
            x[j] = kept;
            double error = fabs((above - below) / (2 * h) - g[j]);
            if (!(error <= 1e-6 * largest)) {
                fail_msg("%s[%zu]: difference %g, gradient %g", p->input[i].name, j,
                         (above - below) / (2 * h), g[j]);
            }
        }
    }
}

/* ---- rms_norm ---- */

static void rms_norm_forward(probe *p) {
    hone_ref_rms_norm_forward(3, 7, p->input[0].value, p->input[1].value, 0.1, p->y);
}

static void test_rms_norm(void **state) {
    (void)state;
    probe *p = start(1, NULL, rms_norm_forward, 21);
    double *x = add_input(p, "x", 21), *gamma = add_input(p, "gamma", 7);
    hone_ref_rms_norm_backward(3, 7, x, gamma, 0.1, p->dy, gradient_of(p, "x"),
                               gradient_of(p, "gamma"));
    check_gradients(p);

    double two[2] = {3, 4}, ones[2] = {1, 2}, y[2];
    hone_ref_rms_norm_forward(1, 2, two, ones, 0.0, y);
    assert_near(y[0], 3 / sqrt(12.5), 1e-15);
    assert_near(y[1], 2 * 4 / sqrt(12.5), 1e-15);
}

/* ---- rope ---- */

static void tables(size_t positions, size_t half, double *cosine, double *sine) {
    for (size_t p = 0; p < positions; p++) {
        for (size_t i = 0; i < half; i++) {
            double angle = (double)p * pow(100.0, -(double)i / (double)half);
            cosine[p * half + i] = cos(angle);
            sine[p * half + i] = sin(angle);
        }
    }
}

static void rope_forward(probe *p) { hone_ref_rope_forward(p->op, p->input[0].value, p->y); }

static void check_rope(bool interleaved) {
    double cosine[5 * 3], sine[5 * 3];
    tables(5, 3, cosine, sine);
    int32_t positions[3] = {1, 4, 0};
    hone_ref_rope a = {3, 2, 8, 6, positions, cosine, sine, interleaved};
    probe *p = start(2, &a, rope_forward, 3 * 2 * 8);
    add_input(p, "x", 3 * 2 * 8);
    hone_ref_rope_backward(&a, p->dy, gradient_of(p, "x"));
    check_gradients(p);
}

static void test_rope(void **state) {
    (void)state;
    check_rope(false);
    check_rope(true);

    /* A quarter turn takes (1, 0) to (0, 1); elements past rope_dim stay. */
    double cosine[2] = {0, 1}, sine[2] = {1, 0}, x[5] = {1, 2, 0, 3, 9}, y[5];
    int32_t position = 0;
    hone_ref_rope a = {1, 1, 5, 4, &position, cosine, sine, false};
    hone_ref_rope_forward(&a, x, y);
    const double halves[5] = {0, 2, 1, 3, 9};
    assert_memory_equal(y, halves, sizeof y);
    a.interleaved = true;
    hone_ref_rope_forward(&a, x, y);
    const double neighbours[5] = {-2, 1, 0, 3, 9};
    assert_memory_equal(y, neighbours, sizeof y);
}

/* ---- linear and swiglu ---- */

static void linear_forward(probe *p) {
    assert_true(hone_ref_linear_forward(p->op, 4, p->input[0].value, p->y));
}

static void test_linear(void **state) {
    (void)state;
    hone_ref_linear l = {.in = 5, .out = 6, .rank = 3, .scale = 0.7};
    probe *p = start(3, &l, linear_forward, 4 * 6);
    double *x = add_input(p, "x", 20);
    l.w = add_input(p, "w", 30);
    l.bias = add_input(p, "bias", 6);
    l.a = add_input(p, "a", 15);
    l.b = add_input(p, "b", 18);
    hone_ref_linear_gradients g = {gradient_of(p, "w"), gradient_of(p, "bias"), gradient_of(p, "a"),
                                   gradient_of(p, "b")};
    assert_true(hone_ref_linear_backward(&l, 4, x, p->dy, gradient_of(p, "x"), &g));
    check_gradients(p);

    double w[4] = {1, 2, 3, 4}, v[2] = {10, 100}, bias[2] = {1, 2}, a[2] = {1, 1}, b[2] = {1, -1},
           y[2];
    hone_ref_linear m = {
        .in = 2, .out = 2, .rank = 1, .w = w, .bias = bias, .scale = 2, .a = a, .b = b};
    assert_true(hone_ref_linear_forward(&m, 1, v, y));
    assert_near(y[0], 210 + 1 + 220, 0);
    assert_near(y[1], 430 + 2 - 220, 0);
}

typedef struct two_linears {
    hone_ref_linear gate, up;
} two_linears;

static void swiglu_forward(probe *p) {
    const two_linears *l = p->op;
    assert_true(hone_ref_swiglu_forward(&l->gate, &l->up, 3, p->input[0].value, p->y));
}

static void test_swiglu(void **state) {
    (void)state;
    two_linears l = {{.in = 4, .out = 5, .rank = 2, .scale = 1.5}, {.in = 4, .out = 5}};
    probe *p = start(4, &l, swiglu_forward, 15);
    double *x = add_input(p, "x", 12);
    l.gate.w = add_input(p, "gate.w", 20);
    l.gate.a = add_input(p, "gate.a", 8);
    l.gate.b = add_input(p, "gate.b", 10);
    l.up.w = add_input(p, "up.w", 20);
    l.up.bias = add_input(p, "up.bias", 5);
    hone_ref_linear_gradients gate = {gradient_of(p, "gate.w"), NULL, gradient_of(p, "gate.a"),
                                      gradient_of(p, "gate.b")};
    hone_ref_linear_gradients up = {gradient_of(p, "up.w"), gradient_of(p, "up.bias"), NULL, NULL};
    assert_true(
        hone_ref_swiglu_backward(&l.gate, &l.up, 3, x, p->dy, gradient_of(p, "x"), &gate, &up));
    check_gradients(p);

    double one = 1, two = 2, v = 3, h;
    hone_ref_linear gate1 = {.in = 1, .out = 1, .w = &one}, up1 = {.in = 1, .out = 1, .w = &two};
    assert_true(hone_ref_swiglu_forward(&gate1, &up1, 1, &v, &h));
    assert_near(h, 3 / (1 + exp(-3)) * 6, 1e-14);
}

/* ---- cross_entropy ---- */

static const int32_t labels[4] = {0, 6, -100, 3};

static void cross_entropy_forward(probe *p) {
    hone_ref_cross_entropy_forward(4, 7, p->input[0].value, labels, p->y);
}

static void test_cross_entropy(void **state) {
    (void)state;
    probe *p = start(5, NULL, cross_entropy_forward, 4);
    double *x = add_input(p, "logits", 28);
    for (size_t i = 0; i < 4; i++) p->dy[i] = 0.25;
    hone_ref_cross_entropy_backward(4, 7, x, labels, 0.25, gradient_of(p, "logits"));
    check_gradients(p);
    for (size_t i = 14; i < 21; i++) assert_near(gradient_of(p, "logits")[i], 0, 0);

    double flat[4] = {1e5, 1e5, 1e5, 1e5}, loss;
    hone_ref_cross_entropy_forward(1, 4, flat, labels, &loss);
    assert_near(loss, log(4), 1e-10);
}

/* ---- attention ---- */

static void attention_forward(probe *p) {
    assert_true(hone_ref_attention_forward(p->op, p->input[0].value, p->input[1].value,
                                           p->input[2].value, p->y));
}

static void check_attention(const hone_ref_attention *a) {
    size_t q = a->q_rows * a->heads * a->head_dim, kv = a->kv_rows * a->kv_heads * a->head_dim;
    probe *p = start(6, (void *)(uintptr_t)a, attention_forward, q);
    double *vq = add_input(p, "q", q), *vk = add_input(p, "k", kv), *vv = add_input(p, "v", kv);
    assert_true(hone_ref_attention_backward(a, vq, vk, vv, p->dy, gradient_of(p, "q"),
                                            gradient_of(p, "k"), gradient_of(p, "v")));
    check_gradients(p);
}

static void test_attention(void **state) {
    (void)state;
    double cosine[6 * 2], sine[6 * 2];
    tables(6, 2, cosine, sine);
    int32_t positions[7] = {0, 1, 2, 3, 0, 1, 2};
    hone_ref_segment segments[2] = {{0, 4, 0, 4}, {4, 7, 4, 7}}, longer[1] = {{0, 3, 0, 7}};
    hone_ref_attention a = {.heads = 4,
                            .kv_heads = 2,
                            .head_dim = 6,
                            .q_rows = 7,
                            .kv_rows = 7,
                            .segments = segments,
                            .segment_count = 2,
                            .positions = positions,
                            .cos = cosine,
                            .sin = sine,
                            .rope_dim = 4};
    check_attention(&a);
    a.interleaved = true;
    check_attention(&a);
    hone_ref_attention b = {.heads = 2,
                            .kv_heads = 1,
                            .head_dim = 5,
                            .q_rows = 3,
                            .kv_rows = 7,
                            .segments = longer,
                            .segment_count = 1};
    check_attention(&b);
}

/* The first token sees itself alone; a later key or another segment changes nothing before it. */
static void test_attention_is_causal(void **state) {
    (void)state;
    rng = hone_rng_make(7);
    pool_used = 0;
    hone_ref_segment segments[2] = {{0, 3, 0, 3}, {3, 5, 3, 5}};
    hone_ref_attention a = {.heads = 1,
                            .kv_heads = 1,
                            .head_dim = 4,
                            .q_rows = 5,
                            .kv_rows = 5,
                            .segments = segments,
                            .segment_count = 2};
    double *q = random_values(20), *k = random_values(20), *v = random_values(20), o[20],
           changed[20];
    assert_true(hone_ref_attention_forward(&a, q, k, v, o));
    for (size_t i = 0; i < 4; i++) {
        assert_near(o[i], v[i], 1e-15);
        assert_near(o[12 + i], v[12 + i], 1e-15);
    }
    k[2 * 4] += 1;
    v[2 * 4] += 1;
    assert_true(hone_ref_attention_forward(&a, q, k, v, changed));
    assert_memory_equal(o, changed, 8 * sizeof *o);
    assert_memory_not_equal(o + 8, changed + 8, 4 * sizeof *o);
    assert_memory_equal(o + 12, changed + 12, 8 * sizeof *o);
}

/* ---- adamw ---- */

/* Two steps by hand: lr 0.1, betas 0.5 and 0.75, eps 1, weight decay 0.5, gradients 2 and -1. */
static void test_adamw(void **state) {
    (void)state;
    double w = 4, m = 0, v = 0, g = 2;
    hone_ref_adamw a = {0.1, 0.5, 0.75, 1, 0.5, 0.5, 0.25};
    hone_ref_adamw_step(&a, 1, &g, &w, &m, &v);
    assert_near(m, 1, 1e-15);
    assert_near(v, 1, 1e-15);
    assert_near(w, 4 * 0.95 - 0.1 * 2 / (2 + 1), 1e-14);
    double before = w;
    g = -1;
    a.correction1 = 0.75;
    a.correction2 = 0.4375;
    hone_ref_adamw_step(&a, 1, &g, &w, &m, &v);
    assert_near(m, 0, 1e-15);
    assert_near(v, 1, 1e-15);
    assert_near(w, before * 0.95, 1e-14);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_is_causal),
        cmocka_unit_test(test_adamw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
