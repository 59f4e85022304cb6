/* train/adapter_file: adapters as mlx-lm writes and reads them. The other half of adapter.h. */
#include "train/adapter.h"

#include "base/size.h"
#include "base/utf8.h"
#include "format/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_LIMIT = 1 << 20 };

/* ---- writing ---- */

/* [rows, cols] to [cols, rows]. */
static void transpose(const float *x, size_t rows, size_t cols, float *y) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) y[c * rows + r] = x[r * cols + c];
}

hone_status hone_adapter_write(const hone_params *params, const char *path, hone_error *err) {
    hone_tensor_out *tensors = calloc(params->count, sizeof *tensors);
    float *copy = malloc(params->total * sizeof *copy);
    hone_status status;
    if (!tensors || !copy)
        HONE_TRY_GOTO(status, done,
                      hone_fail_memory(err, "writing the adapter", params->total * sizeof *copy));
    for (size_t p = 0; p < params->count; p++) {
        const hone_param *item = &params->items[p];
        transpose(params->w + item->offset, item->rows, item->cols, copy + item->offset);
        tensors[p] = (hone_tensor_out){.name = item->name,
                                       .dtype = HONE_F32,
                                       .dims = 2,
                                       .shape = {item->cols, item->rows},
                                       .data = copy + item->offset};
    }
    status = hone_safetensors_write(path, tensors, params->count, NULL, err);
done:
    free(copy);
    free(tensors);
    return status;
}

/* Names of the chosen linear layers, in their order. */
static json_t *chosen_keys(const hone_adapter *adapter, int layers) {
    json_t *keys = json_array();
    for (int i = 0; keys && i < HONE_LINEAR_COUNT; i++) {
        bool used = false;
        for (int l = 0; l < layers; l++) used = used || adapter->chosen[l * HONE_LINEAR_COUNT + i];
        if (used && json_array_append_new(keys, json_string(hone_linear_names[i])) != 0) {
            json_decref(keys);
            keys = NULL;
        }
    }
    return keys;
}

/* As it is when it is UTF-8, which JSON has to be; else with U+FFFD for each byte that is not. */
static json_t *text_json(const char *text) {
    static const char replacement[] = "\xef\xbf\xbd";
    size_t size = strlen(text), used = 0, bytes;
    if (!hone_size_mul(size, 3, &bytes) || !hone_size_add(bytes, 1, &bytes)) return NULL;
    char *good = malloc(bytes);
    if (!good) return NULL;
    for (size_t at = 0; at < size;) {
        uint32_t code;
        size_t width = hone_utf8_decode(text + at, size - at, &code), copied = width ? width : 3;
        memcpy(good + used, width ? text + at : replacement, copied);
        used += copied;
        at += width ? width : 1;
    }
    json_t *value = json_stringn(good, used);
    free(good);
    return value;
}

hone_status hone_adapter_write_config(const hone_adapter *adapter, const hone_model *model,
                                      const char *path, hone_error *err) {
    json_t *keys = chosen_keys(adapter, model->config.layers);
    json_t *path_json = text_json(model->set->path), *config = NULL;
    if (keys && path_json)
        config = json_pack("{s:O, s:s, s:i, s:{s:i, s:f, s:f, s:O}}", "model", path_json,
                           "fine_tune_type", "lora", "num_layers", adapter->num_layers,
                           "lora_parameters", "rank", adapter->rank, "scale", adapter->scale,
                           "dropout", 0.0, "keys", keys);
    hone_status status = config ? hone_json_write(path, config, err)
                                : hone_fail_memory(err, "adapter_config.json", 0);
    json_decref(config);
    json_decref(path_json);
    json_decref(keys);
    return status;
}

/* ---- reading ---- */

static float element(const hone_tensor *t, size_t i) {
    const char *at = t->data;
    float f;
    uint16_t half;
    if (t->dtype == HONE_F32) {
        memcpy(&f, at + i * sizeof f, sizeof f);
        return f;
    }
    memcpy(&half, at + i * sizeof half, sizeof half);
    return t->dtype == HONE_BF16 ? hone_bf16_to_f32(half) : hone_f16_to_f32(half);
}

