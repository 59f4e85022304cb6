/* bench/agree: the losses of 200 steps in bfloat16 beside those in float32, the same data in the same order. */
#include "bench.h"

enum { STEPS = 200, QUICK_STEPS = 10, WINDOW = 20 };

static bool losses(bench *b, const char *compute, int steps, double *out, char *reason,
                   size_t room) {
    char options[256];
    bench_runner r;
    snprintf(options, sizeof options,
             "--batch-size 1 --max-seq-length 256 --no-save --iters %d --compute %s", steps,
             compute);
    bool good = bench_runner_hone(b, &r, options);
    for (int i = 0; i < steps && good; i++) {
        bench_progress("agree: %s, step %d of %d", compute, i + 1, steps);
        good = bench_runner_step(&r, 600);
        out[i] = r.loss;
    }
    snprintf(reason, room, "%.200s", r.reason);
    bench_runner_stop(&r);
    return good;
}

void bench_agree(bench *b) {
    double exact[STEPS], rounded[STEPS], windows[STEPS / WINDOW + 1], sum = 0, largest = 0;
    int steps = b->options.quick ? QUICK_STEPS : STEPS, count = 0;
    char reason[256];
    bench_row row = {.section = "agree", .name = "largest difference of a step's loss", .unit = ""};
    row.bar = BENCH_BAR_AGREE;
    if (!losses(b, "f32", steps, exact, reason, sizeof reason) ||
        !losses(b, "bf16", steps, rounded, reason, sizeof reason)) {
        bench_add_missing(b, row, reason);
        return;
    }
    for (int i = 0; i < steps; i++) {
        sum += rounded[i] - exact[i];
        largest = fmax(largest, fabs(rounded[i] - exact[i]));
        if ((i + 1) % WINDOW && i + 1 < steps) continue;
        windows[count++] = sum / (i % WINDOW + 1);
        sum = 0;
    }
    char note[64];
    snprintf(note, sizeof note, "over %d steps of 1 x 256 tokens", steps);
    row.reason = note;
    bench_add_value(b, row, largest);
    double most = 0;
    for (int i = 0; i < count; i++) most = fmax(most, fabs(windows[i]));
    row.bar = BENCH_NO_BAR;
    row.name = "largest mean difference of 20 steps";
    bench_add_value(b, row, most);
}
