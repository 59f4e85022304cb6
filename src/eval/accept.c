/* eval/accept: see accept.h. */
#include "eval/accept.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "eval/score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { OBJECT_LIMIT = 64 << 20 };

/* Where the record of this object is, or would be; to be freed. */
static hone_status record_path(const char *object, char sha256[HONE_SHA256_TEXT], char **out,
                               hone_error *err) {
    char name[16 + HONE_SHA256_TEXT];
    *out = NULL;
    HONE_TRY(hone_sha256_file(object, OBJECT_LIMIT, sha256, err));
    snprintf(name, sizeof name, "kernels/%s.json", sha256);
    char *home = hone_path_home();
    *out = home ? hone_path_join(home, name) : NULL;
    free(home);
    return *out ? HONE_OK : hone_fail_memory(err, "a path", 1);
}

hone_status hone_accept_kernels(const char *path, const hone_eval_report *report, hone_error *err) {
    char sha256[HONE_SHA256_TEXT], *record = NULL;
    HONE_TRY(record_path(path, sha256, &record, err));
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

hone_status hone_kernels_accepted(const char *path, bool *accepted, hone_error *err) {
    char sha256[HONE_SHA256_TEXT], *record = NULL;
    *accepted = false;
    HONE_TRY(record_path(path, sha256, &record, err));
    *accepted = hone_file_exists(record);
    free(record);
    return HONE_OK;
}
