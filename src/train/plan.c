/* train/plan: see plan.h.
 *
 * Which blocks are run again: the first ones. Backward visits the last first, so the whole tapes of the last blocks are
 * gone before the first of the others is made again. With k tapes kept at the end, the peak holds max(k, 1) tapes;
 * had the first k been kept, it would hold k + 1.
 */
#include "train/plan.h"

#include "base/clock.h"
#include "base/size.h"
#include "train/adapter.h"
#include "train/data.h"
#include "train/full.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
/* Pages of code that first runs in a step, stacks and what the C library keeps of freed memory: 0.4 MiB were measured
 * with adapters, 2.4 in full fine-tuning. */
#define FIRST_STEP (3 * MIB)
/* What a limit leaves beside the plan: for long rows while they are read, and pages that are mapped around others. */
#define HEADROOM (2 * MIB)
/* What is resident when a training is planned is not the same in every run: advice has to hold in the next one. */
#define ADVICE_SLACK MIB

/* ---- working memory ---- */

static hone_pass_memory larger(hone_pass_memory a, size_t scratch) {
    if (scratch <= a.bytes) return a;
    a.bytes = a.scratch = scratch;
    a.saved = 0;
    return a;
}

hone_pass_memory hone_plan_step(const hone_pass *pass, const hone_batch *batch, size_t trained) {
    const hone_model *model = pass->model;
    int threads = model->options.threads;
    float placeholder; /* a plan reads and writes nothing */
    hone_pass planned = *pass;
    planned.batch = batch;
    planned.losses = &placeholder;
    planned.backward = trained > 0;
    hone_pass_memory memory = hone_pass_plan(&planned, threads);
    hone_ctx ctx = {.team = {.rank = 0, .size = threads},
                    .kernels = &model->kernels,
                    .compute = model->compute,
                    .arena = hone_arena_plan()};
    hone_sum_squares(&ctx, NULL, trained);
    return larger(memory, ctx.arena.peak);
}

/* What becomes resident when an arena of so many bytes is used up: whole huge pages. */
static size_t arena_bytes(size_t bytes) {
    size_t whole;
    return hone_size_align(bytes, HONE_HUGE_PAGE, &whole) ? whole : SIZE_MAX;
}

size_t hone_plan_step_limit(const hone_train_plan *plan, size_t mem_limit) {
    size_t others = plan->total - plan->activations - plan->scratch;
    return (mem_limit - HEADROOM - others) / HONE_HUGE_PAGE * HONE_HUGE_PAGE;
}

static size_t step_bytes(hone_pass pass, const hone_batch *batch, size_t trained, int kept_from) {
    pass.kept_from = kept_from;
    return hone_plan_step(&pass, batch, trained).bytes;
}

int hone_plan_all_recomputed(const hone_pass *pass, const hone_batch *batch, size_t trained) {
    int lowest = hone_pass_lowest_trained(pass->model), kept_from = pass->model->config.layers;
    size_t least = step_bytes(*pass, batch, trained, kept_from);
    while (kept_from > lowest && step_bytes(*pass, batch, trained, kept_from - 1) <= least)
        kept_from--;
    return kept_from;
}

hone_status hone_plan_batch(size_t rows, size_t longest, hone_batch *batch, hone_error *err) {
    *batch = (hone_batch){.rows = rows, .label_count = rows};
    batch->segments = calloc(HONE_CEIL_DIV(rows, longest), sizeof *batch->segments);
    if (!batch->segments) return hone_fail_memory(err, "a plan", rows);
    for (size_t begin = 0; begin < rows; begin += longest) {
        size_t end = HONE_MIN(begin + longest, rows);
        batch->segments[batch->segment_count++] = (hone_segment){begin, end, begin, end};
    }
    return HONE_OK;
}

/* ---- the model's own memory ---- */

static bool lies_in(const hone_file_map *map, const void *data) {
    uintptr_t at = (uintptr_t)data, begin = (uintptr_t)map->data;
    return map->data && at >= begin && at - begin < map->size;
}

typedef void matrix_fn(const hone_matrix *matrix, void *user);

static void each_matrix(const hone_model *model, matrix_fn *fn, void *user) {
    fn(&model->embedding, user);
    if (!model->config.tied_head) fn(&model->head.weight, user);
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) fn(&model->blocks[l].linear[i].weight, user);
}

/* The kernel maps pages of a file by aligned windows around the one that is touched: its fault_around_bytes, or a huge
 * page where the file lies in such. That is not known here, but takes an aligned map: such a map counts as if it did,
 * at most a huge page too much at each end of the weights. */
#define WINDOW ((uintptr_t)64 << 10)

typedef struct windows {
    const hone_file_map *map;
    uintptr_t size;
    bool *touched; /* by windows of the address space, from the one that the map begins in */
} windows;

