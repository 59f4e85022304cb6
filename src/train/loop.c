/* train/loop: hone_train: data, steps, validation, saving, events. */
#define _POSIX_C_SOURCE 200809L
#include "base/clock.h"
#include "base/size.h"
#include "train/data.h"
#include "train/plan.h"
#include "train/trainer.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* A file of data that losses are computed over, without learning. */
typedef struct held_out {
    bool open;
    hone_data data;
    hone_batch batch;
} held_out;

/* All of a running training: what would have to be kept to go on later is `trainer`, `train.position` and the
 * sums. */
typedef struct run {
    hone_model *model;
    hone_train_options options;
    char *resume; /* the file that options.resume_adapter_file means, or NULL */
    const char *keys[HONE_LINEAR_COUNT];   /* where options.lora_keys may point */
    const hone_train_callbacks *callbacks; /* NULL: none */
    hone_trainer trainer;
    hone_data train;
    hone_batch *batches; /* [grad_accumulation_steps] */
    held_out valid, test;
    hone_train_plan plan; /* when there are steps to do */
    int kept_from;        /* as planned */
    uint64_t trained_tokens;
    int saved_iter; /* the last step that is on disk */
    bool stop;      /* a callback asked for it */
    double *rates;  /* [rate_count] tokens per second of each step */
    size_t rate_count, rate_capacity;
    double last_loss;
} run;

hone_train_options hone_train_defaults(void) {
    return (hone_train_options){
        .fine_tune_type = HONE_FINE_TUNE_LORA,
        .num_layers = 16,
        .lora_rank = 8,
        .lora_scale = 20,
        .packing = HONE_PACKING_NONE,
        .iters = 1000,
        .batch_size = 4,
        .max_seq_length = 2048,
        .grad_accumulation_steps = 1,
        .steps_per_eval = 200,
        .val_batches = 25,
        .save_every = 100,
        .learning_rate = 1e-5,
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
        .weight_decay = 0.01,
    };
}

/* ---- events ---- */

static hone_train_event event_of(const run *r, hone_train_event_kind kind) {
    return (hone_train_event){
        .kind = kind,
        .iter = (int)r->trainer.steps,
        .iters = r->options.iters,
        .learning_rate = r->options.learning_rate,
        .trained_tokens = r->trained_tokens,
        .trainable = r->trainer.params.trained,
        .parameters = r->model->parameters,
        .samples = r->train.rows.count,
        .skipped = r->train.skipped,
        .truncated = r->train.truncated,
        .arena_bytes = r->plan.activations + r->plan.scratch,
        .peak_rss = hone_memory_peak_rss(),
    };
}

static void tell(run *r, const hone_train_event *event) {
    if (r->callbacks && r->callbacks->on_event &&
        !r->callbacks->on_event(r->callbacks->user, event))
        r->stop = true;
}

/* ---- opening ---- */

static hone_status open_held_out(run *r, held_out *h, const char *name, hone_error *err) {
    char *path;
    hone_data_options options = hone_data_options_of(&r->options, r->model, true);
    HONE_TRY(hone_data_path(r->options.data, name, false, &path, err));
    if (!path) return HONE_OK;
    hone_status status = hone_data_open(&h->data, r->model, path, &options, err);
    free(path);
    HONE_TRY(status);
    h->open = true;
    return hone_batch_open(&h->batch, hone_data_batch_rows(&options), err);
}

static hone_status open_data(run *r, hone_error *err) {
    const hone_train_options *o = &r->options;
    if (o->iters > 0) {
        char *path;
        hone_data_options options = hone_data_options_of(o, r->model, false);
        HONE_TRY(hone_data_path(r->options.data, "train.jsonl", true, &path, err));
        hone_status status = hone_data_open(&r->train, r->model, path, &options, err);
        free(path);
        HONE_TRY(status);
        size_t count = (size_t)o->grad_accumulation_steps;
        r->batches = calloc(count, sizeof *r->batches);
        if (!r->batches) return hone_fail_memory(err, "batches", count * sizeof *r->batches);
        for (size_t i = 0; i < count; i++)
            HONE_TRY(hone_batch_open(&r->batches[i], hone_data_batch_rows(&options), err));
        if (o->steps_per_eval > 0 && o->val_batches != 0)
            HONE_TRY(open_held_out(r, &r->valid, "valid.jsonl", err));
    }
    if (!o->test) return HONE_OK;
    HONE_TRY(open_held_out(r, &r->test, "test.jsonl", err));
    if (!r->test.open)
        return hone_fail(err, HONE_ERR_IO,
                         hone_file_is_directory(o->data)
                             ? "%s: there is no test.jsonl in it to test with"
                             : "%s: --test needs a folder with test.jsonl",
                         o->data);
    return HONE_OK;
}

