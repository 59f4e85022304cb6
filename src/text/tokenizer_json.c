/* text/tokenizer_json: a tokenizer from a folder's tokenizer.json: the vocabulary, the merges and
 * the added tokens; from tokenizer_config.json and chat_template.jinja: special tokens and the
 * chat template. */
#include "text/tokenizer_impl.h"
#include "base/size.h"
#include <stdlib.h>
#include <string.h>

#define NAME "tokenizer.json"
#define CONFIG "tokenizer_config.json"
#define JSON_LIMIT ((size_t)256 << 20)
#define TEMPLATE_LIMIT ((size_t)4 << 20)

static hone_status fail_member(hone_error *err, const char *name, const char *key,
                               const char *expected) {
    return hone_fail(err, HONE_ERR_FORMAT, "%s: \"%s\": expected %s", name, key, expected);
}

/* Ids may have gaps, but a table of all ids must stay in proportion to the file. */
static hone_status check_id(const json_t *value, const char *token, size_t entries, size_t *count,
                            hone_error *err) {
    json_int_t limit = (json_int_t)HONE_MIN(4 * entries + 65536, (size_t)INT32_MAX / 4);
    if (!json_is_integer(value)) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         NAME ": the id of the token \"%.64s\" is not an integer", token);
    }
    json_int_t id = json_integer_value(value);
    if (id < 0 || id >= limit) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         NAME
                         ": the token \"%.64s\" has the id %lld; expected 0 to %lld for %zu tokens",
                         token, (long long)id, (long long)limit - 1, entries);
    }
    *count = HONE_MAX(*count, (size_t)id + 1);
    return HONE_OK;
}

static hone_status count_ids(json_t *vocab, const json_t *added, size_t *count, hone_error *err) {
    size_t entries = json_object_size(vocab) + json_array_size(added);
    const char *key;
    json_t *value;
    json_object_foreach(vocab, key, value) HONE_TRY(check_id(value, key, entries, count, err));
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *item = json_array_get(added, i);
        const json_t *content = json_object_get(item, "content");
        if (!json_is_string(content))
            return fail_member(err, NAME, "added_tokens", "objects with id and content");
        HONE_TRY(
            check_id(json_object_get(item, "id"), json_string_value(content), entries, count, err));
    }
    if (*count == 0) return hone_fail(err, HONE_ERR_FORMAT, NAME ": the vocabulary is empty");
    return HONE_OK;
}

static hone_status load_vocabulary(hone_tokenizer *t, json_t *model, const json_t *added,
                                   hone_error *err) {
    json_t *vocab = json_object_get(model, "vocab");
    if (!json_is_object(vocab))
        return fail_member(err, NAME, "model.vocab", "an object of tokens and ids");
    if (added != NULL && !json_is_null(added) && !json_is_array(added)) {
        return fail_member(err, NAME, "added_tokens", "an array");
    }
    size_t count = 0;
    HONE_TRY(count_ids(vocab, added, &count, err));
    HONE_TRY(hone_vocab_init(&t->vocab, &t->region, count, err));
    const char *key;
    json_t *value;
    json_object_foreach(vocab, key, value) {
        int32_t id = (int32_t)json_integer_value(value);
        if (hone_vocab_set(&t->vocab, &t->region, id, key, strlen(key), err) != HONE_OK) {
            return hone_fail_prefix(err, NAME);
        }
    }
    return HONE_OK;
}

static hone_status load_added_token(hone_tokenizer *t, const json_t *item, bool after_normalizer,
                                    hone_error *err) {
    const json_t *content = json_object_get(item, "content");
    const char *text = json_string_value(content);
    size_t size = json_string_length(content);
    hone_added_token token = {.id = (int32_t)json_integer_value(json_object_get(item, "id"))};
    bool special, normalized;
    HONE_TRY(hone_json_get_bool(item, "special", NAME, false, &special, err));
    HONE_TRY(hone_json_get_bool(item, "normalized", NAME, false, &normalized, err));
    HONE_TRY(hone_json_get_bool(item, "lstrip", NAME, false, &token.lstrip, err));
    HONE_TRY(hone_json_get_bool(item, "rstrip", NAME, false, &token.rstrip, err));
    HONE_TRY(hone_json_get_bool(item, "single_word", NAME, false, &token.single_word, err));
    if (after_normalizer) return hone_tokenizer_add_token(t, token, special, normalized, err);
    int32_t known = hone_vocab_find(&t->vocab, text, size);
    if (known >= 0 && known != token.id) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         NAME ": the added token \"%.64s\" has the id %d, but %d in the vocabulary",
                         text, (int)token.id, (int)known);
    }
    if (known >= 0 || size == 0) return HONE_OK;
    HONE_TRY(hone_vocab_set(&t->vocab, &t->region, token.id, text, size, err));
    t->vocab.tokens[token.id].outside = true;
    return HONE_OK;
}