static hone_status read_tensor(const hone_param *item, const hone_tensor *t, const char *path,
                               float *w, hone_error *err) {
    bool floats = !t->is_uint32 && hone_dtype_block(t->dtype) == 1;
    if (!floats)
        return hone_fail(err, HONE_ERR_UNSUPPORTED, "%s: the tensor %s does not hold floats", path,
                         t->name);
    if (t->dims != 2 || t->shape[0] != item->cols || t->shape[1] != item->rows)
        return hone_fail(
            err, HONE_ERR_FORMAT,
            "%s: the tensor %s is %dD [%zu, %zu]; for this model and rank it is to be [%zu, %zu]",
            path, t->name, t->dims, t->dims > 0 ? t->shape[0] : 0, t->dims > 1 ? t->shape[1] : 0,
            item->cols, item->rows);
    for (size_t r = 0; r < item->rows; r++)
        for (size_t c = 0; c < item->cols; c++) {
            float x = element(t, c * item->rows + r);
            if (!isfinite(x))
                return hone_fail(err, HONE_ERR_FORMAT,
                                 "%s: the tensor %s holds values that are not finite", path,
                                 t->name);
            w[item->offset + r * item->cols + c] = x;
        }
    return HONE_OK;
}

static hone_status read_tensors(const hone_params *params, const hone_file_set *set,
                                hone_error *err) {
    for (size_t p = 0; p < params->count; p++) {
        const hone_tensor *t = hone_file_set_find(set, params->items[p].name);
        if (!t)
            return hone_fail(
                err, HONE_ERR_FORMAT,
                "%s: the tensor %s is missing; layers and keys must be those it was trained with",
                set->path, params->items[p].name);
        HONE_TRY(read_tensor(&params->items[p], t, set->path, params->w, err));
    }
    if (set->tensor_count == params->count) return HONE_OK;
    for (size_t i = 0; i < set->tensor_count; i++) {
        size_t p = 0;
        while (p < params->count && strcmp(params->items[p].name, set->tensors[i].name) != 0) p++;
        if (p == params->count)
            return hone_fail(
                err, HONE_ERR_FORMAT,
                "%s: the tensor %s has no place in this adapter: layers and keys must be those it "
                "was trained with",
                set->path, set->tensors[i].name);
    }
    return HONE_OK;
}

hone_status hone_adapter_read(const hone_params *params, const char *path, hone_error *err) {
    hone_file_set *set;
    HONE_TRY(hone_file_set_open(path, &set, err));
    hone_status status = read_tensors(params, set, err);
    hone_file_set_free(&set);
    return status;
}

/* ---- the folder of an adapter ---- */

static hone_status read_config(const char *path, hone_adapter *adapter, hone_error *err) {
    json_t *config = NULL;
    const char *kind;
    int64_t rank = 0;
    hone_status status;
    HONE_TRY(hone_json_read(path, CONFIG_LIMIT, &config, err));
    const json_t *lora = json_object_get(config, "lora_parameters");
    if (json_object_get(config, "peft_type"))
        HONE_TRY_GOTO(status, done,
                      hone_fail(err, HONE_ERR_UNSUPPORTED,
                                "%s: PEFT adapters are not supported, mlx-lm's are", path));
    HONE_TRY_GOTO(status, done,
                  hone_json_get_string(config, "fine_tune_type", path, "lora", &kind, err));
    if (strcmp(kind, "lora") != 0)
        HONE_TRY_GOTO(status, done,
                      hone_fail(err, HONE_ERR_UNSUPPORTED,
                                "%s: fine_tune_type \"%s\" is not supported, \"lora\" is", path,
                                kind));
    if (!json_is_object(lora))
        HONE_TRY_GOTO(
            status, done,
            hone_fail(err, HONE_ERR_FORMAT, "%s: there is no object \"lora_parameters\"", path));
    HONE_TRY_GOTO(status, done,
                  hone_json_get_int(lora, "rank", path, 1, HONE_MAX_RANK, 8, &rank, err));
    HONE_TRY_GOTO(status, done,
                  hone_json_get_number(lora, "scale", path, 20, &adapter->scale, err));
    if (!isfinite(adapter->scale) || fabs(adapter->scale) > 1e6)
        HONE_TRY_GOTO(
            status, done,
            hone_fail(err, HONE_ERR_FORMAT, "%s: the scale %g is too large", path, adapter->scale));
    adapter->rank = (int)rank;
done:
    json_decref(config);
    return status;
}

