/* eval/json: a report as a JSON file, and as a page around the same JSON; docs/evaluation.md gives the schema. */
#include "eval/page.h"
#include "eval/schema.h"
#include "eval/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const size_t REPORT_LIMIT = 64 << 20;

/* NaN and infinity have no place in JSON: null says "not measured". */
static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *ratio(double value) { return value > 0 ? number(value) : json_null(); }

/* null for none. */
static json_t *text(const char *value) {
    return value && value[0] ? hone_json_string(value) : json_null();
}

static json_t *mebibytes(size_t bytes) {
    return bytes ? json_real((double)bytes / (1024.0 * 1024.0)) : json_null();
}

static json_t *bytes_or_null(size_t bytes) {
    return bytes ? json_integer((json_int_t)bytes) : json_null();
}

/* [] for none. */
static json_t *numbers(const double *values, int count) {
    json_t *array = json_array();
    for (int i = 0; array && values && i < count; i++) hone_json_add(&array, number(values[i]));
    return array;
}

static json_t *comparison(const hone_comparison *c) {
    return json_pack("{s:o, s:[o, o], s:o, s:i, s:b}", "ratio", ratio(c->ratio), "interval",
                     number(c->interval.low), number(c->interval.high), "p", number(c->p), "pairs",
                     c->pairs, "shown", hone_comparison_shown(c));
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
    return json_pack("{s:b, s:b, s:b, s:i, s:i, s:i, s:i, s:I, s:o, s:o}", "micro", r->micro_wanted,
                     "macro", r->macro_wanted, "quick", r->quick, "trials", r->trials, "steps",
                     r->steps, "batch_size", r->batch_size, "seq_len", r->seq_len, "seed",
                     (json_int_t)r->seed, "budget_seconds",
                     r->budget > 0 ? number(r->budget) : json_null(), "data", text(r->data));
}

/* Names of the kernels that the candidate has itself, or of the others. The built-in set has all. */
static json_t *kernel_names(const hone_candidate *c, bool own) {
    json_t *names = json_array();
    for (int k = 0; names && k < HONE_OP_COUNT; k++) {
        bool has = !c->path || c->has[k];
        if (has == own) hone_json_add(&names, json_string(hone_op_names[k]));
    }
    return names;
}

static json_t *candidate_json(const hone_candidate *c) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "name",
                     text(c->name), "file", text(c->path), "sha256", text(c->sha256),
                     "object_sha256", text(c->object_sha256), "compiler", text(c->compiler),
                     "flags", text(c->flags), "set_name", text(c->set_name), "kernels",
                     kernel_names(c, true), "inherited", kernel_names(c, false), "verdict",
                     c->verdict, "reason", text(c->reason));
}

static json_t *noise_json(const hone_noise *n) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "peak_f32_gflops",
                     number(n->peak_f32 / 1e9), "peak_bf16_gflops", number(n->peak_bf16 / 1e9),
                     "cache_gb_per_sec", number(n->cache_bandwidth / 1e9), "memory_gb_per_sec",
                     number(n->memory_bandwidth / 1e9), "call_ns", number(n->call_seconds * 1e9),
                     "same", comparison(&n->same), "busy", hone_noise_is_loud(n));
}

static json_t *micro_side(const hone_micro_row *row, hone_side side) {
    double seconds = row->seconds[side];
    return json_pack("{s:o, s:o, s:o, s:o}", "ms", number(seconds * 1e3), "bytes",
                     bytes_or_null(row->bytes[side]), "gflops", number(row->flops / seconds / 1e9),
                     "gb_per_sec", number(row->traffic / seconds / 1e9));
}

static json_t *micro_json(const hone_micro_row *row) {
    bool wrong = hone_row_is_wrong(row);
    json_t *correct = row->tested || wrong ? json_boolean(!wrong) : json_null();
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:s, s:b, s:b, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o, "
        "s:o}}",
        "kernel", hone_op_names[row->kernel], "pass", row->backward ? "backward" : "forward",
        "dtype", row->dtype, "weights", text(row->weights), "shape", row->shape, "hidden",
        row->hidden, "inherited", row->inherited, "correct", correct, "reason", text(row->reason),
        "calls", row->calls, "over_naive", comparison(&row->over_naive), "over_shipped",
        comparison(&row->over_shipped), "memory_ratio", ratio(row->memory_ratio), "flop",
        json_real(row->flops), "bytes_moved", json_real(row->traffic), "sides", "candidate",
        micro_side(row, HONE_SIDE_CANDIDATE), "naive", micro_side(row, HONE_SIDE_NAIVE), "shipped",
        micro_side(row, HONE_SIDE_SHIPPED));
}

