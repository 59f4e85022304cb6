/* kernels/vec/dot_rows: rows of x times rows of w as w is stored: what is read once is not worth packing. Layer
 * kernels.
 *
 * In float32 lane l of a sum holds the products of elements l, l + VEC_WIDTH, ... of each run that is loaded as a
 * vector, in order; the lanes are added at the end. Rows of w share the loads of x, not their sums: a result does not
 * depend on the others.
 */
#include "kernels/vec/unpack.h"
#if defined(VEC_AVX2)
#include "kernels/vec/dot_bytes.h"
#include "kernels/vec/dot_tiles.h"
#elif defined(VEC_AVX512CVT)
#include "kernels/vec/dot_vnni.h"
#endif

enum { BLOCK = 32, HALF = BLOCK / 2, ROWS = 4 }; /* ROWS of w at a time */
enum { PARTS = HALF / VEC_WIDTH };               /* vectors of half a block */
enum { STRIP = 64 }; /* rows of w between two looks at x: a multiple of ROWS and of a tile's */

/* ---- dense w ----------------------------------------------------------------------------- */

VEC_INLINE vec_f load_dense_n(hone_dtype dtype, const uint8_t *p, size_t i, size_t n) {
    if (dtype != HONE_F16) return vec_load_as_n(p, dtype, i, n);
    uint8_t rest[2 * VEC_WIDTH] = {0};
    memcpy(rest, p + 2 * i, 2 * n);
    return load_f16(rest);
}

VEC_INLINE void dots_dense(hone_dtype dtype, const hone_matrix *w, size_t row, size_t rows,
                           hone_dtype x_dtype, const void *x, float *sums) {
    const uint8_t *p = (const uint8_t *)w->data + row * w->row_bytes;
    vec_f sum[ROWS] = {{0}};
    size_t i = 0;
    for (; i + VEC_WIDTH <= w->cols; i += VEC_WIDTH) {
        vec_f v = vec_load_as(x, x_dtype, i);
        for (size_t r = 0; r < rows; r++) {
            const uint8_t *at = p + r * w->row_bytes;
            prefetch_ahead(at + i * (dtype == HONE_F32 ? 4 : 2));
            sum[r] = vec_fma(v, load_dense(dtype, at, i), sum[r]);
        }
    }
    if (i < w->cols) {
        vec_f v = vec_load_as_n(x, x_dtype, i, w->cols - i);
        for (size_t r = 0; r < rows; r++) {
            vec_f rest = load_dense_n(dtype, p + r * w->row_bytes, i, w->cols - i);
            sum[r] = vec_fma(v, rest, sum[r]);
        }
    }
    for (size_t r = 0; r < rows; r++) sums[r] = vec_sum(sum[r]);
}

/* ---- quantized w ------------------------------------------------------------------------- */

/* An element of a block is d * code + m. */
typedef struct affine {
    vec_f d, m;
} affine;

VEC_INLINE affine load_affine(hone_dtype dtype, const hone_matrix *w, const uint8_t *block,
                              size_t group) {
    if (dtype == HONE_AFFINE4)
        return (affine){vec_set1(affine_value(w->scales, w->affine_dtype, group)),
                        vec_set1(affine_value(w->biases, w->affine_dtype, group))};
#ifdef VEC_AVX512
    if (dtype == HONE_Q4_1) { /* both numbers by one conversion */
        int32_t pair;
        memcpy(&pair, block, sizeof pair);
        __m512 both = _mm512_cvtph_ps(_mm256_set1_epi32(pair));
        return (affine){_mm512_moveldup_ps(both), _mm512_movehdup_ps(both)};
    }
#endif
    vec_f d = vec_set1(f16_to_f32(load_u16(block)));
    if (dtype == HONE_Q4_1) return (affine){d, vec_set1(f16_to_f32(load_u16(block + 2)))};
    return (affine){d, dtype == HONE_Q4_0 ? -8.0f * d : vec_zero()};
}

