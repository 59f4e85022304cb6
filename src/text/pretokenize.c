/* text/pretokenize: the pre-tokenizers of tokenizer.json. Each step takes every piece apart; a
 * step that rewrites text (ByteLevel, Metaspace) moves the pieces to another buffer. */
#include "base/size.h"
#include "text/pipeline.h"
#include "text/unicode.h"
#include <stdlib.h>
#include <string.h>

hone_pieces hone_pieces_make(void) {
    return (hone_pieces){.text = hone_buf_make(4 * HONE_TEXT_LIMIT)};
}

void hone_pieces_free(hone_pieces *pieces) {
    hone_buf_free(&pieces->text);
    free(pieces->items);
    *pieces = hone_pieces_make();
}

hone_status hone_pieces_add(hone_pieces *pieces, size_t begin, size_t end, bool first,
                            hone_error *err) {
    if (pieces->count == pieces->capacity) {
        size_t capacity = pieces->capacity == 0 ? 64 : 2 * pieces->capacity;
        hone_piece *items = realloc(pieces->items, capacity * sizeof *items);
        if (items == NULL) return hone_fail_memory(err, "splitting text", capacity * sizeof *items);
        pieces->items = items;
        pieces->capacity = capacity;
    }
    pieces->items[pieces->count++] = (hone_piece){begin, end, first};
    return HONE_OK;
}

hone_status hone_matchers_for_pretokenize(hone_matchers *matchers,
                                          const hone_pretokenize_step *steps, size_t count,
                                          hone_error *err) {
    *matchers = (hone_matchers){.count = count};
    for (size_t i = 0; i < count; i++) {
        if (steps[i].regex == NULL) continue;
        hone_status status = hone_matcher_new(steps[i].regex, &matchers->items[i], err);
        if (status != HONE_OK) {
            hone_matchers_free(matchers);
            return status;
        }
    }
    return HONE_OK;
}

void hone_matchers_free(hone_matchers *matchers) {
    for (size_t i = 0; i < matchers->count; i++) hone_matcher_free(&matchers->items[i]);
    matchers->count = 0;
}

/* Takes the matches of one piece in order and hands the ranges that the behavior makes of them to
 * *out. */
typedef struct splitter {
    hone_split_behavior behavior;
    bool invert;
    hone_pieces *out;
    size_t origin;     /* of the piece in its buffer */
    bool piece_first;  /* the piece begins the input */
    size_t done;       /* end of the last range, relative to the piece */
    bool open;         /* a range is held back: it may still grow */
    size_t begin, end; /* that range */
    bool previous_match;
} splitter;

static hone_status emit(splitter *s, size_t begin, size_t end, hone_error *err) {
    if (begin == end) return HONE_OK;
    return hone_pieces_add(s->out, s->origin + begin, s->origin + end, s->piece_first && begin == 0,
                           err);
}

static hone_status hold(splitter *s, size_t begin, size_t end, hone_error *err) {
    if (s->open) HONE_TRY(emit(s, s->begin, s->end, err));
    s->open = true;
    s->begin = begin;
    s->end = end;
    return HONE_OK;
}

static hone_status take_range(splitter *s, size_t begin, size_t end, bool match, hone_error *err) {
    match = match != s->invert;
    bool previous = s->previous_match;
    s->previous_match = match;
    switch (s->behavior) {
    case HONE_SPLIT_REMOVED:
        return match ? HONE_OK : emit(s, begin, end, err);
    case HONE_SPLIT_ISOLATED:
        return emit(s, begin, end, err);
    case HONE_SPLIT_CONTIGUOUS:
        if (s->open && match == previous) {
            s->end = end;
            return HONE_OK;
        }
        return hold(s, begin, end, err);
    case HONE_SPLIT_MERGED_WITH_PREVIOUS:
        if (s->open && match && !previous) {
            s->end = end;
            return HONE_OK;
        }
        return hold(s, begin, end, err);
    case HONE_SPLIT_MERGED_WITH_NEXT: /* of two matches in a row the first stands alone */
        if (s->open && previous && !match) {
            s->end = end;
            return HONE_OK;
        }
        return hold(s, begin, end, err);
    }
    return hone_fail(err, HONE_ERR_INTERNAL, "split behavior %d", (int)s->behavior);
}

