/* eval/sandbox_rules: see sandbox_rules.h. */
#define _GNU_SOURCE 1
#include "eval/sandbox_rules.h"

#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The distribution's header may be older than its kernel, so what came after the first version is spelt out. */
typedef struct ruleset_attr {
    uint64_t fs, net, scoped;
} ruleset_attr;

enum { LATEST_VERSION = 6, NET_VERSION = 4, SCOPE_VERSION = 6 };
enum { FS_REFER = 1 << 13, FS_TRUNCATE = 1 << 14, FS_IOCTL_DEV = 1 << 15 };
enum { NET_TCP = 3 /* bind, connect */, SCOPED = 3 /* abstract unix sockets, signals */ };

/* All rights over files that a version knows; what is not granted is denied. */
static uint64_t known_rights(int version) {
    static const int bits[LATEST_VERSION + 1] = {0, 13, 14, 15, 15, 16, 16};
    return (UINT64_C(1) << bits[HONE_MIN(version, (int)LATEST_VERSION)]) - 1;
}

static uint64_t rights_of(hone_rules_kind kind) {
    const uint64_t read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    switch (kind) {
    case HONE_RULES_READ:
        return read;
    case HONE_RULES_EXECUTE:
        return read | LANDLOCK_ACCESS_FS_EXECUTE;
    case HONE_RULES_WRITE:
        break;
    }
    /* No symbolic link, FIFO, socket or device, and nothing that it wrote itself is executed. */
    return read | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
           LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
           LANDLOCK_ACCESS_FS_MAKE_REG | FS_REFER | FS_TRUNCATE;
}

int hone_rules_version(void) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version > 0 ? (int)version : 0;
}

bool hone_rules_add_fd(int ruleset, int fd, hone_rules_kind kind) {
    const uint64_t file_rights = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                 LANDLOCK_ACCESS_FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV;
    struct landlock_path_beneath_attr rule = {.parent_fd = fd};
    struct stat info;
    if (fstat(fd, &info) != 0) return false;
    rule.allowed_access = rights_of(kind) & known_rights(hone_rules_version());
    if (!S_ISDIR(info.st_mode)) rule.allowed_access &= file_rights;
    return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}

bool hone_rules_apply(int ruleset) { return syscall(SYS_landlock_restrict_self, ruleset, 0) == 0; }

static hone_status add_path(int ruleset, const char *path, hone_rules_kind kind, hone_error *err) {
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR) && kind != HONE_RULES_WRITE) return HONE_OK;
    if (fd < 0) return hone_fail_errno(err, "give a confined process access to", path);
    bool added = hone_rules_add_fd(ruleset, fd, kind);
    int error = errno;
    close(fd);
    errno = error;
    return added ? HONE_OK : hone_fail_errno(err, "give a confined process access to", path);
}

/* Shared libraries and their loader, and what hone and its libraries ask about processors and memory. */
static const char *const system_paths[] = {"/lib",          "/lib64",         "/usr/lib",
                                           "/usr/lib64",    "/usr/local/lib", "/etc/ld.so.cache",
                                           "/proc/cpuinfo", "/proc/meminfo",  NULL};
static const char *const system_facts[] = {"/sys/devices/system", "/sys/fs/cgroup",
                                           "/sys/kernel/mm/transparent_hugepage",
                                           "/sys/firmware/devicetree/base/model", NULL};

static hone_status add_paths(int ruleset, const char *const *paths, hone_rules_kind kind,
                             hone_error *err) {
    for (size_t i = 0; paths && paths[i]; i++) HONE_TRY(add_path(ruleset, paths[i], kind, err));
    return HONE_OK;
}

static hone_status add_rules(int ruleset, const char *const *readable, bool system,
                             const char *writable, int program, hone_error *err) {
    if (!hone_rules_add_fd(ruleset, program, HONE_RULES_EXECUTE))
        return hone_fail_errno(err, "give a confined process access to", "its program");
    HONE_TRY(add_paths(ruleset, readable, HONE_RULES_EXECUTE, err));
    if (system) {
        HONE_TRY(add_paths(ruleset, system_paths, HONE_RULES_EXECUTE, err));
        HONE_TRY(add_paths(ruleset, system_facts, HONE_RULES_READ, err));
    }
    return writable ? add_path(ruleset, writable, HONE_RULES_WRITE, err) : HONE_OK;
}

hone_status hone_rules_make(const char *const *readable, bool system, const char *writable,
                            int program, int *ruleset, hone_error *err) {
    int version = hone_rules_version();
    ruleset_attr attr = {.fs = known_rights(version)};
    if (version >= NET_VERSION) attr.net = NET_TCP;
    if (version >= SCOPE_VERSION) attr.scoped = SCOPED;
    size_t size = version >= SCOPE_VERSION ? sizeof attr : version >= NET_VERSION ? 16 : 8;
    *ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (*ruleset < 0) return hone_fail_errno(err, "make", "Landlock's rules");
    hone_status status = add_rules(*ruleset, readable, system, writable, program, err);
    if (status == HONE_OK) return HONE_OK;
    close(*ruleset);
    *ruleset = -1;
    return status;
}