/* Which linear layer of which block `name` belongs to, and whether it is its lora_a; -1 when to none. */
static int place_of(const hone_model *model, const char *name, bool *is_a) {
    static const char prefix[] = "model.layers.";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return -1;
    const char *digits = name + sizeof prefix - 1;
    size_t width = strspn(digits, "0123456789");
    if (width == 0 || width > 6 || digits[width] != '.') return -1;
    long layer = strtol(digits, NULL, 10);
    if (layer >= model->config.layers) return -1;
    const char *rest = digits + width + 1;
    for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
        size_t length = strlen(hone_linear_names[i]);
        if (strncmp(rest, hone_linear_names[i], length) != 0) continue;
        *is_a = strcmp(rest + length, ".lora_a") == 0;
        if (*is_a || strcmp(rest + length, ".lora_b") == 0)
            return (int)layer * HONE_LINEAR_COUNT + i;
    }
    return -1;
}

/* The adapter's linear layers are those that the file has tensors for. */
static hone_status choose_from_file(hone_adapter *adapter, const hone_model *model,
                                    const hone_file_set *set, hone_error *err) {
    size_t count = (size_t)model->config.layers * HONE_LINEAR_COUNT;
    adapter->chosen = calloc(count, sizeof(bool));
    if (!adapter->chosen) return hone_fail_memory(err, "an adapter", count);
    for (size_t i = 0; i < set->tensor_count; i++) {
        bool is_a;
        int place = place_of(model, set->tensors[i].name, &is_a);
        if (place < 0)
            return hone_fail(
                err, HONE_ERR_FORMAT,
                "%s: the tensor %s belongs to no linear layer of this model of %d layers",
                set->path, set->tensors[i].name, model->config.layers);
        adapter->chosen[place] = true;
        adapter->num_layers =
            HONE_MAX(adapter->num_layers, model->config.layers - place / HONE_LINEAR_COUNT);
    }
    if (set->tensor_count == 0)
        return hone_fail(err, HONE_ERR_FORMAT, "%s: the file holds no tensors", set->path);
    return HONE_OK;
}

static hone_status load(hone_model *model, const char *config, const char *weights,
                        hone_error *err) {
    hone_adapter adapter = {0};
    hone_params params = {0};
    hone_file_set *set = NULL;
    hone_status status;
    HONE_TRY_GOTO(status, done, read_config(config, &adapter, err));
    HONE_TRY_GOTO(status, done, hone_file_set_open(weights, &set, err));
    HONE_TRY_GOTO(status, done, choose_from_file(&adapter, model, set, err));
    HONE_TRY_GOTO(status, done, hone_adapter_list(&adapter, model, &params, err));
    HONE_TRY_GOTO(status, done, hone_params_allocate(&params, model, err));
    status = read_tensors(&params, set, err);
    if (status == HONE_OK)
        hone_adapter_put(&adapter, model, &params);
    else
        hone_params_release(model, params.w);
done:
    hone_file_set_free(&set);
    hone_params_close(&params);
    hone_adapter_free(&adapter);
    return status;
}

hone_status hone_model_load_adapter(hone_model *model, const char *folder, hone_error *err) {
    char *config = hone_path_join(folder, "adapter_config.json");
    char *weights = hone_path_join(folder, "adapters.safetensors");
    hone_error local = {0};
    if (!err) err = &local;
    hone_status status = config && weights ? load(model, config, weights, err)
                                           : hone_fail_memory(err, "a path", strlen(folder));
    free(config);
    free(weights);
    return status;
}
