/* text/jinja_expression: expressions of templates, by recursive descent with Jinja2's precedence:
 * if-else, or, and, not, comparisons, + -, ~, * / // %, **, unary, postfix, filters and tests. */
#include "text/jinja_parse.h"
#include "text/vocab.h"
#include <string.h>

const hone_slice hone_name_loop = {"loop", 4}, hone_name_caller = {"caller", 6};
const hone_slice hone_name_varargs = {"varargs", 7}, hone_name_kwargs = {"kwargs", 6};

hone_status hone_parse_fail(const hone_parser *p, const char *expected) {
    static const char *const kinds[] = {"the end of the template",
                                        "text",
                                        "\"{{\"",
                                        "\"}}\"",
                                        "\"{%\"",
                                        "\"%}\"",
                                        "",
                                        "a string",
                                        "a number",
                                        "a number",
                                        ""};
    const hone_lexeme *t = p->token;
    bool shown = t->kind == HONE_TOKEN_NAME || t->kind == HONE_TOKEN_OPERATOR;
    int size = shown ? (int)(t->text.size < 64 ? t->text.size : 64) : 0;
    return hone_fail(p->err, HONE_ERR_FORMAT, "line %d, column %d: expected %s, found %s%s%.*s%s",
                     t->line, t->column, expected, kinds[t->kind], shown ? "\"" : "", size,
                     shown ? t->text.data : "", shown ? "\"" : "");
}

hone_status hone_parse_enter(hone_parser *p) {
    if (++p->depth <= HONE_PARSE_DEPTH) return HONE_OK;
    return hone_fail(p->err, HONE_ERR_LIMIT, "line %d, column %d: nested deeper than %d",
                     p->token->line, p->token->column, HONE_PARSE_DEPTH);
}

hone_status hone_parse_node(hone_parser *p, hone_node_kind kind, hone_node **out) {
    hone_node *node = hone_region_alloc(p->region, sizeof *node, p->err);
    *out = node;
    if (node == NULL) return p->err->status;
    node->kind = (uint8_t)kind;
    node->line = p->token->line;
    return HONE_OK;
}

hone_status hone_parse_add(hone_parser *p, hone_nodes *list, hone_node *node) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 4 : 2 * list->capacity;
        hone_node **data = hone_region_array(p->region, capacity, sizeof(hone_node *), p->err);
        if (data == NULL) return p->err->status;
        if (list->count > 0) memcpy(data, list->data, list->count * sizeof(hone_node *));
        list->data = data;
        list->capacity = capacity;
    }
    list->data[list->count++] = node;
    return HONE_OK;
}

static bool token_is(const hone_lexeme *t, hone_token_kind kind, const char *text) {
    return t->kind == kind && hone_slice_is(t->text, text);
}

bool hone_parse_at(const hone_parser *p, const char *operator) {
    return token_is(p->token, HONE_TOKEN_OPERATOR, operator);
}

bool hone_parse_at_name(const hone_parser *p, const char *name) {
    return token_is(p->token, HONE_TOKEN_NAME, name);
}

bool hone_parse_skip(hone_parser *p, const char *operator) {
    bool found = hone_parse_at(p, operator);
    p->token += found;
    return found;
}

bool hone_parse_skip_name(hone_parser *p, const char *name) {
    bool found = hone_parse_at_name(p, name);
    p->token += found;
    return found;
}

hone_status hone_parse_expect(hone_parser *p, const char *operator) {
    return hone_parse_skip(p, operator) ? HONE_OK : hone_parse_fail(p, operator);
}

static hone_status grow_names(hone_parser *p) {
    size_t slots = p->names == NULL ? 64 : 2 * (p->name_mask + 1);
    hone_slice *names = hone_region_array(p->region, slots, sizeof *names, p->err);
    if (names == NULL) return p->err->status;
    for (size_t i = 0; p->names != NULL && i <= p->name_mask; i++) {
        if (p->names[i].data == NULL) continue;
        size_t at = hone_hash_bytes(p->seed, p->names[i].data, p->names[i].size) & (slots - 1);
        while (names[at].data != NULL) at = (at + 1) & (slots - 1);
        names[at] = p->names[i];
    }
    p->names = names;
    p->name_mask = slots - 1;
    return HONE_OK;
}

