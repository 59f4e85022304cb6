/* text/tokenizer: opening, encoding and decoding; the loaders are tokenizer_gguf.c and
 * tokenizer_json.c. */
#include "text/tokenizer_impl.h"
#include "base/size.h"
#include "text/unicode.h"
#include <stdlib.h>
#include <string.h>

hone_status hone_tokenizer_new(size_t memory_limit, hone_tokenizer **out, hone_error *err) {
    hone_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    *out = tokenizer;
    if (tokenizer == NULL) return hone_fail_memory(err, "tokenizer", sizeof *tokenizer);
    tokenizer->region = hone_region_make("tokenizer", memory_limit);
    hone_added_init(&tokenizer->added);
    tokenizer->bos = tokenizer->eos = tokenizer->pad = -1;
    tokenizer->bpe.unknown = -1;
    return HONE_OK;
}

/* Each token costs a record, two slots and its text; each merge two slots of its own. */
#define MEMORY_LIMIT ((size_t)4 << 30)

hone_status hone_tokenizer_open(const hone_file_set *set, hone_tokenizer **out, hone_error *err) {
    hone_error local;
    if (err == NULL) err = &local;
    *out = NULL;
    if (set->kind != HONE_FORMAT_GGUF) {
        if (hone_file_is_directory(set->path))
            return hone_tokenizer_open_folder(set->path, out, err);
        const char *slash = strrchr(set->path, '/');
        if (slash == NULL) return hone_tokenizer_open_folder(".", out, err);
        char *folder = strndup(set->path, (size_t)HONE_MAX(slash - set->path, 1));
        if (folder == NULL) return hone_fail_memory(err, "path", strlen(set->path));
        hone_status status = hone_tokenizer_open_folder(folder, out, err);
        free(folder);
        return status;
    }
    hone_tokenizer *tokenizer;
    HONE_TRY(hone_tokenizer_new(MEMORY_LIMIT, &tokenizer, err));
    hone_status status = hone_tokenizer_load_gguf(tokenizer, set, err);
    if (status != HONE_OK) {
        hone_tokenizer_free(&tokenizer);
        return hone_fail_prefix(err, "%s", set->path);
    }
    *out = tokenizer;
    return HONE_OK;
}

hone_status hone_tokenizer_open_folder(const char *folder, hone_tokenizer **out, hone_error *err) {
    hone_error local;
    if (err == NULL) err = &local;
    *out = NULL;
    hone_tokenizer *tokenizer;
    HONE_TRY(hone_tokenizer_new(MEMORY_LIMIT, &tokenizer, err));
    hone_status status = hone_tokenizer_load_folder(tokenizer, folder, err);
    if (status != HONE_OK) {
        hone_tokenizer_free(&tokenizer);
        return status;
    }
    *out = tokenizer;
    return HONE_OK;
}

void hone_tokenizer_free(hone_tokenizer **tokenizer) {
    if (tokenizer == NULL || *tokenizer == NULL) return;
    hone_tokenizer *t = *tokenizer;
    for (size_t i = 0; i < t->normalize_count; i++) hone_regex_free(&t->normalize[i].regex);
    for (size_t i = 0; i < t->pretokenize_count; i++) hone_regex_free(&t->pretokenize[i].regex);
    for (size_t i = 0; i < t->decode_count; i++) hone_regex_free(&t->decode[i].regex);
    hone_added_free(&t->added);
    hone_region_free(&t->region);
    free(t);
    *tokenizer = NULL;
}

hone_status hone_tokenizer_add_token(hone_tokenizer *t, hone_added_token added, bool special,
                                     bool normalized, hone_error *err) {
    hone_token *token = &t->vocab.tokens[added.id];
    token->added = true;
    token->special = special;
    if (token->size == 0) return HONE_OK;
    if (!normalized || t->normalize_count == 0) {
        return hone_added_insert(&t->added, added, token->text, token->size, normalized, err);
    }
    hone_buf form = hone_buf_make(HONE_TEXT_LIMIT);
    hone_status status =
        hone_normalize(t->normalize, t->normalize_count, token->text, token->size, &form, err);
    if (status == HONE_OK && form.size > 0) {
        status = hone_added_insert(&t->added, added, form.data, form.size, true, err);
    }
    bool same = form.size == token->size && memcmp(form.data, token->text, form.size) == 0;
    if (status == HONE_OK && !same) { /* decoding gives it so, as the tokenizers library does */
        token->shown = hone_region_copy(&t->region, form.data, form.size, err);
        token->shown_size = (uint32_t)form.size;
        if (token->shown == NULL) status = err->status;
    }
    hone_buf_free(&form);
    return status;
}

