/* tests of model/pass on the tiny golden llama: one loss and one set of gradients, whatever the set of operations, the
 * number of threads, the checkpointing or the packing; and gradients that finite differences confirm. */
#include "model/pass.h"

#include "base/rng.h"

#include "support.h"

#include <math.h>

enum { ROWS = 40, RANK = 4 };

typedef struct fixture {
    hone_model *model;
    hone_pass pass;
    hone_batch batch;
    hone_segment segments[4];
    int32_t ids[ROWS], labels[ROWS], positions[ROWS];
    float losses[ROWS];
    float *gradients; /* of all adapters, one after another */
    size_t gradient_count;
    hone_arena arena;
    float *parameters;
} fixture;

static void add_adapters(fixture *f, hone_model *model) {
    size_t total = 0;
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
            const hone_matrix *w = &model->blocks[l].linear[i].weight;
            total += RANK * (w->rows + w->cols);
        }
    f->gradient_count = total;
    f->gradients = calloc(total, sizeof(float));
    f->parameters = calloc(total, sizeof(float));
    hone_rng rng = hone_rng_make(5);
    for (size_t i = 0; i < total; i++) f->parameters[i] = (float)(0.05 * hone_rng_normal(&rng));
    size_t at = 0;
    for (int l = 0; l < model->config.layers; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
            hone_linear *linear = &model->blocks[l].linear[i];
            size_t a = RANK * linear->weight.cols, b = RANK * linear->weight.rows;
            linear->lora = (hone_lora){.rank = RANK,
                                       .scale = 2,
                                       .a = f->parameters + at,
                                       .b = f->parameters + at + a,
                                       .da = f->gradients + at,
                                       .db = f->gradients + at + a};
            at += a + b;
        }
}

/* "file": examples/kernels.c, whose rotary embedding is an operation of its own. */
static const char *const sets[] = {"naive", "fused", "file"};
enum { SETS = sizeof sets / sizeof sets[0] };

static void open_fixture(fixture *f, const char *ops, int threads, hone_compute compute) {
    hone_error err = {0};
    *f = (fixture){0};
    bool file = strcmp(ops, "file") == 0;
    hone_model_options options = {.threads = threads,
                                  .compute = compute,
                                  .ops = file ? NULL : ops,
                                  .kernels = file ? HONE_TEST_KERNELS : NULL};
    assert_ok(hone_model_open(HONE_GOLDEN_DIR "/archs/llama", &options, &f->model, &err), err);
    assert_ok(hone_model_need_positions(f->model, ROWS, &err), err);
    assert_ok(hone_pass_open(&f->pass, f->model, threads, &err), err);
    add_adapters(f, f->model);
    hone_rng rng = hone_rng_make(3);
    for (int i = 0; i < ROWS; i++) {
        f->ids[i] = (int32_t)(3 + hone_rng_below(&rng, 490));
        f->positions[i] = i;
    }
    for (int i = 0; i < ROWS; i++)
        f->labels[i] = i % 20 == 19 || i % 7 == 3 ? HONE_IGNORE : f->ids[i + 1];
    f->segments[0] = (hone_segment){0, ROWS, 0, ROWS};
    f->batch = (hone_batch){.rows = ROWS,
                            .ids = f->ids,
                            .labels = f->labels,
                            .positions = f->positions,
                            .segments = f->segments,
                            .segment_count = 1};
    f->pass.batch = &f->batch;
    f->pass.losses = f->losses;
    f->pass.backward = true;
    f->pass.scale = 1.0f / 30;
}

static void close_fixture(fixture *f) {
    hone_pass_close(&f->pass);
    hone_arena_close(&f->arena);
    hone_model_free(&f->model);
    free(f->gradients);
    free(f->parameters);
}

static void region(hone_team team, void *argument) {
    fixture *f = argument;
    hone_ctx ctx = {.team = team,
                    .kernels = &f->model->kernels,
                    .compute = f->model->compute,
                    .arena = f->arena};
    hone_pass_run(&ctx, &f->pass);
    if (team.rank == 0) f->arena.peak = ctx.arena.peak;
    if (ctx.arena.overflow) f->arena.overflow = true;
}

/* Runs one pass with fresh gradients; returns the sum of the losses. */
static double run(fixture *f) {
    hone_error err = {0};
    size_t plan = hone_pass_plan(&f->pass, f->model->options.threads).bytes;
    hone_arena_close(&f->arena);
    assert_ok(hone_arena_open(&f->arena, plan, false, &err), err);
    memset(f->gradients, 0, f->gradient_count * sizeof(float));
    hone_parallel(f->model->options.threads, region, f);
    assert_false(f->arena.overflow);
    assert_int_equal(f->arena.peak, plan);
    double sum = 0;
    for (int i = 0; i < ROWS; i++) sum += (double)f->losses[i];
    return sum;
}

