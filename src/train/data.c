/* train/data: see data.h. */
#include "train/data.h"

#include "base/parallel.h"
#include "base/rng.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

hone_data_options hone_data_options_of(const hone_train_options *options, const hone_model *model,
                                       bool once) {
    size_t seq = (size_t)options->max_seq_length, most = (size_t)model->config.max_positions;
    /* Where rows are as long as their text, one that the model has no positions for is cut like any long one. */
    if (options->packing == HONE_PACKING_NONE) seq = HONE_MIN(seq, most);
    return (hone_data_options){.packing = options->packing,
                               .mask_prompt = options->mask_prompt,
                               .once = once,
                               .batch_size = (size_t)options->batch_size,
                               .seq = seq,
                               .seed = options->seed};
}

typedef struct check {
    const hone_rows *rows;
    size_t *bad; /* [threads] first faulty row that each found; rows->count when none */
} check;

static void check_rows(hone_team team, void *argument) {
    const check *c = argument;
    size_t begin, end;
    hone_split(team, c->rows->count, 64, &begin, &end);
    c->bad[team.rank] = c->rows->count;
    for (size_t i = begin; i < end && c->bad[team.rank] == c->rows->count; i++) {
        json_t *row;
        hone_row_kind kind;
        hone_error err;
        if (hone_rows_read(c->rows, i, &row, &kind, &err) != HONE_OK)
            c->bad[team.rank] = i;
        else
            json_decref(row);
    }
}

/* The first faulty row is reported, whatever the number of threads. */
static hone_status check_all(const hone_data *data, hone_error *err) {
    int threads = data->model->options.threads;
    size_t *bad = calloc((size_t)threads, sizeof *bad), first = data->rows.count;
    if (!bad) return hone_fail_memory(err, "a check", (size_t)threads * sizeof *bad);
    for (int i = 0; i < threads; i++) bad[i] = first;
    hone_parallel(threads, check_rows, &(check){&data->rows, bad});
    for (int i = 0; i < threads; i++) first = HONE_MIN(first, bad[i]);
    free(bad);
    if (first == data->rows.count) return HONE_OK;
    json_t *row;
    hone_row_kind kind;
    hone_status status = hone_rows_read(&data->rows, first, &row, &kind, err);
    if (status == HONE_OK) json_decref(row);
    return status;
}

hone_status hone_data_path(const char *data, const char *name, bool whole, char **path,
                           hone_error *err) {
    *path = NULL;
    if (!data) return hone_fail(err, HONE_ERR_USAGE, "no data: expected a folder with train.jsonl");
    bool folder = hone_file_is_directory(data);
    if (!folder && !whole) return HONE_OK;
    *path = folder ? hone_path_join(data, name) : strdup(data);
    if (!*path) return hone_fail_memory(err, "a path", strlen(data));
    if (whole || hone_file_exists(*path)) return HONE_OK;
    free(*path);
    *path = NULL;
    return HONE_OK;
}

static size_t row_at(hone_data *data, size_t place) {
    if (data->options.once) return place;
    if (data->order_epoch != data->position.epoch) {
        for (size_t i = 0; i < data->rows.count; i++) data->order[i] = i;
        hone_rng rng =
            hone_rng_make(data->options.seed + data->position.epoch * 0x9e3779b97f4a7c15u);
        hone_rng_shuffle(&rng, data->order, data->rows.count);
        data->order_epoch = data->position.epoch;
    }
    return data->order[place];
}

hone_status hone_data_open(hone_data *data, const hone_model *model, const char *path,
                           const hone_data_options *options, hone_error *err) {
    *data = (hone_data){.model = model, .options = *options, .order_epoch = UINT64_MAX};
    HONE_TRY(hone_rows_open(&data->rows, path, err));
    hone_status status;
    HONE_TRY_GOTO(status, failed, check_all(data, err));
    if (options->once) return HONE_OK;
    data->order = malloc(data->rows.count * sizeof *data->order);
    if (!data->order)
        HONE_TRY_GOTO(
            status, failed,
            hone_fail_memory(err, "the rows' order", data->rows.count * sizeof *data->order));
    (void)row_at(data, 0); /* the first order, so that its memory is there when memory is planned */
    return HONE_OK;
failed:
    hone_data_close(data);
    return status;
}

