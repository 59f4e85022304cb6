/* eval/eval: hone_eval(): both levels in order, progress, and the lines of the report. Layer eval. */
#define _GNU_SOURCE 1
#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "eval/candidate.h"
#include "eval/lines.h"
#include "eval/macro.h"
#include "eval/micro.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum {
    DEFAULT_TRIALS = 8,
    LEAST_TRIALS = 5,
    DEFAULT_BATCH = 1,
    DEFAULT_SEQ = 256,
    QUICK_SEQ = 64,
    CURVE_STEPS = 100,
    HIDDEN_ROWS = 24,
    QUICK_HIDDEN_ROWS = 8,
    MOST = 1 << 20
};
#define BUDGET 300.0
#define QUICK_BUDGET 41.0        /* of 45: what is left of the last row comes on top */
#define MICRO_SECONDS 40.0       /* of 60: checking and the last kernels come on top */
#define QUICK_MICRO_SECONDS 11.0 /* of 25 */
#define MICRO_SHARE 0.2          /* of the whole evaluation's time, for the progress bar */
#define START_SECONDS 120.0
#define STEP_SECONDS 600.0

typedef struct evaluation {
    const hone_eval_options *options;
    hone_eval_report *report;
    hone_lines text;
    hone_workshop workshop;
    hone_macro_row *row; /* the one that runs */
    double deadline;
    double done, share; /* progress before this part, and of this part */
} evaluation;

static bool progress(evaluation *e, const char *what, double part) {
    const hone_eval_options *o = e->options;
    if (e->text.stopped) return false;
    return !o->on_progress || o->on_progress(o->user, what, e->done + e->share * part);
}

/* ---- level 1 ---- */

static bool on_micro_progress(void *user, const char *what, double part) {
    return progress(user, what, part);
}

static void on_micro_kernel(void *user, int kernel) {
    evaluation *e = user;
    hone_lines_kernel(&e->text, e->report, kernel, HONE_PASS_FORWARD);
    hone_lines_kernel(&e->text, e->report, kernel, HONE_PASS_BACKWARD);
}

static hone_status run_micro(evaluation *e, hone_error *err) {
    const hone_eval_options *o = e->options;
    hone_micro_options micro = {.program = o->worker,
                                .kernels = e->workshop.object,
                                .threads = hone_parallel_default_threads(),
                                .trials = e->report->trials,
                                .seed = e->report->seed,
                                .tuning = o->tuning,
                                .quick = o->quick,
                                .unsafe = o->unsafe,
                                .seconds = o->quick ? QUICK_MICRO_SECONDS : MICRO_SECONDS,
                                .on_progress = on_micro_progress,
                                .on_kernel = on_micro_kernel,
                                .user = e};
    HONE_TRY(hone_cpu_features(&micro.features, err));
    e->share = e->report->macro_wanted ? MICRO_SHARE : 1;
    hone_lines_micro_start(&e->text);
    hone_status status = hone_micro_run(&micro, e->report, err);
    if (status == HONE_OK || status == HONE_ERR_INTERRUPTED)
        hone_lines_micro_end(&e->text, e->report);
    e->done += e->share;
    return status;
}

/* ---- level 2 ---- */

static void on_macro_start(void *user, int64_t samples) {
    evaluation *e = user;
    char count[32] = "unknown", steps[32] = "";
    if (samples >= 0) snprintf(count, sizeof count, "%lld", (long long)samples);
    if (e->report->steps) snprintf(steps, sizeof steps, ", steps=%d", e->report->steps);
    hone_lines_line(&e->text, "  Config: batch_size=%d, seq_len=%d, samples=%s%s",
                    e->report->batch_size, e->report->seq_len, count, steps);
}

/* All of the first steps, then every tenth. */
static void on_macro_step(void *user, const hone_training *training) {
    evaluation *e = user;
    int step = training->steps;
    if (step <= 3 || step % 10 == 0) hone_lines_step(&e->text, e->report, training);
}

static bool macro_keep_going(void *user, const char *what, double part) {
    return progress(user, what, part);
}

