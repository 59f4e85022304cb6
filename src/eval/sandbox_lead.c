/* eval/sandbox_lead: watching a confined process, ending it, and saying how it ended. */
#define _GNU_SOURCE 1
#include "eval/sandbox.h"

#include "base/clock.h"
#include "base/size.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GLANCE_MS = 20, MAX_OUTPUTS = 4 };

const char *hone_verdict_name(hone_verdict verdict) {
    static const char *const names[HONE_VERDICT_COUNT] = {
        [HONE_VERDICT_OK] = "OK",
        [HONE_VERDICT_WRONG] = "WRONG",
        [HONE_VERDICT_INVALID] = "INVALID",
        [HONE_VERDICT_VIOLATION] = "VIOLATION",
        [HONE_VERDICT_TIMEOUT] = "TIMEOUT",
        [HONE_VERDICT_MEMLIMIT] = "MEMLIMIT",
        [HONE_VERDICT_CRASH] = "CRASH",
        [HONE_VERDICT_COMPILE_ERROR] = "COMPILE_ERROR",
        [HONE_VERDICT_COMPILE_LIMIT] = "COMPILE_LIMIT",
    };
    return names[verdict];
}

/* Processor time of all threads so far; 0 when it cannot be known. */
static double cpu_seconds_of(pid_t pid) {
    clockid_t clock;
    struct timespec now;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &now) != 0) return 0;
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

bool hone_sandbox_look(hone_sandbox_child *child) {
    char path[64], line[256];
    size_t resident = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)child->pid);
    FILE *file = fopen(path, "re");
    if (!file) return true;
    while (fgets(line, sizeof line, file)) {
        size_t kib;
        if (sscanf(line, "VmHWM: %zu", &kib) == 1)
            child->peak_rss = HONE_MAX(child->peak_rss, kib * 1024);
        if (sscanf(line, "VmRSS: %zu", &kib) == 1) resident = kib * 1024;
    }
    fclose(file);
    if (child->memory > 0 && resident > child->memory)
        hone_sandbox_stop(child, HONE_STOP_MEMORY);
    else if (child->cpu_seconds > 0 && cpu_seconds_of(child->pid) > child->cpu_seconds)
        hone_sandbox_stop(child, HONE_STOP_PROCESSOR);
    return child->reason == HONE_STOP_NONE;
}

void hone_sandbox_stop(hone_sandbox_child *child, hone_sandbox_stop_reason reason) {
    if (child->pid <= 0) return;
    if (child->reason == HONE_STOP_NONE) child->reason = reason;
    kill(-child->pid, SIGKILL);
    kill(child->pid, SIGKILL);
}

HONE_PRINTF(3, 4)
static void say(hone_ending *e, hone_verdict verdict, const char *format, ...) {
    va_list args;
    va_start(args, format);
    e->verdict = verdict;
    vsnprintf(e->sentence, sizeof e->sentence, format, args);
    va_end(args);
}

static void say_processor(const hone_sandbox_child *child, hone_ending *e) {
    say(e, HONE_VERDICT_TIMEOUT, "it used more than %g s of processor time", child->cpu_seconds);
}

static void judge_stopped(const hone_sandbox_child *child, hone_ending *e) {
    switch (child->reason) {
    case HONE_STOP_NONE:
    case HONE_STOP_DONE:
        say(e, HONE_VERDICT_OK, "it was not needed any more");
        break;
    case HONE_STOP_TIME:
        say(e, HONE_VERDICT_TIMEOUT, "its time was up");
        break;
    case HONE_STOP_PROCESSOR:
        say_processor(child, e);
        break;
    case HONE_STOP_MEMORY:
        say(e, HONE_VERDICT_MEMLIMIT, "it used more than %zu MiB of memory", child->memory >> 20);
        break;
    }
}

static void judge_signal(const hone_sandbox_child *child, hone_ending *e) {
    /* The kernel's limit of processor time counts in ticks, less exactly than what it reports at the end. */
    bool limit = child->cpu_seconds > 0 && e->cpu_seconds > 0.8 * child->cpu_seconds;
    if (e->signal == SIGSYS)
        say(e, HONE_VERDICT_VIOLATION, "it made a system call that is not allowed");
    else if (e->signal == SIGXCPU || (e->signal == SIGKILL && limit))
        say_processor(child, e);
    else if (e->signal == SIGKILL)
        say(e, HONE_VERDICT_CRASH, "the system killed it, most likely because memory ran out");
    else
        say(e, HONE_VERDICT_CRASH, "it was ended by signal %d (%s)", e->signal,
            strsignal(e->signal));
}

