/* eval/compile_check: see compile_check.h. */
#include "eval/compile_check.h"

#include "base/size.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char source_name[] = "kernels.c";

enum { DIRECTIVE_LIMIT = 512, WORD_LIMIT = 64 };

/* A source as the compiler's first phases see it: lines joined at backslashes. */
typedef struct scanner {
    const char *at, *end;
    size_t line;
    const char *file; /* of the line: as written, or what a line marker said */
    char marked[DIRECTIVE_LIMIT];
    bool preprocessed, any_code;
    hone_buf *why;
    bool good;
} scanner;

static const char *const headers[] = {
    "hone_kernels.h", "assert.h",    "complex.h",   "ctype.h",     "errno.h",       "fenv.h",
    "float.h",        "inttypes.h",  "iso646.h",    "limits.h",    "locale.h",      "math.h",
    "setjmp.h",       "signal.h",    "stdalign.h",  "stdarg.h",    "stdatomic.h",   "stdbool.h",
    "stddef.h",       "stdint.h",    "stdio.h",     "stdlib.h",    "stdnoreturn.h", "string.h",
    "tgmath.h",       "threads.h",   "time.h",      "uchar.h",     "wchar.h",       "wctype.h",
    "immintrin.h",    "x86intrin.h", "xmmintrin.h", "emmintrin.h", "pmmintrin.h",   "tmmintrin.h",
    "smmintrin.h",    "nmmintrin.h", "wmmintrin.h", "arm_neon.h",  "arm_bf16.h",    "arm_fp16.h",
    "arm_sve.h",      "arm_acle.h"};

static void refuse(scanner *s, size_t line, const char *format, const char *what) {
    s->good = false;
    hone_buf text = hone_buf_make(1024);
    if (hone_buf_printf(&text, NULL, "%s:%zu: error: ", s->file, line) == HONE_OK &&
        hone_buf_printf(&text, NULL, format, what) == HONE_OK &&
        hone_buf_append_char(&text, '\n', NULL) == HONE_OK)
        (void)hone_buf_append(s->why, text.data, text.size, NULL);
    hone_buf_free(&text);
}

/* The length of a joint of lines at `p` (a backslash, perhaps blanks, a line end); 0: none. */
static size_t joint(const scanner *s, const char *p) {
    if (p >= s->end || *p != '\\') return 0;
    const char *q = p + 1;
    while (q < s->end && (*q == ' ' || *q == '\t' || *q == '\r')) q++;
    return q < s->end && *q == '\n' ? (size_t)(q + 1 - p) : 0;
}

static void skip_joints(scanner *s) {
    for (size_t n; (n = joint(s, s->at)) > 0; s->at += n) s->line++;
}

/* The character at hand, 0 at the end; and the one after it. */
static char here(scanner *s) {
    skip_joints(s);
    return s->at < s->end ? *s->at : 0;
}

static char after(scanner *s) {
    if (here(s) == 0) return 0;
    const char *p = s->at + 1;
    for (size_t n; (n = joint(s, p)) > 0;) p += n;
    return p < s->end ? *p : 0;
}

static void step(scanner *s) {
    if (here(s) == 0) return;
    if (*s->at == '\n') s->line++;
    s->at++;
}

/* Whether a comment begins here, which is then skipped; one to the end of the line leaves the line's end. */
static bool skip_comment(scanner *s) {
    if (s->preprocessed || here(s) != '/') return false;
    if (after(s) == '/') {
        while (here(s) != 0 && here(s) != '\n') step(s);
        return true;
    }
    if (after(s) != '*') return false;
    step(s);
    step(s);
    while (here(s) != 0 && !(here(s) == '*' && after(s) == '/')) step(s);
    step(s);
    step(s);
    return true;
}

static void skip_literal(scanner *s) {
    char quote = here(s);
    step(s);
    for (char c; (c = here(s)) != 0 && c != quote && c != '\n'; step(s))
        if (c == '\\') step(s);
    if (here(s) == quote) step(s);
}

/* Takes the rest of the line into text, comments and runs of blanks as one blank. */
static void take_directive(scanner *s, char text[DIRECTIVE_LIMIT]) {
    size_t size = 0;
    for (char c; (c = here(s)) != 0 && c != '\n';) {
        const char *from = s->at;
        bool blank = isspace((unsigned char)c) || skip_comment(s);
        if (!blank && (c == '"' || c == '\''))
            skip_literal(s); /* in which no comment begins */
        else if (s->at == from)
            step(s);
        for (; !blank && from < s->at; from++)
            if (size + 1 < DIRECTIVE_LIMIT) text[size++] = *from;
        if (blank && size > 0 && size + 1 < DIRECTIVE_LIMIT && text[size - 1] != ' ')
            text[size++] = ' ';
    }
    while (size > 0 && isspace((unsigned char)text[size - 1])) size--;
    text[size] = 0;
}

