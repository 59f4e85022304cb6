/* tests of text/regex: patterns written for Oniguruma find what Oniguruma finds. The matches are
 * those of the tokenizers library (pre-tokenizer Split, which uses it), empty ones left out. */
#include "support.h"

#include "base/status.h"
#include "text/regex.h"

typedef struct regex_case {
    const char *pattern, *text;
    const char *matches[6];
} regex_case;

static const regex_case cases[] = {
    {"\\s", "a\341\240\216b c\302\205d\342\200\250e\034f", {" ", "\302\205", "\342\200\250"}},
    {"\\S+", "a\341\240\216b\343\200\200c", {"a\341\240\216b", "c"}},
    {"[^\\s]+", "\341\240\216\302\240x", {"\341\240\216", "x"}},
    {"\\d+", "12\331\243\302\262", {"12\331\243"}},
    {"\\D+", "1a\302\2622", {"a\302\262"}},
    {"\\w+",
     "a_1\314\201\303\237-\342\200\277\342\205\240\342\223\220\302\262\342\200\215x",
     {"a_1\314\201\303\237", "\342\200\277\342\205\240\342\223\220\302\262", "x"}},
    {"\\W+", "a-\302\262 b", {"-", " "}},
    {"[\\w.]+", "a.b-c", {"a.b", "c"}},
    {"\\h+", "12fFgG", {"12fF"}},
    {"\\H+", "12fFgG", {"gG"}},
    {"[\\h-]+", "a-fz", {"a-f"}},
    {"^.", "ab\012cd\015\012e", {"a", "c", "e"}},
    {".$", "ab\012cd\015\012e", {"b", "\015", "e"}},
    {"\\u0041+", "AAB", {"AA"}},
    {"x{,2}y", "xxxyyxy", {"xxy", "y", "xy"}},
    {"(?i:ss|k)", "\305\277SsKk\342\204\252", {"\305\277S", "K", "k", "\342\204\252"}},
    {"x*", "axxb", {"xx"}},
    {"(?=b)", "abab", {NULL}},
    {"[[:alpha:]]+", "ab1c", {"ab", "c"}},
    {"[]a]+", "a]b", {"a]"}},
    {"\\p{Lu}\\p{^Lu}", "AbCd", {"Ab", "Cd"}},
    {"a++b|a", "aaab aa", {"aaab", "a", "a"}},
    {"(?<=a)b", "ab bb", {"b"}},
    {"[\\[\\]]", "a[b]", {"[", "]"}},
};

static void finds(void **state) {
    const regex_case *c = *state;
    hone_error err;
    hone_regex *regex;
    hone_matcher *matcher;
    size_t count = 0;
    assert_ok(hone_regex_compile(c->pattern, strlen(c->pattern), &regex, &err), err);
    assert_ok(hone_matcher_new(regex, &matcher, &err), err);
    for (int round = 0; round < 2; round++) { /* a matcher starts anew with each text */
        hone_matcher_start(matcher, c->text, strlen(c->text));
        for (count = 0;;) {
            bool found;
            size_t begin, end;
            assert_ok(hone_matcher_next(matcher, &found, &begin, &end, &err), err);
            if (!found) break;
            if (begin == end) continue;
            const char *wanted = count < 6 ? c->matches[count] : NULL;
            bool same = wanted != NULL && strlen(wanted) == end - begin &&
                        memcmp(wanted, c->text + begin, end - begin) == 0;
            if (!same)
                fail_msg("match %zu is \"%.*s\"", count, (int)(end - begin), c->text + begin);
            count++;
        }
        if (count < 6) assert_null(c->matches[count]);
    }
    hone_matcher_free(&matcher);
    hone_regex_free(&regex);
    assert_null(regex);
}

/* An empty match right behind another match does not count; the next character is tried. */
static void empty_matches(void **state) {
    (void)state;
    static const size_t wanted[][2] = {{0, 0}, {1, 3}, {4, 4}};
    hone_error err;
    hone_regex *regex;
    hone_matcher *matcher;
    bool found;
    size_t begin, end;
    assert_ok(hone_regex_compile("x*", 2, &regex, &err), err);
    assert_ok(hone_matcher_new(regex, &matcher, &err), err);
    hone_matcher_start(matcher, "axxb", 4);
    for (size_t i = 0; i < 3; i++) {
        assert_ok(hone_matcher_next(matcher, &found, &begin, &end, &err), err);
        assert_true(found);
        assert_int_equal(begin, wanted[i][0]);
        assert_int_equal(end, wanted[i][1]);
    }
    assert_ok(hone_matcher_next(matcher, &found, &begin, &end, &err), err);
    assert_false(found);
    hone_matcher_free(&matcher);
    hone_regex_free(&regex);
}

static void refused(void **state) {
    (void)state;
    static const char *const patterns[] = {"a(",    "[a",    "\\",      "[a&&b]", "[a[b]]", "[\\W]",
                                           "a{2}+", "(?m)a", "(?im:a)", "\\C",    "\\u12",  "[[:a"};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        hone_error err;
        hone_regex *regex;
        hone_status status = hone_regex_compile(patterns[i], strlen(patterns[i]), &regex, &err);
        if (status != HONE_ERR_UNSUPPORTED) fail_msg("%s: status %d", patterns[i], status);
        assert_null(regex);
        assert_non_null(strstr(err.message, patterns[i]));
    }
    char *large = malloc(70000);
    memset(large, 'a', 69999);
    large[69999] = '\0';
    hone_regex *regex;
    assert_int_equal(hone_regex_compile(large, 69999, &regex, NULL), HONE_ERR_LIMIT);
    free(large);
}

int main(void) {
    enum { COUNT = sizeof cases / sizeof cases[0] };
    struct CMUnitTest tests[COUNT + 2];
    for (size_t i = 0; i < COUNT; i++) {
        tests[i] = (struct CMUnitTest){.name = cases[i].pattern,
                                       .test_func = finds,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    }
    tests[COUNT] = (struct CMUnitTest)cmocka_unit_test(empty_matches);
    tests[COUNT + 1] = (struct CMUnitTest)cmocka_unit_test(refused);
    return cmocka_run_group_tests_name("text/regex", tests, NULL, NULL);
}
