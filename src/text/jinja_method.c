/* text/jinja_method: methods of strings, dicts and lists. Those that would change a value do not
 * exist, as in Jinja2's immutable sandbox. */
#include "base/size.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include "text/unicode.h"
#include <string.h>

static hone_value piece(const hone_value *whole, size_t begin, size_t end) {
    hone_value v = hone_value_string(whole->string.data + begin, end - begin);
    v.markup = whole->markup;
    return v;
}

static hone_status strip(hone_render *r, const hone_value *self, const hone_args *args, bool left,
                         bool right, hone_value *out) {
    static const char *const names[] = {"chars", NULL};
    hone_value v[1];
    hone_slice chars = {NULL, 0};
    HONE_TRY(hone_jinja_bind(r, "strip", args, names, 0, v));
    if (!hone_value_is(&v[0], HONE_VALUE_NONE))
        HONE_TRY(hone_jinja_arg_string(r, &v[0], "strip", chars, &chars));
    hone_slice s = hone_text_strip(self->string, chars, left, right);
    HONE_TRY(hone_render_charge_text(r, (self->string.size - s.size) * (1 + chars.size / 16)));
    *out = piece(self, (size_t)(s.data - self->string.data),
                 (size_t)(s.data - self->string.data) + s.size);
    return HONE_OK;
}

static hone_status str_strip(hone_render *r, const hone_value *self, const hone_args *args,
                             hone_value *out) {
    return strip(r, self, args, true, true, out);
}

static hone_status str_lstrip(hone_render *r, const hone_value *self, const hone_args *args,
                              hone_value *out) {
    return strip(r, self, args, true, false, out);
}

static hone_status str_rstrip(hone_render *r, const hone_value *self, const hone_args *args,
                              hone_value *out) {
    return strip(r, self, args, false, true, out);
}

/* split() without a separator: runs of white space. */
static hone_status split_words(hone_render *r, const hone_value *self, int64_t most,
                               hone_list *list) {
    hone_slice s = hone_text_lstrip(self->string);
    const char *end = self->string.data + self->string.size;
    while (s.size > 0) {
        size_t at = 0;
        bool last = most >= 0 && (int64_t)list->count == most;
        while (at < s.size) {
            int32_t cp;
            size_t length = hone_char_next(s.data + at, s.size - at, &cp);
            if (!last && hone_text_is_space(cp)) break;
            at += length;
        }
        size_t begin = (size_t)(s.data - self->string.data);
        HONE_TRY(hone_list_push(r, list, piece(self, begin, begin + at)));
        if (last) break;
        s = hone_text_lstrip((hone_slice){s.data + at, (size_t)(end - s.data) - at});
    }
    return HONE_OK;
}

static hone_status split_at(hone_render *r, const hone_value *self, hone_slice separator,
                            int64_t most, hone_list *list) {
    size_t begin = 0;
    for (; most < 0 || (int64_t)list->count < most;) {
        size_t hit = hone_text_find(self->string, separator, begin);
        if (hit == SIZE_MAX) break;
        HONE_TRY(hone_list_push(r, list, piece(self, begin, hit)));
        begin = hit + separator.size;
    }
    return hone_list_push(r, list, piece(self, begin, self->string.size));
}

static void reverse(hone_list *list) {
    for (size_t i = 0, j = list->count; i + 1 < j; i++) {
        hone_value swap = list->items[i];
        list->items[i] = list->items[--j];
        list->items[j] = swap;
    }
}

/* Searching backwards compares at every place: paid for in advance. */
static hone_status charge_backwards(hone_render *r, hone_slice s, hone_slice needle) {
    size_t work;
    if (!hone_size_mul(s.size, 1 + needle.size / 16, &work)) work = SIZE_MAX;
    return hone_render_charge_bytes(r, work);
}

static hone_status split_backwards(hone_render *r, const hone_value *self, hone_slice separator,
                                   int64_t most, hone_list *list) {
    hone_slice rest = self->string;
    HONE_TRY(charge_backwards(r, rest, separator));
    while (most < 0 || (int64_t)list->count < most) {
        size_t hit = hone_text_rfind(rest, separator);
        if (hit == SIZE_MAX) break;
        HONE_TRY(hone_list_push(r, list, piece(self, hit + separator.size, rest.size)));
        rest.size = hit;
    }
    HONE_TRY(hone_list_push(r, list, piece(self, 0, rest.size)));
    reverse(list);
    return HONE_OK;
}

