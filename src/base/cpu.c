/* base/cpu: what the processor and the operating system support. Compiled without any ISA flag. */
#define _GNU_SOURCE 1
#include "base/cpu.h"

#include "base/size.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)

typedef struct cpuid_words {
    unsigned eax, ebx, ecx, edx;
} cpuid_words;

static cpuid_words cpuid(unsigned leaf, unsigned subleaf) {
    cpuid_words w = {0};
    (void)__get_cpuid_count(leaf, subleaf, &w.eax, &w.ebx, &w.ecx, &w.edx);
    return w;
}

static bool bits(unsigned word, unsigned mask) { return (word & mask) == mask; }

/* The register states that the operating system saves on a context switch. */
static unsigned saved_states(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Tile registers are 8 KiB a thread: Linux gives them only to processes that ask. */
static bool permit_amx(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

unsigned hone_cpu_detect(void) {
    enum { OSXSAVE = 1 << 27, FMA = 1 << 12, F16C = 1 << 29, AVX = 1 << 28 }; /* leaf 1, ecx */
    enum { YMM = 0x6, ZMM = 0xe6, TILES = 0x60000 };                          /* XCR0 */
    const unsigned avx2 = 1u << 5 | 1u << 8; /* leaf 7, ebx: AVX2, BMI2 */
    const unsigned avx512 =
        1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31; /* F DQ CD BW VL */
    const unsigned amx = 1u << 22 | 1u << 24;                 /* leaf 7, edx: BF16, TILE */
    const unsigned avx512vnni = 1u << 11;                     /* leaf 7, ecx */
    const unsigned avx512bf16 = 1u << 5;                      /* leaf 7.1, eax */

    cpuid_words one = cpuid(1, 0), seven = cpuid(7, 0), seven_one = cpuid(7, 1);
    if (!bits(one.ecx, OSXSAVE | FMA | F16C | AVX)) return 0;
    unsigned states = saved_states(), features = 0;
    if (!bits(states, YMM) || !bits(seven.ebx, avx2)) return 0;
    features |= HONE_CPU_AVX2;
    if (!bits(states, ZMM) || !bits(seven.ebx, avx512)) return features;
    features |= HONE_CPU_AVX512;
    if (!bits(seven_one.eax, avx512bf16) || !bits(seven.ecx, avx512vnni)) return features;
    features |= HONE_CPU_AVX512BF16;
    if (bits(states, TILES) && bits(seven.edx, amx) && permit_amx()) features |= HONE_CPU_AMX;
    return features;
}

#elif defined(__aarch64__)

unsigned hone_cpu_detect(void) {
    const unsigned long asimd = 1ul << 1; /* HWCAP_ASIMD */
    const unsigned long bf16 = 1ul << 14; /* HWCAP2_BF16: bfmmla, bfdot, bfcvt */
    if ((getauxval(AT_HWCAP) & asimd) == 0) return 0;
    return HONE_CPU_NEON | ((getauxval(AT_HWCAP2) & bf16) != 0 ? HONE_CPU_NEONBF16 : 0);
}

#else

unsigned hone_cpu_detect(void) { return 0; }

#endif

/* Tiers in rising order within an architecture; `allowed` is what a cap at that tier leaves. */
static const struct {
    const char *word, *name;
    unsigned bit, allowed;
} tiers[] = {
    {"scalar", "scalar", 0, 0},
    {"avx2", "AVX2", HONE_CPU_AVX2, HONE_CPU_AVX2},
    {"avx512", "AVX-512", HONE_CPU_AVX512, HONE_CPU_AVX2 | HONE_CPU_AVX512},
    {"avx512bf16", "AVX-512 BF16", HONE_CPU_AVX512BF16,
     HONE_CPU_AVX2 | HONE_CPU_AVX512 | HONE_CPU_AVX512BF16},
    {"amx", "AMX BF16", HONE_CPU_AMX,
     HONE_CPU_AVX2 | HONE_CPU_AVX512 | HONE_CPU_AVX512BF16 | HONE_CPU_AMX},
    {"neon", "NEON", HONE_CPU_NEON, HONE_CPU_NEON},
    {"neonbf16", "NEON BF16", HONE_CPU_NEONBF16, HONE_CPU_NEON | HONE_CPU_NEONBF16},
};
enum { TIER_COUNT = sizeof tiers / sizeof tiers[0] };

hone_status hone_cpu_features(unsigned *features, hone_error *err) {
    unsigned allowed = ~0u;
    const char *cap = getenv("HONE_CPU");
    if (cap != NULL && cap[0] != '\0') {
        int tier = 0;
        while (tier < TIER_COUNT && strcmp(cap, tiers[tier].word) != 0) tier++;
        if (tier == TIER_COUNT) {
            return hone_fail(
                err, HONE_ERR_USAGE,
                "HONE_CPU=%.40s: expected scalar, avx2, avx512, avx512bf16, amx, neon or neonbf16",
                cap);
        }
        allowed = tiers[tier].allowed;
    }
    *features = hone_cpu_detect() & allowed;
    return HONE_OK;
}

const char *hone_cpu_tier_name(unsigned features) {
    int tier = TIER_COUNT - 1;
    while (tier > 0 && (features & tiers[tier].bit) == 0) tier--;
    return tiers[tier].name;
}

static char model_name[64] = "unknown";

/* "model name : AMD ..." on x86 and some others; aarch64 boards name the board instead. */
static void read_model_name(void) {
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (value == NULL) continue;
        value += 1 + strspn(value + 1, " \t");
        size_t length = strcspn(value, "\n");
        while (length > 0 && isspace((unsigned char)value[length - 1])) length--;
        if (length > 0) snprintf(model_name, sizeof model_name, "%.*s", (int)length, value);
        break;
    }
    if (file != NULL) fclose(file);
    file = strcmp(model_name, "unknown") == 0 ? fopen("/sys/firmware/devicetree/base/model", "re")
                                              : NULL;
    if (file == NULL) return;
    if (fgets(line, sizeof line, file) != NULL)
        snprintf(model_name, sizeof model_name, "%.63s", line);
    fclose(file);
}

const char *hone_cpu_model(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_model_name);
    return model_name;
}

