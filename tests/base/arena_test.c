/* tests of base/arena: a plan foretells a run. */
#include "base/arena.h"

#include "support.h"

typedef struct trace {
    size_t saved[4], scratch[4]; /* distance from base */
} trace;

static size_t distance(const hone_arena *a, const void *p) {
    return (size_t)((const char *)p - a->base);
}

/* What a layer does: keeps some, uses some, gives some back. */
static void work(hone_arena *a, trace *t) {
    const size_t sizes[4] = {100, 64, 1, 5000};
    for (int i = 0; i < 4; i++) {
        void *kept = hone_arena_save(a, sizes[i]);
        hone_arena_mark mark = hone_arena_get_mark(a);
        void *used = hone_arena_scratch(a, 3 * sizes[i]);
        if (t != NULL) {
            t->saved[i] = distance(a, kept);
            t->scratch[i] = distance(a, used);
            memset(kept, i, sizes[i]);
            memset(used, -1, 3 * sizes[i]);
        }
        if (i % 2 == 0) hone_arena_release_scratch(a, mark);
    }
}

static void a_plan_is_exact(void **state) {
    (void)state;
    hone_error err = {0};
    hone_arena plan = hone_arena_plan();
    assert_true(hone_arena_planning(&plan));
    work(&plan, NULL);
    /* saved 128+64+64+5056; scratch 192 stays of the second and 15040 of the fourth, 320+... were less */
    assert_int_equal(plan.saved, 128 + 64 + 64 + 5056);
    assert_int_equal(plan.scratch, 192 + 15040);
    assert_int_equal(plan.peak, plan.saved + plan.scratch);

    hone_arena real;
    assert_ok(hone_arena_open(&real, plan.peak, false, &err), err);
    trace first, second;
    hone_arena copy = real;
    work(&real, &first);
    work(&copy, &second);
    assert_memory_equal(&first, &second, sizeof first);
    assert_int_equal(real.peak, plan.peak);
    assert_ok(hone_arena_check(&real, &err), err);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(first.saved[i] % 64, 0);
        assert_int_equal(first.scratch[i] % 64, 0);
    }
    assert_int_equal(first.saved[3], 256);
    assert_int_equal(first.scratch[3], real.capacity - 192 - 15040);
    hone_arena_close(&real);
    assert_null(real.base);
}

static void stacks_are_released_to_a_mark(void **state) {
    (void)state;
    hone_arena a = hone_arena_plan();
    hone_arena_save(&a, 64);
    hone_arena_mark mark = hone_arena_get_mark(&a);
    hone_arena_save(&a, 128);
    hone_arena_scratch(&a, 256);
    hone_arena_release_scratch(&a, mark);
    assert_int_equal(a.saved, 192);
    assert_int_equal(a.scratch, 0);
    hone_arena_release(&a, mark);
    assert_int_equal(a.saved, 64);
    assert_int_equal(a.peak, 448);
    assert_int_equal(a.at_peak.saved, 192);
    assert_int_equal(a.at_peak.scratch, 256);
    hone_arena_restart_peak(&a);
    assert_int_equal(a.peak, 64);
    assert_int_equal(a.at_peak.saved, 64);
    assert_int_equal(a.at_peak.scratch, 0);
    hone_arena_scratch(&a, 64);
    assert_int_equal(a.peak, 128);
    assert_int_equal(a.at_peak.scratch, 64);
}

static void what_does_not_fit_is_remembered(void **state) {
    (void)state;
    hone_error err = {0};
    hone_arena a;
    assert_ok(hone_arena_open(&a, 4096, false, &err), err);
    assert_non_null(hone_arena_save(&a, 4000));
    assert_ptr_equal(hone_arena_scratch(&a, 128), a.base);
    assert_int_equal(hone_arena_check(&a, &err), HONE_ERR_INTERNAL);
    a.overflow = false;
    assert_ptr_equal(hone_arena_save(&a, SIZE_MAX - 10), a.base); /* would wrap when padded */
    assert_true(a.overflow);
    hone_arena_close(&a);
    hone_arena plan = hone_arena_plan();
    hone_arena_save(&plan, SIZE_MAX / 2);
    hone_arena_scratch(&plan, SIZE_MAX / 2 + 200);
    assert_true(plan.overflow);
    assert_int_equal(hone_arena_open(&a, SIZE_MAX - 5, true, &err), HONE_ERR_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_exact),
        cmocka_unit_test(stacks_are_released_to_a_mark),
        cmocka_unit_test(what_does_not_fit_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