/* The one copy of a name, so that equal names have equal data. */
static hone_status intern(hone_parser *p, hone_slice *name) {
    const hone_slice known[] = {hone_name_loop, hone_name_caller, hone_name_varargs,
                                hone_name_kwargs};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!hone_slice_equal(known[i], *name)) continue;
        *name = known[i];
        return HONE_OK;
    }
    if (2 * p->name_count >= p->name_mask) HONE_TRY(grow_names(p));
    size_t at = hone_hash_bytes(p->seed, name->data, name->size) & p->name_mask;
    while (p->names[at].data != NULL && !hone_slice_equal(p->names[at], *name))
        at = (at + 1) & p->name_mask;
    if (p->names[at].data == NULL) {
        p->names[at] = *name;
        p->name_count++;
    }
    *name = p->names[at];
    return HONE_OK;
}

hone_status hone_parse_name(hone_parser *p, hone_slice *out) {
    if (p->token->kind != HONE_TOKEN_NAME) return hone_parse_fail(p, "a name");
    *out = p->token->text;
    p->token++;
    return intern(p, out);
}

static hone_status parse_or(hone_parser *p, hone_node **out);
static hone_status parse_unary(hone_parser *p, bool filters, hone_node **out);
static hone_status parse_primary(hone_parser *p, hone_node **out);

hone_status hone_parse_expression(hone_parser *p, bool condition, hone_node **out) {
    HONE_TRY(hone_parse_enter(p));
    HONE_TRY(parse_or(p, out));
    while (condition && hone_parse_at_name(p, "if")) {
        hone_node *node;
        HONE_TRY(hone_parse_node(p, HONE_NODE_CONDITION, &node));
        p->token++;
        node->a = *out;
        HONE_TRY(parse_or(p, &node->b));
        if (hone_parse_skip_name(p, "else")) HONE_TRY(hone_parse_expression(p, true, &node->c));
        *out = node;
    }
    p->depth--;
    return HONE_OK;
}

static hone_status new_binary(hone_parser *p, hone_node_kind kind, hone_operator op, hone_node *a,
                              hone_node **out) {
    HONE_TRY(hone_parse_node(p, kind, out));
    (*out)->op = (uint8_t)op;
    (*out)->a = a;
    return HONE_OK;
}

/* pow: ** */
static hone_status parse_power(hone_parser *p, hone_node **out) {
    HONE_TRY(parse_unary(p, true, out));
    while (hone_parse_at(p, "**")) {
        HONE_TRY(new_binary(p, HONE_NODE_BINARY, HONE_OP_POW, *out, out));
        p->token++;
        HONE_TRY(parse_unary(p, true, &(*out)->b));
    }
    return HONE_OK;
}

static hone_status parse_product(hone_parser *p, hone_node **out) {
    HONE_TRY(parse_power(p, out));
    for (;;) {
        hone_operator op = hone_parse_at(p, "*")    ? HONE_OP_MUL
                           : hone_parse_at(p, "/")  ? HONE_OP_DIV
                           : hone_parse_at(p, "//") ? HONE_OP_FLOORDIV
                           : hone_parse_at(p, "%")  ? HONE_OP_MOD
                                                    : HONE_OP_NONE;
        if (op == HONE_OP_NONE) return HONE_OK;
        HONE_TRY(new_binary(p, HONE_NODE_BINARY, op, *out, out));
        p->token++;
        HONE_TRY(parse_power(p, &(*out)->b));
    }
}

static hone_status parse_concat(hone_parser *p, hone_node **out) {
    HONE_TRY(parse_product(p, out));
    if (!hone_parse_at(p, "~")) return HONE_OK;
    hone_node *node;
    HONE_TRY(hone_parse_node(p, HONE_NODE_CONCAT, &node));
    HONE_TRY(hone_parse_add(p, &node->items, *out));
    while (hone_parse_skip(p, "~")) {
        HONE_TRY(parse_product(p, out));
        HONE_TRY(hone_parse_add(p, &node->items, *out));
    }
    *out = node;
    return HONE_OK;
}

static hone_status parse_sum(hone_parser *p, hone_node **out) {
    HONE_TRY(parse_concat(p, out));
    for (;;) {
        hone_operator op = hone_parse_at(p, "+")   ? HONE_OP_ADD
                           : hone_parse_at(p, "-") ? HONE_OP_SUB
                                                   : HONE_OP_NONE;
        if (op == HONE_OP_NONE) return HONE_OK;
        HONE_TRY(new_binary(p, HONE_NODE_BINARY, op, *out, out));
        p->token++;
        HONE_TRY(parse_concat(p, &(*out)->b));
    }
}

