/* eval/sandbox: processes that run what is not trusted: a compiler on a stranger's source, and a stranger's kernels.
 * Layer eval.
 *
 * Such a process has namespaces of its own (user, mount, process, network, IPC, host name), sees through Landlock only
 * the files that it was given, has limits on all that it can take, no capability, no descriptor and no variable that
 * was not meant for it. Being the first process of its namespace, it takes everything that it started with it when it
 * ends. Before kernels are loaded into it, its trusted part calls hone_sandbox_lock(), and from then on any system call
 * beside a short list ends it.
 *
 *   hone_sandbox_spawn -> hone_sandbox_look ... hone_sandbox_stop -> hone_sandbox_reap     led by the caller, or
 *   hone_sandbox_spawn -> hone_sandbox_lead                                                led to its end
 */
#ifndef HONE_EVAL_SANDBOX_H
#define HONE_EVAL_SANDBOX_H

#include "base/buf.h"

#include <sys/types.h>

/* What became of a candidate. */
typedef enum hone_verdict {
    HONE_VERDICT_OK,
    HONE_VERDICT_WRONG,         /* a result is not right */
    HONE_VERDICT_INVALID,       /* a rule of hone_kernels.h was broken */
    HONE_VERDICT_VIOLATION,     /* a system call that is not allowed */
    HONE_VERDICT_TIMEOUT,       /* out of time, of the clock or of the processor */
    HONE_VERDICT_MEMLIMIT,      /* more memory than allowed */
    HONE_VERDICT_CRASH,         /* ended by a signal, or too early */
    HONE_VERDICT_COMPILE_ERROR, /* the compiler, or the check before it, refuses the source */
    HONE_VERDICT_COMPILE_LIMIT, /* compiling takes more time, memory or space than allowed */
    HONE_VERDICT_COUNT
} hone_verdict;

/* "OK", "VIOLATION", ... */
const char *hone_verdict_name(hone_verdict verdict);

/* ---- what this system grants ------------------------------------------------------------------ */

typedef struct hone_sandbox_support {
    bool namespaces; /* all six, to this user */
    int landlock;    /* version of its interface; 0: none */
    bool seccomp;
    char missing
        [640]; /* what is not there and what could be done, for people; empty: nothing is missing */
} hone_sandbox_support;

/* Starts and reaps a few processes that end at once. */
void hone_sandbox_probe(hone_sandbox_support *support);

/* ---- starting --------------------------------------------------------------------------------- */

/* Limits: 0 is none, where nothing else is said. */
typedef struct hone_sandbox_options {
    /* Files and folders that may be read and executed, absolute paths, ended by NULL. Those that do not exist are left
     * out. */
    const char *const *readable;
    /* What a program needs of the system: shared libraries, its own /proc, what /sys tells of processors. */
    bool system;
    const char
        *writable; /* one folder, whose files may be made, read, changed and removed; NULL: none */
    const char *folder;     /* where it starts; NULL: `writable`, or "/" */
    const char *const *env; /* "NAME=value", ended by NULL; NULL: an empty environment */
    double cpu_seconds;     /* of each process, all threads together */
    size_t memory; /* resident bytes of the started process: hone_sandbox_look ends it above */
    size_t address_space; /* bytes, of each process */
    size_t file_size;     /* bytes, of each file */
    size_t stack;         /* bytes; 0: 8 MiB */
    int processes;        /* processes and threads; the kernel lets root have more. 0: 64 */
    int open_files;       /* 0: 64 */
    /* Start even where namespaces, Landlock or seccomp are missing, with what there is. Without process namespaces a
     * process that it started and that left its group survives it. */
    bool unsafe;
} hone_sandbox_options;

/* Our descriptor `ours` becomes `theirs`, 3 to 63. */
typedef struct hone_sandbox_fd {
    int ours, theirs;
} hone_sandbox_fd;
enum { HONE_SANDBOX_MAX_FDS = 8 };

typedef enum hone_sandbox_stop_reason {
    HONE_STOP_NONE,      /* it ended by itself */
    HONE_STOP_TIME,      /* TIMEOUT */
    HONE_STOP_PROCESSOR, /* TIMEOUT, of processor time */
    HONE_STOP_MEMORY,    /* MEMLIMIT */
    HONE_STOP_DONE       /* it has done its work and was not needed any more: OK */
} hone_sandbox_stop_reason;

typedef struct hone_sandbox_child {
    pid_t pid; /* ours to wait for; it leads a session and a group. 0: none, or reaped */
    size_t memory, peak_rss;
    double cpu_seconds;
    hone_sandbox_stop_reason reason;
} hone_sandbox_child;

/* Starts argv[0] (an absolute path) with standard input, output and error `streams` (-1: /dev/null) and `fds`
 * [fd_count]; every other descriptor is closed there. It dies with the thread that started it. Returns once the program
 * was really executed, else fails: HONE_ERR_UNSUPPORTED where something is missing and options->unsafe is not set. */
hone_status hone_sandbox_spawn(const hone_sandbox_options *options, char *const argv[],
                               const int streams[3], const hone_sandbox_fd *fds, size_t fd_count,
                               hone_sandbox_child *child, hone_error *err);

/* ---- leading ---------------------------------------------------------------------------------- */

/* The exit status with which the trusted part of a child says that it got no memory. */
enum { HONE_SANDBOX_EXIT_MEMORY = 77 };

typedef struct hone_ending {
    hone_verdict verdict;
    int signal;         /* that ended it; 0: it exited */
    int exit_status;    /* when it exited */
    size_t peak_rss;    /* bytes: what the last look saw, else what the kernel says at the end */
    double cpu_seconds; /* with those it waited for */
    char sentence[160]; /* "it made a system call that is not allowed" */
} hone_ending;

/* Notes its memory; false when that or its processor time was more than allowed and it was killed. To be called
 * some 50 times a second. */
bool hone_sandbox_look(hone_sandbox_child *child);

/* Kills it and all that it started. The first reason given counts. */
void hone_sandbox_stop(hone_sandbox_child *child, hone_sandbox_stop_reason reason);

/* Waits for its end, kills what is left of its group, and says how it ended. An exit with status 0 is OK: whether what
 * it delivered is whole and right is the caller's to find out. */
void hone_sandbox_reap(hone_sandbox_child *child, hone_ending *ending);

typedef struct hone_sandbox_patience {
    double seconds; /* then it is killed: TIMEOUT */
    bool (*keep_waiting)(
        void *user); /* asked at least twice a second; false: HONE_ERR_INTERRUPTED. NULL: wait */
    void *user;
} hone_sandbox_patience;

/* Leads it to its end. Reads and closes nothing of what `outputs` [output_count] name (-1: none); into[i] gets the
 * beginning of what outputs[i] offers, up to its limit; the rest is read and forgotten. */
hone_status hone_sandbox_lead(hone_sandbox_child *child, const hone_sandbox_patience *patience,
                              const int *outputs, hone_buf *const *into, size_t output_count,
                              hone_ending *ending, hone_error *err);

/* ---- inside ----------------------------------------------------------------------------------- */

/* From now on this process and all of its threads may make only the system calls that computing, reading and writing
 * files and ending need; any other kills it (VIOLATION). No thread, process, program, socket or signal can be made any
 * more: threads have to be started before. Cannot be undone. */
hone_status hone_sandbox_lock(hone_error *err);

#endif
