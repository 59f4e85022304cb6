/* The six fine-tuning operations in plain C: correct, readable, unremarkable. A kernel file of your own may start as a
 * copy of this one, and so does evolution. Each operation is a pass or two over rows, products are the host's, and
 * every fusion is left to be found: norm with what follows it, gate with up, adapter gradients with the product that
 * reads the same rows, an online softmax.
 *
 *   hone eval kernels.c                    compiles it, checks it, measures it, trains with it
 *   hone train --kernels kernels.so ...    trains with it, built by hand:
 *       cc -O3 -march=native -fPIC -shared $(pkg-config --cflags hone) kernels.c -lm -o kernels.so
 *
 * What may be evolved stands between the EVOLVE-BLOCK markers, a block per operation and one that they share; a TUNE
 * comment lists values that its constant may take. Names and arguments of the functions in the table at the end stay:
 * swiglu_activation calls lora_linear by them, and attention_with_rope calls rope_embeddings.
 */
#include <hone_kernels.h>
#include <math.h>

/* lora_linear uses this many slots of its hone_saved at most: swiglu_activation keeps those of two layers. */
enum { LINEAR_SLOTS = 3 };

/* ---- shared -------------------------------------------------------------------------------------- */
// EVOLVE-BLOCK-START
enum { PIECE = 512 };         // TUNE PIECE: 128 256 512 1024
enum { TRANSPOSE_TILE = 16 }; // TUNE TRANSPOSE_TILE: 8 16 32
enum { COLUMNS = 64 };        /* of a sum over rows that a thread owns together */
enum { LANES = 16 };          /* partial sums of a row, which the compiler keeps in vectors */

static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }

static size_t element_bytes(hone_dtype dtype) { return dtype == HONE_F32 ? 4 : 2; }

/* Element `index` of an array of float32 or bfloat16. */
static void *element(const void *x, hone_dtype dtype, size_t index) {
    return (void *)((uintptr_t)x + index * element_bytes(dtype));
}

/* A row-major matrix whose rows start `stride` elements apart. */
static hone_matrix dense(const void *data, hone_dtype dtype, size_t rows, size_t cols,
                         size_t stride) {
    hone_matrix m = {.data = data, .rows = rows, .cols = cols, .dtype = dtype};
    m.row_bytes = stride * element_bytes(dtype);
    return m;
}

/* n elements of x as float32: where they lie, or converted into `buffer`. */
static const float *view(const void *x, hone_dtype dtype, size_t index, size_t n, float *buffer) {
    const void *from = element(x, dtype, index);
    if (dtype == HONE_F32) return from;
    for (size_t i = 0; i < n; i++) buffer[i] = hone_bf16_to_f32(((const hone_bf16 *)from)[i]);
    return buffer;
}

/* n elements of y; x may be where they are. */
static void store(void *y, hone_dtype dtype, size_t index, size_t n, const float *x) {
    void *to = element(y, dtype, index);
    if (dtype == HONE_F32 && to != x) memcpy(to, x, n * sizeof *x);
    if (dtype == HONE_F32) return;
    for (size_t i = 0; i < n; i++) ((hone_bf16 *)to)[i] = hone_f32_to_bf16(x[i]);
}

static float sum(size_t n, const float *x) {
    float lane[LANES] = {0}, total = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] += x[i + l];
    for (; i < n; i++) lane[i % LANES] += x[i];
    for (size_t l = 0; l < LANES; l++) total += lane[l];
    return total;
}

static float largest(size_t n, const float *x) {
    float lane[LANES], most = x[0];
    for (size_t l = 0; l < LANES; l++) lane[l] = most;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (; i < n; i++) lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    for (size_t l = 0; l < LANES; l++) most = lane[l] > most ? lane[l] : most;
    return most;
}

/* x = e^x = 2^k e^r within a unit in the last place, in loops that vectorize, as those around expf do not. */
static void exponentials(size_t n, float *x) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] < -87.0f ? -87.0f : x[i];
    for (size_t i = 0; i < n; i++) x[i] = x[i] > 88.0f ? 88.0f : x[i];
    for (size_t i = 0; i < n; i++) {
        float k = (x[i] * 1.44269504f + 12582912.0f) - 12582912.0f; /* the nearest integer */
        float r = (x[i] - k * 0.693359375f) + k * 2.12194440e-4f, power;
        float p = r * (1 / 120.0f + r * (1 / 720.0f + r * (1 / 5040.0f)));
        p = 1.0f + r * (1.0f + r * (0.5f + r * (1 / 6.0f + r * (1 / 24.0f + p))));
        int32_t bits = ((int32_t)k + 127) * (1 << 23);
        memcpy(&power, &bits, sizeof power);
        x[i] = p * power;
    }
}

/* c [m, n] (+)= a [m, k] B, where B[k][n] is b's [n][k] (by_rows) or [k][n]. */
static hone_matmul_args product(size_t m, const void *a, size_t lda, const hone_matrix *b,
                                bool by_rows, void *c, size_t ldc, hone_dtype c_dtype,
                                bool accumulate) {
    hone_matmul_args args = {.m = m, .a = a, .lda = lda, .b = b, .by_rows = by_rows};
    args.n = by_rows ? b->rows : b->cols;
    args.k = by_rows ? b->cols : b->rows;
    args.c = c;
    args.ldc = ldc;
    args.c_dtype = c_dtype;
    args.accumulate = accumulate;
    return args;
}

