/* text/jinja_filter: filters of single values: text, numbers, JSON. Those of sequences are
 * jinja_sequence.c. */
#include "base/size.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include "text/unicode.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef hone_status (*filter)(hone_render *r, const hone_args *args, hone_value *out);

/* The value as a string, keeping whether it is marked safe. */
static hone_status soft_string(hone_render *r, const hone_value *v, hone_value *out) {
    hone_slice text;
    HONE_TRY(hone_value_text(r, v, &text));
    *out = hone_value_string(text.data, text.size);
    out->markup = hone_value_is(v, HONE_VALUE_STRING) && v->markup;
    return HONE_OK;
}

static hone_status convert(hone_render *r, const hone_args *args, const char *what,
                           hone_text_case to, hone_value *out) {
    static const char *const names[] = {"s", NULL};
    hone_value v[1], text;
    HONE_TRY(hone_jinja_bind(r, what, args, names, 1, v));
    HONE_TRY(soft_string(r, &v[0], &text));
    HONE_TRY(hone_render_charge_text(r, text.string.size));
    hone_buf buf = hone_render_buf();
    HONE_TRY(hone_render_take(r, hone_text_convert(text.string, to, &buf, r->err), &buf, out));
    out->markup = text.markup;
    return HONE_OK;
}

static hone_status filter_upper(hone_render *r, const hone_args *args, hone_value *out) {
    return convert(r, args, "upper", HONE_TEXT_UPPER, out);
}

static hone_status filter_lower(hone_render *r, const hone_args *args, hone_value *out) {
    return convert(r, args, "lower", HONE_TEXT_LOWER, out);
}

static hone_status filter_capitalize(hone_render *r, const hone_args *args, hone_value *out) {
    return convert(r, args, "capitalize", HONE_TEXT_CAPITALIZE, out);
}

/* Unlike str.title(): a word begins at the start and after white space, '-' or an opening bracket.
 */
static hone_status filter_title(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"s", NULL};
    hone_value v[1], text;
    HONE_TRY(hone_jinja_bind(r, "title", args, names, 1, v));
    HONE_TRY(soft_string(r, &v[0], &text));
    hone_slice s = text.string;
    HONE_TRY(hone_render_charge_text(r, s.size));
    hone_buf buf = hone_render_buf();
    hone_status status = HONE_OK;
    for (size_t at = 0, end; at < s.size && status == HONE_OK; at = end) {
        int32_t cp;
        size_t first = at + hone_char_next(s.data + at, s.size - at, &cp);
        bool separator =
            hone_text_is_space(cp) || (cp < 0x80 && cp > 0 && strchr("-({[<", cp) != NULL);
        for (end = first; end < s.size && !separator;) {
            size_t length = hone_char_next(s.data + end, s.size - end, &cp);
            if (hone_text_is_space(cp) || (cp < 0x80 && cp > 0 && strchr("-({[<", cp) != NULL))
                break;
            end += length;
        }
        status =
            hone_text_convert((hone_slice){s.data + at, first - at}, HONE_TEXT_UPPER, &buf, r->err);
        hone_slice rest = {s.data + first, end - first};
        if (status == HONE_OK) status = hone_text_convert(rest, HONE_TEXT_LOWER, &buf, r->err);
    }
    HONE_TRY(hone_render_take(r, status, &buf, out));
    out->markup = text.markup;
    return HONE_OK;
}

/* A string filter that is the method of the same name: value.method(arguments). */
static hone_status as_method(hone_render *r, const hone_args *args, const char *name,
                             hone_value *out) {
    hone_value text, method;
    bool found;
    HONE_TRY(soft_string(r, &args->values[0], &text));
    HONE_TRY(hone_method_find(r, &text, (hone_slice){name, strlen(name)}, &found, &method));
    hone_args rest = *args;
    rest.values++;
    rest.count--;
    return hone_jinja_call(r, &method, &rest, out);
}

static hone_status filter_trim(hone_render *r, const hone_args *args, hone_value *out) {
    return as_method(r, args, "strip", out);
}

static hone_status filter_center(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", "width", NULL};
    hone_value v[2];
    HONE_TRY(hone_jinja_bind(r, "center", args, names, 1, v));
    if (hone_value_is(&v[1], HONE_VALUE_ABSENT)) v[1] = hone_value_int(80);
    return as_method(r, &(hone_args){.values = v, .count = 2}, "center", out);
}

