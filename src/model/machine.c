/* model/machine: what this machine offers: the processor, the kernels chosen for it, memory. */
#include "base/clock.h"
#include "base/cpu.h"
#include "base/parallel.h"
#include "kernels/kernels.h"

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

hone_status hone_machine_get_info(hone_machine_info *info, hone_error *err) {
    unsigned features;
    hone_kernels kernels;
    *info = (hone_machine_info){0};
    HONE_TRY(hone_cpu_features(&features, err));
    hone_kernels_select(features, &kernels);
    *info = (hone_machine_info){
        .version = HONE_VERSION,
        .cpu = hone_cpu_model(),
        .tier = hone_cpu_tier_name(features),
        .gemm_f32 = kernels.gemm_f32_name,
        .gemm_bf16 = kernels.gemm_bf16_name,
        .vectors = kernels.vec_name,
        .compiler = COMPILER,
        .threads = hone_parallel_default_threads(),
        .memory_available = hone_memory_available(),
        .l2_bytes = hone_cpu_l2_bytes(),
        .last_level_bytes = hone_cpu_last_level_bytes(),
        .defaults = kernels.tuning,
    };
    return HONE_OK;
}
