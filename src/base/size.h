/* base/size: size arithmetic that cannot wrap. Every size that comes from a file goes through here. */
#ifndef HONE_BASE_SIZE_H
#define HONE_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a huge page where pages have 4 KiB: x86-64, and most of aarch64. */
#define HONE_HUGE_PAGE ((size_t)2 << 20)

/* Each returns false (and leaves *out alone) when the result does not fit a size_t. */
static inline bool hone_size_add(size_t a, size_t b, size_t *out) {
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *out = sum;
    return true;
}

static inline bool hone_size_mul(size_t a, size_t b, size_t *out) {
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}

/* Rounds up to a multiple of `align`, a power of two. */
static inline bool hone_size_align(size_t a, size_t align, size_t *out) {
    size_t sum;
    if (align == 0 || (align & (align - 1)) != 0 || !hone_size_add(a, align - 1, &sum))
        return false;
    *out = sum & ~(align - 1);
    return true;
}

#define HONE_MIN(a, b) ((a) < (b) ? (a) : (b))
#define HONE_MAX(a, b) ((a) > (b) ? (a) : (b))
#define HONE_CEIL_DIV(a, b) ((a) / (b) + ((a) % (b) != 0))

#endif
