/* kernels/x86/gemm_amx: bfloat16 matrix multiply in AMX tiles. Layer kernels.
 *
 * A block is 32 x 32 elements of C in four tile registers, two tiles of A and two of B feeding them:
 * one kilobyte read per tdpbf16ps, half of it from panels in the second-level cache and half from rows
 * of A that stay in the first. To let them stay, k is cut into pieces of at most PIECE, and panels are
 * read by tileloaddt1, which does not push them out (a fifth of the speed). Between pieces the sums of
 * a row of blocks wait in memory. Final sums go straight to a float32 C; else they are converted
 * and stored a few rows at a time between the multiplications of the next block, which hides most of their
 * cost. Where C is added to, the sums start from it.
 *
 * Every element is summed over k in the same order whatever block it lies in. Tile state is configured
 * on entry and released on exit: nothing of it is left behind.
 */
#include "base/size.h"
#include "kernels/variants.h"
#include <assert.h>
#include <immintrin.h>

enum {
    SIDE = 32,        /* rows and columns of a block; k of one step */
    PIECE = 640,      /* longest k at a time: 32 rows are 40 KiB */
    COLUMNS = 512,    /* columns whose sums wait at a time */
    TILE = 16 * 16,   /* floats of a tile */
    BLOCK = 4 * TILE, /* floats of a block: upper left, upper right, lower left, lower right */
    ROW_BYTES = 64    /* of a tile */
};

typedef enum store_kind {
    PLAIN, /* whole rows of bfloat16, nothing to add */
    GENERAL
} store_kind;

/* C's part of one block, whose sums are final and wait to be stored, row after row. */
typedef struct finished {
    const float *sums; /* [rows, 32] */
    char *c;           /* where the next row goes, `stride` bytes apart */
    size_t stride, rows;
    const float *bias; /* of the block's columns, or NULL */
    __mmask32 valid;   /* columns */
    hone_dtype c_dtype;
    store_kind kind;
} finished;

/* Rows that the strip below will want, on their way into the second-level cache a few lines a step:
 * unasked, they would be waited for. */
typedef struct lookout {
    const char *row, *next, *end; /* of the row that is being asked for */
    size_t stride, bytes, rows;   /* of a row; rows left */
    size_t per_step;              /* lines */
} lookout;

/* Where the tiles of A are read: 16 or 32 rows, `stride` bytes apart, whole steps of k. */
typedef struct operand {
    const char *data;
    size_t stride;
} operand;

/* One run over k: A's rows and B's panels, `panel` bytes apart. */
typedef struct run {
    operand a;
    const char *b;
    size_t panel, steps;
} run;

static void configure(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = ROW_BYTES;
        config.rows[i] = 16;
    }
    _tile_loadconfig(&config);
}

static inline void store_row(store_kind kind, const finished *f) {
    __m512 left = _mm512_load_ps(f->sums), right = _mm512_load_ps(f->sums + 16);
    if (kind == PLAIN) {
        _mm512_storeu_si512(f->c, (__m512i)_mm512_cvtne2ps_pbh(right, left));
        return;
    }
    __mmask16 first = (__mmask16)f->valid, second = (__mmask16)(f->valid >> 16);
    if (f->bias != NULL) {
        left = _mm512_add_ps(left, _mm512_maskz_loadu_ps(first, f->bias));
        right = _mm512_add_ps(right, _mm512_maskz_loadu_ps(second, f->bias + 16));
    }
    if (f->c_dtype == HONE_F32) {
        _mm512_mask_storeu_ps(f->c, first, left);
        _mm512_mask_storeu_ps((float *)(void *)f->c + 16, second, right);
    } else {
        _mm512_mask_storeu_epi16(f->c, f->valid, (__m512i)_mm512_cvtne2ps_pbh(right, left));
    }
}

static inline __attribute__((always_inline)) void store_rows(store_kind kind, finished *f,
                                                             size_t count) {
    for (size_t i = HONE_MIN(count, f->rows); i > 0; i--) {
        store_row(kind, f);
        f->sums += SIDE;
        f->c += f->stride;
        f->rows--;
    }
}

static void store_rest(finished *f) {
    if (f->kind == PLAIN)
        store_rows(PLAIN, f, SIDE);
    else
        store_rows(GENERAL, f, SIDE);
}

static inline void look_ahead(lookout *l) {
    for (size_t i = l->per_step; i > 0 && l->rows > 0; i--) {
        _mm_prefetch(l->next, _MM_HINT_T1);
        l->next += ROW_BYTES;
        if (l->next < l->end) continue;
        l->row += l->stride;
        l->next = l->row;
        l->end = l->row + l->bytes;
        l->rows--;
    }
}

