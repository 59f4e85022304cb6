/* format/folder: a Hugging Face folder: model.safetensors, or model.safetensors.index.json and the
 * shards that its weight_map names. */
#include "format/builder.h"

#include "base/size.h"
#include "format/scan.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define INDEX_NAME "model.safetensors.index.json"
#define SINGLE_NAME "model.safetensors"

enum { INDEX_LIMIT = 64 << 20, SHARD_LIMIT = 10000 };

/* One member of the weight map. */
typedef struct member {
    const char *tensor, *shard; /* in weight_map.tensors and .shards once everything was read */
    int file;                   /* which of weight_map.files the shard is */
    bool same_shard;            /* as the member before: its text stands once */
    bool found;                 /* the shard has the tensor */
} member;

typedef struct weight_map {
    const char *path;         /* of the index */
    hone_buf tensors, shards; /* texts, each with its NUL, in the order they were read */
    member *members;
    size_t count, capacity;
    const char **files; /* [file_count] the distinct shards, sorted */
    size_t file_count;
} weight_map;

static void free_map(weight_map *map) {
    hone_buf_free(&map->tensors);
    hone_buf_free(&map->shards);
    free(map->members);
    free(map->files);
}

static hone_status append_text(hone_buf *texts, const hone_buf *text, hone_error *err) {
    return hone_buf_append(texts, text->data, text->size + 1, err);
}

/* Reads "tensor": "shard". last is where the text of the member before begins in map->shards. */
static hone_status read_member(weight_map *map, hone_scan *scan, hone_buf *text, size_t *last,
                               hone_error *err) {
    if (map->count == map->capacity) {
        size_t capacity = HONE_MAX((size_t)256, map->capacity * 2);
        member *grown = realloc(map->members, capacity * sizeof *grown);
        if (grown == NULL) return hone_fail_memory(err, "the weight map", capacity * sizeof *grown);
        map->members = grown;
        map->capacity = capacity;
    }
    HONE_TRY(hone_scan_string(scan, text, err));
    HONE_TRY(append_text(&map->tensors, text, err));
    HONE_TRY(hone_scan_expect(scan, ':', err));
    size_t at = scan->at;
    HONE_TRY(hone_scan_string(scan, text, err));
    /* The name is opened: it may not lead out of the folder. */
    if (text->size == 0 || strchr(text->data, '/') != NULL || strcmp(text->data, "..") == 0) {
        return hone_scan_fail(
            scan, at, HONE_ERR_FORMAT, err,
            "the shard \"%.100s\"; expected the name of a file in the same folder", text->data);
    }
    bool same = map->count > 0 && strcmp(map->shards.data + *last, text->data) == 0;
    if (!same) {
        *last = map->shards.size;
        HONE_TRY(append_text(&map->shards, text, err));
        map->file_count++;
    }
    map->members[map->count++] = (member){.same_shard = same};
    return HONE_OK;
}

static hone_status read_members(weight_map *map, hone_scan *scan, hone_buf *text, hone_error *err) {
    HONE_TRY(hone_scan_expect(scan, '{', err));
    if (hone_scan_accept(scan, '}')) return HONE_OK;
    size_t last = 0;
    do {
        HONE_TRY(read_member(map, scan, text, &last, err));
    } while (hone_scan_accept(scan, ','));
    return hone_scan_expect(scan, '}', err);
}

static hone_status read_index(weight_map *map, hone_scan *scan, hone_buf *text, hone_error *err) {
    bool seen = false;
    HONE_TRY(hone_scan_expect(scan, '{', err));
    bool empty = hone_scan_accept(scan, '}');
    while (!empty) {
        size_t at = scan->at;
        HONE_TRY(hone_scan_string(scan, text, err));
        HONE_TRY(hone_scan_expect(scan, ':', err));
        bool wanted = strcmp(text->data, "weight_map") == 0;
        if (wanted && seen)
            return hone_scan_fail(scan, at, HONE_ERR_FORMAT, err, "weight_map appears twice");
        seen |= wanted;
        HONE_TRY(wanted ? read_members(map, scan, text, err) : hone_scan_skip(scan, err));
        if (!hone_scan_accept(scan, ',')) break;
    }
    if (!empty) HONE_TRY(hone_scan_expect(scan, '}', err));
    HONE_TRY(hone_scan_end(scan, err));
    if (map->count > 0) return HONE_OK;
    return hone_fail(
        err, HONE_ERR_FORMAT,
        "%s: has no tensors in \"weight_map\"; expected names of tensors and their files",
        map->path);
}

