/* text/jinja_builtin: reading arguments, and the functions that every template has: range,
 * namespace, dict, joiner, raise_exception, strftime_now. */
#include "base/size.h"
#include "text/jinja_render.h"
#include "text/unicode.h"
#include <string.h>
#include <time.h>

hone_status hone_jinja_bind(hone_render *r, const char *what, const hone_args *args,
                            const char *const *names, size_t required, hone_value *values) {
    size_t count = 0;
    while (names[count] != NULL) count++;
    if (args->count > count) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "%s takes at most %zu arguments, got %zu", what,
                         count, args->count);
    }
    for (size_t i = 0; i < count; i++)
        values[i] = i < args->count ? args->values[i] : (hone_value){0};
    for (size_t i = 0; i < args->named; i++) {
        size_t at = 0;
        while (at < count && !hone_slice_is(args->names[i], names[at])) at++;
        if (at == count || at < args->count) {
            return hone_fail(r->err, HONE_ERR_FORMAT, "%s takes no argument named '%.*s' here",
                             what, (int)HONE_MIN(args->names[i].size, (size_t)100),
                             args->names[i].data);
        }
        values[at] = args->values[args->count + i];
    }
    for (size_t i = 0; i < required; i++) {
        if (!hone_value_is(&values[i], HONE_VALUE_ABSENT)) continue;
        return hone_fail(r->err, HONE_ERR_FORMAT, "%s lacks the argument '%s'", what, names[i]);
    }
    return HONE_OK;
}

hone_status hone_jinja_arg_int(hone_render *r, const hone_value *v, const char *what,
                               int64_t fallback, int64_t *out) {
    *out = fallback;
    if (hone_value_is(v, HONE_VALUE_ABSENT)) return HONE_OK;
    if (hone_value_is(v, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, v);
    if (!hone_value_is_integer(v)) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "%s: expected an integer, got '%s'", what,
                         hone_value_type(v));
    }
    *out = hone_value_integer(v);
    return HONE_OK;
}

hone_status hone_jinja_arg_string(hone_render *r, const hone_value *v, const char *what,
                                  hone_slice fallback, hone_slice *out) {
    *out = fallback;
    if (hone_value_is(v, HONE_VALUE_ABSENT)) return HONE_OK;
    if (hone_value_is(v, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, v);
    if (!hone_value_is(v, HONE_VALUE_STRING)) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "%s: expected a string, got '%s'", what,
                         hone_value_type(v));
    }
    *out = v->string;
    return HONE_OK;
}

/* How many numbers start, start + step, ... there are before stop. */
static uint64_t range_length(int64_t start, int64_t stop, int64_t step) {
    if (step > 0 ? start >= stop : start <= stop) return 0;
    uint64_t distance =
        step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    return (distance - 1) / stride + 1;
}

static hone_status call_range(hone_render *r, const hone_value *self, const hone_args *args,
                              hone_value *out) {
    static const char *const names[] = {"start", "stop", "step", NULL};
    hone_value v[3];
    int64_t start, stop, step;
    (void)self;
    HONE_TRY(hone_jinja_bind(r, "range", args, names, 1, v));
    bool single = hone_value_is(&v[1], HONE_VALUE_ABSENT);
    HONE_TRY(hone_jinja_arg_int(r, &v[single ? 1 : 0], "range", 0, &start));
    HONE_TRY(hone_jinja_arg_int(r, &v[single ? 0 : 1], "range", 0, &stop));
    HONE_TRY(hone_jinja_arg_int(r, &v[2], "range", 1, &step));
    if (step == 0) return hone_fail(r->err, HONE_ERR_FORMAT, "range: the step must not be zero");
    uint64_t count = range_length(start, stop, step);
    if (count > HONE_RENDER_RANGE) {
        return hone_fail(r->err, HONE_ERR_LIMIT, "range: %llu numbers; the limit is %d",
                         (unsigned long long)count, HONE_RENDER_RANGE);
    }
    hone_list *list;
    HONE_TRY(hone_list_new(r, (size_t)count, &list));
    for (uint64_t i = 0; i < count; i++) {
        int64_t value = (int64_t)((uint64_t)start + i * (uint64_t)step);
        HONE_TRY(hone_list_push(r, list, hone_value_int(value)));
    }
    list->range[0] = start;
    list->range[1] = stop;
    list->range[2] = step;
    *out = hone_value_list(HONE_VALUE_RANGE, list);
    return HONE_OK;
}

/* dict(mapping, key=value, ...); namespace() is the same with attributes that can be set. */
static hone_status fill_dict(hone_render *r, const char *what, const hone_args *args,
                             hone_dict **out) {
    HONE_TRY(hone_dict_new(r, out));
    if (args->count > 1)
        return hone_fail(r->err, HONE_ERR_FORMAT, "%s takes at most one mapping", what);
    if (args->count == 1 && hone_value_is(&args->values[0], HONE_VALUE_DICT)) {
        const hone_dict *source = args->values[0].dict;
        for (size_t i = 0; i < source->count; i++)
            HONE_TRY(hone_dict_set(r, *out, source->keys[i], source->values[i]));
    } else if (args->count == 1) {
        hone_list *pairs, *pair;
        HONE_TRY(hone_value_items(r, &args->values[0], &pairs));
        for (size_t i = 0; i < pairs->count; i++) {
            HONE_TRY(hone_value_items(r, &pairs->items[i], &pair));
            if (pair->count != 2)
                return hone_fail(r->err, HONE_ERR_FORMAT, "%s: expected pairs", what);
            HONE_TRY(hone_dict_set(r, *out, pair->items[0], pair->items[1]));
        }
    }
    for (size_t i = 0; i < args->named; i++) {
        hone_value key = hone_value_string(args->names[i].data, args->names[i].size);
        HONE_TRY(hone_dict_set(r, *out, key, args->values[args->count + i]));
    }
    return HONE_OK;
}

