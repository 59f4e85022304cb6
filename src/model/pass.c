/* model/pass: see pass.h. Forward and, in mirrored order, backward of a Llama block:
 *
 *   x -> norm -> q, k, v -> attention with rope -> o -> + x -> norm -> swiglu(gate, up) -> down -> + x
 *
 * Every thread runs this code with its own tape and its own copy of the arena's counters; the addresses agree because
 * the calls do. What is kept for backward is what the set of operations asks for.
 */
#include "model/pass.h"

#include "base/size.h"

#include <stdlib.h>
#include <string.h>

typedef struct block_tape {
    hone_arena_mark start; /* of the saved end, before the block */
    hone_arena_mark mlp;   /* and before what only the MLP's backward reads */
    float *x, *middle;     /* [rows, hidden]: residual stream before attention, before the MLP */
    void *input;           /* [rows, hidden] compute type: the checkpoint */
    void *normed1, *q, *k, *v, *o; /* [rows, ...] compute type */
    void *normed2, *h;
    hone_saved norm1, norm2, rope[2], attention, swiglu, linear[HONE_LINEAR_COUNT];
} block_tape;

struct hone_tape {
    block_tape *blocks; /* [layers] */
    hone_saved final_norm;
    float *x;             /* [rows, hidden] residual stream after the last block */
    hone_arena_mark loss; /* planning: what was in use when the loss needed most */
};

/* Sizes that every step of the pass needs. */
typedef struct dims {
    size_t rows, hidden, ffn, q, kv, element;
} dims;

static dims dims_of(const hone_ctx *ctx, const hone_pass *pass) {
    const hone_config *c = &pass->model->config;
    return (dims){
        .rows = pass->batch->rows,
        .hidden = (size_t)c->hidden,
        .ffn = (size_t)c->ffn,
        .q = (size_t)c->heads * (size_t)c->head_dim,
        .kv = (size_t)c->kv_heads * (size_t)c->head_dim,
        .element = ctx->compute == HONE_F32 ? sizeof(float) : sizeof(hone_bf16),
    };
}

/* Kept for backward, or gone with the block. */
static void *keep_if(hone_ctx *ctx, bool keep, size_t bytes) {
    return keep ? hone_arena_save(&ctx->arena, bytes) : hone_arena_scratch(&ctx->arena, bytes);
}

/* ---- forward ---- */

static hone_rms_norm_args norm_args(const hone_pass *pass, const float *x, const float *gamma,
                                    void *y) {
    return (hone_rms_norm_args){.rows = pass->batch->rows,
                                .hidden = (size_t)pass->model->config.hidden,
                                .x = x,
                                .gamma = gamma,
                                .eps = pass->model->config.rms_eps,
                                .y = y};
}

static hone_attention_args attention_args(const hone_pass *pass, const block_tape *tape) {
    const hone_config *c = &pass->model->config;
    bool rotates = !pass->model->ops->separate_rope;
    return (hone_attention_args){.heads = (size_t)c->heads,
                                 .kv_heads = (size_t)c->kv_heads,
                                 .head_dim = (size_t)c->head_dim,
                                 .segments = pass->batch->segments,
                                 .segment_count = pass->batch->segment_count,
                                 .q_rows = pass->batch->rows,
                                 .kv_rows = pass->batch->rows,
                                 .q = tape->q,
                                 .k = tape->k,
                                 .v = tape->v,
                                 .o = tape->o,
                                 .positions = pass->batch->positions,
                                 .cos = rotates ? pass->model->rope_cos : NULL,
                                 .sin = rotates ? pass->model->rope_sin : NULL,
                                 .rope_dim = (size_t)c->head_dim};
}

static void linear_forward(hone_ctx *ctx, const hone_pass *pass, const hone_linear *linear,
                           const void *x, void *y, hone_saved *saved) {
    hone_lora_linear_args args = {
        .rows = pass->batch->rows, .linear = linear, .x = x, .y = y, .y_dtype = ctx->compute};
    pass->model->ops->lora_linear_forward(ctx, &args, saved);
}

