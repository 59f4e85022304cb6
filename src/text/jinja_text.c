/* text/jinja_text: see jinja_text.h. */
#include "text/jinja_text.h"
#include "base/size.h"
#include "text/unicode.h"
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

bool hone_text_is_space(int32_t cp) { return (cp >= 0x1c && cp <= 0x1f) || hone_char_is_space(cp); }

/* The character that ends at `end`; *begin is where it begins. */
static int32_t char_before(hone_slice s, size_t end, size_t *begin) {
    size_t at = end - 1;
    while (at > 0 && ((uint8_t)s.data[at] & 0xc0) == 0x80) at--;
    int32_t cp;
    hone_char_next(s.data + at, end - at, &cp);
    *begin = at;
    return cp;
}

static bool is_stripped(int32_t cp, hone_slice chars) {
    if (chars.data == NULL) return hone_text_is_space(cp);
    char bytes[4];
    if (cp < 0) return false;
    size_t size = hone_utf8_encode((uint32_t)cp, bytes);
    return hone_text_find(chars, (hone_slice){bytes, size}, 0) != SIZE_MAX;
}

hone_slice hone_text_strip(hone_slice s, hone_slice chars, bool left, bool right) {
    while (left && s.size > 0) {
        int32_t cp;
        size_t length = hone_char_next(s.data, s.size, &cp);
        if (!is_stripped(cp, chars)) break;
        s.data += length;
        s.size -= length;
    }
    while (right && s.size > 0) {
        size_t begin;
        if (!is_stripped(char_before(s, s.size, &begin), chars)) break;
        s.size = begin;
    }
    return s;
}

hone_slice hone_text_lstrip(hone_slice s) {
    return hone_text_strip(s, (hone_slice){NULL, 0}, true, false);
}

hone_slice hone_text_rstrip(hone_slice s) {
    return hone_text_strip(s, (hone_slice){NULL, 0}, false, true);
}

size_t hone_text_find(hone_slice s, hone_slice needle, size_t from) {
    if (from > s.size) return SIZE_MAX;
    if (needle.size == 0) return from;
    const char *hit = memmem(s.data + from, s.size - from, needle.data, needle.size);
    return hit == NULL ? SIZE_MAX : (size_t)(hit - s.data);
}

size_t hone_text_rfind(hone_slice s, hone_slice needle) {
    if (needle.size == 0) return s.size;
    if (needle.size > s.size) return SIZE_MAX;
    for (size_t at = s.size - needle.size + 1; at-- > 0;) {
        if (s.data[at] == needle.data[0] && memcmp(s.data + at, needle.data, needle.size) == 0)
            return at;
    }
    return SIZE_MAX;
}

bool hone_text_starts(hone_slice s, hone_slice prefix) {
    return prefix.size == 0 ||
           (s.size >= prefix.size && memcmp(s.data, prefix.data, prefix.size) == 0);
}

bool hone_text_ends(hone_slice s, hone_slice suffix) {
    return suffix.size == 0 || (s.size >= suffix.size && memcmp(s.data + s.size - suffix.size,
                                                                suffix.data, suffix.size) == 0);
}

size_t hone_text_offset(hone_slice s, size_t index) {
    size_t at = 0;
    for (; index > 0 && at < s.size; index--) {
        int32_t cp;
        at += hone_char_next(s.data + at, s.size - at, &cp);
    }
    return at;
}

static bool is_category(int32_t cp, utf8proc_category_t low, utf8proc_category_t high) {
    utf8proc_category_t c = utf8proc_category(cp);
    return c >= low && c <= high;
}

/* Letters that have case: Lu, Ll, Lt, and the modifier letters and marks that count as lower-case.
 */
static bool is_cased(int32_t cp) {
    if (cp < 0x80) return (cp | 32) >= 'a' && (cp | 32) <= 'z';
    return is_category(cp, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LT) ||
           utf8proc_tolower(cp) != cp || utf8proc_toupper(cp) != cp;
}

