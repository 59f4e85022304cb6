/* tests/eval/stats: figures computed by hand and by numpy 2. */
#include "eval/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const double sample[7] = {3.1, 1.2, 5.9, 2.2, 8.7, 4.4, 0.3};

#define NEAR(got, want, bound) assert_true(fabs((got) - (want)) <= (bound))

static void median_of_odd_even_and_none(void **state) {
    (void)state;
    double copy[7];
    memcpy(copy, sample, sizeof copy);
    NEAR(hone_stats_median(copy, 7), 3.1, 0);
    memcpy(copy, sample, sizeof copy);
    NEAR(hone_stats_median(copy, 6), 3.75, 1e-15);
    assert_true(isnan(hone_stats_median(copy, 0)));
    NEAR(hone_stats_median(copy, 1), copy[0], 0);
}

static void means(void **state) {
    (void)state;
    NEAR(hone_stats_mean(sample, 7), 3.685714285714286, 1e-15);
    NEAR(hone_stats_geometric_mean(sample, 7), 2.4659669940878315, 1e-14);
    assert_true(isnan(hone_stats_mean(sample, 0)));
    assert_true(isnan(hone_stats_geometric_mean(sample, 0)));
    assert_true(isnan(hone_stats_geometric_mean((double[]){1, 0}, 2)));
    assert_true(isnan(hone_stats_geometric_mean((double[]){1, NAN}, 2)));
}

static void quantiles_as_numpy(void **state) {
    (void)state;
    double sorted[7];
    memcpy(sorted, sample, sizeof sorted);
    hone_stats_median(sorted, 7);
    const double p[6] = {0, .025, .3, .5, .975, 1}, want[6] = {0.3, 0.435, 2.0, 3.1, 8.28, 8.7};
    for (int i = 0; i < 6; i++) NEAR(hone_stats_quantile(sorted, 7, p[i]), want[i], 1e-12);
    assert_true(isnan(hone_stats_quantile(sorted, 0, 0.5)));
}

/* numpy, 400,000 resamples: 2.2407 and 2.6886; the ends of 2,000 resamples scatter by 0.01. */
static void interval_agrees_with_a_large_bootstrap(void **state) {
    (void)state;
    double a[41], b[41];
    for (int i = 0; i < 41; i++) {
        a[i] = 5 + sin(i * 1.7) * 0.5;
        b[i] = 2 + cos(i * 0.9) * 0.3;
    }
    for (uint64_t seed = 1; seed <= 5; seed++) {
        hone_interval i = hone_stats_ratio_interval(a, b, 41, seed);
        NEAR(i.low, 2.2407, 0.03);
        NEAR(i.high, 2.6886, 0.03);
        hone_interval again = hone_stats_ratio_interval(a, b, 41, seed);
        assert_memory_equal(&i, &again, sizeof i);
    }
}

/* Ratios that are the same in every pair leave no doubt, however much both drift. */
static void interval_is_paired(void **state) {
    (void)state;
    double a[9], b[9];
    for (int i = 0; i < 9; i++) {
        b[i] = 1 + i;
        a[i] = 3 * b[i];
    }
    hone_interval i = hone_stats_ratio_interval(a, b, 9, 7);
    NEAR(i.low, 3, 1e-12);
    NEAR(i.high, 3, 1e-12);
    i = hone_stats_ratio_interval(a, b, 0, 7);
    assert_true(isnan(i.low) && isnan(i.high));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(median_of_odd_even_and_none),
        cmocka_unit_test(means),
        cmocka_unit_test(quantiles_as_numpy),
        cmocka_unit_test(interval_agrees_with_a_large_bootstrap),
        cmocka_unit_test(interval_is_paired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
