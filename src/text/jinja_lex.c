/* text/jinja_lex: see jinja_lex.h. Follows Jinja2's lexer with trim_blocks and lstrip_blocks set.
 */
#include "text/jinja_lex.h"
#include "base/size.h"
#include "text/jinja_text.h"
#include "text/unicode.h"
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BRACKETS 256

typedef struct lexer {
    const char *text; /* newlines are \n, one at the end is gone; NUL-terminated */
    size_t size, at;
    int line;
    size_t line_begin;
    bool line_starting; /* the last match ended with a newline */
    char brackets[MAX_BRACKETS];
    size_t depth;
    hone_region *region;
    hone_lexemes *out;
    hone_error *err;
} lexer;

static hone_status fail(const lexer *l, const char *what) {
    return hone_fail(l->err, HONE_ERR_FORMAT, "line %d, column %zu: %s", l->line,
                     l->at - l->line_begin + 1, what);
}

/* Moves to `to`, counting lines. */
static void advance(lexer *l, size_t to) {
    for (; l->at < to; l->at++) {
        if (l->text[l->at] != '\n') continue;
        l->line++;
        l->line_begin = l->at + 1;
    }
    l->line_starting = to > 0 && l->text[to - 1] == '\n';
}

static hone_status push(lexer *l, hone_token_kind kind, hone_slice text, hone_lexeme **token) {
    hone_lexemes *out = l->out;
    if (out->count == out->capacity) {
        size_t capacity = out->capacity == 0 ? 64 : 2 * out->capacity;
        hone_lexeme *data = hone_region_array(l->region, capacity, sizeof *data, l->err);
        if (data == NULL) return l->err->status;
        if (out->count > 0) memcpy(data, out->data, out->count * sizeof *data);
        out->data = data;
        out->capacity = capacity;
    }
    hone_lexeme *added = &out->data[out->count++];
    *added = (hone_lexeme){.kind = (uint8_t)kind,
                           .line = l->line,
                           .column = (int)HONE_MIN(l->at - l->line_begin + 1, (size_t)INT32_MAX),
                           .text = text};
    if (token != NULL) *token = added;
    return HONE_OK;
}

static size_t skip_space(const lexer *l, size_t at) {
    while (at < l->size) {
        int32_t cp;
        size_t length = hone_char_next(l->text + at, l->size - at, &cp);
        if (!hone_text_is_space(cp)) break;
        at += length;
    }
    return at;
}

static bool looking_at(const lexer *l, size_t at, const char *what) {
    size_t length = strlen(what);
    return l->size - at >= length && memcmp(l->text + at, what, length) == 0;
}

/* The end of "+%}", "-%}" with the white space after it, or "%}" with the newline after it; 0 when
 * not there. */
static size_t closing(const lexer *l, size_t at, const char *close, bool plus, bool trim) {
    if (plus && l->text[at] == '+' && looking_at(l, at + 1, close)) return at + 3;
    if (l->text[at] == '-' && looking_at(l, at + 1, close)) return skip_space(l, at + 3);
    if (!looking_at(l, at, close)) return 0;
    return at + 2 + (trim && at + 2 < l->size && l->text[at + 2] == '\n');
}

/* "{% raw %}" at `at`: where it ends, else 0. */
static size_t raw_begin(const lexer *l, size_t at) {
    size_t word = at + 2;
    if (l->text[word] == '-' || l->text[word] == '+') word++;
    word = skip_space(l, word);
    return looking_at(l, word, "raw") ? closing(l, skip_space(l, word + 3), "%}", false, false) : 0;
}

static size_t raw_end(const lexer *l, size_t at) {
    size_t word = at + 2;
    if (l->text[word] == '-' || l->text[word] == '+') word++;
    word = skip_space(l, word);
    return looking_at(l, word, "endraw") ? closing(l, skip_space(l, word + 6), "%}", true, true)
                                         : 0;
}

/* Text before a tag, shortened by the tag's sign: '-' takes all white space, else lstrip_blocks
 * takes what is before a block or comment on its line. */