static hone_status append_char(hone_buf *out, int32_t cp, hone_error *err) {
    char bytes[4];
    return hone_buf_append(out, bytes, hone_utf8_encode((uint32_t)cp, bytes), err);
}

/* Full upper or title case. Characters that become several (U+00DF, ligatures) do so in their full
 * case folding too, from which their upper case follows. */
static hone_status append_upper(hone_buf *out, int32_t cp, bool title, hone_error *err) {
    int32_t simple = title ? utf8proc_totitle(cp) : utf8proc_toupper(cp);
    if (cp == 0xdf) simple = cp; /* utf8proc has the capital sharp s here; Unicode has SS */
    if (cp < 0x80 || utf8proc_category(cp) == UTF8PROC_CATEGORY_LU || (title && simple != cp)) {
        return append_char(out, simple, err);
    }
    utf8proc_int32_t folded[8];
    utf8proc_ssize_t count = utf8proc_decompose_char(cp, folded, 8, UTF8PROC_CASEFOLD, NULL);
    if (count < 2 || count > 8) return append_char(out, simple, err);
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        HONE_TRY(append_char(out, title && i > 0 ? folded[i] : utf8proc_toupper(folded[i]), err));
    }
    return HONE_OK;
}

/* A sigma is final when a cased letter comes before it and none after it (marks and their like
 * aside). */
static bool is_final_sigma(hone_slice s, size_t at, size_t next) {
    bool before = false;
    for (size_t i = at; i > 0 && !before;) {
        int32_t cp = char_before(s, i, &i);
        if (is_category(cp, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME) || cp == '\'' || cp == 0xad)
            continue;
        before = is_cased(cp);
        if (!before) return false;
    }
    while (next < s.size) {
        int32_t cp;
        next += hone_char_next(s.data + next, s.size - next, &cp);
        if (is_category(cp, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME) || cp == '\'' || cp == 0xad)
            continue;
        return before && !is_cased(cp);
    }
    return before;
}

static hone_status append_lower(hone_buf *out, hone_slice s, size_t at, size_t next, int32_t cp,
                                hone_error *err) {
    if (cp == 0x130) return hone_buf_append(out, "i\xcc\x87", 3, err);
    if (cp == 0x3a3 && is_final_sigma(s, at, next)) return append_char(out, 0x3c2, err);
    return append_char(out, hone_char_lower(cp), err);
}

static bool turns_upper(hone_text_case to, bool first, bool previous_cased, bool is_upper) {
    return to == HONE_TEXT_UPPER || (to == HONE_TEXT_TITLE && !previous_cased) ||
           (to == HONE_TEXT_CAPITALIZE && first) || (to == HONE_TEXT_SWAPCASE && !is_upper);
}

/* ASCII, which is most text, in one go. */
static hone_status convert_ascii(hone_slice s, hone_text_case to, hone_buf *out, hone_error *err) {
    HONE_TRY(hone_buf_reserve(out, s.size, err));
    char *data = out->data + out->size;
    bool cased = false;
    for (size_t i = 0; i < s.size; i++) {
        char c = s.data[i];
        bool is_upper = c >= 'A' && c <= 'Z', is_lower = c >= 'a' && c <= 'z';
        bool up = turns_upper(to, i == 0, cased, is_upper);
        cased = is_upper || is_lower;
        data[i] = (char)(up && is_lower ? c - 32 : !up && is_upper ? c + 32 : c);
    }
    out->size += s.size;
    out->data[out->size] = '\0';
    return HONE_OK;
}

hone_status hone_text_convert(hone_slice s, hone_text_case to, hone_buf *out, hone_error *err) {
    bool previous_cased = false;
    if (hone_text_is(s, HONE_TEXT_ASCII)) return convert_ascii(s, to, out, err);
    for (size_t at = 0, next; at < s.size; at = next) {
        int32_t cp;
        next = at + hone_char_next(s.data + at, s.size - at, &cp);
        bool is_upper = utf8proc_category(cp) == UTF8PROC_CATEGORY_LU;
        bool upper = turns_upper(to, at == 0, previous_cased, is_upper);
        bool title = to == HONE_TEXT_TITLE || to == HONE_TEXT_CAPITALIZE;
        HONE_TRY(upper ? append_upper(out, cp, title, err)
                       : append_lower(out, s, at, next, cp, err));
        previous_cased = is_cased(cp);
    }
    return HONE_OK;
}

