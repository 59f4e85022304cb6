/* tests/eval/attacks/desk: answers in the name of the process that a kernel runs in. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel says whether an address can be read; nothing is opened. */
static int is_readable(const void *p) {
    int fd = open(p, O_RDONLY);
    if (fd >= 0) close(fd);
    return fd >= 0 || errno != EFAULT;
}

/* Two counters, 64 bytes apart: orders, and answers, one less. */
static uint32_t *as_desk(uintptr_t word) {
    uint32_t *p = (uint32_t *)word;
    if (word == 0 || word % 4096 || !is_readable(p)) return NULL;
    return p[0] > 1 && p[0] == p[16] + 1 ? p : NULL;
}

static uint32_t *find_desk(void) {
    const uintptr_t *stack = (const uintptr_t *)__builtin_frame_address(0);
    for (int i = 0; i < 16384 && (i % 256 || is_readable(stack + i)); i++) {
        const uintptr_t *inner = (const uintptr_t *)stack[i];
        if (as_desk(stack[i])) return as_desk(stack[i]);
        if (stack[i] < 4096 || stack[i] % 8 || !is_readable(inner)) continue;
        for (int k = 0; k < 4; k++)
            if (as_desk(inner[k])) return as_desk(inner[k]);
    }
    return NULL;
}

/* Says that the present order is carried out. */
static void answer(void) {
    static uint32_t *desk;
    if (!desk) desk = find_desk();
    if (!desk || desk[16] == desk[0]) return;
    desk[16] = desk[0];
    syscall(SYS_futex, desk + 16, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
