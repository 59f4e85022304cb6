/* text/jinja_statement: statements and text of templates. */
#include "text/jinja_parse.h"
#include "text/vocab.h"
#include <string.h>

typedef const char *const *words; /* NULL-terminated */

static hone_status parse_body(hone_parser *p, words ends, hone_nodes *out);

static hone_status expect_block_end(hone_parser *p) {
    if (p->token->kind != HONE_TOKEN_BLOCK_END) return hone_parse_fail(p, "\"%}\"");
    p->token++;
    return HONE_OK;
}

static bool at_any(const hone_parser *p, words names) {
    for (; *names != NULL; names++) {
        if (hone_parse_at_name(p, *names)) return true;
    }
    return false;
}

/* The body of a block: "%}", statements, "{%" and one of the words, which stays the current token.
 */
static hone_status parse_block(hone_parser *p, words ends, hone_nodes *out) {
    (void)hone_parse_skip(p, ":"); /* Jinja2 allows it, as Python wants it */
    HONE_TRY(expect_block_end(p));
    return parse_body(p, ends, out);
}

static hone_status parse_block_to(hone_parser *p, const char *end, hone_nodes *out) {
    const char *const ends[] = {end, NULL};
    HONE_TRY(parse_block(p, ends, out));
    p->token++;
    return HONE_OK;
}

static bool assigns_loop(const hone_node *target) {
    if (target->kind == HONE_NODE_NAME) return hone_name_is(target->name, hone_name_loop);
    for (size_t i = 0; i < target->items.count; i++) {
        if (assigns_loop(target->items.data[i])) return true;
    }
    return false;
}

static hone_status parse_for(hone_parser *p, hone_node **out) {
    static const char *const ends[] = {"else", "endfor", NULL};
    HONE_TRY(hone_parse_node(p, HONE_NODE_FOR, out));
    hone_node *node = *out;
    p->token++;
    HONE_TRY(hone_parse_target(p, "in", false, &node->a));
    if (assigns_loop(node->a)) return hone_parse_fail(p, "another name than loop before");
    if (!hone_parse_skip_name(p, "in")) return hone_parse_fail(p, "\"in\"");
    HONE_TRY(hone_parse_tuple(p, false, false, "recursive", false, &node->b));
    if (hone_parse_skip_name(p, "if")) HONE_TRY(hone_parse_expression(p, true, &node->c));
    node->flag = hone_parse_skip_name(p, "recursive");
    p->loops++;
    HONE_TRY(parse_block(p, ends, &node->items));
    p->loops--;
    if (hone_parse_skip_name(p, "else")) return parse_block_to(p, "endfor", &node->more);
    p->token++;
    return HONE_OK;
}

/* Each elif is an if of its own in the else of the one before. */
static hone_status parse_if(hone_parser *p, hone_node **out) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    HONE_TRY(hone_parse_node(p, HONE_NODE_IF, out));
    for (hone_node *node = *out;;) {
        p->token++;
        HONE_TRY(hone_parse_tuple(p, false, false, NULL, false, &node->a));
        HONE_TRY(parse_block(p, ends, &node->items));
        if (hone_parse_at_name(p, "elif")) {
            hone_node *next;
            HONE_TRY(hone_parse_node(p, HONE_NODE_IF, &next));
            HONE_TRY(hone_parse_add(p, &node->more, next));
            node = next;
            continue;
        }
        if (hone_parse_skip_name(p, "else")) return parse_block_to(p, "endif", &node->more);
        p->token++;
        return HONE_OK;
    }
}

static hone_status parse_set(hone_parser *p, hone_node **out) {
    HONE_TRY(hone_parse_node(p, HONE_NODE_SET, out));
    hone_node *node = *out;
    p->token++;
    HONE_TRY(hone_parse_target(p, NULL, true, &node->a));
    if (hone_parse_skip(p, "=")) return hone_parse_tuple(p, false, true, NULL, false, &node->b);
    node->kind = HONE_NODE_SET_BLOCK;
    HONE_TRY(hone_parse_filters(p, false, &node->b));
    return parse_block_to(p, "endset", &node->items);
}

