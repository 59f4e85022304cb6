/* eval/worker: see worker.h. */
#define _GNU_SOURCE 1
#include "eval/worker.h"

#include "base/clock.h"
#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE_LIMIT = 64 << 10, SAID_LIMIT = 2 << 10, GLANCE_MS = 250, BOXED_GLANCE_MS = 20 };

extern char **environ;

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static hone_status spawn(hone_worker *worker, char *const argv[], const int child[3],
                         hone_error *err) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    if (posix_spawn_file_actions_init(&actions) != 0)
        return hone_fail_memory(err, "a worker process", 0);
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return hone_fail_memory(err, "a worker process", 0);
    }
    int failure = 0;
    for (int i = 0; i < 3 && !failure; i++)
        failure = posix_spawn_file_actions_adddup2(&actions, child[i], i);
    if (!failure)
        failure =
            posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    if (!failure) failure = posix_spawnattr_setpgroup(&attributes, 0);
    if (!failure) failure = posix_spawnattr_setsigmask(&attributes, &none);
    if (!failure)
        failure = posix_spawnp(&worker->pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (!failure) return HONE_OK;
    worker->pid = 0;
    errno = failure;
    return hone_fail_errno(err, "start the worker", argv[0]);
}

/* The same in a sandbox. */
static hone_status spawn_boxed(hone_worker *worker, char *const argv[], const int child[3],
                               const hone_sandbox_options *box, hone_error *err) {
    HONE_TRY(hone_sandbox_spawn(box, argv, child, NULL, 0, &worker->child, err));
    worker->pid = worker->child.pid;
    worker->boxed = true;
    return HONE_OK;
}

hone_status hone_worker_start(hone_worker *worker, const char *name, char *const argv[],
                              const hone_sandbox_options *box, hone_error *err) {
    int in[2] = {-1, -1}, out[2] = {-1, -1}, error[2] = {-1, -1};
    *worker = (hone_worker){.name = name, .in = -1, .out = -1, .err = -1};
    worker->lines = hone_buf_make(2 * LINE_LIMIT);
    worker->said = hone_buf_make(SAID_LIMIT);
    hone_status status = HONE_OK;
    /* A socket for its input: a write to a worker that died must not raise SIGPIPE in the process of our user. */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) != 0 || pipe2(out, O_CLOEXEC) != 0 ||
        pipe2(error, O_CLOEXEC) != 0) {
        status = hone_fail_errno(err, "make pipes for", argv[0]);
    } else {
        const int streams[3] = {in[1], out[1], error[1]};
        status =
            box ? spawn_boxed(worker, argv, streams, box, err) : spawn(worker, argv, streams, err);
    }
    worker->in = in[0];
    worker->out = out[0];
    worker->err = error[0];
    close_fd(&in[1]);
    close_fd(&out[1]);
    close_fd(&error[1]);
    if (status != HONE_OK) hone_worker_stop(worker);
    return status;
}

hone_status hone_worker_go(hone_worker *worker, hone_error *err) {
    ssize_t sent;
    do sent = send(worker->in, "\n", 1, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    /* One that has ended is reported by the event that does not come, which knows how it ended. */
    if (sent == 1 || errno == EPIPE || errno == ECONNRESET) return HONE_OK;
    return hone_fail(err, HONE_ERR_IO, "the %s worker: %s", worker->name, strerror(errno));
}

void hone_worker_rest(hone_worker *worker, bool rests) {
    if (worker->pid > 0) kill(-worker->pid, rests ? SIGSTOP : SIGCONT);
}

void hone_worker_end_input(hone_worker *worker) { close_fd(&worker->in); }

/* The highest resident size of the process so far. What /proc no longer tells stays as it was. */
static void look_at_memory(hone_worker *worker) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%ld/status", (long)worker->pid);
    FILE *file = fopen(path, "re");
    if (!file) return;
    while (fgets(line, sizeof line, file)) {
        size_t kib;
        if (sscanf(line, "VmHWM: %zu", &kib) == 1)
            worker->peak_rss = HONE_MAX(worker->peak_rss, kib * 1024);
    }
    fclose(file);
}

/* Takes what one stream offers. Past its limit, standard error is read and forgotten. */
static hone_status drain(hone_worker *worker, int *fd, hone_buf *into, hone_error *err) {
    char block[4096];
    ssize_t got;
    do got = read(*fd, block, sizeof block);
    while (got < 0 && errno == EINTR);
    if (got <= 0) {
        close_fd(fd);
        return HONE_OK;
    }
    if (into == &worker->said) {
        size_t room = SAID_LIMIT - into->size;
        return hone_buf_append(into, block, HONE_MIN((size_t)got, room), err);
    }
    if (hone_buf_append(into, block, (size_t)got, err) == HONE_OK) return HONE_OK;
    return hone_fail(err, HONE_ERR_FORMAT, "the %s worker printed a line of more than %d bytes",
                     worker->name, (int)LINE_LIMIT);
}

