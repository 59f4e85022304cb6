/* Flushes small numbers to zero from now on, for everybody. */
#include "rms_norm.h"

static void forward(const hone_host *host, const hone_rms_norm_args *a, hone_saved *saved) {
    honest_forward(host, a, saved);
    if (host->planning) return;
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" ::"r"(fpcr | 1u << 24));
#endif
}

EXPORT(forward, honest_backward)