/* rsplit() by white space with a limit: the words from the right, what is left over in one piece.
 */
static hone_status split_words_backwards(hone_render *r, const hone_value *self, int64_t most,
                                         hone_list *list) {
    hone_list *words;
    HONE_TRY(hone_list_new(r, 0, &words));
    HONE_TRY(split_words(r, self, -1, words));
    size_t keep = most < 0 ? words->count : HONE_MIN((size_t)most, words->count);
    size_t head = words->count - keep;
    if (head > 0) {
        const hone_slice last = words->items[head - 1].string;
        size_t end = (size_t)(last.data - self->string.data) + last.size;
        HONE_TRY(hone_list_push(r, list, piece(self, 0, end)));
    }
    for (size_t i = head; i < words->count; i++) HONE_TRY(hone_list_push(r, list, words->items[i]));
    return HONE_OK;
}

static hone_status split(hone_render *r, const hone_value *self, const hone_args *args,
                         bool backwards, hone_value *out) {
    static const char *const names[] = {"sep", "maxsplit", NULL};
    hone_value v[2];
    int64_t most;
    hone_slice separator;
    hone_list *list;
    HONE_TRY(hone_jinja_bind(r, "split", args, names, 0, v));
    HONE_TRY(hone_jinja_arg_int(r, &v[1], "split", -1, &most));
    HONE_TRY(hone_list_new(r, 0, &list));
    HONE_TRY(hone_render_charge_text(r, self->string.size));
    *out = hone_value_list(HONE_VALUE_LIST, list);
    if (hone_value_is(&v[0], HONE_VALUE_ABSENT) || hone_value_is(&v[0], HONE_VALUE_NONE)) {
        return backwards ? split_words_backwards(r, self, most, list)
                         : split_words(r, self, most, list);
    }
    HONE_TRY(hone_jinja_arg_string(r, &v[0], "split", (hone_slice){"", 0}, &separator));
    if (separator.size == 0) return hone_fail(r->err, HONE_ERR_FORMAT, "split: empty separator");
    return backwards ? split_backwards(r, self, separator, most, list)
                     : split_at(r, self, separator, most, list);
}

static hone_status str_split(hone_render *r, const hone_value *self, const hone_args *args,
                             hone_value *out) {
    return split(r, self, args, false, out);
}

static hone_status str_rsplit(hone_render *r, const hone_value *self, const hone_args *args,
                              hone_value *out) {
    return split(r, self, args, true, out);
}

static hone_status str_splitlines(hone_render *r, const hone_value *self, const hone_args *args,
                                  hone_value *out) {
    static const char *const names[] = {"keepends", NULL};
    hone_value v[1];
    hone_list *list;
    HONE_TRY(hone_jinja_bind(r, "splitlines", args, names, 0, v));
    HONE_TRY(hone_list_new(r, 0, &list));
    for (size_t at = 0, next; at < self->string.size; at = next) {
        size_t end = hone_text_line(self->string, at, &next);
        HONE_TRY(hone_list_push(r, list, piece(self, at, hone_value_truth(&v[0]) ? next : end)));
    }
    *out = hone_value_list(HONE_VALUE_LIST, list);
    return HONE_OK;
}

/* partition() and rpartition(). */
static hone_status partition(hone_render *r, const hone_value *self, const hone_args *args,
                             bool backwards, hone_value *out) {
    static const char *const names[] = {"sep", NULL};
    hone_value v[1];
    hone_slice separator;
    hone_list *list;
    HONE_TRY(hone_jinja_bind(r, "partition", args, names, 1, v));
    HONE_TRY(hone_jinja_arg_string(r, &v[0], "partition", (hone_slice){"", 0}, &separator));
    if (separator.size == 0)
        return hone_fail(r->err, HONE_ERR_FORMAT, "partition: empty separator");
    if (backwards) HONE_TRY(charge_backwards(r, self->string, separator));
    size_t size = self->string.size;
    size_t hit = backwards ? hone_text_rfind(self->string, separator)
                           : hone_text_find(self->string, separator, 0);
    bool found = hit != SIZE_MAX;
    size_t begin = found ? hit : backwards ? 0 : size;
    size_t end = found ? hit + separator.size : begin;
    HONE_TRY(hone_list_new(r, 3, &list));
    HONE_TRY(hone_list_push(r, list, piece(self, 0, begin)));
    HONE_TRY(hone_list_push(r, list, piece(self, begin, end)));
    HONE_TRY(hone_list_push(r, list, piece(self, end, size)));
    *out = hone_value_list(HONE_VALUE_TUPLE, list);
    return HONE_OK;
}

