/* Tiles of a model's linear weights: made once, for those who will use them, as hone_tiles_fill makes each. */
#include "support.h"

#include "base/rng.h"
#include "model/model.h"

#include <stdlib.h>

enum { ROWS = 56, COLUMNS = 64, PASSES = 64 }; /* rows: three tiles and a half */

/* The tiny model, whose weights are float32, with 4-bit ones in the second layer. */
static hone_model *open_model(int threads, uint8_t **codes) {
    hone_error err;
    hone_model *model;
    hone_model_options options = {.threads = threads};
    assert_ok(hone_model_open(HONE_GOLDEN_DIR "/archs/llama", &options, &model, &err), err);
    hone_matrix w = {.rows = ROWS, .cols = COLUMNS, .dtype = HONE_Q4_1};
    assert_true(hone_dtype_row_bytes(w.dtype, w.cols, &w.row_bytes));
    *codes = calloc(HONE_LINEAR_COUNT, ROWS * w.row_bytes);
    assert_non_null(*codes);
    hone_rng rng = hone_rng_make(7);
    for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
        uint8_t *data = *codes + (size_t)i * ROWS * w.row_bytes;
        for (size_t at = 0; at < ROWS * w.row_bytes; at++) data[at] = (uint8_t)hone_rng_next(&rng);
        w.data = data;
        model->blocks[1].linear[i].weight = w;
    }
    model->kernels.wants_tiles = true;
    return model;
}

static int count_tiles(const hone_model *model) {
    int count = 0;
    for (int l = 0; l < model->config.layers; l++) {
        for (int i = 0; i < HONE_LINEAR_COUNT; i++)
            count += model->blocks[l].linear[i].weight.tiles != NULL;
    }
    return count;
}

static void made_as_each_is_made_alone(void **state) {
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        uint8_t *codes;
        hone_model *model = open_model(threads, &codes);
        hone_model_make_tiles(model, PASSES);
        assert_int_equal(count_tiles(model), HONE_LINEAR_COUNT);
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
            const hone_matrix *w = &model->blocks[1].linear[i].weight;
            size_t bytes = hone_tiles_bytes(w);
            void *alone = malloc(bytes);
            assert_non_null(alone);
            hone_tiles_fill(w, 0, ROWS / HONE_TILE_ROWS, alone);
            assert_memory_equal(w->tiles, alone, bytes);
            free(alone);
        }
        const void *first = model->blocks[1].linear[0].weight.tiles, *base = model->tiles.base;
        hone_model_make_tiles(model, 10 * PASSES);
        assert_ptr_equal(model->blocks[1].linear[0].weight.tiles, first);
        assert_ptr_equal(model->tiles.base, base);
        hone_model_free(&model);
        free(codes);
    }
}

static void not_made_for_those_who_would_not_use_them(void **state) {
    (void)state;
    uint8_t *codes;
    hone_model *model = open_model(2, &codes);
    hone_model_make_tiles(model, PASSES - 1);
    assert_int_equal(count_tiles(model), 0);
    model->kernels.wants_tiles = false;
    hone_model_make_tiles(model, PASSES);
    assert_int_equal(count_tiles(model), 0);
    assert_null(model->tiles.base);
    /* float32 has no tiles */
    model->kernels.wants_tiles = true;
    for (int i = 0; i < HONE_LINEAR_COUNT; i++)
        model->blocks[1].linear[i].weight = model->blocks[0].linear[i].weight;
    hone_model_make_tiles(model, PASSES);
    assert_null(model->tiles.base);
    hone_model_free(&model);
    free(codes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(made_as_each_is_made_alone),
                                       cmocka_unit_test(not_made_for_those_who_would_not_use_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
