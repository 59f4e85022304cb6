/* text/jinja_compare: equality, order and containment of values, and their text, as Python has
 * them. */
#include "base/size.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static hone_status equal_lists(hone_render *r, const hone_list *a, const hone_list *b, bool *out) {
    *out = a->count == b->count;
    HONE_TRY(hone_render_enter(r));
    for (size_t i = 0; i < a->count && *out; i++)
        HONE_TRY(hone_value_equal(r, &a->items[i], &b->items[i], out));
    hone_render_leave(r);
    return HONE_OK;
}

static hone_status equal_dicts(hone_render *r, const hone_dict *a, const hone_dict *b, bool *out) {
    *out = a->count == b->count;
    HONE_TRY(hone_render_enter(r));
    for (size_t i = 0; i < a->count && *out; i++) {
        const hone_value *other;
        HONE_TRY(hone_dict_get(r, b, &a->keys[i], &other));
        *out = other != NULL;
        if (other != NULL) HONE_TRY(hone_value_equal(r, &a->values[i], other, out));
    }
    hone_render_leave(r);
    return HONE_OK;
}

hone_status hone_value_equal(hone_render *r, const hone_value *a, const hone_value *b, bool *out) {
    HONE_TRY(hone_render_charge(r, 1));
    *out = false;
    if (hone_value_is_number(a) && hone_value_is_number(b)) {
        bool integers = hone_value_is_integer(a) && hone_value_is_integer(b);
        *out = integers ? hone_value_integer(a) == hone_value_integer(b)
                        : hone_value_real(a) == hone_value_real(b);
        return HONE_OK;
    }
    if (a->kind != b->kind) return HONE_OK;
    switch (a->kind) {
    case HONE_VALUE_STRING:
        HONE_TRY(hone_render_charge_bytes(r, HONE_MIN(a->string.size, b->string.size)));
        *out = hone_slice_equal(a->string, b->string);
        return HONE_OK;
    case HONE_VALUE_LIST:
    case HONE_VALUE_TUPLE:
    case HONE_VALUE_RANGE:
    case HONE_VALUE_VIEW:
        return equal_lists(r, a->list, b->list, out);
    case HONE_VALUE_DICT:
        return equal_dicts(r, a->dict, b->dict, out);
    case HONE_VALUE_ITERATOR:
        *out = a->list == b->list;
        return HONE_OK;
    case HONE_VALUE_NAMESPACE:
        *out = a->dict == b->dict;
        return HONE_OK;
    case HONE_VALUE_CALLABLE:
        *out = a->callable == b->callable;
        return HONE_OK;
    case HONE_VALUE_LOOP:
        *out = a->loop == b->loop;
        return HONE_OK;
    default:
        *out = true;
        return HONE_OK; /* both none or both undefined */
    }
}

static hone_status compare_lists(hone_render *r, const hone_list *a, const hone_list *b, int *out) {
    size_t count = HONE_MIN(a->count, b->count);
    HONE_TRY(hone_render_enter(r));
    for (size_t i = 0; i < count; i++) {
        bool equal;
        HONE_TRY(hone_value_equal(r, &a->items[i], &b->items[i], &equal));
        if (equal) continue;
        HONE_TRY(hone_value_compare(r, &a->items[i], &b->items[i], out));
        hone_render_leave(r);
        return HONE_OK;
    }
    *out = (a->count > b->count) - (a->count < b->count);
    hone_render_leave(r);
    return HONE_OK;
}

hone_status hone_value_compare(hone_render *r, const hone_value *a, const hone_value *b, int *out) {
    HONE_TRY(hone_render_charge(r, 1));
    if (hone_value_is_integer(a) && hone_value_is_integer(b)) {
        int64_t x = hone_value_integer(a), y = hone_value_integer(b);
        *out = (x > y) - (x < y);
        return HONE_OK;
    }
    if (hone_value_is_number(a) && hone_value_is_number(b)) {
        double x = hone_value_real(a), y = hone_value_real(b);
        *out = (x > y) - (x < y);
        return HONE_OK;
    }
    if (hone_value_is(a, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, a);
    if (hone_value_is(b, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, b);
    if (hone_value_is(a, HONE_VALUE_STRING) && hone_value_is(b, HONE_VALUE_STRING)) {
        /* UTF-8 sorts as its code points do. */
        size_t shorter = HONE_MIN(a->string.size, b->string.size);
        HONE_TRY(hone_render_charge_bytes(r, shorter));
        *out = shorter == 0 ? 0 : memcmp(a->string.data, b->string.data, shorter);
        if (*out == 0) *out = (a->string.size > b->string.size) - (a->string.size < b->string.size);
        return HONE_OK;
    }
    bool lists = a->kind == b->kind &&
                 (hone_value_is(a, HONE_VALUE_LIST) || hone_value_is(a, HONE_VALUE_TUPLE));
    if (lists) return compare_lists(r, a->list, b->list, out);
    return hone_fail(r->err, HONE_ERR_FORMAT, "'%s' and '%s' have no order", hone_value_type(a),
                     hone_value_type(b));
}

hone_status hone_value_contains(hone_render *r, const hone_value *container, const hone_value *item,
                                bool *out) {
    *out = false;
    if (hone_value_is(container, HONE_VALUE_STRING)) {
        if (!hone_value_is(item, HONE_VALUE_STRING)) {
            return hone_fail(r->err, HONE_ERR_FORMAT,
                             "'in <string>' requires string as left operand, not %s",
                             hone_value_type(item));
        }
        HONE_TRY(hone_render_charge_bytes(r, container->string.size));
        *out = hone_text_find(container->string, item->string, 0) != SIZE_MAX;
        return HONE_OK;
    }
    if (hone_value_is(container, HONE_VALUE_DICT)) {
        const hone_value *found;
        HONE_TRY(hone_dict_get(r, container->dict, item, &found));
        *out = found != NULL;
        return HONE_OK;
    }
    hone_list *list;
    HONE_TRY(hone_value_items(r, container, &list));
    for (size_t i = 0; i < list->count && !*out; i++)
        HONE_TRY(hone_value_equal(r, &list->items[i], item, out));
    return HONE_OK;
}

static hone_status repr_items(hone_render *r, const hone_list *list, const char *open,
                              const char *shut, hone_buf *out) {
    HONE_TRY(hone_buf_append_str(out, open, r->err));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) HONE_TRY(hone_buf_append_str(out, ", ", r->err));
        HONE_TRY(hone_value_repr(r, &list->items[i], out));
    }
    return hone_buf_append_str(out, shut, r->err);
}