/* out = x + linear(input); in place where the set allows it. */
static void linear_to_residual(hone_ctx *ctx, const hone_pass *pass, const hone_linear *linear,
                               const void *input, const float *x, float *out, hone_saved *saved) {
    dims d = dims_of(ctx, pass);
    if (out == x) {
        hone_lora_linear_args args = {.rows = d.rows,
                                      .linear = linear,
                                      .x = input,
                                      .y = out,
                                      .y_dtype = HONE_F32,
                                      .accumulate = true};
        pass->model->ops->lora_linear_forward(ctx, &args, saved);
        return;
    }
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    void *y = hone_arena_scratch(&ctx->arena, d.rows * d.hidden * d.element);
    linear_forward(ctx, pass, linear, input, y, saved);
    hone_residual_add(ctx, d.rows * d.hidden, x, y, ctx->compute, out);
    hone_arena_release_scratch(&ctx->arena, mark);
}

static hone_rope_args rope_args(const hone_pass *pass, void *x, int heads) {
    const hone_config *c = &pass->model->config;
    return (hone_rope_args){.rows = pass->batch->rows,
                            .heads = (size_t)heads,
                            .head_dim = (size_t)c->head_dim,
                            .rope_dim = (size_t)c->head_dim,
                            .x = x,
                            .y = x,
                            .positions = pass->batch->positions,
                            .cos = pass->model->rope_cos,
                            .sin = pass->model->rope_sin};
}

/* q and k in place. `saved`: two, or NULL. */
static void rotate(hone_ctx *ctx, const hone_pass *pass, void *q, void *k, hone_saved *saved) {
    const hone_config *c = &pass->model->config;
    hone_rope_args of_q = rope_args(pass, q, c->heads), of_k = rope_args(pass, k, c->kv_heads);
    ctx->independent = true;
    pass->model->ops->rope_embeddings_forward(ctx, &of_q, saved ? &saved[0] : NULL);
    ctx->independent = false;
    pass->model->ops->rope_embeddings_forward(ctx, &of_k, saved ? &saved[1] : NULL);
}

/* Gradients of rotated q and k become those of q and k. */
static void rotate_back(hone_ctx *ctx, const hone_pass *pass, void *dq, void *dk,
                        const hone_saved *saved) {
    const hone_config *c = &pass->model->config;
    hone_rope_args of_q = rope_args(pass, dq, c->heads), of_k = rope_args(pass, dk, c->kv_heads);
    pass->model->ops->rope_embeddings_backward(ctx, &of_q, &saved[0]);
    pass->model->ops->rope_embeddings_backward(ctx, &of_k, &saved[1]);
}

/* q, k, v and attention over the cache: k and v go straight into their rows of it. */
static void cached_attention(hone_ctx *ctx, const hone_pass *pass, int layer, block_tape *t) {
    const hone_linear *linear = pass->model->blocks[layer].linear;
    const hone_cache *cache = pass->cache;
    dims d = dims_of(ctx, pass);
    size_t offset = cache->filled * d.kv * d.element;
    t->k = (char *)cache->k[layer] + offset;
    t->v = (char *)cache->v[layer] + offset;
    ctx->independent = true;
    linear_forward(ctx, pass, &linear[HONE_LINEAR_Q], t->normed1, t->q, NULL);
    linear_forward(ctx, pass, &linear[HONE_LINEAR_K], t->normed1, t->k, NULL);
    ctx->independent = false;
    linear_forward(ctx, pass, &linear[HONE_LINEAR_V], t->normed1, t->v, NULL);
    rotate(ctx, pass, t->q, t->k, NULL);
    hone_segment segment = {0, d.rows, 0, cache->filled + d.rows};
    hone_attention_args args = attention_args(pass, t);
    args.segments = &segment;
    args.segment_count = 1;
    args.kv_rows = segment.kv_end;
    args.k = cache->k[layer];
    args.v = cache->v[layer];
    args.cos = NULL;
    pass->model->ops->attention_with_rope_forward(ctx, &args, NULL);
}

