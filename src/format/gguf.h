/* format/gguf: GGUF 2 and 3, little-endian (source: the GGUF specification of the ggml project).
 * Reads F32, F16, BF16, Q4_0, Q4_1, Q8_0; other tensor types are HONE_ERR_UNSUPPORTED by name. */
#ifndef HONE_FORMAT_GGUF_H
#define HONE_FORMAT_GGUF_H

#include "format/format.h"

/* Metadata look-ups by key. Absent keys give HONE_OK and the fallback; another type than asked is
 * HONE_ERR_FORMAT. Any integer type serves where its value fits [low, high]. */
hone_status hone_gguf_get_int(const hone_file_set *set, const char *key, int64_t low, int64_t high,
                              int64_t fallback, int64_t *out, hone_error *err);
hone_status hone_gguf_get_float(const hone_file_set *set, const char *key, double fallback,
                                double *out, hone_error *err);
hone_status hone_gguf_get_bool(const hone_file_set *set, const char *key, bool fallback, bool *out,
                               hone_error *err);

/* Bytes with a length: GGUF strings may hold NUL and bad UTF-8. Borrowed from the mapping; data NULL
 * when absent. */
typedef struct hone_str {
    const char *data;
    size_t size;
} hone_str;
hone_status hone_gguf_get_string(const hone_file_set *set, const char *key, hone_str *out,
                                 hone_error *err);

/* Arrays of strings, of integers (any integer type) and of float32. *out is malloc'ed, the caller
 * frees; *count 0 and *out NULL when the key is absent. */
hone_status hone_gguf_get_strings(const hone_file_set *set, const char *key, hone_str **out,
                                  size_t *count, hone_error *err);
hone_status hone_gguf_get_ints(const hone_file_set *set, const char *key, int64_t low, int64_t high,
                               int32_t **out, size_t *count, hone_error *err);
hone_status hone_gguf_get_floats(const hone_file_set *set, const char *key, float **out,
                                 size_t *count, hone_error *err);

#endif
