/* kernels/vec: one thin layer over GCC's vector extensions, so that one body serves every ISA.
 * Layer: kernels, private to kernels/vec.
 *
 * Each file here is compiled once per ISA with -DHONE_VEC_ISA=scalar|avx2|avx512|avx512cvt|neon|neoncvt and that
 * ISA's flags, and exports HONE_VEC_NAME(x) = hone_x_<isa>. `scalar` is 4 lanes of whatever the compiler's
 * baseline has. A vec_f holds VEC_WIDTH floats; memory holds float32 or bfloat16.
 *
 * The tails (`_n`, 0 <= n <= VEC_WIDTH) touch exactly n elements and compute what the whole vectors
 * compute, so an element's bits do not depend on where a row was cut (those of a NaN may: vec_store_2_pure_as).
 * Write products as vec_fma: a contraction that the compiler chose could differ between the body and the tail
 * of a loop.
 */
#ifndef HONE_KERNELS_VEC_VEC_H
#define HONE_KERNELS_VEC_VEC_H

#include "base/size.h"
#include "kernels/variants.h"
#include <assert.h>

#define HONE_VEC_ID_scalar 1
#define HONE_VEC_ID_avx2 2
#define HONE_VEC_ID_avx512 3
#define HONE_VEC_ID_avx512cvt 4
#define HONE_VEC_ID_neon 5
#define HONE_VEC_ID_neoncvt 6
#define VEC_CAT_(a, b) a##b
#define VEC_CAT(a, b) VEC_CAT_(a, b)
#define VEC_ID VEC_CAT(HONE_VEC_ID_, HONE_VEC_ISA)
#define VEC_JOIN_(a, b) hone_##a##_##b
#define VEC_JOIN(a, b) VEC_JOIN_(a, b)

/* The exported name of a kernel in this ISA. */
#define HONE_VEC_NAME(name) VEC_JOIN(name, HONE_VEC_ISA)

#if VEC_ID == HONE_VEC_ID_avx512 || VEC_ID == HONE_VEC_ID_avx512cvt
#include <immintrin.h>
#define VEC_WIDTH 16
#define VEC_AVX512 1
#if VEC_ID == HONE_VEC_ID_avx512cvt
#define VEC_AVX512CVT 1
#endif
#elif VEC_ID == HONE_VEC_ID_avx2
#include <immintrin.h>
#define VEC_WIDTH 8
#define VEC_AVX2 1
#elif VEC_ID == HONE_VEC_ID_neon || VEC_ID == HONE_VEC_ID_neoncvt
#include <arm_neon.h>
#define VEC_WIDTH 4
#define VEC_NEON 1
#if VEC_ID == HONE_VEC_ID_neoncvt
#define VEC_NEONCVT 1
#endif
#elif VEC_ID == HONE_VEC_ID_scalar
#define VEC_WIDTH 4
#else
#error "HONE_VEC_ISA must be scalar, avx2, avx512, avx512cvt, neon or neoncvt"
#endif

/* Bodies are inlined so that a constant dtype argument leaves one inner loop per type. */
#define VEC_INLINE static inline __attribute__((always_inline))

typedef float vec_f __attribute__((vector_size(4 * VEC_WIDTH)));
typedef int32_t vec_i __attribute__((vector_size(4 * VEC_WIDTH)));
typedef uint32_t vec_u __attribute__((vector_size(4 * VEC_WIDTH)));
typedef uint16_t vec_h __attribute__((vector_size(2 * VEC_WIDTH)));  /* bfloat16 */
typedef uint16_t vec_2h __attribute__((vector_size(4 * VEC_WIDTH))); /* twice as many bfloat16 */
typedef double vec_d __attribute__((vector_size(4 * VEC_WIDTH)));    /* half as many lanes */

/* ---- lanes ------------------------------------------------------------------------------- */

VEC_INLINE vec_f vec_set1(float x) { return x - (vec_f){0}; }
VEC_INLINE vec_f vec_zero(void) { return (vec_f){0}; }

