/* Packing of every weight type, every variant that runs here, against values decoded
 * by the test: both orientations, ranges that cut blocks, guard pages, padding that is zero. */
#include "kernels/matrix_help.h"

/* Packs columns [n0, n0+n) x depths [k0, k0+k) and looks at every element of the result. */
static void pack_range(const hone_kernels *kernels, const test_matrix *t, hone_dtype compute,
                       bool by_rows, size_t n0, size_t n, size_t k0, size_t k, float scale) {
    size_t bytes = hone_pack_bytes(compute, n, k);
    guarded dst = guarded_new(bytes);
    assert_int_equal((uintptr_t)dst.data % 64, 0);
    (compute == HONE_F32 ? kernels->pack_f32 : kernels->pack_bf16)(&t->m, by_rows, n0, n, k0, k,
                                                                   scale, dst.data);
    size_t depth = compute == HONE_F32 ? k : HONE_CEIL_DIV(k, 32) * 32;
    for (size_t j = 0; j < HONE_CEIL_DIV(n, 16) * 16; j++) {
        for (size_t i = 0; i < depth; i++) {
            double got = dense_get(dst.data, compute, packed_index(compute, k, i, j));
            if (j >= n || i >= k) {
                assert_true(got == 0);
                continue;
            }
            size_t at = by_rows ? (n0 + j) * t->m.cols + k0 + i : (k0 + i) * t->m.cols + n0 + j;
            check_value(got, t->values[at] * (double)scale, compute,
                        by_rows ? "pack by rows" : "pack", t->m.dtype);
        }
    }
    guarded_free(&dst);
}

static void pack_ranges(const hone_kernels *kernels, const test_matrix *t, hone_dtype compute) {
    size_t rows = t->m.rows, cols = t->m.cols;
    static const size_t sizes[] = {1, 15, 16, 17, 31, 32, 33, 48};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < COUNT; j++) {
            size_t n = sizes[i], k = sizes[j] * 2 - 1;
            pack_range(kernels, t, compute, true, rows - n, n, cols - k, k, 1);
            pack_range(kernels, t, compute, true, 0, n, 0, sizes[j], 0.5f);
            pack_range(kernels, t, compute, false, cols - k, k, rows - n, n, 1);
            pack_range(kernels, t, compute, false, 0, sizes[j], 0, n, -3.0f);
        }
    }
    pack_range(kernels, t, compute, true, 0, rows, 0, cols, 1);
    pack_range(kernels, t, compute, true, 1, rows - 1, 32, cols - 32, 2);
    pack_range(kernels, t, compute, true, 1, rows - 1, 32, cols - 32, 1);
    pack_range(kernels, t, compute, true, 5, rows - 5, cols - 96, 96, 1);
    pack_range(kernels, t, compute, true, 1, 33, 7, 64, 1); /* begins inside of a block */
    pack_range(kernels, t, compute, false, 0, cols, 0, rows, 1);
    pack_range(kernels, t, compute, false, 32, cols - 32, 3, rows - 3, 1);
    /* whole blocks of both, more than are decoded together, and a rest of columns */
    pack_range(kernels, t, compute, false, 0, cols, rows - 32, 32, 1);
    pack_range(kernels, t, compute, false, 64, 100, 0, 32, 1);
}

static void pack_all(const hone_kernels *kernels, const char *tier) {
    (void)tier;
    for (size_t i = 0; i < KINDS; i++) {
        test_matrix t =
            test_matrix_new(kinds[i].dtype, 53, 640, kinds[i].group, kinds[i].affine, i);
        pack_ranges(kernels, &t, HONE_F32);
        pack_ranges(kernels, &t, HONE_BF16);
        test_matrix_free(&t);
    }
}

static void test_pack(void **state) {
    (void)state;
    each_tier(pack_all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