static void multiply(const hone_host *host, hone_matmul_args args) { host->matmul(host, &args); }

/* What backward reads again where there is a backward, else scratch. */
static void *keep(const hone_host *host, hone_saved *saved, int slot, size_t bytes) {
    if (!saved) return host->scratch(host, bytes);
    return saved->slot[slot] = host->save(host, bytes);
}

/* Scratch that is this thread's alone. */
static void *own_scratch(const hone_host *host, size_t bytes) {
    size_t slice = (bytes + 63) / 64 * 64;
    char *all = host->scratch(host, slice * (size_t)host->size);
    return all + slice * (size_t)host->rank;
}

/* n elements of the compute type; no barrier. */
static void zero(const hone_host *host, void *x, size_t n) {
    size_t begin, end, bytes = element_bytes(host->compute);
    hone_share(host, n, PIECE, &begin, &end);
    if (begin < end) memset((char *)x + begin * bytes, 0, (end - begin) * bytes);
}

/* y [cols, rows] = x [rows, cols] transposed, compute type, rows of each so many elements apart. No barrier. */
static void transpose(const hone_host *host, size_t rows, size_t cols, const void *x, size_t ldx,
                      void *y, size_t ldy) {
    size_t begin, end;
    hone_share(host, cols, TRANSPOSE_TILE, &begin, &end);
    for (size_t c = begin; c < end; c += TRANSPOSE_TILE) {
        size_t stop = least(end, c + TRANSPOSE_TILE);
        for (size_t r = 0; r < rows; r++) {
            for (size_t i = c; i < stop && host->compute == HONE_F32; i++)
                ((float *)y)[i * ldy + r] = ((const float *)x)[r * ldx + i];
            for (size_t i = c; i < stop && host->compute != HONE_F32; i++)
                ((hone_bf16 *)y)[i * ldy + r] = ((const hone_bf16 *)x)[r * ldx + i];
        }
    }
}
// EVOLVE-BLOCK-END

/* ---- rms_norm: y = x * rstd * gamma, rstd = 1/sqrt(mean(x^2) + eps) -------------------------------- */
// EVOLVE-BLOCK-START
enum { NORM_ROWS = 4 };   // TUNE NORM_ROWS: 1 4 16
enum { GAMMA_ROWS = 64 }; // TUNE GAMMA_ROWS: 16 32 64 128
enum { NORM_RSTD };       /* slot: rstd [rows] */

static void rms_norm_forward(const hone_host *host, const hone_rms_norm_args *args,
                             hone_saved *saved) {
    size_t hidden = args->hidden, begin, end;
    float *rstd = keep(host, saved, NORM_RSTD, args->rows * sizeof *rstd);
    float *normed = own_scratch(host, hidden * sizeof *normed);
    if (host->planning) return;
    hone_share(host, args->rows, NORM_ROWS, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        const float *x = args->x + r * hidden;
        for (size_t i = 0; i < hidden; i++) normed[i] = x[i] * x[i];
        rstd[r] = 1.0f / sqrtf(sum(hidden, normed) / (float)hidden + args->eps);
        for (size_t i = 0; i < hidden; i++) normed[i] = x[i] * rstd[r] * args->gamma[i];
        store(args->y, host->compute, r * hidden, hidden, normed);
    }
}

/* With g = dy * gamma: dx += rstd * (g - x * rstd^2 * mean(g * x)). dgamma is summed in partials of GAMMA_ROWS rows,
 * and those in order: the same bits whatever the team. */
static void rms_norm_backward(const hone_host *host, const hone_rms_norm_args *args,
                              const hone_saved *saved) {
    size_t hidden = args->hidden, chunks = (args->rows + GAMMA_ROWS - 1) / GAMMA_ROWS, begin, end;
    const float *rstd = saved->slot[NORM_RSTD];
    float *buffer = own_scratch(host, hidden * sizeof *buffer), *partials = NULL;
    float *g = own_scratch(host, hidden * sizeof *g), *gx = own_scratch(host, hidden * sizeof *gx);
    if (args->dgamma) partials = host->scratch(host, chunks * hidden * sizeof *partials);
    if (host->planning) return;
    hone_share(host, args->rows, GAMMA_ROWS, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        const float *x = args->x + r * hidden;
        const float *dy = view(args->dy, args->dy_dtype, r * hidden, hidden, buffer);
        float *dx = args->dx + r * hidden;
        for (size_t i = 0; i < hidden; i++) g[i] = dy[i] * args->gamma[i];
        for (size_t i = 0; i < hidden; i++) gx[i] = g[i] * x[i];
        float along = sum(hidden, gx) / (float)hidden * rstd[r] * rstd[r];
        for (size_t i = 0; i < hidden; i++) dx[i] += rstd[r] * (g[i] - x[i] * along);
        if (args->dx_copy) store(args->dx_copy, host->compute, r * hidden, hidden, dx);
        if (!partials) continue;
        float *partial = partials + r / GAMMA_ROWS * hidden;
        if (r % GAMMA_ROWS == 0) memset(partial, 0, hidden * sizeof *partial);
        for (size_t i = 0; i < hidden; i++) partial[i] += dy[i] * x[i] * rstd[r];
    }
    if (!partials) return;
    host->barrier(host);
    hone_share(host, hidden, COLUMNS, &begin, &end);
    for (size_t c = 0; c < chunks; c++)
        for (size_t i = begin; i < end; i++) args->dgamma[i] += partials[c * hidden + i];
}
// EVOLVE-BLOCK-END

