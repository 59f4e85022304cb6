/* train/trainer: one optimizer step. Holds what is trained, the working memory and the optimizer's state. */
#ifndef HONE_TRAIN_TRAINER_H
#define HONE_TRAIN_TRAINER_H

#include "model/pass.h"
#include "train/adapter.h"

typedef struct hone_trainer {
    hone_model *model;
    hone_train_options options;
    hone_adapter adapter; /* of LoRA; chosen NULL in full fine-tuning */
    hone_params params;   /* count 0: nothing is trained, only losses are computed */
    hone_pass pass;
    hone_arena arena;
    float *losses; /* [loss_capacity] */
    size_t loss_capacity;
    size_t touched; /* working memory that steps have used: it is no longer free */
    size_t
        limit; /* of working memory; 0: none. Each step then runs as few blocks again as fit it */
    uint64_t steps; /* done */
    bool diverged;  /* the last one's loss or gradient was not finite */
} hone_trainer;

typedef struct hone_step_result {
    double loss; /* mean over the labels */
    double grad_norm;
    size_t tokens, labels;
} hone_step_result;

/* Whether the options' numbers make sense. */
hone_status hone_trainer_check(const hone_train_options *options, hone_error *err);

/* When there are steps to do (iters is not 0), puts on the model what is to be trained: a fresh adapter
 * (or that of resume_adapter_file), or float32 copies of all weights. Nothing is run again in backward unless
 * pass.kept_from is set. */
hone_status hone_trainer_open(hone_trainer *trainer, hone_model *model,
                              const hone_train_options *options, hone_error *err);
/* The model keeps what was trained. */
void hone_trainer_close(hone_trainer *trainer);

/* Whether that much working memory can be had without other programs, or this one, being ended for it: a reservation
 * alone takes nothing yet. */
hone_status hone_trainer_check_memory(const hone_trainer *trainer, size_t bytes, hone_error *err);

/* Makes sure of that much working memory's addresses. */
hone_status hone_trainer_reserve(hone_trainer *trainer, size_t bytes, hone_error *err);

/* One step over `count` batches whose gradients are added up, every label of equal weight. A loss or gradient that is
 * not finite is an error, and changes no weight. */
hone_status hone_trainer_step(hone_trainer *trainer, const hone_batch *batches, size_t count,
                              hone_step_result *result, hone_error *err);

/* Sum of the losses over a batch's labels; nothing is learnt. */
hone_status hone_trainer_loss(hone_trainer *trainer, const hone_batch *batch, double *sum,
                              hone_error *err);

/* Writes the adapter's or the model's files into options.adapter_path; a copy of the adapter's weights is kept
 * under the step's number too when `numbered`. */
hone_status hone_trainer_save(const hone_trainer *trainer, bool numbered, hone_error *err);

#endif
