/* text/tokenizer_impl: what a tokenizer is made of, and the steps that its two loaders share. */
#ifndef HONE_TEXT_TOKENIZER_IMPL_H
#define HONE_TEXT_TOKENIZER_IMPL_H

#include "base/json.h"
#include "text/added.h"
#include "text/bpe.h"
#include "text/pipeline.h"
#include "text/tokenizer.h"

#define HONE_MAX_TEMPLATE_IDS 64 /* that a post-processor adds on one side */

struct hone_tokenizer {
    hone_region region; /* owns strings and tables */
    hone_vocab vocab;
    hone_bpe bpe;
    hone_added added;
    hone_normalize_step normalize[HONE_MAX_STEPS];
    size_t normalize_count;
    hone_pretokenize_step pretokenize[HONE_MAX_STEPS];
    size_t pretokenize_count;
    hone_decode_step decode[HONE_MAX_STEPS];
    size_t decode_count;
    int32_t prefix[HONE_MAX_TEMPLATE_IDS], suffix[HONE_MAX_TEMPLATE_IDS]; /* with add_special */
    size_t prefix_count, suffix_count;
    int32_t bos, eos, pad; /* -1: none */
    char *chat_template;   /* in the region; NULL: none */
};

hone_status hone_tokenizer_new(size_t memory_limit, hone_tokenizer **out, hone_error *err);

/* Fill a new tokenizer. `folder` holds tokenizer.json. */
hone_status hone_tokenizer_load_gguf(hone_tokenizer *tokenizer, const hone_file_set *set,
                                     hone_error *err);
hone_status hone_tokenizer_load_folder(hone_tokenizer *tokenizer, const char *folder,
                                       hone_error *err);

/* The parts of tokenizer.json; `value` may be NULL or null where the part may be absent. `name` is
 * for messages. */
hone_status hone_tokenizer_load_normalizer(hone_tokenizer *tokenizer, const json_t *value,
                                           const char *name, hone_error *err);
hone_status hone_tokenizer_load_pre_tokenizer(hone_tokenizer *tokenizer, const json_t *value,
                                              const char *name, hone_error *err);
hone_status hone_tokenizer_load_decoder(hone_tokenizer *tokenizer, const json_t *value,
                                        const char *name, hone_error *err);
hone_status hone_tokenizer_load_post_processor(hone_tokenizer *tokenizer, const json_t *value,
                                               const char *name, hone_error *err);

/* A text that the vocabulary has becomes one that is found in the input before all else. Call when
 * the normalizer is loaded: a normalized token is looked for in its normalized form. */
hone_status hone_tokenizer_add_token(hone_tokenizer *tokenizer, hone_added_token token,
                                     bool special, bool normalized, hone_error *err);

/* The step that GPT-2 splits and writes bytes with. */
hone_status hone_byte_level_step(bool add_prefix_space, bool use_regex, hone_pretokenize_step *step,
                                 hone_error *err);

#endif
