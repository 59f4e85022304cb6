/* Compares hone with figures that other implementations gave: tests/golden, or the folder that HONE_GOLDEN names.
 *
 * Loss, gradients, logits, tokens and texts; see the folder's README.md for what is in it. A part of a folder named so
 * that hone does not support yet is skipped by name; the tree's own such parts wait for the code that reads them. */
#define _GNU_SOURCE 1
#include "support.h"

#include "base/file.h"
#include "train/trainer.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>

/* How near hone has to come. */
typedef struct error_bounds {
    double loss, grad_norm, b_norm; /* relative */
    double logits;                  /* relative to each value and to their norm */
    double nll;                     /* absolute */
} error_bounds;

static const error_bounds real_bounds = {3e-5, 5e-4, 5e-4, 1e-4, 1e-3};
static const error_bounds tiny_bounds = {1e-5, 5e-5, 0, 1e-5, 1e-4};
static const double bf16_loss = 1e-2;

/* A test: a part of the folder, or the reason why it is skipped. */
typedef struct golden {
    char name[320];
    const char *model; /* path; owned by the list below */
    const json_t *figures;
    const char *part; /* key in figures */
    const error_bounds *bounds;
    const char *skip;
} golden;

static char *folder;

/* What the list of tests points to, for as long as the program runs. */
static void *kept[1024];
static size_t kept_count;

static void *keep(void *memory) {
    if (kept_count < sizeof kept / sizeof *kept) kept[kept_count++] = memory;
    return memory;
}

static double number(const json_t *value) { return json_number_value(value); }

/* How many entries of a list are gone through: all. Under a sanitizer one step of the real model takes a minute: there
 * the first few stand for all, since they run the same code. */
static size_t count_of(const golden *g, const json_t *list, size_t sanitized) {
    size_t count = json_array_size(list);
    assert_true(count > 0);
#ifdef __SANITIZE_ADDRESS__
    if (g->bounds == &real_bounds && count > sanitized) return sanitized;
#else
    (void)g, (void)sanitized;
#endif
    return count;
}

static void assert_near(const char *what, size_t index, double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want)))
        fail_msg("%s %zu: %.9g, expected %.9g: off by %.3g, allowed %.3g", what, index, got, want,
                 fabs(got / want - 1), relative);
}

static hone_model *open_model(const golden *g, hone_compute compute) {
    hone_model *model;
    hone_error err = {0};
    assert_ok(hone_model_open(g->model, &(hone_model_options){.compute = compute}, &model, &err),
              err);
    return model;
}

static int32_t *ids_of(const json_t *list, size_t *count) {
    *count = json_array_size(list);
    int32_t *ids = malloc((*count + 1) * sizeof *ids);
    for (size_t i = 0; i < *count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return ids;
}

/* ---- text ---- */

static void check_ids(const hone_model *model, const json_t *text, bool special,
                      const json_t *want) {
    int32_t *ids;
    size_t count;
    hone_error err = {0};
    assert_ok(hone_tokenize(model, json_string_value(text), json_string_length(text), special, &ids,
                            &count, &err),
              err);
    bool same = count == json_array_size(want);
    for (size_t i = 0; same && i < count; i++)
        same = ids[i] == json_integer_value(json_array_get(want, i));
    hone_free(ids);
    if (!same) fail_msg("the tokens of \"%s\" differ", json_string_value(text));
}

static void tokens(void **state) {
    const golden *g = *state;
    hone_model *model = open_model(g, HONE_COMPUTE_F32);
    const json_t *list = json_object_get(g->figures, g->part);
    assert_true(json_array_size(list) > 50);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i), *decoded = json_object_get(c, "decoded");
        check_ids(model, json_object_get(c, "text"), false, json_object_get(c, "ids"));
        check_ids(model, json_object_get(c, "text"), true, json_object_get(c, "ids_special"));
        size_t count, size;
        int32_t *ids = ids_of(json_object_get(c, "ids"), &count);
        char *text;
        hone_error err = {0};
        assert_ok(hone_detokenize(model, ids, count, false, &text, &size, &err), err);
        bool same = size == json_string_length(decoded) &&
                    memcmp(text, json_string_value(decoded), size) == 0;
        if (!same)
            fail_msg("tokens become \"%s\", expected \"%s\"", text, json_string_value(decoded));
        hone_free(text);
        free(ids);
    }
    hone_model_free(&model);
}

