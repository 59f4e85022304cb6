/* text/tokenizer_gguf: a tokenizer from GGUF metadata (keys tokenizer.ggml.*; source: the GGUF
 * specification and the behaviour of llama.cpp). Kinds: gpt2, a byte-level BPE whose split `pre`
 * names, and llama, SentencePiece BPE. */
#include "text/tokenizer_impl.h"
#include "base/size.h"
#include "text/unicode.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* tokenizer.ggml.token_type */
enum {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER_DEFINED,
    TOKEN_UNUSED,
    TOKEN_BYTE
};

#define MARK "\xe2\x96\x81" /* U+2581, SentencePiece's space */

static const char llama3_split[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char qwen2_split[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/* One row per tokenizer.ggml.pre that is known. */
typedef struct pre_kind {
    const char *name;
    const char *split; /* NULL: GPT-2's */
    bool digits;       /* digits one by one before that */
    bool nfc;
    bool ignore_merges; /* a piece that is a token stays whole */
    bool add_bos;       /* unless the file says otherwise */
} pre_kind;

static const pre_kind pre_kinds[] = {
    {.name = "default"},
    {.name = "gpt-2"},
    {.name = "smollm", .digits = true},
    {.name = "starcoder", .digits = true},
    {.name = "refact", .digits = true},
    {.name = "llama-bpe", .split = llama3_split, .ignore_merges = true, .add_bos = true},
    {.name = "llama3", .split = llama3_split, .ignore_merges = true, .add_bos = true},
    {.name = "llama-v3", .split = llama3_split, .ignore_merges = true, .add_bos = true},
    {.name = "qwen2", .split = qwen2_split, .nfc = true},
    {.name = "deepseek-r1-qwen", .split = qwen2_split, .nfc = true},
};

/* The arrays of the file while they are read. */
typedef struct gguf_vocab {
    hone_str *tokens, *merges;
    float *scores;
    int32_t *types; /* [count]; NULL: all normal */
    size_t count, merge_count;
} gguf_vocab;

static void free_arrays(gguf_vocab *v) {
    free(v->tokens);
    free(v->merges);
    free(v->scores);
    free(v->types);
}

static hone_status read_arrays(const hone_file_set *set, gguf_vocab *v, hone_error *err) {
    size_t type_count, score_count;
    HONE_TRY(hone_gguf_get_strings(set, "tokenizer.ggml.tokens", &v->tokens, &v->count, err));
    HONE_TRY(hone_gguf_get_strings(set, "tokenizer.ggml.merges", &v->merges, &v->merge_count, err));
    HONE_TRY(hone_gguf_get_floats(set, "tokenizer.ggml.scores", &v->scores, &score_count, err));
    HONE_TRY(hone_gguf_get_ints(set, "tokenizer.ggml.token_type", INT32_MIN, INT32_MAX, &v->types,
                                &type_count, err));
    if (v->count == 0) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "tokenizer.ggml.tokens is missing or empty: the file has no vocabulary");
    }
    if (v->count > INT32_MAX / 4) {
        return hone_fail(err, HONE_ERR_LIMIT,
                         "tokenizer.ggml.tokens has %zu entries; the limit is %d", v->count,
                         INT32_MAX / 4);
    }
    if (v->merge_count > INT32_MAX / 4) {
        return hone_fail(err, HONE_ERR_LIMIT,
                         "tokenizer.ggml.merges has %zu entries; the limit is %d", v->merge_count,
                         INT32_MAX / 4);
    }
    if (v->types != NULL && type_count != v->count) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "tokenizer.ggml.token_type has %zu entries, expected %zu, one per token",
                         type_count, v->count);
    }
    if (v->scores != NULL && score_count != v->count) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "tokenizer.ggml.scores has %zu entries, expected %zu, one per token",
                         score_count, v->count);
    }
    return HONE_OK;
}

static int32_t type_of(const gguf_vocab *v, size_t id) {
    return v->types == NULL ? TOKEN_NORMAL : v->types[id];
}

static hone_status load_vocabulary(hone_tokenizer *t, const gguf_vocab *v, hone_error *err) {
    HONE_TRY(hone_vocab_init(&t->vocab, &t->region, v->count, err));
    for (size_t i = 0; i < v->count; i++) {
        if (v->tokens[i].size == 0) continue; /* an id without text: kept, never produced */
        HONE_TRY(hone_vocab_set(&t->vocab, &t->region, (int32_t)i, v->tokens[i].data,
                                v->tokens[i].size, err));
    }
    return HONE_OK;
}

/* Control, unknown and user-defined tokens are found in the text first. What is not UTF-8 can
 * never be in a text. */
