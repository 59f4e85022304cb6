/* tests of text/tokenizer_json: documents that must be refused, by what they say. */
#include "help.h"

typedef struct corrupt_case {
    const char *name, *json;
    hone_status status;
    const char *part; /* of the message */
} corrupt_case;

#define F HONE_ERR_FORMAT
#define U HONE_ERR_UNSUPPORTED
#define L HONE_ERR_LIMIT

#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}"
#define MODEL "\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[\"a b\"]}"
#define WITH(part) "{" MODEL "," part "}"
#define MERGES(list) "{\"model\":{" VOCAB ",\"merges\":" list "}}"
#define VOCABULARY(text) "{\"model\":{\"vocab\":" text ",\"merges\":[]}}"
#define OPTION(text) "{\"model\":{" VOCAB ",\"merges\":[]," text "}}"
#define ADDED(text) WITH("\"added_tokens\":[" text "]")
#define NORMALIZER(text) WITH("\"normalizer\":" text)
#define PRE(text) WITH("\"pre_tokenizer\":" text)
#define DECODER(text) WITH("\"decoder\":" text)
#define POST(text) WITH("\"post_processor\":" text)
#define TEMPLATE(single, special)                                                                  \
    POST("{\"type\":\"TemplateProcessing\",\"single\":" single ",\"special_tokens\":" special "}")
#define SPLIT(pattern) PRE("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern "\"}}")

