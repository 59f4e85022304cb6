/* train/example: a row of data as tokens, with a mark on each token that is to be learnt. */
#ifndef HONE_TRAIN_EXAMPLE_H
#define HONE_TRAIN_EXAMPLE_H

#include "model/model.h"
#include "train/rows.h"

typedef struct hone_example {
    int32_t *ids; /* [count], owned */
    bool *learnt; /* [count], owned: whether the token is a target */
    size_t count;
} hone_example;

/* Tokenizes a row as mlx-lm does: messages by the model's chat template; a completion as an exchange of user and
 * assistant, or without a template as plain text; text as it is. Plain text ends with the end-of-sequence token.
 * `mask_prompt`: only what the assistant says (every turn), or the completion, is learnt; a row of plain text is an
 * error then. Errors do not name the row. */
hone_status hone_example_make(const hone_model *model, const json_t *row, hone_row_kind kind,
                              bool mask_prompt, hone_example *out, hone_error *err);
void hone_example_free(hone_example *example);

/* Cuts the example to at most `count` tokens; returns whether there was something to cut. */
bool hone_example_cut(hone_example *example, size_t count);

/* Tokens that something predicts and that are learnt: all but the first may be. */
size_t hone_example_labels(const hone_example *example);

#endif
