/* tests of format/safetensors and folders: golden models that other tools wrote, and the way there and back. */
#include "format/safetensors.h"

#include "bytes.h"

#define ARCHS HONE_GOLDEN_DIR "/archs"

static hone_file_set *open_path(const char *path) {
    hone_error err = {0};
    hone_file_set *set = NULL;
    assert_ok(hone_file_set_open(path, &set, &err), err);
    return set;
}

/* Shapes and values as the safetensors Python package reads them. */
static void golden_models_have_their_values(void **state) {
    (void)state;
    hone_file_set *set = open_path(ARCHS "/llama");
    assert_int_equal(set->kind, HONE_FORMAT_SAFETENSORS);
    assert_int_equal(set->tensor_count, 30);
    const hone_tensor *t = hone_file_set_find(set, "model.layers.0.mlp.down_proj.weight");
    assert_non_null(t);
    assert_true(t->dims == 2 && t->shape[0] == 64 && t->shape[1] == 160 && t->dtype == HONE_F32 &&
                !t->is_uint32);
    const float *w = t->data;
    assert_true(w[0] == -0.035972289741039276f && w[162] == 0.013606157153844833f);
    assert_true(w[64 * 160 - 1] == -0.16193601489067078f);
    hone_file_set_free(&set);

    set = open_path(ARCHS "/llama-mlx4/model.safetensors");
    t = hone_file_set_find(set, "lm_head.weight");
    assert_non_null(t);
    assert_true(t->is_uint32 && t->dtype == HONE_F32 && t->shape[0] == 512 && t->shape[1] == 8);
    const char *codes = t->data; /* not aligned in this file */
    const uint32_t want[3] = {1483017862u, 3380522425u, 2224321575u};
    const size_t at[3] = {0, 25, 512 * 8 - 1};
    for (int i = 0; i < 3; i++) assert_memory_equal(codes + 4 * at[i], &want[i], 4);
    const float scale = -0.02003079280257225f;
    t = hone_file_set_find(set, "lm_head.scales");
    assert_memory_equal((const char *)t->data + 4 * 1023, &scale, 4);
    hone_file_set_free(&set);
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path = temp_path(&t, "out.safetensors");
    hone_error err = {0};
    const float f[6] = {1, -2, 3.5f, 0, 1e-30f, 6};
    const hone_bf16 b[3] = {0x3f80, 0xc000, 0x7f80};
    const hone_f16 h[1] = {0x3c00};
    const hone_tensor_out tensors[] = {
        {.name = "b", .dtype = HONE_BF16, .dims = 1, .shape = {3}, .data = b},
        {.name = "é \"quoted\"", .dtype = HONE_F32, .dims = 2, .shape = {2, 3}, .data = f},
        {.name = "scalar", .dtype = HONE_F16, .dims = 0, .data = h},
        {.name = "empty", .dtype = HONE_F32, .dims = 2, .shape = {0, 5}, .data = f},
        {.name = "deep", .dtype = HONE_F32, .dims = 4, .shape = {1, 2, 1, 3}, .data = f},
    };
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    assert_ok(hone_safetensors_write(path, tensors, 5, metadata, &err), err);
    json_decref(metadata);
    hone_file_set *set = open_path(path);
    assert_int_equal(set->tensor_count, 5);
    for (size_t i = 0; i < 5; i++) {
        const hone_tensor *got = hone_file_set_find(set, tensors[i].name);
        assert_non_null(got);
        assert_int_equal(got->dtype, tensors[i].dtype);
        assert_int_equal(got->dims, tensors[i].dims);
        for (int k = 0; k < got->dims; k++) assert_int_equal(got->shape[k], tensors[i].shape[k]);
        assert_memory_equal(got->data, tensors[i].data, got->bytes);
        assert_int_equal((uintptr_t)got->data % hone_dtype_block_bytes(got->dtype), 0);
    }
    hone_file_set_free(&set);
    assert_int_equal(temp_count(&t), 1);
    free(path);
    temp_remove(&t);
}

