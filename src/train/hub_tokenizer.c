/* train/hub_tokenizer: tokenizer.json and tokenizer_config.json from a GGUF's metadata: the same vocabulary,
 * merges and splits as text/tokenizer_gguf reads from it. The other half of hub.h. */
#include "train/hub.h"

#include "base/size.h"

#include <stdlib.h>
#include <string.h>

/* tokenizer.ggml.token_type */
enum { TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER_DEFINED = 4 };

typedef struct vocabulary {
    hone_str *tokens, *merges;
    int32_t *types; /* [count] or NULL */
    size_t count, merge_count;
} vocabulary;

static hone_status read_vocabulary(const hone_file_set *set, vocabulary *v, hone_error *err) {
    size_t types;
    HONE_TRY(hone_gguf_get_strings(set, "tokenizer.ggml.tokens", &v->tokens, &v->count, err));
    HONE_TRY(hone_gguf_get_strings(set, "tokenizer.ggml.merges", &v->merges, &v->merge_count, err));
    return hone_gguf_get_ints(set, "tokenizer.ggml.token_type", INT32_MIN, INT32_MAX, &v->types,
                              &types, err);
}

static void free_vocabulary(vocabulary *v) {
    free(v->tokens);
    free(v->merges);
    free(v->types);
}

static bool text_is(hone_str text, const char *word) {
    return text.data && text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

/* GGUF's own texts are the tokenizer's: what cannot stand in JSON (bad UTF-8) cannot be in a text either. */
static json_t *json_of(hone_str text) {
    return json_stringn(text.data ? text.data : "", text.size);
}

static hone_status no_memory(hone_error *err) { return hone_fail_memory(err, "tokenizer.json", 0); }

static hone_status make_vocab(const vocabulary *v, json_t *vocab, json_t *added, hone_error *err) {
    for (size_t i = 0; i < v->count; i++) {
        int32_t type = v->types ? v->types[i] : 1;
        json_t *text = json_of(v->tokens[i]);
        if (!text) continue;
        int failed = json_object_setn_new(vocab, json_string_value(text), json_string_length(text),
                                          json_integer((json_int_t)i));
        if (!failed && (type == TYPE_UNKNOWN || type == TYPE_CONTROL || type == TYPE_USER_DEFINED))
            failed = json_array_append_new(
                added, json_pack("{s:i, s:O, s:b, s:b, s:b, s:b, s:b}", "id", (int)i, "content",
                                 text, "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0,
                                 "special", type != TYPE_USER_DEFINED));
        json_decref(text);
        if (failed) return no_memory(err);
    }
    return HONE_OK;
}

static hone_status make_merges(const vocabulary *v, json_t *merges, hone_error *err) {
    for (size_t i = 0; i < v->merge_count; i++) {
        json_t *text = json_of(v->merges[i]);
        if (!text)
            return hone_fail(err, HONE_ERR_UNSUPPORTED,
                             "tokenizer.ggml.merges, entry %zu is not UTF-8", i);
        if (json_array_append_new(merges, text) != 0) return no_memory(err);
    }
    return HONE_OK;
}

/* How the text is split before merging; the names that text/tokenizer_gguf knows. */
static hone_status make_split(const hone_file_set *set, json_t **out, hone_error *err) {
    hone_str pre;
    HONE_TRY(hone_gguf_get_string(set, "tokenizer.ggml.pre", &pre, err));
    bool digits = text_is(pre, "smollm") || text_is(pre, "starcoder") || text_is(pre, "refact");
    bool plain = !pre.data || text_is(pre, "default") || text_is(pre, "gpt-2");
    if (!digits && !plain)
        return hone_fail(
            err, HONE_ERR_UNSUPPORTED,
            "%s: a tokenizer.json cannot be made of a GGUF tokenizer that splits like \"%.*s\"; "
            "fine-tune the model's Hugging Face folder",
            set->path, (int)HONE_MIN(pre.size, (size_t)64), pre.data);
    json_t *bytes = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                              "trim_offsets", 1, "use_regex", 1);
    *out = digits ? json_pack("{s:s, s:[{s:s, s:b}, o]}", "type", "Sequence", "pretokenizers",
                              "type", "Digits", "individual_digits", 1, bytes)
                  : bytes;
    return *out ? HONE_OK : no_memory(err);
}

