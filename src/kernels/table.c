/* kernels/table: fills a hone_kernels from kernels.def for a set of CPU features. Layer kernels. */
#include "base/size.h"
#include "kernels/variants.h"

#include <string.h>

typedef struct hone_variant_names {
#define HONE_KERNEL_FIELD(name, type) const char *name;
#include "kernels/kernels_list.h"
#undef HONE_KERNEL_FIELD
} hone_variant_names;

static bool has(unsigned features, unsigned needs) { return (features & needs) == needs; }

static hone_blocking blocking(size_t l2_bytes, size_t percent, size_t most_kib, size_t loss_rows) {
    enum { USUAL_L2 = 512 << 10 };
    size_t bytes = (l2_bytes > 0 ? l2_bytes : (size_t)USUAL_L2) * percent / 100;
    bytes = HONE_MIN(bytes, most_kib << 10);
    return (hone_blocking){.packed_bytes = HONE_MAX(bytes, (size_t)HONE_LEAST_PACKED_BYTES),
                           .loss_rows = loss_rows};
}

void hone_kernels_select(unsigned features, hone_kernels *out) {
    hone_variant_names names = {0};
    size_t l2_bytes = hone_cpu_l2_bytes();
    *out = (hone_kernels){.features = features};
#define HONE_TIER(name, needs)
#define HONE_KERNEL(op, type, variant, needs)                                                      \
    if (has(features, needs)) {                                                                    \
        out->op = hone_##op##_##variant;                                                           \
        names.op = #variant;                                                                       \
    }
#define HONE_BLOCKING(compute, needs, percent, most_kib, loss_rows)                                \
    if (has(features, needs))                                                                      \
        out->tuning.compute = blocking(l2_bytes, percent, most_kib, loss_rows);
#include "kernels/kernels.def"
#undef HONE_BLOCKING
#undef HONE_KERNEL
#undef HONE_TIER
    out->gemm_bf16_name = names.gemm_bf16;
    out->gemm_f32_name = names.gemm_f32;
    out->vec_name = names.rms_norm_forward;
    out->wants_tiles =
        strcmp(names.dot_rows, "avx2") == 0 || strcmp(names.dot_rows, "avx512cvt") == 0;
}

static hone_status put(size_t given, const char *what, size_t least, size_t most, size_t *to,
                       hone_error *err) {
    if (given == 0) return HONE_OK;
    if (given < least || given > most)
        return hone_fail(err, HONE_ERR_USAGE, "blocking: %s %zu: expected %zu to %zu", what, given,
                         least, most);
    *to = given;
    return HONE_OK;
}

static hone_status put_blocking(const hone_blocking *given, hone_blocking *to, hone_error *err) {
    HONE_TRY(put(given->packed_bytes, "packed_bytes", HONE_LEAST_PACKED_BYTES,
                 HONE_MOST_PACKED_BYTES, &to->packed_bytes, err));
    return put(given->loss_rows, "loss_rows", HONE_LEAST_LOSS_ROWS, HONE_MOST_LOSS_ROWS,
               &to->loss_rows, err);
}

hone_status hone_kernels_tune(hone_kernels *kernels, const hone_tuning *tuning, hone_error *err) {
    hone_tuning result = kernels->tuning;
    HONE_TRY(put_blocking(&tuning->f32, &result.f32, err));
    HONE_TRY(put_blocking(&tuning->bf16, &result.bf16, err));
    kernels->tuning = result;
    return HONE_OK;
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
