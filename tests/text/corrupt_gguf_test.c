/* tests of text/tokenizer_gguf: vocabularies that must be refused, by what they say. */
#include "format/bytes.h"
#include "help.h"

typedef struct corrupt_case {
    const char *name;
    const char *script; /* see format/bytes.h */
    hone_status status;
    const char *part; /* of the message */
} corrupt_case;

#define F HONE_ERR_FORMAT
#define U HONE_ERR_UNSUPPORTED

/* A file with so many metadata entries; keys below "tokenizer.ggml.". */
#define HEAD(entries) "raw=GGUF u32=3 u64=0 u64=" #entries " "
#define KEY(name) "s=tokenizer.ggml." name " "
#define TEXT(name, value) KEY(name) "u32=8 s=" value " "
#define STRINGS(name, count, values) KEY(name) "u32=9 u32=8 u64=" #count " " values " "
#define FLOATS(name, count, values) KEY(name) "u32=9 u32=6 u64=" #count " " values " "
#define INTS(name, count, values) KEY(name) "u32=9 u32=5 u64=" #count " " values " "
#define UINT(name, value) KEY(name) "u32=4 u32=" #value " "
#define INT(name, value) KEY(name) "u32=5 u32=" #value " "

#define GPT2 TEXT("model", "gpt2") TEXT("pre", "gpt-2")
#define LLAMA TEXT("model", "llama")
#define TOKENS STRINGS("tokens", 3, "s=a s=b s=ab")
#define MERGES STRINGS("merges", 1, "s=a%20b")
#define SCORES FLOATS("scores", 3, "f32=0 f32=0 f32=-1")

static const corrupt_case cases[] = {
    {"no tokenizer", HEAD(0), F, "tokenizer.ggml.model is missing"},
    {"kind t5", HEAD(1) TEXT("model", "t5"), U, "\"t5\"; supported are gpt2 and llama"},
    {"kind is a number", HEAD(1) UINT("model", 1), F, "tokenizer.ggml.model"},
    {"unknown pre", HEAD(4) TEXT("model", "gpt2") TEXT("pre", "chameleon") TOKENS MERGES, U,
     "tokenizer.ggml.pre is \"chameleon\""},
    {"pre is a number", HEAD(4) TEXT("model", "gpt2") UINT("pre", 3) TOKENS MERGES, F,
     "tokenizer.ggml.pre"},
    {"no tokens", HEAD(3) GPT2 MERGES, F, "tokenizer.ggml.tokens is missing"},
    {"tokens are empty", HEAD(4) GPT2 KEY("tokens") "u32=9 u32=8 u64=0 " MERGES, F,
     "tokenizer.ggml.tokens is missing or empty"},
    {"tokens are numbers", HEAD(4) GPT2 INTS("tokens", 1, "u32=1") MERGES, F,
     "tokenizer.ggml.tokens"},
    {"one token twice", HEAD(4) GPT2 STRINGS("tokens", 3, "s=a s=b s=a") MERGES, F,
     "the ids 0 and 2 have the same token \"a\""},
    {"no merges", HEAD(3) GPT2 TOKENS, F, "tokenizer.ggml.merges is missing"},
    {"merges are numbers", HEAD(4) GPT2 TOKENS INTS("merges", 1, "u32=1"), F,
     "tokenizer.ggml.merges"},
    {"merge without space", HEAD(4) GPT2 TOKENS STRINGS("merges", 1, "s=ab"), F,
     "tokenizer.ggml.merges, entry 0"},
    {"empty merge", HEAD(4) GPT2 TOKENS STRINGS("merges", 2, "s=a%20b s="), F, "entry 1"},
    {"merge with one side", HEAD(4) GPT2 TOKENS STRINGS("merges", 1, "s=a%20"), F, "entry 0"},
    {"merge of a stranger", HEAD(4) GPT2 TOKENS STRINGS("merges", 1, "s=a%20x"), F,
     "\"x\", which is not in the vocabulary"},
    {"merge to a stranger", HEAD(4) GPT2 TOKENS STRINGS("merges", 1, "s=b%20a"), F, "\"ba\""},
    {"too few types", HEAD(5) GPT2 TOKENS MERGES INTS("token_type", 2, "u32=1 u32=1"), F,
     "token_type has 2 entries, expected 3"},
    {"types are strings", HEAD(5) GPT2 TOKENS MERGES STRINGS("token_type", 1, "s=1"), F,
     "token_type"},
    {"bos out of range", HEAD(5) GPT2 TOKENS MERGES UINT("bos_token_id", 3), F,
     "bos_token_id is 3; expected a token id from 0 to 2"},
    {"eos negative", HEAD(5) GPT2 TOKENS MERGES INT("eos_token_id", 0xfffffffe), F,
     "eos_token_id is -2"},
    {"pad is a string", HEAD(5) GPT2 TOKENS MERGES TEXT("padding_token_id", "x"), F,
     "padding_token_id"},
    {"add_bos is a number", HEAD(5) GPT2 TOKENS MERGES UINT("add_bos_token", 1), F,
     "add_bos_token"},
    {"no scores", HEAD(2) LLAMA TOKENS, F, "tokenizer.ggml.scores is missing"},
    {"too few scores", HEAD(3) LLAMA TOKENS FLOATS("scores", 1, "f32=0"), F,
     "scores has 1 entries, expected 3"},
    {"score is NaN", HEAD(3) LLAMA TOKENS FLOATS("scores", 3, "f32=0 f32=nan f32=0"), F,
     "scores, entry 1 is not a finite number"},
    {"score is infinite", HEAD(3) LLAMA TOKENS FLOATS("scores", 3, "f32=-inf f32=0 f32=0"), F,
     "scores, entry 0"},
    {"scores are strings", HEAD(3) LLAMA TOKENS STRINGS("scores", 1, "s=x"), F,
     "tokenizer.ggml.scores"},
    {"unknown out of range", HEAD(4) LLAMA TOKENS SCORES UINT("unknown_token_id", 9), F,
     "unknown_token_id is 9"},
    {"template is a number", HEAD(5) GPT2 TOKENS MERGES "s=tokenizer.chat_template u32=4 u32=1", F,
     "tokenizer.chat_template"},
};

