/* train/params: what is trained, as one flat array of float32 cut into named tensors.
 *
 * Weights, gradients and moments are four arrays of one layout; every tensor starts on a 64-byte boundary, and the
 * gaps between them are zero in all four and stay so. One pass over the arrays is one optimizer step. */
#ifndef HONE_TRAIN_PARAMS_H
#define HONE_TRAIN_PARAMS_H

#include "model/model.h"

typedef enum hone_param_layout {
    HONE_PARAM_MATRIX,     /* the file has it as it is here */
    HONE_PARAM_TRANSPOSED, /* the file has it [cols, rows] */
    HONE_PARAM_VECTOR      /* rows is 1, the file has [cols] */
} hone_param_layout;

typedef struct hone_param {
    char name[80]; /* as in the file it is written to */
    size_t rows, cols;
    size_t offset; /* of its first element in the arrays */
    hone_param_layout layout;
} hone_param;

typedef struct hone_params {
    hone_param *items; /* [count] */
    size_t count, capacity;
    size_t total;     /* elements of each array, gaps included */
    uint64_t trained; /* elements without gaps */
    float *w;         /* [total], belongs to the model and stays with it */
    float *g, *m, *v; /* [total], owned; NULL until hone_params_train */
} hone_params;

/* Adds a tensor at the end. *offset receives its place. */
hone_status hone_params_add(hone_params *params, const char *name, size_t rows, size_t cols,
                            hone_param_layout layout, size_t *offset, hone_error *err);

/* Makes the weights, zeroed, as memory of the model. */
hone_status hone_params_allocate(hone_params *params, hone_model *model, hone_error *err);

/* Gives weights back before the model is freed. */
void hone_params_release(hone_model *model, const float *w);

/* Makes gradients and moments, zeroed. */
hone_status hone_params_train(hone_params *params, hone_error *err);

/* Frees all but the weights. */
void hone_params_close(hone_params *params);

#endif
