/* ops/fused/linear_cross_entropy: the loss of softmax(x W^T) and its gradients, never holding all logits. Layer ops.
 *
 * The vocabulary is walked in slices. The team packs a slice's weights together, then every thread computes the
 * logits of its own rows, tile by tile. With a frozen head one walk is enough: an online softmax, the accumulators of
 * dX rescaled as the maximum moves (4TVd FLOPs). Where gradients of the head are wanted, a first walk finds the
 * log-sum-exp and a second computes the logits again (8TVd).
 *
 * Ignored rows are left out: the others are gathered, and dX is spread again at the end. The label's own column stays
 * out of the product and is added in the end with its exact coefficient, p - 1: near a loss of 0 the rounding of p
 * would be all that is left of the gradient.
 */
#include "ops/fused/fused.h"
#include "ops/internal.h"

#include <math.h>

#define SLICE 512 /* columns: both orientations of 576 x 512 weights fit a level-2 cache */
#define ROW_GRAIN 32
#define PANEL_GRAIN 32
#define COLUMN_GRAIN 16

typedef enum walk {
    LOSS,   /* log-sum-exp only */
    ONLINE, /* and dX, with the softmax as known so far */
    AGAIN   /* dX and the head's gradients from a known log-sum-exp */
} walk;

typedef struct job {
    hone_ctx *ctx;
    const hone_linear_cross_entropy_args *args;
    const hone_linear *head;
    size_t hidden, vocab, rank;
    bool weights; /* gradients of the head are wanted */

    size_t active;  /* rows with a label */
    size_t *index;  /* [active] their places */
    const void *x;  /* [active, hidden], compute type */
    void *gathered; /* where x is put together when rows are left out */
    float *m, *l;   /* [active] online softmax; l is 1 and m the log-sum-exp in the walk AGAIN */
    float *label;   /* [active] the label's logit */
    void *xa;       /* [active, rank] x A^T */
    float *u;       /* [active, rank] dlogits B */

    void *columns[2], *depths[2];     /* packed slices: B of x W^T, of p W */
    void *b_columns[2], *b_depths[2]; /* the same of the adapter's B */

    /* one thread's */
    size_t begin, end; /* its rows */
    size_t tile;       /* rows of a tile, by the blocking */
    float *scores;     /* [tile, SLICE] */
    void *p;           /* [tile, SLICE], compute type; scores themselves when that is float32 */
    float correction[HONE_MOST_LOSS_ROWS];
    size_t valid[HONE_MOST_LOSS_ROWS];

    /* the head's gradients */
    void *turned;    /* [SLICE, active] dlogits^T, compute type */
    void *x_panels;  /* x as B of dlogits^T x */
    void *xa_panels; /* x A^T as B of dlogits^T (x A^T) */
    void *ones;      /* [active] */
} job;

static void *element(const job *j, const void *data, size_t index) {
    return hone_element((void *)(uintptr_t)data, j->ctx->compute, index);
}

/* One operand packed by the whole team: threads take panels. No barrier. */
static void pack_together(const job *j, const hone_matrix *w, bool by_rows, size_t n0, size_t n,
                          size_t k0, size_t k, float scale, void *panels) {
    size_t begin, end;
    hone_split(j->ctx->team, n, PANEL_GRAIN, &begin, &end);
    if (begin >= end) return;
    char *dst =
        (char *)panels + begin / HONE_PANEL * hone_pack_bytes(j->ctx->compute, HONE_PANEL, k);
    hone_ctx_pack(j->ctx)(w, by_rows, n0 + begin, end - begin, k0, k, scale, dst);
}

static hone_matrix adapter_a(const job *j) {
    return hone_matrix_dense(j->head->lora.a, HONE_F32, j->rank, j->hidden);
}

static hone_matrix adapter_b(const job *j) {
    return hone_matrix_dense(j->head->lora.b, HONE_F32, j->vocab, j->rank);
}

static void pack_slice(const job *j, size_t first, size_t n, walk kind) {
    size_t buffer = first / SLICE % 2;
    const hone_matrix *w = &j->head->weight;
    pack_together(j, w, true, first, n, 0, j->hidden, 1.0f, j->columns[buffer]);
    if (kind != LOSS) pack_together(j, w, false, 0, j->hidden, first, n, 1.0f, j->depths[buffer]);
    if (j->rank > 0) {
        hone_matrix b = adapter_b(j);
        pack_together(j, &b, true, first, n, 0, j->rank, j->head->lora.scale, j->b_columns[buffer]);
        if (kind != LOSS)
            pack_together(j, &b, false, 0, j->rank, first, n, 1.0f, j->b_depths[buffer]);
    }
}

