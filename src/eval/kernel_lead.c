/* eval/kernel_lead: see kernel_lead.h. */
#define _GNU_SOURCE 1
#include "eval/kernel_lead.h"

#include "base/clock.h"
#include "eval/sandbox_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define GLANCE_SECONDS 0.02
#define FAULT_AROUND ((size_t)64 << 10) /* that the system maps beside the page that is wanted */
#define LOADING ((size_t)128 << 10)     /* that loading a shared object and its libraries writes */
#define CPU_SECONDS 3600.0              /* a bound for what everything else has failed to end */

/* ---- shared memory ---- */

hone_status hone_shared_make(hone_shared *shared, const char *name, size_t bytes, bool read_only,
                             hone_error *err) {
    *shared = (hone_shared){.fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (shared->fd < 0 || ftruncate(shared->fd, (off_t)bytes) != 0) {
        hone_shared_free(shared);
        return hone_fail_memory(err, "shared tensors", bytes);
    }
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, shared->fd, 0);
    if (p == MAP_FAILED) {
        hone_shared_free(shared);
        return hone_fail_memory(err, "shared tensors", bytes);
    }
    shared->base = p;
    shared->bytes = bytes;
    /* A file that another process made shorter would end this one at its next look. */
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (read_only ? F_SEAL_FUTURE_WRITE : 0);
    if (fcntl(shared->fd, F_ADD_SEALS, seals) == 0) return HONE_OK;
    hone_shared_free(shared);
    return hone_fail(err, HONE_ERR_UNSUPPORTED,
                     "this system cannot seal shared memory (Linux 5.1 or newer can)");
}

void hone_shared_free(hone_shared *shared) {
    if (shared->base) munmap(shared->base, shared->bytes);
    if (shared->fd >= 0) close(shared->fd);
    *shared = (hone_shared){.fd = -1};
}

static hone_desk *desk_of(const hone_kernel_lead *lead) {
    return (hone_desk *)(void *)lead->desk.base;
}

/* ---- what the system tells of the process ---- */

typedef struct status_file {
    size_t threads, peak, anonymous, file, shared; /* bytes but for the first */
} status_file;

static status_file read_status(pid_t pid) {
    status_file s = {0};
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        const struct {
            const char *format;
            size_t *value, unit;
        } fields[] = {{"Threads: %zu", &s.threads, 1},
                      {"VmHWM: %zu", &s.peak, 1024},
                      {"RssAnon: %zu", &s.anonymous, 1024},
                      {"RssFile: %zu", &s.file, 1024},
                      {"RssShmem: %zu", &s.shared, 1024}};
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            size_t value;
            if (sscanf(line, fields[i].format, &value) == 1)
                *fields[i].value = value * fields[i].unit;
        }
    }
    if (file) fclose(file);
    return s;
}

void hone_kernel_lead_watch(hone_kernel_lead *lead) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/clear_refs", (long)lead->child.pid);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;                  /* then the peak of the whole process counts */
    ssize_t written = write(fd, "5", 1); /* the peak becomes what is resident now */
    (void)written;
    close(fd);
}

hone_kernel_sight hone_kernel_lead_see(const hone_kernel_lead *lead, size_t planned) {
    status_file s = read_status(lead->child.pid);
    size_t known = lead->own_memory + s.file + HONE_MIN(s.shared, lead->shared) + planned;
    return (hone_kernel_sight){.threads = (int)s.threads,
                               .unplanned = s.peak > known ? s.peak - known : 0};
}

static double cpu_seconds(const hone_kernel_lead *lead) {
    struct timespec t = {0};
    if (clock_gettime(lead->cpu_clock, &t) != 0) return 0;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double hone_kernel_lead_late_seconds(const hone_kernel_lead *lead) {
    return cpu_seconds(lead) - lead->cpu_answered;
}

/* ---- orders ---- */

/* It has ended, or is ended now. */
static void end(hone_kernel_lead *lead, hone_sandbox_stop_reason reason) {
    if (lead->ended) return;
    if (reason != HONE_STOP_NONE) hone_sandbox_stop(&lead->child, reason);
    hone_sandbox_reap(&lead->child, &lead->ending);
    lead->ended = true;
}

static bool has_ended(const hone_kernel_lead *lead) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)lead->child.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == lead->child.pid;
}