static void mark_windows(const hone_matrix *matrix, void *user) {
    windows *w = user;
    if (!lies_in(w->map, matrix->data)) return;
    uintptr_t first = (uintptr_t)w->map->data / w->size, begin = (uintptr_t)matrix->data;
    uintptr_t last = begin + matrix->rows * matrix->row_bytes - 1;
    memset(w->touched + (begin / w->size - first), true, last / w->size - begin / w->size + 1);
}

static hone_status file_bytes(const hone_model *model, const hone_file_map *map, size_t *bytes,
                              hone_error *err) {
    if (!map->data) return HONE_OK;
    uintptr_t begin = (uintptr_t)map->data, end = begin + map->size;
    windows w = {.map = map, .size = begin % HONE_HUGE_PAGE == 0 ? HONE_HUGE_PAGE : WINDOW};
    size_t count = map->size / w.size + 2;
    w.touched = calloc(count, sizeof *w.touched);
    if (!w.touched) return hone_fail_memory(err, "a plan", count);
    each_matrix(model, mark_windows, &w);
    for (size_t i = 0; i < count; i++) {
        uintptr_t from = HONE_MAX((begin / w.size + i) * w.size, begin);
        uintptr_t to = HONE_MIN((begin / w.size + i + 1) * w.size, end);
        if (w.touched[i]) *bytes += to - from;
    }
    free(w.touched);
    return HONE_OK;
}

typedef struct copies {
    const hone_model *model;
    size_t bytes;
    size_t largest; /* of the matrices that are none */
} copies;

static void add_copy(const hone_matrix *matrix, void *user) {
    copies *c = user;
    size_t bytes = matrix->rows * matrix->row_bytes;
    for (size_t i = 0; i < c->model->set->file_count; i++)
        if (lies_in(&c->model->set->files[i], matrix->data)) {
            c->largest = HONE_MAX(c->largest, bytes);
            return;
        }
    c->bytes += bytes;
}

static size_t table_bytes(const hone_model *model) {
    const hone_config *c = &model->config;
    size_t floats = (size_t)c->hidden * (2 * (size_t)c->layers + 1);
    for (int l = 0; l < c->layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
            const hone_linear *linear = &model->blocks[l].linear[i];
            if (linear->bias) floats += linear->weight.rows;
        }
    floats += 2 * model->rope_positions * (size_t)(c->head_dim / 2);
    return floats * sizeof(float);
}

/* What is there whatever is trained. */
typedef struct ground {
    const hone_model *model;
    size_t program, data, tables;
    size_t mapped, copied; /* weights: pages of files that a step reads; in memory already */
    size_t largest;        /* bytes of the largest matrix that lies in a file */
} ground;

static hone_status survey(ground *g, const hone_model *model, size_t data, hone_error *err) {
    *g = (ground){.model = model, .data = data, .tables = table_bytes(model)};
    for (size_t i = 0; i < model->set->file_count; i++) {
        const hone_file_map *map = &model->set->files[i];
        hone_file_map_drop(
            map, 0, map->size); /* read while opening: a step does not want all of it again */
        HONE_TRY(file_bytes(model, map, &g->mapped, err));
    }
    copies c = {.model = model};
    each_matrix(model, add_copy, &c);
    g->copied = c.bytes;
    g->largest = c.largest;
    size_t known = g->copied + g->tables + data, resident = hone_memory_rss();
    g->program = resident > known ? resident - known : 0;
    return HONE_OK;
}

/* ---- a sketch of what is trained ---- */

typedef struct sketch {
    hone_model model; /* with blocks of its own */
    hone_adapter adapter;
    hone_params params;
    hone_pass pass;
    hone_batch batch;
} sketch;

/* The largest batch that may come: full rows, in the longest segments. */
static hone_status sketch_batch(sketch *s, const hone_train_options *o, hone_error *err) {
    hone_data_options data = hone_data_options_of(o, &s->model, false);
    return hone_plan_batch(hone_data_batch_rows(&data), hone_data_segment_rows(&data), &s->batch,
                           err);
}

static hone_status sketch_params(sketch *s, const hone_train_options *o, hone_error *err) {
    float *nowhere = (float *)(uintptr_t)64; /* not NULL, never touched */
    bool full = o->fine_tune_type == HONE_FINE_TUNE_FULL;
    if (full) {
        HONE_TRY(hone_full_list(&s->model, &s->params, err));
    } else {
        HONE_TRY(hone_adapter_choose(&s->adapter, &s->model, o->lora_rank, o->lora_scale,
                                     o->num_layers, o->lora_keys, o->lora_key_count, err));
        HONE_TRY(hone_adapter_list(&s->adapter, &s->model, &s->params, err));
    }
    hone_params there = {.items = s->params.items,
                         .count = s->params.count,
                         .total = s->params.total,
                         .w = nowhere,
                         .g = nowhere};
    if (full)
        hone_full_sketch(&s->model, &there);
    else
        hone_adapter_sketch(&s->adapter, &s->model, &there);
    return HONE_OK;
}

