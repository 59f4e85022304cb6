/* base/utf8: decoding UTF-8 that may be malformed. */
#ifndef HONE_BASE_UTF8_H
#define HONE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the code point that starts at text[0], stored in *code; 0 when `size` is 0 or the bytes
 * there are not well-formed (overlong, surrogate, above U+10FFFF, cut off). */
size_t hone_utf8_decode(const char *text, size_t size, uint32_t *code);

/* Writes the code point's 1 to 4 bytes; 0 for a surrogate or beyond U+10FFFF. */
size_t hone_utf8_encode(uint32_t code, char out[4]);

bool hone_utf8_valid(const char *text, size_t size);

#endif
