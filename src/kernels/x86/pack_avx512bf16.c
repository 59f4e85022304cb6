/* kernels/x86/pack_avx512bf16: bfloat16 and float32 panels from weights of any type, unpacked on the way. Layer
 * kernels.
 *
 * Where a column of B is a row of w, 16 rows are transposed while they are still codes, four to a
 * word, so that a vector holds one depth of 16 columns and a scale is a vector too. Where it is not, a
 * block of a row has one scale; for bfloat16 its 16 possible values are computed once and looked up.
 * What does not come in whole blocks (and float16) is left to the generic kernel.
 */
#include "base/size.h"
#include "kernels/variants.h"
#include <assert.h>
#include <immintrin.h>

enum {
    BLOCK = 32,       /* elements of a quantized block */
    STEP = 32,        /* depths or columns at a time */
    DEPTHS = 8,       /* rows of w at a time where they are depths, */
    AHEAD = 32,       /* and how far ahead they are asked for */
    PANEL_STEP = 1024 /* bytes of a bfloat16 panel for one step of depth: half of a float32 one */
};

#define INLINE static inline __attribute__((always_inline))

static const uint16_t interleaved[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                         21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                         11, 27, 12, 28, 13, 29, 14, 30, 15, 31};

/* What stays in registers over a whole call. */
typedef struct constants {
    __m512i interleave; /* words 0, 16, 1, 17, ... */
    __m512 iota;
} constants;

INLINE constants make_constants(void) {
    return (constants){_mm512_loadu_si512(interleaved),
                       _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)};
}

INLINE __m512i pair_words(const constants *c, __m512 even, __m512 odd) {
    return _mm512_permutexvar_epi16(c->interleave, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

/* A pair of depths of 16 columns: number `pair` of the panel's step at dst. */
INLINE void store_pair(const constants *c, hone_dtype compute, __m512 even, __m512 odd, char *dst,
                       int pair) {
    if (compute == HONE_BF16) {
        _mm512_store_si512(dst + pair * 64, pair_words(c, even, odd));
    } else {
        _mm512_store_ps(dst + 2 * pair * 64, even);
        _mm512_store_ps(dst + (2 * pair + 1) * 64, odd);
    }
}

/* Bytes of 32 elements of a row, and of the scales before their codes. */
INLINE size_t run_bytes(hone_dtype dtype) {
    if (dtype == HONE_AFFINE4) return 16;
    return BLOCK / hone_dtype_block(dtype) * hone_dtype_block_bytes(dtype);
}
INLINE size_t run_head(hone_dtype dtype) {
    if (dtype == HONE_Q4_1) return 4;
    return dtype == HONE_Q4_0 || dtype == HONE_Q8_0 ? 2 : 0;
}

/* Turns x[i] = (row i, row 4+i, row 8+i, row 12+i), four words of each, into x[j] = word j of rows 0-15. */
INLINE void transpose_quads(__m512i x[4]) {
    __m512i a = _mm512_unpacklo_epi32(x[0], x[1]), b = _mm512_unpackhi_epi32(x[0], x[1]);
    __m512i c = _mm512_unpacklo_epi32(x[2], x[3]), d = _mm512_unpackhi_epi32(x[2], x[3]);
    x[0] = _mm512_unpacklo_epi64(a, c);
    x[1] = _mm512_unpackhi_epi64(a, c);
    x[2] = _mm512_unpacklo_epi64(b, d);
    x[3] = _mm512_unpackhi_epi64(b, d);
}

/* Four words of each of 16 rows, transposed. */
INLINE void load_quads(const uint8_t *p, size_t stride, __m512i x[4]) {
    for (size_t i = 0; i < 4; i++, p += stride) {
        __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)p));
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + 4 * stride)), 1);
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + 8 * stride)), 2);
        x[i] = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + 12 * stride)), 3);
    }
    transpose_quads(x);
}

/* Asks for a line of each of the next panel's 16 rows. (Past the last panel it asks in vain.) */
INLINE void fetch_rows(const uint8_t *p, size_t stride) {
    for (size_t r = 0; r < HONE_PANEL; r++, p += stride) _mm_prefetch((const char *)p, _MM_HINT_T0);
}