/* The comparison that the current token begins; moves past it. */
static hone_operator take_comparison(hone_parser *p) {
    static const struct {
        const char *text;
        hone_operator op;
    } operators[] = {{"==", HONE_OP_EQ}, {"!=", HONE_OP_NE}, {"<", HONE_OP_LT},
                     {"<=", HONE_OP_LE}, {">", HONE_OP_GT},  {">=", HONE_OP_GE}};
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (hone_parse_skip(p, operators[i].text)) return operators[i].op;
    }
    if (hone_parse_skip_name(p, "in")) return HONE_OP_IN;
    if (!hone_parse_at_name(p, "not") || !token_is(p->token + 1, HONE_TOKEN_NAME, "in"))
        return HONE_OP_NONE;
    p->token += 2;
    return HONE_OP_NOT_IN;
}

static hone_status parse_comparison(hone_parser *p, hone_node **out) {
    HONE_TRY(parse_sum(p, out));
    hone_node *node = NULL;
    for (;;) {
        hone_operator op = take_comparison(p);
        if (op == HONE_OP_NONE) break;
        if (node == NULL) HONE_TRY(new_binary(p, HONE_NODE_COMPARE, HONE_OP_NONE, *out, &node));
        hone_node *operand;
        HONE_TRY(new_binary(p, HONE_NODE_OPERAND, op, NULL, &operand));
        HONE_TRY(parse_sum(p, &operand->a));
        HONE_TRY(hone_parse_add(p, &node->items, operand));
    }
    if (node != NULL) *out = node;
    return HONE_OK;
}

static hone_status parse_not(hone_parser *p, hone_node **out) {
    if (!hone_parse_at_name(p, "not")) return parse_comparison(p, out);
    HONE_TRY(hone_parse_enter(p));
    hone_node *node;
    HONE_TRY(hone_parse_node(p, HONE_NODE_NOT, &node));
    p->token++;
    HONE_TRY(parse_not(p, &node->a));
    *out = node;
    p->depth--;
    return HONE_OK;
}

static hone_status parse_and(hone_parser *p, hone_node **out) {
    HONE_TRY(parse_not(p, out));
    while (hone_parse_at_name(p, "and")) {
        HONE_TRY(new_binary(p, HONE_NODE_AND, HONE_OP_NONE, *out, out));
        p->token++;
        HONE_TRY(parse_not(p, &(*out)->b));
    }
    return HONE_OK;
}

static hone_status parse_or(hone_parser *p, hone_node **out) {
    HONE_TRY(parse_and(p, out));
    while (hone_parse_at_name(p, "or")) {
        HONE_TRY(new_binary(p, HONE_NODE_OR, HONE_OP_NONE, *out, out));
        p->token++;
        HONE_TRY(parse_and(p, &(*out)->b));
    }
    return HONE_OK;
}

static hone_status parse_argument(hone_parser *p, hone_node *call) {
    hone_node *argument;
    hone_operator op = hone_parse_skip(p, "*")    ? HONE_OP_STAR
                       : hone_parse_skip(p, "**") ? HONE_OP_STAR_STAR
                                                  : HONE_OP_NONE;
    bool named =
        p->token->kind == HONE_TOKEN_NAME && token_is(p->token + 1, HONE_TOKEN_OPERATOR, "=");
    if (op == HONE_OP_NONE && !named) {
        if (call->more.count > 0)
            return hone_parse_fail(p, "a named argument after the first of them");
        HONE_TRY(hone_parse_expression(p, true, &argument));
        return hone_parse_add(p, &call->items, argument);
    }
    HONE_TRY(hone_parse_node(p, HONE_NODE_ARGUMENT, &argument));
    argument->op = (uint8_t)op;
    if (op == HONE_OP_NONE) {
        HONE_TRY(hone_parse_name(p, &argument->name));
        p->token++;
    }
    HONE_TRY(hone_parse_expression(p, true, &argument->a));
    return hone_parse_add(p, &call->more, argument);
}

static hone_status parse_arguments(hone_parser *p, hone_node *call) {
    HONE_TRY(hone_parse_expect(p, "("));
    while (!hone_parse_at(p, ")")) {
        HONE_TRY(parse_argument(p, call));
        if (!hone_parse_skip(p, ",")) break;
    }
    return hone_parse_expect(p, ")");
}

