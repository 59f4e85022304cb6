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

/* ---- Wilcoxon ---- */

enum { EXACT_PAIRS = 50 };

typedef struct difference {
    double size; /* |a - b| */
    bool positive;
} difference;

static int compare_differences(const void *a, const void *b) {
    double x = ((const difference *)a)->size, y = ((const difference *)b)->size;
    return (x > y) - (x < y);
}

/* The sum of the ranks of positive differences, tied ones sharing their mean; *ties gets the sum of t^3 - t. */
static double rank_sum(const difference *d, size_t n, double *ties) {
    double sum = 0;
    *ties = 0;
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && d[end].size == d[i].size; end++) {
        }
        double t = (double)(end - i), rank = 0.5 * ((double)(i + 1) + (double)end);
        for (size_t k = i; k < end; k++) sum += d[k].positive ? rank : 0;
        *ties += t * t * t - t;
    }
    return sum;
}

/* Share of all 2^n signs whose rank sum is at most w. */
static double share_below(size_t n, size_t w) {
    double ways[EXACT_PAIRS * (EXACT_PAIRS + 1) / 2 + 1] = {1};
    for (size_t rank = 1, most = 0; rank <= n; rank++) {
        most += rank;
        for (size_t s = most + 1; s-- > 0;) /* each rank is in the sum or not */
            ways[s] = 0.5 * (ways[s] + (s >= rank ? ways[s - rank] : 0));
    }
    double share = 0;
    for (size_t s = 0; s <= w; s++) share += ways[s];
    return share;
}

double hone_stats_wilcoxon(const double *a, const double *b, size_t count) {
    difference d[HONE_EVAL_MAX_PAIRS];
    size_t n = 0;
    if (count > HONE_EVAL_MAX_PAIRS) return NAN;
    for (size_t i = 0; i < count; i++) {
        double by = a[i] - b[i];
        if (isnan(by)) return NAN;
        if (by != 0) d[n++] = (difference){.size = fabs(by), .positive = by > 0};
    }
    if (n == 0) return 1;
    qsort(d, n, sizeof d[0], compare_differences);
    double ties, all = 0.5 * (double)n * (double)(n + 1), w = rank_sum(d, n, &ties);
    double smaller = fmin(w, all - w);
    if (n <= EXACT_PAIRS && ties == 0) return fmin(1, 2 * share_below(n, (size_t)smaller));
    double variance = (double)n * (double)(n + 1) * (2 * (double)n + 1) / 24 - ties / 48;
    double z = (fabs(w - 0.5 * all) - 0.5) / sqrt(variance);
    return variance > 0 && z > 0 ? erfc(z / sqrt(2)) : 1;
}
