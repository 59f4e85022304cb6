/* tests of base/file: nothing is lost, whichever system call fails and whenever the process dies.
 *
 * The calls of the writer are replaced here: each is counted, and the chosen one fails, is cut short,
 * or kills the process. */
#include "base/file.h"

#include "temp.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum call { NO_CALL, WRITE, FSYNC, CLOSE, RENAME, ANY_CALL };

static struct {
    enum call call;
    int countdown; /* the call that comes at 1 */
    int code;      /* errno, 0 for a short write, -1 to die before, -2 to die after */
    bool hit;
} fault;

static bool due(enum call call) {
    if (fault.call != call && fault.call != ANY_CALL) return false;
    if (fault.countdown-- != 1) return false;
    fault.hit = true;
    if (fault.code == -1) raise(SIGKILL);
    return fault.code != -2;
}

static void die_after(enum call call) {
    if (fault.hit && fault.code == -2 && (fault.call == call || fault.call == ANY_CALL))
        raise(SIGKILL);
}

ssize_t write(int fd, const void *data, size_t size) {
    if (due(WRITE)) {
        if (fault.code == 0) return syscall(SYS_write, fd, data, size / 2);
        errno = fault.code;
        return -1;
    }
    ssize_t done = syscall(SYS_write, fd, data, size);
    die_after(WRITE);
    return done;
}

int fsync(int fd) {
    if (due(FSYNC)) {
        errno = fault.code;
        return -1;
    }
    int done = (int)syscall(SYS_fsync, fd);
    die_after(FSYNC);
    return done;
}

int close(int fd) {
    bool fails = due(CLOSE);
    int done = (int)syscall(SYS_close, fd);
    if (fails) {
        errno = fault.code;
        return -1;
    }
    die_after(CLOSE);
    return done;
}

int rename(const char *from, const char *to) {
    if (due(RENAME)) {
        errno = fault.code;
        return -1;
    }
    int done = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    die_after(RENAME);
    return done;
}

enum { SIZE = 100000 };
static char old_data[SIZE], new_data[SIZE];

static bool holds(const char *path, const char *data) {
    hone_error err = {0};
    hone_buf b;
    assert_ok(hone_file_read(path, SIZE, &b, &err), err);
    bool same = b.size == SIZE && memcmp(b.data, data, SIZE) == 0;
    hone_buf_free(&b);
    return same;
}

static void setup_files(temp_folder *t, char **path) {
    memset(old_data, 'o', SIZE);
    memset(new_data, 'n', SIZE);
    *path = temp_path(t, "data.bin");
    temp_write(*path, old_data, SIZE);
}

static hone_status replace(const char *path, enum call call, int nth, int code, hone_error *err) {
    fault.call = call;
    fault.countdown = nth;
    fault.code = code;
    fault.hit = false;
    hone_status status = hone_file_write_atomic(path, new_data, SIZE, err);
    fault.call = NO_CALL;
    return status;
}

static void a_failed_call_leaves_the_old_file(void **state) {
    (void)state;
    static const struct {
        enum call call;
        int nth, code;
    } rows[] = {{WRITE, 1, ENOSPC}, {WRITE, 1, EIO}, {FSYNC, 1, EIO},
                {FSYNC, 1, ENOSPC}, {CLOSE, 1, EIO}, {RENAME, 1, EACCES}};
    temp_folder t = temp_make();
    char *path;
    setup_files(&t, &path);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hone_error err = {0};
        assert_int_equal(replace(path, rows[i].call, rows[i].nth, rows[i].code, &err), HONE_ERR_IO);
        assert_true(fault.hit);
        assert_non_null(strstr(err.message, "data.bin"));
        assert_non_null(strstr(err.message, strerror(rows[i].code)));
        assert_true(holds(path, old_data));
        assert_int_equal(temp_count(&t), 1);
    }
    free(path);
    temp_remove(&t);
}

static void interrupted_and_short_writes_go_on(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path;
    hone_error err = {0};
    setup_files(&t, &path);
    assert_ok(replace(path, WRITE, 1, EINTR, &err), err);
    assert_true(fault.hit && holds(path, new_data));
    temp_write(path, old_data, SIZE);
    assert_ok(replace(path, WRITE, 1, 0, &err), err);
    assert_true(fault.hit && holds(path, new_data));
    assert_int_equal(temp_count(&t), 1);
    free(path);
    temp_remove(&t);
}

