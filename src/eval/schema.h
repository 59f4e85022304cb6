/* eval/schema: what members a JSON file of ours has, as tables: files from elsewhere are checked against them before
 * anything is read from them. docs/evaluation.md has a table for each, and a test compares the two. Layer eval. */
#ifndef HONE_EVAL_SCHEMA_H
#define HONE_EVAL_SCHEMA_H

#include "base/json.h"

/* `type`: s string, b boolean, n number, r number above 0, i integer from 0, z any integer, p pair of numbers or
 * nulls, t array of strings, f array of numbers or nulls, o object of `of`, a array of such objects. An upper-case
 * letter allows null as well. */
typedef struct hone_schema_member {
    const char *key;
    char type;
    const struct hone_schema *of;
} hone_schema_member;

typedef struct hone_schema {
    const char *name;
    const hone_schema_member *members; /* [count]; all must be there, others are ignored */
    size_t count;
} hone_schema;

extern const hone_schema hone_schema_report;     /* of `hone eval --json` */
extern const hone_schema hone_schema_comparison; /* of `hone eval --compare A B --json` */
enum { HONE_REPORT_SCHEMA = 3 };

/* HONE_ERR_FORMAT with the member's place: "a.json: macro[1].sides.naive.steps: expected ...". */
hone_status hone_schema_check(const json_t *value, const hone_schema *schema, const char *name,
                              hone_error *err);

#endif
