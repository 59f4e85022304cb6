/* format/scan: a cursor over JSON text in a mapped file. */
#include "format/scan.h"

#include "base/size.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

hone_status hone_scan_fail(const hone_scan *scan, size_t at, hone_status status, hone_error *err,
                           const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return hone_fail(err, status, "%s: byte %zu: %s", scan->path, scan->base + at, text);
}

static void skip_space(hone_scan *scan) {
    while (scan->at < scan->size) {
        char c = scan->text[scan->at];
        if (c != ' ' && c != '\n' && c != '\t' && c != '\r') break;
        scan->at++;
    }
}

static hone_status fail_expected(const hone_scan *scan, const char *what, hone_error *err) {
    if (scan->at == scan->size) {
        return hone_scan_fail(scan, scan->at, HONE_ERR_FORMAT, err,
                              "expected %s, got the end of the JSON text", what);
    }
    return hone_scan_fail(scan, scan->at, HONE_ERR_FORMAT, err, "expected %s, got '%c'", what,
                          scan->text[scan->at]);
}

bool hone_scan_accept(hone_scan *scan, char c) {
    skip_space(scan);
    if (scan->at == scan->size || scan->text[scan->at] != c) return false;
    scan->at++;
    return true;
}

hone_status hone_scan_expect(hone_scan *scan, char c, hone_error *err) {
    const char quoted[] = {'\'', c, '\'', '\0'};
    return hone_scan_accept(scan, c) ? HONE_OK : fail_expected(scan, quoted, err);
}

/* Four hexadecimal digits at the cursor. */
static bool take_hex(hone_scan *scan, uint32_t *out) {
    if (scan->size - scan->at < 4) return false;
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = scan->text[scan->at++];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) return false;
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

/* Behind "\u": one code point, which may be a pair of surrogates. */
static bool take_unicode(hone_scan *scan, uint32_t *code) {
    uint32_t low;
    if (!take_hex(scan, code)) return false;
    if (*code < 0xd800 || *code > 0xdfff) return true;
    if (*code > 0xdbff || scan->size - scan->at < 2 || memcmp(scan->text + scan->at, "\\u", 2) != 0)
        return false;
    scan->at += 2;
    if (!take_hex(scan, &low) || low < 0xdc00 || low > 0xdfff) return false;
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* Behind a backslash. */
static hone_status take_escape(hone_scan *scan, hone_buf *out, hone_error *err) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    size_t start = scan->at - 1;
    char c = scan->at < scan->size ? scan->text[scan->at++] : '\0';
    const char *simple = c != '\0' ? strchr(from, c) : NULL;
    if (simple != NULL) return hone_buf_append_char(out, to[simple - from], err);
    uint32_t code = 0;
    char bytes[4];
    if (c != 'u' || !take_unicode(scan, &code)) {
        return hone_scan_fail(scan, start, HONE_ERR_FORMAT, err, "a bad escape in a string");
    }
    if (code == 0)
        return hone_scan_fail(scan, start, HONE_ERR_FORMAT, err, "a NUL character in a string");
    return hone_buf_append(out, bytes, hone_utf8_encode(code, bytes), err);
}

hone_status hone_scan_string(hone_scan *scan, hone_buf *out, hone_error *err) {
    out->size = 0;
    if (!hone_scan_accept(scan, '"')) return fail_expected(scan, "a string", err);
    size_t start = scan->at - 1;
    HONE_TRY(hone_buf_append(out, "", 0, err)); /* so that an empty string is one, too */
    while (scan->at < scan->size) {
        uint32_t code = 0;
        size_t length = hone_utf8_decode(scan->text + scan->at, scan->size - scan->at, &code);
        if (length == 0 || code < 0x20) {
            return hone_scan_fail(scan, scan->at, HONE_ERR_FORMAT, err, "%s in a string",
                                  length == 0 ? "bad UTF-8" : "a control character");
        }
        const char *bytes = scan->text + scan->at;
        scan->at += length;
        if (code == '"') return HONE_OK;
        HONE_TRY(code == '\\' ? take_escape(scan, out, err)
                              : hone_buf_append(out, bytes, length, err));
    }
    return hone_scan_fail(scan, start, HONE_ERR_FORMAT, err, "a string without end");
}