static hone_status take_match(splitter *s, size_t begin, size_t end, hone_error *err) {
    if (begin > s->done) HONE_TRY(take_range(s, s->done, begin, false, err));
    s->done = end;
    return take_range(s, begin, end, true, err);
}

static hone_status finish(splitter *s, size_t size, hone_error *err) {
    if (s->done < size) HONE_TRY(take_range(s, s->done, size, false, err));
    if (s->open) HONE_TRY(emit(s, s->begin, s->end, err));
    s->open = false;
    return HONE_OK;
}

static hone_status split_by_regex(splitter *s, hone_matcher *matcher, const char *text, size_t size,
                                  hone_error *err) {
    hone_matcher_start(matcher, text, size);
    for (;;) {
        bool found;
        size_t begin, end;
        HONE_TRY(hone_matcher_next(matcher, &found, &begin, &end, err));
        if (!found) return finish(s, size, err);
        HONE_TRY(take_match(s, begin, end, err));
    }
}

static hone_status split_by_string(splitter *s, hone_slice pattern, const char *text, size_t size,
                                   hone_error *err) {
    for (size_t at = 0; at < size;) {
        const char *hit = memmem(text + at, size - at, pattern.data, pattern.size);
        if (hit == NULL) break;
        at = (size_t)(hit - text) + pattern.size;
        HONE_TRY(take_match(s, at - pattern.size, at, err));
    }
    return finish(s, size, err);
}

static hone_status split_by_class(splitter *s, bool (*matches)(int32_t), const char *text,
                                  size_t size, hone_error *err) {
    for (size_t at = 0, length; at < size; at += length) {
        int32_t cp;
        length = hone_char_next(text + at, size - at, &cp);
        if (matches(cp)) HONE_TRY(take_match(s, at, at + length, err));
    }
    return finish(s, size, err);
}

/* Runs of word characters and runs of what is neither word nor space; spaces go. */
static hone_status split_words(splitter *s, const char *text, size_t size, hone_error *err) {
    enum { SPACE, WORD, OTHER } kind, previous = SPACE;
    size_t begin = 0;
    for (size_t at = 0, length; at < size; at += length) {
        int32_t cp;
        length = hone_char_next(text + at, size - at, &cp);
        kind = hone_char_is_word(cp) ? WORD : hone_char_is_space(cp) ? SPACE : OTHER;
        if (kind != previous) {
            if (previous != SPACE) HONE_TRY(emit(s, begin, at, err));
            begin = at;
        }
        previous = kind;
    }
    return previous == SPACE ? HONE_OK : emit(s, begin, size, err);
}

/* Splits [origin, origin + size) of out->text, which is already where it will stay. */
static hone_status split_piece(const hone_pretokenize_step *step, hone_matcher *matcher,
                               hone_pieces *out, const hone_piece *piece, hone_error *err) {
    const char *text = out->text.data + piece->begin;
    size_t size = piece->end - piece->begin;
    splitter s = {.behavior = step->behavior,
                  .invert = step->invert,
                  .out = out,
                  .origin = piece->begin,
                  .piece_first = piece->first};
    switch (step->kind) {
    case HONE_PRETOKENIZE_DIGITS:
        return split_by_class(&s, hone_char_is_numeric, text, size, err);
    case HONE_PRETOKENIZE_PUNCTUATION:
        return split_by_class(&s, hone_char_is_punctuation, text, size, err);
    case HONE_PRETOKENIZE_WHITESPACE:
        return split_words(&s, text, size, err);
    case HONE_PRETOKENIZE_SPLIT:
    case HONE_PRETOKENIZE_METASPACE:
    case HONE_PRETOKENIZE_BYTE_LEVEL:
        break;
    }
    if (matcher != NULL) return split_by_regex(&s, matcher, text, size, err);
    return split_by_string(&s, step->pattern, text, size, err);
}

static hone_status append_byte_level(hone_buf *out, const char *text, size_t size,
                                     hone_error *err) {
    HONE_TRY(hone_buf_reserve(out, 2 * size, err)); /* none of the characters takes more */
    char *at = out->data + out->size;
    for (size_t i = 0; i < size; i++)
        at += hone_utf8_encode((uint32_t)hone_byte_to_char((uint8_t)text[i]), at);
    *at = '\0';
    out->size = (size_t)(at - out->data);
    return HONE_OK;
}