/* x -> out. `keep`: fill the tape and leave what backward needs at the saved end. out NULL: that is all. */
static void block_forward(hone_ctx *ctx, const hone_pass *pass, int layer, block_tape *t, float *x,
                          float *out, bool keep) {
    const hone_op_set *ops = pass->model->ops;
    const hone_block *block = &pass->model->blocks[layer];
    const hone_linear *linear = block->linear;
    dims d = dims_of(ctx, pass);
    bool keep_normed = keep && ops->keeps_normed;
    t->x = x;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    t->middle = !ops->keeps_residual ? x : keep_if(ctx, keep, d.rows * d.hidden * sizeof(float));
    hone_arena_mark half = hone_arena_get_mark(&ctx->arena);
    t->normed1 = keep_if(ctx, keep_normed, d.rows * d.hidden * d.element);
    hone_rms_norm_args norm = norm_args(pass, x, block->attn_norm, t->normed1);
    ops->rms_norm_forward(ctx, &norm, keep ? &t->norm1 : NULL);
    t->q = keep_if(ctx, keep, d.rows * d.q * d.element);
    t->o = keep_if(ctx, keep, d.rows * d.q * d.element);
    if (pass->cache) {
        cached_attention(ctx, pass, layer, t);
    } else {
        t->k = keep_if(ctx, keep, d.rows * d.kv * d.element);
        t->v = keep_if(ctx, keep, d.rows * d.kv * d.element);
        void *qkv[3] = {t->q, t->k, t->v};
        for (int i = HONE_LINEAR_Q; i <= HONE_LINEAR_V; i++)
            linear_forward(ctx, pass, &linear[i], t->normed1, qkv[i], keep ? &t->linear[i] : NULL);
        if (ops->separate_rope) rotate(ctx, pass, t->q, t->k, keep ? t->rope : NULL);
        hone_attention_args attention = attention_args(pass, t);
        ops->attention_with_rope_forward(ctx, &attention, keep ? &t->attention : NULL);
    }
    linear_to_residual(ctx, pass, &linear[HONE_LINEAR_O], t->o, x, t->middle,
                       keep ? &t->linear[HONE_LINEAR_O] : NULL);
    hone_arena_release_scratch(&ctx->arena, half);

    t->mlp = hone_arena_get_mark(&ctx->arena);
    t->normed2 = keep_if(ctx, keep_normed, d.rows * d.hidden * d.element);
    norm = norm_args(pass, t->middle, block->mlp_norm, t->normed2);
    ops->rms_norm_forward(ctx, &norm, keep ? &t->norm2 : NULL);
    t->h = keep_if(ctx, keep_normed, d.rows * d.ffn * d.element);
    hone_swiglu_args swiglu = {.rows = d.rows,
                               .gate = &linear[HONE_LINEAR_GATE],
                               .up = &linear[HONE_LINEAR_UP],
                               .x = t->normed2,
                               .h = t->h};
    ops->swiglu_activation_forward(ctx, &swiglu, keep ? &t->swiglu : NULL);
    hone_saved *saved = keep ? &t->linear[HONE_LINEAR_DOWN] : NULL;
    if (out)
        linear_to_residual(ctx, pass, &linear[HONE_LINEAR_DOWN], t->h, t->middle, out, saved);
    else
        linear_forward(ctx, pass, &linear[HONE_LINEAR_DOWN], t->h, NULL, saved);
    hone_arena_release_scratch(&ctx->arena, mark);
}

/* All blocks, from the stream's buffer x on; returns the residual stream after the last. */
static float *blocks_forward(hone_ctx *ctx, const hone_pass *pass, hone_tape *tape, int lowest,
                             float *x) {
    const hone_op_set *ops = pass->model->ops;
    dims d = dims_of(ctx, pass);
    size_t stream = d.rows * d.hidden * sizeof(float);
    float *other =
        NULL; /* where residual adds need a buffer of their own, blocks that keep nothing take turns */
    hone_embedding_forward(ctx, &pass->model->embedding, pass->batch->ids, d.rows, x);
    for (int l = 0; l < pass->model->config.layers; l++) {
        block_tape *t = &tape->blocks[l];
        bool trained = pass->backward && l >= lowest;
        bool keep = trained && l >= pass->kept_from;
        t->start = hone_arena_get_mark(&ctx->arena);
        if (trained && !keep) {
            t->input = hone_arena_save(&ctx->arena, d.rows * d.hidden * d.element);
            hone_convert(ctx, d.rows * d.hidden, x, HONE_F32, t->input, ctx->compute);
        }
        float *out = x;
        if (ops->keeps_residual) {
            if (!keep && !other) other = hone_arena_save(&ctx->arena, stream);
            out = keep ? hone_arena_save(&ctx->arena, stream) : other;
            if (!keep) other = x;
        }
        block_forward(ctx, pass, l, t, x, out, keep);
        x = out;
    }
    return x;
}

