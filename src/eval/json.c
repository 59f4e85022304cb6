/* eval/json: a report as a JSON file; docs/evaluation.md gives the schema. */
#include "base/json.h"
#include "eval/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* NaN and infinity have no place in JSON: null says "not measured". */
static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

/* null for none. Paths and what a worker printed need not be UTF-8: foreign bytes become '?'. */
static json_t *text(const char *value) {
    if (!value || !value[0]) return json_null();
    json_t *string = json_string(value);
    char *ascii = string ? NULL : strdup(value);
    if (!ascii) return string;
    for (char *c = ascii; *c; c++) {
        if ((unsigned char)*c >= 0x80) *c = '?';
    }
    string = json_string(ascii);
    free(ascii);
    return string;
}

static json_t *mebibytes(size_t bytes) {
    return bytes ? json_real((double)bytes / (1024.0 * 1024.0)) : json_null();
}

static json_t *bytes_or_null(size_t bytes) {
    return bytes ? json_integer((json_int_t)bytes) : json_null();
}

static json_t *interval(hone_interval i) {
    return json_pack("[o, o]", number(i.low), number(i.high));
}

static json_t *numbers(const double *values, int count) {
    json_t *array = json_array();
    for (int i = 0; array && i < count; i++) {
        if (json_array_append_new(array, number(values[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *machine_json(const hone_machine_info *m) {
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:o, s:o}", "hone", text(m->version), "cpu",
        text(m->cpu), "tier", text(m->tier), "gemm_f32", text(m->gemm_f32), "gemm_bf16",
        text(m->gemm_bf16), "vectors", text(m->vectors), "compiler", text(m->compiler), "threads",
        m->threads, "memory_available_mib", mebibytes(m->memory_available), "l2_bytes",
        bytes_or_null(m->l2_bytes), "last_level_bytes", bytes_or_null(m->last_level_bytes));
}

static json_t *options_json(const hone_eval_report *r) {
    return json_pack("{s:s, s:b, s:b, s:i, s:i, s:i, s:i, s:I, s:o}", "candidate",
                     r->candidate.name, "micro", r->micro_wanted, "macro", r->macro_wanted,
                     "trials", r->trials, "steps", r->steps, "batch_size", r->batch_size, "seq_len",
                     r->seq_len, "seed", (json_int_t)r->seed, "data", text(r->data));
}

static json_t *micro_json(const hone_micro_row *row) {
    bool wrong = hone_row_is_wrong(row);
    json_t *correct = row->tested || wrong ? json_boolean(!wrong) : json_null();
    return json_pack(
        "{s:s, s:s, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:i, "
        "s:i, s:o}",
        "kernel", hone_op_names[row->kernel], "pass", row->backward ? "backward" : "forward",
        "correct", correct, "dtype", row->dtype, "weights", text(row->weights), "shape", row->shape,
        "speedup", number(row->over_naive.ratio), "speedup_interval",
        interval(row->over_naive.interval), "memory_ratio", number(row->memory_ratio), "ms",
        number(row->seconds[HONE_SIDE_CANDIDATE] * 1e3), "naive_ms",
        number(row->seconds[HONE_SIDE_NAIVE] * 1e3), "bytes",
        bytes_or_null(row->bytes[HONE_SIDE_CANDIDATE]), "naive_bytes",
        bytes_or_null(row->bytes[HONE_SIDE_NAIVE]), "gflops",
        number(row->flops / row->seconds[HONE_SIDE_CANDIDATE] / 1e9), "naive_gflops",
        number(row->flops / row->seconds[HONE_SIDE_NAIVE] / 1e9), "gb_per_sec",
        number(row->traffic / row->seconds[HONE_SIDE_CANDIDATE] / 1e9), "naive_gb_per_sec",
        number(row->traffic / row->seconds[HONE_SIDE_NAIVE] / 1e9), "trials", row->over_naive.pairs,
        "calls", row->calls, "reason", text(row->reason));
}

static json_t *macro_json(const hone_macro_row *row) {
    static const char *const statuses[] = {"not tested", "failed", "tested"};
    const char *reason = row->status == HONE_MACRO_TESTED ? NULL : row->reason;
    json_t *object =
        json_pack("{s:o, s:o, s:o, s:o, s:b, s:s, s:o, s:i}", "model", text(row->model), "path",
                  text(row->path), "size", text(row->size), "precision", text(row->precision),
                  "converted", row->converted, "status", statuses[row->status], "reason",
                  text(reason), "steps", row->steps);
    json_t *figures =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "speedup", number(row->over_naive.ratio),
                  "speedup_interval", interval(row->over_naive.interval), "shipped_speedup",
                  number(row->over_shipped.ratio), "memory_ratio", number(row->memory_ratio),
                  "loss_diff", number(row->loss_diff), "loss_diff_max", number(row->loss_diff_max));
    const hone_training *mine = &row->side[HONE_SIDE_CANDIDATE],
                        *naive = &row->side[HONE_SIDE_NAIVE];
    json_t *curves = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "losses", numbers(mine->losses, row->steps),
        "naive_losses", numbers(naive->losses, row->steps), "seconds",
        numbers(mine->seconds, row->steps), "naive_seconds", numbers(naive->seconds, row->steps),
        "tokens_per_sec", number(mine->tokens_per_sec), "naive_tokens_per_sec",
        number(naive->tokens_per_sec), "peak_rss_mib", mebibytes(mine->peak_rss),
        "naive_peak_rss_mib", mebibytes(naive->peak_rss));
    if (!object || !figures || !curves || json_object_update(object, figures) != 0 ||
        json_object_update(object, curves) != 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(figures);
    json_decref(curves);
    return object;
}

static json_t *score_json(const hone_eval_report *report) {
    hone_eval_score s = hone_eval_report_score(report);
    hone_macro_summary m = hone_summarize_macro(report);
    return json_pack("{s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:s}",
                     "valid", s.valid, "interrupted", report->interrupted, "micro", number(s.micro),
                     "macro", number(s.macro), "overall", number(s.overall), "kernel_speedup",
                     number(s.kernel_speedup), "training_speedup", number(s.training_speedup),
                     "memory_ratio", number(m.memory_ratio), "loss_diff", number(m.loss_diff),
                     "loss_diff_max", number(m.loss_diff_max), "models_tested", s.models_tested,
                     "rows_tested", (int)m.rows, "rows_failed", s.rows_failed, "consistency",
                     hone_consistency(report));
}

static json_t *report_json(const hone_eval_report *report) {
    json_t *micro = json_array(), *macro = json_array();
    bool good = micro && macro;
    for (size_t i = 0; good && i < report->micro_count; i++)
        good = json_array_append_new(micro, micro_json(&report->micro[i])) == 0;
    for (size_t i = 0; good && i < report->macro_count; i++)
        good = json_array_append_new(macro, macro_json(&report->macro[i])) == 0;
    if (!good) {
        json_decref(micro);
        json_decref(macro);
        return NULL;
    }
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:f}", "schema", 1, "machine",
                     machine_json(&report->machine), "options", options_json(report), "micro",
                     micro, "macro", macro, "score", score_json(report), "seconds",
                     report->seconds);
}

hone_status hone_eval_report_write_json(const hone_eval_report *report, const char *path,
                                        hone_error *err) {
    json_t *value = report_json(report);
    if (!value) return hone_fail_memory(err, "the report as JSON", 0);
    hone_status status = hone_json_write(path, value, err);
    json_decref(value);
    return status;
}
