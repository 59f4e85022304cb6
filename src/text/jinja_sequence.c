/* text/jinja_sequence: filters of sequences and mappings. Those that Jinja2 computes lazily are
 * computed at once; their result still gives its items only once. */
#include "base/size.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"
#include <string.h>

#define MAX_PATH_PARTS 16

typedef hone_status (*filter)(hone_render *r, const hone_args *args, hone_value *out);

/* "a.b.0": what to look up one after the other; numbers are indices. */
typedef struct path {
    hone_value parts[MAX_PATH_PARTS];
    size_t count;
} path;

static hone_value path_part(hone_slice s) {
    int64_t number = 0;
    for (size_t i = 0; i < s.size; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || i > 9) return hone_value_string(s.data, s.size);
        number = 10 * number + (s.data[i] - '0');
    }
    return s.size == 0 ? hone_value_string(s.data, 0) : hone_value_int(number);
}

static hone_status parse_path(hone_render *r, const hone_value *attribute, path *out) {
    out->count = 0;
    if (hone_value_is(attribute, HONE_VALUE_ABSENT) || hone_value_is(attribute, HONE_VALUE_NONE))
        return HONE_OK;
    if (hone_value_is_integer(attribute)) {
        out->parts[out->count++] = *attribute;
        return HONE_OK;
    }
    hone_slice s;
    HONE_TRY(hone_jinja_arg_string(r, attribute, "attribute", (hone_slice){"", 0}, &s));
    for (;;) {
        const char *dot = memchr(s.data, '.', s.size);
        size_t size = dot == NULL ? s.size : (size_t)(dot - s.data);
        if (out->count == MAX_PATH_PARTS) {
            return hone_fail(r->err, HONE_ERR_LIMIT, "an attribute path has more than %d parts",
                             MAX_PATH_PARTS);
        }
        out->parts[out->count++] = path_part((hone_slice){s.data, size});
        if (dot == NULL) return HONE_OK;
        s = (hone_slice){dot + 1, s.size - size - 1};
    }
}

/* `fallback` stands for what is undefined, unless it is ABSENT or none. */
static hone_status follow_path(hone_render *r, const path *p, hone_value item,
                               const hone_value *fallback, hone_value *out) {
    bool has_fallback = fallback != NULL && !hone_value_is(fallback, HONE_VALUE_ABSENT) &&
                        !hone_value_is(fallback, HONE_VALUE_NONE);
    for (size_t i = 0; i < p->count; i++) {
        hone_value next;
        HONE_TRY(hone_jinja_get_item(r, &item, &p->parts[i], &next));
        item = has_fallback && hone_value_is(&next, HONE_VALUE_UNDEFINED) ? *fallback : next;
    }
    *out = item;
    return HONE_OK;
}

/* What values are sorted and compared by: strings without regard to case, unless asked otherwise.
 */
static hone_status fold_case(hone_render *r, bool case_sensitive, hone_value *v) {
    if (case_sensitive || !hone_value_is(v, HONE_VALUE_STRING)) return HONE_OK;
    HONE_TRY(hone_render_charge_text(r, v->string.size));
    hone_buf buf = hone_render_buf();
    hone_status status = hone_text_convert(v->string, HONE_TEXT_LOWER, &buf, r->err);
    return hone_render_take(r, status, &buf, v);
}

static hone_status list_of(hone_render *r, const hone_value *v, hone_list **out) {
    hone_list *items;
    HONE_TRY(hone_value_items(r, v, &items));
    HONE_TRY(hone_list_new(r, items->count, out));
    for (size_t i = 0; i < items->count; i++) HONE_TRY(hone_list_push(r, *out, items->items[i]));
    return HONE_OK;
}

static hone_status filter_list(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", NULL};
    hone_value v[1];
    hone_list *list;
    HONE_TRY(hone_jinja_bind(r, "list", args, names, 1, v));
    HONE_TRY(list_of(r, &v[0], &list));
    *out = hone_value_list(HONE_VALUE_LIST, list);
    return HONE_OK;
}

