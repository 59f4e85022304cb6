/* text/unicode: UTF-8 in and out, and the character classes that tokenizers and templates ask for.
 */
#ifndef HONE_TEXT_UNICODE_H
#define HONE_TEXT_UNICODE_H

#include "base/buf.h"
#include "base/utf8.h"

/* The code point at text[0]; size > 0. Returns the bytes it takes. Ill-formed: *cp is -1 and the
 * length is that of the maximal subpart which Rust's from_utf8_lossy replaces by one U+FFFD. */
size_t hone_char_next(const char *text, size_t size, int32_t *cp);

/* Appends with each ill-formed maximal subpart replaced by U+FFFD. */
hone_status hone_utf8_append_lossy(hone_buf *out, const char *text, size_t size, hone_error *err);

/* Code points in well-formed text. */
size_t hone_utf8_count(const char *text, size_t size);

bool hone_char_is_space(int32_t cp);       /* the property White_Space */
bool hone_char_is_numeric(int32_t cp);     /* categories Nd, Nl, No */
bool hone_char_is_punctuation(int32_t cp); /* ASCII punctuation or categories P* */
bool hone_char_is_word(int32_t cp);        /* \w: Alphabetic, M, Nd, Pc, Join_Control */
int32_t hone_char_lower(int32_t cp);       /* simple mapping */

/* GPT-2's byte alphabet: each byte as a printable character; -1 for a character outside of it. */
int32_t hone_byte_to_char(uint8_t byte);
int hone_char_to_byte(int32_t cp);

#endif