static void tile_logits(job *j, size_t row, size_t rows, size_t first, size_t n) {
    size_t buffer = first / SLICE % 2;
    hone_gemm product = {
        .m = rows,
        .n = n,
        .k = j->hidden,
        .a = element(j, j->x, row * j->hidden),
        .lda = j->hidden,
        .b = j->columns[buffer],
        .k2 = j->rank,
        .a2 = j->rank > 0 ? element(j, j->xa, row * j->rank) : NULL,
        .lda2 = j->rank,
        .b2 = j->b_columns[buffer],
        .c = j->scores,
        .ldc = SLICE,
        .c_dtype = HONE_F32,
        .bias = j->head->bias ? j->head->bias + first : NULL,
    };
    hone_ctx_gemm(j->ctx)(&product);
    for (size_t r = 0; r < rows; r++) j->valid[r] = n;
}

/* The label's column in the slice of n columns from `first`, SIZE_MAX when it lies elsewhere. */
static size_t label_column(const job *j, size_t row, size_t first, size_t n) {
    size_t label = (size_t)j->args->labels[j->index[row]];
    return label >= first && label - first < n ? label - first : SIZE_MAX;
}

static void put_p(const job *j, size_t at, float value) {
    if (j->ctx->compute == HONE_F32) {
        ((float *)j->p)[at] = value;
    } else {
        ((hone_bf16 *)j->p)[at] = hone_f32_to_bf16(value);
    }
}

/* The next slice of the online softmax; the label's p becomes 0. */
static void tile_online(job *j, size_t row, size_t rows, size_t first, size_t n) {
    for (size_t r = 0; r < rows; r++) {
        size_t column = label_column(j, row + r, first, n);
        if (column != SIZE_MAX) j->label[row + r] = j->scores[r * SLICE + column];
    }
    hone_softmax_tile softmax = {
        .rows = rows,
        .cols = n,
        .scores = j->scores,
        .lds = SLICE,
        .valid = j->valid,
        .scale = 1.0f,
        .p = j->p,
        .ldp = SLICE,
        .p_dtype = j->ctx->compute,
        .m = j->m + row,
        .l = j->l + row,
        .correction = j->correction,
    };
    j->ctx->kernels->softmax_tile(&softmax);
    for (size_t r = 0; r < rows; r++) {
        size_t column = label_column(j, row + r, first, n);
        if (column != SIZE_MAX) put_p(j, r * SLICE + column, 0.0f);
    }
}

static float label_gradient(const job *j, size_t row) {
    return expf(j->label[row] - j->m[row] - logf(j->l[row])) - 1.0f;
}

/* p - onehot from the known log-sum-exp, and its transpose for the head's gradients; the label's p then becomes 0. */
static void tile_again(job *j, size_t row, size_t rows, size_t first, size_t n) {
    hone_softmax_again again = {
        .rows = rows,
        .cols = n,
        .scores = j->scores,
        .lds = SLICE,
        .valid = j->valid,
        .scale = 1.0f,
        .lse = j->m + row,
        .p = j->p,
        .ldp = SLICE,
        .out_dtype = j->ctx->compute,
    };
    j->ctx->kernels->softmax_again(&again);
    for (size_t r = 0; r < rows; r++) {
        size_t column = label_column(j, row + r, first, n);
        if (column != SIZE_MAX) put_p(j, r * SLICE + column, label_gradient(j, row + r));
        j->correction[r] = 1.0f;
    }
    j->ctx->kernels->transpose(rows, n, j->p, SLICE, element(j, j->turned, row), j->active,
                               j->ctx->compute);
    for (size_t r = 0; r < rows; r++) {
        size_t column = label_column(j, row + r, first, n);
        if (column != SIZE_MAX) put_p(j, r * SLICE + column, 0.0f);
    }
}

/* c[rows, width] = c * correction + p B. */
static void accumulate(const job *j, size_t rows, size_t n, const void *panels, size_t width,
                       float *c, bool start) {
    for (size_t r = 0; r < rows && !start; r++) {
        if (j->correction[r] == 1.0f) continue;
        j->ctx->kernels->scale(width, j->correction[r], c + r * width, HONE_F32, c + r * width,
                               HONE_F32, false);
    }
    hone_gemm product = {
        .m = rows,
        .n = width,
        .k = n,
        .a = j->p,
        .lda = SLICE,
        .b = panels,
        .c = c,
        .ldc = width,
        .c_dtype = HONE_F32,
        .accumulate = !start,
    };
    hone_ctx_gemm(j->ctx)(&product);
}