static bool is_decimal(int32_t cp) { return utf8proc_category(cp) == UTF8PROC_CATEGORY_ND; }

/* Superscripts, circled digits and their like are digits, but no decimals. */
static bool is_digit(int32_t cp) {
    return is_decimal(cp) || cp == 0xb2 || cp == 0xb3 || cp == 0xb9 || cp == 0x2070 ||
           (cp >= 0x2074 && cp <= 0x2079) || (cp >= 0x2080 && cp <= 0x2089) ||
           (cp >= 0x2460 && cp <= 0x2468) || (cp >= 0x2474 && cp <= 0x247c) ||
           (cp >= 0x2488 && cp <= 0x2490) || (cp >= 0x24f5 && cp <= 0x24fd) ||
           (cp >= 0x2776 && cp <= 0x277e);
}

static bool is_title(hone_slice s) {
    bool previous_cased = false, any = false;
    for (size_t at = 0; at < s.size;) {
        int32_t cp;
        at += hone_char_next(s.data + at, s.size - at, &cp);
        utf8proc_category_t c = utf8proc_category(cp);
        bool upper = c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LT;
        if (upper && previous_cased) return false;
        if (c == UTF8PROC_CATEGORY_LL && !previous_cased) return false;
        previous_cased = upper || c == UTF8PROC_CATEGORY_LL;
        any = any || previous_cased;
    }
    return any;
}

static bool char_is(int32_t cp, hone_text_class what) {
    bool alpha = is_category(cp, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO);
    switch (what) {
    case HONE_TEXT_ALPHA:
        return alpha;
    case HONE_TEXT_DIGIT:
        return is_digit(cp);
    case HONE_TEXT_DECIMAL:
        return is_decimal(cp);
    case HONE_TEXT_NUMERIC:
        return hone_char_is_numeric(cp);
    case HONE_TEXT_ALNUM:
        return alpha || hone_char_is_numeric(cp);
    case HONE_TEXT_SPACE:
        return hone_text_is_space(cp);
    case HONE_TEXT_ASCII:
        return cp < 0x80;
    case HONE_TEXT_IS_UPPER:
        return !is_cased(cp) || utf8proc_category(cp) == UTF8PROC_CATEGORY_LU;
    case HONE_TEXT_IS_LOWER:
        return !is_cased(cp) || !is_category(cp, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LT) ||
               utf8proc_category(cp) == UTF8PROC_CATEGORY_LL;
    case HONE_TEXT_IS_TITLE:
        return true;
    }
    return false;
}

bool hone_text_is(hone_slice s, hone_text_class what) {
    bool needs_cased = what == HONE_TEXT_IS_UPPER || what == HONE_TEXT_IS_LOWER;
    bool any = false;
    if (what == HONE_TEXT_IS_TITLE) return is_title(s);
    if (what == HONE_TEXT_ASCII) {
        bool high = false;
        for (size_t i = 0; i < s.size; i++) high |= (uint8_t)s.data[i] >= 0x80;
        return !high;
    }
    for (size_t at = 0; at < s.size;) {
        int32_t cp;
        at += hone_char_next(s.data + at, s.size - at, &cp);
        if (!char_is(cp, what)) return false;
        any = any || !needs_cased || is_cased(cp);
    }
    return any;
}

