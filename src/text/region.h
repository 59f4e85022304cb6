/* text/region: memory that is given back all at once. A chain of blocks with a cap, for parsed
 * templates, the values of one rendering and the strings of a tokenizer. Not to be confused with
 * base/arena, which plans. */
#ifndef HONE_TEXT_REGION_H
#define HONE_TEXT_REGION_H

#include "base/status.h"

typedef struct hone_region_block hone_region_block;

typedef struct hone_region {
    hone_region_block *head; /* the block being filled; older ones follow */
    size_t used;             /* bytes given out */
    size_t limit;            /* `used` may not exceed this */
    const char *owner;       /* for messages: "chat template", "tokenizer" */
    const char *tail;        /* one past the last byte asked for in head, for hone_region_extend */
} hone_region;

hone_region hone_region_make(const char *owner, size_t limit);
void hone_region_free(hone_region *region);

/* `bytes` zero bytes, aligned for any type. NULL on failure with *err filled (HONE_ERR_LIMIT,
 * HONE_ERR_MEMORY); here, unlike elsewhere, err must not be NULL. */
void *hone_region_alloc(hone_region *region, size_t bytes, hone_error *err);

/* The same for an array; the product is checked. */
void *hone_region_array(hone_region *region, size_t count, size_t size, hone_error *err);

/* A NUL-terminated copy of `size` bytes. */
char *hone_region_copy(hone_region *region, const char *text, size_t size, hone_error *err);

/* Grows the memory that ends at `end` by `extra` bytes in place, when it was the last given out
 * and there is room. Makes repeated appending linear. */
bool hone_region_extend(hone_region *region, const char *end, size_t extra);

#endif