/* ---- head ---- */

/* Loss of all rows and, when dy is not NULL, its gradient to the normed rows, float32. */
static void head_loss(hone_ctx *ctx, const hone_pass *pass, const void *normed, float *dy) {
    const hone_model *model = pass->model;
    const hone_op_set *ops = model->ops;
    dims d = dims_of(ctx, pass);
    if (ops->linear_cross_entropy) {
        hone_linear_cross_entropy_args args = {.rows = d.rows,
                                               .head = &model->head,
                                               .x = normed,
                                               .labels = pass->batch->labels,
                                               .loss = pass->losses,
                                               .scale = pass->scale,
                                               .dx = dy};
        ops->linear_cross_entropy(ctx, &args);
        return;
    }
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    size_t vocab = (size_t)model->config.vocab, count = d.rows * vocab;
    hone_saved saved_linear = {0}, saved_loss = {0};
    hone_lora_linear_args linear = {.rows = d.rows,
                                    .linear = &model->head,
                                    .x = normed,
                                    .y = hone_arena_scratch(&ctx->arena, count * sizeof(float)),
                                    .y_dtype = HONE_F32};
    ops->lora_linear_forward(ctx, &linear, dy ? &saved_linear : NULL);
    hone_cross_entropy_args loss = {.rows = d.rows,
                                    .vocab = vocab,
                                    .logits = linear.y,
                                    .logits_dtype = HONE_F32,
                                    .labels = pass->batch->labels,
                                    .loss = pass->losses,
                                    .scale = pass->scale};
    ops->cross_entropy_loss_forward(ctx, &loss, dy ? &saved_loss : NULL);
    if (dy) {
        loss.dlogits = hone_arena_scratch(&ctx->arena, count * sizeof(float));
        ops->cross_entropy_loss_backward(ctx, &loss, &saved_loss);
        void *dlogits = hone_arena_scratch(&ctx->arena, count * d.element);
        hone_convert(ctx, count, loss.dlogits, HONE_F32, dlogits, ctx->compute);
        linear.dy = dlogits;
        linear.dx = dy;
        linear.dx_dtype = HONE_F32;
        ops->lora_linear_backward(ctx, &linear, &saved_linear);
    }
    hone_arena_release(&ctx->arena, mark);
}

/* The same, noting what was in use when it needed most. */
static void head_loss_noted(hone_ctx *ctx, const hone_pass *pass, const void *normed, float *dy,
                            hone_tape *tape) {
    hone_arena before = ctx->arena;
    hone_arena_restart_peak(&ctx->arena);
    head_loss(ctx, pass, normed, dy);
    tape->loss = ctx->arena.at_peak;
    if (before.peak < ctx->arena.peak) return;
    ctx->arena.peak = before.peak;
    ctx->arena.at_peak = before.at_peak;
}

static void last_logits(hone_ctx *ctx, const hone_pass *pass, const void *normed) {
    dims d = dims_of(ctx, pass);
    hone_lora_linear_args args = {.rows = 1,
                                  .linear = &pass->model->head,
                                  .x = (const char *)normed + (d.rows - 1) * d.hidden * d.element,
                                  .y = pass->logits,
                                  .y_dtype = HONE_F32};
    pass->model->ops->lora_linear_forward(ctx, &args, NULL);
}

/* ---- backward ---- */

static bool block_trains(const hone_block *block) {
    if (block->d_attn_norm || block->d_mlp_norm) return true;
    for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
        const hone_linear *l = &block->linear[i];
        if (l->dweight || l->dbias || l->lora.da || l->lora.db) return true;
    }
    return false;
}