/* The bytes of the format by hand: length, header padded to 8, F32 before BF16. */
static void the_file_is_what_the_format_says(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path = temp_path(&t, "out.safetensors");
    hone_error err = {0};
    const float f[1] = {1};
    const hone_bf16 b[1] = {0xc000};
    const hone_tensor_out tensors[] = {
        {.name = "a", .dtype = HONE_BF16, .dims = 1, .shape = {1}, .data = b},
        {.name = "z", .dtype = HONE_F32, .dims = 1, .shape = {1}, .data = f},
    };
    assert_ok(hone_safetensors_write(path, tensors, 2, NULL, &err), err);
    static const char header[] =
        "{\"z\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]}, "
        "\"a\": {\"dtype\": \"BF16\", \"shape\": [1], \"data_offsets\": [4, 6]}}";
    hone_buf got;
    assert_ok(hone_file_read(path, 1000, &got, &err), err);
    size_t length = (sizeof header - 1 + 7) / 8 * 8;
    assert_int_equal(got.size, 8 + length + 6);
    assert_int_equal((unsigned char)got.data[0], length);
    assert_memory_equal(got.data + 1, "\0\0\0\0\0\0\0", 7);
    assert_memory_equal(got.data + 8, header, sizeof header - 1);
    for (size_t i = 8 + sizeof header - 1; i < 8 + length; i++) assert_int_equal(got.data[i], ' ');
    assert_memory_equal(got.data + 8 + length, "\0\0\x80\x3f\0\xc0", 6);
    hone_buf_free(&got);

    const hone_tensor_out twice[] = {tensors[0], tensors[0]};
    assert_int_equal(hone_safetensors_write(path, twice, 2, NULL, &err), HONE_ERR_INTERNAL);
    hone_tensor_out quantized = tensors[0];
    quantized.dtype = HONE_Q4_1;
    assert_int_equal(hone_safetensors_write(path, &quantized, 1, NULL, &err), HONE_ERR_INTERNAL);
    hone_file_set *set = open_path(path); /* the old file is still there */
    hone_file_set_free(&set);
    free(path);
    temp_remove(&t);
}

static void shards_become_one_set(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *index = temp_path(&t, "model.safetensors.index.json");
    char *one = temp_path(&t, "model-00001-of-00002.safetensors");
    char *two = temp_path(&t, "model-00002-of-00002.safetensors");
    static const char text[] = "{\"metadata\": {\"total_size\": 12, \"x\": [1.5e3, {\"y\": [true, "
                               "null, []]}, {}, \"\"]},\n"
                               "\"weight_map\": {\"c\": \"model-00002-of-00002.safetensors\",\n"
                               "\"a\": \"model-00001-of-00002.safetensors\",\n"
                               "\"b\": \"model-00002-of-00002.safetensors\"}}\n";
    temp_write(index, text, sizeof text - 1);
    /* "b" is in both: the index decides. */
    write_script(one,
                 "json={\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                 "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}\nf32=1 f32=2");
    write_script(two,
                 "json={\"c\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]},"
                 "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}\nf32=3 f32=4");
    hone_file_set *set = open_path(t.path);
    assert_int_equal(set->file_count, 2);
    assert_int_equal(set->tensor_count, 3);
    const float want[3] = {1, 3, 4};
    const char *const names[3] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        const hone_tensor *got = hone_file_set_find(set, names[i]);
        assert_non_null(got);
        assert_memory_equal(got->data, &want[i], 4);
        assert_int_equal(got->file, i > 0);
    }
    hone_file_set_free(&set);
    free(index);
    free(one);
    free(two);
    temp_remove(&t);
}

static void escapes_in_names_are_decoded(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path = temp_path(&t, "x.safetensors");
    write_script(path, "json={\"\\u00e9\\ud83d\\ude80\\n\\/"
                       "\":{\"shape\":[],\"data_offsets\":[0,4],\"dtype\":\"F32\"} } \n"
                       "f32=7");
    hone_file_set *set = open_path(path);
    const hone_tensor *got = hone_file_set_find(set, "é🚀\n/");
    assert_non_null(got);
    assert_int_equal(got->dims, 0);
    assert_int_equal(got->bytes, 4);
    hone_file_set_free(&set);
    free(path);
    temp_remove(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_models_have_their_values),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(the_file_is_what_the_format_says),
        cmocka_unit_test(shards_become_one_set),
        cmocka_unit_test(escapes_in_names_are_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