/* One step of a block; `lower` and `right`: whether those halves of it exist. */
static inline __attribute__((always_inline)) void step(bool lower, bool right, const char *a,
                                                       size_t stride, const char *b, size_t panel) {
    /* All loads first: the slow ones, from the second-level cache, start early. */
    _tile_stream_loadd(6, b, ROW_BYTES);
    if (right) _tile_stream_loadd(7, b + panel, ROW_BYTES);
    _tile_loadd(4, a, stride);
    if (lower) _tile_loadd(5, a + 16 * stride, stride);
    _tile_dpbf16ps(0, 4, 6);
    if (right) _tile_dpbf16ps(1, 4, 7);
    if (lower) _tile_dpbf16ps(2, 5, 6);
    if (lower && right) _tile_dpbf16ps(3, 5, 7);
}

/* Adds a run to the block in the tiles; meanwhile stores rows of the block before it and looks ahead. */
static inline __attribute__((always_inline)) void multiply(bool lower, bool right, store_kind kind,
                                                           const run *r, finished *previous,
                                                           lookout ahead[2]) {
    const char *a = r->a.data, *b = r->b;
    const size_t stride = r->a.stride, panel = r->panel;
    finished f = *previous;
    for (size_t s = r->steps; s > 0; s--, a += ROW_BYTES, b += TILE * sizeof(float)) {
        step(lower, right, a, stride, b, panel);
        store_rows(kind, &f, 4);
        if (ahead[0].rows > 0) look_ahead(&ahead[0]);
        if (ahead[1].rows > 0) look_ahead(&ahead[1]);
    }
    *previous = f;
}

static void multiply_any(bool lower, bool right, const run *r, finished *previous,
                         lookout ahead[2]) {
    if (lower && right) {
        if (previous->rows == 0 || previous->kind == PLAIN)
            multiply(true, true, PLAIN, r, previous, ahead);
        else
            multiply(true, true, GENERAL, r, previous, ahead);
        return;
    }
    store_rest(previous);
    if (lower)
        multiply(true, false, PLAIN, r, previous, ahead);
    else if (right)
        multiply(false, true, PLAIN, r, previous, ahead);
    else
        multiply(false, false, PLAIN, r, previous, ahead);
}

static void clear_sums(void) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

static void load_sums(bool lower, bool right, const float *sums) {
    _tile_loadd(0, sums, ROW_BYTES);
    if (right) _tile_loadd(1, sums + TILE, ROW_BYTES);
    if (lower) _tile_loadd(2, sums + 2 * TILE, ROW_BYTES);
    if (lower && right) _tile_loadd(3, sums + 3 * TILE, ROW_BYTES);
}

static void store_sums(bool lower, bool right, float *sums) {
    _tile_stored(0, sums, ROW_BYTES);
    if (right) _tile_stored(1, sums + TILE, ROW_BYTES);
    if (lower) _tile_stored(2, sums + 2 * TILE, ROW_BYTES);
    if (lower && right) _tile_stored(3, sums + 3 * TILE, ROW_BYTES);
}

/* As rows of 32. */
static void store_final(bool lower, bool right, float *sums) {
    const size_t stride = SIDE * sizeof *sums;
    _tile_stored(0, sums, stride);
    if (right) _tile_stored(1, sums + 16, stride);
    if (lower) _tile_stored(2, sums + 16 * SIDE, stride);
    if (lower && right) _tile_stored(3, sums + 16 * SIDE + 16, stride);
}

/* Depths [begin, begin + count) of A's rows: in place where tiles may read them so, else copied to `copy` and
 * padded with zeros in both directions. */
static operand take_rows(const void *a, size_t lda, size_t row, size_t rows, size_t begin,
                         size_t count, hone_bf16 *copy) {
    const hone_bf16 *from = (const hone_bf16 *)a + row * lda + begin;
    size_t stride = lda * sizeof *from, padded = HONE_CEIL_DIV(count, SIDE) * SIDE;
    /* Rows 4 KiB apart would all want the same few lines of the first-level cache. */
    bool aligned = ((uintptr_t)from | stride) % ROW_BYTES == 0 && stride % 4096 != 0;
    if (aligned && count == padded && (rows == SIDE || rows == SIDE / 2))
        return (operand){(const char *)from, stride};
    for (size_t r = 0; r < (rows <= 16 ? 16 : SIDE); r++) {
        for (size_t i = 0; i < padded; i += SIDE) {
            size_t valid = r < rows && i < count ? HONE_MIN(count - i, (size_t)SIDE) : 0;
            __mmask32 mask = (__mmask32)((1ull << valid) - 1);
            const hone_bf16 *at = valid == 0 ? from : from + r * lda + i;
            _mm512_store_si512(copy + r * padded + i, _mm512_maskz_loadu_epi16(mask, at));
        }
    }
    return (operand){(const char *)copy, padded * sizeof *copy};
}

