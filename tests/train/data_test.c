/* tests of train/data: what batches hold, for each kind of packing. */
#define _GNU_SOURCE 1
#include "help.h"

#include "train/data.h"

enum { ROWS = 23, SEQ = 16 };

/* Rows of different lengths, each with a text of its own; row 7 is longer than SEQ tokens. */
static void write_rows(folder *f) {
    char text[4096] = "", line[256];
    for (int i = 0; i < ROWS; i++) {
        char words[160] = "";
        for (int w = 0; w <= i * 5 % 4 + (i == 7 ? 12 : 0); w++)
            sprintf(words + strlen(words), " %c%c", 'a' + i, 'a' + (i + 3 * w) % 26);
        sprintf(line, "{\"text\": \"%s\"}\n", words);
        strcat(text, line);
    }
    put(f, "train.jsonl", text);
}

typedef struct fixture {
    folder f;
    hone_model *model;
    hone_data data;
    hone_batch batch;
    hone_example rows[ROWS]; /* as they are, uncut */
} fixture;

static void open_data(fixture *x, hone_packing packing, bool once, size_t batch_size,
                      uint64_t seed) {
    hone_error err;
    const hone_data_options options = {
        .packing = packing, .once = once, .batch_size = batch_size, .seq = SEQ, .seed = seed};
    make_folder(&x->f);
    write_rows(&x->f);
    x->model = open_tiny(TINY, 2);
    assert_ok(hone_data_open(&x->data, x->model, in(&x->f, "train.jsonl"), &options, &err), err);
    assert_ok(hone_batch_open(&x->batch, hone_data_batch_rows(&options), &err), err);
    assert_int_equal(x->data.rows.count, ROWS);
    for (size_t i = 0; i < ROWS; i++) {
        json_t *row;
        hone_row_kind kind;
        assert_ok(hone_rows_read(&x->data.rows, i, &row, &kind, &err), err);
        assert_ok(hone_example_make(x->model, row, kind, false, &x->rows[i], &err), err);
        json_decref(row);
    }
}

static void close_data(fixture *x) {
    for (size_t i = 0; i < ROWS; i++) hone_example_free(&x->rows[i]);
    hone_batch_close(&x->batch);
    hone_data_close(&x->data);
    hone_model_free(&x->model);
    remove_folder(&x->f);
}

static void next(fixture *x) {
    hone_error err;
    assert_ok(hone_data_next(&x->data, &x->batch, &err), err);
    size_t end = 0, labels = 0;
    for (size_t s = 0; s < x->batch.segment_count; s++) {
        const hone_segment *g = &x->batch.segments[s];
        assert_int_equal(g->q_begin, end);
        assert_true(g->q_end > g->q_begin && g->kv_begin == g->q_begin && g->kv_end == g->q_end);
        for (size_t i = g->q_begin; i < g->q_end; i++)
            assert_int_equal(x->batch.positions[i], i - g->q_begin);
        end = g->q_end;
    }
    assert_int_equal(end, x->batch.rows);
    for (size_t i = 0; i < x->batch.rows; i++) labels += x->batch.labels[i] != HONE_IGNORE;
    assert_int_equal(labels, x->batch.label_count);
}

/* The row whose tokens a segment begins with. */
static size_t row_of(const fixture *x, const hone_segment *g) {
    size_t n = g->q_end - g->q_begin;
    for (size_t r = 0; r < ROWS; r++)
        if (n <= x->rows[r].count &&
            memcmp(x->rows[r].ids, x->batch.ids + g->q_begin, n * sizeof(int32_t)) == 0)
            return r;
    fail_msg("a segment of %zu tokens is no row's beginning", n);
    return 0;
}

