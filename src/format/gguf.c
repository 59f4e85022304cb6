/* format/gguf: reading. Header (magic, version, two counts), metadata, tensor descriptions, padding up
 * to the alignment, tensor data. Source: the GGUF specification of the ggml project. */
#include "format/gguf.h"

#include "base/size.h"
#include "base/utf8.h"
#include "format/builder.h"
#include "format/ggml_types.h"
#include "format/gguf_meta.h"

#include <stdio.h>
#include <stdlib.h>

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "counts of the file are held in size_t");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "values are used as they lie in the file");

enum {
    DEFAULT_ALIGNMENT = 32,
    LEAST_ALIGNMENT =
        8, /* of numbers of 64 bits; every alignment is a multiple of it by the specification */
    MOST_ALIGNMENT = 1 << 20,
    MOST_TENSORS = 1000000,
    LEAST_ENTRY = 8 + 1 + 4 + 1,      /* bytes of the shortest key, a type, a value of one byte */
    LEAST_TENSOR = 8 + 1 + 4 + 4 + 8, /* bytes of the shortest name, no dimensions, type, offset */
};

typedef struct cursor {
    const hone_file_map *map;
    size_t at; /* <= map->size */
} cursor;

static size_t left(const cursor *c) { return c->map->size - c->at; }

static hone_status fail_cut(const cursor *c, const char *what, hone_error *err) {
    return hone_fail(err, HONE_ERR_FORMAT,
                     "%s: byte %zu: the file ends inside %s; it is cut off or damaged",
                     c->map->path, c->at, what);
}

/* Reads a little-endian number of `bytes` bytes. */
static hone_status take(cursor *c, void *out, size_t bytes, const char *what, hone_error *err) {
    if (left(c) < bytes) return fail_cut(c, what, err);
    memcpy(out, c->map->data + c->at, bytes);
    c->at += bytes;
    return HONE_OK;
}

/* A length and that many bytes, which stay in the mapping. */
static hone_status take_string(cursor *c, hone_str *out, const char *what, hone_error *err) {
    size_t start = c->at;
    uint64_t size = 0;
    HONE_TRY(take(c, &size, sizeof size, what, err));
    if (size > left(c)) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: byte %zu: %s states %llu bytes, but only %zu follow", c->map->path,
                         start, what, (unsigned long long)size, left(c));
    }
    *out = (hone_str){(const char *)c->map->data + c->at, (size_t)size};
    c->at += (size_t)size;
    return HONE_OK;
}

static hone_status take_type(cursor *c, uint8_t *type, hone_error *err) {
    size_t start = c->at;
    uint32_t value = 0;
    HONE_TRY(take(c, &value, sizeof value, "the type of a metadata value", err));
    if (value >= HONE_GGUF_TYPE_COUNT) {
        return hone_fail(err, HONE_ERR_FORMAT, "%s: byte %zu: metadata type %u; expected 0 to %d",
                         c->map->path, start, value, HONE_GGUF_TYPE_COUNT - 1);
    }
    *type = (uint8_t)value;
    return HONE_OK;
}

static hone_status take_array(cursor *c, hone_gguf_entry *e, hone_error *err) {
    size_t start = c->at;
    HONE_TRY(take_type(c, &e->element, err));
    uint64_t count = 0;
    HONE_TRY(take(c, &count, sizeof count, "an array's length", err));
    if (e->element == HONE_GGUF_ARRAY) {
        return hone_fail(err, HONE_ERR_UNSUPPORTED,
                         "%s: byte %zu: an array of arrays, which hone does not read", c->map->path,
                         start);
    }
    bool strings = e->element == HONE_GGUF_STRING;
    size_t each = strings ? sizeof(uint64_t) : hone_gguf_type_bytes(e->element);
    if (count > left(c) / each) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: byte %zu: an array states %llu elements, but only %zu bytes follow",
                         c->map->path, start, (unsigned long long)count, left(c));
    }
    e->count = (size_t)count;
    e->value = c->map->data + c->at;
    if (!strings) c->at += e->count * each;
    for (size_t i = 0; strings && i < e->count; i++) {
        hone_str string;
        HONE_TRY(take_string(c, &string, "a string of an array", err));
    }
    return HONE_OK;
}

static hone_status take_value(cursor *c, hone_gguf_entry *e, hone_error *err) {
    HONE_TRY(take_type(c, &e->type, err));
    if (e->type == HONE_GGUF_ARRAY) return take_array(c, e, err);
    if (e->type == HONE_GGUF_STRING) {
        hone_str string;
        HONE_TRY(take_string(c, &string, "a metadata string", err));
        e->value = (const uint8_t *)string.data;
        e->count = string.size;
        return HONE_OK;
    }
    size_t bytes = hone_gguf_type_bytes(e->type);
    if (left(c) < bytes) return fail_cut(c, "a metadata value", err);
    e->value = c->map->data + c->at;
    e->count = 1;
    if (e->type == HONE_GGUF_BOOL && e->value[0] > 1) {
        return hone_fail(err, HONE_ERR_FORMAT, "%s: byte %zu: a bool holds %d; expected 0 or 1",
                         c->map->path, c->at, e->value[0]);
    }
    c->at += bytes;
    return HONE_OK;
}

