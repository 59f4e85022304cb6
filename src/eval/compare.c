/* eval/compare: see compare.h. All that is read here has been checked against the schema. */
#include "eval/compare.h"

#include "eval/lines.h"
#include "eval/report.h"

#include <hone.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct hone_eval_changes {
    json_t *root;
};

static const json_t *member(const json_t *object, const char *first, const char *second) {
    return json_object_get(json_object_get(object, first), second);
}

/* "" for null. */
static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static double number_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static double end_of(const json_t *comparison, size_t end) {
    const json_t *value = json_array_get(json_object_get(comparison, "interval"), end);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* ---- what is not the same about the runs ---- */

static const struct {
    const char *section, *key, *word;
} settings[] = {{"machine", "cpu", "processor"},
                {"machine", "tier", "instruction set"},
                {"machine", "threads", "threads"},
                {"machine", "vectors", "vector kernels"},
                {"machine", "gemm_f32", "float32 matrix kernel"},
                {"machine", "gemm_bf16", "bfloat16 matrix kernel"},
                {"machine", "hone", "version of hone"},
                {"machine", "compiler", "compiler of hone"},
                {"candidate", "name", "candidate"},
                {"candidate", "sha256", "source of the candidate"},
                {"candidate", "compiler", "compiler of the candidate"},
                {"candidate", "flags", "flags of the candidate"},
                {"candidate", "verdict", "verdict"},
                {"options", "quick", "quick"},
                {"options", "trials", "trials"},
                {"options", "steps", "steps"},
                {"options", "batch_size", "batch size"},
                {"options", "seq_len", "sequence length"},
                {"options", "seed", "seed"},
                {"options", "data", "data"}};

static void value_text(const json_t *value, char *out, size_t size) {
    if (json_is_string(value))
        snprintf(out, size, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(out, size, "%lld", (long long)json_integer_value(value));
    else
        snprintf(out, size, "%s",
                 json_is_true(value)    ? "yes"
                 : json_is_false(value) ? "no"
                                        : "none");
}

static json_t *find_differences(const json_t *a, const json_t *b) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < sizeof settings / sizeof settings[0]; i++) {
        char before[160], after[160];
        const json_t *x = member(a, settings[i].section, settings[i].key),
                     *y = member(b, settings[i].section, settings[i].key);
        if (json_equal(x, y)) continue;
        value_text(x, before, sizeof before);
        value_text(y, after, sizeof after);
        hone_json_add(&list, json_sprintf("%s: %s, then %s", settings[i].word, before, after));
    }
    return list;
}

/* ---- rows ---- */

static json_t *micro_name(const json_t *row) {
    const char *weights = text_of(row, "weights");
    return json_sprintf("%s %s, %s%s%s, %s", text_of(row, "kernel"), text_of(row, "pass"),
                        text_of(row, "dtype"), weights[0] ? ", weights " : "", weights,
                        text_of(row, "shape"));
}

static json_t *macro_name(const json_t *row) {
    bool converted = json_is_true(json_object_get(row, "converted"));
    const char *precision = text_of(row, "precision");
    if (!precision[0]) return json_sprintf("%s", text_of(row, "model"));
    return json_sprintf("%s (%s%s)", text_of(row, "model"), precision,
                        converted ? " made from it" : "");
}

/* Rows by name: of two that have the same, the first. */
static json_t *index_rows(const json_t *rows, json_t *(*name_row)(const json_t *row)) {
    json_t *index = json_object(), *row;
    size_t i;
    json_array_foreach(rows, i, row) {
        json_t *name = name_row(row);
        const char *key = json_string_value(name);
        if (!name || !json_object_get(index, key)) hone_json_set(&index, key, json_incref(row));
        json_decref(name);
    }
    return index;
}

/* 1 right, 0 wrong, -1 not known. */
static int rightness(const json_t *row) {
    const json_t *correct = json_object_get(row, "correct");
    const char *status = text_of(row, "status");
    if (correct) return json_is_null(correct) ? -1 : json_is_true(correct);
    return strcmp(status, "tested") == 0 ? 1 : strcmp(status, "failed") == 0 ? 0 : -1;
}

