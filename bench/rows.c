/* bench/rows: what is bound by memory: norms, rotary embedding, silu·mul, residual add and AdamW at SmolLM2's widths,
 * called as training calls them, beside a copy that moves as many bytes. */
#include "bench.h"

#include "base/cpu.h"

enum { HIDDEN = 576, FFN = 1536, HEADS = 9, HEAD_DIM = 64, GRAIN = 4096 };

static const size_t row_counts[] = {1024, 2048, 4096, 8192};

/* Every operation's inputs. Which are there depends on the operation. */
typedef struct inputs {
    size_t rows;
    hone_saved saved;
    hone_rms_norm_args norm;
    hone_rope_args rope;
    hone_adamw adamw;
    const float *a;
    const void *gate, *up;
    void *h, *dh, *dgate, *dup;
    float *y;
} inputs;

static size_t element_size(hone_dtype type) { return hone_dtype_block_bytes(type); }

static void norm_forward(hone_ctx *ctx, void *argument) {
    const inputs *in = argument;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    hone_saved saved;
    hone_ops_fused.rms_norm_forward(ctx, &in->norm, &saved);
    hone_arena_release(&ctx->arena, mark);
}

static void norm_backward(hone_ctx *ctx, void *argument) {
    const inputs *in = argument;
    hone_ops_fused.rms_norm_backward(ctx, &in->norm, &in->saved);
}

static void rope_forward(hone_ctx *ctx, void *argument) {
    const inputs *in = argument;
    hone_ops_fused.rope_embeddings_forward(ctx, &in->rope, NULL);
}

static void rope_backward(hone_ctx *ctx, void *argument) {
    const inputs *in = argument;
    hone_ops_fused.rope_embeddings_backward(ctx, &in->rope, NULL);
}

/* As swiglu_activation splits them. */
static void silu_forward(hone_ctx *ctx, void *argument) {
    const inputs *in = argument;
    size_t begin, end, size = element_size(ctx->compute);
    if (hone_ctx_planning(ctx)) return;
    hone_split(ctx->team, in->rows * FFN, GRAIN, &begin, &end);
    ctx->kernels->silu_mul(end - begin, ctx->compute, (const char *)in->gate + begin * size,
                           (const char *)in->up + begin * size, (char *)in->h + begin * size);
    hone_barrier(ctx->team);
}

static void silu_backward(hone_ctx *ctx, void *argument) {
    const inputs *in = argument;
    size_t begin, end, size = element_size(ctx->compute);
    if (hone_ctx_planning(ctx)) return;
    hone_split(ctx->team, in->rows * FFN, GRAIN, &begin, &end);
    ctx->kernels->silu_mul_backward(end - begin, ctx->compute, (const char *)in->dh + begin * size,
                                    (const char *)in->gate + begin * size,
                                    (const char *)in->up + begin * size,
                                    (char *)in->dgate + begin * size,
                                    (char *)in->dup + begin * size, (char *)in->h + begin * size);
    hone_barrier(ctx->team);
}

static void residual_add(hone_ctx *ctx, void *argument) {
    const inputs *in = argument;
    hone_residual_add(ctx, in->rows * HIDDEN, in->a, in->up, ctx->compute, in->y);
}

/* In bfloat16 widened, multiplied by 1 and rounded, and nothing else. */
static void scale(hone_ctx *ctx, void *argument) {
    const inputs *in = argument;
    hone_convert(ctx, in->rows * HIDDEN, in->up, ctx->compute, in->h, ctx->compute);
}

static void adamw_step(hone_ctx *ctx, void *argument) {
    const inputs *in = argument;
    hone_adamw_step(ctx, &in->adamw);
}

/* ---- inputs ---- */

static void make_norm(bench_case *c, inputs *in, hone_dtype compute, bool backward) {
    size_t n = in->rows * HIDDEN, size = element_size(compute);
    float *gamma = bench_own(c, bench_random(HONE_F32, HIDDEN, 1));
    in->norm = (hone_rms_norm_args){
        .rows = in->rows, .hidden = HIDDEN, .gamma = gamma, .eps = 1e-5f, .dy_dtype = HONE_F32};
    if (!backward) {
        in->norm.x = bench_own(c, bench_random(HONE_F32, n, 1));
        in->norm.y = bench_own(c, bench_memory(n * size));
        return;
    }
    in->norm.dy = bench_own(c, bench_random(HONE_F32, n, 1e-3));
    in->norm.dx = bench_own(c, bench_random(HONE_F32, n, 1e-3));
    in->norm.dx_copy = bench_own(c, bench_memory(n * size));
    float *rstd = bench_own(c, bench_memory(in->rows * sizeof *rstd));
    for (size_t r = 0; r < in->rows; r++) rstd[r] = 1;
    in->saved.slot[0] = bench_own(c, bench_random(compute, n, 1)); /* as rms_norm.c keeps them */
    in->saved.slot[1] = rstd;
}

