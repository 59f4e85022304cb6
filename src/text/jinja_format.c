/* text/jinja_format: Python's printf-style formatting, for the % operator and the filter `format`.
 */
#include "base/size.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include "text/unicode.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_WIDTH 1000

typedef struct spec {
    bool left, zero, plus, space, alternate;
    int width, precision; /* precision -1: not given */
    char type;
} spec;

typedef struct formatter {
    hone_render *r;
    hone_slice format;
    size_t at;
    const hone_value *values; /* a tuple's items, a mapping or the one value */
    size_t next;              /* of a tuple */
    hone_buf *out;
} formatter;

static hone_status fail(const formatter *f, const char *what) {
    return hone_fail(f->r->err, HONE_ERR_FORMAT, "format \"%.*s\": %s",
                     (int)HONE_MIN(f->format.size, (size_t)100), f->format.data, what);
}

static char peek(const formatter *f) {
    return f->at < f->format.size ? f->format.data[f->at] : '\0';
}

static hone_status read_number(formatter *f, int *out) {
    for (*out = 0; peek(f) >= '0' && peek(f) <= '9'; f->at++) {
        *out = 10 * *out + (peek(f) - '0');
        if (*out > MAX_WIDTH) return fail(f, "a width or precision over 1000");
    }
    return HONE_OK;
}

/* %(name): the value of that key. */
static hone_status read_key(formatter *f, const hone_value **value) {
    const char *begin = f->format.data + f->at + 1;
    const char *end = memchr(begin, ')', f->format.size - f->at - 1);
    if (end == NULL || !hone_value_is(f->values, HONE_VALUE_DICT))
        return fail(f, "a key without a mapping");
    hone_value key = hone_value_string(begin, (size_t)(end - begin));
    HONE_TRY(hone_dict_get(f->r, f->values->dict, &key, value));
    f->at = (size_t)(end - f->format.data) + 1;
    return *value == NULL ? fail(f, "a key that the mapping lacks") : HONE_OK;
}

static hone_status read_spec(formatter *f, spec *s) {
    *s = (spec){.precision = -1};
    for (;; f->at++) {
        char c = peek(f);
        s->left = s->left || c == '-';
        s->zero = s->zero || c == '0';
        s->plus = s->plus || c == '+';
        s->space = s->space || c == ' ';
        s->alternate = s->alternate || c == '#';
        if (c == '\0' || strchr("-0+ #", c) == NULL) break;
    }
    HONE_TRY(read_number(f, &s->width));
    if (peek(f) == '.') {
        f->at++;
        HONE_TRY(read_number(f, &s->precision));
    }
    s->type = peek(f);
    f->at++;
    if (s->type == '\0' || strchr("diuxXofFeEgGsrac%", s->type) == NULL)
        return fail(f, "an unknown conversion");
    return HONE_OK;
}

static hone_status take_value(formatter *f, const hone_value **value) {
    if (!hone_value_is(f->values, HONE_VALUE_TUPLE)) {
        if (f->next++ > 0) return fail(f, "not enough arguments");
        *value = f->values;
        return HONE_OK;
    }
    if (f->next == f->values->list->count) return fail(f, "not enough arguments");
    *value = &f->values->list->items[f->next++];
    return HONE_OK;
}

/* Pads to the width, zeros going between sign and digits. */
static hone_status write_padded(formatter *f, const spec *s, const char *sign, hone_slice body) {
    hone_error *err = f->r->err;
    size_t used = strlen(sign) + hone_utf8_count(body.data, body.size);
    size_t missing = (size_t)s->width > used ? (size_t)s->width - used : 0;
    bool zero = s->zero && !s->left;
    for (size_t i = 0; i < missing && !s->left && !zero; i++)
        HONE_TRY(hone_buf_append_char(f->out, ' ', err));
    HONE_TRY(hone_buf_append_str(f->out, sign, err));
    for (size_t i = 0; i < missing && zero; i++) HONE_TRY(hone_buf_append_char(f->out, '0', err));
    HONE_TRY(hone_buf_append(f->out, body.data, body.size, err));
    for (size_t i = 0; i < missing && s->left; i++)
        HONE_TRY(hone_buf_append_char(f->out, ' ', err));
    return HONE_OK;
}

static const char *sign_of(const spec *s, bool negative) {
    return negative ? "-" : s->plus ? "+" : s->space ? " " : "";
}

