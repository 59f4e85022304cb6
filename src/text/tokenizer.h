/* text/tokenizer: text to token ids and back. Byte-level BPE and SentencePiece-style BPE with byte
 * fallback, from a GGUF's metadata or from tokenizer.json. Immutable after opening, so threads
 * share it. */
#ifndef HONE_TEXT_TOKENIZER_H
#define HONE_TEXT_TOKENIZER_H

#include "format/gguf.h"

typedef struct hone_tokenizer hone_tokenizer;

/* From GGUF metadata (tokenizer.ggml.*) or, for a folder or a single .safetensors, from
 * tokenizer.json (and tokenizer_config.json, where it is there) in the same folder. *out is owned
 * by the caller. */
hone_status hone_tokenizer_open(const hone_file_set *set, hone_tokenizer **out, hone_error *err);

/* From a folder that holds tokenizer.json. */
hone_status hone_tokenizer_open_folder(const char *folder, hone_tokenizer **out, hone_error *err);
void hone_tokenizer_free(hone_tokenizer **tokenizer);

/* Encodes `size` bytes of text (NUL allowed; ill-formed UTF-8 becomes U+FFFD). `add_special`: what
 * the model's post-processor adds (BOS for Llama). Special tokens written in the text are
 * recognised. *ids is malloc'ed, the caller frees. Time is O(n log n), also for "a" x 10^6. */
hone_status hone_tokenizer_encode(const hone_tokenizer *tokenizer, const char *text, size_t size,
                                  bool add_special, int32_t **ids, size_t *count, hone_error *err);

/* Decodes as Hugging Face's decode(skip_special_tokens=..., clean_up_tokenization_spaces=False).
 * *text is malloc'ed and NUL-terminated, *size its length; ids out of range are HONE_ERR_USAGE.
 * Bytes that are not UTF-8 become U+FFFD as Rust's from_utf8_lossy has it. */
hone_status hone_tokenizer_decode(const hone_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                  bool skip_special, char **text, size_t *size, hone_error *err);

int32_t hone_tokenizer_vocab(const hone_tokenizer *tokenizer); /* ids are 0 .. vocab-1 */
int32_t hone_tokenizer_bos(const hone_tokenizer *tokenizer);   /* -1 when there is none */
int32_t hone_tokenizer_eos(const hone_tokenizer *tokenizer);   /* -1 when there is none */
int32_t hone_tokenizer_pad(const hone_tokenizer *tokenizer);   /* -1 when there is none */
bool hone_tokenizer_is_special(const hone_tokenizer *tokenizer, int32_t id);
int32_t hone_tokenizer_id_of(const hone_tokenizer *tokenizer,
                             const char *token); /* -1 when absent */

/* The model's chat template source, NULL when it has none. Owned by the tokenizer. */
const char *hone_tokenizer_chat_template(const hone_tokenizer *tokenizer);

#endif
