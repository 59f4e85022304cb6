/* train/full: fine-tuning of every weight: float32 copies of them take the places of the stored ones. */
#ifndef HONE_TRAIN_FULL_H
#define HONE_TRAIN_FULL_H

#include "train/params.h"

/* Lists every weight under its Hugging Face name; a tied head is the embedding and not listed again. */
hone_status hone_full_list(const hone_model *model, hone_params *params, hone_error *err);

/* Copies the model's weights into params->w and lets the model use them from there. */
void hone_full_put(hone_model *model, const hone_params *params);

/* The same on a copy of a model's description, for planning: nothing is copied or freed, and params' addresses are not
 * touched. */
void hone_full_sketch(hone_model *sketch, const hone_params *params);

/* Lets backward write its gradients into params->g, or, when that is NULL, freezes the weights. */
void hone_full_bind_gradients(hone_model *model, const hone_params *params);

/* Writes a folder that transformers (4 and 5), mlx-lm and hone open: config.json (see hub.h), model.safetensors
 * (float32), tokenizer files. */
hone_status hone_full_write(const hone_model *model, const hone_params *params, const char *folder,
                            hone_error *err);

#endif
