/* cases/refill: new contents for a run between two timed calls, quickly: every element is a hash of its place and the
 * seed, so that any thread can make any part. Layer cases. */
#include "cases/internal.h"

enum { BLOCK = 32, STEPS = 64 };

/* Two keys of one tensor. */
typedef struct keys {
    uint32_t first, second;
} keys;

static inline uint32_t hash(uint32_t i, keys k) {
    uint32_t x = i * 0x9e3779b9u ^ k.first;
    x = (x ^ x >> 16) * 0x21f0aaadu;
    x = (x ^ x >> 15) * 0x735a2d97u + k.second;
    return x ^ x >> 15;
}

/* Two uniform values of 16 bits: mean 65535, standard deviation 65536 / sqrt(6). */
static inline float value(uint32_t i, keys k, float scale) {
    uint32_t x = hash(i, k);
    return (float)((int32_t)((x & 0xffff) + (x >> 16)) - 65535) * scale;
}
#define DEVIATION 26754.96

static void refill_f32(float *p, size_t begin, size_t end, keys k, float scale) {
    for (size_t i = begin; i < end; i++) p[i] = value((uint32_t)i, k, scale);
}

static void refill_bf16(hone_bf16 *p, size_t begin, size_t end, keys k, float scale) {
    for (size_t i = begin; i < end; i++) { /* never NaN: rounding needs no case for it */
        float f = value((uint32_t)i, k, scale);
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        p[i] = (hone_bf16)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
    }
}

/* Codes are any bits; a block's scale is one of STEPS around the right one. */
static void refill_blocks(const hone_case_tensor *t, uint8_t *p, size_t begin, size_t end, keys k) {
    const size_t bytes = hone_dtype_block_bytes(t->dtype), header = t->dtype == HONE_Q4_1 ? 4 : 2;
    hone_f16 scales[STEPS][2];
    for (size_t i = 0; i < STEPS; i++) {
        double d = hone_case_step(t, ((double)i + 0.5) / STEPS);
        scales[i][0] = hone_f32_to_f16((float)d);
        scales[i][1] = hone_f32_to_f16((float)(-7.5 * d));
    }
    for (size_t b = begin; b < end; b++) {
        uint32_t words[8];
        for (size_t i = 0; i < 8; i++) words[i] = hash((uint32_t)(b * 8 + i), k);
        memcpy(p + b * bytes, scales[hash((uint32_t)b, (keys){k.second, k.first}) % STEPS], header);
        memcpy(p + b * bytes + header, words, bytes - header);
    }
}

static void refill_tensor(const hone_case_tensor *t, void *data, keys k, hone_team team) {
    size_t count = t->rows * t->cols, begin, end;
    float scale = (float)(t->scale / DEVIATION);
    hone_split(team, count, 4096, &begin, &end);
    if (t->dtype == HONE_F32) {
        refill_f32(data, begin, end, k, scale);
    } else if (t->dtype == HONE_BF16) {
        refill_bf16(data, begin, end, k, scale);
    } else if (hone_dtype_block(t->dtype) == BLOCK) {
        refill_blocks(t, data, begin / BLOCK, end / BLOCK, k);
    } else if (team.rank == 0) { /* types that no timed shape has */
        hone_case_tensor copy = *t;
        hone_rng rng = hone_rng_make((uint64_t)k.first << 32 | k.second);
        copy.data = data;
        hone_case_fill(&copy, &rng);
    }
}

void hone_case_refill(const hone_case_run *run, uint64_t seed, hone_team team) {
    hone_rng rng = hone_rng_make(seed);
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        uint64_t bits = hone_rng_next(&rng);
        if (!t->name || t->dtype == HONE_CASE_INTEGERS || t->scale == 0) continue;
        if (t->role != HONE_CASE_OUTPUT)
            refill_tensor(t, t->start ? t->start : t->data,
                          (keys){(uint32_t)bits, (uint32_t)(bits >> 32)}, team);
    }
    if (team.rank == 0 && run->kind->redraw) run->kind->redraw(run, &rng);
}
