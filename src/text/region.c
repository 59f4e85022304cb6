/* text/region: see region.h. */
#include "text/region.h"
#include "base/size.h"
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES (64u * 1024u)
#define ALIGN 16u

struct hone_region_block {
    hone_region_block *next;
    size_t fill, capacity; /* bytes of data */
    _Alignas(ALIGN) char data[];
};

hone_region hone_region_make(const char *owner, size_t limit) {
    return (hone_region){.head = NULL, .used = 0, .limit = limit, .owner = owner};
}

void hone_region_free(hone_region *region) {
    hone_region_block *block = region->head;
    while (block != NULL) {
        hone_region_block *next = block->next;
        free(block);
        block = next;
    }
    region->head = NULL;
    region->used = 0;
}

/* Large requests get a block of their own behind the head, so that the head's rest is not lost. */
static hone_region_block *add_block(hone_region *region, size_t bytes, hone_error *err) {
    bool own = bytes > BLOCK_BYTES / 4;
    size_t capacity = own ? bytes : BLOCK_BYTES;
    size_t total;
    hone_region_block *block = NULL;
    if (hone_size_add(sizeof *block, capacity, &total)) block = calloc(1, total);
    if (block == NULL) {
        hone_fail_memory(err, region->owner, capacity);
        return NULL;
    }
    block->capacity = capacity;
    if (own && region->head != NULL) {
        block->next = region->head->next;
        region->head->next = block;
    } else {
        block->next = region->head;
        region->head = block;
    }
    return block;
}

void *hone_region_alloc(hone_region *region, size_t bytes, hone_error *err) {
    size_t rounded;
    size_t wanted = bytes == 0 ? 1 : bytes;
    if (!hone_size_align(wanted, ALIGN, &rounded) || rounded > region->limit - region->used) {
        hone_fail(err, HONE_ERR_LIMIT, "%s: needs more than %zu bytes of memory, the limit for it",
                  region->owner, region->limit);
        return NULL;
    }
    hone_region_block *block = region->head;
    if (block == NULL || block->capacity - block->fill < rounded) {
        block = add_block(region, rounded, err);
        if (block == NULL) return NULL;
    }
    char *data = block->data + block->fill;
    if (block == region->head) region->tail = data + bytes;
    block->fill += rounded;
    region->used += rounded;
    return data;
}

void *hone_region_array(hone_region *region, size_t count, size_t size, hone_error *err) {
    size_t bytes;
    if (!hone_size_mul(count, size, &bytes)) bytes = SIZE_MAX;
    return hone_region_alloc(region, bytes, err);
}

char *hone_region_copy(hone_region *region, const char *text, size_t size, hone_error *err) {
    size_t bytes;
    if (!hone_size_add(size, 1, &bytes)) bytes = SIZE_MAX;
    char *copy = hone_region_alloc(region, bytes, err);
    if (copy != NULL && size > 0) memcpy(copy, text, size);
    return copy;
}

bool hone_region_extend(hone_region *region, const char *end, size_t extra) {
    hone_region_block *block = region->head;
    if (block == NULL || end != region->tail) return false;
    size_t fill;
    if (!hone_size_add((size_t)(end - block->data), extra, &fill) ||
        !hone_size_align(fill, ALIGN, &fill))
        return false;
    if (fill > block->capacity) return false;
    size_t grown = fill > block->fill ? fill - block->fill : 0;
    if (grown > region->limit - region->used) return false;
    block->fill += grown;
    region->used += grown;
    region->tail = end + extra;
    return true;
}
