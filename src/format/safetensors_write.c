/* format/safetensors: writing. */
#include "format/safetensors.h"

#include "base/size.h"

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

static hone_status add_to_header(json_t *header, const hone_tensor_out *t, size_t begin, size_t end,
                                 hone_error *err) {
    if (strcmp(t->name, "__metadata__") == 0 || json_object_get(header, t->name) != NULL) {
        return hone_fail(err, HONE_ERR_INTERNAL, "two tensors would be named \"%.200s\"", t->name);
    }
    json_t *shape = json_array();
    for (int i = 0; i < t->dims; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype_word(t->dtype), "shape", shape,
                              "data_offsets", (json_int_t)begin, (json_int_t)end);
    /* Besides a lack of memory, a name that is not UTF-8 comes here; neither should. */
    if (json_object_set_new(header, t->name, entry) == 0) return HONE_OK;
    return hone_fail(err, HONE_ERR_INTERNAL, "tensor \"%.200s\" cannot be described in JSON",
                     t->name);
}

static hone_status make_header(const hone_tensor_out *const *tensors, size_t count,
                               const json_t *metadata, hone_buf *text, hone_error *err) {
    json_t *header = json_object();
    hone_status status = HONE_OK;
    size_t begin = 0;
    if (metadata != NULL &&
        json_object_set_new(header, "__metadata__", json_deep_copy(metadata)) != 0) {
        status = hone_fail_memory(err, "the header", count);
    }
    for (size_t i = 0; status == HONE_OK && i < count; i++) {
        size_t bytes, end = 0;
        HONE_TRY_GOTO(status, done, tensor_bytes(tensors[i], &bytes, err));
        if (!hone_size_add(begin, bytes, &end)) {
            status = hone_fail(err, HONE_ERR_INTERNAL,
                               "the tensors have more bytes than 64 bits can count");
            goto done;
        }
        HONE_TRY_GOTO(status, done, add_to_header(header, tensors[i], begin, end, err));
        begin = end;
    }
    if (status == HONE_OK) status = hone_json_format(header, 0, text, err);
    while (status == HONE_OK && text->size % 8 != 0) status = hone_buf_append_char(text, ' ', err);
done:
    json_decref(header);
    return status;
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
    qsort(order, count, sizeof *order, by_alignment);
    hone_buf header = hone_buf_make(SIZE_MAX);
    hone_status status = make_header(order, count, metadata, &header, err);
    if (status != HONE_OK) {
        hone_fail_prefix(err, "%s", path);
    } else {
        status = write_all(path, order, count, &header, err);
    }
    hone_buf_free(&header);
    free(order);
    return status;
}