/* ---- rope_embeddings: pairs of a head turned by the angle of the row's position -------------------- */
// EVOLVE-BLOCK-START
enum { ROPE_ROWS = 4 }; // TUNE ROPE_ROWS: 1 4 16

/* Each head is turned in a buffer: pairs are (i, half + i) or (2i, 2i + 1), what is past them stays. */
static void rotate_rows(const hone_host *host, const hone_rope_args *args, bool back) {
    size_t half = args->rope_dim / 2, dim = args->head_dim, begin, end;
    size_t step = args->interleaved ? 2 : 1, apart = args->interleaved ? 1 : half;
    float *head = own_scratch(host, dim * sizeof *head);
    float *sine = own_scratch(host, half * sizeof *sine);
    if (host->planning) return;
    hone_share(host, args->rows, ROPE_ROWS, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        const float *sin = args->sin + (size_t)args->positions[r] * half;
        const float *cos = args->cos + (size_t)args->positions[r] * half;
        for (size_t i = 0; i < half; i++) sine[i] = back ? -sin[i] : sin[i];
        for (size_t h = 0; h < args->heads; h++) {
            size_t index = (r * args->heads + h) * dim;
            const float *x = view(args->x, host->compute, index, dim, head);
            if (x != head) memcpy(head, x, dim * sizeof *head);
            for (size_t i = 0; i < half; i++) {
                float a = head[i * step], b = head[i * step + apart];
                head[i * step] = a * cos[i] - b * sine[i];
                head[i * step + apart] = b * cos[i] + a * sine[i];
            }
            store(args->y, host->compute, index, dim, head);
        }
    }
}

static void rope_embeddings_forward(const hone_host *host, const hone_rope_args *args,
                                    hone_saved *saved) {
    (void)saved;
    rotate_rows(host, args, false);
}

static void rope_embeddings_backward(const hone_host *host, const hone_rope_args *args,
                                     const hone_saved *saved) {
    (void)saved;
    rotate_rows(host, args, true);
}
// EVOLVE-BLOCK-END

/* ---- lora_linear: y = x W^T + scale (x A^T) B^T + bias --------------------------------------------- */
// EVOLVE-BLOCK-START
enum { GRADIENT_COLUMNS = 128 }; // TUNE GRADIENT_COLUMNS: 64 128 256 512
enum { GRADIENT_RANKS = 8 };     // TUNE GRADIENT_RANKS: 4 8 16
enum { LINEAR_XA };              /* slot: x A^T [rows, rank], compute type, where B learns */

/* c (+)= a w + scale thin low: a layer's product and its adapter's. */
static void multiply_both(const hone_host *host, hone_matmul_args args, const hone_lora *lora,
                          const void *thin, const hone_matrix *low) {
    args.k2 = args.lda2 = (size_t)lora->rank;
    args.a2 = thin;
    args.b2 = low;
    args.b2_by_rows = args.by_rows;
    args.scale2 = lora->scale;
    host->matmul(host, &args);
}

static void lora_linear_forward(const hone_host *host, const hone_lora_linear_args *args,
                                hone_saved *saved) {
    const hone_linear *linear = args->linear;
    const hone_lora *lora = &linear->lora;
    size_t in = linear->weight.cols, out = linear->weight.rows, rank = (size_t)lora->rank;
    hone_matrix a = dense(lora->a, HONE_F32, rank, in, in);
    hone_matrix b = dense(lora->b, HONE_F32, out, rank, rank);
    bool b_learns = saved && rank > 0 && lora->db;
    size_t mark = host->scratch_mark(host);
    void *xa = NULL;
    if (rank > 0 && (args->y || b_learns)) {
        xa = keep(host, b_learns ? saved : NULL, LINEAR_XA,
                  args->rows * rank * element_bytes(host->compute));
        multiply(host, product(args->rows, args->x, in, &a, true, xa, rank, host->compute, false));
    }
    if (args->y) {
        hone_matmul_args whole = product(args->rows, args->x, in, &linear->weight, true, args->y,
                                         out, args->y_dtype, args->accumulate);
        whole.bias = linear->bias;
        multiply_both(host, whole, lora, xa, &b);
    }
    host->scratch_release(host, mark);
}

/* dw(i, j) += scale * sum of thin[r, i] * wide[r, j] over rows r in order, for thin [rows, rank] and wide [rows, cols].
 * dw(i, j) is element i * step_i + j * step_j: dA or, across, dB. A thread owns columns. */
