/* base/file: reading whole files, mapping them, and writing them so that nothing is lost. */
#ifndef HONE_BASE_FILE_H
#define HONE_BASE_FILE_H

#include "base/buf.h"

/* Reads a regular file of at most `limit` bytes into *buf (made here; free with hone_buf_free). */
hone_status hone_file_read(const char *path, size_t limit, hone_buf *buf, hone_error *err);

/* A copy of a regular file of at most `limit` bytes in memory that nobody can change any more: what is looked at there
 * is what is used later, under the name /proc/self/fd/<*fd>. The caller closes *fd; -1 on failure. */
hone_status hone_file_seal(const char *path, size_t limit, int *fd, hone_error *err);

/* A read-only private mapping of a regular file. */
typedef struct hone_file_map {
    const uint8_t *data; /* NULL for an empty file */
    size_t size;
    char *path; /* owned, for messages */
} hone_file_map;

hone_status hone_file_map_open(hone_file_map *map, const char *path, hone_error *err);
void hone_file_map_close(hone_file_map *map);

/* Drops the resident pages of [offset, offset + size) that lie wholly inside: they are read again
 * from the file when touched. A hint; never fails. */
void hone_file_map_drop(const hone_file_map *map, size_t offset, size_t size);

/* Writes beside (`path`.tmp.<pid>), fsyncs, renames over `path`, fsyncs the directory. On failure
 * the old file is untouched and nothing is left behind. */
hone_status hone_file_write_atomic(const char *path, const void *data, size_t size,
                                   hone_error *err);

/* The same in pieces: begin, append..., then commit or abandon (abandon after commit does nothing). */
typedef struct hone_file_writer {
    int fd;                 /* -1 when not open */
    char *path, *temporary; /* owned */
} hone_file_writer;

hone_status hone_file_writer_begin(hone_file_writer *writer, const char *path, hone_error *err);
hone_status hone_file_writer_append(hone_file_writer *writer, const void *data, size_t size,
                                    hone_error *err);
hone_status hone_file_writer_commit(hone_file_writer *writer, hone_error *err);
void hone_file_writer_abandon(hone_file_writer *writer);

bool hone_file_exists(const char *path);
bool hone_file_is_directory(const char *path);
hone_status hone_file_make_directories(const char *path, hone_error *err); /* like mkdir -p */

/* Removes a folder with all that is in it, as far as the system allows. Links are removed, not followed. */
void hone_file_remove_tree(const char *path);

/* "a/b" from "a" and "b"; the caller frees. NULL when out of memory. */
char *hone_path_join(const char *directory, const char *name);

/* $HONE_HOME, else $XDG_CACHE_HOME/hone, else $HOME/.cache/hone. The caller frees; NULL when out of memory. */
char *hone_path_home(void);

#endif
