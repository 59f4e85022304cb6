/* train/adapter: see adapter.h. */
#include "train/adapter.h"

#include "base/rng.h"
#include "base/size.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- choosing ---- */

static int linear_of(const char *key) {
    for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
        const char *name = hone_linear_names[i];
        if (strcmp(key, name) == 0 || strcmp(key, strchr(name, '.') + 1) == 0) return i;
    }
    return -1;
}

hone_status hone_adapter_find_keys(const char *const *keys, size_t count,
                                   bool out[HONE_LINEAR_COUNT], hone_error *err) {
    for (int i = 0; i < HONE_LINEAR_COUNT; i++) out[i] = keys == NULL;
    for (size_t k = 0; keys && k < count; k++) {
        int i = linear_of(keys[k]);
        if (i < 0)
            return hone_fail(
                err, HONE_ERR_USAGE,
                "--keys: there is no linear layer \"%s\"; there are self_attn.{q,k,v,o}_proj and "
                "mlp.{gate,up,down}_proj",
                keys[k]);
        out[i] = true;
    }
    if (keys && count == 0)
        return hone_fail(err, HONE_ERR_USAGE,
                         "--keys: no linear layer is named: there would be nothing to train");
    return HONE_OK;
}

static hone_status check_numbers(int rank, double scale, hone_error *err) {
    if (rank < 1 || rank > HONE_MAX_RANK)
        return hone_fail(err, HONE_ERR_USAGE, "--rank %d: expected 1 to %d", rank,
                         (int)HONE_MAX_RANK);
    if (!isfinite(scale) || fabs(scale) > 1e6)
        return hone_fail(err, HONE_ERR_USAGE, "--scale %g: expected a number up to 1e6", scale);
    return HONE_OK;
}

hone_status hone_adapter_choose(hone_adapter *adapter, const hone_model *model, int rank,
                                double scale, int num_layers, const char *const *keys,
                                size_t key_count, hone_error *err) {
    bool linears[HONE_LINEAR_COUNT];
    *adapter = (hone_adapter){.rank = rank, .scale = scale};
    HONE_TRY(check_numbers(rank, scale, err));
    HONE_TRY(hone_adapter_find_keys(keys, key_count, linears, err));
    if (num_layers < -1 || num_layers == 0)
        return hone_fail(err, HONE_ERR_USAGE, "--num-layers %d: expected 1 or more, or -1 for all",
                         num_layers);
    int layers = model->config.layers;
    adapter->num_layers = num_layers < 0 ? layers : HONE_MIN(num_layers, layers);
    adapter->chosen = calloc((size_t)layers * HONE_LINEAR_COUNT, sizeof(bool));
    if (!adapter->chosen)
        return hone_fail_memory(err, "an adapter", (size_t)layers * HONE_LINEAR_COUNT);
    for (int l = layers - adapter->num_layers; l < layers; l++)
        memcpy(adapter->chosen + l * HONE_LINEAR_COUNT, linears, sizeof linears);
    return HONE_OK;
}

void hone_adapter_free(hone_adapter *adapter) {
    free(adapter->chosen);
    *adapter = (hone_adapter){0};
}

/* ---- attaching ---- */

hone_status hone_adapter_list(const hone_adapter *adapter, const hone_model *model,
                              hone_params *params, hone_error *err) {
    size_t rank = (size_t)adapter->rank, offset;
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
            if (!adapter->chosen[l * HONE_LINEAR_COUNT + i]) continue;
            const hone_matrix *w = &model->blocks[l].linear[i].weight;
            char name[80];
            snprintf(name, sizeof name, "model.layers.%d.%s.lora_a", l, hone_linear_names[i]);
            HONE_TRY(
                hone_params_add(params, name, rank, w->cols, HONE_PARAM_TRANSPOSED, &offset, err));
            name[strlen(name) - 1] = 'b';
            HONE_TRY(
                hone_params_add(params, name, w->rows, rank, HONE_PARAM_TRANSPOSED, &offset, err));
        }
    return HONE_OK;
}

/* The flat array of the adapter that the model has: its first tensor. NULL when it has none. */
static const float *attached(const hone_model *model) {
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++)
            if (model->blocks[l].linear[i].lora.rank) return model->blocks[l].linear[i].lora.a;
    return NULL;
}

static void detach(hone_model *model) {
    const void *memory = attached(model);
    if (!memory) return;
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++)
            model->blocks[l].linear[i].lora = (hone_lora){0};
    hone_params_release(model, memory);
}

static void attach(const hone_adapter *adapter, hone_model *model, const hone_params *params) {
    const hone_param *item = params->items;
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
            if (!adapter->chosen[l * HONE_LINEAR_COUNT + i]) continue;
            model->blocks[l].linear[i].lora = (hone_lora){.rank = adapter->rank,
                                                          .scale = (float)adapter->scale,
                                                          .a = params->w + item[0].offset,
                                                          .b = params->w + item[1].offset};
            item += 2;
        }
}

void hone_adapter_put(const hone_adapter *adapter, hone_model *model, const hone_params *params) {
    detach(model);
    attach(adapter, model, params);
}

void hone_adapter_sketch(const hone_adapter *adapter, hone_model *sketch,
                         const hone_params *params) {
    for (int l = 0; l < sketch->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++)
            sketch->blocks[l].linear[i].lora = (hone_lora){0};
    attach(adapter, sketch, params);
    hone_adapter_bind_gradients(sketch, params);
}

void hone_adapter_bind_gradients(hone_model *model, const hone_params *params) {
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
            hone_lora *lora = &model->blocks[l].linear[i].lora;
            bool trained = lora->rank && params->g;
            lora->da = trained ? params->g + (lora->a - params->w) : NULL;
            lora->db = trained ? params->g + (lora->b - params->w) : NULL;
        }
}

void hone_adapter_init(const hone_params *params, uint64_t seed) {
    hone_rng rng = hone_rng_make(seed);
    for (size_t p = 0; p < params->count; p += 2) {
        const hone_param *a = &params->items[p];
        double bound = 1 / sqrt((double)a->cols);
        for (size_t i = 0; i < a->rows * a->cols; i++)
            params->w[a->offset + i] = (float)(bound * (2 * hone_rng_uniform(&rng) - 1));
    }
}
