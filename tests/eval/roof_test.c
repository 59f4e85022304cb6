/* What this machine does at best, and what is too fast for it. */
#include "support.h"

#include "base/cpu.h"
#include "eval/roof.h"

#include <math.h>

static bool near(double a, double b) { return fabs(a - b) <= 1e-12 * fabs(b); }

/* 1e9 operations at 100 GFLOP/s, 1e6 bytes at 10 GB/s, with margins of 1.25 and 2. */
static void the_slower_limit_counts(void **state) {
    (void)state;
    hone_noise noise = {.peak_f32 = 100e9, .peak_bf16 = NAN, .cache_bandwidth = 10e9};
    hone_micro_row row = {.flops = 1e9, .traffic = 1e6, .seconds = {1e-9, NAN, NAN}};
    assert_true(near(hone_roof_least_seconds(&noise, &row), 8e-3));
    row.flops = 1;
    assert_true(near(hone_roof_least_seconds(&noise, &row), 50e-6));
    noise.peak_bf16 = 400e9;
    row.flops = 1e9;
    assert_true(near(hone_roof_least_seconds(&noise, &row), 2e-3));
}

/* Measured while something else had the machine: what a trusted side does is possible all the same. */
static void trusted_sides_raise_the_roof(void **state) {
    (void)state;
    hone_noise noise = {.peak_f32 = 100e9, .peak_bf16 = NAN, .cache_bandwidth = 10e9};
    hone_micro_row row = {.flops = 1e9, .traffic = 1e6, .seconds = {1e-9, 1, 5e-3}};
    assert_true(near(hone_roof_least_seconds(&noise, &row), 4e-3));
    row.seconds[HONE_SIDE_NAIVE] = 2.5e-3;
    assert_true(near(hone_roof_least_seconds(&noise, &row), 2e-3));
    row.seconds[HONE_SIDE_CANDIDATE] = 1e-6; /* its own word does not count */
    assert_true(near(hone_roof_least_seconds(&noise, &row), 2e-3));
}

static void measure(hone_crew *crew, void *user) {
    hone_error err;
    assert_ok(hone_roof_measure(crew, hone_cpu_detect(), user, &err), err);
}

static void machine_has_a_roof(void **state) {
    (void)state;
    hone_noise noise = {.peak_f32 = NAN};
    hone_crew_run(2, measure, &noise);
    /* From an emulator to the largest machine. */
    assert_true(noise.peak_f32 > 1e6 && noise.peak_f32 < 1e16);
    assert_true(noise.cache_bandwidth > 1e6 && noise.cache_bandwidth < 1e15);
    assert_true(noise.memory_bandwidth > 1e6 && noise.memory_bandwidth < 1e14);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slower_limit_counts),
        cmocka_unit_test(trusted_sides_raise_the_roof),
        cmocka_unit_test(machine_has_a_roof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
