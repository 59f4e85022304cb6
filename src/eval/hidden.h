/* eval/hidden: batches that no training has seen, and the loss of an adapter on them. Layer eval.
 *
 * A training process that holds foreign kernels is not believed when it tells its losses. What it has learnt is in the
 * adapter that it wrote, and this process looks at that itself, with hone's own kernels. */
#ifndef HONE_EVAL_HIDDEN_H
#define HONE_EVAL_HIDDEN_H

#include "base/status.h"

/* Writes `rows` rows, drawn with `seed` from test.jsonl or valid.jsonl of the folder `data`, to folder/test.jsonl.
 * *found is false, and nothing written, when there is neither. */
hone_status hone_hidden_draw(const char *data, const char *folder, size_t rows, uint64_t seed,
                             bool *found, hone_error *err);

typedef struct hone_hidden_options {
    const char *model, *weights;    /* as in hone_model_options */
    const char *folder;             /* with the rows that were drawn */
    const char *adapter;            /* folder; NULL: the model as it is */
    int seq_len;                    /* rows are cut to so many tokens */
    bool (*keep_going)(void *user); /* false: HONE_ERR_INTERRUPTED. NULL: go on */
    void *user;
} hone_hidden_options;

/* The mean loss over the drawn rows. An adapter that is no regular file, or no adapter, is HONE_ERR_FORMAT. */
hone_status hone_hidden_loss(const hone_hidden_options *options, double *loss, hone_error *err);

#endif
