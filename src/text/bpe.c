/* text/bpe: see bpe.h. Symbols form a linked list; a heap holds the joins that are possible now. A
 * join in the heap that no longer fits its symbols is noticed when it comes up and dropped. */
#include "text/bpe.h"
#include "base/size.h"
#include "text/unicode.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct hone_symbol {
    size_t begin;
    uint32_t size;      /* bytes; 0: joined to its left neighbour */
    int32_t id;         /* -1: no such token (only with scores) */
    int32_t prev, next; /* -1 at the ends */
} hone_symbol;

typedef struct hone_candidate {
    int32_t rank, position, joined;
} hone_candidate;

static void init_lookups(hone_bpe *bpe, const hone_vocab *vocab) {
    bpe->vocab = vocab;
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        bpe->byte_ids[byte] = hone_vocab_find_inside(vocab, name, 6);
    }
    for (int32_t cp = 0; cp < 0x800; cp++) {
        char text[4];
        bpe->two_byte_ids[cp] = hone_vocab_find_inside(vocab, text, hone_utf8_encode(cp, text));
    }
}

hone_status hone_bpe_init_merges(hone_bpe *bpe, const hone_vocab *vocab, hone_region *region,
                                 size_t count, hone_error *err) {
    init_lookups(bpe, vocab);
    size_t slots = 16;
    while (slots < 2 * count) slots *= 2;
    bpe->merges = hone_region_array(region, slots, sizeof *bpe->merges, err);
    if (bpe->merges == NULL) return err->status;
    for (size_t i = 0; i < slots; i++) bpe->merges[i].joined = -1;
    bpe->merge_mask = slots - 1;
    return HONE_OK;
}

typedef struct scored {
    float score;
    int32_t id;
} scored;

static int by_score(const void *a, const void *b) {
    const scored *x = a, *y = b;
    return (x->score < y->score) - (x->score > y->score);
}

hone_status hone_bpe_init_scores(hone_bpe *bpe, const hone_vocab *vocab, hone_region *region,
                                 const float *scores, hone_error *err) {
    init_lookups(bpe, vocab);
    size_t count = (size_t)vocab->count;
    bpe->score_rank = hone_region_array(region, count, sizeof *bpe->score_rank, err);
    if (bpe->score_rank == NULL) return err->status;
    scored *order = calloc(count + 1, sizeof *order);
    if (order == NULL) return hone_fail_memory(err, "token scores", count * sizeof *order);
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        bpe->score_rank[i] = -1;
        if (!isnan(scores[i])) order[used++] = (scored){scores[i], (int32_t)i};
    }
    qsort(order, used, sizeof *order, by_score);
    int32_t rank = 0; /* equal scores share a rank: the leftmost pair goes first among them */
    for (size_t i = 0; i < used; i++) {
        if (i > 0 && order[i].score < order[i - 1].score) rank++;
        bpe->score_rank[order[i].id] = rank;
    }
    free(order);
    return HONE_OK;
}

static uint64_t pair_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The slot of the pair, or the empty one where it belongs. */
static hone_merge *find_merge(const hone_bpe *bpe, uint64_t pair) {
    size_t slot = hone_hash_u64(bpe->vocab->seed, pair) & bpe->merge_mask;
    while (bpe->merges[slot].joined >= 0 && bpe->merges[slot].pair != pair)
        slot = (slot + 1) & bpe->merge_mask;
    return &bpe->merges[slot];
}

static hone_status find_named(const hone_bpe *bpe, int32_t rank, const char *text, size_t size,
                              int32_t *id, hone_error *err) {
    *id = hone_vocab_find_inside(bpe->vocab, text, size);
    if (*id >= 0) return HONE_OK;
    return hone_fail(err, HONE_ERR_FORMAT,
                     "merge %d needs the token \"%.*s\", which is not in the vocabulary", (int)rank,
                     (int)HONE_MIN(size, (size_t)64), text);
}

hone_status hone_bpe_add_merge(hone_bpe *bpe, int32_t rank, const char *left, size_t left_size,
                               const char *right, size_t right_size, hone_error *err) {
    int32_t left_id, right_id, joined_id;
    HONE_TRY(find_named(bpe, rank, left, left_size, &left_id, err));
    HONE_TRY(find_named(bpe, rank, right, right_size, &right_id, err));
    size_t size = left_size + right_size; /* both are tokens, so at most 2^33 */
    char local[256];
    char *text = size <= sizeof local ? local : malloc(size);
    if (text == NULL) return hone_fail_memory(err, "a merge", size);
    memcpy(text, left, left_size);
    memcpy(text + left_size, right, right_size);
    hone_status status = find_named(bpe, rank, text, size, &joined_id, err);
    if (text != local) free(text);
    if (status != HONE_OK) return status;
    hone_merge *merge = find_merge(bpe, pair_of(left_id, right_id));
    *merge = (hone_merge){.pair = pair_of(left_id, right_id), .rank = rank, .joined = joined_id};
    return HONE_OK;
}

