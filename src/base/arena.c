/* base/arena: one reservation, two stacks. */
#define _GNU_SOURCE 1
#include "base/arena.h"

#include "base/size.h"

#include <sys/mman.h>

enum { ALIGN = 64 };

hone_status hone_arena_open(hone_arena *arena, size_t capacity, bool huge, hone_error *err) {
    *arena = (hone_arena){0};
    size_t bytes;
    /* Whole huge pages when asked for: a part of one at the end could not be one. */
    if (!hone_size_align(HONE_MAX(capacity, 1), huge ? HONE_HUGE_PAGE : 4096, &bytes)) {
        return hone_fail_memory(err, "the working memory", capacity);
    }
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return hone_fail_memory(err, "the working memory", bytes);
    if (huge) (void)madvise(base, bytes, MADV_HUGEPAGE); /* a hint: without it, ordinary pages */
    arena->base = base;
    arena->capacity = bytes;
    return HONE_OK;
}

void hone_arena_close(hone_arena *arena) {
    if (arena->base != NULL) munmap(arena->base, arena->capacity);
    *arena = (hone_arena){0};
}

hone_arena hone_arena_plan(void) {
    return (hone_arena){.capacity = SIZE_MAX & ~(size_t)(ALIGN - 1)};
}

/* Adds the padded request to *stack when it fits beside the other stack. */
static bool take(hone_arena *arena, size_t *stack, size_t bytes) {
    size_t padded, total;
    if (!hone_size_align(bytes, ALIGN, &padded) ||
        !hone_size_add(arena->saved + arena->scratch, padded, &total) || total > arena->capacity) {
        arena->overflow = true;
        return false;
    }
    *stack += padded;
    if (total > arena->peak) {
        arena->peak = total;
        arena->at_peak = hone_arena_get_mark(arena);
    }
    return true;
}

/* Addresses of a plan are never touched; they are not NULL, so that plan and run branch alike. */
static void *address(const hone_arena *arena, size_t offset) {
    if (arena->base == NULL) return (void *)(uintptr_t)(offset + ALIGN);
    return arena->base + offset;
}

void *hone_arena_save(hone_arena *arena, size_t bytes) {
    size_t offset = arena->saved;
    return address(arena, take(arena, &arena->saved, bytes) ? offset : 0);
}

void *hone_arena_scratch(hone_arena *arena, size_t bytes) {
    bool fits = take(arena, &arena->scratch, bytes);
    return address(arena, fits ? arena->capacity - arena->scratch : 0);
}

hone_status hone_arena_check(const hone_arena *arena, hone_error *err) {
    if (!arena->overflow) return HONE_OK;
    return hone_fail(
        err, HONE_ERR_INTERNAL,
        "the working memory of %zu bytes was planned too small (peak %zu); please report this",
        arena->capacity, arena->peak);
}
