/* text/vocab: token texts by id and ids by text; also the growable list of ids that encoding
 * fills. */
#ifndef HONE_TEXT_VOCAB_H
#define HONE_TEXT_VOCAB_H

#include "text/region.h"

typedef struct hone_token {
    const char *text;  /* NUL-terminated, in the tokenizer's region; NULL: no token has this id */
    const char *shown; /* what decoding puts in its place; differs for some added tokens */
    uint32_t size, shown_size; /* bytes, may include NUL */
    bool added;                /* found in the text before anything else (hone_added) */
    bool special;              /* left out by decoding when asked */
    bool outside;              /* not in the model's vocabulary: BPE never makes it */
} hone_token;

/* Invariant: tokens[i].text != NULL implies the table finds i, or an id of the same text set
 * later. */
typedef struct hone_vocab {
    hone_token *tokens; /* [count], region-owned */
    int32_t count;      /* ids are 0 .. count-1 */
    int32_t *slots;     /* [slot_mask + 1] ids, -1 when empty; at most half full */
    size_t slot_mask;
    uint64_t seed;    /* of the hash: what collides is not known outside */
    uint32_t longest; /* bytes of the longest token */
} hone_vocab;

/* Makes room for ids 0 .. count-1. */
hone_status hone_vocab_init(hone_vocab *vocab, hone_region *region, size_t count, hone_error *err);

/* Sets the text of an id in range, which must not have one yet; HONE_ERR_FORMAT when another id
 * has that text. */
hone_status hone_vocab_set(hone_vocab *vocab, hone_region *region, int32_t id, const char *text,
                           size_t size, hone_error *err);

/* -1 when there is no such token. */
int32_t hone_vocab_find(const hone_vocab *vocab, const char *text, size_t size);

/* The same among the tokens that BPE may make. */
int32_t hone_vocab_find_inside(const hone_vocab *vocab, const char *text, size_t size);

/* 64-bit hash of bytes, and of a number. */
uint64_t hone_hash_bytes(uint64_t seed, const char *data, size_t size);
uint64_t hone_hash_u64(uint64_t seed, uint64_t value);

/* Token ids; grows. Free `data`. */
typedef struct hone_ids {
    int32_t *data;
    size_t count, capacity;
} hone_ids;

hone_status hone_ids_push(hone_ids *ids, int32_t id, hone_error *err);

#endif
