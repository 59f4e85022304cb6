/* tests/eval/example: a report filled by hand, for the tests of scores, text and JSON. */
#ifndef HONE_TESTS_EVAL_EXAMPLE_H
#define HONE_TESTS_EVAL_EXAMPLE_H

#include "eval/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two rows for each kernel: forward with `forward` speedup, backward with `backward`; correct; half the memory. */
static inline void add_kernels(hone_eval_report *r, double forward, double backward) {
    r->micro_wanted = true;
    r->trials = 7;
    for (int kernel = 0; kernel < HONE_OP_COUNT; kernel++) {
        for (int pass = 0; pass < 2; pass++) {
            hone_micro_row *row;
            assert_int_equal(hone_report_add_micro(r, &row, NULL), HONE_OK);
            row->kernel = kernel;
            row->backward = pass == 1;
            row->dtype = "f32";
            row->weights = kernel == 4 ? "q4_1" : NULL;
            snprintf(row->shape, sizeof row->shape, "batch 4, seq 64, hidden 256");
            row->tested = row->correct = true;
            double speedup = pass ? backward : forward;
            row->over_naive = (hone_comparison){.ratio = speedup,
                                                .interval = {speedup * 0.99, speedup * 1.01},
                                                .p = 0.0156,
                                                .pairs = 7};
            row->seconds[HONE_SIDE_CANDIDATE] = 0.0021;
            row->seconds[HONE_SIDE_NAIVE] = 0.0021 * speedup;
            row->flops = 2e9 * row->seconds[HONE_SIDE_CANDIDATE];
            row->traffic = 1e9 * row->seconds[HONE_SIDE_NAIVE];
            row->bytes[HONE_SIDE_CANDIDATE] = 500;
            row->bytes[HONE_SIDE_NAIVE] = 1000;
            row->memory_ratio = 0.5;
            row->calls = 3;
        }
    }
}

/* A model that was fine-tuned for 8 steps; the losses differ by `difference` in each. */
static inline hone_macro_row *add_model(hone_eval_report *r, size_t index, const char *name,
                                        double speedup, double difference, size_t mib,
                                        size_t naive_mib) {
    hone_macro_row *row;
    r->macro_wanted = true;
    r->steps = 8;
    r->batch_size = 4;
    r->seq_len = 256;
    assert_int_equal(hone_report_add_macro(r, index, name, "/models/it", &row, NULL), HONE_OK);
    hone_training *mine = &row->side[HONE_SIDE_CANDIDATE], *naive = &row->side[HONE_SIDE_NAIVE];
    assert_int_equal(hone_training_reserve(mine, 8, NULL), HONE_OK);
    assert_int_equal(hone_training_reserve(naive, 8, NULL), HONE_OK);
    for (int i = 0; i < 8; i++) {
        naive->losses[i] = 3 - 0.1 * i;
        mine->losses[i] = naive->losses[i] + difference;
        mine->seconds[i] = 1;
        naive->seconds[i] = speedup;
    }
    row->steps = mine->steps = naive->steps = 8;
    row->skipped = 2;
    row->status = HONE_MACRO_TESTED;
    snprintf(row->reason, sizeof row->reason, "left from before it was tested");
    mine->peak_rss = mib << 20;
    naive->peak_rss = naive_mib << 20;
    snprintf(row->size, sizeof row->size, "135M");
    snprintf(row->precision, sizeof row->precision, "4-bit");
    hone_macro_row_finish(row, 1024, 1);
    return row;
}

/* A training of 8 steps with all its figures. */
static inline void fill_training(hone_training *t, double seconds, double loss, size_t mib) {
    if (!t->losses) assert_int_equal(hone_training_reserve(t, 8, NULL), HONE_OK);
    t->steps = 8;
    for (int i = 0; i < 8; i++) {
        t->losses[i] = loss - 0.1 * i;
        t->seconds[i] = seconds * (1 + 0.01 * (i % 3));
    }
    t->peak_rss = mib << 20;
    for (int i = 0; i < HONE_PURPOSES; i++) t->purpose[i] = (size_t)(i + 1) << 20;
    t->hidden_loss = loss - 0.75;
    for (int k = 0; k < HONE_OP_COUNT; k++) t->calls[k][0] = t->calls[k][1] = 240;
}

