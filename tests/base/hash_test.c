/* SHA-256 against the examples of FIPS 180-4's supplement and against sha256sum. */
#include "support.h"
#include "temp.h"

#include "base/hash.h"

static void known_messages(void **state) {
    (void)state;
    static const struct {
        const char *message, *digest;
    } known[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char got[HONE_SHA256_TEXT];
        hone_error err;
        size_t size = strlen(known[i].message);
        assert_ok(hone_sha256(size ? known[i].message : NULL, size, got, &err), err);
        assert_string_equal(got, known[i].digest);
    }
}

static void files(void **state) {
    (void)state;
    temp_folder temp = temp_make();
    char *path = temp_path(&temp, "message"), got[HONE_SHA256_TEXT];
    hone_error err;
    FILE *file = fopen(path, "w");
    assert_true(file && fputs("abc", file) >= 0 && fclose(file) == 0);
    assert_ok(hone_sha256_file(path, 3, got, &err), err);
    assert_string_equal(got, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(hone_sha256_file(path, 2, got, &err) != HONE_OK); /* one byte more than allowed */
    assert_true(hone_sha256_file(temp.path, 100, got, &err) != HONE_OK); /* a folder */
    free(path);
    temp_remove(&temp);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_messages), cmocka_unit_test(files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