static json_t *memory_json(const hone_training *t) {
    json_t *object = json_object();
    for (int i = 0; object && i < HONE_PURPOSES; i++)
        hone_json_set(&object, hone_purpose_names[i], json_integer((json_int_t)t->purpose[i]));
    return object;
}

static json_t *calls_json(const hone_training *t) {
    json_t *object = json_object();
    for (int k = 0; object && k < HONE_OP_COUNT; k++)
        hone_json_set(&object, hone_op_names[k],
                      json_pack("{s:I, s:I}", "forward", (json_int_t)t->calls[k][0], "backward",
                                (json_int_t)t->calls[k][1]));
    return object;
}

static json_t *training_json(const hone_training *t) {
    return json_pack("{s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
                     hone_json_string(t->name), "problem", text(t->problem), "steps", t->steps,
                     "losses", numbers(t->losses, t->steps), "seconds",
                     numbers(t->seconds, t->steps), "tokens_per_sec", number(t->tokens_per_sec),
                     "peak_rss", bytes_or_null(t->peak_rss), "memory", memory_json(t),
                     "hidden_loss", number(t->hidden_loss), "calls", calls_json(t));
}

static json_t *curves_json(const hone_macro_row *row) {
    json_t *array = json_array();
    for (int c = 0; array && c < HONE_CURVES; c++) {
        const hone_curve *curve = &row->curves[c];
        if (curve->steps < 1) continue;
        json_t *one =
            json_pack("{s:I, s:i}", "seed", (json_int_t)curve->seed, "steps", curve->steps);
        for (int side = 0; one && side < HONE_SIDES; side++)
            hone_json_set(&one, hone_side_names[side],
                          curve->losses[side] ? numbers(curve->losses[side], curve->steps)
                                              : json_null());
        hone_json_add(&array, one);
    }
    return array;
}

static json_t *sabotage_json(const hone_macro_row *row) {
    json_t *object = json_object();
    for (int k = 0; object && k < HONE_OP_COUNT; k++) {
        const hone_sabotage *s = &row->sabotage[k];
        json_t *change = s->tested ? number(s->change) : json_null();
        json_t *noticed = s->tested ? json_boolean(hone_sabotage_noticed(s)) : json_null();
        hone_json_set(&object, hone_op_names[k],
                      json_pack("{s:b, s:o, s:o}", "tested", s->tested, "change", change, "noticed",
                                noticed));
    }
    return object;
}

static json_t *peers_json(const hone_macro_row *row) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < row->peer_count; i++)
        hone_json_add(&array, training_json(&row->peers[i]));
    return array;
}

static json_t *sides_json(const hone_macro_row *row) {
    json_t *object = json_object();
    for (int i = 0; object && i < HONE_SIDES; i++) {
        const hone_training *t = &row->side[i];
        bool there = i != HONE_SIDE_SHIPPED || t->losses || t->problem[0];
        hone_json_set(&object, hone_side_names[i], there ? training_json(t) : json_null());
    }
    return object;
}

static json_t *macro_json(const hone_macro_row *row) {
    static const char *const statuses[] = {"not tested", "failed", "tested"};
    const char *reason = row->status == HONE_MACRO_TESTED ? NULL : row->reason;
    json_t *object =
        json_pack("{s:o, s:i, s:o, s:o, s:o, s:b, s:s, s:o, s:i, s:i}", "model",
                  hone_json_string(row->model), "model_index", (int)row->model_index, "path",
                  text(row->path), "size", text(row->size), "precision", text(row->precision),
                  "converted", row->converted, "status", statuses[row->status], "reason",
                  text(reason), "steps", row->steps, "skipped", row->skipped);
    json_t *figures = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "over_naive",
        comparison(&row->over_naive), "over_shipped", comparison(&row->over_shipped),
        "memory_ratio", ratio(row->memory_ratio), "loss_diff", number(row->loss_diff),
        "loss_diff_max", number(row->loss_diff_max), "sides", sides_json(row), "peers",
        peers_json(row), "curves", curves_json(row), "curve_diff_max", number(row->curve_diff_max),
        "curve_diff_final", number(row->curve_diff_final), "seed_spread", number(row->seed_spread),
        "untrained_loss", number(row->untrained_loss), "sabotage", sabotage_json(row));
    if (!object || !figures || json_object_update(object, figures) != 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(figures);
    return object;
}

