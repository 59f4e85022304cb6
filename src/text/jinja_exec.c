/* text/jinja_exec: running statements: output, loops, assignments, macros. Loops are left by break
 * and continue through a state of the run, not through errors. */
#include "text/jinja_render.h"
#include "base/size.h"
#include <stdlib.h>
#include <string.h>

typedef enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;

static hone_status run(hone_render *r, const hone_nodes *nodes, flow *state);

hone_status hone_scope_push(hone_render *r, hone_scope *parent, hone_scope **out) {
    *out = hone_region_alloc(&r->region, sizeof **out, r->err);
    if (*out == NULL) return r->err->status;
    (*out)->parent = parent;
    return HONE_OK;
}

hone_status hone_scope_set(hone_render *r, hone_scope *scope, hone_slice name, hone_value value) {
    HONE_TRY(hone_render_charge(r, 1 + scope->count / 8));
    for (size_t i = 0; i < scope->count; i++) {
        if (!hone_name_is(scope->names[i], name)) continue;
        scope->values[i] = value;
        return HONE_OK;
    }
    if (scope->count == scope->capacity) {
        size_t capacity = scope->capacity == 0 ? 4 : 2 * scope->capacity;
        hone_slice *names = hone_region_array(&r->region, capacity, sizeof *names, r->err);
        hone_value *values =
            names == NULL ? NULL : hone_region_array(&r->region, capacity, sizeof *values, r->err);
        if (values == NULL) return r->err->status;
        if (scope->count > 0) {
            memcpy(names, scope->names, scope->count * sizeof *names);
            memcpy(values, scope->values, scope->count * sizeof *values);
        }
        scope->names = names;
        scope->values = values;
        scope->capacity = capacity;
    }
    scope->names[scope->count] = name;
    scope->values[scope->count++] = value;
    return HONE_OK;
}

static hone_status assign_namespace(hone_render *r, const hone_node *target, hone_value value) {
    hone_node name = {.kind = HONE_NODE_NAME, .line = target->line, .name = target->name};
    hone_value object;
    HONE_TRY(hone_jinja_eval(r, &name, &object));
    if (!hone_value_is(&object, HONE_VALUE_NAMESPACE)) {
        return hone_fail(r->err, HONE_ERR_FORMAT,
                         "cannot assign attribute on non-namespace object");
    }
    if (target->constant.string.data[0] == '_') {
        return hone_fail(r->err, HONE_ERR_FORMAT,
                         "a namespace takes no names with an underscore in front");
    }
    return hone_dict_set(r, object.dict, target->constant, value);
}

hone_status hone_jinja_assign(hone_render *r, const hone_node *target, hone_value value) {
    if (target->kind == HONE_NODE_NAME) {
        if (target->op == HONE_OP_NAMESPACE) return assign_namespace(r, target, value);
        return hone_scope_set(r, r->scope, target->name, value);
    }
    hone_list *items;
    HONE_TRY(hone_value_items(r, &value, &items));
    if (items->count != target->items.count) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "%zu values to unpack, expected %zu",
                         items->count, target->items.count);
    }
    for (size_t i = 0; i < items->count; i++) {
        HONE_TRY(hone_jinja_assign(r, target->items.data[i], items->items[i]));
    }
    return HONE_OK;
}

static hone_status write_text(hone_render *r, hone_slice text) {
    HONE_TRY(hone_render_charge_bytes(r, text.size));
    if (r->out == r->result && text.size > HONE_RENDER_OUTPUT - (r->out->size - r->result_begin)) {
        return hone_fail(r->err, HONE_ERR_LIMIT, "the text is longer than %zu bytes",
                         HONE_RENDER_OUTPUT);
    }
    return hone_buf_append(r->out, text.data, text.size, r->err);
}

static hone_status write_value(hone_render *r, const hone_value *v) {
    hone_slice text;
    HONE_TRY(hone_value_text(r, v, &text));
    return write_text(r, text);
}

/* The text of a body, instead of writing it. */
static hone_status capture(hone_render *r, const hone_nodes *nodes, hone_scope *scope,
                           hone_value *out) {
    hone_buf text = hone_render_buf();
    hone_buf *outer = r->out;
    hone_scope *outer_scope = r->scope;
    flow state = FLOW_ON;
    r->out = &text;
    r->scope = scope;
    hone_status status = run(r, nodes, &state);
    r->out = outer;
    r->scope = outer_scope;
    return hone_render_take(r, status, &text, out);
}

