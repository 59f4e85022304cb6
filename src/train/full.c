/* train/full: see full.h. */
#include "train/full.h"

#include "base/size.h"
#include "format/safetensors.h"
#include "train/hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- every weight of a model, in a fixed order ---- */

/* A place of the model that a weight goes to: a matrix, a vector (norm) or a bias; and that of its gradient. */
typedef struct place {
    char name[80];
    hone_matrix *matrix;
    float **vector;
    const float **bias;
    float **gradient;
    size_t cols; /* of a vector or bias */
} place;

typedef hone_status visit_fn(void *user, const place *p, hone_error *err);

static hone_status visit_linear(hone_linear *linear, const char *name, visit_fn *visit, void *user,
                                hone_error *err) {
    place p = {.matrix = &linear->weight, .gradient = &linear->dweight};
    snprintf(p.name, sizeof p.name, "%s.weight", name);
    HONE_TRY(visit(user, &p, err));
    if (!linear->bias) return HONE_OK;
    place b = {.bias = &linear->bias, .gradient = &linear->dbias, .cols = linear->weight.rows};
    snprintf(b.name, sizeof b.name, "%s.bias", name);
    return visit(user, &b, err);
}

static hone_status visit_norm(float **norm, float **gradient, size_t cols, const char *name,
                              visit_fn *visit, void *user, hone_error *err) {
    place p = {.vector = norm, .gradient = gradient, .cols = cols};
    snprintf(p.name, sizeof p.name, "%s.weight", name);
    return visit(user, &p, err);
}

static hone_status visit_block(hone_model *model, int layer, visit_fn *visit, void *user,
                               hone_error *err) {
    hone_block *block = &model->blocks[layer];
    size_t hidden = (size_t)model->config.hidden;
    char name[64];
    snprintf(name, sizeof name, "model.layers.%d.input_layernorm", layer);
    HONE_TRY(visit_norm(&block->attn_norm, &block->d_attn_norm, hidden, name, visit, user, err));
    for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
        snprintf(name, sizeof name, "model.layers.%d.%s", layer, hone_linear_names[i]);
        HONE_TRY(visit_linear(&block->linear[i], name, visit, user, err));
    }
    snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm", layer);
    return visit_norm(&block->mlp_norm, &block->d_mlp_norm, hidden, name, visit, user, err);
}

static hone_status visit_all(hone_model *model, visit_fn *visit, void *user, hone_error *err) {
    place embedding = {.name = "model.embed_tokens.weight",
                       .matrix = &model->embedding,
                       .gradient = &model->d_embedding};
    HONE_TRY(visit(user, &embedding, err));
    for (int l = 0; l < model->config.layers; l++)
        HONE_TRY(visit_block(model, l, visit, user, err));
    HONE_TRY(visit_norm(&model->final_norm, &model->d_final_norm, (size_t)model->config.hidden,
                        "model.norm", visit, user, err));
    if (model->config.tied_head) return HONE_OK;
    return visit_linear(&model->head, "lm_head", visit, user, err);
}

/* ---- what is done at each ---- */

static hone_status list_one(void *user, const place *p, hone_error *err) {
    size_t offset;
    if (p->matrix)
        return hone_params_add(user, p->name, p->matrix->rows, p->matrix->cols, HONE_PARAM_MATRIX,
                               &offset, err);
    return hone_params_add(user, p->name, 1, p->cols, HONE_PARAM_VECTOR, &offset, err);
}

hone_status hone_full_list(const hone_model *model, hone_params *params, hone_error *err) {
    return visit_all((hone_model *)model, list_one, params, err); /* list_one changes nothing */
}

typedef struct putting {
    hone_model *model;
    const hone_params *params;
    size_t next;
} putting;

static void move_to(const place *p, const hone_param *item, float *w) {
    if (p->matrix)
        *p->matrix = hone_matrix_dense(w, HONE_F32, item->rows, item->cols);
    else if (p->vector)
        *p->vector = w;
    else
        *p->bias = w;
}