static hone_status run_row(evaluation *e, size_t index, size_t rows_left, hone_error *err) {
    const hone_eval_options *o = e->options;
    hone_eval_report *report = e->report;
    hone_macro_row *row = &report->macro[index];
    char name[32], *folder = NULL;
    snprintf(name, sizeof name, "row-%zu", index);
    HONE_TRY(hone_workshop_set_model(&e->workshop, o, report, row->path, err));
    HONE_TRY(hone_workshop_folder(&e->workshop, name, &folder, err));
    double left = fmax(e->deadline - hone_clock_seconds(), 1);
    hone_macro_options macro = {.worker = o->worker,
                                .model = e->workshop.model,
                                .data = e->workshop.data,
                                .weights = row->converted ? "bf16" : NULL,
                                .kernels = e->workshop.object,
                                .peers = o->peers,
                                .peer_count = o->peer_count,
                                .steps = report->steps,
                                .curve = o->quick ? 0 : CURVE_STEPS,
                                .sabotages = o->quick ? 1 : HONE_OP_COUNT,
                                .hidden_rows = o->quick ? QUICK_HIDDEN_ROWS : HIDDEN_ROWS,
                                .batch_size = report->batch_size,
                                .seq_len = report->seq_len,
                                .seed = report->seed,
                                .seconds = left / (double)rows_left,
                                .folder = folder,
                                .box = o->kernels ? &e->workshop.box : NULL,
                                .start_seconds = START_SECONDS,
                                .step_seconds = STEP_SECONDS,
                                .on_start = on_macro_start,
                                .on_step = on_macro_step,
                                .keep_going = macro_keep_going,
                                .user = e};
    e->row = row;
    hone_lines_line(&e->text, "🧪 Benchmarking %s (%s)%s...", row->model, row->size,
                    row->converted ? ", bfloat16 made from it" : "");
    hone_status status = hone_macro_run(&macro, report, row, err);
    hone_lines_macro_row(&e->text, row);
    e->done += e->share;
    free(folder);
    return status;
}

static void size_text(uint64_t parameters, char *out, size_t size) {
    if (parameters >= 1000000000)
        snprintf(out, size, "%.1fB", (double)parameters / 1e9);
    else
        snprintf(out, size, "%.0fM", (double)parameters / 1e6);
}

static bool is_quantized(const char *precision) {
    return strcmp(precision, "f32") != 0 && strcmp(precision, "f16") != 0 &&
           strcmp(precision, "bf16") != 0;
}

/* The word that people use for the type of most of the weights. */
static const char *precision_text(const char *precision) {
    if (strncmp(precision, "q4", 2) == 0 || strcmp(precision, "affine4") == 0) return "4-bit";
    return strcmp(precision, "bf16") == 0 ? "bfloat16" : precision;
}

/* Opens the model to see that it can be read, and adds its row, or two when it is quantized. */
static hone_status probe_model(evaluation *e, const char *name, const char *size, const char *path,
                               hone_error *err) {
    hone_model *model = NULL;
    hone_model_info info;
    hone_error problem = {0};
    hone_macro_row *row;
    size_t index = e->report->model_count;
    HONE_TRY(hone_report_add_macro(e->report, index, name, path, &row, err));
    hone_status opened = hone_model_open(path, NULL, &model, &problem);
    if (opened != HONE_OK) {
        snprintf(row->size, sizeof row->size, "%s", size ? size : "");
        snprintf(row->reason, sizeof row->reason, "%s", problem.message);
        hone_lines_line(&e->text, "    ⬜ Cannot be tested: %s", problem.message);
        return HONE_OK;
    }
    hone_model_get_info(model, &info);
    bool quantized = is_quantized(info.precision);
    if (size)
        snprintf(row->size, sizeof row->size, "%s", size);
    else
        size_text(info.parameters, row->size, sizeof row->size);
    snprintf(row->precision, sizeof row->precision, "%s", precision_text(info.precision));
    snprintf(row->reason, sizeof row->reason, "the evaluation was stopped before it");
    hone_lines_line(&e->text, "    ✅ Tokenizer loaded (%d tokens)", info.vocab);
    hone_lines_line(&e->text, "    ✅ Model available (%s, %d layers, %.0f MB)", info.precision,
                    info.layers, (double)info.weight_bytes / 1e6);
    hone_model_free(&model);
    if (!quantized || e->options->quick) return HONE_OK;
    hone_macro_row *second;
    HONE_TRY(hone_report_add_macro(e->report, index, name, path, &second, err));
    snprintf(second->size, sizeof second->size, "%s",
             e->report->macro[e->report->macro_count - 2].size);
    snprintf(second->precision, sizeof second->precision, "bfloat16");
    second->converted = true;
    snprintf(second->reason, sizeof second->reason, "the evaluation was stopped before it");
    return HONE_OK;
}