/* a, a:b, a:b:c, with any part left out */
static hone_status parse_subscript(hone_parser *p, hone_node **out) {
    hone_node *parts[3] = {NULL, NULL, NULL};
    size_t count = 0;
    hone_node *node;
    HONE_TRY(hone_parse_node(p, HONE_NODE_SLICE, &node));
    for (; count < 3; count++) {
        bool empty = hone_parse_at(p, ":") || hone_parse_at(p, "]") || hone_parse_at(p, ",");
        if (!empty) HONE_TRY(hone_parse_expression(p, true, &parts[count]));
        if (!hone_parse_at(p, ":") || count == 2) break;
        p->token++;
    }
    if (count == 0) {
        if (parts[0] == NULL) return hone_parse_fail(p, "an expression");
        *out = parts[0];
        return HONE_OK;
    }
    node->a = parts[0];
    node->b = parts[1];
    node->c = parts[2];
    *out = node;
    return HONE_OK;
}

static hone_status parse_item(hone_parser *p, hone_node *object, hone_node **out) {
    HONE_TRY(new_binary(p, HONE_NODE_ITEM, HONE_OP_NONE, object, out));
    p->token++;
    hone_node *key;
    HONE_TRY(parse_subscript(p, &key));
    if (hone_parse_at(p, ",")) { /* a[b, c]: the key is a tuple */
        hone_node *tuple;
        HONE_TRY(hone_parse_node(p, HONE_NODE_TUPLE, &tuple));
        HONE_TRY(hone_parse_add(p, &tuple->items, key));
        while (hone_parse_skip(p, ",") && !hone_parse_at(p, "]")) {
            HONE_TRY(hone_parse_expression(p, true, &key));
            HONE_TRY(hone_parse_add(p, &tuple->items, key));
        }
        key = tuple;
    }
    (*out)->b = key;
    return hone_parse_expect(p, "]");
}

static hone_status parse_dot(hone_parser *p, hone_node *object, hone_node **out) {
    p->token++;
    if (p->token->kind == HONE_TOKEN_INTEGER) {
        HONE_TRY(new_binary(p, HONE_NODE_ITEM, HONE_OP_NONE, object, out));
        HONE_TRY(hone_parse_node(p, HONE_NODE_CONST, &(*out)->b));
        (*out)->b->constant = hone_value_int(p->token->integer);
        p->token++;
        return HONE_OK;
    }
    HONE_TRY(new_binary(p, HONE_NODE_ATTRIBUTE, HONE_OP_NONE, object, out));
    return hone_parse_name(p, &(*out)->name);
}

static hone_status parse_call(hone_parser *p, hone_node *callee, hone_node **out) {
    HONE_TRY(new_binary(p, HONE_NODE_CALL, HONE_OP_NONE, callee, out));
    return parse_arguments(p, *out);
}

static hone_status parse_postfix(hone_parser *p, hone_node **node) {
    for (;;) {
        if (hone_parse_at(p, ".")) {
            HONE_TRY(parse_dot(p, *node, node));
        } else if (hone_parse_at(p, "[")) {
            HONE_TRY(parse_item(p, *node, node));
        } else if (hone_parse_at(p, "(")) {
            HONE_TRY(parse_call(p, *node, node));
        } else {
            return HONE_OK;
        }
    }
}

/* A dotted name, as filters and tests may have. */
static hone_status parse_dotted(hone_parser *p, hone_slice *out) {
    HONE_TRY(hone_parse_name(p, out));
    return hone_parse_at(p, ".") ? hone_parse_fail(p, "a filter or test with a plain name")
                                 : HONE_OK;
}

hone_status hone_parse_filters(hone_parser *p, bool first, hone_node **node) {
    for (; first || hone_parse_at(p, "|"); first = false) {
        if (!first) p->token++;
        HONE_TRY(new_binary(p, HONE_NODE_FILTER, HONE_OP_NONE, *node, node));
        HONE_TRY(parse_dotted(p, &(*node)->name));
        if (hone_parse_at(p, "(")) HONE_TRY(parse_arguments(p, *node));
    }
    return HONE_OK;
}