/* C[n, width] += dlogits^T B for the rows of C that this thread owns. */
static void accumulate_weights(const job *j, size_t n, const void *panels, size_t width, float *c) {
    size_t begin, end;
    hone_split(j->ctx->team, n, ROW_GRAIN, &begin, &end);
    if (begin >= end) return;
    hone_gemm product = {
        .m = end - begin,
        .n = width,
        .k = j->active,
        .a = element(j, j->turned, begin * j->active),
        .lda = j->active,
        .b = panels,
        .c = c + begin * width,
        .ldc = width,
        .c_dtype = HONE_F32,
        .accumulate = true,
    };
    hone_ctx_gemm(j->ctx)(&product);
}

static void slice_weights(const job *j, size_t first, size_t n) {
    const hone_linear *head = j->head;
    if (head->dweight)
        accumulate_weights(j, n, j->x_panels, j->hidden, head->dweight + first * j->hidden);
    if (j->rank > 0 && head->lora.db) {
        accumulate_weights(j, n, j->xa_panels, j->rank, head->lora.db + first * j->rank);
    }
    if (head->dbias) {
        size_t begin, end;
        hone_split(j->ctx->team, n, ROW_GRAIN, &begin, &end);
        for (size_t v = begin; v < end; v++) {
            double sum = j->ctx->kernels->dot(j->active, element(j, j->turned, v * j->active),
                                              j->ctx->compute, j->ones, j->ctx->compute);
            head->dbias[first + v] += (float)(sum * j->args->scale);
        }
    }
}

static void walk_vocabulary(job *j, walk kind) {
    for (size_t first = 0; first < j->vocab && j->active > 0; first += SLICE) {
        size_t n = HONE_MIN(j->vocab - first, (size_t)SLICE), buffer = first / SLICE % 2;
        /* Two buffers: the barrier of one slice says that all have done with the slice before. */
        pack_slice(j, first, n, kind);
        hone_barrier(j->ctx->team);
        for (size_t row = j->begin; row < j->end; row += j->tile) {
            size_t rows = HONE_MIN(j->end - row, j->tile);
            tile_logits(j, row, rows, first, n);
            if (kind == AGAIN) {
                tile_again(j, row, rows, first, n);
            } else {
                tile_online(j, row, rows, first, n);
            }
            if (kind == LOSS) continue;
            accumulate(j, rows, n, j->depths[buffer], j->hidden, j->args->dx + row * j->hidden,
                       first == 0);
            if (j->rank > 0)
                accumulate(j, rows, n, j->b_depths[buffer], j->rank, j->u + row * j->rank,
                           first == 0);
        }
        if (kind == AGAIN) {
            hone_barrier(j->ctx->team);
            slice_weights(j, first, n);
        }
    }
}

/* c[own rows, n] (+)= a[own rows, k] B, B packed by this thread alone in `panels`. */
static void multiply_own_rows(const job *j, size_t n, size_t k, const void *a, const void *panels,
                              void *c, hone_dtype c_dtype, bool add) {
    if (j->begin >= j->end) return;
    hone_gemm product = {
        .m = j->end - j->begin,
        .n = n,
        .k = k,
        .a = element(j, a, j->begin * k),
        .lda = k,
        .b = panels,
        .c = hone_element(c, c_dtype, j->begin * n),
        .ldc = n,
        .c_dtype = c_dtype,
        .accumulate = add,
    };
    hone_ctx_gemm(j->ctx)(&product);
}

/* The rows with a label, gathered where some have none; what each walk needs of them. */
static void prepare_rows(job *j) {
    const hone_linear_cross_entropy_args *args = j->args;
    for (size_t r = 0; r < args->rows; r++) {
        if (args->labels[r] == HONE_IGNORE) continue;
        if (j->ctx->team.rank == 0) j->index[j->active] = r;
        j->active++;
    }
    hone_barrier(j->ctx->team);
    hone_split(j->ctx->team, j->active, ROW_GRAIN, &j->begin, &j->end);
    size_t row_bytes = j->hidden * hone_element_bytes(j->ctx->compute);
    j->x = j->active == args->rows ? args->x : j->gathered;
    for (size_t r = j->begin; r < j->end; r++) {
        if (j->x == j->gathered) {
            memcpy((char *)j->gathered + r * row_bytes,
                   (const char *)args->x + j->index[r] * row_bytes, row_bytes);
        }
        j->m[r] = -INFINITY;
        j->l[r] = 0;
    }
    if (j->rank > 0 && j->active > 0) {
        hone_matrix a = adapter_a(j);
        pack_together(j, &a, true, 0, j->rank, 0, j->hidden, 1.0f, j->b_depths[0]);
        hone_barrier(j->ctx->team);
        multiply_own_rows(j, j->rank, j->hidden, j->x, j->b_depths[0], j->xa, j->ctx->compute,
                          false);
        hone_barrier(j->ctx->team);
    }
}

