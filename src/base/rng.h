/* base/rng: xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number generators",
 * 2018), seeded by splitmix64. Small, copyable, and its four words are all there is to save. */
#ifndef HONE_BASE_RNG_H
#define HONE_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct hone_rng {
    uint64_t state[4]; /* not all zero */
} hone_rng;

hone_rng hone_rng_make(uint64_t seed);
uint64_t hone_rng_next(hone_rng *rng);
double hone_rng_uniform(hone_rng *rng); /* [0, 1), 53 bits */
double hone_rng_normal(hone_rng *rng);  /* mean 0, variance 1 (Box-Muller, one of the pair) */
uint64_t hone_rng_below(hone_rng *rng, uint64_t bound); /* [0, bound), unbiased; bound > 0 */
void hone_rng_shuffle(hone_rng *rng, size_t *items, size_t count); /* Fisher-Yates */

#endif
