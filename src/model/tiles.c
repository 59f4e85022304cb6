/* model/tiles: a copy of 4-bit weights for generation, in the order in which a row of x is multiplied with them. Layer
 * model. */
#include "model/model.h"

#include "base/clock.h"
#include "base/parallel.h"

enum {
    FEWEST_PASSES = 64, /* making tiles takes about as long as they save in these many */
    MOST_OF_MEMORY = 4  /* they may take one part in these many of what is free */
};

/* The pages of the file are read again if someone asks for rows of w. */
static void drop(const hone_model *model, const hone_matrix *w) {
    hone_file_set_drop(model->set, w->data, w->rows * w->row_bytes);
}

static void fill(hone_team team, const hone_matrix *w, void *tiles) {
    size_t begin, end;
    hone_split(team, w->rows / HONE_TILE_ROWS, 1, &begin, &end);
    hone_tiles_fill(w, begin, end, tiles);
}

/* The linear weights' tiles, one after the other: in a planning arena sizes only. */
static void take_tiles(hone_team team, hone_model *model, hone_arena *arena) {
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
            hone_matrix *w = &model->blocks[l].linear[i].weight;
            size_t bytes = hone_tiles_bytes(w);
            if (bytes == 0) continue;
            void *tiles = hone_arena_save(arena, bytes);
            if (hone_arena_planning(arena)) continue;
            fill(team, w, tiles);
            hone_barrier(team);
            if (team.rank > 0) continue;
            w->tiles = tiles; /* the others have no use for it here */
            drop(model, w);
        }
}

static void drop_all(const hone_model *model) {
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
            const hone_matrix *w = &model->blocks[l].linear[i].weight;
            if (w->tiles) drop(model, w);
        }
}

static void fill_all(hone_team team, void *argument) {
    hone_model *model = argument;
    hone_arena arena = model->tiles;
    take_tiles(team, model, &arena);
}

void hone_model_make_tiles(hone_model *model, size_t passes) {
    if (model->tiles.base) {
        drop_all(model); /* the prompt read them again */
        return;
    }
    if (!model->kernels.wants_tiles || passes < FEWEST_PASSES) return;
    hone_arena plan = hone_arena_plan();
    take_tiles((hone_team){.size = 1}, model, &plan);
    if (plan.peak == 0 || plan.peak > hone_memory_available() / MOST_OF_MEMORY) return;
    /* Without them all goes on as before, if slower. */
    if (hone_arena_open(&model->tiles, plan.peak, true, NULL) != HONE_OK) return;
    hone_parallel(model->options.threads, fill_all, model);
}