static void add_outer(const hone_host *host, size_t rows, const void *thin, size_t rank,
                      const void *wide, size_t cols, float scale, float *dw, size_t step_i,
                      size_t step_j) {
    float total[GRADIENT_RANKS][GRADIENT_COLUMNS], buffer[GRADIENT_COLUMNS], few[GRADIENT_RANKS];
    size_t begin, end;
    hone_share(host, cols, GRADIENT_COLUMNS, &begin, &end);
    for (size_t c = begin; c < end; c += GRADIENT_COLUMNS) {
        size_t width = least(end - c, GRADIENT_COLUMNS);
        for (size_t first = 0; first < rank; first += GRADIENT_RANKS) {
            size_t ranks = least(rank - first, GRADIENT_RANKS);
            memset(total, 0, sizeof total);
            for (size_t r = 0; r < rows; r++) {
                const float *t = view(thin, host->compute, r * rank + first, ranks, few);
                const float *w = view(wide, host->compute, r * cols + c, width, buffer);
                for (size_t i = 0; i < ranks; i++)
                    for (size_t j = 0; j < width; j++) total[i][j] += t[i] * w[j];
            }
            for (size_t i = 0; i < ranks; i++)
                for (size_t j = 0; j < width; j++)
                    dw[(first + i) * step_i + (c + j) * step_j] += scale * total[i][j];
        }
    }
}

/* dW += dy^T x */
static void add_weight_gradient(const hone_host *host, const hone_lora_linear_args *args) {
    size_t in = args->linear->weight.cols, out = args->linear->weight.rows;
    size_t mark = host->scratch_mark(host);
    void *across = host->scratch(host, out * args->rows * element_bytes(host->compute));
    hone_matrix x = dense(args->x, host->compute, args->rows, in, in);
    if (!host->planning) {
        transpose(host, args->rows, out, args->dy, out, across, args->rows);
        host->barrier(host);
    }
    multiply(host, product(out, across, args->rows, &x, false, args->linear->dweight, in, HONE_F32,
                           true));
    host->scratch_release(host, mark);
}

/* db += the sum of the rows of dy, in order. */
static void add_bias_gradient(const hone_host *host, const hone_lora_linear_args *args) {
    size_t out = args->linear->weight.rows, begin, end;
    float buffer[COLUMNS];
    hone_share(host, out, COLUMNS, &begin, &end);
    for (size_t c = begin; c < end; c += COLUMNS) {
        size_t width = least(end - c, COLUMNS);
        for (size_t r = 0; r < args->rows; r++) {
            const float *dy = view(args->dy, host->compute, r * out + c, width, buffer);
            for (size_t i = 0; i < width; i++) args->linear->dbias[c + i] += dy[i];
        }
    }
}

/* With t = dy B:  dx = dy W + scale t A,  dA += scale t^T x,  dB += scale dy^T (x A^T). */
static void lora_linear_backward(const hone_host *host, const hone_lora_linear_args *args,
                                 const hone_saved *saved) {
    const hone_linear *linear = args->linear;
    const hone_lora *lora = &linear->lora;
    size_t in = linear->weight.cols, out = linear->weight.rows, rank = (size_t)lora->rank;
    hone_matrix a = dense(lora->a, HONE_F32, rank, in, in);
    hone_matrix b = dense(lora->b, HONE_F32, out, rank, rank);
    size_t mark = host->scratch_mark(host);
    void *t = NULL;
    if (rank > 0 && (args->dx || lora->da)) {
        t = host->scratch(host, args->rows * rank * element_bytes(host->compute));
        multiply(host,
                 product(args->rows, args->dy, out, &b, false, t, rank, host->compute, false));
    }
    if (linear->dweight) add_weight_gradient(host, args);
    if (args->dx) {
        hone_matmul_args whole = product(args->rows, args->dy, out, &linear->weight, false,
                                         args->dx, in, args->dx_dtype, args->dx_accumulate);
        multiply_both(host, whole, lora, t, &a);
    }
    if (!host->planning) {
        if (rank > 0 && lora->da)
            add_outer(host, args->rows, t, rank, args->x, in, lora->scale, lora->da, in, 1);
        if (rank > 0 && lora->db)
            add_outer(host, args->rows, saved->slot[LINEAR_XA], rank, args->dy, out, lora->scale,
                      lora->db, 1, rank);
        if (linear->dbias) add_bias_gradient(host, args);
        host->barrier(host); /* t is free for others from here on */
    }
    host->scratch_release(host, mark);
}
// EVOLVE-BLOCK-END

/* ---- swiglu_activation: h = silu(x Wg^T) * (x Wu^T), both with their adapters ----------------------- */
// EVOLVE-BLOCK-START
enum { SWIGLU_GRAIN = 4096 }; // TUNE SWIGLU_GRAIN: 1024 4096 16384

/* Slots: gate and up before the activation [rows, ffn], which backward overwrites, and those of the two layers. */
enum { SWIGLU_GATE, SWIGLU_UP, SWIGLU_OF_GATE, SWIGLU_OF_UP = SWIGLU_OF_GATE + LINEAR_SLOTS };

static void project(const hone_host *host, const hone_swiglu_args *args, const hone_linear *linear,
                    void *y, hone_saved *saved, int first_slot) {
    hone_saved inner = {{0}};
    hone_lora_linear_args product = {.rows = args->rows, .linear = linear, .x = args->x};
    product.y = y;
    product.y_dtype = host->compute;
    lora_linear_forward(host, &product, saved ? &inner : NULL);
    for (int i = 0; saved && i < LINEAR_SLOTS; i++) saved->slot[first_slot + i] = inner.slot[i];
}

