/* text/jinja_operator: arithmetic, comparison, attributes and items, with Python's rules. Integers
 * have 64 bits; beyond that is HONE_ERR_LIMIT. */
#include "base/size.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include "text/unicode.h"
#include <math.h>
#include <string.h>

static hone_status fail_overflow(hone_render *r) {
    return hone_fail(r->err, HONE_ERR_LIMIT, "an integer does not fit in 64 bits");
}

static hone_status fail_operands(hone_render *r, hone_operator op, const hone_value *a,
                                 const hone_value *b) {
    static const char *const signs[] = {"?", "+", "-", "*", "/", "//", "%", "**"};
    if (hone_value_is(a, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, a);
    if (hone_value_is(b, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, b);
    return hone_fail(r->err, HONE_ERR_FORMAT, "unsupported operand types for %s: '%s' and '%s'",
                     signs[op], hone_value_type(a), hone_value_type(b));
}

/* Python's // and % round towards minus infinity. */
static void floor_divide(int64_t a, int64_t b, int64_t *quotient, int64_t *remainder) {
    *quotient = a / b;
    *remainder = a % b;
    if (*remainder != 0 && (*remainder < 0) != (b < 0)) {
        --*quotient;
        *remainder += b;
    }
}

static hone_status power(hone_render *r, int64_t base, int64_t exponent, hone_value *out) {
    if (exponent < 0) {
        if (base == 0)
            return hone_fail(r->err, HONE_ERR_FORMAT, "0 cannot be raised to a negative power");
        *out = hone_value_float(pow((double)base, (double)exponent));
        return HONE_OK;
    }
    int64_t result = 1;
    while (exponent > 0) {
        if (exponent & 1 && __builtin_mul_overflow(result, base, &result)) return fail_overflow(r);
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return fail_overflow(r);
    }
    *out = hone_value_int(result);
    return HONE_OK;
}

static hone_status integer_binary(hone_render *r, hone_operator op, int64_t a, int64_t b,
                                  hone_value *out) {
    int64_t result = 0, other;
    bool overflow = false;
    if (b == 0 && (op == HONE_OP_DIV || op == HONE_OP_FLOORDIV || op == HONE_OP_MOD)) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "division by zero");
    }
    switch (op) {
    case HONE_OP_ADD:
        overflow = __builtin_add_overflow(a, b, &result);
        break;
    case HONE_OP_SUB:
        overflow = __builtin_sub_overflow(a, b, &result);
        break;
    case HONE_OP_MUL:
        overflow = __builtin_mul_overflow(a, b, &result);
        break;
    case HONE_OP_DIV:
        *out = hone_value_float((double)a / (double)b);
        return HONE_OK;
    case HONE_OP_POW:
        return power(r, a, b, out);
    default:
        overflow = a == INT64_MIN && b == -1;
        if (overflow) break;
        floor_divide(a, b, op == HONE_OP_MOD ? &other : &result,
                     op == HONE_OP_MOD ? &result : &other);
        break;
    }
    *out = hone_value_int(result);
    return overflow ? fail_overflow(r) : HONE_OK;
}

static hone_status real_binary(hone_render *r, hone_operator op, double a, double b,
                               hone_value *out) {
    double result = 0.0;
    if (b == 0.0 && (op == HONE_OP_DIV || op == HONE_OP_FLOORDIV || op == HONE_OP_MOD)) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "float division by zero");
    }
    switch (op) {
    case HONE_OP_ADD:
        result = a + b;
        break;
    case HONE_OP_SUB:
        result = a - b;
        break;
    case HONE_OP_MUL:
        result = a * b;
        break;
    case HONE_OP_DIV:
        result = a / b;
        break;
    case HONE_OP_POW:
        if (a < 0.0 && b != floor(b))
            return hone_fail(r->err, HONE_ERR_FORMAT, "the power would be complex");
        result = pow(a, b);
        break;
    default:
        result = fmod(a, b);
        if (result != 0.0 && (result < 0.0) != (b < 0.0)) result += b;
        if (result == 0.0) result = copysign(0.0, b);
        if (op == HONE_OP_FLOORDIV) result = floor(rint((a - result) / b));
        break;
    }
    *out = hone_value_float(result);
    return HONE_OK;
}

