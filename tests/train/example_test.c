/* tests of train/example: tokens of the three kinds of rows, and which of them are learnt. */
#define _GNU_SOURCE 1
#include "help.h"

#include "train/example.h"

#include <jansson.h>

/* Turns begin with <s> and end with </s>, which are tokens of their own. */
#define PLAIN                                                                                      \
    "{% for m in messages %}{{ '<s>' + m.role + ': ' + m.content + '</s>' }}{% endfor %}"          \
    "{% if add_generation_prompt %}{{ '<s>assistant: ' }}{% endif %}"
#define MARKED                                                                                     \
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<s>assistant: ' }}{% generation "    \
    "%}{{ m.content + '</s>' }}"                                                                   \
    "{% endgeneration %}{% else %}{{ '<s>' + m.role + ': ' + m.content + '</s>' }}{% endif %}{% "  \
    "endfor %}"
/* The last turn is written otherwise than the earlier ones. */
#define LAST_DIFFERS                                                                               \
    "{% for m in messages %}{{ '<s>' + m.role + ': ' }}{% if loop.last %}{{ '(now) ' }}{% endif "  \
    "%}"                                                                                           \
    "{{ m.content + '</s>' }}{% endfor %}{% if add_generation_prompt %}{{ '<s>assistant: ' }}{% "  \
    "endif %}"
/* Refuses chats that do not begin with the user. */
#define STRICT                                                                                     \
    "{% if not messages or messages[0].role != 'user' %}{{ raise_exception('user first') }}{% "    \
    "endif %}" PLAIN

static void make(const hone_model *model, const char *source, bool mask, hone_example *out) {
    hone_error err;
    json_t *row = json_loads(source, 0, NULL);
    hone_row_kind kind = json_object_get(row, "messages") ? HONE_ROW_MESSAGES
                         : json_object_get(row, "prompt") ? HONE_ROW_COMPLETION
                                                          : HONE_ROW_TEXT;
    assert_ok(hone_example_make(model, row, kind, mask, out, &err), err);
    json_decref(row);
}

static void expect_tokens(const hone_model *model, const hone_example *e, const char *text,
                          bool special, bool eos) {
    hone_error err;
    int32_t *ids;
    size_t count;
    assert_ok(hone_tokenize(model, text, strlen(text), special, &ids, &count, &err), err);
    assert_int_equal(e->count, count + eos);
    assert_memory_equal(e->ids, ids, count * sizeof *ids);
    if (eos) assert_int_equal(e->ids[count], TINY_EOS);
    hone_free(ids);
}

/* Learnt tokens, each run of them decoded and put between brackets. */
static void expect_learnt(const hone_model *model, const hone_example *e, const char *want) {
    hone_error err;
    char got[512] = "";
    for (size_t i = 0; i < e->count; i++) {
        if (!e->learnt[i]) continue;
        size_t end = i, size;
        char *text;
        while (end < e->count && e->learnt[end]) end++;
        assert_ok(hone_detokenize(model, e->ids + i, end - i, false, &text, &size, &err), err);
        snprintf(got + strlen(got), sizeof got - strlen(got), "[%s]", text);
        hone_free(text);
        i = end;
    }
    assert_string_equal(got, want);
}

static void text_ends_with_the_end_token(void **state) {
    (void)state;
    hone_example e;
    hone_model *model = open_tiny(TINY, 1);
    make(model, "{\"text\": \"a thing to say\"}", false, &e);
    assert_int_equal(e.ids[0], TINY_BOS);
    expect_tokens(model, &e, "a thing to say", true, true);
    assert_int_equal(hone_example_labels(&e), e.count - 1);
    assert_false(hone_example_cut(&e, e.count));
    assert_true(hone_example_cut(&e, 3));
    assert_int_equal(hone_example_labels(&e), 2);
    hone_example_free(&e);
    make(model, "{\"text\": \"it says so itself</s>\"}", false, &e);
    expect_tokens(model, &e, "it says so itself</s>", true, false);
    hone_example_free(&e);
    make(model, "{\"text\": \"\"}", false, &e);
    assert_int_equal(e.count, 2);
    hone_example_free(&e);
    hone_model_free(&model);
}

static void text_cannot_be_masked(void **state) {
    (void)state;
    hone_error err;
    hone_example e;
    hone_model *model = open_tiny(TINY, 1);
    json_t *row = json_loads("{\"text\": \"a\"}", 0, NULL);
    assert_int_equal(hone_example_make(model, row, HONE_ROW_TEXT, true, &e, &err), HONE_ERR_USAGE);
    assert_non_null(strstr(err.message, "--mask-prompt"));
    json_decref(row);
    row = json_loads("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", 0, NULL);
    assert_int_equal(hone_example_make(model, row, HONE_ROW_MESSAGES, false, &e, &err),
                     HONE_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "no chat template"));
    json_decref(row);
    hone_model_free(&model);
}

