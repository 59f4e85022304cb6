/* model/config: the numbers that describe a model, from a GGUF's metadata or a config.json. */
#ifndef HONE_MODEL_CONFIG_H
#define HONE_MODEL_CONFIG_H

#include "format/gguf.h"

typedef enum hone_rope_scaling {
    HONE_ROPE_PLAIN,
    HONE_ROPE_LLAMA3,
    HONE_ROPE_LINEAR
} hone_rope_scaling;

typedef struct hone_config {
    char architecture[32]; /* "llama" */
    char name[96];
    int layers, hidden, ffn, heads, kv_heads, head_dim, vocab, max_positions;
    float rms_eps;
    double rope_theta;
    hone_rope_scaling rope_scaling;
    double rope_factor, rope_low_freq, rope_high_freq; /* llama3; factor for linear too */
    int rope_original_positions;
    const float
        *rope_divisors; /* GGUF's rope_freqs.weight [head_dim/2], in the mapping; NULL: none */
    bool tied_head;
    bool permuted_qk; /* GGUF llama: rows of q and k are stored for interleaved rope */
    int bos, eos;     /* -1: none */
} hone_config;

/* Reads and checks every number: sizes positive, bounded, consistent. An unknown architecture is
 * HONE_ERR_UNSUPPORTED by name. */
hone_status hone_config_read(const hone_file_set *set, hone_config *config, hone_error *err);

/* cos and sin of position * frequency, float32 [positions, head_dim/2] each, scaling applied. Frequencies and angles
 * are rounded to float32, as PyTorch has them. */
void hone_config_rope_table(const hone_config *config, size_t positions, float *cos, float *sin);

#endif
