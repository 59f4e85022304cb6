/* kernels/vec: add, scale, shift, sum, transpose. */
#include "kernels/vec/vec.h"

VEC_INLINE void add(size_t n, const void *a, hone_dtype a_dtype, const void *b, hone_dtype b_dtype,
                    void *y, hone_dtype y_dtype) {
    const bool float32 = a_dtype == HONE_F32 && b_dtype == HONE_F32 && y_dtype == HONE_F32;
    const hone_dtype lanes = float32 ? HONE_F32 : HONE_BF16;
    size_t i = 0;
    for (; i + VEC_2_WIDTH <= n; i += VEC_2_WIDTH) {
        vec_2 u = vec_load_2_as(a, a_dtype, i, lanes), v = vec_load_2_as(b, b_dtype, i, lanes);
        vec_store_2_as(y, y_dtype, i, (vec_2){u.a + v.a, u.b + v.b}, lanes);
    }
    for (size_t w; i < n; i += w) {
        w = HONE_MIN(n - i, (size_t)VEC_WIDTH);
        vec_store_as_n(y, y_dtype, i,
                       vec_load_as_n(a, a_dtype, i, w) + vec_load_as_n(b, b_dtype, i, w), w);
    }
}

void HONE_VEC_NAME(add)(size_t n, const void *a, hone_dtype a_dtype, const void *b,
                        hone_dtype b_dtype, void *y, hone_dtype y_dtype) {
    bool a32 = a_dtype == HONE_F32, b32 = b_dtype == HONE_F32, y32 = y_dtype == HONE_F32;
    switch (a32 * 4 + b32 * 2 + y32) {
    case 7:
        add(n, a, HONE_F32, b, HONE_F32, y, HONE_F32);
        break;
    case 6:
        add(n, a, HONE_F32, b, HONE_F32, y, HONE_BF16);
        break;
    case 5:
        add(n, a, HONE_F32, b, HONE_BF16, y, HONE_F32);
        break;
    case 4:
        add(n, a, HONE_F32, b, HONE_BF16, y, HONE_BF16);
        break;
    case 3:
        add(n, a, HONE_BF16, b, HONE_F32, y, HONE_F32);
        break;
    case 2:
        add(n, a, HONE_BF16, b, HONE_F32, y, HONE_BF16);
        break;
    case 1:
        add(n, a, HONE_BF16, b, HONE_BF16, y, HONE_F32);
        break;
    default:
        add(n, a, HONE_BF16, b, HONE_BF16, y, HONE_BF16);
        break;
    }
}

VEC_INLINE void scale(size_t n, float alpha, const void *x, hone_dtype x_dtype, void *y,
                      hone_dtype y_dtype, bool accumulate) {
    const hone_dtype lanes = x_dtype == HONE_F32 && y_dtype == HONE_F32 ? HONE_F32 : HONE_BF16;
    vec_f k = vec_set1(alpha);
    size_t i = 0;
    for (; i + VEC_2_WIDTH <= n; i += VEC_2_WIDTH) {
        vec_2 v = vec_load_2_as(x, x_dtype, i, lanes), before = {{0}, {0}};
        if (accumulate) before = vec_load_2_as(y, y_dtype, i, lanes);
        v.a = accumulate ? vec_fma(v.a, k, before.a) : v.a * k;
        v.b = accumulate ? vec_fma(v.b, k, before.b) : v.b * k;
        vec_store_2_as(y, y_dtype, i, v, lanes);
    }
    for (size_t w; i < n; i += w) {
        w = HONE_MIN(n - i, (size_t)VEC_WIDTH);
        vec_f v = vec_load_as_n(x, x_dtype, i, w);
        v = accumulate ? vec_fma(v, k, vec_load_as_n(y, y_dtype, i, w)) : v * k;
        vec_store_as_n(y, y_dtype, i, v, w);
    }
}