static hone_status fail_ended(hone_kernel_lead *lead, hone_sandbox_stop_reason reason,
                              hone_error *err) {
    end(lead, reason);
    /* One that is well and ends all the same has not done what it was told. */
    if (lead->ending.verdict == HONE_VERDICT_OK) {
        lead->ending.verdict = HONE_VERDICT_CRASH;
        snprintf(lead->ending.sentence, sizeof lead->ending.sentence, "it ended too early");
    }
    return hone_fail(err, HONE_ERR_IO, "%s: %s", hone_verdict_name(lead->ending.verdict),
                     lead->ending.sentence);
}

/* Sleeps until the answer is here, glancing at the process meanwhile. Time in which this process was not running
 * either (suspended, say) is not counted: a glance is one. */
static hone_status wait_for_answer(hone_kernel_lead *lead, hone_error *err) {
    const hone_kernel_lead_options *o = lead->options;
    unsigned before = lead->called - 1;
    hone_desk *desk = desk_of(lead);
    double waited = 0, begin = hone_clock_seconds();
    while (!hone_desk_wait(&desk->answered, before, GLANCE_SECONDS)) {
        if (has_ended(lead)) return fail_ended(lead, HONE_STOP_NONE, err);
        if (!hone_sandbox_look(&lead->child)) return fail_ended(lead, HONE_STOP_MEMORY, err);
        waited += GLANCE_SECONDS;
        if (waited > HONE_MIN(o->seconds, lead->allowed))
            return fail_ended(lead, HONE_STOP_TIME, err);
        if (o->keep_waiting && !o->keep_waiting(o->user))
            return hone_fail(err, HONE_ERR_INTERRUPTED, "stopped");
    }
    lead->allowed -= HONE_MIN(waited + GLANCE_SECONDS, hone_clock_seconds() - begin);
    return HONE_OK;
}

void hone_kernel_lead_allow(hone_kernel_lead *lead, double seconds) { lead->allowed = seconds; }

static void copy_answer(const hone_kernel_lead *lead, hone_desk_answer *answer) {
    memcpy(answer, &desk_of(lead)->answer, sizeof *answer);
    answer->message[sizeof answer->message - 1] = 0;
    answer->set_name[sizeof answer->set_name - 1] = 0;
    char *const texts[] = {answer->message, answer->set_name};
    for (size_t i = 0; i < 2; i++) {
        for (char *c = texts[i]; *c; c++)
            if ((unsigned char)*c < ' ' || (unsigned char)*c > '~') *c = '?';
    }
}

/* Pages of its tensors, with what the system maps around the ends of a fault. */
static hone_status count_shared(hone_kernel_lead *lead, const hone_desk_order *order,
                                hone_error *err) {
    size_t bytes[HONE_CASE_SPACES], all, sets = (size_t)order->sets;
    HONE_TRY(
        hone_case_measure(hone_case_at(order->kind), &order->shape, &hone_ops_fused, bytes, err));
    all = bytes[HONE_CASE_FIXED] + bytes[HONE_CASE_CHANGING];
    lead->shared = sizeof(hone_desk) + sets * all + HONE_CASE_SPACES * FAULT_AROUND;
    return HONE_OK;
}

hone_status hone_kernel_lead_order(hone_kernel_lead *lead, const hone_desk_order *order,
                                   hone_desk_answer *answer, double *seconds, hone_error *err) {
    hone_desk *desk = desk_of(lead);
    if (lead->ended) return fail_ended(lead, HONE_STOP_NONE, err);
    if (order->verb == HONE_DESK_OPEN) HONE_TRY(count_shared(lead, order, err));
    desk->order = *order;
    /* Whatever it wrote there before it was called is no answer. */
    atomic_store(&desk->answered, lead->called);
    lead->called++;
    double begin = hone_clock_seconds();
    hone_desk_post(&desk->called, lead->called);
    HONE_TRY(wait_for_answer(lead, err));
    double now = hone_clock_seconds();
    lead->cpu_answered = cpu_seconds(lead);
    if (seconds) *seconds = now - begin;
    copy_answer(lead, answer);
    if (answer->done) return HONE_OK;
    return hone_fail(err, HONE_ERR_UNSUPPORTED, "%s", answer->message);
}

