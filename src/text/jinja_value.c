/* text/jinja_value: see jinja_value.h. Making and looking into values; comparing is
 * jinja_compare.c. */
#include "text/jinja_value.h"
#include "base/size.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include "text/unicode.h"
#include "text/vocab.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_DICT 8 /* entries that are searched one by one */

bool hone_slice_equal(hone_slice a, hone_slice b) {
    return a.size == b.size && (a.data == b.data || memcmp(a.data, b.data, a.size) == 0);
}

bool hone_slice_is(hone_slice a, const char *text) {
    return a.size == strlen(text) && memcmp(a.data, text, a.size) == 0;
}

static const char *kind_name(hone_value_kind kind) {
    static const char *const names[] = {"nothing", "Undefined", "NoneType", "bool",
                                        "int",     "float",     "str",      "list",
                                        "tuple",   "range",     "view",     "generator",
                                        "dict",    "Namespace", "function", "LoopContext"};
    return names[kind];
}

const char *hone_value_type(const hone_value *v) {
    return hone_value_is(v, HONE_VALUE_VIEW) ? v->list->view : kind_name((hone_value_kind)v->kind);
}

hone_status hone_value_fail_undefined(hone_render *r, const hone_value *v) {
    int size = (int)HONE_MIN(v->string.size, (size_t)100);
    if (v->owner == HONE_VALUE_ABSENT) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "'%.*s' is undefined", size, v->string.data);
    }
    return hone_fail(r->err, HONE_ERR_FORMAT, "'%s object' has no attribute '%.*s'",
                     kind_name((hone_value_kind)v->owner), size, v->string.data);
}

hone_status hone_value_copy(hone_render *r, const char *data, size_t size, hone_value *out) {
    const char *copy = hone_region_copy(&r->region, data, size, r->err);
    if (copy == NULL) return r->err->status;
    *out = hone_value_string(copy, size);
    return hone_render_charge_bytes(r, size);
}

hone_status hone_list_new(hone_render *r, size_t capacity, hone_list **out) {
    hone_list *list = hone_region_alloc(&r->region, sizeof *list, r->err);
    *out = list;
    if (list == NULL) return r->err->status;
    if (capacity == 0) return HONE_OK;
    list->items = hone_region_array(&r->region, capacity, sizeof *list->items, r->err);
    if (list->items == NULL) return r->err->status;
    list->capacity = capacity;
    return HONE_OK;
}

hone_status hone_list_push(hone_render *r, hone_list *list, hone_value item) {
    HONE_TRY(hone_render_charge(r, 1));
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 8 : 2 * list->capacity;
        hone_value *items = hone_region_array(&r->region, capacity, sizeof *items, r->err);
        if (items == NULL) return r->err->status;
        if (list->count > 0) memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
    return HONE_OK;
}

hone_status hone_dict_new(hone_render *r, hone_dict **out) {
    *out = hone_region_alloc(&r->region, sizeof **out, r->err);
    return *out == NULL ? r->err->status : HONE_OK;
}

/* Equal values have equal hashes: 1, 1.0 and true are the same key. */
static hone_status hash_value(hone_render *r, const hone_value *v, uint64_t *out) {
    const uint64_t seed = (uint64_t)(uintptr_t)r;
    switch (v->kind) {
    case HONE_VALUE_STRING:
        HONE_TRY(hone_render_charge_bytes(r, v->string.size));
        *out = hone_hash_bytes(seed, v->string.data, v->string.size);
        return HONE_OK;
    case HONE_VALUE_BOOL:
    case HONE_VALUE_INT:
        *out = hone_hash_u64(seed, (uint64_t)hone_value_integer(v));
        return HONE_OK;
    case HONE_VALUE_FLOAT: {
        bool whole = v->real >= -9e18 && v->real <= 9e18 && v->real == floor(v->real);
        uint64_t bits;
        memcpy(&bits, &v->real, sizeof bits);
        *out = hone_hash_u64(seed, whole ? (uint64_t)(int64_t)v->real : bits);
        return HONE_OK;
    }
    case HONE_VALUE_TUPLE:
        *out = seed;
        HONE_TRY(hone_render_enter(r));
        for (size_t i = 0; i < v->list->count; i++) {
            uint64_t item;
            HONE_TRY(hash_value(r, &v->list->items[i], &item));
            *out = hone_hash_u64(*out, item);
        }
        hone_render_leave(r);
        return HONE_OK;
    case HONE_VALUE_LIST:
    case HONE_VALUE_DICT:
        return hone_fail(r->err, HONE_ERR_FORMAT, "unhashable type: '%s'", hone_value_type(v));
    default:
        *out = hone_hash_u64(seed, v->kind);
        return HONE_OK;
    }
}

