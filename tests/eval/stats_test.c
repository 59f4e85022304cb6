/* tests/eval/stats: figures computed by hand and by numpy 2. */
#include "eval/stats.h"

#include "base/rng.h"
#include "eval/report.h"

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

/* The interval's promise, kept by simulation: samples that scatter by 10% around medians whose ratio is known. Of 250
 * intervals of 95% between 88% and 99% must hold it; the standard error of the share is 1.4%. */
static void interval_covers_the_truth(void **state) {
    (void)state;
    static const size_t counts[] = {8, 16, 64};
    enum { RUNS = 250 };
    const double truth = 1.3, scatter = 0.1;
    hone_rng rng = hone_rng_make(20);
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        double a[64], b[64];
        int covered = 0;
        for (int run = 0; run < RUNS; run++) {
            for (size_t i = 0; i < counts[c]; i++) {
                a[i] = truth * exp(scatter * hone_rng_normal(&rng));
                b[i] = exp(scatter * hone_rng_normal(&rng));
            }
            hone_interval got = hone_stats_ratio_interval(a, b, counts[c], (uint64_t)run);
            covered += got.low <= truth && truth <= got.high;
        }
        double share = (double)covered / RUNS;
        if (!(share >= 0.88 && share <= 0.99))
            fail_msg("%zu pairs: %.3f of the intervals hold the truth", counts[c], share);
    }
}

static double wilcoxon_of(const double *differences, size_t count) {
    static const double zeros[HONE_EVAL_MAX_PAIRS];
    return hone_stats_wilcoxon(differences, zeros, count);
}

/* With ranks 1 to n the sum of the negative ones says all. The table of critical values has for two-sided 5%: 0 of 6,
 * 3 of 8, 8 of 10 pairs; the shares are counts of subsets: 1 of 64, 5 of 256, 25 of 1024. */
static void wilcoxon_of_few_pairs_is_exact(void **state) {
    (void)state;
    NEAR(wilcoxon_of((double[]){1, 2, 3, 4, 5, 6}, 6), 2 / 64.0, 1e-15);
    NEAR(wilcoxon_of((double[]){1, 2, -3, 4, 5, 6, 7, 8}, 8), 2 * 5 / 256.0, 1e-15);
    NEAR(wilcoxon_of((double[]){-1, -2, 3, -4, -5, -6, -7, -8}, 8), 2 * 5 / 256.0, 1e-15);
    NEAR(wilcoxon_of((double[]){-1, 2, 3, 4, 5, 6, -7, 8, 9, 10}, 10), 2 * 25 / 1024.0, 1e-15);
    NEAR(wilcoxon_of((double[]){1, 2, 3, 4, 5}, 5), 2 / 32.0, 1e-15); /* never below 5% */
    NEAR(wilcoxon_of((double[]){1, -2, -3, 4}, 4), 1, 1e-15);         /* nothing to see */
    NEAR(wilcoxon_of((double[]){0, 0}, 2), 1, 0);
    assert_true(isnan(wilcoxon_of((double[]){1, NAN}, 2)));
    assert_true(isnan(hone_stats_wilcoxon(NULL, NULL, HONE_EVAL_MAX_PAIRS + 1)));
}

/* Darwin's maize, cross- against self-fertilized (Fisher, 1935): p 0.0413 (scipy's manual). Depression scores before
 * and after a tranquilizer (Hollander and Wolfe, 1973, p. 29): one-sided 0.0195 (R's manual). */
static void wilcoxon_of_published_data(void **state) {
    (void)state;
    NEAR(wilcoxon_of((double[]){6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75}, 15),
         0.041259765625, 1e-14);
    const double before[9] = {1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30},
                 after[9] = {0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29};
    NEAR(hone_stats_wilcoxon(before, after, 9), 2 * 0.01953125, 1e-14);
}

/* scipy 1.17.1, wilcoxon(..., correction=True, method="approx"); of 50 pairs method="exact". */
static void wilcoxon_with_ties_zeros_and_many_pairs(void **state) {
    (void)state;
    const double tied[15] = {1, 1, 2, -1, 3, 3, -2, 4, 5, 5, 5, -3, 0, 0, 0};
    NEAR(wilcoxon_of(tied, 12), 0.048719149749832644, 1e-12);
    NEAR(wilcoxon_of(tied, 15), 0.048719149749832644, 1e-12); /* equal pairs are left out */
    double wave[60];
    for (int i = 0; i < 60; i++) wave[i] = sin(i * 1.7) + 0.25;
    NEAR(wilcoxon_of(wave, 50), 0.013686934524772099, 1e-12);
    NEAR(wilcoxon_of(wave, 60), 0.011210360790820993, 1e-12);
}

/* ---- comparisons ---- */

static void seconds_are_compared(void **state) {
    (void)state;
    const double slow[8] = {2.0, 2.2, 1.9, 2.1, 2.05, 1.95, 2.15, 9},
                 fast[8] = {1.0, 1.1, 1.05, 0.95, 1.02, 0.98, 1.01, 1.03};
    hone_comparison c = hone_compare_seconds(slow, fast, 8, 5);
    NEAR(c.ratio, 2.075 / 1.015, 1e-12); /* medians; the outlier is one of eight */
    assert_int_equal(c.pairs, 8);
    NEAR(c.p, 2 / 256.0, 1e-15); /* all eight differences have one sign */
    hone_interval interval = hone_stats_ratio_interval(slow, fast, 8, 5);
    assert_memory_equal(&c.interval, &interval, sizeof interval);
    assert_true(hone_comparison_shown(&c));
    NEAR(slow[7], 9, 0); /* the samples stay as they were */
    c = hone_compare_seconds(fast, slow, 8, 5);
    assert_true(c.ratio < 0.5 && hone_comparison_shown(&c)); /* slower is shown as well */
    c = hone_compare_seconds(fast, fast, 8, 5);
    assert_true(c.ratio == 1 && c.p == 1 && !hone_comparison_shown(&c));
    c = hone_compare_seconds(fast, slow, 0, 5);
    assert_true(isnan(c.ratio) && isnan(c.interval.low) && isnan(c.p) && c.pairs == 0);
    assert_false(hone_comparison_shown(&c));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(median_of_odd_even_and_none),
        cmocka_unit_test(means),
        cmocka_unit_test(quantiles_as_numpy),
        cmocka_unit_test(interval_agrees_with_a_large_bootstrap),
        cmocka_unit_test(interval_is_paired),
        cmocka_unit_test(interval_covers_the_truth),
        cmocka_unit_test(wilcoxon_of_few_pairs_is_exact),
        cmocka_unit_test(wilcoxon_of_published_data),
        cmocka_unit_test(wilcoxon_with_ties_zeros_and_many_pairs),
        cmocka_unit_test(seconds_are_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