static hone_status push_data(lexer *l, size_t end, char sign, bool variable) {
    const char *text = l->text + l->at;
    size_t size = end - l->at;
    if (sign == '-') {
        size = hone_text_rstrip((hone_slice){text, size}).size;
    } else if (sign != '+' && !variable) {
        const char *newline = memrchr(text, '\n', size);
        size_t line = newline == NULL ? 0 : (size_t)(newline - text) + 1;
        if ((line > 0 || l->line_starting) && skip_space(l, l->at + line) >= end) size = line;
    }
    if (size > 0) HONE_TRY(push(l, HONE_TOKEN_DATA, (hone_slice){text, size}, NULL));
    return HONE_OK;
}

static hone_status lex_comment(lexer *l) {
    if (l->at == l->size) return HONE_OK; /* Jinja2 lets a template end with "{#" */
    for (size_t at = l->at; at + 2 <= l->size; at++) {
        size_t end = closing(l, at, "#}", true, true);
        if (end == 0) continue;
        advance(l, end);
        return HONE_OK;
    }
    return fail(l, "a comment is not closed; expected \"#}\"");
}

static hone_status lex_raw(lexer *l, size_t begin) {
    advance(l, begin);
    for (size_t at = l->at; at + 2 <= l->size; at++) {
        if (!looking_at(l, at, "{%")) continue;
        size_t end = raw_end(l, at);
        if (end == 0) continue;
        HONE_TRY(push_data(l, at, l->text[at + 2], false));
        advance(l, end);
        return HONE_OK;
    }
    return fail(l, "a raw block is not closed; expected \"{% endraw %}\"");
}

