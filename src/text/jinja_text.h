/* text/jinja_text: Python's string methods over UTF-8 slices. What needs memory appends to a
 * buffer. */
#ifndef HONE_TEXT_JINJA_TEXT_H
#define HONE_TEXT_JINJA_TEXT_H

#include "text/pipeline.h"

bool hone_text_is_space(int32_t cp); /* str.isspace(): White_Space and U+001C to U+001F */

/* strip(): white space, or any character of `chars` when its data is not NULL. */
hone_slice hone_text_lstrip(hone_slice s);
hone_slice hone_text_rstrip(hone_slice s);
hone_slice hone_text_strip(hone_slice s, hone_slice chars, bool left, bool right);

/* Byte offset of the first occurrence at or after `from`, or of the last one; SIZE_MAX when there
 * is none. */
size_t hone_text_find(hone_slice s, hone_slice needle, size_t from);
size_t hone_text_rfind(hone_slice s, hone_slice needle);

bool hone_text_starts(hone_slice s, hone_slice prefix);
bool hone_text_ends(hone_slice s, hone_slice suffix);

/* Byte offset of the character `index`; s.size when there are fewer. */
size_t hone_text_offset(hone_slice s, size_t index);

typedef enum hone_text_case {
    HONE_TEXT_UPPER,
    HONE_TEXT_LOWER,
    HONE_TEXT_TITLE,      /* str.title(): after every uncased character */
    HONE_TEXT_CAPITALIZE, /* the first character only */
    HONE_TEXT_SWAPCASE
} hone_text_case;

hone_status hone_text_convert(hone_slice s, hone_text_case to, hone_buf *out, hone_error *err);

/* The str.is...() questions: all characters are so, and there is at least one (upper, lower: at
 * least one cased). */
typedef enum hone_text_class {
    HONE_TEXT_ALPHA,
    HONE_TEXT_DIGIT,
    HONE_TEXT_DECIMAL,
    HONE_TEXT_NUMERIC,
    HONE_TEXT_ALNUM,
    HONE_TEXT_SPACE,
    HONE_TEXT_IS_UPPER,
    HONE_TEXT_IS_LOWER,
    HONE_TEXT_IS_TITLE,
    HONE_TEXT_ASCII
} hone_text_class;

bool hone_text_is(hone_slice s, hone_text_class what);

/* replace(); count < 0: all. */
hone_status hone_text_replace(hone_slice s, hone_slice from, hone_slice to, int64_t count,
                              hone_buf *out, hone_error *err);

/* &, <, >, ' and " as HTML entities. */
hone_status hone_text_escape(hone_slice s, hone_buf *out, hone_error *err);

/* The end of the line that begins at `at` (Python's splitlines); *next is where the next one
 * begins. */
size_t hone_text_line(hone_slice s, size_t at, size_t *next);

/* repr() of a string; str.isprintable() of one character. */
hone_status hone_text_repr(hone_slice s, hone_buf *out, hone_error *err);

#endif