VEC_INLINE vec_i vec_lane(void) {
#if VEC_WIDTH == 16
    return (vec_i){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif VEC_WIDTH == 8
    return (vec_i){0, 1, 2, 3, 4, 5, 6, 7};
#else
    return (vec_i){0, 1, 2, 3};
#endif
}

/* All bits set in the first n lanes. */
VEC_INLINE vec_i vec_first(size_t n) { return vec_lane() < (int32_t)n; }

#ifdef VEC_AVX512
VEC_INLINE __mmask16 vec_mask(size_t n) { return (__mmask16)((1u << n) - 1u); }
#endif

/* where ? a : b, lane by lane; `where` is a comparison's result. */
VEC_INLINE vec_f vec_select(vec_i where, vec_f a, vec_f b) {
#ifdef VEC_AVX2
    return _mm256_blendv_ps(b, a, (vec_f)where);
#else
    return (vec_f)(((vec_i)a & where) | ((vec_i)b & ~where));
#endif
}

/* v in the first n lanes, fill after. */
VEC_INLINE vec_f vec_keep(vec_f v, size_t n, vec_f fill) {
#ifdef VEC_AVX512
    return _mm512_mask_blend_ps(vec_mask(n), fill, v);
#else
    return vec_select(vec_first(n), v, fill);
#endif
}

/* (a0 b0 a1 b1 ...) of the lower and of the upper halves. */
VEC_INLINE vec_f vec_zip_low(vec_f a, vec_f b) {
#if VEC_WIDTH == 16
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif VEC_WIDTH == 8
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}

VEC_INLINE vec_f vec_zip_high(vec_f a, vec_f b) {
#if VEC_WIDTH == 16
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                   31);
#elif VEC_WIDTH == 8
    return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

/* Elements 0, 2, 4, ... and 1, 3, 5, ... of a followed by b. */
VEC_INLINE vec_f vec_even(vec_f a, vec_f b) {
#if VEC_WIDTH == 16
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#elif VEC_WIDTH == 8
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
#else
    return __builtin_shufflevector(a, b, 0, 2, 4, 6);
#endif
}

VEC_INLINE vec_f vec_odd(vec_f a, vec_f b) {
#if VEC_WIDTH == 16
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif VEC_WIDTH == 8
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
    return __builtin_shufflevector(a, b, 1, 3, 5, 7);
#endif
}

/* ---- memory ------------------------------------------------------------------------------ */

VEC_INLINE vec_f vec_load(const float *p) {
    vec_f v;
    memcpy(&v, p, sizeof v);
    return v;
}

VEC_INLINE void vec_store(float *p, vec_f v) { memcpy(p, &v, sizeof v); }

/* Lanes from n on are 0. */
VEC_INLINE vec_f vec_load_n(const float *p, size_t n) {
#if defined(VEC_AVX512)
    return _mm512_maskz_loadu_ps(vec_mask(n), p);
#elif defined(VEC_AVX2)
    return _mm256_maskload_ps(p, (__m256i)vec_first(n));
#else
    vec_f v = {0};
    for (size_t i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

VEC_INLINE void vec_store_n(float *p, vec_f v, size_t n) {
#if defined(VEC_AVX512)
    _mm512_mask_storeu_ps(p, vec_mask(n), v);
#elif defined(VEC_AVX2)
    _mm256_maskstore_ps(p, (__m256i)vec_first(n), v);
#else
    for (size_t i = 0; i < n; i++) p[i] = v[i];
#endif
}

/* gcc 12 takes a wide __builtin_convertvector apart into scalars: intrinsics where there are some. */
VEC_INLINE vec_f vec_from_bf16(vec_h h) {
#if defined(VEC_AVX512)
    return (vec_f)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)h), 16);
#elif defined(VEC_AVX2)
    return (vec_f)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)h), 16);
#else
    return (vec_f)(__builtin_convertvector(h, vec_u) << 16);
#endif
}

/* Rounded to bfloat16 in the upper half of each lane, the lower half of no meaning; NaN becomes all ones, a NaN too:
 * rounded as a number it could become infinity, or 0. */
VEC_INLINE vec_u vec_round_bf16(vec_f v) {
    vec_u bits = (vec_u)v;
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) | (vec_u)(v != v);
}

VEC_INLINE vec_h vec_to_bf16_by_bits(vec_f v) {
#if defined(VEC_AVX512)
    vec_u bits = (vec_u)v;
    vec_u rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    rounded = (vec_u)_mm512_mask_mov_epi32((__m512i)rounded, nan, (__m512i)((bits >> 16) | 0x40u));
    return (vec_h)_mm512_cvtepi32_epi16((__m512i)rounded);
#elif defined(VEC_AVX2)
    __m256i halves = (__m256i)(vec_round_bf16(v) >> 16);
    return (vec_h)_mm_packus_epi32(_mm256_castsi256_si128(halves),
                                   _mm256_extracti128_si256(halves, 1));
#else
    return __builtin_convertvector(vec_round_bf16(v) >> 16, vec_h);
#endif
}

/* The same but that a processor may take denormals for 0. */
VEC_INLINE vec_h vec_to_bf16_short(vec_f v) {
#ifdef VEC_AVX512CVT
    return (vec_h)_mm512_cvtneps_pbh(v);
#elif defined(VEC_NEONCVT)
    return (vec_h)vcvt_bf16_f32(v); /* which keeps denormals */
#else
    return vec_to_bf16_by_bits(v);
#endif
}