static double relative_difference(const float *a, const float *b, size_t n) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        difference += pow((double)a[i] - (double)b[i], 2);
        norm += pow((double)b[i], 2);
    }
    assert_true(norm > 0);
    return sqrt(difference / norm);
}

static void sets_agree(void **state) {
    (void)state;
    const struct {
        hone_compute compute;
        double loss, gradient;
    } cases[] = {{HONE_COMPUTE_F32, 1e-6, 1e-5}, {HONE_COMPUTE_BF16, 1e-2, 5e-2}};
    for (size_t c = 0; c < 2; c++) {
        fixture naive, other;
        open_fixture(&naive, "naive", 2, cases[c].compute);
        double a = run(&naive);
        for (int s = 1; s < SETS; s++) {
            open_fixture(&other, sets[s], 2, cases[c].compute);
            double b = run(&other);
            assert_true(fabs(a - b) <= cases[c].loss * a);
            double d = relative_difference(other.gradients, naive.gradients, naive.gradient_count);
            if (!(d <= cases[c].gradient)) fail_msg("%s: gradients differ by %g", sets[s], d);
            close_fixture(&other);
        }
        close_fixture(&naive);
    }
}

/* The model counts what ran: rope_embeddings only where attention does not rotate by itself. */
static void calls_are_counted(void **state) {
    (void)state;
    for (int s = 0; s < SETS; s++) {
        fixture f;
        open_fixture(&f, sets[s], 2, HONE_COMPUTE_F32);
        run(&f);
        uint64_t layers = (uint64_t)f.model->config.layers;
        bool file = strcmp(sets[s], "file") == 0;
        for (int op = 0; op < HONE_OP_COUNT; op++) {
            hone_kernel_calls calls = hone_model_get_kernel_calls(f.model, op);
            assert_string_equal(calls.name, hone_op_names[op]);
            assert_false(calls.inherited);
            uint64_t want = op == HONE_OP_attention_with_rope || op == HONE_OP_swiglu_activation
                                ? layers
                            : op == HONE_OP_rms_norm        ? 2 * layers + 1
                            : op == HONE_OP_rope_embeddings ? (file ? 2 * layers : 0)
                                                            : 0;
            if (want || op == HONE_OP_rope_embeddings) assert_int_equal(calls.forward, want);
            assert_true((calls.backward > 0) == (calls.forward > 0));
        }
        assert_null(hone_model_get_kernel_calls(f.model, HONE_OP_COUNT).name);
        close_fixture(&f);
    }
}

static void threads_do_not_change_a_bit(void **state) {
    (void)state;
    const hone_compute computes[] = {HONE_COMPUTE_F32, HONE_COMPUTE_BF16};
    for (int s = 0; s < SETS; s++)
        for (int c = 0; c < 2; c++) {
            fixture one, many;
            open_fixture(&one, sets[s], 1, computes[c]);
            run(&one);
            for (int threads = 2; threads <= 3; threads++) {
                open_fixture(&many, sets[s], threads, computes[c]);
                run(&many);
                assert_memory_equal(one.losses, many.losses, sizeof one.losses);
                assert_memory_equal(one.gradients, many.gradients,
                                    one.gradient_count * sizeof(float));
                close_fixture(&many);
            }
            close_fixture(&one);
        }
}

/* However many of the first blocks are run again: the same losses; in float32 the same gradients to the bit, in
 * bfloat16 those that a rounded input of the block gives. Each block more takes no more memory, nor does the last,
 * which is the first that backward comes to, and need not be run again. */
static void checkpointing_gives_the_same_gradients_in_less_memory(void **state) {
    (void)state;
    const hone_compute computes[] = {HONE_COMPUTE_F32, HONE_COMPUTE_BF16};
    for (int s = 0; s < SETS; s++)
        for (int c = 0; c < 2; c++) {
            fixture plain, checkpointed;
            open_fixture(&plain, sets[s], 2, computes[c]);
            run(&plain);
            size_t before = plain.arena.peak;
            int layers = plain.model->config.layers;
            assert_true(layers > 2);
            for (int kept_from = 1; kept_from <= layers; kept_from++) {
                open_fixture(&checkpointed, sets[s], 2, computes[c]);
                checkpointed.pass.kept_from = kept_from;
                run(&checkpointed);
                assert_memory_equal(plain.losses, checkpointed.losses, sizeof plain.losses);
                double d = relative_difference(checkpointed.gradients, plain.gradients,
                                               plain.gradient_count);
                if (!(d <= (c ? 1e-2 : 0))) fail_msg("%d: gradients differ by %g", kept_from, d);
                if (kept_from < layers)
                    assert_true(checkpointed.arena.peak < before);
                else
                    assert_true(checkpointed.arena.peak <= before);
                before = checkpointed.arena.peak;
                close_fixture(&checkpointed);
            }
            close_fixture(&plain);
        }
}