static void an_unsynced_folder_is_reported_with_the_new_file_whole(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path;
    hone_error err = {0};
    setup_files(&t, &path);
    assert_int_equal(replace(path, FSYNC, 2, EIO, &err), HONE_ERR_IO);
    assert_true(holds(path, new_data));
    assert_int_equal(temp_count(&t), 1);
    free(path);
    temp_remove(&t);
}

static void a_killed_writer_leaves_one_whole_file(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path;
    setup_files(&t, &path);
    bool finished = false;
    int kills = 0;
    for (int nth = 1; !finished; nth++) {
        for (int code = -2; code <= -1; code++) {
            temp_write(path, old_data, SIZE);
            pid_t child = fork();
            if (child == 0) _exit(replace(path, ANY_CALL, nth, code, NULL) == HONE_OK ? 0 : 1);
            int result;
            assert_int_equal(waitpid(child, &result, 0), child);
            finished = WIFEXITED(result);
            if (finished) assert_int_equal(WEXITSTATUS(result), 0);
            kills += !finished;
            assert_true(holds(path, old_data) || holds(path, new_data));
        }
    }
    assert_true(kills >=
                10); /* write, fsync, close, rename, fsync of the folder; before and after */
    free(path);
    temp_remove(&t);
}

static void pieces_are_joined_and_abandoned(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path = temp_path(&t, "x");
    hone_error err = {0};
    hone_file_writer w;
    assert_ok(hone_file_writer_begin(&w, path, &err), err);
    assert_ok(hone_file_writer_append(&w, "ab", 2, &err), err);
    assert_false(hone_file_exists(path));
    hone_file_writer_abandon(&w);
    assert_int_equal(temp_count(&t), 0);
    assert_ok(hone_file_writer_begin(&w, path, &err), err);
    assert_ok(hone_file_writer_append(&w, "ab", 2, &err), err);
    assert_ok(hone_file_writer_append(&w, "cde", 3, &err), err);
    assert_ok(hone_file_writer_commit(&w, &err), err);
    hone_file_writer_abandon(&w);
    hone_buf b;
    assert_ok(hone_file_read(path, 5, &b, &err), err);
    assert_string_equal(b.data, "abcde");
    hone_buf_free(&b);
    /* What a killed process of the same number left does not stand in the way. */
    char stale[64];
    snprintf(stale, sizeof stale, "x.tmp.%ld", (long)getpid());
    char *left = temp_path(&t, stale);
    temp_write(left, "junk", 4);
    assert_ok(hone_file_write_atomic(path, "new", 3, &err), err);
    assert_int_equal(temp_count(&t), 1);
    free(left);
    free(path);
    temp_remove(&t);
}

static void a_sealed_copy_never_changes(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path = temp_path(&t, "x"), byte;
    hone_error err = {0};
    int fd = -1;
    temp_write(path, "12345", 5);
    const int codes[] = {0, EINTR, ENOSPC}; /* a short write, an interrupted one, a failed one */
    for (int i = 0; i < 3; i++) {
        fault.call = WRITE, fault.countdown = 1, fault.code = codes[i];
        hone_status status = hone_file_seal(path, 5, &fd, &err);
        fault.call = NO_CALL;
        assert_int_equal(status, codes[i] == ENOSPC ? HONE_ERR_IO : HONE_OK);
        if (status != HONE_OK) continue;
        assert_int_equal(lseek(fd, 0, SEEK_END), 5);
        assert_true(pread(fd, &byte, 1, 4) == 1 && byte == '5');
        assert_int_equal(pwrite(fd, "x", 1, 0), -1);
        assert_int_equal(ftruncate(fd, 6), -1);
        close(fd);
    }
    assert_int_equal(fd, -1);
    assert_int_equal(hone_file_seal(path, 4, &fd, &err), HONE_ERR_LIMIT);
    assert_int_equal(hone_file_seal(t.path, 4, &fd, &err), HONE_ERR_IO);
    free(path);
    temp_remove(&t);
}

