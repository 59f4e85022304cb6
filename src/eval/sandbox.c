/* eval/sandbox: see sandbox.h. Starting a confined process.
 *
 * The caller may have threads, so between clone and exec the child makes system calls and nothing else: all that
 * allocates, opens or can be told to people is done before, in this process, and the child says in one line of a pipe
 * which of its steps failed. */
#define _GNU_SOURCE 1
#include "eval/sandbox.h"

#include "base/size.h"
#include "eval/sandbox_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    NAMESPACES =
        CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
    NOBODY = 65534,
    LIMITS = 12,
    MAX_FD = 63,
    DEFAULT_PROCESSES = 64,
    DEFAULT_FILES = 64,
    DEFAULT_STACK = 8 << 20,
    KERNEL_SIGNALS = 64,
    KERNEL_SIGSET_BYTES = 8
};

typedef enum child_step {
    STEP_SESSION,
    STEP_IDS,
    STEP_DESCRIPTORS,
    STEP_FOLDER,
    STEP_LIMITS,
    STEP_CAPABILITIES,
    STEP_RULES,
    STEP_PARENT,
    STEP_PROGRAM
} child_step;

static const char *const step_words[] = {
    [STEP_SESSION] = "start a session",
    [STEP_IDS] = "map the user in a user namespace",
    [STEP_DESCRIPTORS] = "hand over descriptors",
    [STEP_FOLDER] = "enter the folder",
    [STEP_LIMITS] = "set limits",
    [STEP_CAPABILITIES] = "give up capabilities",
    [STEP_RULES] = "apply Landlock's rules",
    [STEP_PARENT] = "be bound to its parent",
    [STEP_PROGRAM] = "execute the program",
};

typedef struct child_report {
    int step, error;
} child_report;

typedef struct child_limit {
    int resource;
    struct rlimit64 value;
} child_limit;

/* What the child needs, ready. */
typedef struct child_plan {
    bool namespaces;
    int program, ruleset, report; /* close-on-exec, above all numbers in fds; ruleset -1: none */
    bool own_proc;
    char *const *argv;
    const char *const *env;
    const char *folder;
    hone_sandbox_fd fds[3 + HONE_SANDBOX_MAX_FDS];
    size_t fd_count;
    int floor; /* above every number of theirs */
    child_limit limits[LIMITS];
    size_t limit_count;
    char uid_map[48], gid_map[48];
} child_plan;

/* ---- in the child: system calls alone ------------------------------------------------------------ */

static bool write_text(const char *path, const char *text) {
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return false;
    size_t size = 0;
    while (text[size]) size++;
    bool written = syscall(SYS_write, fd, text, size) == (long)size;
    int error = errno;
    syscall(SYS_close, fd);
    errno = error;
    return written;
}

static bool enter_namespaces(const child_plan *plan) {
    /* Kernels before 3.19 have no such file, and need none. */
    if (!write_text("/proc/self/setgroups", "deny") && errno != ENOENT) return false;
    if (!write_text("/proc/self/uid_map", plan->uid_map)) return false;
    if (!write_text("/proc/self/gid_map", plan->gid_map)) return false;
    syscall(SYS_sethostname, "hone", 4);
    return true;
}

/* A /proc of its own namespace shows its own processes alone. Where that cannot be mounted (containers cover parts of
 * theirs), its own folder of the old one has to do. */
static bool allow_proc(const child_plan *plan) {
    bool mounted = plan->namespaces && syscall(SYS_mount, "proc", "/proc", "proc",
                                               MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0;
    long fd =
        syscall(SYS_openat, AT_FDCWD, mounted ? "/proc" : "/proc/self", O_PATH | O_CLOEXEC, 0);
    if (fd < 0) return true; /* no /proc: nothing to allow */
    bool added = hone_rules_add_fd(plan->ruleset, (int)fd, HONE_RULES_READ);
    int error = errno;
    syscall(SYS_close, fd);
    errno = error;
    return added;
}

static bool take_descriptors(const child_plan *plan) {
    int spare[3 + HONE_SANDBOX_MAX_FDS];
    if (syscall(SYS_close_range, 0, ~0U, CLOSE_RANGE_CLOEXEC) != 0) return false;
    /* First out of the way of each other, then to their places, which stay open in the program. */
    for (size_t i = 0; i < plan->fd_count; i++) {
        spare[i] = (int)syscall(SYS_fcntl, plan->fds[i].ours, F_DUPFD_CLOEXEC, plan->floor);
        if (spare[i] < 0) return false;
    }
    for (size_t i = 0; i < plan->fd_count; i++)
        if (syscall(SYS_dup3, spare[i], plan->fds[i].theirs, 0) < 0) return false;
    return true;
}

static bool set_limits(const child_plan *plan) {
    for (size_t i = 0; i < plan->limit_count; i++)
        if (syscall(SYS_prlimit64, 0, plan->limits[i].resource, &plan->limits[i].value, NULL) != 0)
            return false;
    return true;
}

/* Without the bounding set no program gets any back, not even for root. */
static bool drop_capabilities(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}};
    for (int i = 0; i < 64; i++)
        if (syscall(SYS_prctl, PR_CAPBSET_DROP, i, 0, 0, 0) != 0) break;
    if (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
    return syscall(SYS_capset, &header, none) == 0;
}

