/* eval/loops: what the machine itself can do, in loops that do nothing else. One set per instruction set, chosen at
 * run time; each file is compiled with the flags of its instruction set alone. */
#ifndef HONE_EVAL_LOOPS_H
#define HONE_EVAL_LOOPS_H

#include <stddef.h>

/* Multiply-adds on registers alone, `rounds` times over all accumulators; returns the FLOPs done. */
typedef double hone_loops_multiply_fn(size_t rounds);

enum { HONE_LOOP_BYTES = 512 }; /* lengths for copy and read are multiples of this */

typedef struct hone_loops {
    const char *name; /* "AVX2 FMA" */
    hone_loops_multiply_fn *multiply_f32;
    void (*copy)(void *to, const void *from, size_t bytes); /* ordinary loads and stores */
    void (*read)(const void *from, size_t bytes);
} hone_loops;

extern const hone_loops hone_loops_scalar, hone_loops_avx2, hone_loops_avx512, hone_loops_neon;

/* The best for these HONE_CPU_* features. */
const hone_loops *hone_loops_select(unsigned features);

/* The same for bfloat16 products with float32 sums, and the name of their instruction; NULL: the CPU has none. */
hone_loops_multiply_fn *hone_loops_select_bf16(unsigned features, const char **name);

/* bfloat16 products with float32 sums. */
hone_loops_multiply_fn hone_loops_multiply_avx512bf16, hone_loops_multiply_amx,
    hone_loops_multiply_neonbf16;

#endif
