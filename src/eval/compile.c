/* eval/compile: see compile.h. */
#define _GNU_SOURCE 1
#include "eval/compile.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/size.h"
#include "eval/compile_check.h"
#include "eval/compile_object.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* include/hone_kernels.h as it was when this library was built. */
extern const char hone_kernels_text[];

static const char source_name[] = "kernels.c", header_name[] = "hone_kernels.h",
                  preprocessed_name[] = "kernels.i", object_name[] = "kernels.so";

/* The evaluation's, after the caller's: contraction to fused multiply-add is what hone's own kernels have, too. */
static const char fixed_flags[] =
    "-std=gnu17 -fPIC -ffp-contract=fast -fno-math-errno -fno-trapping-math -fvisibility=hidden";

enum { MAX_WORDS = 64, LINE_LIMIT = 256, COMPILER_PROCESSES = 32 };
static const size_t default_memory = (size_t)2 << 30, default_output = (size_t)64 << 20;
static const double default_seconds = 30;

typedef struct compilation {
    const hone_compile_options *options;
    hone_compile_result *result;
    char *compiler,
        *work; /* absolute paths; owned; work, in which it all happens, NULL until it is there */
    char *around[4]; /* the compiler's own folders, where it lies outside of the system's; owned */
    double deadline;
    hone_buf said;
} compilation;

/* ---- the compiler -------------------------------------------------------------------------------- */

/* `name` below `folder`, if it is an executable there. */
static bool try_compiler(compilation *c, const char *folder, size_t size, const char *name) {
    free(c->compiler);
    if (asprintf(&c->compiler, "%.*s/%s", (int)size, folder, name) < 0) c->compiler = NULL;
    return c->compiler && access(c->compiler, X_OK) == 0;
}

static hone_status find_compiler(compilation *c, hone_error *err) {
    const char *name = c->options->compiler ? c->options->compiler : "cc", *path = getenv("PATH");
    if (strchr(name, '/')) {
        /* Links are left alone: some compilers look at the name that they were called by. */
        char folder[PATH_MAX] = "";
        if (name[0] != '/' && !getcwd(folder, sizeof folder))
            return hone_fail_errno(err, "find the current folder for", name);
        if (try_compiler(c, folder, strlen(folder), name[0] == '/' ? name + 1 : name))
            return HONE_OK;
        return hone_fail_errno(err, "execute", name);
    }
    for (const char *at = path ? path : "/usr/local/bin:/usr/bin:/bin"; *at;) {
        size_t size = strcspn(at, ":");
        if (at[0] == '/' && size < PATH_MAX && try_compiler(c, at, size, name)) return HONE_OK;
        at += size + (at[size] == ':');
    }
    return hone_fail(err, HONE_ERR_IO,
                     "there is no compiler \"%s\" in PATH: install gcc or clang, or name one",
                     name);
}

/* A compiler that was installed elsewhere (/opt/gcc-14/bin/gcc) has its parts beside its bin/. */
static hone_status find_surroundings(compilation *c, hone_error *err) {
    static const char *const parts[] = {"bin", "lib", "lib64", "libexec"};
    char real[PATH_MAX];
    if (!realpath(c->compiler, real)) return hone_fail_errno(err, "find", c->compiler);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(real, '/');
        if (slash) *slash = 0;
    }
    if (strcmp(real, "/usr") == 0 || real[0] == 0) return HONE_OK;
    for (int i = 0; i < 4; i++) {
        c->around[i] = hone_path_join(real, parts[i]);
        if (!c->around[i]) return hone_fail_memory(err, "a path", 0);
    }
    return HONE_OK;
}

/* What it read from the compiler's output that tells of a limit, not of a fault in the source. */
static bool speaks_of_limits(const hone_buf *said) {
    static const char *const words[] = {"out of memory",
                                        "virtual memory exhausted",
                                        "annot allocate memory",
                                        "bad_alloc",
                                        "CPU time limit exceeded",
                                        "File size limit exceeded",
                                        "Killed signal terminated",
                                        "terminated by signal 9",
                                        "File too large",
                                        "memory exhausted"};
    for (size_t i = 0; said->data && i < sizeof words / sizeof words[0]; i++)
        if (strstr(said->data, words[i])) return true;
    return false;
}