static hone_status run_scoped(hone_render *r, const hone_nodes *nodes, hone_scope *scope,
                              flow *state) {
    hone_scope *outer = r->scope;
    r->scope = scope;
    HONE_TRY(run(r, nodes, state));
    r->scope = outer;
    return HONE_OK;
}

/* The items a loop runs over: all, or those that its condition takes. */
static hone_status filter_items(hone_render *r, const hone_node *node, hone_scope *scope,
                                hone_list *all, hone_list **out) {
    hone_scope *outer = r->scope;
    HONE_TRY(hone_list_new(r, 0, out));
    for (size_t i = 0; i < all->count; i++) {
        hone_value taken;
        HONE_TRY(hone_scope_push(r, scope, &r->scope));
        HONE_TRY(hone_jinja_assign(r, node->a, all->items[i]));
        HONE_TRY(hone_jinja_eval(r, node->c, &taken));
        if (hone_value_truth(&taken)) HONE_TRY(hone_list_push(r, *out, all->items[i]));
    }
    r->scope = outer;
    return HONE_OK;
}

/* *completed: an iteration came to its end, not to a break or continue. */
static hone_status run_iterations(hone_render *r, hone_loop *loop, bool *completed) {
    *completed = false;
    hone_scope *body = NULL;
    flow state = FLOW_ON;
    for (loop->index = 0; loop->index < loop->items->count && state != FLOW_BREAK; loop->index++) {
        HONE_TRY(hone_render_charge(r, 1));
        if (body == NULL || body->captured) HONE_TRY(hone_scope_push(r, loop->scope, &body));
        body->count = 0;
        r->scope = body;
        HONE_TRY(hone_scope_set(r, body, hone_name_loop,
                                (hone_value){.kind = HONE_VALUE_LOOP, .loop = loop}));
        HONE_TRY(hone_jinja_assign(r, loop->node->a, loop->items->items[loop->index]));
        state = FLOW_ON;
        HONE_TRY(run(r, &loop->node->items, &state));
        *completed = *completed || state == FLOW_ON;
    }
    return HONE_OK;
}

hone_status hone_loop_run(hone_render *r, const hone_node *node, hone_scope *scope,
                          const hone_value *iterable, int depth) {
    hone_scope *outer = r->scope;
    hone_list *items;
    hone_loop *loop = hone_region_alloc(&r->region, sizeof *loop, r->err);
    if (loop == NULL) return r->err->status;
    HONE_TRY(hone_value_items(r, iterable, &items));
    if (node->c != NULL) HONE_TRY(filter_items(r, node, scope, items, &items));
    *loop = (hone_loop){.node = node, .scope = scope, .items = items, .depth = depth};
    bool completed;
    HONE_TRY(run_iterations(r, loop, &completed));
    /* As Jinja2 has it: else also after nothing but continue. */
    if (!completed && node->more.count > 0) {
        flow state = FLOW_ON;
        HONE_TRY(hone_scope_push(r, scope, &r->scope));
        HONE_TRY(run(r, &node->more, &state));
    }
    r->scope = outer;
    return HONE_OK;
}

/* loop(items) within a recursive loop: its text with other items. */
hone_status hone_loop_call(hone_render *r, hone_loop *loop, const hone_args *args,
                           hone_value *out) {
    static const char *const names[] = {"iterable", NULL};
    hone_value iterable[1];
    if (!loop->node->flag) {
        return hone_fail(r->err, HONE_ERR_FORMAT,
                         "a loop that is called must have the 'recursive' marker");
    }
    HONE_TRY(hone_jinja_bind(r, "loop", args, names, 1, iterable));
    hone_buf text = hone_render_buf();
    hone_buf *outer = r->out;
    r->out = &text;
    hone_status status = hone_render_enter(r);
    if (status == HONE_OK) {
        status = hone_loop_run(r, loop->node, loop->scope, &iterable[0], loop->depth + 1);
        hone_render_leave(r);
    }
    r->out = outer;
    return hone_render_take(r, status, &text, out);
}

