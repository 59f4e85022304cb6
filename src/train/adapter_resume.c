/* train/adapter_resume: going on from an adapter with what it was trained with. */
#include "train/adapter.h"

#include "base/file.h"
#include "base/json.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_LIMIT = 1 << 20 };

static hone_status contradiction(const char *option, double value, const char *path, double says,
                                 hone_error *err) {
    return hone_fail(err, HONE_ERR_USAGE,
                     "--%s %g: %s says that the adapter was trained with %g; leave out --%s",
                     option, value, path, says, option);
}

/* A whole number that the file may leave out. */
static hone_status agree_int(int *value, bool take, const char *option, int64_t says,
                             const char *path, hone_error *err) {
    if (take) *value = (int)says;
    return *value == says ? HONE_OK : contradiction(option, *value, path, (double)says, err);
}

static hone_status agree_layers(hone_train_options *o, const hone_model *model,
                                const json_t *config, const char *path, hone_error *err) {
    int layers = model->config.layers;
    int64_t says;
    if (!json_object_get(config, "num_layers")) return HONE_OK;
    HONE_TRY(hone_json_get_int(config, "num_layers", path, -1, INT_MAX, -1, &says, err));
    if (says < 0 || says > layers) says = layers;
    bool all = o->num_layers == -1 || o->num_layers > layers;
    if (all && says == layers) return HONE_OK;
    return agree_int(&o->num_layers, o->resume_takes & HONE_RESUME_LAYERS, "num-layers", says, path,
                     err);
}

/* Keys are compared as the linear layers that they mean. */
static hone_status agree_keys(hone_train_options *o, const json_t *lora, const char *path,
                              const char *keys[HONE_LINEAR_COUNT], hone_error *err) {
    const json_t *list = json_object_get(lora, "keys");
    bool says[HONE_LINEAR_COUNT] = {false}, given[HONE_LINEAR_COUNT];
    if (!json_is_array(list) || json_array_size(list) == 0) return HONE_OK;
    for (size_t i = 0; i < json_array_size(list); i++) {
        bool one[HONE_LINEAR_COUNT];
        const char *key = json_string_value(json_array_get(list, i));
        if (!key) return hone_fail(err, HONE_ERR_FORMAT, "%s: a key is no string", path);
        if (hone_adapter_find_keys(&key, 1, one, err) != HONE_OK) {
            hone_fail_prefix(err, "%s", path);
            return err ? err->status : HONE_ERR_FORMAT;
        }
        for (int k = 0; k < HONE_LINEAR_COUNT; k++) says[k] = says[k] || one[k];
    }
    if (!o->lora_keys) {
        o->lora_keys = keys;
        o->lora_key_count = 0;
        for (int k = 0; k < HONE_LINEAR_COUNT; k++)
            if (says[k]) keys[o->lora_key_count++] = hone_linear_names[k];
        return HONE_OK;
    }
    HONE_TRY(hone_adapter_find_keys(o->lora_keys, o->lora_key_count, given, err));
    for (int k = 0; k < HONE_LINEAR_COUNT; k++)
        if (given[k] != says[k])
            return hone_fail(err, HONE_ERR_USAGE,
                             "--keys: %s is %s, but in %s it is %s; leave out --keys",
                             hone_linear_names[k], given[k] ? "named" : "not named", path,
                             says[k] ? "named" : "not");
    return HONE_OK;
}

static hone_status agree(hone_train_options *o, const hone_model *model, const json_t *config,
                         const char *path, const char *keys[HONE_LINEAR_COUNT], hone_error *err) {
    const json_t *lora = json_object_get(config, "lora_parameters");
    int64_t rank;
    double scale;
    if (!json_is_object(lora))
        return hone_fail(err, HONE_ERR_FORMAT, "%s: there is no object \"lora_parameters\"", path);
    if (json_object_get(lora, "rank")) {
        HONE_TRY(hone_json_get_int(lora, "rank", path, 1, HONE_MAX_RANK, 8, &rank, err));
        HONE_TRY(
            agree_int(&o->lora_rank, o->resume_takes & HONE_RESUME_RANK, "rank", rank, path, err));
    }
    if (json_object_get(lora, "scale")) {
        HONE_TRY(hone_json_get_number(lora, "scale", path, 20, &scale, err));
        if (o->resume_takes & HONE_RESUME_SCALE) o->lora_scale = scale;
        if (o->lora_scale != scale) return contradiction("scale", o->lora_scale, path, scale, err);
    }
    HONE_TRY(agree_layers(o, model, config, path, err));
    return agree_keys(o, lora, path, keys, err);
}

/* adapter_config.json beside `file`; the caller frees. */
static char *config_beside(const char *file) {
    const char *slash = strrchr(file, '/');
    char *folder = slash ? strndup(file, (size_t)(slash - file) + 1) : strdup(".");
    char *path = folder ? hone_path_join(folder, "adapter_config.json") : NULL;
    free(folder);
    return path;
}

hone_status hone_adapter_resume(hone_train_options *options, const hone_model *model, char **path,
                                const char *keys[HONE_LINEAR_COUNT], hone_error *err) {
    const char *given = options->resume_adapter_file;
    json_t *config = NULL;
    if (!given) return HONE_OK;
    *path = hone_file_is_directory(given) ? hone_path_join(given, "adapters.safetensors")
                                          : strdup(given);
    char *beside = *path ? config_beside(*path) : NULL;
    if (!beside) return hone_fail_memory(err, "a path", strlen(given));
    options->resume_adapter_file = *path;
    hone_status status = HONE_OK;
    if (hone_file_exists(*path) && hone_file_exists(beside)) {
        status = hone_json_read(beside, CONFIG_LIMIT, &config, err);
        if (status == HONE_OK) status = agree(options, model, config, beside, keys, err);
    }
    json_decref(config);
    free(beside);
    return status;
}
