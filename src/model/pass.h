/* model/pass: one pass of a batch through a model, forward and backward, inside a parallel region. */
#ifndef HONE_MODEL_PASS_H
#define HONE_MODEL_PASS_H

#include "model/model.h"

/* Rows of tokens. labels[r] is the token that row r should predict, or HONE_IGNORE. */
typedef struct hone_batch {
    size_t rows;
    int32_t *ids, *labels, *positions; /* [rows] */
    hone_segment *segments;            /* [segment_count] */
    size_t segment_count;
    size_t label_count; /* rows with a label */
} hone_batch;

/* Keys and values of the tokens so far, rotated, for generation: [capacity, kv_heads * head_dim] per layer, in the
 * compute type. The pass appends its batch's rows; the caller advances `filled`. */
typedef struct hone_cache {
    void **k, **v; /* [layers] */
    size_t capacity, filled;
} hone_cache;

/* What forward leaves for backward, one for each thread. */
typedef struct hone_tape hone_tape;

typedef struct hone_pass {
    const hone_model *model;
    const hone_batch *batch;
    hone_tape **tapes; /* [team size], made by hone_pass_open */
    int tape_count;
    float *
        losses; /* [rows], 0 where there is no label; NULL: no loss is computed. Forward only then */
    bool backward; /* gradients are added to the model's d* fields */
    /* Of the blocks before this one only the inputs are kept, and each is run again in backward. 0: all is kept;
     * `layers` or more: nothing but the inputs. */
    int kept_from;
    float scale;   /* of each label's loss in the gradient: 1/labels for a mean */
    float *logits; /* [vocab] of the last row, float32; NULL if not wanted. Forward only */
    hone_cache
        *cache; /* generation: the batch continues what the cache holds. NULL: none. Forward only */
} hone_pass;

/* The first block that backward has to reach: nothing below it is trained. `layers` when none is. */
int hone_pass_lowest_trained(const hone_model *model);

/* Allocates the tapes for `threads` threads. */
hone_status hone_pass_open(hone_pass *pass, const hone_model *model, int threads, hone_error *err);
void hone_pass_close(hone_pass *pass);

/* Every thread of the team calls it. In a planning context nothing is touched but the arena's counters. */
void hone_pass_run(hone_ctx *ctx, const hone_pass *pass);

/* Arena bytes of hone_pass_run for a batch's shape. */
typedef struct hone_pass_memory {
    size_t bytes;                    /* the peak */
    size_t saved, scratch;           /* of it, kept for backward and not */
    size_t loss_saved, loss_scratch; /* when the loss needs most; the peak may be another time */
} hone_pass_memory;

/* Of the batch only the segments are read, not ids, labels and positions. */
hone_pass_memory hone_pass_plan(const hone_pass *pass, int threads);

#endif