static hone_status make_post_processor(const hone_model *model, json_t **out, hone_error *err) {
    bool add_bos;
    int32_t bos = hone_tokenizer_bos(model->tokenizer);
    HONE_TRY(hone_gguf_get_bool(model->set, "tokenizer.ggml.add_bos_token", false, &add_bos, err));
    if (!add_bos || bos < 0) {
        *out = json_null();
        return HONE_OK;
    }
    char *text;
    size_t size;
    HONE_TRY(hone_tokenizer_decode(model->tokenizer, &bos, 1, false, &text, &size, err));
    *out = json_pack("{s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}], s:[], s:{s:{s:s, s:[i], s:[s]}}}",
                     "type", "TemplateProcessing", "single", "SpecialToken", "id", text, "type_id",
                     0, "Sequence", "id", "A", "type_id", 0, "pair", "special_tokens", text, "id",
                     text, "ids", bos, "tokens", text);
    free(text);
    return *out ? HONE_OK : no_memory(err);
}

static hone_status make_tokenizer(const hone_model *model, const vocabulary *v, json_t **out,
                                  hone_error *err) {
    json_t *vocab = json_object(), *added = json_array(), *merges = json_array(), *split = NULL,
           *post = NULL;
    hone_status status = vocab && added && merges ? HONE_OK : no_memory(err);
    if (status == HONE_OK) status = make_vocab(v, vocab, added, err);
    if (status == HONE_OK) status = make_merges(v, merges, err);
    if (status == HONE_OK) status = make_split(model->set, &split, err);
    if (status == HONE_OK) status = make_post_processor(model, &post, err);
    if (status == HONE_OK) {
        *out = json_pack("{s:s, s:n, s:n, s:O, s:n, s:O, s:O, s:{s:s, s:b, s:b, s:b},"
                         " s:{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:O, s:O}}",
                         "version", "1.0", "truncation", "padding", "added_tokens", added,
                         "normalizer", "pre_tokenizer", split, "post_processor", post, "decoder",
                         "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1, "use_regex",
                         1, "model", "type", "BPE", "dropout", "unk_token",
                         "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                         "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges", merges);
        if (!*out) status = no_memory(err);
    }
    json_decref(vocab);
    json_decref(added);
    json_decref(merges);
    json_decref(split);
    json_decref(post);
    return status;
}

static hone_status set_token(const hone_model *model, json_t *config, const char *key, int32_t id,
                             hone_error *err) {
    if (id < 0) return HONE_OK;
    char *text;
    size_t size;
    HONE_TRY(hone_tokenizer_decode(model->tokenizer, &id, 1, false, &text, &size, err));
    int failed = json_object_set_new(config, key, json_stringn(text, size));
    free(text);
    return failed ? no_memory(err) : HONE_OK;
}

static hone_status make_tokenizer_config(const hone_model *model, json_t **out, hone_error *err) {
    const hone_tokenizer *t = model->tokenizer;
    const char *chat = hone_tokenizer_chat_template(t);
    json_t *config = json_pack("{s:s, s:i, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                               "model_max_length", model->config.max_positions,
                               "clean_up_tokenization_spaces", 0);
    hone_status status = config ? HONE_OK : no_memory(err);
    if (status == HONE_OK)
        status = set_token(model, config, "bos_token", hone_tokenizer_bos(t), err);
    if (status == HONE_OK)
        status = set_token(model, config, "eos_token", hone_tokenizer_eos(t), err);
    if (status == HONE_OK)
        status = set_token(model, config, "pad_token", hone_tokenizer_pad(t), err);
    if (status == HONE_OK && chat &&
        json_object_set_new(config, "chat_template", json_string(chat)) != 0)
        status = no_memory(err);
    if (status == HONE_OK)
        *out = config;
    else
        json_decref(config);
    return status;
}

hone_status hone_hub_make_tokenizer(const hone_model *model, json_t **tokenizer, json_t **config,
                                    hone_error *err) {
    vocabulary v = {0};
    hone_str kind;
    hone_status status;
    HONE_TRY_GOTO(status, done,
                  hone_gguf_get_string(model->set, "tokenizer.ggml.model", &kind, err));
    if (!text_is(kind, "gpt2"))
        HONE_TRY_GOTO(
            status, done,
            hone_fail(
                err, HONE_ERR_UNSUPPORTED,
                "%s: a tokenizer.json can be made of a GGUF's byte-level tokenizers alone, not of "
                "\"%.*s\"; fine-tune the model's Hugging Face folder",
                model->set->path, (int)HONE_MIN(kind.size, (size_t)64),
                kind.data ? kind.data : ""));
    HONE_TRY_GOTO(status, done, read_vocabulary(model->set, &v, err));
    HONE_TRY_GOTO(status, done, make_tokenizer(model, &v, tokenizer, err));
    status = make_tokenizer_config(model, config, err);
done:
    free_vocabulary(&v);
    return status;
}