static void reading_respects_the_limit(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path = temp_path(&t, "x");
    hone_error err = {0};
    hone_buf b;
    temp_write(path, "12345", 5);
    assert_ok(hone_file_read(path, 5, &b, &err), err);
    assert_int_equal(b.size, 5);
    hone_buf_free(&b);
    assert_int_equal(hone_file_read(path, 4, &b, &err), HONE_ERR_LIMIT);
    assert_null(b.data);
    /* A file that states no size is read to its end. */
    assert_ok(hone_file_read("/proc/self/status", 1 << 20, &b, &err), err);
    assert_true(b.size > 100 && strstr(b.data, "VmRSS") != NULL);
    hone_buf_free(&b);
    assert_int_equal(hone_file_read("/proc/self/status", 100, &b, &err), HONE_ERR_LIMIT);
    free(path);
    temp_remove(&t);
}

static void only_regular_files_are_opened(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *pipe = temp_path(&t, "pipe"), *none = temp_path(&t, "none");
    hone_error err = {0};
    hone_buf b;
    hone_file_map map;
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(hone_file_read(pipe, 10, &b, &err),
                     HONE_ERR_IO); /* and does not wait for a writer */
    assert_non_null(strstr(err.message, "not a regular file"));
    assert_int_equal(hone_file_map_open(&map, t.path, &err), HONE_ERR_IO);
    assert_non_null(strstr(err.message, "is a directory"));
    assert_int_equal(hone_file_map_open(&map, none, &err), HONE_ERR_IO);
    assert_non_null(strstr(err.message, "none: cannot open: No such file or directory"));
    hone_file_map_close(&map);
    free(pipe);
    free(none);
    temp_remove(&t);
}

static int resident_pages(const hone_file_map *map, size_t pages) {
    unsigned char here[64];
    assert_int_equal(mincore((void *)(uintptr_t)map->data, map->size, here), 0);
    /* mincore tells of the page cache; what is mapped in here, only pagemap does. */
    FILE *file = fopen("/proc/self/pagemap", "rb");
    assert_non_null(file);
    uint64_t entries[64];
    assert_int_equal(fseek(file, (long)((uintptr_t)map->data / 4096 * 8), SEEK_SET), 0);
    assert_int_equal(fread(entries, 8, pages, file), pages);
    fclose(file);
    int count = 0;
    for (size_t i = 0; i < pages; i++) count += (int)(entries[i] >> 63);
    return count;
}

static void dropped_pages_come_back(void **state) {
    (void)state;
    if (sysconf(_SC_PAGESIZE) != 4096) {
        print_message("pages of another size than 4096\n");
        skip();
    }
    temp_folder t = temp_make();
    char *path = temp_path(&t, "x");
    hone_error err = {0};
    hone_file_map map;
    memset(new_data, 'n', SIZE);
    temp_write(path, new_data, 8 * 4096);
    assert_ok(hone_file_map_open(&map, path, &err), err);
    assert_int_equal(map.size, 8 * 4096);
    assert_memory_equal(map.data, new_data, map.size);
    assert_int_equal(resident_pages(&map, 8), 8);
    hone_file_map_drop(&map, 100, 3 * 4096); /* pages 1 and 2 lie wholly inside */
    assert_int_equal(resident_pages(&map, 8), 6);
    assert_memory_equal(map.data, new_data, map.size);
    hone_file_map_drop(&map, 4096, SIZE_MAX);
    assert_int_equal(resident_pages(&map, 8), 1);
    hone_file_map_drop(&map, SIZE_MAX, 5);
    assert_memory_equal(map.data, new_data, map.size);
    hone_file_map_close(&map);
    temp_write(path, "", 0);
    assert_ok(hone_file_map_open(&map, path, &err), err);
    assert_null(map.data);
    hone_file_map_drop(&map, 0, 10);
    hone_file_map_close(&map);
    free(path);
    temp_remove(&t);
}

static void folders_are_made_with_their_parents(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *deep = temp_path(&t, "a//b/c/"), *file = temp_path(&t, "a/file"),
         *under = temp_path(&t, "a/file/x");
    hone_error err = {0};
    assert_ok(hone_file_make_directories(deep, &err), err);
    assert_ok(hone_file_make_directories(deep, &err), err);
    assert_true(hone_file_is_directory(deep));
    temp_write(file, "", 0);
    assert_false(hone_file_is_directory(file));
    assert_int_equal(hone_file_make_directories(under, &err), HONE_ERR_IO);
    assert_non_null(strstr(err.message, "a/file"));
    free(deep);
    free(file);
    free(under);
    temp_remove(&t);
}