static void sigmoid(size_t n, const float *x, float *s) {
    for (size_t i = 0; i < n; i++) s[i] = -x[i];
    exponentials(n, s);
    for (size_t i = 0; i < n; i++) s[i] = 1.0f / (1.0f + s[i]);
}

static void swiglu_activation_forward(const hone_host *host, const hone_swiglu_args *args,
                                      hone_saved *saved) {
    size_t count = args->rows * args->gate->weight.rows, begin, end;
    void *gate = keep(host, saved, SWIGLU_GATE, count * element_bytes(host->compute));
    void *up = keep(host, saved, SWIGLU_UP, count * element_bytes(host->compute));
    project(host, args, args->gate, gate, saved, SWIGLU_OF_GATE);
    project(host, args, args->up, up, saved, SWIGLU_OF_UP);
    if (host->planning) return;
    float gates[PIECE], ups[PIECE], h[PIECE];
    hone_share(host, count, SWIGLU_GRAIN, &begin, &end);
    for (size_t at = begin; at < end; at += PIECE) {
        size_t n = least(end - at, PIECE);
        const float *g = view(gate, host->compute, at, n, gates);
        const float *u = view(up, host->compute, at, n, ups);
        sigmoid(n, g, h);
        for (size_t i = 0; i < n; i++) h[i] *= g[i] * u[i];
        store(args->h, host->compute, at, n, h);
    }
}

/* One of the two layers; the first writes dx, the second adds to it. */
static void pull_back(const hone_host *host, const hone_swiglu_args *args,
                      const hone_linear *linear, const void *dy, const hone_saved *saved,
                      int first_slot, bool accumulate) {
    hone_saved inner = {{0}};
    for (int i = 0; i < LINEAR_SLOTS; i++) inner.slot[i] = saved->slot[first_slot + i];
    hone_lora_linear_args product = {
        .rows = args->rows, .linear = linear, .x = args->x, .dy = dy, .dx = args->dx};
    product.dx_dtype = HONE_F32;
    product.dx_accumulate = accumulate;
    lora_linear_backward(host, &product, &inner);
}

/* With s = sigmoid(gate): dup = dh * gate * s, dgate = dh * up * s * (1 + gate * (1 - s)). */
static void swiglu_activation_backward(const hone_host *host, const hone_swiglu_args *args,
                                       const hone_saved *saved) {
    size_t count = args->rows * args->gate->weight.rows, begin, end;
    void *gate = saved->slot[SWIGLU_GATE], *up = saved->slot[SWIGLU_UP];
    float gates[PIECE], ups[PIECE], dhs[PIECE], s[PIECE], dgate[PIECE], dup[PIECE], h[PIECE];
    hone_share(host, count, SWIGLU_GRAIN, &begin, &end);
    for (size_t at = begin; at < end && !host->planning; at += PIECE) {
        size_t n = least(end - at, PIECE);
        const float *g = view(gate, host->compute, at, n, gates);
        const float *u = view(up, host->compute, at, n, ups);
        const float *dh = view(args->dh, host->compute, at, n, dhs);
        sigmoid(n, g, s);
        for (size_t i = 0; i < n; i++) {
            float silu = g[i] * s[i];
            h[i] = silu * u[i];
            dup[i] = dh[i] * silu;
            dgate[i] = dh[i] * u[i] * s[i] * (1.0f + g[i] * (1.0f - s[i]));
        }
        store(gate, host->compute, at, n, dgate);
        store(up, host->compute, at, n, dup);
        if (args->h) store(args->h, host->compute, at, n, h);
    }
    if (!host->planning) host->barrier(host);
    pull_back(host, args, args->gate, gate, saved, SWIGLU_OF_GATE, args->accumulate);
    pull_back(host, args, args->up, up, saved, SWIGLU_OF_UP, true);
}
// EVOLVE-BLOCK-END

/* ---- cross_entropy_loss: log(sum(exp(logits))) - logits[label] ------------------------------------- */
// EVOLVE-BLOCK-START
enum { LOSS_PIECE = 1024 }; // TUNE LOSS_PIECE: 256 512 1024 2048
enum { LOSS_LSE };          /* slot: log-sum-exp [rows] */

static void cross_entropy_loss_forward(const hone_host *host, const hone_cross_entropy_args *args,
                                       hone_saved *saved) {
    size_t vocab = args->vocab, begin, end;
    float *lse = keep(host, saved, LOSS_LSE, args->rows * sizeof *lse);
    float buffer[LOSS_PIECE], e[LOSS_PIECE];
    if (host->planning) return;
    hone_share(host, args->rows, 1, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        const void *row = element(args->logits, args->logits_dtype, r * vocab);
        float most = -INFINITY;
        double total = 0;
        args->loss[r] = 0;
        if (args->labels[r] == HONE_IGNORE) continue;
        for (size_t at = 0; at < vocab; at += LOSS_PIECE) {
            size_t n = least(vocab - at, LOSS_PIECE);
            most = fmaxf(most, largest(n, view(row, args->logits_dtype, at, n, buffer)));
        }
        for (size_t at = 0; at < vocab; at += LOSS_PIECE) {
            size_t n = least(vocab - at, LOSS_PIECE);
            const float *x = view(row, args->logits_dtype, at, n, buffer);
            for (size_t i = 0; i < n; i++) e[i] = x[i] - most;
            exponentials(n, e);
            total += (double)sum(n, e);
        }
        float x = *view(row, args->logits_dtype, (size_t)args->labels[r], 1, buffer);
        args->loss[r] = (float)(log(total) + ((double)most - (double)x));
        lse[r] = (float)(log(total) + (double)most);
    }
}

