/* tests/format/bytes: files written as short texts, so that a table of corrupt ones can be read.
 *
 *   u8=1 u32=3 u64=0x10   a little-endian integer          f32=1.5    a float
 *   s=abc                 u64 length and the bytes         raw=GGUF   the bytes alone
 *   zero=64               that many zero bytes             pad=32     zeros up to a multiple
 *   text=...              the rest of the line            json=...   its length in u64, and it
 *   rep=1000:u8=7         one item many times
 * Items are separated by blanks or line breaks; in s= and raw= "%20" is that byte.
 */
#ifndef HONE_TESTS_FORMAT_BYTES_H
#define HONE_TESTS_FORMAT_BYTES_H

#include "base/buf.h"
#include "temp.h"

static inline void put(hone_buf *out, const void *data, size_t size) {
    hone_error err = {0};
    assert_ok(hone_buf_append(out, data, size, &err), err);
}

static inline void put_zeros(hone_buf *out, size_t count) {
    for (size_t i = 0; i < count; i++) put(out, "", 1);
}

/* "%41" is 'A'. */
static inline void put_text(hone_buf *out, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (text[i] == '%' && i + 2 < size) {
            const char digits[3] = {text[i + 1], text[i + 2], '\0'};
            c = (char)strtol(digits, NULL, 16);
            i += 2;
        }
        put(out, &c, 1);
    }
}

static inline void put_item(hone_buf *out, const char *item, size_t size) {
    const char *value = memchr(item, '=', size);
    assert_non_null(value);
    size_t key = (size_t)(value++ - item), length = size - key - 1;
    uint64_t number = strtoull(value, NULL, 0);
    if (item[0] == 'u') {
        put(out, &number, (size_t)atoi(item + 1) / 8);
    } else if (strncmp(item, "f32", 3) == 0) {
        float f = strtof(value, NULL);
        put(out, &f, sizeof f);
    } else if (strncmp(item, "zero", key) == 0) {
        put_zeros(out, number);
    } else if (strncmp(item, "pad", key) == 0) {
        put_zeros(out, (number - out->size % number) % number);
    } else if (strncmp(item, "raw", key) == 0) {
        put_text(out, value, length);
    } else if (strncmp(item, "s", key) == 0) {
        hone_buf text = hone_buf_make(SIZE_MAX);
        put_text(&text, value, length);
        uint64_t bytes = text.size;
        put(out, &bytes, sizeof bytes);
        put(out, text.data, text.size);
        hone_buf_free(&text);
    } else {
        fail_msg("no item is called %.*s", (int)size, item);
    }
}

static inline void put_script(hone_buf *out, const char *script) {
    for (;;) {
        script += strspn(script, " \n");
        if (*script == '\0') return;
        size_t size = strcspn(script, " \n");
        size_t times = 1;
        bool json = strncmp(script, "json=", 5) == 0;
        if (json || strncmp(script, "text=", 5) == 0) {
            size = strcspn(script, "\n");
            uint64_t bytes = size - 5;
            if (json) put(out, &bytes, sizeof bytes);
            put(out, script + 5, size - 5);
            times = 0;
        } else if (strncmp(script, "rep=", 4) == 0) {
            const char *colon = strchr(script, ':');
            assert_non_null(colon);
            times = strtoull(script + 4, NULL, 0);
            size -= (size_t)(colon + 1 - script);
            script = colon + 1;
        }
        for (size_t i = 0; i < times; i++) put_item(out, script, size);
        script += size;
    }
}

static inline void write_script(const char *path, const char *script) {
    hone_buf out = hone_buf_make(SIZE_MAX);
    put_script(&out, script);
    temp_write(path, out.data != NULL ? out.data : "", out.size);
    hone_buf_free(&out);
}

#endif
