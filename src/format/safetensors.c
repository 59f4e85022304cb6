/* format/safetensors: reading. An 8-byte little-endian header length, the header (a JSON object: name
 * to dtype, shape and data_offsets), the data. */
#include "format/safetensors.h"

#include "base/size.h"
#include "format/builder.h"
#include "format/scan.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensor data is used as it lies in the file");

enum { PREFIX_BYTES = 8, HEADER_LIMIT = 100000000 };

static const struct {
    const char *name;
    bool supported, is_uint32;
    hone_dtype dtype;
} dtypes[] = {
    {"F32", true, false, HONE_F32},
    {"F16", true, false, HONE_F16},
    {"BF16", true, false, HONE_BF16},
    {"U32", true, true, HONE_F32},
    {.name = "F64"},
    {.name = "I64"},
    {.name = "U64"},
    {.name = "I32"},
    {.name = "I16"},
    {.name = "U16"},
    {.name = "I8"},
    {.name = "U8"},
    {.name = "BOOL"},
    {.name = "C64"},
    {.name = "F8_E4M3"},
    {.name = "F8_E5M2"},
    {.name = "F8_E8M0"},
    {.name = "F8_E4M3FNUZ"},
    {.name = "F8_E5M2FNUZ"},
    {.name = "F6_E2M3"},
    {.name = "F6_E3M2"},
    {.name = "F4"},
};

typedef struct reader {
    hone_builder *builder;
    const hone_file_map *map;
    int file;
    hone_scan scan;
    size_t data_begin; /* byte of the file */
    size_t data_size;
    hone_buf name; /* of the tensor at hand */
    hone_buf text; /* of the string at hand */
    size_t start;  /* where the tensor at hand begins in the header */
    bool has_metadata;
} reader;

/* What the header says of one tensor. */
typedef struct entry {
    bool has_dtype, has_shape, has_offsets;
    hone_tensor tensor;
    size_t begin, end; /* data_offsets */
} entry;

static hone_status read_dtype(reader *r, entry *e, hone_error *err) {
    size_t at = r->scan.at;
    HONE_TRY(hone_scan_string(&r->scan, &r->text, err));
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(r->text.data, dtypes[i].name) != 0) continue;
        if (!dtypes[i].supported) {
            return hone_scan_fail(
                &r->scan, at, HONE_ERR_UNSUPPORTED, err,
                "tensor \"%.200s\" has dtype %s; supported are F32, F16, BF16 and U32 (MLX codes)",
                r->name.data, dtypes[i].name);
        }
        e->tensor.dtype = dtypes[i].dtype;
        e->tensor.is_uint32 = dtypes[i].is_uint32;
        e->has_dtype = true;
        return HONE_OK;
    }
    return hone_scan_fail(
        &r->scan, at, HONE_ERR_FORMAT, err,
        "tensor \"%.200s\" has the unknown dtype \"%.40s\"; expected F32, F16, BF16 or U32",
        r->name.data, r->text.data);
}

static hone_status read_shape(reader *r, entry *e, hone_error *err) {
    HONE_TRY(hone_scan_expect(&r->scan, '[', err));
    e->has_shape = true;
    e->tensor.dims = 0;
    if (hone_scan_accept(&r->scan, ']')) return HONE_OK;
    do {
        size_t size;
        HONE_TRY(hone_scan_size(&r->scan, &size, err));
        if (e->tensor.dims == HONE_MAX_DIMS) {
            return hone_scan_fail(&r->scan, r->start, HONE_ERR_UNSUPPORTED, err,
                                  "tensor \"%.200s\" has more than %d dimensions", r->name.data,
                                  HONE_MAX_DIMS);
        }
        e->tensor.shape[e->tensor.dims++] = size;
    } while (hone_scan_accept(&r->scan, ','));
    return hone_scan_expect(&r->scan, ']', err);
}

static hone_status read_offsets(reader *r, entry *e, hone_error *err) {
    HONE_TRY(hone_scan_expect(&r->scan, '[', err));
    HONE_TRY(hone_scan_size(&r->scan, &e->begin, err));
    HONE_TRY(hone_scan_expect(&r->scan, ',', err));
    HONE_TRY(hone_scan_size(&r->scan, &e->end, err));
    e->has_offsets = true;
    return hone_scan_expect(&r->scan, ']', err);
}

static hone_status read_member(reader *r, entry *e, hone_error *err) {
    size_t at = r->scan.at;
    HONE_TRY(hone_scan_string(&r->scan, &r->text, err));
    const char *key = r->text.data;
    bool dtype = strcmp(key, "dtype") == 0, shape = strcmp(key, "shape") == 0;
    bool offsets = strcmp(key, "data_offsets") == 0;
    if (!dtype && !shape && !offsets) {
        return hone_scan_fail(
            &r->scan, at, HONE_ERR_FORMAT, err,
            "tensor \"%.200s\" has \"%.40s\"; expected dtype, shape and data_offsets only",
            r->name.data, key);
    }
    if ((dtype && e->has_dtype) || (shape && e->has_shape) || (offsets && e->has_offsets)) {
        return hone_scan_fail(&r->scan, at, HONE_ERR_FORMAT, err,
                              "tensor \"%.200s\" has \"%s\" twice", r->name.data, key);
    }
    HONE_TRY(hone_scan_expect(&r->scan, ':', err));
    if (dtype) return read_dtype(r, e, err);
    return shape ? read_shape(r, e, err) : read_offsets(r, e, err);
}