/* Asks for `bytes` from p on. (Past the last row it asks in vain.) */
INLINE void fetch_bytes(const uint8_t *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T0);
    _mm_prefetch((const char *)p + bytes - 1,
                 _MM_HINT_T0); /* the last line, where p is inside of one */
}

/* ---- scales: value = d * code + m ---------------------------------------------------------------- */

INLINE __m512 halves_to_f32(__m512i words) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words)); }

static float affine_value(const void *values, hone_dtype dtype, size_t index) {
    const uint8_t *at = (const uint8_t *)values + index * (dtype == HONE_F32 ? 4 : 2);
    uint16_t half;
    float f;
    memcpy(&half, at, sizeof half);
    if (dtype == HONE_BF16) return hone_bf16_to_f32(half);
    if (dtype == HONE_F16) return _cvtsh_ss(half);
    memcpy(&f, at, sizeof f);
    return f;
}

/* d and m of `count` <= 16 blocks: block `block` of rows row, row+1, ... when `down`, else consecutive blocks
 * of one row. Codes of Q8_0 are taken with 128 added. */
INLINE void load_scales(hone_dtype dtype, const hone_matrix *w, size_t row, size_t block,
                        size_t count, bool down, __m512 *d, __m512 *m) {
    if (dtype == HONE_AFFINE4) {
        float ds[16] = {0}, ms[16] = {0};
        size_t per_row = w->cols / (size_t)w->group;
        for (size_t i = 0; i < count; i++) {
            size_t at = (down ? row + i : row) * per_row +
                        (down ? block : block + i) * BLOCK / (size_t)w->group;
            ds[i] = affine_value(w->scales, w->affine_dtype, at);
            ms[i] = affine_value(w->biases, w->affine_dtype, at);
        }
        *d = _mm512_loadu_ps(ds);
        *m = _mm512_loadu_ps(ms);
        return;
    }
    size_t bytes = hone_dtype_block_bytes(dtype);
    const uint8_t *p = (const uint8_t *)w->data + row * w->row_bytes + block * bytes;
    __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i at = _mm512_mullo_epi32(lane, _mm512_set1_epi32((int)(down ? w->row_bytes : bytes)));
    __mmask16 valid = (__mmask16)((1u << count) - 1);
    __m512i head = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), valid, at, p, 1);
    *d = halves_to_f32(head);
    if (dtype == HONE_Q4_1)
        *m = halves_to_f32(_mm512_srli_epi32(head, 16));
    else
        *m = _mm512_mul_ps(*d, _mm512_set1_ps(dtype == HONE_Q4_0 ? -8.0f : -128.0f));
}

/* ---- a column of B is a row of w: quantized ------------------------------------------------------- */

INLINE __m512 decode_nibble(const constants *c, __m512i codes, unsigned shift, __m512 d, __m512 m) {
    /* The permutation looks at the lowest four bits alone. */
    __m512 code = _mm512_permutexvar_ps(_mm512_srli_epi32(codes, shift), c->iota);
    return _mm512_fmadd_ps(code, d, m);
}

INLINE void store_nibbles(const constants *c, hone_dtype compute, __m512i codes, unsigned even,
                          unsigned odd, __m512 d, __m512 m, char *dst, int pair) {
    store_pair(c, compute, decode_nibble(c, codes, even, d, m), decode_nibble(c, codes, odd, d, m),
               dst, pair);
}

