/* eval/accept: see accept.h. */
#include "eval/accept.h"

#include "base/cpu.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "eval/score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OBJECT_LIMIT = 64 << 20, RECORD_LIMIT = 64 << 10 };

static const char accepted_verdict[] = "accepted";

/* Where the record of this object is, or would be; to be freed. */
static hone_status record_path(const char *sha256, char **out, hone_error *err) {
    char name[16 + HONE_SHA256_TEXT];
    snprintf(name, sizeof name, "kernels/%s.json", sha256);
    char *home = hone_path_home();
    *out = home ? hone_path_join(home, name) : NULL;
    free(home);
    return *out ? HONE_OK : hone_fail_memory(err, "a path", 1);
}

hone_status hone_accept_kernels(const char *sha256, const hone_eval_report *report,
                                hone_error *err) {
    char *record = NULL;
    HONE_TRY(record_path(sha256, &record, err));
    hone_eval_score score = hone_eval_report_score(report);
    json_t *value = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "hone", report->machine.version,
                              "cpu", report->machine.cpu, "object_sha256", sha256, "source_sha256",
                              report->candidate.sha256, "source", report->candidate.name, "verdict",
                              report->candidate.verdict);
    if (value && isfinite(score.overall))
        json_object_set_new(value, "score", json_real(score.overall));
    char *folder = hone_path_home(), *kernels = folder ? hone_path_join(folder, "kernels") : NULL;
    hone_status status = HONE_OK;
    if (!value || !kernels) status = hone_fail_memory(err, "the record of accepted kernels", 1);
    if (status == HONE_OK) status = hone_file_make_directories(kernels, err);
    if (status == HONE_OK) status = hone_json_write(record, value, err);
    json_decref(value);
    free(kernels);
    free(folder);
    free(record);
    return status;
}

static bool says(const json_t *record, const char *key, const char *expected) {
    const char *value = json_string_value(json_object_get(record, key));
    return value && strcmp(value, expected) == 0;
}

static hone_status look_up(const char *path, bool *accepted, hone_error *err) {
    char sha256[HONE_SHA256_TEXT], *name = NULL;
    json_t *record = NULL;
    hone_error unread; /* a record that cannot be read, or is none, accepts nothing */
    HONE_TRY(hone_sha256_file(path, OBJECT_LIMIT, sha256, err));
    HONE_TRY(record_path(sha256, &name, err));
    if (hone_json_read(name, RECORD_LIMIT, &record, &unread) == HONE_OK)
        *accepted = says(record, "verdict", accepted_verdict) &&
                    says(record, "object_sha256", sha256) && says(record, "cpu", hone_cpu_model());
    json_decref(record);
    free(name);
    return HONE_OK;
}

hone_status hone_kernels_accepted(const char *path, bool *accepted, int *copy, hone_error *err) {
    char sealed[32];
    *accepted = false;
    HONE_TRY(hone_file_seal(path, OBJECT_LIMIT, copy, err));
    snprintf(sealed, sizeof sealed, "/proc/self/fd/%d", *copy);
    hone_status status = look_up(sealed, accepted, err);
    if (status == HONE_OK) return HONE_OK;
    close(*copy);
    *copy = -1;
    return status;
}
