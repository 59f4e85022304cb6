/* base/cpu: what the processor and the operating system support. Compiled without any ISA flag. */
#ifndef HONE_BASE_CPU_H
#define HONE_BASE_CPU_H

#include "base/status.h"

/* Feature bits. A tier is a set of them; kernels state which they need. */
enum {
    HONE_CPU_AVX2 = 1 << 0,       /* AVX2, FMA, F16C, BMI2 */
    HONE_CPU_AVX512 = 1 << 1,     /* F, BW, DQ, VL, CD */
    HONE_CPU_AVX512BF16 = 1 << 2, /* vdpbf16ps, vcvtneps2bf16; vpdpbusd (VNNI) */
    HONE_CPU_AMX = 1 << 3,        /* AMX-TILE, AMX-BF16, and the kernel's permission to use them */
    HONE_CPU_NEON = 1 << 4,
    HONE_CPU_NEONBF16 = 1 << 5
};

/* Detected features, capped by HONE_CPU=scalar|avx2|avx512|avx512bf16|amx|neon|neonbf16 in the
 * environment. An unknown word there is an error. */
hone_status hone_cpu_features(unsigned *features, hone_error *err);

/* Without the cap. */
unsigned hone_cpu_detect(void);

/* "scalar", "AVX2", "AVX-512", "AVX-512 BF16", "AMX BF16", "NEON", ...: the highest tier in the set. */
const char *hone_cpu_tier_name(unsigned features);

/* Model name from the system, e.g. "AMD EPYC 9B45". Static storage; "unknown" if there is none. */
const char *hone_cpu_model(void);

/* How this thread rounds and whether it flushes small numbers to zero: the control bits of its floating-point unit,
 * without exception flags. 0 where that is not known. */
unsigned hone_cpu_float_mode(void);
void hone_cpu_set_float_mode(unsigned mode);

/* Bytes of the level-2 cache per core and of the last level; 0 if unknown. */
size_t hone_cpu_l2_bytes(void);
size_t hone_cpu_last_level_bytes(void);

#endif