static json_t *score_json(const hone_eval_report *report) {
    hone_eval_score s = hone_eval_report_score(report);
    hone_macro_summary m = hone_summarize_macro(report);
    return json_pack("{s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:s}",
                     "valid", s.valid, "interrupted", report->interrupted, "micro", number(s.micro),
                     "macro", number(s.macro), "overall", number(s.overall), "kernel_speedup",
                     ratio(s.kernel_speedup), "training_speedup", ratio(s.training_speedup),
                     "memory_ratio", ratio(m.memory_ratio), "loss_diff", number(m.loss_diff),
                     "loss_diff_max", number(m.loss_diff_max), "models_tested", s.models_tested,
                     "rows_tested", (int)m.rows, "rows_failed", s.rows_failed, "consistency",
                     hone_consistency(report));
}

static json_t *not_tested_json(const hone_eval_report *report) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < report->not_tested_count; i++)
        hone_json_add(&array, hone_json_string(report->not_tested[i]));
    return array;
}

/* NULL when out of memory. */
static json_t *make_json(const hone_eval_report *report) {
    json_t *micro = json_array(), *macro = json_array();
    for (size_t i = 0; i < report->micro_count; i++)
        hone_json_add(&micro, micro_json(&report->micro[i]));
    for (size_t i = 0; i < report->macro_count; i++)
        hone_json_add(&macro, macro_json(&report->macro[i]));
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f}", "schema",
                     HONE_REPORT_SCHEMA, "machine", machine_json(&report->machine), "options",
                     options_json(report), "candidate", candidate_json(&report->candidate), "noise",
                     noise_json(&report->noise), "micro", micro, "macro", macro, "not_tested",
                     not_tested_json(report), "score", score_json(report), "seconds",
                     report->seconds);
}

hone_status hone_report_json(const hone_eval_report *report, json_t **out, hone_error *err) {
    *out = make_json(report);
    if (!*out) return hone_fail_memory(err, "the report as JSON", 0);
    return HONE_OK;
}

hone_status hone_report_read_json(const char *path, json_t **out, hone_error *err) {
    int64_t schema = 0;
    HONE_TRY(hone_json_read(path, REPORT_LIMIT, out, err));
    hone_status status =
        json_is_object(*out)
            ? hone_json_get_int(*out, "schema", path, 0, INT32_MAX, 0, &schema, err)
            : hone_fail(err, HONE_ERR_FORMAT, "%s: expected an object", path);
    if (status == HONE_OK && schema != HONE_REPORT_SCHEMA)
        status =
            hone_fail(err, HONE_ERR_FORMAT,
                      "%s: expected a report of `hone eval --json` with schema %d, found %s %d",
                      path, HONE_REPORT_SCHEMA, schema ? "schema" : "none or", (int)schema);
    if (status == HONE_OK) status = hone_schema_check(*out, &hone_schema_report, path, err);
    if (status == HONE_OK) return HONE_OK;
    json_decref(*out);
    *out = NULL;
    return status;
}

hone_status hone_eval_report_write_json(const hone_eval_report *report, const char *path,
                                        hone_error *err) {
    json_t *value;
    HONE_TRY(hone_report_json(report, &value, err));
    hone_status status = hone_json_write(path, value, err);
    json_decref(value);
    return status;
}

hone_status hone_eval_report_write_html(const hone_eval_report *report, const char *path,
                                        hone_error *err) {
    json_t *value;
    hone_page_parts parts = hone_page_evaluation();
    HONE_TRY(hone_report_json(report, &value, err));
    hone_status status = hone_page_write(path, &parts, value, err);
    json_decref(value);
    return status;
}