static int by_text(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static int by_tensor(const void *left, const void *right) {
    return strcmp(((const member *)left)->tensor, ((const member *)right)->tensor);
}

/* Points the members at their texts, finds the distinct shards and sorts the members. */
static hone_status resolve(weight_map *map, hone_error *err) {
    map->files = malloc(map->file_count * sizeof *map->files);
    if (map->files == NULL)
        return hone_fail_memory(err, "the list of shards", map->file_count * sizeof *map->files);
    const char *tensor = map->tensors.data, *shard = map->shards.data;
    size_t candidates = 0;
    for (size_t i = 0; i < map->count; i++) {
        member *m = &map->members[i];
        m->tensor = tensor;
        tensor += strlen(tensor) + 1;
        if (i > 0 && !m->same_shard) shard += strlen(shard) + 1;
        m->shard = shard;
        if (!m->same_shard) map->files[candidates++] = shard;
    }
    qsort(map->files, candidates, sizeof *map->files, by_text);
    map->file_count = 0;
    for (size_t i = 0; i < candidates; i++) {
        if (i == 0 || strcmp(map->files[i], map->files[i - 1]) != 0)
            map->files[map->file_count++] = map->files[i];
    }
    for (size_t i = 0; i < map->count; i++) {
        const char **file =
            bsearch(&map->members[i].shard, map->files, map->file_count, sizeof *file, by_text);
        map->members[i].file = (int)(file - map->files);
    }
    qsort(map->members, map->count, sizeof *map->members, by_tensor);
    for (size_t i = 1; i < map->count; i++) {
        if (strcmp(map->members[i - 1].tensor, map->members[i].tensor) != 0) continue;
        return hone_fail(err, HONE_ERR_FORMAT, "%s: \"weight_map\" names tensor \"%.200s\" twice",
                         map->path, map->members[i].tensor);
    }
    if (map->file_count <= SHARD_LIMIT) return HONE_OK;
    return hone_fail(err, HONE_ERR_LIMIT, "%s: names %zu shards; at most %d are read", map->path,
                     map->file_count, SHARD_LIMIT);
}

static hone_status parse_index(weight_map *map, hone_error *err) {
    hone_buf json, text;
    HONE_TRY(hone_file_read(map->path, INDEX_LIMIT, &json, err));
    text = hone_buf_make(json.size);
    map->tensors = hone_buf_make(SIZE_MAX);
    map->shards = hone_buf_make(SIZE_MAX);
    hone_scan scan = {.path = map->path, .text = json.data, .size = json.size};
    hone_status status = read_index(map, &scan, &text, err);
    if (status == HONE_OK) status = resolve(map, err);
    hone_buf_free(&text);
    hone_buf_free(&json);
    return status;
}

/* Keeps of each shard the tensors that the map takes from it; all that it names must be there. */
static hone_status select_tensors(hone_file_set *set, weight_map *map, hone_error *err) {
    size_t kept = 0;
    for (size_t i = 0; i < set->tensor_count; i++) {
        member wanted = {.tensor = set->tensors[i].name};
        member *m = bsearch(&wanted, map->members, map->count, sizeof wanted, by_tensor);
        if (m == NULL || m->file != set->tensors[i].file) continue;
        m->found = true;
        set->tensors[kept++] = set->tensors[i];
    }
    set->tensor_count = kept;
    for (size_t i = 0; i < map->count; i++) {
        const member *m = &map->members[i];
        if (m->found) continue;
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: says that \"%.200s\" is in %.200s, which does not have it", map->path,
                         m->tensor, m->shard);
    }
    return HONE_OK;
}

static hone_status load_files(hone_builder *builder, char *const *paths, size_t count,
                              hone_error *err) {
    HONE_TRY(hone_builder_open_files(builder, paths, count, err));
    for (size_t i = 0; i < count; i++) HONE_TRY(hone_safetensors_load(builder, (int)i, err));
    return hone_builder_check_layout(builder, err);
}

static void free_paths(char **paths, size_t count) {
    for (size_t i = 0; paths != NULL && i < count; i++) free(paths[i]);
    free(paths);
}

static hone_status load_shards(hone_builder *builder, const char *directory, weight_map *map,
                               hone_error *err) {
    HONE_TRY(parse_index(map, err));
    char **paths = calloc(map->file_count, sizeof *paths);
    hone_status status = HONE_OK;
    for (size_t i = 0; i < map->file_count && paths != NULL; i++) {
        paths[i] = hone_path_join(directory, map->files[i]);
        if (paths[i] == NULL)
            status = hone_fail_memory(err, "the names of the shards", map->file_count);
    }
    if (paths == NULL)
        status = hone_fail_memory(err, "the names of the shards", map->file_count * sizeof *paths);
    if (status == HONE_OK) status = load_files(builder, paths, map->file_count, err);
    if (status == HONE_OK) status = select_tensors(builder->set, map, err);
    free_paths(paths, map->file_count);
    return status;
}

static hone_status load_index(hone_builder *builder, const char *directory, const char *path,
                              hone_error *err) {
    weight_map map = {.path = path};
    hone_status status = load_shards(builder, directory, &map, err);
    free_map(&map);
    return status;
}

/* Says what a folder without safetensors might hold instead. */
static hone_status fail_empty(const char *directory, hone_error *err) {
    char hint[300] = "";
    DIR *folder = opendir(directory);
    for (const struct dirent *e; folder != NULL && (e = readdir(folder)) != NULL;) {
        size_t length = strlen(e->d_name);
        if (length < 5 || strcmp(e->d_name + length - 5, ".gguf") != 0) continue;
        snprintf(hint, sizeof hint, "; it has %.255s: give that file", e->d_name);
        break;
    }
    if (folder != NULL) closedir(folder);
    return hone_fail(err, HONE_ERR_FORMAT,
                     "%s: has neither %s nor %s; expected the folder of a model%s", directory,
                     SINGLE_NAME, INDEX_NAME, hint);
}

hone_status hone_folder_load(hone_builder *builder, const char *directory, hone_error *err) {
    char *single = hone_path_join(directory, SINGLE_NAME);
    char *index = hone_path_join(directory, INDEX_NAME);
    hone_status status;
    if (single == NULL || index == NULL) {
        status = hone_fail_memory(err, "a file name", strlen(directory));
    } else if (hone_file_exists(single)) {
        status = load_files(builder, &single, 1, err);
    } else if (hone_file_exists(index)) {
        status = load_index(builder, directory, index, err);
    } else {
        status = fail_empty(directory, err);
    }
    free(single);
    free(index);
    return status;
}