/* Digits with single underscores between them. */
static size_t skip_digits(const char *text, size_t at) {
    while ((text[at] >= '0' && text[at] <= '9') ||
           (text[at] == '_' && text[at + 1] >= '0' && text[at + 1] <= '9')) {
        at++;
    }
    return at;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* The end of a float at l->at, 0 when there is none: digits and a fraction, an exponent or both. */
static size_t float_end(const lexer *l) {
    const char *text = l->text;
    if (l->at > 0 && text[l->at - 1] == '.') return 0; /* a.0.1 has two integers */
    size_t at = skip_digits(text, l->at);
    bool is_float = false;
    if (text[at] == '.' && is_digit(text[at + 1])) {
        at = skip_digits(text, at + 1);
        is_float = true;
    }
    if ((text[at] | 32) == 'e') {
        size_t exponent = at + 1 + (text[at + 1] == '+' || text[at + 1] == '-');
        if (is_digit(text[exponent])) {
            at = skip_digits(text, exponent);
            is_float = true;
        }
    }
    return is_float ? at : 0;
}

static hone_status lex_float(lexer *l, size_t end) {
    char digits[64];
    size_t count = 0;
    for (size_t i = l->at; i < end; i++) {
        char c = l->text[i] == '.' ? *localeconv()->decimal_point : l->text[i];
        if (c == '_') continue;
        if (count + 1 == sizeof digits) return fail(l, "a number is too long");
        digits[count++] = c;
    }
    digits[count] = '\0';
    hone_lexeme *token;
    HONE_TRY(push(l, HONE_TOKEN_FLOAT, (hone_slice){NULL, 0}, &token));
    token->real = strtod(digits, NULL);
    advance(l, end);
    return HONE_OK;
}

static int digit_value(char c) {
    if (is_digit(c)) return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

static hone_status lex_integer(lexer *l) {
    const char *text = l->text;
    char letter = (char)(text[l->at + 1] | 32);
    int base = text[l->at] != '0' ? 10
               : letter == 'x'    ? 16
               : letter == 'o'    ? 8
               : letter == 'b'    ? 2
                                  : 10;
    size_t at = l->at + (base == 10 ? 0 : 2);
    if (base != 10 && digit_value(text[at + (text[at] == '_')]) >= base) {
        base = 10;
        at = l->at;
    }
    bool zero = base == 10 && text[at] == '0'; /* "01" is two integers */
    int64_t value = 0;
    for (;; at++) {
        if (text[at] == '_' && digit_value(text[at + 1]) < base) at++;
        int digit = digit_value(text[at]);
        if (digit >= base || (zero && digit != 0)) break;
        if (__builtin_mul_overflow(value, (int64_t)base, &value) ||
            __builtin_add_overflow(value, (int64_t)digit, &value)) {
            return fail(l, "an integer does not fit in 64 bits");
        }
    }
    hone_lexeme *token;
    HONE_TRY(push(l, HONE_TOKEN_INTEGER, (hone_slice){NULL, 0}, &token));
    token->integer = value;
    advance(l, at);
    return HONE_OK;
}

/* Reads up to `most` digits of a base after an escape's letter; false when there are fewer than
 * `least`. */
static bool escape_number(hone_slice s, size_t *at, int base, size_t least, size_t most,
                          int32_t *cp) {
    size_t count = 0;
    *cp = 0;
    for (; count < most && *at < s.size && digit_value(s.data[*at]) < base; count++, ++*at) {
        *cp = *cp * base + digit_value(s.data[*at]);
    }
    return count >= least && *cp >= 0 && *cp <= 0x10ffff && !(*cp >= 0xd800 && *cp <= 0xdfff);
}

/* One escape; *at is behind the backslash. Python keeps unknown ones as they are. */
static bool unescape_one(hone_slice s, size_t *at, char *out, size_t *used) {
    static const char letters[] = "abfnrtv\\'\"", meanings[] = "\a\b\f\n\r\t\v\\'\"";
    char c = s.data[*at];
    const char *letter = c == '\0' ? NULL : strchr(letters, c);
    int32_t cp;
    if (letter != NULL) {
        out[(*used)++] = meanings[letter - letters];
        ++*at;
        return true;
    }
    if (c == '\n') {
        ++*at;
        return true;
    }
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0) {
        ++*at;
        if (!escape_number(s, at, 16, digits, digits, &cp)) return false;
        *used += hone_utf8_encode((uint32_t)cp, out + *used);
        return true;
    }
    if (c >= '0' && c <= '7') {
        if (!escape_number(s, at, 8, 1, 3, &cp)) return false;
        *used += hone_utf8_encode((uint32_t)cp, out + *used);
        return true;
    }
    out[(*used)++] = '\\';
    return c != 'N'; /* a character by its Unicode name */
}

static hone_status lex_string(lexer *l) {
    const char *text = l->text;
    char quote = text[l->at];
    size_t end = l->at + 1;
    while (end < l->size && text[end] != quote) end += text[end] == '\\' ? 2 : 1;
    if (end >= l->size) return fail(l, "a string is not closed");
    hone_slice s = {text + l->at + 1, end - l->at - 1};
    if (memchr(s.data, '\\', s.size) != NULL) {
        char *out = hone_region_alloc(l->region, s.size + 4, l->err); /* no escape grows */
        if (out == NULL) return l->err->status;
        size_t used = 0;
        for (size_t at = 0; at < s.size;) {
            if (s.data[at] != '\\') {
                out[used++] = s.data[at++];
            } else if (at++, !unescape_one(s, &at, out, &used)) {
                return fail(l, "a string has an escape that is not valid");
            }
        }
        s = (hone_slice){out, used};
    }
    HONE_TRY(push(l, HONE_TOKEN_STRING, s, NULL));
    advance(l, end + 1);
    return HONE_OK;
}

/* Brackets must match, so that "}}" inside of them does not end the tag. */
static hone_status track_bracket(lexer *l, char c) {
    static const char open[] = "([{", shut[] = ")]}";
    const char *found = strchr(open, c);
    if (found != NULL) {
        if (l->depth == MAX_BRACKETS) {
            return hone_fail(l->err, HONE_ERR_LIMIT, "line %d: brackets nested deeper than %d",
                             l->line, MAX_BRACKETS);
        }
        l->brackets[l->depth++] = shut[found - open];
        return HONE_OK;
    }
    if (strchr(shut, c) == NULL) return HONE_OK;
    if (l->depth == 0 || l->brackets[l->depth - 1] != c)
        return fail(l, "a closing bracket does not match");
    l->depth--;
    return HONE_OK;
}

static hone_status lex_operator(lexer *l) {
    static const char *const doubles[] = {"//", "**", "==", "!=", ">=", "<="};
    char c = l->text[l->at];
    size_t length = 1;
    for (size_t i = 0; i < sizeof doubles / sizeof doubles[0]; i++) {
        if (looking_at(l, l->at, doubles[i])) length = 2;
    }
    if (c == '\0' || (length == 1 && strchr("+-/*%~[](){}><=.:|,;", c) == NULL)) {
        return fail(l, "a character that no expression has");
    }
    if (length == 1) HONE_TRY(track_bracket(l, c));
    HONE_TRY(push(l, HONE_TOKEN_OPERATOR, (hone_slice){l->text + l->at, length}, NULL));
    advance(l, l->at + length);
    return HONE_OK;
}

static bool is_name_char(char c) {
    return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || (uint8_t)c >= 0x80;
}

/* The inside of {% %} or {{ }}, up to and with its end. */
static hone_status lex_tag(lexer *l, bool variable) {
    const char *close = variable ? "}}" : "%}";
    for (;;) {
        advance(l, skip_space(l, l->at));
        if (l->at >= l->size) return fail(l, variable ? "expected \"}}\"" : "expected \"%}\"");
        size_t end = l->depth == 0 ? closing(l, l->at, close, !variable, !variable) : 0;
        if (end > 0) {
            hone_token_kind kind = variable ? HONE_TOKEN_VARIABLE_END : HONE_TOKEN_BLOCK_END;
            HONE_TRY(push(l, kind, (hone_slice){NULL, 0}, NULL));
            advance(l, end);
            return HONE_OK;
        }
        char c = l->text[l->at];
        if (is_digit(c)) {
            size_t number = float_end(l);
            HONE_TRY(number > 0 ? lex_float(l, number) : lex_integer(l));
        } else if (is_name_char(c)) {
            size_t name = l->at;
            while (is_name_char(l->text[name])) name++;
            HONE_TRY(push(l, HONE_TOKEN_NAME, (hone_slice){l->text + l->at, name - l->at}, NULL));
            advance(l, name);
        } else if (c == '\'' || c == '"') {
            HONE_TRY(lex_string(l));
        } else {
            HONE_TRY(lex_operator(l));
        }
    }
}

/* \r\n and \r become \n; one newline at the end goes. */
static hone_status normalize_newlines(lexer *l, const char *source, size_t size) {
    char *text = hone_region_alloc(l->region, size + 4, l->err); /* looking ahead ends at NULs */
    if (text == NULL) return l->err->status;
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        if (source[i] == '\r' && i + 1 < size && source[i + 1] == '\n') continue;
        text[used++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (used > 0 && text[used - 1] == '\n') text[--used] = '\0';
    l->text = text;
    l->size = used;
    return HONE_OK;
}

/* The first "{{", "{%" or "{#" at or after l->at; l->size when there is none. */
static size_t find_tag(const lexer *l) {
    for (size_t at = l->at; at + 1 < l->size; at++) {
        const char *brace = memchr(l->text + at, '{', l->size - at - 1);
        if (brace == NULL) break;
        at = (size_t)(brace - l->text);
        if (brace[1] == '{' || brace[1] == '%' || brace[1] == '#') return at;
    }
    return l->size;
}

static hone_status lex_next(lexer *l) {
    size_t at = find_tag(l);
    if (at == l->size) {
        HONE_TRY(push(l, HONE_TOKEN_DATA, (hone_slice){l->text + l->at, at - l->at}, NULL));
        advance(l, at);
        return HONE_OK;
    }
    char kind = l->text[at + 1], sign = l->text[at + 2];
    size_t raw = kind == '%' ? raw_begin(l, at) : 0;
    HONE_TRY(push_data(l, at, sign, kind == '{'));
    if (raw > 0) return lex_raw(l, raw);
    advance(l, at);
    if (kind != '#') {
        hone_token_kind begin = kind == '{' ? HONE_TOKEN_VARIABLE_BEGIN : HONE_TOKEN_BLOCK_BEGIN;
        HONE_TRY(push(l, begin, (hone_slice){NULL, 0}, NULL));
    }
    advance(l, at + 2 + (sign == '-' || sign == '+'));
    return kind == '#' ? lex_comment(l) : lex_tag(l, kind == '{');
}

hone_status hone_jinja_lex(const char *source, size_t size, hone_region *region, hone_lexemes *out,
                           hone_error *err) {
    lexer l = {.line = 1, .line_starting = true, .region = region, .out = out, .err = err};
    HONE_TRY(normalize_newlines(&l, source, size));
    if (!hone_utf8_valid(l.text, l.size))
        return hone_fail(err, HONE_ERR_FORMAT, "the template is not UTF-8");
    while (l.at < l.size) HONE_TRY(lex_next(&l));
    return push(&l, HONE_TOKEN_EOF, (hone_slice){NULL, 0}, NULL);
}
