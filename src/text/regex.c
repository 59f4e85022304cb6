/* text/regex: see regex.h. The only file that knows PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"
#include "base/buf.h"
#include "base/size.h"
#include "text/unicode.h"
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATTERN_LIMIT 65536u    /* bytes of a pattern */
#define MATCH_LIMIT 1000000u    /* steps of one match... */
#define MATCH_LIMIT_PER_BYTE 8u /* ...and so many more for long texts */
#define HEAP_LIMIT_KIB 32768u
#define JIT_STACK_MAX (512u * 1024u)
#define SECONDS_BASE 0.5       /* processor time one text may take... */
#define SECONDS_PER_BYTE 10e-6 /* ...about a hundred times what real patterns need */
#define CLOCK_EVERY 16u        /* matches between looks at the clock */

struct hone_regex {
    pcre2_code *code;
};

struct hone_matcher {
    const hone_regex *regex;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack; /* NULL when there is no JIT */
    const char *text;
    size_t size, at;
    size_t last_end;      /* end of the last match; SIZE_MAX before the first */
    double begin_seconds; /* processor time at the first look at the clock */
    size_t total;         /* bytes of all texts so far */
    unsigned matches;
    uint32_t limit; /* steps of one match in this text */
};

typedef struct translation {
    const char *pattern;
    size_t size, at;
    int class_depth; /* 0 outside of [...], 1 inside */
    bool class_start;
    hone_buf out;
} translation;

static hone_status unsupported(const translation *t, const char *what, hone_error *err) {
    return hone_fail(err, HONE_ERR_UNSUPPORTED, "pattern \"%.200s\", byte %zu: %s is not supported",
                     t->pattern, t->at, what);
}

/* Shorthands: Oniguruma's \s is White_Space, its \h a hexadecimal digit, its \w takes any number.
 */
static hone_status translate_escape(translation *t, hone_error *err) {
    static const struct {
        char letter;
        const char *outside, *inside; /* NULL: no equivalent within a class */
    } shorthands[] = {
        {'s', "\\p{wspace}", "\\p{wspace}"},
        {'S', "\\P{wspace}", "\\P{wspace}"},
        {'d', "\\p{Nd}", "\\p{Nd}"},
        {'D', "\\P{Nd}", "\\P{Nd}"},
        {'w', "[\\p{Alphabetic}\\p{M}\\p{N}\\p{Pc}]", "\\p{Alphabetic}\\p{M}\\p{N}\\p{Pc}"},
        {'W', "[^\\p{Alphabetic}\\p{M}\\p{N}\\p{Pc}]", NULL},
        {'h', "[0-9a-fA-F]", "0-9a-fA-F"},
        {'H', "[^0-9a-fA-F]", NULL},
    };
    if (t->at + 1 >= t->size) return unsupported(t, "a backslash at the end", err);
    char letter = t->pattern[t->at + 1];
    for (size_t i = 0; i < sizeof shorthands / sizeof shorthands[0]; i++) {
        if (shorthands[i].letter != letter) continue;
        const char *text = t->class_depth > 0 ? shorthands[i].inside : shorthands[i].outside;
        if (text == NULL) return unsupported(t, "a negated shorthand inside a class", err);
        t->at += 2;
        return hone_buf_append_str(&t->out, text, err);
    }
    if (letter == 'u') { /* four hexadecimal digits */
        if (t->at + 6 > t->size) return unsupported(t, "a cut \\u escape", err);
        HONE_TRY(hone_buf_printf(&t->out, err, "\\x{%.4s}", t->pattern + t->at + 2));
        t->at += 6;
        return HONE_OK;
    }
    HONE_TRY(hone_buf_append(&t->out, t->pattern + t->at, 2, err));
    t->at += 2;
    return HONE_OK;
}

static hone_status translate_in_class(translation *t, hone_error *err) {
    char c = t->pattern[t->at];
    char next = t->at + 1 < t->size ? t->pattern[t->at + 1] : '\0';
    bool first = t->class_start;
    t->class_start = false;
    if (c == '\\') return translate_escape(t, err);
    if (c == '&' && next == '&') return unsupported(t, "a class intersection (&&)", err);
    if (c == '[' && next == ':') {
        const char *close = strstr(t->pattern + t->at, ":]");
        if (close == NULL) return unsupported(t, "an open [: class", err);
        size_t length = (size_t)(close - (t->pattern + t->at)) + 2;
        HONE_TRY(hone_buf_append(&t->out, t->pattern + t->at, length, err));
        t->at += length;
        return HONE_OK;
    }
    if (c == '[') return unsupported(t, "a class inside a class", err);
    if (c == ']' && !first) t->class_depth = 0;
    t->at++;
    return hone_buf_append_char(&t->out, c, err);
}