static hone_status filter_join(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", "d", "attribute", NULL};
    hone_value v[3];
    hone_list *items;
    hone_slice separator;
    path p;
    HONE_TRY(hone_jinja_bind(r, "join", args, names, 1, v));
    if (hone_value_is(&v[1], HONE_VALUE_ABSENT)) v[1] = hone_value_string("", 0);
    HONE_TRY(hone_value_text(r, &v[1], &separator));
    HONE_TRY(parse_path(r, &v[2], &p));
    HONE_TRY(hone_value_items(r, &v[0], &items));
    hone_buf buf = hone_render_buf();
    hone_status status = HONE_OK;
    for (size_t i = 0; i < items->count && status == HONE_OK; i++) {
        hone_value item;
        if (i > 0) status = hone_buf_append(&buf, separator.data, separator.size, r->err);
        if (status == HONE_OK) status = follow_path(r, &p, items->items[i], NULL, &item);
        if (status == HONE_OK) status = hone_value_str(r, &item, &buf);
    }
    return hone_render_take(r, status, &buf, out);
}

static hone_value nothing(const char *name) {
    return hone_value_undefined((hone_slice){name, strlen(name)}, HONE_VALUE_ABSENT);
}

static hone_status filter_first(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"seq", NULL};
    hone_value v[1];
    hone_list *items;
    HONE_TRY(hone_jinja_bind(r, "first", args, names, 1, v));
    HONE_TRY(hone_value_items(r, &v[0], &items));
    *out = items->count > 0 ? items->items[0] : nothing("the first item of nothing");
    return HONE_OK;
}

static hone_status filter_last(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"seq", NULL};
    hone_value v[1];
    hone_list *items;
    HONE_TRY(hone_jinja_bind(r, "last", args, names, 1, v));
    if (hone_value_is(&v[0], HONE_VALUE_ITERATOR)) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "'generator' object is not reversible");
    }
    HONE_TRY(hone_value_items(r, &v[0], &items));
    *out = items->count > 0 ? items->items[items->count - 1] : nothing("the last item of nothing");
    return HONE_OK;
}

static hone_status filter_reverse(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", NULL};
    hone_value v[1], bounds[3] = {{0}, {0}, hone_value_int(-1)};
    hone_list *items, *list;
    HONE_TRY(hone_jinja_bind(r, "reverse", args, names, 1, v));
    if (hone_value_is(&v[0], HONE_VALUE_STRING)) return hone_jinja_get_slice(r, &v[0], bounds, out);
    HONE_TRY(hone_value_items(r, &v[0], &items));
    HONE_TRY(hone_list_new(r, items->count, &list));
    for (size_t i = items->count; i > 0; i--)
        HONE_TRY(hone_list_push(r, list, items->items[i - 1]));
    *out = hone_value_list(HONE_VALUE_ITERATOR, list);
    return HONE_OK;
}

/* Keys beside items; sorted together. */
typedef struct keyed {
    hone_value key, item;
} keyed;

/* Merge sort: stable, also backwards, and never quadratic. */
static hone_status sort_keyed(hone_render *r, keyed *data, size_t count, bool backwards) {
    keyed *spare = hone_region_array(&r->region, count, sizeof *spare, r->err);
    if (spare == NULL) return r->err->status;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t begin = 0; begin < count; begin += 2 * width) {
            size_t middle = HONE_MIN(begin + width, count), end = HONE_MIN(middle + width, count);
            size_t a = begin, b = middle;
            for (size_t at = begin; at < end; at++) {
                int order = 0;
                if (a < middle && b < end)
                    HONE_TRY(hone_value_compare(r, &data[a].key, &data[b].key, &order));
                bool left = backwards ? order >= 0 : order <= 0;
                spare[at] = a < middle && (b == end || left) ? data[a++] : data[b++];
            }
        }
        memcpy(data, spare, count * sizeof *data);
    }
    return HONE_OK;
}

static hone_status sorted(hone_render *r, keyed *data, size_t count, bool backwards,
                          hone_value *out) {
    hone_list *list;
    HONE_TRY(sort_keyed(r, data, count, backwards));
    HONE_TRY(hone_list_new(r, count, &list));
    for (size_t i = 0; i < count; i++) HONE_TRY(hone_list_push(r, list, data[i].item));
    *out = hone_value_list(HONE_VALUE_LIST, list);
    return HONE_OK;
}

