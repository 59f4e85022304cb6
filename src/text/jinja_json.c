/* text/jinja_json: the filter tojson, as Python's json.dumps writes, and the values that a
 * rendering begins with. */
#include "text/jinja_render.h"
#include "text/unicode.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static hone_status dump_escaped(int32_t cp, hone_buf *out, hone_error *err) {
    static const char letters[] = "\"\\\n\r\t\b\f", names[] = "\"\\nrtbf";
    const char *letter = cp > 0 && cp < 0x80 ? strchr(letters, cp) : NULL;
    if (letter != NULL) return hone_buf_printf(out, err, "\\%c", names[letter - letters]);
    if (cp < 0x10000) return hone_buf_printf(out, err, "\\u%04x", (unsigned)cp);
    unsigned rest = (unsigned)cp - 0x10000; /* a surrogate pair */
    return hone_buf_printf(out, err, "\\u%04x\\u%04x", 0xd800 + (rest >> 10),
                           0xdc00 + (rest & 0x3ff));
}

static hone_status dump_string(hone_render *r, hone_slice s, bool ascii, hone_buf *out) {
    size_t done = 0;
    HONE_TRY(hone_render_charge_text(r, s.size));
    HONE_TRY(hone_buf_append_char(out, '"', r->err));
    for (size_t at = 0; at < s.size;) {
        int32_t cp;
        size_t length = hone_char_next(s.data + at, s.size - at, &cp);
        if (cp < 0x20 || cp == '"' || cp == '\\' || (ascii && cp > 0x7e)) {
            HONE_TRY(hone_buf_append(out, s.data + done, at - done, r->err));
            HONE_TRY(dump_escaped(cp, out, r->err));
            done = at + length;
        }
        at += length;
    }
    HONE_TRY(hone_buf_append(out, s.data + done, s.size - done, r->err));
    return hone_buf_append_char(out, '"', r->err);
}

static hone_status new_line(const hone_json_style *style, int level, hone_buf *out,
                            hone_error *err) {
    if (style->indent == NULL) return HONE_OK;
    HONE_TRY(hone_buf_append_char(out, '\n', err));
    for (int i = 0; i < level; i++)
        HONE_TRY(hone_buf_append(out, style->indent->data, style->indent->size, err));
    return HONE_OK;
}

static hone_status dump_list(hone_render *r, const hone_list *list, const hone_json_style *style,
                             int level, hone_buf *out) {
    if (list->count == 0) return hone_buf_append_str(out, "[]", r->err);
    HONE_TRY(hone_buf_append_char(out, '[', r->err));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) HONE_TRY(hone_buf_append(out, style->item.data, style->item.size, r->err));
        HONE_TRY(new_line(style, level + 1, out, r->err));
        HONE_TRY(hone_json_dump(r, &list->items[i], style, level + 1, out));
    }
    HONE_TRY(new_line(style, level, out, r->err));
    return hone_buf_append_char(out, ']', r->err);
}

/* Keys become strings: true, null and numbers as JSON writes them. */
static hone_status dump_key(hone_render *r, const hone_value *key, const hone_json_style *style,
                            hone_buf *out) {
    if (hone_value_is(key, HONE_VALUE_STRING))
        return dump_string(r, key->string, style->ascii, out);
    if (!hone_value_is_number(key) && !hone_value_is(key, HONE_VALUE_NONE)) {
        return hone_fail(r->err, HONE_ERR_FORMAT,
                         "tojson: keys must be str, int, float, bool or None, not %s",
                         hone_value_type(key));
    }
    HONE_TRY(hone_buf_append_char(out, '"', r->err));
    HONE_TRY(hone_json_dump(r, key, style, 0, out));
    return hone_buf_append_char(out, '"', r->err);
}

/* Entry numbers in the order of their keys, by merging: stable and never quadratic. */
static hone_status sort_entries(hone_render *r, const hone_dict *dict, size_t *order,
                                size_t *spare) {
    for (size_t width = 1; width < dict->count; width *= 2) {
        for (size_t begin = 0; begin < dict->count; begin += 2 * width) {
            size_t middle = begin + width < dict->count ? begin + width : dict->count;
            size_t end = middle + width < dict->count ? middle + width : dict->count;
            size_t a = begin, b = middle;
            for (size_t at = begin; at < end; at++) {
                int compared = 0;
                if (a < middle && b < end) {
                    HONE_TRY(hone_value_compare(r, &dict->keys[order[a]], &dict->keys[order[b]],
                                                &compared));
                }
                spare[at] = a < middle && (b == end || compared <= 0) ? order[a++] : order[b++];
            }
        }
        memcpy(order, spare, dict->count * sizeof *order);
    }
    return HONE_OK;
}

static hone_status dump_dict(hone_render *r, const hone_dict *dict, const hone_json_style *style,
                             int level, hone_buf *out) {
    if (dict->count == 0) return hone_buf_append_str(out, "{}", r->err);
    size_t *order = hone_region_array(&r->region, 2 * dict->count, sizeof *order, r->err);
    if (order == NULL) return r->err->status;
    for (size_t i = 0; i < dict->count; i++) order[i] = i;
    if (style->sort_keys) HONE_TRY(sort_entries(r, dict, order, order + dict->count));
    HONE_TRY(hone_buf_append_char(out, '{', r->err));
    for (size_t i = 0; i < dict->count; i++) {
        if (i > 0) HONE_TRY(hone_buf_append(out, style->item.data, style->item.size, r->err));
        HONE_TRY(new_line(style, level + 1, out, r->err));
        HONE_TRY(dump_key(r, &dict->keys[order[i]], style, out));
        HONE_TRY(hone_buf_append(out, style->key.data, style->key.size, r->err));
        HONE_TRY(hone_json_dump(r, &dict->values[order[i]], style, level + 1, out));
    }
    HONE_TRY(new_line(style, level, out, r->err));
    return hone_buf_append_char(out, '}', r->err);
}

hone_status hone_json_dump(hone_render *r, const hone_value *v, const hone_json_style *style,
                           int level, hone_buf *out) {
    hone_status status = HONE_OK;
    HONE_TRY(hone_render_charge(r, 1));
    switch (v->kind) {
    case HONE_VALUE_NONE:
        return hone_buf_append_str(out, "null", r->err);
    case HONE_VALUE_BOOL:
        return hone_buf_append_str(out, v->truth ? "true" : "false", r->err);
    case HONE_VALUE_INT:
        return hone_buf_printf(out, r->err, "%" PRId64, v->integer);
    case HONE_VALUE_FLOAT: {
        char text[HONE_FLOAT_TEXT];
        hone_format_float(v->real, text);
        const char *name = isnan(v->real)   ? "NaN"
                           : isinf(v->real) ? (v->real > 0 ? "Infinity" : "-Infinity")
                                            : text;
        return hone_buf_append_str(out, name, r->err);
    }
    case HONE_VALUE_STRING:
        return dump_string(r, v->string, style->ascii, out);
    case HONE_VALUE_LIST:
    case HONE_VALUE_TUPLE:
    case HONE_VALUE_DICT:
        break;
    default:
        return hone_fail(r->err, HONE_ERR_FORMAT,
                         "tojson: an object of type %s is not JSON serializable",
                         hone_value_type(v));
    }
    HONE_TRY(hone_render_enter(r));
    status = hone_value_is(v, HONE_VALUE_DICT) ? dump_dict(r, v->dict, style, level, out)
                                               : dump_list(r, v->list, style, level, out);
    hone_render_leave(r);
    return status;
}
