/* Kernels that do not come back, or not well. */
#include <stdlib.h>
#include <threads.h>
#include <time.h>

static volatile int zero;

static int deeper(int depth) {
    volatile char page[4096];
    page[depth % 4096] = (char)depth;
    return deeper(depth + 1) + page[0];
}

static bool attempt(const hone_host *host, int number, const char *path) {
    (void)path;
    switch (number) {
    case 0:
        for (;;) zero = 0;
    case 1:
        for (;;) thrd_sleep(&(struct timespec){.tv_sec = 1000}, NULL);
    case 2: /* takes what it gets, and uses it */
        for (;;) {
            volatile char *block = malloc(1 << 20);
            for (size_t i = 0; block && i < 1 << 20; i += 4096) block[i] = 1;
        }
    case 3:
        return host->scratch(host, (size_t)1 << 40) != NULL;
    case 4:
        return deeper(zero) == 1;
    case 5:
        *(volatile int *)(uintptr_t)(8 + zero) = 1;
        return true;
    case 6:
#ifdef __x86_64__
        zero = 100 / zero;
        return true;
#else
        __builtin_trap();
#endif
    case 7:
        __builtin_trap();
    case 8:
        abort();
    case 9:
        exit(3);
    case 10:
        exit(0); /* before there is a result */
    }
    return true;
}