static void reset_signals(void) {
    /* The kernel's sigaction: nothing but zeros, the default action. */
    static const unsigned long defaults[8];
    static const unsigned long empty;
    for (int i = 1; i <= KERNEL_SIGNALS; i++)
        syscall(SYS_rt_sigaction, i, defaults, NULL, KERNEL_SIGSET_BYTES);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &empty, NULL, KERNEL_SIGSET_BYTES);
}

/* Whether the parent still reads: one that died before PR_SET_PDEATHSIG sends no signal. */
static bool bind_to_parent(const child_plan *plan) {
    if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return false;
    struct pollfd pipe = {.fd = plan->report, .events = 0};
    struct timespec now = {0, 0};
    errno = ESRCH;
    return syscall(SYS_ppoll, &pipe, 1, &now, NULL, KERNEL_SIGSET_BYTES) == 0;
}

static child_step run_child(const child_plan *plan) {
    if (syscall(SYS_setsid) < 0) return STEP_SESSION;
    if (plan->namespaces && !enter_namespaces(plan)) return STEP_IDS;
    if (plan->own_proc && plan->ruleset >= 0 && !allow_proc(plan)) return STEP_RULES;
    if (!take_descriptors(plan)) return STEP_DESCRIPTORS;
    if (syscall(SYS_chdir, plan->folder) != 0) return STEP_FOLDER;
    if (!set_limits(plan)) return STEP_LIMITS;
    if (!drop_capabilities()) return STEP_CAPABILITIES;
    if (plan->ruleset >= 0 && !hone_rules_apply(plan->ruleset)) return STEP_RULES;
    reset_signals();
    if (!bind_to_parent(plan)) return STEP_PARENT;
    syscall(SYS_execveat, plan->program, "", plan->argv, plan->env, AT_EMPTY_PATH);
    return STEP_PROGRAM;
}

/* ---- in the parent ------------------------------------------------------------------------------- */

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

/* A limit that this process may not exceed itself cannot be raised. */
static void add_limit(child_plan *plan, int resource, uint64_t soft, uint64_t hard) {
    struct rlimit64 now;
    if (getrlimit64((__rlimit_resource_t)resource, &now) != 0) return;
    child_limit *limit = &plan->limits[plan->limit_count++];
    limit->resource = resource;
    limit->value.rlim_max = HONE_MIN(now.rlim_max, (rlim64_t)hard);
    limit->value.rlim_cur = HONE_MIN(limit->value.rlim_max, (rlim64_t)soft);
}

static void plan_limits(child_plan *plan, const hone_sandbox_options *o) {
    const uint64_t none = RLIM64_INFINITY;
    uint64_t files = o->open_files > 0 ? (uint64_t)o->open_files : DEFAULT_FILES;
    uint64_t stack = o->stack ? o->stack : DEFAULT_STACK;
    /* In whole seconds, and above what hone_sandbox_look allows. The first process of a namespace ignores SIGXCPU, the
     * soft limit's: SIGKILL at the hard one. */
    uint64_t cpu = o->cpu_seconds > 0 ? (uint64_t)HONE_MIN(o->cpu_seconds, 1e9) + 2 : none;
    add_limit(plan, RLIMIT_CPU, cpu, cpu);
    add_limit(plan, RLIMIT_AS, o->address_space ? o->address_space : none,
              o->address_space ? o->address_space : none);
    add_limit(plan, RLIMIT_FSIZE, o->file_size ? o->file_size : none,
              o->file_size ? o->file_size : none);
    add_limit(plan, RLIMIT_STACK, stack, stack);
    add_limit(plan, RLIMIT_NOFILE, files, files);
    add_limit(plan, RLIMIT_CORE, 0, 0);
    add_limit(plan, RLIMIT_MEMLOCK, 0, 0);
    add_limit(plan, RLIMIT_MSGQUEUE, 0, 0);
    /* Without a user namespace it would count all processes of the user. */
    uint64_t processes = o->processes > 0 ? (uint64_t)o->processes : DEFAULT_PROCESSES;
    if (plan->namespaces) add_limit(plan, RLIMIT_NPROC, processes, processes);
}

