/* base/clock: time and memory of this process, as the operating system counts them. */
#define _GNU_SOURCE 1
#include "base/clock.h"

#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double hone_clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The number after `key` at the start of a line of the file, or the file's first word when key is
 * empty. False when it is not there or no number ("max"). */
static bool number_in(const char *path, const char *key, size_t *out) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    char line[256];
    bool found = false;
    size_t length = strlen(key);
    while (!found && fgets(line, sizeof line, file) != NULL) {
        unsigned long long value;
        if (strncmp(line, key, length) != 0 || sscanf(line + length, "%llu", &value) != 1) continue;
        *out = (size_t)HONE_MIN(value, (unsigned long long)SIZE_MAX);
        found = true;
    }
    fclose(file);
    return found;
}

static size_t kibibytes_in(const char *path, const char *key) {
    size_t value, bytes;
    return number_in(path, key, &value) && hone_size_mul(value, 1024, &bytes) ? bytes : 0;
}

size_t hone_memory_peak_rss(void) { return kibibytes_in("/proc/self/status", "VmHWM:"); }

size_t hone_memory_rss(void) { return kibibytes_in("/proc/self/status", "VmRSS:"); }

/* The two generations of control groups say the same with other words. */
typedef struct cgroup_words {
    const char *root, *limit, *usage, *inactive;
} cgroup_words;

static const cgroup_words unified = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                     "inactive_file "};
static const cgroup_words legacy = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                    "memory.usage_in_bytes", "total_inactive_file "};

/* What the group at `path` still allows; page cache that can be dropped at once counts as free. */
static size_t group_available(const cgroup_words *words, const char *path) {
    char file[4096 + 64];
    size_t limit, usage, inactive = 0;
    snprintf(file, sizeof file, "%s%s/%s", words->root, path, words->limit);
    if (!number_in(file, "", &limit)) return SIZE_MAX;
    snprintf(file, sizeof file, "%s%s/%s", words->root, path, words->usage);
    if (!number_in(file, "", &usage)) return SIZE_MAX;
    snprintf(file, sizeof file, "%s%s/memory.stat", words->root, path);
    (void)number_in(file, words->inactive, &inactive);
    usage -= HONE_MIN(inactive, usage);
    return limit > usage ? limit - usage : 1; /* 0 would mean unknown */
}

/* The least over a group and all groups above it; path is shortened on the way. */
static size_t groups_available(const cgroup_words *words, char *path) {
    size_t least = SIZE_MAX;
    for (;;) {
        least = HONE_MIN(least, group_available(words, path));
        char *slash = strrchr(path, '/');
        if (slash == NULL) return least;
        *slash = '\0';
    }
}

static size_t cgroup_available(void) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) return SIZE_MAX;
    size_t least = SIZE_MAX;
    char line[4096];
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL) continue;
        *path++ = '\0';
        bool memory = strcmp(controllers, ":memory") == 0 || strstr(controllers, ",memory") != NULL;
        if (strcmp(path, "/") == 0) path[0] = '\0';
        if (memory || strcmp(line, "0:") == 0) {
            least = HONE_MIN(least, groups_available(memory ? &legacy : &unified, path));
        }
    }
    fclose(file);
    return least;
}

size_t hone_memory_available(void) {
    size_t available = kibibytes_in("/proc/meminfo", "MemAvailable:");
    return available == 0 ? 0 : HONE_MIN(available, cgroup_available());
}