static void make_rope(bench_case *c, inputs *in, hone_dtype compute, bool backward) {
    (void)backward;
    enum { LENGTH = 256, HALF = HEAD_DIM / 2 }; /* sequences of 256 tokens */
    int32_t *positions = bench_own(c, bench_memory(in->rows * sizeof *positions));
    float *cosine = bench_own(c, bench_memory(LENGTH * HALF * sizeof *cosine));
    float *sine = bench_own(c, bench_memory(LENGTH * HALF * sizeof *sine));
    for (size_t r = 0; r < in->rows; r++) positions[r] = (int32_t)(r % LENGTH);
    for (size_t i = 0; i < LENGTH * HALF; i++) {
        double angle = (double)(i / HALF) * pow(1e5, -(double)(i % HALF) / HALF);
        cosine[i] = (float)cos(angle);
        sine[i] = (float)sin(angle);
    }
    void *x = bench_own(c, bench_random(compute, in->rows * HIDDEN, 1));
    in->rope = (hone_rope_args){.rows = in->rows,
                                .heads = HEADS,
                                .head_dim = HEAD_DIM,
                                .rope_dim = HEAD_DIM,
                                .x = x,
                                .y = x,
                                .positions = positions,
                                .cos = cosine,
                                .sin = sine};
}

static void make_silu(bench_case *c, inputs *in, hone_dtype compute, bool backward) {
    size_t n = in->rows * FFN, bytes = n * element_size(compute);
    in->gate = bench_own(c, bench_random(compute, n, 1));
    in->up = bench_own(c, bench_random(compute, n, 1));
    in->h = bench_own(c, bench_memory(bytes));
    if (!backward) return;
    in->dh = bench_own(c, bench_random(compute, n, 1));
    in->dgate = bench_own(c, bench_memory(bytes));
    in->dup = bench_own(c, bench_memory(bytes));
}

static void make_add(bench_case *c, inputs *in, hone_dtype compute, bool backward) {
    (void)backward;
    size_t n = in->rows * HIDDEN;
    in->a = bench_own(c, bench_random(HONE_F32, n, 1));
    in->up = bench_own(c, bench_random(compute, n, 1));
    in->y = bench_own(c, bench_memory(n * sizeof *in->y));
}

static void make_scale(bench_case *c, inputs *in, hone_dtype compute, bool backward) {
    (void)backward;
    size_t n = in->rows * HIDDEN;
    in->up = bench_own(c, bench_random(compute, n, 1));
    in->h = bench_own(c, bench_memory(n * element_size(compute)));
}

static void make_adamw(bench_case *c, inputs *in, hone_dtype compute, bool backward) {
    (void)compute, (void)backward;
    size_t n = in->rows * HIDDEN;
    in->adamw = (hone_adamw){.n = n,
                             .w = bench_own(c, bench_random(HONE_F32, n, 1)),
                             .m = bench_own(c, bench_random(HONE_F32, n, 1e-3)),
                             .v = bench_own(c, bench_memory(n * sizeof(float))),
                             .g = bench_own(c, bench_random(HONE_F32, n, 1e-3)),
                             .lr = 1e-4,
                             .beta1 = 0.9,
                             .beta2 = 0.999,
                             .eps = 1e-8,
                             .weight_decay = 0.01,
                             .correction1 = 0.1,
                             .correction2 = 0.001,
                             .grad_scale = 1};
}

/* Of an element: bytes that have to be moved (`fixed`, and `typed` values of the compute type), bytes of the
 * arrays that hold them (`held_`), FLOPs. */
