/* train/visit: the rows of a data set, one by one, as the trainer sees them. */
#include "base/size.h"
#include "train/data.h"

#include <stdlib.h>

static hone_status make_example(const hone_model *model, const hone_rows *rows, size_t index,
                                bool mask_prompt, hone_example *out, hone_error *err) {
    json_t *row;
    hone_row_kind kind;
    HONE_TRY(hone_rows_read(rows, index, &row, &kind, err));
    hone_status status = hone_example_make(model, row, kind, mask_prompt, out, err);
    json_decref(row);
    return status == HONE_OK ? HONE_OK : hone_rows_fail(rows, index, err);
}

static hone_status visit(const hone_model *model, const hone_rows *rows,
                         const hone_train_options *options,
                         bool (*on_row)(void *user, const hone_data_row *row), void *user,
                         hone_error *err) {
    const size_t seq = hone_data_options_of(options, model, true).seq;
    bool go_on = true;
    for (size_t i = 0; i < rows->count && go_on; i++) {
        hone_example example = {0};
        hone_status status = make_example(model, rows, i, options->mask_prompt, &example, err);
        if (status == HONE_ERR_MEMORY) return status;
        hone_data_row row = {.index = i,
                             .ids = example.ids,
                             .learnt = example.learnt,
                             .count = example.count,
                             .fault = status == HONE_OK ? NULL : err->message};
        hone_example_cut(&example, seq);
        row.kept = example.count;
        row.labels = hone_example_labels(&example);
        go_on = on_row(user, &row);
        hone_example_free(&example);
    }
    return HONE_OK;
}

hone_status hone_data_visit(const hone_model *model, const hone_train_options *options,
                            bool (*on_row)(void *user, const hone_data_row *row), void *user,
                            hone_error *err) {
    hone_error local;
    if (!err) err = &local;
    if (options->max_seq_length < 2)
        return hone_fail(err, HONE_ERR_USAGE, "max sequence length %d: expected 2 or more",
                         options->max_seq_length);
    char *path;
    hone_rows rows;
    HONE_TRY(hone_data_path(options->data, "train.jsonl", true, &path, err));
    hone_status status = hone_rows_open(&rows, path, err);
    free(path);
    HONE_TRY(status);
    status = visit(model, &rows, options, on_row, user, err);
    hone_rows_close(&rows);
    return status;
}
