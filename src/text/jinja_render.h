/* text/jinja_render: the state of one rendering, shared by evaluation, filters, methods and
 * globals. */
#ifndef HONE_TEXT_JINJA_RENDER_H
#define HONE_TEXT_JINJA_RENDER_H

#include "text/chat.h"
#include "text/jinja_ast.h"

/* The limits of one rendering. A chat of 10,000 messages of 512 bytes takes 500,000 to 700,000
 * steps. */
#define HONE_RENDER_STEPS 5000000u            /* nodes evaluated, bulk work counted too */
#define HONE_RENDER_MEMORY ((size_t)64 << 20) /* bytes of values */
#define HONE_RENDER_OUTPUT ((size_t)32 << 20) /* bytes of text */
#define HONE_RENDER_DEPTH 1200                /* nested evaluations: keeps the C stack below 1 MB */
#define HONE_RENDER_RANGE 100000              /* numbers in a range(), as Jinja2's sandbox has it */

typedef struct hone_scope {
    struct hone_scope *parent; /* NULL: the template itself */
    hone_slice *names;         /* interned by the parser */
    hone_value *values;
    size_t count, capacity;
    bool captured; /* a macro refers to it: it must stay as it is */
} hone_scope;

typedef struct hone_spans {
    hone_chat_span *data; /* malloc'ed */
    size_t count, capacity;
} hone_spans;

struct hone_render {
    hone_region region;
    hone_error *err; /* never NULL */
    hone_dict *variables;
    hone_scope *scope; /* innermost */
    hone_buf *out;     /* where text goes: the result, or what is being captured */
    const hone_buf *result;
    size_t result_begin; /* where the rendering began in it */
    hone_spans *spans;   /* NULL: not wanted */
    size_t steps;        /* left */
    int depth;
    int line; /* of the node being evaluated */
};

/* Arguments of a call: positional and named, the latter in order. */
typedef struct hone_args {
    hone_value *values; /* [count], then [named] */
    size_t count, named;
    hone_slice *names; /* [named] */
} hone_args;

typedef hone_status (*hone_function)(hone_render *r, const hone_value *self, const hone_args *args,
                                     hone_value *out);

typedef struct hone_callable {
    const char *name;
    hone_function function; /* a global or a method of `self`; NULL: a macro */
    hone_value self;
    const hone_node *macro; /* MACRO or CALL_BLOCK */
    hone_scope *scope;      /* where the macro was defined */
} hone_callable;

/* A for loop while it runs. */
typedef struct hone_loop {
    const hone_node *node; /* FOR */
    hone_scope *scope;     /* around the loop */
    hone_list *items;
    size_t index;
    int depth;
    hone_value changed; /* what loop.changed was last called with */
} hone_loop;

/* Takes steps; HONE_ERR_LIMIT when there are none left. Bytes that are copied or searched cost less
 * than nodes, text that is gone through character by character lies in between. */
hone_status hone_render_charge(hone_render *r, size_t steps);
hone_status hone_render_charge_bytes(hone_render *r, size_t bytes);
hone_status hone_render_charge_text(hone_render *r, size_t bytes);

/* Enter and leave one level of recursion. */
hone_status hone_render_enter(hone_render *r);
static inline void hone_render_leave(hone_render *r) { r->depth--; }

/* A buffer for text on the way to a value, and the value (frees the buffer in any case). */
hone_buf hone_render_buf(void);
hone_status hone_render_take(hone_render *r, hone_status status, hone_buf *buf, hone_value *out);

hone_status hone_jinja_eval(hone_render *r, const hone_node *node, hone_value *out);
hone_status hone_jinja_exec(hone_render *r, const hone_nodes *nodes);
hone_status hone_scope_push(hone_render *r, hone_scope *parent, hone_scope **out);
hone_status hone_scope_set(hone_render *r, hone_scope *scope, hone_slice name, hone_value value);
hone_status hone_jinja_assign(hone_render *r, const hone_node *target, hone_value value);

/* Calls macros, functions, methods and recursive loops. */
hone_status hone_jinja_call(hone_render *r, const hone_value *callee, const hone_args *args,
                            hone_value *out);
hone_status hone_jinja_eval_args(hone_render *r, const hone_node *call, const hone_value *first,
                                 hone_args *out);
hone_status hone_macro_new(hone_render *r, const hone_node *node, hone_value *out);
hone_status hone_loop_call(hone_render *r, hone_loop *loop, const hone_args *args, hone_value *out);
hone_status hone_loop_run(hone_render *r, const hone_node *node, hone_scope *scope,
                          const hone_value *iterable, int depth);

/* Matches arguments with parameter names ("a", "b", ..., NULL); values not given stay ABSENT.
 * `required` come first. */
hone_status hone_jinja_bind(hone_render *r, const char *what, const hone_args *args,
                            const char *const *names, size_t required, hone_value *values);

/* Typed reading of bound arguments, with a fallback when absent. */
hone_status hone_jinja_arg_int(hone_render *r, const hone_value *v, const char *what,
                               int64_t fallback, int64_t *out);
hone_status hone_jinja_arg_string(hone_render *r, const hone_value *v, const char *what,
                                  hone_slice fallback, hone_slice *out);

/* Operators. */
hone_status hone_jinja_binary(hone_render *r, hone_operator op, const hone_value *a,
                              const hone_value *b, hone_value *out);
hone_status hone_jinja_compare(hone_render *r, hone_operator op, const hone_value *a,
                               const hone_value *b, bool *out);
hone_status hone_jinja_get_attribute(hone_render *r, const hone_value *object, hone_slice name,
                                     hone_value *out);
hone_status hone_jinja_get_item(hone_render *r, const hone_value *object, const hone_value *key,
                                hone_value *out);
hone_status hone_jinja_get_slice(hone_render *r, const hone_value *object,
                                 const hone_value bounds[3], hone_value *out);

/* By name; HONE_ERR_UNSUPPORTED when there is none. args->values[0] is the value itself. */
hone_status hone_filter_apply(hone_render *r, hone_slice name, const hone_args *args,
                              hone_value *out);
hone_status hone_test_apply(hone_render *r, hone_slice name, const hone_args *args, bool *out);
bool hone_filter_exists(hone_slice name);
bool hone_test_exists(hone_slice name);

/* A bound method of a str, dict or list; *found false when the type has none of that name. */
hone_status hone_method_find(hone_render *r, const hone_value *object, hone_slice name, bool *found,
                             hone_value *out);
/* range, namespace, raise_exception, ...; ABSENT when there is none. */
hone_status hone_global_find(hone_render *r, hone_slice name, hone_value *out);

/* The family of filters that select or map by attribute, in jinja_sequence.c. */
hone_status hone_filter_sequence(hone_render *r, hone_slice name, const hone_args *args,
                                 bool *found, hone_value *out);
bool hone_filter_sequence_exists(hone_slice name);

/* json.dumps. `indent` NULL: on one line; separators NULL: Python's defaults. */
typedef struct hone_json_style {
    const hone_slice *indent; /* of one level */
    hone_slice item, key;     /* separators */
    bool ascii, sort_keys;
} hone_json_style;
hone_status hone_json_dump(hone_render *r, const hone_value *v, const hone_json_style *style,
                           int level, hone_buf *out);

/* printf-style formatting: the % operator and the filter `format`. */
hone_status hone_jinja_format_percent(hone_render *r, hone_slice format, const hone_value *values,
                                      hone_value *out);

#endif
