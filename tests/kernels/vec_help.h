/* tests/kernels: arrays of both types that end at guard pages, and all sets of vector kernels that run here. */
#ifndef HONE_TESTS_KERNELS_VEC_HELP_H
#define HONE_TESTS_KERNELS_VEC_HELP_H

#include "kernels/matrix_help.h"

/* An array that ends at a guard page, and its values. */
typedef struct array {
    guarded g;
    hone_dtype dtype;
    size_t count;
    double *values;
} array;

static inline array array_new(hone_dtype dtype, size_t count) {
    array a = {.dtype = dtype, .count = count};
    a.g = guarded_new(count * (dtype == HONE_F32 ? 4 : 2));
    a.values = calloc(count + 1, sizeof *a.values);
    assert_non_null(a.values);
    return a;
}

static inline void array_set(array *a, size_t i, double value) {
    dense_set(a->g.data, a->dtype, i, value);
    a->values[i] = dense_get(a->g.data, a->dtype, i);
}

static inline array array_random(hone_dtype dtype, size_t count, double magnitude, hone_rng *rng) {
    array a = array_new(dtype, count);
    for (size_t i = 0; i < count; i++) array_set(&a, i, hone_rng_normal(rng) * magnitude);
    return a;
}

static inline void array_free(array *a) {
    guarded_free(&a->g);
    free(a->values);
}

static inline double array_get(const array *a, size_t i) {
    return dense_get(a->g.data, a->dtype, i);
}

/* Half a unit in the last place of the type, for the rounding of a result of this size. */
static inline double rounding(hone_dtype dtype, double size) {
    return fabs(size) * (dtype == HONE_F32 ? 0x1p-24 : 0x1p-8);
}

/* |got - want| <= bound float32 roundings of `size`, and the rounding to the output's type. */
static inline void check(const char *what, const array *got, size_t i, double want, double size,
                         double bound) {
    double value = array_get(got, i);
    double most = bound * rounding(HONE_F32, size) +
                  (got->dtype == HONE_BF16 ? rounding(HONE_BF16, want) : 0) + 1e-37;
    if (!(fabs(value - want) <= most))
        fail_msg("%s[%zu] = %.9g, want %.9g within %.3g", what, i, value, want, most);
}

/* Runs a body once per distinct set of vector kernels. */
static inline void each_vec_tier(void (*body)(const hone_kernels *k)) {
    hone_kernels kernels;
    const char *tier, *last = "";
    for (size_t i = 0; hone_kernels_tier(i, hone_cpu_detect(), &kernels, &tier); i++) {
        if (strcmp(kernels.vec_name, last) == 0) continue;
        last = kernels.vec_name;
        print_message("vec %s\n", last);
        body(&kernels);
    }
    assert_true(*last);
}

#endif
