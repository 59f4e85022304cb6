/* text/tokenizer_parts: the components of tokenizer.json around the model, by their "type". A kind
 * that is not known is refused by name: to leave it out would silently give other tokens. */
#include "text/tokenizer_impl.h"
#include "base/size.h"
#include "text/unicode.h"
#include <string.h>

#define MAX_DEPTH 16 /* of Sequences within Sequences */

typedef hone_status (*load_one)(hone_tokenizer *t, const json_t *value, const char *type,
                                const char *name, hone_error *err);

static hone_status unsupported(const char *name, const char *part, const char *what,
                               hone_error *err) {
    return hone_fail(err, HONE_ERR_UNSUPPORTED, "%s: the %s \"%.64s\" is not supported", name, part,
                     what);
}

static hone_status bad_member(const char *name, const char *type, const char *key,
                              const char *expected, hone_error *err) {
    return hone_fail(err, HONE_ERR_FORMAT, "%s: \"%s\" of \"%.64s\": expected %s", name, key, type,
                     expected);
}

/* Calls `load` for the component, or for each in turn when it is a "Sequence" (its list is under
 * `list_key`). */
static hone_status for_each(hone_tokenizer *t, const json_t *value, const char *list_key,
                            load_one load, int depth, const char *name, hone_error *err) {
    const char *type;
    if (value == NULL || json_is_null(value)) return HONE_OK;
    if (!json_is_object(value))
        return bad_member(name, "tokenizer", list_key, "an object with a type", err);
    HONE_TRY(hone_json_get_string(value, "type", name, "", &type, err));
    if (strcmp(type, "Sequence") != 0) return load(t, value, type, name, err);
    if (depth == MAX_DEPTH) {
        return hone_fail(err, HONE_ERR_LIMIT, "%s: %s nested deeper than %d", name, list_key,
                         MAX_DEPTH);
    }
    const json_t *list = json_object_get(value, list_key);
    if (!json_is_array(list)) return bad_member(name, type, list_key, "an array", err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        HONE_TRY(for_each(t, json_array_get(list, i), list_key, load, depth + 1, name, err));
    }
    return HONE_OK;
}

static hone_status check_room(size_t count, const char *name, hone_error *err) {
    if (count < HONE_MAX_STEPS) return HONE_OK;
    return hone_fail(err, HONE_ERR_LIMIT, "%s: more than %d steps in one sequence", name,
                     HONE_MAX_STEPS);
}

static hone_status copy_string(hone_tokenizer *t, const json_t *value, hone_slice *out,
                               hone_error *err) {
    out->size = json_string_length(value);
    out->data = hone_region_copy(&t->region, json_string_value(value), out->size, err);
    return out->data == NULL ? err->status : HONE_OK;
}

static hone_status get_slice(hone_tokenizer *t, const json_t *object, const char *type,
                             const char *key, const char *name, hone_slice *out, hone_error *err) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) return bad_member(name, type, key, "a string", err);
    return copy_string(t, value, out, err);
}

/* {"String": "..."} or {"Regex": "..."}. */
static hone_status get_pattern(hone_tokenizer *t, const json_t *object, const char *type,
                               const char *name, hone_slice *pattern, hone_regex **regex,
                               hone_error *err) {
    const json_t *value = json_object_get(object, "pattern");
    const json_t *string = json_object_get(value, "String"),
                 *source = json_object_get(value, "Regex");
    if (json_is_string(source)) {
        hone_status status =
            hone_regex_compile(json_string_value(source), json_string_length(source), regex, err);
        return status == HONE_OK ? HONE_OK : hone_fail_prefix(err, "%s", name);
    }
    if (!json_is_string(string) || json_string_length(string) == 0) {
        return bad_member(name, type, "pattern", "a String or a Regex that is not empty", err);
    }
    return copy_string(t, string, pattern, err);
}

static hone_status load_normalize_step(hone_tokenizer *t, const json_t *value, const char *type,
                                       const char *name, hone_error *err) {
    static const struct {
        const char *type;
        hone_normalize_kind kind;
    } kinds[] = {
        {"NFC", HONE_NORMALIZE_NFC},         {"NFD", HONE_NORMALIZE_NFD},
        {"NFKC", HONE_NORMALIZE_NFKC},       {"NFKD", HONE_NORMALIZE_NFKD},
        {"Prepend", HONE_NORMALIZE_PREPEND}, {"Replace", HONE_NORMALIZE_REPLACE},
        {"Strip", HONE_NORMALIZE_STRIP},     {"Lowercase", HONE_NORMALIZE_LOWERCASE},
    };
    const size_t known = sizeof kinds / sizeof kinds[0];
    size_t at = 0;
    while (at < known && strcmp(kinds[at].type, type) != 0) at++;
    if (at == known) return unsupported(name, "normalizer", type, err);
    HONE_TRY(check_room(t->normalize_count, name, err));
    hone_normalize_step *step = &t->normalize[t->normalize_count++];
    step->kind = kinds[at].kind;
    switch (step->kind) {
    case HONE_NORMALIZE_PREPEND:
        return get_slice(t, value, type, "prepend", name, &step->content, err);
    case HONE_NORMALIZE_REPLACE:
        HONE_TRY(get_slice(t, value, type, "content", name, &step->content, err));
        return get_pattern(t, value, type, name, &step->pattern, &step->regex, err);
    case HONE_NORMALIZE_STRIP:
        HONE_TRY(hone_json_get_bool(value, "strip_left", name, true, &step->left, err));
        return hone_json_get_bool(value, "strip_right", name, true, &step->right, err);
    default:
        return HONE_OK;
    }
}

