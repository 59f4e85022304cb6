/* base/file: reading whole files, mapping them, and writing them so that nothing is lost. */
#define _GNU_SOURCE 1
#include "base/file.h"

#include "base/size.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens a regular file for reading. Without O_NONBLOCK a FIFO would block before it could be refused. */
static hone_status open_regular(const char *path, int *fd, size_t *size, hone_error *err) {
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return hone_fail_errno(err, "open", path);
    struct stat info;
    hone_status status = HONE_OK;
    if (fstat(*fd, &info) != 0) {
        status = hone_fail_errno(err, "look at", path);
    } else if (!S_ISREG(info.st_mode)) {
        status = hone_fail(err, HONE_ERR_IO, "%s: %s; expected a regular file", path,
                           S_ISDIR(info.st_mode) ? "is a directory" : "is not a regular file");
    }
    if (status != HONE_OK) {
        close(*fd);
        return status;
    }
    *size = (size_t)info.st_size;
    return HONE_OK;
}

static hone_status read_all(int fd, const char *path, size_t size, hone_buf *buf, hone_error *err) {
    /* With one byte to spare the end is seen without growing. */
    HONE_TRY(hone_buf_reserve(buf, HONE_MIN(size + 1, buf->limit), err));
    for (;;) {
        size_t room = buf->capacity - buf->size - 1;
        if (room == 0 && buf->size < buf->limit) {
            HONE_TRY(hone_buf_reserve(buf, 1, err));
            continue;
        }
        char extra; /* at the limit: one more byte in the file is one too many */
        ssize_t got = read(fd, room > 0 ? buf->data + buf->size : &extra, room > 0 ? room : 1);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return hone_fail_errno(err, "read", path);
        if (got == 0) break;
        if (room == 0) {
            return hone_fail(err, HONE_ERR_LIMIT,
                             "%s: has more than the %zu bytes that are read here", path,
                             buf->limit);
        }
        buf->size += (size_t)got;
    }
    buf->data[buf->size] = '\0';
    return HONE_OK;
}

hone_status hone_file_read(const char *path, size_t limit, hone_buf *buf, hone_error *err) {
    *buf = hone_buf_make(limit);
    int fd;
    size_t size = 0;
    HONE_TRY(open_regular(path, &fd, &size, err));
    hone_status status;
    if (size > limit) {
        status = hone_fail(err, HONE_ERR_LIMIT, "%s: has %zu bytes; at most %zu are read here",
                           path, size, limit);
    } else {
        status = read_all(fd, path, size, buf, err);
    }
    close(fd);
    if (status != HONE_OK) hone_buf_free(buf);
    return status;
}

