/* Every operation of both sets, in every tier that runs here, in float32 and bfloat16, at every shape of its case,
 * against the float64 oracle; and, in the highest tier, the same bits from one, two and three threads. */
#include "support.h"

#include "base/cpu.h"
#include "cases/cases.h"

static const hone_op_set *const sets[] = {&hone_ops_naive, &hone_ops_fused};
static const hone_dtype types[] = {HONE_F32, HONE_BF16};

static void describe(char *text, size_t size, const hone_case *kind, const hone_case_shape *s,
                     const char *set, const char *tier) {
    snprintf(text, size,
             "%s, %s, %s, %s weights %s: batch %zu seq %zu hidden %zu vocab %zu heads %zu/%zu x "
             "%zu ffn %zu "
             "in %zu out %zu rank %zu",
             kind->name, set, tier, hone_dtype_name(s->compute), hone_dtype_name(s->weight),
             s->batch, s->seq, s->hidden, s->vocab, s->heads, s->kv_heads, s->head_dim, s->ffn,
             s->in, s->out, s->rank);
}

/* All shapes of one operation with `first` to `last` threads; returns the largest share of a bound that was used. */
static double check_kind(const hone_case *kind, const hone_op_set *set, const hone_kernels *kernels,
                         const char *tier, hone_dtype compute, int first, int last,
                         const char **tensor) {
    double most = 0;
    size_t failed = 0;
    for (size_t i = 0; i < kind->shape_count; i++) {
        hone_case_shape shape = kind->shapes[i];
        shape.compute = compute;
        uint64_t digest[4];
        for (int threads = first; threads <= last; threads++) {
            hone_case_report report;
            hone_error err;
            assert_ok(hone_case_check(kind, &shape, set, kernels, threads, 17 + i, &report,
                                      &digest[threads], &err),
                      err);
            if (report.share > most) most = report.share, *tensor = report.tensor;
            if (report.passed && digest[threads] == digest[first]) continue;
            char text[400];
            describe(text, sizeof text, kind, &shape, set->name, tier);
            print_error("%s, %d threads: %s\n", text, threads,
                        report.passed ? "other bits than with fewer" : report.message);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
    return most;
}

static void check(const char *name) {
    const hone_case *kind = hone_case_find(name);
    hone_kernels kernels;
    const char *tier, *tensor = "";
    const unsigned features = hone_cpu_detect();
    for (size_t i = 0; hone_kernels_tier(i, features, &kernels, &tier); i++) {
        hone_kernels higher;
        const char *name_of_higher;
        bool top = !hone_kernels_tier(i + 1, features, &higher, &name_of_higher);
        for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
            for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
                double most = check_kind(kind, sets[s], &kernels, tier, types[t], top ? 1 : 2,
                                         top ? 3 : 2, &tensor);
                print_message("%s, %s, %s: %.2f of its bound (%s)\n", sets[s]->name, tier,
                              hone_dtype_name(types[t]), most, tensor);
            }
        }
    }
}

static void test_case(void **state) { check(*state); }

int main(void) {
    struct CMUnitTest tests[16];
    size_t count = 0;
    for (const hone_case *kind; (kind = hone_case_at(count)); count++) {
        tests[count] = (struct CMUnitTest){.name = kind->name,
                                           .test_func = test_case,
                                           .initial_state = (void *)(uintptr_t)kind->name};
    }
    return _cmocka_run_group_tests("cases", tests, count, NULL, NULL);
}