/* dlogits = scale * (softmax(logits) - 1 at the label), piece by piece, so that it may be where the logits are. */
static void cross_entropy_loss_backward(const hone_host *host, const hone_cross_entropy_args *args,
                                        const hone_saved *saved) {
    const float *lse = saved->slot[LOSS_LSE];
    hone_dtype dtype = args->logits_dtype;
    size_t vocab = args->vocab, begin, end;
    if (host->planning) return;
    float buffer[LOSS_PIECE], d[LOSS_PIECE];
    hone_share(host, args->rows, 1, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        if (args->labels[r] == HONE_IGNORE) {
            memset(element(args->dlogits, dtype, r * vocab), 0, vocab * element_bytes(dtype));
            continue;
        }
        size_t label = (size_t)args->labels[r];
        for (size_t at = 0; at < vocab; at += LOSS_PIECE) {
            size_t n = least(vocab - at, LOSS_PIECE);
            const float *x = view(args->logits, dtype, r * vocab + at, n, buffer);
            for (size_t i = 0; i < n; i++) d[i] = x[i] - lse[r];
            exponentials(n, d);
            if (label >= at && label < at + n) d[label - at] -= 1.0f;
            for (size_t i = 0; i < n; i++) d[i] *= args->scale;
            store(args->dlogits, dtype, r * vocab + at, n, d);
        }
    }
}
// EVOLVE-BLOCK-END

/* ---- attention_with_rope: softmax(q k^T / sqrt(head_dim)) v, causal, by segments ------------------- */
// EVOLVE-BLOCK-START
enum { QUERY_TILE = 128 };            // TUNE QUERY_TILE: 32 64 128 256
enum { SCORE_ROWS = 4 };              // TUNE SCORE_ROWS: 1 4 16
enum { LD_ACROSS = QUERY_TILE + 16 }; /* of transposed scores: not a power of two */
enum { ATTENTION_LSE };               /* slot: log-sum-exp [heads, q_rows] */

/* What the tiles share: scores of one head, for QUERY_TILE queries and all keys that they see. */
typedef struct attention {
    const hone_host *host;
    const hone_attention_args *args;
    size_t longest;     /* keys of any segment: elements from row to row of the scores */
    float *scores, *dp; /* [QUERY_TILE, longest], in place p and ds */
    void *p, *ds;       /* the same in the compute type: where that is float32 the same memory */
    void *p_t, *ds_t;   /* [longest, LD_ACROSS] compute type: the transposes */
    float *dk, *dv;     /* [longest, head_dim], summed over tiles and a group of heads */
    float *row;         /* [3, head_dim], this thread's */
    float *lse;         /* [heads, q_rows] or NULL */
} attention;

/* Query rows [q, q + rows) of a head, counted from the segment's first, and the keys that the last of them sees. */
typedef struct tile {
    const hone_segment *segment;
    size_t head, q, rows, keys;
    size_t at;  /* element of q, o and their gradients where the rows start */
    float *lse; /* [rows] or NULL */
} tile;

/* Keys that query q of the segment sees, the first ones. */
static size_t visible(const hone_segment *segment, size_t q) {
    size_t keys = segment->kv_end - segment->kv_begin;
    size_t later = segment->q_end - segment->q_begin - 1 - q;
    return keys > later ? keys - later : 0;
}

static void take_scratch(attention *job, bool backward) {
    const hone_host *host = job->host;
    for (size_t s = 0; s < job->args->segment_count; s++) {
        size_t keys = job->args->segments[s].kv_end - job->args->segments[s].kv_begin;
        if (keys > job->longest) job->longest = keys;
    }
    size_t n = job->longest, dim = job->args->head_dim, half = n * sizeof(hone_bf16);
    bool convert = host->compute != HONE_F32;
    job->scores = host->scratch(host, QUERY_TILE * n * sizeof(float));
    job->p = convert ? host->scratch(host, QUERY_TILE * half) : job->scores;
    if (!backward) return;
    job->dp = host->scratch(host, QUERY_TILE * n * sizeof(float));
    job->ds = convert ? host->scratch(host, QUERY_TILE * half) : job->dp;
    job->p_t = host->scratch(host, n * LD_ACROSS * element_bytes(host->compute));
    job->ds_t = host->scratch(host, n * LD_ACROSS * element_bytes(host->compute));
    job->dk = host->scratch(host, n * dim * sizeof(float));
    job->dv = host->scratch(host, n * dim * sizeof(float));
    job->row = own_scratch(host, 3 * dim * sizeof(float));
}

/* q or k, or its gradient, in place. */
static void rotate(const hone_host *host, const hone_attention_args *args, void *x, size_t heads,
                   bool back) {
    const hone_saved nothing = {{0}};
    hone_rope_args part = {.rows = args->q_rows, .heads = heads, .x = x, .y = x};
    part.head_dim = args->head_dim;
    part.rope_dim = args->rope_dim;
    part.positions = args->positions;
    part.cos = args->cos;
    part.sin = args->sin;
    part.interleaved = args->interleaved;
    if (!part.cos) return;
    if (back)
        rope_embeddings_backward(host, &part, &nothing);
    else
        rope_embeddings_forward(host, &part, NULL);
}