/* The key of "a,b.c": the values of all paths, as a list. */
static hone_status sort_key(hone_render *r, const hone_value *attribute, const hone_value *item,
                            bool case_sensitive, hone_value *out) {
    hone_list *list;
    hone_slice rest =
        hone_value_is(attribute, HONE_VALUE_STRING) ? attribute->string : (hone_slice){NULL, 0};
    HONE_TRY(hone_list_new(r, 1, &list));
    for (bool more = true; more;) {
        hone_value one = *attribute, key;
        const char *comma = rest.data == NULL ? NULL : memchr(rest.data, ',', rest.size);
        if (comma != NULL) one = hone_value_string(rest.data, (size_t)(comma - rest.data));
        if (comma == NULL && rest.data != NULL) one = hone_value_string(rest.data, rest.size);
        path p;
        HONE_TRY(parse_path(r, &one, &p));
        HONE_TRY(follow_path(r, &p, *item, NULL, &key));
        HONE_TRY(fold_case(r, case_sensitive, &key));
        HONE_TRY(hone_list_push(r, list, key));
        more = comma != NULL;
        if (more) rest = (hone_slice){comma + 1, rest.size - (size_t)(comma + 1 - rest.data)};
    }
    *out = hone_value_list(HONE_VALUE_LIST, list);
    return HONE_OK;
}

static hone_status filter_sort(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", "reverse", "case_sensitive", "attribute", NULL};
    hone_value v[4];
    hone_list *items;
    HONE_TRY(hone_jinja_bind(r, "sort", args, names, 1, v));
    HONE_TRY(hone_value_items(r, &v[0], &items));
    keyed *data = hone_region_array(&r->region, items->count, sizeof *data, r->err);
    if (data == NULL) return r->err->status;
    for (size_t i = 0; i < items->count; i++) {
        data[i].item = items->items[i];
        HONE_TRY(sort_key(r, &v[3], &data[i].item, hone_value_truth(&v[2]), &data[i].key));
    }
    return sorted(r, data, items->count, hone_value_truth(&v[1]), out);
}

static hone_status pair(hone_render *r, const hone_dict *dict, size_t at, hone_value *out) {
    hone_list *list;
    HONE_TRY(hone_list_new(r, 2, &list));
    HONE_TRY(hone_list_push(r, list, dict->keys[at]));
    HONE_TRY(hone_list_push(r, list, dict->values[at]));
    *out = hone_value_list(HONE_VALUE_TUPLE, list);
    return HONE_OK;
}

static hone_status need_dict(hone_render *r, const hone_value *v, const char *what) {
    if (hone_value_is(v, HONE_VALUE_DICT)) return HONE_OK;
    if (hone_value_is(v, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, v);
    return hone_fail(r->err, HONE_ERR_FORMAT, "%s: expected a mapping, got '%s'", what,
                     hone_value_type(v));
}

static hone_status filter_dictsort(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", "case_sensitive", "by", "reverse", NULL};
    hone_value v[4];
    hone_slice by;
    HONE_TRY(hone_jinja_bind(r, "dictsort", args, names, 1, v));
    HONE_TRY(need_dict(r, &v[0], "dictsort"));
    HONE_TRY(hone_jinja_arg_string(r, &v[2], "dictsort", (hone_slice){"key", 3}, &by));
    bool by_value = hone_slice_is(by, "value");
    if (!by_value && !hone_slice_is(by, "key")) {
        return hone_fail(r->err, HONE_ERR_FORMAT,
                         "dictsort: you can only sort by \"key\" or \"value\"");
    }
    const hone_dict *dict = v[0].dict;
    keyed *data = hone_region_array(&r->region, dict->count, sizeof *data, r->err);
    if (data == NULL) return r->err->status;
    for (size_t i = 0; i < dict->count; i++) {
        data[i].key = by_value ? dict->values[i] : dict->keys[i];
        HONE_TRY(fold_case(r, hone_value_truth(&v[1]), &data[i].key));
        HONE_TRY(pair(r, dict, i, &data[i].item));
    }
    return sorted(r, data, dict->count, hone_value_truth(&v[3]), out);
}

static hone_status filter_items(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", NULL};
    hone_value v[1];
    hone_list *list;
    HONE_TRY(hone_jinja_bind(r, "items", args, names, 1, v));
    HONE_TRY(hone_list_new(r, 0, &list));
    *out = hone_value_list(HONE_VALUE_ITERATOR, list);
    if (hone_value_is(&v[0], HONE_VALUE_UNDEFINED)) return HONE_OK;
    HONE_TRY(need_dict(r, &v[0], "items"));
    for (size_t i = 0; i < v[0].dict->count; i++) {
        hone_value item;
        HONE_TRY(pair(r, v[0].dict, i, &item));
        HONE_TRY(hone_list_push(r, list, item));
    }
    return HONE_OK;
}

static hone_status filter_unique(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"value", "case_sensitive", "attribute", NULL};
    hone_value v[3];
    hone_list *items, *list;
    hone_dict *seen;
    path p;
    HONE_TRY(hone_jinja_bind(r, "unique", args, names, 1, v));
    HONE_TRY(parse_path(r, &v[2], &p));
    HONE_TRY(hone_value_items(r, &v[0], &items));
    HONE_TRY(hone_list_new(r, 0, &list));
    HONE_TRY(hone_dict_new(r, &seen));
    for (size_t i = 0; i < items->count; i++) {
        hone_value key;
        const hone_value *found;
        HONE_TRY(follow_path(r, &p, items->items[i], NULL, &key));
        HONE_TRY(fold_case(r, hone_value_truth(&v[1]), &key));
        HONE_TRY(hone_dict_get(r, seen, &key, &found));
        if (found != NULL) continue;
        HONE_TRY(hone_dict_set(r, seen, key, hone_value_none()));
        HONE_TRY(hone_list_push(r, list, items->items[i]));
    }
    *out = hone_value_list(HONE_VALUE_ITERATOR, list);
    return HONE_OK;
}