/* The rule of docs/evaluation.md: intervals that are apart. */
static const char *verdict_of(const json_t *a, const json_t *b) {
    const json_t *before = json_object_get(a, "over_naive"),
                 *after = json_object_get(b, "over_naive");
    int was = rightness(a), is = rightness(b);
    if (was == 0 && is == 0) return "wrong";
    if (was == 1 && is == 0) return "broken";
    if (was == 0 && is == 1) return "repaired";
    if (!(end_of(before, 0) <= end_of(before, 1)) || !(end_of(after, 0) <= end_of(after, 1)))
        return "not measured";
    if (end_of(after, 0) > end_of(before, 1)) return "faster";
    return end_of(after, 1) < end_of(before, 0) ? "slower" : "no difference shown";
}

static json_t *known(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *figure(const json_t *a, const json_t *b, const char *key) {
    return json_pack("{s:o, s:o}", "a", known(number_of(a, key)), "b", known(number_of(b, key)));
}

/* name, a, b, change and verdict: what kernels and models have alike. */
static json_t *compare_rows(const char *name, const json_t *a, const json_t *b) {
    json_t *before = json_object_get(a, "over_naive"), *after = json_object_get(b, "over_naive");
    return json_pack("{s:s, s:O, s:O, s:o, s:s}", "name", name, "a", before, "b", after, "change",
                     known(number_of(after, "ratio") / number_of(before, "ratio")), "verdict",
                     verdict_of(a, b));
}

static json_t *micro_change(const char *name, const json_t *a, const json_t *b) {
    json_t *row = compare_rows(name, a, b);
    const json_t *mine_a = member(a, "sides", "candidate"),
                 *mine_b = member(b, "sides", "candidate");
    hone_json_set(&row, "a_ms", known(number_of(mine_a, "ms")));
    hone_json_set(&row, "b_ms", known(number_of(mine_b, "ms")));
    hone_json_set(&row, "a_correct", json_incref(json_object_get(a, "correct")));
    hone_json_set(&row, "b_correct", json_incref(json_object_get(b, "correct")));
    return row;
}

static json_t *macro_change(const char *name, const json_t *a, const json_t *b) {
    json_t *row = compare_rows(name, a, b);
    const json_t *mine_a = member(a, "sides", "candidate"),
                 *mine_b = member(b, "sides", "candidate");
    hone_json_set(&row, "tokens_per_sec", figure(mine_a, mine_b, "tokens_per_sec"));
    hone_json_set(&row, "peak_rss", figure(mine_a, mine_b, "peak_rss"));
    hone_json_set(&row, "memory_ratio", figure(a, b, "memory_ratio"));
    hone_json_set(&row, "loss_diff", figure(a, b, "loss_diff"));
    return row;
}

/* What has come together of the rows; each NULL when out of memory. */
typedef struct matches {
    json_t *kernels, *models, *only_a, *only_b;
} matches;

/* Appends the rows that both have to `changes`, names of the others to only_a and only_b. */
static void match(const json_t *a_rows, const json_t *b_rows,
                  json_t *(*name_row)(const json_t *row),
                  json_t *(*change)(const char *name, const json_t *a, const json_t *b),
                  json_t **changes, matches *m) {
    json_t *a = index_rows(a_rows, name_row), *b = index_rows(b_rows, name_row), *row;
    const char *name;
    if (!a || !b) { /* nothing can be said */
        json_decref(*changes);
        *changes = NULL;
    }
    json_object_foreach(a, name, row) {
        const json_t *other = json_object_get(b, name);
        if (other)
            hone_json_add(changes, change(name, row, other));
        else
            hone_json_add(&m->only_a, json_string(name));
    }
    json_object_foreach(b, name, row) {
        if (!json_object_get(a, name)) hone_json_add(&m->only_b, json_string(name));
    }
    json_decref(a);
    json_decref(b);
}

static json_t *compare_scores(const json_t *a, const json_t *b) {
    static const char *const keys[] = {
        "overall",          "micro",        "macro",    "kernel_speedup",
        "training_speedup", "memory_ratio", "loss_diff"};
    json_t *scores = json_object();
    for (size_t i = 0; scores && i < sizeof keys / sizeof keys[0]; i++)
        hone_json_set(&scores, keys[i],
                      figure(json_object_get(a, "score"), json_object_get(b, "score"), keys[i]));
    return scores;
}

static json_t *file_json(const json_t *report, const char *name) {
    return json_pack("{s:o, s:O, s:O, s:O, s:O, s:O}", "file", hone_json_string(name), "candidate",
                     member(report, "candidate", "name"), "sha256",
                     member(report, "candidate", "sha256"), "cpu", member(report, "machine", "cpu"),
                     "hone", member(report, "machine", "hone"), "valid",
                     member(report, "score", "valid"));
}

hone_status hone_compare_reports(const json_t *a, const char *a_name, const json_t *b,
                                 const char *b_name, json_t **out, hone_error *err) {
    matches m = {json_array(), json_array(), json_array(), json_array()};
    match(json_object_get(a, "micro"), json_object_get(b, "micro"), micro_name, micro_change,
          &m.kernels, &m);
    match(json_object_get(a, "macro"), json_object_get(b, "macro"), macro_name, macro_change,
          &m.models, &m);
    *out = json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "schema", 1, "a",
                     file_json(a, a_name), "b", file_json(b, b_name), "differences",
                     find_differences(a, b), "kernels", m.kernels, "models", m.models, "scores",
                     compare_scores(a, b), "only_a", m.only_a, "only_b", m.only_b);
    return *out ? HONE_OK : hone_fail_memory(err, "the comparison of two reports", 0);
}

