/* format/ggml_types: the numbers that GGUF gives to tensor types. Source: enum ggml_type of the ggml
 * project; numbers of types that it has dropped are never given out again. */
#include "format/ggml_types.h"

static const char *const names[] = {
    [0] = "F32",     [1] = "F16",         [2] = "Q4_0",        [3] = "Q4_1",        [4] = "Q4_2",
    [5] = "Q4_3",    [6] = "Q5_0",        [7] = "Q5_1",        [8] = "Q8_0",        [9] = "Q8_1",
    [10] = "Q2_K",   [11] = "Q3_K",       [12] = "Q4_K",       [13] = "Q5_K",       [14] = "Q6_K",
    [15] = "Q8_K",   [16] = "IQ2_XXS",    [17] = "IQ2_XS",     [18] = "IQ3_XXS",    [19] = "IQ1_S",
    [20] = "IQ4_NL", [21] = "IQ3_S",      [22] = "IQ2_S",      [23] = "IQ4_XS",     [24] = "I8",
    [25] = "I16",    [26] = "I32",        [27] = "I64",        [28] = "F64",        [29] = "IQ1_M",
    [30] = "BF16",   [31] = "Q4_0_4_4",   [32] = "Q4_0_4_8",   [33] = "Q4_0_8_8",   [34] = "TQ1_0",
    [35] = "TQ2_0",  [36] = "IQ4_NL_4_4", [37] = "IQ4_NL_4_8", [38] = "IQ4_NL_8_8", [39] = "MXFP4",
};

static const struct {
    uint32_t type;
    hone_dtype dtype;
} supported[] = {
    {0, HONE_F32}, {1, HONE_F16}, {30, HONE_BF16}, {2, HONE_Q4_0}, {3, HONE_Q4_1}, {8, HONE_Q8_0},
};

const char *hone_ggml_type_name(uint32_t type) {
    return type < sizeof names / sizeof names[0] ? names[type] : NULL;
}

bool hone_ggml_type_dtype(uint32_t type, hone_dtype *dtype) {
    for (size_t i = 0; i < sizeof supported / sizeof supported[0]; i++) {
        if (supported[i].type != type) continue;
        *dtype = supported[i].dtype;
        return true;
    }
    return false;
}