/* Runs the compiler with `argv` in the work folder; what it says is appended to `said`. */
static hone_status run(compilation *c, char *const argv[], hone_buf *said, hone_verdict *verdict,
                       hone_error *err) {
    const hone_compile_options *o = c->options;
    const char *readable[] = {"/usr/bin",
                              "/bin",
                              "/usr/include",
                              "/usr/libexec",
                              "/usr/local/include",
                              "/etc/alternatives",
                              c->around[0],
                              c->around[1],
                              c->around[2],
                              c->around[3],
                              NULL};
    static const char *const env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TMPDIR=.",
                                      NULL};
    double left = c->deadline - hone_clock_seconds();
    hone_sandbox_options sandbox = {.readable = readable,
                                    .system = true,
                                    .writable = c->work,
                                    .env = env,
                                    .cpu_seconds = o->seconds > 0 ? o->seconds : default_seconds,
                                    .memory = o->memory ? o->memory : default_memory,
                                    .file_size = o->output ? o->output : default_output,
                                    .processes = COMPILER_PROCESSES,
                                    .unsafe = o->unsafe};
    sandbox.address_space = sandbox.memory;
    hone_sandbox_child child;
    hone_ending ending;
    int pipe[2];
    if (pipe2(pipe, O_CLOEXEC) != 0) return hone_fail_errno(err, "make a pipe for", argv[0]);
    hone_status status = hone_sandbox_spawn(&sandbox, argv, (const int[]){-1, pipe[1], pipe[1]},
                                            NULL, 0, &child, err);
    close(pipe[1]);
    if (status == HONE_OK) {
        hone_sandbox_patience patience = {left, o->keep_waiting, o->user};
        status = hone_sandbox_lead(&child, &patience, pipe, &said, 1, &ending, err);
    }
    close(pipe[0]);
    HONE_TRY(status);
    bool limit = ending.verdict == HONE_VERDICT_TIMEOUT || ending.verdict == HONE_VERDICT_MEMLIMIT;
    *verdict = ending.verdict == HONE_VERDICT_OK ? HONE_VERDICT_OK
               : limit || speaks_of_limits(said) ? HONE_VERDICT_COMPILE_LIMIT
                                                 : HONE_VERDICT_COMPILE_ERROR;
    if (limit)
        (void)hone_buf_printf(said, NULL, "%s: error: compiling was stopped: %s\n", source_name,
                              ending.sentence);
    return HONE_OK;
}

/* Splits `words` at blanks, in place. */
static size_t add_words(char *words, char *argv[], size_t count) {
    for (char *rest, *word = strtok_r(words, " \t", &rest); word && count + 1 < MAX_WORDS;
         word = strtok_r(NULL, " \t", &rest))
        argv[count++] = word;
    argv[count] = NULL;
    return count;
}

/* The compiler with our flags and then `more`, which ends with NULL. */
static hone_status run_with_flags(compilation *c, char *const more[], hone_verdict *verdict,
                                  hone_error *err) {
    char *words = strdup(c->result->flags), *argv[MAX_WORDS] = {c->compiler};
    if (!words) return hone_fail_memory(err, "the compiler's flags", 0);
    size_t count = add_words(words, argv, 1);
    for (size_t i = 0; more[i] && count + 1 < MAX_WORDS; i++) argv[count++] = more[i];
    argv[count] = NULL;
    hone_status status = run(c, argv, &c->said, verdict, err);
    free(words);
    return status;
}

static hone_status ask_version(compilation *c, hone_error *err) {
    char *argv[] = {c->compiler, (char[]){"--version"}, NULL};
    hone_buf line = hone_buf_make(LINE_LIMIT);
    hone_verdict verdict;
    hone_status status = run(c, argv, &line, &verdict, err);
    if (status == HONE_OK && (verdict != HONE_VERDICT_OK || !line.data))
        status = hone_fail(err, HONE_ERR_IO, "%s --version fails: is it a C compiler?%s%s",
                           c->compiler, line.data ? " It said: " : "", line.data ? line.data : "");
    if (status == HONE_OK) {
        line.data[strcspn(line.data, "\n")] = 0;
        c->result->compiler = strdup(line.data);
        if (!c->result->compiler) status = hone_fail_memory(err, "the compiler's name", line.size);
    }
    hone_buf_free(&line);
    return status;
}