/* Round to nearest even; NaN stays NaN, quieted. */
VEC_INLINE vec_h vec_to_bf16(vec_f v) {
#ifdef VEC_AVX512CVT
    __mmask16 denormal = _mm512_fpclass_ps_mask(v, 0x20);
    if (__builtin_expect(!_ktestz_mask16_u8(denormal, denormal), 0)) return vec_to_bf16_by_bits(v);
#endif
    return vec_to_bf16_short(v);
}

/* Elements i, i+1, ... of p as float32. dtype is F32 or BF16 and constant after inlining. */
VEC_INLINE vec_f vec_load_as(const void *p, hone_dtype dtype, size_t i) {
    if (dtype == HONE_F32) return vec_load((const float *)p + i);
    vec_h h;
    memcpy(&h, (const hone_bf16 *)p + i, sizeof h);
    return vec_from_bf16(h);
}

VEC_INLINE vec_f vec_load_as_n(const void *p, hone_dtype dtype, size_t i, size_t n) {
    if (dtype == HONE_F32) return vec_load_n((const float *)p + i, n);
#ifdef VEC_AVX512
    return vec_from_bf16((vec_h)_mm256_maskz_loadu_epi16(vec_mask(n), (const hone_bf16 *)p + i));
#else
    vec_h h = {0};
    memcpy(&h, (const hone_bf16 *)p + i, n * sizeof(hone_bf16));
    return vec_from_bf16(h);
#endif
}

VEC_INLINE void vec_store_as(void *p, hone_dtype dtype, size_t i, vec_f v) {
    if (dtype == HONE_F32) {
        vec_store((float *)p + i, v);
    } else {
        vec_h h = vec_to_bf16(v);
        memcpy((hone_bf16 *)p + i, &h, sizeof h);
    }
}

VEC_INLINE void vec_store_as_n(void *p, hone_dtype dtype, size_t i, vec_f v, size_t n) {
    if (dtype == HONE_F32) {
        vec_store_n((float *)p + i, v, n);
        return;
    }
    vec_h h = vec_to_bf16(v);
#ifdef VEC_AVX512
    _mm256_mask_storeu_epi16((hone_bf16 *)p + i, vec_mask(n), (__m256i)h);
#else
    memcpy((hone_bf16 *)p + i, &h, n * sizeof(hone_bf16));
#endif
}

/* Two vectors of elements i ... i + 2*VEC_WIDTH - 1, the lane of an element the same in all that were loaded with the
 * same `lanes`: BF16 where anything is that vec_load_2_as loads or vec_store_2_as stores. AVX2 then has those of even
 * places in a and those of odd ones in b, as a shift and a mask take 16 bfloat16 apart, and rounds 16 at a time. */
typedef struct vec_2 {
    vec_f a, b;
} vec_2;

enum { VEC_2_WIDTH = 2 * VEC_WIDTH };

VEC_INLINE vec_2h vec_load_2h(const void *p, size_t i) {
    vec_2h h;
    memcpy(&h, (const hone_bf16 *)p + i, sizeof h);
    return h;
}

VEC_INLINE vec_2 vec_from_2h(vec_2h h) {
#ifdef VEC_AVX2
    return (vec_2){(vec_f)((vec_u)h << 16), (vec_f)((vec_u)h & 0xffff0000u)};
#else
    vec_h halves[2];
    memcpy(halves, &h, sizeof h);
    return (vec_2){vec_from_bf16(halves[0]), vec_from_bf16(halves[1])};
#endif
}

VEC_INLINE vec_2 vec_load_2_as(const void *p, hone_dtype dtype, size_t i, hone_dtype lanes) {
    if (dtype == HONE_BF16) return vec_from_2h(vec_load_2h(p, i));
#ifdef VEC_AVX2
    if (lanes == HONE_BF16) {
        const float *f = (const float *)p + i;
        vec_f low = _mm256_loadu2_m128(f + 8, f), high = _mm256_loadu2_m128(f + 12, f + 4);
        return (vec_2){_mm256_shuffle_ps(low, high, 0x88), _mm256_shuffle_ps(low, high, 0xdd)};
    }
#else
    (void)lanes;
#endif
    return (vec_2){vec_load((const float *)p + i), vec_load((const float *)p + i + VEC_WIDTH)};
}

#ifdef VEC_AVX2
/* 16 bfloat16, as vec_round_bf16 makes them, but 16 bits wide, in 12 instructions instead of 15. The upper half goes
 * up by one where the lower half is above 0x8000, or is 0x8000 and the upper half odd. */
