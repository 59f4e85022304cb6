/* text/unicode: see unicode.h. Character properties come from utf8proc. */
#include "text/unicode.h"
#include <string.h>
#include <utf8proc.h>

/* Second bytes are bounded more tightly after E0, ED, F0 and F4 (Unicode, table 3-7). */
static void second_byte_bounds(uint8_t lead, uint8_t *low, uint8_t *high) {
    *low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
}

/* Bytes of an ill-formed sequence up to the first that cannot continue it. */
static size_t maximal_subpart(const uint8_t *s, size_t size) {
    size_t length = (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 1;
    uint8_t low, high;
    second_byte_bounds(s[0], &low, &high);
    for (size_t i = 1; i < length; i++) {
        if (i >= size || s[i] < low || s[i] > high) return i;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

size_t hone_char_next(const char *text, size_t size, int32_t *cp) {
    uint32_t code;
    size_t length = hone_utf8_decode(text, size, &code);
    if (length == 0) {
        *cp = -1;
        return maximal_subpart((const uint8_t *)text, size);
    }
    *cp = (int32_t)code;
    return length;
}

hone_status hone_utf8_append_lossy(hone_buf *out, const char *text, size_t size, hone_error *err) {
    size_t start = 0;
    for (size_t i = 0; i < size;) {
        int32_t cp;
        size_t length = hone_char_next(text + i, size - i, &cp);
        if (cp < 0) {
            HONE_TRY(hone_buf_append(out, text + start, i - start, err));
            HONE_TRY(hone_buf_append(out, "\xef\xbf\xbd", 3, err));
            start = i + length;
        }
        i += length;
    }
    return hone_buf_append(out, text + start, size - start, err);
}

size_t hone_utf8_count(const char *text, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += ((uint8_t)text[i] & 0xc0) != 0x80;
    return count;
}

bool hone_char_is_space(int32_t cp) {
    if (cp < 0x80) return (cp >= 9 && cp <= 13) || cp == ' ';
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool hone_char_is_numeric(int32_t cp) {
    utf8proc_category_t c = utf8proc_category(cp);
    return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}

bool hone_char_is_punctuation(int32_t cp) {
    if (cp < 0x80)
        return cp > ' ' && cp < 0x7f && !(cp >= '0' && cp <= '9') &&
               !((cp | 32) >= 'a' && (cp | 32) <= 'z');
    utf8proc_category_t c = utf8proc_category(cp);
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool hone_char_is_word(int32_t cp) {
    if (cp < 0x80)
        return (cp >= '0' && cp <= '9') || ((cp | 32) >= 'a' && (cp | 32) <= 'z') || cp == '_';
    utf8proc_category_t c = utf8proc_category(cp);
    if (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) return true; /* L*, M*, Nd, Nl */
    if (c == UTF8PROC_CATEGORY_PC || cp == 0x200c || cp == 0x200d) return true;
    /* Other_Alphabetic beyond the marks: circled and squared letters. */
    return (cp >= 0x24b6 && cp <= 0x24e9) || (cp >= 0x1f130 && cp <= 0x1f149) ||
           (cp >= 0x1f150 && cp <= 0x1f169) || (cp >= 0x1f170 && cp <= 0x1f189);
}

int32_t hone_char_lower(int32_t cp) { return utf8proc_tolower(cp); }

/* Printable Latin-1 stands for itself; the 68 others are numbered from U+0100 in order: 33 bytes
 * below '!', 34 from 0x7f to 0xa0, and the soft hyphen. */
int32_t hone_byte_to_char(uint8_t byte) {
    if (byte < 0x21) return 0x100 + byte;
    if (byte >= 0x7f && byte <= 0xa0) return 0x121 + (byte - 0x7f);
    if (byte == 0xad) return 0x143;
    return byte;
}

int hone_char_to_byte(int32_t cp) {
    if (cp >= 0x100 && cp <= 0x120) return cp - 0x100;
    if (cp >= 0x121 && cp <= 0x142) return cp - 0x121 + 0x7f;
    if (cp == 0x143) return 0xad;
    if ((cp >= 0x21 && cp <= 0x7e) || (cp >= 0xa1 && cp <= 0xff && cp != 0xad)) return cp;
    return -1;
}