hone_status hone_tokenizer_load_normalizer(hone_tokenizer *t, const json_t *value, const char *name,
                                           hone_error *err) {
    return for_each(t, value, "normalizers", load_normalize_step, 0, name, err);
}

static hone_status get_behavior(const json_t *value, const char *type, const char *name,
                                hone_split_behavior *out, hone_error *err) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *text;
    HONE_TRY(hone_json_get_string(value, "behavior", name, "Isolated", &text, err));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], text) != 0) continue;
        *out = (hone_split_behavior)i;
        return HONE_OK;
    }
    return bad_member(name, type, "behavior",
                      "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous", err);
}

/* Older files have add_prefix_space instead of prepend_scheme. */
static hone_status get_scheme(const json_t *value, const char *type, const char *name,
                              hone_prepend_scheme *out, hone_error *err) {
    static const char *const names[] = {"always", "first", "never"};
    bool prefix;
    const char *text;
    HONE_TRY(hone_json_get_bool(value, "add_prefix_space", name, true, &prefix, err));
    HONE_TRY(hone_json_get_string(value, "prepend_scheme", name, prefix ? "always" : "never", &text,
                                  err));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], text) != 0) continue;
        *out = (hone_prepend_scheme)i;
        return HONE_OK;
    }
    return bad_member(name, type, "prepend_scheme", "always, first or never", err);
}

/* The one character that stands for a space. */
static hone_status get_replacement(hone_tokenizer *t, const json_t *value, const char *type,
                                   const char *name, hone_slice *out, hone_error *err) {
    HONE_TRY(get_slice(t, value, type, "replacement", name, out, err));
    if (hone_utf8_count(out->data, out->size) == 1) return HONE_OK;
    return bad_member(name, type, "replacement", "one character", err);
}

static hone_status load_byte_level(const json_t *value, const char *name,
                                   hone_pretokenize_step *step, hone_error *err) {
    bool add_prefix_space, use_regex;
    HONE_TRY(hone_json_get_bool(value, "add_prefix_space", name, true, &add_prefix_space, err));
    HONE_TRY(hone_json_get_bool(value, "use_regex", name, true, &use_regex, err));
    return hone_byte_level_step(add_prefix_space, use_regex, step, err);
}

static hone_status load_digits(const json_t *value, const char *name, hone_pretokenize_step *step,
                               hone_error *err) {
    bool individual;
    HONE_TRY(hone_json_get_bool(value, "individual_digits", name, false, &individual, err));
    step->kind = HONE_PRETOKENIZE_DIGITS;
    step->behavior = individual ? HONE_SPLIT_ISOLATED : HONE_SPLIT_CONTIGUOUS;
    return HONE_OK;
}

static hone_status load_pretokenize_step(hone_tokenizer *t, const json_t *value, const char *type,
                                         const char *name, hone_error *err) {
    HONE_TRY(check_room(t->pretokenize_count, name, err));
    hone_pretokenize_step *step = &t->pretokenize[t->pretokenize_count++];
    if (strcmp(type, "ByteLevel") == 0) return load_byte_level(value, name, step, err);
    if (strcmp(type, "Digits") == 0) return load_digits(value, name, step, err);
    if (strcmp(type, "Split") == 0) {
        step->kind = HONE_PRETOKENIZE_SPLIT;
        HONE_TRY(hone_json_get_bool(value, "invert", name, false, &step->invert, err));
        HONE_TRY(get_behavior(value, type, name, &step->behavior, err));
        return get_pattern(t, value, type, name, &step->pattern, &step->regex, err);
    }
    if (strcmp(type, "Metaspace") == 0) {
        step->kind = HONE_PRETOKENIZE_METASPACE;
        step->behavior = HONE_SPLIT_MERGED_WITH_NEXT;
        HONE_TRY(hone_json_get_bool(value, "split", name, true, &step->split, err));
        HONE_TRY(get_scheme(value, type, name, &step->scheme, err));
        return get_replacement(t, value, type, name, &step->pattern, err);
    }
    if (strcmp(type, "Punctuation") == 0) {
        step->kind = HONE_PRETOKENIZE_PUNCTUATION;
        return get_behavior(value, type, name, &step->behavior, err);
    }
    step->kind = HONE_PRETOKENIZE_WHITESPACE;
    return strcmp(type, "Whitespace") == 0 ? HONE_OK
                                           : unsupported(name, "pre-tokenizer", type, err);
}

hone_status hone_tokenizer_load_pre_tokenizer(hone_tokenizer *t, const json_t *value,
                                              const char *name, hone_error *err) {
    return for_each(t, value, "pretokenizers", load_pretokenize_step, 0, name, err);
}