void hone_data_close(hone_data *data) {
    hone_rows_close(&data->rows);
    hone_example_free(&data->current);
    free(data->order);
    *data = (hone_data){0};
}

void hone_data_rewind(hone_data *data) {
    hone_example_free(&data->current);
    data->position = (hone_data_position){0};
    data->barren = 0;
}

/* ---- batches ---- */

size_t hone_data_segment_rows(const hone_data_options *options) {
    return options->packing == HONE_PACKING_CONCAT ? options->seq : options->seq - 1;
}

size_t hone_data_batch_rows(const hone_data_options *options) {
    size_t rows = options->packing == HONE_PACKING_NONE ? options->seq - 1 : options->seq;
    return options->batch_size * rows;
}

hone_status hone_batch_open(hone_batch *batch, size_t rows, hone_error *err) {
    *batch = (hone_batch){
        .ids = malloc(rows * sizeof(int32_t)),
        .labels = malloc(rows * sizeof(int32_t)),
        .positions = malloc(rows * sizeof(int32_t)),
        .segments = malloc(rows * sizeof(hone_segment)),
    };
    if (batch->ids && batch->labels && batch->positions && batch->segments) return HONE_OK;
    hone_batch_close(batch);
    return hone_fail_memory(err, "a batch", rows * (3 * sizeof(int32_t) + sizeof(hone_segment)));
}

void hone_batch_close(hone_batch *batch) {
    free(batch->ids);
    free(batch->labels);
    free(batch->positions);
    free(batch->segments);
    *batch = (hone_batch){0};
}

/* ---- rows, one after another ---- */

static void go_on(hone_data *data) {
    hone_example_free(&data->current);
    data->position.offset = 0;
    data->position.next++;
    if (data->position.next < data->rows.count || data->options.once) return;
    data->position.next = 0;
    data->position.epoch++;
}

static hone_status load(hone_data *data, hone_error *err) {
    size_t index = row_at(data, data->position.next);
    json_t *row;
    hone_row_kind kind;
    HONE_TRY(hone_rows_read(&data->rows, index, &row, &kind, err));
    hone_status status =
        hone_example_make(data->model, row, kind, data->options.mask_prompt, &data->current, err);
    json_decref(row);
    if (status != HONE_OK) {
        hone_rows_fail(&data->rows, index, err);
        return status;
    }
    bool first_time = data->position.epoch == 0 && data->position.offset == 0;
    if (data->options.packing != HONE_PACKING_CONCAT) {
        bool cut = hone_example_cut(&data->current, data->options.seq);
        data->truncated += cut && first_time;
    }
    return HONE_OK;
}

/* Makes `current` the next row with something to learn. It stays empty at the end of `once`. */
static hone_status want_example(hone_data *data, hone_error *err) {
    while (data->current.count == 0) {
        if (data->position.next >= data->rows.count) return HONE_OK;
        HONE_TRY(load(data, err));
        if (hone_example_labels(&data->current) > 0) {
            data->barren = 0;
            return HONE_OK;
        }
        data->skipped += data->position.epoch == 0;
        go_on(data);
        if (++data->barren >= data->rows.count && !data->options.once)
            return hone_fail(
                err, HONE_ERR_FORMAT, "%s: none of the %zu rows holds anything to learn%s",
                data->rows.map.path, data->rows.count,
                data->options.mask_prompt ? ": with --mask-prompt only what the assistant says "
                                            "within the first --max-seq-length tokens counts"
                                          : ": they are empty or of a single token");
    }
    return HONE_OK;
}

static void add_row(hone_batch *batch, int32_t id, int32_t label, size_t position) {
    batch->ids[batch->rows] = id;
    batch->labels[batch->rows] = label;
    batch->positions[batch->rows] = (int32_t)position;
    batch->rows++;
    batch->label_count += label != HONE_IGNORE;
}