hone_status hone_eval_compare(const char *a, const char *b, hone_eval_changes **out,
                              hone_error *err) {
    json_t *before = NULL, *after = NULL;
    hone_status status = HONE_OK;
    *out = calloc(1, sizeof **out);
    if (!*out) return hone_fail_memory(err, "the comparison of two reports", sizeof **out);
    HONE_TRY_GOTO(status, done, hone_report_read_json(a, &before, err));
    HONE_TRY_GOTO(status, done, hone_report_read_json(b, &after, err));
    status = hone_compare_reports(before, a, after, b, &(*out)->root, err);
done:
    json_decref(before);
    json_decref(after);
    if (status != HONE_OK) hone_eval_changes_free(out);
    return status;
}

void hone_eval_changes_free(hone_eval_changes **changes) {
    if (!changes || !*changes) return;
    json_decref((*changes)->root);
    free(*changes);
    *changes = NULL;
}

hone_status hone_eval_changes_write_json(const hone_eval_changes *changes, const char *path,
                                         hone_error *err) {
    return hone_json_write(path, changes->root, err);
}

/* ---- text ---- */

static const char *light(const char *verdict) {
    if (strcmp(verdict, "faster") == 0 || strcmp(verdict, "repaired") == 0) return "🟢";
    if (strcmp(verdict, "slower") == 0) return "🔴";
    if (strcmp(verdict, "broken") == 0 || strcmp(verdict, "wrong") == 0) return "❌";
    return strcmp(verdict, "not measured") == 0 ? "⬜" : "⚪";
}

/* "2.10x → 2.34x, faster" */
static void change_text(const json_t *row, char *out, size_t size) {
    double a = number_of(json_object_get(row, "a"), "ratio"),
           b = number_of(json_object_get(row, "b"), "ratio");
    if (isfinite(a) && isfinite(b))
        snprintf(out, size, "%.2fx → %.2fx, %s", a, b, text_of(row, "verdict"));
    else
        snprintf(out, size, "%s", text_of(row, "verdict"));
}

static void kernel_lines(hone_lines *text, const json_t *rows) {
    size_t i, alike = 0;
    const json_t *row;
    char change[96];
    if (json_array_size(rows) == 0) return;
    hone_lines_line(text, "📊 Kernels: speedup over naive");
    json_array_foreach(rows, i, row) {
        const char *verdict = text_of(row, "verdict");
        if (strcmp(verdict, "no difference shown") == 0) {
            alike++;
            continue;
        }
        change_text(row, change, sizeof change);
        hone_lines_line(text, "  %s %s: %s", light(verdict), text_of(row, "name"), change);
    }
    hone_lines_line(text, "  ⚪ %zu of %zu rows: no difference shown", alike, json_array_size(rows));
}