VEC_INLINE __m256i vec_round_2(vec_2 v) {
    __m256i a = (__m256i)v.a, b = (__m256i)v.b;
    __m256i high = _mm256_blend_epi16(_mm256_srli_epi32(a, 16), b, 0xaa);
    __m256i low = _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
    __m256i even = _mm256_andnot_si256(high, _mm256_set1_epi16(1));
    __m256i up = _mm256_srli_epi16(_mm256_subs_epu16(low, even), 15);
    __m256i nan = _mm256_blend_epi16((__m256i)(v.a != v.a), (__m256i)(v.b != v.b), 0xaa);
    return _mm256_or_si256(_mm256_add_epi16(high, up), nan);
}
#endif

VEC_INLINE void vec_store_2_as(void *p, hone_dtype dtype, size_t i, vec_2 v, hone_dtype lanes) {
#ifdef VEC_AVX2
    if (dtype == HONE_BF16) {
        assert(lanes == HONE_BF16);
        _mm256_storeu_si256((__m256i *)((hone_bf16 *)p + i), vec_round_2(v));
        return;
    }
    if (lanes == HONE_BF16) {
        float *f = (float *)p + i;
        _mm256_storeu2_m128(f + 8, f, _mm256_unpacklo_ps(v.a, v.b));
        _mm256_storeu2_m128(f + 12, f + 4, _mm256_unpackhi_ps(v.a, v.b));
        return;
    }
#else
    (void)lanes;
#endif
    vec_store_as(p, dtype, i, v.a);
    vec_store_as(p, dtype, i + VEC_WIDTH, v.b);
}

/* For what seldom lies half-way between two bfloat16, as products and sums of float32 do not: AVX2 rounds to nearest
 * with ties away from 0, for which one addition does where ties to even take four instructions. A NaN must have
 * nothing in its lower half, or it could become a number: so it is with those of bfloat16 operands, handed on, and
 * with the one that x86 makes of finite ones and infinities, 0xffc00000. Other instruction sets, and float32, as
 * vec_store_as. `lanes` as for vec_load_2_as, but that bfloat16 may be stored from those of float32. */
VEC_INLINE void vec_store_2_pure_as(void *p, hone_dtype dtype, size_t i, vec_2 v,
                                    hone_dtype lanes) {
#ifdef VEC_AVX2
    if (dtype == HONE_BF16) {
        __m256i a = (__m256i)((vec_u)v.a + 0x8000u), b = (__m256i)((vec_u)v.b + 0x8000u), h;
        if (lanes == HONE_BF16)
            h = _mm256_blend_epi16(_mm256_srli_epi32(a, 16), b, 0xaa);
        else
            h = _mm256_permute4x64_epi64(
                _mm256_packus_epi32(_mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16)), 0xd8);
        _mm256_storeu_si256((__m256i *)((hone_bf16 *)p + i), h);
        return;
    }
#endif
    vec_store_2_as(p, dtype, i, v, lanes);
}

/* Where everything is bfloat16: two vectors in the order of lanes that costs least to take apart and to put together,
 * rounded as by vec_store_2_pure_as; AVX-512 too rounds ties away from 0 here, which spares it the conversion, that
 * takes denormals for 0, and a look for those: silu_mul's forward pass takes 8.3 cycles for 16 numbers instead of 11.4
 * on Zen 5. */
VEC_INLINE vec_2 vec_pairs_from_2h(vec_2h h) {
#ifdef VEC_AVX512
    return (vec_2){(vec_f)((vec_u)h << 16), (vec_f)((vec_u)h & 0xffff0000u)};
#else
    return vec_from_2h(h);
#endif
}

VEC_INLINE vec_2 vec_load_pairs(const hone_bf16 *p, size_t i) {
    return vec_pairs_from_2h(vec_load_2h(p, i));
}

VEC_INLINE void vec_store_pairs(hone_bf16 *p, size_t i, vec_2 v) {
#ifdef VEC_AVX512
    __m512i a = (__m512i)((vec_u)v.a + 0x8000u), b = (__m512i)((vec_u)v.b + 0x8000u);
    _mm512_storeu_si512(p + i, _mm512_mask_mov_epi16(_mm512_srli_epi32(a, 16), 0xaaaaaaaau, b));
#else
    vec_store_2_pure_as(p, HONE_BF16, i, v, HONE_BF16);
#endif
}

VEC_INLINE void vec_store_pure_as_n(void *p, hone_dtype dtype, size_t i, vec_f v, size_t n) {
#ifdef VEC_AVX2
    if (dtype == HONE_BF16) v = (vec_f)(((vec_u)v + 0x8000u) & 0xffff0000u);
#endif
    vec_store_as_n(p, dtype, i, v, n);
}