static void judge(const hone_sandbox_child *child, hone_ending *e) {
    /* What it did by itself before it was stopped counts: a violation stays one. */
    if (child->reason != HONE_STOP_NONE && e->signal == SIGKILL)
        judge_stopped(child, e);
    else if (e->signal)
        judge_signal(child, e);
    else if (e->exit_status == HONE_SANDBOX_EXIT_MEMORY)
        say(e, HONE_VERDICT_MEMLIMIT, "it got no more memory");
    else if (e->exit_status != 0)
        say(e, HONE_VERDICT_CRASH, "it ended with exit status %d", e->exit_status);
    else
        say(e, HONE_VERDICT_OK, "it ended well");
}

void hone_sandbox_reap(hone_sandbox_child *child, hone_ending *ending) {
    *ending = (hone_ending){.verdict = HONE_VERDICT_OK};
    if (child->pid <= 0) return;
    siginfo_t info;
    struct rusage usage = {0};
    int how = 0;
    /* While it is not reaped, its number is the group's: what it left there dies before the number can be reused. */
    while (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
    }
    kill(-child->pid, SIGKILL);
    while (wait4(child->pid, &how, 0, &usage) < 0 && errno == EINTR) {
    }
    ending->signal = WIFSIGNALED(how) ? WTERMSIG(how) : 0;
    ending->exit_status = WIFEXITED(how) ? WEXITSTATUS(how) : 0;
    /* The kernel's figure counts what this process had when it cloned itself: only what was never looked at gets it. */
    ending->peak_rss = child->peak_rss ? child->peak_rss : (size_t)usage.ru_maxrss * 1024;
    ending->cpu_seconds = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
                          1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    judge(child, ending);
    child->pid = 0;
}

/* Takes what an output offers now. False when it has ended. */
static bool take(int fd, hone_buf *into) {
    char block[16384];
    ssize_t got;
    do got = read(fd, block, sizeof block);
    while (got < 0 && errno == EINTR);
    if (got <= 0) return false;
    size_t kept = HONE_MIN((size_t)got, into->limit - into->size);
    (void)hone_buf_append(into, block, kept,
                          NULL); /* what does not fit is forgotten, as if past the limit */
    return true;
}

typedef struct leading {
    struct pollfd fds[MAX_OUTPUTS + 1]; /* outputs, then the process */
    hone_buf *const *into;
    size_t count;
} leading;

/* Waits once, at most `ms`; whether anything was read. */
static bool wait_once(leading *l, int ms) {
    bool any = false;
    if (poll(l->fds, l->count + 1, ms) <= 0) return false;
    for (size_t i = 0; i < l->count; i++) {
        if (!l->fds[i].revents) continue;
        bool more = take(l->fds[i].fd, l->into[i]);
        if (!more) l->fds[i].fd = -1;
        any = any || more;
    }
    return any;
}

static bool has_ended(const hone_sandbox_child *child) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

hone_status hone_sandbox_lead(hone_sandbox_child *child, const hone_sandbox_patience *patience,
                              const int *outputs, hone_buf *const *into, size_t output_count,
                              hone_ending *ending, hone_error *err) {
    leading l = {.into = into, .count = HONE_MIN(output_count, (size_t)MAX_OUTPUTS)};
    double deadline = hone_clock_seconds() + patience->seconds;
    bool interrupted = false;
    /* Where there is no such descriptor, its end is noticed at the next glance. */
    int process = (int)syscall(SYS_pidfd_open, child->pid, 0);
    for (size_t i = 0; i < l.count; i++)
        l.fds[i] = (struct pollfd){.fd = outputs[i], .events = POLLIN};
    l.fds[l.count] = (struct pollfd){.fd = process, .events = POLLIN};
    while (!has_ended(child)) {
        interrupted = patience->keep_waiting && !patience->keep_waiting(patience->user);
        if (interrupted || hone_clock_seconds() > deadline) {
            hone_sandbox_stop(child, HONE_STOP_TIME);
            break;
        }
        if (!hone_sandbox_look(child)) break;
        (void)wait_once(&l, GLANCE_MS);
    }
    hone_sandbox_reap(child, ending);
    /* What it said last is still in the pipes, and no more than they hold: who may have escaped is not waited for. */
    enum { LAST_READS = 64 };
    l.fds[l.count].fd = -1;
    for (int i = 0; i < LAST_READS && wait_once(&l, 0); i++) {
    }
    if (process >= 0) close(process);
    return interrupted ? hone_fail(err, HONE_ERR_INTERRUPTED, "stopped") : HONE_OK;
}
