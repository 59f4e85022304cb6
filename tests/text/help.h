/* tests/text/help: golden files, tokenizers of small JSON documents, and comparing ids. */
#ifndef HONE_TESTS_TEXT_HELP_H
#define HONE_TESTS_TEXT_HELP_H

#include "temp.h"

#include "base/clock.h"
#include "base/json.h"
#include "text/tokenizer.h"

/* The golden strings may hold NUL, which the library's own reader refuses. */
static inline json_t *golden_json(const char *name) {
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, HONE_GOLDEN_DIR "/%s", name);
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (root == NULL) fail_msg("%s: line %d: %s", path, error.line, error.text);
    return root;
}

/* How much slower than usual a sanitizer may make things. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 20.0
#else
#define SLOWER 1.0
#endif

static inline void assert_ids(const int32_t *ids, size_t count, const json_t *wanted,
                              const char *text) {
    bool same = count == json_array_size(wanted);
    for (size_t i = 0; same && i < count; i++) {
        same = ids[i] == json_integer_value(json_array_get(wanted, i));
    }
    if (same) return;
    char *list = json_dumps(wanted, JSON_COMPACT);
    hone_buf got = hone_buf_make(SIZE_MAX);
    for (size_t i = 0; i < count; i++) (void)hone_buf_printf(&got, NULL, "%d ", (int)ids[i]);
    fail_msg("\"%s\": expected %s, got %s", text, list, got.data == NULL ? "" : got.data);
}

static inline void assert_encodes(const hone_tokenizer *t, const json_t *text, bool special,
                                  const json_t *wanted) {
    hone_error err;
    int32_t *ids;
    size_t count;
    assert_ok(hone_tokenizer_encode(t, json_string_value(text), json_string_length(text), special,
                                    &ids, &count, &err),
              err);
    assert_ids(ids, count, wanted, json_string_value(text));
    free(ids);
}

static inline void assert_decodes(const hone_tokenizer *t, const json_t *list, bool skip_special,
                                  const json_t *wanted) {
    hone_error err;
    size_t count = json_array_size(list), size;
    int32_t *ids = malloc((count + 1) * sizeof *ids);
    char *text;
    for (size_t i = 0; i < count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    assert_ok(hone_tokenizer_decode(t, ids, count, skip_special, &text, &size, &err), err);
    if (size != json_string_length(wanted) || memcmp(text, json_string_value(wanted), size) != 0) {
        fail_msg("expected \"%s\", got \"%s\"", json_string_value(wanted), text);
    }
    assert_int_equal(text[size], '\0');
    free(text);
    free(ids);
}

/* Every {"text", "ids", "ids_special", "decoded"} of the list. */
static inline void assert_token_cases(const hone_tokenizer *t, const json_t *cases) {
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        assert_encodes(t, json_object_get(c, "text"), false, json_object_get(c, "ids"));
        assert_encodes(t, json_object_get(c, "text"), true, json_object_get(c, "ids_special"));
        assert_decodes(t, json_object_get(c, "ids"), false, json_object_get(c, "decoded"));
    }
}

static inline hone_tokenizer *open_golden_folder(const char *name) {
    char path[512];
    hone_error err;
    hone_tokenizer *t;
    snprintf(path, sizeof path, HONE_GOLDEN_DIR "/%s", name);
    assert_ok(hone_tokenizer_open_folder(path, &t, &err), err);
    return t;
}

/* The real model's GGUF, NULL when it is not there; the caller frees. */
static inline char *real_model_path(void) {
    const char *named = getenv("HONE_TEST_MODEL");
    if (named != NULL) return strdup(named);
    char *home = hone_path_home();
    char *models = hone_path_join(home, "models");
    char *path = hone_path_join(models, "SmolLM2-135M-Instruct.Q4_1.gguf");
    free(home);
    free(models);
    if (hone_file_exists(path)) return path;
    print_message("no model: set HONE_TEST_MODEL to SmolLM2-135M-Instruct.Q4_1.gguf, or put it "
                  "at %s (make run fetches it)\n",
                  path);
    free(path);
    return NULL;
}

static inline hone_tokenizer *open_gguf(const char *path) {
    hone_error err;
    hone_file_set *set;
    hone_tokenizer *t;
    assert_ok(hone_file_set_open(path, &set, &err), err);
    assert_ok(hone_tokenizer_open(set, &t, &err), err);
    hone_file_set_free(&set);
    return t;
}

/* A folder's tokenizer.json (and tokenizer_config.json unless NULL) with this text. */
static inline hone_status open_text(const char *tokenizer, const char *config, hone_tokenizer **out,
                                    hone_error *err) {
    temp_folder folder = temp_make();
    char *path = temp_path(&folder, "tokenizer.json");
    temp_write(path, tokenizer, strlen(tokenizer));
    free(path);
    if (config != NULL) {
        path = temp_path(&folder, "tokenizer_config.json");
        temp_write(path, config, strlen(config));
        free(path);
    }
    hone_status status = hone_tokenizer_open_folder(folder.path, out, err);
    temp_remove(&folder);
    return status;
}

#endif