static hone_status load_added(hone_tokenizer *t, const gguf_vocab *v, hone_error *err) {
    for (size_t i = 0; i < v->count; i++) {
        int32_t type = type_of(v, i);
        bool special = type == TOKEN_CONTROL || type == TOKEN_UNKNOWN;
        if (!special && type != TOKEN_USER_DEFINED) continue;
        t->vocab.tokens[i].special = special;
        if (v->tokens[i].size == 0 || !hone_utf8_valid(v->tokens[i].data, v->tokens[i].size))
            continue;
        HONE_TRY(
            hone_tokenizer_add_token(t, (hone_added_token){.id = (int32_t)i}, special, false, err));
    }
    return HONE_OK;
}

static hone_status load_merges(hone_tokenizer *t, const gguf_vocab *v, hone_error *err) {
    if (v->merge_count == 0) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "tokenizer.ggml.merges is missing: this kind of tokenizer needs it");
    }
    HONE_TRY(hone_bpe_init_merges(&t->bpe, &t->vocab, &t->region, v->merge_count, err));
    for (size_t i = 0; i < v->merge_count; i++) {
        const char *text = v->merges[i].data;
        size_t size = v->merges[i].size;
        const char *space = size > 1 ? memchr(text + 1, ' ', size - 1) : NULL;
        size_t left = space == NULL ? 0 : (size_t)(space - text);
        if (left == 0 || left + 1 >= size) {
            return hone_fail(err, HONE_ERR_FORMAT,
                             "tokenizer.ggml.merges, entry %zu: expected two tokens and a space",
                             i);
        }
        HONE_TRY(
            hone_bpe_add_merge(&t->bpe, (int32_t)i, text, left, space + 1, size - left - 1, err));
    }
    return HONE_OK;
}

static hone_status load_scores(hone_tokenizer *t, const gguf_vocab *v, hone_error *err) {
    if (v->scores == NULL) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "tokenizer.ggml.scores is missing: a tokenizer of kind llama needs it");
    }
    for (size_t i = 0; i < v->count; i++) {
        if (!isfinite(v->scores[i])) {
            return hone_fail(err, HONE_ERR_FORMAT,
                             "tokenizer.ggml.scores, entry %zu is not a finite number", i);
        }
        int32_t type = type_of(v, i);
        bool joined_to = type == TOKEN_NORMAL || type == TOKEN_USER_DEFINED || type == TOKEN_UNUSED;
        if (!joined_to || v->tokens[i].size == 0) v->scores[i] = NAN;
    }
    return hone_bpe_init_scores(&t->bpe, &t->vocab, &t->region, v->scores, err);
}

static hone_status get_id(const hone_tokenizer *t, const hone_file_set *set, const char *key,
                          int32_t fallback, int32_t *out, hone_error *err) {
    int64_t value;
    if (fallback >= t->vocab.count) fallback = -1;
    /* Some writers mark an absent token by the largest unsigned number or by -1. */
    HONE_TRY(hone_gguf_get_int(set, key, INT32_MIN, UINT32_MAX, fallback, &value, err));
    if (value == UINT32_MAX) value = -1;
    if (value < -1 || value >= t->vocab.count) {
        return hone_fail(err, HONE_ERR_FORMAT, "%s is %lld; expected a token id from 0 to %d", key,
                         (long long)value, (int)t->vocab.count - 1);
    }
    *out = (int32_t)value;
    return HONE_OK;
}

static hone_status load_specials(hone_tokenizer *t, const hone_file_set *set, bool sentencepiece,
                                 bool add_bos, hone_error *err) {
    bool add_eos;
    HONE_TRY(get_id(t, set, "tokenizer.ggml.bos_token_id", sentencepiece ? 1 : -1, &t->bos, err));
    HONE_TRY(get_id(t, set, "tokenizer.ggml.eos_token_id", sentencepiece ? 2 : -1, &t->eos, err));
    HONE_TRY(get_id(t, set, "tokenizer.ggml.padding_token_id", -1, &t->pad, err));
    if (sentencepiece) {
        HONE_TRY(get_id(t, set, "tokenizer.ggml.unknown_token_id", 0, &t->bpe.unknown, err));
    }
    HONE_TRY(hone_gguf_get_bool(set, "tokenizer.ggml.add_bos_token", add_bos, &add_bos, err));
    HONE_TRY(hone_gguf_get_bool(set, "tokenizer.ggml.add_eos_token", false, &add_eos, err));
    if (add_bos && t->bos >= 0) t->prefix[t->prefix_count++] = t->bos;
    if (add_eos && t->eos >= 0) t->suffix[t->suffix_count++] = t->eos;
    hone_str source;
    HONE_TRY(hone_gguf_get_string(set, "tokenizer.chat_template", &source, err));
    if (source.data == NULL) return HONE_OK;
    t->chat_template = hone_region_copy(&t->region, source.data, source.size, err);
    return t->chat_template == NULL ? err->status : HONE_OK;
}