/* sum + a block's products. x: VEC_WIDTH elements each, those of the first half of the codes in front. */
VEC_INLINE vec_f add_block(hone_dtype dtype, const uint8_t *codes, affine a,
                           const vec_f x[2 * PARTS], vec_f sum) {
#ifdef VEC_AVX512
    vec_f value = vec_fma(a.d, to_float(vec_lane()), a.m); /* of each code */
#endif
    if (dtype == HONE_Q8_0) {
        vec_f part = x[0] * to_float(load_signed_bytes(codes));
        for (size_t i = 1; i < 2 * PARTS; i++)
            part = vec_fma(x[i], to_float(load_signed_bytes(codes + i * VEC_WIDTH)), part);
        return vec_fma(a.d, part, sum);
    }
    for (size_t i = 0; i < PARTS; i++) {
        vec_i bytes = load_bytes(codes + i * VEC_WIDTH);
#ifdef VEC_AVX512
        vec_f low = _mm512_permutexvar_ps((__m512i)bytes, value); /* by the lowest four bits */
        vec_f high = _mm512_permutexvar_ps((__m512i)(bytes >> 4), value);
#else
        vec_f low = vec_fma(a.d, to_float(bytes & 15), a.m);
        vec_f high = vec_fma(a.d, to_float(bytes >> 4), a.m);
#endif
        sum = vec_fma(x[i], low, sum);
        sum = vec_fma(x[PARTS + i], high, sum);
    }
    return sum;
}

/* x of a block in the order of add_block. AFFINE4's nibbles alternate along the row. */
VEC_INLINE void load_block(hone_dtype dtype, hone_dtype x_dtype, const void *x, size_t at,
                           vec_f out[2 * PARTS]) {
    for (size_t i = 0; i < PARTS; i++) {
        if (dtype == HONE_AFFINE4) {
            vec_f a = vec_load_as(x, x_dtype, at + 2 * i * VEC_WIDTH);
            vec_f b = vec_load_as(x, x_dtype, at + (2 * i + 1) * VEC_WIDTH);
            out[i] = vec_even(a, b);
            out[PARTS + i] = vec_odd(a, b);
        } else {
            out[i] = vec_load_as(x, x_dtype, at + i * VEC_WIDTH);
            out[PARTS + i] = vec_load_as(x, x_dtype, at + HALF + i * VEC_WIDTH);
        }
    }
}

VEC_INLINE void dots_blocks(hone_dtype dtype, const hone_matrix *w, size_t row, size_t rows,
                            hone_dtype x_dtype, const void *x, float *sums) {
    const uint8_t *p = (const uint8_t *)w->data + row * w->row_bytes;
    const size_t bytes = dtype == HONE_AFFINE4 ? HALF : hone_dtype_block_bytes(dtype);
    const size_t skip = bytes - (dtype == HONE_Q8_0 ? BLOCK : HALF); /* bytes before the codes */
    const size_t per_group = dtype == HONE_AFFINE4 ? (size_t)w->group / BLOCK : 1;
    const size_t groups = w->cols / BLOCK / per_group; /* of a row */
    vec_f sum[ROWS] = {{0}};
    for (size_t block = 0; block < w->cols / BLOCK; block++, p += bytes) {
        vec_f v[2 * PARTS];
        load_block(dtype, x_dtype, x, block * BLOCK, v);
        size_t group = dtype == HONE_AFFINE4 ? row * groups + block / per_group : 0;
        for (size_t r = 0; r < rows; r++) {
            const uint8_t *at = p + r * w->row_bytes;
            prefetch_ahead(at);
            affine a = load_affine(dtype, w, at, group + r * groups);
            sum[r] = add_block(dtype, at + skip, a, v, sum[r]);
        }
    }
    for (size_t r = 0; r < rows; r++) sums[r] = vec_sum(sum[r]);
}

/* ---- any w ------------------------------------------------------------------------------- */

VEC_INLINE void dots_of(hone_dtype dtype, const hone_matrix *w, size_t row, size_t rows,
                        hone_dtype x_dtype, const void *x, float *sums) {
    if (dtype == HONE_F32 || dtype == HONE_F16 || dtype == HONE_BF16)
        dots_dense(dtype, w, row, rows, x_dtype, x, sums);
    else
        dots_blocks(dtype, w, row, rows, x_dtype, x, sums);
}

VEC_INLINE void dots_as(hone_dtype dtype, const hone_matrix *w, size_t row, size_t rows,
                        hone_dtype x_dtype, const void *x, float *sums) {
    if (rows == ROWS && x_dtype == HONE_F32)
        dots_of(dtype, w, row, ROWS, HONE_F32, x, sums);
    else if (rows == ROWS)
        dots_of(dtype, w, row, ROWS, HONE_BF16, x, sums);
    else if (x_dtype == HONE_F32)
        dots_of(dtype, w, row, 1, HONE_F32, x, sums);
    else
        dots_of(dtype, w, row, 1, HONE_BF16, x, sums);
}