static const corrupt_case cases[] = {
    {"empty file", "", F, "tokenizer.json"},
    {"not JSON", "hello", F, "line 1"},
    {"cut off", "{\"model\":{\"vocab\":{\"a\":0", F, "expected well-formed JSON"},
    {"an array", "[]", F, "expected an object"},
    {"no model", "{}", F, "\"model\": expected an object"},
    {"model is a string", "{\"model\":\"BPE\"}", F, "\"model\": expected an object"},
    {"model is Unigram", "{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", U, "\"Unigram\""},
    {"model is WordPiece", "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", U, "\"WordPiece\""},
    {"type is a number", "{\"model\":{\"type\":3}}", F, "\"type\""},
    {"no vocab", "{\"model\":{\"merges\":[]}}", F, "model.vocab"},
    {"vocab is an array", VOCABULARY("[]"), F, "model.vocab"},
    {"vocab is empty", VOCABULARY("{}"), F, "empty"},
    {"id is a string", VOCABULARY("{\"a\":\"0\"}"), F, "\"a\" is not an integer"},
    {"id is a float", VOCABULARY("{\"a\":0.5}"), F, "\"a\" is not an integer"},
    {"id is null", VOCABULARY("{\"a\":null}"), F, "\"a\" is not an integer"},
    {"id is negative", VOCABULARY("{\"<0x-1>\":-1}"), F, "\"<0x-1>\" has the id -1"},
    {"id out of proportion", VOCABULARY("{\"a\":0,\"b\":100000}"), F, "\"b\" has the id 100000"},
    {"id beyond 32 bits", VOCABULARY("{\"a\":4294967296}"), F, "has the id 4294967296"},
    {"id beyond 64 bits", VOCABULARY("{\"a\":99999999999999999999}"), F, "\"a\" is not an integer"},
    {"one id twice", VOCABULARY("{\"a\":1,\"b\":1}"), F, "have the same id 1"},
    {"one token twice", VOCABULARY("{\"a\":1,\"a\":2}"), F, "duplicate object key"},
    {"no merges", "{\"model\":{" VOCAB "}}", F, "model.merges"},
    {"merges is an object", MERGES("{}"), F, "model.merges"},
    {"merge is a number", MERGES("[1]"), F, "merge 0: expected an array of two tokens"},
    {"merge without space", MERGES("[\"ab\"]"), F, "merge 0 is \"ab\""},
    {"merge of three", MERGES("[\"a b ab\"]"), F, "merge 0 is \"a b ab\""},
    {"merge of one", MERGES("[[\"a\"]]"), F, "merge 0: expected an array of two tokens"},
    {"merge of numbers", MERGES("[[1,2]]"), F, "merge 0: expected an array of two tokens"},
    {"merge of strangers", MERGES("[[\"a\",\"x\"]]"), F, "\"x\", which is not in the vocabulary"},
    {"merge to a stranger", MERGES("[\"a b\",\"b a\"]"), F, "merge 1 needs the token \"ba\""},
    {"unknown unk_token", OPTION("\"unk_token\":\"<unk>\""), F, "unk_token \"<unk>\""},
    {"unk_token is a number", OPTION("\"unk_token\":1"), F, "unk_token"},
    {"byte_fallback is a string", OPTION("\"byte_fallback\":\"yes\""), F, "byte_fallback"},
    {"subword prefix", OPTION("\"continuing_subword_prefix\":\"##\""), U, "continuing_subword"},
    {"word suffix", OPTION("\"end_of_word_suffix\":\"</w>\""), U, "end_of_word_suffix"},
    {"dropout", OPTION("\"dropout\":0.1"), U, "dropout"},
    {"added_tokens is an object", WITH("\"added_tokens\":{}"), F, "added_tokens"},
    {"added token is a string", ADDED("\"<s>\""), F, "added_tokens"},
    {"added token without content", ADDED("{\"id\":3}"), F, "added_tokens"},
    {"added token without id", ADDED("{\"content\":\"<s>\"}"), F, "\"<s>\" is not an integer"},
    {"added token with a negative id", ADDED("{\"id\":-1,\"content\":\"<s>\"}"), F, "the id -1"},
    {"added token far away", ADDED("{\"id\":900000,\"content\":\"<s>\"}"), F, "the id 900000"},
    {"added token on another's id", ADDED("{\"id\":2,\"content\":\"<s>\"}"), F, "the same id 2"},
    {"added token with another id", ADDED("{\"id\":3,\"content\":\"a\"}"), F,
     "has the id 3, but 0 in the vocabulary"},
    {"added token's flag is a number", ADDED("{\"id\":3,\"content\":\"x\",\"special\":1}"), F,
     "special"},
    {"normalizer is a string", NORMALIZER("\"NFC\""), F, "normalizers"},
    {"normalizer without type", NORMALIZER("{}"), U, "normalizer \"\""},
    {"unknown normalizer", NORMALIZER("{\"type\":\"Nmt\"}"), U, "normalizer \"Nmt\""},
    {"precompiled normalizer", NORMALIZER("{\"type\":\"Precompiled\"}"), U, "\"Precompiled\""},
    {"sequence without list", NORMALIZER("{\"type\":\"Sequence\"}"), F, "normalizers"},
    {"unknown one in a sequence",
     NORMALIZER("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"X\"}]}"), U,
     "normalizer \"X\""},
    {"prepend is a number", NORMALIZER("{\"type\":\"Prepend\",\"prepend\":1}"), F, "prepend"},
    {"replace without pattern", NORMALIZER("{\"type\":\"Replace\",\"content\":\"\"}"), F,
     "pattern"},
    {"replace of nothing",
     NORMALIZER("{\"type\":\"Replace\",\"content\":\"x\",\"pattern\":{\"String\":\"\"}}"), F,
     "pattern"},
    {"unknown pre-tokenizer", PRE("{\"type\":\"UnicodeScripts\"}"), U, "\"UnicodeScripts\""},
    {"unknown behavior", PRE("{\"type\":\"Punctuation\",\"behavior\":\"Merged\"}"), F, "behavior"},
    {"metaspace of two characters", PRE("{\"type\":\"Metaspace\",\"replacement\":\"__\"}"), F,
     "one character"},
    {"unknown prepend scheme",
     PRE("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"x\"}"), F,
     "prepend_scheme"},
    {"pattern that does not compile", SPLIT("a("), U, "pattern \"a(\""},
    {"pattern with an intersection", SPLIT("[a&&b]"), U, "intersection"},
    {"pattern with nested classes", SPLIT("[a[bc]]"), U, "a class inside a class"},
    {"pattern with a counted plus", SPLIT("a{1,2}+"), U, "counted repeat"},
    {"pattern with the flag m", SPLIT("(?m:.)"), U, "the flag m"},
    {"pattern that is too large", SPLIT("((a{999}){999}){999}"), U, "too large"},
    {"unknown decoder", DECODER("{\"type\":\"WordPiece\"}"), U, "decoder \"WordPiece\""},
    {"strip of two characters", DECODER("{\"type\":\"Strip\",\"content\":\"ab\"}"), F,
     "one character"},
    {"strip of a negative count", DECODER("{\"type\":\"Strip\",\"content\":\"a\",\"start\":-1}"), F,
     "start"},
    {"unknown post-processor", POST("{\"type\":\"BertProcessing\"}"), U, "\"BertProcessing\""},
    {"template without single", POST("{\"type\":\"TemplateProcessing\"}"), F, "single"},
    {"template without sequence", TEMPLATE("[]", "{}"), F, "a Sequence A"},
    {"template of a pair", TEMPLATE("[{\"Sequence\":{\"id\":\"B\"}}]", "{}"), F, "Sequence A"},
    {"template twice",
     TEMPLATE("[{\"Sequence\":{\"id\":\"A\"}},{\"Sequence\":{\"id\":\"A\"}}]", "{}"), F,
     "one Sequence A"},
    {"template of a stranger",
     TEMPLATE("[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}]", "{}"), F,
     "special_tokens"},
    {"template id out of range",
     TEMPLATE("[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}]",
              "{\"<s>\":{\"ids\":[3]}}"),
     F, "token ids of the vocabulary"},
    {"template id negative",
     TEMPLATE("[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}]",
              "{\"<s>\":{\"ids\":[-1]}}"),
     F, "token ids of the vocabulary"},
};