/* For probabilities, of which a denormal one is as good as 0. */
VEC_INLINE void vec_store_short_as(void *p, hone_dtype dtype, size_t i, vec_f v) {
    if (dtype == HONE_F32) {
        vec_store((float *)p + i, v);
    } else {
        vec_h h = vec_to_bf16_short(v);
        memcpy((hone_bf16 *)p + i, &h, sizeof h);
    }
}

/* One element, for what a loop over vectors leaves to do by hand. */
VEC_INLINE float vec_get_as(const void *p, hone_dtype dtype, size_t i) {
    return dtype == HONE_F32 ? ((const float *)p)[i] : hone_bf16_to_f32(((const hone_bf16 *)p)[i]);
}

VEC_INLINE void vec_put_as(void *p, hone_dtype dtype, size_t i, float x) {
    if (dtype == HONE_F32) {
        ((float *)p)[i] = x;
    } else {
        ((hone_bf16 *)p)[i] = hone_f32_to_bf16(x);
    }
}

/* The address of element i, in bytes of a type that is known to be F32 or BF16. */
VEC_INLINE const void *vec_at(const void *p, hone_dtype dtype, size_t i) {
    return (const char *)p + i * (dtype == HONE_F32 ? sizeof(float) : sizeof(hone_bf16));
}
VEC_INLINE void *vec_at_mut(void *p, hone_dtype dtype, size_t i) {
    return (char *)p + i * (dtype == HONE_F32 ? sizeof(float) : sizeof(hone_bf16));
}

/* ---- arithmetic -------------------------------------------------------------------------- */

/* a*b + c, rounded once where the ISA has it. */
VEC_INLINE vec_f vec_fma(vec_f a, vec_f b, vec_f c) {
#if defined(VEC_AVX512)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(VEC_AVX2)
    return _mm256_fmadd_ps(a, b, c);
#elif defined(VEC_NEON)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}

/* c - a*b */
VEC_INLINE vec_f vec_fnma(vec_f a, vec_f b, vec_f c) {
#if defined(VEC_AVX512)
    return _mm512_fnmadd_ps(a, b, c);
#elif defined(VEC_AVX2)
    return _mm256_fnmadd_ps(a, b, c);
#elif defined(VEC_NEON)
    return vfmsq_f32(c, a, b);
#else
    return c - a * b;
#endif
}

/* a > b ? a : b and a < b ? a : b: b where either is NaN. */
VEC_INLINE vec_f vec_max(vec_f a, vec_f b) {
#if defined(VEC_AVX512)
    return _mm512_max_ps(a, b);
#elif defined(VEC_AVX2)
    return _mm256_max_ps(a, b);
#else
    return vec_select(a > b, a, b);
#endif
}

VEC_INLINE vec_f vec_min(vec_f a, vec_f b) {
#if defined(VEC_AVX512)
    return _mm512_min_ps(a, b);
#elif defined(VEC_AVX2)
    return _mm256_min_ps(a, b);
#else
    return vec_select(a < b, a, b);
#endif
}

/* x >= 0 ? a : b; b for NaN. */
VEC_INLINE vec_f vec_if_positive(vec_f x, vec_f a, vec_f b) {
#if defined(VEC_AVX512)
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, vec_zero(), _CMP_GE_OQ), b, a);
#else
    return vec_select(x >= vec_zero(), a, b);
#endif
}

VEC_INLINE vec_f vec_abs(vec_f x) { return (vec_f)((vec_i)x & 0x7fffffff); }

VEC_INLINE vec_f vec_sqrt(vec_f x) {
#if defined(VEC_AVX512)
    return _mm512_sqrt_ps(x);
#elif defined(VEC_AVX2)
    return _mm256_sqrt_ps(x);
#elif defined(VEC_NEON)
    return vsqrtq_f32(x);
#else
    vec_f y;
    for (int i = 0; i < VEC_WIDTH; i++) y[i] = __builtin_sqrtf(x[i]);
    return y;
#endif
}

/* 1/x for finite x far from the ends of the range, within 1 ulp. */
VEC_INLINE vec_f vec_reciprocal(vec_f x) {
#ifdef VEC_AVX512
    vec_f r = _mm512_rcp14_ps(x);
    return vec_fma(r, vec_fnma(x, r, vec_set1(1.0f)), r);
#else
    return 1.0f / x;
#endif
}