static hone_status run_for(hone_render *r, const hone_node *node) {
    hone_value iterable;
    HONE_TRY(hone_jinja_eval(r, node->b, &iterable));
    return hone_loop_run(r, node, r->scope, &iterable, 0);
}

static hone_status run_if(hone_render *r, const hone_node *node, flow *state) {
    hone_value test;
    HONE_TRY(hone_jinja_eval(r, node->a, &test));
    return run(r, hone_value_truth(&test) ? &node->items : &node->more, state);
}

/* The filters of a block stand around its text: the innermost has no operand of its own. */
static hone_status apply_filters(hone_render *r, const hone_node *filter, hone_value *text) {
    if (filter == NULL) return HONE_OK;
    hone_args args;
    HONE_TRY(hone_render_enter(r));
    HONE_TRY(apply_filters(r, filter->a, text));
    HONE_TRY(hone_jinja_eval_args(r, filter, text, &args));
    r->line = filter->line;
    HONE_TRY(hone_filter_apply(r, filter->name, &args, text));
    hone_render_leave(r);
    return HONE_OK;
}

static hone_status run_set_block(hone_render *r, const hone_node *node) {
    hone_scope *scope;
    hone_value text;
    HONE_TRY(hone_scope_push(r, r->scope, &scope));
    HONE_TRY(capture(r, &node->items, scope, &text));
    HONE_TRY(apply_filters(r, node->b, &text));
    return hone_jinja_assign(r, node->a, text);
}

static hone_status run_filter_block(hone_render *r, const hone_node *node) {
    hone_scope *scope;
    hone_value text;
    HONE_TRY(hone_scope_push(r, r->scope, &scope));
    HONE_TRY(capture(r, &node->items, scope, &text));
    HONE_TRY(apply_filters(r, node->a, &text));
    return write_value(r, &text);
}

static hone_status run_with(hone_render *r, const hone_node *node, flow *state) {
    hone_scope *scope;
    HONE_TRY(hone_scope_push(r, r->scope, &scope));
    for (size_t i = 0; i < node->more.count; i++) { /* values see what is around, not each other */
        hone_value v;
        HONE_TRY(hone_jinja_eval(r, node->more.data[i]->b, &v));
        HONE_TRY(hone_scope_set(r, scope, node->more.data[i]->a->name, v));
    }
    return run_scoped(r, &node->items, scope, state);
}

hone_status hone_macro_new(hone_render *r, const hone_node *node, hone_value *out) {
    hone_callable *macro = hone_region_alloc(&r->region, sizeof *macro, r->err);
    if (macro == NULL) return r->err->status;
    macro->name = hone_region_copy(&r->region, node->name.data, node->name.size, r->err);
    if (macro->name == NULL) return r->err->status;
    macro->macro = node;
    macro->scope = r->scope;
    for (hone_scope *scope = r->scope; scope != NULL && !scope->captured; scope = scope->parent) {
        scope->captured = true;
    }
    *out = (hone_value){.kind = HONE_VALUE_CALLABLE, .callable = macro};
    return HONE_OK;
}

static hone_status run_call_block(hone_render *r, const hone_node *node) {
    hone_value caller, callee, text;
    hone_args args;
    HONE_TRY(hone_macro_new(r, node, &caller));
    HONE_TRY(hone_jinja_eval(r, node->a->a, &callee));
    HONE_TRY(hone_jinja_eval_args(r, node->a, NULL, &args));
    hone_slice *names = hone_region_array(&r->region, args.named + 1, sizeof *names, r->err);
    hone_value *values = names == NULL ? NULL
                                       : hone_region_array(&r->region, args.count + args.named + 1,
                                                           sizeof *values, r->err);
    if (values == NULL) return r->err->status;
    for (size_t i = 0; i < args.named; i++) names[i] = args.names[i];
    for (size_t i = 0; i < args.count + args.named; i++) values[i] = args.values[i];
    names[args.named] = hone_name_caller;
    values[args.count + args.named] = caller;
    hone_args with_caller = {
        .values = values, .count = args.count, .named = args.named + 1, .names = names};
    HONE_TRY(hone_jinja_call(r, &callee, &with_caller, &text));
    return write_value(r, &text);
}