hone_status hone_byte_level_step(bool add_prefix_space, bool use_regex, hone_pretokenize_step *step,
                                 hone_error *err) {
    static const char gpt2[] =
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    *step = (hone_pretokenize_step){.kind = HONE_PRETOKENIZE_BYTE_LEVEL,
                                    .behavior = HONE_SPLIT_ISOLATED,
                                    .add_prefix_space = add_prefix_space};
    return use_regex ? hone_regex_compile(gpt2, sizeof gpt2 - 1, &step->regex, err) : HONE_OK;
}

/* What one call of encode works with. */
typedef struct encoder {
    const hone_tokenizer *t;
    hone_buf clean, normal;
    hone_pieces pieces, spare;
    hone_matchers matchers;
    hone_bpe_work work;
    hone_ids ids;
} encoder;

static hone_status encode_plain(encoder *e, const char *text, size_t size, bool first,
                                hone_error *err) {
    const hone_tokenizer *t = e->t;
    if (size == 0) return HONE_OK;
    e->pieces.count = 0;
    e->pieces.text.size = 0;
    HONE_TRY(hone_buf_append(&e->pieces.text, text, size, err));
    HONE_TRY(hone_pieces_add(&e->pieces, 0, size, first, err));
    HONE_TRY(hone_pretokenize(t->pretokenize, t->pretokenize_count, &e->matchers, &e->pieces,
                              &e->spare, err));
    for (size_t i = 0; i < e->pieces.count; i++) {
        const hone_piece *piece = &e->pieces.items[i];
        HONE_TRY(hone_bpe_encode(&t->bpe, e->pieces.text.data + piece->begin,
                                 piece->end - piece->begin, &e->work, &e->ids, err));
    }
    return HONE_OK;
}

static hone_status encode_segments(encoder *e, bool normalized, const char *text, size_t size,
                                   bool first, hone_error *err);

/* Text without raw tokens: normalized, then looked through for the tokens of the normalized kind.
 */
static hone_status encode_raw_segment(encoder *e, const char *text, size_t size, bool first,
                                      hone_error *err) {
    const hone_tokenizer *t = e->t;
    if (t->normalize_count == 0) return encode_segments(e, true, text, size, first, err);
    HONE_TRY(hone_normalize(t->normalize, t->normalize_count, text, size, &e->normal, err));
    return encode_segments(e, true, e->normal.data, e->normal.size, first, err);
}

static hone_status encode_segments(encoder *e, bool normalized, const char *text, size_t size,
                                   bool first, hone_error *err) {
    size_t done = 0, at = 0, seek = 0, begin, end;
    for (;;) {
        const hone_added_token *token =
            hone_added_next(&e->t->added, normalized, text, size, &at, &seek, &begin, &end);
        if (token == NULL) begin = size;
        if (begin > done) {
            bool leads = first && done == 0;
            HONE_TRY(normalized ? encode_plain(e, text + done, begin - done, leads, err)
                                : encode_raw_segment(e, text + done, begin - done, leads, err));
        }
        if (token == NULL) return HONE_OK;
        HONE_TRY(hone_ids_push(&e->ids, token->id, err));
        done = end;
    }
}

static hone_status push_all(hone_ids *ids, const int32_t *values, size_t count, hone_error *err) {
    for (size_t i = 0; i < count; i++) HONE_TRY(hone_ids_push(ids, values[i], err));
    return HONE_OK;
}

static hone_status encode(encoder *e, const char *text, size_t size, bool add_special,
                          hone_error *err) {
    const hone_tokenizer *t = e->t;
    HONE_TRY(hone_buf_append(&e->clean, "", 0, err));
    HONE_TRY(hone_utf8_append_lossy(&e->clean, text, size, err));
    HONE_TRY(
        hone_matchers_for_pretokenize(&e->matchers, t->pretokenize, t->pretokenize_count, err));
    if (add_special) HONE_TRY(push_all(&e->ids, t->prefix, t->prefix_count, err));
    HONE_TRY(encode_segments(e, false, e->clean.data, e->clean.size, true, err));
    if (add_special) HONE_TRY(push_all(&e->ids, t->suffix, t->suffix_count, err));
    return HONE_OK;
}