static hone_status find_entry(hone_render *r, const hone_dict *dict, const hone_value *key,
                              int32_t *entry, size_t *slot) {
    *entry = -1;
    *slot = 0;
    if (dict->slots == NULL) {
        if (hone_value_is(key, HONE_VALUE_LIST) || hone_value_is(key, HONE_VALUE_DICT)) {
            uint64_t hash;
            return hash_value(r, key, &hash); /* fails: not hashable */
        }
        for (size_t i = 0; i < dict->count && *entry < 0; i++) {
            bool equal;
            HONE_TRY(hone_value_equal(r, &dict->keys[i], key, &equal));
            if (equal) *entry = (int32_t)i;
        }
        return HONE_OK;
    }
    uint64_t hash;
    HONE_TRY(hash_value(r, key, &hash));
    size_t at = hash & dict->slot_mask;
    for (; dict->slots[at] >= 0; at = (at + 1) & dict->slot_mask) {
        bool equal;
        HONE_TRY(hone_value_equal(r, &dict->keys[dict->slots[at]], key, &equal));
        if (!equal) continue;
        *entry = dict->slots[at];
        break;
    }
    *slot = at;
    return HONE_OK;
}

hone_status hone_dict_get(hone_render *r, const hone_dict *dict, const hone_value *key,
                          const hone_value **found) {
    int32_t entry;
    size_t slot;
    HONE_TRY(find_entry(r, dict, key, &entry, &slot));
    *found = entry < 0 ? NULL : &dict->values[entry];
    return HONE_OK;
}

static hone_status rebuild_index(hone_render *r, hone_dict *dict) {
    size_t slots = 4 * SMALL_DICT;
    while (slots < 2 * dict->capacity) slots *= 2;
    dict->slots = hone_region_array(&r->region, slots, sizeof *dict->slots, r->err);
    if (dict->slots == NULL) return r->err->status;
    memset(dict->slots, 0xff, slots * sizeof *dict->slots);
    dict->slot_mask = slots - 1;
    for (size_t i = 0; i < dict->count; i++) {
        uint64_t hash;
        HONE_TRY(hash_value(r, &dict->keys[i], &hash));
        size_t at = hash & dict->slot_mask;
        while (dict->slots[at] >= 0) at = (at + 1) & dict->slot_mask;
        dict->slots[at] = (int32_t)i;
    }
    return HONE_OK;
}

static hone_status grow_dict(hone_render *r, hone_dict *dict) {
    size_t capacity = dict->capacity == 0 ? SMALL_DICT : 2 * dict->capacity;
    hone_value *keys = hone_region_array(&r->region, capacity, sizeof *keys, r->err);
    hone_value *values =
        keys == NULL ? NULL : hone_region_array(&r->region, capacity, sizeof *values, r->err);
    if (values == NULL) return r->err->status;
    if (dict->count > 0) {
        memcpy(keys, dict->keys, dict->count * sizeof *keys);
        memcpy(values, dict->values, dict->count * sizeof *values);
    }
    dict->keys = keys;
    dict->values = values;
    dict->capacity = capacity;
    return capacity > SMALL_DICT ? rebuild_index(r, dict) : HONE_OK;
}

hone_status hone_dict_set(hone_render *r, hone_dict *dict, hone_value key, hone_value value) {
    int32_t entry;
    size_t slot;
    HONE_TRY(hone_render_charge(r, 1));
    HONE_TRY(find_entry(r, dict, &key, &entry, &slot));
    if (entry >= 0) {
        dict->values[entry] = value;
        return HONE_OK;
    }
    if (dict->count == dict->capacity) {
        HONE_TRY(grow_dict(r, dict));
        HONE_TRY(find_entry(r, dict, &key, &entry, &slot));
    }
    if (dict->slots != NULL) dict->slots[slot] = (int32_t)dict->count;
    dict->keys[dict->count] = key;
    dict->values[dict->count++] = value;
    return HONE_OK;
}