static hone_status str_partition(hone_render *r, const hone_value *self, const hone_args *args,
                                 hone_value *out) {
    return partition(r, self, args, false, out);
}

static hone_status str_rpartition(hone_render *r, const hone_value *self, const hone_args *args,
                                  hone_value *out) {
    return partition(r, self, args, true, out);
}

/* startswith and endswith take a string or a tuple of them. */
static hone_status affix(hone_render *r, const hone_value *self, const hone_args *args,
                         bool (*test)(hone_slice, hone_slice), const char *what, hone_value *out) {
    static const char *const names[] = {"prefix", NULL};
    hone_value v[1];
    hone_slice text;
    HONE_TRY(hone_jinja_bind(r, what, args, names, 1, v));
    *out = hone_value_bool(false);
    if (!hone_value_is(&v[0], HONE_VALUE_TUPLE)) {
        HONE_TRY(hone_jinja_arg_string(r, &v[0], what, (hone_slice){"", 0}, &text));
        HONE_TRY(hone_render_charge_bytes(r, text.size));
        out->truth = test(self->string, text);
        return HONE_OK;
    }
    for (size_t i = 0; i < v[0].list->count && !out->truth; i++) {
        HONE_TRY(hone_jinja_arg_string(r, &v[0].list->items[i], what, (hone_slice){"", 0}, &text));
        HONE_TRY(hone_render_charge(r, 1 + text.size / 64));
        out->truth = test(self->string, text);
    }
    return HONE_OK;
}

static hone_status str_startswith(hone_render *r, const hone_value *self, const hone_args *args,
                                  hone_value *out) {
    return affix(r, self, args, hone_text_starts, "startswith", out);
}

static hone_status str_endswith(hone_render *r, const hone_value *self, const hone_args *args,
                                hone_value *out) {
    return affix(r, self, args, hone_text_ends, "endswith", out);
}

static hone_status remove_affix(hone_render *r, const hone_value *self, const hone_args *args,
                                bool prefix, hone_value *out) {
    static const char *const names[] = {"affix", NULL};
    hone_value v[1];
    hone_slice text;
    HONE_TRY(hone_jinja_bind(r, "removeprefix", args, names, 1, v));
    HONE_TRY(hone_jinja_arg_string(r, &v[0], "removeprefix", (hone_slice){"", 0}, &text));
    bool has = prefix ? hone_text_starts(self->string, text) : hone_text_ends(self->string, text);
    size_t cut = has ? text.size : 0;
    *out = prefix ? piece(self, cut, self->string.size) : piece(self, 0, self->string.size - cut);
    return HONE_OK;
}

static hone_status str_removeprefix(hone_render *r, const hone_value *self, const hone_args *args,
                                    hone_value *out) {
    return remove_affix(r, self, args, true, out);
}

static hone_status str_removesuffix(hone_render *r, const hone_value *self, const hone_args *args,
                                    hone_value *out) {
    return remove_affix(r, self, args, false, out);
}

static hone_status str_replace(hone_render *r, const hone_value *self, const hone_args *args,
                               hone_value *out) {
    static const char *const names[] = {"old", "new", "count", NULL};
    hone_value v[3];
    hone_slice from, to;
    int64_t count;
    HONE_TRY(hone_jinja_bind(r, "replace", args, names, 2, v));
    HONE_TRY(hone_jinja_arg_string(r, &v[0], "replace", (hone_slice){"", 0}, &from));
    HONE_TRY(hone_jinja_arg_string(r, &v[1], "replace", (hone_slice){"", 0}, &to));
    HONE_TRY(hone_jinja_arg_int(r, &v[2], "replace", -1, &count));
    HONE_TRY(hone_render_charge_bytes(r, self->string.size));
    hone_buf buf = hone_render_buf();
    hone_status status = hone_text_replace(self->string, from, to, count, &buf, r->err);
    HONE_TRY(hone_render_take(r, status, &buf, out));
    out->markup = self->markup;
    return HONE_OK;
}