static inline void fill_curves(hone_macro_row *row) {
    enum { STEPS = 120 };
    for (int c = 0; c < HONE_CURVES; c++) {
        hone_curve *curve = &row->curves[c];
        curve->seed = (uint64_t)c + 1;
        curve->steps = STEPS;
        for (int side = 0; side < HONE_SIDES; side++) {
            double *losses = calloc(STEPS, sizeof *losses);
            assert_non_null(losses);
            for (int i = 0; i < STEPS; i++)
                losses[i] = 2 + 1.5 / (1 + 0.1 * i) + 0.02 * (i % 5) + 0.05 * c + 0.0005 * side;
            curve->losses[side] = losses;
        }
    }
}

/* A model with three sides, a peer, curves and controls. */
static inline hone_macro_row *add_whole_model(hone_eval_report *r, size_t index, const char *name) {
    hone_macro_row *row = add_model(r, index, name, 1.5, 0.0008, 310, 1000);
    fill_training(&row->side[HONE_SIDE_CANDIDATE], 1, 3.0008, 310);
    fill_training(&row->side[HONE_SIDE_NAIVE], 1.5, 3, 1000);
    fill_training(&row->side[HONE_SIDE_SHIPPED], 1.005, 3.0004, 312);
    row->side[HONE_SIDE_SHIPPED].seconds[2] = 0.9; /* the interval holds 1 */
    row->peers = calloc(2, sizeof *row->peers);
    assert_non_null(row->peers);
    row->peer_count = 2;
    fill_training(&row->peers[0], 2, 3.01, 2000);
    snprintf(row->peers[0].name, sizeof row->peers[0].name, "torch_lora.py");
    snprintf(row->peers[1].name, sizeof row->peers[1].name, "mlx");
    snprintf(row->peers[1].problem, sizeof row->peers[1].problem, "exit status 127");
    row->peers[1].tokens_per_sec = row->peers[1].hidden_loss = NAN;
    fill_curves(row);
    row->untrained_loss = 3.5;
    for (int k = 0; k < HONE_OP_COUNT; k++)
        row->sabotage[k] = (hone_sabotage){.tested = true, .change = k ? 0.5 * k : NAN};
    hone_macro_row_finish(row, 1024, 1);
    hone_macro_row_finish_curves(row);
    return row;
}

/* Everything that a report can hold, of a file of kernels. */
static inline void add_everything(hone_eval_report *r) {
    hone_candidate *c = &r->candidate;
    add_kernels(r, 2.34, 1.1);
    for (size_t i = 0; i < r->micro_count; i++) {
        hone_micro_row *row = &r->micro[i];
        row->seconds[HONE_SIDE_SHIPPED] = 0.0022;
        row->bytes[HONE_SIDE_SHIPPED] = 510;
        row->over_shipped =
            (hone_comparison){.ratio = 1.02, .interval = {0.97, 1.04}, .p = 0.3, .pairs = 7};
        row->inherited = row->kernel == 1;
        row->hidden = row->kernel == 2;
    }
    c->path = strdup("/tmp/kernels.c");
    snprintf(c->name, sizeof c->name, "kernels.c");
    memset(c->sha256, 'a', 64);
    memset(c->object_sha256, 'b', 64);
    snprintf(c->compiler, sizeof c->compiler, "gcc 12.2.0");
    snprintf(c->flags, sizeof c->flags, "-O3 -march=native");
    snprintf(c->set_name, sizeof c->set_name, "mine");
    for (int k = 0; k < HONE_OP_COUNT; k++) c->has[k] = k != 1;
    r->noise = (hone_noise){.peak_f32 = 200e9,
                            .peak_bf16 = NAN,
                            .cache_bandwidth = 90e9,
                            .memory_bandwidth = 20e9,
                            .call_seconds = 41e-9,
                            .same = {1.001, {0.99, 1.012}, 0.8, 16}};
    add_whole_model(r, 0, "SmolLM2-135M-Instruct 4-bit");
    hone_macro_row *second = add_whole_model(r, 0, "SmolLM2-135M-Instruct 4-bit");
    snprintf(second->precision, sizeof second->precision, "bfloat16");
    second->converted = true;
    hone_macro_row *absent;
    assert_int_equal(hone_report_add_macro(r, 1, "org/absent", NULL, &absent, NULL), HONE_OK);
    snprintf(absent->reason, sizeof absent->reason, "not on this machine");
    hone_report_not_tested(r, "%s", "GPUs: hone has no kernels for them");
    hone_report_not_tested(r, "%s", "sequences of more than 256 tokens");
    r->budget = 300;
    r->seconds = 241.5;
    r->data = strdup("/data/wordnet");
}

#endif
