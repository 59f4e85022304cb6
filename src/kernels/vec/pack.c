/* kernels/vec/pack: weights of any type as panels for matrix multiply. Layer kernels.
 *
 * Both layouts are panels of 32-bit words, [depth][16]: a word is one float32, or two bfloat16 of
 * consecutive k. Where a column of B is a row of w, a block of 16 rows is unpacked into a buffer that
 * stays in the first-level cache and transposed word by word; otherwise rows are cut into panels.
 */
#include "base/size.h"
#include "kernels/variants.h"
#include "kernels/vec/unpack.h"

/* Words of a row at a time; columns and depths at a time: panels, which may all lie in one set of the first-level
 * cache, are written in runs. */
enum { ROW_WORDS = 128, COLUMNS = 256, DEPTHS = 4 };

/* Words of depth k in a packed panel. */
VEC_INLINE size_t panel_words(hone_dtype compute, size_t k) {
    if (compute == HONE_F32) return k;
    return HONE_CEIL_DIV(k, HONE_PANEL_DEPTH) * (HONE_PANEL_DEPTH / 2);
}

/* dst[i][j] = src[j][i] for 16 rows j and `words` words i. Rows of src are read to a whole vector. */
static void transpose_words(uint32_t src[HONE_PANEL][ROW_WORDS], size_t words, uint32_t *dst) {
    for (size_t i = 0; i < words; i += VEC_WIDTH) {
        for (size_t j = 0; j < HONE_PANEL; j += VEC_WIDTH) {
            vec_f x[VEC_WIDTH], y[VEC_WIDTH];
            for (int v = 0; v < VEC_WIDTH; v++) memcpy(&x[v], &src[j + v][i], sizeof x[v]);
            for (int step = 1; step < VEC_WIDTH; step *= 2) {
                for (int v = 0; v < VEC_WIDTH / 2; v++) {
                    y[2 * v] = vec_zip_low(x[v], x[v + VEC_WIDTH / 2]);
                    y[2 * v + 1] = vec_zip_high(x[v], x[v + VEC_WIDTH / 2]);
                }
                for (int v = 0; v < VEC_WIDTH; v++) x[v] = y[v];
            }
            size_t valid = HONE_MIN(words - i, (size_t)VEC_WIDTH);
            for (size_t v = 0; v < valid; v++)
                memcpy(dst + (i + v) * HONE_PANEL + j, &x[v], sizeof x[v]);
        }
    }
}

VEC_INLINE void pack_rows(const hone_matrix *w, size_t n0, size_t n, size_t k0, size_t k,
                          float scale, hone_dtype compute, uint32_t *dst) {
    const size_t per_word = compute == HONE_F32 ? 1 : 2;
    const size_t depth = panel_words(compute, k);
    uint32_t rows[HONE_PANEL][ROW_WORDS];
    for (size_t first = 0; first < n; first += HONE_PANEL, dst += depth * HONE_PANEL) {
        size_t valid = HONE_MIN(n - first, (size_t)HONE_PANEL);
        for (size_t word = 0; word < depth; word += ROW_WORDS) {
            size_t words = HONE_MIN(depth - word, (size_t)ROW_WORDS);
            size_t at = word * per_word, count = at < k ? HONE_MIN(words * per_word, k - at) : 0;
            for (size_t j = 0; j < HONE_PANEL; j++) {
                size_t filled = j < valid ? count / per_word : 0; /* whole words that follow */
                memset(rows[j] + filled, 0, (words - filled) * sizeof rows[j][0]);
                if (j >= valid || count == 0) continue;
                HONE_VEC_NAME(unpack_scaled)
                (w, n0 + first + j, k0 + at, count, scale, compute, rows[j]);
            }
            transpose_words(rows, words, dst + word * HONE_PANEL);
        }
    }
}

/* Writes `depths` rows of words over the panels from `dst` on. */
VEC_INLINE void spread(uint32_t words[DEPTHS][COLUMNS], size_t depths, size_t columns,
                       size_t panel_size, uint32_t *dst) {
    for (size_t j = 0; j < columns; j += HONE_PANEL, dst += panel_size) {
        for (size_t d = 0; d < depths; d++) {
            for (size_t v = 0; v < HONE_PANEL; v += VEC_WIDTH) { /* memcpy would be a call */
                vec_u some;
                memcpy(&some, &words[d][j + v], sizeof some);
                memcpy(dst + d * HONE_PANEL + v, &some, sizeof some);
            }
        }
    }
}

/* bfloat16 of a row, or zeros behind depth k. */
VEC_INLINE void columns_bf16(const hone_matrix *w, size_t col, size_t count, size_t k0, size_t k,
                             size_t row, float scale, hone_bf16 *out) {
    if (row < k)
        HONE_VEC_NAME(unpack_scaled)(w, k0 + row, col, count, scale, HONE_BF16, out);
    else
        memset(out, 0, count * sizeof *out);
}

VEC_INLINE void pack_columns(const hone_matrix *w, size_t n0, size_t n, size_t k0, size_t k,
                             float scale, hone_dtype compute, uint32_t *dst) {
    const size_t depth = panel_words(compute, k), panel_size = depth * HONE_PANEL;
    for (size_t col = 0; col < n; col += COLUMNS, dst += panel_size * (COLUMNS / HONE_PANEL)) {
        size_t count = HONE_MIN(n - col, (size_t)COLUMNS);
        uint32_t words[DEPTHS][COLUMNS] = {{0}};
        for (size_t i = 0; i < depth; i += DEPTHS) {
            size_t depths = HONE_MIN(depth - i, (size_t)DEPTHS);
            for (size_t d = 0; d < depths; d++) {
                if (compute == HONE_F32) {
                    HONE_VEC_NAME(unpack_scaled)
                    (w, k0 + i + d, n0 + col, count, scale, compute, words[d]);
                    continue;
                }
                hone_bf16 even[COLUMNS], odd[COLUMNS];
                columns_bf16(w, n0 + col, count, k0, k, 2 * (i + d), scale, even);
                columns_bf16(w, n0 + col, count, k0, k, 2 * (i + d) + 1, scale, odd);
                for (size_t j = 0; j < count; j++) words[d][j] = even[j] | (uint32_t)odd[j] << 16;
            }
            spread(words, depths, count, panel_size, dst + i * HONE_PANEL);
        }
    }
}

void HONE_VEC_NAME(pack_f32)(const hone_matrix *w, bool by_rows, size_t n0, size_t n, size_t k0,
                             size_t k, float scale, void *dst) {
    if (by_rows)
        pack_rows(w, n0, n, k0, k, scale, HONE_F32, dst);
    else
        pack_columns(w, n0, n, k0, k, scale, HONE_F32, dst);
}

void HONE_VEC_NAME(pack_bf16)(const hone_matrix *w, bool by_rows, size_t n0, size_t n, size_t k0,
                              size_t k, float scale, void *dst) {
    if (by_rows)
        pack_rows(w, n0, n, k0, k, scale, HONE_BF16, dst);
    else
        pack_columns(w, n0, n, k0, k, scale, HONE_BF16, dst);
}