static hone_status call_dict(hone_render *r, const hone_value *self, const hone_args *args,
                             hone_value *out) {
    (void)self;
    out->kind = HONE_VALUE_DICT;
    return fill_dict(r, "dict", args, &out->dict);
}

static hone_status call_namespace(hone_render *r, const hone_value *self, const hone_args *args,
                                  hone_value *out) {
    (void)self;
    out->kind = HONE_VALUE_NAMESPACE;
    return fill_dict(r, "namespace", args, &out->dict);
}

static hone_status call_raise(hone_render *r, const hone_value *self, const hone_args *args,
                              hone_value *out) {
    static const char *const names[] = {"message", NULL};
    hone_value v[1];
    hone_slice text;
    (void)self;
    (void)out;
    HONE_TRY(hone_jinja_bind(r, "raise_exception", args, names, 1, v));
    HONE_TRY(hone_value_text(r, &v[0], &text));
    return hone_fail(r->err, HONE_ERR_FORMAT, "the template refuses the messages: %.*s",
                     (int)HONE_MIN(text.size, (size_t)800), text.data);
}

static hone_status call_strftime(hone_render *r, const hone_value *self, const hone_args *args,
                                 hone_value *out) {
    static const char *const names[] = {"format", NULL};
    hone_value v[1];
    hone_slice format;
    struct tm now;
    char text[512];
    time_t seconds = time(NULL);
    (void)self;
    HONE_TRY(hone_jinja_bind(r, "strftime_now", args, names, 1, v));
    HONE_TRY(hone_jinja_arg_string(r, &v[0], "strftime_now", (hone_slice){"", 0}, &format));
    const char *pattern = hone_region_copy(&r->region, format.data, format.size, r->err);
    if (pattern == NULL) return r->err->status;
    if (localtime_r(&seconds, &now) == NULL) {
        return hone_fail(r->err, HONE_ERR_INTERNAL, "strftime_now: the time of day is not known");
    }
    size_t size = strftime(text, sizeof text, pattern, &now);
    if (size == 0 && format.size > 0) {
        return hone_fail(r->err, HONE_ERR_LIMIT, "strftime_now: no text, or more than %zu bytes",
                         sizeof text);
    }
    return hone_value_copy(r, text, size, out);
}

/* joiner() gives "" at the first call and its separator after that; its state is a namespace. */
static hone_status joiner_next(hone_render *r, const hone_value *self, const hone_args *args,
                               hone_value *out) {
    const hone_value key = hone_value_string("used", 4), separator = hone_value_string("sep", 3);
    const hone_value *used, *sep;
    (void)args;
    HONE_TRY(hone_dict_get(r, self->dict, &separator, &sep));
    HONE_TRY(hone_dict_get(r, self->dict, &key, &used));
    *out = used == NULL ? hone_value_string("", 0) : *sep;
    return hone_dict_set(r, self->dict, key, hone_value_bool(true));
}

static hone_status bound(hone_render *r, const char *name, hone_function function, hone_value self,
                         hone_value *out) {
    hone_callable *callable = hone_region_alloc(&r->region, sizeof *callable, r->err);
    if (callable == NULL) return r->err->status;
    *callable = (hone_callable){.name = name, .function = function, .self = self};
    *out = (hone_value){.kind = HONE_VALUE_CALLABLE, .callable = callable};
    return HONE_OK;
}

static hone_status call_joiner(hone_render *r, const hone_value *self, const hone_args *args,
                               hone_value *out) {
    static const char *const names[] = {"sep", NULL};
    hone_value v[1], state = {.kind = HONE_VALUE_NAMESPACE};
    (void)self;
    HONE_TRY(hone_jinja_bind(r, "joiner", args, names, 0, v));
    if (hone_value_is(&v[0], HONE_VALUE_ABSENT)) v[0] = hone_value_string(", ", 2);
    HONE_TRY(hone_dict_new(r, &state.dict));
    HONE_TRY(hone_dict_set(r, state.dict, hone_value_string("sep", 3), v[0]));
    return bound(r, "joiner", joiner_next, state, out);
}

hone_status hone_global_find(hone_render *r, hone_slice name, hone_value *out) {
    static const struct {
        const char *name;
        hone_function function;
    } globals[] = {
        {"range", call_range},           {"dict", call_dict},
        {"namespace", call_namespace},   {"raise_exception", call_raise},
        {"strftime_now", call_strftime}, {"joiner", call_joiner},
    };
    *out = (hone_value){0};
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        if (!hone_slice_is(name, globals[i].name)) continue;
        return bound(r, globals[i].name, globals[i].function, hone_value_none(), out);
    }
    return HONE_OK;
}
