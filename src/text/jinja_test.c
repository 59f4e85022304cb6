/* text/jinja_test: what may stand behind "is". */
#include "base/size.h"
#include "text/jinja_render.h"
#include "text/jinja_text.h"

typedef enum test_kind {
    TEST_KIND,     /* the value is of one of the kinds in `mask` */
    TEST_OPERATOR, /* a comparison with the argument */
    TEST_SAME,
    TEST_TRUTH, /* true and false themselves */
    TEST_FALSEHOOD,
    TEST_ODD,
    TEST_EVEN,
    TEST_DIVISIBLE,
    TEST_UPPER,
    TEST_LOWER,
    TEST_ESCAPED,
    TEST_FILTER_NAME,
    TEST_TEST_NAME
} test_kind;

#define KIND(k) (1u << (k))
#define ANY_KIND 0xffffu

typedef struct test {
    const char *name;
    test_kind kind;
    unsigned mask;    /* TEST_KIND */
    hone_operator op; /* TEST_OPERATOR */
} test;

static const test tests[] = {
    {"defined", TEST_KIND, ANY_KIND & ~KIND(HONE_VALUE_UNDEFINED), HONE_OP_NONE},
    {"undefined", TEST_KIND, KIND(HONE_VALUE_UNDEFINED), HONE_OP_NONE},
    {"none", TEST_KIND, KIND(HONE_VALUE_NONE), HONE_OP_NONE},
    {"boolean", TEST_KIND, KIND(HONE_VALUE_BOOL), HONE_OP_NONE},
    {"integer", TEST_KIND, KIND(HONE_VALUE_INT), HONE_OP_NONE},
    {"float", TEST_KIND, KIND(HONE_VALUE_FLOAT), HONE_OP_NONE},
    {"number", TEST_KIND, KIND(HONE_VALUE_BOOL) | KIND(HONE_VALUE_INT) | KIND(HONE_VALUE_FLOAT),
     HONE_OP_NONE},
    {"string", TEST_KIND, KIND(HONE_VALUE_STRING), HONE_OP_NONE},
    {"mapping", TEST_KIND, KIND(HONE_VALUE_DICT), HONE_OP_NONE},
    {"sequence", TEST_KIND,
     KIND(HONE_VALUE_UNDEFINED) | KIND(HONE_VALUE_STRING) | KIND(HONE_VALUE_LIST) |
         KIND(HONE_VALUE_TUPLE) | KIND(HONE_VALUE_RANGE) | KIND(HONE_VALUE_DICT),
     HONE_OP_NONE},
    {"iterable", TEST_KIND,
     KIND(HONE_VALUE_UNDEFINED) | KIND(HONE_VALUE_STRING) | KIND(HONE_VALUE_LIST) |
         KIND(HONE_VALUE_TUPLE) | KIND(HONE_VALUE_RANGE) | KIND(HONE_VALUE_VIEW) |
         KIND(HONE_VALUE_ITERATOR) | KIND(HONE_VALUE_DICT) | KIND(HONE_VALUE_LOOP),
     HONE_OP_NONE},
    {"callable", TEST_KIND,
     KIND(HONE_VALUE_CALLABLE) | KIND(HONE_VALUE_LOOP) | KIND(HONE_VALUE_UNDEFINED), HONE_OP_NONE},
    {"true", TEST_TRUTH, 0, HONE_OP_NONE},
    {"false", TEST_FALSEHOOD, 0, HONE_OP_NONE},
    {"odd", TEST_ODD, 0, HONE_OP_NONE},
    {"even", TEST_EVEN, 0, HONE_OP_NONE},
    {"divisibleby", TEST_DIVISIBLE, 0, HONE_OP_NONE},
    {"upper", TEST_UPPER, 0, HONE_OP_NONE},
    {"lower", TEST_LOWER, 0, HONE_OP_NONE},
    {"escaped", TEST_ESCAPED, 0, HONE_OP_NONE},
    {"filter", TEST_FILTER_NAME, 0, HONE_OP_NONE},
    {"test", TEST_TEST_NAME, 0, HONE_OP_NONE},
    {"sameas", TEST_SAME, 0, HONE_OP_NONE},
    {"in", TEST_OPERATOR, 0, HONE_OP_IN},
    {"==", TEST_OPERATOR, 0, HONE_OP_EQ},
    {"eq", TEST_OPERATOR, 0, HONE_OP_EQ},
    {"equalto", TEST_OPERATOR, 0, HONE_OP_EQ},
    {"!=", TEST_OPERATOR, 0, HONE_OP_NE},
    {"ne", TEST_OPERATOR, 0, HONE_OP_NE},
    {">", TEST_OPERATOR, 0, HONE_OP_GT},
    {"gt", TEST_OPERATOR, 0, HONE_OP_GT},
    {"greaterthan", TEST_OPERATOR, 0, HONE_OP_GT},
    {">=", TEST_OPERATOR, 0, HONE_OP_GE},
    {"ge", TEST_OPERATOR, 0, HONE_OP_GE},
    {"<", TEST_OPERATOR, 0, HONE_OP_LT},
    {"lt", TEST_OPERATOR, 0, HONE_OP_LT},
    {"lessthan", TEST_OPERATOR, 0, HONE_OP_LT},
    {"<=", TEST_OPERATOR, 0, HONE_OP_LE},
    {"le", TEST_OPERATOR, 0, HONE_OP_LE},
};

