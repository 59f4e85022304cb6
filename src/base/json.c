/* base/json: jansson behind one door: limits, positions in messages, and typed look-ups. */
#include "base/json.h"

#include "base/file.h"
#include "base/size.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_CHARS = 40 };

static json_t *load(const char *text, size_t size, json_error_t *error) {
    return json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, error);
}

static hone_status fail_parse(const json_error_t *error, const char *name, size_t first_line,
                              hone_error *err) {
    enum json_error_code code = json_error_code(error);
    /* jansson has a code for a lack of memory, but leaves the text empty instead. */
    if (code == json_error_out_of_memory || error->text[0] == '\0') {
        return hone_fail(err, HONE_ERR_MEMORY, "%s: out of memory", name);
    }
    bool nul = code == json_error_null_character || code == json_error_null_byte_in_key;
    return hone_fail(err, code == json_error_stack_overflow ? HONE_ERR_LIMIT : HONE_ERR_FORMAT,
                     "%s: line %zu, column %d: %s%s", name,
                     first_line + (size_t)HONE_MAX(error->line, 1) - 1, HONE_MAX(error->column, 1),
                     nul ? "a NUL character in a string is not supported; remove it" : error->text,
                     nul ? "" : "; expected well-formed JSON");
}

/* Whether `size` digits (no sign) are more than any int64 has. */
static bool digits_overflow(const char *digits, size_t size) {
    static const char most[] = "9223372036854775807";
    return size > sizeof most - 1 || (size == sizeof most - 1 && memcmp(digits, most, size) > 0);
}

/* Copies the text with ".0" behind every integer that needs it to be read. */
static hone_status widen_integers(const char *text, size_t size, hone_buf *out, hone_error *err) {
    size_t kept = 0; /* bytes of the text that were copied */
    bool in_string = false;
    for (size_t at = 0; at < size;) {
        char c = text[at];
        if (in_string && c == '\\') {
            at += 2;
        } else if (in_string || c < '0' || c > '9') {
            in_string ^= c == '"';
            at++;
        } else {
            size_t begin = at;
            while (at < size && text[at] >= '0' && text[at] <= '9') at++;
            bool integer = at == size || strchr(".eE", text[at]) == NULL;
            if (integer && digits_overflow(text + begin, at - begin)) {
                HONE_TRY(hone_buf_append(out, text + kept, at - kept, err));
                HONE_TRY(hone_buf_append_str(out, ".0", err));
                kept = at;
            }
            while (at < size && strchr(".eE+-0123456789", text[at]) != NULL && text[at] != '\0')
                at++;
        }
    }
    return hone_buf_append(out, text + kept, size - kept, err);
}

hone_status hone_json_parse(const char *text, size_t size, const char *name, json_t **out,
                            hone_error *err) {
    return hone_json_parse_from(text, size, name, 1, out, err);
}

hone_status hone_json_parse_from(const char *text, size_t size, const char *name, size_t first_line,
                                 json_t **out, hone_error *err) {
    json_error_t error;
    *out = load(text, size, &error);
    if (*out == NULL && json_error_code(&error) == json_error_numeric_overflow) {
        hone_buf wide = hone_buf_make(SIZE_MAX);
        hone_status status = widen_integers(text, size, &wide, err);
        if (status == HONE_OK) *out = load(wide.data, wide.size, &error);
        hone_buf_free(&wide);
        if (status != HONE_OK) return hone_fail_prefix(err, "%s", name);
    }
    return *out != NULL ? HONE_OK : fail_parse(&error, name, first_line, err);
}

hone_status hone_json_read(const char *path, size_t limit, json_t **out, hone_error *err) {
    *out = NULL;
    hone_buf text;
    HONE_TRY(hone_file_read(path, limit, &text, err));
    hone_status status = hone_json_parse(text.data, text.size, path, out, err);
    hone_buf_free(&text);
    return status;
}

