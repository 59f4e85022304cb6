/* bench/train: tokens per second and memory of the program itself, LoRA of rank 8 on every linear layer, 4 x 256 tokens
 * a step, in processes that do one step in turns; with --peers PyTorch on the same data among them. */
#include "bench.h"

#include "base/clock.h"

/* A peer whose second step takes longer counts with that one alone. */
#define SLOW_SECONDS 60.0
enum { STEPS = 5, QUICK_STEPS = 1, PEER_WARM = 2, TOKENS = 4 * 256, LONG = 4096, MOST = 3 };

typedef struct way {
    const char *name, *options;
    bool full;
    bench_bar rate, memory;
} way;

enum { LORA, CHECKPOINT, FULL, NAIVE_BF16, LORA_F32, NAIVE_F32, LORA_BF16, WAYS };
static const way ways[WAYS] = {
    [LORA] = {"LoRA", "", false, BENCH_BAR_TRAIN, BENCH_BAR_TRAIN_MEMORY},
    [CHECKPOINT] = {"LoRA --grad-checkpoint", "--grad-checkpoint", false, BENCH_BAR_CHECKPOINT,
                    BENCH_BAR_CHECKPOINT_MEMORY},
    [FULL] = {"full", "--fine-tune-type full", true, BENCH_BAR_FULL, BENCH_NO_BAR},
    [NAIVE_BF16] = {"LoRA --ops naive --compute bf16", "--ops naive --compute bf16", false,
                    BENCH_BAR_NAIVE, BENCH_NO_BAR},
    [LORA_F32] = {"LoRA --compute f32", "--compute f32", false, BENCH_NO_BAR, BENCH_NO_BAR},
    [NAIVE_F32] = {"LoRA --ops naive --compute f32", "--ops naive --compute f32", false,
                   BENCH_BAR_NAIVE, BENCH_NO_BAR},
    [LORA_BF16] = {"LoRA --compute bf16", "--compute bf16", false, BENCH_NO_BAR,
                   BENCH_BAR_TRAIN_MEMORY},
};

/* What takes turns. A way of hone that was measured before comes again only beside a peer, without its bars. */
static const struct {
    const char *peer, *options;
    bool full;
    int ways[MOST], count;
} groups[] = {
    {"PyTorch + PEFT, bf16, compile", "--weights bf16 --compile", false, {LORA, CHECKPOINT}, 2},
    {"PyTorch + PEFT, bf16", "--weights bf16", false, {LORA, NAIVE_BF16}, 2},
    {"PyTorch full, bf16", "--weights bf16 --fine-tune-type full", true, {FULL}, 1},
    {"PyTorch + PEFT, f32", "", false, {LORA_F32, NAIVE_F32}, 2},
    {"PyTorch + PEFT, f32, compile", "--compile", false, {LORA_F32}, 1},
    {NULL, NULL, false, {LORA_BF16}, 1},
};

/* One that takes part: hone some way, or the peer. */
typedef struct entrant {
    const char *name, *options;
    const way *way; /* NULL: the peer */
    bool full, first;
    bench_runner runner;
    bool running;
    int steps, rounds; /* to be counted, and counted */
    double rate[BENCH_MOST_ROUNDS], seconds[BENCH_MOST_ROUNDS], of_peak[BENCH_MOST_ROUNDS];
} entrant;

static bool skipped(const bench *b, int which, bool peer) {
    bool bf16 = b->compute == HONE_BF16;
    if (which == NAIVE_BF16) return !bf16;
    if (which == LORA_BF16) return bf16; /* LORA is that */
    if (which == LORA_F32) return !bf16 && !peer;
    return false;
}

/* LoRA's bar of memory is for activations in bfloat16: where that is not the default, LORA_BF16 has to meet it. */
static bench_bar memory_bar(const bench *b, const way *w) {
    return w == &ways[LORA] && b->compute != HONE_BF16 ? BENCH_NO_BAR : w->memory;
}

/* What takes turns, and the loop that is measured around each of their steps. */
typedef struct turns {
    bench *b;
    const bench_flops *flops;
    bench_job peak;
} turns;

/* One step, noted behind those that count: that it counts is for the caller to say. */
static void step(turns *t, entrant *e, double limit) {
    double before = bench_sample(t->b, &t->peak);
    e->running = bench_runner_step(&e->runner, limit);
    if (!e->running) return;
    double rate = t->peak.work / (0.5 * (before + bench_sample(t->b, &t->peak)));
    e->seconds[e->rounds] = e->runner.seconds;
    e->rate[e->rounds] = TOKENS / e->runner.seconds;
    e->of_peak[e->rounds] = e->rate[e->rounds] * (e->full ? t->flops->full : t->flops->lora) / rate;
}