/* The first word of `text`, and what follows it. */
static const char *split_word(const char *text, char word[WORD_LIMIT]) {
    size_t size = 0;
    while (isspace((unsigned char)*text)) text++;
    for (; isalnum((unsigned char)*text) || *text == '_'; text++)
        if (size + 1 < WORD_LIMIT) word[size++] = *text;
    word[size] = 0;
    while (isspace((unsigned char)*text)) text++;
    return text;
}

static void check_include(scanner *s, size_t line, const char *name) {
    size_t size = strlen(name);
    bool angled = size > 2 && name[0] == '<' && name[size - 1] == '>';
    bool quoted = size > 2 && name[0] == '"' && name[size - 1] == '"';
    for (size_t i = 0; (angled || quoted) && i < sizeof headers / sizeof headers[0]; i++) {
        if (quoted && i > 0) break; /* only hone_kernels.h lies beside the source */
        if (strlen(headers[i]) == size - 2 && memcmp(headers[i], name + 1, size - 2) == 0) return;
    }
    refuse(s, line,
           "#include %s: a kernel file may include <hone_kernels.h>, headers of the C standard and "
           "of the CPU's intrinsics",
           name);
}

/* Pragmas that change what arithmetic means. */
static void check_pragma(scanner *s, size_t line, const char *text) {
    char first[WORD_LIMIT], second[WORD_LIMIT];
    const char *rest = split_word(text, first);
    split_word(rest, second);
    bool gnu = strcmp(first, "GCC") == 0 || strcmp(first, "clang") == 0;
    if ((gnu && (strcmp(second, "optimize") == 0 || strcmp(second, "fp") == 0)) ||
        strcmp(first, "float_control") == 0)
        refuse(s, line,
               "#pragma %s: the flags of optimization are the evaluation's, and arithmetic stays "
               "as written",
               text);
    if (gnu && strcmp(second, "dependency") == 0)
        refuse(s, line, "#pragma %s: a kernel file may not ask for other files", text);
}

static void check_directive(scanner *s) {
    char text[DIRECTIVE_LIMIT], word[WORD_LIMIT];
    size_t line = s->line;
    take_directive(s, text);
    const char *rest = split_word(text, word);
    if (strcmp(word, "pragma") == 0) {
        check_pragma(s, line, rest);
    } else if (s->preprocessed) {
        /* # LINE "FILE": where the next line comes from */
        if (isdigit((unsigned char)word[0])) {
            s->line = (size_t)strtoull(word, NULL, 10) - 1; /* the end of this line counts one */
            snprintf(s->marked, sizeof s->marked, "%s", rest + (*rest == '"'));
            s->marked[strcspn(s->marked, "\"")] = 0;
            s->file = s->marked;
        }
    } else if (strcmp(word, "include") == 0) {
        check_include(s, line, rest);
    } else if (strcmp(word, "include_next") == 0 || strcmp(word, "import") == 0 ||
               strcmp(word, "embed") == 0 || strcmp(word, "line") == 0 ||
               isdigit((unsigned char)word[0])) {
        refuse(s, line, "#%s is not allowed in a kernel file", word);
    }
}

static void check_word(scanner *s) {
    char word[WORD_LIMIT];
    size_t size = 0, line = s->line;
    for (char c; isalnum((unsigned char)(c = here(s))) || c == '_' || c == '$'; step(s))
        if (size + 1 < WORD_LIMIT) word[size++] = c;
    word[size] = 0;
    if (strcmp(word, "optimize") == 0 || strcmp(word, "__optimize__") == 0)
        refuse(
            s, line,
            "the attribute \"%s\" is not allowed: the flags of optimization are the evaluation's",
            word);
    bool assembly =
        strcmp(word, "asm") == 0 || strcmp(word, "__asm") == 0 || strcmp(word, "__asm__") == 0;
    if (assembly && !s->any_code && strcmp(s->file, source_name) == 0)
        refuse(s, line, "%s: assembly is not allowed in a kernel file; the CPU's intrinsics are",
               word);
    /* Where one of those ends takes another scanner. */
    bool raw = size > 0 && size <= 3 && word[size - 1] == 'R';
    if (raw && here(s) == '"')
        refuse(s, line, "a raw string literal (%s\"...\") is not allowed", word);
}

static bool scan(const char *text, size_t size, bool preprocessed, bool any_code, hone_buf *why) {
    scanner s = {text, text + size, 1, source_name, "", preprocessed, any_code, why, true};
    bool line_start = true;
    for (char c; (c = here(&s)) != 0;) {
        if (c == '\n') {
            line_start = true;
            step(&s);
        } else if (isspace((unsigned char)c)) {
            step(&s);
        } else if (skip_comment(&s)) {
            /* as a blank */
        } else if (line_start && (c == '#' || (c == '%' && after(&s) == ':'))) {
            step(&s);
            if (c == '%') step(&s);
            check_directive(&s);
        } else {
            line_start = false;
            if (c == '"' || c == '\'')
                skip_literal(&s);
            else if (isalnum((unsigned char)c) || c == '_' || c == '$')
                check_word(&s);
            else
                step(&s);
        }
    }
    return s.good;
}