int hone_pass_lowest_trained(const hone_model *model) {
    if (model->d_embedding) return 0;
    int l = 0;
    while (l < model->config.layers && !block_trains(&model->blocks[l])) l++;
    return l;
}

static void linear_backward(hone_ctx *ctx, const hone_pass *pass, const hone_linear *linear,
                            const void *x, const void *dy, void *dx, hone_dtype dx_dtype,
                            bool accumulate, const hone_saved *saved) {
    hone_lora_linear_args args = {.rows = pass->batch->rows,
                                  .linear = linear,
                                  .x = x,
                                  .dy = dy,
                                  .dx = dx,
                                  .dx_dtype = dx_dtype,
                                  .dx_accumulate = accumulate};
    pass->model->ops->lora_linear_backward(ctx, &args, saved);
}

static hone_linear without_gradients(const hone_linear *linear) {
    hone_linear frozen = *linear;
    frozen.lora.da = frozen.lora.db = frozen.dweight = frozen.dbias = NULL;
    return frozen;
}

/* dx: gradient of the block's output, becomes that of `middle`; dx_copy the same in the compute type. */
static void mlp_backward(hone_ctx *ctx, const hone_pass *pass, int layer, const block_tape *t,
                         float *dx, void *dx_copy) {
    const hone_op_set *ops = pass->model->ops;
    const hone_block *block = &pass->model->blocks[layer];
    dims d = dims_of(ctx, pass);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    const hone_linear *down = &block->linear[HONE_LINEAR_DOWN];
    const hone_saved *saved = &t->linear[HONE_LINEAR_DOWN];
    void *normed = t->normed2;
    hone_swiglu_args swiglu = {.rows = d.rows,
                               .gate = &block->linear[HONE_LINEAR_GATE],
                               .up = &block->linear[HONE_LINEAR_UP]};
    void *dh = hone_arena_scratch(&ctx->arena, d.rows * d.ffn * d.element);
    if (ops->keeps_normed) {
        linear_backward(ctx, pass, down, t->h, dx_copy, dh, ctx->compute, false, saved);
    } else { /* what down learns has to wait for h, which comes back over dh */
        hone_linear frozen = without_gradients(down);
        linear_backward(ctx, pass, &frozen, NULL, dx_copy, dh, ctx->compute, false, saved);
        swiglu.h = dh;
    }
    float *dy = hone_arena_scratch(&ctx->arena, d.rows * d.hidden * sizeof(float));
    if (!ops->keeps_normed) {
        normed = hone_arena_scratch(&ctx->arena, d.rows * d.hidden * d.element);
        hone_rms_norm_args again = norm_args(pass, NULL, block->mlp_norm, normed);
        ops->rms_norm_rebuild(ctx, &again, &t->norm2);
    }
    swiglu.x = normed;
    swiglu.dh = dh;
    swiglu.dx = dy;
    ops->swiglu_activation_backward(ctx, &swiglu, &t->swiglu);
    if (!ops->keeps_normed)
        linear_backward(ctx, pass, down, dh, dx_copy, NULL, ctx->compute, false, saved);
    hone_rms_norm_args norm = norm_args(pass, t->middle, block->mlp_norm, NULL);
    norm.dy = dy;
    norm.dy_dtype = HONE_F32;
    norm.dx = dx;
    norm.dx_copy = dx_copy;
    norm.dgamma = block->d_mlp_norm;
    ops->rms_norm_backward(ctx, &norm, &t->norm2);
    hone_arena_release_scratch(&ctx->arena, mark);
}