/* For results in bfloat16: 1/x within 2^-14; 0 for x above 2^126, where it is denormal. */
VEC_INLINE vec_f vec_reciprocal_short(vec_f x) {
#if defined(VEC_AVX512)
    __mmask16 normal = _mm512_cmp_ps_mask(x, vec_set1(0x1p126f), _CMP_NGT_UQ);
    return _mm512_maskz_rcp14_ps(normal, x);
#elif defined(VEC_AVX2)
    /* Within 2^-11 and never denormal; how it errs differs from maker to maker, and so may bits between machines. */
    vec_f r = _mm256_rcp_ps(x);
    return vec_fma(r, vec_fnma(x, r, vec_set1(1.0f)), r);
#else
    return vec_select(x > 0x1p126f, vec_zero(), 1.0f / x);
#endif
}

/* Sum and maximum over lanes, pairing lane i with lane i + half each time. */
#if VEC_WIDTH == 4
VEC_INLINE float vec_sum(vec_f v) { return (v[0] + v[2]) + (v[1] + v[3]); }
VEC_INLINE float vec_max_lane(vec_f v) {
    float even = v[0] > v[2] ? v[0] : v[2], odd = v[1] > v[3] ? v[1] : v[3];
    return even > odd ? even : odd;
}
#else
VEC_INLINE __m128 vec_half_sum(__m256 v) {
    return _mm256_castps256_ps128(v) + _mm256_extractf128_ps(v, 1);
}
VEC_INLINE __m128 vec_half_max(__m256 v) {
    return _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
}

VEC_INLINE float vec_sum(vec_f v) {
#ifdef VEC_AVX512
    __m128 q = vec_half_sum(_mm512_castps512_ps256(v) + _mm512_extractf32x8_ps(v, 1));
#else
    __m128 q = vec_half_sum(v);
#endif
    q += _mm_movehl_ps(q, q);
    return q[0] + q[1];
}

