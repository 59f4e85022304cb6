/* tests of format: every allocation fails in turn, once and from then on. No crash, no leak, and an
 * error that says so. */
#include "base/json.h"
#include "fault.h"
#include "format/gguf.h"
#include "format/safetensors.h"

#ifndef FAULT_POSSIBLE

int main(void) { return without_faults(); }

#else

static hone_status open_and_free(const char *path, hone_error *err) {
    hone_file_set *set;
    HONE_TRY(hone_file_set_open(path, &set, err));
    hone_str *strings = NULL;
    int32_t *ints = NULL;
    float *floats = NULL;
    size_t count;
    hone_status status = hone_gguf_get_strings(set, "t.strings", &strings, &count, err);
    if (status == HONE_OK) status = hone_gguf_get_ints(set, "t.ints", -9, 9, &ints, &count, err);
    if (status == HONE_OK) status = hone_gguf_get_floats(set, "t.floats", &floats, &count, err);
    free(strings);
    free(ints);
    free(floats);
    hone_file_set_free(&set);
    return status;
}

static void gguf_survives(void **state) {
    (void)state;
    fail_in_turn(open_and_free, HONE_SOURCE_DIR "/tests/format/tiny.gguf", 8);
}

static void safetensors_survive(void **state) {
    (void)state;
    fail_in_turn(open_and_free, HONE_GOLDEN_DIR "/archs/llama", 8);
}

static void shards_survive(void **state) {
    (void)state;
    static const char index[] = "{\"metadata\":{\"x\":\"y\"},\"weight_map\":{\"a\":\"s\"}}";
    static const char shard[] = "\x3a\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_"
                                "offsets\":[0,4]}}    1234";
    temp_folder t = temp_make();
    char *index_path = temp_path(&t, "model.safetensors.index.json"),
         *shard_path = temp_path(&t, "s");
    temp_write(index_path, index, sizeof index - 1);
    temp_write(shard_path, shard, sizeof shard - 1);
    fail_in_turn(open_and_free, t.path, 12);
    free(index_path);
    free(shard_path);
    temp_remove(&t);
}

static hone_status write_model(const char *path, hone_error *err) {
    const float data[2] = {1, 2};
    const hone_tensor_out tensors[2] = {
        {.name = "a", .dtype = HONE_F32, .dims = 1, .shape = {2}, .data = data},
        {.name = "b", .dtype = HONE_BF16, .dims = 2, .shape = {2, 2}, .data = data},
    };
    return hone_safetensors_write(path, tensors, 2, NULL, err);
}

static json_t *document; /* parsed beforehand: jansson's lexer asserts that it has memory */

static hone_status write_json(const char *path, hone_error *err) {
    return hone_json_write(path, document, err);
}

static void writers_survive_and_keep_the_old_file(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path = temp_path(&t, "out");
    hone_error err = {0};
    fail_in_turn(write_model, path, 8);
    assert_int_equal(temp_count(&t), 1);
    hone_file_set *set;
    assert_ok(hone_file_set_open(path, &set, &err), err);
    hone_file_set_free(&set);
    static const char text[] = "{\"a\": [1, 2.5, \"x\", {\"b\": null}], \"n\": 0.1}";
    assert_ok(hone_json_parse(text, sizeof text - 1, "text", &document, &err), err);
    fail_in_turn(write_json, path, 8);
    json_decref(document);
    assert_int_equal(temp_count(&t), 1);
    free(path);
    temp_remove(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gguf_survives),
        cmocka_unit_test(safetensors_survive),
        cmocka_unit_test(shards_survive),
        cmocka_unit_test(writers_survive_and_keep_the_old_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
