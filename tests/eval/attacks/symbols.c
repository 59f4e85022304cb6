/* Names of the C library, in the hope that the host calls these instead. */
#include <stdlib.h>
#include <time.h>

#define VISIBLE __attribute__((visibility("default")))

int setenv(const char *, const char *, int);

VISIBLE void *malloc(size_t size) {
    (void)size;
    return NULL;
}

VISIBLE void free(void *p) { (void)p; }

VISIBLE int memcmp(const void *a, const void *b, size_t size) {
    (void)a, (void)b, (void)size;
    return 0;
}

VISIBLE int clock_gettime(int clock, struct timespec *now) {
    (void)clock;
    now->tv_sec = now->tv_nsec = 0;
    return 0;
}

VISIBLE long write(int fd, const void *data, size_t size) {
    (void)fd, (void)data;
    return (long)size;
}

static bool attempt(const hone_host *host, int number, const char *path) {
    (void)host, (void)number, (void)path;
    setenv("LD_PRELOAD", "/tmp/hone-attack.so", 1);
    return false;
}