void HONE_VEC_NAME(scale)(size_t n, float alpha, const void *x, hone_dtype x_dtype, void *y,
                          hone_dtype y_dtype, bool accumulate) {
    bool x32 = x_dtype == HONE_F32, y32 = y_dtype == HONE_F32;
    switch (x32 * 4 + y32 * 2 + accumulate) {
    case 7:
        scale(n, alpha, x, HONE_F32, y, HONE_F32, true);
        break;
    case 6:
        scale(n, alpha, x, HONE_F32, y, HONE_F32, false);
        break;
    case 5:
        scale(n, alpha, x, HONE_F32, y, HONE_BF16, true);
        break;
    case 4:
        scale(n, alpha, x, HONE_F32, y, HONE_BF16, false);
        break;
    case 3:
        scale(n, alpha, x, HONE_BF16, y, HONE_F32, true);
        break;
    case 2:
        scale(n, alpha, x, HONE_BF16, y, HONE_F32, false);
        break;
    case 1:
        scale(n, alpha, x, HONE_BF16, y, HONE_BF16, true);
        break;
    default:
        scale(n, alpha, x, HONE_BF16, y, HONE_BF16, false);
        break;
    }
}

void HONE_VEC_NAME(shift)(size_t n, float by, const float *x, float *y) {
    vec_f k = vec_set1(by);
    size_t i = 0;
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) vec_store(y + i, vec_load(x + i) + k);
    if (i < n) vec_store_n(y + i, vec_load_n(x + i, n - i) + k, n - i);
}

/* Four sums, so that an addition need not wait for the one before. */
float HONE_VEC_NAME(sum)(size_t n, const float *x) {
    vec_f s0 = vec_zero(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 4 * VEC_WIDTH <= n; i += 4 * VEC_WIDTH) {
        s0 += vec_load(x + i);
        s1 += vec_load(x + i + VEC_WIDTH);
        s2 += vec_load(x + i + 2 * VEC_WIDTH);
        s3 += vec_load(x + i + 3 * VEC_WIDTH);
    }
    for (; i + VEC_WIDTH <= n; i += VEC_WIDTH) s0 += vec_load(x + i);
    if (i < n) s1 += vec_load_n(x + i, n - i);
    return vec_sum((s0 + s1) + (s2 + s3));
}

/* Transposes a square of VEC_WIDTH rows: zipping row i with row i + half, log2(VEC_WIDTH) times,
 * moves one bit of the row number into the column number each time. */
VEC_INLINE void transpose_square(vec_f *v) {
    vec_f t[VEC_WIDTH];
    for (int step = 1; step < VEC_WIDTH; step *= 2) {
        for (int i = 0; i < VEC_WIDTH / 2; i++) {
            t[2 * i] = vec_zip_low(v[i], v[i + VEC_WIDTH / 2]);
            t[2 * i + 1] = vec_zip_high(v[i], v[i + VEC_WIDTH / 2]);
        }
        for (int i = 0; i < VEC_WIDTH; i++) v[i] = t[i];
    }
}

/* One square of h x w elements; bfloat16 passes through float32 unchanged (NaNs quieted). */
VEC_INLINE void transpose_edge(size_t h, size_t w, const void *x, size_t ldx, void *y, size_t ldy,
                               hone_dtype dtype) {
    vec_f v[VEC_WIDTH];
    for (size_t i = 0; i < VEC_WIDTH; i++)
        v[i] = i < h ? vec_load_as_n(x, dtype, i * ldx, w) : vec_zero();
    transpose_square(v);
    for (size_t j = 0; j < VEC_WIDTH && j < w; j++) vec_store_as_n(y, dtype, j * ldy, v[j], h);
}

#ifdef VEC_AVX512
/* A square of 16 x 16 words of 16 bits. v[i] holds rows i and i + 8; three zips within 128 bits turn each quarter of a
 * row, and v[j] ends as columns j, j + 8, j, j + 8 of rows 0-7, 0-7, 8-15, 8-15. */
