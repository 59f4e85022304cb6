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

#include <cmocka.h>

#define HONE_GOLDEN_DIR HONE_SOURCE_DIR "/tests/golden"

#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        if ((call) != HONE_OK) fail_msg("%s: %s", #call, (err).message);                           \
    } while (0)

#endif
