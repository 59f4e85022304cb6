/* text/jinja_ast: a parsed template. Nodes live in the template's region and do not change. */
#ifndef HONE_TEXT_JINJA_AST_H
#define HONE_TEXT_JINJA_AST_H

#include "text/jinja_value.h"

typedef enum hone_node_kind {
    /* Expressions: children and names they use. */
    HONE_NODE_CONST,     /* constant */
    HONE_NODE_NAME,      /* name */
    HONE_NODE_LIST,      /* items */
    HONE_NODE_TUPLE,     /* items */
    HONE_NODE_DICT,      /* items: key, value, key, ... */
    HONE_NODE_CONDITION, /* a if b else c (c may be NULL) */
    HONE_NODE_AND,       /* a, b */
    HONE_NODE_OR,        /* a, b */
    HONE_NODE_NOT,       /* a */
    HONE_NODE_COMPARE,   /* a, then items: OPERAND nodes */
    HONE_NODE_OPERAND,   /* op, a */
    HONE_NODE_BINARY,    /* op, a, b */
    HONE_NODE_CONCAT,    /* items */
    HONE_NODE_NEGATE,    /* a */
    HONE_NODE_POSITIVE,  /* a */
    HONE_NODE_ATTRIBUTE, /* a.name */
    HONE_NODE_ITEM,      /* a[b] */
    HONE_NODE_SLICE,     /* a : b : c, each may be NULL; only as b of ITEM */
    HONE_NODE_CALL,      /* a(items, more) */
    HONE_NODE_FILTER,    /* a | name(items, more); a NULL: the block's text */
    HONE_NODE_TEST,      /* a is name(items, more) */
    HONE_NODE_ARGUMENT,  /* of calls, in `more`: name=a, or *a and **a by op */
    /* Statements. */
    HONE_NODE_TEXT,         /* name: the text */
    HONE_NODE_OUTPUT,       /* a */
    HONE_NODE_FOR,          /* for a in b if c (may be NULL): items, else more; flag: recursive */
    HONE_NODE_IF,           /* if a: items, else more; elif is an IF alone in `more` */
    HONE_NODE_SET,          /* a = b */
    HONE_NODE_SET_BLOCK,    /* a = text of items, through filter b (may be NULL) */
    HONE_NODE_MACRO,        /* name(more: PARAMETER nodes): items; op: HONE_USES_... */
    HONE_NODE_PARAMETER,    /* name = a (may be NULL) */
    HONE_NODE_CALL_BLOCK,   /* call a, caller(more: PARAMETER nodes): items; op likewise */
    HONE_NODE_FILTER_BLOCK, /* filter a: items */
    HONE_NODE_WITH,         /* more: SET nodes; items */
    HONE_NODE_GENERATION,   /* items */
    HONE_NODE_BREAK,
    HONE_NODE_CONTINUE
} hone_node_kind;

typedef enum hone_operator {
    HONE_OP_NONE,
    HONE_OP_ADD,
    HONE_OP_SUB,
    HONE_OP_MUL,
    HONE_OP_DIV,
    HONE_OP_FLOORDIV,
    HONE_OP_MOD,
    HONE_OP_POW,
    HONE_OP_EQ,
    HONE_OP_NE,
    HONE_OP_LT,
    HONE_OP_LE,
    HONE_OP_GT,
    HONE_OP_GE,
    HONE_OP_IN,
    HONE_OP_NOT_IN,
    HONE_OP_STAR,      /* ARGUMENT: *a */
    HONE_OP_STAR_STAR, /* ARGUMENT: **a */
    HONE_OP_NAMESPACE  /* SET target: name.attribute; the attribute is in `constant` */
} hone_operator;

typedef struct hone_node hone_node;

typedef struct hone_nodes {
    hone_node **data;
    size_t count, capacity;
} hone_nodes;

struct hone_node {
    uint8_t kind; /* hone_node_kind */
    uint8_t op;   /* hone_operator */
    bool flag;
    int line;
    hone_slice name; /* identifiers are interned: equal names have equal `data` */
    hone_value constant;
    hone_node *a, *b, *c;
    hone_nodes items, more;
};

/* What the body of a macro refers to, and so what it can be given beyond its parameters. */
enum { HONE_USES_VARARGS = 1, HONE_USES_KWARGS = 2, HONE_USES_CALLER = 4 };

/* Names that rendering itself assigns; the parser interns these very slices. */
extern const hone_slice hone_name_loop, hone_name_caller, hone_name_varargs, hone_name_kwargs;

static inline bool hone_name_is(hone_slice a, hone_slice b) {
    return a.data == b.data && a.size == b.size;
}

/* Parses a whole template. Errors name the line and column. */
hone_status hone_jinja_parse(const char *source, size_t size, hone_region *region, hone_nodes *out,
                             hone_error *err);

#endif