static hone_status parse_parameters(hone_parser *p, hone_nodes *out) {
    bool defaults = false;
    HONE_TRY(hone_parse_expect(p, "("));
    while (!hone_parse_at(p, ")")) {
        hone_node *parameter;
        HONE_TRY(hone_parse_node(p, HONE_NODE_PARAMETER, &parameter));
        HONE_TRY(hone_parse_name(p, &parameter->name));
        if (hone_parse_skip(p, "=")) {
            HONE_TRY(hone_parse_expression(p, true, &parameter->a));
            defaults = true;
        } else if (defaults) {
            return hone_parse_fail(p, "a default value, as the parameter before has one");
        }
        HONE_TRY(hone_parse_add(p, out, parameter));
        if (!hone_parse_skip(p, ",")) break;
    }
    return hone_parse_expect(p, ")");
}

/* The body runs elsewhere: a loop around the definition is not around it. */
static hone_status parse_macro_body(hone_parser *p, const char *end, hone_node *node) {
    int loops = p->loops;
    unsigned uses = p->uses;
    p->loops = 0;
    p->uses = 0;
    HONE_TRY(parse_block_to(p, end, &node->items));
    node->op = (uint8_t)p->uses;
    p->loops = loops;
    p->uses |= uses;
    return HONE_OK;
}

static hone_status parse_macro(hone_parser *p, hone_node **out) {
    HONE_TRY(hone_parse_node(p, HONE_NODE_MACRO, out));
    p->token++;
    HONE_TRY(hone_parse_name(p, &(*out)->name));
    HONE_TRY(parse_parameters(p, &(*out)->more));
    return parse_macro_body(p, "endmacro", *out);
}

static hone_status parse_call_block(hone_parser *p, hone_node **out) {
    HONE_TRY(hone_parse_node(p, HONE_NODE_CALL_BLOCK, out));
    hone_node *node = *out;
    p->token++;
    node->name = hone_name_caller;
    if (hone_parse_at(p, "(")) HONE_TRY(parse_parameters(p, &node->more));
    HONE_TRY(hone_parse_expression(p, true, &node->a));
    if (node->a->kind != HONE_NODE_CALL) return hone_parse_fail(p, "a call of a macro");
    return parse_macro_body(p, "endcall", node);
}

static hone_status parse_filter_block(hone_parser *p, hone_node **out) {
    HONE_TRY(hone_parse_node(p, HONE_NODE_FILTER_BLOCK, out));
    p->token++;
    HONE_TRY(hone_parse_filters(p, true, &(*out)->a));
    return parse_block_to(p, "endfilter", &(*out)->items);
}

static hone_status parse_with(hone_parser *p, hone_node **out) {
    HONE_TRY(hone_parse_node(p, HONE_NODE_WITH, out));
    p->token++;
    while (p->token->kind != HONE_TOKEN_BLOCK_END) {
        hone_node *set;
        HONE_TRY(hone_parse_node(p, HONE_NODE_SET, &set));
        if ((*out)->more.count > 0) HONE_TRY(hone_parse_expect(p, ","));
        hone_node *name;
        HONE_TRY(hone_parse_node(p, HONE_NODE_NAME, &name));
        HONE_TRY(hone_parse_name(p, &name->name));
        set->a = name;
        HONE_TRY(hone_parse_expect(p, "="));
        HONE_TRY(hone_parse_expression(p, true, &set->b));
        HONE_TRY(hone_parse_add(p, &(*out)->more, set));
    }
    return parse_block_to(p, "endwith", &(*out)->items);
}

