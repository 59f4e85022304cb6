/* text/decode: the decoders of tokenizer.json, from token texts to one text. */
#include "text/pipeline.h"
#include "text/unicode.h"
#include <string.h>

/* A token's bytes by the byte alphabet, or its own when one of its characters is not in it. */
static hone_status append_token_bytes(hone_buf *out, const char *text, size_t size,
                                      hone_error *err) {
    size_t begin = out->size;
    for (size_t at = 0; at < size;) {
        int32_t cp;
        at += hone_char_next(text + at, size - at, &cp);
        int byte = hone_char_to_byte(cp);
        if (byte < 0) {
            out->size = begin;
            return hone_buf_append(out, text, size, err);
        }
        HONE_TRY(hone_buf_append_char(out, (char)byte, err));
    }
    return HONE_OK;
}

static hone_status decode_byte_level(const hone_pieces *in, hone_pieces *out, hone_error *err) {
    hone_buf bytes = hone_buf_make(out->text.limit);
    hone_status status = HONE_OK;
    for (size_t i = 0; i < in->count && status == HONE_OK; i++) {
        const hone_piece *token = &in->items[i];
        status = append_token_bytes(&bytes, in->text.data + token->begin, token->end - token->begin,
                                    err);
    }
    if (status == HONE_OK) status = hone_utf8_append_lossy(&out->text, bytes.data, bytes.size, err);
    if (status == HONE_OK) status = hone_pieces_add(out, 0, out->text.size, true, err);
    hone_buf_free(&bytes);
    return status;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The byte that "<0xNN>" stands for, -1 for other tokens. "+N" counts as one digit, as Rust parses
 * it. */
static int token_byte(const char *text, size_t size) {
    if (size != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = text[3] == '+' ? 0 : hex_digit(text[3]);
    int low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : 16 * high + low;
}

/* Runs of byte tokens become text, or one U+FFFD for each byte when the run is not well-formed. */
static hone_status flush_bytes(const char *bytes, size_t size, hone_pieces *out, hone_error *err) {
    size_t begin = out->text.size;
    if (size == 0) return HONE_OK;
    if (hone_utf8_valid(bytes, size)) {
        HONE_TRY(hone_buf_append(&out->text, bytes, size, err));
        return hone_pieces_add(out, begin, out->text.size, false, err);
    }
    for (size_t i = 0; i < size; i++) {
        begin = out->text.size;
        HONE_TRY(hone_buf_append(&out->text, "\xef\xbf\xbd", 3, err));
        HONE_TRY(hone_pieces_add(out, begin, out->text.size, false, err));
    }
    return HONE_OK;
}

static hone_status decode_byte_fallback(const hone_pieces *in, hone_pieces *out, hone_buf *bytes,
                                        hone_error *err) {
    for (size_t i = 0; i < in->count; i++) {
        const hone_piece *token = &in->items[i];
        const char *text = in->text.data + token->begin;
        size_t size = token->end - token->begin;
        int byte = token_byte(text, size);
        if (byte >= 0) {
            HONE_TRY(hone_buf_append_char(bytes, (char)byte, err));
            continue;
        }
        HONE_TRY(flush_bytes(bytes->data, bytes->size, out, err));
        bytes->size = 0;
        size_t begin = out->text.size;
        HONE_TRY(hone_buf_append(&out->text, text, size, err));
        HONE_TRY(hone_pieces_add(out, begin, out->text.size, false, err));
    }
    return flush_bytes(bytes->data, bytes->size, out, err);
}

/* Cuts up to `start` copies of a character from the front and up to `stop` from the back. */
static hone_status strip_token(const hone_decode_step *step, const char *text, size_t size,
                               hone_buf *out, hone_error *err) {
    size_t begin = 0, end = size, length = step->content.size;
    for (size_t i = 0; i < step->start && size - begin >= length; i++) {
        if (memcmp(text + begin, step->content.data, length) != 0) break;
        begin += length;
    }
    for (size_t i = 0; i < step->stop && end - begin >= length; i++) {
        if (memcmp(text + end - length, step->content.data, length) != 0) break;
        end -= length;
    }
    return hone_buf_append(out, text + begin, end - begin, err);
}

static hone_status decode_each(const hone_decode_step *step, hone_matcher *matcher,
                               const hone_pieces *in, hone_pieces *out, hone_error *err) {
    for (size_t i = 0; i < in->count; i++) {
        const hone_piece *token = &in->items[i];
        const char *text = in->text.data + token->begin;
        size_t size = token->end - token->begin;
        size_t begin = out->text.size;
        if (step->kind == HONE_DECODE_STRIP) {
            HONE_TRY(strip_token(step, text, size, &out->text, err));
        } else {
            hone_slice content = step->content;
            if (step->kind == HONE_DECODE_METASPACE) { /* the first token loses its marks */
                content = (hone_slice){" ", i == 0 && step->scheme != HONE_PREPEND_NEVER ? 0 : 1};
            }
            HONE_TRY(
                hone_replace_all(text, size, step->pattern, matcher, content, &out->text, err));
        }
        HONE_TRY(hone_pieces_add(out, begin, out->text.size, false, err));
    }
    return HONE_OK;
}

static hone_status fuse(const hone_pieces *in, hone_pieces *out, hone_error *err) {
    HONE_TRY(hone_buf_append(&out->text, in->text.data, in->text.size, err));
    return hone_pieces_add(out, 0, out->text.size, true, err);
}

static hone_status run_step(const hone_decode_step *step, const hone_pieces *in, hone_pieces *out,
                            hone_error *err) {
    hone_status status = HONE_OK;
    hone_buf bytes = hone_buf_make(out->text.limit);
    hone_matcher *matcher = NULL;
    HONE_TRY_GOTO(status, done, hone_buf_append(&bytes, "", 0, err));
    switch (step->kind) {
    case HONE_DECODE_BYTE_LEVEL:
        status = decode_byte_level(in, out, err);
        break;
    case HONE_DECODE_BYTE_FALLBACK:
        status = decode_byte_fallback(in, out, &bytes, err);
        break;
    case HONE_DECODE_FUSE:
        status = fuse(in, out, err);
        break;
    case HONE_DECODE_REPLACE:
    case HONE_DECODE_STRIP:
    case HONE_DECODE_METASPACE:
        if (step->regex != NULL)
            HONE_TRY_GOTO(status, done, hone_matcher_new(step->regex, &matcher, err));
        status = decode_each(step, matcher, in, out, err);
        break;
    }
done:
    hone_matcher_free(&matcher);
    hone_buf_free(&bytes);
    return status;
}

/* Without a decoder tokens are joined by spaces. */
static hone_status join_with_spaces(const hone_pieces *tokens, hone_buf *out, hone_error *err) {
    for (size_t i = 0; i < tokens->count; i++) {
        const hone_piece *token = &tokens->items[i];
        if (i > 0) HONE_TRY(hone_buf_append_char(out, ' ', err));
        HONE_TRY(
            hone_buf_append(out, tokens->text.data + token->begin, token->end - token->begin, err));
    }
    return HONE_OK;
}

hone_status hone_decode_tokens(const hone_decode_step *steps, size_t count, hone_pieces *tokens,
                               hone_buf *out, hone_error *err) {
    HONE_TRY(hone_buf_append(&tokens->text, "", 0, err)); /* data is not NULL from here on */
    if (count == 0) return join_with_spaces(tokens, out, err);
    hone_pieces spare = hone_pieces_make();
    hone_status status = HONE_OK;
    for (size_t i = 0; i < count; i++) {
        spare.count = 0;
        spare.text.size = 0;
        HONE_TRY_GOTO(status, done, hone_buf_append(&spare.text, "", 0, err));
        HONE_TRY_GOTO(status, done, run_step(&steps[i], tokens, &spare, err));
        hone_pieces swap = *tokens;
        *tokens = spare;
        spare = swap;
    }
    status = hone_utf8_append_lossy(out, tokens->text.data, tokens->text.size, err);
done:
    hone_pieces_free(&spare);
    return status;
}