/* Copies the piece to out->text as the step wants it before it splits: with a space or its
 * replacement in front. */
static hone_status rewrite_piece(const hone_pretokenize_step *step, const char *text,
                                 const hone_piece *piece, hone_buf *out, hone_error *err) {
    const char *begin = text + piece->begin;
    size_t size = piece->end - piece->begin;
    if (step->kind == HONE_PRETOKENIZE_BYTE_LEVEL) {
        if (step->add_prefix_space && (size == 0 || *begin != ' '))
            HONE_TRY(hone_buf_append_char(out, ' ', err));
        return hone_buf_append(out, begin, size, err);
    }
    const hone_slice *mark = &step->pattern;
    bool marked = size > 0 && (*begin == ' ' ||
                               (size >= mark->size && memcmp(begin, mark->data, mark->size) == 0));
    bool wanted =
        step->scheme == HONE_PREPEND_ALWAYS || (step->scheme == HONE_PREPEND_FIRST && piece->first);
    if (wanted && !marked) HONE_TRY(hone_buf_append(out, mark->data, mark->size, err));
    return hone_replace_all(begin, size, (hone_slice){" ", 1}, NULL, *mark, out, err);
}

/* ByteLevel writes bytes as characters after its split; the pieces move to `out`. */
static hone_status to_byte_level(hone_pieces *in, hone_pieces *out, hone_error *err) {
    out->count = 0;
    out->text.size = 0;
    for (size_t i = 0; i < in->count; i++) {
        const hone_piece *piece = &in->items[i];
        size_t begin = out->text.size;
        HONE_TRY(append_byte_level(&out->text, in->text.data + piece->begin,
                                   piece->end - piece->begin, err));
        HONE_TRY(hone_pieces_add(out, begin, out->text.size, piece->first, err));
    }
    return HONE_OK;
}

static void swap_pieces(hone_pieces *a, hone_pieces *b) {
    hone_pieces swap = *a;
    *a = *b;
    *b = swap;
}

static hone_status run_step(const hone_pretokenize_step *step, hone_matcher *matcher,
                            hone_pieces *pieces, hone_pieces *spare, hone_error *err) {
    bool rewrites = step->kind == HONE_PRETOKENIZE_METASPACE ||
                    (step->kind == HONE_PRETOKENIZE_BYTE_LEVEL && step->add_prefix_space);
    bool splits = step->kind == HONE_PRETOKENIZE_METASPACE    ? step->split
                  : step->kind == HONE_PRETOKENIZE_BYTE_LEVEL ? matcher != NULL
                                                              : true;
    spare->count = 0;
    spare->text.size = 0;
    if (!rewrites) { /* the text stays: it changes hands */
        hone_buf swap = spare->text;
        spare->text = pieces->text;
        pieces->text = swap;
    }
    for (size_t i = 0; i < pieces->count; i++) {
        hone_piece piece = pieces->items[i];
        if (rewrites) {
            size_t begin = spare->text.size;
            HONE_TRY(rewrite_piece(step, pieces->text.data, &piece, &spare->text, err));
            piece.begin = begin;
            piece.end = spare->text.size;
        }
        if (splits) {
            HONE_TRY(split_piece(step, matcher, spare, &piece, err));
        } else {
            HONE_TRY(hone_pieces_add(spare, piece.begin, piece.end, piece.first, err));
        }
    }
    swap_pieces(pieces, spare);
    if (step->kind == HONE_PRETOKENIZE_BYTE_LEVEL) {
        HONE_TRY(to_byte_level(pieces, spare, err));
        swap_pieces(pieces, spare);
    }
    return HONE_OK;
}

hone_status hone_pretokenize(const hone_pretokenize_step *steps, size_t count,
                             const hone_matchers *matchers, hone_pieces *pieces, hone_pieces *spare,
                             hone_error *err) {
    for (size_t i = 0; i < count; i++)
        HONE_TRY(run_step(&steps[i], matchers->items[i], pieces, spare, err));
    return HONE_OK;
}