/* 32 depths of 16 columns from 4-bit codes at p. */
INLINE void unpack_nibbles(const constants *c, hone_dtype compute, bool affine, const uint8_t *p,
                           size_t stride, __m512 d, __m512 m, char *dst) {
    __m512i x[4];
    load_quads(p, stride, x);
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
        if (affine) {
            store_nibbles(c, compute, x[q], 0, 4, d, m, dst, 4 * q);
            store_nibbles(c, compute, x[q], 8, 12, d, m, dst, 4 * q + 1);
            store_nibbles(c, compute, x[q], 16, 20, d, m, dst, 4 * q + 2);
            store_nibbles(c, compute, x[q], 24, 28, d, m, dst, 4 * q + 3);
        } else {
            store_nibbles(c, compute, x[q], 0, 8, d, m, dst, 2 * q);
            store_nibbles(c, compute, x[q], 16, 24, d, m, dst, 2 * q + 1);
            store_nibbles(c, compute, x[q], 4, 12, d, m, dst, 8 + 2 * q);
            store_nibbles(c, compute, x[q], 20, 28, d, m, dst, 9 + 2 * q);
        }
    }
}

/* Codes have 128 added. Where float32 is wanted that is taken off before the scale rounds; m is not looked at. */
INLINE __m512 decode_byte(hone_dtype compute, __m512i codes, int byte, __m512 d, __m512 m) {
    const int pattern = (int)0x80808000 | byte; /* that byte of each word, zero above */
    const __m512i in_lane = _mm512_set4_epi32(pattern + 12, pattern + 8, pattern + 4, pattern);
    __m512 code = _mm512_cvtepi32_ps(_mm512_shuffle_epi8(codes, in_lane));
    if (compute == HONE_F32) return _mm512_mul_ps(_mm512_sub_ps(code, _mm512_set1_ps(128)), d);
    return _mm512_fmadd_ps(code, d, m);
}

/* The same from 8-bit codes. */
INLINE void unpack_bytes(const constants *c, hone_dtype compute, const uint8_t *p, size_t stride,
                         __m512 d, __m512 m, char *dst) {
    for (int half = 0; half < 2; half++, p += 16) {
        __m512i x[4];
        load_quads(p, stride, x);
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++) {
            __m512i codes = _mm512_xor_si512(x[q], _mm512_set1_epi8((char)0x80));
            for (int pair = 0; pair < 2; pair++) {
                __m512 even = decode_byte(compute, codes, 2 * pair, d, m);
                __m512 odd = decode_byte(compute, codes, 2 * pair + 1, d, m);
                store_pair(c, compute, even, odd, dst, 8 * half + 2 * q + pair);
            }
        }
    }
}

INLINE void pack_rows_quantized(hone_dtype compute, hone_dtype dtype, const hone_matrix *w,
                                size_t n0, size_t panels, size_t k0, size_t k, char *dst) {
    const constants c = make_constants();
    const size_t bytes = run_bytes(dtype), head = run_head(dtype);
    const size_t step = compute == HONE_BF16 ? PANEL_STEP : 2 * PANEL_STEP;
    for (size_t p = 0; p < panels; p++) {
        size_t row = n0 + p * HONE_PANEL;
        const uint8_t *data = (const uint8_t *)w->data + row * w->row_bytes;
        for (size_t block = k0 / BLOCK; block < (k0 + k) / BLOCK; block++, dst += step) {
            __m512 d, m;
            load_scales(dtype, w, row, block, HONE_PANEL, true, &d, &m);
            const uint8_t *codes = data + block * bytes + head;
            if (block * bytes % 64 < bytes)
                fetch_rows(codes + HONE_PANEL * w->row_bytes, w->row_bytes);
            if (dtype == HONE_Q8_0)
                unpack_bytes(&c, compute, codes, w->row_bytes, d, m, dst);
            else
                unpack_nibbles(&c, compute, dtype == HONE_AFFINE4, codes, w->row_bytes, d, m, dst);
        }
    }
}

/* ---- a column of B is a row of w: float32 and bfloat16 --------------------------------------------- */

/* 32 depths of 16 columns from a square of words [16][16]. */
INLINE void store_square(const uint8_t *square, size_t stride, char *dst) {
#pragma GCC unroll 4
    for (size_t q = 0; q < 4; q++, square += 16, dst += 4 * 64) {
        __m512i x[4];
        load_quads(square, stride, x);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) _mm512_store_si512(dst + j * 64, x[j]);
    }
}

