/* tests of text/chat: templates that would take all time, memory or stack end soon, with a
 * message. */
#include "help.h"

#include "text/chat.h"

/* A template: head, then a unit many times, a middle, another unit as often, a tail. */
typedef struct bomb {
    const char *name, *head, *unit;
    size_t count;
    const char *middle, *unit2, *tail;
    hone_status status;
    const char *part; /* of the message */
} bomb;

#define L HONE_ERR_LIMIT
#define F HONE_ERR_FORMAT
#define ONE(name, text, status, part)                                                              \
    { name, text, "", 0, "", "", "", status, part }
#define DEEP(name, head, unit, middle, unit2, tail, part)                                          \
    { name, head, unit, 100000, middle, unit2, tail, L, part }

static const bomb bombs[] = {
    ONE("macro calls itself", "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", L,
        "nested"),
    ONE("macro calls itself in a loop",
        "{% macro f() %}{% for x in [1] %}{% if x %}{{ '%s' % (f()|upper ~ (1 + (2 + 3))) }}"
        "{% endif %}{% endfor %}{% endmacro %}{{ f() }}",
        L, "nested"),
    ONE("recursive loop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", L, "nested"),
    ONE("caller calls caller",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% macro r() %}{% call m() %}{{ r() }}"
        "{% endcall %}{% endmacro %}{{ r() }}",
        L, "nested"),
    ONE("range", "{% for i in range(10**9) %}{% endfor %}", L, "range: 1000000000 numbers"),
    ONE("range of all integers", "{{ range(-9223372036854775807, 9223372036854775807) }}", L,
        "range: 18446744073709551614 numbers"),
    ONE("string times 10^9", "{{ 'x' * 10**9 }}", L, "repeated 1000000000 times"),
    ONE("list times 10^9", "{{ [0] * 10**9 }}", L, "limit"),
    ONE("center", "{{ 'a'.center(10**12) }}", L, "width"),
    ONE("indent", "{{ 'a\nb'|indent(10**9) }}", L, "indentation"),
    ONE("format width", "{{ '%1000000000d' % 1 }}", F, "width"),
    ONE("power", "{{ 10 ** 10 ** 10 }}", L, "64 bits"),
    ONE("sum beyond 64 bits", "{{ 9223372036854775807 + 1 }}", L, "64 bits"),
    ONE("smallest divided by -1", "{{ (-9223372036854775807 - 1) // -1 }}", L, "64 bits"),
    ONE("integer literal", "{{ 99999999999999999999 }}", F, "64 bits"),
    ONE("endless output",
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}", L,
        "steps"),
    ONE("endless and silent",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", L,
        "steps"),
    ONE("string that doubles",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s "
        "%}{% endfor %}",
        L, "memory"),
    ONE("list that doubles",
        "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}"
        "{% endfor %}",
        L, "limit"),
    ONE("list in a list in a list",
        "{% set ns = namespace(s=[]) %}{% for i in range(50000) %}{% set ns.s = [ns.s] %}{% endfor "
        "%}{{ ns.s }}",
        L, "nested"),
    ONE("comparing deep lists",
        "{% set ns = namespace(s=[], t=[]) %}{% for i in range(50000) %}{% set ns.s = [ns.s] %}"
        "{% set ns.t = [ns.t] %}{% endfor %}{{ ns.s == ns.t }}",
        L, "nested"),
    ONE("printing what shares its parts",
        "{% set ns = namespace(s=[1, 1]) %}{% for i in range(40) %}{% set ns.s = [ns.s, ns.s] %}"
        "{% endfor %}{{ ns.s }}",
        L, "steps"),
    ONE("tojson of what shares its parts",
        "{% set ns = namespace(s=[1, 1]) %}{% for i in range(40) %}{% set ns.s = [ns.s, ns.s] %}"
        "{% endfor %}{{ ns.s|tojson }}",
        L, "steps"),
    ONE("hash of what shares its parts",
        "{% set ns = namespace(s=(1, 1)) %}{% for i in range(40) %}{% set ns.s = (ns.s, ns.s) %}"
        "{% endfor %}{{ {ns.s: 1} }}",
        L, "steps"),
    ONE("namespace within itself", "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", L,
        "nested"),
    ONE("replace that grows", "{% set s = 'a' * 100000 %}{{ s|replace('a', s) }}", L, "33554432"),
    ONE("join that grows", "{{ (['a' * 100000] * 100000)|join }}", L, "bytes"),
    ONE("long output", "{% set s = 'a' * 30000000 %}{{ s }}{{ s }}", L, "longer than 33554432"),
    ONE("long searches",
        "{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{% if 'b' in s %}{% endif %}"
        "{% endfor %}",
        L, "steps"),
    ONE("long lengths",
        "{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{% set n = s|length %}{% endfor "
        "%}",
        L, "steps"),
    ONE("long strips",
        "{% set s = ' ' * 10000000 %}{% for i in range(100000) %}{% set t = s.strip() %}{% endfor "
        "%}",
        L, "steps"),
    ONE("long slices",
        "{% set s = 'a' * 10000000 %}{% for i in range(100000) %}{% set t = s[9999990:] %}"
        "{% endfor %}",
        L, "steps"),
    ONE("search backwards", "{{ ('a' * 5000000).rfind('b' + 'a' * 2000000) }}", L, "steps"),
    ONE("sorting long strings", "{{ ([('a' * 1000000)] * 100)|sort }}", L, "steps"),
    ONE("many pieces", "{{ ('a' * 3000000).split('a')|length }}", L, "limit"),
    DEEP("parentheses", "{{ ", "(", "1", ")", " }}", "nested deeper"),
    DEEP("lists", "{{ ", "[", "", "]", " }}", "nested deeper"),
    DEEP("dicts", "{{ ", "{1:", "1", "}", " }}", "nested deeper"),
    DEEP("subscripts", "{{ a", "[0", "", "]", " }}", "nested deeper"),
    DEEP("not", "{{ ", "not ", "1", "", " }}", "nested deeper"),
    DEEP("signs", "{{ ", "-", "1", "", " }}", "nested deeper"),
    {"else", "{{ ", "1 if 0 else ", 40000, "1", "", " }}", L, "nested deeper"},
    DEEP("sums", "{{ 1", "+1", "", "", " }}", "nested deeper"),
    DEEP("attributes", "{{ a", ".a", "", "", " }}", "nested deeper"),
    DEEP("calls", "{{ a", "()", "", "", " }}", "nested deeper"),
    DEEP("items", "{{ a", "[0]", "", "", " }}", "nested deeper"),
    {"filters", "{{ 'a'", "|upper", 50000, "", "", " }}", L, "nested deeper"},
    {"if", "", "{% if 1 %}", 40000, "", "", "", L, "nested deeper"},
    {"for", "", "{% for a in [1] %}", 25000, "", "", "", L, "nested deeper"},
    {"elif", "{% if 0 %}", "{% elif 0 %}", 40000, "{% endif %}", "", "", L, "nested deeper"},
    {"generation", "", "{% generation %}", 20000, "", "", "", L, "nested deeper"},
    {"source", "", "x", 600000, "", "", "", L, "the limit is 524288"},
    {"open comments", "", "{#", 200000, "", "", "", F, "a comment is not closed"},
    {"open raw block", "{% raw %}", "{% ", 150000, "", "", "", F, "a raw block is not closed"},
    {"open string", "{{ '", "a", 500000, "", "", "", F, "a string is not closed"},
};

