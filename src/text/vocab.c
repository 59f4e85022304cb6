/* text/vocab: see vocab.h. */
#include "text/vocab.h"
#include "base/size.h"
#include <stdlib.h>
#include <string.h>

/* Folds a 128-bit product: mixes every bit of both factors. */
static uint64_t mix(uint64_t a, uint64_t b) {
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t hone_hash_u64(uint64_t seed, uint64_t value) {
    return mix(value ^ 0x9e3779b97f4a7c15u ^ seed, 0xd6e8feb86659fd93u);
}

uint64_t hone_hash_bytes(uint64_t seed, const char *data, size_t size) {
    uint64_t hash = seed ^ size;
    while (size > 0) {
        uint64_t word = 0;
        size_t step = size < 8 ? size : 8;
        memcpy(&word, data, step);
        hash = mix(hash ^ word ^ 0x9e3779b97f4a7c15u, 0xd6e8feb86659fd93u);
        data += step;
        size -= step;
    }
    return mix(hash, 0xa0761d6478bd642fu);
}

hone_status hone_vocab_init(hone_vocab *vocab, hone_region *region, size_t count, hone_error *err) {
    size_t slots = 16;
    while (slots < 2 * count) slots *= 2;
    vocab->tokens = hone_region_array(region, count, sizeof *vocab->tokens, err);
    if (vocab->tokens == NULL) return err->status;
    vocab->slots = hone_region_array(region, slots, sizeof *vocab->slots, err);
    if (vocab->slots == NULL) return err->status;
    memset(vocab->slots, 0xff, slots * sizeof *vocab->slots);
    vocab->slot_mask = slots - 1;
    vocab->count = (int32_t)count;
    vocab->seed =
        hone_hash_u64((uint64_t)(uintptr_t)vocab->tokens, (uint64_t)(uintptr_t)&hone_vocab_init);
    return HONE_OK;
}

/* The slot that holds the text, or the empty one where it belongs. */
static size_t find_slot(const hone_vocab *vocab, const char *text, size_t size) {
    size_t slot = hone_hash_bytes(vocab->seed, text, size) & vocab->slot_mask;
    for (; vocab->slots[slot] >= 0; slot = (slot + 1) & vocab->slot_mask) {
        const hone_token *token = &vocab->tokens[vocab->slots[slot]];
        if (token->size == size && memcmp(token->text, text, size) == 0) break;
    }
    return slot;
}

hone_status hone_vocab_set(hone_vocab *vocab, hone_region *region, int32_t id, const char *text,
                           size_t size, hone_error *err) {
    hone_token *token = &vocab->tokens[id];
    if (size > UINT32_MAX)
        return hone_fail(err, HONE_ERR_LIMIT, "token %d is too long (%zu bytes)", (int)id, size);
    if (token->text != NULL) {
        return hone_fail(err, HONE_ERR_FORMAT,
                         "the tokens \"%.64s\" and \"%.64s\" have the same id %d", token->text,
                         text, (int)id);
    }
    size_t slot = find_slot(vocab, text, size);
    if (vocab->slots[slot] >= 0) {
        return hone_fail(err, HONE_ERR_FORMAT, "the ids %d and %d have the same token \"%.64s\"",
                         (int)vocab->slots[slot], (int)id, vocab->tokens[vocab->slots[slot]].text);
    }
    token->text = hone_region_copy(region, text, size, err);
    if (token->text == NULL) return err->status;
    token->shown = token->text;
    token->size = token->shown_size = (uint32_t)size;
    vocab->slots[slot] = id;
    vocab->longest = HONE_MAX(vocab->longest, token->size);
    return HONE_OK;
}

int32_t hone_vocab_find(const hone_vocab *vocab, const char *text, size_t size) {
    if (size > vocab->longest) return -1;
    return vocab->slots[find_slot(vocab, text, size)];
}

int32_t hone_vocab_find_inside(const hone_vocab *vocab, const char *text, size_t size) {
    int32_t id = hone_vocab_find(vocab, text, size);
    return id >= 0 && vocab->tokens[id].outside ? -1 : id;
}

hone_status hone_ids_push(hone_ids *ids, int32_t id, hone_error *err) {
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity == 0 ? 64 : ids->capacity * 2;
        int32_t *data = NULL;
        size_t bytes = SIZE_MAX;
        if (hone_size_mul(capacity, sizeof *data, &bytes)) data = realloc(ids->data, bytes);
        if (data == NULL) return hone_fail_memory(err, "token ids", bytes);
        ids->data = data;
        ids->capacity = capacity;
    }
    ids->data[ids->count++] = id;
    return HONE_OK;
}
