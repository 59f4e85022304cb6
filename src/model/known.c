/* model/known: the models that hone's evaluation knows by name, and where they lie on this machine. */
#include "base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { REVISION_LIMIT = 255 };

/* `file`: a name below $HONE_HOME/models, NULL for the last part of the hub's name. */
static const struct {
    const char *name, *hub, *size, *file;
} known[] = {
    {"SmolLM2-135M-Instruct 4-bit", NULL, "135M", "SmolLM2-135M-Instruct.Q4_1.gguf"},
    {"mlx-community/Qwen3-0.6B-bf16", "mlx-community/Qwen3-0.6B-bf16", "600M", NULL},
    {"mlx-community/SmolLM-135M-Instruct-4bit", "mlx-community/SmolLM-135M-Instruct-4bit", "135M",
     NULL},
    {"mlx-community/TinyLlama-1.1B-Chat-v1.0-4bit", "mlx-community/TinyLlama-1.1B-Chat-v1.0-4bit",
     "1.1B", NULL},
    {"mlx-community/Qwen2.5-0.5B-Instruct-4bit", "mlx-community/Qwen2.5-0.5B-Instruct-4bit", "500M",
     NULL},
    {"mlx-community/Phi-3.5-mini-instruct-4bit", "mlx-community/Phi-3.5-mini-instruct-4bit", "3.8B",
     NULL},
};
enum { KNOWN_COUNT = sizeof known / sizeof known[0] };

static hone_status fail_names(hone_error *err) {
    return hone_fail_memory(err, "the names of models", 1);
}

/* "a/b", taking over and freeing `a`, which may be NULL. */
static char *join_freeing(char *a, const char *b) {
    char *joined = a ? hone_path_join(a, b) : NULL;
    free(a);
    return joined;
}

/* A model's folder: it has a config.json. */
static bool is_model_folder(const char *path) {
    char *config = hone_path_join(path, "config.json");
    bool is = config && hone_file_exists(config);
    free(config);
    return is;
}

/* Takes over `path`: into *out when a model is there, else freed. */
static hone_status keep_if_here(char *path, bool folder, char **out, hone_error *err) {
    if (!path) return fail_names(err);
    if (folder ? is_model_folder(path) : hone_file_exists(path) && !hone_file_is_directory(path))
        *out = path;
    else
        free(path);
    return HONE_OK;
}

/* $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub. */
static char *hub_cache(void) {
    static const struct {
        const char *variable, *below;
    } places[] = {{"HF_HUB_CACHE", ""},
                  {"HF_HOME", "hub"},
                  {"XDG_CACHE_HOME", "huggingface/hub"},
                  {"HOME", ".cache/huggingface/hub"}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *value = getenv(places[i].variable);
        if (!value || !value[0]) continue;
        return places[i].below[0] ? hone_path_join(value, places[i].below) : strdup(value);
    }
    return strdup("/nonexistent");
}