/* Strings share memory when the left one was the last thing made: s = s + t in a loop stays
 * linear. */
static hone_status concat_strings(hone_render *r, hone_slice a, hone_slice b, hone_value *out) {
    if (a.size == 0 || b.size == 0) {
        *out = a.size == 0 ? hone_value_string(b.data, b.size) : hone_value_string(a.data, a.size);
        return HONE_OK;
    }
    char *data = (char *)(uintptr_t)a.data;
    HONE_TRY(hone_render_charge_bytes(r, b.size));
    if (!hone_region_extend(&r->region, a.data + a.size, b.size)) {
        HONE_TRY(hone_render_charge_bytes(r, a.size));
        data = hone_region_alloc(&r->region, a.size + b.size, r->err);
        if (data == NULL) return r->err->status;
        memcpy(data, a.data, a.size);
    }
    memcpy(data + a.size, b.data, b.size);
    *out = hone_value_string(data, a.size + b.size);
    return HONE_OK;
}

/* A string joined to a marked one is escaped first. */
static hone_status escaped(hone_render *r, const hone_value *v, hone_slice *out) {
    hone_buf buf = hone_render_buf();
    hone_value text;
    *out = v->string;
    if (v->markup) return HONE_OK;
    HONE_TRY(hone_render_charge_text(r, v->string.size));
    HONE_TRY(hone_render_take(r, hone_text_escape(v->string, &buf, r->err), &buf, &text));
    *out = text.string;
    return HONE_OK;
}

static hone_status add_strings(hone_render *r, const hone_value *a, const hone_value *b,
                               hone_value *out) {
    hone_slice x = a->string, y = b->string;
    bool markup = a->markup || b->markup;
    if (markup) {
        HONE_TRY(escaped(r, a, &x));
        HONE_TRY(escaped(r, b, &y));
    }
    HONE_TRY(concat_strings(r, x, y, out));
    out->markup = markup;
    return HONE_OK;
}

static hone_status add_lists(hone_render *r, const hone_value *a, const hone_value *b,
                             hone_value *out) {
    hone_list *list;
    HONE_TRY(hone_list_new(r, a->list->count + b->list->count, &list));
    for (size_t i = 0; i < a->list->count; i++)
        HONE_TRY(hone_list_push(r, list, a->list->items[i]));
    for (size_t i = 0; i < b->list->count; i++)
        HONE_TRY(hone_list_push(r, list, b->list->items[i]));
    *out = hone_value_list((hone_value_kind)a->kind, list);
    return HONE_OK;
}

static hone_status repeat_string(hone_render *r, hone_slice s, int64_t count, hone_value *out) {
    size_t size;
    *out = hone_value_string("", 0);
    if (count <= 0 || s.size == 0) return HONE_OK;
    if (!hone_size_mul(s.size, (size_t)count, &size) || size > HONE_RENDER_MEMORY) {
        return hone_fail(r->err, HONE_ERR_LIMIT,
                         "a string of %zu bytes repeated %lld times is too long", s.size,
                         (long long)count);
    }
    HONE_TRY(hone_render_charge_bytes(r, size));
    char *data = hone_region_alloc(&r->region, size, r->err);
    if (data == NULL) return r->err->status;
    for (size_t at = 0; at < size; at += s.size) memcpy(data + at, s.data, s.size);
    *out = hone_value_string(data, size);
    return HONE_OK;
}