/* Ruby reads x{1,3}+ as (x{1,3})+ and (?m) as "dot matches newline"; PCRE2 does not. */
static hone_status translate_outside(translation *t, hone_error *err) {
    const char *rest = t->pattern + t->at;
    char c = *rest;
    if (c == '\\') return translate_escape(t, err);
    if (c == '[') {
        size_t length = rest[1] == '^' ? 2 : 1;
        t->class_depth = 1;
        t->class_start = true;
        HONE_TRY(hone_buf_append(&t->out, rest, length, err));
        t->at += length;
        return HONE_OK;
    }
    if (c == '(' && rest[1] == '?') {
        size_t flags = strspn(rest + 2, "imx-");
        if (memchr(rest + 2, 'm', flags) != NULL) return unsupported(t, "the flag m", err);
    }
    if (c == '{') {
        size_t digits = strspn(rest + 1, "0123456789,");
        if (rest[1 + digits] == '}' && rest[2 + digits] == '+') {
            return unsupported(t, "a '+' after a counted repeat", err);
        }
        if (rest[1] == ',') {
            t->at++;
            return hone_buf_append_str(&t->out, "{0", err);
        }
    }
    t->at++;
    return hone_buf_append_char(&t->out, c, err);
}

static hone_status translate(translation *t, hone_error *err) {
    while (t->at < t->size) {
        if (t->class_depth > 0) {
            HONE_TRY(translate_in_class(t, err));
        } else {
            HONE_TRY(translate_outside(t, err));
        }
    }
    return HONE_OK;
}

static hone_status compile(hone_regex *regex, const translation *t, hone_error *err) {
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context == NULL) return hone_fail_memory(err, "pattern", 0);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int code = 0;
    PCRE2_SIZE offset = 0;
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    regex->code =
        pcre2_compile((PCRE2_SPTR)t->out.data, t->out.size, options, &code, &offset, context);
    pcre2_compile_context_free(context);
    if (regex->code == NULL) {
        PCRE2_UCHAR message[160] = "";
        pcre2_get_error_message(code, message, sizeof message);
        if (code == PCRE2_ERROR_HEAP_FAILED) return hone_fail_memory(err, "pattern", t->out.size);
        return hone_fail(err, HONE_ERR_UNSUPPORTED, "pattern \"%.200s\": %s (near byte %zu)",
                         t->pattern, (const char *)message, (size_t)offset);
    }
    /* Without JIT the interpreter runs the same pattern, slower. */
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    return HONE_OK;
}

hone_status hone_regex_compile(const char *pattern, size_t size, hone_regex **out,
                               hone_error *err) {
    *out = NULL;
    if (size > PATTERN_LIMIT) {
        return hone_fail(err, HONE_ERR_LIMIT, "pattern of %zu bytes: the limit is %u", size,
                         PATTERN_LIMIT);
    }
    if (memchr(pattern, '\0', size) != NULL) {
        return hone_fail(err, HONE_ERR_UNSUPPORTED,
                         "pattern \"%.200s\": a NUL in a pattern is not supported", pattern);
    }
    translation t = {.pattern = pattern, .size = size, .out = hone_buf_make(PATTERN_LIMIT * 16u)};
    hone_regex *regex = calloc(1, sizeof *regex);
    if (regex == NULL) return hone_fail_memory(err, "pattern", sizeof *regex);
    hone_status status;
    HONE_TRY_GOTO(status, done, hone_buf_append(&t.out, "", 0, err));
    HONE_TRY_GOTO(status, done, translate(&t, err));
    HONE_TRY_GOTO(status, done, compile(regex, &t, err));
    *out = regex;
    regex = NULL;
done:
    hone_buf_free(&t.out);
    hone_regex_free(&regex);
    return status;
}

void hone_regex_free(hone_regex **regex) {
    if (regex == NULL || *regex == NULL) return;
    pcre2_code_free((*regex)->code);
    free(*regex);
    *regex = NULL;
}