static void check_chat(const hone_model *model, json_t *messages, bool prompt, const json_t *want) {
    char *source = json_dumps(messages, 0), *text;
    size_t size;
    hone_error err = {0};
    assert_ok(hone_render_chat(model, source, prompt, &text, &size, &err), err);
    assert_string_equal(text, json_string_value(want));
    assert_int_equal(size, json_string_length(want));
    hone_free(text);
    free(source);
}

static void chats(void **state) {
    const golden *g = *state;
    hone_model *model = open_model(g, HONE_COMPUTE_F32);
    const json_t *list = json_object_get(g->figures, g->part);
    assert_true(json_array_size(list) > 0);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        json_t *messages = json_copy(json_object_get(c, "messages"));
        check_chat(model, messages, false, json_object_get(c, "text"));
        json_array_remove(messages, json_array_size(messages) - 1);
        check_chat(model, messages, true, json_object_get(c, "text_generation_prompt"));
        json_decref(messages);
    }
    hone_model_free(&model);
}

/* ---- forward ---- */

static void check_logits(hone_model *model, const golden *g, const json_t *c, float *nll) {
    size_t count;
    int32_t *ids = ids_of(json_object_get(c, "ids"), &count);
    float *logits;
    hone_error err = {0};
    assert_ok(hone_logits(model, ids, count, &logits, nll, &err), err);
    hone_model_info info;
    hone_model_get_info(model, &info);
    double sum = 0, squares = 0, norm = number(json_object_get(c, "logits_l2"));
    for (int i = 0; i < info.vocab; i++) {
        sum += (double)logits[i];
        squares += (double)logits[i] * (double)logits[i];
    }
    double mean_error = fabs(sum / info.vocab - number(json_object_get(c, "logits_mean")));
    assert_true(mean_error <= g->bounds->logits * norm / sqrt(info.vocab));
    assert_near("norm of the logits", 0, sqrt(squares), norm, g->bounds->logits);
    const json_t *top = json_object_get(c, "top_ids"), *values = json_object_get(c, "top_logits");
    for (size_t i = 0; i < json_array_size(top); i++)
        assert_near("logit", i, (double)logits[json_integer_value(json_array_get(top, i))],
                    number(json_array_get(values, i)), g->bounds->logits);
    size_t best = 0;
    for (size_t i = 1; i < (size_t)info.vocab; i++) best = logits[i] > logits[best] ? i : best;
    assert_int_equal(best, json_integer_value(json_array_get(top, 0)));
    hone_free(logits);
    free(ids);
}

static void logits(void **state) {
    const golden *g = *state;
    hone_model *model = open_model(g, HONE_COMPUTE_F32);
    const json_t *list = json_object_get(g->figures, g->part);
    size_t cases = count_of(g, list, 1);
    for (size_t i = 0; i < cases; i++) {
        const json_t *c = json_array_get(list, i), *want = json_object_get(c, "nll");
        size_t count = json_array_size(want);
        float *nll = malloc((count + 1) * sizeof *nll);
        check_logits(model, g, c, nll);
        double sum = 0;
        for (size_t k = 0; k < count; k++) {
            double expected = number(json_array_get(want, k));
            if (!(fabs((double)nll[k] - expected) <= g->bounds->nll * (1 + expected)))
                fail_msg("loss of token %zu: %.7g, expected %.7g", k, (double)nll[k], expected);
            sum += (double)nll[k];
        }
        assert_near("mean loss", i, sum / (double)count, number(json_object_get(c, "nll_mean")),
                    g->bounds->loss);
        free(nll);
    }
    hone_model_free(&model);
}

