/* eval/loops/select: see loops.h. Compiled without any ISA flag. */
#include "eval/loops/loops.h"

#include "base/cpu.h"

const hone_loops *hone_loops_select(unsigned features) {
#if defined(__x86_64__)
    if (features & HONE_CPU_AVX512) return &hone_loops_avx512;
    if (features & HONE_CPU_AVX2) return &hone_loops_avx2;
#elif defined(__aarch64__)
    if (features & HONE_CPU_NEON) return &hone_loops_neon;
#endif
    (void)features;
    return &hone_loops_scalar;
}

hone_loops_multiply_fn *hone_loops_select_bf16(unsigned features, const char **name) {
    *name = NULL;
#if defined(__x86_64__)
    if (features & HONE_CPU_AMX) {
        *name = "tdpbf16ps";
        return hone_loops_multiply_amx;
    }
    if (features & HONE_CPU_AVX512BF16) {
        *name = "vdpbf16ps";
        return hone_loops_multiply_avx512bf16;
    }
#elif defined(__aarch64__)
    if (features & HONE_CPU_NEONBF16) {
        *name = "bfmmla";
        return hone_loops_multiply_neonbf16;
    }
#endif
    (void)features;
    return NULL;
}
