/* bench/onednn: oneDNN's matrix multiply (C interface of version 2) with weights in the layout that it likes best. */
#include "bench.h"

#include <dnnl.h>
#include <omp.h>

struct bench_onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t multiply;
    dnnl_memory_t a, w, c;
    void *result;
};

static void need(dnnl_status_t status, const char *what) {
    if (status == dnnl_success) return;
    fprintf(stderr, "bench: oneDNN: %s failed with status %d\n", what, (int)status);
    exit(EXIT_FAILURE);
}

/* The weights as a plain array of the compute type, [rows, cols] as they are stored. */
static void *unpack(const bench *b, hone_dtype compute, const hone_matrix *w) {
    size_t row = w->cols * hone_dtype_block_bytes(compute);
    char *plain = bench_memory(w->rows * row);
    for (size_t r = 0; r < w->rows; r++)
        b->kernels.unpack(w, r, 0, w->cols, compute, plain + r * row);
    return plain;
}

static void pack(bench_onednn *o, const dnnl_memory_desc_t *from, void *plain,
                 const dnnl_memory_desc_t *to) {
    dnnl_primitive_desc_t description;
    dnnl_primitive_t reorder;
    dnnl_memory_t source;
    need(dnnl_memory_create(&source, from, o->engine, plain), "memory");
    need(dnnl_memory_create(&o->w, to, o->engine, DNNL_MEMORY_ALLOCATE), "memory");
    need(dnnl_reorder_primitive_desc_create(&description, from, o->engine, to, o->engine, NULL),
         "the description of packing");
    need(dnnl_primitive_create(&reorder, description), "packing");
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, o->w}};
    need(dnnl_primitive_execute(reorder, o->stream, 2, arguments), "packing");
    need(dnnl_stream_wait(o->stream), "packing");
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(description);
    dnnl_memory_destroy(source);
}

bench_onednn *bench_onednn_open(const bench *b, hone_dtype compute, size_t m, size_t n, size_t k,
                                const void *a, const hone_matrix *w, bool by_rows) {
    bench_onednn *o = bench_memory(sizeof *o);
    dnnl_data_type_t type = compute == HONE_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_dims_t am = {(dnnl_dim_t)m, (dnnl_dim_t)k}, wm = {(dnnl_dim_t)k, (dnnl_dim_t)n},
                cm = {(dnnl_dim_t)m, (dnnl_dim_t)n};
    dnnl_memory_desc_t ad, wd, any, cd;
    dnnl_matmul_desc_t product;
    dnnl_primitive_desc_t description;
    omp_set_num_threads(b->threads); /* oneDNN takes as many as OpenMP would */
    need(dnnl_engine_create(&o->engine, dnnl_cpu, 0), "an engine");
    need(dnnl_stream_create(&o->stream, o->engine, dnnl_stream_default_flags), "a stream");
    need(dnnl_memory_desc_init_by_tag(&ad, 2, am, type, dnnl_ab), "a layout");
    need(dnnl_memory_desc_init_by_tag(&wd, 2, wm, type, by_rows ? dnnl_ba : dnnl_ab), "a layout");
    need(dnnl_memory_desc_init_by_tag(&any, 2, wm, type, dnnl_format_tag_any), "a layout");
    need(dnnl_memory_desc_init_by_tag(&cd, 2, cm, type, dnnl_ab), "a layout");
    need(dnnl_matmul_desc_init(&product, &ad, &any, NULL, &cd), "a product");
    need(dnnl_primitive_desc_create(&description, &product, NULL, o->engine, NULL),
         "the description of a product");
    need(dnnl_primitive_create(&o->multiply, description), "a product");
    void *plain = unpack(b, compute, w);
    pack(o, &wd, plain, dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0));
    free(plain);
    o->result = bench_memory(m * n * hone_dtype_block_bytes(compute));
    need(dnnl_memory_create(&o->a, &ad, o->engine, (void *)(uintptr_t)a), "memory");
    need(dnnl_memory_create(&o->c, &cd, o->engine, o->result), "memory");
    dnnl_primitive_desc_destroy(description);
    return o;
}

void bench_onednn_run(void *onednn) {
    const bench_onednn *o = onednn;
    dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, o->a}, {DNNL_ARG_WEIGHTS, o->w}, {DNNL_ARG_DST, o->c}};
    need(dnnl_primitive_execute(o->multiply, o->stream, 3, arguments), "a product");
    need(dnnl_stream_wait(o->stream), "a product");
}

const void *bench_onednn_result(const bench_onednn *o) { return o->result; }

void bench_onednn_close(bench_onednn *o) {
    dnnl_memory_destroy(o->a);
    dnnl_memory_destroy(o->w);
    dnnl_memory_destroy(o->c);
    dnnl_primitive_destroy(o->multiply);
    dnnl_stream_destroy(o->stream);
    dnnl_engine_destroy(o->engine);
    free(o->result);
    free(o);
}
