/* eval/loops/vector: see loops.h. One body, compiled once per instruction set (HONE_LOOPS_ISA). */
#include "eval/loops/loops.h"

#include <string.h>

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#define PASTE(a, b) a##b
#define NAME(a, b) PASTE(a, b)

#if defined(__AVX512F__)
#define LABEL "AVX-512 FMA"
enum { BYTES = 64, SUMS = 24 };
#elif defined(__AVX2__)
#define LABEL "AVX2 FMA"
enum { BYTES = 32, SUMS = 12 };
#elif defined(__aarch64__)
#define LABEL "NEON FMA"
enum { BYTES = 16, SUMS = 24 };
#else
#define LABEL "plain multiply and add"
enum { BYTES = 16, SUMS = 12 };
#endif

#if defined(__x86_64__)
#define REGISTER "v"
#elif defined(__aarch64__)
#define REGISTER "w"
#else
#define REGISTER "m"
#endif

typedef float floats __attribute__((vector_size(BYTES)));
typedef long long words __attribute__((vector_size(BYTES)));
enum { LANES = BYTES / sizeof(float), STEP = HONE_LOOP_BYTES / BYTES };

/* Neither form lets a compiler move work out of the loop or share it between sums: each is one multiply-add (or a
 * multiply and an add) that waits for nothing but its own sum. The values go to 1 and stay normal numbers. */
#if defined(__aarch64__)
#define MULTIPLY_ADD(sum, x, y) (sum) = vfmaq_f32(sum, x, y)
#else
#define MULTIPLY_ADD(sum, x, y) (sum) = (sum) * (x) + (y)
#endif

static double multiply(size_t rounds) {
    floats x, y, sum[SUMS];
    for (int i = 0; i < LANES; i++) {
        x[i] = 0.9990234375f;
        y[i] = 0.0009765625f;
    }
    for (int s = 0; s < SUMS; s++)
        for (int i = 0; i < LANES; i++) sum[s][i] = 0.5f + (float)s / 64;
    __asm__ volatile("" : "+" REGISTER(x), "+" REGISTER(y));
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 24
        for (int s = 0; s < SUMS; s++) MULTIPLY_ADD(sum[s], x, y);
    }
    for (int s = 0; s < SUMS; s++) __asm__ volatile("" ::REGISTER(sum[s]));
    return 2.0 * SUMS * LANES * (double)rounds;
}

static void copy(void *to, const void *from, size_t bytes) {
    const words *in = from;
    words *out = to;
    for (size_t i = 0; i < bytes / BYTES; i += STEP) {
#pragma GCC unroll 32
        for (int s = 0; s < STEP; s++) out[i + (size_t)s] = in[i + (size_t)s];
        __asm__ volatile("" ::: "memory"); /* or it would become a call of memcpy */
    }
}

static void read_all(const void *from, size_t bytes) {
    const words *in = from;
    words sum[STEP];
    memset(sum, 0, sizeof sum);
    for (size_t i = 0; i < bytes / BYTES; i += STEP) {
#pragma GCC unroll 32
        for (int s = 0; s < STEP; s++) sum[s] += in[i + (size_t)s];
    }
#pragma GCC unroll 32
    for (int s = 0; s < STEP; s++) __asm__ volatile("" ::REGISTER(sum[s]));
}

extern const hone_loops NAME(hone_loops_, HONE_LOOPS_ISA);
const hone_loops NAME(hone_loops_, HONE_LOOPS_ISA) = {LABEL, multiply, copy, read_all};