/* First line of a sysfs attribute of cache number `index` of the first processor. */
static bool cache_attribute(int index, const char *attribute, char *line, size_t size) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, attribute);
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    bool ok = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return ok;
}

/* Bytes of the data cache of `level`, or of the highest level when it is 0. */
static size_t cache_bytes(int level) {
    int best = 0;
    size_t bytes = 0;
    char line[32];
    for (int i = 0; cache_attribute(i, "level", line, sizeof line); i++) {
        int here = atoi(line);
        if (cache_attribute(i, "type", line, sizeof line) && strncmp(line, "Instruction", 11) == 0)
            continue;
        if ((level != 0 && here != level) || here < best) continue;
        if (!cache_attribute(i, "size", line, sizeof line)) continue;
        char *unit;
        size_t size = strtoul(line, &unit, 10);
        best = here;
        bytes = size << (*unit == 'K' ? 10 : *unit == 'M' ? 20 : 0);
    }
    return bytes;
}

static size_t cache_size_configured(int name) {
    long bytes = sysconf(name);
    return bytes > 0 ? (size_t)bytes : 0;
}

size_t hone_cpu_l2_bytes(void) {
    size_t bytes = cache_bytes(2);
    return bytes != 0 ? bytes : cache_size_configured(_SC_LEVEL2_CACHE_SIZE);
}

size_t hone_cpu_last_level_bytes(void) {
    size_t bytes = cache_bytes(0);
    if (bytes == 0) bytes = cache_size_configured(_SC_LEVEL3_CACHE_SIZE);
    return bytes != 0 ? bytes : hone_cpu_l2_bytes();
}

#if defined(__x86_64__)
#define MXCSR_FLAGS 0x3fu /* what has happened, not how to compute */
unsigned hone_cpu_float_mode(void) { return __builtin_ia32_stmxcsr() & ~MXCSR_FLAGS; }
void hone_cpu_set_float_mode(unsigned mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
unsigned hone_cpu_float_mode(void) {
    unsigned long mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return (unsigned)mode;
}
void hone_cpu_set_float_mode(unsigned mode) {
    __asm__ volatile("msr fpcr, %0" : : "r"((unsigned long)mode));
}
#else
unsigned hone_cpu_float_mode(void) { return 0; }
void hone_cpu_set_float_mode(unsigned mode) { (void)mode; }
#endif