static hone_status open_script(const char *script, hone_tokenizer **out, hone_error *err) {
    temp_folder folder = temp_make();
    char *path = temp_path(&folder, "corrupt.gguf");
    hone_file_set *set;
    hone_error local;
    write_script(path, script);
    assert_ok(hone_file_set_open(path, &set, &local), local);
    hone_status status = hone_tokenizer_open(set, out, err);
    hone_file_set_free(&set);
    free(path);
    temp_remove(&folder);
    return status;
}

static void refused(void **state) {
    const corrupt_case *c = *state;
    hone_tokenizer *t;
    hone_error err = {0};
    hone_status status = open_script(c->script, &t, &err);
    assert_null(t);
    if (status != c->status) fail_msg("status %d, expected %d: %s", status, c->status, err.message);
    if (strstr(err.message, c->part) == NULL) fail_msg("no \"%s\" in: %s", c->part, err.message);
    if (strstr(err.message, "corrupt.gguf") == NULL) fail_msg("no file in: %s", err.message);
    assert_int_equal(open_script(c->script, &t, NULL), c->status);
}

/* Odd, but harmless: opened, and what cannot be meant has no effect. */
static void accepted(void **state) {
    (void)state;
    hone_tokenizer *t;
    hone_error err;
    int32_t *ids;
    size_t count;
    assert_ok(open_script(HEAD(6) GPT2 STRINGS("tokens", 5, "s=a s=b s=ab s= s=%ff%fe")
                              MERGES INTS("token_type", 5, "u32=1 u32=1 u32=99 u32=3 u32=3")
                                  UINT("bos_token_id", 0xffffffff),
                          &t, &err),
              err);
    assert_int_equal(hone_tokenizer_vocab(t), 5);
    assert_int_equal(hone_tokenizer_bos(t), -1);
    assert_true(hone_tokenizer_is_special(t, 3));
    assert_ok(hone_tokenizer_encode(t, "abba\xff\xfe", 6, true, &ids, &count, &err), err);
    assert_int_equal(count, 3); /* ab, b, a; U+FFFD has no byte symbols here */
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], 1);
    assert_int_equal(ids[2], 0);
    free(ids);
    hone_tokenizer_free(&t);
}

/* Every single flipped byte of a good vocabulary: refused or opened, and then usable. */
static void flipped_bytes(void **state) {
    (void)state;
    temp_folder folder = temp_make();
    char *path = temp_path(&folder, "flipped.gguf");
    hone_buf file = hone_buf_make(SIZE_MAX);
    put_script(&file, HEAD(6) LLAMA TOKENS SCORES INTS("token_type", 3, "u32=1 u32=1 u32=1")
                          UINT("bos_token_id", 1) UINT("eos_token_id", 2));
    for (size_t i = 24; i < file.size; i++) {
        hone_file_set *set;
        hone_tokenizer *t;
        file.data[i] ^= (char)(1 + i % 255);
        temp_write(path, file.data, file.size);
        file.data[i] ^= (char)(1 + i % 255);
        if (hone_file_set_open(path, &set, NULL) != HONE_OK) continue;
        if (hone_tokenizer_open(set, &t, NULL) == HONE_OK) {
            int32_t *ids;
            size_t count, size;
            char *text;
            hone_error err;
            assert_ok(hone_tokenizer_encode(t, "abab a", 6, true, &ids, &count, &err), err);
            assert_ok(hone_tokenizer_decode(t, ids, count, true, &text, &size, &err), err);
            free(ids);
            free(text);
            hone_tokenizer_free(&t);
        }
        hone_file_set_free(&set);
    }
    hone_buf_free(&file);
    free(path);
    temp_remove(&folder);
}

int main(void) {
    enum { COUNT = sizeof cases / sizeof cases[0] };
    struct CMUnitTest tests[COUNT + 2];
    for (size_t i = 0; i < COUNT; i++) {
        tests[i] = (struct CMUnitTest){.name = cases[i].name,
                                       .test_func = refused,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    }
    tests[COUNT] = (struct CMUnitTest)cmocka_unit_test(accepted);
    tests[COUNT + 1] = (struct CMUnitTest)cmocka_unit_test(flipped_bytes);
    return cmocka_run_group_tests_name("text/corrupt_gguf", tests, NULL, NULL);
}