/* 32 rows and up to COLUMNS columns of C on their way through k. */
typedef struct strip {
    const hone_gemm *g;
    size_t row, rows, col, cols;
    float *waiting;   /* [COLUMNS / 32][BLOCK] sums between pieces */
    float *final;     /* [BLOCK] sums to be stored */
    finished last;    /* the block that is being stored */
    lookout ahead[2]; /* A's rows, and C's where it is added to */
} strip;

/* Whether tiles may be loaded from and stored to C itself: all of the block at column c exists, as float32. */
static bool in_place(const strip *s, size_t c) {
    return s->g->c_dtype == HONE_F32 && s->rows == SIDE && s->cols - c >= SIDE;
}

static float *block_of_c(const strip *s, size_t c) {
    return (float *)s->g->c + s->row * s->g->ldc + s->col + c;
}

static void load_from_c(const float *c, size_t ldc) {
    size_t stride = ldc * sizeof *c;
    _tile_loadd(0, c, stride);
    _tile_loadd(1, c + 16, stride);
    _tile_loadd(2, c + 16 * ldc, stride);
    _tile_loadd(3, c + 16 * ldc + 16, stride);
}

static void store_to_c(float *c, size_t ldc) {
    size_t stride = ldc * sizeof *c;
    _tile_stored(0, c, stride);
    _tile_stored(1, c + 16, stride);
    _tile_stored(2, c + 16 * ldc, stride);
    _tile_stored(3, c + 16 * ldc + 16, stride);
}

/* Sums start from zero, or from C: by way of `sums` where a part of the block does not exist. */
static void begin_block(const strip *s, size_t c, float *sums) {
    size_t ldc = s->g->ldc, valid = HONE_MIN(s->cols - c, (size_t)SIDE);
    const float *from = block_of_c(s, c);
    if (!s->g->accumulate) {
        clear_sums();
        return;
    }
    if (in_place(s, c)) {
        load_from_c(from, ldc);
        return;
    }
    uint32_t mask = (uint32_t)((1ull << valid) - 1);
    for (size_t r = 0; r < SIDE; r++) {
        uint32_t row_mask = r < s->rows ? mask : 0;
        const float *row = r < s->rows ? from + r * ldc : from;
        float *to = sums + r / 16 * (2 * TILE) + r % 16 * 16;
        _mm512_store_ps(to, _mm512_maskz_loadu_ps((__mmask16)row_mask, row));
        _mm512_store_ps(to + TILE, _mm512_maskz_loadu_ps((__mmask16)(row_mask >> 16), row + 16));
    }
    load_sums(true, true, sums);
}

/* The final sums of the block at column c of the strip are in the tiles. */
static void finish_block(strip *s, bool lower, bool right, size_t c) {
    size_t valid = HONE_MIN(s->cols - c, (size_t)SIDE);
    uint32_t mask = (uint32_t)((1ull << valid) - 1);
    const hone_gemm *g = s->g;
    if (in_place(s, c) && g->bias == NULL) {
        store_to_c(block_of_c(s, c), g->ldc);
        return;
    }
    store_rest(&s->last);
    store_final(lower, right, s->final);
    size_t at = s->row * g->ldc + s->col + c;
    bool plain = valid == SIDE && g->c_dtype == HONE_BF16 && g->bias == NULL;
    size_t element = g->c_dtype == HONE_BF16 ? sizeof(hone_bf16) : sizeof(float);
    s->last = (finished){.sums = s->final,
                         .c = (char *)g->c + at * element,
                         .stride = g->ldc * element,
                         .rows = s->rows,
                         .bias = g->bias == NULL ? NULL : g->bias + s->col + c,
                         .valid = mask,
                         .c_dtype = g->c_dtype,
                         .kind = plain ? PLAIN : GENERAL};
}