static hone_status write_integer(formatter *f, const spec *s, const hone_value *v) {
    bool decimal = strchr("diu", s->type) != NULL;
    bool whole = hone_value_is_integer(v) ||
                 (decimal && hone_value_is(v, HONE_VALUE_FLOAT) && fabs(v->real) < 9.2e18);
    if (!whole) return fail(f, "a number is required");
    int64_t integer = hone_value_is_integer(v) ? hone_value_integer(v) : (int64_t)v->real;
    uint64_t magnitude = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
    char text[MAX_WIDTH + 32], prefixed[MAX_WIDTH + 32];
    int precision = s->precision < 0 ? 1 : s->precision;
    const char *prefix = !s->alternate || decimal ? ""
                         : s->type == 'o'         ? "0o"
                         : s->type == 'x'         ? "0x"
                                                  : "0X";
    if (s->type == 'o') snprintf(text, sizeof text, "%.*" PRIo64, precision, magnitude);
    if (s->type == 'x') snprintf(text, sizeof text, "%.*" PRIx64, precision, magnitude);
    if (s->type == 'X') snprintf(text, sizeof text, "%.*" PRIX64, precision, magnitude);
    if (decimal) snprintf(text, sizeof text, "%.*" PRIu64, precision, magnitude);
    snprintf(prefixed, sizeof prefixed, "%s%.*s", prefix, (int)sizeof prefixed - 3, text);
    return write_padded(f, s, sign_of(s, integer < 0), (hone_slice){prefixed, strlen(prefixed)});
}

static hone_status write_real(formatter *f, const spec *s, const hone_value *v) {
    if (!hone_value_is_number(v)) return fail(f, "a number is required");
    double real = hone_value_real(v);
    char pattern[8], text[MAX_WIDTH + 400];
    snprintf(pattern, sizeof pattern, "%%%s.*%c", s->alternate ? "#" : "", s->type);
    snprintf(text, sizeof text, pattern, s->precision < 0 ? 6 : s->precision, fabs(real));
    char *comma = strchr(text, ',');
    if (comma != NULL) *comma = '.'; /* the locale's */
    return write_padded(f, s, sign_of(s, signbit(real) && !isnan(real)),
                        (hone_slice){text, strlen(text)});
}

static hone_status write_text(formatter *f, const spec *s, const hone_value *v) {
    hone_value text;
    hone_buf buf = hone_render_buf();
    hone_status status =
        s->type == 's' ? hone_value_str(f->r, v, &buf) : hone_value_repr(f->r, v, &buf);
    HONE_TRY(hone_render_take(f->r, status, &buf, &text));
    if (s->precision >= 0) text.string.size = hone_text_offset(text.string, (size_t)s->precision);
    spec plain = *s;
    plain.zero = false;
    return write_padded(f, &plain, "", text.string);
}

static hone_status write_char(formatter *f, const spec *s, const hone_value *v) {
    char bytes[4];
    if (hone_value_is(v, HONE_VALUE_STRING) &&
        hone_utf8_count(v->string.data, v->string.size) == 1) {
        return write_padded(f, s, "", v->string);
    }
    bool valid =
        hone_value_is_integer(v) && hone_value_integer(v) >= 0 && hone_value_integer(v) <= 0x10ffff;
    size_t size = valid ? hone_utf8_encode((uint32_t)hone_value_integer(v), bytes) : 0;
    return size == 0 ? fail(f, "%c requires int or char")
                     : write_padded(f, s, "", (hone_slice){bytes, size});
}

static hone_status format_one(formatter *f) {
    const hone_value *value = NULL;
    spec s;
    if (peek(f) == '(') HONE_TRY(read_key(f, &value));
    HONE_TRY(read_spec(f, &s));
    if (s.type == '%') return hone_buf_append_char(f->out, '%', f->r->err);
    if (value == NULL) HONE_TRY(take_value(f, &value));
    if (hone_value_is(value, HONE_VALUE_UNDEFINED) && strchr("sra", s.type) == NULL) {
        return hone_value_fail_undefined(f->r, value);
    }
    if (strchr("diuxXo", s.type) != NULL) return write_integer(f, &s, value);
    if (strchr("sra", s.type) != NULL) return write_text(f, &s, value);
    return s.type == 'c' ? write_char(f, &s, value) : write_real(f, &s, value);
}

static hone_status format_all(formatter *f) {
    while (f->at < f->format.size) {
        const char *begin = f->format.data + f->at;
        const char *percent = memchr(begin, '%', f->format.size - f->at);
        size_t plain = percent == NULL ? f->format.size - f->at : (size_t)(percent - begin);
        HONE_TRY(hone_render_charge(f->r, 1 + plain / 64));
        HONE_TRY(hone_buf_append(f->out, begin, plain, f->r->err));
        f->at += plain;
        if (percent == NULL) break;
        f->at++;
        HONE_TRY(format_one(f));
    }
    bool tuple = hone_value_is(f->values, HONE_VALUE_TUPLE);
    bool mapping = hone_value_is(f->values, HONE_VALUE_DICT) ||
                   hone_value_is(f->values, HONE_VALUE_LIST) ||
                   hone_value_is(f->values, HONE_VALUE_UNDEFINED) ||
                   hone_value_is(f->values, HONE_VALUE_RANGE);
    bool all = tuple ? f->next == f->values->list->count : mapping || f->next > 0;
    return all ? HONE_OK : fail(f, "not all arguments are used");
}

hone_status hone_jinja_format_percent(hone_render *r, hone_slice format, const hone_value *values,
                                      hone_value *out) {
    hone_buf buf = hone_render_buf();
    formatter f = {.r = r, .format = format, .values = values, .out = &buf};
    return hone_render_take(r, format_all(&f), &buf, out);
}
