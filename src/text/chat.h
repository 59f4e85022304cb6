/* text/chat: chat templates: Jinja2 as Hugging Face renders it (trim_blocks, lstrip_blocks, loop
 * controls, raise_exception, strftime_now, tojson, namespace, macros, filters, {% generation %}).
 * Templates come from strangers: steps, nesting, output and string sizes are limited. */
#ifndef HONE_TEXT_CHAT_H
#define HONE_TEXT_CHAT_H

#include "base/buf.h"
#include "base/json.h"

typedef struct hone_chat_template hone_chat_template;

/* Parses; errors give line and column. *out is owned by the caller. Immutable after that. */
hone_status hone_chat_template_parse(const char *source, size_t size, const char *name,
                                     hone_chat_template **out, hone_error *err);
void hone_chat_template_free(hone_chat_template **chat);

/* A half-open range of bytes of the rendered text that lies within {% generation %}. */
typedef struct hone_chat_span {
    size_t begin, end;
} hone_chat_span;

/* Renders with `variables` (a JSON object: messages, tools, add_generation_prompt, bos_token,
 * eos_token, ...). The text is appended to *out. *spans (malloc'ed, caller frees; may be NULL if
 * not wanted) receives the generation ranges, relative to where the text began. */
hone_status hone_chat_template_render(const hone_chat_template *chat, const json_t *variables,
                                      hone_buf *out, hone_chat_span **spans, size_t *span_count,
                                      hone_error *err);

#endif