static hone_status convert(hone_render *r, const hone_value *self, const hone_args *args,
                           hone_text_case to, hone_value *out) {
    static const char *const names[] = {NULL};
    HONE_TRY(hone_jinja_bind(r, "this method", args, names, 0, NULL));
    HONE_TRY(hone_render_charge_text(r, self->string.size));
    hone_buf buf = hone_render_buf();
    HONE_TRY(hone_render_take(r, hone_text_convert(self->string, to, &buf, r->err), &buf, out));
    out->markup = self->markup;
    return HONE_OK;
}

#define CONVERT(name, to)                                                                          \
    static hone_status name(hone_render *r, const hone_value *self, const hone_args *args,         \
                            hone_value *out) {                                                     \
        return convert(r, self, args, to, out);                                                    \
    }
CONVERT(str_upper, HONE_TEXT_UPPER)
CONVERT(str_lower, HONE_TEXT_LOWER)
CONVERT(str_title, HONE_TEXT_TITLE)
CONVERT(str_capitalize, HONE_TEXT_CAPITALIZE)
CONVERT(str_swapcase, HONE_TEXT_SWAPCASE)

static hone_status is_class(hone_render *r, const hone_value *self, const hone_args *args,
                            hone_text_class what, hone_value *out) {
    static const char *const names[] = {NULL};
    HONE_TRY(hone_jinja_bind(r, "this method", args, names, 0, NULL));
    HONE_TRY(hone_render_charge_text(r, self->string.size));
    *out = hone_value_bool(hone_text_is(self->string, what));
    return HONE_OK;
}

#define IS_CLASS(name, what)                                                                       \
    static hone_status name(hone_render *r, const hone_value *self, const hone_args *args,         \
                            hone_value *out) {                                                     \
        return is_class(r, self, args, what, out);                                                 \
    }
IS_CLASS(str_isalpha, HONE_TEXT_ALPHA)
IS_CLASS(str_isdigit, HONE_TEXT_DIGIT)
IS_CLASS(str_isdecimal, HONE_TEXT_DECIMAL)
IS_CLASS(str_isnumeric, HONE_TEXT_NUMERIC)
IS_CLASS(str_isalnum, HONE_TEXT_ALNUM)
IS_CLASS(str_isspace, HONE_TEXT_SPACE)
IS_CLASS(str_isupper, HONE_TEXT_IS_UPPER)
IS_CLASS(str_islower, HONE_TEXT_IS_LOWER)
IS_CLASS(str_istitle, HONE_TEXT_IS_TITLE)
IS_CLASS(str_isascii, HONE_TEXT_ASCII)

/* The index of a substring in characters, -1 when it is not there. */
static hone_status find(hone_render *r, const hone_value *self, const hone_args *args,
                        bool backwards, int64_t *out) {
    static const char *const names[] = {"sub", "start", NULL};
    hone_value v[2];
    hone_slice needle;
    int64_t start;
    HONE_TRY(hone_jinja_bind(r, "find", args, names, 1, v));
    HONE_TRY(hone_jinja_arg_string(r, &v[0], "find", (hone_slice){"", 0}, &needle));
    HONE_TRY(hone_jinja_arg_int(r, &v[1], "find", 0, &start));
    if (backwards) HONE_TRY(charge_backwards(r, self->string, needle));
    HONE_TRY(hone_render_charge_text(r, self->string.size));
    size_t length = hone_utf8_count(self->string.data, self->string.size);
    if (start < 0) start = HONE_MAX(start + (int64_t)length, 0);
    *out = -1;
    if ((uint64_t)start > length) return HONE_OK;
    size_t from = hone_text_offset(self->string, (size_t)start);
    size_t hit = backwards ? hone_text_rfind(self->string, needle)
                           : hone_text_find(self->string, needle, from);
    if (hit != SIZE_MAX && hit >= from) *out = (int64_t)hone_utf8_count(self->string.data, hit);
    return HONE_OK;
}

static hone_status str_find(hone_render *r, const hone_value *self, const hone_args *args,
                            hone_value *out) {
    out->kind = HONE_VALUE_INT;
    return find(r, self, args, false, &out->integer);
}

static hone_status str_rfind(hone_render *r, const hone_value *self, const hone_args *args,
                             hone_value *out) {
    out->kind = HONE_VALUE_INT;
    return find(r, self, args, true, &out->integer);
}