/* Twice over the list: texts first, for the vocabulary must be whole before BPE looks at it. */
static hone_status load_added(hone_tokenizer *t, const json_t *added, bool after_normalizer,
                              hone_error *err) {
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *item = json_array_get(added, i);
        if (json_string_length(json_object_get(item, "content")) == 0) continue;
        HONE_TRY(load_added_token(t, item, after_normalizer, err));
    }
    return HONE_OK;
}

/* "left right" or ["left", "right"]. */
static hone_status load_merge(hone_tokenizer *t, const json_t *item, int32_t rank,
                              hone_error *err) {
    const char *left, *right;
    size_t left_size, right_size;
    if (json_is_string(item)) {
        left = json_string_value(item);
        const char *space = strchr(left, ' ');
        if (space == NULL || strchr(space + 1, ' ') != NULL) {
            return hone_fail(err, HONE_ERR_FORMAT,
                             NAME ": merge %d is \"%.64s\"; expected two tokens and a space",
                             (int)rank, left);
        }
        left_size = (size_t)(space - left);
        right = space + 1;
        right_size = json_string_length(item) - left_size - 1;
    } else {
        const json_t *first = json_array_get(item, 0), *second = json_array_get(item, 1);
        if (json_array_size(item) != 2 || !json_is_string(first) || !json_is_string(second)) {
            return hone_fail(err, HONE_ERR_FORMAT,
                             NAME ": merge %d: expected an array of two tokens", (int)rank);
        }
        left = json_string_value(first);
        left_size = json_string_length(first);
        right = json_string_value(second);
        right_size = json_string_length(second);
    }
    if (hone_bpe_add_merge(&t->bpe, rank, left, left_size, right, right_size, err) == HONE_OK)
        return HONE_OK;
    return hone_fail_prefix(err, NAME);
}

static hone_status load_merges(hone_tokenizer *t, const json_t *merges, hone_error *err) {
    if (!json_is_array(merges))
        return fail_member(err, NAME, "model.merges", "an array of pairs of tokens");
    size_t count = json_array_size(merges);
    HONE_TRY(hone_bpe_init_merges(&t->bpe, &t->vocab, &t->region, count, err));
    for (size_t i = 0; i < count; i++)
        HONE_TRY(load_merge(t, json_array_get(merges, i), (int32_t)i, err));
    return HONE_OK;
}

static hone_status check_model(const json_t *model, hone_error *err) {
    const char *type, *prefix, *suffix;
    double dropout;
    if (!json_is_object(model)) return fail_member(err, NAME, "model", "an object");
    HONE_TRY(hone_json_get_string(model, "type", NAME, "BPE", &type, err));
    HONE_TRY(hone_json_get_string(model, "continuing_subword_prefix", NAME, "", &prefix, err));
    HONE_TRY(hone_json_get_string(model, "end_of_word_suffix", NAME, "", &suffix, err));
    HONE_TRY(hone_json_get_number(model, "dropout", NAME, 0.0, &dropout, err));
    if (strcmp(type, "BPE") != 0) {
        return hone_fail(err, HONE_ERR_UNSUPPORTED,
                         NAME ": the model is \"%.64s\"; only BPE is supported", type);
    }
    const char *option = *prefix != '\0'   ? "continuing_subword_prefix"
                         : *suffix != '\0' ? "end_of_word_suffix"
                         : dropout != 0.0  ? "dropout"
                                           : NULL;
    if (option == NULL) return HONE_OK;
    return hone_fail(err, HONE_ERR_UNSUPPORTED, NAME ": the BPE option \"%s\" is not supported",
                     option);
}

static hone_status load_model(hone_tokenizer *t, json_t *model, const json_t *added,
                              hone_error *err) {
    HONE_TRY(check_model(model, err));
    HONE_TRY(load_vocabulary(t, model, added, err));
    HONE_TRY(load_added(t, added, false, err));
    HONE_TRY(load_merges(t, json_object_get(model, "merges"), err));
    HONE_TRY(hone_json_get_bool(model, "byte_fallback", NAME, false, &t->bpe.byte_fallback, err));
    HONE_TRY(hone_json_get_bool(model, "fuse_unk", NAME, false, &t->bpe.fuse_unknown, err));
    HONE_TRY(hone_json_get_bool(model, "ignore_merges", NAME, false, &t->bpe.ignore_merges, err));
    const char *unknown;
    HONE_TRY(hone_json_get_string(model, "unk_token", NAME, NULL, &unknown, err));
    if (unknown == NULL) return HONE_OK;
    t->bpe.unknown = hone_vocab_find(&t->vocab, unknown, strlen(unknown));
    if (t->bpe.unknown >= 0) return HONE_OK;
    return hone_fail(err, HONE_ERR_FORMAT,
                     NAME ": the unk_token \"%.64s\" is not in the vocabulary", unknown);
}

