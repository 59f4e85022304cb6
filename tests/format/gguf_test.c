/* tests of format/gguf on tiny.gguf, which the gguf Python package (0.19) wrote, and on bytes made here. */
#include "format/gguf.h"

#include "bytes.h"

#define TINY HONE_SOURCE_DIR "/tests/format/tiny.gguf"

static hone_file_set *open_file(const char *path) {
    hone_error err = {0};
    hone_file_set *set = NULL;
    assert_ok(hone_file_set_open(path, &set, &err), err);
    return set;
}

static void expect_tensor(const hone_file_set *set, const char *name, hone_dtype dtype, int dims,
                          size_t slow, size_t fast, size_t bytes, size_t offset) {
    const hone_tensor *t = hone_file_set_find(set, name);
    if (t == NULL) fail_msg("%s is not there", name);
    assert_int_equal(t->dtype, dtype);
    assert_false(t->is_uint32);
    assert_int_equal(t->dims, dims);
    assert_int_equal(t->shape[0], slow);
    if (dims == 2) assert_int_equal(t->shape[1], fast);
    assert_int_equal(t->bytes, bytes);
    assert_int_equal(t->offset, offset);
    assert_ptr_equal(t->data, set->files[0].data + offset);
}

static void tensors_are_where_the_writer_put_them(void **state) {
    (void)state;
    hone_file_set *set = open_file(TINY);
    assert_int_equal(set->kind, HONE_FORMAT_GGUF);
    assert_int_equal(set->tensor_count, 6);
    expect_tensor(set, "f.weight", HONE_F32, 2, 2, 3, 24, 800);
    expect_tensor(set, "h.weight", HONE_F16, 1, 4, 0, 8, 832);
    expect_tensor(set, "q8.weight", HONE_Q8_0, 2, 2, 64, 136, 864);
    expect_tensor(set, "q41.weight", HONE_Q4_1, 2, 2, 64, 80, 1024);
    expect_tensor(set, "q40.weight", HONE_Q4_0, 2, 2, 64, 72, 1120);
    expect_tensor(set, "b.weight", HONE_BF16, 2, 2, 4, 16, 1216);
    assert_null(hone_file_set_find(set, "f.weigh"));
    assert_null(hone_file_set_find(set, ""));
    const float *f = hone_file_set_find(set, "f.weight")->data;
    for (int i = 0; i < 6; i++) assert_true(f[i] == (float)i);
    const hone_f16 *h = hone_file_set_find(set, "h.weight")->data;
    assert_true(hone_f16_to_f32(h[1]) == -2.0f && hone_f16_to_f32(h[2]) == 0.5f);
    for (size_t i = 1; i < set->tensor_count; i++)
        assert_true(strcmp(set->tensors[i - 1].name, set->tensors[i].name) < 0);
    hone_file_set_free(&set);
    assert_null(set);
    hone_file_set_free(&set);
}

static int64_t get_int(const hone_file_set *set, const char *key) {
    hone_error err = {0};
    int64_t value = 0;
    assert_ok(hone_gguf_get_int(set, key, INT64_MIN, INT64_MAX, -99, &value, &err), err);
    return value;
}

static void numbers_of_every_type_are_read(void **state) {
    (void)state;
    hone_error err = {0};
    hone_file_set *set = open_file(TINY);
    assert_int_equal(get_int(set, "t.u8"), 200);
    assert_int_equal(get_int(set, "t.i8"), -7);
    assert_int_equal(get_int(set, "t.u16"), 60000);
    assert_int_equal(get_int(set, "t.i16"), -300);
    assert_true(get_int(set, "t.u32") == 4000000000);
    assert_int_equal(get_int(set, "t.i32"), -5);
    assert_true(get_int(set, "t.i64") == -((int64_t)1 << 40));
    assert_int_equal(get_int(set, "t.absent"), -99);
    int64_t i;
    assert_int_equal(hone_gguf_get_int(set, "t.u64", INT64_MIN, INT64_MAX, 0, &i, &err),
                     HONE_ERR_FORMAT);
    assert_non_null(
        strstr(err.message, "tiny.gguf: metadata \"t.u64\" holds more than 9223372036854775807"));
    assert_int_equal(hone_gguf_get_int(set, "t.u8", 0, 199, 0, &i, &err), HONE_ERR_FORMAT);
    assert_int_equal(hone_gguf_get_int(set, "t.f32", 0, 199, 0, &i, &err), HONE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "\"t.f32\" is float32; expected an integer"));
    double d;
    assert_ok(hone_gguf_get_float(set, "t.f32", 0, &d, &err), err);
    assert_true(d == 0.25);
    assert_ok(hone_gguf_get_float(set, "t.f64", 0, &d, &err), err);
    assert_true(d == 0.1);
    assert_ok(hone_gguf_get_float(set, "t.absent", 7, &d, &err), err);
    assert_true(d == 7);
    assert_int_equal(hone_gguf_get_float(set, "t.s", 7, &d, &err), HONE_ERR_FORMAT);
    bool b = false;
    assert_ok(hone_gguf_get_bool(set, "t.yes", false, &b, &err), err);
    assert_true(b);
    assert_ok(hone_gguf_get_bool(set, "t.no", true, &b, &err), err);
    assert_false(b);
    assert_int_equal(hone_gguf_get_bool(set, "t.u8", true, &b, &err), HONE_ERR_FORMAT);
    hone_file_set_free(&set);
}

