/* tests/eval/example: a report filled by hand, for the tests of scores, text and JSON. */
#ifndef HONE_TESTS_EVAL_EXAMPLE_H
#define HONE_TESTS_EVAL_EXAMPLE_H

#include "eval/report.h"

#include <stdio.h>
#include <string.h>

/* Two rows for each kernel: forward with `forward` speedup, backward with `backward`; correct; half the memory. */
static void add_kernels(hone_eval_report *r, double forward, double backward) {
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
static hone_macro_row *add_model(hone_eval_report *r, size_t index, const char *name,
                                 double speedup, double difference, size_t mib, size_t naive_mib) {
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

#endif