static hone_status parse_generation(hone_parser *p, hone_node **out) {
    HONE_TRY(hone_parse_node(p, HONE_NODE_GENERATION, out));
    p->token++;
    return parse_macro_body(p, "endgeneration", *out);
}

static hone_status parse_jump(hone_parser *p, hone_node **out) {
    hone_node_kind kind = hone_parse_at_name(p, "break") ? HONE_NODE_BREAK : HONE_NODE_CONTINUE;
    if (p->loops == 0) return hone_parse_fail(p, "break and continue inside of a loop only");
    HONE_TRY(hone_parse_node(p, kind, out));
    p->token++;
    return HONE_OK;
}

static hone_status parse_statement(hone_parser *p, hone_node **out) {
    static const struct {
        const char *name;
        hone_status (*parse)(hone_parser *p, hone_node **out);
    } statements[] = {
        {"if", parse_if},           {"for", parse_for},
        {"set", parse_set},         {"macro", parse_macro},
        {"call", parse_call_block}, {"filter", parse_filter_block},
        {"with", parse_with},       {"generation", parse_generation},
        {"break", parse_jump},      {"continue", parse_jump},
    };
    static const char *const refused[] = {"include", "import",     "from", "extends",
                                          "block",   "autoescape", "do",   NULL};
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        if (hone_parse_at_name(p, statements[i].name)) return statements[i].parse(p, out);
    }
    if (at_any(p, refused)) {
        return hone_fail(p->err, HONE_ERR_UNSUPPORTED,
                         "line %d: the statement \"%.*s\" is not supported", p->token->line,
                         (int)p->token->text.size, p->token->text.data);
    }
    return hone_parse_fail(p, "a statement");
}

static hone_status parse_output(hone_parser *p, hone_node **out) {
    HONE_TRY(hone_parse_node(p, HONE_NODE_OUTPUT, out));
    p->token++;
    HONE_TRY(hone_parse_tuple(p, false, true, NULL, false, &(*out)->a));
    if (p->token->kind != HONE_TOKEN_VARIABLE_END) return hone_parse_fail(p, "\"}}\"");
    p->token++;
    return HONE_OK;
}

/* The last of the words is the one that closes. */
static hone_status fail_open(const hone_parser *p, words ends) {
    while (ends[1] != NULL) ends++;
    return hone_parse_fail(p, *ends);
}

/* Text, output and statements up to the end of the template, or to a tag that begins with one of
 * `ends`. */
static hone_status parse_body(hone_parser *p, words ends, hone_nodes *out) {
    HONE_TRY(hone_parse_enter(p));
    for (;;) {
        hone_node *node;
        switch (p->token->kind) {
        case HONE_TOKEN_EOF:
            if (ends != NULL) return fail_open(p, ends);
            p->depth--;
            return HONE_OK;
        case HONE_TOKEN_DATA:
            HONE_TRY(hone_parse_node(p, HONE_NODE_TEXT, &node));
            node->name = p->token->text;
            p->token++;
            break;
        case HONE_TOKEN_VARIABLE_BEGIN:
            HONE_TRY(parse_output(p, &node));
            break;
        default:
            p->token++;
            if (ends != NULL && at_any(p, ends)) {
                p->depth--;
                return HONE_OK;
            }
            HONE_TRY(parse_statement(p, &node));
            HONE_TRY(expect_block_end(p));
            break;
        }
        HONE_TRY(hone_parse_add(p, out, node));
    }
}

hone_status hone_jinja_parse(const char *source, size_t size, hone_region *region, hone_nodes *out,
                             hone_error *err) {
    hone_lexemes tokens = {0};
    HONE_TRY(hone_jinja_lex(source, size, region, &tokens, err));
    hone_parser parser = {.token = tokens.data, .region = region, .err = err};
    parser.seed = hone_hash_u64((uint64_t)(uintptr_t)region, (uint64_t)(uintptr_t)tokens.data);
    return parse_body(&parser, NULL, out);
}
