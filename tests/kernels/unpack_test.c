/* Unpacking of every weight type, every variant that runs here, against values decoded by the test:
 * ranges that cut blocks, guard pages behind weights and output. */
#include "kernels/matrix_help.h"

static void unpack_range(const hone_kernels *kernels, const test_matrix *t, size_t row, size_t col,
                         size_t count, hone_dtype out) {
    guarded dst = guarded_new(count * (out == HONE_F32 ? 4 : 2));
    kernels->unpack(&t->m, row, col, count, out, dst.data);
    for (size_t i = 0; i < count; i++) {
        double want = t->values[row * t->m.cols + col + i];
        check_value(dense_get(dst.data, out, i), want, out, "unpack", t->m.dtype);
    }
    guarded_free(&dst);
}

static void unpack_all(const hone_kernels *kernels, const char *tier) {
    (void)tier;
    static const size_t ranges[][2] = {{0, 384}, {0, 1},   {1, 31},  {31, 2},  {5, 300},
                                       {32, 32}, {33, 64}, {64, 17}, {383, 1}, {100, 0}};
    for (size_t i = 0; i < KINDS; i++) {
        test_matrix t = test_matrix_new(kinds[i].dtype, 3, 384, kinds[i].group, kinds[i].affine, i);
        for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++) {
            unpack_range(kernels, &t, r % 3, ranges[r][0], ranges[r][1], HONE_F32);
            unpack_range(kernels, &t, r % 3, ranges[r][0], ranges[r][1], HONE_BF16);
        }
        test_matrix_free(&t);
    }
}

static void test_unpack(void **state) {
    (void)state;
    each_tier(unpack_all);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_unpack)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
