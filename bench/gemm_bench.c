/* bench/gemm: hone_matmul at the training shapes of SmolLM2-135M over 1,024 rows, forward (x W^T) and
 * transposed (dy W), weights bfloat16, Q4_1 and Q8_0, unpacking and packing included.
 * Usage: gemm_bench [f32|bf16 [rows]] */
#include "bench.h"

typedef struct shape {
    size_t out, in;
} shape;
static const shape shapes[] = {{576, 576}, {192, 576}, {1536, 576}, {576, 1536}, {49152, 576}};
static const hone_dtype weights[] = {HONE_BF16, HONE_Q4_1, HONE_Q8_0};

static void body(hone_ctx *ctx, void *argument) { hone_matmul(ctx, argument); }

/* Random codes with scales that make values of about 1. */
static void *random_blocks(hone_dtype dtype, size_t rows, size_t row_bytes) {
    size_t block = hone_dtype_block_bytes(dtype), bytes = rows * row_bytes;
    uint8_t *data = aligned_alloc(64, HONE_CEIL_DIV(bytes, 64) * 64);
    if (!data) exit(1);
    hone_rng rng = hone_rng_make(bytes);
    uint16_t scales[2] = {hone_f32_to_f16(dtype == HONE_Q8_0 ? 0.01f : 0.1f),
                          hone_f32_to_f16(-0.7f)};
    for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)hone_rng_next(&rng);
    for (size_t i = 0; i < bytes; i += block) memcpy(data + i, scales, dtype == HONE_Q8_0 ? 2 : 4);
    return data;
}

static void measure(bench *b, shape s, size_t rows, bool by_rows) {
    size_t k = by_rows ? s.in : s.out, n = by_rows ? s.out : s.in;
    void *a = bench_random(b->compute, rows * k, 1.0), *c = bench_random(b->compute, rows * n, 0.0);
    printf("%-10s N %5zu K %5zu", by_rows ? "forward" : "transposed", n, k);
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        hone_matrix w = {.rows = s.out, .cols = s.in, .dtype = weights[i]};
        if (!hone_dtype_row_bytes(w.dtype, w.cols, &w.row_bytes)) exit(1);
        void *data = w.dtype == HONE_BF16 ? bench_random(HONE_BF16, s.out * s.in, 1.0)
                                          : random_blocks(w.dtype, w.rows, w.row_bytes);
        w.data = data;
        hone_matmul_args args = {.m = rows,
                                 .n = n,
                                 .k = k,
                                 .a = a,
                                 .lda = k,
                                 .b = &w,
                                 .by_rows = by_rows,
                                 .c = c,
                                 .ldc = n,
                                 .c_dtype = b->compute};
        bench_time time = bench_run(b, body, &args);
        double flops = 2.0 * (double)rows * (double)n * (double)k / 1e9;
        printf("   %s %5.0f (best %5.0f)", hone_dtype_name(w.dtype), flops / time.median,
               flops / time.minimum);
        fflush(stdout);
        free(data);
    }
    printf("\n");
    free(a), free(c);
}

int main(int argc, char **argv) {
    bench b = bench_start(argc > 1 && strcmp(argv[1], "f32") == 0 ? HONE_F32 : HONE_BF16);
    size_t rows = argc > 2 ? strtoul(argv[2], NULL, 10) : 1024;
    if (rows == 0) {
        fprintf(stderr, "usage: gemm_bench [f32|bf16 [rows]]\n");
        return 2;
    }
    printf("%zu rows, GFLOP/s by type of weights: median (best)\n", rows);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        measure(&b, shapes[i], rows, true);
        measure(&b, shapes[i], rows, false);
    }
    return 0;
}
