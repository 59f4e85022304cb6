/* tests/temp: a folder of its own for a test program, gone when it ends. */
#ifndef HONE_TESTS_TEMP_H
#define HONE_TESTS_TEMP_H

#include "support.h"

#include <dirent.h>
#include <ftw.h>
#include <unistd.h>

typedef struct temp_folder {
    char path[256];
} temp_folder;

static inline temp_folder temp_make(void) {
    temp_folder t;
    const char *base = getenv("TMPDIR");
    snprintf(t.path, sizeof t.path, "%s/hone-test.XXXXXX",
             base != NULL && *base != '\0' ? base : "/tmp");
    if (mkdtemp(t.path) == NULL) fail_msg("cannot make a folder like %s", t.path);
    return t;
}

static inline int temp_remove_one(const char *path, const struct stat *info, int kind,
                                  struct FTW *at) {
    (void)info, (void)kind, (void)at;
    return remove(path);
}

static inline void temp_remove(const temp_folder *t) {
    (void)nftw(t->path, temp_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path in the folder; the caller frees. */
static inline char *temp_path(const temp_folder *t, const char *name) {
    char *path = malloc(strlen(t->path) + strlen(name) + 2);
    sprintf(path, "%s/%s", t->path, name);
    return path;
}

static inline void temp_write(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Files in the folder. */
static inline int temp_count(const temp_folder *t) {
    DIR *folder = opendir(t->path);
    assert_non_null(folder);
    int count = 0;
    for (const struct dirent *e; (e = readdir(folder)) != NULL;) count += e->d_name[0] != '.';
    closedir(folder);
    return count;
}

#endif
