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
