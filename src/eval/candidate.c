/* eval/candidate: see candidate.h. */
#define _GNU_SOURCE 1
#include "eval/candidate.h"

#include "base/file.h"
#include "base/hash.h"
#include "eval/accept.h"
#include "eval/compile.h"
#include "eval/score.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OBJECT_LIMIT = 64 << 20 };

/* ---- the folder ---- */

hone_status hone_workshop_open(hone_workshop *workshop, hone_error *err) {
    const char *base = getenv("TMPDIR");
    *workshop = (hone_workshop){.folder = NULL};
    char *folder = hone_path_join(base && *base ? base : "/tmp", "hone-eval-XXXXXX");
    if (!folder) return hone_fail_memory(err, "a path", 1);
    if (mkdtemp(folder)) {
        workshop->folder = realpath(folder, NULL);
        free(folder);
        return workshop->folder ? HONE_OK : hone_fail_memory(err, "a path", 1);
    }
    hone_status status = hone_fail_errno(err, "make a folder like", folder);
    free(folder);
    return status;
}

hone_status hone_workshop_folder(const hone_workshop *workshop, const char *name, char **out,
                                 hone_error *err) {
    *out = hone_path_join(workshop->folder, name);
    if (!*out) return hone_fail_memory(err, "a path", 1);
    return hone_file_make_directories(*out, err);
}

static void free_paths(hone_workshop *workshop) {
    free(workshop->model);
    free(workshop->data);
    free(workshop->rows);
    free(workshop->blobs);
    workshop->model = workshop->data = workshop->rows = workshop->blobs = NULL;
}

void hone_workshop_close(hone_workshop *workshop) {
    if (workshop->folder) hone_file_remove_tree(workshop->folder);
    for (size_t i = 0; i < sizeof workshop->variables / sizeof workshop->variables[0]; i++)
        free(workshop->variables[i]);
    free_paths(workshop);
    free(workshop->object);
    free(workshop->folder);
    *workshop = (hone_workshop){.folder = NULL};
}

/* What a training of hone takes from its environment. */
static void set_env(hone_workshop *workshop) {
    static const char *const names[] = {"HONE_CPU", "HONE_THREADS", "OMP_NUM_THREADS",
                                        "OMP_THREAD_LIMIT"};
    size_t count = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (!value || asprintf(&workshop->variables[count], "%s=%s", names[i], value) < 0) continue;
        workshop->env[count] = workshop->variables[count];
        count++;
    }
    workshop->env[count] = NULL;
}

static hone_status resolve(const char *path, char **out, hone_error *err) {
    *out = realpath(path, NULL);
    return *out ? HONE_OK : hone_fail_errno(err, "find", path);
}

/* Of a folder of data only what is trained with: the rest is what the training is judged by. */
static hone_status find_rows(hone_workshop *workshop, hone_error *err) {
    if (!hone_file_is_directory(workshop->data))
        return resolve(workshop->data, &workshop->rows, err);
    char *path = hone_path_join(workshop->data, "train.jsonl");
    if (!path) return hone_fail_memory(err, "a path", 1);
    hone_status status = resolve(path, &workshop->rows, err);
    free(path);
    return status;
}

hone_status hone_workshop_set_model(hone_workshop *workshop, const hone_eval_options *options,
                                    const hone_eval_report *report, const char *model,
                                    hone_error *err) {
    size_t count = 0;
    free_paths(workshop);
    HONE_TRY(resolve(model, &workshop->model, err));
    HONE_TRY(resolve(report->data, &workshop->data, err));
    HONE_TRY(find_rows(workshop, err));
    char *blobs = hone_path_join(workshop->model, "../../blobs");
    if (!blobs) return hone_fail_memory(err, "a path", 1);
    workshop->blobs = realpath(blobs, NULL); /* in the hub's cache alone */
    free(blobs);
    if (!workshop->env[0]) set_env(workshop);
    workshop->readable[count++] = options->worker;
    workshop->readable[count++] = workshop->model;
    workshop->readable[count++] = workshop->rows;
    if (workshop->object) workshop->readable[count++] = workshop->object;
    if (workshop->blobs) workshop->readable[count++] = workshop->blobs;
    workshop->readable[count] = NULL;
    workshop->box = (hone_sandbox_options){.readable = workshop->readable,
                                           .system = true,
                                           .env = workshop->env,
                                           .memory = report->machine.memory_available,
                                           .file_size = (size_t)1 << 30,
                                           .processes = 2 * report->machine.threads + 8,
                                           .unsafe = options->unsafe};
    return HONE_OK;
}

