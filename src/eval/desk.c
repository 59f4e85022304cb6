/* eval/desk: waiting and waking over a word that two processes share. */
#define _GNU_SOURCE 1
#include "eval/desk.h"

#include "base/clock.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

bool hone_desk_wait(atomic_uint *word, unsigned old, double seconds) {
    double end = hone_clock_seconds() + seconds, left = seconds;
    while (atomic_load(word) == old) {
        struct timespec limit = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
        if (seconds >= 0 && left <= 0) return false;
        /* Not the private form: the other side is another process. */
        syscall(SYS_futex, word, FUTEX_WAIT, old, seconds < 0 ? NULL : &limit, NULL, 0);
        if (seconds >= 0) left = end - hone_clock_seconds();
    }
    return true;
}

void hone_desk_post(atomic_uint *word, unsigned value) {
    atomic_store(word, value);
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
