/* train/trainer: see trainer.h. */
#include "train/trainer.h"

#include "base/clock.h"
#include "base/size.h"
#include "train/full.h"
#include "train/hub.h"
#include "train/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

static hone_status check_count(int value, int low, const char *name, hone_error *err) {
    if (value >= low) return HONE_OK;
    return hone_fail(err, HONE_ERR_USAGE, "%s %d: expected %d or more", name, value, low);
}

static hone_status check_fraction(double value, const char *name, hone_error *err) {
    if (value >= 0 && value < 1) return HONE_OK;
    return hone_fail(err, HONE_ERR_USAGE, "%s %g: expected 0 or more and less than 1", name, value);
}

hone_status hone_trainer_check(const hone_train_options *o, hone_error *err) {
    enum { MOST_ROWS = 1 << 26 };
    HONE_TRY(check_count(o->iters, 0, "--iters", err));
    HONE_TRY(check_count(o->batch_size, 1, "--batch-size", err));
    HONE_TRY(check_count(o->max_seq_length, 2, "--max-seq-length", err));
    HONE_TRY(check_count(o->grad_accumulation_steps, 1, "--grad-accumulation-steps", err));
    HONE_TRY(check_count(o->steps_per_eval, 0, "--steps-per-eval", err));
    HONE_TRY(check_count(o->val_batches, -1, "--val-batches", err));
    HONE_TRY(check_count(o->save_every, 0, "--save-every", err));
    HONE_TRY(check_fraction(o->beta1, "beta1", err));
    HONE_TRY(check_fraction(o->beta2, "beta2", err));
    HONE_TRY(check_fraction(o->weight_decay, "--weight-decay", err));
    if (!(o->learning_rate >= 0 && o->learning_rate <= 1e3))
        return hone_fail(err, HONE_ERR_USAGE, "--learning-rate %g: expected 0 to 1000",
                         o->learning_rate);
    if (!(o->eps > 0 && o->eps <= 1))
        return hone_fail(err, HONE_ERR_USAGE, "eps %g: expected more than 0 and at most 1", o->eps);
    if ((int64_t)o->batch_size * o->max_seq_length > MOST_ROWS)
        return hone_fail(err, HONE_ERR_USAGE,
                         "%d sequences of %d tokens: at most %d tokens go into a batch",
                         o->batch_size, o->max_seq_length, (int)MOST_ROWS);
    return HONE_OK;
}

/* Weights that are trained, their gradients and two moments. */
static hone_status check_weights(const hone_params *params, const char *advice, hone_error *err) {
    size_t bytes, available = hone_memory_available();
    bool fits = hone_size_mul(params->total, 4 * sizeof(float), &bytes);
    if (available == 0 || (fits && bytes <= available)) return HONE_OK;
    return hone_fail(err, HONE_ERR_MEMORY,
                     "training %.2f million weights needs %.2f GB, %.2f GB is free: %s",
                     (double)params->trained / 1e6, 16e-9 * (double)params->total,
                     1e-9 * (double)available, advice);
}

static hone_status put_adapter(hone_trainer *t, hone_error *err) {
    const hone_train_options *o = &t->options;
    HONE_TRY(hone_adapter_choose(&t->adapter, t->model, o->lora_rank, o->lora_scale, o->num_layers,
                                 o->lora_keys, o->lora_key_count, err));
    HONE_TRY(hone_adapter_list(&t->adapter, t->model, &t->params, err));
    HONE_TRY(check_weights(&t->params, "lower --rank or --num-layers", err));
    HONE_TRY(hone_params_allocate(&t->params, t->model, err));
    hone_status status = HONE_OK;
    if (o->resume_adapter_file)
        status = hone_adapter_read(&t->params, o->resume_adapter_file, err);
    else
        hone_adapter_init(&t->params, o->seed);
    if (status != HONE_OK) {
        hone_params_release(t->model, t->params.w);
        return status;
    }
    hone_adapter_put(&t->adapter, t->model, &t->params);
    HONE_TRY(hone_params_train(&t->params, err));
    hone_adapter_bind_gradients(t->model, &t->params);
    return HONE_OK;
}

