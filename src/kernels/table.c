/* kernels/table: fills a hone_kernels from kernels.def for a set of CPU features. Layer kernels. */
#include "kernels/variants.h"

typedef struct hone_variant_names {
#define HONE_KERNEL_FIELD(name, type) const char *name;
#include "kernels/kernels_list.h"
#undef HONE_KERNEL_FIELD
} hone_variant_names;

static bool has(unsigned features, unsigned needs) { return (features & needs) == needs; }

void hone_kernels_select(unsigned features, hone_kernels *out) {
    hone_variant_names names = {0};
    *out = (hone_kernels){.features = features};
#define HONE_TIER(name, needs)
#define HONE_KERNEL(op, type, variant, needs)                                                      \
    if (has(features, needs)) {                                                                    \
        out->op = hone_##op##_##variant;                                                           \
        names.op = #variant;                                                                       \
    }
#include "kernels/kernels.def"
#undef HONE_KERNEL
#undef HONE_TIER
    out->gemm_bf16_name = names.gemm_bf16;
    out->gemm_f32_name = names.gemm_f32;
    out->vec_name = names.rms_norm_forward;
}

bool hone_kernels_tier(size_t index, unsigned features, hone_kernels *out, const char **tier_name) {
    static const struct {
        const char *name;
        unsigned needs;
    } tiers[] = {
#define HONE_TIER(name, needs) {#name, needs},
#define HONE_KERNEL(op, type, variant, needs)
#include "kernels/kernels.def"
#undef HONE_KERNEL
#undef HONE_TIER
    };
    for (size_t i = 0; i < sizeof tiers / sizeof tiers[0]; i++) {
        if (!has(features, tiers[i].needs)) continue;
        if (index-- > 0) continue;
        hone_kernels_select(tiers[i].needs, out);
        *tier_name = tiers[i].name;
        return true;
    }
    return false;
}