hone_status hone_tokenizer_encode(const hone_tokenizer *tokenizer, const char *text, size_t size,
                                  bool add_special, int32_t **ids, size_t *count, hone_error *err) {
    *ids = NULL;
    *count = 0;
    if (size > HONE_TEXT_LIMIT / 4) {
        return hone_fail(err, HONE_ERR_LIMIT,
                         "a text of %zu bytes is too long to tokenize: the limit is %zu", size,
                         HONE_TEXT_LIMIT / 4);
    }
    encoder e = {.t = tokenizer,
                 .clean = hone_buf_make(HONE_TEXT_LIMIT),
                 .normal = hone_buf_make(HONE_TEXT_LIMIT),
                 .pieces = hone_pieces_make(),
                 .spare = hone_pieces_make()};
    hone_status status = encode(&e, text, size, add_special, err);
    if (status == HONE_OK && e.ids.data == NULL) { /* no tokens: still something to free */
        e.ids.data = malloc(sizeof *e.ids.data);
        if (e.ids.data == NULL) status = hone_fail_memory(err, "token ids", sizeof *e.ids.data);
    }
    if (status == HONE_OK) {
        *ids = e.ids.data;
        *count = e.ids.count;
        e.ids.data = NULL;
    }
    free(e.ids.data);
    hone_bpe_work_free(&e.work);
    hone_matchers_free(&e.matchers);
    hone_pieces_free(&e.pieces);
    hone_pieces_free(&e.spare);
    hone_buf_free(&e.clean);
    hone_buf_free(&e.normal);
    return status;
}

static hone_status collect_tokens(const hone_tokenizer *t, const int32_t *ids, size_t count,
                                  bool skip_special, hone_pieces *tokens, hone_error *err) {
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= t->vocab.count) {
            return hone_fail(err, HONE_ERR_USAGE, "token id %d at position %zu: expected 0 to %d",
                             (int)ids[i], i, (int)t->vocab.count - 1);
        }
        const hone_token *token = &t->vocab.tokens[ids[i]];
        bool skipped = skip_special && token->special && token->shown == token->text;
        if (token->text == NULL || skipped) continue;
        size_t begin = tokens->text.size;
        HONE_TRY(hone_buf_append(&tokens->text, token->shown, token->shown_size, err));
        HONE_TRY(hone_pieces_add(tokens, begin, tokens->text.size, false, err));
    }
    return HONE_OK;
}

hone_status hone_tokenizer_decode(const hone_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                  bool skip_special, char **text, size_t *size, hone_error *err) {
    *text = NULL;
    *size = 0;
    hone_pieces tokens = hone_pieces_make();
    hone_buf out = hone_buf_make(4 * HONE_TEXT_LIMIT);
    hone_status status;
    HONE_TRY_GOTO(status, done, hone_buf_append(&out, "", 0, err));
    HONE_TRY_GOTO(status, done, collect_tokens(tokenizer, ids, count, skip_special, &tokens, err));
    HONE_TRY_GOTO(
        status, done,
        hone_decode_tokens(tokenizer->decode, tokenizer->decode_count, &tokens, &out, err));
    *text = out.data;
    *size = out.size;
    out.data = NULL;
done:
    hone_buf_free(&out);
    hone_pieces_free(&tokens);
    return status;
}

int32_t hone_tokenizer_vocab(const hone_tokenizer *tokenizer) { return tokenizer->vocab.count; }

int32_t hone_tokenizer_bos(const hone_tokenizer *tokenizer) { return tokenizer->bos; }

int32_t hone_tokenizer_eos(const hone_tokenizer *tokenizer) { return tokenizer->eos; }

int32_t hone_tokenizer_pad(const hone_tokenizer *tokenizer) { return tokenizer->pad; }

bool hone_tokenizer_is_special(const hone_tokenizer *tokenizer, int32_t id) {
    return id >= 0 && id < tokenizer->vocab.count && tokenizer->vocab.tokens[id].special;
}

int32_t hone_tokenizer_id_of(const hone_tokenizer *tokenizer, const char *token) {
    return hone_vocab_find(&tokenizer->vocab, token, strlen(token));
}

const char *hone_tokenizer_chat_template(const hone_tokenizer *tokenizer) {
    return tokenizer->chat_template;
}