static bool has_adapter(const hone_model *model) {
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++)
            if (model->blocks[l].linear[i].lora.rank) return true;
    return false;
}

static hone_status put_full(hone_trainer *t, hone_error *err) {
    if (has_adapter(t->model) || t->options.resume_adapter_file)
        return hone_fail(
            err, HONE_ERR_USAGE,
            "full fine-tuning changes the model's own weights and cannot start from an adapter");
    const char *folder = t->options.adapter_path;
    if (folder) HONE_TRY(hone_hub_check(t->model, folder, err));
    HONE_TRY(hone_full_list(t->model, &t->params, err));
    HONE_TRY(check_weights(&t->params, "train an adapter, with --fine-tune-type lora", err));
    HONE_TRY(hone_params_train(&t->params, err));
    HONE_TRY(hone_params_allocate(&t->params, t->model, err));
    hone_full_put(t->model, &t->params);
    hone_full_bind_gradients(t->model, &t->params);
    return HONE_OK;
}

hone_status hone_trainer_open(hone_trainer *trainer, hone_model *model,
                              const hone_train_options *options, hone_error *err) {
    *trainer = (hone_trainer){.model = model, .options = *options};
    hone_status status;
    HONE_TRY_GOTO(status, failed, hone_trainer_check(options, err));
    HONE_TRY_GOTO(status, failed,
                  hone_pass_open(&trainer->pass, model, model->options.threads, err));
    if (options->iters == 0) return HONE_OK;
    if (options->fine_tune_type == HONE_FINE_TUNE_FULL)
        HONE_TRY_GOTO(status, failed, put_full(trainer, err));
    else
        HONE_TRY_GOTO(status, failed, put_adapter(trainer, err));
    return HONE_OK;
failed:
    hone_trainer_close(trainer);
    return status;
}

void hone_trainer_close(hone_trainer *trainer) {
    if (trainer->params.g) {
        free(trainer->params.g);
        trainer->params.g = NULL;
        if (trainer->adapter.chosen)
            hone_adapter_bind_gradients(trainer->model, &trainer->params);
        else
            hone_full_bind_gradients(trainer->model, &trainer->params);
    }
    hone_pass_close(&trainer->pass);
    hone_params_close(&trainer->params);
    hone_adapter_free(&trainer->adapter);
    hone_arena_close(&trainer->arena);
    free(trainer->losses);
    *trainer = (hone_trainer){0};
}

/* ---- memory ---- */

hone_status hone_trainer_check_memory(const hone_trainer *trainer, size_t bytes, hone_error *err) {
    if (bytes <= trainer->touched) return HONE_OK;
    size_t available = hone_memory_available(), more = bytes - trainer->touched;
    if (available == 0 || more <= available) return HONE_OK;
    return hone_fail(err, HONE_ERR_MEMORY,
                     "a batch needs %.2f GB of working memory, %.2f GB is free: lower --batch-size "
                     "or --max-seq-length%s",
                     1e-9 * (double)bytes, 1e-9 * (double)(available + trainer->touched),
                     trainer->options.grad_checkpoint ? "" : ", or give --grad-checkpoint");
}

hone_status hone_trainer_reserve(hone_trainer *trainer, size_t bytes, hone_error *err) {
    if (trainer->arena.base && bytes <= trainer->arena.capacity) return HONE_OK;
    hone_arena_close(&trainer->arena);
    return hone_arena_open(&trainer->arena, bytes, true, err);
}

static hone_status reserve_losses(hone_trainer *t, size_t rows, hone_error *err) {
    if (rows <= t->loss_capacity) return HONE_OK;
    float *grown = realloc(t->losses, rows * sizeof *grown);
    if (!grown) return hone_fail_memory(err, "losses", rows * sizeof *grown);
    t->losses = grown;
    t->loss_capacity = rows;
    return HONE_OK;
}