static hone_status repeat(hone_render *r, const hone_value *v, int64_t count, hone_value *out) {
    if (hone_value_is(v, HONE_VALUE_STRING)) {
        HONE_TRY(repeat_string(r, v->string, count, out));
        out->markup = v->markup;
        return HONE_OK;
    }
    hone_list *list;
    HONE_TRY(hone_list_new(r, 0, &list));
    for (int64_t i = 0; i < count && v->list->count > 0; i++) {
        for (size_t j = 0; j < v->list->count; j++)
            HONE_TRY(hone_list_push(r, list, v->list->items[j]));
    }
    *out = hone_value_list((hone_value_kind)v->kind, list);
    return HONE_OK;
}

static bool is_repeatable(const hone_value *v) {
    return hone_value_is(v, HONE_VALUE_STRING) || hone_value_is(v, HONE_VALUE_LIST) ||
           hone_value_is(v, HONE_VALUE_TUPLE);
}

hone_status hone_jinja_binary(hone_render *r, hone_operator op, const hone_value *a,
                              const hone_value *b, hone_value *out) {
    if (hone_value_is_integer(a) && hone_value_is_integer(b)) {
        return integer_binary(r, op, hone_value_integer(a), hone_value_integer(b), out);
    }
    if (hone_value_is_number(a) && hone_value_is_number(b)) {
        return real_binary(r, op, hone_value_real(a), hone_value_real(b), out);
    }
    if (op == HONE_OP_ADD && a->kind == b->kind) {
        if (hone_value_is(a, HONE_VALUE_STRING)) return add_strings(r, a, b, out);
        bool lists = hone_value_is(a, HONE_VALUE_LIST) || hone_value_is(a, HONE_VALUE_TUPLE);
        if (lists) return add_lists(r, a, b, out);
    }
    if (op == HONE_OP_MUL && is_repeatable(a) && hone_value_is_integer(b)) {
        return repeat(r, a, hone_value_integer(b), out);
    }
    if (op == HONE_OP_MUL && is_repeatable(b) && hone_value_is_integer(a)) {
        return repeat(r, b, hone_value_integer(a), out);
    }
    if (op == HONE_OP_MOD && hone_value_is(a, HONE_VALUE_STRING)) {
        return hone_jinja_format_percent(r, a->string, b, out);
    }
    return fail_operands(r, op, a, b);
}

hone_status hone_jinja_compare(hone_render *r, hone_operator op, const hone_value *a,
                               const hone_value *b, bool *out) {
    int order = 0;
    switch (op) {
    case HONE_OP_EQ:
        return hone_value_equal(r, a, b, out);
    case HONE_OP_NE:
        HONE_TRY(hone_value_equal(r, a, b, out));
        *out = !*out;
        return HONE_OK;
    case HONE_OP_IN:
        return hone_value_contains(r, b, a, out);
    case HONE_OP_NOT_IN:
        HONE_TRY(hone_value_contains(r, b, a, out));
        *out = !*out;
        return HONE_OK;
    default:
        break;
    }
    HONE_TRY(hone_value_compare(r, a, b, &order));
    bool nan = (hone_value_is(a, HONE_VALUE_FLOAT) && isnan(a->real)) ||
               (hone_value_is(b, HONE_VALUE_FLOAT) && isnan(b->real));
    *out = !nan && (op == HONE_OP_LT   ? order < 0
                    : op == HONE_OP_LE ? order <= 0
                    : op == HONE_OP_GT ? order > 0
                                       : order >= 0);
    return HONE_OK;
}

static hone_value text_value(const char *text) { return hone_value_string(text, strlen(text)); }

static void loop_attribute(const hone_loop *loop, hone_slice name, hone_value *out) {
    int64_t index = (int64_t)loop->index, count = (int64_t)loop->items->count;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"index", index + 1},        {"index0", index},
                   {"revindex", count - index}, {"revindex0", count - index - 1},
                   {"length", count},           {"depth", loop->depth + 1},
                   {"depth0", loop->depth}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (hone_slice_is(name, numbers[i].name)) *out = hone_value_int(numbers[i].value);
    }
    if (hone_slice_is(name, "first")) *out = hone_value_bool(index == 0);
    if (hone_slice_is(name, "last")) *out = hone_value_bool(index + 1 == count);
    if (hone_slice_is(name, "previtem") && index > 0) *out = loop->items->items[index - 1];
    if (hone_slice_is(name, "nextitem") && index + 1 < count) *out = loop->items->items[index + 1];
}

