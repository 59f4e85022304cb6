/* kernels/vec/unpack: rows of any weight type as float32 or bfloat16. Layer kernels. */
#include "kernels/vec/unpack.h"
#include "base/size.h"
#include "kernels/variants.h"

enum { BLOCK = 32 }; /* elements of a quantized block */

/* Where elements go: multiplied by `scale` if `scaled`, rounded to `type`; both constant after inlining. */
typedef struct sink {
    void *data;
    hone_dtype type;
    bool scaled;
    float scale;
} sink;

VEC_INLINE void emit(const sink *to, size_t i, vec_f v) {
    vec_store_as(to->data, to->type, i, to->scaled ? v * vec_set1(to->scale) : v);
}

/* 16 bytes: low nibbles are elements 0-15, high nibbles 16-31; alternating along the row when `paired`. */
VEC_INLINE void decode_nibbles(const uint8_t *codes, bool paired, float scale, float shift,
                               const sink *to, size_t at) {
    const vec_f d = vec_set1(scale), m = vec_set1(shift);
    for (size_t i = 0; i < 16; i += VEC_WIDTH) {
        vec_i bytes = load_bytes(codes + i);
        vec_f low = vec_fma(d, to_float(bytes & 15), m), high = vec_fma(d, to_float(bytes >> 4), m);
        if (paired) {
            emit(to, at + 2 * i, vec_zip_low(low, high));
            emit(to, at + 2 * i + VEC_WIDTH, vec_zip_high(low, high));
        } else {
            emit(to, at + i, low);
            emit(to, at + 16 + i, high);
        }
    }
}

VEC_INLINE void decode_bytes(const uint8_t *codes, float scale, const sink *to, size_t at) {
    for (size_t i = 0; i < BLOCK; i += VEC_WIDTH) {
        emit(to, at + i, vec_set1(scale) * to_float(load_signed_bytes(codes + i)));
    }
}

VEC_INLINE void decode_block(hone_dtype dtype, const hone_matrix *w, size_t row, size_t block,
                             const sink *to, size_t at) {
    size_t bytes = dtype == HONE_AFFINE4 ? 16 : hone_dtype_block_bytes(dtype);
    const uint8_t *p = (const uint8_t *)w->data + row * w->row_bytes + block * bytes;
    if (dtype == HONE_AFFINE4) {
        size_t group = (size_t)w->group, i = row * (w->cols / group) + block * BLOCK / group;
        decode_nibbles(p, true, affine_value(w->scales, w->affine_dtype, i),
                       affine_value(w->biases, w->affine_dtype, i), to, at);
        return;
    }
    float d = f16_to_f32(load_u16(p));
    if (dtype == HONE_Q4_0)
        decode_nibbles(p + 2, false, d, -8.0f * d, to, at);
    else if (dtype == HONE_Q4_1)
        decode_nibbles(p + 4, false, d, f16_to_f32(load_u16(p + 2)), to, at);
    else
        decode_bytes(p + 2, d, to, at);
}

VEC_INLINE void unpack_blocks(hone_dtype dtype, const hone_matrix *w, size_t row, size_t col,
                              size_t count, const sink *to) {
    for (size_t done = 0; done < count;) {
        size_t skip = (col + done) % BLOCK, take = HONE_MIN(count - done, BLOCK - skip);
        size_t block = (col + done) / BLOCK;
        if (take == BLOCK) {
            decode_block(dtype, w, row, block, to, done);
        } else {
            float part[BLOCK];
            sink whole = {part, HONE_F32, to->scaled, to->scale};
            decode_block(dtype, w, row, block, &whole, 0);
            for (size_t i = 0; i < take; i++)
                vec_put_as(to->data, to->type, done + i, part[skip + i]);
        }
        done += take;
    }
}

VEC_INLINE void unpack_dense(hone_dtype dtype, const uint8_t *p, size_t count, const sink *to) {
    size_t i = 0;
    for (; i + VEC_WIDTH <= count; i += VEC_WIDTH) emit(to, i, load_dense(dtype, p, i));
    if (i == count) return;
    uint8_t rest[4 * VEC_WIDTH] = {0};
    size_t element = hone_dtype_block_bytes(dtype);
    memcpy(rest, p + i * element, (count - i) * element);
    vec_f v = load_dense(dtype, rest, 0);
    if (to->scaled) v *= vec_set1(to->scale);
    vec_store_as_n(to->data, to->type, i, v, count - i);
}

VEC_INLINE void unpack_to(const hone_matrix *w, size_t row, size_t col, size_t count,
                          const sink *to) {
    const uint8_t *p = (const uint8_t *)w->data + row * w->row_bytes;
    switch (w->dtype) {
    case HONE_F32:
        unpack_dense(HONE_F32, p + col * 4, count, to);
        break;
    case HONE_F16:
        unpack_dense(HONE_F16, p + col * 2, count, to);
        break;
    case HONE_BF16:
        unpack_dense(HONE_BF16, p + col * 2, count, to);
        break;
    case HONE_Q4_0:
        unpack_blocks(HONE_Q4_0, w, row, col, count, to);
        break;
    case HONE_Q4_1:
        unpack_blocks(HONE_Q4_1, w, row, col, count, to);
        break;
    case HONE_Q8_0:
        unpack_blocks(HONE_Q8_0, w, row, col, count, to);
        break;
    default:
        unpack_blocks(HONE_AFFINE4, w, row, col, count, to);
        break;
    }
}

void HONE_VEC_NAME(unpack_scaled)(const hone_matrix *w, size_t row, size_t col, size_t count,
                                  float scale, hone_dtype out, void *dst) {
    assert(row < w->rows && col <= w->cols && count <= w->cols - col);
    bool scaled = scale != 1.0f;
    if (w->dtype == out && !scaled) {
        size_t element = hone_dtype_block_bytes(out);
        memcpy(dst, (const uint8_t *)w->data + row * w->row_bytes + col * element, count * element);
    } else if (out == HONE_F32 && scaled) {
        unpack_to(w, row, col, count, &(sink){dst, HONE_F32, true, scale});
    } else if (out == HONE_F32) {
        unpack_to(w, row, col, count, &(sink){dst, HONE_F32, false, 1.0f});
    } else if (scaled) {
        unpack_to(w, row, col, count, &(sink){dst, HONE_BF16, true, scale});
    } else {
        unpack_to(w, row, col, count, &(sink){dst, HONE_BF16, false, 1.0f});
    }
}

void HONE_VEC_NAME(unpack)(const hone_matrix *w, size_t row, size_t col, size_t count,
                           hone_dtype out, void *dst) {
    HONE_VEC_NAME(unpack_scaled)(w, row, col, count, 1.0f, out, dst);
}
