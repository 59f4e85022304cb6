/* train/example: see example.h.
 *
 * What the assistant says is found as ranges of bytes of the rendered chat, from the template's "generation" marks or
 * by rendering the chat up to and including each of its turns, and then as tokens: the beginning of the text up to a
 * range's edge, tokenized alone, agrees with the whole for as many tokens as lie before the edge.
 */
#include "train/example.h"

#include "base/size.h"

#include <stdlib.h>
#include <string.h>

enum { RENDER_LIMIT = 64 << 20 };

void hone_example_free(hone_example *example) {
    free(example->ids);
    free(example->learnt);
    *example = (hone_example){0};
}

bool hone_example_cut(hone_example *example, size_t count) {
    if (example->count <= count) return false;
    example->count = count;
    return true;
}

size_t hone_example_labels(const hone_example *example) {
    size_t labels = 0;
    for (size_t i = 1; i < example->count; i++) labels += example->learnt[i];
    return labels;
}

/* ---- tokens ---- */

static hone_status encode(const hone_model *model, const char *text, size_t size, bool special,
                          int32_t **ids, size_t *count, hone_error *err) {
    HONE_TRY(
        hone_tokenizer_encode(model->tokenizer, size ? text : "", size, special, ids, count, err));
    for (size_t i = 0; i < *count; i++) {
        if ((*ids)[i] >= 0 && (*ids)[i] < model->config.vocab) continue;
        int32_t id = (*ids)[i];
        free(*ids);
        *ids = NULL;
        return hone_fail(
            err, HONE_ERR_FORMAT,
            "the tokenizer gives token %d, but the model has %d: they do not belong together",
            (int)id, model->config.vocab);
    }
    return HONE_OK;
}

/* How many of the example's tokens lie before byte `edge` of its text: those that the text up to it, tokenized
 * alone, has too. A token that reaches over the edge is not among them. */
static hone_status tokens_before(const hone_model *model, const hone_example *example,
                                 const char *text, size_t size, size_t edge, bool special,
                                 size_t *tokens, hone_error *err) {
    *tokens = example->count;
    if (edge >= size) return HONE_OK;
    int32_t *ids;
    size_t count, same = 0;
    HONE_TRY(encode(model, text, edge, special, &ids, &count, err));
    while (same < HONE_MIN(count, example->count) && ids[same] == example->ids[same]) same++;
    free(ids);
    *tokens = same;
    return HONE_OK;
}

/* Marks the tokens from byte `begin` to byte `end` as learnt. */
static hone_status learn_range(const hone_model *model, hone_example *example, const char *text,
                               size_t size, hone_chat_span range, bool special, hone_error *err) {
    size_t from, to;
    HONE_TRY(tokens_before(model, example, text, size, range.begin, special, &from, err));
    HONE_TRY(tokens_before(model, example, text, size, range.end, special, &to, err));
    for (size_t i = from; i < to; i++) example->learnt[i] = true;
    return HONE_OK;
}

static hone_status make_marks(hone_example *example, bool learnt, hone_error *err) {
    example->learnt = malloc(HONE_MAX(example->count, 1));
    if (!example->learnt) return hone_fail_memory(err, "a row's marks", example->count);
    for (size_t i = 0; i < example->count; i++) example->learnt[i] = learnt;
    return HONE_OK;
}

/* ---- plain text ---- */

/* Text with the end-of-sequence token; learnt from byte `prompt` on. */
static hone_status make_plain(const hone_model *model, const char *text, size_t size, size_t prompt,
                              hone_example *out, hone_error *err) {
    HONE_TRY(encode(model, text, size, true, &out->ids, &out->count, err));
    int32_t eos = hone_model_eos(model);
    bool ended = out->count > 0 && out->ids[out->count - 1] == eos;
    size_t text_tokens = out->count;
    if (eos >= 0 && eos < model->config.vocab && !ended) {
        int32_t *grown = realloc(out->ids, (out->count + 1) * sizeof *grown);
        if (!grown) return hone_fail_memory(err, "a row's tokens", out->count * sizeof *grown);
        out->ids = grown;
        out->ids[out->count++] = eos;
    }
    HONE_TRY(make_marks(out, prompt == 0, err));
    if (prompt == 0) return HONE_OK;
    size_t from = text_tokens;
    if (prompt < size) HONE_TRY(tokens_before(model, out, text, size, prompt, true, &from, err));
    for (size_t i = from; i < out->count; i++) out->learnt[i] = true;
    return HONE_OK;
}

