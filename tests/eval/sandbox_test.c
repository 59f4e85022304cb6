/* tests of eval/sandbox: every attempt of a kernel file to do what it should not, and what a confined process gets.
 *
 * The program runs itself again as the process that loads a kernel file (`load`, confined; `bare`, to see that the
 * attempts are real ones), as a system that grants nothing (`missing`), and as an ordinary user. */
#include "eval/sandbox.h"

#include "attacks.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <grp.h>
#include <hone_kernels.h>
#include <math.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { HIDDEN = 64, OUTPUT_KEPT = 64 << 10, MIB = 1 << 20 };
static const float eps = 1e-5f;

static temp_folder temp;
static char *secret; /* a file that is not for kernels */
static char *mounts_before;
static char self[4096];

/* ---- in the child -------------------------------------------------------------------------------- */

typedef struct reply {
    float y[HIDDEN];
    int changed; /* whether the thread's state is another than before */
} reply;

typedef struct attack_order { /* as in attacks/honest.h */
    int number;
    const char *path;
} attack_order;

static void fill(float *x, float *gamma) {
    for (int i = 0; i < HIDDEN; i++) {
        x[i] = (float)((i * 37) % 23) - 11;
        gamma[i] = 0.5f + (float)i / HIDDEN;
    }
}

typedef struct thread_state {
    int rounding;
    unsigned long long control; /* of the floating-point unit */
    cpu_set_t affinity;
} thread_state;

static thread_state take_state(void) {
    thread_state s = {.rounding = fegetround()};
#ifdef __x86_64__
    s.control = __builtin_ia32_stmxcsr() & ~0x3fu; /* without the flags that tell of results */
#else
    s.control = __builtin_aarch64_get_fpcr();
#endif
    (void)sched_getaffinity(0, sizeof s.affinity, &s.affinity);
    return s;
}

static void *take_scratch(const hone_host *host, size_t bytes) {
    (void)host;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) _exit(HONE_SANDBOX_EXIT_MEMORY);
    return p;
}

static int load(char **argv, bool confined) {
    const hone_kernel_set *(*export)(void);
    float x[HIDDEN], gamma[HIDDEN];
    reply r = {0};
    attack_order order = {atoi(argv[1]), argv[2]};
    hone_host host = {.size = 1, .compute = HONE_F32, .inside = &order, .scratch = take_scratch};
    hone_error err;
    fill(x, gamma);
    thread_state before = take_state();
    if (confined && hone_confine(2, &err) != HONE_OK) return 70;
    void *library = dlopen(argv[0], RTLD_NOW | RTLD_LOCAL);
    if (!library) return 71;
    *(void **)&export = dlsym(library, "hone_kernels_export");
    hone_rms_norm_args args = {
        .rows = 1, .hidden = HIDDEN, .x = x, .gamma = gamma, .eps = eps, .y = r.y};
    export()->rms_norm_forward(&host, &args, NULL);
    thread_state after = take_state();
    r.changed = before.rounding != after.rounding || before.control != after.control ||
                !CPU_EQUAL(&before.affinity, &after.affinity);
    return write(3, &r, sizeof r) == sizeof r ? 0 : 72;
}

/* A kernel without namespaces and Landlock, as far as this process can tell. */
static int missing(void) {
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(landlock_create_ruleset), 0);
    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
    if (seccomp_load(filter) != 0) return 1;
    seccomp_release(filter);
    hone_sandbox_support support;
    hone_sandbox_child child;
    hone_ending ending;
    hone_error err;
    hone_sandbox_options options = {.system = true};
    char *const argv[] = {(char[]){"/bin/true"}, NULL};
    hone_sandbox_probe(&support);
    if (support.namespaces || support.landlock || !support.seccomp) return 2;
    if (!strstr(support.missing, "user (and with them all other) namespaces")) return 3;
    if (!strstr(support.missing, "no Landlock")) return 4;
    if (hone_sandbox_spawn(&options, argv, (const int[]){-1, -1, -1}, NULL, 0, &child, &err) !=
        HONE_ERR_UNSUPPORTED)
        return 5;
    if (!strstr(err.message, support.missing) || !strstr(err.message, "--unsafe")) return 6;
    options.unsafe = true;
    if (hone_sandbox_spawn(&options, argv, (const int[]){-1, -1, -1}, NULL, 0, &child, &err) !=
        HONE_OK)
        return 7;
    hone_sandbox_reap(&child, &ending);
    return ending.verdict == HONE_VERDICT_OK ? 0 : 8;
}

