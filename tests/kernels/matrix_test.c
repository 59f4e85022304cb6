/* Tiles: each byte of a row stands where kernels.h says, and a range of tiles touches no other. */
#include "kernels/matrix_help.h"

enum { MOST_COLUMNS = 3 * 32 };

/* What kernels.h says: the byte at `at` of block `block` of row `row`. */
static size_t place(hone_dtype dtype, size_t blocks, size_t row, size_t block, size_t at) {
    size_t bytes = hone_dtype_block_bytes(dtype), head = bytes - 16; /* d, or d and m */
    size_t tile = row / 16, r = row % 16, start = (tile * blocks + block) * 16 * bytes;
    if (at < head) return start + at / 2 * 32 + 2 * r + at % 2;
    size_t code = at - head;
    return start + 16 * head + code / 4 * 64 + r * 4 + code % 4;
}

static void every_byte_has_its_place(void **state) {
    (void)state;
    static const hone_dtype types[] = {HONE_Q4_0, HONE_Q4_1};
    for (size_t i = 0; i < 2; i++) {
        enum { ROWS = 55, TILES = ROWS / 16, BLOCKS = MOST_COLUMNS / 32 };
        test_matrix t = test_matrix_new(types[i], ROWS, MOST_COLUMNS, 0, 0, i);
        size_t bytes = hone_dtype_block_bytes(types[i]);
        assert_int_equal(hone_tiles_bytes(&t.m), TILES * 16 * BLOCKS * bytes);
        guarded tiles = guarded_new(hone_tiles_bytes(&t.m));
        const uint8_t *rows = t.data.data, *out = tiles.data;
        hone_tiles_fill(&t.m, 1, 3, tiles.data);
        for (size_t at = 0; at < 16 * BLOCKS * bytes; at++) assert_int_equal(out[at], 0xff);
        hone_tiles_fill(&t.m, 0, 1, tiles.data);
        for (size_t row = 0; row < TILES * 16; row++) {
            for (size_t at = 0; at < BLOCKS * bytes; at++)
                assert_int_equal(out[place(types[i], BLOCKS, row, at / bytes, at % bytes)],
                                 rows[row * t.m.row_bytes + at]);
        }
        guarded_free(&tiles);
        test_matrix_free(&t);
    }
}

static void only_four_bit_rows_have_tiles(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        bool has = kinds[i].dtype == HONE_Q4_0 || kinds[i].dtype == HONE_Q4_1;
        hone_matrix w = {.rows = 16, .cols = 128, .dtype = kinds[i].dtype};
        assert_true((hone_tiles_bytes(&w) > 0) == has);
        w.rows = 15;
        assert_int_equal(hone_tiles_bytes(&w), 0);
    }
}

static void wanted_where_dot_rows_reads_them(const hone_kernels *kernels, const char *tier) {
    bool reads =
        strcmp(tier, "avx2") == 0 || strcmp(tier, "avx512bf16") == 0 || strcmp(tier, "amx") == 0;
    assert_true(kernels->wants_tiles == reads);
}

static void some_tiers_want_them(void **state) {
    (void)state;
    each_tier(wanted_where_dot_rows_reads_them);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_byte_has_its_place),
                                       cmocka_unit_test(only_four_bit_rows_have_tiles),
                                       cmocka_unit_test(some_tiers_want_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