hone_status hone_matcher_new(const hone_regex *regex, hone_matcher **out, hone_error *err) {
    *out = NULL;
    hone_matcher *matcher = calloc(1, sizeof *matcher);
    if (matcher == NULL) return hone_fail_memory(err, "matcher", sizeof *matcher);
    matcher->regex = regex;
    matcher->data = pcre2_match_data_create_from_pattern(regex->code, NULL);
    matcher->context = pcre2_match_context_create(NULL);
    if (matcher->data == NULL || matcher->context == NULL) {
        hone_matcher_free(&matcher);
        return hone_fail_memory(err, "matcher", 0);
    }
    pcre2_set_heap_limit(matcher->context, HEAP_LIMIT_KIB);
    size_t jit_bytes = 0;
    if (pcre2_pattern_info(regex->code, PCRE2_INFO_JITSIZE, &jit_bytes) == 0 && jit_bytes > 0) {
        matcher->stack = pcre2_jit_stack_create(32u * 1024u, JIT_STACK_MAX, NULL);
        if (matcher->stack == NULL) {
            hone_matcher_free(&matcher);
            return hone_fail_memory(err, "matcher", JIT_STACK_MAX);
        }
        pcre2_jit_stack_assign(matcher->context, NULL, matcher->stack);
    }
    *out = matcher;
    return HONE_OK;
}

void hone_matcher_free(hone_matcher **matcher) {
    if (matcher == NULL || *matcher == NULL) return;
    pcre2_match_data_free((*matcher)->data);
    pcre2_match_context_free((*matcher)->context);
    pcre2_jit_stack_free((*matcher)->stack);
    free(*matcher);
    *matcher = NULL;
}

/* Time of this thread only, so that a busy machine is not mistaken for a slow pattern. */
static double thread_seconds(void) {
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void hone_matcher_start(hone_matcher *matcher, const char *text, size_t size) {
    matcher->text = text;
    matcher->size = size;
    matcher->at = 0;
    matcher->last_end = SIZE_MAX;
    matcher->total += size;
    matcher->limit = MATCH_LIMIT + (uint32_t)HONE_MIN(size, (size_t)1 << 28) * MATCH_LIMIT_PER_BYTE;
    pcre2_set_match_limit(matcher->context, matcher->limit);
}

static hone_status check_time(hone_matcher *matcher, hone_error *err) {
    if (++matcher->matches % CLOCK_EVERY != 0) return HONE_OK;
    double now = thread_seconds();
    if (matcher->matches == CLOCK_EVERY) matcher->begin_seconds = now;
    if (now - matcher->begin_seconds <= SECONDS_BASE + SECONDS_PER_BYTE * (double)matcher->total)
        return HONE_OK;
    return hone_fail(err, HONE_ERR_LIMIT,
                     "a split pattern takes too long on a text of %zu bytes (reached byte %zu)",
                     matcher->size, matcher->at);
}

hone_status hone_matcher_next(hone_matcher *matcher, bool *found, size_t *begin, size_t *end,
                              hone_error *err) {
    *found = false;
    while (matcher->at <= matcher->size) {
        int rc = pcre2_match(matcher->regex->code, (PCRE2_SPTR)matcher->text, matcher->size,
                             matcher->at, PCRE2_NO_UTF_CHECK, matcher->data, matcher->context);
        if (rc == PCRE2_ERROR_NOMATCH) return HONE_OK;
        if (rc == PCRE2_ERROR_NOMEMORY) return hone_fail_memory(err, "pattern", 0);
        if (rc < 0) {
            return hone_fail(err, HONE_ERR_LIMIT,
                             "a split pattern needs more than %u steps at byte %zu of the text",
                             matcher->limit, matcher->at);
        }
        HONE_TRY(check_time(matcher, err));
        const PCRE2_SIZE *where = pcre2_get_ovector_pointer(matcher->data);
        bool empty = where[0] >= where[1];
        bool repeated = empty && where[1] == matcher->last_end;
        *begin = where[0];
        *end = HONE_MAX(where[0], where[1]);
        matcher->at = *end;
        if (empty && matcher->at < matcher->size) {
            int32_t cp;
            matcher->at +=
                hone_char_next(matcher->text + matcher->at, matcher->size - matcher->at, &cp);
        } else if (empty) {
            matcher->at++;
        }
        if (repeated) continue;
        matcher->last_end = *end;
        *found = true;
        return HONE_OK;
    }
    return HONE_OK;
}