static hone_status load_strip(hone_tokenizer *t, const json_t *value, const char *type,
                              const char *name, hone_decode_step *step, hone_error *err) {
    int64_t start, stop;
    HONE_TRY(get_slice(t, value, type, "content", name, &step->content, err));
    HONE_TRY(hone_json_get_int(value, "start", name, 0, INT32_MAX, 0, &start, err));
    HONE_TRY(hone_json_get_int(value, "stop", name, 0, INT32_MAX, 0, &stop, err));
    step->start = (size_t)start;
    step->stop = (size_t)stop;
    if (hone_utf8_count(step->content.data, step->content.size) == 1) return HONE_OK;
    return bad_member(name, type, "content", "one character", err);
}

static hone_status load_decode_step(hone_tokenizer *t, const json_t *value, const char *type,
                                    const char *name, hone_error *err) {
    static const char *const names[] = {"ByteLevel", "Replace", "ByteFallback",
                                        "Fuse",      "Strip",   "Metaspace"};
    const size_t known = sizeof names / sizeof names[0];
    size_t at = 0;
    while (at < known && strcmp(names[at], type) != 0) at++;
    if (at == known) return unsupported(name, "decoder", type, err);
    HONE_TRY(check_room(t->decode_count, name, err));
    hone_decode_step *step = &t->decode[t->decode_count++];
    step->kind = (hone_decode_kind)at;
    switch (step->kind) {
    case HONE_DECODE_REPLACE:
        HONE_TRY(get_slice(t, value, type, "content", name, &step->content, err));
        return get_pattern(t, value, type, name, &step->pattern, &step->regex, err);
    case HONE_DECODE_STRIP:
        return load_strip(t, value, type, name, step, err);
    case HONE_DECODE_METASPACE:
        HONE_TRY(get_scheme(value, type, name, &step->scheme, err));
        return get_replacement(t, value, type, name, &step->pattern, err);
    default:
        return HONE_OK;
    }
}

hone_status hone_tokenizer_load_decoder(hone_tokenizer *t, const json_t *value, const char *name,
                                        hone_error *err) {
    return for_each(t, value, "decoders", load_decode_step, 0, name, err);
}

static hone_status add_template_ids(hone_tokenizer *t, const json_t *specials, const json_t *piece,
                                    bool after, const char *name, hone_error *err) {
    const char *id = json_string_value(json_object_get(piece, "id"));
    const json_t *ids = json_object_get(id == NULL ? NULL : json_object_get(specials, id), "ids");
    int32_t *list = after ? t->suffix : t->prefix;
    size_t *count = after ? &t->suffix_count : &t->prefix_count;
    if (!json_is_array(ids)) {
        return bad_member(name, "TemplateProcessing", "special_tokens",
                          "the ids of every special token it uses", err);
    }
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *value = json_array_get(ids, i);
        json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
        if (number < 0 || number >= t->vocab.count) {
            return bad_member(name, "TemplateProcessing", "ids", "token ids of the vocabulary",
                              err);
        }
        if (*count == HONE_MAX_TEMPLATE_IDS) {
            return hone_fail(err, HONE_ERR_LIMIT, "%s: the post-processor adds more than %d tokens",
                             name, HONE_MAX_TEMPLATE_IDS);
        }
        list[(*count)++] = (int32_t)number;
    }
    return HONE_OK;
}

/* "single": special tokens around the one Sequence "A". */
static hone_status load_template(hone_tokenizer *t, const json_t *value, const char *name,
                                 hone_error *err) {
    const json_t *single = json_object_get(value, "single");
    bool after = false;
    if (!json_is_array(single))
        return bad_member(name, "TemplateProcessing", "single", "an array", err);
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const json_t *special = json_object_get(item, "SpecialToken");
        if (special != NULL) {
            HONE_TRY(add_template_ids(t, json_object_get(value, "special_tokens"), special, after,
                                      name, err));
            continue;
        }
        const char *id =
            json_string_value(json_object_get(json_object_get(item, "Sequence"), "id"));
        if (id == NULL || strcmp(id, "A") != 0 || after) {
            return bad_member(name, "TemplateProcessing", "single",
                              "special tokens and one Sequence A", err);
        }
        after = true;
    }
    return after ? HONE_OK : bad_member(name, "TemplateProcessing", "single", "a Sequence A", err);
}

static hone_status load_post_step(hone_tokenizer *t, const json_t *value, const char *type,
                                  const char *name, hone_error *err) {
    if (strcmp(type, "ByteLevel") == 0) return HONE_OK; /* moves offsets, which hone has none of */
    if (strcmp(type, "TemplateProcessing") != 0)
        return unsupported(name, "post-processor", type, err);
    if (t->prefix_count > 0 || t->suffix_count > 0) {
        return unsupported(name, "post-processor", "a second TemplateProcessing", err);
    }
    return load_template(t, value, name, err);
}

hone_status hone_tokenizer_load_post_processor(hone_tokenizer *t, const json_t *value,
                                               const char *name, hone_error *err) {
    return for_each(t, value, "processors", load_post_step, 0, name, err);
}