/* The tile's rows of q, o or a gradient. */
static void *queries(const attention *job, const tile *t, const void *x) {
    return element(x, job->host->compute, t->at);
}

/* The rows of k or v that the tile sees. */
static hone_matrix keys_of(const attention *job, const tile *t, const void *x) {
    const hone_attention_args *args = job->args;
    size_t kv_head = t->head / (args->heads / args->kv_heads), stride = args->kv_heads;
    size_t index = (t->segment->kv_begin * stride + kv_head) * args->head_dim;
    return dense(element(x, job->host->compute, index), job->host->compute, t->keys, args->head_dim,
                 stride * args->head_dim);
}

/* scores [rows, keys] = x y^T, x the tile's rows of q or dO, y the keys' of k or v. */
static void multiply_scores(const attention *job, const tile *t, const void *x, const void *y,
                            float *scores) {
    hone_matrix b = keys_of(job, t, y);
    multiply(job->host, product(t->rows, queries(job, t, x), job->args->heads * b.cols, &b, true,
                                scores, job->longest, HONE_F32, false));
}

/* y [rows, head_dim] = scores x, y the tile's rows of o or dq, x the keys' of v or k. */
static void multiply_keys(const attention *job, const tile *t, const void *scores, const void *x,
                          void *y) {
    hone_matrix b = keys_of(job, t, x);
    multiply(job->host, product(t->rows, scores, job->longest, &b, false, queries(job, t, y),
                                job->args->heads * b.cols, job->host->compute, false));
}

/* p = softmax(scale * scores) of each row's visible keys */
static void softmax_rows(const attention *job, const tile *t) {
    size_t begin, end;
    float scale = 1.0f / sqrtf((float)job->args->head_dim);
    hone_share(job->host, t->rows, SCORE_ROWS, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        size_t n = visible(t->segment, t->q + r);
        float *p = job->scores + r * job->longest, most = n > 0 ? largest(n, p) : 0;
        for (size_t i = 0; i < n; i++) p[i] = scale * (p[i] - most);
        exponentials(n, p);
        float total = sum(n, p);
        for (size_t i = 0; i < n; i++) p[i] /= total;
        memset(p + n, 0, (t->keys - n) * sizeof *p);
        store(job->p, job->host->compute, r * job->longest, t->keys, p);
        if (t->lse) t->lse[r] = scale * most + logf(total);
    }
}

/* The tile that starts at query q. */
static tile tile_at(const attention *job, const hone_segment *segment, size_t head, size_t q) {
    tile t = {.segment = segment, .head = head, .q = q};
    t.rows = least(segment->q_end - segment->q_begin - q, QUERY_TILE);
    t.keys = visible(segment, q + t.rows - 1);
    t.at = ((segment->q_begin + q) * job->args->heads + head) * job->args->head_dim;
    if (job->lse) t.lse = job->lse + head * job->args->q_rows + segment->q_begin + q;
    return t;
}

static void attention_with_rope_forward(const hone_host *host, const hone_attention_args *args,
                                        hone_saved *saved) {
    attention job = {.host = host, .args = args};
    if (saved)
        job.lse = keep(host, saved, ATTENTION_LSE, args->heads * args->q_rows * sizeof(float));
    take_scratch(&job, false);
    rotate(host, args, args->q, args->heads, false);
    rotate(host, args, args->k, args->kv_heads, false);
    if (!host->planning) {
        zero(host, args->o, args->q_rows * args->heads * args->head_dim); /* rows of no segment */
        host->barrier(host);
    }
    for (size_t s = 0; s < args->segment_count; s++) {
        const hone_segment *segment = &args->segments[s];
        for (size_t head = 0; head < args->heads; head++) {
            for (size_t q = 0; q < segment->q_end - segment->q_begin; q += QUERY_TILE) {
                tile t = tile_at(&job, segment, head, q);
                if (t.keys == 0) continue;
                multiply_scores(&job, &t, args->q, args->k, job.scores);
                if (!host->planning) {
                    softmax_rows(&job, &t);
                    host->barrier(host);
                }
                multiply_keys(&job, &t, job.p, args->v, args->o);
            }
        }
    }
}

/* p = exp(scale * scores - lse), ds = p * (dp - rowsum(do * o)) * scale */
static void backward_rows(const attention *job, const tile *t) {
    const hone_attention_args *args = job->args;
    hone_dtype compute = job->host->compute;
    size_t dim = args->head_dim, width = args->heads * dim, begin, end;
    const void *o_rows = queries(job, t, args->o), *do_rows = queries(job, t, args->d_o);
    float scale = 1.0f / sqrtf((float)dim), *products = job->row + 2 * dim;
    hone_share(job->host, t->rows, SCORE_ROWS, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        float *p = job->scores + r * job->longest, *ds = job->dp + r * job->longest;
        const float *o = view(o_rows, compute, r * width, dim, job->row);
        const float *d_o = view(do_rows, compute, r * width, dim, job->row + dim);
        for (size_t i = 0; i < dim; i++) products[i] = d_o[i] * o[i];
        float lse = t->lse[r], delta = sum(dim, products);
        size_t n = visible(t->segment, t->q + r);
        for (size_t i = 0; i < n; i++) p[i] = scale * p[i] - lse;
        exponentials(n, p);
        for (size_t i = 0; i < n; i++) ds[i] = p[i] * (ds[i] - delta) * scale;
        memset(p + n, 0, (t->keys - n) * sizeof *p);
        memset(ds + n, 0, (t->keys - n) * sizeof *ds);
        store(job->p, compute, r * job->longest, t->keys, p);
        store(job->ds, compute, r * job->longest, t->keys, ds);
    }
}

