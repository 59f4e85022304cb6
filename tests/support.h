/* tests/support: what every test program needs: cmocka with its prerequisites, and where the fixtures are. */
#ifndef HONE_TESTS_SUPPORT_H
#define HONE_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define HONE_GOLDEN_DIR HONE_SOURCE_DIR "/tests/golden"

#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        if ((call) != HONE_OK) fail_msg("%s: %s", #call, (err).message);                           \
    } while (0)

/* Processor time of this thread: what a limit allows, whatever else the machine does. */
static inline double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
