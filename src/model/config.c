/* model/config: see config.h. Sources: the GGUF key names of the llama family, transformers' LlamaConfig, and
 * "rope_type": "llama3" as transformers' modeling_rope_utils documents it. */
#include "model/config.h"

#include "base/size.h"

#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_LAYERS = 1024,
    MAX_WIDTH = 1 << 20, /* hidden, ffn */
    MAX_HEADS = 4096,
    MAX_HEAD_DIM = 4096,
    MAX_VOCAB = 1 << 24,
    MAX_POSITIONS = 1 << 26,
    MAX_CONFIG_BYTES = 16 << 20
};

static hone_status check(const hone_config *c, const char *path, hone_error *err) {
    const struct {
        const char *what;
        int value, low, high;
    } bounds[] = {{"number of layers", c->layers, 1, MAX_LAYERS},
                  {"hidden size", c->hidden, 1, MAX_WIDTH},
                  {"feed-forward size", c->ffn, 1, MAX_WIDTH},
                  {"number of attention heads", c->heads, 1, MAX_HEADS},
                  {"number of kv heads", c->kv_heads, 1, MAX_HEADS},
                  {"head size", c->head_dim, 1, MAX_HEAD_DIM},
                  {"vocabulary size", c->vocab, 1, MAX_VOCAB},
                  /* at least a token and what it predicts */
                  {"number of positions", c->max_positions, 2, MAX_POSITIONS}};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        if (bounds[i].value < bounds[i].low || bounds[i].value > bounds[i].high)
            return hone_fail(err, HONE_ERR_FORMAT, "%s: the %s is %d, expected %d to %d", path,
                             bounds[i].what, bounds[i].value, bounds[i].low, bounds[i].high);
    if (c->heads % c->kv_heads != 0)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: %d attention heads are no multiple of %d kv heads", path, c->heads,
                         c->kv_heads);
    if (c->head_dim % 2 != 0)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: the head size %d is odd, rotary embedding needs it even", path,
                         c->head_dim);
    if (!(c->rms_eps >= 0 && c->rms_eps < 1))
        return hone_fail(err, HONE_ERR_FORMAT, "%s: the RMSNorm epsilon is %g, expected 0 to 1",
                         path, c->rms_eps);
    if (!(c->rope_theta > 0 && isfinite(c->rope_theta)))
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: the rope base is %g, expected a positive number", path,
                         c->rope_theta);
    bool scaled = c->rope_scaling != HONE_ROPE_PLAIN;
    if (scaled && !(c->rope_factor >= 1 && c->rope_factor <= 1e6))
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: the rope scaling factor is %g, expected at least 1", path,
                         c->rope_factor);
    if (c->rope_scaling == HONE_ROPE_LLAMA3 &&
        !(c->rope_high_freq > c->rope_low_freq && c->rope_low_freq > 0))
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: rope low_freq_factor %g and high_freq_factor %g must ascend", path,
                         c->rope_low_freq, c->rope_high_freq);
    if (c->rope_scaling == HONE_ROPE_LLAMA3 && c->rope_original_positions < 1)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: original_max_position_embeddings is %d, expected 1 or more", path,
                         c->rope_original_positions);
    return HONE_OK;
}

/* ---- GGUF ---- */

static hone_status gguf_int(const hone_file_set *set, const char *arch, const char *key,
                            int64_t high, int64_t fallback, int *out, hone_error *err) {
    char name[128];
    int64_t value = 0;
    snprintf(name, sizeof name, "%s.%s", arch, key);
    HONE_TRY(hone_gguf_get_int(set, name, 0, high, fallback, &value, err));
    *out = (int)value;
    return HONE_OK;
}

static hone_status gguf_float(const hone_file_set *set, const char *arch, const char *key,
                              double fallback, double *out, hone_error *err) {
    char name[128];
    snprintf(name, sizeof name, "%s.%s", arch, key);
    return hone_gguf_get_float(set, name, fallback, out, err);
}

static void copy_str(char *out, size_t capacity, hone_str text) {
    size_t n = HONE_MIN(text.size, capacity - 1);
    for (size_t i = 0; i < n; i++) out[i] = (unsigned char)text.data[i] < ' ' ? '?' : text.data[i];
    out[n] = '\0';
}