/* y [keys, head_dim] (+)= across x, across [keys, rows] a transpose of scores, x the tile's rows of q or dO. */
static void multiply_across(const attention *job, const tile *t, const void *across, const void *x,
                            float *y, bool accumulate) {
    size_t dim = job->args->head_dim;
    hone_matrix b =
        dense(queries(job, t, x), job->host->compute, t->rows, dim, job->args->heads * dim);
    multiply(job->host,
             product(t->keys, across, LD_ACROSS, &b, false, y, dim, HONE_F32, accumulate));
}

static void backward_tile(const attention *job, const tile *t, bool accumulate) {
    const hone_host *host = job->host;
    const hone_attention_args *args = job->args;
    multiply_scores(job, t, args->q, args->k, job->scores);
    multiply_scores(job, t, args->d_o, args->v, job->dp);
    if (!host->planning) {
        backward_rows(job, t);
        host->barrier(host);
        transpose(host, t->rows, t->keys, job->p, job->longest, job->p_t, LD_ACROSS);
        transpose(host, t->rows, t->keys, job->ds, job->longest, job->ds_t, LD_ACROSS);
    }
    multiply_keys(job, t, job->ds, args->k, args->dq); /* ends with a barrier: the transposes too */
    multiply_across(job, t, job->p_t, args->d_o, job->dv, accumulate);
    multiply_across(job, t, job->ds_t, args->q, job->dk, accumulate);
}

/* dk and dv of one kv head, its group of query heads together. The last tile sees all keys, so it comes first. */
static void backward_group(const attention *job, const hone_segment *segment, size_t kv_head) {
    const hone_attention_args *args = job->args;
    size_t group = args->heads / args->kv_heads, dim = args->head_dim, begin, end;
    size_t rows = segment->q_end - segment->q_begin, keys = segment->kv_end - segment->kv_begin;
    if (rows == 0 || keys == 0) return;
    for (size_t h = 0; h < group; h++) {
        for (size_t tiles = (rows - 1) / QUERY_TILE + 1, i = tiles; i-- > 0;) {
            tile t = tile_at(job, segment, kv_head * group + h, i * QUERY_TILE);
            if (t.keys > 0) backward_tile(job, &t, h > 0 || i + 1 < tiles);
        }
    }
    if (job->host->planning) return;
    hone_share(job->host, keys, SCORE_ROWS, &begin, &end);
    for (size_t r = begin; r < end; r++) {
        size_t index = ((segment->kv_begin + r) * args->kv_heads + kv_head) * dim;
        store(args->dk, job->host->compute, index, dim, job->dk + r * dim);
        store(args->dv, job->host->compute, index, dim, job->dv + r * dim);
    }
    job->host->barrier(job->host);
}

static void attention_with_rope_backward(const hone_host *host, const hone_attention_args *args,
                                         const hone_saved *saved) {
    attention job = {.host = host, .args = args, .lse = saved->slot[ATTENTION_LSE]};
    take_scratch(&job, true);
    if (!host->planning) {
        size_t kv_count = args->kv_rows * args->kv_heads * args->head_dim; /* rows of no segment */
        zero(host, args->dq, args->q_rows * args->heads * args->head_dim);
        zero(host, args->dk, kv_count);
        zero(host, args->dv, kv_count);
        host->barrier(host);
    }
    for (size_t s = 0; s < args->segment_count; s++)
        for (size_t kv_head = 0; kv_head < args->kv_heads; kv_head++)
            backward_group(&job, &args->segments[s], kv_head);
    rotate(host, args, args->dq, args->heads, true);
    rotate(host, args, args->dk, args->kv_heads, true);
}
// EVOLVE-BLOCK-END

/* ---- the set ------------------------------------------------------------------------------------- */

static const hone_kernel_set kernels = {
    .abi = HONE_KERNELS_ABI,
    .name = "example",
    .keeps_residual = true,
    .keeps_normed = true,
    .separate_rope = true,
    .rms_norm_forward = rms_norm_forward,
    .rms_norm_backward = rms_norm_backward,
    .rope_embeddings_forward = rope_embeddings_forward,
    .rope_embeddings_backward = rope_embeddings_backward,
    .swiglu_activation_forward = swiglu_activation_forward,
    .swiglu_activation_backward = swiglu_activation_backward,
    .cross_entropy_loss_forward = cross_entropy_loss_forward,
    .cross_entropy_loss_backward = cross_entropy_loss_backward,
    .lora_linear_forward = lora_linear_forward,
    .lora_linear_backward = lora_linear_backward,
    .attention_with_rope_forward = attention_with_rope_forward,
    .attention_with_rope_backward = attention_with_rope_backward,
};

const hone_kernel_set *hone_kernels_export(void) { return &kernels; }
