/* model/generate: text from a model, token by token over a cache of keys and values; logits of a text. */
#include "model/pass.h"
#include "model/sample.h"

#include "base/clock.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

enum {
    PREFILL = 512, /* prompt tokens in one pass: bounds the memory of a long prompt */
    DEFAULT_MAX_TOKENS = 100
};

/* A model made ready to run passes over at most `rows` rows. */
typedef struct runner {
    hone_model *model;
    hone_arena arena;
    hone_pass pass;
    hone_batch batch;
    hone_segment segment;
    hone_cache cache;
    float *logits; /* [vocab] */
} runner;

static void runner_close(runner *r) {
    int layers = r->model ? r->model->config.layers : 0;
    for (int l = 0; l < layers; l++) {
        if (r->cache.k) free(r->cache.k[l]);
        if (r->cache.v) free(r->cache.v[l]);
    }
    free(r->cache.k);
    free(r->cache.v);
    free(r->batch.ids);
    free(r->batch.labels);
    free(r->batch.positions);
    free(r->logits);
    hone_pass_close(&r->pass);
    hone_arena_close(&r->arena);
}

static hone_status cache_open(runner *r, size_t capacity, hone_error *err) {
    const hone_config *c = &r->model->config;
    size_t layers = (size_t)c->layers, row = (size_t)c->kv_heads * (size_t)c->head_dim;
    size_t element = r->model->compute == HONE_F32 ? sizeof(float) : sizeof(hone_bf16), bytes;
    if (!hone_size_mul(capacity, row * element, &bytes))
        return hone_fail_memory(err, "the cache", SIZE_MAX);
    r->cache = (hone_cache){.k = calloc(layers, sizeof(void *)),
                            .v = calloc(layers, sizeof(void *)),
                            .capacity = capacity};
    if (!r->cache.k || !r->cache.v)
        return hone_fail_memory(err, "the cache", layers * sizeof(void *));
    for (size_t l = 0; l < layers; l++) {
        r->cache.k[l] = malloc(bytes);
        r->cache.v[l] = malloc(bytes);
        if (!r->cache.k[l] || !r->cache.v[l])
            return hone_fail_memory(err, "the cache", 2 * layers * bytes);
    }
    r->pass.cache = &r->cache;
    return HONE_OK;
}

/* `rows` at most in one pass; `context` tokens in all; `cached`: with a cache for them. */
static hone_status runner_open(runner *r, hone_model *model, size_t rows, size_t context,
                               bool cached, hone_error *err) {
    *r = (runner){.model = model};
    HONE_TRY(hone_model_need_positions(model, context, err));
    HONE_TRY(hone_pass_open(&r->pass, model, model->options.threads, err));
    r->batch.ids = calloc(rows, sizeof(int32_t));
    r->batch.labels = calloc(rows, sizeof(int32_t));
    r->batch.positions = calloc(rows, sizeof(int32_t));
    r->logits = calloc((size_t)model->config.vocab, sizeof(float));
    if (!r->batch.ids || !r->batch.labels || !r->batch.positions || !r->logits)
        return hone_fail_memory(err, "a batch", rows * 3 * sizeof(int32_t));
    r->batch.segments = &r->segment;
    r->batch.segment_count = 1;
    r->pass.batch = &r->batch;
    r->pass.logits = r->logits;
    if (cached) {
        HONE_TRY(cache_open(r, context, err));
        r->cache.filled = context - HONE_MIN(rows, context); /* the last pass attends to most */
    }
    r->batch.rows = rows;
    r->segment = (hone_segment){0, rows, 0, rows};
    float placeholder; /* a plan reads nothing; with a loss it takes the most memory */
    r->pass.losses = cached ? NULL : &placeholder;
    size_t bytes = hone_pass_plan(&r->pass, model->options.threads).bytes;
    r->pass.losses = NULL;
    r->cache.filled = 0;
    return hone_arena_open(&r->arena, bytes, false, err);
}

typedef struct region {
    runner *r;
    bool overflow; /* written by rank 0 */
} region;