static hone_status gguf_rope(const hone_file_set *set, const char *arch, hone_config *c,
                             hone_error *err) {
    char name[128];
    hone_str type = {0};
    HONE_TRY(gguf_float(set, arch, "rope.freq_base", 10000.0, &c->rope_theta, err));
    snprintf(name, sizeof name, "%s.rope.scaling.type", arch);
    HONE_TRY(hone_gguf_get_string(set, name, &type, err));
    /* The older key first; a factor without a type is linear: both as llama.cpp reads them. */
    HONE_TRY(gguf_float(set, arch, "rope.scale_linear", 1.0, &c->rope_factor, err));
    HONE_TRY(gguf_float(set, arch, "rope.scaling.factor", c->rope_factor, &c->rope_factor, err));
    if (!type.data && c->rope_factor != 0 && c->rope_factor != 1)
        c->rope_scaling = HONE_ROPE_LINEAR;
    if (type.data && !(type.size == 4 && memcmp(type.data, "none", 4) == 0)) {
        if (type.size != 6 || memcmp(type.data, "linear", 6) != 0)
            return hone_fail(err, HONE_ERR_UNSUPPORTED,
                             "%s: rope scaling \"%.*s\" is not supported", set->path,
                             (int)HONE_MIN(type.size, (size_t)32), type.data);
        c->rope_scaling = HONE_ROPE_LINEAR;
    }
    int rope_dim;
    HONE_TRY(
        gguf_int(set, arch, "rope.dimension_count", MAX_HEAD_DIM, c->head_dim, &rope_dim, err));
    if (rope_dim != c->head_dim)
        return hone_fail(err, HONE_ERR_UNSUPPORTED,
                         "%s: rotary embedding of %d of %d dimensions is not supported", set->path,
                         rope_dim, c->head_dim);
    const hone_tensor *divisors = hone_file_set_find(set, "rope_freqs.weight");
    if (divisors) {
        if (divisors->dtype != HONE_F32 || divisors->dims != 1 ||
            divisors->shape[0] != (size_t)c->head_dim / 2)
            return hone_fail(err, HONE_ERR_FORMAT,
                             "%s: rope_freqs.weight should be %d float32 values", set->path,
                             c->head_dim / 2);
        c->rope_divisors = divisors->data;
        for (size_t i = 0; i < divisors->shape[0]; i++)
            if (!(c->rope_divisors[i] > 0) || !isfinite(c->rope_divisors[i]))
                return hone_fail(err, HONE_ERR_FORMAT,
                                 "%s: rope_freqs.weight[%zu] is %g, expected more than 0",
                                 set->path, i, (double)c->rope_divisors[i]);
    }
    return HONE_OK;
}

static hone_status read_gguf(const hone_file_set *set, hone_config *c, hone_error *err) {
    hone_str arch = {0}, name = {0};
    HONE_TRY(hone_gguf_get_string(set, "general.architecture", &arch, err));
    if (!arch.data)
        return hone_fail(err, HONE_ERR_FORMAT, "%s: the key general.architecture is missing",
                         set->path);
    copy_str(c->architecture, sizeof c->architecture, arch);
    if (strcmp(c->architecture, "llama") != 0)
        return hone_fail(err, HONE_ERR_UNSUPPORTED,
                         "%s: the architecture \"%s\" is not supported (supported: llama)",
                         set->path, c->architecture);
    HONE_TRY(hone_gguf_get_string(set, "general.name", &name, err));
    if (name.data) copy_str(c->name, sizeof c->name, name);
    const char *a = c->architecture;
    HONE_TRY(gguf_int(set, a, "block_count", MAX_LAYERS, 0, &c->layers, err));
    HONE_TRY(gguf_int(set, a, "embedding_length", MAX_WIDTH, 0, &c->hidden, err));
    HONE_TRY(gguf_int(set, a, "feed_forward_length", MAX_WIDTH, 0, &c->ffn, err));
    HONE_TRY(gguf_int(set, a, "attention.head_count", MAX_HEADS, 0, &c->heads, err));
    HONE_TRY(gguf_int(set, a, "attention.head_count_kv", MAX_HEADS, c->heads, &c->kv_heads, err));
    if (c->heads < 1 || c->kv_heads < 1)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: the key %s.attention.head_count is missing or 0", set->path, a);
    HONE_TRY(gguf_int(set, a, "attention.key_length", MAX_HEAD_DIM, c->hidden / c->heads,
                      &c->head_dim, err));
    HONE_TRY(gguf_int(set, a, "context_length", MAX_POSITIONS, 2048, &c->max_positions, err));
    double eps = 1e-5;
    HONE_TRY(gguf_float(set, a, "attention.layer_norm_rms_epsilon", 1e-5, &eps, err));
    c->rms_eps = (float)eps;
    HONE_TRY(gguf_rope(set, a, c, err));
    const hone_tensor *embedding = hone_file_set_find(set, "token_embd.weight");
    if (!embedding || embedding->dims != 2 || embedding->shape[0] > MAX_VOCAB)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: the tensor token_embd.weight is missing or not a matrix", set->path);
    c->vocab = (int)embedding->shape[0];
    c->tied_head = hone_file_set_find(set, "output.weight") == NULL;
    c->permuted_qk = true;
    int64_t bos = -1, eos = -1;
    HONE_TRY(
        hone_gguf_get_int(set, "tokenizer.ggml.bos_token_id", -1, c->vocab - 1, -1, &bos, err));
    HONE_TRY(
        hone_gguf_get_int(set, "tokenizer.ggml.eos_token_id", -1, c->vocab - 1, -1, &eos, err));
    c->bos = (int)bos;
    c->eos = (int)eos;
    return HONE_OK;
}

