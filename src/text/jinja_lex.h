/* text/jinja_lex: a template's source as tokens. White-space control (trim_blocks, lstrip_blocks,
 * - and +), comments and raw blocks are dealt with here. */
#ifndef HONE_TEXT_JINJA_LEX_H
#define HONE_TEXT_JINJA_LEX_H

#include "text/jinja_ast.h"

typedef enum hone_token_kind {
    HONE_TOKEN_EOF,
    HONE_TOKEN_DATA, /* text outside of tags */
    HONE_TOKEN_VARIABLE_BEGIN,
    HONE_TOKEN_VARIABLE_END,
    HONE_TOKEN_BLOCK_BEGIN,
    HONE_TOKEN_BLOCK_END,
    HONE_TOKEN_NAME,
    HONE_TOKEN_STRING, /* unescaped */
    HONE_TOKEN_INTEGER,
    HONE_TOKEN_FLOAT,
    HONE_TOKEN_OPERATOR /* text holds it */
} hone_token_kind;

typedef struct hone_lexeme {
    uint8_t kind; /* hone_token_kind */
    int line, column;
    hone_slice text;
    union {
        int64_t integer;
        double real;
    };
} hone_lexeme;

typedef struct hone_lexemes {
    hone_lexeme *data; /* ends with EOF */
    size_t count, capacity;
} hone_lexemes;

hone_status hone_jinja_lex(const char *source, size_t size, hone_region *region, hone_lexemes *out,
                           hone_error *err);

#endif
