/* format/builder: a hone_file_set while its files are being read. */
#include "format/builder.h"

#include "base/size.h"

#include <stdlib.h>

hone_status hone_builder_open_files(hone_builder *builder, char *const *paths, size_t count,
                                    hone_error *err) {
    hone_file_set *set = builder->set;
    set->files = calloc(count, sizeof *set->files);
    builder->data_begin = calloc(count, sizeof *builder->data_begin);
    if (set->files == NULL || builder->data_begin == NULL) {
        return hone_fail_memory(err, "the list of files", count * sizeof *set->files);
    }
    for (size_t i = 0; i < count; i++) {
        HONE_TRY(hone_file_map_open(&set->files[i], paths[i], err));
        set->file_count = i + 1;
    }
    return HONE_OK;
}

void hone_builder_free(hone_builder *builder) {
    free(builder->data_begin);
    hone_buf_free(&builder->names);
    *builder = (hone_builder){0};
}

hone_status hone_builder_add(hone_builder *builder, const char *name, size_t name_size,
                             const hone_tensor *tensor, hone_error *err) {
    hone_file_set *set = builder->set;
    if (set->tensor_count == builder->capacity) {
        size_t capacity = HONE_MAX((size_t)64, builder->capacity * 2);
        hone_tensor *grown = realloc(set->tensors, capacity * sizeof *grown);
        if (grown == NULL)
            return hone_fail_memory(err, "the list of tensors", capacity * sizeof *grown);
        set->tensors = grown;
        builder->capacity = capacity;
    }
    HONE_TRY(hone_buf_append(&builder->names, name, name_size, err));
    HONE_TRY(hone_buf_append_char(&builder->names, '\0', err));
    set->tensors[set->tensor_count++] = *tensor;
    return HONE_OK;
}

static int by_place(const void *left, const void *right) {
    const hone_tensor *a = left, *b = right;
    if (a->file != b->file) return a->file < b->file ? -1 : 1;
    if (a->offset != b->offset) return a->offset < b->offset ? -1 : 1;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static hone_status check_file_layout(const hone_builder *builder, int file, size_t *next,
                                     hone_error *err) {
    const hone_file_set *set = builder->set;
    const hone_file_map *map = &set->files[file];
    bool filled = set->kind == HONE_FORMAT_SAFETENSORS;
    size_t end = builder->data_begin[file];
    for (; *next < set->tensor_count && set->tensors[*next].file == file; ++*next) {
        const hone_tensor *t = &set->tensors[*next];
        if (t->offset < end) {
            return hone_fail(
                err, HONE_ERR_FORMAT,
                "%s: byte %zu: tensor \"%.200s\" overlaps \"%.200s\", which ends at %zu", map->path,
                t->offset, t->name, t[-1].name, end);
        }
        if (filled && t->offset > end) {
            return hone_fail(err, HONE_ERR_FORMAT,
                             "%s: byte %zu: a gap before tensor \"%.200s\" at %zu; tensors must "
                             "follow one another",
                             map->path, end, t->name, t->offset);
        }
        end = t->offset + t->bytes;
    }
    if (filled && end != map->size) {
        return hone_fail(
            err, HONE_ERR_FORMAT,
            "%s: byte %zu: %zu bytes after the last tensor; expected the end of the file",
            map->path, end, map->size - end);
    }
    return HONE_OK;
}

hone_status hone_builder_check_layout(hone_builder *builder, hone_error *err) {
    hone_file_set *set = builder->set;
    set->names = builder->names.data;
    builder->names.data = NULL;
    const char *name = set->names;
    for (size_t i = 0; i < set->tensor_count; i++) {
        set->tensors[i].name = name;
        name += strlen(name) + 1;
    }
    if (set->tensor_count > 0)
        qsort(set->tensors, set->tensor_count, sizeof *set->tensors, by_place);
    size_t next = 0;
    for (size_t file = 0; file < set->file_count; file++) {
        HONE_TRY(check_file_layout(builder, (int)file, &next, err));
    }
    return HONE_OK;
}

static int by_name(const void *left, const void *right) {
    return strcmp(((const hone_tensor *)left)->name, ((const hone_tensor *)right)->name);
}

hone_status hone_builder_finish(hone_builder *builder, hone_error *err) {
    const hone_file_set *set = builder->set;
    if (set->tensor_count == 0) return HONE_OK;
    qsort(set->tensors, set->tensor_count, sizeof *set->tensors, by_name);
    for (size_t i = 1; i < set->tensor_count; i++) {
        const hone_tensor *a = &set->tensors[i - 1], *b = &set->tensors[i];
        if (strcmp(a->name, b->name) != 0) continue;
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: two tensors are named \"%.200s\" (data at byte %zu and at byte %zu); "
                         "names must differ",
                         set->files[b->file].path, b->name, HONE_MIN(a->offset, b->offset),
                         HONE_MAX(a->offset, b->offset));
    }
    return HONE_OK;
}