static hone_status make_plain_completion(const hone_model *model, const json_t *row,
                                         bool mask_prompt, hone_example *out, hone_error *err) {
    const json_t *prompt = json_object_get(row, "prompt");
    const json_t *completion = json_object_get(row, "completion");
    size_t before = json_string_length(prompt);
    hone_buf text = hone_buf_make(RENDER_LIMIT);
    hone_status status = hone_buf_append(&text, json_string_value(prompt), before, err);
    if (status == HONE_OK)
        status = hone_buf_append(&text, json_string_value(completion),
                                 json_string_length(completion), err);
    if (status == HONE_OK)
        status = make_plain(model, text.data, text.size, mask_prompt ? before : 0, out, err);
    hone_buf_free(&text);
    return status;
}

/* ---- chats ---- */

typedef struct chat {
    const hone_model *model;
    const json_t *messages, *tools;
    hone_buf text; /* the whole, rendered */
} chat;

/* Renders the first `count` messages. *spans may be NULL. */
static hone_status render(const chat *c, size_t count, bool generation_prompt, hone_buf *out,
                          hone_chat_span **spans, size_t *span_count, hone_error *err) {
    json_t *messages = json_array(), *variables = json_object();
    hone_status status = HONE_OK;
    bool good = messages && variables;
    for (size_t i = 0; good && i < count; i++)
        good = json_array_append(messages, json_array_get(c->messages, i)) == 0;
    if (good) good = json_object_set(variables, "messages", messages) == 0;
    if (good)
        good =
            json_object_set(variables, "tools", c->tools ? (json_t *)c->tools : json_null()) == 0;
    if (good)
        good = json_object_set_new(variables, "add_generation_prompt",
                                   json_boolean(generation_prompt)) == 0;
    if (!good) HONE_TRY_GOTO(status, done, hone_fail_memory(err, "template variables", 0));
    HONE_TRY_GOTO(status, done, hone_model_chat_variables(c->model, variables, err));
    *out = hone_buf_make(RENDER_LIMIT);
    status = hone_chat_template_render(c->model->chat, variables, out, spans, span_count, err);
done:
    json_decref(messages);
    json_decref(variables);
    return status;
}

static bool begins_with(const hone_buf *text, const hone_buf *start) {
    return start->size <= text->size &&
           (start->size == 0 || memcmp(text->data, start->data, start->size) == 0);
}

static const char *find(const char *text, size_t size, const char *word, size_t length) {
    if (length == 0) return NULL;
    for (const char *at = text; length <= size; at++, size--) {
        const char *first = memchr(at, word[0], size - length + 1);
        if (!first) return NULL;
        size -= (size_t)(first - at);
        at = first;
        if (memcmp(at, word, length) == 0) return at;
    }
    return NULL;
}

/* The range of a turn that a template renders otherwise when more follows: its content, where it stands in the text
 * after `from`, and what closes the turn when it is the last (`alone`). Empty when it does not stand there. */
static hone_chat_span find_content(const chat *c, const json_t *message, const hone_buf *alone,
                                   size_t from) {
    const json_t *content = json_object_get(message, "content");
    const char *word = json_string_value(content);
    size_t length = json_string_length(content);
    while (length && strchr(" \t\r\n", word[length - 1])) length--;
    while (length && strchr(" \t\r\n", *word)) word++, length--;
    const char *text = c->text.data, *at = find(text + from, c->text.size - from, word, length);
    hone_chat_span range = {from, from};
    if (!at) return range;
    range.begin = from ? from : (size_t)(at - text);
    range.end = (size_t)(at - text) + length;
    const char *close = NULL;
    for (const char *next = alone->data;
         next && (next = find(next, alone->size - (size_t)(next - alone->data), word, length));
         next++)
        close = next + length;
    if (!close) return range;
    size_t closing = alone->size - (size_t)(close - alone->data);
    if (closing <= c->text.size - range.end && memcmp(text + range.end, close, closing) == 0)
        range.end += closing;
    return range;
}