/* ---- leading the child --------------------------------------------------------------------------- */

/* Whether this system confines; else the test is skipped with the reason. */
static void need_confinement(void) {
    hone_sandbox_support support;
    hone_sandbox_probe(&support);
    if (!support.missing[0]) return;
    print_message("%s\n", support.missing);
    skip();
}

/* Runs argv with its streams and descriptor 3 read; bufs are made here. */
static hone_ending run(const hone_sandbox_options *options, char *const argv[], double seconds,
                       hone_buf *out, hone_buf *result) {
    hone_error err;
    hone_sandbox_child child;
    hone_ending ending;
    int out_pipe[2], result_pipe[2];
    *out = hone_buf_make(OUTPUT_KEPT);
    *result = hone_buf_make(OUTPUT_KEPT);
    assert_int_equal(pipe2(out_pipe, O_CLOEXEC), 0);
    assert_int_equal(pipe2(result_pipe, O_CLOEXEC), 0);
    const hone_sandbox_fd fd = {result_pipe[1], 3};
    assert_ok(hone_sandbox_spawn(options, argv, (const int[]){-1, out_pipe[1], out_pipe[1]}, &fd, 1,
                                 &child, &err),
              err);
    close(out_pipe[1]);
    close(result_pipe[1]);
    hone_sandbox_patience patience = {.seconds = seconds};
    assert_ok(hone_sandbox_lead(&child, &patience, (const int[]){out_pipe[0], result_pipe[0]},
                                (hone_buf *const[]){out, result}, 2, &ending, &err),
              err);
    close(out_pipe[0]);
    close(result_pipe[0]);
    assert_int_equal(child.pid, 0);
    return ending;
}

/* What to make of the result of a process that ended well. */
static hone_verdict judge(const hone_buf *result) {
    reply r;
    float x[HIDDEN], gamma[HIDDEN];
    double sum = 0;
    if (result->size != sizeof r) return HONE_VERDICT_INVALID;
    memcpy(&r, result->data, sizeof r);
    fill(x, gamma);
    for (int i = 0; i < HIDDEN; i++) sum += (double)x[i] * x[i];
    for (int i = 0; i < HIDDEN; i++) {
        double right = x[i] * gamma[i] / sqrt(sum / HIDDEN + eps);
        if (!(fabs(r.y[i] - right) <= 1e-5)) return HONE_VERDICT_WRONG;
    }
    return r.changed ? HONE_VERDICT_INVALID : HONE_VERDICT_OK;
}

typedef struct attack {
    const char *file; /* of attacks/ */
    int first, last;  /* attempts; those left out are 0 */
    hone_verdict expected;
    double seconds; /* 0: enough */
    double cpu_seconds;
    int signal; /* that ends it; 0: any or none */
} attack;

static void run_attack(const attack *a, const char *object, int number) {
    char digits[16];
    hone_buf out, result;
    snprintf(digits, sizeof digits, "%d", number);
    const char *readable[] = {object, NULL};
    const char *env[] = {
        "ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_sigfpe=0:handle_sigill=0:handle_abort=0",
        NULL};
    hone_sandbox_options options = {.readable = readable,
                                    .system = true,
                                    .env = env,
                                    .cpu_seconds = a->cpu_seconds > 0 ? a->cpu_seconds : 60,
                                    .memory = 256 * (size_t)MIB,
                                    .address_space = SANITIZED ? 0 : 2048 * (size_t)MIB,
                                    .file_size = MIB,
                                    .processes = 8};
    char *argv[] = {self, (char[]){"load"}, (char *)(uintptr_t)object, digits, secret, NULL};
    hone_ending e = run(&options, argv, a->seconds > 0 ? a->seconds : 120, &out, &result);
    hone_verdict verdict = e.verdict == HONE_VERDICT_OK ? judge(&result) : e.verdict;
    if (verdict != a->expected)
        fail_msg("%s.c, attempt %d: %s (%s; signal %d, exit status %d), expected %s\n%s", a->file,
                 number, hone_verdict_name(verdict), e.sentence, e.signal, e.exit_status,
                 hone_verdict_name(a->expected), out.data ? out.data : "");
    if (a->signal && e.signal != a->signal)
        fail_msg("%s.c, attempt %d: signal %d, expected %d", a->file, number, e.signal, a->signal);
    hone_buf_free(&out);
    hone_buf_free(&result);
}

