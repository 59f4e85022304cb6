/* tests of text/tokenizer: golden ids and texts of Hugging Face tokenizers and SentencePiece, for
 * every component and for the real model; long inputs; what is looked up. */
#include "help.h"

#include "text/unicode.h"

static void golden_folder(void **state) {
    char name[128];
    snprintf(name, sizeof name, "tokenizers/%s", (const char *)*state);
    hone_tokenizer *t = open_golden_folder(name);
    snprintf(name, sizeof name, "tokenizers/%s/cases.json", (const char *)*state);
    json_t *golden = golden_json(name);
    assert_token_cases(t, json_object_get(golden, "tokens"));
    const json_t *lists = json_object_get(golden, "decode");
    for (size_t i = 0; i < json_array_size(lists); i++) {
        const json_t *c = json_array_get(lists, i);
        assert_decodes(t, json_object_get(c, "ids"), false, json_object_get(c, "decoded"));
        assert_decodes(t, json_object_get(c, "ids"), true, json_object_get(c, "without_special"));
    }
    json_decref(golden);
    hone_tokenizer_free(&t);
    assert_null(t);
}

static void golden_architecture(void **state) {
    char name[128];
    snprintf(name, sizeof name, "archs/%s", (const char *)*state);
    hone_tokenizer *t = open_golden_folder(name);
    snprintf(name, sizeof name, "archs/%s/figures.json", (const char *)*state);
    json_t *golden = golden_json(name);
    assert_token_cases(t, json_object_get(golden, "tokens"));
    json_decref(golden);
    hone_tokenizer_free(&t);
}

static void sentencepiece_in_gguf(void **state) {
    (void)state;
    hone_tokenizer *t = open_gguf(HONE_GOLDEN_DIR "/tokenizers/sentencepiece/model.gguf");
    json_t *golden = golden_json("tokenizers/sentencepiece/cases.json");
    assert_token_cases(t, json_object_get(golden, "tokens"));
    json_decref(golden);
    assert_int_equal(hone_tokenizer_vocab(t), 700);
    assert_int_equal(hone_tokenizer_bos(t), 1);
    assert_int_equal(hone_tokenizer_eos(t), 2);
    assert_int_equal(hone_tokenizer_pad(t), -1);
    assert_true(hone_tokenizer_is_special(t, 1));
    assert_false(hone_tokenizer_is_special(t, hone_tokenizer_id_of(t, "<|user|>")));
    /* A user-defined token in the text, and a space in front of what follows it, as llama.cpp
     * does. */
    int32_t *ids, *plain;
    size_t count, plain_count;
    hone_error err;
    assert_ok(hone_tokenizer_encode(t, "<|user|>the", 11, false, &ids, &count, &err), err);
    assert_ok(hone_tokenizer_encode(t, "the", 3, false, &plain, &plain_count, &err), err);
    assert_int_equal(count, plain_count + 1);
    assert_int_equal(ids[0], hone_tokenizer_id_of(t, "<|user|>"));
    assert_memory_equal(ids + 1, plain, plain_count * sizeof *plain);
    free(ids);
    free(plain);
    hone_tokenizer_free(&t);
}

static void real_model(void **state) {
    (void)state;
    char *path = real_model_path();
    if (path == NULL) skip();
    hone_tokenizer *t = open_gguf(path);
    json_t *golden = golden_json("smollm2-tokens.json");
    assert_int_equal(json_array_size(json_object_get(golden, "strings")), 259);
    assert_token_cases(t, json_object_get(golden, "strings"));
    json_decref(golden);
    assert_int_equal(hone_tokenizer_vocab(t), 49152);
    assert_int_equal(hone_tokenizer_bos(t), 1);
    assert_int_equal(hone_tokenizer_eos(t), 2);
    assert_int_equal(hone_tokenizer_pad(t), 2);
    assert_int_equal(hone_tokenizer_id_of(t, "<|im_start|>"), 1);
    assert_int_equal(hone_tokenizer_id_of(t, "no such token"), -1);
    assert_non_null(strstr(hone_tokenizer_chat_template(t), "<|im_start|>"));
    hone_tokenizer_free(&t);
    free(path);
}

