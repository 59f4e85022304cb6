/* model/sample: choosing the next token from logits. */
#ifndef HONE_MODEL_SAMPLE_H
#define HONE_MODEL_SAMPLE_H

#include "base/rng.h"
#include "base/status.h"

/* The filters keep the most likely tokens: the fewest whose probabilities reach top_p, those of at
 * least min_p times the highest, the top_k highest; the three in that order, on the untempered
 * distribution, as mlx-lm has it. Of what is left one is drawn at the temperature. Temperature 0
 * takes the highest logit, the lowest id among equals. */
typedef struct hone_sampler {
    double temperature, top_p, min_p;
    int top_k;
    hone_rng rng;
    struct hone_candidate *candidates; /* [vocab], owned */
    size_t vocab;
} hone_sampler;

hone_status hone_sampler_open(hone_sampler *sampler, size_t vocab, double temperature, double top_p,
                              double min_p, int top_k, uint64_t seed, hone_error *err);
void hone_sampler_close(hone_sampler *sampler);
int32_t hone_sampler_next(hone_sampler *sampler, const float *logits);

#endif