/* Runs one piece of k over the strip's columns, and `second` with it where it has steps. */
static void run_piece(strip *s, run first, run second, bool begins, bool ends) {
    bool lower = s->rows > SIDE / 2;
    float *sums = s->waiting;
    for (size_t c = 0; c < s->cols; c += SIDE, sums += BLOCK) {
        bool right = s->cols - c > SIDE / 2;
        if (begins)
            begin_block(s, c, sums);
        else
            load_sums(lower, right, sums);
        multiply_any(lower, right, &first, &s->last, s->ahead);
        if (second.steps > 0) multiply_any(lower, right, &second, &s->last, s->ahead);
        if (ends)
            finish_block(s, lower, right, c);
        else
            store_sums(lower, right, sums);
        first.b += 2 * first.panel;
        second.b += 2 * second.panel;
    }
}

static size_t steps_of(size_t k) { return HONE_CEIL_DIV(k, SIDE); }

/* Panels of `depth` that begin with the strip's first column, from `begin` on. */
static run take_run(const strip *s, const void *a, size_t lda, const void *b, size_t depth,
                    size_t begin, size_t count, hone_bf16 *copy) {
    size_t panel = steps_of(depth) * SIDE * HONE_PANEL * sizeof(hone_bf16);
    run r = {.panel = panel, .steps = steps_of(count)};
    if (count == 0) return r;
    r.a = take_rows(a, lda, s->row, s->rows, begin, count, copy);
    r.b = (const char *)b + s->col / HONE_PANEL * panel + begin * HONE_PANEL * sizeof(hone_bf16);
    return r;
}

/* `bytes` of each of the rows below the strip, spread over the strip's steps. */
static lookout look_below(const strip *s, const void *data, size_t stride, size_t bytes) {
    size_t below = s->row + SIDE;
    if (below >= s->g->m || bytes == 0) return (lookout){.rows = 0};
    lookout l = {.stride = stride, .bytes = bytes, .rows = HONE_MIN(s->g->m - below, (size_t)SIDE)};
    l.per_step = HONE_CEIL_DIV(l.rows * HONE_CEIL_DIV(bytes, ROW_BYTES),
                               HONE_CEIL_DIV(s->cols, SIDE) * steps_of(s->g->k));
    l.row = l.next = (const char *)data + below * stride;
    l.end = l.row + bytes;
    return l;
}

/* All of k and k2 for one strip. The second product joins the last piece, cut like the first when long. */
static void run_strip(strip *s, hone_bf16 *copy, hone_bf16 *copy2) {
    const hone_gemm *g = s->g;
    size_t length = HONE_CEIL_DIV(steps_of(g->k), HONE_CEIL_DIV(g->k, PIECE)) * SIDE;
    size_t joined = HONE_MIN(g->k2, (size_t)PIECE), depth = g->b_depth > 0 ? g->b_depth : g->k;
    for (size_t begin = 0; begin < g->k; begin += length) {
        size_t count = HONE_MIN(g->k - begin, length);
        bool last = begin + count == g->k;
        run first = take_run(s, g->a, g->lda, g->b, depth, begin, count, copy);
        run second = take_run(s, g->a2, g->lda2, g->b2, g->k2, 0, last ? joined : 0, copy2);
        run_piece(s, first, second, begin == 0, last && joined == g->k2);
    }
    for (size_t begin = joined; begin < g->k2; begin += PIECE) {
        size_t count = HONE_MIN(g->k2 - begin, (size_t)PIECE);
        run more = take_run(s, g->a2, g->lda2, g->b2, g->k2, begin, count, copy2);
        run_piece(s, more, (run){.steps = 0}, false, begin + count == g->k2);
    }
}

void hone_gemm_bf16_amx(const hone_gemm *g) {
    assert(!g->accumulate || g->c_dtype == HONE_F32);
    _Alignas(64) float waiting[COLUMNS / SIDE * BLOCK], final[BLOCK];
    _Alignas(64) hone_bf16 copy[SIDE * PIECE], copy2[SIDE * PIECE];
    strip s = {.g = g, .waiting = waiting, .final = final};
    configure();
    for (s.col = 0; s.col < g->n; s.col += COLUMNS) {
        s.cols = HONE_MIN(g->n - s.col, (size_t)COLUMNS);
        for (s.row = 0; s.row < g->m; s.row += SIDE) {
            s.rows = HONE_MIN(g->m - s.row, (size_t)SIDE);
            s.ahead[0] = look_below(&s, g->a, g->lda * sizeof(hone_bf16), g->k * sizeof(hone_bf16));
            s.ahead[1] = look_below(&s, (const float *)g->c + s.col, g->ldc * sizeof(float),
                                    g->accumulate ? s.cols * sizeof(float) : 0);
            run_strip(&s, copy, copy2);
        }
    }
    store_rest(&s.last);
    _tile_release();
}
