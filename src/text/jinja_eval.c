/* text/jinja_eval: evaluation of expressions, under the limits of a rendering. */
#include "base/size.h"
#include "text/jinja_render.h"
#include <string.h>

hone_status hone_render_charge(hone_render *r, size_t steps) {
    if (steps <= r->steps) {
        r->steps -= steps;
        return HONE_OK;
    }
    r->steps = 0;
    return hone_fail(r->err, HONE_ERR_LIMIT, "the template takes more than %u steps",
                     HONE_RENDER_STEPS);
}

hone_status hone_render_charge_bytes(hone_render *r, size_t bytes) {
    return hone_render_charge(r, bytes / 64);
}

hone_status hone_render_charge_text(hone_render *r, size_t bytes) {
    return hone_render_charge(r, bytes / 8);
}

hone_status hone_render_enter(hone_render *r) {
    if (++r->depth <= HONE_RENDER_DEPTH) return HONE_OK;
    return hone_fail(r->err, HONE_ERR_LIMIT,
                     "evaluation is nested deeper than %d (endless recursion?)", HONE_RENDER_DEPTH);
}

hone_buf hone_render_buf(void) { return hone_buf_make(HONE_RENDER_OUTPUT); }

hone_status hone_render_take(hone_render *r, hone_status status, hone_buf *buf, hone_value *out) {
    if (status == HONE_OK)
        status = hone_value_copy(r, buf->data == NULL ? "" : buf->data, buf->size, out);
    hone_buf_free(buf);
    return status;
}

static hone_status lookup(hone_render *r, hone_slice name, hone_value *out) {
    for (const hone_scope *scope = r->scope; scope != NULL; scope = scope->parent) {
        HONE_TRY(hone_render_charge(r, scope->count / 8));
        for (size_t i = 0; i < scope->count; i++) {
            if (!hone_name_is(scope->names[i], name)) continue;
            *out = scope->values[i];
            return HONE_OK;
        }
    }
    const hone_value *value;
    hone_value key = hone_value_string(name.data, name.size);
    HONE_TRY(hone_dict_get(r, r->variables, &key, &value));
    if (value != NULL) {
        *out = *value;
        return HONE_OK;
    }
    HONE_TRY(hone_global_find(r, name, out));
    if (hone_value_is(out, HONE_VALUE_ABSENT)) *out = hone_value_undefined(name, HONE_VALUE_ABSENT);
    return HONE_OK;
}

static hone_status eval_list(hone_render *r, const hone_node *node, hone_value_kind kind,
                             hone_value *out) {
    hone_list *list;
    HONE_TRY(hone_list_new(r, node->items.count, &list));
    for (size_t i = 0; i < node->items.count; i++) {
        hone_value item;
        HONE_TRY(hone_jinja_eval(r, node->items.data[i], &item));
        HONE_TRY(hone_list_push(r, list, item));
    }
    *out = hone_value_list(kind, list);
    return HONE_OK;
}

static hone_status eval_dict(hone_render *r, const hone_node *node, hone_value *out) {
    hone_dict *dict;
    HONE_TRY(hone_dict_new(r, &dict));
    for (size_t i = 0; i + 1 < node->items.count; i += 2) {
        hone_value key, value;
        HONE_TRY(hone_jinja_eval(r, node->items.data[i], &key));
        HONE_TRY(hone_jinja_eval(r, node->items.data[i + 1], &value));
        HONE_TRY(hone_dict_set(r, dict, key, value));
    }
    *out = (hone_value){.kind = HONE_VALUE_DICT, .dict = dict};
    return HONE_OK;
}

static hone_status eval_condition(hone_render *r, const hone_node *node, hone_value *out) {
    hone_value test;
    HONE_TRY(hone_jinja_eval(r, node->b, &test));
    if (hone_value_truth(&test)) return hone_jinja_eval(r, node->a, out);
    if (node->c != NULL) return hone_jinja_eval(r, node->c, out);
    *out = hone_value_undefined((hone_slice){"the inline if-expression without else", 37},
                                HONE_VALUE_ABSENT);
    return HONE_OK;
}

static hone_status eval_compare(hone_render *r, const hone_node *node, hone_value *out) {
    hone_value left, right;
    bool holds = true;
    HONE_TRY(hone_jinja_eval(r, node->a, &left));
    for (size_t i = 0; i < node->items.count && holds; i++) { /* a < b < c, each evaluated once */
        const hone_node *operand = node->items.data[i];
        HONE_TRY(hone_jinja_eval(r, operand->a, &right));
        HONE_TRY(hone_jinja_compare(r, (hone_operator)operand->op, &left, &right, &holds));
        left = right;
    }
    *out = hone_value_bool(holds);
    return HONE_OK;
}