/* The bytes of message `i`, an assistant's: what is there after the generation prompt and not without the message. */
static hone_status find_turn(const chat *c, size_t i, hone_chat_span *range, hone_error *err) {
    hone_buf before = hone_buf_make(RENDER_LIMIT), with = hone_buf_make(RENDER_LIMIT);
    hone_error ignored;
    /* A template may refuse a chat that does not begin with the user: then nothing is known to stand before. */
    bool known = render(c, i, true, &before, NULL, NULL, &ignored) == HONE_OK &&
                 begins_with(&c->text, &before);
    hone_status status = HONE_OK;
    if (i + 1 < json_array_size(c->messages))
        status = render(c, i + 1, false, &with, NULL, NULL, err);
    else
        status = hone_buf_append(&with, c->text.data, c->text.size, err);
    if (status == HONE_OK) {
        size_t from = known ? before.size : 0;
        if (known && begins_with(&c->text, &with) && with.size >= from)
            *range = (hone_chat_span){from, with.size};
        else
            *range = find_content(c, json_array_get(c->messages, i), &with, from);
    }
    hone_buf_free(&before);
    hone_buf_free(&with);
    return status;
}

static hone_status learn_turns(const chat *c, hone_example *out, hone_error *err) {
    for (size_t i = 0; i < json_array_size(c->messages); i++) {
        const json_t *role = json_object_get(json_array_get(c->messages, i), "role");
        if (strcmp(json_string_value(role), "assistant") != 0) continue;
        hone_chat_span range;
        HONE_TRY(find_turn(c, i, &range, err));
        if (range.begin < range.end)
            HONE_TRY(learn_range(c->model, out, c->text.data, c->text.size, range, false, err));
    }
    return HONE_OK;
}

static hone_status make_chat(const hone_model *model, const json_t *messages, const json_t *tools,
                             bool mask_prompt, hone_example *out, hone_error *err) {
    chat c = {.model = model, .messages = messages, .tools = tools};
    hone_chat_span *spans = NULL;
    size_t span_count = 0;
    hone_status status;
    HONE_TRY_GOTO(status, done,
                  render(&c, json_array_size(messages), false, &c.text, &spans, &span_count, err));
    HONE_TRY_GOTO(status, done,
                  encode(model, c.text.data, c.text.size, false, &out->ids, &out->count, err));
    HONE_TRY_GOTO(status, done, make_marks(out, !mask_prompt, err));
    if (!mask_prompt) goto done;
    for (size_t i = 0; i < span_count; i++)
        HONE_TRY_GOTO(status, done,
                      learn_range(model, out, c.text.data, c.text.size, spans[i], false, err));
    if (span_count == 0) status = learn_turns(&c, out, err);
done:
    free(spans);
    hone_buf_free(&c.text);
    return status;
}

/* ---- rows ---- */

static hone_status make_completion(const hone_model *model, const json_t *row, bool mask_prompt,
                                   hone_example *out, hone_error *err) {
    if (!model->chat) return make_plain_completion(model, row, mask_prompt, out, err);
    json_t *messages = json_pack("[{s:s, s:O}, {s:s, s:O}]", "role", "user", "content",
                                 json_object_get(row, "prompt"), "role", "assistant", "content",
                                 json_object_get(row, "completion"));
    if (!messages) return hone_fail_memory(err, "messages", 0);
    hone_status status = make_chat(model, messages, NULL, mask_prompt, out, err);
    json_decref(messages);
    return status;
}

static hone_status make(const hone_model *model, const json_t *row, hone_row_kind kind,
                        bool mask_prompt, hone_example *out, hone_error *err) {
    if (kind == HONE_ROW_COMPLETION) return make_completion(model, row, mask_prompt, out, err);
    if (kind == HONE_ROW_MESSAGES) {
        if (!model->chat)
            return hone_fail(err, HONE_ERR_UNSUPPORTED,
                             "the row has \"messages\", but the model has no chat template; give "
                             "\"prompt\" and \"completion\", or \"text\"");
        return make_chat(model, json_object_get(row, "messages"), json_object_get(row, "tools"),
                         mask_prompt, out, err);
    }
    if (mask_prompt)
        return hone_fail(err, HONE_ERR_USAGE,
                         "a row of \"text\" has no prompt that could be masked; train without "
                         "--mask-prompt, or give \"messages\"");
    const json_t *text = json_object_get(row, "text");
    return make_plain(model, json_string_value(text), json_string_length(text), 0, out, err);
}

hone_status hone_example_make(const hone_model *model, const json_t *row, hone_row_kind kind,
                              bool mask_prompt, hone_example *out, hone_error *err) {
    *out = (hone_example){0};
    hone_status status = make(model, row, kind, mask_prompt, out, err);
    if (status != HONE_OK) hone_example_free(out);
    return status;
}