static void a_completion_without_a_template_is_plain_text(void **state) {
    (void)state;
    static const char row[] = "{\"prompt\": \"Question: why?\", \"completion\": \" Because.\"}";
    hone_example e;
    hone_model *model = open_tiny(TINY, 1);
    make(model, row, false, &e);
    expect_tokens(model, &e, "Question: why? Because.", true, true);
    expect_learnt(model, &e, "[<s> Question: why? Because.</s>]");
    hone_example_free(&e);
    make(model, row, true, &e);
    expect_tokens(model, &e, "Question: why? Because.", true, true);
    assert_false(e.learnt[0]);
    expect_learnt(model, &e, "[Because.</s>]");
    hone_example_free(&e);
    make(model, "{\"prompt\": \"p\", \"completion\": \"\"}", true, &e);
    expect_learnt(model, &e, "[</s>]");
    hone_example_free(&e);
    hone_model_free(&model);
}

static const char chat[] = "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"},"
                           "{\"role\": \"user\", \"content\": \"one\"}, {\"role\": \"assistant\", "
                           "\"content\": \"first answer\"},"
                           "{\"role\": \"user\", \"content\": \"two\"}, {\"role\": \"assistant\", "
                           "\"content\": \"second one\"}]}";
static const char rendered[] =
    "<s>system: Be brief.</s><s>user: one</s><s>assistant: first answer</s>"
    "<s>user: two</s><s>assistant: second one</s>";

static void every_turn_of_the_assistant_is_learnt(void **state) {
    (void)state;
    const char *const templates[] = {PLAIN, MARKED};
    for (int t = 0; t < 2; t++) {
        hone_example e;
        folder f;
        make_folder(&f);
        hone_model *model = open_tiny_chat(&f, templates[t]);
        make(model, chat, false, &e);
        expect_tokens(model, &e, rendered, false, false);
        assert_int_equal(hone_example_labels(&e), e.count - 1);
        hone_example_free(&e);
        make(model, chat, true, &e);
        expect_tokens(model, &e, rendered, false, false);
        expect_learnt(model, &e, "[first answer</s>][second one</s>]");
        hone_example_free(&e);
        hone_model_free(&model);
        remove_folder(&f);
    }
}

static void a_completion_with_a_template_is_a_chat(void **state) {
    (void)state;
    hone_example e;
    folder f;
    make_folder(&f);
    hone_model *model = open_tiny_chat(&f, STRICT);
    make(model, "{\"prompt\": \"one\", \"completion\": \"an answer\"}", true, &e);
    expect_tokens(model, &e, "<s>user: one</s><s>assistant: an answer</s>", false, false);
    expect_learnt(model, &e,
                  "[: an answer</s>]"); /* ": an" is one token: it holds some of the answer */
    hone_example_free(&e);
    hone_model_free(&model);
    remove_folder(&f);
}

static void turns_that_change_when_more_follows_are_found_by_their_content(void **state) {
    (void)state;
    hone_example e;
    folder f;
    make_folder(&f);
    hone_model *model = open_tiny_chat(&f, LAST_DIFFERS);
    make(model, chat, true, &e);
    expect_learnt(model, &e, "[first answer</s>][second one</s>]");
    hone_example_free(&e);
    hone_model_free(&model);
    remove_folder(&f);
}

static void a_chat_that_the_assistant_opens_is_learnt_too(void **state) {
    (void)state;
    hone_example e;
    folder f;
    make_folder(&f);
    hone_model *model = open_tiny_chat(&f, PLAIN);
    make(model,
         "{\"messages\": [{\"role\": \"assistant\", \"content\": \"hello\"}, {\"role\": \"user\", "
         "\"content\": \"hi\"}]}",
         true, &e);
    expect_learnt(model, &e, "[hello</s>]");
    hone_example_free(&e);
    make(model, "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}", true, &e);
    assert_int_equal(hone_example_labels(&e), 0);
    hone_example_free(&e);
    hone_model_free(&model);
    remove_folder(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_ends_with_the_end_token),
        cmocka_unit_test(text_cannot_be_masked),
        cmocka_unit_test(a_completion_without_a_template_is_plain_text),
        cmocka_unit_test(every_turn_of_the_assistant_is_learnt),
        cmocka_unit_test(a_completion_with_a_template_is_a_chat),
        cmocka_unit_test(turns_that_change_when_more_follows_are_found_by_their_content),
        cmocka_unit_test(a_chat_that_the_assistant_opens_is_learnt_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