/* ---- starting and ending ---- */

static hone_status spawn(hone_kernel_lead *lead, hone_error *err) {
    const hone_kernel_lead_options *o = lead->options;
    char threads[16];
    snprintf(threads, sizeof threads, "%d", o->threads);
    const char *words[] = {o->program, "confined", "kernel-worker", "--threads", threads,
                           o->kernels, NULL};
    /* Without seccomp there is nothing to give up: only who asked for that comes here then. */
    bool locked = hone_sandbox_has_seccomp() || !o->unsafe;
    if (!locked) words[1] = words[0];
    const char *readable[] = {strchr(o->kernels, '/') ? o->kernels : NULL, NULL};
    hone_sandbox_options sandbox = {.readable = readable,
                                    .system = true,
                                    .cpu_seconds = CPU_SECONDS,
                                    .memory = hone_memory_available() / 2,
                                    .unsafe = o->unsafe};
    hone_sandbox_fd fds[] = {{lead->desk.fd, HONE_DESK_FD},
                             {o->fixed->fd, HONE_DESK_FIXED_FD},
                             {lead->changing.fd, HONE_DESK_CHANGING_FD}};
    return hone_sandbox_spawn(&sandbox, (char *const *)(uintptr_t)(words + !locked),
                              (const int[3]){-1, -1, -1}, fds, 3, &lead->child, err);
}

static hone_status load(hone_kernel_lead *lead, hone_error *err) {
    const hone_kernel_lead_options *o = lead->options;
    hone_desk_order order = {.verb = HONE_DESK_NOTHING};
    hone_desk_answer nothing;
    HONE_TRY(hone_kernel_lead_order(lead, &order, &nothing, NULL, err));
    /* Nothing foreign has run yet, and all of its threads have. */
    status_file s = read_status(lead->child.pid);
    lead->threads = (int)s.threads;
    lead->own_memory = s.anonymous + LOADING;
    order = (hone_desk_order){.verb = HONE_DESK_LOAD, .features = o->features, .tuning = o->tuning};
    return hone_kernel_lead_order(lead, &order, &lead->loaded, NULL, err);
}

hone_status hone_kernel_lead_start(hone_kernel_lead *lead, const hone_kernel_lead_options *options,
                                   hone_error *err) {
    *lead = (hone_kernel_lead){
        .options = options, .desk.fd = -1, .changing.fd = -1, .allowed = INFINITY};
    hone_status status;
    HONE_TRY_GOTO(status, fail,
                  hone_shared_make(&lead->desk, "desk", sizeof(hone_desk), false, err));
    HONE_TRY_GOTO(status, fail,
                  hone_shared_make(&lead->changing, "tensors", options->changing, false, err));
    desk_of(lead)->bytes[HONE_CASE_FIXED] = options->fixed->bytes;
    desk_of(lead)->bytes[HONE_CASE_CHANGING] = options->changing;
    HONE_TRY_GOTO(status, fail, spawn(lead, err));
    if (clock_getcpuclockid(lead->child.pid, &lead->cpu_clock) != 0)
        lead->cpu_clock =
            CLOCK_MONOTONIC; /* then every second counts as used: it is refused, not trusted */
    HONE_TRY_GOTO(status, fail, load(lead, err));
    return HONE_OK;
fail:
    hone_kernel_lead_stop(lead);
    return status;
}

void hone_kernel_lead_stop(hone_kernel_lead *lead) {
    if (lead->child.pid > 0) end(lead, HONE_STOP_DONE);
    if (!lead->options) return;
    hone_shared_free(&lead->desk);
    hone_shared_free(&lead->changing);
    lead->options = NULL;
}
