/* train/params: see params.h. */
#include "train/params.h"

#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 / sizeof(float) };

hone_status hone_params_add(hone_params *params, const char *name, size_t rows, size_t cols,
                            hone_param_layout layout, size_t *offset, hone_error *err) {
    size_t n, padded, total;
    if (!hone_size_mul(rows, cols, &n) || !hone_size_align(n, ALIGN, &padded) ||
        !hone_size_add(params->total, padded, &total) || total > SIZE_MAX / sizeof(float))
        return hone_fail_memory(err, name, SIZE_MAX);
    if (params->count == params->capacity) {
        size_t capacity = params->capacity ? 2 * params->capacity : 64;
        hone_param *grown = realloc(params->items, capacity * sizeof *grown);
        if (!grown) return hone_fail_memory(err, "the list of weights", capacity * sizeof *grown);
        params->items = grown;
        params->capacity = capacity;
    }
    hone_param *item = &params->items[params->count++];
    *item = (hone_param){.rows = rows, .cols = cols, .offset = params->total, .layout = layout};
    snprintf(item->name, sizeof item->name, "%s", name);
    *offset = item->offset;
    params->total = total;
    params->trained += n;
    return HONE_OK;
}

hone_status hone_params_allocate(hone_params *params, hone_model *model, hone_error *err) {
    void *memory;
    HONE_TRY(
        hone_model_alloc(model, params->total * sizeof(float), "trained weights", &memory, err));
    params->w = memory;
    return HONE_OK;
}

void hone_params_release(hone_model *model, const float *w) {
    for (size_t i = 0; i < model->owned_count; i++) {
        if (model->owned[i] != w) continue;
        free(model->owned[i]);
        model->owned[i] = model->owned[--model->owned_count];
        return;
    }
}

static hone_status make_zeros(float **out, size_t count, const char *what, hone_error *err) {
    size_t bytes = HONE_MAX(count, (size_t)ALIGN) * sizeof(float);
    *out = aligned_alloc(64, bytes);
    if (!*out) return hone_fail_memory(err, what, bytes);
    memset(*out, 0, bytes);
    return HONE_OK;
}

hone_status hone_params_train(hone_params *params, hone_error *err) {
    HONE_TRY(make_zeros(&params->g, params->total, "gradients", err));
    HONE_TRY(make_zeros(&params->m, params->total, "the optimizer's first moments", err));
    return make_zeros(&params->v, params->total, "the optimizer's second moments", err);
}

void hone_params_close(hone_params *params) {
    free(params->items);
    free(params->g);
    free(params->m);
    free(params->v);
    *params = (hone_params){0};
}