/* Appends ", WHAT 1.2 → 1.3" where both are known. */
static void add_figure(char *out, size_t size, const json_t *row, const char *key, const char *what,
                       double scale, int decimals) {
    const json_t *both = json_object_get(row, key);
    double a = number_of(both, "a") * scale, b = number_of(both, "b") * scale;
    size_t used = strlen(out);
    if (isfinite(a) && isfinite(b))
        snprintf(out + used, size - used, "%s%s %.*f → %.*f", used ? ", " : "", what, decimals, a,
                 decimals, b);
}

static void model_lines(hone_lines *text, const json_t *rows) {
    size_t i;
    const json_t *row;
    if (json_array_size(rows) == 0) return;
    hone_lines_line(text, "🚀 Models: speedup of training over naive");
    json_array_foreach(rows, i, row) {
        char change[96], figures[256] = "";
        change_text(row, change, sizeof change);
        hone_lines_line(text, "  %s %s: %s", light(text_of(row, "verdict")), text_of(row, "name"),
                        change);
        add_figure(figures, sizeof figures, row, "tokens_per_sec", "tokens/s", 1, 0);
        add_figure(figures, sizeof figures, row, "peak_rss", "peak MiB", 1 / 1048576.0, 0);
        add_figure(figures, sizeof figures, row, "loss_diff", "loss diff", 1, 4);
        if (figures[0]) hone_lines_line(text, "     %s", figures);
    }
}

static void score_lines(hone_lines *text, const json_t *scores) {
    static const struct {
        const char *key, *word;
    } all[] = {{"overall", "Overall Score"},
               {"micro", "Micro Score"},
               {"macro", "Macro Score"},
               {"kernel_speedup", "Kernels' Speedup"},
               {"training_speedup", "Training Speedup"},
               {"memory_ratio", "Memory Ratio"},
               {"loss_diff", "Loss Difference"}};
    hone_lines_line(text, "🏆 Scores");
    bool any = false;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const json_t *both = json_object_get(scores, all[i].key);
        double a = number_of(both, "a"), b = number_of(both, "b");
        if (isfinite(a) && isfinite(b))
            hone_lines_line(text, "  %s: %.4g → %.4g (%+.3g)", all[i].word, a, b, b - a);
        else if (isfinite(a) || isfinite(b))
            hone_lines_line(text, "  %s: measured only by the %s", all[i].word,
                            isfinite(a) ? "first" : "second");
        any |= isfinite(a) || isfinite(b);
    }
    if (!any) hone_lines_line(text, "  none was measured");
}

static void file_line(hone_lines *text, const char *which, const json_t *file) {
    hone_lines_line(text, "  %s %s: %s%s", which, text_of(file, "file"), text_of(file, "candidate"),
                    json_is_true(json_object_get(file, "valid")) ? "" : " ❌ INVALID");
}

bool hone_eval_changes_print(const hone_eval_changes *changes, bool plain,
                             bool (*on_line)(void *user, const char *line), void *user) {
    const json_t *root = changes->root, *differences = json_object_get(root, "differences"), *item;
    hone_lines text = {.plain = plain, .on_line = on_line, .user = user};
    size_t i, only_a = json_array_size(json_object_get(root, "only_a")),
              only_b = json_array_size(json_object_get(root, "only_b"));
    hone_lines_line(&text, "🔍 Two evaluations compared");
    file_line(&text, "from", json_object_get(root, "a"));
    file_line(&text, "to  ", json_object_get(root, "b"));
    json_array_foreach(differences, i, item)
        hone_lines_line(&text, "  not the same %s", json_string_value(item));
    kernel_lines(&text, json_object_get(root, "kernels"));
    model_lines(&text, json_object_get(root, "models"));
    score_lines(&text, json_object_get(root, "scores"));
    if (only_a + only_b > 0)
        hone_lines_line(&text, "⬜ Not compared: %zu rows of the first and %zu of the second alone",
                        only_a, only_b);
    return !text.stopped;
}
