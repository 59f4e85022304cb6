/* Files that are not for kernels: hidden tests, keys, homes; and changing anything. */
#include <stdio.h>
#include <stdlib.h>

int open(const char *, int, ...);
int close(int);
void *opendir(const char *);
int truncate(const char *, long);
int mkdir(const char *, unsigned);

/* `path` with its last part replaced. */
static const char *beside(const char *path, const char *name) {
    static char other[512];
    const char *slash = strrchr(path, '/');
    snprintf(other, sizeof other, "%.*s/%s", (int)(slash - path), path, name);
    return other;
}

static bool opens(const char *path, int flags) {
    int fd = open(path, flags, 0600);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static bool attempt(const hone_host *host, int number, const char *path) {
    (void)host;
    switch (number) {
    case 0:
        return opens(path, 0);
    case 1:
        return opens(path, 1) || opens(path, 2) || opens(path, 1 | 01000);
    case 2:
        return opens(beside(path, "new"), 1 | 0100);
    case 3:
        return remove(path) == 0;
    case 4:
        return rename(path, beside(path, "renamed")) == 0;
    case 5:
        return mkdir(beside(path, "folder"), 0700) == 0;
    case 6:
        return opendir(beside(path, ".")) != NULL;
    case 7:
        return opens("/etc/shadow", 0) || opens("/etc/passwd", 0) || opens("/root/.ssh", 0);
    case 8:
        return opendir("/home") || opendir("/root") || opendir("/tmp") || opendir("/");
    case 9:
        return opens("/dev/zero", 0) || opens("/dev/mem", 0) || opens("/dev/shm/x", 1 | 0100);
    case 10:
        return opens("/tmp/hone-attack", 1 | 0100) || opens("/var/tmp/hone-attack", 1 | 0100);
    case 11:
        return opens("/proc/self/mem", 2) || opens("/proc/self/oom_score_adj", 1);
    }
    return true;
}