/* "is name", "is not name", with an argument in parentheses or without them. */
static hone_status parse_test(hone_parser *p, hone_node **node) {
    hone_node *test;
    HONE_TRY(new_binary(p, HONE_NODE_TEST, HONE_OP_NONE, *node, &test));
    p->token++;
    bool negated = hone_parse_skip_name(p, "not");
    HONE_TRY(parse_dotted(p, &test->name));
    const hone_lexeme *t = p->token;
    bool literal = t->kind == HONE_TOKEN_NAME || t->kind == HONE_TOKEN_STRING ||
                   t->kind == HONE_TOKEN_INTEGER || t->kind == HONE_TOKEN_FLOAT ||
                   hone_parse_at(p, "[") || hone_parse_at(p, "{");
    bool keyword = hone_parse_at_name(p, "else") || hone_parse_at_name(p, "or") ||
                   hone_parse_at_name(p, "and");
    if (hone_parse_at(p, "(")) {
        HONE_TRY(parse_arguments(p, test));
    } else if (literal && !keyword) {
        hone_node *argument;
        if (hone_parse_at_name(p, "is")) return hone_parse_fail(p, "one test only");
        HONE_TRY(parse_primary(p, &argument));
        HONE_TRY(parse_postfix(p, &argument));
        HONE_TRY(hone_parse_add(p, &test->items, argument));
    }
    *node = test;
    if (!negated) return HONE_OK;
    HONE_TRY(hone_parse_node(p, HONE_NODE_NOT, node));
    (*node)->a = test;
    return HONE_OK;
}

static hone_status parse_unary(hone_parser *p, bool filters, hone_node **out) {
    if (hone_parse_at(p, "-") || hone_parse_at(p, "+")) {
        HONE_TRY(hone_parse_enter(p));
        hone_node_kind kind = hone_parse_at(p, "-") ? HONE_NODE_NEGATE : HONE_NODE_POSITIVE;
        hone_node *node;
        HONE_TRY(hone_parse_node(p, kind, &node));
        p->token++;
        HONE_TRY(parse_unary(p, false, &node->a));
        *out = node;
        p->depth--;
    } else {
        HONE_TRY(parse_primary(p, out));
    }
    HONE_TRY(parse_postfix(p, out));
    while (filters) {
        if (hone_parse_at(p, "|")) {
            HONE_TRY(hone_parse_filters(p, false, out));
        } else if (hone_parse_at_name(p, "is")) {
            HONE_TRY(parse_test(p, out));
        } else if (hone_parse_at(p, "(")) {
            HONE_TRY(parse_call(p, *out, out));
        } else {
            break;
        }
    }
    return HONE_OK;
}

static hone_status parse_list(hone_parser *p, hone_node **out) {
    HONE_TRY(hone_parse_node(p, HONE_NODE_LIST, out));
    p->token++;
    while (!hone_parse_at(p, "]")) {
        hone_node *item;
        HONE_TRY(hone_parse_expression(p, true, &item));
        HONE_TRY(hone_parse_add(p, &(*out)->items, item));
        if (!hone_parse_skip(p, ",")) break;
    }
    return hone_parse_expect(p, "]");
}

static hone_status parse_dict(hone_parser *p, hone_node **out) {
    HONE_TRY(hone_parse_node(p, HONE_NODE_DICT, out));
    p->token++;
    while (!hone_parse_at(p, "}")) {
        hone_node *item;
        HONE_TRY(hone_parse_expression(p, true, &item));
        HONE_TRY(hone_parse_add(p, &(*out)->items, item));
        HONE_TRY(hone_parse_expect(p, ":"));
        HONE_TRY(hone_parse_expression(p, true, &item));
        HONE_TRY(hone_parse_add(p, &(*out)->items, item));
        if (!hone_parse_skip(p, ",")) break;
    }
    return hone_parse_expect(p, "}");
}

/* Strings side by side are one. */
static hone_status parse_string(hone_parser *p, hone_node *node) {
    const hone_lexeme *t = p->token;
    size_t size = 0;
    for (; t->kind == HONE_TOKEN_STRING; t++) size += t->text.size;
    if (t == p->token + 1) {
        node->constant = hone_value_string(p->token->text.data, size);
        p->token = t;
        return HONE_OK;
    }
    char *text = hone_region_alloc(p->region, size, p->err);
    if (text == NULL) return p->err->status;
    node->constant = hone_value_string(text, size);
    for (; p->token != t; p->token++) {
        if (p->token->text.size > 0) memcpy(text, p->token->text.data, p->token->text.size);
        text += p->token->text.size;
    }
    return HONE_OK;
}