static void close_sketch(sketch *s) {
    hone_pass_close(&s->pass);
    hone_params_close(&s->params);
    hone_adapter_free(&s->adapter);
    free(s->batch.segments);
    free(s->model.blocks);
}

static hone_status open_sketch(sketch *s, const hone_model *model, const hone_train_options *o,
                               hone_error *err) {
    size_t bytes = (size_t)model->config.layers * sizeof *model->blocks;
    *s = (sketch){.model = *model};
    s->model.blocks = malloc(bytes);
    if (!s->model.blocks) return hone_fail_memory(err, "a plan", bytes);
    memcpy(s->model.blocks, model->blocks, bytes);
    hone_status status;
    HONE_TRY_GOTO(status, failed, sketch_params(s, o, err));
    HONE_TRY_GOTO(status, failed, sketch_batch(s, o, err));
    HONE_TRY_GOTO(status, failed, hone_pass_open(&s->pass, &s->model, 1, err));
    return HONE_OK;
failed:
    close_sketch(s);
    return status;
}

/* ---- the plan ---- */

static size_t sum(const hone_train_plan *p) {
    return p->program + p->data + p->weights + p->tables + p->trained + p->gradients + p->moments +
           p->saving + p->activations + p->scratch;
}

/* Ids, labels, positions and losses of a step's batches, and a batch of validation: reserved, but not touched yet. */
static size_t batch_bytes(const hone_batch *batch, const hone_train_options *o) {
    size_t count = (size_t)o->grad_accumulation_steps;
    return batch->rows * (count * (3 * sizeof(int32_t) + sizeof(float)) + 3 * sizeof(int32_t));
}

/* The plan with this much recomputation. */
static hone_train_plan plan_with(const ground *g, const sketch *s, const hone_train_options *o,
                                 int kept_from) {
    bool full = o->fine_tune_type == HONE_FINE_TUNE_FULL;
    size_t numbers = s->params.total * sizeof(float);
    int lowest = hone_pass_lowest_trained(&s->model);
    hone_pass pass = s->pass;
    pass.kept_from = kept_from;
    hone_pass_memory memory = hone_plan_step(&pass, &s->batch, s->params.total);
    hone_train_plan plan = {
        .program = g->program + FIRST_STEP,
        .data = g->data + batch_bytes(&s->batch, o),
        .tables = g->tables,
        .trained = numbers,
        .gradients = numbers,
        .moments = 2 * numbers,
        .saving = o->adapter_path && !full ? numbers : 0,
        .activations = memory.saved,
        .scratch = arena_bytes(memory.bytes) - memory.saved,
        .loss = memory.loss_saved + memory.loss_scratch,
        .blocks = s->model.config.layers - lowest,
        .recomputed = HONE_MAX(kept_from - lowest, 0),
    };
    /* Of full fine-tuning's stored weights count the copies in memory, until the float32 ones are made, and the one in
     * a file that is being read: before there is any working memory. */
    size_t working = plan.activations + plan.scratch, stored = g->copied + g->largest;
    if (!full)
        plan.weights = g->mapped + g->copied;
    else if (stored > working)
        plan.weights = stored - working;
    plan.total = sum(&plan);
    return plan;
}

static bool within(const hone_train_plan *plan, size_t limit) {
    return limit >= HEADROOM && plan->total <= limit - HEADROOM;
}

/* Does it fit with all the recomputation that there is? */
static bool fits(const ground *g, const hone_train_options *o) {
    sketch s;
    if (open_sketch(&s, g->model, o, NULL) != HONE_OK) return false;
    hone_train_plan plan = plan_with(g, &s, o, s.model.config.layers);
    close_sketch(&s);
    return o->mem_limit > ADVICE_SLACK && within(&plan, o->mem_limit - ADVICE_SLACK);
}

/* ---- what would fit ---- */

typedef struct change {
    const char *option;
    int value;   /* 0: none fits */
    double kept; /* of the present value */
} change;

/* The largest multiple of `unit` below the present value that fits, everything else as it is. */
static change largest_that_fits(const ground *g, const hone_train_options *o, const char *option,
                                size_t offset, int present, int unit) {
    hone_train_options other = *o;
    int *value = (int *)(void *)((char *)&other + offset);
    int low = 0, high = (present - 1) / unit; /* low fits, or is 0; nothing above high does */
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        *value = middle * unit;
        if (fits(g, &other))
            low = middle;
        else
            high = middle - 1;
    }
    return (change){option, low * unit, (double)(low * unit) / present};
}

enum { CHANGES = 4 };