static hone_status write_all(int fd, const void *data, size_t size, const char *path,
                             hone_error *err) {
    for (size_t at = 0; at < size;) {
        ssize_t put = write(fd, (const char *)data + at, size - at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return hone_fail_errno(err, "write", path);
        at += (size_t)put;
    }
    return HONE_OK;
}

hone_status hone_file_seal(const char *path, size_t limit, int *fd, hone_error *err) {
    hone_buf bytes;
    *fd = -1;
    HONE_TRY(hone_file_read(path, limit, &bytes, err));
    int copy = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    hone_status status = copy < 0 ? hone_fail_errno(err, "copy", path)
                                  : write_all(copy, bytes.data, bytes.size, path, err);
    if (status == HONE_OK &&
        fcntl(copy, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
        status = hone_fail_errno(err, "seal a copy of", path);
    hone_buf_free(&bytes);
    if (status == HONE_OK)
        *fd = copy;
    else if (copy >= 0)
        close(copy);
    return status;
}

hone_status hone_file_map_open(hone_file_map *map, const char *path, hone_error *err) {
    *map = (hone_file_map){0};
    int fd;
    size_t size = 0;
    HONE_TRY(open_regular(path, &fd, &size, err));
    hone_status status = HONE_OK;
    map->path = strdup(path);
    if (map->path == NULL) {
        status = hone_fail_memory(err, "a file name", strlen(path) + 1);
    } else if (size > 0) {
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = hone_fail_errno(err, "map", path);
        } else {
            map->data = data;
            map->size = size;
            /* A hint for what is read from the disk from now on. A model that is read once a step then costs fewer page
             * walks: on Zen 3 under a hypervisor a tenth of the time of reading it. */
            (void)madvise(data, size, MADV_HUGEPAGE);
        }
    }
    close(fd);
    if (status != HONE_OK) hone_file_map_close(map);
    return status;
}

void hone_file_map_close(hone_file_map *map) {
    if (map->data != NULL) munmap((void *)(uintptr_t)map->data, map->size);
    free(map->path);
    *map = (hone_file_map){0};
}

void hone_file_map_drop(const hone_file_map *map, size_t offset, size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (map->data == NULL || offset > map->size) return;
    size_t begin, end = offset + HONE_MIN(size, map->size - offset);
    if (!hone_size_align(offset, page, &begin)) return;
    end &= ~(page - 1);
    if (begin < end)
        (void)madvise((void *)(uintptr_t)(map->data + begin), end - begin, MADV_DONTNEED);
}

hone_status hone_file_write_atomic(const char *path, const void *data, size_t size,
                                   hone_error *err) {
    hone_file_writer writer;
    HONE_TRY(hone_file_writer_begin(&writer, path, err));
    hone_status status = hone_file_writer_append(&writer, data, size, err);
    if (status == HONE_OK) status = hone_file_writer_commit(&writer, err);
    hone_file_writer_abandon(&writer);
    return status;
}

hone_status hone_file_writer_begin(hone_file_writer *writer, const char *path, hone_error *err) {
    *writer = (hone_file_writer){.fd = -1};
    size_t size = strlen(path) + 32;
    writer->path = strdup(path);
    writer->temporary = malloc(size);
    if (writer->path == NULL || writer->temporary == NULL) {
        free(writer->path);
        free(writer->temporary);
        *writer = (hone_file_writer){.fd = -1};
        return hone_fail_memory(err, "a file name", size);
    }
    snprintf(writer->temporary, size, "%s.tmp.%ld", path, (long)getpid());
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    writer->fd = open(writer->temporary, flags, 0666);
    if (writer->fd < 0 && errno == EEXIST && unlink(writer->temporary) == 0) {
        writer->fd =
            open(writer->temporary, flags, 0666); /* was left by a killed process of our number */
    }
    if (writer->fd < 0) {
        hone_status status = hone_fail_errno(err, "create", path);
        free(writer->temporary);
        writer->temporary = NULL; /* not ours to remove */
        hone_file_writer_abandon(writer);
        return status;
    }
    return HONE_OK;
}

hone_status hone_file_writer_append(hone_file_writer *writer, const void *data, size_t size,
                                    hone_error *err) {
    return write_all(writer->fd, data, size, writer->path, err);
}

/* Makes the rename itself survive a power failure. */
static hone_status sync_parent(const char *path, hone_error *err) {
    const char *slash = strrchr(path, '/');
    char *directory = slash == NULL   ? strdup(".")
                      : slash == path ? strdup("/")
                                      : strndup(path, (size_t)(slash - path));
    if (directory == NULL) return hone_fail_memory(err, "a file name", strlen(path) + 1);
    hone_status status = HONE_OK;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Not every file system can sync a directory (EINVAL), and a folder may be write-only to us. */
    if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL)
        status = hone_fail_errno(err, "sync", directory);
    if (fd >= 0) close(fd);
    free(directory);
    return status;
}

hone_status hone_file_writer_commit(hone_file_writer *writer, hone_error *err) {
    hone_status status = HONE_OK;
    if (fsync(writer->fd) != 0) status = hone_fail_errno(err, "sync", writer->path);
    int closed = close(writer->fd);
    writer->fd = -1;
    if (status == HONE_OK && closed != 0) status = hone_fail_errno(err, "close", writer->path);
    if (status == HONE_OK && rename(writer->temporary, writer->path) != 0) {
        status = hone_fail_errno(err, "replace", writer->path);
    }
    if (status == HONE_OK) {
        free(writer->temporary);
        writer->temporary = NULL; /* no longer there to remove */
        status = sync_parent(writer->path, err);
    }
    hone_file_writer_abandon(writer);
    return status;
}

void hone_file_writer_abandon(hone_file_writer *writer) {
    if (writer->fd >= 0) close(writer->fd);
    if (writer->temporary != NULL) unlink(writer->temporary);
    free(writer->path);
    free(writer->temporary);
    *writer = (hone_file_writer){.fd = -1};
}

bool hone_file_exists(const char *path) { return access(path, F_OK) == 0; }

bool hone_file_is_directory(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

hone_status hone_file_make_directories(const char *path, hone_error *err) {
    char *part = strdup(path);
    if (part == NULL) return hone_fail_memory(err, "a file name", strlen(path) + 1);
    hone_status status = HONE_OK;
    for (char *at = part + (part[0] == '/'); status == HONE_OK && *at != '\0';) {
        char *slash = strchrnul(at, '/');
        char kept = *slash;
        *slash = '\0';
        if (mkdir(part, 0777) != 0 && !(errno == EEXIST && hone_file_is_directory(part))) {
            status = hone_fail_errno(err, "create the folder", part);
        }
        *slash = kept;
        at = slash + (kept != '\0');
    }
    free(part);
    return status;
}

/* Opens a folder in `parent`, no link to one, so that what is in it can be removed. -1 when that cannot be. */
static int open_to_empty(int parent, const char *name) {
    const int flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    char itself[32];
    int place = openat(parent, name, O_PATH | flags);
    if (place < 0) return -1;
    snprintf(itself, sizeof itself, "/proc/self/fd/%d", place); /* not by name: this very folder */
    (void)chmod(itself, 0700);
    int folder = openat(place, ".", O_RDONLY | flags);
    close(place);
    return folder;
}

/* Removes what is in `folder`. With root = -1 its folders are emptied and removed, too; else those that are not empty
 * move to `root`, under numbers. Whether anything changed. */
static bool empty_folder(int folder, int root, unsigned *number) {
    DIR *entries = fdopendir(folder);
    bool changed = false;
    if (!entries) {
        close(folder);
        return false;
    }
    for (const struct dirent *e; (e = readdir(entries)) != NULL;) {
        const char *name = e->d_name;
        char moved[32];
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        if (unlinkat(folder, name, 0) == 0 || unlinkat(folder, name, AT_REMOVEDIR) == 0) {
            changed = true;
            continue;
        }
        int inner = open_to_empty(folder, name);
        if (inner < 0) continue;
        if (root < 0) {
            changed |= empty_folder(inner, folder, number);
            changed |= unlinkat(folder, name, AT_REMOVEDIR) == 0;
            continue;
        }
        close(inner);
        snprintf(moved, sizeof moved, "%u", (*number)++);
        changed |= renameat(folder, name, root, moved) == 0;
    }
    closedir(entries);
    return changed;
}

/* However deep a tree is, what lies in a folder of `path` is moved up into `path` before that folder is removed: no
 * name becomes longer, and no more than two folders are open at a time. */
void hone_file_remove_tree(const char *path) {
    unsigned number = 0;
    for (int root; (root = open_to_empty(AT_FDCWD, path)) >= 0;)
        if (!empty_folder(root, -1, &number)) break;
    (void)remove(path);
}

char *hone_path_join(const char *directory, const char *name) {
    size_t length = strlen(directory);
    bool slash = length > 0 && directory[length - 1] != '/';
    size_t size = length + slash + strlen(name) + 1;
    char *path = malloc(size);
    if (path != NULL) snprintf(path, size, "%s%s%s", directory, slash ? "/" : "", name);
    return path;
}

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

char *hone_path_home(void) {
    const char *path = variable("HONE_HOME");
    if (path != NULL) return strdup(path);
    path = variable("XDG_CACHE_HOME");
    if (path != NULL) return hone_path_join(path, "hone");
    path = variable("HOME");
    return hone_path_join(path != NULL ? path : "", ".cache/hone");
}