/* true, none and their like; any other name is a variable. */
static hone_status parse_name_or_constant(hone_parser *p, hone_node *node) {
    bool truth = hone_parse_at_name(p, "true") || hone_parse_at_name(p, "True");
    if (truth || hone_parse_at_name(p, "false") || hone_parse_at_name(p, "False")) {
        node->constant = hone_value_bool(truth);
    } else if (hone_parse_at_name(p, "none") || hone_parse_at_name(p, "None")) {
        node->constant = hone_value_none();
    } else {
        node->kind = HONE_NODE_NAME;
        HONE_TRY(hone_parse_name(p, &node->name));
        if (hone_name_is(node->name, hone_name_varargs)) p->uses |= HONE_USES_VARARGS;
        if (hone_name_is(node->name, hone_name_kwargs)) p->uses |= HONE_USES_KWARGS;
        if (hone_name_is(node->name, hone_name_caller)) p->uses |= HONE_USES_CALLER;
        return HONE_OK;
    }
    p->token++;
    return HONE_OK;
}

static hone_status parse_primary(hone_parser *p, hone_node **out) {
    const hone_lexeme *t = p->token;
    if (hone_parse_at(p, "[")) return parse_list(p, out);
    if (hone_parse_at(p, "{")) return parse_dict(p, out);
    if (hone_parse_at(p, "(")) {
        p->token++;
        HONE_TRY(hone_parse_tuple(p, false, true, NULL, true, out));
        return hone_parse_expect(p, ")");
    }
    HONE_TRY(hone_parse_node(p, HONE_NODE_CONST, out));
    switch (t->kind) {
    case HONE_TOKEN_NAME:
        return parse_name_or_constant(p, *out);
    case HONE_TOKEN_STRING:
        return parse_string(p, *out);
    case HONE_TOKEN_INTEGER:
        (*out)->constant = hone_value_int(t->integer);
        break;
    case HONE_TOKEN_FLOAT:
        (*out)->constant = hone_value_float(t->real);
        break;
    default:
        return hone_parse_fail(p, "an expression");
    }
    p->token++;
    return HONE_OK;
}

static bool ends_tuple(const hone_parser *p, const char *end) {
    return p->token->kind == HONE_TOKEN_VARIABLE_END || p->token->kind == HONE_TOKEN_BLOCK_END ||
           hone_parse_at(p, ")") || (end != NULL && hone_parse_at_name(p, end));
}

hone_status hone_parse_tuple(hone_parser *p, bool simple, bool condition, const char *end,
                             bool parentheses, hone_node **out) {
    hone_node *tuple, *item = NULL;
    bool commas = false;
    HONE_TRY(hone_parse_node(p, HONE_NODE_TUPLE, &tuple));
    while (!ends_tuple(p, end)) {
        HONE_TRY(simple ? parse_primary(p, &item) : hone_parse_expression(p, condition, &item));
        HONE_TRY(hone_parse_add(p, &tuple->items, item));
        if (!hone_parse_skip(p, ",")) break;
        commas = true;
    }
    *out = commas || item == NULL ? tuple : item;
    return item == NULL && !parentheses ? hone_parse_fail(p, "an expression") : HONE_OK;
}

static hone_status check_target(hone_parser *p, hone_node *target) {
    static const char *const reserved[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (target->kind == HONE_NODE_NAME && hone_slice_is(target->name, reserved[i])) {
            return hone_parse_fail(p, "a name to assign to");
        }
    }
    if (target->kind == HONE_NODE_NAME) return HONE_OK;
    if (target->kind != HONE_NODE_TUPLE) return hone_parse_fail(p, "a name or names to assign to");
    HONE_TRY(hone_parse_enter(p));
    for (size_t i = 0; i < target->items.count; i++)
        HONE_TRY(check_target(p, target->items.data[i]));
    p->depth--;
    return HONE_OK;
}

hone_status hone_parse_target(hone_parser *p, const char *end, bool namespaces, hone_node **out) {
    bool dotted =
        p->token->kind == HONE_TOKEN_NAME && token_is(p->token + 1, HONE_TOKEN_OPERATOR, ".");
    if (namespaces && dotted) {
        HONE_TRY(hone_parse_node(p, HONE_NODE_NAME, out));
        (*out)->op = HONE_OP_NAMESPACE;
        HONE_TRY(hone_parse_name(p, &(*out)->name));
        p->token++;
        hone_slice attribute;
        HONE_TRY(hone_parse_name(p, &attribute));
        (*out)->constant = hone_value_string(attribute.data, attribute.size);
        return HONE_OK;
    }
    HONE_TRY(hone_parse_tuple(p, true, false, end, false, out));
    return check_target(p, *out);
}
