/* tests of format/gguf: files that must be refused, by name. */
#include "corrupt.h"

#include "format/gguf.h"

/* The start of a file with so many tensors and metadata entries. */
#define HEAD(tensors, entries) "raw=GGUF u32=3 u64=" #tensors " u64=" #entries " "

/* One tensor "a" of one dimension, its data behind it. */
#define TENSOR(name, size, type, offset)                                                           \
    "s=" name " u32=1 u64=" #size " u32=" #type " u64=" #offset " "
#define DATA(bytes) "pad=32 zero=" #bytes " "
#define ALIGNMENT "s=general.alignment "

#define F HONE_ERR_FORMAT
#define U HONE_ERR_UNSUPPORTED

static const corrupt_case cases[] = {
    {"an empty file", "", F, "is empty"},
    {"three bytes", "raw=GGU", F, "neither GGUF"},
    {"another magic", "raw=GGML u32=3 u64=0 u64=0", F, "neither GGUF"},
    {"a zip archive", "raw=PK%03%04 zero=100", F, "zip archive"},
    {"a Git LFS pointer", "raw=version%20https://git-lfs.github.com/spec/v1", F, "git lfs pull"},
    {"cut off after the magic", "raw=GGUF", F, "byte 4: the file ends inside the header"},
    {"cut off in the version", "raw=GGUF u16=3", F, "ends inside the header"},
    {"cut off before the counts", "raw=GGUF u32=3", F, "byte 8: the file ends inside the header"},
    {"cut off between the counts", "raw=GGUF u32=3 u64=0 u32=0", F, "byte 16: the file ends"},
    {"version 0", "raw=GGUF u32=0 u64=0 u64=0", U, "GGUF version 0"},
    {"version 1", "raw=GGUF u32=1 u32=0 u32=0", U, "GGUF version 1"},
    {"version 4", "raw=GGUF u32=4 u64=0 u64=0", U, "GGUF version 4"},
    {"big-endian", "raw=GGUF u32=0x03000000 u64=0 u64=0", U, "big-endian"},
    {"2^64 - 1 metadata entries", HEAD(0, 0xffffffffffffffff) "zero=100", F,
     "states 18446744073709551615 metadata entries, but only 100 bytes"},
    {"2^61 metadata entries", HEAD(0, 0x2000000000000000) "zero=100", F, "metadata entries"},
    {"one metadata entry without bytes", HEAD(0, 1), F, "byte 16: states 1 metadata entries"},
    {"2^64 - 1 tensors", HEAD(0xffffffffffffffff, 0) "zero=100", F,
     "byte 8: states 18446744073709551615 tensors"},
    {"2^63 tensors", HEAD(0x8000000000000000, 0) "zero=100", F, "tensors, but only"},
    {"one tensor without bytes", HEAD(1, 0), F, "states 1 tensors, but only 0 bytes"},
    {"more than a million tensors", HEAD(1000001, 0) "zero=25000100", HONE_ERR_LIMIT,
     "at most 1000000"},
    {"a key of 2^64 - 1 bytes", HEAD(0, 1) "u64=0xffffffffffffffff zero=20", F,
     "byte 24: a metadata key states"},
    {"a key of 2^32 bytes", HEAD(0, 1) "u64=0x100000000 zero=20", F, "but only 20 follow"},
    {"an empty key", HEAD(0, 1) "s= u32=7 u8=1 zero=10", F, "a metadata key of 0 bytes"},
    {"a key of 65536 bytes", HEAD(0, 1) "u64=65536 rep=65536:u8=97 u32=7 u8=1", F,
     "key of 65536 bytes"},
    {"metadata type 13", HEAD(0, 1) "s=k u32=13 zero=8", F, "byte 33: metadata type 13"},
    {"metadata type 2^32 - 1", HEAD(0, 1) "s=k u32=0xffffffff zero=8", F,
     "metadata type 4294967295"},
    {"cut off in a metadata type", HEAD(0, 1) "s=abcde u8=1", F,
     "inside the type of a metadata value"},
    {"cut off in a number", HEAD(0, 1) "s=k u32=10 u32=1", F,
     "byte 37: the file ends inside a metadata value"},
    {"a bool of 2", HEAD(0, 1) "s=k u32=7 u8=2", F, "a bool holds 2"},
    {"a string of 2^63 bytes", HEAD(0, 1) "s=k u32=8 u64=0x8000000000000000 zero=4", F,
     "a metadata string states"},
    {"a string that is one byte short", HEAD(0, 1) "s=k u32=8 u64=5 raw=abcd", F,
     "states 5 bytes, but only 4"},
    {"an array of type 99", HEAD(0, 1) "s=k u32=9 u32=99 u64=0", F, "metadata type 99"},
    {"an array of arrays", HEAD(0, 1) "s=k u32=9 u32=9 u64=1 u32=0 u64=0", U, "array of arrays"},
    {"an array of 2^61 uint64", HEAD(0, 1) "s=k u32=9 u32=10 u64=0x2000000000000000 zero=64", F,
     "an array states 2305843009213693952 elements"},
    {"an array of 2^64 - 1 strings", HEAD(0, 1) "s=k u32=9 u32=8 u64=0xffffffffffffffff zero=64", F,
     "an array states 18446744073709551615 elements"},
    {"an array of bytes, one short", HEAD(0, 1) "s=k u32=9 u32=0 u64=5 zero=4", F,
     "states 5 elements"},
    {"an array whose last string is cut off", HEAD(0, 1) "s=k u32=9 u32=8 u64=2 s=ab u64=9 raw=x",
     F, "a string of an array states 9 bytes, but only 1"},
    {"cut off in an array's length", HEAD(0, 1) "s=k u32=9 u32=8 u32=0", F,
     "inside an array's length"},
    {"one key twice", HEAD(0, 3) "s=k u32=7 u8=1 s=j u32=7 u8=1 s=k u32=7 u8=0", F,
     "byte 60: the metadata key \"k\" appears twice"},
    {"alignment 0", HEAD(0, 1) ALIGNMENT "u32=4 u32=0", F, "\"general.alignment\" holds 0"},
    {"alignment 4", HEAD(0, 1) ALIGNMENT "u32=4 u32=4", F,
     "\"general.alignment\" is 4; expected a power of two, 8 or more"},
    {"alignment 24", HEAD(0, 1) ALIGNMENT "u32=4 u32=24", F,
     "\"general.alignment\" is 24; expected a power of two"},
    {"alignment 2^31", HEAD(0, 1) ALIGNMENT "u32=4 u32=0x80000000", F,
     "expected an integer from 1 to 1048576"},
    {"alignment 2^64 - 1", HEAD(0, 1) ALIGNMENT "u32=10 u64=0xffffffffffffffff", F,
     "\"general.alignment\" holds more"},
    {"alignment -32", HEAD(0, 1) ALIGNMENT "u32=5 u32=0xffffffe0", F,
     "\"general.alignment\" holds -32"},
    {"alignment as a string", HEAD(0, 1) ALIGNMENT "u32=8 s=32", F,
     "\"general.alignment\" is string"},
    {"alignment as a float", HEAD(0, 1) ALIGNMENT "u32=6 f32=32", F,
     "\"general.alignment\" is float32"},
    {"a tensor name of 2^64 - 1 bytes", HEAD(1, 0) "u64=0xffffffffffffffff zero=64", F,
     "a tensor's name states"},
    {"an empty tensor name", HEAD(1, 0) TENSOR("", 4, 0, 0) DATA(16), F,
     "byte 24: a tensor's name is empty"},
    {"NUL in a tensor name", HEAD(1, 0) TENSOR("a%00b", 4, 0, 0) DATA(16), F, "holds NUL"},
    {"a tensor name that is not UTF-8", HEAD(1, 0) TENSOR("a%ff", 4, 0, 0) DATA(16), F,
     "not UTF-8"},
    {"5 dimensions", HEAD(1, 0) "s=a u32=5 rep=5:u64=1 u32=0 u64=0 " DATA(16), F,
     "a tensor of 5 dimensions"},
    {"2^32 - 1 dimensions", HEAD(1, 0) "s=a u32=0xffffffff zero=64", F, "4294967295 dimensions"},
    {"a dimension of 0", HEAD(1, 0) TENSOR("a", 0, 0, 0) DATA(16), F,
     "tensor \"a\" has a dimension of 0"},
    {"a second dimension of 0", HEAD(1, 0) "s=a u32=2 u64=4 u64=0 u32=0 u64=0 " DATA(16), F,
     "a dimension of 0"},
    {"a product of dimensions beyond 64 bits",
     HEAD(1, 0) "s=a u32=3 u64=1 u64=0x10000000000 u64=0x10000000000 u32=0 u64=0 " DATA(16), F,
     "than 64 bits can count"},
    {"rows times bytes beyond 64 bits",
     HEAD(1, 0) "s=a u32=2 u64=0x80000000 u64=0x80000001 u32=0 u64=0 " DATA(16), F,
     "than 64 bits can count"},
    {"a row beyond 64 bits", HEAD(1, 0) TENSOR("a", 0x4000000000000000, 0, 0) DATA(16), F,
     "than 64 bits can count"},
    {"a dimension of -1", HEAD(1, 0) TENSOR("a", 0xffffffffffffffff, 0, 0) DATA(16), F,
     "than 64 bits can count"},
    {"type Q4_K", HEAD(1, 0) TENSOR("a", 256, 12, 0) DATA(144), U, "tensor \"a\" has type Q4_K"},
    {"type Q6_K", HEAD(1, 0) TENSOR("a", 256, 14, 0) DATA(210), U,
     "has type Q6_K, an unsupported tensor type"},
    {"type MXFP4", HEAD(1, 0) TENSOR("a", 32, 39, 0) DATA(17), U, "MXFP4"},
    {"a type that was dropped", HEAD(1, 0) TENSOR("a", 32, 4, 0) DATA(32), U, "has type Q4_2"},
    {"a type nobody knows", HEAD(1, 0) TENSOR("a", 32, 77, 0) DATA(32), U,
     "unknown tensor type 77"},
    {"a row that is no multiple of a block", HEAD(1, 0) TENSOR("a", 33, 3, 0) DATA(64), F,
     "no multiple of its type's"},
    {"a scalar of a block type", HEAD(1, 0) "s=a u32=0 u32=8 u64=0 " DATA(64), F,
     "no multiple of its type's"},
    {"an offset off the alignment", HEAD(1, 0) TENSOR("a", 4, 0, 4) DATA(64), F,
     "no multiple of the alignment"},
    {"an offset past the end", HEAD(1, 0) TENSOR("a", 4, 0, 64) DATA(64), F,
     "past the end of the file"},
    {"an offset that wraps", HEAD(1, 0) TENSOR("a", 4, 0, 0xffffffffffffffe0) DATA(64), F,
     "past the end of the file"},
    {"data one byte short", HEAD(1, 0) TENSOR("a", 4, 0, 0) DATA(15), F,
     "has 16 bytes at offset 0"},
    {"a file without data", HEAD(1, 0) TENSOR("a", 4, 0, 0), F, "past the end of the file"},
    {"overlapping tensors", HEAD(2, 0) TENSOR("a", 16, 0, 0) TENSOR("b", 4, 0, 32) DATA(96), F,
     "tensor \"b\" overlaps \"a\""},
    {"two tensors in one place", HEAD(2, 0) TENSOR("a", 4, 0, 0) TENSOR("b", 4, 0, 0) DATA(96), F,
     "overlaps"},
    {"overlapping tensors in reverse",
     HEAD(2, 0) TENSOR("b", 4, 0, 32) TENSOR("a", 16, 0, 0) DATA(96), F,
     "tensor \"b\" overlaps \"a\""},
    {"two tensors of one name", HEAD(2, 0) TENSOR("a", 4, 0, 0) TENSOR("a", 4, 0, 32) DATA(96), F,
     "two tensors are named \"a\""},
    {"cut off in a tensor's dimensions", HEAD(1, 0) "s=abcdefgh u32=4 u64=1 u32=1", F,
     "inside a tensor's description"},
    {"cut off in a tensor's offset", HEAD(1, 0) "s=abcdefgh u32=1 u64=1 u32=0 u32=0", F,
     "inside a tensor's description"},
    {"control characters in a name do not reach the message",
     HEAD(1, 0) TENSOR("%1b[2J", 0, 0, 0) DATA(4), F, "\"?[2J\""},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

static hone_buf read_tiny(void) {
    hone_error err = {0};
    hone_buf b;
    assert_ok(hone_file_read(HONE_SOURCE_DIR "/tests/format/tiny.gguf", 1 << 20, &b, &err), err);
    return b;
}

static void cut_off_anywhere(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path = temp_path(&t, "cut.gguf");
    hone_buf tiny = read_tiny();
    for (size_t size = 0; size < 1216 + 16; size++) assert_false(open_any(path, tiny.data, size));
    assert_true(
        open_any(path, tiny.data, 1216 + 16)); /* the last tensor ends here, padding follows */
    hone_buf_free(&tiny);
    free(path);
    temp_remove(&t);
}

/* The same with the cut at the end of a page, where reading on would fault. */
static void cut_off_at_a_page(void **state) {
    (void)state;
    temp_folder t = temp_make();
    char *path = temp_path(&t, "cut.gguf");
    hone_buf tiny = read_tiny();
    static const char page[4096];
    for (size_t cut = 24; cut < 784; cut++) { /* 784: where the descriptions end */
        hone_buf b = hone_buf_make(1 << 20);
        put(&b, tiny.data, 24);
        b.data[16]++; /* one more metadata entry */
        uint64_t fill = 4096 * 2 - (24 + 8 + 4 + 4 + 8 + (cut - 24));
        put_script(&b, "s=fill u32=8");
        put(&b, &fill, 8);
        for (uint64_t left = fill; left > 0;) {
            size_t part = left < sizeof page ? (size_t)left : sizeof page;
            put(&b, page, part);
            left -= part;
        }
        put(&b, tiny.data + 24, cut - 24);
        assert_int_equal(b.size % 4096, 0);
        assert_false(open_any(path, b.data, b.size));
        hone_buf_free(&b);
    }
    hone_buf_free(&tiny);
    free(path);
    temp_remove(&t);
}

static void any_byte_changed(void **state) {
    (void)state;
    static const unsigned char masks[] = {0x01, 0x80, 0xff};
    temp_folder t = temp_make();
    char *path = temp_path(&t, "changed.gguf");
    hone_buf tiny = read_tiny();
    int opened = 0;
    for (size_t at = 0; at < 800; at++) { /* 800: where the data begins */
        for (size_t m = 0; m < sizeof masks; m++) {
            tiny.data[at] = (char)(tiny.data[at] ^ masks[m]);
            opened += open_any(path, tiny.data, tiny.size);
            tiny.data[at] = (char)(tiny.data[at] ^ masks[m]);
        }
    }
    assert_in_range(opened, 100, 2000); /* values of metadata and letters of names may change */
    hone_buf_free(&tiny);
    free(path);
    temp_remove(&t);
}

/* 200,000 keys and 100,000 names: checked for duplicates without comparing all pairs. */
static void many_names_are_quick(void **state) {
    (void)state;
    enum { KEYS = 200000, TENSORS = 100000 };
    temp_folder t = temp_make();
    char *path = temp_path(&t, "many.gguf");
    hone_buf b = hone_buf_make(SIZE_MAX);
    put_script(&b, "raw=GGUF u32=3 u64=100000 u64=200000");
    for (int i = 0; i < KEYS; i++) {
        char item[64];
        snprintf(item, sizeof item, "s=general.a.long.prefix.%08d u32=7 u8=1", (i * 7919) % KEYS);
        put_script(&b, item);
    }
    for (int i = 0; i < TENSORS; i++) {
        char item[64];
        snprintf(item, sizeof item, "s=blk.%08d u32=1 u64=1 u32=0 u64=%d", i % (TENSORS - 1),
                 i * 32);
        put_script(&b, item);
    }
    put_script(&b, "pad=32 zero=3200000");
    temp_write(path, b.data, b.size);
    hone_buf_free(&b);
    const corrupt_case c = {"", "", F, "two tensors are named \"blk.00000000\""};
    expect_corrupt(&c, path, "many.gguf");
    free(path);
    temp_remove(&t);
}

int main(void) {
    struct CMUnitTest tests[CASE_COUNT + 4] = {
        [CASE_COUNT] = cmocka_unit_test(cut_off_anywhere),
        cmocka_unit_test(cut_off_at_a_page),
        cmocka_unit_test(any_byte_changed),
        cmocka_unit_test(many_names_are_quick),
    };
    add_corrupt(tests, cases, CASE_COUNT, run_corrupt);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