static void close_segment(hone_batch *batch, size_t begin) {
    batch->segments[batch->segment_count++] =
        (hone_segment){begin, batch->rows, begin, batch->rows};
}

/* A segment of the first `count` tokens of `current`, labels only from row `from` on. */
static void add_example(hone_data *data, hone_batch *batch, size_t from, size_t count) {
    const hone_example *e = &data->current;
    size_t begin = batch->rows;
    for (size_t i = 0; i < count; i++) {
        bool labelled = i >= from && e->learnt[i + 1];
        add_row(batch, e->ids[i], labelled ? e->ids[i + 1] : HONE_IGNORE, i);
    }
    close_segment(batch, begin);
}

static hone_status fill_plain(hone_data *data, hone_batch *batch, hone_error *err) {
    for (size_t i = 0; i < data->options.batch_size; i++) {
        HONE_TRY(want_example(data, err));
        if (data->current.count == 0) break;
        add_example(data, batch, 0, data->current.count - 1);
        go_on(data);
    }
    return HONE_OK;
}

static hone_status fill_isolated(hone_data *data, hone_batch *batch, hone_error *err) {
    size_t rows = data->options.batch_size * data->options.seq;
    while (batch->rows < rows) {
        HONE_TRY(want_example(data, err));
        if (data->current.count == 0) break;
        size_t all = data->current.count - 1, room = HONE_MIN(all, rows - batch->rows);
        add_example(data, batch, data->position.offset, room);
        if (room == all)
            go_on(data);
        else
            data->position.offset = room;
    }
    return HONE_OK;
}

/* One row of the stream: its tokens first, with a mark in `labels`, then the labels. */
static hone_status fill_stream_row(hone_data *data, hone_batch *batch, hone_error *err) {
    size_t begin = batch->rows, seq = data->options.seq;
    while (batch->rows - begin < seq) {
        HONE_TRY(want_example(data, err));
        if (data->current.count == 0) break;
        hone_example *e = &data->current;
        while (data->position.offset < e->count && batch->rows - begin < seq) {
            size_t i = data->position.offset++;
            add_row(batch, e->ids[i], e->learnt[i] ? e->ids[i] : HONE_IGNORE, batch->rows - begin);
        }
        if (data->position.offset == e->count) go_on(data);
    }
    for (size_t i = begin; i < batch->rows; i++) {
        bool last = i + 1 == batch->rows;
        batch->label_count -= i == begin && batch->labels[i] != HONE_IGNORE;
        batch->labels[i] = last ? HONE_IGNORE : batch->labels[i + 1];
    }
    if (batch->rows > begin) close_segment(batch, begin);
    return HONE_OK;
}

static hone_status fill_concatenated(hone_data *data, hone_batch *batch, hone_error *err) {
    for (size_t i = 0; i < data->options.batch_size; i++)
        HONE_TRY(fill_stream_row(data, batch, err));
    return HONE_OK;
}

hone_status hone_data_next(hone_data *data, hone_batch *batch, hone_error *err) {
    uint64_t epoch = data->position.epoch;
    do {
        if (data->position.epoch > epoch + 1)
            return hone_fail(err, HONE_ERR_FORMAT,
                             "%s: a whole epoch of batches of %zu tokens has no label in it",
                             data->rows.map.path, data->options.seq);
        batch->rows = batch->segment_count = batch->label_count = 0;
        switch (data->options.packing) {
        case HONE_PACKING_NONE:
            HONE_TRY(fill_plain(data, batch, err));
            break;
        case HONE_PACKING_ISOLATE:
            HONE_TRY(fill_isolated(data, batch, err));
            break;
        case HONE_PACKING_CONCAT:
            HONE_TRY(fill_concatenated(data, batch, err));
            break;
        }
    } while (batch->rows > 0 && batch->label_count == 0);
    return HONE_OK;
}