static hone_status add_span(hone_render *r, size_t begin, size_t end) {
    hone_spans *spans = r->spans;
    if (spans->count == spans->capacity) {
        size_t capacity = spans->capacity == 0 ? 16 : 2 * spans->capacity;
        hone_chat_span *data = realloc(spans->data, capacity * sizeof *data);
        if (data == NULL)
            return hone_fail_memory(r->err, "generation ranges", capacity * sizeof *data);
        spans->data = data;
        spans->capacity = capacity;
    }
    spans->data[spans->count++] = (hone_chat_span){begin, end};
    return HONE_OK;
}

/* The range counts from what the result holds so far, also when the text is being captured on its
 * way there: a macro whose text is written next lands right there. */
static hone_status run_generation(hone_render *r, const hone_node *node) {
    hone_scope *scope;
    hone_value text;
    HONE_TRY(hone_scope_push(r, r->scope, &scope));
    HONE_TRY(capture(r, &node->items, scope, &text));
    size_t begin = r->result->size - r->result_begin;
    if (r->spans != NULL) HONE_TRY(add_span(r, begin, begin + text.string.size));
    return write_value(r, &text);
}

static hone_status run_statement(hone_render *r, const hone_node *node, flow *state) {
    hone_value v;
    switch (node->kind) {
    case HONE_NODE_TEXT:
        return write_text(r, node->name);
    case HONE_NODE_OUTPUT:
        HONE_TRY(hone_jinja_eval(r, node->a, &v));
        return write_value(r, &v);
    case HONE_NODE_FOR:
        return run_for(r, node);
    case HONE_NODE_IF:
        return run_if(r, node, state);
    case HONE_NODE_SET:
        HONE_TRY(hone_jinja_eval(r, node->b, &v));
        return hone_jinja_assign(r, node->a, v);
    case HONE_NODE_SET_BLOCK:
        return run_set_block(r, node);
    case HONE_NODE_MACRO:
        HONE_TRY(hone_macro_new(r, node, &v));
        return hone_scope_set(r, r->scope, node->name, v);
    case HONE_NODE_CALL_BLOCK:
        return run_call_block(r, node);
    case HONE_NODE_FILTER_BLOCK:
        return run_filter_block(r, node);
    case HONE_NODE_WITH:
        return run_with(r, node, state);
    case HONE_NODE_GENERATION:
        return run_generation(r, node);
    case HONE_NODE_BREAK:
        *state = FLOW_BREAK;
        return HONE_OK;
    case HONE_NODE_CONTINUE:
        *state = FLOW_CONTINUE;
        return HONE_OK;
    default:
        return hone_fail(r->err, HONE_ERR_INTERNAL, "node %d is no statement", node->kind);
    }
}

static hone_status run(hone_render *r, const hone_nodes *nodes, flow *state) {
    HONE_TRY(hone_render_enter(r));
    for (size_t i = 0; i < nodes->count && *state == FLOW_ON; i++) {
        HONE_TRY(hone_render_charge(r, 1));
        r->line = nodes->data[i]->line;
        HONE_TRY(run_statement(r, nodes->data[i], state));
    }
    hone_render_leave(r);
    return HONE_OK;
}

hone_status hone_jinja_exec(hone_render *r, const hone_nodes *nodes) {
    flow state = FLOW_ON;
    return run(r, nodes, &state);
}

static hone_status fail_macro(hone_render *r, const hone_callable *macro, const char *what,
                              hone_slice name) {
    return hone_fail(r->err, HONE_ERR_FORMAT, "macro '%s' %s '%.*s'", macro->name, what,
                     (int)HONE_MIN(name.size, (size_t)100), name.data);
}

