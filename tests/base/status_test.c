/* tests of base/status, base/utf8 and base/buf. */
#include "base/buf.h"
#include "base/utf8.h"

#include "support.h"

#include <errno.h>

static void messages_are_formatted_and_prefixed(void **state) {
    (void)state;
    hone_error err = {0};
    assert_int_equal(hone_fail(&err, HONE_ERR_FORMAT, "byte %d: %s", 7, "odd"), HONE_ERR_FORMAT);
    assert_string_equal(err.message, "byte 7: odd");
    assert_int_equal(hone_fail_prefix(&err, "%s", "a.gguf"), HONE_ERR_FORMAT);
    assert_string_equal(err.message, "a.gguf: byte 7: odd");
    assert_int_equal(hone_fail(NULL, HONE_ERR_LIMIT, "nobody listens"), HONE_ERR_LIMIT);
}

static void a_message_may_quote_itself(void **state) {
    (void)state;
    hone_error err = {0};
    hone_fail(&err, HONE_ERR_IO, "inner");
    hone_fail(&err, HONE_ERR_IO, "outer (%s)", err.message);
    assert_string_equal(err.message, "outer (inner)");
}

static void long_messages_are_cut_between_characters(void **state) {
    (void)state;
    char text[3001] = "";
    for (int i = 0; i < 1500; i++) memcpy(text + 2 * i, "\xc3\xa9", 2);
    hone_error err = {0};
    hone_fail(&err, HONE_ERR_IO, "x%s",
              text); /* 1023 bytes end after a whole character, 1022 would not */
    assert_int_equal(strlen(err.message), 1023);
    assert_true(hone_utf8_valid(err.message, strlen(err.message)));
    hone_fail(&err, HONE_ERR_IO, "%s", text);
    assert_int_equal(strlen(err.message), 1022);
    assert_true(hone_utf8_valid(err.message, strlen(err.message)));
}

static void nothing_reaches_a_terminal_that_it_obeys(void **state) {
    (void)state;
    hone_error err = {0};
    hone_fail(&err, HONE_ERR_FORMAT, "%s", "a\x1b[2Jb\nc\x7f\xc2\x9b\xff é");
    assert_string_equal(err.message, "a?[2Jb?c??? é");
}

static void errno_comes_with_advice(void **state) {
    (void)state;
    hone_error err = {0};
    errno = ENOSPC;
    assert_int_equal(hone_fail_errno(&err, "write", "out.bin"), HONE_ERR_IO);
    assert_string_equal(err.message,
                        "out.bin: cannot write: No space left on device; free some space or choose "
                        "another folder");
    errno = ENOMEM;
    assert_int_equal(hone_fail_errno(&err, "map", "out.bin"), HONE_ERR_MEMORY);
}

static void utf8_is_what_the_standard_allows(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        uint32_t code;
    } rows[] = {
        {"A", 1, 'A'},
        {"\xc3\xa9", 2, 0xe9},
        {"\xe2\x82\xac", 3, 0x20ac},
        {"\xf0\x9f\x9a\x80", 4, 0x1f680},
        {"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
        {"\xef\xbf\xbf", 3, 0xffff},
        {"\x80", 0, 0},
        {"\xc1\xbf", 0, 0},
        {"\xe0\x9f\xbf", 0, 0},
        {"\xed\xa0\x80", 0, 0},
        {"\xf0\x8f\xbf\xbf", 0, 0},
        {"\xf4\x90\x80\x80", 0, 0},
        {"\xf5\x80\x80\x80", 0, 0},
        {"\xe2\x82", 0, 0},
        {"\xe2\x28\xa1", 0, 0},
        {"\xff", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t code = 0;
        assert_int_equal(hone_utf8_decode(rows[i].bytes, strlen(rows[i].bytes), &code),
                         rows[i].length);
        if (rows[i].length == 0) continue;
        assert_int_equal(code, rows[i].code);
        char bytes[4];
        assert_int_equal(hone_utf8_encode(code, bytes), rows[i].length);
        assert_memory_equal(bytes, rows[i].bytes, rows[i].length);
    }
    char bytes[4];
    assert_int_equal(hone_utf8_encode(0xd800, bytes), 0);
    assert_int_equal(hone_utf8_encode(0x110000, bytes), 0);
}

static void buffers_grow_up_to_their_cap(void **state) {
    (void)state;
    hone_error err = {0};
    hone_buf b = hone_buf_make(10);
    assert_ok(hone_buf_append_str(&b, "12345", &err), err);
    assert_ok(hone_buf_printf(&b, &err, "%d", 6789), err);
    assert_ok(hone_buf_append_char(&b, '0', &err), err);
    assert_string_equal(b.data, "1234567890");
    assert_int_equal(hone_buf_append_char(&b, 'x', &err), HONE_ERR_LIMIT);
    assert_non_null(strstr(err.message, "10 bytes"));
    assert_string_equal(b.data, "1234567890");
    hone_buf_free(&b);
    b = hone_buf_make(SIZE_MAX);
    for (int i = 0; i < 100000; i++) assert_ok(hone_buf_append(&b, "abc", 3, &err), err);
    assert_int_equal(b.size, 300000);
    assert_int_equal(strlen(b.data), 300000);
    hone_buf_free(&b);
    assert_null(b.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_formatted_and_prefixed),
        cmocka_unit_test(a_message_may_quote_itself),
        cmocka_unit_test(long_messages_are_cut_between_characters),
        cmocka_unit_test(nothing_reaches_a_terminal_that_it_obeys),
        cmocka_unit_test(errno_comes_with_advice),
        cmocka_unit_test(utf8_is_what_the_standard_allows),
        cmocka_unit_test(buffers_grow_up_to_their_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