static hone_status extreme(hone_render *r, const hone_args *args, const char *what, int sign,
                           hone_value *out) {
    static const char *const names[] = {"value", "case_sensitive", "attribute", NULL};
    hone_value v[3], best = {0};
    hone_list *items;
    path p;
    HONE_TRY(hone_jinja_bind(r, what, args, names, 1, v));
    HONE_TRY(parse_path(r, &v[2], &p));
    HONE_TRY(hone_value_items(r, &v[0], &items));
    *out = nothing("an extreme of nothing");
    for (size_t i = 0; i < items->count; i++) {
        hone_value key;
        int order = 0;
        HONE_TRY(follow_path(r, &p, items->items[i], NULL, &key));
        HONE_TRY(fold_case(r, hone_value_truth(&v[1]), &key));
        if (i > 0) HONE_TRY(hone_value_compare(r, &key, &best, &order));
        if (i > 0 && order * sign <= 0) continue;
        best = key;
        *out = items->items[i];
    }
    return HONE_OK;
}

static hone_status filter_min(hone_render *r, const hone_args *args, hone_value *out) {
    return extreme(r, args, "min", -1, out);
}

static hone_status filter_max(hone_render *r, const hone_args *args, hone_value *out) {
    return extreme(r, args, "max", 1, out);
}

static hone_status filter_sum(hone_render *r, const hone_args *args, hone_value *out) {
    static const char *const names[] = {"iterable", "attribute", "start", NULL};
    hone_value v[3];
    hone_list *items;
    path p;
    HONE_TRY(hone_jinja_bind(r, "sum", args, names, 1, v));
    HONE_TRY(parse_path(r, &v[1], &p));
    HONE_TRY(hone_value_items(r, &v[0], &items));
    *out = hone_value_is(&v[2], HONE_VALUE_ABSENT) ? hone_value_int(0) : v[2];
    for (size_t i = 0; i < items->count; i++) {
        hone_value item, sum;
        HONE_TRY(follow_path(r, &p, items->items[i], NULL, &item));
        HONE_TRY(hone_jinja_binary(r, HONE_OP_ADD, out, &item, &sum));
        *out = sum;
    }
    return HONE_OK;
}

static const hone_value *named(const hone_args *args, const char *name) {
    for (size_t i = 0; i < args->named; i++) {
        if (hone_slice_is(args->names[i], name)) return &args->values[args->count + i];
    }
    return NULL;
}

/* The arguments behind the first `skip`, with room in front for an item. */
static hone_status rest_of(hone_render *r, const hone_args *args, size_t skip, hone_args *out) {
    size_t left = args->count - skip;
    *out = (hone_args){.count = left + 1, .named = args->named, .names = args->names};
    out->values =
        hone_region_array(&r->region, left + 1 + args->named, sizeof *out->values, r->err);
    if (out->values == NULL) return r->err->status;
    for (size_t i = 0; i < left + args->named; i++) out->values[i + 1] = args->values[skip + i];
    return HONE_OK;
}

