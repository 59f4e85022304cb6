/* eval/stats: the few statistics that the evaluation reports. Layer eval, over base alone. */
#ifndef HONE_EVAL_STATS_H
#define HONE_EVAL_STATS_H

#include <hone.h>
#include <stddef.h>
#include <stdint.h>

/* Median; the mean of the middle two when `count` is even. NaN for none. Reorders `values`. */
double hone_stats_median(double *values, size_t count);

double hone_stats_mean(const double *values, size_t count); /* NaN for none */

/* exp of the mean logarithm. NaN for none, or when a value is not positive. */
double hone_stats_geometric_mean(const double *values, size_t count);

/* Quantile p in [0, 1] of ascending values, linear between ranks: numpy's default. NaN for none. */
double hone_stats_quantile(const double *sorted, size_t count, double p);

/* Two-sided p of Wilcoxon's signed-rank test (1945) that pairs a[i], b[i] differ by nothing but chance: exact up to 50
 * pairs without ties, else by the normal approximation with its corrections for ties and continuity. Pairs that are
 * equal are left out; 1 when none is left. */
double hone_stats_wilcoxon(const double *a, const double *b, size_t count);

typedef struct hone_interval {
    double low, high;
} hone_interval;

/* 95% percentile-bootstrap interval of median(a) / median(b) over `count` pairs (Efron, 1979): pairs are drawn
 * together, so drift that both share cancels. The same seed gives the same interval. NaN for none, or for more than
 * HONE_EVAL_MAX_PAIRS. */
hone_interval hone_stats_ratio_interval(const double *a, const double *b, size_t count,
                                        uint64_t seed);

#endif
