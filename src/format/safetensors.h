/* format/safetensors: writing (reading goes through format/format.h). Source: the safetensors README. */
#ifndef HONE_FORMAT_SAFETENSORS_H
#define HONE_FORMAT_SAFETENSORS_H

#include "format/format.h"

/* One tensor to write; dtype F32, F16 or BF16. `data` holds the product of `shape` elements, row-major. */
typedef struct hone_tensor_out {
    const char *name;
    hone_dtype dtype;
    int dims;
    size_t shape[HONE_MAX_DIMS];
    const void *data;
} hone_tensor_out;

/* Writes atomically. `metadata` (string to string, JSON object, may be NULL) becomes __metadata__. */
hone_status hone_safetensors_write(const char *path, const hone_tensor_out *tensors, size_t count,
                                   const json_t *metadata, hone_error *err);

#endif
