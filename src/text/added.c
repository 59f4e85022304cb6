/* text/added: see added.h. */
#include "text/added.h"
#include "base/size.h"
#include "text/unicode.h"
#include <stdlib.h>
#include <string.h>

typedef struct hone_trie_node {
    int32_t child, sibling; /* -1 when there is none */
    int32_t token;          /* index in hone_added.tokens of what ends here, -1 */
    uint8_t byte;
} hone_trie_node;

void hone_added_init(hone_added *added) {
    *added = (hone_added){0};
    memset(added->raw.roots, 0xff, sizeof added->raw.roots);
    memset(added->normalized.roots, 0xff, sizeof added->normalized.roots);
}

void hone_added_free(hone_added *added) {
    free(added->tokens);
    free(added->raw.nodes);
    free(added->normalized.nodes);
    hone_added_init(added);
}

static int32_t find_sibling(const hone_trie *trie, int32_t node, uint8_t byte) {
    while (node >= 0 && trie->nodes[node].byte != byte) node = trie->nodes[node].sibling;
    return node;
}

static hone_status new_node(hone_trie *trie, uint8_t byte, int32_t sibling, int32_t *out,
                            hone_error *err) {
    if (trie->count == trie->capacity) {
        size_t capacity = trie->capacity == 0 ? 256 : 2 * trie->capacity;
        hone_trie_node *nodes = realloc(trie->nodes, capacity * sizeof *nodes);
        if (nodes == NULL) return hone_fail_memory(err, "added tokens", capacity * sizeof *nodes);
        trie->nodes = nodes;
        trie->capacity = capacity;
    }
    *out = (int32_t)trie->count++;
    trie->nodes[*out] =
        (hone_trie_node){.child = -1, .sibling = sibling, .token = -1, .byte = byte};
    return HONE_OK;
}

static hone_status trie_insert(hone_trie *trie, const char *text, size_t size, int32_t token,
                               hone_error *err) {
    int32_t node = -1;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)text[i];
        int32_t first = i == 0 ? trie->roots[byte] : trie->nodes[node].child;
        int32_t found = find_sibling(trie, first, byte);
        if (found < 0) {
            if (trie->count >= INT32_MAX)
                return hone_fail(err, HONE_ERR_LIMIT, "too many added tokens");
            HONE_TRY(new_node(trie, byte, first, &found, err));
            if (i == 0) {
                trie->roots[byte] = found;
            } else {
                trie->nodes[node].child = found;
            }
        }
        node = found;
    }
    if (trie->nodes[node].token < 0) trie->nodes[node].token = token;
    return HONE_OK;
}

hone_status hone_added_insert(hone_added *added, hone_added_token token, const char *text,
                              size_t size, bool normalized, hone_error *err) {
    if (size == 0 || size > HONE_ADDED_MAX_BYTES) {
        return hone_fail(err, HONE_ERR_FORMAT, "the added token %d has %zu bytes; expected 1 to %d",
                         (int)token.id, size, HONE_ADDED_MAX_BYTES);
    }
    if (added->count == added->capacity) {
        size_t capacity = added->capacity == 0 ? 32 : 2 * added->capacity;
        hone_added_token *tokens = realloc(added->tokens, capacity * sizeof *tokens);
        if (tokens == NULL) return hone_fail_memory(err, "added tokens", capacity * sizeof *tokens);
        added->tokens = tokens;
        added->capacity = capacity;
    }
    added->tokens[added->count++] = token;
    hone_trie *trie = normalized ? &added->normalized : &added->raw;
    return trie_insert(trie, text, size, (int32_t)added->count - 1, err);
}

/* The longest token at text[0], -1 when none begins there. */
static int32_t longest_match(const hone_trie *trie, const char *text, size_t size, size_t *length) {
    int32_t token = -1;
    int32_t node = trie->roots[(uint8_t)text[0]];
    for (size_t i = 1; node >= 0; i++) {
        if (trie->nodes[node].token >= 0) {
            token = trie->nodes[node].token;
            *length = i;
        }
        if (i == size) break;
        node = find_sibling(trie, trie->nodes[node].child, (uint8_t)text[i]);
    }
    return token;
}

/* The character that ends at text[end]; end > 0. */
static int32_t char_before(const char *text, size_t end, size_t *begin) {
    size_t at = end - 1;
    while (at > 0 && ((uint8_t)text[at] & 0xc0) == 0x80) at--;
    int32_t cp;
    hone_char_next(text + at, end - at, &cp);
    *begin = at;
    return cp;
}

static bool is_single_word(const char *text, size_t size, size_t begin, size_t end) {
    size_t ignored;
    int32_t cp;
    if (begin > 0 && hone_char_is_word(char_before(text, begin, &ignored))) return false;
    if (end == size) return true;
    hone_char_next(text + end, size - end, &cp);
    return !hone_char_is_word(cp);
}

static size_t strip_left(const char *text, size_t begin, size_t floor) {
    while (begin > floor) {
        size_t before;
        if (!hone_char_is_space(char_before(text, begin, &before))) break;
        begin = HONE_MAX(before, floor);
    }
    return begin;
}

static size_t strip_right(const char *text, size_t size, size_t end) {
    while (end < size) {
        int32_t cp;
        size_t length = hone_char_next(text + end, size - end, &cp);
        if (!hone_char_is_space(cp)) break;
        end += length;
    }
    return end;
}

const hone_added_token *hone_added_next(const hone_added *added, bool normalized, const char *text,
                                        size_t size, size_t *at, size_t *seek, size_t *begin,
                                        size_t *end) {
    const hone_trie *trie = normalized ? &added->normalized : &added->raw;
    if (trie->count == 0) return NULL;
    while (*seek < size) {
        size_t length = 0;
        int32_t index = longest_match(trie, text + *seek, size - *seek, &length);
        if (index < 0) {
            ++*seek;
            continue;
        }
        size_t from = *seek;
        *seek += length;
        const hone_added_token *token = &added->tokens[index];
        if (token->single_word && !is_single_word(text, size, from, *seek)) continue;
        *begin = token->lstrip ? strip_left(text, from, *at) : from;
        *end = token->rstrip ? strip_right(text, size, *seek) : *seek;
        *at = *end;
        return token;
    }
    return NULL;
}