static void finite_differences_confirm_gradients(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, "fused", 1, HONE_COMPUTE_F32);
    run(&f);
    float *gradients = malloc(f.gradient_count * sizeof(float));
    memcpy(gradients, f.gradients, f.gradient_count * sizeof(float));
    /* Along one random direction of all parameters: float32 noise averages out, every gradient takes part. */
    float *direction = malloc(f.gradient_count * sizeof(float)),
          *start = malloc(f.gradient_count * sizeof(float));
    memcpy(start, f.parameters, f.gradient_count * sizeof(float));
    for (int trial = 0; trial < 4; trial++) {
        hone_rng rng = hone_rng_make(100 + (uint64_t)trial);
        double want = 0, step = 2e-3;
        for (size_t i = 0; i < f.gradient_count; i++) {
            /* Along the gradient's signs, so that the terms do not cancel into float32's noise. */
            direction[i] = copysignf((float)hone_rng_uniform(&rng), gradients[i]);
            want += (double)direction[i] * (double)gradients[i];
        }
        double sum[2];
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < f.gradient_count; i++)
                f.parameters[i] = start[i] + (float)((side ? -step : step) * (double)direction[i]);
            sum[side] = run(&f) / 30;
        }
        double got = (sum[0] - sum[1]) / (2 * step);
        if (!(fabs(got - want) <= 0.01 * fabs(want)))
            fail_msg("trial %d: %g, expected %g", trial, got, want);
    }
    free(direction);
    free(start);
    free(gradients);
    close_fixture(&f);
}

/* Two documents in one batch, as segments, equal each alone. */
static void isolated_segments_equal_documents_alone(void **state) {
    (void)state;
    for (int s = 0; s < SETS; s++) {
        fixture f;
        open_fixture(&f, sets[s], 2, HONE_COMPUTE_F32);
        float packed[ROWS];
        f.segments[0] = (hone_segment){0, 13, 0, 13};
        f.segments[1] = (hone_segment){13, ROWS, 13, ROWS};
        f.batch.segment_count = 2;
        for (int i = 0; i < ROWS; i++) f.positions[i] = i < 13 ? i : i - 13;
        run(&f);
        memcpy(packed, f.losses, sizeof packed);
        float *gradients = malloc(f.gradient_count * sizeof(float)),
              *sum = calloc(f.gradient_count, sizeof(float));
        memcpy(gradients, f.gradients, f.gradient_count * sizeof(float));
        const size_t ends[3] = {0, 13, ROWS};
        for (int document = 0; document < 2; document++) {
            size_t begin = ends[document], rows = ends[document + 1] - begin;
            f.batch = (hone_batch){.rows = rows,
                                   .ids = f.ids + begin,
                                   .labels = f.labels + begin,
                                   .positions = f.positions + begin,
                                   .segments = f.segments,
                                   .segment_count = 1};
            f.segments[0] = (hone_segment){0, rows, 0, rows};
            run(&f);
            for (size_t i = 0; i < rows; i++)
                assert_true(fabs((double)f.losses[i] - (double)packed[begin + i]) <= 2e-6 * 10);
            for (size_t i = 0; i < f.gradient_count; i++) sum[i] += f.gradients[i];
        }
        assert_true(relative_difference(sum, gradients, f.gradient_count) <= 1e-5);
        free(gradients);
        free(sum);
        close_fixture(&f);
    }
}

static void frozen_blocks_below_cost_nothing_and_change_nothing(void **state) {
    (void)state;
    fixture all, top;
    open_fixture(&all, "fused", 1, HONE_COMPUTE_F32);
    open_fixture(&top, "fused", 1, HONE_COMPUTE_F32);
    for (int l = 0; l < 2; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++) {
            hone_lora *lora = &top.model->blocks[l].linear[i].lora;
            lora->da = lora->db = NULL;
        }
    run(&all);
    run(&top);
    assert_memory_equal(all.losses, top.losses, sizeof all.losses);
    const hone_lora *first = &all.model->blocks[2].linear[0].lora;
    size_t at = (size_t)(first->da - all.gradients);
    assert_memory_equal(all.gradients + at, top.gradients + at,
                        (all.gradient_count - at) * sizeof(float));
    for (size_t i = 0; i < at; i++) assert_true(top.gradients[i] == 0);
    assert_true(top.arena.peak < all.arena.peak);
    close_fixture(&all);
    close_fixture(&top);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_agree),
        cmocka_unit_test(calls_are_counted),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(checkpointing_gives_the_same_gradients_in_less_memory),
        cmocka_unit_test(finite_differences_confirm_gradients),
        cmocka_unit_test(isolated_segments_equal_documents_alone),
        cmocka_unit_test(frozen_blocks_below_cost_nothing_and_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