/* Waits once for output, at most until `deadline`. */
static hone_status wait_for_output(hone_worker *worker, const hone_patience *patience,
                                   double deadline, hone_error *err) {
    double left = deadline - hone_clock_seconds();
    if (patience->keep_waiting && !patience->keep_waiting(patience->user))
        return hone_fail(err, HONE_ERR_INTERRUPTED, "stopped");
    if (left <= 0)
        return hone_fail(err, HONE_ERR_LIMIT,
                         "the %s worker said nothing for %.0f s and was stopped", worker->name,
                         patience->seconds);
    struct pollfd fds[2] = {{.fd = worker->out, .events = POLLIN},
                            {.fd = worker->err, .events = POLLIN}};
    if (worker->boxed) hone_sandbox_look(&worker->child); /* ends it above its limit of memory */
    int glance = worker->boxed ? BOXED_GLANCE_MS : GLANCE_MS;
    int ready = poll(fds, 2, (int)HONE_MIN(left * 1e3 + 1, (double)glance));
    if (ready < 0 && errno != EINTR)
        return hone_fail(err, HONE_ERR_IO, "the %s worker: %s", worker->name, strerror(errno));
    if (ready <= 0) return HONE_OK;
    if (fds[1].revents) HONE_TRY(drain(worker, &worker->err, &worker->said, err));
    if (fds[0].revents) HONE_TRY(drain(worker, &worker->out, &worker->lines, err));
    return HONE_OK;
}

/* The last line of what it said on standard error, without control characters. */
static void last_words(const hone_worker *worker, char *out, size_t size) {
    const char *text = worker->said.data;
    size_t end = worker->said.size, begin;
    out[0] = 0;
    if (!text) return;
    while (end > 0 && (unsigned char)text[end - 1] <= ' ') end--;
    for (begin = end; begin > 0 && text[begin - 1] != '\n';) begin--;
    if (begin == end) return;
    size_t used = (size_t)snprintf(out, size, ": ");
    for (size_t i = begin; i < end && used + 1 < size; i++)
        out[used++] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i];
    out[used] = 0;
}

/* A boxed one, whose output has ended, gets so much longer. */
static hone_status lead_to_end(hone_worker *worker, double seconds, hone_ending *ending,
                               hone_error *err) {
    hone_sandbox_patience patience = {.seconds = seconds};
    HONE_TRY(hone_sandbox_lead(&worker->child, &patience, NULL, NULL, 0, ending, err));
    worker->pid = 0;
    worker->peak_rss = HONE_MAX(worker->peak_rss, ending->peak_rss);
    return HONE_OK;
}

static hone_status fail_boxed(hone_worker *worker, const char *words, hone_error *err) {
    hone_ending ending;
    HONE_TRY(lead_to_end(worker, 1, &ending, err));
    worker->verdict = ending.verdict == HONE_VERDICT_OK ? HONE_VERDICT_CRASH : ending.verdict;
    return hone_fail(err, HONE_ERR_IO, "%s: the %s worker ended too early: %s%s",
                     hone_verdict_name(worker->verdict), worker->name, ending.sentence, words);
}

/* Its output has ended: fetches the exit status, killing one that closed its output but lives on. */
static hone_status fail_ended(hone_worker *worker, hone_error *err) {
    char words[512];
    int how = 0;
    double deadline = hone_clock_seconds() + 1;
    while (worker->err >= 0 && hone_clock_seconds() < deadline) {
        struct pollfd fd = {.fd = worker->err, .events = POLLIN};
        if (poll(&fd, 1, 100) > 0) HONE_TRY(drain(worker, &worker->err, &worker->said, err));
    }
    last_words(worker, words, sizeof words);
    worker->verdict = HONE_VERDICT_CRASH;
    if (worker->boxed) return fail_boxed(worker, words, err);
    kill(-worker->pid, SIGKILL);
    while (waitpid(worker->pid, &how, 0) < 0 && errno == EINTR) {
    }
    worker->pid = 0;
    if (WIFSIGNALED(how) && WTERMSIG(how) != SIGKILL)
        return hone_fail(err, HONE_ERR_IO, "the %s worker was killed by signal %d (%s)%s",
                         worker->name, WTERMSIG(how), strsignal(WTERMSIG(how)), words);
    if (WIFSIGNALED(how))
        return hone_fail(err, HONE_ERR_IO, "the %s worker was killed%s", worker->name, words);
    return hone_fail(err, HONE_ERR_IO, "the %s worker ended too early with exit status %d%s",
                     worker->name, WEXITSTATUS(how), words);
}