static bool speaks_of_us(const char *process) {
    char path[300], line[8192];
    snprintf(path, sizeof path, "/proc/%s/cmdline", process);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, line, sizeof line) : 0;
    if (fd >= 0) close(fd);
    return size > 0 && memmem(line, (size_t)size, temp.path, strlen(temp.path)) != NULL;
}

/* No process, no mount, no file that was not there before. */
static void check_nothing_left(void) {
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    DIR *processes = opendir("/proc");
    for (const struct dirent *e; (e = readdir(processes)) != NULL;)
        if (speaks_of_us(e->d_name)) fail_msg("process %s is still there", e->d_name);
    closedir(processes);
    hone_buf now = read_text("/proc/self/mounts");
    assert_string_equal(now.data, mounts_before);
    hone_buf_free(&now);
    assert_int_not_equal(access("/tmp/hone-attack", F_OK), 0);
    hone_buf text = read_text(secret);
    assert_string_equal(text.data, "for nobody's eyes\n");
    hone_buf_free(&text);
}

/* One row of the table below. */
static void test_attack(void **state) {
    const attack *a = *state;
    need_confinement();
    if (strcmp(a->file, "state") == 0 && a->first == 2 && sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        print_message("with one processor affinity cannot change\n");
        skip();
    }
    char *object = compile_attack(&temp, a->file);
    for (int number = a->first; number <= a->last; number++) run_attack(a, object, number);
    free(object);
    check_nothing_left();
}

/* ---- the table of attempts ----------------------------------------------------------------------- */

#ifdef __x86_64__
enum { LAST_CALL = 24 }; /* three of them through the 32-bit and x32 tables */
#else
enum { LAST_CALL = 21 };
#endif

static attack attacks[] = {
    {.file = "constructor", .expected = HONE_VERDICT_VIOLATION, .signal = SIGSYS},
    {.file = "init_array", .expected = HONE_VERDICT_VIOLATION, .signal = SIGSYS},
    {.file = "ifunc", .expected = HONE_VERDICT_VIOLATION, .signal = SIGSYS},
    {.file = "calls", .last = LAST_CALL, .expected = HONE_VERDICT_VIOLATION, .signal = SIGSYS},
    {.file = "processes", .last = 6, .expected = HONE_VERDICT_VIOLATION, .signal = SIGSYS},
    {.file = "endings", .last = 1, .expected = HONE_VERDICT_TIMEOUT, .seconds = 0.5},
    {.file = "endings", .expected = HONE_VERDICT_TIMEOUT, .cpu_seconds = 0.3},
    {.file = "endings", .first = 2, .last = 2, .expected = HONE_VERDICT_MEMLIMIT},
    /* A sanitizer's mmap makes calls of its own when it fails. */
    {.file = "endings",
     .first = 3,
     .last = 3,
     .expected = SANITIZED ? HONE_VERDICT_VIOLATION : HONE_VERDICT_MEMLIMIT},
    {.file = "endings", .first = 4, .last = 5, .expected = HONE_VERDICT_CRASH, .signal = SIGSEGV},
#ifdef __x86_64__
    {.file = "endings", .first = 6, .last = 6, .expected = HONE_VERDICT_CRASH, .signal = SIGFPE},
    {.file = "endings", .first = 7, .last = 7, .expected = HONE_VERDICT_CRASH, .signal = SIGILL},
#endif
    {.file = "endings", .first = 8, .last = 9, .expected = HONE_VERDICT_CRASH},
    {.file = "endings", .first = 10, .last = 10, .expected = HONE_VERDICT_INVALID},
    {.file = "signals", .expected = HONE_VERDICT_TIMEOUT, .seconds = 0.5},
    {.file = "signals",
     .first = 1,
     .last = 10,
     .expected = HONE_VERDICT_VIOLATION,
     .signal = SIGSYS},
    {.file = "network", .last = 6, .expected = HONE_VERDICT_VIOLATION, .signal = SIGSYS},
    {.file = "files", .last = 11, .expected = HONE_VERDICT_OK}, /* denied, and life goes on */
    {.file = "changes", .last = 10, .expected = HONE_VERDICT_VIOLATION, .signal = SIGSYS},
    {.file = "output", .expected = HONE_VERDICT_INVALID},
    {.file = "output", .first = 1, .last = 2, .expected = HONE_VERDICT_OK},
    {.file = "output", .first = 3, .last = 3, .expected = HONE_VERDICT_CRASH},
    {.file = "output", .first = 4, .last = 4, .expected = HONE_VERDICT_WRONG},
    {.file = "symbols", .expected = HONE_VERDICT_OK}, /* no effect */
    {.file = "state", .last = 1, .expected = HONE_VERDICT_INVALID},
    {.file = "state", .first = 2, .last = 2, .expected = HONE_VERDICT_INVALID},
};
enum { ATTACKS_COUNT = sizeof attacks / sizeof attacks[0] };