VEC_INLINE float vec_max_lane(vec_f v) {
#ifdef VEC_AVX512
    __m128 q = vec_half_max(_mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
#else
    __m128 q = vec_half_max(v);
#endif
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return q[0] > q[1] ? q[0] : q[1];
}
#endif

/* The lower and upper lanes as float64. */
VEC_INLINE vec_d vec_low_d(vec_f v) {
#if defined(VEC_AVX512)
    return _mm512_cvtps_pd(_mm512_castps512_ps256(v));
#elif defined(VEC_AVX2)
    return _mm256_cvtps_pd(_mm256_castps256_ps128(v));
#else
    return (vec_d){v[0], v[1]};
#endif
}

VEC_INLINE vec_d vec_high_d(vec_f v) {
#if defined(VEC_AVX512)
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
#elif defined(VEC_AVX2)
    return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
#else
    return (vec_d){v[2], v[3]};
#endif
}

/* ---- functions --------------------------------------------------------------------------- */

/* x = n ln 2 + r; e^r = 1 + r + r^2 p, p the minimax polynomial of degree 4 on |r| <= 0.3475 (relative
 * error 3e-9). ln 2 in two parts, the first short enough that its product with n is exact: r = (x - n*high) - n*low,
 * where the difference is exact. |x| <= 104. */
typedef struct vec_exp_parts {
    vec_f shifted; /* n + 1.5 * 2^23: n as an integer in its low bits */
    vec_f n, r, p;
} vec_exp_parts;

#define VEC_LN2_HIGH 0x1.63p-1f
#define VEC_LN2_LOW -0x1.bd0106p-13f

VEC_INLINE vec_exp_parts vec_exp_reduce(vec_f x) {
    vec_exp_parts e;
    e.shifted = vec_fma(x, vec_set1(0x1.715476p0f), vec_set1(0x1.8p23f));
    e.n = e.shifted - 0x1.8p23f;
    e.r = vec_fnma(e.n, vec_set1(VEC_LN2_LOW), vec_fnma(e.n, vec_set1(VEC_LN2_HIGH), x));
    e.p = vec_fma(vec_set1(0x1.6a21acp-10f), e.r, vec_set1(0x1.123b6ap-7f));
    e.p = vec_fma(e.p, e.r, vec_set1(0x1.5558fap-5f));
    e.p = vec_fma(e.p, e.r, vec_set1(0x1.55549p-3f));
    e.p = vec_fma(e.p, e.r, vec_set1(0x1.fffffcp-2f));
    return e;
}

/* v * 2^n. Without the instruction in two factors: n reaches 128 above and -150 below what one
 * exponent holds. */
VEC_INLINE vec_f vec_exp_scale(const vec_exp_parts *e, vec_f v) {
#ifdef VEC_AVX512
    return _mm512_scalef_ps(v, e->n);
#else
    vec_i whole = (vec_i)((vec_u)e->shifted - 0x4b400000u);
    vec_u half = (vec_u)(whole >> 1), other = (vec_u)whole - half;
    return v * (vec_f)((half + 127u) << 23) * (vec_f)((other + 127u) << 23);
#endif
}

/* The same for v about 1 and -125 <= n <= 126, where n can be added to its exponent. */
VEC_INLINE vec_f vec_exp_scale_normal(const vec_exp_parts *e, vec_f v) {
#ifdef VEC_AVX512
    return _mm512_scalef_ps(v, e->n);
#else
    return (vec_f)((vec_u)v + ((vec_u)e->shifted << 23));
#endif
}

/* e^x within 1 ulp (2 where the result is denormal): 0 for -inf, inf for large, NaN for NaN. Lanes that end
 * as 0 are kept from underflowing on the way: a processor may take a hundred cycles over that, and masked
 * scores are full of them. */
VEC_INLINE vec_f vec_exp(vec_f x) {
#ifdef VEC_AVX512
    __mmask16 live = _mm512_cmp_ps_mask(x, vec_set1(-104.0f), _CMP_NLT_UQ);
    vec_exp_parts e = vec_exp_reduce(vec_min(vec_set1(89.0f), x));
    return _mm512_maskz_scalef_ps(live, vec_fma(e.p, e.r * e.r, e.r) + 1.0f, e.n);
#else
    vec_u live = ~(vec_u)(x < -104.0f);
    vec_exp_parts e = vec_exp_reduce(vec_min(vec_set1(89.0f), (vec_f)((vec_u)x & live)));
    return (vec_f)((vec_u)vec_exp_scale(&e, vec_fma(e.p, e.r * e.r, e.r) + 1.0f) & live);
#endif
}

/* x log2(e) = n + f, r = f; 2^f = p, which is 1 + f times the minimax polynomial of degree 4 on |f| <= 1/2. */
VEC_INLINE vec_exp_parts vec_exp_reduce_short(vec_f x) {
    const vec_f log2_e = vec_set1(0x1.715476p0f);
    vec_exp_parts e;
    e.shifted = vec_fma(x, log2_e, vec_set1(0x1.8p23f));
    e.n = e.shifted - 0x1.8p23f;
    e.r = vec_fma(x, log2_e, -e.n);
    e.p = vec_fma(vec_set1(0x1.5bb928p-10f), e.r, vec_set1(0x1.3ceb6cp-7f));
    e.p = vec_fma(e.p, e.r, vec_set1(0x1.c6b75ap-5f));
    e.p = vec_fma(e.p, e.r, vec_set1(0x1.ebf9bap-3f));
    e.p = vec_fma(e.p, e.r, vec_set1(0x1.62e42ap-1f));
    e.p = vec_fma(e.p, e.r, vec_set1(1.0f));
    return e;
}

/* e^x for what is rounded to bfloat16 or summed up with its like: relative error 2e-7 + |x|/2^25, |x|/2^23
 * without fused products; a third fewer instructions than vec_exp. x at most 88; 0 below -104, NaN for NaN. */
VEC_INLINE vec_f vec_exp_short(vec_f x) {
#ifdef VEC_AVX512
    __mmask16 live = _mm512_cmp_ps_mask(x, vec_set1(-104.0f), _CMP_NLT_UQ);
    vec_exp_parts e = vec_exp_reduce_short(x);
    return _mm512_maskz_scalef_ps(live, e.p, e.n);
#else
    vec_u live = ~(vec_u)(x < -104.0f);
    vec_exp_parts e = vec_exp_reduce_short((vec_f)((vec_u)x & live));
    return (vec_f)((vec_u)vec_exp_scale(&e, e.p) & live);
#endif
}

/* The one of both that a result of `dtype` needs. */
VEC_INLINE vec_f vec_exp_for(hone_dtype dtype, vec_f x) {
    return dtype == HONE_BF16 ? vec_exp_short(x) : vec_exp(x);
}

/* s(x) = 1/(1 + e^-x) and 1 - s(x), both without cancellation. */
typedef struct vec_sigmoid_pair {
    vec_f s, one_minus_s;
} vec_sigmoid_pair;

/* Of t = e^-|x|. */
VEC_INLINE vec_sigmoid_pair vec_sigmoid_from(vec_f x, vec_f t) {
    vec_f large = vec_reciprocal(1.0f + t), small = t * large;
#ifdef VEC_AVX2 /* by the sign alone: both are a half at -0 */
    return (vec_sigmoid_pair){_mm256_blendv_ps(large, small, x), _mm256_blendv_ps(small, large, x)};
#else
    return (vec_sigmoid_pair){vec_if_positive(x, large, small), vec_if_positive(x, small, large)};
#endif
}

/* For results in bfloat16: within 1.4e-4, in half of the instructions, in two steps. The first: t = e^-x, x held within
 * -88, where s becomes 0, and 87, where it is 1, as integers of 16 bits; a NaN counts as one of these. t = 2^n p, as in
 * vec_exp_reduce_short, but p of degree 3, within 7.5e-5, and n goes into its exponent by an addition. */
VEC_INLINE vec_2h vec_hold_for_sigmoid(vec_2h x) {
    enum { LOWEST = 0xc2b0, HIGHEST = 0x42ae };
#if defined(VEC_AVX512)
    __m512i above = _mm512_min_epu16((__m512i)x, _mm512_set1_epi16((short)LOWEST));
    return (vec_2h)_mm512_min_epi16(above, _mm512_set1_epi16(HIGHEST));
#elif defined(VEC_AVX2)
    __m256i above = _mm256_min_epu16((__m256i)x, _mm256_set1_epi16((short)LOWEST));
    return (vec_2h)_mm256_min_epi16(above, _mm256_set1_epi16(HIGHEST));
#else
    vec_2h below = (vec_2h)(x > (uint16_t)LOWEST);
    vec_2h above = (vec_2h)(x > (uint16_t)HIGHEST) & (vec_2h)(x < (uint16_t)0x8000);
    return (x & ~(below | above)) | (below & (uint16_t)LOWEST) | (above & (uint16_t)HIGHEST);
#endif
}

VEC_INLINE vec_f vec_exp_minus_held(vec_f x) {
    const vec_f scale = vec_set1(-0x1.715476p0f); /* log2(e) */
    vec_f shifted = vec_fma(x, scale, vec_set1(0x1.8p23f)), n = shifted - 0x1.8p23f;
    vec_f f = vec_fma(x, scale, -n);
    vec_f p = vec_fma(vec_set1(0x1.c3f762p-5f), f, vec_set1(0x1.f0de1ap-3f));
    p = vec_fma(p, f, vec_set1(0x1.62f31ap-1f));
    p = vec_fma(p, f, vec_set1(0x1.fff692p-1f));
#ifdef VEC_AVX512
    return _mm512_scalef_ps(p, n);
#else
    return (vec_f)((vec_u)p + ((vec_u)shifted << 23));
#endif
}

VEC_INLINE vec_2 vec_exp_minus_2(vec_2h x) {
    vec_2 held = vec_pairs_from_2h(vec_hold_for_sigmoid(x));
    return (vec_2){vec_exp_minus_held(held.a), vec_exp_minus_held(held.b)};
}

/* The second. Above x = 1e33 t s is too large for x (1 - s). */
VEC_INLINE vec_sigmoid_pair vec_sigmoid_short(vec_f t) {
    vec_f s = vec_reciprocal_short(1.0f + t);
    return (vec_sigmoid_pair){s, t * s};
}

/* x s(x) = x/(1 + e^-x) within 2 ulp, in two steps. The first: e^-x, for x from -86 to 24. */
#define VEC_SILU_LOWEST -86.0f /* silu is above -4e-36 from there down */

VEC_INLINE vec_f vec_silu_exp(vec_f x) {
    vec_f y = vec_min(vec_set1(24.0f), vec_max(vec_set1(VEC_SILU_LOWEST), x));
    vec_exp_parts e = vec_exp_reduce(-y);
    return vec_exp_scale_normal(&e, vec_fma(e.p, e.r * e.r, e.r) + 1.0f);
}

/* The second: the denominator is a sum of two. */
VEC_INLINE vec_f vec_silu_from(vec_f x, vec_f e) {
    vec_f large = vec_max(e, vec_set1(1.0f)), small = vec_min(e, vec_set1(1.0f));
    vec_f d = large + small, d_low = small - (d - large);
#if defined(VEC_AVX512) || defined(VEC_AVX2) || defined(VEC_NEON)
    vec_f inverse = vec_reciprocal(d), q = x * inverse;
    vec_f rest = vec_fnma(q, d_low, vec_fnma(q, d, x));
    q = vec_fma(rest, inverse, q);
#else /* without fused products x - q d is not exact */
    vec_f q = x / d;
    q -= q * d_low / d;
#endif
    q = vec_if_positive(x - 20.0f, x, q); /* rounds to x there; and for inf the above is NaN */
    return vec_if_positive(VEC_SILU_LOWEST - x, vec_zero(), q);
}

VEC_INLINE vec_f vec_silu(vec_f x) { return vec_silu_from(x, vec_silu_exp(x)); }

#endif
