/* train/adapter: low-rank adapters (Hu et al., "LoRA", 2021) on a model, and their files as mlx-lm has them.
 *
 * In memory A is [rank, in] and B [out, rank], as the operations want them; in the file lora_a is [in, rank] and
 * lora_b [rank, out]. A model has at most one adapter: another takes the place of the first. */
#ifndef HONE_TRAIN_ADAPTER_H
#define HONE_TRAIN_ADAPTER_H

#include "train/params.h"

enum { HONE_MAX_RANK = 4096 };

typedef struct hone_adapter {
    int rank;
    double scale;   /* y += scale * (x A^T) B^T */
    int num_layers; /* blocks, counted from the last, that have adapters; for the file */
    bool *chosen;   /* [layers * HONE_LINEAR_COUNT], owned */
} hone_adapter;

/* Marks the linear layers of these names; keys NULL: all. */
hone_status hone_adapter_find_keys(const char *const *keys, size_t count,
                                   bool out[HONE_LINEAR_COUNT], hone_error *err);

/* Chooses linear layers by name ("self_attn.q_proj", or "q_proj" for short; keys NULL: all) in the last num_layers
 * blocks (-1, or more than there are: all). */
hone_status hone_adapter_choose(hone_adapter *adapter, const hone_model *model, int rank,
                                double scale, int num_layers, const char *const *keys,
                                size_t key_count, hone_error *err);
void hone_adapter_free(hone_adapter *adapter);

/* Lists its tensors, lora_a before lora_b, layer by layer. The caller then makes them (hone_params_allocate). */
hone_status hone_adapter_list(const hone_adapter *adapter, const hone_model *model,
                              hone_params *params, hone_error *err);

/* Puts the adapter with these weights on the model; one that was there before is freed. */
void hone_adapter_put(const hone_adapter *adapter, hone_model *model, const hone_params *params);

/* The same on a copy of a model's description, for planning: nothing is freed, and params' addresses are not
 * touched. */
void hone_adapter_sketch(const hone_adapter *adapter, hone_model *sketch,
                         const hone_params *params);

/* A uniform in +-1/sqrt(in), from the seed; B stays zero. */
void hone_adapter_init(const hone_params *params, uint64_t seed);

/* Lets backward write its gradients into params->g, or, when that is NULL, freezes the adapter. */
void hone_adapter_bind_gradients(hone_model *model, const hone_params *params);

/* Reads adapters.safetensors into the listed tensors: these, no more and no fewer, all finite. */
hone_status hone_adapter_read(const hone_params *params, const char *path, hone_error *err);

/* What resume_adapter_file asks for: options->resume_adapter_file becomes *path, which the caller frees, and rank,
 * scale, layers and keys those of the adapter_config.json beside it, as resume_takes says. `keys` is where lora_keys
 * may point then. *path stays NULL, and all as it was, where nothing is resumed. */
hone_status hone_adapter_resume(hone_train_options *options, const hone_model *model, char **path,
                                const char *keys[HONE_LINEAR_COUNT], hone_error *err);

/* Writes adapters.safetensors, float32. */
hone_status hone_adapter_write(const hone_params *params, const char *path, hone_error *err);

/* Writes adapter_config.json, which mlx-lm reads. */
hone_status hone_adapter_write_config(const hone_adapter *adapter, const hone_model *model,
                                      const char *path, hone_error *err);

#endif