static hone_status list_absent(evaluation *e, const char *name, const char *size, hone_error *err) {
    hone_macro_row *row;
    hone_lines_line(&e->text, "    ⬜ Not here (give its folder: --models PATH)");
    HONE_TRY(hone_report_add_macro(e->report, e->report->model_count, name, NULL, &row, err));
    snprintf(row->size, sizeof row->size, "%s", size);
    snprintf(row->reason, sizeof row->reason, "not on this machine");
    return HONE_OK;
}

/* Whether `path` leads to the same file or folder as a row before: by links too. */
static const hone_macro_row *find_same_file(const evaluation *e, const char *path) {
    const hone_macro_row *found = NULL;
    char *real = realpath(path, NULL);
    for (size_t i = 0; real && !found && i < e->report->macro_count; i++) {
        const hone_macro_row *row = &e->report->macro[i];
        char *other = row->path ? realpath(row->path, NULL) : NULL;
        if (other && strcmp(real, other) == 0) found = row;
        free(other);
    }
    free(real);
    return found;
}

static const hone_macro_row *find_name(const evaluation *e, const char *name) {
    for (size_t i = 0; i < e->report->macro_count; i++)
        if (strcmp(e->report->macro[i].model, name) == 0) return &e->report->macro[i];
    return NULL;
}

static hone_status skip_repeated(evaluation *e, const char *what, const hone_macro_row *row) {
    hone_lines_line(&e->text, "  %s is the same model as %s: once is enough", what, row->model);
    return HONE_OK;
}

static hone_status discover_known(evaluation *e, const hone_known_model *known, hone_error *err) {
    const hone_macro_row *same = known->path ? find_same_file(e, known->path) : NULL;
    if (!known->path) same = find_name(e, known->name);
    if (same) return skip_repeated(e, known->name, same);
    hone_lines_line(&e->text, "  Testing %s (%s)...", known->name, known->size);
    if (!known->path) return list_absent(e, known->name, known->size, err);
    return probe_model(e, known->name, known->size, known->path, err);
}

/* Last part of a path, without the ending of a file. */
static void name_of_path(const char *path, char *out, size_t size) {
    size_t end = strlen(path), begin;
    while (end > 1 && path[end - 1] == '/') end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/';) begin--;
    snprintf(out, size, "%.*s", (int)(end - begin), path + begin);
    char *dot = strrchr(out, '.');
    if (dot && dot != out && (strcmp(dot, ".gguf") == 0 || strcmp(dot, ".safetensors") == 0))
        *dot = 0;
}

/* `wanted` is a path, or what hone_known_model_find takes. A path comes first: a folder may have such a name. */
static hone_status discover_wanted(evaluation *e, const char *wanted, const hone_known_model *known,
                                   size_t count, hone_error *err) {
    char last[192];
    const hone_known_model *k = hone_known_model_find(known, count, wanted);
    if (k && (!hone_file_exists(wanted) || (k->path && strcmp(k->path, wanted) == 0)))
        return discover_known(e, k, err);
    const hone_macro_row *same = find_same_file(e, wanted);
    if (same) return skip_repeated(e, wanted, same);
    name_of_path(wanted, last, sizeof last);
    /* Two files may have one name: the whole path tells them apart. */
    const char *name = find_name(e, last) ? wanted : last;
    hone_lines_line(&e->text, "  Testing %s (%s)...", name, wanted);
    return probe_model(e, name, NULL, wanted, err);
}