static void refused(void **state) {
    const corrupt_case *c = *state;
    hone_tokenizer *t;
    hone_error err = {0};
    double begin = cpu_seconds();
    hone_status status = open_text(c->json, NULL, &t, &err);
    assert_true(cpu_seconds() - begin < SLOWER);
    assert_null(t);
    if (status != c->status) fail_msg("status %d, expected %d: %s", status, c->status, err.message);
    assert_int_equal(err.status, status);
    if (strstr(err.message, c->part) == NULL) fail_msg("no \"%s\" in: %s", c->part, err.message);
    if (strstr(err.message, "hone-test.") == NULL) fail_msg("no folder in: %s", err.message);
    assert_int_equal(open_text(c->json, NULL, &t, NULL), c->status);
}

/* `head`, `unit` so many times, `tail`. */
static char *repeated(const char *head, const char *unit, size_t count, const char *tail) {
    hone_buf text = hone_buf_make(SIZE_MAX);
    hone_error err;
    assert_ok(hone_buf_append_str(&text, head, &err), err);
    for (size_t i = 0; i < count; i++) assert_ok(hone_buf_append_str(&text, unit, &err), err);
    assert_ok(hone_buf_append_str(&text, tail, &err), err);
    return text.data;
}

static void nested_deep(void **state) {
    (void)state;
    static const struct {
        const char *head, *unit, *tail;
        size_t count;
        const char *part;
    } deep[] = {
        {"{\"model\":", "[", "", 100000, "line 1"},
        {"{" MODEL ",\"normalizer\":", "{\"type\":\"Sequence\",\"normalizers\":[", "", 100000,
         "line 1"},
        {"{" MODEL ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[",
         "{\"type\":\"NFC\"},", "{\"type\":\"NFC\"}]}}", 64, "more than 64 steps"},
    };
    for (size_t i = 0; i < sizeof deep / sizeof deep[0]; i++) {
        hone_tokenizer *t;
        hone_error err;
        char *json = repeated(deep[i].head, deep[i].unit, deep[i].count, deep[i].tail);
        double begin = cpu_seconds();
        assert_int_equal(open_text(json, NULL, &t, &err), L);
        assert_true(cpu_seconds() - begin < SLOWER);
        if (strstr(err.message, deep[i].part) == NULL) fail_msg("%s", err.message);
        free(json);
    }
}

static void sequences_nested(void **state) {
    (void)state;
    hone_tokenizer *t;
    hone_error err;
    char *open = repeated("", "{\"type\":\"Sequence\",\"decoders\":[", 20, "");
    char *shut = repeated(open, "]}", 20, "");
    char *json = malloc(strlen(shut) + 256);
    sprintf(json, "{" MODEL ",\"decoder\":%s}", shut);
    assert_int_equal(open_text(json, NULL, &t, &err), L);
    assert_non_null(strstr(err.message, "nested deeper than 16"));
    free(open);
    free(shut);
    free(json);
}

static void no_folder(void **state) {
    (void)state;
    hone_tokenizer *t;
    hone_error err;
    assert_int_equal(hone_tokenizer_open_folder("/nonexistent/folder", &t, &err), HONE_ERR_IO);
    assert_null(t);
    assert_non_null(strstr(err.message, "/nonexistent/folder/tokenizer.json"));
}

static void corrupt_config(void **state) {
    (void)state;
    static const char *const configs[] = {"",
                                          "[]",
                                          "{\"bos_token\":3}",
                                          "{\"chat_template\":{}}",
                                          "{\"chat_template\":3}",
                                          "{\"eos_token\":[]}"};
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        hone_tokenizer *t;
        hone_error err;
        assert_int_equal(open_text("{" MODEL "}", configs[i], &t, &err), F);
        assert_null(t);
        if (strstr(err.message, "tokenizer_config.json") == NULL) fail_msg("%s", err.message);
    }
}

int main(void) {
    enum { COUNT = sizeof cases / sizeof cases[0] };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(nested_deep), cmocka_unit_test(sequences_nested),
        cmocka_unit_test(no_folder), cmocka_unit_test(corrupt_config)};
    struct CMUnitTest tests[COUNT + sizeof others / sizeof others[0]];
    for (size_t i = 0; i < COUNT; i++) {
        tests[i] = (struct CMUnitTest){.name = cases[i].name,
                                       .test_func = refused,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    }
    memcpy(tests + COUNT, others, sizeof others);
    return cmocka_run_group_tests_name("text/corrupt_json", tests, NULL, NULL);
}