/* The same for the attention half: becomes the gradient of x, unless nothing below wants it. */
static void attention_backward(hone_ctx *ctx, const hone_pass *pass, int layer, const block_tape *t,
                               float *dx, void *dx_copy, bool wanted_below) {
    const hone_op_set *ops = pass->model->ops;
    const hone_block *block = &pass->model->blocks[layer];
    dims d = dims_of(ctx, pass);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    void *d_o = hone_arena_scratch(&ctx->arena, d.rows * d.q * d.element);
    linear_backward(ctx, pass, &block->linear[HONE_LINEAR_O], t->o, dx_copy, d_o, ctx->compute,
                    false, &t->linear[HONE_LINEAR_O]);
    hone_attention_args attention = attention_args(pass, t);
    attention.d_o = d_o;
    attention.dq = hone_arena_scratch(&ctx->arena, d.rows * d.q * d.element);
    attention.dk = hone_arena_scratch(&ctx->arena, d.rows * d.kv * d.element);
    attention.dv = hone_arena_scratch(&ctx->arena, d.rows * d.kv * d.element);
    ops->attention_with_rope_backward(ctx, &attention, &t->attention);
    if (ops->separate_rope) rotate_back(ctx, pass, attention.dq, attention.dk, t->rope);
    void *normed = t->normed1;
    if (!ops->keeps_normed) {
        normed = hone_arena_scratch(&ctx->arena, d.rows * d.hidden * d.element);
        hone_rms_norm_args again = norm_args(pass, NULL, block->attn_norm, normed);
        ops->rms_norm_rebuild(ctx, &again, &t->norm1);
    }
    bool want_dy = wanted_below || block->d_attn_norm;
    float *dy = want_dy ? hone_arena_scratch(&ctx->arena, d.rows * d.hidden * sizeof(float)) : NULL;
    const void *dqkv[3] = {attention.dq, attention.dk, attention.dv};
    for (int i = HONE_LINEAR_Q; i <= HONE_LINEAR_V; i++)
        linear_backward(ctx, pass, &block->linear[i], normed, dqkv[i], dy, HONE_F32,
                        i > HONE_LINEAR_Q, &t->linear[i]);
    if (want_dy) {
        hone_rms_norm_args norm = norm_args(pass, t->x, block->attn_norm, NULL);
        norm.dy = dy;
        norm.dy_dtype = HONE_F32;
        norm.dx = dx;
        norm.dx_copy = dx_copy;
        norm.dgamma = block->d_attn_norm;
        ops->rms_norm_backward(ctx, &norm, &t->norm1);
    }
    hone_arena_release_scratch(&ctx->arena, mark);
}

/* Runs a block again from its checkpoint, filling its tape, as far as backward wants it: not its output. Where no
 * backward reads the residual stream, the stream goes with the forward, and the tape takes the checkpoint's place. */
static void block_again(hone_ctx *ctx, const hone_pass *pass, int layer, block_tape *t) {
    dims d = dims_of(ctx, pass);
    bool keeps = pass->model->ops->keeps_residual;
    size_t stream = d.rows * d.hidden * sizeof(float);
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    float *x = keep_if(ctx, keeps, stream);
    hone_convert(ctx, d.rows * d.hidden, t->input, ctx->compute, x, HONE_F32);
    if (!keeps) hone_arena_release_saved(&ctx->arena, t->start);
    block_forward(ctx, pass, layer, t, x, NULL, true);
    hone_arena_release_scratch(&ctx->arena, mark);
}

static void blocks_backward(hone_ctx *ctx, const hone_pass *pass, hone_tape *tape, int lowest,
                            float *dx, void *dx_copy) {
    for (int l = pass->model->config.layers - 1; l >= lowest; l--) {
        block_tape *t = &tape->blocks[l];
        if (l < pass->kept_from) block_again(ctx, pass, l, t);
        bool wanted_below = l > lowest || pass->model->d_embedding;
        mlp_backward(ctx, pass, l, t, dx, dx_copy);
        hone_arena_release_saved(&ctx->arena, t->mlp);
        attention_backward(ctx, pass, l, t, dx, dx_copy, wanted_below);
        hone_arena_release_saved(&ctx->arena, t->start);
    }
}

/* ---- the whole ---- */