/* Up to 32 elements of a row as words, zero past the end. */
INLINE __m512i row_words(hone_dtype dtype, const uint8_t *row, size_t at, size_t count,
                         __m512 scale) {
    __mmask32 valid = count >= STEP ? 0xffffffffu : (1u << count) - 1;
    if (dtype == HONE_BF16) return _mm512_maskz_loadu_epi16(valid, row + at * 2);
    __m512 low = _mm512_maskz_loadu_ps((__mmask16)valid, row + at * 4);
    __m512 high = _mm512_setzero_ps();
    if (valid >> 16 != 0)
        high = _mm512_maskz_loadu_ps((__mmask16)(valid >> 16), row + (at + 16) * 4);
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_mul_ps(high, scale), _mm512_mul_ps(low, scale));
}

/* float32 panels from whole panels of float32 or bfloat16 rows, `k` a multiple of 32. */
INLINE void pack_rows_f32(hone_dtype dtype, const hone_matrix *w, size_t n0, size_t panels,
                          size_t k0, size_t k, char *dst) {
    const size_t stride = w->row_bytes, element = dtype == HONE_BF16 ? 2 : 4;
    for (size_t p = 0; p < panels; p++) {
        const uint8_t *data =
            (const uint8_t *)w->data + (n0 + p * HONE_PANEL) * stride + k0 * element;
        for (size_t at = 0; at < k * element; at += 16) {
            __m512i x[4];
            if (at % 64 == 0) fetch_rows(data + HONE_PANEL * stride + at, stride);
            load_quads(data + at, stride, x);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                if (dtype == HONE_BF16) {
                    _mm512_store_si512(dst, _mm512_slli_epi32(x[j], 16));
                    x[j] = _mm512_and_si512(x[j], _mm512_set1_epi32((int)0xffff0000));
                    dst += 64;
                }
                _mm512_store_si512(dst, x[j]);
                dst += 64;
            }
        }
    }
}

INLINE void pack_rows_dense(hone_dtype dtype, const hone_matrix *w, size_t n0, size_t n, size_t k0,
                            size_t k, float scale, char *dst) {
    const __m512 factor = _mm512_set1_ps(scale);
    const size_t element = dtype == HONE_BF16 ? 2 : 4;
    _Alignas(64) uint8_t square[HONE_PANEL][64];
    for (size_t first = 0; first < n; first += HONE_PANEL) {
        size_t rows = HONE_MIN(n - first, (size_t)HONE_PANEL);
        const uint8_t *data = (const uint8_t *)w->data + (n0 + first) * w->row_bytes;
        for (size_t i = 0; i < k; i += STEP, dst += PANEL_STEP) {
            const uint8_t *below = data + HONE_PANEL * w->row_bytes + (k0 + i) * element;
            fetch_rows(below, w->row_bytes);
            if (dtype == HONE_F32) fetch_rows(below + 64, w->row_bytes);
            if (dtype == HONE_BF16 && rows == HONE_PANEL && k - i >= STEP) {
                store_square(data + (k0 + i) * 2, w->row_bytes, dst);
                continue;
            }
            for (size_t r = 0; r < HONE_PANEL; r++) {
                __m512i words = _mm512_setzero_si512();
                if (r < rows)
                    words = row_words(dtype, data + r * w->row_bytes, k0 + i, k - i, factor);
                _mm512_store_si512(square[r], words);
            }
            store_square(square[0], 64, dst);
        }
    }
}

/* ---- a column of B is a column of w ---------------------------------------------------------------- */

/* Two consecutive rows of w; `odd` is absent behind the last one. */
typedef struct row_pair {
    const uint8_t *even, *odd;
} row_pair;

/* One row of both panels: 32 columns of two rows. */
INLINE void columns_bf16(row_pair rows, size_t at, size_t count, __m512i out[2]) {
    __mmask32 valid = count >= STEP ? 0xffffffffu : (1u << count) - 1;
    __m512i even = _mm512_maskz_loadu_epi16(valid, rows.even + at * 2),
            odd = _mm512_setzero_si512();
    if (rows.odd != NULL) odd = _mm512_maskz_loadu_epi16(valid, rows.odd + at * 2);
    __m512i low = _mm512_unpacklo_epi16(even, odd), high = _mm512_unpackhi_epi16(even, odd);
    out[0] = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), high);
    out[1] = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), high);
}