static void run_region(hone_team team, void *argument) {
    region *g = argument;
    const hone_model *model = g->r->model;
    hone_ctx ctx = {
        .team = team, .kernels = &model->kernels, .compute = model->compute, .arena = g->r->arena};
    hone_pass_run(&ctx, &g->r->pass);
    if (team.rank == 0) g->overflow = ctx.arena.overflow;
}

/* Runs `count` tokens that stand at `position` and after. */
static hone_status run(runner *r, const int32_t *ids, size_t count, size_t position,
                       hone_error *err) {
    memcpy(r->batch.ids, ids, count * sizeof *ids);
    for (size_t i = 0; i < count; i++) r->batch.positions[i] = (int32_t)(position + i);
    r->batch.rows = count;
    r->segment = (hone_segment){0, count, 0, count};
    region g = {.r = r};
    hone_parallel(r->model->options.threads, run_region, &g);
    if (g.overflow)
        return hone_fail(err, HONE_ERR_INTERNAL,
                         "the working memory for %zu tokens was planned too small", count);
    if (r->pass.cache) r->cache.filled += count;
    return HONE_OK;
}

static hone_status check_ids(const hone_model *model, const int32_t *ids, size_t count,
                             hone_error *err) {
    if (count == 0)
        return hone_fail(err, HONE_ERR_USAGE, "the prompt holds no token; give some text");
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= model->config.vocab)
            return hone_fail(err, HONE_ERR_USAGE,
                             "token %zu is %d, but the vocabulary has %d entries", i, (int)ids[i],
                             model->config.vocab);
    return HONE_OK;
}

/* ---- streaming text ---- */

/* Tokens [shown, ...) are not on the screen; [base, shown) give the tokenizer the context it needs for them. */
typedef struct stream {
    const hone_model *model;
    const hone_generate_options *options;
    size_t base, shown;
} stream;

/* Hands out the text of the tokens so far that is whole; `last`: the rest too. */
static hone_status stream_push(stream *s, const int32_t *ids, size_t count, bool last, bool *go_on,
                               hone_error *err) {
    if (!s->options->on_text) return HONE_OK;
    static const char replacement[] =
        "\xef\xbf\xbd"; /* the end of a character that is not whole yet */
    char *before = NULL, *now = NULL;
    size_t before_size, now_size;
    hone_status status;
    const hone_tokenizer *t = s->model->tokenizer;
    HONE_TRY_GOTO(status, done,
                  hone_tokenizer_decode(t, ids + s->base, s->shown - s->base, true, &before,
                                        &before_size, err));
    HONE_TRY_GOTO(
        status, done,
        hone_tokenizer_decode(t, ids + s->base, count - s->base, true, &now, &now_size, err));
    bool whole = now_size < 3 || memcmp(now + now_size - 3, replacement, 3) != 0;
    if (now_size > before_size && (whole || last)) {
        *go_on = s->options->on_text(s->options->user, now + before_size, now_size - before_size);
        s->base = s->shown;
        s->shown = count;
    }
done:
    free(before);
    free(now);
    return status;
}

/* ---- the public calls ---- */

static hone_status prefill(runner *r, const int32_t *ids, size_t count, bool cached,
                           hone_error *err) {
    if (!cached) return run(r, ids, count, 0, err);
    for (size_t at = 0; at < count; at += PREFILL) {
        size_t chunk = HONE_MIN((size_t)PREFILL, count - at);
        HONE_TRY(run(r, ids + at, chunk, at, err));
    }
    return HONE_OK;
}

