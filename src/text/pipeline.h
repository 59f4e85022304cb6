/* text/pipeline: the steps around BPE as plain data: normalizers and pre-tokenizers before it,
 * decoders after. Each is a flat list (a "Sequence" is its members in order); the steps' strings
 * lie in the tokenizer's region. */
#ifndef HONE_TEXT_PIPELINE_H
#define HONE_TEXT_PIPELINE_H

#include "base/buf.h"
#include "text/regex.h"

#define HONE_TEXT_LIMIT ((size_t)1 << 30) /* bytes of one text, before or after normalizing */
#define HONE_MAX_STEPS 64                 /* of each list */

/* A string that may hold NUL. */
typedef struct hone_slice {
    const char *data;
    size_t size;
} hone_slice;

typedef enum hone_normalize_kind {
    HONE_NORMALIZE_NFC,
    HONE_NORMALIZE_NFD,
    HONE_NORMALIZE_NFKC,
    HONE_NORMALIZE_NFKD,
    HONE_NORMALIZE_PREPEND,
    HONE_NORMALIZE_REPLACE,
    HONE_NORMALIZE_LOWERCASE,
    HONE_NORMALIZE_STRIP
} hone_normalize_kind;

typedef struct hone_normalize_step {
    hone_normalize_kind kind;
    hone_slice pattern, content; /* Prepend: content. Replace: pattern, unless there is a regex */
    hone_regex *regex;           /* owned */
    bool left, right;            /* Strip */
} hone_normalize_step;

/* Where the text between two matches goes; the names of tokenizer.json. */
typedef enum hone_split_behavior {
    HONE_SPLIT_REMOVED,
    HONE_SPLIT_ISOLATED,
    HONE_SPLIT_MERGED_WITH_PREVIOUS,
    HONE_SPLIT_MERGED_WITH_NEXT,
    HONE_SPLIT_CONTIGUOUS
} hone_split_behavior;

typedef enum hone_pretokenize_kind {
    HONE_PRETOKENIZE_SPLIT,
    HONE_PRETOKENIZE_BYTE_LEVEL,
    HONE_PRETOKENIZE_DIGITS,
    HONE_PRETOKENIZE_METASPACE,
    HONE_PRETOKENIZE_WHITESPACE,
    HONE_PRETOKENIZE_PUNCTUATION
} hone_pretokenize_kind;

typedef enum hone_prepend_scheme {
    HONE_PREPEND_ALWAYS,
    HONE_PREPEND_FIRST,
    HONE_PREPEND_NEVER
} hone_prepend_scheme;

typedef struct hone_pretokenize_step {
    hone_pretokenize_kind kind;
    hone_split_behavior behavior;
    hone_slice pattern;         /* Split by a string, Metaspace's replacement */
    hone_regex *regex;          /* owned; Split by a regex, ByteLevel with use_regex */
    bool invert;                /* Split */
    bool add_prefix_space;      /* ByteLevel */
    hone_prepend_scheme scheme; /* Metaspace */
    bool split;                 /* Metaspace */
} hone_pretokenize_step;

typedef enum hone_decode_kind {
    HONE_DECODE_BYTE_LEVEL,
    HONE_DECODE_REPLACE,
    HONE_DECODE_BYTE_FALLBACK,
    HONE_DECODE_FUSE,
    HONE_DECODE_STRIP,
    HONE_DECODE_METASPACE
} hone_decode_kind;

typedef struct hone_decode_step {
    hone_decode_kind kind;
    hone_slice pattern, content; /* Replace; Strip: content is one character; Metaspace: pattern */
    hone_regex *regex;           /* owned; Replace */
    size_t start, stop;          /* Strip: characters at most */
    hone_prepend_scheme scheme;  /* Metaspace */
} hone_decode_step;

/* Replaces every match in text by content, appending to *out. */
hone_status hone_replace_all(const char *text, size_t size, hone_slice pattern,
                             hone_matcher *matcher, hone_slice content, hone_buf *out,
                             hone_error *err);

/* Runs the steps over well-formed UTF-8; *out is overwritten. */
hone_status hone_normalize(const hone_normalize_step *steps, size_t count, const char *text,
                           size_t size, hone_buf *out, hone_error *err);

/* A range of the text being split. `first`: it begins where the whole input begins. */
typedef struct hone_piece {
    size_t begin, end;
    bool first;
} hone_piece;

typedef struct hone_pieces {
    hone_buf text;
    hone_piece *items;
    size_t count, capacity;
} hone_pieces;

hone_pieces hone_pieces_make(void);
void hone_pieces_free(hone_pieces *pieces);
hone_status hone_pieces_add(hone_pieces *pieces, size_t begin, size_t end, bool first,
                            hone_error *err);

/* Matchers of a list's steps, for one thread: [count], NULL where the step has no regex. */
typedef struct hone_matchers {
    hone_matcher *items[HONE_MAX_STEPS];
    size_t count;
} hone_matchers;

hone_status hone_matchers_for_pretokenize(hone_matchers *matchers,
                                          const hone_pretokenize_step *steps, size_t count,
                                          hone_error *err);
void hone_matchers_free(hone_matchers *matchers);

/* Splits the text in *pieces (one piece to begin with); `spare` is memory to work in. */
hone_status hone_pretokenize(const hone_pretokenize_step *steps, size_t count,
                             const hone_matchers *matchers, hone_pieces *pieces, hone_pieces *spare,
                             hone_error *err);

/* Token texts become the text: *tokens holds one piece per token; the result is one buffer. */
hone_status hone_decode_tokens(const hone_decode_step *steps, size_t count, hone_pieces *tokens,
                               hone_buf *out, hone_error *err);

#endif
