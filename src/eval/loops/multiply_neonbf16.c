/* eval/loops/multiply_neonbf16: see loops.h. */
#include "eval/loops/loops.h"

#include <arm_neon.h>

enum { SUMS = 24 };

double hone_loops_multiply_neonbf16(size_t rounds) {
    float32x4_t sum[SUMS];
    uint16x8_t x = vdupq_n_u16(0x3f80), y = vdupq_n_u16(0x3a80); /* 1, 1/1024 */
    for (int s = 0; s < SUMS; s++) sum[s] = vdupq_n_f32(0);
    __asm__ volatile("" : "+w"(x), "+w"(y));
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 24
        for (int s = 0; s < SUMS; s++)
            sum[s] = vbfmmlaq_f32(sum[s], vreinterpretq_bf16_u16(x), vreinterpretq_bf16_u16(y));
    }
    for (int s = 0; s < SUMS; s++) __asm__ volatile("" ::"w"(sum[s]));
    return 2.0 * 16 * SUMS * (double)rounds; /* [2 x 4] times [4 x 2] */
}