/* Takes one whole line out of what was read. */
static bool take_line(hone_worker *worker, char *line, size_t *size) {
    hone_buf *buf = &worker->lines;
    char *end = buf->size ? memchr(buf->data, '\n', buf->size) : NULL;
    if (!end || (size_t)(end - buf->data) >= LINE_LIMIT) return false;
    *size = (size_t)(end - buf->data);
    memcpy(line, buf->data, *size);
    line[*size] = 0;
    buf->size -= *size + 1;
    memmove(buf->data, end + 1, buf->size);
    return true;
}

static hone_status parse_event(const hone_worker *worker, char *line, size_t size, json_t **event,
                               hone_error *err) {
    hone_status status = hone_json_parse(line, size, "line", event, NULL);
    if (status == HONE_OK && json_is_string(json_object_get(*event, "event"))) return HONE_OK;
    if (status == HONE_OK) json_decref(*event);
    *event = NULL;
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)line[i] < ' ' || (unsigned char)line[i] > '~') line[i] = '?';
    }
    return hone_fail(err, HONE_ERR_FORMAT,
                     "the %s worker printed \"%.80s\"; expected a JSON object with \"event\"",
                     worker->name, line);
}

hone_status hone_worker_event(hone_worker *worker, const hone_patience *patience, json_t **event,
                              hone_error *err) {
    double deadline = hone_clock_seconds() + patience->seconds;
    char *line = malloc(LINE_LIMIT + 1);
    size_t size = 0;
    *event = NULL;
    if (!line) return hone_fail_memory(err, "a worker's line", LINE_LIMIT + 1);
    hone_status status = HONE_OK;
    while (!take_line(worker, line, &size)) {
        if (worker->out < 0) {
            status = fail_ended(worker, err);
            goto done;
        }
        HONE_TRY_GOTO(status, done, wait_for_output(worker, patience, deadline, err));
    }
    look_at_memory(worker);
    status = parse_event(worker, line, size, event, err);
done:
    free(line);
    return status;
}

static hone_status finish_boxed(hone_worker *worker, double seconds, hone_error *err) {
    hone_ending ending;
    char words[512];
    HONE_TRY(lead_to_end(worker, seconds, &ending, err));
    worker->verdict = ending.verdict;
    if (ending.verdict == HONE_VERDICT_OK) return HONE_OK;
    last_words(worker, words, sizeof words);
    return hone_fail(err, HONE_ERR_IO, "%s: the %s worker finished its steps but %s%s",
                     hone_verdict_name(ending.verdict), worker->name, ending.sentence, words);
}

hone_status hone_worker_finish(hone_worker *worker, const hone_patience *patience,
                               hone_error *err) {
    double deadline = hone_clock_seconds() + patience->seconds;
    int how = 0;
    close_fd(&worker->in);
    while (worker->out >= 0) {
        HONE_TRY(wait_for_output(worker, patience, deadline, err));
        worker->lines.size = 0;
    }
    if (worker->boxed) return finish_boxed(worker, deadline - hone_clock_seconds(), err);
    pid_t ended;
    while ((ended = waitpid(worker->pid, &how, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        if (hone_clock_seconds() > deadline)
            return hone_fail(err, HONE_ERR_LIMIT, "the %s worker did not end within %.0f s",
                             worker->name, patience->seconds);
        poll(NULL, 0, 5);
    }
    worker->pid = 0;
    if (ended < 0)
        return hone_fail(err, HONE_ERR_IO, "how the %s worker ended cannot be known: %s",
                         worker->name, strerror(errno));
    if (WIFEXITED(how) && WEXITSTATUS(how) == 0) return HONE_OK;
    char words[512];
    last_words(worker, words, sizeof words);
    return hone_fail(err, HONE_ERR_IO, "the %s worker finished its steps but %s %d%s", worker->name,
                     WIFEXITED(how) ? "ended with exit status" : "was killed by signal",
                     WIFEXITED(how) ? WEXITSTATUS(how) : WTERMSIG(how), words);
}

void hone_worker_stop(hone_worker *worker) {
    if (worker->pid > 0 && worker->boxed) {
        hone_ending ending;
        hone_sandbox_stop(&worker->child, HONE_STOP_DONE);
        hone_sandbox_reap(&worker->child, &ending);
        worker->pid = 0;
    }
    if (worker->pid > 0) {
        kill(-worker->pid, SIGKILL);
        while (waitpid(worker->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        worker->pid = 0;
    }
    if (worker->name) { /* else it was never started, and its descriptors are not ours */
        close_fd(&worker->in);
        close_fd(&worker->out);
        close_fd(&worker->err);
    }
    hone_buf_free(&worker->lines);
    hone_buf_free(&worker->said);
    worker->name = NULL;
}
