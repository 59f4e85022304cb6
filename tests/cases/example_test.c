/* examples/kernels.c, the kernel file that others start from: every case of the six operations, on one to three threads
 * with the same bits, and in a set with what it leaves out. */
#include "support.h"

#include "base/cpu.h"
#include "cases/cases.h"
#include "ops/plugin.h"

static hone_plugin *plugin;
static hone_kernels kernels;

static int load(void **state) {
    (void)state;
    hone_error err;
    if (hone_plugin_open(HONE_TEST_KERNELS, &plugin, &err) != HONE_OK) {
        print_error("%s\n", err.message);
        return 1;
    }
    hone_kernels_select(hone_cpu_detect(), &kernels);
    return 0;
}

static int unload(void **state) {
    (void)state;
    hone_plugin_close(&plugin);
    return 0;
}

static void implements_all_six(void **state) {
    (void)state;
    for (int op = 0; op < HONE_OP_COUNT; op++) assert_true(hone_plugin_has(plugin, (hone_op)op));
    assert_true(
        hone_plugin_ops(plugin)->separate_rope); /* so that training runs its rope_embeddings */
}

static void check(const char *name) {
    static const hone_dtype types[] = {HONE_F32, HONE_BF16};
    const hone_case *kind = hone_case_find(name);
    size_t failed = 0;
    for (size_t i = 0; i < 2 * kind->shape_count; i++) {
        hone_case_shape shape = kind->shapes[i / 2];
        uint64_t first = 0;
        shape.compute = types[i % 2];
        for (int threads = 1; threads <= 3; threads++) {
            hone_case_report report;
            hone_error err;
            uint64_t digest;
            assert_ok(hone_case_check(kind, &shape, hone_plugin_ops(plugin), &kernels, threads,
                                      i + 5, &report, &digest, &err),
                      err);
            if (threads == 1) first = digest;
            if (report.passed && digest == first) continue;
            print_error("%s, shape %zu, %s, %d threads: %s\n", name, i / 2,
                        hone_dtype_name(shape.compute), threads,
                        report.passed ? "other bits than on one thread" : report.message);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
    assert_false(hone_plugin_changed_mode(plugin));
}

#define CHECK(name, type)                                                                          \
    static void name(void **state) {                                                               \
        (void)state;                                                                               \
        check(#name);                                                                              \
    }
HONE_OPS(CHECK)

/* The composite of both, which the file does not have: made of its linear layer and its loss. */
static void linear_cross_entropy(void **state) {
    (void)state;
    check("linear_cross_entropy");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(implements_all_six),
#define TEST(name, type) cmocka_unit_test(name),
        HONE_OPS(TEST) cmocka_unit_test(linear_cross_entropy),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