/* Methods come before keys, as in Python's getattr: message.items is the method. */
hone_status hone_jinja_get_attribute(hone_render *r, const hone_value *object, hone_slice name,
                                     hone_value *out) {
    bool found;
    if (hone_value_is(object, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, object);
    *out = hone_value_undefined(name, (hone_value_kind)object->kind);
    HONE_TRY(hone_method_find(r, object, name, &found, out));
    if (found) return HONE_OK;
    if (hone_value_is(object, HONE_VALUE_DICT) || hone_value_is(object, HONE_VALUE_NAMESPACE)) {
        const hone_value *value;
        hone_value key = hone_value_string(name.data, name.size);
        HONE_TRY(hone_dict_get(r, object->dict, &key, &value));
        if (value != NULL) *out = *value;
    } else if (hone_value_is(object, HONE_VALUE_LOOP)) {
        loop_attribute(object->loop, name, out);
    } else if (hone_value_is(object, HONE_VALUE_CALLABLE) && hone_slice_is(name, "name")) {
        *out = text_value(object->callable->name);
    }
    return HONE_OK;
}

static bool is_sequence(const hone_value *v) {
    return hone_value_is(v, HONE_VALUE_LIST) || hone_value_is(v, HONE_VALUE_TUPLE) ||
           hone_value_is(v, HONE_VALUE_RANGE);
}

static hone_status get_indexed(hone_render *r, const hone_value *object, int64_t index,
                               hone_value *out) {
    int64_t length;
    HONE_TRY(hone_value_length(r, object, &length));
    if (index < 0) index += length;
    if (index < 0 || index >= length) return HONE_OK;
    if (!hone_value_is(object, HONE_VALUE_STRING)) {
        *out = object->list->items[index];
        return HONE_OK;
    }
    size_t begin = hone_text_offset(object->string, (size_t)index);
    HONE_TRY(hone_render_charge_text(r, begin));
    int32_t cp;
    size_t size = hone_char_next(object->string.data + begin, object->string.size - begin, &cp);
    *out = hone_value_string(object->string.data + begin, size);
    out->markup = object->markup;
    return HONE_OK;
}

hone_status hone_jinja_get_item(hone_render *r, const hone_value *object, const hone_value *key,
                                hone_value *out) {
    hone_slice name;
    if (hone_value_is(object, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, object);
    HONE_TRY(hone_value_text(r, key, &name));
    *out = hone_value_undefined(name, (hone_value_kind)object->kind);
    bool indexed = is_sequence(object) || hone_value_is(object, HONE_VALUE_STRING);
    if (indexed && hone_value_is_integer(key))
        return get_indexed(r, object, hone_value_integer(key), out);
    bool hashable = !hone_value_is(key, HONE_VALUE_LIST) && !hone_value_is(key, HONE_VALUE_DICT);
    if (hone_value_is(object, HONE_VALUE_DICT) && hashable) {
        const hone_value *value;
        HONE_TRY(hone_dict_get(r, object->dict, key, &value));
        if (value != NULL) {
            *out = *value;
            return HONE_OK;
        }
    }
    if (!hone_value_is(key, HONE_VALUE_STRING)) return HONE_OK;
    if (hone_value_is(object, HONE_VALUE_DICT)) {
        bool found;
        return hone_method_find(r, object, key->string, &found, out);
    }
    return hone_jinja_get_attribute(r, object, key->string, out);
}

static hone_status slice_bound(hone_render *r, const hone_value *v, bool *given, int64_t *out) {
    *given = !hone_value_is(v, HONE_VALUE_NONE) && !hone_value_is(v, HONE_VALUE_ABSENT);
    *out = 0;
    if (!*given) return HONE_OK;
    if (!hone_value_is_integer(v)) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "slice indices must be integers or None");
    }
    *out = hone_value_integer(v);
    return HONE_OK;
}