static void ends_soon(void **state) {
    const bomb *b = *state;
    hone_error err = {0};
    hone_buf source = hone_buf_make(SIZE_MAX), text = hone_buf_make(SIZE_MAX);
    assert_ok(hone_buf_append_str(&source, b->head, &err), err);
    for (size_t i = 0; i < b->count; i++) {
        assert_ok(hone_buf_append_str(&source, b->unit, &err), err);
    }
    assert_ok(hone_buf_append_str(&source, b->middle, &err), err);
    for (size_t i = 0; i < b->count && *b->unit2 != '\0'; i++) {
        assert_ok(hone_buf_append_str(&source, b->unit2, &err), err);
    }
    assert_ok(hone_buf_append_str(&source, b->tail, &err), err);
    json_t *variables = json_object();
    hone_chat_template *chat;
    double begin = cpu_seconds();
    hone_status status = hone_chat_template_parse(source.data, source.size, "bomb", &chat, &err);
    if (status == HONE_OK) {
        status = hone_chat_template_render(chat, variables, &text, NULL, NULL, &err);
    }
    double seconds = cpu_seconds() - begin;
    hone_chat_template_free(&chat);
    json_decref(variables);
    hone_buf_free(&source);
    if (status != b->status) fail_msg("status %d, expected %d: %s", status, b->status, err.message);
    if (strstr(err.message, b->part) == NULL) fail_msg("no \"%s\" in: %s", b->part, err.message);
    if (seconds > SLOWER) fail_msg("took %.1f s", seconds);
    assert_int_equal(text.size, 0);
    hone_buf_free(&text);
}

/* What people do must stay far from the limits. */
static void a_long_chat(void **state) {
    (void)state;
    static const char source[] =
        "{%- for m in messages %}{%- set content = m.content|trim %}{%- if m.role == 'user' %}"
        "{{- '<user>' + content + '</user>\n' }}{%- else %}{% generation %}{{- "
        "content.replace('x', "
        "'y') ~ '</s>' }}{% endgeneration %}{%- endif %}{%- endfor %}";
    hone_error err;
    hone_chat_template *chat;
    json_t *messages = json_array(), *variables = json_object();
    char content[513];
    memset(content, 'x', 512);
    content[512] = '\0';
    for (int i = 0; i < 10000; i++) {
        json_array_append_new(
            messages,
            json_pack("{s:s,s:s}", "role", i % 2 == 0 ? "user" : "assistant", "content", content));
    }
    json_object_set_new(variables, "messages", messages);
    hone_buf text = hone_buf_make(SIZE_MAX);
    hone_chat_span *spans;
    size_t count;
    assert_ok(hone_chat_template_parse(source, sizeof source - 1, "t", &chat, &err), err);
    assert_ok(hone_chat_template_render(chat, variables, &text, &spans, &count, &err), err);
    assert_int_equal(text.size, 5000 * (512 + 14) + 5000 * (512 + 4));
    assert_int_equal(count, 5000);
    for (size_t i = 0; i < count; i++) assert_int_equal(spans[i].end - spans[i].begin, 516);
    free(spans);
    hone_buf_free(&text);
    json_decref(variables);
    hone_chat_template_free(&chat);
}

int main(void) {
    enum { COUNT = sizeof bombs / sizeof bombs[0] };
    struct CMUnitTest tests[COUNT + 1];
    for (size_t i = 0; i < COUNT; i++) {
        tests[i] = (struct CMUnitTest){.name = bombs[i].name,
                                       .test_func = ends_soon,
                                       .initial_state = (void *)(uintptr_t)&bombs[i]};
    }
    tests[COUNT] = (struct CMUnitTest)cmocka_unit_test(a_long_chat);
    return cmocka_run_group_tests_name("text/chat_limit", tests, NULL, NULL);
}