static hone_status discover(evaluation *e, hone_error *err) {
    const hone_eval_options *o = e->options;
    hone_known_model *known = NULL;
    size_t count = 0;
    HONE_TRY(hone_known_models(&known, &count, err));
    hone_lines_line(&e->text, "🔍 Discovering available real models...");
    hone_status status = HONE_OK;
    for (size_t i = 0; i < (o->models ? o->model_count : count) && status == HONE_OK; i++) {
        status = o->models ? discover_wanted(e, o->models[i], known, count, err)
                           : discover_known(e, &known[i], err);
    }
    hone_known_models_free(&known, count);
    return status;
}

static hone_status run_macro(evaluation *e, hone_error *err) {
    hone_lines_macro_start(&e->text);
    HONE_TRY(discover(e, err));
    size_t ready = 0;
    for (size_t i = 0; i < e->report->macro_count; i++)
        ready += e->report->macro[i].precision[0] != 0;
    e->share = ready ? (1 - e->done) / (double)ready : 0;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < e->report->macro_count && status == HONE_OK; i++) {
        if (e->report->macro[i].precision[0]) status = run_row(e, i, ready--, err);
    }
    if (status == HONE_OK || status == HONE_ERR_INTERRUPTED) {
        if (status == HONE_ERR_INTERRUPTED) e->report->interrupted = true;
        hone_lines_macro_end(&e->text, e->report);
    }
    return status;
}

/* ---- both ---- */

static hone_status check_number(const char *name, int value, int least, int most, hone_error *err) {
    if (value >= least && value <= most) return HONE_OK;
    return hone_fail(err, HONE_ERR_USAGE, "%s is %d; expected %d to %d", name, value, least, most);
}

static hone_status find_data(const hone_eval_options *options, hone_eval_report *report,
                             hone_error *err) {
    if (options->data) {
        report->data = strdup(options->data);
    } else {
        char *home = hone_path_home();
        report->data = home ? hone_path_join(home, "data/wordnet") : NULL;
        free(home);
    }
    if (!report->data) return hone_fail_memory(err, "a path", 1);
    if (hone_file_exists(report->data)) return HONE_OK;
    return hone_fail(err, HONE_ERR_IO,
                     "%s: the training data is not here; run \"make run\" once, give a folder with "
                     "train.jsonl (--data), "
                     "or measure the kernels alone (--micro)",
                     report->data);
}

