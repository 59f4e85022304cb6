/* text/chat: chat templates: parsing once, rendering often. The engine is in the files jinja_*.c.
 */
#include "text/chat.h"
#include "base/size.h"
#include "text/jinja_render.h"
#include <stdlib.h>
#include <string.h>

#define SOURCE_LIMIT ((size_t)512 << 10)
#define PARSED_LIMIT ((size_t)256 << 20)

struct hone_chat_template {
    hone_region region;
    hone_nodes body;
    char *name; /* in the region, for messages */
};

hone_status hone_chat_template_parse(const char *source, size_t size, const char *name,
                                     hone_chat_template **out, hone_error *err) {
    hone_error local;
    if (err == NULL) err = &local;
    *out = NULL;
    if (size > SOURCE_LIMIT) {
        return hone_fail(err, HONE_ERR_LIMIT, "%s: a template of %zu bytes; the limit is %zu", name,
                         size, SOURCE_LIMIT);
    }
    hone_chat_template *chat = calloc(1, sizeof *chat);
    if (chat == NULL) return hone_fail_memory(err, "chat template", sizeof *chat);
    chat->region = hone_region_make("chat template", PARSED_LIMIT);
    chat->name = hone_region_copy(&chat->region, name, strlen(name), err);
    hone_status status = chat->name == NULL ? err->status : HONE_OK;
    if (status == HONE_OK) status = hone_jinja_parse(source, size, &chat->region, &chat->body, err);
    if (status != HONE_OK) {
        hone_chat_template_free(&chat);
        return hone_fail_prefix(err, "%s", name);
    }
    *out = chat;
    return HONE_OK;
}

void hone_chat_template_free(hone_chat_template **chat) {
    if (chat == NULL || *chat == NULL) return;
    hone_region_free(&(*chat)->region);
    free(*chat);
    *chat = NULL;
}

static hone_status from_json(hone_render *r, const json_t *json, hone_value *out);

static hone_status from_object(hone_render *r, const json_t *json, hone_dict **out) {
    json_t *object = (json_t *)(uintptr_t)json; /* jansson's iterators take no const */
    const char *key;
    json_t *member;
    HONE_TRY(hone_dict_new(r, out));
    json_object_foreach(object, key, member) {
        hone_value value;
        HONE_TRY(from_json(r, member, &value));
        HONE_TRY(hone_dict_set(r, *out, hone_value_string(key, strlen(key)), value));
    }
    return HONE_OK;
}

static hone_status from_array(hone_render *r, const json_t *json, hone_value *out) {
    hone_list *list;
    HONE_TRY(hone_list_new(r, json_array_size(json), &list));
    for (size_t i = 0; i < json_array_size(json); i++) {
        hone_value item;
        HONE_TRY(from_json(r, json_array_get(json, i), &item));
        HONE_TRY(hone_list_push(r, list, item));
    }
    *out = hone_value_list(HONE_VALUE_LIST, list);
    return HONE_OK;
}

/* Strings stay where jansson has them: the variables outlive the rendering. */
static hone_status from_json(hone_render *r, const json_t *json, hone_value *out) {
    switch (json_typeof(json)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        break;
    case JSON_STRING:
        *out = hone_value_string(json_string_value(json), json_string_length(json));
        return HONE_OK;
    case JSON_INTEGER:
        *out = hone_value_int(json_integer_value(json));
        return HONE_OK;
    case JSON_REAL:
        *out = hone_value_float(json_real_value(json));
        return HONE_OK;
    case JSON_TRUE:
        *out = hone_value_bool(true);
        return HONE_OK;
    case JSON_FALSE:
        *out = hone_value_bool(false);
        return HONE_OK;
    default:
        *out = hone_value_none();
        return HONE_OK;
    }
    HONE_TRY(hone_render_enter(r));
    out->kind = HONE_VALUE_DICT;
    HONE_TRY(json_is_object(json) ? from_object(r, json, &out->dict) : from_array(r, json, out));
    hone_render_leave(r);
    return HONE_OK;
}

static hone_status render(hone_render *r, const hone_chat_template *chat, const json_t *variables) {
    if (!json_is_object(variables)) {
        return hone_fail(r->err, HONE_ERR_USAGE, "the variables of a template must be an object");
    }
    HONE_TRY(from_object(r, variables, &r->variables));
    HONE_TRY(hone_scope_push(r, NULL, &r->scope));
    return hone_jinja_exec(r, &chat->body);
}

hone_status hone_chat_template_render(const hone_chat_template *chat, const json_t *variables,
                                      hone_buf *out, hone_chat_span **spans, size_t *span_count,
                                      hone_error *err) {
    hone_error local;
    if (err == NULL) err = &local;
    hone_spans ranges = {0};
    hone_render r = {.region = hone_region_make("chat template", HONE_RENDER_MEMORY),
                     .err = err,
                     .out = out,
                     .result = out,
                     .result_begin = out->size,
                     .spans = spans == NULL ? NULL : &ranges,
                     .steps = HONE_RENDER_STEPS};
    hone_status status = render(&r, chat, variables);
    hone_region_free(&r.region);
    if (spans != NULL) *spans = NULL;
    if (span_count != NULL) *span_count = 0;
    if (status != HONE_OK) {
        out->size = r.result_begin;
        if (out->data != NULL) out->data[out->size] = '\0';
        free(ranges.data);
        if (r.line == 0) return hone_fail_prefix(err, "%s", chat->name);
        return hone_fail_prefix(err, "%s, line %d", chat->name, r.line);
    }
    if (spans != NULL) *spans = ranges.data;
    if (span_count != NULL) *span_count = ranges.count;
    return HONE_OK;
}