bool hone_value_truth(const hone_value *v) {
    switch (v->kind) {
    case HONE_VALUE_BOOL:
        return v->truth;
    case HONE_VALUE_INT:
        return v->integer != 0;
    case HONE_VALUE_FLOAT:
        return v->real != 0.0;
    case HONE_VALUE_STRING:
        return v->string.size > 0;
    case HONE_VALUE_LIST:
    case HONE_VALUE_TUPLE:
    case HONE_VALUE_RANGE:
    case HONE_VALUE_VIEW:
        return v->list->count > 0;
    case HONE_VALUE_DICT:
        return v->dict->count > 0;
    case HONE_VALUE_ITERATOR:
    case HONE_VALUE_NAMESPACE:
    case HONE_VALUE_CALLABLE:
    case HONE_VALUE_LOOP:
        return true;
    default:
        return false;
    }
}

hone_status hone_value_length(hone_render *r, const hone_value *v, int64_t *out) {
    *out = 0;
    switch (v->kind) {
    case HONE_VALUE_UNDEFINED:
        return HONE_OK;
    case HONE_VALUE_STRING:
        *out = (int64_t)hone_utf8_count(v->string.data, v->string.size);
        return hone_render_charge_bytes(r, v->string.size);
    case HONE_VALUE_LIST:
    case HONE_VALUE_TUPLE:
    case HONE_VALUE_RANGE:
    case HONE_VALUE_VIEW:
        *out = (int64_t)v->list->count;
        return HONE_OK;
    case HONE_VALUE_DICT:
        *out = (int64_t)v->dict->count;
        return HONE_OK;
    case HONE_VALUE_LOOP:
        *out = (int64_t)v->loop->items->count;
        return HONE_OK;
    default:
        return hone_fail(r->err, HONE_ERR_FORMAT, "object of type '%s' has no len()",
                         hone_value_type(v));
    }
}

static hone_status characters(hone_render *r, hone_slice s, hone_list *list) {
    for (size_t at = 0; at < s.size;) {
        int32_t cp;
        size_t length = hone_char_next(s.data + at, s.size - at, &cp);
        HONE_TRY(hone_list_push(r, list, hone_value_string(s.data + at, length)));
        at += length;
    }
    return HONE_OK;
}

hone_status hone_value_items(hone_render *r, const hone_value *v, hone_list **out) {
    if (hone_value_has_list(v) && !hone_value_is(v, HONE_VALUE_ITERATOR)) {
        *out = v->list;
        return HONE_OK;
    }
    HONE_TRY(hone_list_new(r, 0, out));
    switch (v->kind) {
    case HONE_VALUE_UNDEFINED:
        return HONE_OK;
    case HONE_VALUE_STRING:
        return characters(r, v->string, *out);
    case HONE_VALUE_ITERATOR:
        if (!v->list->consumed) *out = v->list;
        v->list->consumed = true;
        return HONE_OK;
    case HONE_VALUE_DICT:
        (*out)->items = v->dict->keys; /* entries are only ever added */
        (*out)->count = v->dict->count;
        (*out)->capacity = v->dict->count;
        return HONE_OK;
    default:
        return hone_fail(r->err, HONE_ERR_FORMAT, "'%s' object is not iterable",
                         hone_value_type(v));
    }
}

void hone_format_float(double value, char out[HONE_FLOAT_TEXT]) {
    char text[HONE_FLOAT_TEXT], digits[20];
    if (isnan(value) || isinf(value)) {
        snprintf(out, HONE_FLOAT_TEXT, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, value);
        if (strtod(text, NULL) == value) break;
    }
    int count = 0;
    const char *at = text; /* "-d.ddde+xx"; the point may be another character in this locale */
    for (; *at != 'e'; at++) {
        if (*at >= '0' && *at <= '9') digits[count++] = *at;
    }
    int exponent = atoi(at + 1);
    const char *sign = signbit(value) ? "-" : "";
    if (exponent < -4 || exponent >= 16) {
        snprintf(out, HONE_FLOAT_TEXT, "%s%c%s%.*se%c%02d", sign, digits[0], count > 1 ? "." : "",
                 count - 1, digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        snprintf(out, HONE_FLOAT_TEXT, "%s0.%.*s%.*s", sign, -exponent - 1, "0000", count, digits);
    } else if (count > exponent + 1) {
        snprintf(out, HONE_FLOAT_TEXT, "%s%.*s.%.*s", sign, exponent + 1, digits,
                 count - exponent - 1, digits + exponent + 1);
    } else {
        snprintf(out, HONE_FLOAT_TEXT, "%s%.*s%.*s.0", sign, count, digits, exponent + 1 - count,
                 "0000000000000000");
    }
}