/* sums[r] = x . w[row + r]; `rows` is ROWS or 1. */
static void dots(const hone_matrix *w, size_t row, size_t rows, hone_dtype x_dtype, const void *x,
                 float *sums) {
    switch (w->dtype) {
    case HONE_F32:
        dots_as(HONE_F32, w, row, rows, x_dtype, x, sums);
        break;
    case HONE_F16:
        dots_as(HONE_F16, w, row, rows, x_dtype, x, sums);
        break;
    case HONE_BF16:
        dots_as(HONE_BF16, w, row, rows, x_dtype, x, sums);
        break;
    case HONE_Q4_0:
        dots_as(HONE_Q4_0, w, row, rows, x_dtype, x, sums);
        break;
    case HONE_Q4_1:
        dots_as(HONE_Q4_1, w, row, rows, x_dtype, x, sums);
        break;
    case HONE_Q8_0:
        dots_as(HONE_Q8_0, w, row, rows, x_dtype, x, sums);
        break;
    default:
        dots_as(HONE_AFFINE4, w, row, rows, x_dtype, x, sums);
        break;
    }
}

/* ---- quantized w in integers -------------------------------------------------------------- */

/* Rows of w that are in tiles. */
static size_t tiled_rows(const hone_matrix *w) {
    return w->tiles == NULL ? 0 : w->rows / HONE_TILE_ROWS * HONE_TILE_ROWS;
}

#if defined(VEC_AVX2) || defined(VEC_AVX512CVT)
#define IN_INTEGERS 1
enum { BLOCKS = FIXED_COLUMNS / BLOCK };

/* sums[r] = x . w[row + r], all in tiles, over `blocks` blocks from block `first` on. A tile is done as a whole: a row
 * has the same bits whichever of its tile are wanted. */
VEC_INLINE void dots_tiles(hone_dtype dtype, const hone_matrix *w, size_t row, size_t rows,
                           size_t first, size_t blocks, const fixed_block *fixed, float *sums) {
    const size_t bytes = TILE_ROWS * hone_dtype_block_bytes(dtype);
    for (size_t r = 0, count; r < rows; r += count) {
        size_t tile = (row + r) / TILE_ROWS, skip = (row + r) % TILE_ROWS;
        size_t at = tile * (w->cols / BLOCK) + first;
        float part[TILE_ROWS];
        dot_tile(dtype, (const uint8_t *)w->tiles + at * bytes, blocks, fixed, part);
        count = HONE_MIN(rows - r, TILE_ROWS - skip);
        memcpy(sums + r, part + skip, count * sizeof *sums);
    }
}

#ifdef VEC_AVX2
enum { QUADS = BLOCKS / QUAD };

/* Columns of x in fixed point, as the weights want them. */
typedef struct fixed_point {
    fixed_block blocks[BLOCKS]; /* for tiles */
    fixed_quad quads[QUADS];    /* for rows of 4-bit codes */
    fixed_bytes bytes[BLOCKS];  /* for rows of bytes */
    float bytes_scale[BLOCKS];
} fixed_point;

/* Columns [col, col + count) of a row of x. */
VEC_INLINE void fix_as(hone_dtype dtype, hone_dtype x_dtype, const void *x, size_t col,
                       size_t count, fixed_point *to) {
    const size_t blocks = count / BLOCK;
    for (size_t block = 0; block < blocks; block++) {
        vec_f v[2 * PARTS];
        if (dtype == HONE_Q8_0) {
            load_block(HONE_AFFINE4, x_dtype, x, col + block * BLOCK, v); /* even, odd columns */
            fix_bytes(v, &to->bytes[block], &to->bytes_scale[block]);
        } else {
            load_block(dtype, x_dtype, x, col + block * BLOCK, v);
            fix_block(v, dtype == HONE_Q4_0 ? -8.0f : 1.0f, &to->blocks[block]);
            put_block(&to->blocks[block], (int)(block % QUAD), &to->quads[block / QUAD]);
        }
    }
    const fixed_block none = {.scale = 0};
    for (size_t block = blocks; dtype != HONE_Q8_0 && block % QUAD != 0; block++)
        put_block(&none, (int)(block % QUAD), &to->quads[block / QUAD]);
}

