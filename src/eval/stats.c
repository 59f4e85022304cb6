/* eval/stats: see stats.h. */
#include "eval/stats.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RESAMPLES 2000

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort_doubles(double *values, size_t count) {
    qsort(values, count, sizeof values[0], compare_doubles);
}

double hone_stats_median(double *values, size_t count) {
    if (count == 0) return NAN;
    sort_doubles(values, count);
    size_t middle = count / 2;
    return count % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

double hone_stats_mean(const double *values, size_t count) {
    if (count == 0) return NAN;
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

double hone_stats_geometric_mean(const double *values, size_t count) {
    if (count == 0) return NAN;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (!(values[i] > 0)) return NAN;
        sum += log(values[i]);
    }
    return exp(sum / (double)count);
}

double hone_stats_quantile(const double *sorted, size_t count, double p) {
    if (count == 0) return NAN;
    double place = p * (double)(count - 1);
    size_t below = (size_t)floor(place);
    if (below + 1 >= count) return sorted[count - 1];
    double part = place - (double)below;
    return sorted[below] + part * (sorted[below + 1] - sorted[below]);
}

hone_interval hone_stats_ratio_interval(const double *a, const double *b, size_t count,
                                        uint64_t seed) {
    if (count == 0 || count > HONE_EVAL_MAX_PAIRS) return (hone_interval){NAN, NAN};
    double ratios[RESAMPLES], drawn_a[HONE_EVAL_MAX_PAIRS], drawn_b[HONE_EVAL_MAX_PAIRS];
    hone_rng rng = hone_rng_make(seed);
    for (size_t r = 0; r < RESAMPLES; r++) {
        for (size_t i = 0; i < count; i++) {
            size_t pick = (size_t)hone_rng_below(&rng, count);
            drawn_a[i] = a[pick];
            drawn_b[i] = b[pick];
        }
        ratios[r] = hone_stats_median(drawn_a, count) / hone_stats_median(drawn_b, count);
    }
    sort_doubles(ratios, RESAMPLES);
    return (hone_interval){hone_stats_quantile(ratios, RESAMPLES, 0.025),
                           hone_stats_quantile(ratios, RESAMPLES, 0.975)};
}