/* The same files, loaded without any of it, get what they want: the attempts are real. */
static void test_attempts_are_real(void **state) {
    static const struct {
        const char *file;
        int number;
    } real[] = {{"files", 0},   {"files", 1},   {"files", 2},   {"files", 6},
                {"changes", 0}, {"network", 0}, {"network", 6}, {"processes", 5}};
    (void)state;
    need_confinement();
    for (size_t i = 0; i < sizeof real / sizeof real[0]; i++) {
        char *object = compile_attack(&temp, real[i].file), digits[16];
        int pipe[2];
        reply r = {0};
        snprintf(digits, sizeof digits, "%d", real[i].number);
        assert_int_equal(pipe2(pipe, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
            dup2(pipe[1], 3);
            execl(self, self, "bare", object, digits, secret, NULL);
            _exit(127);
        }
        close(pipe[1]);
        if (read(pipe[0], &r, sizeof r) != sizeof r || !(r.y[0] > 1e29f))
            fail_msg("%s.c, attempt %d fails even where nothing is confined", real[i].file,
                     real[i].number);
        close(pipe[0]);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        free(object);
    }
    char *made = temp_path(&temp, "new");
    assert_int_equal(unlink(made), 0);
    temp_write(secret, "for nobody's eyes\n", 18); /* attempt 1 of files has emptied it */
    free(made);
}

/* ---- what a confined process gets ---------------------------------------------------------------- */

static void check_shell(const hone_sandbox_options *options, const char *script, const char *said,
                        const char *result) {
    hone_buf out, three;
    char *argv[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, (char *)(uintptr_t)script, NULL};
    (void)run(options, argv, 120, &out, &three);
    assert_string_equal(out.data ? out.data : "", said);
    assert_string_equal(three.data ? three.data : "", result);
    hone_buf_free(&out);
    hone_buf_free(&three);
}

static void test_what_it_gets(void **state) {
    static const char *const env[] = {"COLOUR=green", NULL};
    static const char *const readable[] = {"/bin", "/usr/bin", "/no/such/path", NULL};
    hone_sandbox_options options = {
        .readable = readable, .system = true, .env = env, .open_files = 20};
    (void)state;
    need_confinement();
    check_shell(&options,
                "id -u; hostname; ls -d /proc/[0-9]* | head -n 1; grep CapBnd: /proc/self/status",
                "65534\nhone\n/proc/1\nCapBnd:\t0000000000000000\n", "");
    char *folder = temp_path(&temp, "writable"), *made = temp_path(&temp, "writable/made");
    hone_error err;
    assert_ok(hone_file_make_directories(folder, &err), err);
    options.writable = folder;
    options.file_size = 1000;
    char said[600];
    snprintf(said, sizeof said, "%s\ntext\nno link\nno fifo\nnothing of its own is run\nno more\n",
             folder);
    check_shell(&options,
                "pwd; echo text >made; cat made; ln -s /etc/passwd link 2>&- || echo no link; "
                "mkfifo fifo 2>&- || echo no fifo; echo '#!/bin/sh' >run; chmod 755 run; "
                "./run 2>&- || echo nothing of its own is run; "
                "head -c 2000 /proc/cpuinfo >much 2>&- || echo no more",
                said, "");
    hone_buf text = read_text(made);
    assert_string_equal(text.data, "text\n");
    hone_buf_free(&text);
    free(made);
    free(folder);
    check_nothing_left();
}

static void test_starting_fails(void **state) {
    hone_error err;
    hone_sandbox_child child;
    hone_sandbox_options options = {.system = true};
    const int none[] = {-1, -1, -1};
    (void)state;
    need_confinement();
    char *absent = temp_path(&temp, "absent");
    assert_int_equal(
        hone_sandbox_spawn(&options, (char *const[]){absent, NULL}, none, NULL, 0, &child, &err),
        HONE_ERR_IO);
    assert_non_null(strstr(err.message, absent));
    assert_int_equal(
        hone_sandbox_spawn(&options, (char *const[]){secret, NULL}, none, NULL, 0, &child, &err),
        HONE_ERR_IO);
    assert_non_null(strstr(err.message, secret)); /* not executable */
    options.writable = absent;
    assert_int_equal(
        hone_sandbox_spawn(&options, (char *const[]){self, NULL}, none, NULL, 0, &child, &err),
        HONE_ERR_IO);
    assert_non_null(strstr(err.message, absent));
    free(absent);
    check_nothing_left();
}

/* A shell leaves a process in a session of its own behind, and ends: with it, that one ends. */
static void test_all_of_it_is_killed(void **state) {
    static const char *const readable[] = {"/bin", "/usr/bin", "/dev/null", NULL};
    hone_sandbox_options options = {.readable = readable, .system = true};
    (void)state;
    need_confinement();
    char script[512];
    snprintf(script, sizeof script,
             "(setsid sh -c 'echo up; while :; do sleep 1; done; echo %s' 3>&- &) | (read word; "
             "echo $word >&3)",
             temp.path);
    check_shell(&options, script, "", "up\n");
    check_nothing_left();
}

/* Runs this program again with argument `mode`, as `user`; its exit status, or -1. */
static int run_again(const char *mode, uid_t user, const char *output) {
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd >= 0 && dup2(fd, 1) == 1) dup2(fd, 2);
        if (user != geteuid() && (setgroups(0, NULL) != 0 || setresgid(user, user, user) != 0 ||
                                  setresuid(user, user, user) != 0))
            _exit(125);
        if (user != geteuid() || mode == NULL) unsetenv("TMPDIR");
        execl(self, self, mode, NULL);
        _exit(126);
    }
    int how = 0;
    assert_int_equal(waitpid(pid, &how, 0), pid);
    return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