/* What the training will take, and how much of the pass is run again for it. Nothing is taken yet. */
static hone_status plan_memory(run *r, size_t data, hone_error *err) {
    const hone_data_options *options = &r->train.options;
    size_t longest = hone_data_segment_rows(options);
    if (longest > (size_t)r->model->config.max_positions)
        return hone_fail(err, HONE_ERR_USAGE,
                         "--max-seq-length %d: with --packing isolate or concat at most the "
                         "model's %d positions",
                         r->options.max_seq_length, r->model->config.max_positions);
    HONE_TRY(hone_model_need_positions(r->model, longest, err));
    return hone_plan_memory(r->model, &r->options, data, &r->plan, &r->kept_from, err);
}

/* Addresses for the largest batch that may come. Where rows are as long as their text, few are so long: then the memory
 * has to be there for a token of each, and each batch is looked at later. */
static hone_status reserve_memory(run *r, hone_error *err) {
    const hone_data_options *options = &r->train.options;
    size_t working = r->plan.activations + r->plan.scratch, least = working;
    size_t available = hone_memory_available();
    bool varies = options->packing == HONE_PACKING_NONE;
    r->trainer.pass.kept_from = r->kept_from;
    if (r->options.mem_limit)
        r->trainer.limit = hone_plan_step_limit(&r->plan, r->options.mem_limit);
    if (varies) {
        hone_batch batch;
        HONE_TRY(
            hone_plan_batch(options->batch_size, hone_data_segment_rows(options), &batch, err));
        least = hone_plan_step(&r->trainer.pass, &batch, r->trainer.params.total).bytes;
        free(batch.segments);
    }
    HONE_TRY(hone_trainer_check_memory(&r->trainer, least, err));
    bool limited = varies && available > 0 && available < working;
    return hone_trainer_reserve(&r->trainer, limited ? available : working, err);
}

/* A file where a folder is meant to be is named; mkdir would say that it exists. */
static hone_status check_parts(const char *folder, hone_error *err) {
    char *part = strdup(folder);
    if (!part) return hone_fail_memory(err, "a path", strlen(folder));
    hone_status status = HONE_OK;
    for (size_t end = 1; end <= strlen(folder) && status == HONE_OK; end++) {
        if (folder[end] && folder[end] != '/') continue;
        part[end] = 0;
        if (hone_file_exists(part) && !hone_file_is_directory(part))
            status = hone_fail(err, HONE_ERR_IO,
                               "%s is not a directory; expected a folder to write to", part);
        part[end] = folder[end];
    }
    free(part);
    return status;
}

/* The folder to write to is made now: a mistake in its name must not come out after hours. */
static hone_status make_folder(const run *r, hone_error *err) {
    const char *folder = r->options.adapter_path;
    if (!folder || r->options.iters == 0) return HONE_OK;
    HONE_TRY(check_parts(folder, err));
    HONE_TRY(hone_file_make_directories(folder, err));
    if (access(folder, W_OK | X_OK) != 0) return hone_fail_errno(err, "write into", folder);
    return HONE_OK;
}

/* A disk without room for the adapter is told now, too. What full fine-tuning writes is checked when it is written. */
static hone_status check_room(const run *r, hone_error *err) {
    const char *folder = r->options.adapter_path;
    struct statvfs disk;
    if (!folder || !r->trainer.adapter.chosen || statvfs(folder, &disk) != 0) return HONE_OK;
    double room = (double)disk.f_bavail * (double)disk.f_frsize;
    double needed = 4 * (double)r->trainer.params.trained;
    if (room >= needed) return HONE_OK;
    return hone_fail(err, HONE_ERR_IO,
                     "%s: the adapter takes %.1f MB and %.1f MB is free on that disk", folder,
                     1e-6 * needed, 1e-6 * room);
}

static void close_run(run *r) {
    for (int i = 0; r->batches && i < r->options.grad_accumulation_steps; i++)
        hone_batch_close(&r->batches[i]);
    free(r->batches);
    free(r->rates);
    free(r->resume);
    hone_batch_close(&r->valid.batch);
    hone_batch_close(&r->test.batch);
    hone_data_close(&r->valid.data);
    hone_data_close(&r->test.data);
    hone_data_close(&r->train);
    hone_trainer_close(&r->trainer);
}

/* ---- steps ---- */