static void check_greedy(const golden *g, bool no_cache) {
    hone_model *model = open_model(g, HONE_COMPUTE_F32);
    const json_t *list = json_object_get(g->figures, "greedy");
    size_t cases = count_of(g, list, 1);
    for (size_t i = 0; i < cases; i++) {
        const json_t *c = json_array_get(list, i), *want = json_object_get(c, "new");
        size_t count, wanted = count_of(g, want, 4);
        int32_t *ids = ids_of(json_object_get(c, "prompt"), &count);
        hone_generate_options options = {.max_tokens = (int)wanted, .no_cache = no_cache};
        hone_generate_result result;
        hone_error err = {0};
        assert_ok(hone_generate(model, ids, count, &options, &result, &err), err);
        assert_int_equal(result.count, wanted);
        for (size_t k = 0; k < result.count; k++)
            assert_int_equal(result.ids[k], json_integer_value(json_array_get(want, k)));
        hone_free(result.ids);
        free(ids);
    }
    hone_model_free(&model);
}

static void greedy(void **state) { check_greedy(*state, false); }
static void greedy_without_cache(void **state) { check_greedy(*state, true); }

/* ---- training ---- */

/* Rows of equal length, laid one after another; labels [rows of the same] or NULL: the ids themselves. */
static void make_batch(const json_t *rows, const json_t *labels, hone_batch *batch) {
    size_t count = json_array_size(rows), seq = json_array_size(json_array_get(rows, 0)),
           all = count * seq;
    *batch = (hone_batch){.ids = malloc(all * sizeof(int32_t)),
                          .labels = malloc(all * sizeof(int32_t)),
                          .positions = malloc(all * sizeof(int32_t)),
                          .segments = malloc(count * sizeof(hone_segment)),
                          .rows = all,
                          .segment_count = count};
    for (size_t r = 0; r < count; r++) {
        const json_t *ids = json_array_get(rows, r),
                     *next = labels ? json_array_get(labels, r) : ids;
        assert_int_equal(json_array_size(ids), seq);
        batch->segments[r] = (hone_segment){r * seq, (r + 1) * seq, r * seq, (r + 1) * seq};
        for (size_t i = 0; i < seq; i++) {
            size_t at = r * seq + i;
            batch->ids[at] = (int32_t)json_integer_value(json_array_get(ids, i));
            batch->positions[at] = (int32_t)i;
            batch->labels[at] = i + 1 < seq
                                    ? (int32_t)json_integer_value(json_array_get(next, i + 1))
                                    : HONE_IGNORE;
            batch->label_count += batch->labels[at] != HONE_IGNORE;
        }
    }
}

static void free_batch(hone_batch *batch) {
    free(batch->ids);
    free(batch->labels);
    free(batch->positions);
    free(batch->segments);
}

/* The formula of make_golden.py, with its order of linear layers: q, k, v, o, gate, up, down. */
static void init_a(hone_trainer *trainer) {
    for (size_t p = 0; p < trainer->params.count; p += 2) {
        const hone_param *a = &trainer->params.items[p];
        uint64_t layer = p / 2 / HONE_LINEAR_COUNT, which = p / 2 % HONE_LINEAR_COUNT;
        for (uint64_t i = 0; i < a->rows * a->cols; i++) {
            uint32_t h = (uint32_t)(i * 2654435761u + layer * 40503u + which * 97u);
            trainer->params.w[a->offset + i] =
                (float)((h / 4294967296.0 - 0.5) * 2 / sqrt((double)a->cols));
        }
    }
}

static double norm_of(const hone_params *params, const char *name) {
    for (size_t p = 0; p < params->count; p++) {
        const hone_param *item = &params->items[p];
        if (strcmp(item->name, name) != 0) continue;
        double sum = 0;
        for (size_t i = 0; i < item->rows * item->cols; i++) {
            double x = (double)params->w[item->offset + i];
            sum += x * x;
        }
        return sqrt(sum);
    }
    fail_msg("there is no %s", name);
    return 0;
}