/* ---- files --------------------------------------------------------------------------------------- */

static hone_status write_into(const compilation *c, const char *name, const char *data, size_t size,
                              hone_error *err) {
    char *path = hone_path_join(c->work, name);
    if (!path) return hone_fail_memory(err, "a path", 0);
    hone_status status = hone_file_write_atomic(path, data, size, err);
    free(path);
    return status;
}

/* All of an open file, which may have any size. */
static hone_status read_all(int fd, const char *path, hone_buf *bytes, hone_error *err) {
    char block[65536];
    for (ssize_t got; (got = read(fd, block, sizeof block)) != 0;) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return hone_fail_errno(err, "read", path);
        HONE_TRY(hone_buf_append(bytes, block, (size_t)got, err));
    }
    return HONE_OK;
}

/* Reads what the compiler left in the work folder: a regular file, no link to one elsewhere, within the limit. */
static hone_status read_output(const compilation *c, const char *name, hone_buf *bytes,
                               hone_error *err) {
    *bytes = hone_buf_make(c->options->output ? c->options->output : default_output);
    char *path = hone_path_join(c->work, name);
    struct stat info;
    if (!path) return hone_fail_memory(err, "a path", 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    hone_status status;
    if (fd < 0 || fstat(fd, &info) != 0)
        status = hone_fail_errno(err, "read what the compiler wrote,", path);
    else if (!S_ISREG(info.st_mode))
        status = hone_fail(err, HONE_ERR_IO, "%s: the compiler left no regular file", path);
    else
        status = read_all(fd, path, bytes, err);
    if (fd >= 0) close(fd);
    free(path);
    if (status != HONE_OK) hone_buf_free(bytes);
    return status;
}

static hone_status make_work(compilation *c, const char *folder, const hone_buf *source,
                             hone_error *err) {
    char real[PATH_MAX];
    if (!realpath(folder, real)) return hone_fail_errno(err, "compile in", folder);
    char *work = hone_path_join(real, "compile.XXXXXX");
    if (!work) return hone_fail_memory(err, "a path", 0);
    if (!mkdtemp(work)) {
        free(work);
        return hone_fail_errno(err, "make a folder in", folder);
    }
    c->work = work;
    HONE_TRY(write_into(c, header_name, hone_kernels_text, strlen(hone_kernels_text), err));
    return write_into(c, source_name, source->data ? source->data : "", source->size, err);
}

/* ---- the steps ----------------------------------------------------------------------------------- */

static hone_status preprocess(compilation *c, hone_error *err) {
    char *more[] = {(char[]){"-I."}, (char[]){"-E"},        (char[]){"kernels.c"},
                    (char[]){"-o"},  (char[]){"kernels.i"}, NULL};
    hone_verdict *verdict = &c->result->verdict;
    HONE_TRY(run_with_flags(c, more, verdict, err));
    if (*verdict != HONE_VERDICT_OK) return HONE_OK;
    hone_buf text;
    HONE_TRY(read_output(c, preprocessed_name, &text, err));
    if (!hone_check_preprocessed(text.data, text.size, c->options->any_code, &c->said))
        *verdict = HONE_VERDICT_COMPILE_ERROR;
    hone_buf_free(&text);
    return HONE_OK;
}

/* Keeps what the linker wrote. */
static hone_status keep_object(compilation *c, const hone_buf *bytes, const char *folder,
                               hone_error *err) {
    hone_compile_result *r = c->result;
    char *path = hone_path_join(folder, object_name);
    if (!path) return hone_fail_memory(err, "a path", 0);
    hone_status status = hone_file_write_atomic(path, bytes->data, bytes->size, err);
    if (status == HONE_OK) status = hone_sha256(bytes->data, bytes->size, r->object_sha256, err);
    if (status == HONE_OK)
        r->object = path;
    else
        free(path);
    return status;
}

/* All that the loader changes is made constant when it is done (relro), which needs every symbol found at once (now).
 * Without the start files, whose own writable data and constructors would hide the candidate's. */
static hone_status link_object(compilation *c, const char *folder, hone_error *err) {
    char *more[] = {(char[]){"-shared"},
                    (char[]){"-nostartfiles"},
                    (char[]){"-Wl,-z,defs,-z,now,-z,relro,-z,noexecstack,-z,separate-code"},
                    (char[]){"-Wl,-Bsymbolic,--hash-style=sysv"},
                    (char[]){"kernels.i"},
                    (char[]){"-lm"},
                    (char[]){"-o"},
                    (char[]){"kernels.so"},
                    NULL};
    hone_compile_result *r = c->result;
    HONE_TRY(run_with_flags(c, more, &r->verdict, err));
    if (r->verdict != HONE_VERDICT_OK) return HONE_OK;
    hone_buf bytes;
    HONE_TRY(read_output(c, object_name, &bytes, err));
    hone_status status = HONE_OK;
    if (!c->options->any_code && !hone_check_object(bytes.data, bytes.size, &c->said))
        r->verdict = HONE_VERDICT_COMPILE_ERROR;
    else
        status = keep_object(c, &bytes, folder, err);
    hone_buf_free(&bytes);
    return status;
}

static hone_status take_flags(compilation *c, hone_error *err) {
    const char *flags = c->options->flags ? c->options->flags : "-O3 -march=native";
    HONE_TRY(hone_check_flags(flags, err));
    if (asprintf(&c->result->flags, "%s %s", flags, fixed_flags) >= 0) return HONE_OK;
    c->result->flags = NULL;
    return hone_fail_memory(err, "the compiler's flags", strlen(flags));
}

static hone_status compile(compilation *c, const hone_buf *source, const char *folder,
                           hone_error *err) {
    HONE_TRY(hone_sha256(source->data, source->size, c->result->source_sha256, err));
    HONE_TRY(take_flags(c, err));
    HONE_TRY(find_compiler(c, err));
    HONE_TRY(find_surroundings(c, err));
    HONE_TRY(make_work(c, folder, source, err));
    HONE_TRY(ask_version(c, err));
    c->result->verdict = HONE_VERDICT_COMPILE_ERROR;
    if (!hone_check_source(source->data ? source->data : "", source->size, c->options->any_code,
                           &c->said))
        return HONE_OK;
    HONE_TRY(preprocess(c, err));
    return c->result->verdict == HONE_VERDICT_OK ? link_object(c, folder, err) : HONE_OK;
}

hone_status hone_compile_kernels(const char *source, const hone_compile_options *options,
                                 const char *folder, hone_compile_result *result, hone_error *err) {
    double begin = hone_clock_seconds();
    compilation c = {.options = options, .result = result};
    hone_buf text;
    *result = (hone_compile_result){.verdict = HONE_VERDICT_COMPILE_ERROR};
    HONE_TRY(hone_file_read(source, HONE_SOURCE_LIMIT, &text, err));
    c.deadline = begin + (options->seconds > 0 ? options->seconds : default_seconds);
    c.said = hone_buf_make(HONE_DIAGNOSTICS_LIMIT);
    hone_status status = compile(&c, &text, folder, err);
    if (c.work) hone_file_remove_tree(c.work);
    for (int i = 0; i < 4; i++) free(c.around[i]);
    free(c.compiler);
    free(c.work);
    hone_buf_free(&text);
    result->diagnostics = c.said.data ? c.said.data : strdup("");
    result->seconds = hone_clock_seconds() - begin;
    if (status == HONE_OK && !result->diagnostics)
        status = hone_fail_memory(err, "the compiler's output", 1);
    return status;
}

void hone_compile_result_free(hone_compile_result *result) {
    free(result->object);
    free(result->flags);
    free(result->compiler);
    free(result->diagnostics);
    *result = (hone_compile_result){.verdict = HONE_VERDICT_COMPILE_ERROR};
}
