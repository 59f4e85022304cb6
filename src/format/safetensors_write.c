/* format/safetensors: writing. */
#include "format/safetensors.h"

#include "base/size.h"
#include "base/utf8.h"

#include <stdlib.h>

/* Elements of larger types first, as the reference implementation does: every tensor is aligned then. */
static int by_alignment(const void *left, const void *right) {
    const hone_tensor_out *a = *(const hone_tensor_out *const *)left,
                          *b = *(const hone_tensor_out *const *)right;
    size_t wide = hone_dtype_block_bytes(a->dtype), other = hone_dtype_block_bytes(b->dtype);
    if (wide != other) return wide > other ? -1 : 1;
    return strcmp(a->name, b->name);
}

static const char *dtype_word(hone_dtype dtype) {
    switch (dtype) {
    case HONE_F32:
        return "F32";
    case HONE_F16:
        return "F16";
    case HONE_BF16:
        return "BF16";
    default:
        return NULL;
    }
}

static hone_status tensor_bytes(const hone_tensor_out *t, size_t *bytes, hone_error *err) {
    *bytes = hone_dtype_block_bytes(t->dtype);
    bool ok = dtype_word(t->dtype) != NULL && t->dims >= 0 && t->dims <= HONE_MAX_DIMS;
    for (int i = 0; ok && i < t->dims; i++) ok = hone_size_mul(*bytes, t->shape[i], bytes);
    if (ok) return HONE_OK;
    return hone_fail(err, HONE_ERR_INTERNAL,
                     "tensor \"%.200s\" of type %s and %d dimensions cannot be written", t->name,
                     hone_dtype_name(t->dtype), t->dims);
}

static int by_name(const void *left, const void *right) {
    return strcmp((*(const hone_tensor_out *const *)left)->name,
                  (*(const hone_tensor_out *const *)right)->name);
}

/* Leaves the tensors sorted by name. */
static hone_status check_names(const hone_tensor_out **tensors, size_t count, hone_error *err) {
    qsort(tensors, count, sizeof *tensors, by_name);
    for (size_t i = 0; i < count; i++) {
        const char *name = tensors[i]->name;
        if (strcmp(name, "__metadata__") == 0 ||
            (i > 0 && strcmp(name, tensors[i - 1]->name) == 0)) {
            return hone_fail(err, HONE_ERR_INTERNAL, "two entries would be named \"%.200s\"", name);
        }
        if (!hone_utf8_valid(name, strlen(name))) {
            return hone_fail(err, HONE_ERR_INTERNAL, "the name \"%.200s\" is not UTF-8", name);
        }
    }
    return HONE_OK;
}

/* "name": with what JSON needs escaped. */
static hone_status append_name(hone_buf *text, const char *name, hone_error *err) {
    json_t *string = json_string(name);
    if (string == NULL) return hone_fail_memory(err, "the name of a tensor", strlen(name));
    hone_status status = hone_json_format(string, 0, text, err);
    json_decref(string);
    return status == HONE_OK ? hone_buf_append_str(text, ": ", err) : status;
}

static hone_status append_tensor(hone_buf *text, const hone_tensor_out *t, size_t *end,
                                 hone_error *err) {
    size_t bytes, begin = *end;
    HONE_TRY(tensor_bytes(t, &bytes, err));
    if (!hone_size_add(begin, bytes, end)) {
        return hone_fail(err, HONE_ERR_INTERNAL,
                         "the tensors have more bytes than 64 bits can count");
    }
    HONE_TRY(append_name(text, t->name, err));
    HONE_TRY(hone_buf_printf(text, err, "{\"dtype\": \"%s\", \"shape\": [", dtype_word(t->dtype)));
    for (int i = 0; i < t->dims; i++) {
        HONE_TRY(hone_buf_printf(text, err, "%s%zu", i > 0 ? ", " : "", t->shape[i]));
    }
    return hone_buf_printf(text, err, "], \"data_offsets\": [%zu, %zu]}", begin, *end);
}

static hone_status make_header(const hone_tensor_out *const *tensors, size_t count,
                               const json_t *metadata, hone_buf *text, hone_error *err) {
    size_t end = 0;
    HONE_TRY(hone_buf_append_char(text, '{', err));
    if (metadata != NULL) {
        HONE_TRY(append_name(text, "__metadata__", err));
        HONE_TRY(hone_json_format(metadata, 0, text, err));
    }
    for (size_t i = 0; i < count; i++) {
        if (i > 0 || metadata != NULL) HONE_TRY(hone_buf_append_str(text, ", ", err));
        HONE_TRY(append_tensor(text, tensors[i], &end, err));
    }
    HONE_TRY(hone_buf_append_char(text, '}', err));
    while (text->size % 8 != 0) HONE_TRY(hone_buf_append_char(text, ' ', err));
    return HONE_OK;
}

static hone_status write_all(const char *path, const hone_tensor_out *const *tensors, size_t count,
                             const hone_buf *header, hone_error *err) {
    hone_file_writer writer;
    HONE_TRY(hone_file_writer_begin(&writer, path, err));
    uint64_t length = header->size;
    hone_status status = hone_file_writer_append(&writer, &length, sizeof length, err);
    if (status == HONE_OK)
        status = hone_file_writer_append(&writer, header->data, header->size, err);
    for (size_t i = 0; status == HONE_OK && i < count; i++) {
        size_t bytes;
        status = tensor_bytes(tensors[i], &bytes, err);
        if (status == HONE_OK)
            status = hone_file_writer_append(&writer, tensors[i]->data, bytes, err);
    }
    if (status == HONE_OK) status = hone_file_writer_commit(&writer, err);
    hone_file_writer_abandon(&writer);
    return status;
}

hone_status hone_safetensors_write(const char *path, const hone_tensor_out *tensors, size_t count,
                                   const json_t *metadata, hone_error *err) {
    const hone_tensor_out **order = malloc((count + 1) * sizeof *order);
    if (order == NULL)
        return hone_fail_memory(err, "the list of tensors", (count + 1) * sizeof *order);
    for (size_t i = 0; i < count; i++) order[i] = &tensors[i];
    hone_buf header = hone_buf_make(SIZE_MAX);
    hone_status status = check_names(order, count, err);
    if (status == HONE_OK) {
        qsort(order, count, sizeof *order, by_alignment);
        status = make_header(order, count, metadata, &header, err);
    }
    if (status != HONE_OK) {
        hone_fail_prefix(err, "%s", path);
    } else {
        status = write_all(path, order, count, &header, err);
    }
    hone_buf_free(&header);
    free(order);
    return status;
}
