/* train/data: batches from a .jsonl file, row by row as they are needed.
 *
 * Rows of different lengths are laid one after another, with segments that say where each begins: there is no
 * padding.
 *   HONE_PACKING_NONE     batch_size examples, however long; the last token of each, which predicts nothing, is
 *                         left out
 *   HONE_PACKING_ISOLATE  exactly batch_size * seq rows, a segment for each example. The last one is cut to fit,
 *                         and comes again as the first of the next batch with only the rest of it as labels: each
 *                         token is learnt once, and with all that stands before it
 *   HONE_PACKING_CONCAT   batch_size segments of exactly seq tokens of one stream; the last of each has no label
 */
#ifndef HONE_TRAIN_DATA_H
#define HONE_TRAIN_DATA_H

#include "model/pass.h"
#include "train/example.h"

/* All that has to be kept to go on at the same place: the order of an epoch follows from the seed. */
typedef struct hone_data_position {
    uint64_t epoch;
    size_t next;   /* place in the epoch's order */
    size_t offset; /* tokens of that row that have been used */
} hone_data_position;

typedef struct hone_data_options {
    hone_packing packing;
    bool mask_prompt;
    bool
        once; /* in the file's order, and then the end: for validation. Else shuffled, without end */
    size_t batch_size, seq;
    uint64_t seed;
} hone_data_options;

typedef struct hone_data {
    const hone_model *model;
    hone_data_options options;
    hone_rows rows;
    size_t *order;        /* [rows.count] of `order_epoch`; NULL with options.once */
    uint64_t order_epoch; /* UINT64_MAX: none yet */
    hone_data_position position;
    hone_example current;        /* the row at `position`, when count is not 0 */
    size_t barren;               /* rows skipped since the last that was used */
    uint64_t skipped, truncated; /* rows of the first epoch so far */
} hone_data;

/* What a training's options ask for; `once`: for validation. */
hone_data_options hone_data_options_of(const hone_train_options *options, const hone_model *model,
                                       bool once);

/* "DATA/name" when `data` is a folder; `data` itself when it is a file and `whole`. The caller frees. *path NULL: there
 * is no such file. */
hone_status hone_data_path(const char *data, const char *name, bool whole, char **path,
                           hone_error *err);

/* Opens the file and checks every row's shape, so that training does not stop at one of them later. */
hone_status hone_data_open(hone_data *data, const hone_model *model, const char *path,
                           const hone_data_options *options, hone_error *err);
void hone_data_close(hone_data *data);

/* Back to the first row: for validation. */
void hone_data_rewind(hone_data *data);

/* The most rows that a batch can have, in segments of at most how many rows. */
size_t hone_data_batch_rows(const hone_data_options *options);
size_t hone_data_segment_rows(const hone_data_options *options);

/* Memory for a batch of up to `rows` rows. */
hone_status hone_batch_open(hone_batch *batch, size_t rows, hone_error *err);
void hone_batch_close(hone_batch *batch);

/* Fills a batch that hone_batch_open made for hone_data_batch_rows. It has labels, unless `once` has come to its
 * end: then it has no rows. */
hone_status hone_data_next(hone_data *data, hone_batch *batch, hone_error *err);

#endif
