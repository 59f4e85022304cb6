/* model/tuning: what `hone tune` found for this machine, in a file. */
#include "base/cpu.h"
#include "base/file.h"
#include "base/json.h"
#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 64 << 10 };

char *hone_tuning_path(void) {
    char *home = hone_path_home();
    char *path = home ? hone_path_join(home, "tuning.json") : NULL;
    free(home);
    return path;
}

/* What the measured times depend on. A file in which any of it differs says nothing about this machine. */
enum { IDENTITY = 5 };
typedef struct identity {
    const char *key[IDENTITY], *value[IDENTITY];
} identity;

static hone_status identify(identity *id, hone_error *err) {
    hone_machine_info m;
    HONE_TRY(hone_machine_get_info(&m, err));
    *id = (identity){{"hone", "processor", "gemm_f32", "gemm_bf16", "vectors"},
                     {m.version, m.cpu, m.gemm_f32, m.gemm_bf16, m.vectors}};
    return HONE_OK;
}

static hone_status is_this_machine(const json_t *root, const char *path, bool *is,
                                   hone_error *err) {
    identity id;
    HONE_TRY(identify(&id, err));
    *is = true;
    for (int i = 0; i < IDENTITY; i++) {
        const char *value;
        HONE_TRY(hone_json_get_string(root, id.key[i], path, NULL, &value, err));
        if (!value)
            return hone_fail(err, HONE_ERR_FORMAT, "%s: \"%s\" is missing", path, id.key[i]);
        *is = *is && strcmp(value, id.value[i]) == 0;
    }
    return HONE_OK;
}

static hone_status read_size(const json_t *object, const char *key, const char *path, int64_t least,
                             int64_t most, size_t *out, hone_error *err) {
    int64_t value;
    *out = 0;
    if (!json_object_get(object, key)) return HONE_OK;
    HONE_TRY(hone_json_get_int(object, key, path, least, most, least, &value, err));
    *out = (size_t)value;
    return HONE_OK;
}

static hone_status read_blocking(const json_t *root, const char *key, const char *path,
                                 hone_blocking *out, hone_error *err) {
    const json_t *object = json_object_get(root, key);
    if (object && !json_is_object(object))
        return hone_fail(err, HONE_ERR_FORMAT, "%s: \"%s\" must be an object", path, key);
    HONE_TRY(read_size(object, "packed_bytes", path, HONE_LEAST_PACKED_BYTES,
                       HONE_MOST_PACKED_BYTES, &out->packed_bytes, err));
    return read_size(object, "loss_rows", path, HONE_LEAST_LOSS_ROWS, HONE_MOST_LOSS_ROWS,
                     &out->loss_rows, err);
}

hone_status hone_tuning_read(const char *path, hone_tuning *tuning, bool *found, hone_error *err) {
    json_t *root = NULL;
    hone_tuning read = {0};
    bool ours = false;
    hone_status status;
    *tuning = read;
    *found = false;
    if (!hone_file_exists(path)) return HONE_OK;
    HONE_TRY(hone_json_read(path, FILE_LIMIT, &root, err));
    if (!json_is_object(root))
        HONE_TRY_GOTO(status, done,
                      hone_fail(err, HONE_ERR_FORMAT, "%s: expected a JSON object", path));
    HONE_TRY_GOTO(status, done, is_this_machine(root, path, &ours, err));
    if (!ours) goto done;
    HONE_TRY_GOTO(status, done, read_blocking(root, "f32", path, &read.f32, err));
    HONE_TRY_GOTO(status, done, read_blocking(root, "bf16", path, &read.bf16, err));
    *tuning = read;
    *found = true;
done:
    json_decref(root);
    return status;
}

/* {"packed_bytes": ...}: what is 0 is left out. */
static json_t *blocking_json(const hone_blocking *b) {
    json_t *object = json_object();
    bool ok = object != NULL;
    if (ok && b->packed_bytes)
        ok = json_object_set_new(object, "packed_bytes",
                                 json_integer((json_int_t)b->packed_bytes)) == 0;
    if (ok && b->loss_rows)
        ok = json_object_set_new(object, "loss_rows", json_integer((json_int_t)b->loss_rows)) == 0;
    if (ok) return object;
    json_decref(object);
    return NULL;
}

static hone_status make_folder_of(const char *path, hone_error *err) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) return HONE_OK;
    char *folder = strndup(path, (size_t)(slash - path));
    if (!folder) return hone_fail_memory(err, "a file name", strlen(path));
    hone_status status = hone_file_make_directories(folder, err);
    free(folder);
    return status;
}

hone_status hone_tuning_write(const char *path, const hone_tuning *tuning, hone_error *err) {
    identity id;
    HONE_TRY(identify(&id, err));
    json_t *root = json_object();
    bool ok = root != NULL;
    for (int i = 0; ok && i < IDENTITY; i++)
        ok = json_object_set_new(root, id.key[i], json_string(id.value[i])) == 0;
    ok = ok && json_object_set_new(root, "f32", blocking_json(&tuning->f32)) == 0 &&
         json_object_set_new(root, "bf16", blocking_json(&tuning->bf16)) == 0;
    hone_status status = ok ? make_folder_of(path, err) : hone_fail_memory(err, "the tuning", 0);
    if (status == HONE_OK) status = hone_json_write(path, root, err);
    json_decref(root);
    return status;
}
