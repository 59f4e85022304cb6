/* eval/schema: see schema.h. */
#include "eval/schema.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TABLE(id, title)                                                                           \
    static const hone_schema id = {title, id##_members, sizeof id##_members / sizeof *id##_members}

static const hone_schema_member machine_members[] = {{"hone", 's', NULL},
                                                     {"cpu", 's', NULL},
                                                     {"tier", 's', NULL},
                                                     {"gemm_f32", 'S', NULL},
                                                     {"gemm_bf16", 'S', NULL},
                                                     {"vectors", 'S', NULL},
                                                     {"compiler", 'S', NULL},
                                                     {"threads", 'i', NULL},
                                                     {"memory_available_mib", 'N', NULL},
                                                     {"l2_bytes", 'I', NULL},
                                                     {"last_level_bytes", 'I', NULL}};
TABLE(machine, "machine");

static const hone_schema_member options_members[] = {
    {"micro", 'b', NULL},   {"macro", 'b', NULL}, {"quick", 'b', NULL},
    {"trials", 'i', NULL},  {"steps", 'i', NULL}, {"batch_size", 'i', NULL},
    {"seq_len", 'i', NULL}, {"seed", 'z', NULL},  {"budget_seconds", 'N', NULL},
    {"data", 'S', NULL}};
TABLE(options, "options");

static const hone_schema_member candidate_members[] = {
    {"name", 's', NULL},          {"file", 'S', NULL},     {"sha256", 'S', NULL},
    {"object_sha256", 'S', NULL}, {"compiler", 'S', NULL}, {"flags", 'S', NULL},
    {"set_name", 'S', NULL},      {"kernels", 't', NULL},  {"inherited", 't', NULL},
    {"verdict", 's', NULL},       {"reason", 'S', NULL}};
TABLE(candidate, "candidate");

static const hone_schema_member comparison_members[] = {{"ratio", 'R', NULL},
                                                        {"interval", 'p', NULL},
                                                        {"p", 'N', NULL},
                                                        {"pairs", 'i', NULL},
                                                        {"shown", 'b', NULL}};
TABLE(comparison, "comparison");

static const hone_schema_member noise_members[] = {{"peak_f32_gflops", 'N', NULL},
                                                   {"peak_bf16_gflops", 'N', NULL},
                                                   {"cache_gb_per_sec", 'N', NULL},
                                                   {"memory_gb_per_sec", 'N', NULL},
                                                   {"call_ns", 'N', NULL},
                                                   {"same", 'o', &comparison},
                                                   {"busy", 'b', NULL}};
TABLE(noise, "noise");

static const hone_schema_member micro_side_members[] = {
    {"ms", 'N', NULL}, {"bytes", 'I', NULL}, {"gflops", 'N', NULL}, {"gb_per_sec", 'N', NULL}};
TABLE(micro_side, "side of a micro row");

static const hone_schema_member micro_sides_members[] = {
    {"candidate", 'o', &micro_side}, {"naive", 'o', &micro_side}, {"shipped", 'o', &micro_side}};
TABLE(micro_sides, "sides of a micro row");

static const hone_schema_member micro_members[] = {{"kernel", 's', NULL},
                                                   {"pass", 's', NULL},
                                                   {"dtype", 's', NULL},
                                                   {"weights", 'S', NULL},
                                                   {"shape", 's', NULL},
                                                   {"hidden", 'b', NULL},
                                                   {"inherited", 'b', NULL},
                                                   {"correct", 'B', NULL},
                                                   {"reason", 'S', NULL},
                                                   {"calls", 'i', NULL},
                                                   {"over_naive", 'o', &comparison},
                                                   {"over_shipped", 'o', &comparison},
                                                   {"memory_ratio", 'R', NULL},
                                                   {"flop", 'n', NULL},
                                                   {"bytes_moved", 'n', NULL},
                                                   {"sides", 'o', &micro_sides}};
TABLE(micro, "micro row");

static const hone_schema_member memory_members[] = {
    {"program", 'i', NULL}, {"data", 'i', NULL},    {"weights", 'i', NULL},
    {"tables", 'i', NULL},  {"trained", 'i', NULL}, {"gradients", 'i', NULL},
    {"moments", 'i', NULL}, {"saving", 'i', NULL},  {"activations", 'i', NULL},
    {"scratch", 'i', NULL}};
TABLE(memory, "memory");

static const hone_schema_member passes_members[] = {{"forward", 'i', NULL},
                                                    {"backward", 'i', NULL}};
TABLE(passes, "calls of a kernel");

#define SIX_KERNELS(type, of)                                                                      \
    {"rms_norm", type, of}, {"rope_embeddings", type, of}, {"swiglu_activation", type, of},        \
        {"cross_entropy_loss", type, of}, {"lora_linear", type, of}, {                             \
        "attention_with_rope", type, of                                                            \
    }

static const hone_schema_member calls_members[] = {SIX_KERNELS('o', &passes)};
TABLE(calls, "calls");

static const hone_schema_member sabotage_members[] = {
    {"tested", 'b', NULL}, {"change", 'N', NULL}, {"noticed", 'B', NULL}};
TABLE(sabotage, "sabotage of a kernel");

static const hone_schema_member sabotages_members[] = {SIX_KERNELS('o', &sabotage)};
TABLE(sabotages, "sabotage");

static const hone_schema_member training_members[] = {
    {"name", 's', NULL},     {"problem", 'S', NULL},   {"steps", 'i', NULL},
    {"losses", 'f', NULL},   {"seconds", 'f', NULL},   {"tokens_per_sec", 'N', NULL},
    {"peak_rss", 'I', NULL}, {"memory", 'o', &memory}, {"hidden_loss", 'N', NULL},
    {"calls", 'o', &calls}};
TABLE(training, "training");

static const hone_schema_member macro_sides_members[] = {
    {"candidate", 'o', &training}, {"naive", 'o', &training}, {"shipped", 'O', &training}};
TABLE(macro_sides, "sides of a macro row");

static const hone_schema_member curve_members[] = {{"seed", 'z', NULL},
                                                   {"steps", 'i', NULL},
                                                   {"candidate", 'F', NULL},
                                                   {"naive", 'F', NULL},
                                                   {"shipped", 'F', NULL}};
TABLE(curve, "curve");

static const hone_schema_member macro_members[] = {{"model", 's', NULL},
                                                   {"model_index", 'i', NULL},
                                                   {"path", 'S', NULL},
                                                   {"size", 'S', NULL},
                                                   {"precision", 'S', NULL},
                                                   {"converted", 'b', NULL},
                                                   {"status", 's', NULL},
                                                   {"reason", 'S', NULL},
                                                   {"steps", 'i', NULL},
                                                   {"skipped", 'i', NULL},
                                                   {"over_naive", 'o', &comparison},
                                                   {"over_shipped", 'o', &comparison},
                                                   {"memory_ratio", 'R', NULL},
                                                   {"loss_diff", 'N', NULL},
                                                   {"loss_diff_max", 'N', NULL},
                                                   {"sides", 'o', &macro_sides},
                                                   {"peers", 'a', &training},
                                                   {"curves", 'a', &curve},
                                                   {"curve_diff_max", 'N', NULL},
                                                   {"curve_diff_final", 'N', NULL},
                                                   {"seed_spread", 'N', NULL},
                                                   {"untrained_loss", 'N', NULL},
                                                   {"sabotage", 'o', &sabotages}};
TABLE(macro, "macro row");

static const hone_schema_member score_members[] = {{"valid", 'b', NULL},
                                                   {"interrupted", 'b', NULL},
                                                   {"micro", 'N', NULL},
                                                   {"macro", 'N', NULL},
                                                   {"overall", 'N', NULL},
                                                   {"kernel_speedup", 'R', NULL},
                                                   {"training_speedup", 'R', NULL},
                                                   {"memory_ratio", 'R', NULL},
                                                   {"loss_diff", 'N', NULL},
                                                   {"loss_diff_max", 'N', NULL},
                                                   {"models_tested", 'i', NULL},
                                                   {"rows_tested", 'i', NULL},
                                                   {"rows_failed", 'i', NULL},
                                                   {"consistency", 's', NULL}};
TABLE(score, "score");

static const hone_schema_member report_members[] = {
    {"schema", 'i', NULL},          {"machine", 'o', &machine}, {"options", 'o', &options},
    {"candidate", 'o', &candidate}, {"noise", 'o', &noise},     {"micro", 'a', &micro},
    {"macro", 'a', &macro},         {"not_tested", 't', NULL},  {"score", 'o', &score},
    {"seconds", 'n', NULL}};
const hone_schema hone_schema_report = {"report", report_members,
                                        sizeof report_members / sizeof *report_members};

/* ---- two reports compared ---- */

static const hone_schema_member compared_file_members[] = {
    {"file", 's', NULL}, {"candidate", 's', NULL}, {"sha256", 'S', NULL},
    {"cpu", 's', NULL},  {"hone", 's', NULL},      {"valid", 'b', NULL}};
TABLE(compared_file, "compared file");

static const hone_schema_member figure_members[] = {{"a", 'N', NULL}, {"b", 'N', NULL}};
TABLE(figure, "compared figure");

static const hone_schema_member compared_row_members[] = {
    {"name", 's', NULL},   {"a", 'o', &comparison},  {"b", 'o', &comparison},
    {"change", 'R', NULL}, {"verdict", 's', NULL},   {"a_ms", 'N', NULL},
    {"b_ms", 'N', NULL},   {"a_correct", 'B', NULL}, {"b_correct", 'B', NULL}};
TABLE(compared_row, "compared kernel row");

static const hone_schema_member compared_model_members[] = {
    {"name", 's', NULL},        {"a", 'o', &comparison},        {"b", 'o', &comparison},
    {"change", 'R', NULL},      {"verdict", 's', NULL},         {"tokens_per_sec", 'o', &figure},
    {"peak_rss", 'o', &figure}, {"memory_ratio", 'o', &figure}, {"loss_diff", 'o', &figure}};
TABLE(compared_model, "compared model row");

static const hone_schema_member compared_scores_members[] = {{"overall", 'o', &figure},
                                                             {"micro", 'o', &figure},
                                                             {"macro", 'o', &figure},
                                                             {"kernel_speedup", 'o', &figure},
                                                             {"training_speedup", 'o', &figure},
                                                             {"memory_ratio", 'o', &figure},
                                                             {"loss_diff", 'o', &figure}};
TABLE(compared_scores, "compared scores");

static const hone_schema_member compared_members[] = {{"schema", 'i', NULL},
                                                      {"a", 'o', &compared_file},
                                                      {"b", 'o', &compared_file},
                                                      {"differences", 't', NULL},
                                                      {"kernels", 'a', &compared_row},
                                                      {"models", 'a', &compared_model},
                                                      {"scores", 'o', &compared_scores},
                                                      {"only_a", 't', NULL},
                                                      {"only_b", 't', NULL}};
const hone_schema hone_schema_comparison = {"comparison of two reports", compared_members,
                                            sizeof compared_members / sizeof *compared_members};

/* ---- checking ---- */

/* Where in the file: grows while members are descended into, and shrinks again. */
typedef struct place {
    const char *name;
    char path[256];
} place;

static const char *expected(char type) {
    switch (type) {
    case 's':
        return "a string";
    case 'b':
        return "true or false";
    case 'n':
        return "a number";
    case 'r':
        return "a number above 0";
    case 'i':
        return "a whole number from 0";
    case 'z':
        return "a whole number";
    case 'p':
        return "two numbers or nulls";
    case 't':
        return "an array of strings";
    case 'f':
        return "an array of numbers or nulls";
    case 'a':
        return "an array of objects";
    default:
        return "an object";
    }
}

static bool is_number(const json_t *v) {
    return json_is_number(v) && isfinite(json_number_value(v));
}

static bool all_items(const json_t *array, char type) {
    size_t i;
    const json_t *item;
    json_array_foreach(array, i, item) {
        if (type == 't'   ? !json_is_string(item)
            : type == 'a' ? !json_is_object(item)
                          : !json_is_null(item) && !is_number(item))
            return false;
    }
    return true;
}

static bool has_type(const json_t *v, char type) {
    switch (type) {
    case 's':
        return json_is_string(v);
    case 'b':
        return json_is_boolean(v);
    case 'n':
        return is_number(v);
    case 'r':
        return is_number(v) && json_number_value(v) > 0;
    case 'i':
        return json_is_integer(v) && json_integer_value(v) >= 0;
    case 'z':
        return json_is_integer(v);
    case 'p':
        return json_is_array(v) && json_array_size(v) == 2 && all_items(v, 'f');
    case 't':
    case 'f':
    case 'a':
        return json_is_array(v) && all_items(v, type);
    default:
        return json_is_object(v);
    }
}

static hone_status check_object(const json_t *object, const hone_schema *schema, place *at,
                                hone_error *err);

static hone_status check_member(const json_t *v, const hone_schema_member *member, place *at,
                                hone_error *err) {
    bool or_null = member->type >= 'A' && member->type <= 'Z';
    char type = (char)(or_null ? member->type - 'A' + 'a' : member->type);
    if (!v) return hone_fail(err, HONE_ERR_FORMAT, "%s: %s is missing", at->name, at->path);
    if (or_null && json_is_null(v)) return HONE_OK;
    if (!has_type(v, type))
        return hone_fail(err, HONE_ERR_FORMAT, "%s: %s: expected %s%s", at->name, at->path,
                         expected(type), or_null ? " or null" : "");
    if (type == 'o') return check_object(v, member->of, at, err);
    size_t used = strlen(at->path);
    for (size_t i = 0; type == 'a' && i < json_array_size(v); i++) {
        snprintf(at->path + used, sizeof at->path - used, "[%zu]", i);
        HONE_TRY(check_object(json_array_get(v, i), member->of, at, err));
    }
    return HONE_OK;
}

static hone_status check_object(const json_t *object, const hone_schema *schema, place *at,
                                hone_error *err) {
    size_t used = strlen(at->path);
    for (size_t i = 0; i < schema->count; i++) {
        const hone_schema_member *member = &schema->members[i];
        snprintf(at->path + used, sizeof at->path - used, "%s%s", used ? "." : "", member->key);
        HONE_TRY(check_member(json_object_get(object, member->key), member, at, err));
        at->path[used] = 0;
    }
    return HONE_OK;
}

hone_status hone_schema_check(const json_t *value, const hone_schema *schema, const char *name,
                              hone_error *err) {
    place at = {.name = name, .path = ""};
    if (!json_is_object(value))
        return hone_fail(err, HONE_ERR_FORMAT, "%s: expected an object: no %s", name, schema->name);
    return check_object(value, schema, &at, err);
}
