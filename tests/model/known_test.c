/* tests/model/known: where known models are looked for, in folders made for the test. */
#include <hone.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char root[] = "/tmp/hone-known-XXXXXX";

static void shell(const char *format, const char *argument) {
    char command[1024];
    snprintf(command, sizeof command, format, argument);
    assert_int_equal(system(command), 0);
}

/* An empty file below the root, its folder made where it is missing. */
static void put(const char *relative) {
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, relative);
    shell("mkdir -p \"$(dirname %s)\"", path);
    shell(": >%s", path);
}

/* A fresh, empty world: HONE_HOME and the hub's cache below one folder. */
static int setup(void **state) {
    (void)state;
    char path[64];
    strcpy(root + strlen(root) - 6, "XXXXXX");
    if (!mkdtemp(root)) return 1;
    snprintf(path, sizeof path, "%s/home", root);
    setenv("HONE_HOME", path, 1);
    snprintf(path, sizeof path, "%s/hf", root);
    setenv("HF_HOME", path, 1);
    unsetenv("HF_HUB_CACHE");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    shell("rm -rf %s", root);
    return 0;
}

/* Path of the known model `name` with the root cut off; NULL when it is not here. Static storage. */
static const char *where(const char *name) {
    static char found[512];
    hone_known_model *models = NULL;
    size_t count = 0;
    const char *result = NULL;
    bool known = false;
    assert_int_equal(hone_known_models(&models, &count, NULL), HONE_OK);
    assert_int_equal(count, 6);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(models[i].name, name) != 0) continue;
        known = true;
        if (!models[i].path) continue;
        assert_memory_equal(models[i].path, root, strlen(root));
        snprintf(found, sizeof found, "%s", models[i].path + strlen(root));
        result = found;
    }
    assert_true(known);
    hone_known_models_free(&models, count);
    assert_null(models);
    return result;
}

#define GGUF "SmolLM2-135M-Instruct 4-bit"
#define QWEN "mlx-community/Qwen3-0.6B-bf16"
#define SNAPSHOTS "/models--mlx-community--Qwen3-0.6B-bf16/snapshots"

static void nothing_here(void **state) {
    (void)state;
    assert_null(where(GGUF));
    assert_null(where(QWEN));
}

static void in_our_folder(void **state) {
    (void)state;
    shell("mkdir -p %s/home/models/Qwen3-0.6B-bf16", root);
    assert_null(where(QWEN)); /* a folder without config.json is no model */
    shell("cd %s/home/models && touch SmolLM2-135M-Instruct.Q4_1.gguf Qwen3-0.6B-bf16/config.json",
          root);
    assert_string_equal(where(GGUF), "/home/models/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert_string_equal(where(QWEN), "/home/models/Qwen3-0.6B-bf16");
    shell("cd %s/home/models && rm SmolLM2* && mkdir SmolLM2-135M-Instruct.Q4_1.gguf", root);
    assert_null(where(GGUF)); /* and a folder is no GGUF file */
}

static void in_the_hubs_cache(void **state) {
    (void)state;
    put("/hf/hub" SNAPSHOTS "/aaa/config.json");
    put("/hf/hub" SNAPSHOTS "/bbb/config.json");
    assert_string_equal(where(QWEN), "/hf/hub" SNAPSHOTS "/bbb"); /* no ref: the last by name */
    shell("cd %s/hf/hub" SNAPSHOTS "/.. && mkdir refs && echo aaa >refs/main", root);
    assert_string_equal(where(QWEN), "/hf/hub" SNAPSHOTS "/aaa");
    shell("cd %s/hf/hub" SNAPSHOTS "/.. && printf gone >refs/main", root);
    assert_string_equal(where(QWEN), "/hf/hub" SNAPSHOTS "/bbb");
    shell("cd %s/hf/hub" SNAPSHOTS "/.. && printf ../../../elsewhere >refs/main", root);
    assert_string_equal(where(QWEN), "/hf/hub" SNAPSHOTS "/bbb");
    shell("cd %s/hf/hub" SNAPSHOTS "/.. && rm refs/main && mkfifo refs/main", root);
    assert_string_equal(where(QWEN), "/hf/hub" SNAPSHOTS "/bbb");
    /* Our own folder comes first. */
    put("/home/models/Qwen3-0.6B-bf16/config.json");
    assert_string_equal(where(QWEN), "/home/models/Qwen3-0.6B-bf16");
}

static void where_the_hubs_cache_is(void **state) {
    (void)state;
    char path[64];
    put("/cache" SNAPSHOTS "/c/config.json");
    assert_null(where(QWEN));
    snprintf(path, sizeof path, "%s/cache", root);
    setenv("HF_HUB_CACHE", path, 1);
    assert_string_equal(where(QWEN), "/cache" SNAPSHOTS "/c");
    unsetenv("HF_HUB_CACHE");
    unsetenv("HF_HOME");
    setenv("XDG_CACHE_HOME", root, 1);
    shell("cd %s && mkdir huggingface && mv cache huggingface/hub", root);
    assert_string_equal(where(QWEN), "/huggingface/hub" SNAPSHOTS "/c");
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", root, 1);
    shell("cd %s && mkdir .cache && mv huggingface .cache", root);
    assert_string_equal(where(QWEN), "/.cache/huggingface/hub" SNAPSHOTS "/c");
}

/* Name of what `wanted` means; NULL when nothing. */
static const char *find(const char *wanted) {
    hone_known_model *models = NULL;
    size_t count = 0;
    assert_int_equal(hone_known_models(&models, &count, NULL), HONE_OK);
    const hone_known_model *found = hone_known_model_find(models, count, wanted);
    const char *name = found ? found->name : NULL;
    hone_known_models_free(&models, count);
    return name;
}

static void by_a_short_name(void **state) {
    (void)state;
    assert_string_equal(find(GGUF), GGUF);
    assert_string_equal(find(QWEN), QWEN);
    assert_string_equal(find("SmolLM2"), GGUF);
    assert_string_equal(find("smollm"), "mlx-community/SmolLM-135M-Instruct-4bit");
    assert_string_equal(find("qwen3"), QWEN);
    assert_string_equal(find("Qwen3-0.6B"), QWEN);
    assert_string_equal(find("qwen2.5"), "mlx-community/Qwen2.5-0.5B-Instruct-4bit");
    assert_null(find("qwen")); /* a part alone, or nothing, or too much */
    assert_null(find("Qwen3-0"));
    assert_null(find(""));
    assert_null(find("mlx-community"));
    assert_null(find("Qwen3-0.6B-bf16-more"));
    put("/home/models/SmolLM2-135M-Instruct.Q4_1.gguf");
    char path[128];
    snprintf(path, sizeof path, "%s/home/models/SmolLM2-135M-Instruct.Q4_1.gguf", root);
    assert_string_equal(find(path), GGUF);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_here, setup, teardown),
        cmocka_unit_test_setup_teardown(in_our_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(in_the_hubs_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(where_the_hubs_cache_is, setup, teardown),
        cmocka_unit_test_setup_teardown(by_a_short_name, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