static hone_status eval_concat(hone_render *r, const hone_node *node, hone_value *out) {
    *out = hone_value_string("", 0);
    for (size_t i = 0; i < node->items.count; i++) {
        hone_value item, left = *out;
        hone_slice text;
        HONE_TRY(hone_jinja_eval(r, node->items.data[i], &item));
        HONE_TRY(hone_value_text(r, &item, &text));
        item = hone_value_string(text.data, text.size);
        HONE_TRY(hone_jinja_binary(r, HONE_OP_ADD, &left, &item, out));
    }
    return HONE_OK;
}

static hone_status eval_sign(hone_render *r, const hone_node *node, hone_value *out) {
    hone_value v;
    HONE_TRY(hone_jinja_eval(r, node->a, &v));
    if (hone_value_is(&v, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, &v);
    if (!hone_value_is_number(&v)) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "a '%s' has no sign", hone_value_type(&v));
    }
    bool negate = node->kind == HONE_NODE_NEGATE;
    if (hone_value_is(&v, HONE_VALUE_FLOAT)) {
        *out = hone_value_float(negate ? -v.real : v.real);
        return HONE_OK;
    }
    hone_value zero = hone_value_int(0);
    return hone_jinja_binary(r, negate ? HONE_OP_SUB : HONE_OP_ADD, &zero, &v, out);
}

static hone_status eval_item(hone_render *r, const hone_node *node, hone_value *out) {
    hone_value object, key;
    HONE_TRY(hone_jinja_eval(r, node->a, &object));
    if (node->b->kind != HONE_NODE_SLICE) {
        HONE_TRY(hone_jinja_eval(r, node->b, &key));
        return hone_jinja_get_item(r, &object, &key, out);
    }
    const hone_node *const parts[3] = {node->b->a, node->b->b, node->b->c};
    hone_value bounds[3] = {{0}, {0}, {0}};
    for (int i = 0; i < 3; i++) {
        if (parts[i] != NULL) HONE_TRY(hone_jinja_eval(r, parts[i], &bounds[i]));
    }
    return hone_jinja_get_slice(r, &object, bounds, out);
}

/* Positional and named arguments in two growing lists. */
typedef struct collected {
    hone_list *values, *named, *names;
} collected;

static hone_status collect_star_star(hone_render *r, const hone_value *v, collected *c) {
    if (!hone_value_is(v, HONE_VALUE_DICT)) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "the argument after ** must be a mapping, not %s",
                         hone_value_type(v));
    }
    for (size_t i = 0; i < v->dict->count; i++) {
        if (!hone_value_is(&v->dict->keys[i], HONE_VALUE_STRING)) {
            return hone_fail(r->err, HONE_ERR_FORMAT, "keywords must be strings");
        }
        HONE_TRY(hone_list_push(r, c->names, v->dict->keys[i]));
        HONE_TRY(hone_list_push(r, c->named, v->dict->values[i]));
    }
    return HONE_OK;
}

static hone_status collect_more(hone_render *r, const hone_node *argument, collected *c) {
    hone_value v;
    HONE_TRY(hone_jinja_eval(r, argument->a, &v));
    if (argument->op == HONE_OP_STAR_STAR) return collect_star_star(r, &v, c);
    if (argument->op == HONE_OP_STAR) {
        hone_list *items;
        HONE_TRY(hone_value_items(r, &v, &items));
        for (size_t i = 0; i < items->count; i++)
            HONE_TRY(hone_list_push(r, c->values, items->items[i]));
        return HONE_OK;
    }
    HONE_TRY(
        hone_list_push(r, c->names, hone_value_string(argument->name.data, argument->name.size)));
    return hone_list_push(r, c->named, v);
}

hone_status hone_jinja_eval_args(hone_render *r, const hone_node *call, const hone_value *first,
                                 hone_args *out) {
    collected c;
    HONE_TRY(hone_list_new(r, call->items.count + call->more.count + 1, &c.values));
    HONE_TRY(hone_list_new(r, call->more.count, &c.named));
    HONE_TRY(hone_list_new(r, call->more.count, &c.names));
    if (first != NULL) HONE_TRY(hone_list_push(r, c.values, *first));
    for (size_t i = 0; i < call->items.count; i++) {
        hone_value v;
        HONE_TRY(hone_jinja_eval(r, call->items.data[i], &v));
        HONE_TRY(hone_list_push(r, c.values, v));
    }
    for (size_t i = 0; i < call->more.count; i++) HONE_TRY(collect_more(r, call->more.data[i], &c));
    *out = (hone_args){.count = c.values->count, .named = c.named->count};
    out->names = hone_region_array(&r->region, out->named, sizeof *out->names, r->err);
    if (out->names == NULL) return r->err->status;
    for (size_t i = 0; i < out->named; i++) {
        out->names[i] = c.names->items[i].string;
        HONE_TRY(hone_list_push(r, c.values, c.named->items[i]));
    }
    out->values = c.values->items;
    return HONE_OK;
}

