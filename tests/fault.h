/* tests/fault: an allocator whose n-th allocation fails, for all n in turn. It replaces the C
 * library's, so a sanitizer's cannot be used beside it: then FAULT_POSSIBLE is not defined. Included by
 * one file of a program. */
#ifndef HONE_TESTS_FAULT_H
#define HONE_TESTS_FAULT_H

#include "base/status.h"
#include "temp.h"

#include <errno.h>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
#define FAULT_POSSIBLE 1

/* The C library's own calls (strdup, qsort) are to come here, too. */
#define SHARED __attribute__((visibility("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

/* volatile: compilers take it that an allocator touches no variable of the program. */
static volatile struct {
    bool on, from_then_on;
    long countdown; /* the allocation that fails comes at 1 */
    long alive;     /* blocks taken and not given back while on */
    bool hit;
} fault;

static bool fails(void) {
    if (!fault.on) return false;
    fault.countdown--;
    if (fault.countdown != 0 && (fault.countdown > 0 || !fault.from_then_on)) return false;
    fault.hit = true;
    errno = ENOMEM;
    return true;
}

static void *counted(void *block) {
    if (fault.on && block != NULL) fault.alive++;
    return block;
}

SHARED void *malloc(size_t size) { return fails() ? NULL : counted(__libc_malloc(size)); }

SHARED void *calloc(size_t count, size_t size) {
    return fails() ? NULL : counted(__libc_calloc(count, size));
}

SHARED void *realloc(void *block, size_t size) {
    if (fails()) return NULL;
    return block == NULL ? counted(__libc_realloc(block, size)) : __libc_realloc(block, size);
}

SHARED void free(void *block) {
    if (fault.on && block != NULL) fault.alive--;
    __libc_free(block);
}

typedef hone_status (*job_fn)(const char *path, hone_error *err);

/* Runs the job with its n-th allocation failing, for all n, until it runs through untouched. */
static void fail_in_turn(job_fn job, const char *path, int least) {
    for (int from_then_on = 0; from_then_on <= 1; from_then_on++) {
        long failures = 0;
        for (long nth = 1;; nth++) {
            hone_error err = {0};
            fault.from_then_on = from_then_on != 0;
            fault.countdown = nth;
            fault.hit = false;
            fault.alive = 0;
            fault.on = true;
            hone_status status = job(path, &err);
            fault.on = false;
            if (fault.alive != 0) fail_msg("allocation %ld: %ld blocks leaked", nth, fault.alive);
            if (!fault.hit) {
                assert_ok(status, err);
                break;
            }
            failures += status != HONE_OK;
            /* qsort and the like make do without memory; what fails says why. */
            if (status != HONE_OK && status != HONE_ERR_MEMORY)
                fail_msg("allocation %ld: status %d: %s", nth, status, err.message);
            assert_int_equal(err.status, status);
        }
        assert_true(failures >= least);
    }
}

#else

static void every_allocation_fails(void **state) {
    (void)state;
    print_message("the allocator that a sanitizer brings cannot be replaced\n");
    skip();
}

static int without_faults(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
#endif