/* A seed that nobody could know before. */
static hone_status choose_seed(hone_eval_report *report, uint64_t wanted, hone_error *err) {
    uint32_t drawn = 0;
    while (wanted == 0 && drawn == 0) {
        if (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
            return hone_fail(err, HONE_ERR_IO, "the system gives no random numbers; choose --seed");
    }
    report->seed = wanted ? wanted : drawn;
    return HONE_OK;
}

/* What is asked for by a name that means nothing is found out before anything is measured. */
static hone_status check_models(const hone_eval_options *o, hone_error *err) {
    hone_known_model *known = NULL;
    size_t count = 0;
    if (!o->models) return HONE_OK;
    HONE_TRY(hone_known_models(&known, &count, err));
    hone_status status = HONE_OK;
    for (size_t i = 0; i < o->model_count && status == HONE_OK; i++) {
        const char *wanted = o->models[i];
        if (hone_file_exists(wanted) || hone_known_model_find(known, count, wanted)) continue;
        status = hone_fail(err, HONE_ERR_IO,
                           "%s: no such file or folder, and no model of that name; `hone models` "
                           "lists those it knows",
                           wanted);
    }
    hone_known_models_free(&known, count);
    return status;
}

/* The object may not take the place of its source. */
static hone_status check_output(const hone_eval_options *o, hone_error *err) {
    struct stat source, object;
    if (!o->kernels || !o->output || stat(o->kernels, &source) != 0 ||
        stat(o->output, &object) != 0)
        return HONE_OK;
    if (source.st_dev != object.st_dev || source.st_ino != object.st_ino) return HONE_OK;
    return hone_fail(
        err, HONE_ERR_USAGE,
        "%s: the compiled kernels would take the place of their source; choose another "
        "file for them (--output)",
        o->output);
}

static hone_status prepare(const hone_eval_options *o, hone_eval_report *r, hone_error *err) {
    r->micro_wanted = o->micro || !o->macro;
    r->macro_wanted = o->macro || !o->micro;
    r->quick = o->quick;
    r->trials = o->trials ? o->trials : DEFAULT_TRIALS;
    r->steps = o->steps;
    r->batch_size = o->batch_size ? o->batch_size : DEFAULT_BATCH;
    r->seq_len = o->seq_len ? o->seq_len : o->quick ? QUICK_SEQ : DEFAULT_SEQ;
    r->budget = o->budget > 0 ? o->budget : o->quick ? QUICK_BUDGET : BUDGET;
    HONE_TRY(
        check_number("the number of trials", r->trials, LEAST_TRIALS, HONE_EVAL_MAX_PAIRS, err));
    HONE_TRY(check_number("the number of steps", r->steps, 0, HONE_EVAL_MAX_PAIRS, err));
    HONE_TRY(check_number("the batch size", r->batch_size, 1, MOST, err));
    HONE_TRY(check_number("the sequence length", r->seq_len, 2, MOST, err));
    HONE_TRY(choose_seed(r, o->seed, err));
    HONE_TRY(hone_machine_get_info(&r->machine, err));
    if (!o->worker)
        return hone_fail(err, HONE_ERR_USAGE,
                         "an evaluation needs the path of the hone program, which runs kernels and "
                         "trainings in processes of their own");
    HONE_TRY(check_output(o, err));
    if (!r->macro_wanted) return HONE_OK;
    HONE_TRY(check_models(o, err));
    return find_data(o, r, err);
}

/* What the options leave out, and a reader of the report might miss. */
static void note_left_out(hone_eval_report *r) {
    if (!r->micro_wanted) hone_report_not_tested(r, "level 1, each kernel alone: not asked for");
    if (!r->macro_wanted) hone_report_not_tested(r, "level 2, real models: not asked for");
    if (r->quick)
        hone_report_not_tested(r, "quick: few shapes, one precision of each model, no loss curves, "
                                  "one control with a wrong kernel");
}

static hone_status run_levels(evaluation *e, hone_error *err) {
    const hone_eval_options *o = e->options;
    hone_eval_report *report = e->report;
    HONE_TRY(hone_workshop_open(&e->workshop, err));
    if (o->kernels) HONE_TRY(hone_candidate_compile(&e->workshop, o, report, err));
    hone_lines_start(&e->text, report);
    note_left_out(report);
    if (o->kernels && !e->workshop.object)
        return HONE_OK; /* it does not compile: the verdict says so */
    if (report->micro_wanted) HONE_TRY(run_micro(e, err));
    /* Foreign kernels that are wrong are not worth the time of a training. */
    bool valid = hone_eval_report_score(report).valid;
    if (report->macro_wanted && (valid || !o->kernels)) return run_macro(e, err);
    if (report->macro_wanted)
        hone_report_not_tested(report, "level 2, real models: a kernel is wrong");
    return HONE_OK;
}

hone_status hone_eval(const hone_eval_options *options, hone_eval_report **out, hone_error *err) {
    *out = NULL;
    HONE_TRY(hone_report_make(out, err));
    evaluation e = {.options = options, .report = *out};
    e.text =
        (hone_lines){.plain = options->plain, .on_line = options->on_line, .user = options->user};
    double begin = hone_clock_seconds();
    hone_status status = prepare(options, *out, err);
    e.deadline = begin + (*out)->budget;
    if (status == HONE_OK) status = run_levels(&e, err);
    if (status == HONE_ERR_INTERRUPTED) (*out)->interrupted = true;
    bool accepted = options->kernels && status == HONE_OK && hone_candidate_judge(*out);
    if (accepted && options->output)
        status = hone_candidate_deliver(&e.workshop, options, *out, err);
    (*out)->seconds = hone_clock_seconds() - begin;
    if (status == HONE_OK || status == HONE_ERR_INTERRUPTED) hone_lines_final(&e.text, *out);
    if (status == HONE_OK && accepted && options->output)
        hone_lines_line(&e.text, "✅ Accepted: %s, for hone train --kernels %s", options->output,
                        options->output);
    if (status != HONE_OK && status != HONE_ERR_INTERRUPTED) hone_eval_report_free(out);
    hone_workshop_close(&e.workshop);
    return status;
}
