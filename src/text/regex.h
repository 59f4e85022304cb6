/* text/regex: the split and replace patterns of tokenizer.json, which are written for Oniguruma
 * (Ruby syntax), run by PCRE2 under limits. Constructs that the two read differently are rewritten
 * or refused by name. */
#ifndef HONE_TEXT_REGEX_H
#define HONE_TEXT_REGEX_H

#include "base/status.h"

typedef struct hone_regex hone_regex;     /* immutable; threads share it */
typedef struct hone_matcher hone_matcher; /* one thread's search through one text */

/* `pattern` is NUL-terminated UTF-8. HONE_ERR_UNSUPPORTED when PCRE2 cannot run it the same way. */
hone_status hone_regex_compile(const char *pattern, size_t size, hone_regex **out, hone_error *err);
void hone_regex_free(hone_regex **regex);

hone_status hone_matcher_new(const hone_regex *regex, hone_matcher **out, hone_error *err);
void hone_matcher_free(hone_matcher **matcher);

/* The next match at or after the previous one, as Oniguruma's find_iter has it (an empty match
 * right after a match is skipped). `text` must be well-formed UTF-8 and the same in all calls
 * until hone_matcher_start. *found is false at the end. A pattern that needs too many steps is
 * HONE_ERR_LIMIT. */
void hone_matcher_start(hone_matcher *matcher, const char *text, size_t size);
hone_status hone_matcher_next(hone_matcher *matcher, bool *found, size_t *begin, size_t *end,
                              hone_error *err);

#endif
