/* bench/loops: what the machine itself can do, in loops that do nothing else. One set per instruction set, chosen at
 * run time; each file is compiled with the flags of its instruction set alone. */
#ifndef HONE_BENCH_LOOPS_H
#define HONE_BENCH_LOOPS_H

#include <stddef.h>

/* Multiply-adds on registers alone, `rounds` times over all accumulators; returns the FLOPs done. */
typedef double bench_multiply_fn(size_t rounds);

enum { BENCH_LOOP_BYTES = 512 }; /* lengths for copy and read are multiples of this */

typedef struct bench_loops {
    const char *name; /* "AVX2 FMA" */
    bench_multiply_fn *multiply_f32;
    void (*copy)(void *to, const void *from, size_t bytes); /* ordinary loads and stores */
    void (*read)(const void *from, size_t bytes);
} bench_loops;

extern const bench_loops bench_loops_scalar, bench_loops_avx2, bench_loops_avx512, bench_loops_neon;

/* bfloat16 products with float32 sums. */
bench_multiply_fn bench_multiply_avx512bf16, bench_multiply_amx, bench_multiply_neonbf16;

#endif