/* A revision's name is one path component; anything else in refs/main is not followed. */
static bool is_revision(const char *name) {
    size_t size = strspn(name, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-");
    return size > 0 && name[size] == 0 && name[0] != '.';
}

/* The revision that refs/main names; empty when there is none. */
static void read_main(const char *repository, char revision[REVISION_LIMIT + 1]) {
    char *path = hone_path_join(repository, "refs/main");
    hone_buf text = hone_buf_make(0);
    revision[0] = 0;
    if (path && hone_file_exists(path) &&
        hone_file_read(path, REVISION_LIMIT, &text, NULL) == HONE_OK && text.data)
        snprintf(revision, REVISION_LIMIT + 1, "%.*s", (int)strcspn(text.data, "\r\n"), text.data);
    if (!is_revision(revision)) revision[0] = 0;
    hone_buf_free(&text);
    free(path);
}

/* The last snapshot by name that holds a model: for caches whose refs were removed. */
static hone_status find_snapshot(const char *snapshots, char **out, hone_error *err) {
    DIR *directory = opendir(snapshots);
    hone_status status = HONE_OK;
    if (!directory) return HONE_OK;
    for (struct dirent *entry; status == HONE_OK && (entry = readdir(directory)) != NULL;) {
        if (!is_revision(entry->d_name)) continue;
        char *found = NULL;
        status = keep_if_here(hone_path_join(snapshots, entry->d_name), true, &found, err);
        if (found && (!*out || strcmp(found, *out) > 0)) {
            free(*out);
            *out = found;
        } else {
            free(found);
        }
    }
    closedir(directory);
    return status;
}

/* models--org--name/snapshots/<revision>, the layout of huggingface_hub's cache. */
static hone_status find_in_hub(const char *hub, char **out, hone_error *err) {
    char folder[256], revision[REVISION_LIMIT + 1];
    const char *slash = strchr(hub, '/');
    snprintf(folder, sizeof folder, "models--%.*s--%s", (int)(slash - hub), hub, slash + 1);
    char *repository = join_freeing(hub_cache(), folder);
    if (!repository) return fail_names(err);
    read_main(repository, revision);
    char *snapshots = join_freeing(repository, "snapshots");
    if (!snapshots) return fail_names(err);
    hone_status status = HONE_OK;
    if (revision[0]) status = keep_if_here(hone_path_join(snapshots, revision), true, out, err);
    if (status == HONE_OK && !*out) status = find_snapshot(snapshots, out, err);
    free(snapshots);
    return status;
}

static hone_status find_one(size_t index, char **out, hone_error *err) {
    const char *hub = known[index].hub, *file = known[index].file;
    bool folder = file == NULL;
    char *models = join_freeing(hone_path_home(), "models");
    HONE_TRY(
        keep_if_here(join_freeing(models, folder ? strchr(hub, '/') + 1 : file), folder, out, err));
    return *out || !hub ? HONE_OK : find_in_hub(hub, out, err);
}

hone_status hone_known_models(hone_known_model **models, size_t *count, hone_error *err) {
    hone_known_model *list = calloc(KNOWN_COUNT, sizeof *list);
    *models = NULL;
    *count = 0;
    if (!list) return fail_names(err);
    hone_status status = HONE_OK;
    for (size_t i = 0; i < KNOWN_COUNT && status == HONE_OK; i++) {
        list[i] =
            (hone_known_model){.name = known[i].name, .hub = known[i].hub, .size = known[i].size};
        status = find_one(i, &list[i].path, err);
    }
    if (status != HONE_OK) {
        hone_known_models_free(&list, KNOWN_COUNT);
        return status;
    }
    *models = list;
    *count = KNOWN_COUNT;
    return HONE_OK;
}

/* Whether `wanted` is the beginning of the model's own name, without the organization, up to the end of a part. */
static bool begins_name(const hone_known_model *model, const char *wanted) {
    const char *slash = strchr(model->name, '/'), *own = slash ? slash + 1 : model->name;
    size_t size = strlen(wanted);
    return size > 0 && strncasecmp(own, wanted, size) == 0 && strchr("- ", own[size]);
}

const hone_known_model *hone_known_model_find(const hone_known_model *models, size_t count,
                                              const char *wanted) {
    const hone_known_model *found = NULL;
    size_t begun = 0;
    for (size_t i = 0; i < count; i++) {
        const hone_known_model *m = &models[i];
        if (strcmp(wanted, m->name) == 0 || (m->hub && strcmp(wanted, m->hub) == 0) ||
            (m->path && strcmp(wanted, m->path) == 0))
            return m;
        if (!begins_name(m, wanted)) continue;
        found = m;
        begun++;
    }
    return begun == 1 ? found : NULL;
}

void hone_known_models_free(hone_known_model **models, size_t count) {
    if (!models || !*models) return;
    for (size_t i = 0; i < count; i++) free((*models)[i].path);
    free(*models);
    *models = NULL;
}
