#include "kernels/variants.h"
void hone_gemm_bf16_amx(const hone_gemm *g) { hone_gemm_bf16_avx512(g); }