/* ---- config.json ---- */

static hone_status json_int(const json_t *root, const char *key, const char *path, int64_t high,
                            int64_t fallback, int *out, hone_error *err) {
    int64_t value = 0;
    HONE_TRY(hone_json_get_int(root, key, path, -1, high, fallback, &value, err));
    *out = (int)value;
    return HONE_OK;
}

/* transformers 5 writes rope_parameters; published models carry rope_theta and rope_scaling. A base that is not in
 * rope_parameters may stand in the root. */
static hone_status json_rope(const json_t *root, const char *path, hone_config *c,
                             hone_error *err) {
    const json_t *parameters = json_object_get(root, "rope_parameters");
    const json_t *scaling =
        json_is_object(parameters) ? parameters : json_object_get(root, "rope_scaling");
    HONE_TRY(hone_json_get_number(root, "rope_theta", path, 10000.0, &c->rope_theta, err));
    if (json_is_object(parameters))
        HONE_TRY(hone_json_get_number(parameters, "rope_theta", path, c->rope_theta, &c->rope_theta,
                                      err));
    if (!json_is_object(scaling)) return HONE_OK;
    const char *type = NULL;
    HONE_TRY(hone_json_get_string(scaling, "rope_type", path, NULL, &type, err));
    if (!type) HONE_TRY(hone_json_get_string(scaling, "type", path, "default", &type, err));
    if (strcmp(type, "default") == 0) return HONE_OK;
    HONE_TRY(hone_json_get_number(scaling, "factor", path, 1.0, &c->rope_factor, err));
    if (strcmp(type, "linear") == 0) {
        c->rope_scaling = HONE_ROPE_LINEAR;
        return HONE_OK;
    }
    if (strcmp(type, "llama3") != 0)
        return hone_fail(err, HONE_ERR_UNSUPPORTED, "%s: rope scaling \"%.32s\" is not supported",
                         path, type);
    c->rope_scaling = HONE_ROPE_LLAMA3;
    HONE_TRY(hone_json_get_number(scaling, "low_freq_factor", path, 1.0, &c->rope_low_freq, err));
    HONE_TRY(hone_json_get_number(scaling, "high_freq_factor", path, 4.0, &c->rope_high_freq, err));
    return json_int(scaling, "original_max_position_embeddings", path, MAX_POSITIONS, 8192,
                    &c->rope_original_positions, err);
}

/* eos_token_id may be a list; the first stands for all. */
static hone_status json_token(const json_t *root, const char *key, const char *path, int vocab,
                              int *out, hone_error *err) {
    const json_t *value = json_object_get(root, key);
    if (json_is_array(value)) value = json_array_get(value, 0);
    *out = -1;
    if (!value || json_is_null(value) || vocab < 1) return HONE_OK; /* check() refuses the last */
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) >= vocab)
        return hone_fail(err, HONE_ERR_FORMAT, "%s: %s should be a token id below %d", path, key,
                         vocab);
    *out = (int)json_integer_value(value);
    return HONE_OK;
}

static hone_status json_architecture(const json_t *root, const char *path, hone_config *c,
                                     hone_error *err) {
    const char *type = NULL, *activation = NULL;
    HONE_TRY(hone_json_get_string(root, "model_type", path, NULL, &type, err));
    if (!type) return hone_fail(err, HONE_ERR_FORMAT, "%s: the key model_type is missing", path);
    if (strcmp(type, "llama") != 0)
        return hone_fail(err, HONE_ERR_UNSUPPORTED,
                         "%s: the architecture \"%.32s\" is not supported (supported: llama)", path,
                         type);
    if (json_object_get(root, "quantization") || json_object_get(root, "quantization_config"))
        return hone_fail(err, HONE_ERR_UNSUPPORTED,
                         "%s: quantized Hugging Face or MLX weights are not supported; give the "
                         "float model or a GGUF",
                         path);
    HONE_TRY(hone_json_get_string(root, "hidden_act", path, "silu", &activation, err));
    if (strcmp(activation, "silu") != 0)
        return hone_fail(err, HONE_ERR_UNSUPPORTED, "%s: the activation \"%.32s\" is not supported",
                         path, activation);
    snprintf(c->architecture, sizeof c->architecture, "%s", type);
    return HONE_OK;
}

