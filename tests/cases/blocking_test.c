/* Blocking changes time and no bit: the cases of the operations that read it, with work cut as finely and as coarsely
 * as is allowed, in both sets and both types of compute. And what may be asked of it: defaults within the limits,
 * values out of them refused. */
#include "support.h"

#include "base/cpu.h"
#include "cases/cases.h"

static const hone_blocking extremes[] = {
    {HONE_LEAST_PACKED_BYTES, HONE_LEAST_LOSS_ROWS},
    {HONE_MOST_PACKED_BYTES, HONE_MOST_LOSS_ROWS},
};
enum { EXTREMES = sizeof extremes / sizeof *extremes };

static hone_kernels tuned(const hone_kernels *kernels, const hone_blocking *b) {
    hone_kernels k = *kernels;
    const hone_tuning tuning = {*b, *b};
    hone_error err;
    assert_ok(hone_kernels_tune(&k, &tuning, &err), err);
    assert_memory_equal(&k.tuning, &tuning, sizeof tuning);
    return k;
}

static uint64_t digest_of(const hone_case *kind, const hone_case_shape *shape,
                          const hone_op_set *set, const hone_kernels *kernels) {
    hone_case_report report;
    hone_error err;
    uint64_t digest;
    assert_ok(hone_case_check(kind, shape, set, kernels, 2, 5, &report, &digest, &err), err);
    if (!report.passed) fail_msg("%s, %s: %s", kind->name, set->name, report.message);
    return digest;
}

static void check_shape(const hone_case *kind, const hone_case_shape *shape, const hone_op_set *set,
                        const hone_kernels *kernels) {
    uint64_t want = digest_of(kind, shape, set, kernels);
    for (int i = 0; i < EXTREMES; i++) {
        hone_kernels k = tuned(kernels, &extremes[i]);
        if (digest_of(kind, shape, set, &k) == want) continue;
        fail_msg("%s, %s, %s: rows %zu x %zu hidden %zu vocab %zu in %zu out %zu: other bits "
                 "with %zu packed bytes and %zu rows of loss",
                 kind->name, set->name, hone_dtype_name(shape->compute), shape->batch, shape->seq,
                 shape->hidden, shape->vocab, shape->in, shape->out, extremes[i].packed_bytes,
                 extremes[i].loss_rows);
    }
}

static void no_bit_changes(void **state) {
    static const hone_op_set *const sets[] = {&hone_ops_naive, &hone_ops_fused};
    const hone_case *kind = hone_case_find(*state);
    hone_kernels kernels;
    hone_kernels_select(hone_cpu_detect(), &kernels);
    for (size_t s = 0; s < kind->shape_count; s++) {
        hone_case_shape shape = kind->shapes[s];
        for (int set = 0; set < 2; set++) {
            shape.compute = HONE_F32;
            check_shape(kind, &shape, sets[set], &kernels);
            shape.compute = HONE_BF16;
            check_shape(kind, &shape, sets[set], &kernels);
        }
    }
}

static void defaults_are_within_the_limits(void **state) {
    (void)state;
    hone_kernels kernels;
    const char *tier;
    for (size_t i = 0; hone_kernels_tier(i, hone_cpu_detect(), &kernels, &tier); i++) {
        hone_kernels again = kernels;
        hone_error err;
        assert_ok(hone_kernels_tune(&again, &kernels.tuning, &err), err);
        assert_true(kernels.tuning.f32.packed_bytes > 0 && kernels.tuning.f32.loss_rows > 0);
        assert_true(kernels.tuning.bf16.packed_bytes > 0 && kernels.tuning.bf16.loss_rows > 0);
        const hone_tuning nothing = {{0, 0}, {0, 0}};
        assert_ok(hone_kernels_tune(&again, &nothing, &err), err);
        assert_memory_equal(&again.tuning, &kernels.tuning, sizeof kernels.tuning);
    }
}

static void others_are_refused(void **state) {
    (void)state;
    static const hone_tuning wrong[] = {
        {.f32 = {.packed_bytes = HONE_LEAST_PACKED_BYTES - 1}},
        {.f32 = {.packed_bytes = HONE_MOST_PACKED_BYTES + 1, .loss_rows = 16}},
        {.bf16 = {.loss_rows = HONE_LEAST_LOSS_ROWS - 1}},
        {.f32 = {.loss_rows = 16}, .bf16 = {.loss_rows = HONE_MOST_LOSS_ROWS + 1}},
    };
    hone_kernels kernels;
    hone_error err;
    hone_kernels_select(hone_cpu_detect(), &kernels);
    const hone_tuning before = kernels.tuning;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(hone_kernels_tune(&kernels, &wrong[i], &err), HONE_ERR_USAGE);
        assert_non_null(strstr(err.message, "expected"));
        assert_memory_equal(&kernels.tuning, &before, sizeof before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(no_bit_changes, "lora_linear"),
        cmocka_unit_test_prestate(no_bit_changes, "linear_cross_entropy"),
        cmocka_unit_test(defaults_are_within_the_limits),
        cmocka_unit_test(others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