static void check_b_norms(const hone_params *params, const json_t *want, double bound) {
    const char *key;
    json_t *value;
    size_t index = 0;
    json_object_foreach((json_t *)want, key, value) { /* "14.q_proj" */
        const char *linear = strchr(key, '.') + 1;
        bool mlp = strncmp(linear, "gate", 4) == 0 || strncmp(linear, "up", 2) == 0 ||
                   strncmp(linear, "down", 4) == 0;
        char name[80];
        snprintf(name, sizeof name, "model.layers.%d.%s.%s.lora_b", atoi(key),
                 mlp ? "mlp" : "self_attn", linear);
        assert_near(name, index++, norm_of(params, name), number(value), bound);
    }
    assert_true(index > 0);
}

static hone_train_options options_of(const json_t *part) {
    hone_train_options options = hone_train_defaults();
    options.learning_rate = number(json_object_get(part, "lr"));
    options.weight_decay = number(json_object_get(part, "weight_decay"));
    options.num_layers = -1;
    if (json_object_get(part, "rank")) {
        options.lora_rank = (int)json_integer_value(json_object_get(part, "rank"));
        options.lora_scale = number(json_object_get(part, "scale"));
    } else {
        options.fine_tune_type = HONE_FINE_TUNE_FULL;
    }
    return options;
}

static void check_training(const golden *g, hone_compute compute, double loss, double grad_norm) {
    const json_t *part = json_object_get(g->figures, g->part),
                 *list = json_object_get(part, "batches");
    const json_t *labels = json_object_get(part, "labels"),
                 *norms = json_object_get(part, "grad_norm");
    hone_train_options options = options_of(part);
    hone_model *model = open_model(g, compute);
    hone_trainer trainer;
    hone_error err = {0};
    assert_ok(hone_trainer_open(&trainer, model, &options, &err), err);
    if (options.fine_tune_type == HONE_FINE_TUNE_LORA) init_a(&trainer);
    size_t count = count_of(g, list, 1);
    for (size_t i = 0; i < count; i++) {
        hone_batch batch;
        hone_step_result result;
        make_batch(json_array_get(list, i), labels ? json_array_get(labels, i) : NULL, &batch);
        assert_ok(hone_trainer_step(&trainer, &batch, 1, &result, &err), err);
        free_batch(&batch);
        assert_near("loss of step", i, result.loss,
                    number(json_array_get(json_object_get(part, "loss"), i)), loss);
        if (grad_norm > 0)
            assert_near("gradient norm of step", i, result.grad_norm,
                        number(json_array_get(norms, i)), grad_norm);
    }
    const json_t *b = json_object_get(part, "B_l2");
    if (b && grad_norm > 0 && count == json_array_size(list))
        check_b_norms(&trainer.params, b, g->bounds->b_norm);
    hone_trainer_close(&trainer);
    hone_model_free(&model);
}

static void training(void **state) {
    const golden *g = *state;
    check_training(g, HONE_COMPUTE_F32, g->bounds->loss, g->bounds->grad_norm);
}

static void training_in_bf16(void **state) {
    check_training(*state, HONE_COMPUTE_BF16, bf16_loss, 0);
}

static void skipped(void **state) {
    const golden *g = *state;
    print_message("%s\n", g->skip);
    skip();
}

/* ---- the list of tests ---- */

static const struct {
    const char *part, *label;
    CMUnitTestFunction run;
} parts[] = {
    {"tokens", "tokens", tokens},
    {"strings", "tokens", tokens},
    {"chats", "chats", chats},
    {"logits", "logits", logits},
    {"greedy", "greedy", greedy},
    {"greedy", "greedy without cache", greedy_without_cache},
    {"full", "full", training},
    {"full_masked", "full, masked", training},
    {"lora", "LoRA", training},
    {"lora_masked", "LoRA, masked", training},
    {"lora", "LoRA in bfloat16", training_in_bf16},
};

