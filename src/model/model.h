/* model/model: an opened model: configuration, weights, tokenizer. The inside of the public hone_model. */
#ifndef HONE_MODEL_MODEL_H
#define HONE_MODEL_MODEL_H

#include "model/config.h"
#include "ops/plugin.h"
#include "ops/watch.h"
#include "text/chat.h"
#include "text/tokenizer.h"

typedef enum hone_linear_id {
    HONE_LINEAR_Q,
    HONE_LINEAR_K,
    HONE_LINEAR_V,
    HONE_LINEAR_O,
    HONE_LINEAR_GATE,
    HONE_LINEAR_UP,
    HONE_LINEAR_DOWN,
    HONE_LINEAR_COUNT
} hone_linear_id;

/* "self_attn.q_proj", ..., "mlp.down_proj": the names of Hugging Face and mlx-lm. */
extern const char *const hone_linear_names[HONE_LINEAR_COUNT];

typedef struct hone_block {
    float *attn_norm, *mlp_norm;     /* [hidden] */
    float *d_attn_norm, *d_mlp_norm; /* gradients; NULL when frozen */
    hone_linear linear[HONE_LINEAR_COUNT];
} hone_block;

/* Who owns what: `set` holds the mapped weights; `owned` lists everything else that was allocated for
 * this model (norms, re-ordered q and k rows, adapters), freed with it. */
struct hone_model {
    hone_config config;
    hone_model_options options; /* threads and compute resolved; `ops` not NULL */
    hone_dtype compute;
    hone_kernels kernels;
    const hone_op_set *ops; /* the watch's */
    hone_watch watch;
    hone_plugin *plugin; /* NULL: a set that is built in */
    hone_file_set *set;
    hone_tokenizer *tokenizer;
    hone_chat_template *chat; /* NULL when the model has none */
    hone_matrix embedding;    /* [vocab, hidden] */
    float *d_embedding;       /* [vocab, hidden]; NULL when frozen */
    hone_block *blocks;       /* [layers] */
    float *final_norm;        /* [hidden] */
    float *d_final_norm;
    hone_linear head;           /* [vocab, hidden]; shares the embedding's matrix when tied */
    hone_arena tiles;           /* of linear weights that are multiplied with one row at a time */
    float *rope_cos, *rope_sin; /* [rope_positions, head_dim/2]; grown on demand */
    size_t rope_positions;
    const char *precision;
    uint64_t parameters, weight_bytes;
    void **owned;
    size_t owned_count, owned_capacity;
};

/* AUTO: bfloat16 where the CPU features include its multiplication, else float32. */
hone_compute hone_compute_resolve(hone_compute compute, unsigned features);

/* Zeroed memory that lives as long as the model. */
hone_status hone_model_alloc(hone_model *model, size_t bytes, const char *what, void **out,
                             hone_error *err);

/* Makes rope tables for at least `positions` positions. Call before a pass, outside parallel regions. */
hone_status hone_model_need_positions(hone_model *model, size_t positions, hone_error *err);

/* Makes tiles (kernels.h) of the linear weights, once, where the kernels want them: for 64 `passes` of one row or more,
 * since copying takes about as long as they save in these, and where a quarter of the memory that is free holds them.
 * Without them all is slower. The pages of the file that they were made from are given back: call it when the prompt is
 * done, outside parallel regions. */
void hone_model_make_tiles(hone_model *model, size_t passes);

/* The token that ends a text: the tokenizer's, else the one that the model's configuration names; -1: none. */
int32_t hone_model_eos(const hone_model *model);

/* Adds bos_token and eos_token to a template's variables. */
hone_status hone_model_chat_variables(const hone_model *model, json_t *variables, hone_error *err);

/* Reads weights from model->set into model (config is set): in model/weights.c. */
hone_status hone_weights_read(hone_model *model, hone_error *err);

#endif
