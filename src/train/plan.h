/* train/plan: the memory that a training takes, by purpose, before any of it is taken.
 *
 * A plan is a run of the very pass that will train, in a planning context, on a copy of the model's description in
 * which trained weights and gradients are addresses that nobody touches. Nothing is guessed: other options are planned
 * in the same way, and so are the changes that a refusal names. */
#ifndef HONE_TRAIN_PLAN_H
#define HONE_TRAIN_PLAN_H

#include "model/pass.h"

/* Working memory of a step over batches of this shape: the pass and, with `trained` numbers, the update. */
hone_pass_memory hone_plan_step(const hone_pass *pass, const hone_batch *batch, size_t trained);

/* Bytes of working memory that options->mem_limit leaves a step beside everything else in the plan, which fits it. */
size_t hone_plan_step_limit(const hone_train_plan *plan, size_t mem_limit);

/* The first block to be kept whole, so that recomputation saves all the memory that it can: the last block is the
 * first that backward comes to, and where keeping it takes no more than running it again, it is kept. */
int hone_plan_all_recomputed(const hone_pass *pass, const hone_batch *batch, size_t trained);

/* A batch of `rows` rows in segments of `longest`, for planning. The caller frees its segments. */
hone_status hone_plan_batch(size_t rows, size_t longest, hone_batch *batch, hone_error *err);

/* Makes the plan, with as little recomputation as options->mem_limit allows; *kept_from is the pass's. The rotary
 * tables have to be there. `data`: resident bytes of the data set. HONE_ERR_LIMIT: it does not fit. */
hone_status hone_plan_memory(const hone_model *model, const hone_train_options *options,
                             size_t data, hone_train_plan *plan, int *kept_from, hone_error *err);

#endif