static void test_missing(void **state) {
    (void)state;
    need_confinement();
    char *output = temp_path(&temp, "said");
    assert_int_equal(run_again("missing", geteuid(), output), 0);
    free(output);
}

static void test_as_an_ordinary_user(void **state) {
    enum { ORDINARY = 65534 };
    (void)state;
    if (geteuid() != 0) {
        print_message("this is one already\n");
        skip();
    }
    need_confinement();
    char *output = temp_path(&temp, "said");
    int status = run_again(NULL, ORDINARY, output);
    if (status == 126) {
        print_message("an ordinary user may not execute %s\n", self);
        skip();
    }
    hone_buf said = read_text(output);
    if (status != 0) fail_msg("exit status %d:\n%s", status, said.data ? said.data : "");
    hone_buf_free(&said);
    free(output);
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(hone_verdict_name(HONE_VERDICT_OK), "OK");
    assert_string_equal(hone_verdict_name(HONE_VERDICT_COMPILE_LIMIT), "COMPILE_LIMIT");
    for (int i = 0; i < HONE_VERDICT_COUNT; i++)
        assert_non_null(hone_verdict_name((hone_verdict)i));
}

static int set_up(void **state) {
    (void)state;
    temp = temp_make();
    secret = temp_path(&temp, "secret");
    temp_write(secret, "for nobody's eyes\n", 18);
    mounts_before = read_text("/proc/self/mounts").data;
    assert_true(open(secret, O_RDONLY) >=
                0); /* without close-on-exec, for a child to find: output.c looks */
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(secret);
    free(mounts_before);
    temp_remove(&temp);
    return 0;
}

int main(int argc, char **argv) {
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    self[size > 0 ? size : 0] = 0;
    if (argc == 5 && strcmp(argv[1], "load") == 0) return load(argv + 2, true);
    if (argc == 5 && strcmp(argv[1], "bare") == 0) _exit(load(argv + 2, false));
    if (argc == 2 && strcmp(argv[1], "missing") == 0) return missing();
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_attempts_are_real),
        cmocka_unit_test(test_what_it_gets),
        cmocka_unit_test(test_starting_fails),
        cmocka_unit_test(test_all_of_it_is_killed),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_as_an_ordinary_user),
    };
    enum { OTHERS = sizeof others / sizeof others[0] };
    struct CMUnitTest tests[ATTACKS_COUNT + OTHERS];
    static char names[ATTACKS_COUNT][64];
    for (int i = 0; i < ATTACKS_COUNT; i++) {
        snprintf(names[i], sizeof names[i], "%s %d to %d: %s", attacks[i].file, attacks[i].first,
                 attacks[i].last, hone_verdict_name(attacks[i].expected));
        tests[i] = (struct CMUnitTest){names[i], test_attack, NULL, NULL, &attacks[i]};
    }
    memcpy(tests + ATTACKS_COUNT, others, sizeof others);
    return cmocka_run_group_tests_name("eval/sandbox", tests, set_up, tear_down);
}