/* Up to the first step that counts. */
static void warm_up(turns *t, entrant *e) {
    const bench *b = t->b;
    char options[256];
    double limit = b->options.peer_limit;
    int warm = e->way ? 1 : PEER_WARM;
    e->steps = b->options.quick ? QUICK_STEPS : STEPS;
    snprintf(options, sizeof options, "%s --batch-size 4 --max-seq-length 256 --no-save --iters %d",
             e->options, warm + e->steps);
    bench_progress("train: %s starts", e->name);
    double begin = hone_clock_seconds();
    e->running = e->way ? bench_runner_hone(b, &e->runner, options)
                        : bench_runner_peer(b, &e->runner, options);
    for (int i = 0; i < warm && e->running; i++) {
        double left = e->way ? 600 : HONE_MAX(1.0, limit - (hone_clock_seconds() - begin));
        step(t, e, left);
    }
    if (e->running && !e->way && e->seconds[0] > SLOW_SECONDS) e->steps = e->rounds = 1;
    if (!e->running && strncmp(e->runner.reason, "stopped", 7) == 0)
        snprintf(e->runner.reason, sizeof e->runner.reason,
                 "stopped after %.0f s, before its %s step was done", hone_clock_seconds() - begin,
                 e->way ? "first" : "second");
}

static void take_turns(turns *t, entrant *entrants, int count) {
    for (int r = 0; r < STEPS; r++)
        for (int i = 0; i < count; i++) {
            entrant *e = &entrants[(i + r) % count];
            if (!e->running || e->rounds >= e->steps) continue;
            bench_progress("train: step %d of %d, %s", r + 1, e->steps, e->name);
            step(t, e, e->way ? 600 : (double)t->b->options.peer_limit);
            if (e->running) e->rounds++;
        }
}

static void add_entrant(bench *b, const entrant *e, const entrant *peer) {
    double fractions[BENCH_MOST_ROUNDS];
    bool beside =
        peer && e->way && peer->rounds == HONE_MIN(peer->steps, e->rounds) && peer->rounds > 0;
    bench_row row = {.section = "train",
                     .name = e->name,
                     .unit = "tokens/s",
                     .series = e->first ? "tokens" : NULL,
                     .peak = bench_peak_name(b, b->compute),
                     .bar = e->way ? e->way->rate : BENCH_NO_BAR};
    char reason[384];
    if (!e->first && !beside) return;
    /* Its bar is that of one peer: the first it meets. */
    if (!e->first) row.bar = BENCH_NO_BAR;
    if (row.bar != BENCH_NO_BAR && !beside) {
        snprintf(reason, sizeof reason, "no peer: %s",
                 peer ? peer->runner.reason : "give PEERS=venv to run PyTorch beside it");
        row.reason = reason;
    }
    if (beside) {
        for (int i = 0; i < e->rounds; i++)
            fractions[i] = e->rate[i] / peer->rate[HONE_MIN(i, peer->rounds - 1)];
        row.fractions = fractions;
        row.reference = peer->name;
    }
    if (!e->rounds) {
        bench_add_missing(b, row, e->runner.reason);
    } else {
        row.values = e->rate;
        row.count = e->rounds;
        row.peak_fractions = e->of_peak;
        bench_add(b, &row);
    }
    bench_row memory = {.section = "train", .name = e->name, .unit = "MiB"};
    if (!e->first) return;
    memory.series = "memory";
    if (e->way) memory.bar = memory_bar(b, e->way);
    if (e->rounds)
        bench_add_value(b, memory, e->runner.peak_mib);
    else
        bench_add_missing(b, memory, e->runner.reason);
}