/* Before the walk AGAIN: m becomes the log-sum-exp; x is packed for the products of the head's gradients. */
static void prepare_weights(job *j) {
    for (size_t r = j->begin; r < j->end; r++) {
        j->m[r] += logf(j->l[r]);
        j->l[r] = 1;
        if (j->head->dbias) {
            if (j->ctx->compute == HONE_F32)
                ((float *)j->ones)[r] = 1.0f;
            else
                ((hone_bf16 *)j->ones)[r] = hone_f32_to_bf16(1.0f);
        }
    }
    hone_barrier(j->ctx->team); /* x, gathered by all */
    hone_matrix x = hone_matrix_dense(j->x, j->ctx->compute, j->active, j->hidden);
    pack_together(j, &x, false, 0, j->hidden, 0, j->active, j->args->scale, j->x_panels);
    if (j->rank > 0 && j->active > 0) {
        hone_matrix xa = hone_matrix_dense(j->xa, j->ctx->compute, j->active, j->rank);
        pack_together(j, &xa, false, 0, j->rank, 0, j->active, j->args->scale * j->head->lora.scale,
                      j->xa_panels);
    }
}

static void finish_losses(const job *j) {
    size_t begin, end;
    hone_split(j->ctx->team, j->args->rows, ROW_GRAIN, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        if (j->args->labels[r] == HONE_IGNORE) j->args->loss[r] = 0;
    }
    for (size_t r = j->begin; r < j->end; r++) {
        j->args->loss[j->index[r]] = j->m[r] + logf(j->l[r]) - j->label[r];
    }
}

/* u and dX of this thread's rows: normalised, and the label's own part added. */
static void finish_rows(const job *j) {
    const hone_kernels *kernels = j->ctx->kernels;
    for (size_t r = j->begin; r < j->end; r++) {
        size_t label = (size_t)j->args->labels[j->index[r]];
        float *dx = j->args->dx + r * j->hidden;
        float of_label = label_gradient(j, r), norm = 1.0f / j->l[r];
        kernels->scale(j->hidden, norm * j->args->scale, dx, HONE_F32, dx, HONE_F32, false);
        kernels->unpack(&j->head->weight, label, 0, j->hidden, j->ctx->compute, j->p);
        kernels->scale(j->hidden, of_label * j->args->scale, j->p, j->ctx->compute, dx, HONE_F32,
                       true);
        if (j->rank == 0) continue;
        float *u = j->u + r * j->rank;
        kernels->scale(j->rank, norm, u, HONE_F32, u, HONE_F32, false);
        kernels->scale(j->rank, of_label, j->head->lora.b + label * j->rank, HONE_F32, u, HONE_F32,
                       true);
    }
}

/* dX += u A and dA += u^T x, u = dlogits B. */
static void finish_adapter(const job *j) {
    hone_dtype compute = j->ctx->compute;
    const hone_lora *lora = &j->head->lora;
    for (size_t r = j->begin; r < j->end;
         r++) { /* x A^T is not needed any more: its place takes u */
        j->ctx->kernels->scale(j->rank, lora->scale, j->u + r * j->rank, HONE_F32,
                               element(j, j->xa, r * j->rank), compute, false);
    }
    if (lora->da && j->begin < j->end) {
        j->ctx->kernels->transpose(j->end - j->begin, j->rank,
                                   element(j, j->xa, j->begin * j->rank), j->rank,
                                   element(j, j->turned, j->begin), j->active, compute);
    }
    hone_matrix a = adapter_a(j);
    pack_together(j, &a, false, 0, j->hidden, 0, j->rank, j->args->scale, j->depths[0]);
    hone_barrier(j->ctx->team);
    multiply_own_rows(j, j->hidden, j->rank, j->xa, j->depths[0], j->args->dx, HONE_F32, true);
    size_t begin, end;
    hone_split(j->ctx->team, j->hidden, PANEL_GRAIN, &begin, &end);
    if (!lora->da || begin >= end) return;
    hone_gemm product = {
        .m = j->rank,
        .n = end - begin,
        .k = j->active,
        .a = j->turned,
        .lda = j->active,
        .b = (char *)j->x_panels +
             begin / HONE_PANEL * hone_pack_bytes(compute, HONE_PANEL, j->active),
        .c = lora->da + begin,
        .ldc = j->hidden,
        .c_dtype = HONE_F32,
        .accumulate = true,
    };
    hone_ctx_gemm(j->ctx)(&product);
}

