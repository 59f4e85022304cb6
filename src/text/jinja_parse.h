/* text/jinja_parse: what the two halves of the parser share: jinja_expression.c and
 * jinja_statement.c. */
#ifndef HONE_TEXT_JINJA_PARSE_H
#define HONE_TEXT_JINJA_PARSE_H

#include "text/jinja_lex.h"

#define HONE_PARSE_DEPTH 200 /* nested expressions and blocks */

typedef struct hone_parser {
    const hone_lexeme *token; /* the current one */
    hone_region *region;
    hone_error *err;
    int depth;
    int loops;         /* enclosing for loops: break and continue need one */
    unsigned uses;     /* HONE_USES_...: of the names seen so far in the enclosing macro */
    hone_slice *names; /* interned, [name_mask + 1] */
    size_t name_count, name_mask;
    uint64_t seed;
} hone_parser;

hone_status hone_parse_fail(const hone_parser *p, const char *expected);
hone_status hone_parse_enter(hone_parser *p);
hone_status hone_parse_node(hone_parser *p, hone_node_kind kind, hone_node **out);
hone_status hone_parse_add(hone_parser *p, hone_nodes *list, hone_node *node);

bool hone_parse_at(const hone_parser *p,
                   const char *operator); /* the current token is this operator */
bool hone_parse_at_name(const hone_parser *p, const char *name); /* ... this word */
bool hone_parse_skip(hone_parser *p, const char *operator);      /* and moves on if so */
bool hone_parse_skip_name(hone_parser *p, const char *name);
hone_status hone_parse_expect(hone_parser *p, const char *operator);
/* The current token must be a name; moves on. */
hone_status hone_parse_name(hone_parser *p, hone_slice *out);

hone_status hone_parse_expression(hone_parser *p, bool condition, hone_node **out);
/* One expression, or several with commas as a TUPLE. `simple`: names and literals only, as targets
 * are; `end` is a word that ends it, may be NULL. */
hone_status hone_parse_tuple(hone_parser *p, bool simple, bool condition, const char *end,
                             bool parentheses, hone_node **out);
hone_status hone_parse_target(hone_parser *p, const char *end, bool namespaces, hone_node **out);
/* The filters that follow, around *node. `first`: the first has no '|' in front. */
hone_status hone_parse_filters(hone_parser *p, bool first, hone_node **node);

#endif