void hone_bpe_work_free(hone_bpe_work *work) {
    free(work->symbols);
    free(work->heap);
    *work = (hone_bpe_work){0};
}

static bool before(const hone_candidate *a, const hone_candidate *b) {
    return a->rank < b->rank || (a->rank == b->rank && a->position < b->position);
}

static hone_status heap_push(hone_bpe_work *work, hone_candidate item, hone_error *err) {
    if (work->heap_count == work->heap_capacity) {
        size_t capacity = work->heap_capacity == 0 ? 64 : 2 * work->heap_capacity;
        hone_candidate *heap = realloc(work->heap, capacity * sizeof *heap);
        if (heap == NULL) return hone_fail_memory(err, "tokenizing", capacity * sizeof *heap);
        work->heap = heap;
        work->heap_capacity = capacity;
    }
    size_t at = work->heap_count++;
    while (at > 0 && before(&item, &work->heap[(at - 1) / 2])) {
        work->heap[at] = work->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    work->heap[at] = item;
    return HONE_OK;
}

static hone_candidate heap_pop(hone_bpe_work *work) {
    hone_candidate top = work->heap[0];
    hone_candidate last = work->heap[--work->heap_count];
    size_t at = 0;
    for (size_t child = 1; child < work->heap_count; child = 2 * at + 1) {
        if (child + 1 < work->heap_count && before(&work->heap[child + 1], &work->heap[child]))
            child++;
        if (!before(&work->heap[child], &last)) break;
        work->heap[at] = work->heap[child];
        at = child;
    }
    work->heap[at] = last;
    return top;
}

static hone_status add_symbol(hone_bpe_work *work, size_t begin, size_t size, int32_t id,
                              hone_error *err) {
    if (work->symbol_count == work->symbol_capacity) {
        size_t capacity = work->symbol_capacity == 0 ? 64 : 2 * work->symbol_capacity;
        hone_symbol *symbols = realloc(work->symbols, capacity * sizeof *symbols);
        if (symbols == NULL) return hone_fail_memory(err, "tokenizing", capacity * sizeof *symbols);
        work->symbols = symbols;
        work->symbol_capacity = capacity;
    }
    work->symbols[work->symbol_count++] =
        (hone_symbol){.begin = begin, .size = (uint32_t)size, .id = id};
    return HONE_OK;
}

static bool has_byte_tokens(const hone_bpe *bpe, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (bpe->byte_ids[(uint8_t)text[i]] < 0) return false;
    }
    return true;
}

/* One symbol per character. With merges a character without token becomes its bytes' tokens at
 * once, or the unknown token, which waits: as in the tokenizers library it is written before the
 * next known character, after byte tokens that came in between. With scores it stays as it is,
 * since it may still be joined. */
static hone_status split_characters(const hone_bpe *bpe, const char *text, size_t size,
                                    hone_bpe_work *work, hone_error *err) {
    size_t unknown_begin = 0, unknown_size = 0;
    for (size_t at = 0, length; at < size; at += length) {
        int32_t cp;
        length = hone_char_next(text + at, size - at, &cp);
        int32_t id = cp >= 0 && cp < 0x800 ? bpe->two_byte_ids[cp]
                                           : hone_vocab_find_inside(bpe->vocab, text + at, length);
        if (id < 0 && bpe->merges != NULL) {
            if (bpe->byte_fallback && has_byte_tokens(bpe, text + at, length)) {
                for (size_t i = 0; i < length; i++) {
                    HONE_TRY(
                        add_symbol(work, at + i, 1, bpe->byte_ids[(uint8_t)text[at + i]], err));
                }
            } else if (bpe->unknown >= 0) {
                if (unknown_size > 0 && !bpe->fuse_unknown) {
                    HONE_TRY(add_symbol(work, unknown_begin, unknown_size, bpe->unknown, err));
                    unknown_size = 0;
                }
                if (unknown_size == 0) unknown_begin = at;
                unknown_size += length;
            }
            continue;
        }
        if (unknown_size > 0) {
            HONE_TRY(add_symbol(work, unknown_begin, unknown_size, bpe->unknown, err));
            unknown_size = 0;
        }
        HONE_TRY(add_symbol(work, at, length, id, err));
    }
    return unknown_size > 0 ? add_symbol(work, unknown_begin, unknown_size, bpe->unknown, err)
                            : HONE_OK;
}