/* Everything is made a string first, and the result is plain. */
static hone_status filter_replace(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"s", "old", "new", "count", NULL};
    hone_value v[4];
    hone_slice s[3];
    int64_t count = -1;
    HONE_TRY(hone_jinja_bind(r, "replace", args, names, 3, v));
    for (int i = 0; i < 3; i++) HONE_TRY(hone_value_text(r, &v[i], &s[i]));
    if (!hone_value_is(&v[3], HONE_VALUE_NONE))
        HONE_TRY(hone_jinja_arg_int(r, &v[3], "replace", -1, &count));
    HONE_TRY(hone_render_charge_bytes(r, s[0].size));
    hone_buf buf = hone_render_buf();
    return hone_render_take(r, hone_text_replace(s[0], s[1], s[2], count, &buf, r->err), &buf, out);
}

/* An indentation: a string, or so many spaces. */
static hone_status get_indent(hone_render *r, const hone_value *v, int64_t fallback,
                              hone_slice *out) {
    static const char spaces[] = "                                                                ";
    int64_t width;
    if (hone_value_is(v, HONE_VALUE_STRING)) {
        *out = v->string;
        return HONE_OK;
    }
    HONE_TRY(hone_jinja_arg_int(r, v, "indent", fallback, &width));
    *out = (hone_slice){spaces, (size_t)HONE_MAX(width, 0)};
    if (width < (int64_t)sizeof spaces) return HONE_OK;
    return hone_fail(r->err, HONE_ERR_LIMIT, "an indentation of %lld spaces: the limit is %zu",
                     (long long)width, sizeof spaces - 1);
}

static hone_status indent_lines(hone_slice s, hone_slice indent, bool first, bool blank,
                                hone_buf *out, hone_error *err) {
    size_t lines = 0;
    for (size_t at = 0;; lines++) {
        size_t next, end = hone_text_line(s, at, &next);
        if (lines > 0) HONE_TRY(hone_buf_append_char(out, '\n', err));
        bool indented = lines == 0 ? first : end > at || blank;
        if (indented) HONE_TRY(hone_buf_append(out, indent.data, indent.size, err));
        HONE_TRY(hone_buf_append(out, s.data + at, end - at, err));
        if (next == end) return HONE_OK; /* no line break: the last line */
        at = next;
    }
}

static hone_status filter_indent(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"s", "width", "first", "blank", NULL};
    hone_value v[4], text;
    hone_slice indent;
    HONE_TRY(hone_jinja_bind(r, "indent", args, names, 1, v));
    text = v[0];
    HONE_TRY(hone_jinja_arg_string(r, &v[0], "indent", (hone_slice){"", 0}, &text.string));
    HONE_TRY(get_indent(r, &v[1], 4, &indent));
    HONE_TRY(hone_render_charge_text(r, text.string.size));
    hone_buf buf = hone_render_buf();
    hone_status status = indent_lines(text.string, indent, hone_value_truth(&v[2]),
                                      hone_value_truth(&v[3]), &buf, r->err);
    HONE_TRY(hone_render_take(r, status, &buf, out));
    out->markup = text.markup;
    return HONE_OK;
}

static hone_status filter_string(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"s", NULL};
    hone_value v[1];
    HONE_TRY(hone_jinja_bind(r, "string", args, names, 1, v));
    return soft_string(r, &v[0], out);
}

static hone_status filter_safe(hone_render *r, const hone_args *args, hone_value *out) {
    HONE_TRY(filter_string(r, args, out));
    out->markup = true;
    return HONE_OK;
}

static hone_status filter_escape(hone_render *r, const hone_args *args, hone_value *out) {
    hone_value text;
    HONE_TRY(filter_string(r, args, &text));
    *out = text;
    if (text.markup) return HONE_OK;
    hone_buf buf = hone_render_buf();
    HONE_TRY(hone_render_take(r, hone_text_escape(text.string, &buf, r->err), &buf, out));
    out->markup = true;
    return HONE_OK;
}

static hone_status filter_format(hone_render *r, const hone_args *args, hone_value *out) {
    hone_value text, values;
    HONE_TRY(soft_string(r, &args->values[0], &text));
    if (args->count > 1 && args->named > 0) {
        return hone_fail(r->err, HONE_ERR_FORMAT,
                         "format takes positional or named arguments, not both");
    }
    if (args->named > 0) {
        values.kind = HONE_VALUE_DICT;
        HONE_TRY(hone_dict_new(r, &values.dict));
        for (size_t i = 0; i < args->named; i++) {
            hone_value key = hone_value_string(args->names[i].data, args->names[i].size);
            HONE_TRY(hone_dict_set(r, values.dict, key, args->values[args->count + i]));
        }
    } else {
        hone_list *list;
        HONE_TRY(hone_list_new(r, args->count, &list));
        for (size_t i = 1; i < args->count; i++) HONE_TRY(hone_list_push(r, list, args->values[i]));
        values = hone_value_list(HONE_VALUE_TUPLE, list);
    }
    return hone_jinja_format_percent(r, text.string, &values, out);
}

