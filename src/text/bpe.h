/* text/bpe: byte-pair encoding of one piece of text, in the two ways that models use: merges given
 * as ranked pairs of tokens (GPT-2, tokenizer.json), or any two neighbours whose joined text is a
 * token, the best score first (SentencePiece as kept in GGUF). O(n log n) in the length of the
 * piece. */
#ifndef HONE_TEXT_BPE_H
#define HONE_TEXT_BPE_H

#include "text/vocab.h"

typedef struct hone_merge {
    uint64_t pair;        /* left id << 32 | right id */
    int32_t rank, joined; /* lower ranks merge first; joined < 0: an empty slot */
} hone_merge;

typedef struct hone_bpe {
    const hone_vocab *vocab;
    hone_merge *merges; /* [merge_mask + 1] open addressing; NULL with scores */
    size_t merge_mask;
    int32_t *score_rank; /* [vocab->count], -1: never joined to; NULL with merges */
    int32_t unknown;     /* -1: a character without token gives none */
    bool fuse_unknown, byte_fallback, ignore_merges;
    int32_t byte_ids[256];       /* of "<0xNN>", -1 where missing */
    int32_t two_byte_ids[0x800]; /* of single characters below U+0800 */
} hone_bpe;

/* The two ways; call one of them when the vocabulary is complete. `count` is how many merges will
 * be added; scores[id] NaN: a token that text is never joined to. */
hone_status hone_bpe_init_merges(hone_bpe *bpe, const hone_vocab *vocab, hone_region *region,
                                 size_t count, hone_error *err);
hone_status hone_bpe_init_scores(hone_bpe *bpe, const hone_vocab *vocab, hone_region *region,
                                 const float *scores, hone_error *err);

/* The pair's rank; a pair given again takes the later rank. HONE_ERR_FORMAT names what is not in
 * the vocabulary. */
hone_status hone_bpe_add_merge(hone_bpe *bpe, int32_t rank, const char *left, size_t left_size,
                               const char *right, size_t right_size, hone_error *err);

/* Memory reused from piece to piece; start from {0}. */
typedef struct hone_bpe_work {
    struct hone_symbol *symbols;
    size_t symbol_count, symbol_capacity;
    struct hone_candidate *heap;
    size_t heap_count, heap_capacity;
} hone_bpe_work;

void hone_bpe_work_free(hone_bpe_work *work);

/* Appends the ids of well-formed UTF-8. */
hone_status hone_bpe_encode(const hone_bpe *bpe, const char *text, size_t size, hone_bpe_work *work,
                            hone_ids *out, hone_error *err);

#endif