/* The fewest digits that read back as the same number; 100000.0 rather than 1e+05. */
static void format_real(double value, char text[NUMBER_CHARS]) {
    bool whole = fabs(value) < 1e15 && value == floor(value);
    if (whole) snprintf(text, NUMBER_CHARS, "%.1f", value);
    for (int digits = 1; !whole && digits <= 17; digits++) {
        snprintf(text, NUMBER_CHARS, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    char *comma = strchr(text, ','); /* the locale's decimal point */
    if (comma != NULL) *comma = '.';
}

static hone_status format_scalar(const json_t *value, hone_buf *buf, hone_error *err) {
    if (json_is_real(value)) {
        char text[NUMBER_CHARS];
        format_real(json_real_value(value), text);
        return hone_buf_append_str(buf, text, err);
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    if (text == NULL) return hone_fail_memory(err, "a JSON value", json_string_length(value) + 1);
    hone_status status = hone_buf_append_str(buf, text, err);
    free(text);
    return status;
}

/* Starts a line of its own, when the text has lines. */
static hone_status break_line(hone_buf *buf, int indent, int depth, hone_error *err) {
    return indent == 0 ? HONE_OK : hone_buf_printf(buf, err, "\n%*s", indent * depth, "");
}

static hone_status format_value(const json_t *value, int indent, int depth, hone_buf *buf,
                                hone_error *err);

static hone_status format_array(const json_t *array, int indent, int depth, hone_buf *buf,
                                hone_error *err) {
    size_t count = json_array_size(array);
    HONE_TRY(hone_buf_append_char(buf, '[', err));
    for (size_t i = 0; i < count; i++) {
        if (i > 0) HONE_TRY(hone_buf_append_str(buf, indent == 0 ? ", " : ",", err));
        HONE_TRY(break_line(buf, indent, depth + 1, err));
        HONE_TRY(format_value(json_array_get(array, i), indent, depth + 1, buf, err));
    }
    if (count > 0) HONE_TRY(break_line(buf, indent, depth, err));
    return hone_buf_append_char(buf, ']', err);
}

static hone_status format_object(const json_t *object, int indent, int depth, hone_buf *buf,
                                 hone_error *err) {
    json_t *members = (json_t *)(uintptr_t)object; /* jansson's iterators take no const */
    HONE_TRY(hone_buf_append_char(buf, '{', err));
    bool first = true;
    for (void *at = json_object_iter(members); at != NULL;
         at = json_object_iter_next(members, at)) {
        if (!first) HONE_TRY(hone_buf_append_str(buf, indent == 0 ? ", " : ",", err));
        first = false;
        HONE_TRY(break_line(buf, indent, depth + 1, err));
        json_t *key = json_string(json_object_iter_key(at));
        if (key == NULL) return hone_fail_memory(err, "a JSON key", 1);
        hone_status status = format_scalar(key, buf, err);
        json_decref(key);
        HONE_TRY(status);
        HONE_TRY(hone_buf_append_str(buf, ": ", err));
        HONE_TRY(format_value(json_object_iter_value(at), indent, depth + 1, buf, err));
    }
    if (!first) HONE_TRY(break_line(buf, indent, depth, err));
    return hone_buf_append_char(buf, '}', err);
}

static hone_status format_value(const json_t *value, int indent, int depth, hone_buf *buf,
                                hone_error *err) {
    if (json_is_array(value)) return format_array(value, indent, depth, buf, err);
    if (json_is_object(value)) return format_object(value, indent, depth, buf, err);
    return format_scalar(value, buf, err);
}

hone_status hone_json_format(const json_t *value, int indent, hone_buf *buf, hone_error *err) {
    return format_value(value, indent, 0, buf, err);
}

hone_status hone_json_write(const char *path, const json_t *value, hone_error *err) {
    hone_buf text = hone_buf_make(SIZE_MAX);
    hone_status status = hone_json_format(value, 2, &text, err);
    if (status == HONE_OK) status = hone_buf_append_char(&text, '\n', err);
    if (status != HONE_OK) hone_fail_prefix(err, "%s", path);
    if (status == HONE_OK) status = hone_file_write_atomic(path, text.data, text.size, err);
    hone_buf_free(&text);
    return status;
}

/* The member, or NULL when it is absent or null. */
static const json_t *member(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static hone_status fail_type(const json_t *value, const char *key, const char *name,
                             const char *expected, hone_error *err) {
    static const char *const types[] = {"an object", "an array", "a string", "an integer",
                                        "a number",  "true",     "false",    "null"};
    return hone_fail(err, HONE_ERR_FORMAT, "%s: \"%s\" is %s; expected %s", name, key,
                     types[json_typeof(value)], expected);
}

hone_status hone_json_get_int(const json_t *object, const char *key, const char *name, int64_t low,
                              int64_t high, int64_t fallback, int64_t *out, hone_error *err) {
    const json_t *value = member(object, key);
    *out = fallback;
    if (value == NULL) return HONE_OK;
    if (!json_is_integer(value)) return fail_type(value, key, name, "an integer", err);
    json_int_t number = json_integer_value(value);
    if (number < low || number > high) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: \"%s\" is %" JSON_INTEGER_FORMAT "; expected an integer from %" PRId64
                         " to %" PRId64,
                         name, key, number, low, high);
    }
    *out = number;
    return HONE_OK;
}

hone_status hone_json_get_number(const json_t *object, const char *key, const char *name,
                                 double fallback, double *out, hone_error *err) {
    const json_t *value = member(object, key);
    *out = fallback;
    if (value == NULL) return HONE_OK;
    if (!json_is_number(value)) return fail_type(value, key, name, "a number", err);
    *out = json_number_value(value);
    return HONE_OK;
}

hone_status hone_json_get_bool(const json_t *object, const char *key, const char *name,
                               bool fallback, bool *out, hone_error *err) {
    const json_t *value = member(object, key);
    *out = fallback;
    if (value == NULL) return HONE_OK;
    if (!json_is_boolean(value)) return fail_type(value, key, name, "true or false", err);
    *out = json_is_true(value);
    return HONE_OK;
}

hone_status hone_json_get_string(const json_t *object, const char *key, const char *name,
                                 const char *fallback, const char **out, hone_error *err) {
    const json_t *value = member(object, key);
    *out = fallback;
    if (value == NULL) return HONE_OK;
    if (!json_is_string(value)) return fail_type(value, key, name, "a string", err);
    *out = json_string_value(value);
    return HONE_OK;
}

void hone_json_add(json_t **array, json_t *item) {
    if (json_array_append_new(*array, item) == 0) return;
    json_decref(*array);
    *array = NULL;
}

void hone_json_set(json_t **object, const char *key, json_t *item) {
    if (json_object_set_new(*object, key, item) == 0) return;
    json_decref(*object);
    *object = NULL;
}

json_t *hone_json_string(const char *text) {
    size_t size = strlen(text);
    if (hone_utf8_valid(text, size)) return json_stringn(text, size);
    char *ascii = strdup(text);
    for (char *c = ascii; c && *c; c++) *c = (unsigned char)*c < 0x80 ? *c : '?';
    json_t *string = ascii ? json_string(ascii) : NULL;
    free(ascii);
    return string;
}
