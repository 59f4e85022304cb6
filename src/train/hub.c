/* train/hub: see hub.h. */
#define _POSIX_C_SOURCE 200809L
#include "train/hub.h"

#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SMALL_FILE_LIMIT = 256 << 20 };

/* The folder of the model's own files. The caller frees. */
static hone_status source_folder(const hone_model *model, char **out, hone_error *err) {
    const char *path = model->set->path, *slash = strrchr(path, '/');
    if (hone_file_is_directory(path))
        *out = strdup(path);
    else if (slash)
        *out = strndup(path, (size_t)(slash - path) + 1);
    else
        *out = strdup(".");
    return *out ? HONE_OK : hone_fail_memory(err, "a path", strlen(path));
}

static hone_status write_json(const char *folder, const char *name, const json_t *value,
                              hone_error *err) {
    char *path = hone_path_join(folder, name);
    if (!path) return hone_fail_memory(err, "a path", strlen(folder));
    hone_status status = hone_json_write(path, value, err);
    free(path);
    return status;
}

/* ---- config.json ---- */

/* The shortest decimal that is this float32: 1e-05, not 9.99999974e-06. */
static double tidy(float x) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) break;
    }
    return strtod(text, NULL);
}

/* rope_scaling of transformers 4 and mlx-lm: null without scaling. */
static json_t *rope_scaling(const hone_config *c) {
    if (c->rope_scaling == HONE_ROPE_LINEAR)
        return json_pack("{s:s, s:f}", "rope_type", "linear", "factor", c->rope_factor);
    if (c->rope_scaling == HONE_ROPE_LLAMA3)
        return json_pack("{s:s, s:f, s:f, s:f, s:i}", "rope_type", "llama3", "factor",
                         c->rope_factor, "low_freq_factor", c->rope_low_freq, "high_freq_factor",
                         c->rope_high_freq, "original_max_position_embeddings",
                         c->rope_original_positions);
    return json_null();
}

/* rope_parameters of transformers 5: the base and the scaling in one. */
static json_t *rope_parameters(const hone_config *c) {
    json_t *parameters = c->rope_scaling == HONE_ROPE_PLAIN
                             ? json_pack("{s:s}", "rope_type", "default")
                             : rope_scaling(c);
    if (parameters && json_object_set_new(parameters, "rope_theta", json_real(c->rope_theta)) == 0)
        return parameters;
    json_decref(parameters);
    return NULL;
}

/* Each tool passes over the other's spelling without a word and takes a base of 10000: both are written. */
static hone_status put_rope(json_t *config, const hone_config *c, hone_error *err) {
    if (json_object_set_new(config, "rope_theta", json_real(c->rope_theta)) != 0 ||
        json_object_set_new(config, "rope_scaling", rope_scaling(c)) != 0 ||
        json_object_set_new(config, "rope_parameters", rope_parameters(c)) != 0)
        return hone_fail_memory(err, "config.json", 0);
    return HONE_OK;
}

static json_t *token_or_null(int id) { return id >= 0 ? json_integer(id) : json_null(); }

static json_t *make_config(const hone_model *model) {
    const hone_config *c = &model->config;
    const hone_linear *linear = model->blocks[0].linear;
    return json_pack("{s:[s], s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, "
                     "s:b, s:b, s:b, s:o, s:o, s:s}",
                     "architectures", "LlamaForCausalLM", "model_type", "llama", "hidden_act",
                     "silu", "hidden_size", c->hidden, "intermediate_size", c->ffn,
                     "num_hidden_layers", c->layers, "num_attention_heads", c->heads,
                     "num_key_value_heads", c->kv_heads, "head_dim", c->head_dim, "vocab_size",
                     c->vocab, "max_position_embeddings", c->max_positions, "rms_norm_eps",
                     tidy(c->rms_eps), "tie_word_embeddings", (int)c->tied_head, "attention_bias",
                     linear[HONE_LINEAR_Q].bias != NULL, "mlp_bias",
                     linear[HONE_LINEAR_DOWN].bias != NULL, "bos_token_id", token_or_null(c->bos),
                     "eos_token_id", token_or_null(c->eos), "torch_dtype", "float32");
}

static hone_status copy_config(const hone_model *model, const char *folder, hone_error *err) {
    char *from = NULL, *path = NULL;
    json_t *config = NULL;
    hone_status status;
    HONE_TRY_GOTO(status, done, source_folder(model, &from, err));
    path = hone_path_join(from, "config.json");
    if (!path) HONE_TRY_GOTO(status, done, hone_fail_memory(err, "a path", strlen(from)));
    HONE_TRY_GOTO(status, done, hone_json_read(path, SMALL_FILE_LIMIT, &config, err));
    json_object_del(config, "dtype");
    if (json_object_set_new(config, "torch_dtype", json_string("float32")) != 0)
        HONE_TRY_GOTO(status, done, hone_fail_memory(err, "config.json", 0));
    HONE_TRY_GOTO(status, done, put_rope(config, &model->config, err));
    status = write_json(folder, "config.json", config, err);
done:
    json_decref(config);
    free(path);
    free(from);
    return status;
}

