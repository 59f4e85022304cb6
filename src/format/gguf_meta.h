/* format/gguf_meta: GGUF's metadata as found in the mapping. Private to the layer. */
#ifndef HONE_FORMAT_GGUF_META_H
#define HONE_FORMAT_GGUF_META_H

#include "format/gguf.h"

typedef enum hone_gguf_type {
    HONE_GGUF_UINT8,
    HONE_GGUF_INT8,
    HONE_GGUF_UINT16,
    HONE_GGUF_INT16,
    HONE_GGUF_UINT32,
    HONE_GGUF_INT32,
    HONE_GGUF_FLOAT32,
    HONE_GGUF_BOOL,
    HONE_GGUF_STRING,
    HONE_GGUF_ARRAY,
    HONE_GGUF_UINT64,
    HONE_GGUF_INT64,
    HONE_GGUF_FLOAT64,
    HONE_GGUF_TYPE_COUNT
} hone_gguf_type;

/* Bytes of a value; 0 for strings and arrays. */
size_t hone_gguf_type_bytes(hone_gguf_type type);

typedef struct hone_gguf_entry {
    hone_str key;         /* in the mapping */
    const uint8_t *value; /* a number, a string's bytes, or an array's first element */
    size_t count;         /* bytes of a string, elements of an array, else 1 */
    uint8_t type;         /* hone_gguf_type */
    uint8_t element;      /* of an array */
} hone_gguf_entry;

struct hone_gguf_meta {
    hone_gguf_entry *entries; /* [count], sorted by key */
    size_t count;
};

/* Sorts; two entries of one key are an error. */
hone_status hone_gguf_meta_sort(hone_gguf_meta *meta, const hone_file_map *map, hone_error *err);

#endif