static hone_status read_metadata(cursor *c, uint64_t count, hone_gguf_meta *meta, hone_error *err) {
    if (count > left(c) / LEAST_ENTRY) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: byte 16: states %llu metadata entries, but only %zu bytes follow",
                         c->map->path, (unsigned long long)count, left(c));
    }
    meta->entries = calloc((size_t)count + 1, sizeof *meta->entries);
    if (meta->entries == NULL)
        return hone_fail_memory(err, "the metadata", (size_t)count * sizeof *meta->entries);
    for (; meta->count < count; meta->count++) {
        hone_gguf_entry *e = &meta->entries[meta->count];
        size_t start = c->at;
        HONE_TRY(take_string(c, &e->key, "a metadata key", err));
        if (e->key.size == 0 || e->key.size > UINT16_MAX) {
            return hone_fail(err, HONE_ERR_FORMAT,
                             "%s: byte %zu: a metadata key of %zu bytes; expected 1 to %d",
                             c->map->path, start, e->key.size, UINT16_MAX);
        }
        HONE_TRY(take_value(c, e, err));
    }
    return hone_gguf_meta_sort(meta, c->map, err);
}

static hone_status read_alignment(const hone_file_set *set, size_t *alignment, hone_error *err) {
    int64_t value;
    HONE_TRY(hone_gguf_get_int(set, "general.alignment", 1, MOST_ALIGNMENT, DEFAULT_ALIGNMENT,
                               &value, err));
    if ((value & (value - 1)) != 0 || value < LEAST_ALIGNMENT) {
        return hone_fail(
            err, HONE_ERR_FORMAT,
            "%s: metadata \"general.alignment\" is %lld; expected a power of two, 8 or more",
            set->path, (long long)value);
    }
    *alignment = (size_t)value;
    return HONE_OK;
}

/* A tensor's description as it stands in the file. */
typedef struct description {
    size_t start; /* byte of the file */
    hone_str name;
    uint32_t dims, type;
    uint64_t size[HONE_MAX_DIMS]; /* fastest axis first */
    uint64_t offset;              /* from the start of the data */
} description;

static hone_status take_description(cursor *c, description *d, hone_error *err) {
    d->start = c->at;
    HONE_TRY(take_string(c, &d->name, "a tensor's name", err));
    if (d->name.size == 0 || memchr(d->name.data, '\0', d->name.size) != NULL ||
        !hone_utf8_valid(d->name.data, d->name.size)) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: byte %zu: a tensor's name is empty, holds NUL or is not UTF-8",
                         c->map->path, d->start);
    }
    HONE_TRY(take(c, &d->dims, sizeof d->dims, "a tensor's description", err));
    if (d->dims > HONE_MAX_DIMS) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: byte %zu: a tensor of %u dimensions; expected at most %d",
                         c->map->path, d->start, d->dims, HONE_MAX_DIMS);
    }
    HONE_TRY(take(c, d->size, d->dims * sizeof d->size[0], "a tensor's description", err));
    HONE_TRY(take(c, &d->type, sizeof d->type, "a tensor's description", err));
    return take(c, &d->offset, sizeof d->offset, "a tensor's description", err);
}

static hone_status fail_tensor(const cursor *c, const description *d, hone_status status,
                               hone_error *err, const char *message) {
    int shown = (int)HONE_MIN(d->name.size, 200);
    return hone_fail(err, status, "%s: byte %zu: tensor \"%.*s\" %s", c->map->path, d->start, shown,
                     d->name.data, message);
}

static hone_status check_type(const cursor *c, const description *d, hone_dtype *dtype,
                              hone_error *err) {
    if (hone_ggml_type_dtype(d->type, dtype)) return HONE_OK;
    const char *name = hone_ggml_type_name(d->type);
    char message[160];
    if (name != NULL) {
        snprintf(message, sizeof message,
                 "has type %s, an unsupported tensor type; supported are F32, F16, BF16, Q4_0, "
                 "Q4_1 and Q8_0",
                 name);
    } else {
        snprintf(message, sizeof message,
                 "has the unknown tensor type %u; the file is damaged or newer than hone", d->type);
    }
    return fail_tensor(c, d, HONE_ERR_UNSUPPORTED, err, message);
}

