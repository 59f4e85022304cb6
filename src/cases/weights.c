/* cases/weights: random contents of tensors of every type and their values in float64, decoded here and not by the
 * kernels under test. Layer cases. */
#include "cases/internal.h"

enum { BLOCK = 32 };

double hone_case_normal(hone_rng *rng) {
    uint64_t bits = hone_rng_next(rng);
    uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    return ((double)sum - 131070) * (1.7320508075688772 / 65536);
}

/* Groups of AFFINE4 in a tensor. */
static size_t group_count(const hone_case_tensor *t) {
    return t->rows * (t->cols / (size_t)t->group);
}

bool hone_case_tensor_bytes(const hone_case_tensor *t, size_t *bytes) {
    size_t row = 0, extra = 0;
    if (t->dtype == HONE_CASE_INTEGERS) {
        if (!hone_size_mul(t->cols, sizeof(int32_t), &row)) return false;
    } else if (!hone_dtype_row_bytes(t->dtype, t->cols, &row)) {
        return false;
    }
    if (t->dtype == HONE_AFFINE4) {
        if (t->group <= 0 || t->cols % (size_t)t->group != 0) return false;
        extra = group_count(t) * 2 * sizeof(float);
    }
    return hone_size_mul(t->rows, row, bytes) && hone_size_add(*bytes, extra, bytes);
}

hone_matrix hone_case_matrix(const hone_case_tensor *t) {
    hone_matrix w = {.data = t->data, .rows = t->rows, .cols = t->cols, .dtype = t->dtype};
    hone_dtype_row_bytes(t->dtype, t->cols, &w.row_bytes);
    if (t->dtype == HONE_AFFINE4) {
        const char *scales = (const char *)t->data + t->rows * w.row_bytes;
        w.scales = scales;
        w.biases = scales + group_count(t) * sizeof(float);
        w.affine_dtype = HONE_F32;
        w.group = t->group;
    }
    return w;
}

/* Standard deviations of uniform codes 0..15 and -128..127. */
#define DEVIATION_4 4.61
#define DEVIATION_8 73.9

double hone_case_step(const hone_case_tensor *t, double uniform) {
    return t->scale / (t->dtype == HONE_Q8_0 ? DEVIATION_8 : DEVIATION_4) * (0.75 + 0.5 * uniform);
}

static void fill_blocks(const hone_case_tensor *t, hone_rng *rng) {
    size_t codes = t->dtype == HONE_Q8_0 ? BLOCK : BLOCK / 2;
    uint8_t *p = t->data;
    for (size_t b = 0; b < t->rows * (t->cols / BLOCK); b++) {
        double d = hone_case_step(t, hone_rng_uniform(rng));
        hone_f16 header[2] = {hone_f32_to_f16((float)d), hone_f32_to_f16((float)(-7.5 * d))};
        size_t header_bytes = t->dtype == HONE_Q4_1 ? 4 : 2;
        memcpy(p, header, header_bytes);
        p += header_bytes;
        for (size_t i = 0; i < codes; i += 8, p += 8) {
            uint64_t bits = hone_rng_next(rng);
            memcpy(p, &bits, 8);
        }
    }
}

static void fill_affine(const hone_case_tensor *t, hone_rng *rng) {
    hone_matrix w = hone_case_matrix(t);
    size_t bytes = t->rows * w.row_bytes, groups = group_count(t);
    char *p = t->data;
    for (size_t i = 0; i < bytes; i += 4) {
        uint32_t bits = (uint32_t)(hone_rng_next(rng) >> 32);
        memcpy(p + i, &bits, 4);
    }
    for (size_t i = 0; i < groups; i++) {
        float d = (float)hone_case_step(t, hone_rng_uniform(rng)), m = -7.5f * d;
        memcpy(p + bytes + i * 4, &d, 4);
        memcpy(p + bytes + (groups + i) * 4, &m, 4);
    }
}

void hone_case_fill(const hone_case_tensor *t, hone_rng *rng) {
    size_t count = t->rows * t->cols;
    if (t->scale == 0) {
        memset(t->data, 0, t->bytes);
    } else if (t->dtype == HONE_AFFINE4) {
        fill_affine(t, rng);
    } else if (hone_dtype_block(t->dtype) == BLOCK) {
        fill_blocks(t, rng);
    } else if (t->dtype == HONE_F32) {
        float *p = t->data;
        for (size_t i = 0; i < count; i++) p[i] = (float)(hone_case_normal(rng) * t->scale);
    } else {
        uint16_t *p = t->data;
        for (size_t i = 0; i < count; i++) {
            float f = (float)(hone_case_normal(rng) * t->scale);
            p[i] = t->dtype == HONE_BF16 ? hone_f32_to_bf16(f) : hone_f32_to_f16(f);
        }
    }
}

static double half(const uint8_t *p) {
    hone_f16 h;
    memcpy(&h, p, sizeof h);
    return hone_f16_to_f32(h);
}

static void decode_block(hone_dtype dtype, const uint8_t *p, double *values) {
    double d = half(p), m = dtype == HONE_Q4_1 ? half(p + 2) : 0;
    p += dtype == HONE_Q4_1 ? 4 : 2;
    for (size_t i = 0; i < BLOCK; i++) {
        int code = dtype == HONE_Q8_0 ? (int8_t)p[i] : i < 16 ? p[i] & 15 : p[i - 16] >> 4;
        if (dtype == HONE_Q4_0) code -= 8;
        values[i] = d * code + m;
    }
}

static void decode_affine(const hone_case_tensor *t, const void *data, double *values) {
    const uint8_t *codes = data;
    size_t count = t->rows * t->cols, groups = group_count(t), bytes = count / 2;
    for (size_t i = 0; i < count; i++) {
        float d, m;
        size_t g = i / (size_t)t->group;
        memcpy(&d, codes + bytes + g * 4, 4);
        memcpy(&m, codes + bytes + (groups + g) * 4, 4);
        values[i] = (double)d * (codes[i / 2] >> i % 2 * 4 & 15) + (double)m;
    }
}

void hone_case_decode(const hone_case_tensor *t, const void *data, double *values) {
    size_t count = t->rows * t->cols, block = hone_dtype_block(t->dtype);
    if (t->dtype == HONE_AFFINE4) {
        decode_affine(t, data, values);
    } else if (block == BLOCK) {
        size_t bytes = hone_dtype_block_bytes(t->dtype);
        for (size_t b = 0; b < count / BLOCK; b++) {
            decode_block(t->dtype, (const uint8_t *)data + b * bytes, values + b * BLOCK);
        }
    } else if (t->dtype == HONE_F32) {
        for (size_t i = 0; i < count; i++) values[i] = (double)((const float *)data)[i];
    } else {
        const uint16_t *p = data;
        for (size_t i = 0; i < count; i++) {
            values[i] =
                (double)(t->dtype == HONE_BF16 ? hone_bf16_to_f32(p[i]) : hone_f16_to_f32(p[i]));
        }
    }
}