/* Python's slice.indices(). */
static int64_t clip(int64_t bound, int64_t length, bool backwards) {
    if (bound < 0) bound = bound < -length ? -1 : bound + length;
    int64_t low = backwards ? -1 : 0, high = backwards ? length - 1 : length;
    return bound < low ? low : bound > high ? high : bound;
}

static hone_status slice_indices(hone_render *r, const hone_value bounds[3], int64_t length,
                                 int64_t out[3]) {
    bool given[3];
    for (int i = 0; i < 3; i++) HONE_TRY(slice_bound(r, &bounds[i], &given[i], &out[i]));
    if (!given[2]) out[2] = 1;
    if (out[2] == 0) return hone_fail(r->err, HONE_ERR_FORMAT, "slice step cannot be zero");
    bool backwards = out[2] < 0;
    out[0] = given[0] ? clip(out[0], length, backwards) : backwards ? length - 1 : 0;
    out[1] = given[1] ? clip(out[1], length, backwards) : backwards ? -1 : length;
    return HONE_OK;
}

/* Whether `at` has not reached the stop; the step is bounded by the length so that at + step
 * cannot wrap. */
static bool goes_on(const int64_t bounds[3], int64_t at) {
    return bounds[2] > 0 ? at < bounds[1] : at > bounds[1];
}

hone_status hone_jinja_get_slice(hone_render *r, const hone_value *object,
                                 const hone_value bounds[3], hone_value *out) {
    int64_t length, at[3];
    bool string = hone_value_is(object, HONE_VALUE_STRING);
    if (hone_value_is(object, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, object);
    if (!string && !is_sequence(object)) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "'%s' object cannot be sliced",
                         hone_value_type(object));
    }
    HONE_TRY(hone_value_length(r, object, &length));
    HONE_TRY(slice_indices(r, bounds, length, at));
    at[2] = HONE_MAX(HONE_MIN(at[2], length + 1), -length - 1);
    if (string && at[2] == 1) {
        size_t begin = hone_text_offset(object->string, (size_t)at[0]), end = object->string.size;
        if (at[1] < length) {
            hone_slice rest = {object->string.data + begin, end - begin};
            end = at[1] > at[0] ? begin + hone_text_offset(rest, (size_t)(at[1] - at[0])) : begin;
        }
        end = HONE_MAX(begin, end);
        *out = hone_value_string(object->string.data + begin, end - begin);
        out->markup = object->markup;
        return hone_render_charge_text(r, at[1] < length ? end : begin);
    }
    hone_list *items, *picked;
    HONE_TRY(hone_value_items(r, object, &items));
    HONE_TRY(hone_list_new(r, 0, &picked));
    for (int64_t i = at[0]; goes_on(at, i); i += at[2])
        HONE_TRY(hone_list_push(r, picked, items->items[i]));
    *out = hone_value_list(string ? HONE_VALUE_LIST : (hone_value_kind)object->kind, picked);
    if (hone_value_is(object, HONE_VALUE_RANGE)) {
        const int64_t *whole = object->list->range;
        for (int i = 0; i < 2; i++) picked->range[i] = whole[0] + at[i] * whole[2];
        picked->range[2] = whole[2] * at[2];
    }
    if (!string) return HONE_OK;
    hone_buf buf = hone_render_buf();
    hone_status status = HONE_OK;
    for (size_t i = 0; i < picked->count && status == HONE_OK; i++) {
        status = hone_buf_append(&buf, picked->items[i].string.data, picked->items[i].string.size,
                                 r->err);
    }
    HONE_TRY(hone_render_take(r, status, &buf, out));
    out->markup = object->markup;
    return HONE_OK;
}