INLINE void columns_f32(const constants *c, row_pair rows, size_t at, size_t count, __m512 scale,
                        __m512i out[2]) {
    uint32_t valid = count >= STEP ? 0xffffffffu : (1u << count) - 1;
    for (size_t half = 0; half < 2; half++, at += HONE_PANEL, valid >>= 16) {
        if (valid == 0) break;
        __m512 even = _mm512_maskz_loadu_ps((__mmask16)valid, rows.even + at * 4);
        __m512 odd = _mm512_setzero_ps();
        if (rows.odd != NULL) odd = _mm512_maskz_loadu_ps((__mmask16)valid, rows.odd + at * 4);
        out[half] = pair_words(c, _mm512_mul_ps(even, scale), _mm512_mul_ps(odd, scale));
    }
}

/* DEPTHS rows at a time, two panels of each: rows are read almost in order, panels written in runs. */
INLINE void pack_columns_dense(hone_dtype dtype, const hone_matrix *w, size_t n0, size_t n,
                               size_t k0, size_t k, float scale, char *dst) {
    const constants c = make_constants();
    const __m512 factor = _mm512_set1_ps(scale);
    const size_t panel = hone_panel_bytes_bf16(k), stride = w->row_bytes;
    for (size_t i = 0; i < panel / 32; i += DEPTHS, dst += DEPTHS * 32) {
        const uint8_t *data = (const uint8_t *)w->data + (k0 + i) * stride;
        for (size_t j = 0; j < n; j += STEP) {
            char *to = dst + j / HONE_PANEL * panel;
            const bool both = n - j > HONE_PANEL;
            for (size_t r = 0; r < DEPTHS; r += 2, to += 64) {
                __m512i out[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
                row_pair rows = {data + r * stride, i + r + 1 < k ? data + (r + 1) * stride : NULL};
                if (i + r < k && dtype == HONE_BF16)
                    columns_bf16(rows, n0 + j, n - j, out);
                else if (i + r < k)
                    columns_f32(&c, rows, n0 + j, n - j, factor, out);
                _mm512_store_si512(to, out[0]);
                if (both) _mm512_store_si512(to + panel, out[1]);
            }
        }
    }
}

/* The 16 values of a code in each of two rows' blocks, as 32 words. */
INLINE __m512i value_table(const constants *c, const float *d, const float *m, size_t i) {
    __m512 even = _mm512_fmadd_ps(c->iota, _mm512_set1_ps(d[i]), _mm512_set1_ps(m[i]));
    __m512 odd = _mm512_fmadd_ps(c->iota, _mm512_set1_ps(d[16 + i]), _mm512_set1_ps(m[16 + i]));
    return (__m512i)_mm512_cvtne2ps_pbh(odd, even);
}

INLINE __m512i widen_bytes(const uint8_t *p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}

/* Words of low and of high nibbles as they alternate along the row. */
INLINE void alternate(__m512i words[2]) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8)), low = words[0];
    words[0] = _mm512_permutex2var_epi32(low, first, words[1]);
    words[1] = _mm512_permutex2var_epi32(low, second, words[1]);
}

/* 32 columns of two rows from their 4-bit codes. */
INLINE void columns_nibbles(const constants *c, bool affine, row_pair rows, __m512i table,
                            __m512i out[2]) {
    const __m512i nibble = _mm512_set1_epi32(0x000f000f), second = _mm512_set1_epi32(0x00100000);
    __m512i bytes =
        _mm512_or_si512(widen_bytes(rows.even), _mm512_slli_epi32(widen_bytes(rows.odd), 16));
    /* (codes & nibble) | second: the odd row's values are in the table's upper half */
    __m512i low = _mm512_ternarylogic_epi32(bytes, nibble, second, 0xea);
    __m512i high = _mm512_ternarylogic_epi32(_mm512_srli_epi32(bytes, 4), nibble, second, 0xea);
    low = _mm512_permutexvar_epi16(low, table);
    high = _mm512_permutexvar_epi16(high, table);
    out[0] = low;
    out[1] = high;
    if (affine) alternate(out);
    (void)c;
}

