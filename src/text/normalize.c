/* text/normalize: the normalizers of tokenizer.json over plain text; no alignment is kept, hone
 * needs none. */
#include "base/size.h"
#include "text/pipeline.h"
#include "text/unicode.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static hone_status replace_matches(const char *text, size_t size, hone_matcher *matcher,
                                   hone_slice content, hone_buf *out, hone_error *err) {
    size_t done = 0;
    hone_matcher_start(matcher, text, size);
    for (;;) {
        bool found;
        size_t begin, end;
        HONE_TRY(hone_matcher_next(matcher, &found, &begin, &end, err));
        if (!found) break;
        HONE_TRY(hone_buf_append(out, text + done, begin - done, err));
        HONE_TRY(hone_buf_append(out, content.data, content.size, err));
        done = end;
    }
    return hone_buf_append(out, text + done, size - done, err);
}

hone_status hone_replace_all(const char *text, size_t size, hone_slice pattern,
                             hone_matcher *matcher, hone_slice content, hone_buf *out,
                             hone_error *err) {
    if (matcher != NULL) return replace_matches(text, size, matcher, content, out, err);
    const char *end = text + size;
    while (text < end) {
        const char *hit = memmem(text, (size_t)(end - text), pattern.data, pattern.size);
        const char *stop = hit == NULL ? end : hit;
        HONE_TRY(hone_buf_append(out, text, (size_t)(stop - text), err));
        if (hit == NULL) break;
        HONE_TRY(hone_buf_append(out, content.data, content.size, err));
        text = hit + pattern.size;
    }
    return HONE_OK;
}

/* Characters below this are their own composed form and never combine with what precedes them. */
static bool is_plain(const char *text, size_t size, bool compatibility) {
    uint8_t bound =
        compatibility ? 0x80 : 0xcc; /* U+00A0 has a compatibility form; U+0300 begins with CC */
    for (size_t i = 0; i < size; i++) {
        if ((uint8_t)text[i] >= bound) return false;
    }
    return true;
}

typedef struct codepoints {
    int32_t *data;
    size_t count, capacity;
} codepoints;

static hone_status codepoints_reserve(codepoints *list, size_t extra, hone_error *err) {
    if (list->capacity - list->count >= extra) return HONE_OK;
    size_t capacity = HONE_MAX(2 * list->capacity, list->count + extra + 64);
    int32_t *data = realloc(list->data, capacity * sizeof *data);
    if (data == NULL) return hone_fail_memory(err, "normalizing text", capacity * sizeof *data);
    list->data = data;
    list->capacity = capacity;
    return HONE_OK;
}

static int combining_class(int32_t cp) {
    return cp < 0x300 ? 0 : utf8proc_get_property(cp)->combining_class;
}

typedef struct ordered_mark {
    int32_t cp;
    int class;
    size_t at;
} ordered_mark;

