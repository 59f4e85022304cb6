/* Helpers of the matrix tests: memory that ends at a guard page, weights of every type beside their
 * values in float64 (decoded here, not by the library), packed panels written element by element. */
#ifndef HONE_TESTS_MATRIX_HELP_H
#define HONE_TESTS_MATRIX_HELP_H

#define _GNU_SOURCE 1
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "base/size.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* `bytes` bytes whose end is followed by an inaccessible page, filled with 0xff (NaN in every type). */
typedef struct guarded {
    void *data;
    char *map;
    size_t map_bytes;
} guarded;

static inline guarded guarded_new(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = HONE_CEIL_DIV(HONE_MAX(bytes, 1), page);
    guarded g = {.map_bytes = (pages + 1) * page};
    g.map = mmap(NULL, g.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    memset(g.map, 0xff, pages * page);
    assert_int_equal(mprotect(g.map + pages * page, page, PROT_NONE), 0);
    g.data = g.map + pages * page - bytes;
    return g;
}

static inline void guarded_free(guarded *g) {
    munmap(g->map, g->map_bytes);
    *g = (guarded){0};
}

static inline double random_value(hone_rng *rng) { return hone_rng_uniform(rng) * 2 - 1; }

/* Element i of a dense array as float64, and its setter (rounded to the type). */
static inline double dense_get(const void *data, hone_dtype dtype, size_t i) {
    const uint8_t *p = (const uint8_t *)data + i * (dtype == HONE_F32 ? 4 : 2);
    uint16_t half;
    float f;
    memcpy(&half, p, 2);
    if (dtype == HONE_BF16) return hone_bf16_to_f32(half);
    if (dtype == HONE_F16) return hone_f16_to_f32(half);
    memcpy(&f, p, 4);
    return f;
}

static inline void dense_set(void *data, hone_dtype dtype, size_t i, double value) {
    uint8_t *p = (uint8_t *)data + i * (dtype == HONE_F32 ? 4 : 2);
    float f = (float)value;
    uint16_t half = dtype == HONE_BF16 ? hone_f32_to_bf16(f) : hone_f32_to_f16(f);
    if (dtype == HONE_F32)
        memcpy(p, &f, 4);
    else
        memcpy(p, &half, 2);
}

/* A matrix at the end of a guarded page, and its values. */
typedef struct test_matrix {
    hone_matrix m;
    double *values; /* [rows, cols] */
    guarded data, scales, biases;
} test_matrix;

static inline void test_matrix_free(test_matrix *t) {
    guarded_free(&t->data);
    if (t->scales.map != NULL) guarded_free(&t->scales);
    if (t->biases.map != NULL) guarded_free(&t->biases);
    free(t->values);
}

static inline void fill_block(test_matrix *t, hone_rng *rng, size_t row, size_t block) {
    hone_dtype dtype = t->m.dtype;
    uint8_t *p = (uint8_t *)t->data.data + row * t->m.row_bytes;
    double *out = t->values + row * t->m.cols + block * 32, d, m = 0;
    size_t code = 0;
    if (dtype == HONE_AFFINE4) {
        size_t at = row * (t->m.cols / (size_t)t->m.group) + block * 32 / (size_t)t->m.group;
        d = dense_get(t->m.scales, t->m.affine_dtype, at);
        m = dense_get(t->m.biases, t->m.affine_dtype, at);
        p += block * 16;
    } else {
        p += block * hone_dtype_block_bytes(dtype);
        uint16_t half[2] = {hone_f32_to_f16((float)(random_value(rng) / 8)),
                            hone_f32_to_f16((float)random_value(rng))};
        code = dtype == HONE_Q4_1 ? 4 : 2;
        memcpy(p, half, code);
        d = hone_f16_to_f32(half[0]);
        if (dtype == HONE_Q4_1) m = hone_f16_to_f32(half[1]);
    }
    for (size_t i = 0; i < (dtype == HONE_Q8_0 ? 32u : 16u); i++) {
        uint8_t byte = (uint8_t)hone_rng_below(rng, 256);
        p[code + i] = byte;
        int low = byte & 15, high = byte >> 4;
        if (dtype == HONE_Q8_0) {
            out[i] = d * (int8_t)byte;
        } else if (dtype == HONE_AFFINE4) {
            out[2 * i] = d * low + m;
            out[2 * i + 1] = d * high + m;
        } else {
            out[i] = dtype == HONE_Q4_0 ? d * (low - 8) : d * low + m;
            out[i + 16] = dtype == HONE_Q4_0 ? d * (high - 8) : d * high + m;
        }
    }
}

/* cols is a multiple of the block. Affine groups: `group`, with scales of `affine_dtype`. */
static inline test_matrix test_matrix_new(hone_dtype dtype, size_t rows, size_t cols, int group,
                                          hone_dtype affine_dtype, uint64_t seed) {
    hone_rng rng = hone_rng_make(seed);
    test_matrix t = {.m = {.rows = rows, .cols = cols, .dtype = dtype}};
    assert_true(hone_dtype_row_bytes(dtype, cols, &t.m.row_bytes));
    t.data = guarded_new(rows * t.m.row_bytes);
    t.m.data = t.data.data;
    t.values = calloc(rows * cols, sizeof *t.values);
    assert_non_null(t.values);
    if (hone_dtype_block(dtype) == 1) {
        for (size_t i = 0; i < rows * cols; i++) {
            dense_set(t.data.data, dtype, i, random_value(&rng));
            t.values[i] = dense_get(t.data.data, dtype, i);
        }
        return t;
    }
    if (dtype == HONE_AFFINE4) {
        size_t groups = rows * (cols / (size_t)group), bytes = affine_dtype == HONE_F32 ? 4 : 2;
        t.m.group = group;
        t.m.affine_dtype = affine_dtype;
        t.scales = guarded_new(groups * bytes);
        t.biases = guarded_new(groups * bytes);
        t.m.scales = t.scales.data;
        t.m.biases = t.biases.data;
        for (size_t i = 0; i < groups; i++) {
            dense_set(t.scales.data, affine_dtype, i, random_value(&rng) / 8);
            dense_set(t.biases.data, affine_dtype, i, random_value(&rng));
        }
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t b = 0; b < cols / 32; b++) fill_block(&t, &rng, r, b);
    }
    return t;
}

