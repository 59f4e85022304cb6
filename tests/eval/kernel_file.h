/* tests/eval/kernel_file: shared objects for tests to evaluate, compiled from small C files of tests/eval/attacks. */
#ifndef HONE_TESTS_KERNEL_FILE_H
#define HONE_TESTS_KERNEL_FILE_H

#include "support.h"

#include <errno.h>
#include <hone.h>
#include <unistd.h>

/* Compiles attacks/NAME.c; `path` becomes that of the shared object, which the caller removes. */
static inline void compile_kernel_file(const char *name, char path[64]) {
    char command[1024];
    snprintf(path, 64, "/tmp/hone-kernels-XXXXXX.so");
    int fd = mkstemps(path, 3);
    assert_true(fd >= 0);
    close(fd);
    snprintf(command, sizeof command,
             "cc -std=c17 -D_GNU_SOURCE -O2 -fPIC -shared -Wall -Wextra -I%s/include "
             "%s/tests/eval/attacks/%s.c -o %s -lm",
             HONE_SOURCE_DIR, HONE_SOURCE_DIR, name, path);
    if (system(command) != 0) fail_msg("%s", command);
}

/* What hone_eval starts as the hone program is the test itself then: call it first in main, and return what it says
 * unless that is negative. */
static inline int be_kernel_worker(int argc, char **argv) {
    hone_error err;
    if (argc != 6 || strcmp(argv[1], "confined") != 0) return -1;
    int threads = atoi(argv[4]);
    if (hone_confine(threads, &err) != HONE_OK) return 1;
    return hone_kernel_worker(argv[5], threads, &err) == HONE_OK ? 0 : 1;
}

static inline const char *own_program(void) {
    static char path[4096];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    assert_true(size > 0);
    path[size] = 0;
    return path;
}

#endif