static bool is_digit(const hone_scan *scan) {
    return scan->at < scan->size && scan->text[scan->at] >= '0' && scan->text[scan->at] <= '9';
}

hone_status hone_scan_size(hone_scan *scan, size_t *out, hone_error *err) {
    skip_space(scan);
    size_t start = scan->at, value = 0;
    if (!is_digit(scan)) return fail_expected(scan, "an integer of at least 0", err);
    for (; is_digit(scan); scan->at++) {
        if (!hone_size_mul(value, 10, &value) ||
            !hone_size_add(value, (size_t)(scan->text[scan->at] - '0'), &value)) {
            return hone_scan_fail(scan, start, HONE_ERR_FORMAT, err, "an integer beyond 64 bits");
        }
    }
    bool fraction = scan->at < scan->size && strchr(".eE", scan->text[scan->at]) != NULL;
    if (fraction || (scan->text[start] == '0' && scan->at - start > 1)) {
        return hone_scan_fail(scan, start, HONE_ERR_FORMAT, err,
                              "a number that is not written as a plain integer");
    }
    *out = value;
    return HONE_OK;
}

static bool skip_digits(hone_scan *scan) {
    size_t start = scan->at;
    while (is_digit(scan)) scan->at++;
    return scan->at > start;
}

/* A character at the cursor itself, without white space before it. */
static bool next_is(hone_scan *scan, const char *characters) {
    if (scan->at == scan->size || scan->text[scan->at] == '\0') return false;
    if (strchr(characters, scan->text[scan->at]) == NULL) return false;
    scan->at++;
    return true;
}

static hone_status skip_scalar(hone_scan *scan, hone_buf *text, hone_error *err) {
    static const char *const words[] = {"true", "false", "null"};
    skip_space(scan);
    size_t left = scan->size - scan->at;
    if (left > 0 && scan->text[scan->at] == '"') return hone_scan_string(scan, text, err);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t length = strlen(words[i]);
        if (left < length || memcmp(scan->text + scan->at, words[i], length) != 0) continue;
        scan->at += length;
        return HONE_OK;
    }
    (void)next_is(scan, "-");
    bool ok = next_is(scan, "0") || skip_digits(scan);
    if (ok && next_is(scan, ".")) ok = skip_digits(scan);
    if (ok && next_is(scan, "eE")) {
        (void)next_is(scan, "+-");
        ok = skip_digits(scan);
    }
    return ok ? HONE_OK : fail_expected(scan, "a value", err);
}

/* The open brackets are the bits of one word, so that nesting costs no stack. */
hone_status hone_scan_skip(hone_scan *scan, hone_error *err) {
    hone_buf text = hone_buf_make(SIZE_MAX);
    hone_status status = HONE_OK;
    uint64_t objects = 0;
    int depth = 0;
    do {
        bool opened = hone_scan_accept(scan, '{'), object = opened;
        if (!opened) opened = hone_scan_accept(scan, '[');
        if (opened && depth == 64) {
            status =
                hone_scan_fail(scan, scan->at - 1, HONE_ERR_LIMIT, err, "nested more than 64 deep");
        } else if (opened) {
            objects = objects << 1 | object;
            depth++;
        } else {
            status = skip_scalar(scan, &text, err);
        }
        bool first = opened; /* nothing of the innermost container was read yet */
        while (status == HONE_OK && depth > 0 &&
               hone_scan_accept(scan, (objects & 1) != 0 ? '}' : ']')) {
            objects >>= 1;
            depth--;
            first = false;
        }
        if (status != HONE_OK || depth == 0) break;
        if (!first) status = hone_scan_expect(scan, ',', err);
        if (status == HONE_OK && (objects & 1) != 0) {
            status = hone_scan_string(scan, &text, err);
            if (status == HONE_OK) status = hone_scan_expect(scan, ':', err);
        }
    } while (status == HONE_OK);
    hone_buf_free(&text);
    return status;
}

hone_status hone_scan_end(hone_scan *scan, hone_error *err) {
    skip_space(scan);
    return scan->at == scan->size ? HONE_OK : fail_expected(scan, "nothing more", err);
}