static hone_status find_pre(const hone_file_set *set, const pre_kind **out, hone_error *err) {
    hone_str name;
    HONE_TRY(hone_gguf_get_string(set, "tokenizer.ggml.pre", &name, err));
    *out = &pre_kinds[0];
    if (name.data == NULL)
        return HONE_OK; /* files from before the key existed split as GPT-2 does */
    for (size_t i = 0; i < sizeof pre_kinds / sizeof pre_kinds[0]; i++) {
        *out = &pre_kinds[i];
        if (strlen((*out)->name) == name.size && memcmp((*out)->name, name.data, name.size) == 0)
            return HONE_OK;
    }
    return hone_fail(err, HONE_ERR_UNSUPPORTED,
                     "tokenizer.ggml.pre is \"%.*s\", a way to split text that is not supported; "
                     "use the model's Hugging Face folder with tokenizer.json",
                     (int)HONE_MIN(name.size, (size_t)64), name.data);
}

static hone_status load_byte_level(hone_tokenizer *t, const hone_file_set *set, const gguf_vocab *v,
                                   hone_error *err) {
    const pre_kind *pre;
    HONE_TRY(find_pre(set, &pre, err));
    if (pre->nfc) t->normalize[t->normalize_count++].kind = HONE_NORMALIZE_NFC;
    hone_pretokenize_step *step = t->pretokenize;
    if (pre->digits) {
        *step++ = (hone_pretokenize_step){.kind = HONE_PRETOKENIZE_DIGITS,
                                          .behavior = HONE_SPLIT_ISOLATED};
        t->pretokenize_count++;
    }
    if (pre->split != NULL) {
        *step = (hone_pretokenize_step){.kind = HONE_PRETOKENIZE_SPLIT,
                                        .behavior = HONE_SPLIT_ISOLATED};
        HONE_TRY(hone_regex_compile(pre->split, strlen(pre->split), &step->regex, err));
        step++;
        t->pretokenize_count++;
    }
    HONE_TRY(hone_byte_level_step(false, pre->split == NULL, step, err));
    t->pretokenize_count++;
    t->decode[t->decode_count++].kind = HONE_DECODE_BYTE_LEVEL;
    t->bpe.ignore_merges = pre->ignore_merges;
    HONE_TRY(load_merges(t, v, err));
    HONE_TRY(load_added(t, v, err));
    return load_specials(t, set, false, pre->add_bos, err);
}

static hone_status load_sentencepiece(hone_tokenizer *t, const hone_file_set *set,
                                      const gguf_vocab *v, hone_error *err) {
    bool space_prefix;
    const hone_slice mark = {MARK, 3}, space = {" ", 1};
    HONE_TRY(hone_gguf_get_bool(set, "tokenizer.ggml.add_space_prefix", true, &space_prefix, err));
    if (space_prefix) {
        t->normalize[t->normalize_count++] =
            (hone_normalize_step){.kind = HONE_NORMALIZE_PREPEND, .content = mark};
    }
    t->normalize[t->normalize_count++] =
        (hone_normalize_step){.kind = HONE_NORMALIZE_REPLACE, .pattern = space, .content = mark};
    t->decode[t->decode_count++] =
        (hone_decode_step){.kind = HONE_DECODE_REPLACE, .pattern = mark, .content = space};
    t->decode[t->decode_count++].kind = HONE_DECODE_BYTE_FALLBACK;
    t->decode[t->decode_count++].kind = HONE_DECODE_FUSE;
    if (space_prefix) {
        t->decode[t->decode_count++] =
            (hone_decode_step){.kind = HONE_DECODE_STRIP, .content = space, .start = 1};
    }
    HONE_TRY(load_scores(t, v, err));
    HONE_TRY(load_added(t, v, err));
    return load_specials(t, set, true, true, err);
}

hone_status hone_tokenizer_load_gguf(hone_tokenizer *t, const hone_file_set *set, hone_error *err) {
    hone_str model;
    gguf_vocab v = {0};
    hone_status status;
    HONE_TRY_GOTO(status, done, hone_gguf_get_string(set, "tokenizer.ggml.model", &model, err));
    bool gpt2 = model.size == 4 && memcmp(model.data, "gpt2", 4) == 0;
    bool llama = model.size == 5 && memcmp(model.data, "llama", 5) == 0;
    if (model.data == NULL) {
        status = hone_fail(err, HONE_ERR_FORMAT,
                           "tokenizer.ggml.model is missing: the file has no tokenizer");
        goto done;
    }
    if (!gpt2 && !llama) {
        status = hone_fail(err, HONE_ERR_UNSUPPORTED,
                           "tokenizer.ggml.model is \"%.*s\"; supported are gpt2 and llama",
                           (int)HONE_MIN(model.size, (size_t)64), model.data);
        goto done;
    }
    HONE_TRY_GOTO(status, done, read_arrays(set, &v, err));
    HONE_TRY_GOTO(status, done, load_vocabulary(t, &v, err));
    status = gpt2 ? load_byte_level(t, set, &v, err) : load_sentencepiece(t, set, &v, err);
done:
    free_arrays(&v);
    return status;
}