/* The tokenizer beside one .safetensors file, and of a folder opened as a set. */
static void beside_weights(void **state) {
    (void)state;
    static const char *const paths[] = {HONE_GOLDEN_DIR "/archs/llama/model.safetensors",
                                        HONE_GOLDEN_DIR "/archs/llama"};
    for (int i = 0; i < 2; i++) {
        hone_tokenizer *t = open_gguf(paths[i]);
        assert_int_equal(hone_tokenizer_vocab(t), 512);
        assert_int_equal(hone_tokenizer_eos(t), 2);
        assert_null(hone_tokenizer_chat_template(t));
        hone_tokenizer_free(&t);
    }
}

/* A quadratic merge of a million characters would take hours. */
static void a_million(void **state) {
    hone_tokenizer *t;
    bool gguf = strcmp(*state, "sentencepiece") == 0;
    char name[128];
    snprintf(name, sizeof name, "tokenizers/%s", (const char *)*state);
    t = gguf ? open_gguf(HONE_GOLDEN_DIR "/tokenizers/sentencepiece/model.gguf")
             : open_golden_folder(name);
    static const char *const units[] = {
        "a", "ab", " ", "\n", "e\xcc\xa3\xcc\x81", "\xcc\x81\xcc\xa3", "\xff"};
    const size_t size = 1000000;
    char *text = malloc(size + 8);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t length = strlen(units[u]), used = 0, count, back;
        for (; used < size; used += length) memcpy(text + used, units[u], length);
        int32_t *ids;
        char *again;
        hone_error err;
        double begin = cpu_seconds();
        assert_ok(hone_tokenizer_encode(t, text, used, false, &ids, &count, &err), err);
        assert_ok(hone_tokenizer_decode(t, ids, count, false, &again, &back, &err), err);
        if (cpu_seconds() - begin > 20.0 * SLOWER) fail_msg("unit %zu takes too long", u);
        if (u < 2) {
            assert_true(back >= used);
            assert_memory_equal(again + back - used, text, used);
        }
        free(ids);
        free(again);
    }
    free(text);
    hone_tokenizer_free(&t);
}

/* Rust's from_utf8_lossy: one U+FFFD for each maximal ill-formed part. */
static void ill_formed_text(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"\xe2\x82", "\xef\xbf\xbd"},
        {"\xe2\x28\xa1", "\xef\xbf\xbd(\xef\xbf\xbd"},
        {"\xf0\x9f\x92z", "\xef\xbf\xbdz"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf5\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    hone_tokenizer *t = open_golden_folder("tokenizers/llama3");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_error err;
        int32_t *ids;
        size_t count, size;
        char *text;
        assert_ok(hone_tokenizer_encode(t, cases[i].bytes, strlen(cases[i].bytes), false, &ids,
                                        &count, &err),
                  err);
        assert_ok(hone_tokenizer_decode(t, ids, count, false, &text, &size, &err), err);
        assert_string_equal(text, cases[i].text);
        free(ids);
        free(text);
    }
    hone_tokenizer_free(&t);
}

static void ids_out_of_range(void **state) {
    (void)state;
    hone_tokenizer *t = open_golden_folder("archs/llama");
    const int32_t bad[] = {-1, 512, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const int32_t ids[2] = {5, bad[i]};
        hone_error err;
        char *text;
        size_t size;
        assert_int_equal(hone_tokenizer_decode(t, ids, 2, false, &text, &size, &err),
                         HONE_ERR_USAGE);
        assert_null(text);
        assert_non_null(strstr(err.message, "position 1: expected 0 to 511"));
        assert_false(hone_tokenizer_is_special(t, bad[i]));
    }
    hone_tokenizer_free(&t);
}

#define TINY(added)                                                                                \
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]},"     \
    "\"added_tokens\":[" added "]}"
#define SPECIAL(id, text)                                                                          \
    "{\"id\":" #id ",\"content\":\"" text "\",\"special\":true,\"normalized\":false}"

/* What looks like a byte token and is none stays text; "+F" is a number to Rust, "-1" is no byte.
 */
