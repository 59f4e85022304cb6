/* kernels/vec/unpack: elements of a weight matrix as floats, shared by unpack.c, pack.c and dot_rows.c. */
#ifndef HONE_KERNELS_VEC_UNPACK_H
#define HONE_KERNELS_VEC_UNPACK_H

#include "kernels/vec/vec.h"

/* hone_unpack_fn with every element multiplied by `scale` before it is rounded. */
void HONE_VEC_NAME(unpack_scaled)(const hone_matrix *w, size_t row, size_t col, size_t count,
                                  float scale, hone_dtype out, void *dst);

VEC_INLINE uint16_t load_u16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

VEC_INLINE float f16_to_f32(uint16_t h) {
#if defined(VEC_AVX512) || defined(VEC_AVX2)
    return _cvtsh_ss(h);
#else
    return hone_f16_to_f32(h);
#endif
}

/* VEC_WIDTH float16 from any address. */
VEC_INLINE vec_f load_f16(const uint8_t *p) {
#if defined(VEC_AVX512)
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif defined(VEC_AVX2)
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
#else
    vec_f v;
    for (int i = 0; i < VEC_WIDTH; i++) v[i] = hone_f16_to_f32(load_u16(p + 2 * i));
    return v;
#endif
}

/* Elements i, i+1, ... of a dense row. */
VEC_INLINE vec_f load_dense(hone_dtype dtype, const uint8_t *p, size_t i) {
    return dtype == HONE_F16 ? load_f16(p + 2 * i) : vec_load_as(p, dtype, i);
}

/* VEC_WIDTH bytes as integers. */
VEC_INLINE vec_i load_bytes(const uint8_t *p) {
#if defined(VEC_AVX512)
    return (vec_i)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
#elif defined(VEC_AVX2)
    return (vec_i)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
#else
    return (vec_i){p[0], p[1], p[2], p[3]};
#endif
}

/* VEC_WIDTH bytes as signed integers. */
VEC_INLINE vec_i load_signed_bytes(const uint8_t *p) {
#if defined(VEC_AVX512)
    return (vec_i)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p));
#elif defined(VEC_AVX2)
    return (vec_i)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p));
#else
    return (vec_i){(int8_t)p[0], (int8_t)p[1], (int8_t)p[2], (int8_t)p[3]};
#endif
}

/* Rows are too short for the processor to run far ahead by itself: twice the speed where they come from memory. The
 * address may lie past the end: a prefetch does not fault. */
VEC_INLINE void prefetch_ahead(const uint8_t *p) {
    __builtin_prefetch((const void *)((uintptr_t)p + 4096));
}

VEC_INLINE vec_f to_float(vec_i v) {
#if defined(VEC_AVX512)
    return _mm512_cvtepi32_ps((__m512i)v);
#else
    return __builtin_convertvector(v, vec_f);
#endif
}

/* Element `index` of the scales or biases of an AFFINE4 matrix. */
VEC_INLINE float affine_value(const void *values, hone_dtype dtype, size_t index) {
    const uint8_t *at = (const uint8_t *)values + index * (dtype == HONE_F32 ? 4 : 2);
    if (dtype == HONE_F32) {
        float v;
        memcpy(&v, at, sizeof v);
        return v;
    }
    return dtype == HONE_F16 ? f16_to_f32(load_u16(at)) : hone_bf16_to_f32(load_u16(at));
}

#endif
