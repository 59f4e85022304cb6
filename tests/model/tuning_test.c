/* tests of model/tuning: what is written is read again, on this machine alone; and files that are not of its making. */
#include "temp.h"

#include <hone.h>

static temp_folder folder;
static char *path;

static int setup(void **state) {
    (void)state;
    folder = temp_make();
    path = temp_path(&folder, "tuning.json");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(path);
    temp_remove(&folder);
    return 0;
}

static const hone_tuning some = {{65536, 64}, {131072, 0}};

static void is_read_as_it_was_written(void **state) {
    (void)state;
    hone_tuning tuning;
    hone_error err;
    bool found = true;
    assert_ok(hone_tuning_read(path, &tuning, &found, &err), err);
    assert_false(found);
    assert_int_equal(tuning.f32.packed_bytes, 0);
    assert_ok(hone_tuning_write(path, &some, &err), err);
    assert_ok(hone_tuning_read(path, &tuning, &found, &err), err);
    assert_true(found);
    assert_memory_equal(&tuning, &some, sizeof some);
    assert_int_equal(temp_count(&folder), 1);
}

static void folders_are_made(void **state) {
    (void)state;
    char *deep = temp_path(&folder, "new/home/tuning.json");
    hone_error err;
    assert_ok(hone_tuning_write(deep, &some, &err), err);
    assert_int_equal(access(deep, R_OK), 0);
    free(deep);
}

/* The file as written, with `from` replaced by `to`. */
static void write_changed(const char *from, const char *to) {
    char text[4096], changed[8192];
    hone_error err;
    assert_ok(hone_tuning_write(path, &some, &err), err);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    char *at = strstr(text, from);
    if (!at) fail_msg("no %s in %s", from, text);
    *at = 0;
    int length = snprintf(changed, sizeof changed, "%s%s%s", text, to, at + strlen(from));
    temp_write(path, changed, (size_t)length);
}

static void another_machines_is_not_used(void **state) {
    (void)state;
    static const char *const keys[] = {"\"hone\": \"", "\"processor\": \"", "\"gemm_f32\": \"",
                                       "\"gemm_bf16\": \"", "\"vectors\": \""};
    for (int i = 0; i < 5; i++) {
        char to[64];
        hone_tuning tuning = some;
        hone_error err;
        bool found = true;
        snprintf(to, sizeof to, "%sanother ", keys[i]);
        write_changed(keys[i], to);
        assert_ok(hone_tuning_read(path, &tuning, &found, &err), err);
        assert_false(found);
        assert_int_equal(tuning.f32.packed_bytes, 0);
    }
}

static void other_files_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *says;
    } wrong[] = {
        {"65536", "0", "packed_bytes"},
        {"65536", "-65536", "packed_bytes"},
        {"65536", "99999999999", "packed_bytes"},
        {"65536", "65536.5", "packed_bytes"},
        {"65536", "\"65536\"", "packed_bytes"},
        {"64\n", "7\n", "loss_rows"},
        {"64\n", "513\n", "loss_rows"},
        {"\"f32\": {", "\"f32\": 3, \"f64\": {", "f32"},
        {"\"processor\"", "\"pilot\"", "processor"},
        {"{", "[{", "line"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        hone_tuning tuning = some;
        hone_error err = {0};
        bool found = true;
        write_changed(wrong[i].from, wrong[i].to);
        if (hone_tuning_read(path, &tuning, &found, &err) == HONE_OK)
            fail_msg("%s instead of %s was read", wrong[i].to, wrong[i].from);
        assert_false(found);
        assert_int_equal(tuning.f32.packed_bytes, 0);
        assert_non_null(strstr(err.message, path));
        if (!strstr(err.message, wrong[i].says))
            fail_msg("\"%s\" does not speak of %s", err.message, wrong[i].says);
    }
}

static void the_home_is_asked_for(void **state) {
    (void)state;
    setenv("HONE_HOME", "/somewhere", 1);
    char *where = hone_tuning_path();
    assert_string_equal(where, "/somewhere/tuning.json");
    hone_free(where);
}

static void a_model_refuses_nonsense(void **state) {
    (void)state;
    const hone_model_options options = {.tuning.f32.loss_rows = 1};
    hone_model *model = NULL;
    hone_error err;
    assert_int_equal(hone_model_open(HONE_GOLDEN_DIR "/archs/llama", &options, &model, &err),
                     HONE_ERR_USAGE);
    assert_null(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_read_as_it_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(folders_are_made, setup, teardown),
        cmocka_unit_test_setup_teardown(another_machines_is_not_used, setup, teardown),
        cmocka_unit_test_setup_teardown(other_files_are_refused, setup, teardown),
        cmocka_unit_test(the_home_is_asked_for),
        cmocka_unit_test(a_model_refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