/* x . w[row], not in tiles, over `blocks` blocks from block `first` on. */
VEC_INLINE float dot_fixed(hone_dtype dtype, const hone_matrix *w, size_t row, size_t first,
                           size_t blocks, const fixed_point *fixed) {
    return dtype == HONE_Q8_0 ? dot_bytes(w, row, first, blocks, fixed->bytes, fixed->bytes_scale)
                              : dot_codes(dtype, w, row, first, blocks, fixed->quads);
}
#else
/* Columns of x in fixed point, as the weights want them. */
typedef struct fixed_point {
    fixed_block blocks[BLOCKS];   /* for tiles */
    fixed_pair pairs[BLOCKS / 2]; /* for rows of bytes */
    float scale[BLOCKS];
} fixed_point;

/* Columns [col, col + count) of a row of x. */
VEC_INLINE void fix_as(hone_dtype dtype, hone_dtype x_dtype, const void *x, size_t col,
                       size_t count, fixed_point *to) {
    const size_t blocks = count / BLOCK;
    for (size_t block = 0; block < blocks; block++) {
        vec_f v[2 * PARTS];
        load_block(dtype, x_dtype, x, col + block * BLOCK, v);
        if (dtype == HONE_Q8_0)
            fix_bytes(v, block % 2 != 0, &to->pairs[block / 2], &to->scale[block]);
        else
            fix_block(v, dtype == HONE_Q4_0 ? -8.0f : 1.0f, &to->blocks[block]);
    }
    if (dtype != HONE_Q8_0) return;
    /* What stands for missing blocks is times 0, and there so that nothing unset is read. */
    for (size_t block = blocks; block % 4 != 0; block++) to->scale[block] = 0;
    const vec_f none[2 * PARTS] = {{0}};
    float unused;
    if (blocks % 2 != 0) fix_bytes(none, true, &to->pairs[blocks / 2], &unused);
}

/* x . w[row], bytes, over `blocks` blocks from block `first` on. */
VEC_INLINE float dot_fixed(hone_dtype dtype, const hone_matrix *w, size_t row, size_t first,
                           size_t blocks, const fixed_point *fixed) {
    (void)dtype;
    return dot_bytes(w, row, first, blocks, fixed->pairs, fixed->scale);
}
#endif

/* sums[r] = x . w[row + r], all in tiles or none, over `blocks` blocks from block `first` on. */
VEC_INLINE void dots_fixed(hone_dtype dtype, const hone_matrix *w, size_t row, size_t rows,
                           size_t first, size_t blocks, const fixed_point *fixed, float *sums) {
    if (row < tiled_rows(w)) {
        dots_tiles(dtype, w, row, rows, first, blocks, fixed->blocks, sums);
        return;
    }
    for (size_t r = 0; r < rows; r++) sums[r] = dot_fixed(dtype, w, row + r, first, blocks, fixed);
}

/* sums[r] = x . w[row + r] for up to STRIP rows, piece by piece of x. `fixed` keeps the only piece from call to call:
 * `fresh` says that it does not hold it yet. */
VEC_INLINE void dots_codes(hone_dtype dtype, const hone_matrix *w, size_t row, size_t rows,
                           hone_dtype x_dtype, const void *x, bool fresh, fixed_point *fixed,
                           float *sums) {
    for (size_t col = 0, count; col < w->cols; col += count) {
        count = HONE_MIN(w->cols - col, (size_t)FIXED_COLUMNS);
        if (fresh || count < w->cols) {
            if (x_dtype == HONE_F32)
                fix_as(dtype, HONE_F32, x, col, count, fixed);
            else
                fix_as(dtype, HONE_BF16, x, col, count, fixed);
        }
        float part[STRIP];
        dots_fixed(dtype, w, row, rows, col / BLOCK, count / BLOCK, fixed, part);
        for (size_t r = 0; r < rows; r++) sums[r] = col == 0 ? part[r] : sums[r] + part[r];
    }
}