hone_status hone_hub_write_config(const hone_model *model, const char *folder, hone_error *err) {
    if (model->set->kind != HONE_FORMAT_GGUF) return copy_config(model, folder, err);
    json_t *config = make_config(model);
    if (!config) return hone_fail_memory(err, "config.json", 0);
    hone_status status = put_rope(config, &model->config, err);
    if (status == HONE_OK) status = write_json(folder, "config.json", config, err);
    json_decref(config);
    return status;
}

/* ---- the tokenizer ---- */

static const char *const tokenizer_files[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
};

enum { COPIED = sizeof tokenizer_files / sizeof *tokenizer_files };

static hone_status copy_file(const char *from, const char *folder, const char *name,
                             hone_error *err) {
    char *source = hone_path_join(from, name), *path = hone_path_join(folder, name);
    hone_buf text = hone_buf_make(0);
    hone_status status = HONE_OK;
    if (!source || !path)
        status = hone_fail_memory(err, "a path", strlen(folder));
    else if (hone_file_exists(source)) {
        status = hone_file_read(source, SMALL_FILE_LIMIT, &text, err);
        if (status == HONE_OK) status = hone_file_write_atomic(path, text.data, text.size, err);
    }
    hone_buf_free(&text);
    free(source);
    free(path);
    return status;
}

static hone_status copy_tokenizer(const hone_model *model, const char *folder, hone_error *err) {
    char *from;
    HONE_TRY(source_folder(model, &from, err));
    hone_status status = HONE_OK;
    for (size_t i = 0; i < COPIED && status == HONE_OK; i++)
        status = copy_file(from, folder, tokenizer_files[i], err);
    free(from);
    return status;
}

hone_status hone_hub_write_tokenizer(const hone_model *model, const char *folder, hone_error *err) {
    if (model->set->kind != HONE_FORMAT_GGUF) return copy_tokenizer(model, folder, err);
    json_t *tokenizer = NULL, *config = NULL;
    hone_status status = hone_hub_make_tokenizer(model, &tokenizer, &config, err);
    if (status == HONE_OK) status = write_json(folder, "tokenizer.json", tokenizer, err);
    if (status == HONE_OK) status = write_json(folder, "tokenizer_config.json", config, err);
    json_decref(tokenizer);
    json_decref(config);
    return status;
}

/* ---- before the training ---- */

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static hone_status check_file(const char *from, const char *name, bool required, hone_error *err) {
    char *path = hone_path_join(from, name);
    hone_buf text = hone_buf_make(0);
    json_t *value = NULL;
    hone_status status = HONE_OK;
    if (!path)
        status = hone_fail_memory(err, "a path", strlen(from));
    else if (required || hone_file_exists(path)) {
        status = hone_file_read(path, SMALL_FILE_LIMIT, &text, err);
        if (status == HONE_OK && ends_with(name, ".json"))
            status = hone_json_parse(text.data, text.size, path, &value, err);
    }
    json_decref(value);
    hone_buf_free(&text);
    free(path);
    return status;
}

static hone_status check_target(const hone_model *model, const char *from, const char *folder,
                                hone_error *err) {
    struct stat a, b;
    if (model->set->kind != HONE_FORMAT_GGUF && stat(from, &a) == 0 && stat(folder, &b) == 0 &&
        a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return hone_fail(err, HONE_ERR_USAGE,
                         "%s is the model's own folder: full fine-tuning would replace the model; "
                         "name another folder for the result",
                         folder);
    char *index = hone_path_join(folder, "model.safetensors.index.json");
    if (!index) return hone_fail_memory(err, "a path", strlen(folder));
    bool sharded = hone_file_exists(index);
    free(index);
    if (sharded)
        return hone_fail(err, HONE_ERR_USAGE,
                         "%s holds another model in shards (model.safetensors.index.json), which "
                         "tools would mix with the result; name another folder",
                         folder);
    return HONE_OK;
}

static hone_status check_gguf(const hone_model *model, hone_error *err) {
    if (model->config.rope_divisors)
        return hone_fail(err, HONE_ERR_UNSUPPORTED,
                         "%s: its rotary factors (rope_freqs.weight) cannot be put into a "
                         "config.json; fine-tune "
                         "the model's Hugging Face folder",
                         model->set->path);
    json_t *tokenizer = NULL, *config = NULL;
    hone_status status = hone_hub_make_tokenizer(model, &tokenizer, &config, err);
    json_decref(tokenizer);
    json_decref(config);
    return status;
}

hone_status hone_hub_check(const hone_model *model, const char *folder, hone_error *err) {
    char *from;
    HONE_TRY(source_folder(model, &from, err));
    hone_status status = check_target(model, from, folder, err);
    if (status == HONE_OK && model->set->kind == HONE_FORMAT_GGUF)
        status = check_gguf(model, err);
    else if (status == HONE_OK) {
        status = check_file(from, "config.json", true, err);
        for (size_t i = 0; i < COPIED && status == HONE_OK; i++)
            status = check_file(from, tokenizer_files[i], false, err);
    }
    free(from);
    return status;
}