void hone_pass_run(hone_ctx *ctx, const hone_pass *pass) {
    const hone_model *model = pass->model;
    hone_tape *tape = pass->tapes[ctx->team.rank];
    ctx->ops = model->ops;
    dims d = dims_of(ctx, pass);
    size_t count = d.rows * d.hidden;
    hone_arena_mark mark = hone_arena_get_mark(&ctx->arena);
    int lowest = hone_pass_lowest_trained(model);
    bool keeps = model->ops->keeps_residual;
    float *stream = keep_if(ctx, keeps, count * sizeof(float));
    tape->x = blocks_forward(ctx, pass, tape, lowest, stream);
    /* dx outlives what the head and the blocks use as scratch, so it is taken first. Where no backward reads the
     * stream, it is over with the last norm: its gradient takes its place. */
    float *dx = NULL;
    if (pass->backward)
        dx = keeps ? hone_arena_scratch(&ctx->arena, count * sizeof(float)) : stream;
    void *dx_copy = pass->backward ? hone_arena_scratch(&ctx->arena, count * d.element) : NULL;
    hone_arena_mark head = hone_arena_get_mark(&ctx->arena);
    void *normed = hone_arena_scratch(&ctx->arena, count * d.element);
    hone_rms_norm_args norm = norm_args(pass, tape->x, model->final_norm, normed);
    model->ops->rms_norm_forward(ctx, &norm, pass->backward ? &tape->final_norm : NULL);
    if (pass->logits) last_logits(ctx, pass, normed);
    if (pass->losses) {
        float *dy = pass->backward ? hone_arena_scratch(&ctx->arena, count * sizeof(float)) : NULL;
        head_loss_noted(ctx, pass, normed, dy, tape);
        if (pass->backward) {
            norm.y = NULL;
            norm.dy = dy;
            norm.dy_dtype = HONE_F32;
            norm.dx = dx;
            norm.dx_copy = dx_copy;
            norm.dgamma = model->d_final_norm;
            hone_zero(ctx, dx, count * sizeof(float));
            model->ops->rms_norm_backward(ctx, &norm, &tape->final_norm);
        }
    }
    hone_arena_release(&ctx->arena, head);
    if (pass->backward) {
        blocks_backward(ctx, pass, tape, lowest, dx, dx_copy);
        if (model->d_embedding)
            hone_embedding_backward(ctx, pass->batch->ids, d.rows, d.hidden, dx,
                                    model->d_embedding);
    }
    hone_arena_release(&ctx->arena, mark);
}

hone_status hone_pass_open(hone_pass *pass, const hone_model *model, int threads, hone_error *err) {
    size_t layers = (size_t)model->config.layers;
    *pass = (hone_pass){.model = model, .scale = 1};
    pass->tapes = calloc((size_t)threads, sizeof *pass->tapes);
    if (!pass->tapes) return hone_fail_memory(err, "tapes", (size_t)threads * sizeof *pass->tapes);
    pass->tape_count = threads;
    for (int i = 0; i < threads; i++) {
        hone_tape *tape = calloc(1, sizeof *tape);
        pass->tapes[i] = tape;
        if (tape) tape->blocks = calloc(layers, sizeof *tape->blocks);
        if (!tape || !tape->blocks) {
            hone_pass_close(pass);
            return hone_fail_memory(err, "a tape", layers * sizeof *tape->blocks);
        }
    }
    return HONE_OK;
}

void hone_pass_close(hone_pass *pass) {
    for (int i = 0; i < pass->tape_count; i++) {
        if (pass->tapes[i]) free(pass->tapes[i]->blocks);
        free(pass->tapes[i]);
    }
    free(pass->tapes);
    pass->tapes = NULL;
    pass->tape_count = 0;
}

hone_pass_memory hone_pass_plan(const hone_pass *pass, int threads) {
    hone_ctx ctx = {.team = {.rank = 0, .size = threads},
                    .kernels = &pass->model->kernels,
                    .compute = pass->model->compute,
                    .arena = hone_arena_plan()};
    pass->tapes[0]->loss = (hone_arena_mark){0};
    hone_pass_run(&ctx, pass);
    const hone_arena_mark most = ctx.arena.at_peak, loss = pass->tapes[0]->loss;
    return (hone_pass_memory){.bytes = ctx.arena.peak,
                              .saved = most.saved,
                              .scratch = most.scratch,
                              .loss_saved = loss.saved,
                              .loss_scratch = loss.scratch};
}