static hone_status plan_fds(child_plan *plan, const int streams[3], const hone_sandbox_fd *fds,
                            size_t count, int devnull, hone_error *err) {
    if (count > HONE_SANDBOX_MAX_FDS)
        return hone_fail(err, HONE_ERR_INTERNAL,
                         "%zu descriptors for a confined process, at most %d", count,
                         (int)HONE_SANDBOX_MAX_FDS);
    plan->floor = 3;
    for (int i = 0; i < 3; i++)
        plan->fds[plan->fd_count++] = (hone_sandbox_fd){streams[i] >= 0 ? streams[i] : devnull, i};
    for (size_t i = 0; i < count; i++) {
        if (fds[i].theirs < 3 || fds[i].theirs > MAX_FD)
            return hone_fail(err, HONE_ERR_INTERNAL,
                             "descriptor %d of a confined process; expected 3 to %d", fds[i].theirs,
                             (int)MAX_FD);
        plan->fds[plan->fd_count++] = fds[i];
        plan->floor = HONE_MAX(plan->floor, fds[i].theirs + 1);
    }
    return HONE_OK;
}

/* Moves a descriptor out of the way of the numbers that the child's get. */
static bool lift(int *fd, int floor) {
    if (*fd < 0 || *fd >= floor) return true;
    int higher = fcntl(*fd, F_DUPFD_CLOEXEC, floor);
    if (higher < 0) return false;
    close(*fd);
    *fd = higher;
    return true;
}

static pid_t clone_child(const child_plan *plan) {
    sigset_t all, before;
    sigfillset(&all);
    /* No handler of this process runs in the child. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    long pid =
        syscall(SYS_clone, SIGCHLD | (plan->namespaces ? NAMESPACES : 0), NULL, NULL, NULL, NULL);
    if (pid == 0) {
        child_report report = {(int)run_child(plan), errno};
        syscall(SYS_write, plan->report, &report, sizeof report);
        syscall(SYS_exit_group, 127);
    }
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return (pid_t)pid;
}

/* Starts the child and waits until it has executed its program. False with what failed: step -1 is the clone. */
static bool start(child_plan *plan, pid_t *pid, child_report *failed) {
    int pipe[2];
    *failed = (child_report){-1, 0};
    if (pipe2(pipe, O_CLOEXEC) != 0) {
        failed->error = errno;
        return false;
    }
    plan->report = pipe[1];
    if (!lift(&plan->report, plan->floor) || !lift(&plan->program, plan->floor) ||
        !lift(&plan->ruleset, plan->floor)) {
        *failed = (child_report){STEP_DESCRIPTORS, errno};
        close_fd(&pipe[0]);
        close_fd(&plan->report);
        return false;
    }
    *pid = clone_child(plan);
    failed->error = errno;
    close_fd(&plan->report);
    ssize_t got = 0;
    if (*pid > 0) {
        do got = read(pipe[0], failed, sizeof *failed);
        while (got < 0 && errno == EINTR);
        if (got != 0) {
            while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR) {
            }
        }
    }
    close_fd(&pipe[0]);
    return *pid > 0 && got == 0;
}

static hone_status fail_missing(const char *missing, hone_error *err) {
    return hone_fail(
        err, HONE_ERR_UNSUPPORTED,
        "code that is not trusted would not be confined here: %s. --unsafe runs it all the same",
        missing);
}

static hone_status fail_start(const char *program, bool namespaces, const child_report *failed,
                              hone_error *err) {
    if (namespaces && (failed->step == -1 || failed->step == STEP_IDS)) {
        hone_sandbox_support support;
        hone_sandbox_probe(&support);
        if (!support.namespaces) return fail_missing(support.missing, err);
    }
    errno = failed->error;
    if (failed->step == STEP_PROGRAM) return hone_fail_errno(err, "execute", program);
    return hone_fail(err, HONE_ERR_IO, "a confined process for %s could not %s: %s", program,
                     failed->step < 0 ? "be started" : step_words[failed->step],
                     strerror(failed->error));
}

static hone_status plan_all(child_plan *plan, const hone_sandbox_options *o, char *const argv[],
                            hone_error *err) {
    static const char *const empty[] = {NULL};
    plan->argv = argv;
    plan->env = o->env ? o->env : empty;
    plan->folder = o->folder ? o->folder : o->writable ? o->writable : "/";
    plan->own_proc = o->system;
    snprintf(plan->uid_map, sizeof plan->uid_map, "%d %lu 1", (int)NOBODY,
             (unsigned long)geteuid());
    snprintf(plan->gid_map, sizeof plan->gid_map, "%d %lu 1", (int)NOBODY,
             (unsigned long)getegid());
    plan->program = open(argv[0], O_PATH | O_CLOEXEC);
    if (plan->program < 0) return hone_fail_errno(err, "execute", argv[0]);
    if (hone_rules_version() == 0) return HONE_OK;
    return hone_rules_make(o->readable, o->system, o->writable, plan->program, &plan->ruleset, err);
}

