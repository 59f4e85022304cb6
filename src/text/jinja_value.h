/* text/jinja_value: the values of templates, with Python's semantics: truth, equality, order,
 * str() and repr(). All of them live in the region of one rendering and none changes once made,
 * except namespaces and loops. */
#ifndef HONE_TEXT_JINJA_VALUE_H
#define HONE_TEXT_JINJA_VALUE_H

#include "base/buf.h"
#include "text/pipeline.h"
#include "text/region.h"

typedef struct hone_render hone_render;

typedef enum hone_value_kind {
    HONE_VALUE_ABSENT, /* no value: an argument that was not given */
    HONE_VALUE_UNDEFINED,
    HONE_VALUE_NONE,
    HONE_VALUE_BOOL,
    HONE_VALUE_INT,
    HONE_VALUE_FLOAT,
    HONE_VALUE_STRING,
    HONE_VALUE_LIST,
    HONE_VALUE_TUPLE,
    HONE_VALUE_RANGE,
    HONE_VALUE_VIEW,     /* a dict's keys, values or items */
    HONE_VALUE_ITERATOR, /* what map, select and their like return: gives its items once */
    HONE_VALUE_DICT,
    HONE_VALUE_NAMESPACE,
    HONE_VALUE_CALLABLE,
    HONE_VALUE_LOOP
} hone_value_kind;

typedef struct hone_value {
    uint8_t kind;  /* hone_value_kind */
    uint8_t owner; /* UNDEFINED: the kind whose attribute is missing, ABSENT for a variable */
    bool markup;   /* STRING: marked safe */
    union {
        bool truth;
        int64_t integer;
        double real;
        hone_slice string; /* UTF-8. UNDEFINED: the name */
        struct hone_list *list;
        struct hone_dict *dict; /* also NAMESPACE */
        struct hone_callable *callable;
        struct hone_loop *loop;
    };
} hone_value;

typedef struct hone_list {
    hone_value *items;
    size_t count, capacity;
    int64_t range[3]; /* RANGE: start, stop, step; the items are there all the same */
    const char *view; /* VIEW: "dict_keys", "dict_values", "dict_items" */
    bool consumed;    /* ITERATOR */
} hone_list;

/* In order of insertion. Beyond a few entries an index finds keys. */
typedef struct hone_dict {
    hone_value *keys, *values; /* [count] */
    size_t count, capacity;
    int32_t *slots; /* [slot_mask + 1] entries, -1: empty; NULL while small */
    size_t slot_mask;
} hone_dict;

static inline hone_value hone_value_none(void) { return (hone_value){.kind = HONE_VALUE_NONE}; }
static inline hone_value hone_value_bool(bool truth) {
    return (hone_value){.kind = HONE_VALUE_BOOL, .truth = truth};
}
static inline hone_value hone_value_int(int64_t integer) {
    return (hone_value){.kind = HONE_VALUE_INT, .integer = integer};
}
static inline hone_value hone_value_float(double real) {
    return (hone_value){.kind = HONE_VALUE_FLOAT, .real = real};
}
static inline hone_value hone_value_string(const char *data, size_t size) {
    return (hone_value){.kind = HONE_VALUE_STRING, .string = {data, size}};
}
static inline hone_value hone_value_list(hone_value_kind kind, hone_list *list) {
    return (hone_value){.kind = (uint8_t)kind, .list = list};
}
static inline hone_value hone_value_undefined(hone_slice name, hone_value_kind owner) {
    return (hone_value){.kind = HONE_VALUE_UNDEFINED, .owner = (uint8_t)owner, .string = name};
}
static inline bool hone_value_is(const hone_value *v, hone_value_kind kind) {
    return v->kind == kind;
}
static inline bool hone_value_is_number(const hone_value *v) {
    return v->kind >= HONE_VALUE_BOOL && v->kind <= HONE_VALUE_FLOAT;
}
/* bool counts as int, as in Python. */
static inline bool hone_value_is_integer(const hone_value *v) {
    return v->kind == HONE_VALUE_BOOL || v->kind == HONE_VALUE_INT;
}
static inline int64_t hone_value_integer(const hone_value *v) {
    return v->kind == HONE_VALUE_BOOL ? v->truth : v->integer;
}
static inline double hone_value_real(const hone_value *v) {
    return v->kind == HONE_VALUE_FLOAT ? v->real : (double)hone_value_integer(v);
}
static inline bool hone_value_has_list(const hone_value *v) {
    return v->kind >= HONE_VALUE_LIST && v->kind <= HONE_VALUE_ITERATOR;
}

bool hone_slice_equal(hone_slice a, hone_slice b);
bool hone_slice_is(hone_slice a, const char *text);

/* "str", "dict", "NoneType", ...: for messages. */
const char *hone_value_type(const hone_value *v);

/* Fails with what is wrong with using an undefined value. */
hone_status hone_value_fail_undefined(hone_render *r, const hone_value *v);

/* A string owned by the region. */
hone_status hone_value_copy(hone_render *r, const char *data, size_t size, hone_value *out);

hone_status hone_list_new(hone_render *r, size_t capacity, hone_list **out);
hone_status hone_list_push(hone_render *r, hone_list *list, hone_value item);

hone_status hone_dict_new(hone_render *r, hone_dict **out);
/* *found is borrowed, NULL when there is no such key. Keys that Python cannot hash are an error. */
hone_status hone_dict_get(hone_render *r, const hone_dict *dict, const hone_value *key,
                          const hone_value **found);
hone_status hone_dict_set(hone_render *r, hone_dict *dict, hone_value key, hone_value value);

bool hone_value_truth(const hone_value *v);
hone_status hone_value_equal(hone_render *r, const hone_value *a, const hone_value *b, bool *out);
/* Negative, zero or positive as Python orders them; values that it cannot order are an error. */
hone_status hone_value_compare(hone_render *r, const hone_value *a, const hone_value *b, int *out);
/* `item in container`. */
hone_status hone_value_contains(hone_render *r, const hone_value *container, const hone_value *item,
                                bool *out);

/* len(); fails where Python does. */
hone_status hone_value_length(hone_render *r, const hone_value *v, int64_t *out);
/* What a for loop sees: items of a list, keys of a dict, characters of a string. The list may be
 * the value's own. */
hone_status hone_value_items(hone_render *r, const hone_value *v, hone_list **out);

/* str() and repr(), appended. */
hone_status hone_value_str(hone_render *r, const hone_value *v, hone_buf *out);
hone_status hone_value_repr(hone_render *r, const hone_value *v, hone_buf *out);
/* str() as a slice: the string itself, or in the region. */
hone_status hone_value_text(hone_render *r, const hone_value *v, hone_slice *out);

/* Python's repr of a float: the fewest digits that read back the same. */
#define HONE_FLOAT_TEXT 32
void hone_format_float(double value, char out[HONE_FLOAT_TEXT]);

#endif
