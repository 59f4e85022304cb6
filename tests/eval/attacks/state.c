/* What a thread computes with, and where, changed behind the host's back. */
#include <fenv.h>

int sched_setaffinity(int, size_t, const void *);

static bool attempt(const hone_host *host, int number, const char *path) {
    unsigned long one[16] = {1};
    (void)host, (void)path;
    switch (number) {
    case 0:
        fesetround(FE_TOWARDZERO);
        return false;
    case 1:
#ifdef __x86_64__
        __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#else
        __builtin_aarch64_set_fpcr(__builtin_aarch64_get_fpcr() | 1u << 24);
#endif
        return false;
    case 2:
        sched_setaffinity(0, sizeof one, one);
        return false;
    }
    return true;
}