bool hone_check_source(const char *text, size_t size, bool any_code, hone_buf *why) {
    const char *nul = size ? memchr(text, 0, size) : NULL;
    if (!nul) return scan(text, size, false, any_code, why);
    size_t line = 1;
    for (const char *p = text; p < nul; p++) line += *p == '\n';
    (void)hone_buf_printf(why, NULL, "kernels.c:%zu: error: a NUL byte; expected text\n", line);
    return false;
}

bool hone_check_preprocessed(const char *text, size_t size, bool any_code, hone_buf *why) {
    return scan(text, size, true, any_code, why);
}

/* ---- flags --------------------------------------------------------------------------------------- */

/* A flag is allowed when it is one of these, or begins with one that ends in '*'. */
static const char *const allowed_flags[] = {"-O0",
                                            "-O1",
                                            "-O2",
                                            "-O3",
                                            "-march=*",
                                            "-mtune=*",
                                            "-mcpu=*",
                                            "-mprefer-vector-width=*",
                                            "-mavx*",
                                            "-mno-avx*",
                                            "-mfma",
                                            "-mno-fma",
                                            "-mf16c",
                                            "-mbmi",
                                            "-mbmi2",
                                            "-mamx-*",
                                            "-msse4*",
                                            "-mvzeroupper",
                                            "-mno-vzeroupper",
                                            "--param=*"};

/* The same of what follows -f or -fno-. None of these changes the value of an expression. */
static const char *const allowed_passes[] = {"align-functions*",
                                             "align-jumps*",
                                             "align-labels*",
                                             "align-loops*",
                                             "branch-count-reg",
                                             "cse-follow-jumps",
                                             "gcse*",
                                             "graphite*",
                                             "if-conversion*",
                                             "inline*",
                                             "ipa-*",
                                             "ira-*",
                                             "ivopts",
                                             "loop-interchange",
                                             "loop-nest-optimize",
                                             "loop-unroll-and-jam",
                                             "modulo-sched*",
                                             "move-loop-*",
                                             "omit-frame-pointer",
                                             "partial-inlining",
                                             "peel-loops",
                                             "predictive-commoning",
                                             "prefetch-loop-arrays",
                                             "rename-registers",
                                             "reorder-*",
                                             "schedule-*",
                                             "sched-*",
                                             "selective-scheduling*",
                                             "simd-cost-model=*",
                                             "slp-vectorize",
                                             "split-ivs-in-unroller",
                                             "split-loops",
                                             "split-paths",
                                             "split-wide-types",
                                             "strict-aliasing",
                                             "tracer",
                                             "tree-ch",
                                             "tree-loop-*",
                                             "tree-partial-pre",
                                             "tree-pre",
                                             "tree-sink",
                                             "tree-slp-vectorize",
                                             "tree-vectorize",
                                             "tree-vrp",
                                             "unroll*",
                                             "unswitch-loops",
                                             "variable-expansion-in-unroller",
                                             "vect-cost-model=*",
                                             "vectorize",
                                             "version-loops-for-strides",
                                             "web"};

static bool in_list(const char *word, const char *const *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(list[i]);
        bool prefix = list[i][size - 1] == '*';
        if (prefix ? strncmp(word, list[i], size - 1) == 0 : strcmp(word, list[i]) == 0)
            return true;
    }
    return false;
}

static bool is_allowed(const char *flag) {
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=.,+";
    if (flag[strspn(flag, letters)]) return false;
    if (strncmp(flag, "-f", 2) != 0)
        return in_list(flag, allowed_flags, sizeof allowed_flags / sizeof allowed_flags[0]);
    const char *pass = flag + (strncmp(flag, "-fno-", 5) == 0 ? 5 : 2);
    return in_list(pass, allowed_passes, sizeof allowed_passes / sizeof allowed_passes[0]);
}

hone_status hone_check_flags(const char *flags, hone_error *err) {
    char flag[128];
    for (const char *at = flags + strspn(flags, " \t"); *at; at += strspn(at, " \t")) {
        size_t size = strcspn(at, " \t");
        snprintf(flag, sizeof flag, "%.*s", (int)HONE_MIN(size, sizeof flag - 1), at);
        at += size;
        if (size >= sizeof flag || !is_allowed(flag))
            return hone_fail(
                err, HONE_ERR_USAGE,
                "the compiler flag \"%s\" is not allowed: expected flags of optimization, "
                "such as -O3 -march=native -funroll-loops, that leave arithmetic as written",
                flag);
    }
    return HONE_OK;
}