/* How many batches an evaluation has at most; 0: rows are packed, and it is not known before. */
static int batches_of(const run *r, const held_out *h, int batches) {
    if (r->options.packing != HONE_PACKING_NONE) return HONE_MAX(batches, 0);
    size_t rows = HONE_CEIL_DIV(h->data.rows.count, h->data.options.batch_size);
    return (int)HONE_MIN(rows, (size_t)(batches < 0 ? INT_MAX : batches));
}

/* Without its last event when it is stopped. */
static hone_status evaluate(run *r, held_out *h, int batches, hone_train_event_kind kind,
                            hone_error *err) {
    double start = hone_clock_seconds(), sum = 0;
    uint64_t labels = 0, tokens = 0;
    int all = batches_of(r, h, batches);
    hone_data_rewind(&h->data);
    for (int i = 0; batches < 0 || i < batches; i++) {
        double loss;
        hone_train_event progress =
            event_of(r, kind == HONE_TRAIN_TEST ? HONE_TRAIN_TESTING : HONE_TRAIN_VALIDATING);
        progress.batch = i + 1;
        progress.batches = all;
        if (r->callbacks && r->callbacks->keep_going &&
            !r->callbacks->keep_going(r->callbacks->user)) {
            r->stop = true;
            return HONE_OK;
        }
        HONE_TRY(hone_data_next(&h->data, &h->batch, err));
        if (h->batch.rows == 0) break;
        tell(r, &progress);
        if (r->stop) return HONE_OK;
        HONE_TRY(hone_trainer_loss(&r->trainer, &h->batch, &loss, err));
        sum += loss;
        labels += h->batch.label_count;
        tokens += h->batch.rows;
    }
    if (labels == 0)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: no row holds anything that a loss could be computed for",
                         h->data.rows.map.path);
    hone_train_event event = event_of(r, kind);
    event.loss = sum / (double)labels;
    event.seconds = hone_clock_seconds() - start;
    event.tokens = tokens;
    tell(r, &event);
    return HONE_OK;
}

static hone_status save(run *r, bool numbered, hone_error *err) {
    if (!r->options.adapter_path || r->saved_iter == (int)r->trainer.steps) return HONE_OK;
    HONE_TRY(hone_trainer_save(&r->trainer, numbered, err));
    r->saved_iter = (int)r->trainer.steps;
    hone_train_event event = event_of(r, HONE_TRAIN_SAVED);
    event.path = r->options.adapter_path;
    tell(r, &event);
    return HONE_OK;
}

/* A save on the way: that it fails (a full disk may be empty again at the end) is no reason to lose what is learnt. */
static void try_to_save(run *r) {
    hone_error err = {0};
    if (save(r, true, &err) == HONE_OK) return;
    hone_train_event event = event_of(r, HONE_TRAIN_SAVE_FAILED);
    event.path = r->options.adapter_path;
    event.problem = err.message;
    tell(r, &event);
}

static hone_status note_rate(run *r, double rate, hone_error *err) {
    if (r->rate_count == r->rate_capacity) {
        size_t capacity = r->rate_capacity ? 2 * r->rate_capacity : 256;
        double *grown = realloc(r->rates, capacity * sizeof *grown);
        if (!grown) return hone_fail_memory(err, "step times", capacity * sizeof *grown);
        r->rates = grown;
        r->rate_capacity = capacity;
    }
    r->rates[r->rate_count++] = rate;
    return HONE_OK;
}

static hone_status step(run *r, hone_error *err) {
    hone_step_result result;
    double start = hone_clock_seconds();
    size_t count = (size_t)r->options.grad_accumulation_steps;
    for (size_t i = 0; i < count; i++) {
        HONE_TRY(hone_data_next(&r->train, &r->batches[i], err));
    }
    HONE_TRY(hone_trainer_step(&r->trainer, r->batches, count, &result, err));
    double seconds = hone_clock_seconds() - start;
    HONE_TRY(note_rate(r, (double)result.tokens / seconds, err));
    r->trained_tokens += result.labels;
    r->last_loss = result.loss;
    hone_train_event event = event_of(r, HONE_TRAIN_STEP);
    event.loss = result.loss;
    event.grad_norm = result.grad_norm;
    event.seconds = seconds;
    event.tokens = result.tokens;
    tell(r, &event);
    return HONE_OK;
}

static bool due(int iter, int every) { return every > 0 && iter % every == 0; }