static hone_status filter_length(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", NULL};
    hone_value v[1];
    HONE_TRY(hone_jinja_bind(r, "length", args, names, 1, v));
    out->kind = HONE_VALUE_INT;
    return hone_value_length(r, &v[0], &out->integer);
}

static hone_status filter_default(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", "default_value", "boolean", NULL};
    hone_value v[3];
    HONE_TRY(hone_jinja_bind(r, "default", args, names, 1, v));
    if (hone_value_is(&v[1], HONE_VALUE_ABSENT)) v[1] = hone_value_string("", 0);
    bool replaced = hone_value_is(&v[0], HONE_VALUE_UNDEFINED) ||
                    (hone_value_truth(&v[2]) && !hone_value_truth(&v[0]));
    *out = v[replaced];
    return HONE_OK;
}

static hone_status filter_tojson(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value",      "ensure_ascii", "indent",
                                        "separators", "sort_keys",    NULL};
    hone_value v[5];
    hone_slice indent;
    HONE_TRY(hone_jinja_bind(r, "tojson", args, names, 1, v));
    hone_json_style style = {.item = {", ", 2}, .key = {": ", 2}};
    style.ascii = hone_value_truth(&v[1]);
    style.sort_keys = hone_value_truth(&v[4]);
    if (!hone_value_is(&v[2], HONE_VALUE_ABSENT) && !hone_value_is(&v[2], HONE_VALUE_NONE)) {
        HONE_TRY(get_indent(r, &v[2], 0, &indent));
        style.indent = &indent;
        style.item.size = 1;
    }
    if (hone_value_has_list(&v[3])) {
        if (v[3].list->count != 2)
            return hone_fail(r->err, HONE_ERR_FORMAT, "tojson: two separators are needed");
        HONE_TRY(
            hone_jinja_arg_string(r, &v[3].list->items[0], "separators", style.item, &style.item));
        HONE_TRY(
            hone_jinja_arg_string(r, &v[3].list->items[1], "separators", style.key, &style.key));
    }
    hone_buf buf = hone_render_buf();
    return hone_render_take(r, hone_json_dump(r, &v[0], &style, 0, &buf), &buf, out);
}

/* A float as Python's float() reads it; false when it is none. */
static bool parse_float(hone_slice s, double *out) {
    char text[64], *end;
    size_t used = 0;
    s = hone_text_strip(s, (hone_slice){NULL, 0}, true, true);
    if (s.size == 0 || s.size >= sizeof text) return false;
    for (size_t i = 0; i < s.size; i++) {
        bool digits = i > 0 && i + 1 < s.size && strchr("0123456789", s.data[i - 1]) != NULL;
        if (s.data[i] == '_' && digits) continue;
        if (s.data[i] == '\0' || strchr("0123456789+-.eEinfatyINFATY", s.data[i]) == NULL)
            return false;
        text[used++] = s.data[i];
    }
    text[used] = '\0';
    *out = strtod(text, &end);
    return *end == '\0';
}

static hone_status truncate_float(hone_render *r, double real, int64_t fallback, hone_value *out) {
    *out = hone_value_int(fallback);
    if (isnan(real) || isinf(real)) return HONE_OK;
    if (fabs(real) >= 9.2e18)
        return hone_fail(r->err, HONE_ERR_LIMIT, "an integer does not fit in 64 bits");
    out->integer = (int64_t)real;
    return HONE_OK;
}

