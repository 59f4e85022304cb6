/* model/weights: finds a model's tensors by name, checks their shapes and turns them into matrices.
 *
 * Matrices stay where the file's mapping has them. Copied are only: norms and biases (to float32), tensors that the
 * file has at an odd address, and the q and k rows of a llama GGUF, which are stored for interleaved rotary embedding
 * and put back in Hugging Face's half-split order, so that adapters mean the same everywhere.
 */
#include "model/model.h"

#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct names {
    const char *embedding, *final_norm, *head, *block, *attn_norm, *mlp_norm;
    const char *linear[HONE_LINEAR_COUNT];
} names;

static const names gguf_names = {
    .embedding = "token_embd",
    .final_norm = "output_norm",
    .head = "output",
    .block = "blk.%d.%s.%s",
    .attn_norm = "attn_norm",
    .mlp_norm = "ffn_norm",
    .linear = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"},
};

static const names hugging_face_names = {
    .embedding = "model.embed_tokens",
    .final_norm = "model.norm",
    .head = "lm_head",
    .block = "model.layers.%d.%s.%s",
    .attn_norm = "input_layernorm",
    .mlp_norm = "post_attention_layernorm",
    .linear = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
               "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"},
};

const char *const hone_linear_names[HONE_LINEAR_COUNT] = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj",
};

hone_status hone_model_alloc(hone_model *model, size_t bytes, const char *what, void **out,
                             hone_error *err) {
    if (model->owned_count == model->owned_capacity) {
        size_t capacity = model->owned_capacity ? 2 * model->owned_capacity : 64;
        void **grown = realloc(model->owned, capacity * sizeof *grown);
        if (!grown) return hone_fail_memory(err, what, capacity * sizeof *grown);
        model->owned = grown;
        model->owned_capacity = capacity;
    }
    size_t rounded;
    if (!hone_size_align(HONE_MAX(bytes, (size_t)1), 64, &rounded))
        return hone_fail_memory(err, what, bytes);
    void *memory = aligned_alloc(64, rounded);
    if (!memory) return hone_fail_memory(err, what, rounded);
    memset(memory, 0, rounded);
    model->owned[model->owned_count++] = memory;
    *out = memory;
    return HONE_OK;
}

/* ---- one tensor ---- */

static hone_status find(const hone_model *model, const char *name, int dims, size_t rows,
                        size_t cols, const hone_tensor **out, hone_error *err) {
    const hone_tensor *t = hone_file_set_find(model->set, name);
    if (!t)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: the tensor %s is missing; the model has %zu tensors",
                         model->set->path, name, model->set->tensor_count);
    if (t->is_uint32)
        return hone_fail(err, HONE_ERR_UNSUPPORTED,
                         "%s: the tensor %s holds integers; quantized safetensors are not "
                         "supported",
                         model->set->path, name);
    size_t got_rows = t->dims == 2 ? t->shape[0] : 1;
    size_t got_cols = t->dims >= 1 ? t->shape[t->dims - 1] : 1;
    if (t->dims != dims || got_rows != rows || got_cols != cols)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: the tensor %s is %dD [%zu, %zu], the configuration says [%zu, %zu]",
                         model->set->path, name, t->dims, got_rows, got_cols, rows, cols);
    *out = t;
    return HONE_OK;
}

static hone_status matrix_of(const hone_model *model, const hone_tensor *t, size_t rows,
                             size_t cols, hone_matrix *m, hone_error *err) {
    *m = (hone_matrix){.data = t->data, .rows = rows, .cols = cols, .dtype = t->dtype};
    if (!hone_dtype_row_bytes(t->dtype, cols, &m->row_bytes))
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: rows of %zu are no multiple of the %s block of the tensor %s",
                         model->set->path, cols, hone_dtype_name(t->dtype), t->name);
    return HONE_OK;
}

/* A vector as float32 memory of the model. */
static hone_status read_vector(hone_model *model, const char *name, size_t count, float **out,
                               hone_error *err) {
    const hone_tensor *t = NULL;
    hone_matrix m;
    void *memory;
    HONE_TRY(find(model, name, 1, 1, count, &t, err));
    HONE_TRY(matrix_of(model, t, 1, count, &m, err));
    HONE_TRY(hone_model_alloc(model, count * sizeof(float), name, &memory, err));
    model->kernels.unpack(&m, 0, 0, count, HONE_F32, memory);
    model->parameters += count;
    model->weight_bytes += t->bytes;
    *out = memory;
    return HONE_OK;
}

/* The stored row that holds Hugging Face's row `row`: llama GGUFs keep (i, i + half) pairs side by side. */
static size_t stored_row(size_t row, size_t head_dim) {
    size_t head = row / head_dim, within = row % head_dim, half = head_dim / 2;
    return head * head_dim + 2 * (within % half) + within / half;
}

/* Copies a matrix into the model's memory: in another dtype when `dtype` differs, rows re-ordered when head_dim. */
static hone_status copy_matrix(hone_model *model, const hone_tensor *t, hone_dtype dtype,
                               size_t head_dim, hone_matrix *m, hone_error *err) {
    size_t row_bytes, bytes;
    void *memory;
    if (!hone_dtype_row_bytes(dtype, m->cols, &row_bytes) ||
        !hone_size_mul(row_bytes, m->rows, &bytes))
        return hone_fail_memory(err, t->name, SIZE_MAX);
    HONE_TRY(hone_model_alloc(model, bytes, t->name, &memory, err));
    for (size_t r = 0; r < m->rows; r++) {
        size_t from = head_dim ? stored_row(r, head_dim) : r;
        char *to = (char *)memory + r * row_bytes;
        if (dtype == m->dtype)
            memcpy(to, (const char *)m->data + from * m->row_bytes, row_bytes);
        else
            model->kernels.unpack(m, from, 0, m->cols, dtype, to);
    }
    hone_file_map_drop(&model->set->files[t->file], t->offset, t->bytes);
    m->data = memory;
    m->row_bytes = row_bytes;
    m->dtype = dtype;
    return HONE_OK;
}