/* The join of a symbol and its right neighbour; joined is -1 when there is none. */
static hone_candidate find_join(const hone_bpe *bpe, const char *text, const hone_bpe_work *work,
                                int32_t position) {
    const hone_symbol *left = &work->symbols[position];
    hone_candidate item = {.rank = 0, .position = position, .joined = -1};
    if (left->next < 0) return item;
    const hone_symbol *right = &work->symbols[left->next];
    if (bpe->merges != NULL) {
        const hone_merge *merge = find_merge(bpe, pair_of(left->id, right->id));
        item.rank = merge->rank;
        item.joined = merge->joined;
        return item;
    }
    int32_t id =
        hone_vocab_find_inside(bpe->vocab, text + left->begin, (size_t)left->size + right->size);
    if (id >= 0 && bpe->score_rank[id] >= 0) {
        item.rank = bpe->score_rank[id];
        item.joined = id;
    }
    return item;
}

static hone_status push_join(const hone_bpe *bpe, const char *text, hone_bpe_work *work,
                             int32_t position, hone_error *err) {
    if (position < 0) return HONE_OK;
    hone_candidate item = find_join(bpe, text, work, position);
    return item.joined < 0 ? HONE_OK : heap_push(work, item, err);
}

static hone_status join_all(const hone_bpe *bpe, const char *text, hone_bpe_work *work,
                            hone_error *err) {
    int32_t count = (int32_t)work->symbol_count;
    for (int32_t i = 0; i < count; i++) {
        work->symbols[i].prev = i - 1;
        work->symbols[i].next = i + 1 < count ? i + 1 : -1;
    }
    for (int32_t i = 0; i + 1 < count; i++) HONE_TRY(push_join(bpe, text, work, i, err));
    while (work->heap_count > 0) {
        hone_candidate top = heap_pop(work);
        hone_symbol *left = &work->symbols[top.position];
        if (left->size == 0 || find_join(bpe, text, work, top.position).joined != top.joined)
            continue;
        hone_symbol *right = &work->symbols[left->next];
        left->id = top.joined;
        left->size += right->size;
        left->next = right->next;
        right->size = 0;
        if (left->next >= 0) work->symbols[left->next].prev = top.position;
        HONE_TRY(push_join(bpe, text, work, left->prev, err));
        HONE_TRY(push_join(bpe, text, work, top.position, err));
    }
    return HONE_OK;
}

/* What is still no token becomes bytes, or the unknown token for each byte without one. */
static hone_status push_bytes(const hone_bpe *bpe, const char *text, const hone_symbol *symbol,
                              hone_ids *out, hone_error *err) {
    for (size_t i = 0; i < symbol->size; i++) {
        int32_t id = bpe->byte_ids[(uint8_t)text[symbol->begin + i]];
        if (id < 0) id = bpe->unknown;
        if (id >= 0) HONE_TRY(hone_ids_push(out, id, err));
    }
    return HONE_OK;
}

hone_status hone_bpe_encode(const hone_bpe *bpe, const char *text, size_t size, hone_bpe_work *work,
                            hone_ids *out, hone_error *err) {
    if (size > INT32_MAX) {
        return hone_fail(err, HONE_ERR_LIMIT,
                         "a text of %zu bytes is too long to tokenize: the limit is %d bytes", size,
                         INT32_MAX);
    }
    if (bpe->ignore_merges) {
        int32_t id = hone_vocab_find_inside(bpe->vocab, text, size);
        if (id >= 0) return hone_ids_push(out, id, err);
    }
    work->symbol_count = 0;
    work->heap_count = 0;
    HONE_TRY(split_characters(bpe, text, size, work, err));
    if (work->symbol_count == 0) return HONE_OK;
    HONE_TRY(join_all(bpe, text, work, err));
    for (int32_t i = 0; i >= 0; i = work->symbols[i].next) {
        const hone_symbol *symbol = &work->symbols[i];
        if (symbol->id >= 0) {
            HONE_TRY(hone_ids_push(out, symbol->id, err));
        } else {
            HONE_TRY(push_bytes(bpe, text, symbol, out, err));
        }
    }
    return HONE_OK;
}