/* Moves the rows of dX from the first `active` places to their own, the last first; the others become 0. */
static void spread_rows(const job *j) {
    if (j->active == j->args->rows) return;
    size_t begin, end, from = j->active;
    hone_split(j->ctx->team, j->hidden, COLUMN_GRAIN, &begin, &end);
    if (begin >= end) return;
    size_t bytes = (end - begin) * sizeof(float);
    for (size_t r = j->args->rows; r-- > 0;) {
        float *to = j->args->dx + r * j->hidden + begin;
        if (j->args->labels[r] == HONE_IGNORE) {
            memset(to, 0, bytes);
        } else if (--from != r) {
            memcpy(to, j->args->dx + from * j->hidden + begin, bytes);
        }
    }
}

static void take_scratch(job *j) {
    hone_ctx *ctx = j->ctx;
    hone_arena *arena = &ctx->arena;
    size_t rows = j->args->rows, element_bytes = hone_element_bytes(ctx->compute);
    j->index = hone_arena_scratch(arena, rows * sizeof *j->index);
    j->gathered = hone_arena_scratch(arena, rows * j->hidden * element_bytes);
    j->m = hone_arena_scratch(arena, rows * sizeof *j->m);
    j->l = hone_arena_scratch(arena, rows * sizeof *j->l);
    j->label = hone_arena_scratch(arena, rows * sizeof *j->label);
    size_t columns = hone_pack_bytes(ctx->compute, SLICE, j->hidden);
    size_t depths = hone_pack_bytes(ctx->compute, j->hidden, HONE_MAX((size_t)SLICE, j->rank));
    for (int i = 0; i < 2; i++) {
        j->columns[i] = hone_arena_scratch(arena, columns);
        j->depths[i] = hone_arena_scratch(arena, depths);
    }
    j->scores = hone_ctx_scratch_own(ctx, HONE_MAX(j->tile * SLICE, j->hidden) * sizeof(float));
    j->p = j->scores;
    if (ctx->compute != HONE_F32) {
        j->p = hone_ctx_scratch_own(ctx, HONE_MAX(j->tile * SLICE, j->hidden) * element_bytes);
    }
    if (j->rank > 0) {
        j->xa = hone_arena_scratch(arena, rows * j->rank * element_bytes);
        j->u = hone_arena_scratch(arena, rows * j->rank * sizeof *j->u);
        for (int i = 0; i < 2; i++) {
            j->b_columns[i] =
                hone_arena_scratch(arena, hone_pack_bytes(ctx->compute, SLICE, j->rank));
            j->b_depths[i] = hone_arena_scratch(
                arena, hone_pack_bytes(ctx->compute, j->rank, HONE_MAX((size_t)SLICE, j->hidden)));
        }
    }
    if (j->weights) {
        j->turned =
            hone_arena_scratch(arena, HONE_MAX((size_t)SLICE, j->rank) * rows * element_bytes);
        j->x_panels = hone_arena_scratch(arena, hone_pack_bytes(ctx->compute, j->hidden, rows));
        j->xa_panels = hone_arena_scratch(arena, hone_pack_bytes(ctx->compute, j->rank, rows));
        j->ones = hone_arena_scratch(arena, rows * element_bytes);
    }
}

void hone_fused_linear_cross_entropy(hone_ctx *ctx, const hone_linear_cross_entropy_args *args) {
    const hone_linear *head = args->head;
    job j = {
        .ctx = ctx,
        .args = args,
        .head = head,
        .hidden = head->weight.cols,
        .vocab = head->weight.rows,
        .rank = (size_t)head->lora.rank,
        .tile = hone_ctx_blocking(ctx)->loss_rows,
    };
    bool adapter = j.rank > 0 && (head->lora.da || head->lora.db);
    j.weights = args->dx && (head->dweight || head->dbias || adapter);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    take_scratch(&j);
    if (!hone_ctx_planning(ctx)) {
        prepare_rows(&j);
        walk_vocabulary(&j, args->dx && !j.weights ? ONLINE : LOSS);
        finish_losses(&j);
        if (j.weights) {
            prepare_weights(&j);
            walk_vocabulary(&j, AGAIN);
        }
        if (args->dx) {
            finish_rows(&j);
            if (j.rank > 0 && j.active > 0) {
                hone_barrier(ctx->team);
                finish_adapter(&j);
            }
            hone_barrier(ctx->team);
            spread_rows(&j);
        }
        hone_barrier(ctx->team);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}
