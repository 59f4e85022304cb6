/* eval/hidden: see hidden.h. */
#include "eval/hidden.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/size.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DATA_LIMIT = 256 << 20, ADAPTER_FILES = 2 };

/* The held-out file of a data folder; NULL when there is none. To be freed. */
static char *held_out_path(const char *data) {
    static const char *const names[] = {"test.jsonl", "valid.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = hone_path_join(data, names[i]);
        if (path && hone_file_exists(path)) return path;
        free(path);
    }
    return NULL;
}

/* Where each line that holds anything begins. */
static size_t *find_lines(const char *text, size_t size, size_t *count) {
    size_t most = 1, found = 0;
    for (size_t i = 0; i < size; i++) most += text[i] == '\n';
    size_t *starts = calloc(most, sizeof *starts);
    for (size_t at = 0; starts && at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t next = end ? (size_t)(end - text) + 1 : size;
        if (next - at > 2) starts[found++] = at;
        at = next;
    }
    *count = found;
    return starts;
}

/* Appends `rows` different lines, chosen as a shuffle's first ones. */
static hone_status draw_lines(const hone_buf *text, size_t rows, uint64_t seed, hone_buf *out,
                              hone_error *err) {
    size_t count, *starts = find_lines(text->data, text->size, &count);
    if (!starts) return hone_fail_memory(err, "lines of data", text->size);
    hone_rng rng = hone_rng_make(seed);
    hone_status status = HONE_OK;
    for (size_t i = 0; i < HONE_MIN(rows, count) && status == HONE_OK; i++) {
        size_t other = i + (size_t)hone_rng_below(&rng, count - i), at = starts[other];
        starts[other] = starts[i];
        const char *line = text->data + at, *end = memchr(line, '\n', text->size - at);
        size_t length = end ? (size_t)(end - line) : text->size - at;
        status = hone_buf_append(out, line, length, err);
        if (status == HONE_OK) status = hone_buf_append(out, "\n", 1, err);
    }
    free(starts);
    return status;
}

hone_status hone_hidden_draw(const char *data, const char *folder, size_t rows, uint64_t seed,
                             bool *found, hone_error *err) {
    char *from = held_out_path(data), *to = hone_path_join(folder, "test.jsonl");
    hone_buf text = hone_buf_make(DATA_LIMIT), drawn = hone_buf_make(DATA_LIMIT);
    hone_status status = to ? HONE_OK : hone_fail_memory(err, "a path", 1);
    *found = from != NULL;
    if (from && status == HONE_OK) {
        status = hone_file_read(from, DATA_LIMIT, &text, err);
        if (status == HONE_OK) status = draw_lines(&text, rows, seed, &drawn, err);
        if (status == HONE_OK) status = hone_file_write_atomic(to, drawn.data, drawn.size, err);
    }
    hone_buf_free(&text);
    hone_buf_free(&drawn);
    free(from);
    free(to);
    return status;
}

/* The folder was written by a process that nobody trusts: a link or a pipe in it is not followed. */
static hone_status check_files(const char *folder, hone_error *err) {
    static const char *const names[ADAPTER_FILES] = {"adapter_config.json", "adapters.safetensors"};
    for (int i = 0; i < ADAPTER_FILES; i++) {
        struct stat st;
        char *path = hone_path_join(folder, names[i]);
        if (!path) return hone_fail_memory(err, "a path", 1);
        bool regular = lstat(path, &st) == 0 && S_ISREG(st.st_mode);
        free(path);
        if (!regular)
            return hone_fail(err, HONE_ERR_FORMAT, "the training left no regular file %s",
                             names[i]);
    }
    return HONE_OK;
}

typedef struct test_run {
    const hone_hidden_options *options;
    double loss;
} test_run;

static bool on_event(void *user, const hone_train_event *event) {
    test_run *run = user;
    if (event->kind == HONE_TRAIN_TEST) run->loss = event->loss;
    return true;
}

static bool keep_going(void *user) {
    const hone_hidden_options *o = ((test_run *)user)->options;
    return !o->keep_going || o->keep_going(o->user);
}

hone_status hone_hidden_loss(const hone_hidden_options *options, double *loss, hone_error *err) {
    test_run run = {.options = options, .loss = NAN};
    hone_model_options open = {.weights = options->weights};
    hone_train_options test = hone_train_defaults();
    hone_train_callbacks callbacks = {.on_event = on_event, .keep_going = keep_going, .user = &run};
    hone_model *model = NULL;
    test.data = options->folder;
    test.adapter_path = NULL;
    test.iters = 0;
    test.test = true;
    test.batch_size = 1;
    test.max_seq_length = options->seq_len;
    hone_status status = options->adapter ? check_files(options->adapter, err) : HONE_OK;
    if (status == HONE_OK) status = hone_model_open(options->model, &open, &model, err);
    if (status == HONE_OK && options->adapter)
        status = hone_model_load_adapter(model, options->adapter, err);
    if (status == HONE_OK) status = hone_train(model, &test, &callbacks, NULL, err);
    if (status == HONE_OK && !isfinite(run.loss))
        status = hone_fail(err, HONE_ERR_FORMAT, "its loss is no finite number");
    hone_model_free(&model);
    *loss = status == HONE_OK ? run.loss : NAN;
    return status;
}