static void expect_str(hone_str got, const char *want) {
    assert_int_equal(got.size, strlen(want));
    assert_memory_equal(got.data, want, got.size);
}

static void strings_and_arrays_are_read(void **state) {
    (void)state;
    hone_error err = {0};
    hone_file_set *set = open_file(TINY);
    hone_str s, *strings;
    size_t count;
    assert_ok(hone_gguf_get_string(set, "general.architecture", &s, &err), err);
    expect_str(s, "llama");
    assert_ok(hone_gguf_get_string(set, "t.s", &s, &err), err);
    expect_str(s, "zwölf");
    assert_ok(hone_gguf_get_string(set, "t.absent", &s, &err), err);
    assert_null(s.data);
    assert_int_equal(hone_gguf_get_string(set, "t.strings", &s, &err), HONE_ERR_FORMAT);
    assert_non_null(strstr(err.message, "\"t.strings\" is array of string; expected a string"));
    assert_ok(hone_gguf_get_strings(set, "t.strings", &strings, &count, &err), err);
    assert_int_equal(count, 3);
    expect_str(strings[0], "a");
    expect_str(strings[1], "");
    expect_str(strings[2], "bc");
    free(strings);
    int32_t *ints;
    assert_ok(hone_gguf_get_ints(set, "t.ints", -2, 3, &ints, &count, &err), err);
    assert_int_equal(count, 3);
    assert_true(ints[0] == 1 && ints[1] == -2 && ints[2] == 3);
    free(ints);
    assert_int_equal(hone_gguf_get_ints(set, "t.ints", 0, 3, &ints, &count, &err), HONE_ERR_FORMAT);
    assert_null(ints);
    assert_int_equal(hone_gguf_get_ints(set, "t.strings", 0, 3, &ints, &count, &err),
                     HONE_ERR_FORMAT);
    float *floats;
    assert_ok(hone_gguf_get_floats(set, "t.floats", &floats, &count, &err), err);
    assert_int_equal(count, 2);
    assert_true(floats[0] == 0.5f && floats[1] == -1.5f);
    free(floats);
    assert_int_equal(hone_gguf_get_floats(set, "t.ints", &floats, &count, &err), HONE_ERR_FORMAT);
    assert_int_equal(hone_gguf_get_strings(set, "t.ints", &strings, &count, &err), HONE_ERR_FORMAT);
    assert_int_equal(hone_gguf_get_strings(set, "t.s", &strings, &count, &err), HONE_ERR_FORMAT);
    assert_ok(hone_gguf_get_floats(set, "t.absent", &floats, &count, &err), err);
    assert_null(floats);
    assert_int_equal(count, 0);
    hone_file_set_free(&set);
}

static void layouts_that_are_allowed(void **state) {
    (void)state;
    static const char *const scripts[] = {
        /* version 2, tensors in another order than their data, bytes behind the last */
        "raw=GGUF u32=2 u64=2 u64=0 s=a u32=1 u64=4 u32=0 u64=32 s=b u32=1 u64=4 u32=0 u64=0 "
        "pad=32 zero=48 raw=more",
        /* a scalar, four dimensions, an alignment of its own */
        "raw=GGUF u32=3 u64=2 u64=1 s=general.alignment u32=4 u32=8 s=a u32=0 u32=0 u64=0"
        " s=b u32=4 u64=2 u64=1 u64=1 u64=3 u32=1 u64=8 pad=8 zero=20",
        /* metadata only */
        "raw=GGUF u32=3 u64=0 u64=1 s=k u32=7 u8=1",
    };
    temp_folder t = temp_make();
    char *path = temp_path(&t, "x.bin");
    const size_t counts[] = {2, 2, 0};
    for (size_t i = 0; i < 3; i++) {
        write_script(path, scripts[i]);
        hone_file_set *set = open_file(path);
        assert_int_equal(set->tensor_count, counts[i]);
        if (i == 1) {
            const hone_tensor *b = hone_file_set_find(set, "b");
            assert_true(b->dims == 4 && b->shape[0] == 3 && b->shape[3] == 2 && b->bytes == 12);
            assert_int_equal(b->offset % 8, 0);
        }
        hone_file_set_free(&set);
    }
    free(path);
    temp_remove(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_where_the_writer_put_them),
        cmocka_unit_test(numbers_of_every_type_are_read),
        cmocka_unit_test(strings_and_arrays_are_read),
        cmocka_unit_test(layouts_that_are_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