VEC_INLINE void transpose_words(const hone_bf16 *x, size_t ldx, hone_bf16 *y, size_t ldy) {
    __m512i v[8], t[8];
    for (size_t i = 0; i < 8; i++)
        v[i] = _mm512_inserti64x4(
            _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(x + i * ldx))),
            _mm256_loadu_si256((const __m256i *)(x + (i + 8) * ldx)), 1);
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_epi16(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi16(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        for (int k = 0; k < 2; k++) {
            v[i + 2 * k] = _mm512_unpacklo_epi32(t[i + k], t[i + 2 + k]);
            v[i + 2 * k + 1] = _mm512_unpackhi_epi32(t[i + k], t[i + 2 + k]);
        }
    }
    for (int k = 0; k < 4; k++) {
        t[2 * k] = _mm512_unpacklo_epi64(v[k], v[k + 4]);
        t[2 * k + 1] = _mm512_unpackhi_epi64(v[k], v[k + 4]);
    }
    for (size_t j = 0; j < 8; j++) {
        __m512i columns = _mm512_shuffle_i64x2(t[j], t[j], 0xd8);
        _mm256_storeu_si256((__m256i *)(y + j * ldy), _mm512_castsi512_si256(columns));
        _mm256_storeu_si256((__m256i *)(y + (j + 8) * ldy), _mm512_extracti64x4_epi64(columns, 1));
    }
}
#endif

VEC_INLINE void transpose_whole(const void *x, size_t ldx, void *y, size_t ldy, hone_dtype dtype) {
#ifdef VEC_AVX512
    if (dtype == HONE_BF16) {
        transpose_words(x, ldx, y, ldy);
        return;
    }
#endif
    vec_f v[VEC_WIDTH];
    for (size_t i = 0; i < VEC_WIDTH; i++) v[i] = vec_load_as(x, dtype, i * ldx);
    transpose_square(v);
    for (size_t j = 0; j < VEC_WIDTH; j++) vec_store_as(y, dtype, j * ldy, v[j]);
}

/* Squares are done in larger squares, so that cache lines are read and written whole while they are in L1. */
enum { TRANSPOSE_BLOCK = 32 };

VEC_INLINE void transpose_block(size_t rows, size_t cols, const void *x, size_t ldx, void *y,
                                size_t ldy, hone_dtype dtype) {
    for (size_t i = 0; i < rows; i += VEC_WIDTH) {
        for (size_t j = 0; j < cols; j += VEC_WIDTH) {
            const void *from = vec_at(x, dtype, i * ldx + j);
            void *to = vec_at_mut(y, dtype, j * ldy + i);
            size_t h = HONE_MIN(rows - i, (size_t)VEC_WIDTH),
                   w = HONE_MIN(cols - j, (size_t)VEC_WIDTH);
            if (h == VEC_WIDTH && w == VEC_WIDTH)
                transpose_whole(from, ldx, to, ldy, dtype);
            else
                transpose_edge(h, w, from, ldx, to, ldy, dtype);
        }
    }
}

VEC_INLINE void transpose(size_t rows, size_t cols, const void *x, size_t ldx, void *y, size_t ldy,
                          hone_dtype dtype) {
    for (size_t j = 0; j < cols; j += TRANSPOSE_BLOCK) {
        for (size_t i = 0; i < rows; i += TRANSPOSE_BLOCK) {
            transpose_block(HONE_MIN(rows - i, (size_t)TRANSPOSE_BLOCK),
                            HONE_MIN(cols - j, (size_t)TRANSPOSE_BLOCK),
                            vec_at(x, dtype, i * ldx + j), ldx, vec_at_mut(y, dtype, j * ldy + i),
                            ldy, dtype);
        }
    }
}

void HONE_VEC_NAME(transpose)(size_t rows, size_t cols, const void *x, size_t ldx, void *y,
                              size_t ldy, hone_dtype dtype) {
    if (dtype == HONE_F32)
        transpose(rows, cols, x, ldx, y, ldy, HONE_F32);
    else
        transpose(rows, cols, x, ldx, y, ldy, HONE_BF16);
}