/* Shape and type make the size; offset and size must lie in the data. */
static hone_status check_description(const cursor *c, const description *d, size_t data_begin,
                                     size_t alignment, hone_tensor *t, hone_error *err) {
    *t = (hone_tensor){.dims = (int)d->dims};
    HONE_TRY(check_type(c, d, &t->dtype, err));
    size_t rows = 1;
    bool fits = true;
    for (uint32_t i = 0; i < d->dims; i++) {
        if (d->size[i] == 0) return fail_tensor(c, d, HONE_ERR_FORMAT, err, "has a dimension of 0");
        if (i > 0) fits = fits && hone_size_mul(rows, d->size[i], &rows);
        t->shape[d->dims - 1 - i] = d->size[i];
    }
    size_t cols = d->dims > 0 ? d->size[0] : 1, row_bytes = 0;
    if (cols % hone_dtype_block(t->dtype) != 0) {
        return fail_tensor(c, d, HONE_ERR_FORMAT, err,
                           "has rows that are no multiple of its type's block of 32");
    }
    if (!fits || !hone_dtype_row_bytes(t->dtype, cols, &row_bytes) ||
        !hone_size_mul(rows, row_bytes, &t->bytes)) {
        return fail_tensor(c, d, HONE_ERR_FORMAT, err,
                           "has a shape of more bytes than 64 bits can count");
    }
    if (d->offset % alignment != 0) {
        return fail_tensor(c, d, HONE_ERR_FORMAT, err,
                           "has an offset that is no multiple of the alignment");
    }
    size_t end;
    if (!hone_size_add(data_begin, d->offset, &t->offset) ||
        !hone_size_add(t->offset, t->bytes, &end) || end > c->map->size) {
        char message[160];
        snprintf(message, sizeof message,
                 "has %zu bytes at offset %llu of the data, past the end of the file (%zu bytes)",
                 t->bytes, (unsigned long long)d->offset, c->map->size);
        return fail_tensor(c, d, HONE_ERR_FORMAT, err, message);
    }
    t->data = c->map->data + t->offset;
    return HONE_OK;
}

static hone_status read_tensors(hone_builder *builder, int file, cursor *c, uint64_t count,
                                size_t alignment, hone_error *err) {
    /* Where the data starts is known only behind the last description: they are read twice. */
    description d = {0};
    cursor first = *c;
    for (uint64_t i = 0; i < count; i++) HONE_TRY(take_description(c, &d, err));
    size_t data_begin = 0;
    if (!hone_size_align(c->at, alignment, &data_begin))
        return fail_cut(c, "the tensor descriptions", err);
    builder->data_begin[file] = data_begin;
    for (uint64_t i = 0; i < count; i++) {
        hone_tensor t;
        HONE_TRY(take_description(&first, &d, err));
        HONE_TRY(check_description(&first, &d, data_begin, alignment, &t, err));
        t.file = file;
        HONE_TRY(hone_builder_add(builder, d.name.data, d.name.size, &t, err));
    }
    return HONE_OK;
}

static hone_status read_version(cursor *c, hone_error *err) {
    char magic[4];
    uint32_t version = 0;
    HONE_TRY(take(c, magic, sizeof magic, "the header", err));
    if (memcmp(magic, "GGUF", sizeof magic) != 0) {
        return hone_fail(err, HONE_ERR_FORMAT, "%s: byte 0: a GGUF file starts with \"GGUF\"",
                         c->map->path);
    }
    HONE_TRY(take(c, &version, sizeof version, "the header", err));
    if (version == 2 || version == 3) return HONE_OK;
    if ((version & 0xffffu) == 0 && version != 0) {
        return hone_fail(err, HONE_ERR_UNSUPPORTED,
                         "%s: byte 4: big-endian GGUF; convert it to little-endian", c->map->path);
    }
    return hone_fail(err, HONE_ERR_UNSUPPORTED,
                     "%s: byte 4: GGUF version %u; hone reads versions 2 and 3", c->map->path,
                     version);
}

hone_status hone_gguf_load(hone_builder *builder, int file, hone_error *err) {
    hone_file_set *set = builder->set;
    cursor c = {&set->files[file], 0};
    uint64_t tensors = 0, entries = 0;
    HONE_TRY(read_version(&c, err));
    HONE_TRY(take(&c, &tensors, sizeof tensors, "the header", err));
    HONE_TRY(take(&c, &entries, sizeof entries, "the header", err));
    set->gguf = calloc(1, sizeof *set->gguf);
    if (set->gguf == NULL) return hone_fail_memory(err, "the metadata", sizeof *set->gguf);
    HONE_TRY(read_metadata(&c, entries, set->gguf, err));
    size_t alignment = 0;
    HONE_TRY(read_alignment(set, &alignment, err));
    if (tensors > left(&c) / LEAST_TENSOR) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: byte 8: states %llu tensors, but only %zu bytes follow at byte %zu",
                         c.map->path, (unsigned long long)tensors, left(&c), c.at);
    }
    if (tensors > MOST_TENSORS) {
        return hone_fail(err, HONE_ERR_LIMIT,
                         "%s: byte 8: states %llu tensors; at most %d are read", c.map->path,
                         (unsigned long long)tensors, MOST_TENSORS);
    }
    return read_tensors(builder, file, &c, tensors, alignment, err);
}