static void rows_are_batched_as_long_as_they_are(void **state) {
    (void)state;
    fixture x;
    open_data(&x, HONE_PACKING_NONE, true, 4, 0);
    for (size_t row = 0; row < ROWS;) {
        next(&x);
        assert_int_equal(x.batch.segment_count, HONE_MIN(4, ROWS - row));
        for (size_t s = 0; s < x.batch.segment_count; s++, row++) {
            const hone_segment *g = &x.batch.segments[s];
            size_t count = HONE_MIN(x.rows[row].count, (size_t)SEQ);
            assert_int_equal(g->q_end - g->q_begin, count - 1);
            assert_memory_equal(x.batch.ids + g->q_begin, x.rows[row].ids,
                                (count - 1) * sizeof(int32_t));
            assert_memory_equal(x.batch.labels + g->q_begin, x.rows[row].ids + 1,
                                (count - 1) * sizeof(int32_t));
        }
    }
    next(&x);
    assert_int_equal(x.batch.rows, 0);
    assert_int_equal(x.data.truncated, 1);
    assert_int_equal(x.data.skipped, 0);
    hone_data_rewind(&x.data);
    next(&x);
    assert_int_equal(row_of(&x, &x.batch.segments[0]), 0);
    close_data(&x);
}

static void an_epoch_is_every_row_once_in_the_order_of_the_seed(void **state) {
    (void)state;
    size_t orders[3][2 * ROWS];
    for (int run = 0; run < 3; run++) {
        fixture x;
        open_data(&x, HONE_PACKING_NONE, false, 1, run < 2 ? 5 : 6);
        for (int epoch = 0; epoch < 2; epoch++) {
            bool seen[ROWS] = {false};
            for (size_t i = 0; i < ROWS; i++) {
                next(&x);
                size_t row = row_of(&x, &x.batch.segments[0]);
                assert_false(seen[row]);
                seen[row] = true;
                orders[run][epoch * ROWS + (int)i] = row;
            }
        }
        close_data(&x);
    }
    assert_memory_equal(orders[0], orders[1], sizeof orders[0]);
    assert_memory_not_equal(orders[0], orders[2], ROWS * sizeof(size_t));
    assert_memory_not_equal(orders[0], orders[0] + ROWS, ROWS * sizeof(size_t));
}

static void isolated_batches_are_full_and_learn_each_token_once(void **state) {
    (void)state;
    fixture x;
    int learnt[ROWS][SEQ] = {{0}};
    size_t order[ROWS], place = 0, continued = 0;
    open_data(&x, HONE_PACKING_ISOLATE, false, 2, 3);
    while (place < ROWS) {
        next(&x);
        if (place == 0) memcpy(order, x.data.order, sizeof order);
        assert_int_equal(x.batch.rows, 2 * SEQ);
        for (size_t s = 0; s < x.batch.segment_count && place < ROWS; s++) {
            const hone_segment *g = &x.batch.segments[s];
            size_t row = order[place], n = g->q_end - g->q_begin;
            assert_memory_equal(x.batch.ids + g->q_begin, x.rows[row].ids, n * sizeof(int32_t));
            for (size_t i = 0; i < n; i++) {
                if (x.batch.labels[g->q_begin + i] == HONE_IGNORE) continue;
                assert_int_equal(x.batch.labels[g->q_begin + i], x.rows[row].ids[i + 1]);
                learnt[row][i]++;
            }
            bool whole = n == HONE_MIN(x.rows[row].count, (size_t)SEQ) - 1;
            assert_true(whole || s + 1 == x.batch.segment_count);
            continued += !whole;
            place += whole;
        }
    }
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i + 1 < HONE_MIN(x.rows[r].count, (size_t)SEQ); i++)
            assert_int_equal(learnt[r][i], 1);
    assert_true(continued > 0);
    close_data(&x);
}

static void concatenated_batches_are_one_stream(void **state) {
    (void)state;
    fixture x;
    enum { BATCH = 3 };
    open_data(&x, HONE_PACKING_CONCAT, true, BATCH, 0);
    size_t row = 0, at = 0, total = 0, seen = 0;
    for (size_t r = 0; r < ROWS; r++) total += x.rows[r].count;
    while (seen < total) {
        next(&x);
        bool whole = total - seen >= BATCH * SEQ;
        if (whole) {
            assert_int_equal(x.batch.rows, BATCH * SEQ);
            assert_int_equal(x.batch.segment_count, BATCH);
            assert_int_equal(x.batch.label_count, BATCH * (SEQ - 1));
        }
        for (size_t i = 0; i < x.batch.rows; i++) {
            assert_int_equal(x.batch.ids[i], x.rows[row].ids[at]);
            bool last = i % SEQ == SEQ - 1 || i + 1 == x.batch.rows;
            assert_int_equal(x.batch.labels[i], last ? HONE_IGNORE : x.batch.ids[i + 1]);
            if (++at == x.rows[row].count) {
                row++;
                at = 0;
            }
        }
        seen += x.batch.rows;
    }
    assert_int_equal(row, ROWS);
    assert_int_equal(x.data.truncated, 0);
    close_data(&x);
}