static void run_group(bench *b, int group, bool *measured, const bench_flops *flops) {
    entrant entrants[MOST + 1] = {0};
    int count = 0;
    bool peer = b->options.peers && groups[group].peer;
    if (peer)
        entrants[count++] = (entrant){.name = groups[group].peer,
                                      .options = groups[group].options,
                                      .full = groups[group].full,
                                      .first = true};
    for (int i = 0; i < groups[group].count; i++) {
        int w = groups[group].ways[i];
        if (skipped(b, w, peer) || (measured[w] && !peer)) continue;
        entrants[count++] = (entrant){.name = ways[w].name,
                                      .options = ways[w].options,
                                      .way = &ways[w],
                                      .full = ways[w].full,
                                      .first = !measured[w]};
        measured[w] = true;
    }
    if (peer && count == 1) return;
    bool wanted = !peer;
    turns t = {.b = b, .flops = flops, .peak = bench_peak_job(b, b->compute, 0)};
    bench_prepare(b, &t.peak);
    t.peak.calls *= 25;
    for (int i = 0; i < count; i++) {
        /* A peer that does not get going leaves alone what was measured before. */
        wanted = wanted || entrants[0].running || (i > 0 && entrants[i].first);
        if (i == 0 || wanted) warm_up(&t, &entrants[i]);
    }
    take_turns(&t, entrants, count);
    bench_finish(&t.peak);
    for (int i = peer; i < count; i++) add_entrant(b, &entrants[i], peer ? entrants : NULL);
    if (peer) add_entrant(b, &entrants[0], NULL);
    for (int i = 0; i < count; i++) bench_runner_stop(&entrants[i].runner);
}

/* One sequence of 4,096 tokens: what it takes, and how fast. */
static void run_long(bench *b, bool checkpoint, hone_dtype compute) {
    char options[256], name[96], type[24] = "";
    double rates[2];
    int steps = b->options.quick ? 1 : 2, done = 0;
    bool other = compute != b->compute; /* than the default */
    bench_runner r;
    const char *more = checkpoint ? " --grad-checkpoint" : "";
    if (other) snprintf(type, sizeof type, " --compute %s", hone_dtype_name(compute));
    snprintf(options, sizeof options, "--batch-size 1 --max-seq-length %d --no-save --iters %d%s%s",
             LONG, steps, more, type);
    snprintf(name, sizeof name, "LoRA 1 x 4,096%s%s", more, type);
    bench_row row = {.section = "long",
                     .name = name,
                     .unit = "tokens/s",
                     .series = other ? NULL : "tokens",
                     .values = rates};
    bench_row memory = {
        .section = "long", .name = name, .unit = "MiB", .series = other ? NULL : "memory"};
    if (compute == HONE_BF16)
        memory.bar = checkpoint ? BENCH_BAR_LONG_CHECKPOINT_MEMORY : BENCH_BAR_LONG_MEMORY;
    bench_progress("long: %s", row.name);
    bool good = bench_runner_hone(b, &r, options);
    for (; done < steps && good; done++) {
        good = bench_runner_step(&r, 1200);
        rates[done] = LONG / r.seconds;
    }
    bench_runner_stop(&r);
    if (!good) {
        bench_add_missing(b, row, r.reason);
        bench_add_missing(b, memory, r.reason);
        return;
    }
    row.count = done;
    bench_add(b, &row);
    bench_add_value(b, memory, r.peak_mib);
}

static void add_missing_way(bench *b, const way *w, const char *reason) {
    bench_row row = {.section = "train", .name = w->name, .unit = "tokens/s", .bar = w->rate};
    bench_add_missing(b, row, reason);
    row.unit = "MiB";
    row.bar = memory_bar(b, w);
    bench_add_missing(b, row, reason);
}

void bench_train(bench *b) {
    bool measured[WAYS] = {false};
    bench_flops flops;
    hone_error err;
    if (bench_model_flops(b, 256, &flops, &err) != HONE_OK) {
        for (int w = 0; w < WAYS; w++)
            if (!skipped(b, w, false)) add_missing_way(b, &ways[w], err.message);
        return;
    }
    for (int g = 0; g < (int)(sizeof groups / sizeof *groups); g++)
        run_group(b, g, measured, &flops);
}

void bench_long(bench *b) {
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        run_long(b, checkpoint, HONE_BF16);
        if (b->compute != HONE_BF16) run_long(b, checkpoint, b->compute);
    }
}

void bench_start(bench *b) {
    double seconds[BENCH_MOST_ROUNDS];
    int runs = b->options.quick ? 3 : 11;
    bench_row row = {.section = "start",
                     .name = "from exec to the first step",
                     .unit = "s",
                     .values = seconds,
                     .count = runs,
                     .bar = BENCH_BAR_START};
    for (int i = -1; i < runs; i++) {
        bench_runner r;
        bench_progress("start: run %d of %d", i + 1, runs);
        double begin = hone_clock_seconds();
        bool good =
            bench_runner_hone(b, &r, "--batch-size 4 --max-seq-length 256 --no-save --iters 1");
        if (i >= 0) seconds[i] = hone_clock_seconds() - begin;
        bench_runner_stop(&r);
        if (!good) {
            bench_add_missing(b, row, r.reason);
            return;
        }
    }
    bench_add(b, &row);
}
