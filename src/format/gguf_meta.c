/* format/gguf_meta: look-ups in GGUF's metadata. */
#include "format/gguf_meta.h"

#include "format/builder.h"

#include <inttypes.h>
#include <stdlib.h>

static const struct {
    const char *name;
    size_t bytes;
} types[HONE_GGUF_TYPE_COUNT] = {
    [HONE_GGUF_UINT8] = {"uint8", 1},     [HONE_GGUF_INT8] = {"int8", 1},
    [HONE_GGUF_UINT16] = {"uint16", 2},   [HONE_GGUF_INT16] = {"int16", 2},
    [HONE_GGUF_UINT32] = {"uint32", 4},   [HONE_GGUF_INT32] = {"int32", 4},
    [HONE_GGUF_FLOAT32] = {"float32", 4}, [HONE_GGUF_BOOL] = {"bool", 1},
    [HONE_GGUF_STRING] = {"string", 0},   [HONE_GGUF_ARRAY] = {"array", 0},
    [HONE_GGUF_UINT64] = {"uint64", 8},   [HONE_GGUF_INT64] = {"int64", 8},
    [HONE_GGUF_FLOAT64] = {"float64", 8},
};

size_t hone_gguf_type_bytes(hone_gguf_type type) { return types[type].bytes; }

static int compare(hone_str a, hone_str b) {
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int by_key(const void *left, const void *right) {
    return compare(((const hone_gguf_entry *)left)->key, ((const hone_gguf_entry *)right)->key);
}

hone_status hone_gguf_meta_sort(hone_gguf_meta *meta, const hone_file_map *map, hone_error *err) {
    if (meta->count == 0) return HONE_OK;
    qsort(meta->entries, meta->count, sizeof *meta->entries, by_key);
    for (size_t i = 1; i < meta->count; i++) {
        hone_str a = meta->entries[i - 1].key, b = meta->entries[i].key;
        if (compare(a, b) != 0) continue;
        size_t at = (size_t)((const uint8_t *)(a.data > b.data ? a.data : b.data) - map->data);
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: byte %zu: the metadata key \"%.*s\" appears twice", map->path, at,
                         (int)(b.size < 200 ? b.size : 200), b.data);
    }
    return HONE_OK;
}

void hone_gguf_meta_free(hone_gguf_meta **meta) {
    if (*meta == NULL) return;
    free((*meta)->entries);
    free(*meta);
    *meta = NULL;
}

static const hone_gguf_entry *find(const hone_file_set *set, const char *key) {
    if (set->gguf == NULL || set->gguf->count == 0) return NULL;
    hone_gguf_entry wanted = {.key = {key, strlen(key)}};
    return bsearch(&wanted, set->gguf->entries, set->gguf->count, sizeof wanted, by_key);
}

static hone_status fail_type(const hone_file_set *set, const hone_gguf_entry *e,
                             const char *expected, hone_error *err) {
    bool array = e->type == HONE_GGUF_ARRAY;
    return hone_fail(err, HONE_ERR_FORMAT, "%s: metadata \"%.*s\" is %s%s%s; expected %s",
                     set->path, (int)e->key.size, e->key.data, types[e->type].name,
                     array ? " of " : "", array ? types[e->element].name : "", expected);
}

/* Any integer type; false for other types. A uint64 beyond int64 is told apart by *huge. */
static bool load_integer(hone_gguf_type type, const uint8_t *at, int64_t *out, bool *huge) {
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
    } v = {0};
    memcpy(&v, at, types[type].bytes);
    *huge = false;
    switch (type) {
    case HONE_GGUF_UINT8:
        *out = v.u8;
        return true;
    case HONE_GGUF_INT8:
        *out = v.i8;
        return true;
    case HONE_GGUF_UINT16:
        *out = v.u16;
        return true;
    case HONE_GGUF_INT16:
        *out = v.i16;
        return true;
    case HONE_GGUF_UINT32:
        *out = v.u32;
        return true;
    case HONE_GGUF_INT32:
        *out = v.i32;
        return true;
    case HONE_GGUF_INT64:
        *out = v.i64;
        return true;
    case HONE_GGUF_UINT64:
        *huge = v.u64 > INT64_MAX;
        *out = *huge ? INT64_MAX : (int64_t)v.u64;
        return true;
    default:
        return false;
    }
}

static hone_status get_integer(const hone_file_set *set, const hone_gguf_entry *e,
                               hone_gguf_type type, size_t index, int64_t low, int64_t high,
                               int64_t *out, hone_error *err) {
    int64_t value;
    bool huge;
    if (!load_integer(type, e->value + index * types[type].bytes, &value, &huge)) {
        return fail_type(set, e, e->type == HONE_GGUF_ARRAY ? "an array of integers" : "an integer",
                         err);
    }
    if (huge || value < low || value > high) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: metadata \"%.*s\" holds %s%" PRId64
                         "; expected an integer from %" PRId64 " to %" PRId64,
                         set->path, (int)e->key.size, e->key.data, huge ? "more than " : "", value,
                         low, high);
    }
    *out = value;
    return HONE_OK;
}