static hone_status put_one(void *user, const place *p, hone_error *err) {
    putting *to = user;
    (void)err;
    const hone_param *item = &to->params->items[to->next++];
    float *w = to->params->w + item->offset;
    if (p->matrix) {
        const hone_matrix old = *p->matrix;
        for (size_t r = 0; r < item->rows; r++)
            to->model->kernels.unpack(&old, r, 0, item->cols, HONE_F32, w + r * item->cols);
        move_to(p, item, w);
        /* The pages that the numbers were read from are not wanted again. */
        hone_file_set_drop(to->model->set, old.data, old.rows * old.row_bytes);
        /* After an earlier full fine-tuning the embedding leads the block of all weights: that goes last. */
        if (p->matrix != &to->model->embedding) hone_params_release(to->model, old.data);
        return HONE_OK;
    }
    const float *old = p->vector ? *p->vector : *p->bias;
    memcpy(w, old, item->cols * sizeof *w);
    move_to(p, item, w);
    hone_params_release(to->model, old);
    return HONE_OK;
}

void hone_full_put(hone_model *model, const hone_params *params) {
    putting to = {.model = model, .params = params};
    const void *old = model->embedding.data;
    visit_all(model, put_one, &to, NULL); /* put_one cannot fail */
    if (model->config.tied_head) model->head.weight = model->embedding;
    hone_params_release(model, old);
    for (size_t i = 0; i < model->set->file_count; i++)
        hone_file_map_drop(&model->set->files[i], 0, model->set->files[i].size);
}

static hone_status bind_one(void *user, const place *p, hone_error *err) {
    putting *to = user;
    (void)err;
    const hone_param *item = &to->params->items[to->next++];
    *p->gradient = to->params->g ? to->params->g + item->offset : NULL;
    return HONE_OK;
}

static hone_status sketch_one(void *user, const place *p, hone_error *err) {
    putting *to = user;
    (void)err;
    const hone_param *item = &to->params->items[to->next++];
    move_to(p, item, to->params->w + item->offset);
    return HONE_OK;
}

void hone_full_sketch(hone_model *sketch, const hone_params *params) {
    putting to = {.model = sketch, .params = params};
    visit_all(sketch, sketch_one, &to, NULL); /* sketch_one cannot fail */
    if (sketch->config.tied_head) sketch->head.weight = sketch->embedding;
    hone_full_bind_gradients(sketch, params);
}

void hone_full_bind_gradients(hone_model *model, const hone_params *params) {
    putting to = {.model = model, .params = params};
    visit_all(model, bind_one, &to, NULL); /* bind_one cannot fail */
    if (model->config.tied_head) model->head.dweight = model->d_embedding;
}

/* ---- the folder ---- */

static hone_status write_weights(const hone_params *params, const char *path, hone_error *err) {
    hone_tensor_out *tensors = calloc(params->count, sizeof *tensors);
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    hone_status status;
    if (!tensors || !metadata)
        HONE_TRY_GOTO(
            status, done,
            hone_fail_memory(err, "writing the weights", params->count * sizeof *tensors));
    for (size_t p = 0; p < params->count; p++) {
        const hone_param *item = &params->items[p];
        bool vector = item->layout == HONE_PARAM_VECTOR;
        tensors[p] = (hone_tensor_out){.name = item->name,
                                       .dtype = HONE_F32,
                                       .dims = vector ? 1 : 2,
                                       .shape = {vector ? item->cols : item->rows, item->cols},
                                       .data = params->w + item->offset};
    }
    status = hone_safetensors_write(path, tensors, params->count, metadata, err);
done:
    json_decref(metadata);
    free(tensors);
    return status;
}

hone_status hone_full_write(const hone_model *model, const hone_params *params, const char *folder,
                            hone_error *err) {
    char *path = hone_path_join(folder, "model.safetensors");
    if (!path) return hone_fail_memory(err, "a path", strlen(folder));
    hone_status status = hone_hub_write_config(model, folder, err);
    if (status == HONE_OK) status = hone_hub_write_tokenizer(model, folder, err);
    if (status == HONE_OK) status = write_weights(params, path, err);
    free(path);
    return status;
}