/* A named argument: a parameter's value, the caller, or one of kwargs. */
static hone_status bind_named(hone_render *r, const hone_callable *macro, const hone_args *args,
                              size_t index, hone_scope *scope, hone_dict *kwargs) {
    const hone_nodes *parameters = &macro->macro->more;
    hone_slice name = args->names[index];
    const hone_value value = args->values[args->count + index];
    size_t at = 0;
    while (at < parameters->count && !hone_slice_equal(parameters->data[at]->name, name)) at++;
    HONE_TRY(hone_render_charge(r, 1 + at / 8));
    if (at < parameters->count) {
        if (at < args->count) return fail_macro(r, macro, "got several values for", name);
        return hone_scope_set(r, scope, parameters->data[at]->name, value);
    }
    bool caller = hone_slice_equal(name, hone_name_caller);
    if ((macro->macro->op & (caller ? HONE_USES_CALLER : HONE_USES_KWARGS)) == 0) {
        return fail_macro(r, macro, "takes no keyword argument", name);
    }
    if (caller) return hone_scope_set(r, scope, hone_name_caller, value);
    return hone_dict_set(r, kwargs, hone_value_string(name.data, name.size), value);
}

/* Parameters, then what is left over as varargs and kwargs when the body asks for them. */
static hone_status bind_parameters(hone_render *r, const hone_callable *macro,
                                   const hone_args *args, hone_scope *scope) {
    const hone_nodes *parameters = &macro->macro->more;
    hone_list *varargs;
    hone_dict *kwargs;
    HONE_TRY(hone_list_new(r, 0, &varargs));
    HONE_TRY(hone_dict_new(r, &kwargs));
    if (args->count > parameters->count && (macro->macro->op & HONE_USES_VARARGS) == 0) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "macro '%s' takes at most %zu arguments, got %zu",
                         macro->name, parameters->count, args->count);
    }
    for (size_t i = 0; i < args->count; i++) {
        HONE_TRY(i < parameters->count
                     ? hone_scope_set(r, scope, parameters->data[i]->name, args->values[i])
                     : hone_list_push(r, varargs, args->values[i]));
    }
    for (size_t i = 0; i < args->named; i++) HONE_TRY(bind_named(r, macro, args, i, scope, kwargs));
    hone_value rest = hone_value_list(HONE_VALUE_TUPLE, varargs);
    HONE_TRY(hone_scope_set(r, scope, hone_name_varargs, rest));
    rest = (hone_value){.kind = HONE_VALUE_DICT, .dict = kwargs};
    return hone_scope_set(r, scope, hone_name_kwargs, rest);
}

static bool is_bound(const hone_scope *scope, hone_slice name) {
    for (size_t i = 0; i < scope->count; i++) {
        if (hone_name_is(scope->names[i], name)) return true;
    }
    return false;
}

/* Defaults are evaluated at the call and may refer to parameters before them. */
static hone_status bind_defaults(hone_render *r, const hone_callable *macro, hone_scope *scope) {
    const hone_nodes *parameters = &macro->macro->more;
    for (size_t i = 0; i < parameters->count; i++) {
        const hone_node *parameter = parameters->data[i];
        if (is_bound(scope, parameter->name)) continue;
        hone_value v = hone_value_undefined(parameter->name, HONE_VALUE_ABSENT);
        if (parameter->a != NULL) HONE_TRY(hone_jinja_eval(r, parameter->a, &v));
        HONE_TRY(hone_scope_set(r, scope, parameter->name, v));
    }
    return HONE_OK;
}

static hone_status call_macro(hone_render *r, const hone_callable *macro, const hone_args *args,
                              hone_value *out) {
    hone_scope *scope, *outer = r->scope;
    HONE_TRY(hone_scope_push(r, macro->scope, &scope));
    HONE_TRY(bind_parameters(r, macro, args, scope));
    r->scope = scope;
    HONE_TRY(bind_defaults(r, macro, scope));
    r->scope = outer;
    return capture(r, &macro->macro->items, scope, out);
}

hone_status hone_jinja_call(hone_render *r, const hone_value *callee, const hone_args *args,
                            hone_value *out) {
    if (hone_value_is(callee, HONE_VALUE_UNDEFINED)) return hone_value_fail_undefined(r, callee);
    if (hone_value_is(callee, HONE_VALUE_LOOP)) return hone_loop_call(r, callee->loop, args, out);
    if (!hone_value_is(callee, HONE_VALUE_CALLABLE)) {
        return hone_fail(r->err, HONE_ERR_FORMAT, "'%s' object is not callable",
                         hone_value_type(callee));
    }
    const hone_callable *function = callee->callable;
    if (function->function != NULL) return function->function(r, &function->self, args, out);
    return call_macro(r, function, args, out);
}
