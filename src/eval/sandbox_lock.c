/* eval/sandbox_lock: the system calls that are left to a process which is about to load untrusted kernels. */
#define _GNU_SOURCE 1
#include "eval/sandbox.h"

#include "base/parallel.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Allowed whatever their arguments are. Which files can be opened, made and removed is Landlock's to say. */
static const int plain_calls[] = {
    /* memory */
    SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect), SCMP_SYS(madvise),
    SCMP_SYS(brk),
    /* meeting other threads, waiting, time */
    SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu),
    SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(poll), SCMP_SYS(ppoll),
    SCMP_SYS(restart_syscall),
    /* reading and writing */
    SCMP_SYS(openat), SCMP_SYS(open), SCMP_SYS(close), SCMP_SYS(read), SCMP_SYS(pread64),
    SCMP_SYS(readv), SCMP_SYS(preadv), SCMP_SYS(write), SCMP_SYS(pwrite64), SCMP_SYS(writev),
    SCMP_SYS(pwritev), SCMP_SYS(lseek), SCMP_SYS(dup), SCMP_SYS(flock), SCMP_SYS(fsync),
    SCMP_SYS(fdatasync), SCMP_SYS(ftruncate), SCMP_SYS(fadvise64),
    /* files by name */
    SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx),
    SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(getdents64), SCMP_SYS(getcwd), SCMP_SYS(rename),
    SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(unlink),
    SCMP_SYS(unlinkat), SCMP_SYS(rmdir), SCMP_SYS(statfs), SCMP_SYS(fstatfs),
    /* questions */
    SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
    SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getrusage),
    SCMP_SYS(getrlimit), SCMP_SYS(getrandom),
    /* ending; C's abort() masks signals first */
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn)};

/* Handlers that the program sets when a verb starts, and abort()'s own. */
static const int handled_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGABRT};

/* Of fcntl, what can neither send signals nor outlive the process. */
static const int fcntl_commands[] = {F_GETFD, F_SETFD,  F_GETFL,     F_SETFL,     F_DUPFD_CLOEXEC,
                                     F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW};

/* What buffered output asks a terminal. */
static const unsigned ioctl_requests[] = {TCGETS, TIOCGWINSZ};

/* ARCH_GET_XCOMP_PERM and ARCH_REQ_XCOMP_PERM: leave to use AMX. */
static const int amx_codes[] = {0x1022, 0x1023};

#define ALLOW_WHEN(filter, call, ...)                                                              \
    seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(call), __VA_ARGS__)
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Calls that are harmless with some arguments only. */
static int allow_some(scmp_filter_ctx filter) {
    int failed = 0;
    for (size_t i = 0; i < COUNT(handled_signals) && !failed; i++)
        failed =
            ALLOW_WHEN(filter, rt_sigaction, 1, SCMP_A0(SCMP_CMP_EQ, (unsigned)handled_signals[i]));
    for (size_t i = 0; i < COUNT(fcntl_commands) && !failed; i++)
        failed = ALLOW_WHEN(filter, fcntl, 1, SCMP_A1(SCMP_CMP_EQ, (unsigned)fcntl_commands[i]));
    for (size_t i = 0; i < COUNT(ioctl_requests) && !failed; i++)
        failed = ALLOW_WHEN(filter, ioctl, 1, SCMP_A1(SCMP_CMP_EQ, ioctl_requests[i]));
#ifdef __x86_64__
    for (size_t i = 0; i < COUNT(amx_codes) && !failed; i++)
        failed = ALLOW_WHEN(filter, arch_prctl, 1, SCMP_A0(SCMP_CMP_EQ, (unsigned)amx_codes[i]));
#else
    (void)amx_codes;
#endif
    /* Limits can be asked for, not set, and of oneself alone. */
    if (!failed)
        failed = ALLOW_WHEN(filter, prlimit64, 2, SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0));
    /* A thread of a team that shares a core with another moves away (base/parallel), which else costs milliseconds.
     * Only the calling thread: that it did not stay elsewhere is seen from outside. */
    if (!failed) failed = ALLOW_WHEN(filter, sched_setaffinity, 1, SCMP_A0(SCMP_CMP_EQ, 0));
    if (!failed)
        failed = ALLOW_WHEN(filter, tgkill, 2, SCMP_A0(SCMP_CMP_EQ, (unsigned)getpid()),
                            SCMP_A2(SCMP_CMP_EQ, SIGABRT));
    return failed;
}

/* 0, or what libseccomp says: a negative errno. */
static int load(scmp_filter_ctx filter) {
    int failed = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (!failed) failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    /* Some kernels turn a protection on with a filter that slows all code down: times would not be comparable. */
    if (!failed) failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    for (size_t i = 0; i < COUNT(plain_calls) && !failed; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_calls[i], 0);
    if (!failed) failed = allow_some(filter);
    return failed ? failed : seccomp_load(filter);
}

hone_status hone_sandbox_lock(hone_error *err) {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter) return hone_fail_memory(err, "the list of allowed system calls", 0);
    int failed = load(filter);
    seccomp_release(filter);
    if (!failed) return HONE_OK;
    return hone_fail(err, HONE_ERR_UNSUPPORTED,
                     "this system does not let a process give up system calls (seccomp: %s)",
                     strerror(-failed));
}

static void meet(hone_team team, void *unused) {
    (void)unused;
    hone_barrier(team);
}

hone_status hone_confine(int threads, hone_error *err) {
    int most = hone_parallel_most_threads();
    if (threads < 0 || threads > most)
        return hone_fail(err, HONE_ERR_USAGE, "%d threads; expected 0 to %d", threads, most);
    /* OpenMP keeps the threads of a team for the next region: these are the ones that all later regions get. */
    hone_parallel(threads > 0 ? threads : hone_parallel_default_threads(), meet, NULL);
    return hone_sandbox_lock(err);
}