/* The same from 8-bit codes. */
INLINE void columns_bytes(const constants *c, row_pair rows, const float *d, size_t i,
                          __m512i out[2]) {
    for (int half = 0; half < 2; half++) {
        __m512i even =
            _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(rows.even + 16 * half)));
        __m512i odd =
            _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(rows.odd + 16 * half)));
        out[half] = pair_words(c, _mm512_mul_ps(_mm512_cvtepi32_ps(even), _mm512_set1_ps(d[i])),
                               _mm512_mul_ps(_mm512_cvtepi32_ps(odd), _mm512_set1_ps(d[16 + i])));
    }
}

/* d and m of `count` <= 16 blocks of a pair of rows, those of the odd one behind 16 of the even one. */
typedef struct pair_scales {
    float d[32], m[32];
} pair_scales;

INLINE void load_pair_scales(hone_dtype dtype, const hone_matrix *w, size_t row, size_t block,
                             size_t count, pair_scales *to) {
    for (size_t r = 0; r < 2; r++) {
        __m512 d, m;
        load_scales(dtype, w, row + r, block, count, false, &d, &m);
        _mm512_storeu_ps(to->d + 16 * r, d);
        _mm512_storeu_ps(to->m + 16 * r, m);
    }
}

/* `n` columns, whole blocks, of `k` rows, a multiple of DEPTHS: quantized. DEPTHS rows at a time, so that panels, which
 * may all lie in one set of the first-level cache, are written in runs. */
INLINE void pack_columns_quantized(hone_dtype dtype, const hone_matrix *w, size_t n0, size_t n,
                                   size_t k0, size_t k, char *dst) {
    enum { PAIRS = DEPTHS / 2, BLOCKS = 16 };
    const constants c = make_constants();
    const size_t bytes = run_bytes(dtype), head = run_head(dtype);
    const size_t panel = hone_panel_bytes_bf16(k), stride = w->row_bytes;
    for (size_t depth = 0; depth < k; depth += DEPTHS, dst += PAIRS * 64) {
        const size_t row = k0 + depth;
        char *to = dst;
        for (size_t block = 0; block < n / BLOCK; block += BLOCKS) {
            const size_t first = n0 / BLOCK + block,
                         count = HONE_MIN(n / BLOCK - block, (size_t)BLOCKS);
            const uint8_t *data = (const uint8_t *)w->data + row * stride + head + first * bytes;
            pair_scales scales[PAIRS];
            for (size_t p = 0; p < PAIRS; p++)
                load_pair_scales(dtype, w, row + 2 * p, first, count, &scales[p]);
            for (size_t r = AHEAD; r < AHEAD + DEPTHS; r++)
                fetch_bytes(data + r * stride, count * bytes);
            for (size_t i = 0; i < count; i++, data += bytes, to += 2 * panel) {
                for (size_t p = 0; p < PAIRS; p++) {
                    const pair_scales *s = &scales[p];
                    row_pair rows = {data + 2 * p * stride, data + (2 * p + 1) * stride};
                    __m512i out[2];
                    if (dtype == HONE_Q8_0)
                        columns_bytes(&c, rows, s->d, i, out);
                    else
                        columns_nibbles(&c, dtype == HONE_AFFINE4, rows,
                                        value_table(&c, s->d, s->m, i), out);
                    _mm512_store_si512(to + p * 64, out[0]);
                    _mm512_store_si512(to + panel + p * 64, out[1]);
                }
            }
        }
    }
}

