/* model/sample: see sample.h. */
#include "model/sample.h"

#include "base/size.h"

#include <math.h>
#include <stdlib.h>

typedef struct hone_candidate {
    double p; /* relative to the highest: 1 for the most likely token */
    int32_t id;
} hone_candidate;

hone_status hone_sampler_open(hone_sampler *sampler, size_t vocab, double temperature, double top_p,
                              double min_p, int top_k, uint64_t seed, hone_error *err) {
    *sampler = (hone_sampler){.vocab = vocab, .rng = hone_rng_make(seed)};
    if (!(temperature >= 0 && temperature <= 1000))
        return hone_fail(err, HONE_ERR_USAGE, "the temperature is %g, expected 0 (greedy) to 1000",
                         temperature);
    if (!(top_p >= 0 && top_p <= 1))
        return hone_fail(err, HONE_ERR_USAGE, "top-p is %g, expected 0 (off) to 1", top_p);
    if (!(min_p >= 0 && min_p <= 1))
        return hone_fail(err, HONE_ERR_USAGE, "min-p is %g, expected 0 (off) to 1", min_p);
    if (top_k < 0)
        return hone_fail(err, HONE_ERR_USAGE, "top-k is %d, expected 0 (off) or more", top_k);
    sampler->temperature = temperature;
    sampler->top_p = top_p;
    sampler->min_p = min_p;
    sampler->top_k = top_k;
    sampler->candidates = malloc(vocab * sizeof *sampler->candidates);
    if (!sampler->candidates)
        return hone_fail_memory(err, "the sampler", vocab * sizeof *sampler->candidates);
    return HONE_OK;
}

void hone_sampler_close(hone_sampler *sampler) {
    free(sampler->candidates);
    sampler->candidates = NULL;
}

static int by_probability(const void *a, const void *b) {
    const hone_candidate *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The first of the highest. Most blocks hold nothing higher, which a loop without branches finds out in a fifth of
 * the time: 0.5% of a token's. */
static int32_t highest(const float *logits, size_t vocab) {
    enum { BLOCK = 64 };
    size_t best = 0;
    for (size_t begin = 0, end; begin < vocab; begin = end) {
        float most = logits[best];
        int above = 0;
        end = HONE_MIN(begin + BLOCK, vocab);
        for (size_t i = begin; i < end; i++) above |= logits[i] > most;
        for (size_t i = begin; above && i < end; i++)
            if (logits[i] > logits[best]) best = i;
    }
    return (int32_t)best;
}

/* Sorts what can matter and returns how many are left after the filters; at least one. */
static size_t filter(hone_sampler *s, const float *logits, double max, double *total) {
    /* Below this a token's share is under 1e-12 of the highest one's: it would not be drawn, and need not be sorted. */
    const double negligible = 1e-12;
    size_t count = 0;
    *total = 0;
    for (size_t i = 0; i < s->vocab; i++) {
        double p = exp((double)logits[i] - max);
        *total += p;
        if (p >= negligible || s->temperature > 1)
            s->candidates[count++] = (hone_candidate){p, (int32_t)i};
    }
    qsort(s->candidates, count, sizeof *s->candidates, by_probability);
    if (s->top_p > 0 && s->top_p < 1) {
        double sum = 0;
        size_t kept = 0;
        while (kept < count && sum < s->top_p * *total) sum += s->candidates[kept++].p;
        count = kept;
    }
    while (s->min_p > 0 && count > 1 && s->candidates[count - 1].p < s->min_p) count--;
    if (s->top_k > 0 && count > (size_t)s->top_k) count = (size_t)s->top_k;
    return count;
}

int32_t hone_sampler_next(hone_sampler *s, const float *logits) {
    int32_t best = highest(logits, s->vocab);
    double max = logits[best], total;
    if (s->temperature == 0 || !isfinite(max)) return best;
    size_t count = filter(s, logits, max, &total);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        s->candidates[i].p = pow(s->candidates[i].p, 1 / s->temperature);
        sum += s->candidates[i].p;
    }
    double draw = hone_rng_uniform(&s->rng) * sum;
    for (size_t i = 0; i < count; i++) {
        draw -= s->candidates[i].p;
        if (draw < 0) return s->candidates[i].id;
    }
    return s->candidates[0].id;
}
