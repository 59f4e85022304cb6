/* train/hub: the small files of a Hugging Face folder: config.json and the tokenizer's. Copied where the model
 * came with them, made from the metadata where it came as a GGUF. */
#ifndef HONE_TRAIN_HUB_H
#define HONE_TRAIN_HUB_H

#include "model/model.h"

/* config.json of float32 weights without quantization. The rotary embedding stands in it twice: rope_theta and
 * rope_scaling for transformers 4 and mlx-lm, rope_parameters for transformers 5. */
hone_status hone_hub_write_config(const hone_model *model, const char *folder, hone_error *err);

/* tokenizer.json, tokenizer_config.json with the chat template, and what else stood beside them. */
hone_status hone_hub_write_tokenizer(const hone_model *model, const char *folder, hone_error *err);

/* tokenizer.json and tokenizer_config.json of a GGUF's tokenizer. *tokenizer, *config are new references. */
hone_status hone_hub_make_tokenizer(const hone_model *model, json_t **tokenizer, json_t **config,
                                    hone_error *err);

/* Fails now, before hours of training, when the files could not be made later; and when writing a model into `folder`
 * (which need not exist) would replace the files of the model itself, or be mistaken for another's shards. */
hone_status hone_hub_check(const hone_model *model, const char *folder, hone_error *err);

#endif