static hone_status eval_call(hone_render *r, const hone_node *node, hone_value *out) {
    hone_value callee;
    hone_args args;
    HONE_TRY(hone_jinja_eval(r, node->a, &callee));
    if (hone_value_is(&callee, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, &callee);
    HONE_TRY(hone_jinja_eval_args(r, node, NULL, &args));
    r->line = node->line;
    return hone_jinja_call(r, &callee, &args, out);
}

static hone_status eval_filter(hone_render *r, const hone_node *node, hone_value *out) {
    hone_value v;
    hone_args args;
    HONE_TRY(hone_jinja_eval(r, node->a, &v));
    HONE_TRY(hone_jinja_eval_args(r, node, &v, &args));
    r->line = node->line;
    return hone_filter_apply(r, node->name, &args, out);
}

static hone_status eval_test(hone_render *r, const hone_node *node, hone_value *out) {
    hone_value v;
    hone_args args;
    bool holds;
    HONE_TRY(hone_jinja_eval(r, node->a, &v));
    HONE_TRY(hone_jinja_eval_args(r, node, &v, &args));
    r->line = node->line;
    HONE_TRY(hone_test_apply(r, node->name, &args, &holds));
    *out = hone_value_bool(holds);
    return HONE_OK;
}

static hone_status eval_logic(hone_render *r, const hone_node *node, hone_value *out) {
    HONE_TRY(hone_jinja_eval(r, node->a, out));
    if (node->kind == HONE_NODE_NOT) {
        *out = hone_value_bool(!hone_value_truth(out));
        return HONE_OK;
    }
    bool decided = hone_value_truth(out) == (node->kind == HONE_NODE_OR);
    return decided ? HONE_OK : hone_jinja_eval(r, node->b, out);
}

static hone_status eval_binary(hone_render *r, const hone_node *node, hone_value *out) {
    hone_value a, b;
    HONE_TRY(hone_jinja_eval(r, node->a, &a));
    HONE_TRY(hone_jinja_eval(r, node->b, &b));
    r->line = node->line;
    return hone_jinja_binary(r, (hone_operator)node->op, &a, &b, out);
}

static hone_status eval_node(hone_render *r, const hone_node *node, hone_value *out) {
    hone_value object;
    switch (node->kind) {
    case HONE_NODE_CONST:
        *out = node->constant;
        return HONE_OK;
    case HONE_NODE_NAME:
        return lookup(r, node->name, out);
    case HONE_NODE_LIST:
        return eval_list(r, node, HONE_VALUE_LIST, out);
    case HONE_NODE_TUPLE:
        return eval_list(r, node, HONE_VALUE_TUPLE, out);
    case HONE_NODE_DICT:
        return eval_dict(r, node, out);
    case HONE_NODE_CONDITION:
        return eval_condition(r, node, out);
    case HONE_NODE_AND:
    case HONE_NODE_OR:
    case HONE_NODE_NOT:
        return eval_logic(r, node, out);
    case HONE_NODE_COMPARE:
        return eval_compare(r, node, out);
    case HONE_NODE_BINARY:
        return eval_binary(r, node, out);
    case HONE_NODE_CONCAT:
        return eval_concat(r, node, out);
    case HONE_NODE_NEGATE:
    case HONE_NODE_POSITIVE:
        return eval_sign(r, node, out);
    case HONE_NODE_ATTRIBUTE:
        HONE_TRY(hone_jinja_eval(r, node->a, &object));
        return hone_jinja_get_attribute(r, &object, node->name, out);
    case HONE_NODE_ITEM:
        return eval_item(r, node, out);
    case HONE_NODE_CALL:
        return eval_call(r, node, out);
    case HONE_NODE_FILTER:
        return eval_filter(r, node, out);
    case HONE_NODE_TEST:
        return eval_test(r, node, out);
    case HONE_NODE_SLICE: /* a[b:c, d]: no value can be asked for that */
        return hone_fail(r->err, HONE_ERR_UNSUPPORTED,
                         "a slice as part of a tuple is not supported");
    default:
        return hone_fail(r->err, HONE_ERR_INTERNAL, "node %d is no expression", node->kind);
    }
}

hone_status hone_jinja_eval(hone_render *r, const hone_node *node, hone_value *out) {
    HONE_TRY(hone_render_charge(r, 1));
    HONE_TRY(hone_render_enter(r));
    r->line = node->line;
    HONE_TRY(eval_node(r, node, out));
    hone_render_leave(r);
    return HONE_OK;
}