static hone_status load_document(hone_tokenizer *t, const json_t *root, hone_error *err) {
    if (!json_is_object(root)) return hone_fail(err, HONE_ERR_FORMAT, NAME ": expected an object");
    const json_t *added = json_object_get(root, "added_tokens");
    HONE_TRY(load_model(t, json_object_get(root, "model"), added, err));
    HONE_TRY(hone_tokenizer_load_normalizer(t, json_object_get(root, "normalizer"), NAME, err));
    HONE_TRY(
        hone_tokenizer_load_pre_tokenizer(t, json_object_get(root, "pre_tokenizer"), NAME, err));
    HONE_TRY(hone_tokenizer_load_decoder(t, json_object_get(root, "decoder"), NAME, err));
    HONE_TRY(
        hone_tokenizer_load_post_processor(t, json_object_get(root, "post_processor"), NAME, err));
    return load_added(t, added, true, err);
}

/* A special token is a string or an object with "content". One that the vocabulary lacks does not
 * exist. */
static hone_status load_special(const hone_tokenizer *t, const json_t *config, const char *key,
                                int32_t *id, hone_error *err) {
    const json_t *value = json_object_get(config, key);
    if (json_is_object(value)) value = json_object_get(value, "content");
    if (value == NULL || json_is_null(value)) return HONE_OK;
    if (!json_is_string(value)) return fail_member(err, CONFIG, key, "a string");
    *id = hone_vocab_find(&t->vocab, json_string_value(value), json_string_length(value));
    return HONE_OK;
}

/* A string, or a list of named templates of which "default" is meant. */
static hone_status load_template(hone_tokenizer *t, const json_t *value, hone_error *err) {
    for (size_t i = 0; json_is_array(value) && i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name != NULL && strcmp(name, "default") == 0) {
            value = json_object_get(item, "template");
            break;
        }
    }
    if (value == NULL || json_is_null(value) || json_is_array(value)) return HONE_OK;
    if (!json_is_string(value))
        return fail_member(err, CONFIG, "chat_template", "a string or a list of templates");
    t->chat_template =
        hone_region_copy(&t->region, json_string_value(value), json_string_length(value), err);
    return t->chat_template == NULL ? err->status : HONE_OK;
}

static hone_status load_config(hone_tokenizer *t, const json_t *config, hone_error *err) {
    if (!json_is_object(config))
        return hone_fail(err, HONE_ERR_FORMAT, CONFIG ": expected an object");
    HONE_TRY(load_special(t, config, "bos_token", &t->bos, err));
    HONE_TRY(load_special(t, config, "eos_token", &t->eos, err));
    HONE_TRY(load_special(t, config, "pad_token", &t->pad, err));
    return load_template(t, json_object_get(config, "chat_template"), err);
}

static hone_status load_template_file(hone_tokenizer *t, const char *path, hone_error *err) {
    hone_buf source;
    HONE_TRY(hone_file_read(path, TEMPLATE_LIMIT, &source, err));
    t->chat_template = hone_region_copy(&t->region, source.data, source.size, err);
    hone_buf_free(&source);
    return t->chat_template == NULL ? err->status : HONE_OK;
}

hone_status hone_tokenizer_load_folder(hone_tokenizer *t, const char *folder, hone_error *err) {
    json_t *root = NULL, *config = NULL;
    char *path = hone_path_join(folder, NAME);
    char *config_path = hone_path_join(folder, CONFIG);
    char *template_path = hone_path_join(folder, "chat_template.jinja");
    hone_status status;
    if (path == NULL || config_path == NULL || template_path == NULL) {
        status = hone_fail_memory(err, "path", strlen(folder));
        goto done;
    }
    HONE_TRY_GOTO(status, done, hone_json_read(path, JSON_LIMIT, &root, err));
    status = load_document(t, root, err);
    if (status == HONE_OK && hone_file_exists(config_path)) {
        HONE_TRY_GOTO(status, done, hone_json_read(config_path, JSON_LIMIT, &config, err));
        status = load_config(t, config, err);
    }
    if (status != HONE_OK) {
        hone_fail_prefix(err, "%s", folder);
    } else if (hone_file_exists(template_path)) {
        status = load_template_file(t, template_path, err);
    }
done:
    json_decref(root);
    json_decref(config);
    free(path);
    free(config_path);
    free(template_path);
    return status;
}