/* Working memory for the batch, with as little recomputation as the limit allows, if there is one. *kept_from is
 * raised to what the batch needs. */
static hone_status plan_batch(const hone_trainer *t, const hone_batch *batch, size_t *bytes,
                              int *kept_from, hone_error *err) {
    hone_pass pass = t->pass;
    size_t trained = t->params.total;
    pass.kept_from = *kept_from;
    *bytes = hone_plan_step(&pass, batch, trained).bytes;
    if (!t->limit) return HONE_OK;
    int all = hone_plan_all_recomputed(&pass, batch, trained);
    while (*bytes > t->limit && pass.kept_from < all) {
        pass.kept_from++;
        *bytes = hone_plan_step(&pass, batch, trained).bytes;
    }
    *kept_from = pass.kept_from;
    if (*bytes <= t->limit) return HONE_OK;
    return hone_fail(err, HONE_ERR_LIMIT,
                     "a batch of %zu tokens in %zu rows needs %.2f GB of working memory, "
                     "--mem-limit leaves %.2f GB: lower --batch-size or --max-seq-length",
                     batch->rows, batch->segment_count, 1e-9 * (double)*bytes,
                     1e-9 * (double)t->limit);
}

/* Working memory, losses and positions for these batches; the first block that is kept whole for them. */
static hone_status make_ready(hone_trainer *t, const hone_batch *batches, size_t count,
                              size_t *rows, size_t *labels, int *kept_from, hone_error *err) {
    size_t longest = 0;
    *rows = *labels = 0;
    *kept_from = t->limit && !t->options.grad_checkpoint ? 0 : t->pass.kept_from;
    for (size_t i = 0; i < count; i++) {
        for (size_t s = 0; s < batches[i].segment_count; s++)
            longest =
                HONE_MAX(longest, batches[i].segments[s].q_end - batches[i].segments[s].q_begin);
        *rows += batches[i].rows;
        *labels += batches[i].label_count;
    }
    HONE_TRY(hone_model_need_positions(t->model, longest, err)); /* a plan looks at the tables */
    for (size_t i = 0; i < count; i++) {
        size_t bytes;
        HONE_TRY(plan_batch(t, &batches[i], &bytes, kept_from, err));
        HONE_TRY(hone_trainer_check_memory(t, bytes, err));
        HONE_TRY(hone_trainer_reserve(t, bytes, err));
        t->touched = HONE_MAX(t->touched, bytes);
    }
    return reserve_losses(t, *rows, err);
}

/* ---- a step ---- */

typedef struct job {
    hone_trainer *trainer;
    const hone_batch *batches;
    size_t count, rows, labels;
    int kept_from;
    bool learn;
    double loss, grad_norm; /* written by rank 0, like the rest */
    hone_arena arena;       /* of rank 0 at the end */
} job;

static hone_adamw adamw_of(const hone_trainer *t) {
    const hone_train_options *o = &t->options;
    const hone_params *p = &t->params;
    double step = (double)(t->steps + 1);
    return (hone_adamw){.n = p->total,
                        .w = p->w,
                        .m = p->m,
                        .v = p->v,
                        .g = p->g,
                        .lr = o->learning_rate,
                        .beta1 = o->beta1,
                        .beta2 = o->beta2,
                        .eps = o->eps,
                        .weight_decay = o->weight_decay,
                        .correction1 = 1 - pow(o->beta1, step),
                        .correction2 = 1 - pow(o->beta2, step),
                        .grad_scale = 1};
}

/* Every thread adds up all losses, in their order: each has the sum, and the same one. */
static double sum_losses(const float *losses, size_t rows) {
    double sum = 0;
    for (size_t i = 0; i < rows; i++) sum += (double)losses[i];
    return sum;
}