/* 32 columns of a row: a block with d and m, or as many elements. */
INLINE void columns_to_f32(hone_dtype dtype, const uint8_t *p, float d, float m, __m512 out[2]) {
    const __m512 scale = _mm512_set1_ps(d), shift = _mm512_set1_ps(m);
    if (dtype == HONE_F32 || dtype == HONE_BF16 || dtype == HONE_Q8_0) {
        for (int half = 0; half < 2; half++) {
            if (dtype == HONE_F32) {
                out[half] = _mm512_loadu_ps(p + 64 * half);
            } else if (dtype == HONE_BF16) {
                __m256i words = _mm256_loadu_si256((const __m256i *)(p + 32 * half));
                out[half] = (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16);
            } else {
                __m128i codes = _mm_loadu_si128((const __m128i *)(p + 16 * half));
                out[half] = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)));
            }
        }
        return;
    }
    const __m512i bytes = widen_bytes(p);
    out[0] = _mm512_cvtepi32_ps(_mm512_and_si512(bytes, _mm512_set1_epi32(15)));
    out[1] = _mm512_cvtepi32_ps(_mm512_srli_epi32(bytes, 4));
    for (int half = 0; half < 2; half++) out[half] = _mm512_fmadd_ps(scale, out[half], shift);
    if (dtype == HONE_AFFINE4) alternate((__m512i *)out);
}

/* float32 panels from `n` columns, a multiple of 32, of `k` rows, a multiple of DEPTHS. */
INLINE void pack_columns_f32(hone_dtype dtype, const hone_matrix *w, size_t n0, size_t n, size_t k0,
                             size_t k, char *dst) {
    enum { BLOCKS = 16 };
    const bool dense = dtype == HONE_F32 || dtype == HONE_BF16;
    const size_t bytes = run_bytes(dtype), head = run_head(dtype);
    const size_t panel = k * 64, stride = w->row_bytes;
    for (size_t row = k0; row < k0 + k; row += DEPTHS, dst += DEPTHS * 64) {
        char *to = dst;
        for (size_t block = 0; block < n / BLOCK; block += BLOCKS) {
            const size_t first = n0 / BLOCK + block,
                         count = HONE_MIN(n / BLOCK - block, (size_t)BLOCKS);
            const uint8_t *data = (const uint8_t *)w->data + row * stride + head + first * bytes +
                                  n0 % BLOCK * (bytes / BLOCK);
            float d[DEPTHS][BLOCKS] = {{0}}, m[DEPTHS][BLOCKS] = {{0}};
            for (size_t r = 0; r < DEPTHS; r++) {
                fetch_bytes(data + (AHEAD + r) * stride, count * bytes);
                if (dense) continue;
                __m512 scales, shifts;
                load_scales(dtype, w, row + r, first, count, false, &scales, &shifts);
                _mm512_storeu_ps(d[r], scales);
                _mm512_storeu_ps(m[r], shifts);
            }
            for (size_t i = 0; i < count; i++, data += bytes, to += 2 * panel) {
                for (size_t r = 0; r < DEPTHS; r++) {
                    __m512 out[2];
                    columns_to_f32(dtype, data + r * stride, d[r][i], m[r][i], out);
                    _mm512_store_ps(to + r * 64, out[0]);
                    _mm512_store_ps(to + panel + r * 64, out[1]);
                }
            }
        }
    }
}

/* ---- the kernels ----------------------------------------------------------------------------------- */

INLINE void pack_blocks_of(hone_dtype compute, hone_dtype dtype, const hone_matrix *w, bool by_rows,
                           size_t n0, size_t n, size_t k0, size_t k, char *dst) {
    if (by_rows)
        pack_rows_quantized(compute, dtype, w, n0, n / HONE_PANEL, k0, k, dst);
    else if (compute == HONE_BF16)
        pack_columns_quantized(dtype, w, n0, n, k0, k, dst);
    else
        pack_columns_f32(dtype, w, n0, n, k0, k, dst);
}

/* What comes_in_blocks: `n` columns, whole panels by rows, whole blocks otherwise. */
INLINE void pack_blocks(hone_dtype compute, const hone_matrix *w, bool by_rows, size_t n0, size_t n,
                        size_t k0, size_t k, char *dst) {
    switch (w->dtype) {
    case HONE_Q4_0:
        pack_blocks_of(compute, HONE_Q4_0, w, by_rows, n0, n, k0, k, dst);
        break;
    case HONE_Q4_1:
        pack_blocks_of(compute, HONE_Q4_1, w, by_rows, n0, n, k0, k, dst);
        break;
    case HONE_Q8_0:
        pack_blocks_of(compute, HONE_Q8_0, w, by_rows, n0, n, k0, k, dst);
        break;
    default:
        pack_blocks_of(compute, HONE_AFFINE4, w, by_rows, n0, n, k0, k, dst);
        break;
    }
}