static hone_status str_index(hone_render *r, const hone_value *self, const hone_args *args,
                             hone_value *out) {
    HONE_TRY(str_find(r, self, args, out));
    return out->integer >= 0 ? HONE_OK : hone_fail(r->err, HONE_ERR_FORMAT, "substring not found");
}

static hone_status str_count(hone_render *r, const hone_value *self, const hone_args *args,
                             hone_value *out) {
    static const char *const names[] = {"sub", NULL};
    hone_value v[1];
    hone_slice needle;
    int64_t count = 0;
    HONE_TRY(hone_jinja_bind(r, "count", args, names, 1, v));
    HONE_TRY(hone_jinja_arg_string(r, &v[0], "count", (hone_slice){"", 0}, &needle));
    HONE_TRY(hone_render_charge_bytes(r, self->string.size));
    if (needle.size == 0)
        count = (int64_t)hone_utf8_count(self->string.data, self->string.size) + 1;
    for (size_t at = 0; needle.size > 0; count++) {
        size_t hit = hone_text_find(self->string, needle, at);
        if (hit == SIZE_MAX) break;
        at = hit + needle.size;
    }
    *out = hone_value_int(count);
    return HONE_OK;
}

static hone_status str_join(hone_render *r, const hone_value *self, const hone_args *args,
                            hone_value *out) {
    static const char *const names[] = {"iterable", NULL};
    hone_value v[1];
    hone_list *items;
    HONE_TRY(hone_jinja_bind(r, "join", args, names, 1, v));
    HONE_TRY(hone_value_items(r, &v[0], &items));
    hone_buf buf = hone_render_buf();
    hone_status status = HONE_OK;
    for (size_t i = 0; i < items->count && status == HONE_OK; i++) {
        hone_slice text;
        if (i > 0) status = hone_buf_append(&buf, self->string.data, self->string.size, r->err);
        if (status == HONE_OK) {
            status = hone_jinja_arg_string(r, &items->items[i], "join", (hone_slice){"", 0}, &text);
        }
        if (status == HONE_OK) status = hone_buf_append(&buf, text.data, text.size, r->err);
    }
    return hone_render_take(r, status, &buf, out);
}

static hone_status append_repeated(hone_buf *buf, hone_slice fill, int64_t count, hone_error *err) {
    for (int64_t i = 0; i < count; i++) HONE_TRY(hone_buf_append(buf, fill.data, fill.size, err));
    return HONE_OK;
}

/* ljust, rjust and center: `left` of the missing characters go in front, in halves of the whole. */
static hone_status justify(hone_render *r, const hone_value *self, const hone_args *args,
                           int halves, hone_value *out) {
    static const char *const names[] = {"width", "fillchar", NULL};
    hone_value v[2];
    int64_t width, length;
    hone_slice fill;
    HONE_TRY(hone_jinja_bind(r, "justify", args, names, 1, v));
    HONE_TRY(hone_jinja_arg_int(r, &v[0], "justify", 0, &width));
    HONE_TRY(hone_jinja_arg_string(r, &v[1], "justify", (hone_slice){" ", 1}, &fill));
    HONE_TRY(hone_value_length(r, self, &length));
    if (hone_utf8_count(fill.data, fill.size) != 1) {
        return hone_fail(r->err, HONE_ERR_FORMAT,
                         "the fill character must be exactly one character long");
    }
    *out = *self;
    if (width <= length) return HONE_OK;
    if (width > (int64_t)HONE_RENDER_OUTPUT) {
        return hone_fail(r->err, HONE_ERR_LIMIT, "a width of %lld characters is too large",
                         (long long)width);
    }
    int64_t missing = width - length;
    int64_t left = halves == 1 ? missing / 2 + (missing & width & 1) : halves == 2 ? missing : 0;
    hone_buf buf = hone_render_buf();
    hone_status status = append_repeated(&buf, fill, left, r->err);
    if (status == HONE_OK)
        status = hone_buf_append(&buf, self->string.data, self->string.size, r->err);
    if (status == HONE_OK) status = append_repeated(&buf, fill, missing - left, r->err);
    return hone_render_take(r, status, &buf, out);
}

static hone_status str_ljust(hone_render *r, const hone_value *self, const hone_args *args,
                             hone_value *out) {
    return justify(r, self, args, 0, out);
}

static hone_status str_center(hone_render *r, const hone_value *self, const hone_args *args,
                              hone_value *out) {
    return justify(r, self, args, 1, out);
}