/* all: [count + max_tokens], the prompt in front. */
static hone_status generate_tokens(runner *r, hone_sampler *sampler,
                                   const hone_generate_options *options, int32_t *all, size_t count,
                                   size_t max_tokens, hone_generate_result *result,
                                   hone_error *err) {
    stream text = {.model = r->model, .options = options};
    bool cached = !options->no_cache, go_on = true;
    double start = hone_clock_seconds();
    HONE_TRY(prefill(r, all, count, cached, err));
    if (cached) hone_model_make_tiles(r->model, max_tokens - 1);
    double prompt_done = hone_clock_seconds();
    int32_t eos = hone_model_eos(r->model);
    size_t made = 0;
    while (go_on && made < max_tokens) {
        int32_t next = hone_sampler_next(sampler, r->logits);
        all[count + made++] = next;
        bool ended = made == max_tokens || (next == eos && !options->ignore_eos);
        HONE_TRY(stream_push(&text, all + count, made, ended, &go_on, err));
        if (ended || !go_on) break;
        if (cached)
            HONE_TRY(run(r, &next, 1, count + made - 1, err));
        else
            HONE_TRY(run(r, all, count + made, 0, err));
    }
    result->count = made;
    result->prompt_count = count;
    result->prompt_seconds = prompt_done - start;
    result->generation_seconds = hone_clock_seconds() - prompt_done;
    return HONE_OK;
}

hone_status hone_generate(hone_model *model, const int32_t *ids, size_t count,
                          const hone_generate_options *options, hone_generate_result *result,
                          hone_error *err) {
    hone_generate_options o = options ? *options : (hone_generate_options){0};
    *result = (hone_generate_result){0};
    if (o.max_tokens < 0)
        return hone_fail(err, HONE_ERR_USAGE, "%d tokens to generate: expected 1 or more",
                         o.max_tokens);
    size_t max_tokens = o.max_tokens ? (size_t)o.max_tokens : DEFAULT_MAX_TOKENS, context;
    HONE_TRY(check_ids(model, ids, count, err));
    if (!hone_size_add(count, max_tokens, &context) ||
        context > (size_t)model->config.max_positions)
        return hone_fail(err, HONE_ERR_LIMIT,
                         "%zu prompt tokens and %zu new ones exceed the model's context of %d",
                         count, max_tokens, model->config.max_positions);
    size_t rows = o.no_cache ? context : HONE_MIN(count, (size_t)PREFILL);
    runner r = {0};
    hone_sampler sampler = {0};
    int32_t *all = malloc(context * sizeof *all);
    hone_status status;
    if (!all)
        HONE_TRY_GOTO(status, done, hone_fail_memory(err, "token ids", context * sizeof *all));
    memcpy(all, ids, count * sizeof *ids);
    /* Rows that fill an embedding up to a round number are no tokens. */
    size_t vocab = (size_t)HONE_MIN(model->config.vocab, hone_tokenizer_vocab(model->tokenizer));
    HONE_TRY_GOTO(
        status, done,
        hone_sampler_open(&sampler, vocab, o.temperature, o.top_p, o.min_p, o.top_k, o.seed, err));
    HONE_TRY_GOTO(status, done, runner_open(&r, model, rows, context, !o.no_cache, err));
    HONE_TRY_GOTO(status, done,
                  generate_tokens(&r, &sampler, &o, all, count, max_tokens, result, err));
    memmove(all, all + count, result->count * sizeof *all);
    result->ids = all;
    all = NULL;
done:
    free(all);
    hone_sampler_close(&sampler);
    runner_close(&r);
    return status;
}

hone_status hone_logits(hone_model *model, const int32_t *ids, size_t count, float **logits,
                        float *nll, hone_error *err) {
    *logits = NULL;
    HONE_TRY(check_ids(model, ids, count, err));
    runner r = {0};
    hone_status status;
    float *losses = NULL;
    HONE_TRY_GOTO(status, done, runner_open(&r, model, count, count, false, err));
    if (nll) {
        losses = calloc(count, sizeof *losses);
        if (!losses)
            HONE_TRY_GOTO(status, done, hone_fail_memory(err, "losses", count * sizeof *losses));
        for (size_t i = 0; i + 1 < count; i++) r.batch.labels[i] = ids[i + 1];
        r.batch.labels[count - 1] = HONE_IGNORE;
        r.pass.losses = losses;
    }
    HONE_TRY_GOTO(status, done, run(&r, ids, count, 0, err));
    if (nll) memcpy(nll, losses, (count - 1) * sizeof *nll);
    *logits = r.logits;
    r.logits = NULL;
done:
    free(losses);
    runner_close(&r);
    return status;
}