static const test *find_test(hone_slice name) {
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (hone_slice_is(name, tests[i].name)) return &tests[i];
    }
    return NULL;
}

bool hone_test_exists(hone_slice name) { return find_test(name) != NULL; }

/* Lists and dicts are the same when they are one object; the small values of Python are one object
 * when equal. */
static hone_status is_same(hone_render *r, const hone_value *a, const hone_value *b, bool *out) {
    *out = false;
    if (a->kind != b->kind) return HONE_OK;
    if (hone_value_has_list(a)) *out = a->list == b->list;
    if (hone_value_is(a, HONE_VALUE_DICT)) *out = a->dict == b->dict;
    if (hone_value_has_list(a) || hone_value_is(a, HONE_VALUE_DICT)) return HONE_OK;
    return hone_value_equal(r, a, b, out);
}

static hone_status test_remainder(hone_render *r, const hone_value *v, const hone_value *divisor,
                                  int64_t wanted, bool *out) {
    hone_value rest, expected = hone_value_int(wanted);
    HONE_TRY(hone_jinja_binary(r, HONE_OP_MOD, v, divisor, &rest));
    return hone_value_equal(r, &rest, &expected, out);
}

static hone_status test_case(hone_render *r, const hone_value *v, hone_text_class what, bool *out) {
    hone_slice text;
    HONE_TRY(hone_value_text(r, v, &text));
    *out = hone_text_is(text, what);
    return HONE_OK;
}

hone_status hone_test_apply(hone_render *r, hone_slice name, const hone_args *args, bool *out) {
    static const char *const one[] = {"value", NULL}, *const two[] = {"value", "other", NULL};
    const test *t = find_test(name);
    hone_value v[2], divisor = hone_value_int(2);
    HONE_TRY(hone_render_charge(r, 1));
    if (t == NULL) {
        return hone_fail(r->err, HONE_ERR_UNSUPPORTED, "the test '%.*s' is not supported",
                         (int)HONE_MIN(name.size, (size_t)100), name.data);
    }
    bool binary = t->kind == TEST_OPERATOR || t->kind == TEST_SAME || t->kind == TEST_DIVISIBLE;
    HONE_TRY(hone_jinja_bind(r, t->name, args, binary ? two : one, binary ? 2 : 1, v));
    switch (t->kind) {
    case TEST_KIND:
        *out = (t->mask & KIND(v[0].kind)) != 0;
        return HONE_OK;
    case TEST_OPERATOR:
        return hone_jinja_compare(r, t->op, &v[0], &v[1], out);
    case TEST_SAME:
        return is_same(r, &v[0], &v[1], out);
    case TEST_TRUTH:
        *out = hone_value_is(&v[0], HONE_VALUE_BOOL) && v[0].truth;
        return HONE_OK;
    case TEST_FALSEHOOD:
        *out = hone_value_is(&v[0], HONE_VALUE_BOOL) && !v[0].truth;
        return HONE_OK;
    case TEST_ODD:
        return test_remainder(r, &v[0], &divisor, 1, out);
    case TEST_EVEN:
        return test_remainder(r, &v[0], &divisor, 0, out);
    case TEST_DIVISIBLE:
        return test_remainder(r, &v[0], &v[1], 0, out);
    case TEST_UPPER:
        return test_case(r, &v[0], HONE_TEXT_IS_UPPER, out);
    case TEST_LOWER:
        return test_case(r, &v[0], HONE_TEXT_IS_LOWER, out);
    case TEST_ESCAPED:
        *out = hone_value_is(&v[0], HONE_VALUE_STRING) && v[0].markup;
        return HONE_OK;
    case TEST_FILTER_NAME:
        *out = hone_value_is(&v[0], HONE_VALUE_STRING) && hone_filter_exists(v[0].string);
        return HONE_OK;
    case TEST_TEST_NAME:
        *out = hone_value_is(&v[0], HONE_VALUE_STRING) && hone_test_exists(v[0].string);
        return HONE_OK;
    }
    return hone_fail(r->err, HONE_ERR_INTERNAL, "test %d", (int)t->kind);
}