/* int(text, base): white space, a sign, a prefix that fits the base, digits. */
static hone_status parse_int(hone_render *r, hone_slice s, int base, bool *found, int64_t *out) {
    char text[72], *end;
    size_t used = 0;
    *found = false;
    s = hone_text_strip(s, (hone_slice){NULL, 0}, true, true);
    if (s.size == 0 || s.size >= sizeof text) return HONE_OK;
    for (size_t i = 0; i < s.size; i++) {
        bool inner = i > 0 && i + 1 < s.size && s.data[i - 1] != '_';
        if (s.data[i] == '_' && inner) continue;
        if (s.data[i] == '\0' || s.data[i] == '_') return HONE_OK;
        text[used++] = s.data[i];
    }
    text[used] = '\0';
    char *digits = text + (text[0] == '-' || text[0] == '+');
    char letter = digits[0] == '0' ? (char)(digits[1] | 32) : '\0';
    int prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefix > 0 && (base == prefix || base == 0)) {
        memmove(digits, digits + 2, strlen(digits + 2) + 1);
        base = prefix;
    } else if (prefix > 0 && base != 16) {
        return HONE_OK;
    }
    if (*digits == '-' || *digits == '+' || hone_text_is_space(*digits)) return HONE_OK;
    errno = 0;
    *out = strtoll(text, &end, base == 0 ? 10 : base);
    *found = *end == '\0' && end != text && *digits != '\0';
    if (*found && errno == ERANGE)
        return hone_fail(r->err, HONE_ERR_LIMIT, "an integer does not fit in 64 bits");
    return HONE_OK;
}