/* map('filter', arguments...) or map(attribute='path', default=value). */
static hone_status filter_map(hone_render *r, const hone_args *args, hone_value *out) {
    const hone_value *attribute = args->count == 1 ? named(args, "attribute") : NULL;
    hone_list *items, *list;
    hone_args rest = {0};
    hone_slice name = {"", 0};
    path p = {.count = 0};
    HONE_TRY(hone_list_new(r, 0, &list));
    *out = hone_value_list(HONE_VALUE_ITERATOR, list);
    if (!hone_value_truth(&args->values[0])) return HONE_OK;
    if (attribute != NULL) {
        HONE_TRY(parse_path(r, attribute, &p));
    } else if (args->count < 2) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "map requires a filter argument");
    } else {
        HONE_TRY(hone_jinja_arg_string(r, &args->values[1], "map", name, &name));
        HONE_TRY(rest_of(r, args, 2, &rest));
    }
    HONE_TRY(hone_value_items(r, &args->values[0], &items));
    HONE_TRY(hone_render_enter(r));
    for (size_t i = 0; i < items->count; i++) {
        hone_value item;
        if (attribute != NULL) {
            HONE_TRY(follow_path(r, &p, items->items[i], named(args, "default"), &item));
        } else {
            rest.values[0] = items->items[i];
            HONE_TRY(hone_filter_apply(r, name, &rest, &item));
        }
        HONE_TRY(hone_list_push(r, list, item));
    }
    hone_render_leave(r);
    return HONE_OK;
}

/* select, reject, selectattr and rejectattr: those items whose value passes the test, or is true
 * without one. */
static hone_status choose(hone_render *r, const hone_args *args, bool by_attribute, bool wanted,
                          hone_value *out) {
    hone_list *items, *list;
    hone_args rest = {0};
    hone_slice test = {"", 0};
    path p = {.count = 0};
    size_t used = 1;
    HONE_TRY(hone_list_new(r, 0, &list));
    *out = hone_value_list(HONE_VALUE_ITERATOR, list);
    if (!hone_value_truth(&args->values[0])) return HONE_OK;
    if (by_attribute) {
        if (args->count < 2)
            return hone_fail(r->err, HONE_ERR_FORMAT, "missing parameter for attribute name");
        HONE_TRY(parse_path(r, &args->values[used++], &p));
    }
    bool tested = args->count > used;
    if (tested) {
        HONE_TRY(hone_jinja_arg_string(r, &args->values[used++], "select", test, &test));
        HONE_TRY(rest_of(r, args, used, &rest));
    }
    HONE_TRY(hone_value_items(r, &args->values[0], &items));
    HONE_TRY(hone_render_enter(r));
    for (size_t i = 0; i < items->count; i++) {
        hone_value value;
        HONE_TRY(follow_path(r, &p, items->items[i], NULL, &value));
        bool holds = hone_value_truth(&value);
        if (tested) {
            rest.values[0] = value;
            HONE_TRY(hone_test_apply(r, test, &rest, &holds));
        }
        if (holds == wanted) HONE_TRY(hone_list_push(r, list, items->items[i]));
    }
    hone_render_leave(r);
    return HONE_OK;
}

static hone_status filter_select(hone_render *r, const hone_args *args, hone_value *out) {
    return choose(r, args, false, true, out);
}

static hone_status filter_reject(hone_render *r, const hone_args *args, hone_value *out) {
    return choose(r, args, false, false, out);
}

static hone_status filter_selectattr(hone_render *r, const hone_args *args, hone_value *out) {
    return choose(r, args, true, true, out);
}

static hone_status filter_rejectattr(hone_render *r, const hone_args *args, hone_value *out) {
    return choose(r, args, true, false, out);
}

static const struct {
    const char *name;
    filter function;
} filters[] = {
    {"list", filter_list},
    {"join", filter_join},
    {"first", filter_first},
    {"last", filter_last},
    {"reverse", filter_reverse},
    {"sort", filter_sort},
    {"dictsort", filter_dictsort},
    {"items", filter_items},
    {"unique", filter_unique},
    {"min", filter_min},
    {"max", filter_max},
    {"sum", filter_sum},
    {"map", filter_map},
    {"select", filter_select},
    {"reject", filter_reject},
    {"selectattr", filter_selectattr},
    {"rejectattr", filter_rejectattr},
};

static size_t find_filter(hone_slice name) {
    size_t at = 0;
    while (at < sizeof filters / sizeof filters[0] && !hone_slice_is(name, filters[at].name)) at++;
    return at;
}

bool hone_filter_sequence_exists(hone_slice name) {
    return find_filter(name) < sizeof filters / sizeof filters[0];
}

hone_status hone_filter_sequence(hone_render *r, hone_slice name, const hone_args *args,
                                 bool *found, hone_value *out) {
    *found = hone_filter_sequence_exists(name);
    return *found ? filters[find_filter(name)].function(r, args, out) : HONE_OK;
}