static const struct {
    const char *name;
    bench_body *body;
    void (*make)(bench_case *c, inputs *in, hone_dtype compute, bool backward);
    bool backward, float32_only;
    bench_bar inside; /* the last-level cache; beyond it there is one for all that have one */
    int width, fixed, typed, held_fixed, held_typed, flops;
} operations[] = {
    {"rms_norm forward", norm_forward, make_norm, false, false, BENCH_BAR_ROWS_INSIDE, HIDDEN, 4, 2,
     4, 2, 4},
    {"rms_norm backward", norm_backward, make_norm, true, false, BENCH_BAR_ROWS_INSIDE, HIDDEN, 12,
     2, 8, 2, 10},
    {"rope forward", rope_forward, make_rope, false, false, BENCH_BAR_ROWS_INSIDE, HIDDEN, 0, 2, 0,
     1, 3},
    {"rope backward", rope_backward, make_rope, true, false, BENCH_BAR_ROWS_INSIDE, HIDDEN, 0, 2, 0,
     1, 3},
    {"silu*mul forward", silu_forward, make_silu, false, false, BENCH_BAR_SILU_INSIDE, FFN, 0, 3, 0,
     3, 5},
    {"silu*mul backward", silu_backward, make_silu, true, false, BENCH_BAR_SILU_INSIDE, FFN, 0, 6,
     0, 6, 12},
    {"residual add", residual_add, make_add, false, false, BENCH_BAR_ROWS_INSIDE, HIDDEN, 8, 1, 8,
     1, 1},
    {"AdamW", adamw_step, make_adamw, false, true, BENCH_BAR_ROWS_INSIDE, HIDDEN, 28, 0, 16, 0, 14},
    {"scale", scale, make_scale, false, false, BENCH_NO_BAR, HIDDEN, 0, 2, 0, 2, 1},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

enum { MOST_SETS = 8, CACHES = 4 /* that the sets fill together */ };

/* A job whose calls take turns with several arguments, so that beyond the last-level cache none finds there what the
 * call before it has left. */
typedef struct turns {
    bench_body *body;
    void *sets[MOST_SETS];
    size_t count;
    size_t *next; /* [threads] each thread's: they go through the same sets */
} turns;

static void in_turn(hone_ctx *ctx, void *argument) {
    turns *t = argument;
    size_t *next = &t->next[ctx->team.rank];
    t->body(ctx, t->sets[*next]);
    if (!hone_ctx_planning(ctx)) *next = (*next + 1) % t->count;
}

/* `job`, whose argument is the first set, as one that goes through all. */
static bench_job take_turns(bench_job job, turns *t) {
    t->body = job.body;
    job.body = in_turn;
    job.argument = t;
    return job;
}

static void measure(bench *b, int operation, size_t rows, hone_dtype compute) {
    char name[96];
    double n = (double)rows * operations[operation].width, size = (double)element_size(compute);
    double bytes = n * (operations[operation].fixed + operations[operation].typed * size);
    double held = n * (operations[operation].held_fixed + operations[operation].held_typed * size);
    double cache = (double)hone_cpu_last_level_bytes();
    bool beyond = held > cache;
    size_t sets = beyond ? HONE_MIN((size_t)ceil(CACHES * cache / held), (size_t)MOST_SETS) : 1;
    bench_case cases[MOST_SETS];
    bench_buffers buffers[MOST_SETS];
    turns of_operation = {.count = sets, .next = bench_memory((size_t)b->threads * sizeof(size_t))};
    turns of_copy = {.count = sets, .next = bench_memory((size_t)b->threads * sizeof(size_t))};
    for (size_t i = 0; i < sets; i++) {
        cases[i] = (bench_case){.job = {.body = operations[operation].body, .compute = compute}};
        inputs *in = bench_own(&cases[i], bench_memory(sizeof *in));
        in->rows = rows;
        operations[operation].make(&cases[i], in, compute, operations[operation].backward);
        cases[i].job.work = bytes;
        buffers[i] = bench_copy_buffers(b, (size_t)bytes);
        of_operation.sets[i] = in;
        of_copy.sets[i] = &buffers[i];
    }
    bench_bar inside = operations[operation].inside;
    bench_job jobs[2] = {take_turns(cases[0].job, &of_operation),
                         take_turns(bench_copy_job(&buffers[0], 0), &of_copy)};
    bench_interleave(b, jobs, 2, 0.6);
    snprintf(name, sizeof name, "%s %zu rows%s%s", operations[operation].name, rows,
             operations[operation].float32_only ? "" : " in ",
             operations[operation].float32_only ? "" : hone_dtype_name(compute));
    bench_row row = {.section = "rows",
                     .name = name,
                     .unit = "GB/s",
                     .series = beyond ? "beyond the cache" : "inside the cache",
                     .x = (double)rows,
                     .reference = "a copy",
                     .intensity = n * operations[operation].flops / bytes,
                     .bar = inside == BENCH_NO_BAR ? BENCH_NO_BAR
                            : beyond               ? BENCH_BAR_ROWS_BEYOND
                                                   : inside};
    bench_add_rate(b, row, &jobs[0], &jobs[1], NULL, 1e9);
    for (size_t i = 0; i < sets; i++) {
        bench_buffers_free(&buffers[i]);
        bench_case_free(&cases[i]);
    }
    free(of_operation.next);
    free(of_copy.next);
}

void bench_rows(bench *b) {
    for (int o = 0; o < OPERATIONS; o++) {
        bench_progress("rows: %s", operations[o].name);
        for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++) {
            measure(b, o, row_counts[r], HONE_F32);
            if (!operations[o].float32_only) measure(b, o, row_counts[r], HONE_BF16);
        }
    }
}