/* The same for the types of w that have such codes; false for others, and on AVX-512 for 4-bit rows outside tiles. */
static bool dots_in_integers(const hone_dot_rows *a, hone_dtype x_dtype, const void *x, size_t row,
                             size_t rows, fixed_point *fixed, float *sums) {
    bool fresh = row == a->begin;
#ifdef VEC_AVX512CVT
    if (row >= tiled_rows(a->w) && a->w->dtype != HONE_Q8_0) return false;
#endif
    switch (a->w->dtype) {
    case HONE_Q4_0:
        dots_codes(HONE_Q4_0, a->w, row, rows, x_dtype, x, fresh, fixed, sums);
        return true;
    case HONE_Q4_1:
        dots_codes(HONE_Q4_1, a->w, row, rows, x_dtype, x, fresh, fixed, sums);
        return true;
    case HONE_Q8_0:
        dots_codes(HONE_Q8_0, a->w, row, rows, x_dtype, x, fresh, fixed, sums);
        return true;
#ifdef VEC_AVX2
    case HONE_AFFINE4:
        dots_codes(HONE_AFFINE4, a->w, row, rows, x_dtype, x, fresh, fixed, sums);
        return true;
#endif
    default:
        return false;
    }
}
#endif

/* ---- the kernel --------------------------------------------------------------------------- */

/* sums[r] = x . w[row + r] for up to STRIP rows. */
static void dots_strip(const hone_matrix *w, size_t row, size_t rows, hone_dtype x_dtype,
                       const void *x, float sums[STRIP]) {
    size_t r = 0;
    for (; r + ROWS <= rows; r += ROWS) dots(w, row + r, ROWS, x_dtype, x, sums + r);
    for (; r < rows; r++) dots(w, row + r, 1, x_dtype, x, sums + r);
}

/* Elements [row, row + rows) of row i of c, from their sums. */
static void put(const hone_dot_rows *a, size_t i, size_t row, size_t rows, const float sums[STRIP],
                const float more[STRIP]) {
    const vec_f scale2 = vec_set1(a->scale2);
    for (size_t r = 0, n; r < rows; r += n) {
        n = HONE_MIN(rows - r, (size_t)VEC_WIDTH);
        const size_t j = row + r, at = i * a->ldc + j;
        vec_f value = vec_fma(scale2, vec_load(more + r), vec_load(sums + r));
        if (a->bias != NULL) value += vec_load_n(a->bias + j, n);
        if (a->accumulate) value += vec_load_n((const float *)a->c + at, n);
        if (n == VEC_WIDTH)
            vec_store_as(a->c, a->c_dtype, at, value);
        else
            vec_store_as_n(a->c, a->c_dtype, at, value, n);
    }
}

enum { WIDE = 8192 }; /* columns of x that are widened once for all rows of w: 32 KiB */

/* x as float32: widened into `wide` where it is bfloat16 and has room there; *dtype says what it is then. */
static const void *widen(const void *x, hone_dtype *dtype, size_t n, float wide[WIDE]) {
    if (*dtype == HONE_F32 || n > WIDE) return x;
    size_t i = 0;
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) vec_store(wide + i, vec_load_as(x, HONE_BF16, i));
    if (i < n) vec_store_n(wide + i, vec_load_as_n(x, HONE_BF16, i, n - i), n - i);
    *dtype = HONE_F32;
    return wide;
}

/* One row of x. */
static void row_of_x(const hone_dot_rows *a, size_t i) {
    float wide[WIDE];
    hone_dtype x_dtype = a->x_dtype;
    const void *x = widen(vec_at(a->x, x_dtype, i * a->ldx), &x_dtype, a->w->cols, wide);
    const size_t tiled = tiled_rows(a->w);
#ifdef IN_INTEGERS
    fixed_point fixed;
#endif
    for (size_t row = a->begin, rows; row < a->end; row += rows) {
        float sums[STRIP] = {0}, more[STRIP] = {0};
        rows = HONE_MIN((row < tiled ? HONE_MIN(tiled, a->end) : a->end) - row, (size_t)STRIP);
#ifdef IN_INTEGERS
        if (!dots_in_integers(a, x_dtype, x, row, rows, &fixed, sums))
#endif
            dots_strip(a->w, row, rows, x_dtype, x, sums);
        if (a->w2 != NULL)
            dots_strip(a->w2, row, rows, a->x_dtype, vec_at(a->x2, a->x_dtype, i * a->ldx2), more);
        put(a, i, row, rows, sums, more);
    }
}

void HONE_VEC_NAME(dot_rows)(const hone_dot_rows *a) {
    assert(a->begin <= a->end && a->end <= a->w->rows && (!a->w2 || a->end <= a->w2->rows));
    assert(!a->accumulate || a->c_dtype == HONE_F32);
    for (size_t i = 0; i < a->m; i++) row_of_x(a, i);
}