static int compare_changes(const void *a, const void *b) {
    double x = ((const change *)a)->kept, y = ((const change *)b)->kept;
    return (x < y) - (x > y);
}

static int changes_that_fit(const ground *g, const hone_train_options *o, change out[CHANGES]) {
    enum { TOKENS = 32 };
    int count = 0, layers = g->model->config.layers;
    int tokens = o->max_seq_length > TOKENS ? TOKENS : 2;
    change all[CHANGES] = {
        largest_that_fits(g, o, "--max-seq-length", offsetof(hone_train_options, max_seq_length),
                          o->max_seq_length, tokens),
        largest_that_fits(g, o, "--batch-size", offsetof(hone_train_options, batch_size),
                          o->batch_size, 1),
    };
    if (o->fine_tune_type == HONE_FINE_TUNE_LORA) {
        int of = o->num_layers < 0 ? layers : HONE_MIN(o->num_layers, layers);
        all[2] = largest_that_fits(g, o, "--rank", offsetof(hone_train_options, lora_rank),
                                   o->lora_rank, 1);
        all[3] = largest_that_fits(g, o, "--num-layers", offsetof(hone_train_options, num_layers),
                                   of, 1);
    }
    for (int i = 0; i < CHANGES; i++)
        if (all[i].value > 0) out[count++] = all[i];
    qsort(out, (size_t)count, sizeof *out, compare_changes);
    return count;
}

static hone_status refuse(const ground *g, const hone_train_options *o, const sketch *s,
                          hone_error *err) {
    hone_train_plan least = plan_with(g, s, o, s->model.config.layers);
    hone_train_options lora = *o;
    lora.fine_tune_type = HONE_FINE_TUNE_LORA;
    change changes[CHANGES];
    int count = changes_that_fit(g, o, changes);
    char advice[256] = "";
    size_t used = 0;
    for (int i = 0; i < count && used < sizeof advice; i++)
        used += (size_t)snprintf(advice + used, sizeof advice - used, "%s%s %d",
                                 i == 0           ? ""
                                 : i + 1 == count ? " or "
                                                  : ", ",
                                 changes[i].option, changes[i].value);
    if (count == 0 && o->fine_tune_type == HONE_FINE_TUNE_FULL && fits(g, &lora))
        snprintf(advice, sizeof advice, "--fine-tune-type lora");
    size_t needed = HONE_CEIL_DIV(least.total + HEADROOM, MIB);
    char limit[64];
    if (o->mem_limit < MIB) /* a forgotten unit */
        snprintf(limit, sizeof limit, "%zu (bytes)", o->mem_limit);
    else
        snprintf(limit, sizeof limit, "%zuM", o->mem_limit / MIB);
    if (advice[0])
        return hone_fail(err, HONE_ERR_LIMIT,
                         "--mem-limit %s: the training needs %zu MiB, with all recomputation; it "
                         "would fit with %s%s",
                         limit, needed, advice, count > 1 ? " (the smallest change first)" : "");
    size_t standing = least.program + least.data + least.tables + least.weights;
    return hone_fail(err, HONE_ERR_LIMIT,
                     "--mem-limit %s: the training needs %zu MiB, with all recomputation, of "
                     "which the program and the model alone take %zu; no change of one option "
                     "makes it fit: give --mem-limit %zuM",
                     limit, needed, HONE_CEIL_DIV(standing, MIB), needed + ADVICE_SLACK / MIB);
}

/* ---- the whole ---- */

static hone_status choose(const ground *g, const hone_train_options *o, const sketch *s,
                          hone_train_plan *plan, int *kept_from, hone_error *err) {
    int lowest = hone_pass_lowest_trained(&s->model);
    int all = hone_plan_all_recomputed(&s->pass, &s->batch, s->params.total);
    hone_train_plan none = plan_with(g, s, o, lowest), most = plan_with(g, s, o, all);
    *kept_from = o->grad_checkpoint ? all : lowest;
    *plan = o->grad_checkpoint ? most : none;
    while (o->mem_limit && !within(plan, o->mem_limit) && *kept_from < all)
        *plan = plan_with(g, s, o, ++*kept_from);
    plan->total_kept = none.total;
    plan->total_recomputed = most.total;
    if (o->mem_limit && !within(plan, o->mem_limit)) return refuse(g, o, s, err);
    return HONE_OK;
}

hone_status hone_plan_memory(const hone_model *model, const hone_train_options *options,
                             size_t data, hone_train_plan *plan, int *kept_from, hone_error *err) {
    ground g;
    sketch s;
    HONE_TRY(survey(&g, model, data, err));
    HONE_TRY(open_sketch(&s, model, options, err));
    hone_status status = choose(&g, options, &s, plan, kept_from, err);
    close_sketch(&s);
    return status;
}
