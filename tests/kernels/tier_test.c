/* The variants that a machine is known to have are those that it gets. HONE_EXPECT_TIER names the tier (a HONE_TIER of
 * kernels.def) that the processor, capped by HONE_CPU, must come to; a kernel with a variant for exactly
 * that tier must be it. tools/check-arm sets the variable: in an emulator, a fallback would pass every other test. */
#include "support.h"

#include "kernels/variants.h"

static const char *expected;

/* The features of the tier that is expected. */
static unsigned needs_of_tier(void) {
#define HONE_KERNEL(op, type, variant, needs)
#define HONE_TIER(name, needs)                                                                     \
    if (strcmp(expected, #name) == 0) return (needs);
#include "kernels/kernels.def"
#undef HONE_KERNEL
#undef HONE_TIER
    fail_msg("HONE_EXPECT_TIER=%s: this architecture has no such tier", expected);
    return 0;
}

static int no_tier_is_expected(void) {
    expected = getenv("HONE_EXPECT_TIER");
    if (expected != NULL) return 0;
    print_message("HONE_EXPECT_TIER does not say which tier this machine has\n");
    return 1;
}

static void select_kernels(hone_kernels *kernels) {
    unsigned features;
    hone_error err;
    assert_ok(hone_cpu_features(&features, &err), err);
    hone_kernels_select(features, kernels);
}

/* Rows go from slow to fast: of several for the tier the last one is it. */
static void each_kernel_has_the_variant_of_the_tier(void **state) {
    (void)state;
    if (no_tier_is_expected()) skip();
    const unsigned tier = needs_of_tier();
    hone_kernels kernels, wanted = {0};
    select_kernels(&kernels);
    size_t count = 0;
#define HONE_TIER(name, needs)
#define HONE_KERNEL(op, type, variant, needs)                                                      \
    if ((needs) == tier) wanted.op = hone_##op##_##variant;
#include "kernels/kernels.def"
#undef HONE_KERNEL
#undef HONE_TIER
#define HONE_KERNEL_FIELD(op, type)                                                                \
    if (wanted.op != NULL && kernels.op != wanted.op)                                              \
        fail_msg("%s is not the variant of the tier %s", #op, expected);                           \
    count += wanted.op != NULL;
#include "kernels/kernels_list.h"
#undef HONE_KERNEL_FIELD
    print_message("%zu kernels of the tier %s\n", count, expected);
    assert_true(count > 0);
}

/* And the tier is the best there is, not one of those below it. */
static void the_tier_is_the_best(void **state) {
    (void)state;
    if (no_tier_is_expected()) skip();
    hone_kernels kernels;
    select_kernels(&kernels);
    print_message("gemm_f32 %s, gemm_bf16 %s, vectors %s\n", kernels.gemm_f32_name,
                  kernels.gemm_bf16_name, kernels.vec_name);
    assert_int_equal(kernels.features, needs_of_tier());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kernel_has_the_variant_of_the_tier),
        cmocka_unit_test(the_tier_is_the_best),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
