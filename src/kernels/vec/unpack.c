/* kernels/vec/unpack: rows of any weight type as float32 or bfloat16. Layer kernels. */
#include "kernels/vec/unpack.h"
#include "base/size.h"
#include "kernels/variants.h"

enum { BLOCK = 32, CHUNK = 256 }; /* elements of a quantized block; of the buffer on the stack */

static uint16_t load_u16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* As hone_f16_to_f32, without branches, so that loops over it are vectorized. */
VEC_INLINE float f16_to_f32(uint16_t h) {
    uint32_t bits = (uint32_t)(h & 0x7fffu) << 13;
    float magnitude;
    memcpy(&magnitude, &bits, sizeof magnitude);
    magnitude *= 0x1p112f; /* moves the exponent's bias; exact for denormals too */
    memcpy(&bits, &magnitude, sizeof bits);
    bits |= (h & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
    bits |= (uint32_t)(h & 0x8000u) << 16;
    memcpy(&magnitude, &bits, sizeof magnitude);
    return magnitude;
}

/* 16 bytes: low nibbles are elements 0-15, high nibbles 16-31. */
VEC_INLINE void halves(const uint8_t *codes, float d, float m, float *restrict out) {
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)(codes[i] & 15) + m;
        out[i + 16] = d * (float)(codes[i] >> 4) + m;
    }
}

/* 16 bytes: the low nibble comes before the high one. */
VEC_INLINE void pairs(const uint8_t *codes, float d, float m, float *restrict out) {
    for (int i = 0; i < 16; i++) {
        out[2 * i] = d * (float)(codes[i] & 15) + m;
        out[2 * i + 1] = d * (float)(codes[i] >> 4) + m;
    }
}

static float affine_value(const void *values, hone_dtype dtype, size_t index) {
    const uint8_t *at = (const uint8_t *)values + index * (dtype == HONE_F32 ? 4 : 2);
    if (dtype == HONE_F32) {
        float v;
        memcpy(&v, at, sizeof v);
        return v;
    }
    return dtype == HONE_F16 ? f16_to_f32(load_u16(at)) : hone_bf16_to_f32(load_u16(at));
}

static void decode_block(const hone_matrix *w, size_t row, size_t block, float *restrict out) {
    size_t bytes = w->dtype == HONE_AFFINE4 ? 16 : hone_dtype_block_bytes(w->dtype);
    const uint8_t *p = (const uint8_t *)w->data + row * w->row_bytes + block * bytes;
    switch (w->dtype) {
    case HONE_Q4_0: {
        float d = f16_to_f32(load_u16(p));
        halves(p + 2, d, -8.0f * d, out);
        break;
    }
    case HONE_Q4_1:
        halves(p + 4, f16_to_f32(load_u16(p)), f16_to_f32(load_u16(p + 2)), out);
        break;
    case HONE_Q8_0: {
        float d = f16_to_f32(load_u16(p));
        for (int i = 0; i < BLOCK; i++) out[i] = d * (float)(int8_t)p[2 + i];
        break;
    }
    default: {
        assert(w->dtype == HONE_AFFINE4);
        size_t group = (size_t)w->group, at = row * (w->cols / group) + block * BLOCK / group;
        pairs(p, affine_value(w->scales, w->affine_dtype, at),
              affine_value(w->biases, w->affine_dtype, at), out);
        break;
    }
    }
}

static void unpack_blocks(const hone_matrix *w, size_t row, size_t col, size_t count, float *dst) {
    float part[BLOCK];
    while (count > 0) {
        size_t skip = col % BLOCK, take = HONE_MIN(count, BLOCK - skip);
        if (take == BLOCK) {
            decode_block(w, row, col / BLOCK, dst);
        } else {
            decode_block(w, row, col / BLOCK, part);
            memcpy(dst, part + skip, take * sizeof(float));
        }
        col += take, dst += take, count -= take;
    }
}

static void unpack_f32(const hone_matrix *w, size_t row, size_t col, size_t count,
                       float *restrict dst) {
    const uint8_t *p = (const uint8_t *)w->data + row * w->row_bytes;
    switch (w->dtype) {
    case HONE_F32:
        memcpy(dst, p + col * sizeof(float), count * sizeof(float));
        break;
    case HONE_BF16:
        for (size_t i = 0; i < count; i++) dst[i] = hone_bf16_to_f32(load_u16(p + 2 * (col + i)));
        break;
    case HONE_F16:
        for (size_t i = 0; i < count; i++) dst[i] = f16_to_f32(load_u16(p + 2 * (col + i)));
        break;
    default:
        unpack_blocks(w, row, col, count, dst);
        break;
    }
}

static void round_bf16(const float *x, size_t count, hone_bf16 *y) {
    size_t i = 0;
    for (; i + VEC_WIDTH <= count; i += VEC_WIDTH) vec_store_as(y, HONE_BF16, i, vec_load(x + i));
    if (i < count) vec_store_as_n(y, HONE_BF16, i, vec_load_n(x + i, count - i), count - i);
}

void HONE_VEC_NAME(unpack_scaled)(const hone_matrix *w, size_t row, size_t col, size_t count,
                                  float scale, hone_dtype out, void *dst) {
    assert(row < w->rows && col <= w->cols && count <= w->cols - col);
    if (w->dtype == HONE_BF16 && out == HONE_BF16 && scale == 1.0f) {
        memcpy(dst, (const uint8_t *)w->data + row * w->row_bytes + col * 2, count * 2);
        return;
    }
    float buffer[CHUNK];
    for (size_t done = 0; done < count;) {
        size_t take = HONE_MIN(count - done, (size_t)CHUNK);
        float *values = out == HONE_F32 ? (float *)dst + done : buffer;
        unpack_f32(w, row, col + done, take, values);
        if (scale != 1.0f) {
            for (size_t i = 0; i < take; i++) values[i] *= scale;
        }
        if (out == HONE_BF16) round_bf16(values, take, (hone_bf16 *)dst + done);
        done += take;
    }
}

void HONE_VEC_NAME(unpack)(const hone_matrix *w, size_t row, size_t col, size_t count,
                           hone_dtype out, void *dst) {
    HONE_VEC_NAME(unpack_scaled)(w, row, col, count, 1.0f, out, dst);
}