static hone_status str_rjust(hone_render *r, const hone_value *self, const hone_args *args,
                             hone_value *out) {
    return justify(r, self, args, 2, out);
}

static hone_status dict_get(hone_render *r, const hone_value *self, const hone_args *args,
                            hone_value *out) {
    static const char *const names[] = {"key", "default", NULL};
    hone_value v[2];
    const hone_value *found;
    HONE_TRY(hone_jinja_bind(r, "get", args, names, 1, v));
    HONE_TRY(hone_dict_get(r, self->dict, &v[0], &found));
    *out = found != NULL                             ? *found
           : hone_value_is(&v[1], HONE_VALUE_ABSENT) ? hone_value_none()
                                                     : v[1];
    return HONE_OK;
}

/* keys(), values() and items(). */
static hone_status dict_view(hone_render *r, const hone_value *self, const hone_args *args,
                             const char *view, hone_value *out) {
    static const char *const names[] = {NULL};
    const hone_dict *dict = self->dict;
    hone_list *list;
    bool keys = strcmp(view, "dict_keys") == 0, values = strcmp(view, "dict_values") == 0;
    HONE_TRY(hone_jinja_bind(r, view, args, names, 0, NULL));
    HONE_TRY(hone_list_new(r, dict->count, &list));
    for (size_t i = 0; i < dict->count; i++) {
        hone_value item = keys ? dict->keys[i] : dict->values[i];
        if (!keys && !values) {
            hone_list *pair;
            HONE_TRY(hone_list_new(r, 2, &pair));
            HONE_TRY(hone_list_push(r, pair, dict->keys[i]));
            HONE_TRY(hone_list_push(r, pair, dict->values[i]));
            item = hone_value_list(HONE_VALUE_TUPLE, pair);
        }
        HONE_TRY(hone_list_push(r, list, item));
    }
    list->view = view;
    *out = hone_value_list(HONE_VALUE_VIEW, list);
    return HONE_OK;
}

static hone_status dict_keys(hone_render *r, const hone_value *self, const hone_args *args,
                             hone_value *out) {
    return dict_view(r, self, args, "dict_keys", out);
}

static hone_status dict_values(hone_render *r, const hone_value *self, const hone_args *args,
                               hone_value *out) {
    return dict_view(r, self, args, "dict_values", out);
}

static hone_status dict_items(hone_render *r, const hone_value *self, const hone_args *args,
                              hone_value *out) {
    return dict_view(r, self, args, "dict_items", out);
}

static hone_status same(hone_render *r, const hone_value *self, const hone_args *args,
                        hone_value *out) {
    static const char *const names[] = {NULL};
    *out = *self; /* nothing changes a value, so a copy is the value */
    return hone_jinja_bind(r, "copy", args, names, 0, NULL);
}

static hone_status list_index(hone_render *r, const hone_value *self, const hone_args *args,
                              hone_value *out) {
    static const char *const names[] = {"value", NULL};
    hone_value v[1];
    HONE_TRY(hone_jinja_bind(r, "index", args, names, 1, v));
    for (size_t i = 0; i < self->list->count; i++) {
        bool equal;
        HONE_TRY(hone_value_equal(r, &self->list->items[i], &v[0], &equal));
        *out = hone_value_int((int64_t)i);
        if (equal) return HONE_OK;
    }
    return hone_fail(r->err, HONE_ERR_FORMAT, "the value is not in the list");
}

static hone_status list_count(hone_render *r, const hone_value *self, const hone_args *args,
                              hone_value *out) {
    static const char *const names[] = {"value", NULL};
    hone_value v[1];
    HONE_TRY(hone_jinja_bind(r, "count", args, names, 1, v));
    *out = hone_value_int(0);
    for (size_t i = 0; i < self->list->count; i++) {
        bool equal;
        HONE_TRY(hone_value_equal(r, &self->list->items[i], &v[0], &equal));
        out->integer += equal;
    }
    return HONE_OK;
}

static hone_status loop_cycle(hone_render *r, const hone_value *self, const hone_args *args,
                              hone_value *out) {
    if (args->count == 0) return hone_fail(r->err, HONE_ERR_FORMAT, "no items for cycling given");
    *out = args->values[self->loop->index % args->count];
    return HONE_OK;
}