/* Every type of weight, with the groups and the types of scales that there are. */
typedef struct weight_kind {
    hone_dtype dtype;
    int group;
    hone_dtype affine;
} weight_kind;
static const weight_kind kinds[] = {
    {HONE_F32, 0, 0},
    {HONE_F16, 0, 0},
    {HONE_BF16, 0, 0},
    {HONE_Q4_0, 0, 0},
    {HONE_Q4_1, 0, 0},
    {HONE_Q8_0, 0, 0},
    {HONE_AFFINE4, 32, HONE_F32},
    {HONE_AFFINE4, 64, HONE_F16},
    {HONE_AFFINE4, 128, HONE_BF16},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* Within one rounding of float32 arithmetic, and of the type it is stored in. */
static inline void check_value(double got, double want, hone_dtype compute, const char *what,
                               hone_dtype dtype) {
    double bound = (fabs(want) + 2) * 0x1p-22;
    if (compute == HONE_BF16) bound += fabs(want) * 0x1.01p-8;
    if (!(fabs(got - want) <= bound)) {
        fail_msg("%s of %s as %s: %.9g, expected %.9g", what, hone_dtype_name(dtype),
                 hone_dtype_name(compute), got, want);
    }
}

/* Element (k, n) of packed B of depth `depth`. */
static inline size_t packed_index(hone_dtype compute, size_t depth, size_t k, size_t n) {
    if (compute == HONE_F32) return (n / 16 * depth + k) * 16 + n % 16;
    size_t padded = HONE_CEIL_DIV(depth, 32) * 32;
    return n / 16 * padded * 16 + k / 2 * 32 + n % 16 * 2 + k % 2;
}

/* Runs `body` for every tier of this machine. */
static inline void each_tier(void (*body)(const hone_kernels *kernels, const char *tier)) {
    hone_kernels kernels;
    const char *tier;
    size_t count = 0;
    for (; hone_kernels_tier(count, hone_cpu_detect(), &kernels, &tier); count++) {
        print_message("tier %s: gemm_bf16 %s, gemm_f32 %s\n", tier, kernels.gemm_bf16_name,
                      kernels.gemm_f32_name);
        body(&kernels, tier);
    }
    assert_true(count > 0);
}

#endif
