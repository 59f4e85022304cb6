/* format/builder: a hone_file_set while its files are being read. Private to the layer.
 *
 * Order of use: the files are mapped, each is loaded (which adds its tensors), then
 * hone_builder_check_layout, then hone_builder_finish. The set is freed by its owner whatever fails.
 */
#ifndef HONE_FORMAT_BUILDER_H
#define HONE_FORMAT_BUILDER_H

#include "format/format.h"

typedef struct hone_builder {
    hone_file_set *set;
    size_t capacity;    /* tensors allocated */
    size_t *data_begin; /* [file_count] first byte that tensors may use; owned */
    hone_buf names;     /* names of the tensors in the order they were added, each with its NUL */
} hone_builder;

/* Maps `count` files named by `paths` into the set. */
hone_status hone_builder_open_files(hone_builder *builder, char *const *paths, size_t count,
                                    hone_error *err);
void hone_builder_free(hone_builder *builder); /* the set stays */

/* `tensor` without its name, which is copied; a name may not hold NUL. */
hone_status hone_builder_add(hone_builder *builder, const char *name, size_t name_size,
                             const hone_tensor *tensor, hone_error *err);

/* Gives the tensors their names and sorts them by place: none may overlap, and those of safetensors
 * must fill their file. */
hone_status hone_builder_check_layout(hone_builder *builder, hone_error *err);

/* Sorts by name; two of one name are an error. */
hone_status hone_builder_finish(hone_builder *builder, hone_error *err);

/* Read file number `file` of the set. */
hone_status hone_gguf_load(hone_builder *builder, int file, hone_error *err);
hone_status hone_safetensors_load(hone_builder *builder, int file, hone_error *err);
void hone_gguf_meta_free(hone_gguf_meta **meta);

/* Opens all files of a Hugging Face folder and loads them. */
hone_status hone_folder_load(hone_builder *builder, const char *directory, hone_error *err);

#endif
