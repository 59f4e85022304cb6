/* format/format: recognises a model by its content and opens it. */
#include "format/format.h"

#include "base/size.h"
#include "format/builder.h"

#include <stdlib.h>

static bool probe_gguf(const hone_file_map *map) {
    return map->size >= 4 && memcmp(map->data, "GGUF", 4) == 0;
}

/* The header's brace stands behind its length. */
static bool probe_safetensors(const hone_file_map *map) {
    return map->size > 8 && map->data[8] == '{';
}

static const struct {
    hone_format_kind kind;
    bool (*probe)(const hone_file_map *map);
    hone_status (*load)(hone_builder *builder, int file, hone_error *err);
} kinds[] = {
    {HONE_FORMAT_GGUF, probe_gguf, hone_gguf_load},
    {HONE_FORMAT_SAFETENSORS, probe_safetensors, hone_safetensors_load},
};

/* What people hand over by mistake, and what helps. */
static const struct {
    const char *start, *advice;
} mistakes[] = {
    {"PK\x03\x04", "; it is a zip archive, such as PyTorch saves: convert it to safetensors"},
    {"version https://git-lfs", "; it is a Git LFS pointer, not the file itself: run git lfs pull"},
    {"<!DOCTYPE", "; it is a web page: the download did not give the file"},
    {"{", "; it is JSON: give the folder or the file with the weights"},
};

static hone_status fail_unknown(const hone_file_map *map, hone_error *err) {
    const char *advice = map->size == 0 ? "; it is empty" : "; it may be cut off or damaged";
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        size_t length = strlen(mistakes[i].start);
        if (map->size >= length && memcmp(map->data, mistakes[i].start, length) == 0)
            advice = mistakes[i].advice;
    }
    return hone_fail(
        err, HONE_ERR_FORMAT,
        "%s: is neither GGUF (starts with \"GGUF\") nor safetensors (has '{' at byte 8)%s",
        map->path, advice);
}

static hone_status load_file(hone_builder *builder, hone_error *err) {
    hone_file_set *set = builder->set;
    HONE_TRY(hone_builder_open_files(builder, &set->path, 1, err));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!kinds[i].probe(&set->files[0])) continue;
        set->kind = kinds[i].kind;
        HONE_TRY(kinds[i].load(builder, 0, err));
        return hone_builder_check_layout(builder, err);
    }
    return fail_unknown(&set->files[0], err);
}

static hone_status load(hone_builder *builder, hone_error *err) {
    hone_file_set *set = builder->set;
    if (hone_file_is_directory(set->path)) {
        set->kind = HONE_FORMAT_SAFETENSORS;
        HONE_TRY(hone_folder_load(builder, set->path, err));
    } else {
        HONE_TRY(load_file(builder, err));
    }
    return hone_builder_finish(builder, err);
}

hone_status hone_file_set_open(const char *path, hone_file_set **out, hone_error *err) {
    *out = NULL;
    hone_file_set *set = calloc(1, sizeof *set);
    if (set == NULL) return hone_fail_memory(err, "a model's files", sizeof *set);
    hone_builder builder = {.set = set, .names = hone_buf_make(SIZE_MAX)};
    set->path = strdup(path);
    hone_status status = set->path != NULL ? load(&builder, err)
                                           : hone_fail_memory(err, "a file name", strlen(path) + 1);
    hone_builder_free(&builder);
    if (status != HONE_OK) {
        hone_file_set_free(&set);
        return status;
    }
    *out = set;
    return HONE_OK;
}

void hone_file_set_free(hone_file_set **set) {
    if (set == NULL || *set == NULL) return;
    hone_file_set *s = *set;
    for (size_t i = 0; i < s->file_count; i++) hone_file_map_close(&s->files[i]);
    hone_gguf_meta_free(&s->gguf);
    free(s->files);
    free(s->tensors);
    free(s->names);
    free(s->path);
    free(s);
    *set = NULL;
}

static int name_against(const void *name, const void *tensor) {
    return strcmp(name, ((const hone_tensor *)tensor)->name);
}

const hone_tensor *hone_file_set_find(const hone_file_set *set, const char *name) {
    if (set->tensor_count == 0) return NULL;
    return bsearch(name, set->tensors, set->tensor_count, sizeof *set->tensors, name_against);
}

void hone_file_set_drop(const hone_file_set *set, const void *data, size_t bytes) {
    for (size_t i = 0; i < set->file_count; i++) {
        const hone_file_map *map = &set->files[i];
        uintptr_t at = (uintptr_t)data, begin = (uintptr_t)map->data;
        if (map->data && at >= begin && at - begin < map->size)
            hone_file_map_drop(map, at - begin, bytes);
    }
}