static void odd_byte_tokens(void **state) {
    (void)state;
    hone_tokenizer *t;
    hone_error err;
    assert_ok(
        open_text("{\"model\":{\"vocab\":{\"<0x-1>\":0,\"<0x+F>\":1,\"<0xG0>\":2,\"<0x41>\":3,"
                  "\"<0xc3>\":4,\"<0xA9>\":5,\"x\":6},\"merges\":[],\"byte_fallback\":true},"
                  "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":"
                  "\"ByteFallback\"},{\"type\":\"Fuse\"}]}}",
                  NULL, &t, &err),
        err);
    static const struct {
        int32_t ids[4];
        size_t count;
        const char *text;
    } cases[] = {{{0, 6}, 2, "<0x-1>x"},
                 {{1, 2}, 2, "\x0f<0xG0>"},
                 {{3, 4, 5, 3},
                  4,
                  "A\xc3\xa9"
                  "A"},
                 {{3, 4, 6}, 3, "\xef\xbf\xbd\xef\xbf\xbdx"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text;
        size_t size;
        assert_ok(hone_tokenizer_decode(t, cases[i].ids, cases[i].count, false, &text, &size, &err),
                  err);
        assert_string_equal(text, cases[i].text);
        free(text);
    }
    int32_t *ids;
    size_t count;
    assert_ok(hone_tokenizer_encode(t, "Ax\xc3\xa9", 4, false, &ids, &count, &err), err);
    assert_int_equal(count, 2); /* no token for the byte C3: "<0xc3>" is spelled otherwise */
    assert_int_equal(ids[0], 3);
    assert_int_equal(ids[1], 6);
    free(ids);
    hone_tokenizer_free(&t);
}

static void special_tokens_of_config(void **state) {
    (void)state;
    hone_tokenizer *t;
    hone_error err;
    const char *config = "{\"bos_token\":{\"content\":\"<s>\"},\"eos_token\":\"</s>\","
                         "\"pad_token\":null,\"chat_template\":\"{{ 1 }}\"}";
    assert_ok(open_text(TINY(SPECIAL(3, "<s>") "," SPECIAL(9, "</s>")), config, &t, &err), err);
    assert_int_equal(hone_tokenizer_vocab(t), 10); /* a gap: ids 4 to 8 have no token */
    assert_int_equal(hone_tokenizer_bos(t), 3);
    assert_int_equal(hone_tokenizer_eos(t), 9);
    assert_int_equal(hone_tokenizer_pad(t), -1);
    assert_true(hone_tokenizer_is_special(t, 9));
    assert_false(hone_tokenizer_is_special(t, 2));
    assert_string_equal(hone_tokenizer_chat_template(t), "{{ 1 }}");
    const int32_t gap[] = {2, 5, 9};
    char *text;
    size_t size;
    assert_ok(hone_tokenizer_decode(t, gap, 3, false, &text, &size, &err), err);
    assert_string_equal(text, "ab </s>");
    free(text);
    assert_ok(hone_tokenizer_decode(t, gap, 3, true, &text, &size, &err), err);
    assert_string_equal(text, "ab");
    free(text);
    hone_tokenizer_free(&t);
}

static void templates_of_config(void **state) {
    (void)state;
    static const struct {
        const char *config, *wanted;
    } cases[] = {
        {"{}", NULL},
        {"{\"chat_template\":null}", NULL},
        {"{\"chat_template\":[]}", NULL},
        {"{\"chat_template\":[{\"name\":\"rag\",\"template\":\"r\"},"
         "{\"name\":\"default\",\"template\":\"d\"}]}",
         "d"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hone_tokenizer *t;
        hone_error err;
        assert_ok(open_text(TINY(""), cases[i].config, &t, &err), err);
        const char *template_source = hone_tokenizer_chat_template(t);
        if (cases[i].wanted == NULL) {
            assert_null(template_source);
        } else {
            assert_string_equal(template_source, cases[i].wanted);
        }
        hone_tokenizer_free(&t);
    }
}

/* chat_template.jinja goes before what tokenizer_config.json says. */
static void template_file(void **state) {
    (void)state;
    temp_folder folder = temp_make();
    static const char *const files[][2] = {{"tokenizer.json", TINY("")},
                                           {"tokenizer_config.json", "{\"chat_template\":\"old\"}"},
                                           {"chat_template.jinja", "new"}};
    for (int i = 0; i < 3; i++) {
        char *path = temp_path(&folder, files[i][0]);
        temp_write(path, files[i][1], strlen(files[i][1]));
        free(path);
    }
    hone_tokenizer *t;
    hone_error err;
    assert_ok(hone_tokenizer_open_folder(folder.path, &t, &err), err);
    assert_string_equal(hone_tokenizer_chat_template(t), "new");
    hone_tokenizer_free(&t);
    temp_remove(&folder);
}

/* One pattern that backtracks without end, one that is slow at every place. */
static void slow_patterns(void **state) {
    (void)state;
    static const char *const patterns[] = {"(a|aa)+\\\\d", "(?:a?){18}b", "a*a*a*a*b"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        char json[512];
        snprintf(json, sizeof json,
                 "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":{\"type\":"
                 "\"Split\",\"pattern\":{\"Regex\":\"%s\"},\"behavior\":\"Isolated\"}}",
                 patterns[i]);
        hone_tokenizer *t;
        hone_error err;
        int32_t *ids;
        size_t count;
        char *text = malloc(20000);
        memset(text, 'a', 20000);
        assert_ok(open_text(json, NULL, &t, &err), err);
        double begin = cpu_seconds();
        hone_status status = hone_tokenizer_encode(t, text, 20000, false, &ids, &count, &err);
        double seconds = cpu_seconds() - begin;
        if (seconds > SLOWER) fail_msg("%s takes %.1f s", patterns[i], seconds);
        if (status != HONE_OK) assert_int_equal(status, HONE_ERR_LIMIT);
        if (status != HONE_OK) assert_non_null(strstr(err.message, "pattern"));
        if (i == 0) assert_int_equal(status, HONE_ERR_LIMIT);
        assert_true(status == HONE_OK || ids == NULL);
        free(ids);
        free(text);
        hone_tokenizer_free(&t);
    }
}

static const char *const folders[] = {
    "cased",
    "gpt2",
    "llama3",
    "lower",
    "marks",
    "metaspace_always_split",
    "metaspace_first_split",
    "metaspace_first_whole",
    "metaspace_never_split",
    "split_contiguous",
    "split_isolated",
    "split_merged_with_next",
    "split_merged_with_previous",
    "split_removed",
    "spm_nfkc",
    "spm_unfused",
    "undecoded",
    "word_regex",
    "words",
};
static const char *const architectures[] = {"llama", "llama3-rope", "qwen2", "qwen3", "phi3"};
static const char *const long_ones[] = {"gpt2", "cased", "spm_nfkc", "sentencepiece"};

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static size_t add(struct CMUnitTest *tests, size_t at, CMUnitTestFunction run,
                  const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        tests[at++] = (struct CMUnitTest){
            .name = names[i], .test_func = run, .initial_state = (void *)(uintptr_t)names[i]};
    }
    return at;
}

int main(void) {
    const struct CMUnitTest others[] = {
        cmocka_unit_test(sentencepiece_in_gguf), cmocka_unit_test(real_model),
        cmocka_unit_test(beside_weights),        cmocka_unit_test(ill_formed_text),
        cmocka_unit_test(ids_out_of_range),      cmocka_unit_test(special_tokens_of_config),
        cmocka_unit_test(templates_of_config),   cmocka_unit_test(template_file),
        cmocka_unit_test(slow_patterns),         cmocka_unit_test(odd_byte_tokens),
    };
    struct CMUnitTest
        tests[COUNT(folders) + COUNT(architectures) + COUNT(long_ones) + COUNT(others)];
    size_t at = add(tests, 0, golden_folder, folders, COUNT(folders));
    at = add(tests, at, golden_architecture, architectures, COUNT(architectures));
    at = add(tests, at, a_million, long_ones, COUNT(long_ones));
    memcpy(tests + at, others, sizeof others);
    return cmocka_run_group_tests_name("text/tokenizer", tests, NULL, NULL);
}
