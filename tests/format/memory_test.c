/* tests of format: every allocation fails in turn, once and from then on. No crash, no leak, and an
 * error that says so. The allocator is replaced here, so a sanitizer's cannot be used beside it. */
#include "base/json.h"
#include "format/gguf.h"
#include "format/safetensors.h"

#include "temp.h"

#include <errno.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)

int main(void) { return cmocka_run_group_tests((const struct CMUnitTest[]){{0}}, NULL, NULL); }

#else

/* The C library's own calls (strdup, qsort) are to come here, too. */
#define SHARED __attribute__((visibility("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

/* volatile: compilers take it that an allocator touches no variable of the program. */
static volatile struct {
    bool on, from_then_on;
    long countdown; /* the allocation that fails comes at 1 */
    long alive;     /* blocks taken and not given back while on */
    bool hit;
} fault;

static bool fails(void) {
    if (!fault.on) return false;
    fault.countdown--;
    if (fault.countdown != 0 && (fault.countdown > 0 || !fault.from_then_on)) return false;
    fault.hit = true;
    errno = ENOMEM;
    return true;
}

static void *counted(void *block) {
    if (fault.on && block != NULL) fault.alive++;
    return block;
}

SHARED void *malloc(size_t size) { return fails() ? NULL : counted(__libc_malloc(size)); }

SHARED void *calloc(size_t count, size_t size) {
    return fails() ? NULL : counted(__libc_calloc(count, size));
}

SHARED void *realloc(void *block, size_t size) {
    if (fails()) return NULL;
    return block == NULL ? counted(__libc_realloc(block, size)) : __libc_realloc(block, size);
}

SHARED void free(void *block) {
    if (fault.on && block != NULL) fault.alive--;
    __libc_free(block);
}

typedef hone_status (*job_fn)(const char *path, hone_error *err);

/* Runs the job with its n-th allocation failing, for all n, until it runs through untouched. */
static void fail_in_turn(job_fn job, const char *path, int least) {
    for (int from_then_on = 0; from_then_on <= 1; from_then_on++) {
        long failures = 0;
        for (long nth = 1;; nth++) {
            hone_error err = {0};
            fault.from_then_on = from_then_on != 0;
            fault.countdown = nth;
            fault.hit = false;
            fault.alive = 0;
            fault.on = true;
            hone_status status = job(path, &err);
            fault.on = false;
            if (fault.alive != 0) fail_msg("allocation %ld: %ld blocks leaked", nth, fault.alive);
            if (!fault.hit) {
                assert_ok(status, err);
                break;
            }
            failures += status != HONE_OK;
            /* qsort and the like make do without memory; what fails says why. */
            if (status != HONE_OK && status != HONE_ERR_MEMORY)
                fail_msg("allocation %ld: status %d: %s", nth, status, err.message);
            assert_int_equal(err.status, status);
        }
        assert_true(failures >= least);
    }
}

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
