/* base/rng: xoshiro256**, seeded by splitmix64. */
#include "base/rng.h"

#include <math.h>

static uint64_t rotate_left(uint64_t x, int by) { return x << by | x >> (64 - by); }

hone_rng hone_rng_make(uint64_t seed) {
    hone_rng rng;
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        rng.state[i] = z ^ z >> 31;
    }
    return rng;
}

uint64_t hone_rng_next(hone_rng *rng) {
    uint64_t *s = rng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double hone_rng_uniform(hone_rng *rng) { return (double)(hone_rng_next(rng) >> 11) * 0x1p-53; }

double hone_rng_normal(hone_rng *rng) {
    double radius = sqrt(-2.0 * log(1.0 - hone_rng_uniform(rng))); /* 1 - u is never 0 */
    return radius * cos(6.283185307179586 * hone_rng_uniform(rng));
}

uint64_t hone_rng_below(hone_rng *rng, uint64_t bound) {
    /* Values under 2^64 mod bound would make the low remainders likelier: drawn again. */
    uint64_t least = (0 - bound) % bound, value;
    do {
        value = hone_rng_next(rng);
    } while (value < least);
    return value % bound;
}

void hone_rng_shuffle(hone_rng *rng, size_t *items, size_t count) {
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)hone_rng_below(rng, i);
        size_t item = items[i - 1];
        items[i - 1] = items[j];
        items[j] = item;
    }
}
