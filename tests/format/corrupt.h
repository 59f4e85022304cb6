/* tests/format/corrupt: runs a table of corrupt files, one test each. */
#ifndef HONE_TESTS_FORMAT_CORRUPT_H
#define HONE_TESTS_FORMAT_CORRUPT_H

#include "bytes.h"
#include "format/format.h"

typedef struct corrupt_case {
    const char *name;
    const char *script; /* see bytes.h */
    hone_status status;
    const char *part; /* of the message */
} corrupt_case;

/* Opening `path` fails as the case says, soon, with a message that names the file. */
static inline void expect_corrupt(const corrupt_case *c, const char *path, const char *file_name) {
    hone_error err = {0};
    hone_file_set *set = NULL;
    double begin = cpu_seconds();
    hone_status status = hone_file_set_open(path, &set, &err);
    double seconds = cpu_seconds() - begin;
    assert_null(set);
    if (status != c->status) fail_msg("status %d, expected %d: %s", status, c->status, err.message);
    assert_int_equal(err.status, status);
    if (strstr(err.message, file_name) == NULL)
        fail_msg("no \"%s\" in: %s", file_name, err.message);
    if (strstr(err.message, c->part) == NULL) fail_msg("no \"%s\" in: %s", c->part, err.message);
    if (seconds > 1) fail_msg("took %.1f s", seconds);
}

static inline void run_corrupt(void **state) {
    const corrupt_case *c = *state;
    temp_folder t = temp_make();
    char *path = temp_path(&t, "corrupt.bin");
    write_script(path, c->script);
    expect_corrupt(c, path, "corrupt.bin");
    free(path);
    temp_remove(&t);
}

/* One test for each case. */
static inline void add_corrupt(struct CMUnitTest *tests, const corrupt_case *cases, size_t count,
                               CMUnitTestFunction run) {
    for (size_t i = 0; i < count; i++) {
        tests[i] = (struct CMUnitTest){
            .name = cases[i].name, .test_func = run, .initial_state = (void *)(uintptr_t)&cases[i]};
    }
}

/* Every tensor's bytes are there to be read; a lie about them would fault or trip the sanitizer. */
static inline unsigned touch(const hone_file_set *set) {
    unsigned sum = 0;
    for (size_t i = 0; i < set->tensor_count; i++) {
        const unsigned char *data = set->tensors[i].data;
        for (size_t k = 0; k < set->tensors[i].bytes; k++) sum += data[k];
        sum += (unsigned)strlen(set->tensors[i].name);
    }
    return sum;
}

/* Opens the bytes whatever they are: a set that can be read, or an error with the file's name. */
static inline bool open_any(const char *path, const void *data, size_t size) {
    hone_error err = {0};
    hone_file_set *set = NULL;
    temp_write(path, data, size);
    hone_status status = hone_file_set_open(path, &set, &err);
    if (status == HONE_OK) {
        (void)touch(set);
        hone_file_set_free(&set);
        return true;
    }
    assert_non_null(strstr(err.message, path));
    assert_true(status == HONE_ERR_FORMAT || status == HONE_ERR_UNSUPPORTED ||
                status == HONE_ERR_LIMIT);
    return false;
}

#endif
