/* tests of base/rng: published and independently computed values, and the shape of distributions. */
#include "base/rng.h"

#include "support.h"

#include <math.h>

static void the_sequence_is_xoshiro256starstar(void **state) {
    (void)state;
    hone_rng r = {{1, 2, 3, 4}}; /* a vector that other implementations publish */
    const uint64_t want[6] = {
        11520, 0, 1509978240, 1215971899390074240u, 1216172134540287360u, 607988272756665600u};
    for (int i = 0; i < 6; i++) assert_true(hone_rng_next(&r) == want[i]);
}

static void seeds_go_through_splitmix64(void **state) {
    (void)state;
    hone_rng zero = hone_rng_make(0), other = hone_rng_make(42);
    assert_true(zero.state[0] == 0xe220a8397b1dcdafu);
    assert_true(zero.state[3] == 0xf88bb8a8724c81ecu);
    assert_true(hone_rng_next(&zero) == 0x99ec5f36cb75f2b4u);
    assert_true(hone_rng_next(&other) == 0x15780b2e0c2ec716u);
}

static void uniform_and_normal_have_their_moments(void **state) {
    (void)state;
    enum { COUNT = 400000 };
    hone_rng r = hone_rng_make(1);
    double sum = 0, squares = 0, normal_sum = 0, normal_squares = 0, fourth = 0;
    for (int i = 0; i < COUNT; i++) {
        double u = hone_rng_uniform(&r), n = hone_rng_normal(&r);
        assert_true(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
        normal_sum += n;
        normal_squares += n * n;
        fourth += n * n * n * n;
    }
    /* Five standard errors of each estimate. */
    assert_true(fabs(sum / COUNT - 0.5) < 0.0023);
    assert_true(fabs(squares / COUNT - 1.0 / 3) < 0.0024);
    assert_true(fabs(normal_sum / COUNT) < 0.008);
    assert_true(fabs(normal_squares / COUNT - 1) < 0.012);
    assert_true(fabs(fourth / COUNT - 3) < 0.08);
}

static void below_is_even_and_in_range(void **state) {
    (void)state;
    hone_rng r = hone_rng_make(7);
    int seen[7] = {0};
    for (int i = 0; i < 70000; i++) seen[hone_rng_below(&r, 7)]++;
    for (int i = 0; i < 7; i++) assert_in_range(seen[i], 9500, 10500);
    assert_int_equal(hone_rng_below(&r, 1), 0);
    /* 3 * 2^62: a plain remainder would fall into the lowest third twice as often as into each other. */
    uint64_t bound = (uint64_t)3 << 62;
    int low = 0;
    for (int i = 0; i < 30000; i++) low += hone_rng_below(&r, bound) < bound / 3;
    assert_in_range(low, 9500, 10500);
}

static void shuffles_reach_every_order(void **state) {
    (void)state;
    hone_rng r = hone_rng_make(3);
    int seen[27] = {0};
    for (int i = 0; i < 60000; i++) {
        size_t items[3] = {0, 1, 2};
        hone_rng_shuffle(&r, items, 3);
        seen[items[0] * 9 + items[1] * 3 + items[2]]++;
    }
    int orders = 0;
    for (int i = 0; i < 27; i++) {
        if (seen[i] == 0) continue;
        assert_in_range(seen[i], 9400, 10600);
        orders++;
    }
    assert_int_equal(orders, 6);
    hone_rng_shuffle(&r, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sequence_is_xoshiro256starstar),
        cmocka_unit_test(seeds_go_through_splitmix64),
        cmocka_unit_test(uniform_and_normal_have_their_moments),
        cmocka_unit_test(below_is_even_and_in_range),
        cmocka_unit_test(shuffles_reach_every_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
