/* tests of format/safetensors and folders: files that must be refused, by name. */
#include "corrupt.h"

/* A file with this header and eight bytes of data. */
#define HEADER(text) "json=" text "\nzero=8"
#define ENTRY(name, dtype, shape, offsets)                                                         \
    "\"" name "\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(dtype, shape, offsets) HEADER("{" ENTRY("a", dtype, shape, offsets) "}")

#define F HONE_ERR_FORMAT
#define U HONE_ERR_UNSUPPORTED

static const corrupt_case cases[] = {
    {"seven bytes", "zero=7", F, "neither GGUF"},
    {"eight bytes", "u64=2", F, "neither GGUF"},
    {"a header of no bytes", "u64=0 raw={}", F, "byte 8: the header of a safetensors file"},
    {"a header that is an array", "json=[]\n", F, "neither GGUF"},
    {"a header behind a blank", "json= {}\n", F, "neither GGUF"},
    {"a header of 2^64 - 1 bytes", "u64=0xffffffffffffffff raw={}", F,
     "states a header of 18446744073709551615"},
    {"a header of 100,000,001 bytes", "u64=100000001 raw={}", F, "at most 100000000 are allowed"},
    {"a header past the end", "u64=3 raw={}", F, "states a header of 3 bytes, but only 2 follow"},
    {"a header cut off", "u64=1 raw={ zero=9", F, "byte 9: expected a string, got the end"},
    {"a header of another language", HEADER("{<html>}"), F, "byte 9: expected a string, got '<'"},
    {"text behind the header's object", HEADER("{} {}"), F,
     "byte 11: expected nothing more, got '{'"},
    {"no closing brace", HEADER("{\"__metadata__\":{}"), F, "expected '}'"},
    {"a comma before the closing brace", HEADER("{\"__metadata__\":{},}"), F,
     "expected a string, got '}'"},
    {"bad UTF-8 in a name", "u64=20 raw={\"%ff\":{}} rep=10:raw=%20 zero=8", F,
     "byte 10: bad UTF-8 in a string"},
    {"a control character in a name", "u64=20 raw={\"a%01\":{}} rep=9:raw=%20 zero=8", F,
     "byte 11: a control character"},
    {"half a surrogate pair in a name", HEADER("{\"\\ud800\":{}}"), F, "byte 10: a bad escape"},
    {"a low surrogate alone", HEADER("{\"\\udc00\":{}}"), F, "a bad escape"},
    {"an escaped NUL in a name", HEADER("{\"a\\u0000b\":{}}"), F, "byte 11: a NUL character"},
    {"an escape that is none", HEADER("{\"\\x41\":{}}"), F, "a bad escape"},
    {"a string without end", HEADER("{\"abc"), F, "byte 9: a string without end"},
    {"a tensor that is a number", HEADER("{\"a\":5}"), F, "byte 13: expected '{', got '5'"},
    {"a tensor that is empty", HEADER("{\"a\":{}}"), F, "expected a string, got '}'"},
    {"no dtype", HEADER("{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}"), F,
     "tensor \"a\" has no dtype"},
    {"no shape", HEADER("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}"), F,
     "tensor \"a\" has no shape"},
    {"no data_offsets", HEADER("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}"), F,
     "tensor \"a\" has no data_offsets"},
    {"a member that is unknown", HEADER("{\"a\":{\"evil\":1}}"), F, "tensor \"a\" has \"evil\""},
    {"dtype twice", HEADER("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\"}}"), F,
     "has \"dtype\" twice"},
    {"a dtype nobody knows", ONE("\"F31\"", "[2]", "[0,8]"), F, "unknown dtype \"F31\""},
    {"a dtype that is a number", ONE("32", "[2]", "[0,8]"), F, "expected a string, got '3'"},
    {"dtype F64", ONE("\"F64\"", "[1]", "[0,8]"), U, "tensor \"a\" has dtype F64"},
    {"dtype I64", ONE("\"I64\"", "[1]", "[0,8]"), U, "has dtype I64"},
    {"dtype F8_E4M3", ONE("\"F8_E4M3\"", "[8]", "[0,8]"), U, "has dtype F8_E4M3"},
    {"a shape that is no list", ONE("\"F32\"", "2", "[0,8]"), F, "expected '[', got '2'"},
    {"a negative dimension", ONE("\"F32\"", "[-2]", "[0,8]"), F,
     "expected an integer of at least 0, got '-'"},
    {"a dimension with a fraction", ONE("\"F32\"", "[2.0]", "[0,8]"), F,
     "not written as a plain integer"},
    {"a dimension with an exponent", ONE("\"F32\"", "[2e0]", "[0,8]"), F,
     "not written as a plain integer"},
    {"a dimension with a leading zero", ONE("\"F32\"", "[02]", "[0,8]"), F,
     "not written as a plain integer"},
    {"a dimension of 2^64", ONE("\"F32\"", "[18446744073709551616]", "[0,8]"), F,
     "an integer beyond 64 bits"},
    {"a dimension of 10^100",
     ONE("\"F32\"",
         "[1"
         "0000000000000000000000000000000000000000000000000000"
         "]",
         "[0,8]"),
     F, "an integer beyond 64 bits"},
    {"5 dimensions", ONE("\"F32\"", "[1,1,1,1,2]", "[0,8]"), U, "more than 4 dimensions"},
    {"a shape product beyond 64 bits", ONE("\"F32\"", "[4294967296,4294967296]", "[0,8]"), F,
     "than 64 bits can count"},
    {"a shape product that wraps to the size", ONE("\"F32\"", "[4611686018427387906]", "[0,8]"), F,
     "64 bits can count"},
    {"fewer bytes than the shape", ONE("\"F32\"", "[3]", "[0,8]"), F,
     "has 8 bytes of data; its shape and dtype make 12"},
    {"more bytes than the shape", ONE("\"BF16\"", "[3]", "[0,8]"), F,
     "has 8 bytes of data; its shape and dtype make 6"},
    {"offsets reversed", ONE("\"F32\"", "[2]", "[8,0]"), F,
     "data_offsets [8, 0]; expected them in order"},
    {"offsets past the end", ONE("\"F32\"", "[3]", "[0,12]"), F,
     "data_offsets [0, 12]; expected them in order and at most 8"},
    {"offsets far past the end",
     ONE("\"F32\"", "[2]", "[18446744073709551607,18446744073709551615]"), F, "at most 8"},
    {"one offset", ONE("\"F32\"", "[2]", "[0]"), F, "expected ',', got ']'"},
    {"three offsets", ONE("\"F32\"", "[2]", "[0,8,8]"), F, "expected ']', got ','"},
    {"data that does not start at 0", ONE("\"F32\"", "[1]", "[4,8]"), F,
     "a gap before tensor \"a\""},
    {"a gap",
     HEADER(
         "{" ENTRY("a", "\"F16\"", "[2]", "[0,4]") "," ENTRY("b", "\"F16\"", "[1]", "[6,8]") "}"),
     F, "a gap before tensor \"b\""},
    {"an overlap",
     HEADER(
         "{" ENTRY("a", "\"F16\"", "[3]", "[0,6]") "," ENTRY("b", "\"F16\"", "[2]", "[4,8]") "}"),
     F, "tensor \"b\" overlaps \"a\""},
    {"two tensors in one place",
     HEADER(
         "{" ENTRY("a", "\"F32\"", "[2]", "[0,8]") "," ENTRY("b", "\"F32\"", "[2]", "[0,8]") "}"),
     F, "overlaps"},
    {"one name twice",
     HEADER(
         "{" ENTRY("a", "\"F32\"", "[1]", "[0,4]") "," ENTRY("a", "\"F32\"", "[1]", "[4,8]") "}"),
     F, "two tensors are named \"a\""},
    {"one name twice, once escaped",
     HEADER("{" ENTRY("a", "\"F32\"", "[1]", "[0,4]") "," ENTRY("\\u0061", "\"F32\"", "[1]",
                                                                "[4,8]") "}"),
     F, "two tensors are named \"a\""},
    {"trailing bytes", ONE("\"F32\"", "[1]", "[0,4]"), F, "4 bytes after the last tensor"},
    {"trailing bytes without tensors", HEADER("{}"), F, "8 bytes after the last tensor"},
    {"metadata that is a string", HEADER("{\"__metadata__\":\"x\"}"), F, "expected '{', got '\"'"},
    {"metadata that holds a number", HEADER("{\"__metadata__\":{\"x\":1}}"), F,
     "expected a string, got '1'"},
    {"metadata twice", HEADER("{\"__metadata__\":{},\"__metadata__\":{}}"), F,
     "__metadata__ appears twice"},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

#define SHARD_HEADER "{" ENTRY("a", "\"F32\"", "[2]", "[0,8]") "}"
#define INDEX(map) "text={\"weight_map\":" map "}\n"

static const corrupt_case index_cases[] = {
    {"an index that is empty", "", F, "byte 0: expected '{', got the end"},
    {"an index that is an array", "raw=[]", F, "byte 0: expected '{', got '['"},
    {"an index without weight_map", "text={\"metadata\":{}}", F,
     "has no tensors in \"weight_map\""},
    {"an index with an empty weight_map", INDEX("{}"), F, "has no tensors in \"weight_map\""},
    {"an index with two weight_maps", "text={\"weight_map\":{\"a\":\"s\"},\"weight_map\":{}}", F,
     "appears twice"},
    {"a weight_map that is a list", INDEX("[\"a\"]"), F, "byte 14: expected '{'"},
    {"a shard that is a number", INDEX("{\"a\":1}"), F, "expected a string, got '1'"},
    {"a shard in another folder", INDEX("{\"a\":\"../../etc/passwd\"}"), F,
     "the name of a file in the same folder"},
    {"a shard by its full path", INDEX("{\"a\":\"/etc/passwd\"}"), F,
     "the name of a file in the same folder"},
    {"a shard named ..", INDEX("{\"a\":\"..\"}"), F, "the name of a file in the same folder"},
    {"a shard without a name", INDEX("{\"a\":\"\"}"), F, "the name of a file in the same folder"},
    {"a shard that is missing", INDEX("{\"a\":\"none\"}"), HONE_ERR_IO,
     "none: cannot open: No such file"},
    {"a shard that is the folder", INDEX("{\"a\":\".\"}"), HONE_ERR_IO, "is a directory"},
    {"a tensor that its shard lacks", INDEX("{\"a\":\"shard\",\"b\":\"shard\"}"), F,
     "says that \"b\" is in shard"},
    {"a tensor named twice", INDEX("{\"a\":\"shard\",\"a\":\"shard\"}"), F,
     "names tensor \"a\" twice"},
    {"an index cut off", "text={\"weight_map\":{\"a\":\"shard\"", F,
     "byte 26: expected '}', got the end"},
    {"an index with text behind it", INDEX("{\"a\":\"shard\"}") "raw=x", F,
     "expected nothing more, got 'x'"},
    {"metadata nested 100,000 deep", "text={\"metadata\": \nrep=100000:raw=[", HONE_ERR_LIMIT,
     "nested more than 64 deep"},
    {"objects nested 100,000 deep", "text={\"metadata\": \nrep=100000:raw={\"a\":", HONE_ERR_LIMIT,
     "nested more than 64"},
    {"metadata with a bad number", "text={\"metadata\":[1.]}", F,
     "byte 15: expected a value, got ']'"},
    {"metadata with a bad word", "text={\"metadata\":nul}", F,
     "byte 12: expected a value, got 'n'"},
    {"metadata with a missing value", "text={\"metadata\":{\"a\"}}", F, "expected ':', got '}'"},
    {"metadata with the wrong bracket", "text={\"metadata\":[1}}", F, "expected ',', got '}'"},
};
enum { INDEX_COUNT = sizeof index_cases / sizeof index_cases[0] };

static void run_index(void **state) {
    const corrupt_case *c = *state;
    temp_folder t = temp_make();
    char *index = temp_path(&t, "model.safetensors.index.json"), *shard = temp_path(&t, "shard");
    write_script(index, c->script);
    write_script(shard, HEADER(SHARD_HEADER));
    expect_corrupt(c, t.path, t.path);
    free(index);
    free(shard);
    temp_remove(&t);
}

static void folders_without_weights_are_named(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *gguf = temp_path(&t, "small.gguf");
    const corrupt_case empty = {"", "", F,
                                "has neither model.safetensors nor model.safetensors.index.json"};
    expect_corrupt(&empty, t.path, t.path);
    temp_write(gguf, "GGUF", 4);
    const corrupt_case other = {"", "", F, "it has small.gguf: give that file"};
    expect_corrupt(&other, t.path, t.path);
    free(gguf);
    temp_remove(&t);
    const corrupt_case none = {"", "", HONE_ERR_IO,
                               "cannot open: No such file or directory; check the path"};
    expect_corrupt(&none, "/no/such/model", "/no/such/model");
}

static void cut_off_or_changed_anywhere(void **state) {
    (void)state;
    static const unsigned char masks[] = {0x01, 0x80, 0xff};
    temp_folder t = temp_make();
    char *path = temp_path(&t, "x.safetensors");
    hone_buf b = hone_buf_make(1 << 20);
    put_script(&b, "json={\"__metadata__\":{\"k\":\"\\u00e9\"}," ENTRY(
                       "a", "\"F16\"", "[1,2]", "[0,4]") "," ENTRY("b", "\"F32\"", "[1]",
                                                                   "[4,8]") "}\nzero=8");
    assert_true(open_any(path, b.data, b.size));
    for (size_t size = 0; size < b.size; size++) assert_false(open_any(path, b.data, size));
    int opened = 0;
    for (size_t at = 0; at < b.size - 8; at++) {
        for (size_t m = 0; m < sizeof masks; m++) {
            b.data[at] = (char)(b.data[at] ^ masks[m]);
            opened += open_any(path, b.data, b.size);
            b.data[at] = (char)(b.data[at] ^ masks[m]);
        }
    }
    assert_in_range(opened, 5, 100); /* letters of names */
    hone_buf_free(&b);
    free(path);
    temp_remove(&t);
}

/* 100,000 names of one long prefix, one of them twice; and metadata of 10 MB. */
static void many_names_are_quick(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    temp_folder t = temp_make();
    char *path = temp_path(&t, "many.safetensors");
    hone_buf b = hone_buf_make(SIZE_MAX);
    hone_error err = {0};
    put_zeros(&b, 8);
    put(&b, "{\"__metadata__\":{\"k\":\"", 22);
    for (int i = 0; i < 10000000 / 8; i++) put(&b, "aaaaaaaa", 8);
    put(&b, "\"}", 2);
    for (int i = 0; i < COUNT; i++) {
        assert_ok(hone_buf_printf(&b, &err,
                                  ",\"model.layers.experts.%07d\":{\"dtype\":\"F32\",\"shape\":[1],"
                                  "\"data_offsets\":[%d,%d]}",
                                  (int)((long)i * 7919 % (COUNT - 1)), 4 * i, 4 * i + 4),
                  err);
    }
    put(&b, "}", 1);
    uint64_t header = b.size - 8;
    memcpy(b.data, &header, 8);
    put_zeros(&b, 4 * COUNT);
    temp_write(path, b.data, b.size);
    hone_buf_free(&b);
    const corrupt_case c = {"", "", F, "two tensors are named \"model.layers.experts.0000000\""};
    expect_corrupt(&c, path, "many.safetensors");
    free(path);
    temp_remove(&t);
}

int main(void) {
    struct CMUnitTest tests[CASE_COUNT + INDEX_COUNT + 3] = {
        [CASE_COUNT + INDEX_COUNT] = cmocka_unit_test(folders_without_weights_are_named),
        cmocka_unit_test(cut_off_or_changed_anywhere),
        cmocka_unit_test(many_names_are_quick),
    };
    add_corrupt(tests, cases, CASE_COUNT, run_corrupt);
    add_corrupt(tests + CASE_COUNT, index_cases, INDEX_COUNT, run_index);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
