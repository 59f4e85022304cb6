/* tests of model/sample: filters and draws against frequencies worked out by hand. */
#include "model/sample.h"

#include "support.h"

#include <math.h>

/* Probabilities 0.5, 0.25, 0.15, 0.10. */
static const double shares[4] = {0.5, 0.25, 0.15, 0.10};

static void draw(double temperature, double top_p, double min_p, int top_k, double frequency[4]) {
    enum { DRAWS = 40000 };
    float logits[4];
    for (int i = 0; i < 4; i++) logits[i] = (float)log(shares[i]) + 3.0f;
    hone_sampler s;
    hone_error err = {0};
    assert_int_equal(hone_sampler_open(&s, 4, temperature, top_p, min_p, top_k, 7, &err), HONE_OK);
    for (int i = 0; i < 4; i++) frequency[i] = 0;
    for (int n = 0; n < DRAWS; n++) frequency[hone_sampler_next(&s, logits)] += 1.0 / DRAWS;
    hone_sampler_close(&s);
}

static void expect(const double *got, double a, double b, double c, double d) {
    const double want[4] = {a, b, c, d};
    for (int i = 0; i < 4; i++)
        if (!(fabs(got[i] - want[i]) <= 0.012))
            fail_msg("token %d: frequency %.4f, expected %.4f", i, got[i], want[i]);
}

static void temperature_shapes_the_distribution(void **state) {
    (void)state;
    double f[4];
    draw(1, 0, 0, 0, f);
    expect(f, 0.5, 0.25, 0.15, 0.10);
    draw(0.5, 0, 0, 0, f); /* squares: .25 .0625 .0225 .01, sum .345 */
    expect(f, 0.7246, 0.1812, 0.0652, 0.0290);
    draw(0, 0, 0, 0, f);
    expect(f, 1, 0, 0, 0);
}

static void filters_keep_the_most_likely(void **state) {
    (void)state;
    double f[4];
    draw(1, 0, 0, 2, f);
    expect(f, 2.0 / 3, 1.0 / 3, 0, 0);
    draw(1, 0.8, 0, 0, f); /* .5 + .25 < .8: the third is needed */
    expect(f, 0.5 / 0.9, 0.25 / 0.9, 0.15 / 0.9, 0);
    draw(1, 0, 0.4, 0, f); /* at least 0.4 * 0.5 */
    expect(f, 2.0 / 3, 1.0 / 3, 0, 0);
}

static void greedy_takes_the_lowest_id_among_equals(void **state) {
    (void)state;
    const float logits[5] = {1, 4, 2, 4, 4};
    hone_sampler s;
    assert_int_equal(hone_sampler_open(&s, 5, 0, 0, 0, 0, 1, NULL), HONE_OK);
    assert_int_equal(hone_sampler_next(&s, logits), 1);
    hone_sampler_close(&s);
}

/* Wherever it stands among the blocks that the search goes by, beside NaN and infinities. */
static void greedy_finds_the_highest_anywhere(void **state) {
    (void)state;
    enum { VOCAB = 3 * 64 + 5 };
    float logits[VOCAB];
    hone_sampler s;
    assert_int_equal(hone_sampler_open(&s, VOCAB, 0, 0, 0, 0, 1, NULL), HONE_OK);
    for (int at = 0; at < VOCAB; at++) {
        for (int i = 0; i < VOCAB; i++) logits[i] = (float)(i * 37 % 101);
        if (at > 0) logits[at / 2] = at % 2 ? NAN : -INFINITY;
        if (at / 2 == 0 && at > 0) logits[0] = 0; /* nothing is higher than a NaN in front */
        logits[at] = at % 3 ? 101 : INFINITY;
        assert_int_equal(hone_sampler_next(&s, logits), at);
    }
    hone_sampler_close(&s);
}

static void same_seed_same_draws(void **state) {
    (void)state;
    float logits[64];
    for (int i = 0; i < 64; i++) logits[i] = (float)(i % 7);
    hone_sampler a, b;
    hone_sampler_open(&a, 64, 1, 0, 0, 0, 42, NULL);
    hone_sampler_open(&b, 64, 1, 0, 0, 0, 42, NULL);
    for (int i = 0; i < 100; i++)
        assert_int_equal(hone_sampler_next(&a, logits), hone_sampler_next(&b, logits));
    hone_sampler_close(&a);
    hone_sampler_close(&b);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    hone_sampler s;
    hone_error err;
    assert_int_equal(hone_sampler_open(&s, 4, -1, 0, 0, 0, 1, &err), HONE_ERR_USAGE);
    assert_int_equal(hone_sampler_open(&s, 4, NAN, 0, 0, 0, 1, &err), HONE_ERR_USAGE);
    assert_int_equal(hone_sampler_open(&s, 4, 1, 1.5, 0, 0, 1, &err), HONE_ERR_USAGE);
    assert_int_equal(hone_sampler_open(&s, 4, 1, 0, -0.1, 0, 1, &err), HONE_ERR_USAGE);
    assert_int_equal(hone_sampler_open(&s, 4, 1, 0, 0, -3, 1, &err), HONE_ERR_USAGE);
    assert_non_null(strstr(err.message, "top-k"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temperature_shapes_the_distribution),
        cmocka_unit_test(filters_keep_the_most_likely),
        cmocka_unit_test(greedy_takes_the_lowest_id_among_equals),
        cmocka_unit_test(greedy_finds_the_highest_anywhere),
        cmocka_unit_test(same_seed_same_draws),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