/* Shape and dtype against the offsets, the offsets against the file. */
static hone_status check_entry(reader *r, const entry *e, hone_error *err) {
    const char *name = r->name.data;
    if (!e->has_dtype || !e->has_shape || !e->has_offsets) {
        return hone_scan_fail(&r->scan, r->start, HONE_ERR_FORMAT, err,
                              "tensor \"%.200s\" has no %s", name,
                              !e->has_dtype   ? "dtype"
                              : !e->has_shape ? "shape"
                                              : "data_offsets");
    }
    size_t bytes = hone_dtype_block_bytes(e->tensor.dtype);
    for (int i = 0; i < e->tensor.dims; i++) {
        if (!hone_size_mul(bytes, e->tensor.shape[i], &bytes)) {
            return hone_scan_fail(
                &r->scan, r->start, HONE_ERR_FORMAT, err,
                "tensor \"%.200s\" has a shape of more bytes than 64 bits can count", name);
        }
    }
    if (e->begin > e->end || e->end > r->data_size) {
        return hone_scan_fail(
            &r->scan, r->start, HONE_ERR_FORMAT, err,
            "tensor \"%.200s\" has data_offsets [%zu, %zu]; expected them in order and at most %zu",
            name, e->begin, e->end, r->data_size);
    }
    if (e->end - e->begin != bytes) {
        return hone_scan_fail(
            &r->scan, r->start, HONE_ERR_FORMAT, err,
            "tensor \"%.200s\" has %zu bytes of data; its shape and dtype make %zu", name,
            e->end - e->begin, bytes);
    }
    return HONE_OK;
}

static hone_status read_tensor(reader *r, hone_error *err) {
    entry e = {0};
    HONE_TRY(hone_scan_expect(&r->scan, '{', err));
    do {
        HONE_TRY(read_member(r, &e, err));
    } while (hone_scan_accept(&r->scan, ','));
    HONE_TRY(hone_scan_expect(&r->scan, '}', err));
    HONE_TRY(check_entry(r, &e, err));
    e.tensor.file = r->file;
    e.tensor.offset = r->data_begin + e.begin;
    e.tensor.bytes = e.end - e.begin;
    e.tensor.data = r->map->data + e.tensor.offset;
    return hone_builder_add(r->builder, r->name.data, r->name.size, &e.tensor, err);
}

/* Strings to strings; nothing in it is needed. */
static hone_status read_metadata(reader *r, hone_error *err) {
    if (r->has_metadata) {
        return hone_scan_fail(&r->scan, r->start, HONE_ERR_FORMAT, err,
                              "__metadata__ appears twice");
    }
    r->has_metadata = true;
    if (hone_scan_accept(&r->scan, 'n')) { /* MLX writes null where it has none */
        r->scan.at--;
        return hone_scan_skip(&r->scan, err);
    }
    HONE_TRY(hone_scan_expect(&r->scan, '{', err));
    if (hone_scan_accept(&r->scan, '}')) return HONE_OK;
    do {
        HONE_TRY(hone_scan_string(&r->scan, &r->text, err));
        HONE_TRY(hone_scan_expect(&r->scan, ':', err));
        HONE_TRY(hone_scan_string(&r->scan, &r->text, err));
    } while (hone_scan_accept(&r->scan, ','));
    return hone_scan_expect(&r->scan, '}', err);
}

static hone_status read_header(reader *r, hone_error *err) {
    HONE_TRY(hone_scan_expect(&r->scan, '{', err));
    if (hone_scan_accept(&r->scan, '}')) return hone_scan_end(&r->scan, err);
    do {
        r->start = r->scan.at;
        HONE_TRY(hone_scan_string(&r->scan, &r->name, err));
        HONE_TRY(hone_scan_expect(&r->scan, ':', err));
        bool metadata = strcmp(r->name.data, "__metadata__") == 0;
        HONE_TRY(metadata ? read_metadata(r, err) : read_tensor(r, err));
    } while (hone_scan_accept(&r->scan, ','));
    HONE_TRY(hone_scan_expect(&r->scan, '}', err));
    return hone_scan_end(&r->scan, err);
}

/* The header's length, checked against the format's limit and the file. */
static hone_status check_prefix(const hone_file_map *map, size_t *header, hone_error *err) {
    if (map->size < PREFIX_BYTES) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: has %zu bytes; a safetensors file has at least %d", map->path,
                         map->size, PREFIX_BYTES);
    }
    uint64_t length;
    memcpy(&length, map->data, sizeof length);
    if (length > HEADER_LIMIT) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: byte 0: states a header of %llu bytes; at most %d are allowed",
                         map->path, (unsigned long long)length, HEADER_LIMIT);
    }
    if (length > map->size - PREFIX_BYTES) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: byte 0: states a header of %llu bytes, but only %zu follow; the file "
                         "is cut off or damaged",
                         map->path, (unsigned long long)length, map->size - PREFIX_BYTES);
    }
    if (length == 0 || map->data[PREFIX_BYTES] != '{') {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: byte %d: the header of a safetensors file starts with '{'", map->path,
                         PREFIX_BYTES);
    }
    *header = (size_t)length;
    return HONE_OK;
}

hone_status hone_safetensors_load(hone_builder *builder, int file, hone_error *err) {
    const hone_file_map *map = &builder->set->files[file];
    size_t header = 0;
    HONE_TRY(check_prefix(map, &header, err));
    reader r = {
        .builder = builder,
        .map = map,
        .file = file,
        .scan = {map->path, (const char *)map->data + PREFIX_BYTES, header, 0, PREFIX_BYTES},
        .data_begin = PREFIX_BYTES + header,
        .data_size = map->size - PREFIX_BYTES - header,
        .name = hone_buf_make(header),
        .text = hone_buf_make(header),
    };
    builder->data_begin[file] = r.data_begin;
    hone_status status = read_header(&r, err);
    hone_buf_free(&r.name);
    hone_buf_free(&r.text);
    return status;
}