/* An empty needle lies before every character and at the end. */
static hone_status replace_empty(hone_slice s, hone_slice to, int64_t count, hone_buf *out,
                                 hone_error *err) {
    size_t at = 0;
    for (; count != 0; count--) {
        int32_t cp;
        HONE_TRY(hone_buf_append(out, to.data, to.size, err));
        if (at == s.size) return HONE_OK;
        size_t length = hone_char_next(s.data + at, s.size - at, &cp);
        HONE_TRY(hone_buf_append(out, s.data + at, length, err));
        at += length;
    }
    return hone_buf_append(out, s.data + at, s.size - at, err);
}

hone_status hone_text_replace(hone_slice s, hone_slice from, hone_slice to, int64_t count,
                              hone_buf *out, hone_error *err) {
    if (from.size == 0) return replace_empty(s, to, count, out, err);
    size_t at = 0;
    for (; count != 0; count--) {
        size_t hit = hone_text_find(s, from, at);
        if (hit == SIZE_MAX) break;
        HONE_TRY(hone_buf_append(out, s.data + at, hit - at, err));
        HONE_TRY(hone_buf_append(out, to.data, to.size, err));
        at = hit + from.size;
    }
    return hone_buf_append(out, s.data + at, s.size - at, err);
}

hone_status hone_text_escape(hone_slice s, hone_buf *out, hone_error *err) {
    size_t done = 0;
    for (size_t i = 0; i < s.size; i++) {
        const char *entity = s.data[i] == '&'    ? "&amp;"
                             : s.data[i] == '<'  ? "&lt;"
                             : s.data[i] == '>'  ? "&gt;"
                             : s.data[i] == '\'' ? "&#39;"
                             : s.data[i] == '"'  ? "&#34;"
                                                 : NULL;
        if (entity == NULL) continue;
        HONE_TRY(hone_buf_append(out, s.data + done, i - done, err));
        HONE_TRY(hone_buf_append_str(out, entity, err));
        done = i + 1;
    }
    return hone_buf_append(out, s.data + done, s.size - done, err);
}

size_t hone_text_line(hone_slice s, size_t at, size_t *next) {
    while (at < s.size) {
        int32_t cp;
        size_t length = hone_char_next(s.data + at, s.size - at, &cp);
        bool breaks = (cp >= 0x0a && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 ||
                      cp == 0x2028 || cp == 0x2029;
        if (breaks) {
            bool pair = cp == '\r' && at + 1 < s.size && s.data[at + 1] == '\n';
            *next = at + length + pair;
            return at;
        }
        at += length;
    }
    *next = s.size;
    return s.size;
}

static bool is_printable(int32_t cp) {
    if (cp < 0x7f) return cp >= ' ';
    return !is_category(cp, UTF8PROC_CATEGORY_ZS, UTF8PROC_CATEGORY_CO) &&
           utf8proc_category(cp) != UTF8PROC_CATEGORY_CN;
}

hone_status hone_text_repr(hone_slice s, hone_buf *out, hone_error *err) {
    bool single = memchr(s.data, '\'', s.size) != NULL,
         twofold = memchr(s.data, '"', s.size) != NULL;
    char quote = single && !twofold ? '"' : '\'';
    HONE_TRY(hone_buf_append_char(out, quote, err));
    for (size_t at = 0; at < s.size;) {
        int32_t cp;
        size_t length = hone_char_next(s.data + at, s.size - at, &cp);
        if (cp == quote || cp == '\\') {
            HONE_TRY(hone_buf_printf(out, err, "\\%c", (char)cp));
        } else if (cp == '\n' || cp == '\r' || cp == '\t') {
            HONE_TRY(hone_buf_append_str(out,
                                         cp == '\n'   ? "\\n"
                                         : cp == '\r' ? "\\r"
                                                      : "\\t",
                                         err));
        } else if (is_printable(cp)) {
            HONE_TRY(hone_buf_append(out, s.data + at, length, err));
        } else {
            const char *format = cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x";
            char escaped[12];
            snprintf(escaped, sizeof escaped, format, (unsigned)cp);
            HONE_TRY(hone_buf_append_str(out, escaped, err));
        }
        at += length;
    }
    return hone_buf_append_char(out, quote, err);
}