static hone_status steps(run *r, hone_error *err) {
    const hone_train_options *o = &r->options;
    if (r->valid.open) HONE_TRY(evaluate(r, &r->valid, o->val_batches, HONE_TRAIN_VALIDATION, err));
    for (int iter = 1; iter <= o->iters && !r->stop; iter++) {
        if (r->callbacks && r->callbacks->before_step &&
            !r->callbacks->before_step(r->callbacks->user, iter)) {
            r->stop = true;
            break;
        }
        HONE_TRY(step(r, err));
        if (r->stop) break;
        if (r->valid.open && (due(iter, o->steps_per_eval) || iter == o->iters))
            HONE_TRY(evaluate(r, &r->valid, o->val_batches, HONE_TRAIN_VALIDATION, err));
        if (due(iter, o->save_every)) try_to_save(r);
    }
    return HONE_OK;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_rate(run *r) {
    size_t skip = r->rate_count > 4 ? 2 : 0, count = r->rate_count - skip;
    if (count == 0) return 0;
    double *rates = r->rates + skip;
    qsort(rates, count, sizeof *rates, compare_doubles);
    return count % 2 ? rates[count / 2] : (rates[count / 2 - 1] + rates[count / 2]) / 2;
}

static hone_status stopped(const run *r, hone_error *err) {
    if (r->options.iters == 0)
        return hone_fail(err, HONE_ERR_INTERRUPTED, "stopped before the end of the test");
    if (r->options.adapter_path && r->trainer.steps > 0)
        return hone_fail(err, HONE_ERR_INTERRUPTED,
                         "stopped after step %d of %d; what was learnt is in %s",
                         (int)r->trainer.steps, r->options.iters, r->options.adapter_path);
    return hone_fail(err, HONE_ERR_INTERRUPTED, "stopped after step %d of %d",
                     (int)r->trainer.steps, r->options.iters);
}

/* Training and what follows it. Whatever ends it saves what was learnt before, but for a loss that is not finite: the
 * weights that led to it are no good. */
static hone_status train_and_test(run *r, hone_error *err) {
    const hone_train_options *o = &r->options;
    hone_train_event start = event_of(r, HONE_TRAIN_START);
    if (o->iters > 0) start.plan = &r->plan;
    tell(r, &start);
    if (o->iters > 0 && !r->stop) {
        hone_status status = steps(r, err);
        if (!r->trainer.diverged && r->trainer.steps > 0) {
            hone_status saved = save(r, false, status == HONE_OK ? err : NULL);
            if (status == HONE_OK) status = saved;
        }
        HONE_TRY(status);
    }
    if (r->test.open && !r->stop) HONE_TRY(evaluate(r, &r->test, -1, HONE_TRAIN_TEST, err));
    return r->stop ? stopped(r, err) : HONE_OK;
}

/* Options, data and, with steps to do, the plan. */
static hone_status prepare(run *r, hone_error *err) {
    HONE_TRY(hone_trainer_check(&r->options, err));
    HONE_TRY(hone_adapter_resume(&r->options, r->model, &r->resume, r->keys, err));
    size_t before = hone_memory_rss();
    HONE_TRY(open_data(r, err));
    size_t after = hone_memory_rss();
    if (r->options.iters == 0) return HONE_OK;
    return plan_memory(r, after > before ? after - before : 0, err);
}

hone_status hone_train_plan_memory(hone_model *model, const hone_train_options *options,
                                   hone_train_plan *plan, hone_error *err) {
    hone_error local;
    if (!err) err = &local;
    *err = (hone_error){0};
    run r = {.model = model, .options = *options};
    hone_status status = prepare(&r, err);
    if (status == HONE_OK && options->iters == 0)
        status = hone_fail(err, HONE_ERR_USAGE, "there is nothing to plan: iters is 0");
    *plan = r.plan;
    close_run(&r);
    return status;
}

hone_status hone_train(hone_model *model, const hone_train_options *options,
                       const hone_train_callbacks *callbacks, hone_train_result *result,
                       hone_error *err) {
    hone_error local;
    if (!err) err = &local;
    *err = (hone_error){0};
    run r = {.model = model, .options = *options, .callbacks = callbacks};
    hone_status status;
    HONE_TRY_GOTO(status, done, prepare(&r, err));
    HONE_TRY_GOTO(status, done, make_folder(&r, err));
    HONE_TRY_GOTO(status, done, hone_trainer_open(&r.trainer, model, &r.options, err));
    HONE_TRY_GOTO(status, done, check_room(&r, err));
    if (options->iters > 0) HONE_TRY_GOTO(status, done, reserve_memory(&r, err));
    status = train_and_test(&r, err);
done:
    if (result)
        *result = (hone_train_result){.iters = (int)r.trainer.steps,
                                      .final_loss = r.trainer.steps > 0 ? r.last_loss : NAN,
                                      .tokens_per_sec_median = median_rate(&r),
                                      .peak_rss = hone_memory_peak_rss()};
    close_run(&r);
    return status;
}