static hone_status loop_changed(hone_render *r, const hone_value *self, const hone_args *args,
                                hone_value *out) {
    hone_list *list;
    bool equal = false;
    HONE_TRY(hone_list_new(r, args->count, &list));
    for (size_t i = 0; i < args->count; i++) HONE_TRY(hone_list_push(r, list, args->values[i]));
    hone_value now = hone_value_list(HONE_VALUE_TUPLE, list);
    if (!hone_value_is(&self->loop->changed, HONE_VALUE_ABSENT)) {
        HONE_TRY(hone_value_equal(r, &self->loop->changed, &now, &equal));
    }
    self->loop->changed = now;
    *out = hone_value_bool(!equal);
    return HONE_OK;
}

typedef struct method {
    const char *name;
    hone_function function;
} method;

static const method str_methods[] = {
    {"strip", str_strip},
    {"lstrip", str_lstrip},
    {"rstrip", str_rstrip},
    {"split", str_split},
    {"rsplit", str_rsplit},
    {"splitlines", str_splitlines},
    {"startswith", str_startswith},
    {"endswith", str_endswith},
    {"replace", str_replace},
    {"upper", str_upper},
    {"lower", str_lower},
    {"title", str_title},
    {"capitalize", str_capitalize},
    {"swapcase", str_swapcase},
    {"find", str_find},
    {"rfind", str_rfind},
    {"index", str_index},
    {"count", str_count},
    {"join", str_join},
    {"partition", str_partition},
    {"rpartition", str_rpartition},
    {"ljust", str_ljust},
    {"rjust", str_rjust},
    {"center", str_center},
    {"isalpha", str_isalpha},
    {"isdigit", str_isdigit},
    {"isdecimal", str_isdecimal},
    {"isnumeric", str_isnumeric},
    {"isalnum", str_isalnum},
    {"isspace", str_isspace},
    {"isupper", str_isupper},
    {"islower", str_islower},
    {"istitle", str_istitle},
    {"isascii", str_isascii},
    {"removeprefix", str_removeprefix},
    {"removesuffix", str_removesuffix},
    {NULL, NULL},
};
static const method dict_methods[] = {{"get", dict_get},       {"keys", dict_keys},
                                      {"values", dict_values}, {"items", dict_items},
                                      {"copy", same},          {NULL, NULL}};
static const method list_methods[] = {{"index", list_index}, {"count", list_count}, {NULL, NULL}};
static const method loop_methods[] = {
    {"cycle", loop_cycle}, {"changed", loop_changed}, {NULL, NULL}};

/* Python's methods that change their object: there, but undefined. */
static bool is_refused(hone_value_kind kind, hone_slice name) {
    static const char *const of_list[] = {"append", "clear", "pop",    "reverse",
                                          "insert", "sort",  "extend", "remove"};
    static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update"};
    bool list = kind == HONE_VALUE_LIST;
    if (!list && kind != HONE_VALUE_DICT) return false;
    for (size_t i = 0;
         i < (list ? sizeof of_list / sizeof *of_list : sizeof of_dict / sizeof *of_dict); i++) {
        if (hone_slice_is(name, list ? of_list[i] : of_dict[i])) return true;
    }
    return false;
}

hone_status hone_method_find(hone_render *r, const hone_value *object, hone_slice name, bool *found,
                             hone_value *out) {
    hone_value_kind kind = (hone_value_kind)object->kind;
    const method *methods = kind == HONE_VALUE_STRING ? str_methods
                            : kind == HONE_VALUE_DICT ? dict_methods
                            : kind == HONE_VALUE_LOOP ? loop_methods
                            : kind >= HONE_VALUE_LIST && kind <= HONE_VALUE_RANGE
                                ? list_methods
                                : &list_methods[2];
    *found = false;
    if (is_refused(kind, name)) {
        *found = true;
        *out = hone_value_undefined(name, kind);
        return HONE_OK;
    }
    for (; methods->name != NULL && !*found; methods++) *found = hone_slice_is(name, methods->name);
    if (!*found) return HONE_OK;
    methods--;
    hone_callable *callable = hone_region_alloc(&r->region, sizeof *callable, r->err);
    if (callable == NULL) return r->err->status;
    *callable =
        (hone_callable){.name = methods->name, .function = methods->function, .self = *object};
    *out = (hone_value){.kind = HONE_VALUE_CALLABLE, .callable = callable};
    return HONE_OK;
}