enum { MAX_TESTS = 256 };
static struct CMUnitTest tests[MAX_TESTS];
static golden goldens[MAX_TESTS];
static size_t test_count;

static void add(const golden *g, const char *group, const char *label, CMUnitTestFunction run) {
    if (test_count == MAX_TESTS) return;
    golden *own = &goldens[test_count];
    *own = *g;
    snprintf(own->name, sizeof own->name, "%s: %s", group, label);
    if (own->skip) run = skipped;
    tests[test_count++] = (struct CMUnitTest){own->name, run, NULL, NULL, own};
}

static void add_parts(const char *group, const char *model, const char *figures,
                      const error_bounds *bounds, const char *skip) {
    json_error_t error;
    json_t *json = json_load_file(figures, JSON_ALLOW_NUL, &error);
    if (!json) {
        fprintf(stderr, "%s: %s\n", figures, error.text);
        exit(1);
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (json_object_get(json, parts[i].part))
            add(&(golden){.model = model,
                          .figures = json,
                          .part = parts[i].part,
                          .bounds = bounds,
                          .skip = skip},
                group, parts[i].label, parts[i].run);
}

static void add_real_model(void) {
    char *home = hone_path_home(), *models = hone_path_join(home, "models");
    char *model = keep(hone_path_join(models, "SmolLM2-135M-Instruct.Q4_1.gguf"));
    const char *const names[] = {"smollm2-tokens.json", "smollm2-figures.json"};
    char *reason = NULL;
    if (!hone_file_exists(model)) {
        reason = keep(malloc(strlen(model) + 64));
        sprintf(reason, "%s is not here: run tools/fetch-model", model);
    }
    for (int i = 0; i < 2; i++) {
        char *path = keep(hone_path_join(folder, names[i]));
        if (hone_file_exists(path)) add_parts("SmolLM2-135M", model, path, &real_bounds, reason);
    }
    free(models);
    free(home);
}

/* Why hone cannot read this model; NULL when it can, or when it should and a test is to say that it does not. */
static char *unsupported(const char *model) {
    char *config_path = hone_path_join(model, "config.json");
    bool whole = hone_file_exists(config_path);
    free(config_path);
    if (!whole)
        return strdup(
            "an adapter for another folder's model; adapters of this kind are not supported yet");
    hone_file_set *set = NULL;
    hone_config config;
    hone_error err = {0};
    hone_status status = hone_file_set_open(model, &set, &err);
    if (status == HONE_OK) status = hone_config_read(set, &config, &err);
    hone_file_set_free(&set);
    return status == HONE_ERR_UNSUPPORTED ? strdup(err.message) : NULL;
}

/* Every folder under archs/. */
static void add_small_model(const char *archs, const char *name, bool name_skipped) {
    char *model = keep(hone_path_join(archs, name));
    char *figures = keep(hone_path_join(model, "figures.json")), *why = keep(unsupported(model));
    if (!why)
        add_parts(name, model, figures, &tiny_bounds, NULL);
    else if (name_skipped)
        add(&(golden){.skip = why}, name, "all", skipped);
}

static int visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

int main(void) {
    const char *given = getenv("HONE_GOLDEN");
    bool named = given && *given;
    folder = strdup(named ? given : HONE_GOLDEN_DIR);
    char *archs = keep(hone_path_join(folder, "archs"));
    add_real_model();
    struct dirent **entries;
    int count = scandir(archs, &entries, visible, alphasort);
    for (int i = 0; i < count; i++)
        add_small_model(archs, ((struct dirent *)keep(entries[i]))->d_name, named);
    if (count > 0) keep(entries);
    if (test_count == 0) {
        fprintf(stderr, "%s: no figures here; expected smollm2-figures.json or archs/\n", folder);
        return 1;
    }
    return _cmocka_run_group_tests("golden", tests, test_count, NULL, NULL);
}