/* ---- compiling ---- */

static void name_candidate(hone_eval_report *report, const char *path) {
    hone_candidate *c = &report->candidate;
    const char *slash = strrchr(path, '/');
    snprintf(c->name, sizeof c->name, "%s", slash ? slash + 1 : path);
    free(c->path);
    c->path = strdup(path);
}

/* The first lines of what the compiler said: enough to see what is wrong. It saw the file under the name kernels.c. */
static void take_diagnostics(hone_candidate *c, const char *text) {
    static const char seen[] = "kernels.c:";
    size_t used = 0;
    if (!text || !*text) text = "the compiler said nothing";
    for (bool start = true; *text && used + 1 < sizeof c->reason; start = text[-1] == '\n') {
        if (start && strncmp(text, seen, sizeof seen - 1) == 0) {
            snprintf(c->reason + used, sizeof c->reason - used, "%s:", c->name);
            used += strlen(c->reason + used);
            text += sizeof seen - 1;
        } else {
            c->reason[used++] = *text++;
        }
    }
    c->reason[HONE_MIN(used, sizeof c->reason - 1)] = 0;
}

hone_status hone_candidate_compile(hone_workshop *workshop, const hone_eval_options *options,
                                   hone_eval_report *report, hone_error *err) {
    hone_candidate *c = &report->candidate;
    hone_compile_result result = {.object = NULL};
    hone_compile_options how = {
        .compiler = options->compiler, .flags = options->flags, .unsafe = options->unsafe};
    char *folder = NULL;
    name_candidate(report, options->kernels);
    hone_status status = hone_workshop_folder(workshop, "kernels", &folder, err);
    if (status == HONE_OK)
        status = hone_compile_kernels(options->kernels, &how, folder, &result, err);
    if (status == HONE_OK) {
        snprintf(c->sha256, sizeof c->sha256, "%s", result.source_sha256);
        snprintf(c->object_sha256, sizeof c->object_sha256, "%s", result.object_sha256);
        snprintf(c->compiler, sizeof c->compiler, "%s", result.compiler ? result.compiler : "");
        snprintf(c->flags, sizeof c->flags, "%s", result.flags ? result.flags : "");
        if (result.verdict != HONE_VERDICT_OK) {
            c->verdict = hone_verdict_name(result.verdict);
            take_diagnostics(c, result.diagnostics);
        }
        workshop->object = result.object;
        result.object = NULL;
    }
    hone_compile_result_free(&result);
    free(folder);
    return status;
}

/* ---- accepting ---- */

static bool is_accepted(const hone_candidate *c) { return strcmp(c->verdict, "accepted") == 0; }

bool hone_candidate_judge(hone_eval_report *report) {
    hone_candidate *c = &report->candidate;
    hone_eval_score score = hone_eval_report_score(report);
    if (!is_accepted(c)) return false;
    c->verdict = "not accepted";
    if (!score.valid) {
        snprintf(c->reason, sizeof c->reason, "a kernel is wrong");
    } else if (score.rows_failed > 0) {
        snprintf(c->reason, sizeof c->reason, "a training with it failed");
    } else if (score.worst_loss_diff > HONE_SAME_LOSS) {
        snprintf(c->reason, sizeof c->reason,
                 "a training with it learns something else: its loss is %.4f from the naive one's",
                 score.worst_loss_diff);
    } else if (report->interrupted || !report->micro_wanted || score.models_tested == 0) {
        snprintf(c->reason, sizeof c->reason,
                 "both levels have to be measured, the second on one model at least");
    } else {
        c->verdict = "accepted";
        return true;
    }
    return false;
}

hone_status hone_candidate_deliver(const hone_workshop *workshop, const hone_eval_options *options,
                                   const hone_eval_report *report, hone_error *err) {
    hone_buf object;
    char sha256[HONE_SHA256_TEXT];
    HONE_TRY(hone_file_read(workshop->object, OBJECT_LIMIT, &object, err));
    hone_status status = hone_sha256(object.data, object.size, sha256, err);
    if (status == HONE_OK && strcmp(sha256, report->candidate.object_sha256) != 0)
        status =
            hone_fail(err, HONE_ERR_IO, "%s: the compiled kernels are not those that were measured",
                      workshop->object);
    if (status == HONE_OK)
        status = hone_file_write_atomic(options->output, object.data, object.size, err);
    if (status == HONE_OK) status = hone_accept_kernels(sha256, report, err);
    hone_buf_free(&object);
    return status;
}
