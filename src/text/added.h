/* text/added: tokens that are found in the text as they are, before normalizing ("raw") or after
 * ("normalized"): the leftmost, and of those the longest, match wins. */
#ifndef HONE_TEXT_ADDED_H
#define HONE_TEXT_ADDED_H

#include "text/vocab.h"

#define HONE_ADDED_MAX_BYTES 512 /* of one token; bounds the time a text can take */

typedef struct hone_added_token {
    int32_t id;
    bool lstrip, rstrip; /* takes the white space on that side along */
    bool single_word;    /* only when no word character adjoins */
} hone_added_token;

/* A byte trie. Node 0 is the root; children are a linked list. */
typedef struct hone_trie {
    struct hone_trie_node *nodes;
    size_t count, capacity;
    int32_t roots[256]; /* node of each first byte, -1 */
} hone_trie;

typedef struct hone_added {
    hone_added_token *tokens;
    size_t count, capacity;
    hone_trie raw, normalized;
} hone_added;

void hone_added_init(hone_added *added);
void hone_added_free(hone_added *added);

/* `text` is what is looked for (1 to HONE_ADDED_MAX_BYTES bytes; a text given again is ignored). */
hone_status hone_added_insert(hone_added *added, hone_added_token token, const char *text,
                              size_t size, bool normalized, hone_error *err);

/* The next token of well-formed text, NULL when there is none. *begin and *end are its range with
 * the white space it takes along. Both cursors start at 0: *seek is where the search goes on, *at
 * the end of the last token; as in the tokenizers library a token may lie in the white space that
 * the one before it took, so *begin may be less than *at was. */
const hone_added_token *hone_added_next(const hone_added *added, bool normalized, const char *text,
                                        size_t size, size_t *at, size_t *seek, size_t *begin,
                                        size_t *end);

#endif