static hone_status repr_dict(hone_render *r, const hone_dict *dict, hone_buf *out) {
    HONE_TRY(hone_buf_append_char(out, '{', r->err));
    for (size_t i = 0; i < dict->count; i++) {
        if (i > 0) HONE_TRY(hone_buf_append_str(out, ", ", r->err));
        HONE_TRY(hone_value_repr(r, &dict->keys[i], out));
        HONE_TRY(hone_buf_append_str(out, ": ", r->err));
        HONE_TRY(hone_value_repr(r, &dict->values[i], out));
    }
    return hone_buf_append_char(out, '}', r->err);
}

static hone_status repr_range(hone_render *r, const hone_list *list, hone_buf *out) {
    HONE_TRY(hone_buf_printf(out, r->err, "range(%" PRId64 ", %" PRId64, list->range[0],
                             list->range[1]));
    if (list->range[2] != 1) HONE_TRY(hone_buf_printf(out, r->err, ", %" PRId64, list->range[2]));
    return hone_buf_append_char(out, ')', r->err);
}

static hone_status repr_nested(hone_render *r, const hone_value *v, hone_buf *out) {
    switch (v->kind) {
    case HONE_VALUE_LIST:
        return repr_items(r, v->list, "[", "]", out);
    case HONE_VALUE_TUPLE:
        return repr_items(r, v->list, "(", v->list->count == 1 ? ",)" : ")", out);
    case HONE_VALUE_VIEW:
        HONE_TRY(hone_buf_append_str(out, v->list->view, r->err));
        return repr_items(r, v->list, "([", "])", out);
    case HONE_VALUE_NAMESPACE:
        HONE_TRY(hone_buf_append_str(out, "<Namespace ", r->err));
        HONE_TRY(repr_dict(r, v->dict, out));
        return hone_buf_append_char(out, '>', r->err);
    default:
        return repr_dict(r, v->dict, out);
    }
}

hone_status hone_value_repr(hone_render *r, const hone_value *v, hone_buf *out) {
    HONE_TRY(hone_render_charge(r, 1));
    switch (v->kind) {
    case HONE_VALUE_ABSENT:
    case HONE_VALUE_UNDEFINED:
        return hone_buf_append_str(out, "Undefined", r->err);
    case HONE_VALUE_NONE:
        return hone_buf_append_str(out, "None", r->err);
    case HONE_VALUE_BOOL:
        return hone_buf_append_str(out, v->truth ? "True" : "False", r->err);
    case HONE_VALUE_INT:
        return hone_buf_printf(out, r->err, "%" PRId64, v->integer);
    case HONE_VALUE_FLOAT: {
        char text[HONE_FLOAT_TEXT];
        hone_format_float(v->real, text);
        return hone_buf_append_str(out, text, r->err);
    }
    case HONE_VALUE_STRING:
        HONE_TRY(hone_render_charge_text(r, v->string.size));
        if (!v->markup) return hone_text_repr(v->string, out, r->err);
        HONE_TRY(hone_buf_append_str(out, "Markup(", r->err));
        HONE_TRY(hone_text_repr(v->string, out, r->err));
        return hone_buf_append_char(out, ')', r->err);
    case HONE_VALUE_RANGE:
        return repr_range(r, v->list, out);
    case HONE_VALUE_ITERATOR:
        return hone_buf_append_str(out, "<generator object>", r->err);
    case HONE_VALUE_CALLABLE:
        return hone_buf_printf(out, r->err,
                               v->callable->function == NULL ? "<Macro '%s'>" : "<function %s>",
                               v->callable->name);
    case HONE_VALUE_LOOP:
        return hone_buf_printf(out, r->err, "<LoopContext %zu/%zu>", v->loop->index + 1,
                               v->loop->items->count);
    default:
        break;
    }
    HONE_TRY(hone_render_enter(r));
    HONE_TRY(repr_nested(r, v, out));
    hone_render_leave(r);
    return HONE_OK;
}

hone_status hone_value_str(hone_render *r, const hone_value *v, hone_buf *out) {
    if (hone_value_is(v, HONE_VALUE_UNDEFINED)) return HONE_OK;
    if (!hone_value_is(v, HONE_VALUE_STRING)) return hone_value_repr(r, v, out);
    HONE_TRY(hone_render_charge_bytes(r, v->string.size));
    return hone_buf_append(out, v->string.data, v->string.size, r->err);
}

hone_status hone_value_text(hone_render *r, const hone_value *v, hone_slice *out) {
    *out = (hone_slice){"", 0};
    if (hone_value_is(v, HONE_VALUE_STRING)) {
        *out = v->string;
        return HONE_OK;
    }
    hone_value text;
    hone_buf buf = hone_render_buf();
    HONE_TRY(hone_render_take(r, hone_value_str(r, v, &buf), &buf, &text));
    *out = text.string;
    return HONE_OK;
}
