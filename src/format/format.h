/* format/format: model files as named tensors plus metadata. One table of kinds: probe, open, close.
 *
 * A hone_file_set is one GGUF file, one .safetensors file, or a folder with model.safetensors or with
 * model.safetensors.index.json and its shards. Tensors stay where the mapping has them: nothing is
 * copied or converted. All sizes have been checked against the file: `data` of `bytes` bytes may be
 * read, and rows x cols elements of `dtype` fit it exactly.
 */
#ifndef HONE_FORMAT_FORMAT_H
#define HONE_FORMAT_FORMAT_H

#include "base/dtype.h"
#include "base/file.h"
#include "base/json.h"

#define HONE_MAX_DIMS 4

typedef struct hone_tensor {
    const char *name; /* as in the file; owned by the set */
    hone_dtype dtype; /* HONE_AFFINE4 never appears here: MLX's codes are `uint32` below */
    bool is_uint32;   /* MLX codes: dtype is HONE_F32 for size's sake, values are words */
    int dims;         /* 0 .. HONE_MAX_DIMS */
    size_t shape[HONE_MAX_DIMS]; /* slowest axis first, as in NumPy (GGUF's order reversed) */
    const void *data; /* in the mapping; aligned to the dtype's element only as the file has it */
    size_t bytes;
    int file;      /* index of the mapping, for hone_file_map_drop */
    size_t offset; /* bytes from the start of that file, for messages */
} hone_tensor;

typedef enum hone_format_kind { HONE_FORMAT_GGUF, HONE_FORMAT_SAFETENSORS } hone_format_kind;

typedef struct hone_gguf_meta hone_gguf_meta; /* GGUF metadata; see format/gguf.h */

typedef struct hone_file_set {
    hone_format_kind kind;
    char *path;           /* as given; owned */
    hone_file_map *files; /* [file_count] */
    size_t file_count;
    hone_tensor *tensors; /* [tensor_count], sorted by name */
    size_t tensor_count;
    char *names;          /* owned: what the tensors' names point into */
    hone_gguf_meta *gguf; /* NULL unless kind is HONE_FORMAT_GGUF */
} hone_file_set;

/* Opens a model path: a .gguf file, a .safetensors file or a Hugging Face folder. Recognised by content, not by
 * name. Errors name the file, the byte or key, what was expected. *out is owned by the caller. */
hone_status hone_file_set_open(const char *path, hone_file_set **out, hone_error *err);
void hone_file_set_free(hone_file_set **set);

/* Binary search; NULL when there is no such tensor. */
const hone_tensor *hone_file_set_find(const hone_file_set *set, const char *name);

/* hone_file_map_drop for `bytes` at `data`, where they lie in one of the files; else nothing. */
void hone_file_set_drop(const hone_file_set *set, const void *data, size_t bytes);

#endif