static void run_job(hone_team team, void *argument) {
    job *j = argument;
    const hone_trainer *t = j->trainer;
    const hone_params *p = &t->params;
    hone_ctx ctx = {.team = team,
                    .kernels = &t->model->kernels,
                    .compute = t->model->compute,
                    .arena = t->arena};
    hone_pass pass = t->pass;
    pass.backward = j->learn;
    pass.kept_from = j->kept_from;
    pass.losses = t->losses;
    pass.scale = (float)(1 / (double)j->labels);
    if (j->learn) hone_zero(&ctx, p->g, p->total * sizeof *p->g);
    for (size_t i = 0; i < j->count; i++) {
        pass.batch = &j->batches[i];
        hone_pass_run(&ctx, &pass);
        pass.losses += pass.batch->rows;
    }
    double sum = sum_losses(t->losses, j->rows), norm = 0;
    if (j->learn) {
        norm = sqrt(hone_sum_squares(&ctx, p->g, p->total));
        hone_adamw update = adamw_of(t);
        if (isfinite(sum) && isfinite(norm) && !ctx.arena.overflow) hone_adamw_step(&ctx, &update);
    }
    if (team.rank == 0) {
        j->loss = sum;
        j->grad_norm = norm;
        j->arena = ctx.arena;
    }
}

hone_status hone_trainer_step(hone_trainer *trainer, const hone_batch *batches, size_t count,
                              hone_step_result *result, hone_error *err) {
    job j = {.trainer = trainer, .batches = batches, .count = count, .learn = true};
    HONE_TRY(make_ready(trainer, batches, count, &j.rows, &j.labels, &j.kept_from, err));
    hone_parallel(trainer->model->options.threads, run_job, &j);
    HONE_TRY(hone_arena_check(&j.arena, err));
    trainer->diverged = !isfinite(j.loss) || !isfinite(j.grad_norm);
    if (trainer->diverged)
        return hone_fail(
            err, HONE_ERR_LIMIT,
            "step %llu: the loss is %g and the gradient's norm %g; train with a lower learning "
            "rate (now %g) or a smaller scale",
            (unsigned long long)trainer->steps + 1, j.loss / (double)j.labels, j.grad_norm,
            trainer->options.learning_rate);
    trainer->steps++;
    *result = (hone_step_result){.loss = j.loss / (double)j.labels,
                                 .grad_norm = j.grad_norm,
                                 .tokens = j.rows,
                                 .labels = j.labels};
    return HONE_OK;
}

hone_status hone_trainer_loss(hone_trainer *trainer, const hone_batch *batch, double *sum,
                              hone_error *err) {
    job j = {.trainer = trainer, .batches = batch, .count = 1};
    HONE_TRY(make_ready(trainer, batch, 1, &j.rows, &j.labels, &j.kept_from, err));
    hone_parallel(trainer->model->options.threads, run_job, &j);
    HONE_TRY(hone_arena_check(&j.arena, err));
    *sum = j.loss;
    return HONE_OK;
}

/* ---- saving ---- */

static hone_status save_adapter(const hone_trainer *t, const char *name, hone_error *err) {
    char *path = hone_path_join(t->options.adapter_path, name);
    if (!path) return hone_fail_memory(err, "a path", strlen(name));
    bool config = strcmp(name, "adapter_config.json") == 0;
    hone_status status = config ? hone_adapter_write_config(&t->adapter, t->model, path, err)
                                : hone_adapter_write(&t->params, path, err);
    free(path);
    return status;
}

hone_status hone_trainer_save(const hone_trainer *trainer, bool numbered, hone_error *err) {
    if (trainer->options.fine_tune_type == HONE_FINE_TUNE_FULL)
        return hone_full_write(trainer->model, &trainer->params, trainer->options.adapter_path,
                               err);
    char name[64];
    snprintf(name, sizeof name, "%07llu_adapters.safetensors", (unsigned long long)trainer->steps);
    /* The configuration last: where the weights do not fit on the disk, an earlier adapter stays whole. */
    HONE_TRY(save_adapter(trainer, "adapters.safetensors", err));
    HONE_TRY(save_adapter(trainer, "adapter_config.json", err));
    return numbered ? save_adapter(trainer, name, err) : HONE_OK;
}