static hone_status parse_json(const json_t *root, const char *path, hone_config *c,
                              hone_error *err) {
    HONE_TRY(json_architecture(root, path, c, err));
    HONE_TRY(json_int(root, "num_hidden_layers", path, MAX_LAYERS, 0, &c->layers, err));
    HONE_TRY(json_int(root, "hidden_size", path, MAX_WIDTH, 0, &c->hidden, err));
    HONE_TRY(json_int(root, "intermediate_size", path, MAX_WIDTH, 0, &c->ffn, err));
    HONE_TRY(json_int(root, "num_attention_heads", path, MAX_HEADS, 0, &c->heads, err));
    HONE_TRY(json_int(root, "num_key_value_heads", path, MAX_HEADS, c->heads, &c->kv_heads, err));
    if (c->heads < 1 || c->kv_heads < 1)
        return hone_fail(err, HONE_ERR_FORMAT, "%s: num_attention_heads is missing or 0", path);
    HONE_TRY(
        json_int(root, "head_dim", path, MAX_HEAD_DIM, c->hidden / c->heads, &c->head_dim, err));
    HONE_TRY(json_int(root, "vocab_size", path, MAX_VOCAB, 0, &c->vocab, err));
    HONE_TRY(json_int(root, "max_position_embeddings", path, MAX_POSITIONS, 2048, &c->max_positions,
                      err));
    double eps = 1e-6;
    HONE_TRY(hone_json_get_number(root, "rms_norm_eps", path, 1e-6, &eps, err));
    c->rms_eps = (float)eps;
    HONE_TRY(hone_json_get_bool(root, "tie_word_embeddings", path, false, &c->tied_head, err));
    HONE_TRY(json_rope(root, path, c, err));
    HONE_TRY(json_token(root, "bos_token_id", path, c->vocab, &c->bos, err));
    return json_token(root, "eos_token_id", path, c->vocab, &c->eos, err);
}

/* The folder of the model: the path itself, or the folder that its file is in. The caller frees. */
static char *folder_of(const char *path) {
    char *copy = strdup(path);
    if (!copy || hone_file_is_directory(path)) return copy;
    char *folder = strdup(dirname(copy));
    free(copy);
    return folder;
}

static hone_status read_json(const hone_file_set *set, hone_config *c, hone_error *err) {
    char *folder = folder_of(set->path);
    char *path = folder ? hone_path_join(folder, "config.json") : NULL;
    json_t *root = NULL;
    hone_status status = path ? HONE_OK : hone_fail_memory(err, "a path", strlen(set->path));
    if (status == HONE_OK) status = hone_json_read(path, MAX_CONFIG_BYTES, &root, err);
    if (status == HONE_OK) status = parse_json(root, path, c, err);
    if (status == HONE_OK) {
        const char *slash = strrchr(folder, '/');
        snprintf(c->name, sizeof c->name, "%s", slash && slash[1] ? slash + 1 : folder);
    }
    json_decref(root);
    free(path);
    free(folder);
    return status;
}

hone_status hone_config_read(const hone_file_set *set, hone_config *config, hone_error *err) {
    *config = (hone_config){.bos = -1, .eos = -1, .rope_factor = 1};
    if (set->kind == HONE_FORMAT_GGUF)
        HONE_TRY(read_gguf(set, config, err));
    else
        HONE_TRY(read_json(set, config, err));
    return check(config, set->path, err);
}

/* ---- rotary frequencies ---- */

static double frequency(const hone_config *c, int i) {
    double f = pow(c->rope_theta, -2.0 * i / c->head_dim);
    if (c->rope_divisors) return f / (double)c->rope_divisors[i];
    if (c->rope_scaling == HONE_ROPE_LINEAR) return f / c->rope_factor;
    if (c->rope_scaling != HONE_ROPE_LLAMA3) return f;
    const double pi = 3.14159265358979323846;
    double wavelength = 2 * pi / f;
    double low = c->rope_original_positions / c->rope_low_freq,
           high = c->rope_original_positions / c->rope_high_freq;
    if (wavelength > low) return f / c->rope_factor;
    if (wavelength < high) return f;
    double smooth = (c->rope_original_positions / wavelength - c->rope_low_freq) /
                    (c->rope_high_freq - c->rope_low_freq);
    return (1 - smooth) * f / c->rope_factor + smooth * f;
}

void hone_config_rope_table(const hone_config *config, size_t positions, float *cos_table,
                            float *sin_table) {
    size_t half = (size_t)config->head_dim / 2;
    for (size_t i = 0; i < half; i++) {
        /* PyTorch keeps inverse frequencies in float32 and multiplies positions in float32. */
        float f = (float)frequency(config, (int)i);
        for (size_t p = 0; p < positions; p++) {
            float angle = (float)p * f;
            cos_table[p * half + i] = (float)cos((double)angle);
            sin_table[p * half + i] = (float)sin((double)angle);
        }
    }
}
