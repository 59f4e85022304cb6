/* tests of text: every allocation fails in turn, once and from then on: opening a vocabulary,
 * encoding, decoding, parsing and rendering templates. No crash, no leak, and an error that says
 * so. tokenizer.json is opened beforehand: jansson's lexer asserts that it has memory. */
#include "fault.h"
#include "help.h"

#include "text/chat.h"

#ifndef FAULT_POSSIBLE

int main(void) { return without_faults(); }

#else

static hone_tokenizer *tokenizer; /* of the test that runs */
static const json_t *variables;

static hone_status use(const char *text, hone_error *err) {
    int32_t *ids;
    size_t count, size;
    char *again;
    HONE_TRY(hone_tokenizer_encode(tokenizer, text, strlen(text), true, &ids, &count, err));
    hone_status status = hone_tokenizer_decode(tokenizer, ids, count, false, &again, &size, err);
    free(ids);
    free(again);
    return status;
}

static void tokenizers_survive(void **state) {
    (void)state;
    static const char *const names[] = {"lower", "marks", "metaspace_first_split", "spm_nfkc",
                                        "split_contiguous"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "tokenizers/%s", names[i]);
        tokenizer = open_golden_folder(name);
        fail_in_turn(
            use, "Some W\xc3\xb6rds e\xcc\x81\xcc\xa3 <mask> 123 x\xff <think> \xe6\x97\xa5 y", 10);
        hone_tokenizer_free(&tokenizer);
    }
}

static hone_status open_vocabulary(const char *path, hone_error *err) {
    hone_file_set *set;
    hone_tokenizer *t;
    HONE_TRY(hone_file_set_open(path, &set, err));
    hone_status status = hone_tokenizer_open(set, &t, err);
    hone_tokenizer_free(&t);
    hone_file_set_free(&set);
    return status;
}

static void gguf_survives(void **state) {
    (void)state;
    fail_in_turn(open_vocabulary, HONE_GOLDEN_DIR "/tokenizers/sentencepiece/model.gguf", 10);
}

static hone_status chat_once(const char *source, hone_error *err) {
    hone_chat_template *chat;
    hone_chat_span *spans;
    size_t count;
    hone_buf text = hone_buf_make(SIZE_MAX);
    HONE_TRY(hone_chat_template_parse(source, strlen(source), "t", &chat, err));
    hone_status status = hone_chat_template_render(chat, variables, &text, &spans, &count, err);
    free(spans);
    hone_buf_free(&text);
    hone_chat_template_free(&chat);
    return status;
}

/* All golden templates that render, one after the other. */
static void templates_survive(void **state) {
    (void)state;
    json_t *golden = golden_json("jinja-cases.json");
    const json_t *cases = json_object_get(golden, "cases");
    variables = json_object_get(golden, "variables");
    tzset(); /* the C library reads the time zone once and keeps it */
    (void)localtime(&(time_t){0});
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        if (json_object_get(c, "text") == NULL) continue;
        fail_in_turn(chat_once, json_string_value(json_object_get(c, "template")), 2);
    }
    json_decref(golden);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenizers_survive),
        cmocka_unit_test(gguf_survives),
        cmocka_unit_test(templates_survive),
    };
    return cmocka_run_group_tests_name("text/memory", tests, NULL, NULL);
}

#endif