static void the_position_is_all_there_is_to_keep(void **state) {
    (void)state;
    for (int packing = 0; packing < 3; packing++) {
        fixture one, two;
        open_data(&one, (hone_packing)packing, false, 2, 9);
        open_data(&two, (hone_packing)packing, false, 2, 9);
        for (int i = 0; i < 40; i++) {
            hone_example_free(&two.data.current);
            two.data.position = one.data.position;
            next(&one);
            next(&two);
            assert_int_equal(one.batch.rows, two.batch.rows);
            assert_memory_equal(one.batch.ids, two.batch.ids, one.batch.rows * sizeof(int32_t));
            assert_memory_equal(one.batch.labels, two.batch.labels,
                                one.batch.rows * sizeof(int32_t));
        }
        assert_true(one.data.position.epoch > 0);
        close_data(&one);
        close_data(&two);
    }
}

static void rows_with_nothing_to_learn_are_skipped_and_counted(void **state) {
    (void)state;
    static const char text[] =
        "{\"prompt\": \"a long question that fills it all\", \"completion\": \"x\"}\n"
        "{\"prompt\": \"q\", \"completion\": \"answer\"}\n";
    hone_error err;
    folder f;
    hone_data data;
    hone_batch batch;
    hone_data_options options = {.mask_prompt = true, .batch_size = 2, .seq = 8};
    make_folder(&f);
    hone_model *model = open_tiny(TINY, 1);
    assert_ok(hone_batch_open(&batch, 64, &err), err);
    assert_ok(hone_data_open(&data, model, put(&f, "a", text), &options, &err), err);
    assert_ok(hone_data_next(&data, &batch, &err), err);
    assert_int_equal(data.skipped, 1);
    assert_int_equal(batch.segment_count, 2);
    hone_data_close(&data);
    for (int packing = 0; packing < 3; packing++) {
        static const char barren[] =
            "{\"prompt\": \"a long question that fills it all\", \"completion\": \"x\"}\n";
        options.packing = (hone_packing)packing;
        options.seq = packing == HONE_PACKING_CONCAT ? 2 : 8;
        assert_ok(hone_data_open(&data, model, put(&f, "a", barren), &options, &err), err);
        hone_status status = hone_data_next(&data, &batch, &err);
        if (packing != HONE_PACKING_CONCAT) {
            assert_int_equal(status, HONE_ERR_FORMAT);
            assert_non_null(strstr(err.message, "none of the 1 rows"));
        }
        hone_data_close(&data);
    }
    hone_batch_close(&batch);
    hone_model_free(&model);
    remove_folder(&f);
}

static void faults_are_found_before_the_first_batch(void **state) {
    (void)state;
    hone_error err;
    folder f;
    hone_data data;
    const hone_data_options options = {.batch_size = 1, .seq = 8};
    char text[200 * 20] = "";
    for (int i = 0; i < 200; i++)
        strcat(text, i == 77 || i == 150 ? "{\"text\": }\n" : "{\"text\": \"a\"}\n");
    make_folder(&f);
    for (int threads = 1; threads <= 3; threads++) {
        hone_model *model = open_tiny(TINY, threads);
        assert_int_equal(hone_data_open(&data, model, put(&f, "a", text), &options, &err),
                         HONE_ERR_FORMAT);
        assert_non_null(strstr(err.message, "line 78, column "));
        hone_model_free(&model);
    }
    remove_folder(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_batched_as_long_as_they_are),
        cmocka_unit_test(an_epoch_is_every_row_once_in_the_order_of_the_seed),
        cmocka_unit_test(isolated_batches_are_full_and_learn_each_token_once),
        cmocka_unit_test(concatenated_batches_are_one_stream),
        cmocka_unit_test(the_position_is_all_there_is_to_keep),
        cmocka_unit_test(rows_with_nothing_to_learn_are_skipped_and_counted),
        cmocka_unit_test(faults_are_found_before_the_first_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