static int by_class(const void *a, const void *b) {
    const ordered_mark *x = a, *y = b;
    if (x->class != y->class) return x->class < y->class ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* Canonical order: a stable sort of each run of combining marks. utf8proc's own ordering is
 * quadratic. */
static hone_status order_run(int32_t *run, size_t count, hone_error *err) {
    bool sorted = true;
    for (size_t i = 1; i < count; i++)
        sorted = sorted && combining_class(run[i - 1]) <= combining_class(run[i]);
    if (sorted) return HONE_OK;
    ordered_mark *marks = malloc(count * sizeof *marks);
    if (marks == NULL) return hone_fail_memory(err, "normalizing text", count * sizeof *marks);
    for (size_t i = 0; i < count; i++)
        marks[i] = (ordered_mark){run[i], combining_class(run[i]), i};
    qsort(marks, count, sizeof *marks, by_class);
    for (size_t i = 0; i < count; i++) run[i] = marks[i].cp;
    free(marks);
    return HONE_OK;
}

static hone_status decompose(const char *text, size_t size, int options, codepoints *list,
                             hone_error *err) {
    size_t run = 0; /* where the current run of marks began */
    for (size_t at = 0; at < size;) {
        int32_t cp;
        at += hone_char_next(text + at, size - at, &cp);
        HONE_TRY(codepoints_reserve(list, 32, err)); /* the longest decomposition has 18 */
        utf8proc_ssize_t added = utf8proc_decompose_char(cp, list->data + list->count, 32,
                                                         (utf8proc_option_t)options, NULL);
        if (added < 0 || added > 32) {
            return hone_fail(err, HONE_ERR_INTERNAL, "U+%04X cannot be decomposed", (unsigned)cp);
        }
        for (utf8proc_ssize_t i = 0; i < added; i++, list->count++) {
            if (combining_class(list->data[list->count]) != 0) continue;
            HONE_TRY(order_run(list->data + run, list->count - run, err));
            run = list->count + 1;
        }
    }
    return order_run(list->data + run, list->count - run, err);
}

static hone_status unicode_form(hone_normalize_kind kind, const char *text, size_t size,
                                hone_buf *out, hone_error *err) {
    bool compatibility = kind == HONE_NORMALIZE_NFKC || kind == HONE_NORMALIZE_NFKD;
    bool compose = kind == HONE_NORMALIZE_NFC || kind == HONE_NORMALIZE_NFKC;
    if (is_plain(text, size, compatibility || !compose))
        return hone_buf_append(out, text, size, err);
    int options = UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0);
    codepoints list = {0};
    hone_status status;
    HONE_TRY_GOTO(status, done, decompose(text, size, options, &list, err));
    if (compose) {
        utf8proc_option_t form = (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        utf8proc_ssize_t count =
            utf8proc_normalize_utf32(list.data, (utf8proc_ssize_t)list.count, form);
        if (count < 0) {
            status = hone_fail(err, HONE_ERR_INTERNAL, "text cannot be composed");
            goto done;
        }
        list.count = (size_t)count;
    }
    for (size_t i = 0; i < list.count; i++) {
        char bytes[4];
        HONE_TRY_GOTO(status, done,
                      hone_buf_append(out, bytes, hone_utf8_encode(list.data[i], bytes), err));
    }
done:
    free(list.data);
    return status;
}

/* One character at a time, so a final sigma stays medial; U+0130 is the one that becomes two. */
static hone_status lowercase(const char *text, size_t size, hone_buf *out, hone_error *err) {
    for (size_t at = 0; at < size;) {
        int32_t cp;
        char bytes[4];
        at += hone_char_next(text + at, size - at, &cp);
        if (cp == 0x130) {
            HONE_TRY(hone_buf_append(out, "i\xcc\x87", 3, err));
        } else {
            HONE_TRY(
                hone_buf_append(out, bytes, hone_utf8_encode(hone_char_lower(cp), bytes), err));
        }
    }
    return HONE_OK;
}

static hone_status strip(const hone_normalize_step *step, const char *text, size_t size,
                         hone_buf *out, hone_error *err) {
    size_t begin = 0, end = 0;
    bool inside = !step->left;
    for (size_t at = 0; at < size;) {
        int32_t cp;
        size_t length = hone_char_next(text + at, size - at, &cp);
        bool space = hone_char_is_space(cp);
        if (!inside && space) begin = at + length;
        inside = inside || !space;
        at += length;
        if (!space) end = at;
    }
    if (!step->right) end = size;
    return end > begin ? hone_buf_append(out, text + begin, end - begin, err) : HONE_OK;
}

static hone_status run_step(const hone_normalize_step *step, const char *text, size_t size,
                            hone_buf *out, hone_error *err) {
    switch (step->kind) {
    case HONE_NORMALIZE_NFC:
    case HONE_NORMALIZE_NFD:
    case HONE_NORMALIZE_NFKC:
    case HONE_NORMALIZE_NFKD:
        return unicode_form(step->kind, text, size, out, err);
    case HONE_NORMALIZE_PREPEND:
        if (size > 0) HONE_TRY(hone_buf_append(out, step->content.data, step->content.size, err));
        return hone_buf_append(out, text, size, err);
    case HONE_NORMALIZE_REPLACE: {
        hone_matcher *matcher = NULL;
        if (step->regex != NULL) HONE_TRY(hone_matcher_new(step->regex, &matcher, err));
        hone_status status =
            hone_replace_all(text, size, step->pattern, matcher, step->content, out, err);
        hone_matcher_free(&matcher);
        return status;
    }
    case HONE_NORMALIZE_LOWERCASE:
        return lowercase(text, size, out, err);
    case HONE_NORMALIZE_STRIP:
        return strip(step, text, size, out, err);
    }
    return hone_fail(err, HONE_ERR_INTERNAL, "normalizer %d", (int)step->kind);
}

hone_status hone_normalize(const hone_normalize_step *steps, size_t count, const char *text,
                           size_t size, hone_buf *out, hone_error *err) {
    hone_buf spare = hone_buf_make(HONE_TEXT_LIMIT);
    hone_status status;
    out->size = 0;
    HONE_TRY_GOTO(status, done, hone_buf_append(out, text, size, err));
    for (size_t i = 0; i < count; i++) {
        spare.size = 0;
        HONE_TRY_GOTO(status, done, run_step(&steps[i], out->data, out->size, &spare, err));
        hone_buf swap = *out;
        *out = spare;
        spare = swap;
    }
done:
    hone_buf_free(&spare);
    return status;
}