static void pack_dense(const hone_matrix *w, bool by_rows, size_t n0, size_t n, size_t k0, size_t k,
                       float scale, char *dst) {
    if (by_rows && w->dtype == HONE_BF16)
        pack_rows_dense(HONE_BF16, w, n0, n, k0, k, scale, dst);
    else if (by_rows)
        pack_rows_dense(HONE_F32, w, n0, n, k0, k, scale, dst);
    else if (w->dtype == HONE_BF16)
        pack_columns_dense(HONE_BF16, w, n0, n, k0, k, scale, dst);
    else
        pack_columns_dense(HONE_F32, w, n0, n, k0, k, scale, dst);
}

/* Quantized, cut at blocks, and addresses of 16 rows are within 32 bits of each other. */
static bool comes_in_blocks(const hone_matrix *w, bool by_rows, size_t n0, size_t k0, size_t k,
                            float scale) {
    return hone_dtype_block(w->dtype) > 1 && scale == 1.0f && k % STEP == 0 &&
           (by_rows ? k0 : n0) % BLOCK == 0 && w->row_bytes < (size_t)1 << 26;
}

/* Of n columns those that are done here; the rest is left to the generic kernel. */
static size_t whole_columns(bool by_rows, size_t n) {
    const size_t unit = by_rows ? HONE_PANEL : BLOCK;
    return n / unit * unit;
}

void hone_pack_bf16_avx512bf16(const hone_matrix *w, bool by_rows, size_t n0, size_t n, size_t k0,
                               size_t k, float scale, void *dst) {
    size_t whole = 0;
    if (w->dtype == HONE_F32 || (w->dtype == HONE_BF16 && scale == 1.0f)) {
        pack_dense(w, by_rows, n0, n, k0, k, scale, dst);
        return;
    }
    if (comes_in_blocks(w, by_rows, n0, k0, k, scale)) {
        whole = whole_columns(by_rows, n);
        pack_blocks(HONE_BF16, w, by_rows, n0, whole, k0, k, dst);
    }
    if (whole < n) {
        hone_pack_bf16_avx512(w, by_rows, n0 + whole, n - whole, k0, k, scale,
                              (char *)dst + whole / HONE_PANEL * hone_panel_bytes_bf16(k));
    }
}

/* float32 panels from float32 or bfloat16, whole columns, k a multiple of 32. */
INLINE void pack_dense_f32(hone_dtype dtype, const hone_matrix *w, bool by_rows, size_t n0,
                           size_t n, size_t k0, size_t k, char *dst) {
    if (by_rows)
        pack_rows_f32(dtype, w, n0, n / HONE_PANEL, k0, k, dst);
    else
        pack_columns_f32(dtype, w, n0, n, k0, k, dst);
}

void hone_pack_f32_avx512bf16(const hone_matrix *w, bool by_rows, size_t n0, size_t n, size_t k0,
                              size_t k, float scale, void *dst) {
    const bool dense = scale == 1.0f && k % STEP == 0;
    size_t whole = whole_columns(by_rows, n);
    if (dense && w->dtype == HONE_F32)
        pack_dense_f32(HONE_F32, w, by_rows, n0, whole, k0, k, dst);
    else if (dense && w->dtype == HONE_BF16)
        pack_dense_f32(HONE_BF16, w, by_rows, n0, whole, k0, k, dst);
    else if (comes_in_blocks(w, by_rows, n0, k0, k, scale))
        pack_blocks(HONE_F32, w, by_rows, n0, whole, k0, k, dst);
    else
        whole = 0;
    if (whole < n) {
        hone_pack_f32_avx512(w, by_rows, n0 + whole, n - whole, k0, k, scale,
                             (char *)dst + whole * k * sizeof(float));
    }
}
