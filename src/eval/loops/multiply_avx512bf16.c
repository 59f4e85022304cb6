/* eval/loops/multiply_avx512bf16: see loops.h. */
#include "eval/loops/loops.h"

#include <immintrin.h>

enum { SUMS = 24 };

double hone_loops_multiply_avx512bf16(size_t rounds) {
    __m512 sum[SUMS];
    __m512i x = _mm512_set1_epi32(0x3f803f80), y = _mm512_set1_epi32(0x3a803a80); /* 1, 1/1024 */
    for (int s = 0; s < SUMS; s++) sum[s] = _mm512_setzero_ps();
    __asm__ volatile("" : "+v"(x), "+v"(y));
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 24
        for (int s = 0; s < SUMS; s++) sum[s] = _mm512_dpbf16_ps(sum[s], (__m512bh)x, (__m512bh)y);
    }
    for (int s = 0; s < SUMS; s++) __asm__ volatile("" ::"v"(sum[s]));
    return 4.0 * 16 * SUMS *
           (double)rounds; /* two products and two additions in each of 16 lanes */
}