static hone_status filter_int(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", "default", "base", NULL};
    hone_value v[3];
    int64_t fallback, base;
    bool found;
    double real;
    HONE_TRY(hone_jinja_bind(r, "int", args, names, 1, v));
    HONE_TRY(hone_jinja_arg_int(r, &v[2], "int", 10, &base));
    if (hone_value_is(&v[1], HONE_VALUE_ABSENT)) v[1] = hone_value_int(0);
    *out = v[1];
    if (base != 0 && (base < 2 || base > 36))
        return hone_fail(r->err, HONE_ERR_FORMAT, "int: base %lld", (long long)base);
    if (hone_value_is(&v[0], HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, &v[0]);
    fallback = hone_value_is_integer(&v[1]) ? hone_value_integer(&v[1]) : 0;
    if (hone_value_is_integer(&v[0])) *out = hone_value_int(hone_value_integer(&v[0]));
    if (hone_value_is(&v[0], HONE_VALUE_FLOAT)) return truncate_float(r, v[0].real, fallback, out);
    if (!hone_value_is(&v[0], HONE_VALUE_STRING)) return HONE_OK;
    int64_t integer;
    HONE_TRY(parse_int(r, v[0].string, (int)base, &found, &integer));
    if (found) *out = hone_value_int(integer);
    if (!found && parse_float(v[0].string, &real)) return truncate_float(r, real, fallback, out);
    return HONE_OK;
}

static hone_status filter_float(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", "default", NULL};
    hone_value v[2];
    double real;
    HONE_TRY(hone_jinja_bind(r, "float", args, names, 1, v));
    if (hone_value_is(&v[0], HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, &v[0]);
    *out = hone_value_is(&v[1], HONE_VALUE_ABSENT) ? hone_value_float(0.0) : v[1];
    if (hone_value_is_number(&v[0])) *out = hone_value_float(hone_value_real(&v[0]));
    if (hone_value_is(&v[0], HONE_VALUE_STRING) && parse_float(v[0].string, &real))
        *out = hone_value_float(real);
    return HONE_OK;
}

static hone_status need_number(hone_render *r, const hone_value *v, const char *what) {
    if (hone_value_is_number(v)) return HONE_OK;
    if (hone_value_is(v, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, v);
    return hone_fail(r->err, HONE_ERR_FORMAT, "%s: expected a number, got '%s'", what,
                     hone_value_type(v));
}

static hone_status filter_abs(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", NULL};
    hone_value v[1], zero = hone_value_int(0);
    HONE_TRY(hone_jinja_bind(r, "abs", args, names, 1, v));
    HONE_TRY(need_number(r, &v[0], "abs"));
    if (hone_value_is(&v[0], HONE_VALUE_FLOAT)) {
        *out = hone_value_float(fabs(v[0].real));
        return HONE_OK;
    }
    int64_t integer = hone_value_integer(&v[0]);
    *out = hone_value_int(integer);
    return integer < 0 ? hone_jinja_binary(r, HONE_OP_SUB, &zero, &v[0], out) : HONE_OK;
}

/* Rounds half to even by the exact decimal value, as Python's round() does: printf does that too.
 */
static double round_decimal(double value, int64_t precision) {
    char text[400];
    if (isnan(value) || isinf(value) || precision > 22) return value;
    if (precision >= 0) {
        snprintf(text, sizeof text, "%.*f", (int)precision, value);
        return strtod(text, NULL);
    }
    double unit = pow(10.0, (double)-precision);
    return rint(value / unit) * unit;
}

static int64_t round_integer(int64_t value, int64_t precision) {
    int64_t unit = 1;
    for (int64_t i = 0; i > precision; i--) {
        if (__builtin_mul_overflow(unit, (int64_t)10, &unit)) return 0;
    }
    int64_t rest = value % unit, down = value - rest, twice;
    if (__builtin_mul_overflow(rest < 0 ? -rest : rest, (int64_t)2, &twice)) return down;
    bool up = twice > unit || (twice == unit && down / unit % 2 != 0);
    return up ? down + (value < 0 ? -unit : unit) : down;
}

static hone_status filter_round(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", "precision", "method", NULL};
    hone_value v[3];
    int64_t precision;
    hone_slice method;
    HONE_TRY(hone_jinja_bind(r, "round", args, names, 1, v));
    HONE_TRY(need_number(r, &v[0], "round"));
    HONE_TRY(hone_jinja_arg_int(r, &v[1], "round", 0, &precision));
    HONE_TRY(hone_jinja_arg_string(r, &v[2], "round", (hone_slice){"common", 6}, &method));
    bool ceiling = hone_slice_is(method, "ceil"), bottom = hone_slice_is(method, "floor");
    if (ceiling || bottom) {
        double unit = pow(10.0, (double)precision), scaled = hone_value_real(&v[0]) * unit;
        *out = hone_value_float((ceiling ? ceil(scaled) : floor(scaled)) / unit);
        return HONE_OK;
    }
    if (!hone_slice_is(method, "common")) {
        return hone_fail(r->err, HONE_ERR_FORMAT,
                         "round: the method must be common, ceil or floor");
    }
    *out = hone_value_is(&v[0], HONE_VALUE_FLOAT)
               ? hone_value_float(round_decimal(v[0].real, precision))
               : hone_value_int(round_integer(hone_value_integer(&v[0]), precision));
    return HONE_OK;
}

/* Attributes only, not items: a dict has none but its methods. */
static hone_status filter_attr(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"obj", "name", NULL};
    hone_value v[2];
    hone_slice name;
    HONE_TRY(hone_jinja_bind(r, "attr", args, names, 2, v));
    HONE_TRY(hone_jinja_arg_string(r, &v[1], "attr", (hone_slice){"", 0}, &name));
    bool found;
    *out = hone_value_undefined(name, (hone_value_kind)v[0].kind);
    if (!hone_value_is(&v[0], HONE_VALUE_DICT))
        return hone_jinja_get_attribute(r, &v[0], name, out);
    return hone_method_find(r, &v[0], name, &found, out);
}

static const struct {
    const char *name;
    filter function;
} filters[] = {
    {"upper", filter_upper},     {"lower", filter_lower},   {"capitalize", filter_capitalize},
    {"title", filter_title},     {"trim", filter_trim},     {"center", filter_center},
    {"replace", filter_replace}, {"indent", filter_indent}, {"string", filter_string},
    {"safe", filter_safe},       {"escape", filter_escape}, {"e", filter_escape},
    {"format", filter_format},   {"length", filter_length}, {"count", filter_length},
    {"default", filter_default}, {"d", filter_default},     {"tojson", filter_tojson},
    {"int", filter_int},         {"float", filter_float},   {"abs", filter_abs},
    {"round", filter_round},     {"attr", filter_attr},
};

static size_t find_filter(hone_slice name) {
    size_t at = 0;
    while (at < sizeof filters / sizeof filters[0] && !hone_slice_is(name, filters[at].name)) at++;
    return at;
}

bool hone_filter_exists(hone_slice name) {
    return find_filter(name) < sizeof filters / sizeof filters[0] ||
           hone_filter_sequence_exists(name);
}

hone_status hone_filter_apply(hone_render *r, hone_slice name, const hone_args *args,
                              hone_value *out) {
    size_t at = find_filter(name);
    bool found;
    HONE_TRY(hone_render_charge(r, 1));
    hone_value result = {0};
    if (at < sizeof filters / sizeof filters[0]) {
        HONE_TRY(filters[at].function(r, args, &result));
    } else {
        HONE_TRY(hone_filter_sequence(r, name, args, &found, &result));
        if (!found) {
            return hone_fail(r->err, HONE_ERR_UNSUPPORTED, "the filter '%.*s' is not supported",
                             (int)HONE_MIN(name.size, (size_t)100), name.data);
        }
    }
    *out = result;
    return HONE_OK;
}