static void expect_text(char *got, const char *want) {
    assert_string_equal(got, want);
    free(got);
}

static void paths_are_joined(void **state) {
    (void)state;
    expect_text(hone_path_join("a", "b"), "a/b");
    expect_text(hone_path_join("a/", "b"), "a/b");
    expect_text(hone_path_join("", "b"), "b");
    setenv("HOME", "/h", 1);
    setenv("XDG_CACHE_HOME", "/x", 1);
    setenv("HONE_HOME", "/hone", 1);
    expect_text(hone_path_home(), "/hone");
    setenv("HONE_HOME", "", 1);
    expect_text(hone_path_home(), "/x/hone");
    unsetenv("XDG_CACHE_HOME");
    expect_text(hone_path_home(), "/h/.cache/hone");
}

static void trees_are_removed_and_links_not_followed(void **state) {
    (void)state;
    temp_folder kept = temp_make(), gone = temp_make();
    char *outside = temp_path(&kept, "outside"), *folder = temp_path(&gone, "a/b"),
         *inside = temp_path(&gone, "a/b/file"), *link = temp_path(&gone, "a/link");
    hone_error err;
    assert_ok(hone_file_write_atomic(outside, "x", 1, &err), err);
    assert_ok(hone_file_make_directories(folder, &err), err);
    assert_ok(hone_file_write_atomic(inside, "x", 1, &err), err);
    assert_int_equal(symlink(kept.path, link), 0);
    hone_file_remove_tree(gone.path);
    assert_false(hone_file_exists(gone.path));
    assert_true(hone_file_exists(outside)); /* behind the link */
    hone_file_remove_tree(gone.path);       /* nothing there: nothing happens */
    free(outside), free(folder), free(inside), free(link);
    temp_remove(&kept);
}

/* Deeper than any path may be long and than there may be descriptors; with names like those given while it goes, and
 * folders that nobody may enter. */
static void no_tree_is_too_deep(void **state) {
    enum { DEPTH = 400, NAME = 200 };
    temp_folder gone = temp_make(), kept = temp_make();
    char name[NAME + 1], *outside = temp_path(&kept, "outside");
    struct rlimit limit, few = {32, 32};
    hone_error err;
    (void)state;
    memset(name, 'n', NAME);
    name[NAME] = 0;
    assert_ok(hone_file_write_atomic(outside, "x", 1, &err), err);
    int folder = open(gone.path, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < DEPTH; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i % 7);
        assert_int_equal(symlinkat(kept.path, folder, "link"), 0);
        assert_int_equal(mkdirat(folder, number, i % 2 ? 0700 : 0), 0);
        assert_int_equal(mkdirat(folder, name, 0700), 0);
        int inner = openat(folder, name, O_RDONLY | O_DIRECTORY);
        assert_true(inner >= 0);
        if (i % 3 == 0) assert_int_equal(fchmod(folder, 0500), 0);
        close(folder);
        folder = inner;
    }
    close(folder);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few.rlim_max = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    hone_file_remove_tree(gone.path);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_false(hone_file_exists(gone.path));
    assert_true(hone_file_exists(outside));
    /* A link in place of the folder. */
    assert_int_equal(symlink(kept.path, gone.path), 0);
    hone_file_remove_tree(gone.path);
    assert_false(hone_file_exists(gone.path));
    assert_true(hone_file_exists(outside));
    free(outside);
    temp_remove(&kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_tree_is_too_deep),
        cmocka_unit_test(a_failed_call_leaves_the_old_file),
        cmocka_unit_test(interrupted_and_short_writes_go_on),
        cmocka_unit_test(an_unsynced_folder_is_reported_with_the_new_file_whole),
        cmocka_unit_test(a_killed_writer_leaves_one_whole_file),
        cmocka_unit_test(pieces_are_joined_and_abandoned),
        cmocka_unit_test(a_sealed_copy_never_changes),
        cmocka_unit_test(reading_respects_the_limit),
        cmocka_unit_test(only_regular_files_are_opened),
        cmocka_unit_test(dropped_pages_come_back),
        cmocka_unit_test(folders_are_made_with_their_parents),
        cmocka_unit_test(paths_are_joined),
        cmocka_unit_test(trees_are_removed_and_links_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
