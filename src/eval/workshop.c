/* eval/workshop: see workshop.h. */
#define _GNU_SOURCE 1
#include "eval/workshop.h"

#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char pattern[] = "hone-eval-XXXXXX";
enum { SETTLED_SECONDS = 60 }; /* by then a folder's owner has locked it */

/* ---- what others left ---- */

/* An evaluation holds a lock on its folder as long as it lives. */
static bool is_left(int folder, time_t now) {
    struct stat info;
    return fstat(folder, &info) == 0 && info.st_uid == geteuid() &&
           now - info.st_mtime > SETTLED_SECONDS && flock(folder, LOCK_EX | LOCK_NB) == 0;
}

/* Removes the folders of evaluations that were killed, as far as they are this user's. */
static void sweep(const char *base) {
    DIR *place = opendir(base);
    const size_t fixed = strcspn(pattern, "X");
    if (!place) return;
    for (const struct dirent *entry; (entry = readdir(place)) != NULL;) {
        if (strlen(entry->d_name) != strlen(pattern) || strncmp(entry->d_name, pattern, fixed) != 0)
            continue;
        int folder =
            openat(dirfd(place), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (folder < 0) continue;
        char *path = is_left(folder, time(NULL)) ? hone_path_join(base, entry->d_name) : NULL;
        if (path) hone_file_remove_tree(path);
        free(path);
        close(folder);
    }
    closedir(place);
}

/* ---- the folder ---- */

hone_status hone_workshop_open(hone_workshop *workshop, hone_error *err) {
    const char *base = getenv("TMPDIR");
    if (!base || !*base) base = "/tmp";
    *workshop = (hone_workshop){.folder = NULL};
    sweep(base);
    char *folder = hone_path_join(base, pattern);
    if (!folder) return hone_fail_memory(err, "a path", 1);
    if (mkdtemp(folder)) {
        workshop->folder = realpath(folder, NULL);
        workshop->lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        (void)flock(workshop->lock, LOCK_EX | LOCK_NB); /* where that cannot be nobody else can */
        free(folder);
        return workshop->folder ? HONE_OK : hone_fail_memory(err, "a path", 1);
    }
    hone_status status = hone_fail_errno(err, "make a folder like", folder);
    free(folder);
    return status;
}

hone_status hone_workshop_folder(const hone_workshop *workshop, const char *name, char **out,
                                 hone_error *err) {
    *out = hone_path_join(workshop->folder, name);
    if (!*out) return hone_fail_memory(err, "a path", 1);
    return hone_file_make_directories(*out, err);
}

static void free_paths(hone_workshop *workshop) {
    free(workshop->model);
    free(workshop->data);
    free(workshop->rows);
    free(workshop->blobs);
    workshop->model = workshop->data = workshop->rows = workshop->blobs = NULL;
}

void hone_workshop_close(hone_workshop *workshop) {
    if (workshop->folder) {
        hone_file_remove_tree(workshop->folder);
        close(workshop->lock);
    }
    for (size_t i = 0; i < sizeof workshop->variables / sizeof workshop->variables[0]; i++)
        free(workshop->variables[i]);
    free_paths(workshop);
    free(workshop->object);
    free(workshop->folder);
    *workshop = (hone_workshop){.folder = NULL};
}

/* What a training of hone takes from its environment. */
static void set_env(hone_workshop *workshop) {
    static const char *const names[] = {"HONE_CPU", "HONE_THREADS", "OMP_NUM_THREADS",
                                        "OMP_THREAD_LIMIT"};
    size_t count = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (!value || asprintf(&workshop->variables[count], "%s=%s", names[i], value) < 0) continue;
        workshop->env[count] = workshop->variables[count];
        count++;
    }
    workshop->env[count] = NULL;
}

static hone_status resolve(const char *path, char **out, hone_error *err) {
    *out = realpath(path, NULL);
    return *out ? HONE_OK : hone_fail_errno(err, "find", path);
}

/* Of a folder of data only what is trained with: the rest is what the training is judged by. */
static hone_status find_rows(hone_workshop *workshop, hone_error *err) {
    if (!hone_file_is_directory(workshop->data))
        return resolve(workshop->data, &workshop->rows, err);
    char *path = hone_path_join(workshop->data, "train.jsonl");
    if (!path) return hone_fail_memory(err, "a path", 1);
    hone_status status = resolve(path, &workshop->rows, err);
    free(path);
    return status;
}

hone_status hone_workshop_set_model(hone_workshop *workshop, const hone_eval_options *options,
                                    const hone_eval_report *report, const char *model,
                                    hone_error *err) {
    size_t count = 0;
    free_paths(workshop);
    HONE_TRY(resolve(model, &workshop->model, err));
    HONE_TRY(resolve(report->data, &workshop->data, err));
    HONE_TRY(find_rows(workshop, err));
    char *blobs = hone_path_join(workshop->model, "../../blobs");
    if (!blobs) return hone_fail_memory(err, "a path", 1);
    workshop->blobs = realpath(blobs, NULL); /* in the hub's cache alone */
    free(blobs);
    if (!workshop->env[0]) set_env(workshop);
    workshop->readable[count++] = options->worker;
    workshop->readable[count++] = workshop->model;
    workshop->readable[count++] = workshop->rows;
    if (workshop->object) workshop->readable[count++] = workshop->object;
    if (workshop->blobs) workshop->readable[count++] = workshop->blobs;
    workshop->readable[count] = NULL;
    workshop->box = (hone_sandbox_options){.readable = workshop->readable,
                                           .system = true,
                                           .env = workshop->env,
                                           .memory = report->machine.memory_available,
                                           .file_size = (size_t)1 << 30,
                                           .processes = 2 * report->machine.threads + 8,
                                           .unsafe = options->unsafe};
    return HONE_OK;
}