hone_status hone_sandbox_spawn(const hone_sandbox_options *options, char *const argv[],
                               const int streams[3], const hone_sandbox_fd *fds, size_t fd_count,
                               hone_sandbox_child *child, hone_error *err) {
    child_plan plan = {.namespaces = true, .program = -1, .ruleset = -1, .report = -1};
    child_report failed;
    *child = (hone_sandbox_child){.memory = options->memory, .cpu_seconds = options->cpu_seconds};
    if (!options->unsafe && (hone_rules_version() == 0 || !hone_sandbox_has_seccomp())) {
        hone_sandbox_support support;
        hone_sandbox_probe(&support);
        return fail_missing(support.missing, err);
    }
    int devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (devnull < 0) return hone_fail_errno(err, "open", "/dev/null");
    hone_status status = plan_fds(&plan, streams, fds, fd_count, devnull, err);
    if (status == HONE_OK) status = plan_all(&plan, options, argv, err);
    if (status == HONE_OK) {
        plan_limits(&plan, options);
        bool started = start(&plan, &child->pid, &failed);
        if (!started && options->unsafe && (failed.step == -1 || failed.step == STEP_IDS)) {
            plan.namespaces = false;
            plan.limit_count = 0;
            plan_limits(&plan, options);
            started = start(&plan, &child->pid, &failed);
        }
        if (!started) {
            child->pid = 0;
            status = fail_start(argv[0], plan.namespaces, &failed, err);
        }
    }
    close_fd(&devnull);
    close_fd(&plan.program);
    close_fd(&plan.ruleset);
    return status;
}

/* ---- what this system grants --------------------------------------------------------------------- */

bool hone_sandbox_has_seccomp(void) {
    unsigned action = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

/* 0, or why a process cannot have these namespaces. One in a user namespace of its own also has to get its map. */
static int try_namespaces(int flags) {
    child_plan plan = {.namespaces = true};
    snprintf(plan.uid_map, sizeof plan.uid_map, "%d %lu 1", (int)NOBODY, (unsigned long)geteuid());
    snprintf(plan.gid_map, sizeof plan.gid_map, "%d %lu 1", (int)NOBODY, (unsigned long)getegid());
    long pid = syscall(SYS_clone, SIGCHLD | flags, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        int error = enter_namespaces(&plan) ? 0 : errno;
        syscall(SYS_exit_group, error < 255 ? error : 255);
    }
    if (pid < 0) return errno;
    int how = 0;
    while (waitpid((pid_t)pid, &how, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(how) ? WEXITSTATUS(how) : EPERM;
}

static void say_missing_namespaces(hone_buf *words, int error) {
    static const struct {
        int flag;
        const char *name;
    } kinds[] = {{0, "user"},
                 {CLONE_NEWNS, "mount"},
                 {CLONE_NEWPID, "process"},
                 {CLONE_NEWNET, "network"},
                 {CLONE_NEWIPC, "IPC"},
                 {CLONE_NEWUTS, "host name"}};
    const char *between = "";
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!try_namespaces(CLONE_NEWUSER | kinds[i].flag)) continue;
        (void)hone_buf_printf(words, NULL, "%s%s", between, kinds[i].name);
        between = ", ";
        if (kinds[i].flag == 0) { /* the others need it */
            (void)hone_buf_append_str(words, " (and with them all other)", NULL);
            break;
        }
    }
    (void)hone_buf_printf(
        words, NULL,
        " namespaces are not granted to this user (%s; see the settings "
        "user.max_user_namespaces, kernel.unprivileged_userns_clone and "
        "kernel.apparmor_restrict_unprivileged_userns, or what runs this container)",
        strerror(error));
}

void hone_sandbox_probe(hone_sandbox_support *support) {
    hone_buf words = hone_buf_make(sizeof support->missing - 1);
    *support = (hone_sandbox_support){.landlock = hone_rules_version(),
                                      .seccomp = hone_sandbox_has_seccomp()};
    int error = try_namespaces(NAMESPACES);
    support->namespaces = error == 0;
    if (error) say_missing_namespaces(&words, error);
    const char *also = error ? "; " : "";
    if (support->landlock == 0) {
        (void)hone_buf_printf(&words, NULL,
                              "%sthis kernel has no Landlock, or it is not switched on "
                              "(Linux 5.13 or later, \"landlock\" in lsm=)",
                              also);
        also = "; ";
    }
    if (!support->seccomp)
        (void)hone_buf_printf(&words, NULL, "%sthis kernel filters no system calls (seccomp)",
                              also);
    if (words.data) memcpy(support->missing, words.data, words.size + 1);
    hone_buf_free(&words);
}
