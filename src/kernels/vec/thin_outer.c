/* kernels/vec/thin_outer: the gradient of an adapter's thin matrix. Layer kernels.
 *
 * A tile of accumulators stays in registers over all rows, while both operands are read as they lie: with a rank of 8,
 * packing the wide one as a matrix multiply wants it takes longer than multiplying.
 */
#include "kernels/variants.h"
#include "kernels/vec/vec.h"

#if defined(VEC_AVX512) || defined(VEC_NEON)
enum { TILE_ROWS = 8, TILE_VECS = 3 };
#else
enum { TILE_ROWS = 4, TILE_VECS = 3 };
#endif
enum { WIDE = 8 }; /* vectors of a row alone, which has no others to wait for its sums with */

VEC_INLINE float element(const void *p, hone_dtype dtype, size_t i) {
    return dtype == HONE_F32 ? ((const float *)p)[i] : hone_bf16_to_f32(((const hone_bf16 *)p)[i]);
}

/* Rows [i, i+m) of c and `vecs` vectors of columns from j on, the only one cut to `cut` columns where that is not 0. */
VEC_INLINE void tile(const hone_thin_outer *a, hone_dtype dtype, int m, int vecs, size_t i,
                     size_t j, size_t cut) {
    vec_f acc[TILE_ROWS][WIDE];
#pragma GCC unroll 16
    for (int k = 0; k < m; k++) {
#pragma GCC unroll 16
        for (int v = 0; v < vecs; v++) acc[k][v] = vec_zero();
    }
    for (size_t r = 0; r < a->rows; r++) {
        const void *wide = vec_at(a->wide, dtype, r * a->ld_wide + j);
        const void *thin = vec_at(a->thin, dtype, r * a->ld_thin + i);
        vec_f w[WIDE];
#pragma GCC unroll 16
        for (int v = 0; v < vecs; v++)
            w[v] = cut > 0 ? vec_load_as_n(wide, dtype, 0, cut)
                           : vec_load_as(wide, dtype, (size_t)v * VEC_WIDTH);
#pragma GCC unroll 16
        for (int k = 0; k < m; k++) {
            vec_f t = vec_set1(element(thin, dtype, (size_t)k));
#pragma GCC unroll 16
            for (int v = 0; v < vecs; v++) acc[k][v] = vec_fma(t, w[v], acc[k][v]);
        }
    }
#pragma GCC unroll 16
    for (int k = 0; k < m; k++) {
        float *c = a->c + (i + (size_t)k) * a->ldc + j;
#pragma GCC unroll 16
        for (int v = 0; v < vecs; v++) {
            if (cut > 0)
                vec_store_n(c, acc[k][v], cut);
            else
                vec_store(c + (size_t)v * VEC_WIDTH, acc[k][v]);
        }
    }
}

VEC_INLINE void columns(const hone_thin_outer *a, hone_dtype dtype, int vecs, size_t j,
                        size_t cut) {
    size_t i = 0;
    for (; i + TILE_ROWS <= a->m; i += TILE_ROWS) tile(a, dtype, TILE_ROWS, vecs, i, j, cut);
    for (; i < a->m; i++) tile(a, dtype, 1, vecs, i, j, cut);
}

VEC_INLINE void thin_outer(const hone_thin_outer *a, hone_dtype dtype) {
    enum { WIDTH = TILE_VECS * VEC_WIDTH };
    size_t j = a->begin;
    for (; a->m == 1 && j + WIDE * VEC_WIDTH <= a->end; j += WIDE * VEC_WIDTH)
        tile(a, dtype, 1, WIDE, 0, j, 0);
    for (; j + WIDTH <= a->end; j += WIDTH) columns(a, dtype, TILE_VECS, j, 0);
    for (; j + VEC_WIDTH <= a->end; j += VEC_WIDTH) columns(a, dtype, 1, j, 0);
    if (j < a->end) columns(a, dtype, 1, j, a->end - j);
}

void HONE_VEC_NAME(thin_outer)(const hone_thin_outer *a) {
    if (a->dtype == HONE_F32)
        thin_outer(a, HONE_F32);
    else
        thin_outer(a, HONE_BF16);
}