hone_status hone_gguf_get_int(const hone_file_set *set, const char *key, int64_t low, int64_t high,
                              int64_t fallback, int64_t *out, hone_error *err) {
    const hone_gguf_entry *e = find(set, key);
    *out = fallback;
    return e == NULL ? HONE_OK : get_integer(set, e, e->type, 0, low, high, out, err);
}

hone_status hone_gguf_get_float(const hone_file_set *set, const char *key, double fallback,
                                double *out, hone_error *err) {
    const hone_gguf_entry *e = find(set, key);
    *out = fallback;
    if (e == NULL) return HONE_OK;
    float single;
    switch (e->type) {
    case HONE_GGUF_FLOAT32:
        memcpy(&single, e->value, sizeof single);
        *out = single;
        return HONE_OK;
    case HONE_GGUF_FLOAT64:
        memcpy(out, e->value, sizeof *out);
        return HONE_OK;
    default:
        return fail_type(set, e, "a float", err);
    }
}

hone_status hone_gguf_get_bool(const hone_file_set *set, const char *key, bool fallback, bool *out,
                               hone_error *err) {
    const hone_gguf_entry *e = find(set, key);
    *out = fallback;
    if (e == NULL) return HONE_OK;
    if (e->type != HONE_GGUF_BOOL) return fail_type(set, e, "a bool", err);
    *out = e->value[0] != 0;
    return HONE_OK;
}

hone_status hone_gguf_get_string(const hone_file_set *set, const char *key, hone_str *out,
                                 hone_error *err) {
    const hone_gguf_entry *e = find(set, key);
    *out = (hone_str){0};
    if (e == NULL) return HONE_OK;
    if (e->type != HONE_GGUF_STRING) return fail_type(set, e, "a string", err);
    *out = (hone_str){(const char *)e->value, e->count};
    return HONE_OK;
}

/* The array at `key`, NULL when absent, and memory for its elements as the caller wants them. */
static hone_status find_array(const hone_file_set *set, const char *key, size_t element_bytes,
                              const hone_gguf_entry **entry, void **memory, hone_error *err) {
    const hone_gguf_entry *e = find(set, key);
    *entry = e;
    *memory = NULL;
    if (e == NULL) return HONE_OK;
    if (e->type != HONE_GGUF_ARRAY) return fail_type(set, e, "an array", err);
    /* The count was checked against the file's size: at most 16 times as much is asked for here. */
    *memory = calloc(e->count + 1, element_bytes);
    return *memory != NULL ? HONE_OK : hone_fail_memory(err, key, e->count * element_bytes);
}

hone_status hone_gguf_get_strings(const hone_file_set *set, const char *key, hone_str **out,
                                  size_t *count, hone_error *err) {
    const hone_gguf_entry *e;
    void *memory;
    *out = NULL;
    *count = 0;
    HONE_TRY(find_array(set, key, sizeof **out, &e, &memory, err));
    if (e == NULL) return HONE_OK;
    if (e->element != HONE_GGUF_STRING) {
        free(memory);
        return fail_type(set, e, "an array of strings", err);
    }
    hone_str *strings = memory;
    const uint8_t *at = e->value;
    for (size_t i = 0; i < e->count; i++) {
        uint64_t size;
        memcpy(&size, at, sizeof size);
        strings[i] = (hone_str){(const char *)at + sizeof size, (size_t)size};
        at += sizeof size + size;
    }
    *out = strings;
    *count = e->count;
    return HONE_OK;
}

hone_status hone_gguf_get_ints(const hone_file_set *set, const char *key, int64_t low, int64_t high,
                               int32_t **out, size_t *count, hone_error *err) {
    const hone_gguf_entry *e;
    void *memory;
    *out = NULL;
    *count = 0;
    HONE_TRY(find_array(set, key, sizeof **out, &e, &memory, err));
    if (e == NULL) return HONE_OK;
    int64_t least = low < INT32_MIN ? INT32_MIN : low, most = high > INT32_MAX ? INT32_MAX : high;
    int32_t *numbers = memory;
    hone_status status = HONE_OK;
    for (size_t i = 0; status == HONE_OK && i < e->count; i++) {
        int64_t value = 0;
        status = get_integer(set, e, e->element, i, least, most, &value, err);
        numbers[i] = (int32_t)value;
    }
    if (status != HONE_OK) {
        free(memory);
        return status;
    }
    *out = numbers;
    *count = e->count;
    return HONE_OK;
}

hone_status hone_gguf_get_floats(const hone_file_set *set, const char *key, float **out,
                                 size_t *count, hone_error *err) {
    const hone_gguf_entry *e;
    void *memory;
    *out = NULL;
    *count = 0;
    HONE_TRY(find_array(set, key, sizeof **out, &e, &memory, err));
    if (e == NULL) return HONE_OK;
    if (e->element != HONE_GGUF_FLOAT32) {
        free(memory);
        return fail_type(set, e, "an array of float32", err);
    }
    memcpy(memory, e->value, e->count * sizeof **out);
    *out = memory;
    *count = e->count;
    return HONE_OK;
}