static bool misaligned(const hone_tensor *t) {
    size_t element = t->dtype == HONE_F32                            ? 4
                     : t->dtype == HONE_F16 || t->dtype == HONE_BF16 ? 2
                                                                     : 1;
    return (uintptr_t)t->data % element != 0;
}

static hone_status read_matrix(hone_model *model, const char *name, size_t rows, size_t cols,
                               size_t permuted_head_dim, hone_matrix *m, hone_error *err) {
    const hone_tensor *t = NULL;
    HONE_TRY(find(model, name, 2, rows, cols, &t, err));
    HONE_TRY(matrix_of(model, t, rows, cols, m, err));
    model->parameters += (uint64_t)rows * cols;
    model->weight_bytes += t->bytes;
    bool to_bf16 = model->options.weights && m->dtype != HONE_BF16;
    if (to_bf16 || permuted_head_dim || misaligned(t))
        return copy_matrix(model, t, to_bf16 ? HONE_BF16 : m->dtype, permuted_head_dim, m, err);
    return HONE_OK;
}

/* ---- the model ---- */

static hone_status read_bias(hone_model *model, const char *name, size_t count,
                             size_t permuted_head_dim, const float **out, hone_error *err) {
    if (!hone_file_set_find(model->set, name)) return HONE_OK;
    float *bias;
    HONE_TRY(read_vector(model, name, count, &bias, err));
    if (permuted_head_dim) {
        void *memory;
        HONE_TRY(hone_model_alloc(model, count * sizeof(float), name, &memory, err));
        for (size_t r = 0; r < count; r++)
            ((float *)memory)[r] = bias[stored_row(r, permuted_head_dim)];
        bias = memory;
    }
    *out = bias;
    return HONE_OK;
}

static hone_status read_block(hone_model *model, const names *n, int layer, hone_error *err) {
    const hone_config *c = &model->config;
    hone_block *block = &model->blocks[layer];
    size_t hidden = (size_t)c->hidden, ffn = (size_t)c->ffn, dim = (size_t)c->head_dim;
    size_t q = (size_t)c->heads * dim, kv = (size_t)c->kv_heads * dim;
    const size_t shape[HONE_LINEAR_COUNT][2] = {{q, hidden},  {kv, hidden},  {kv, hidden},
                                                {hidden, q},  {ffn, hidden}, {ffn, hidden},
                                                {hidden, ffn}};
    char name[160];
    snprintf(name, sizeof name, n->block, layer, n->attn_norm, "weight");
    HONE_TRY(read_vector(model, name, hidden, &block->attn_norm, err));
    snprintf(name, sizeof name, n->block, layer, n->mlp_norm, "weight");
    HONE_TRY(read_vector(model, name, hidden, &block->mlp_norm, err));
    for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
        size_t permuted = c->permuted_qk && (i == HONE_LINEAR_Q || i == HONE_LINEAR_K) ? dim : 0;
        snprintf(name, sizeof name, n->block, layer, n->linear[i], "weight");
        HONE_TRY(read_matrix(model, name, shape[i][0], shape[i][1], permuted,
                             &block->linear[i].weight, err));
        snprintf(name, sizeof name, n->block, layer, n->linear[i], "bias");
        HONE_TRY(read_bias(model, name, shape[i][0], permuted, &block->linear[i].bias, err));
    }
    return HONE_OK;
}

/* The dtype that holds most of the linear weights. */
static const char *precision_of(const hone_model *model) {
    size_t count[HONE_DTYPE_COUNT] = {0}, best = 0;
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
            const hone_matrix *w = &model->blocks[l].linear[i].weight;
            count[w->dtype] += w->rows * w->cols;
        }
    for (size_t d = 1; d < HONE_DTYPE_COUNT; d++)
        if (count[d] > count[best]) best = d;
    return hone_dtype_name((hone_dtype)best);
}

hone_status hone_weights_read(hone_model *model, hone_error *err) {
    const hone_config *c = &model->config;
    const names *n = model->set->kind == HONE_FORMAT_GGUF ? &gguf_names : &hugging_face_names;
    size_t hidden = (size_t)c->hidden, vocab = (size_t)c->vocab;
    char name[160];
    void *blocks;
    /* A layer has 9 tensors at least: more layers than that cannot be there, and need no memory. */
    if ((size_t)c->layers > model->set->tensor_count)
        return hone_fail(err, HONE_ERR_FORMAT, "%s: %d layers, but only %zu tensors",
                         model->set->path, c->layers, model->set->tensor_count);
    HONE_TRY(hone_model_alloc(model, (size_t)c->layers * sizeof(hone_block), "the list of blocks",
                              &blocks, err));
    model->blocks = blocks;
    snprintf(name, sizeof name, "%s.weight", n->embedding);
    HONE_TRY(read_matrix(model, name, vocab, hidden, 0, &model->embedding, err));
    for (int l = 0; l < c->layers; l++) HONE_TRY(read_block(model, n, l, err));
    snprintf(name, sizeof name, "%s.weight", n->final_norm);
    HONE_TRY(read_vector(model, name, hidden, &model->final_norm, err));
    model->head = (hone_linear){.weight = model->embedding};
    if (!c->tied_head) {
        snprintf(name, sizeof name, "%s.weight", n->head);
        HONE_TRY(read_matrix(model, name, vocab, hidden, 0, &model->head.weight, err));
    }
    model->precision = precision_of(model);
    return HONE_OK;
}
