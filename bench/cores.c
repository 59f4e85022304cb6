/* bench/cores: the speed-up that more threads bring, beside that of the register-only loop in the same round (cores may
 * share a clock or an arithmetic unit, which no program can help), and whether results are the same bits. */
#include "bench.h"

#include "base/file.h"

enum { GEMM_OUT = 1536, GEMM_IN = 576, ROWS = 1024, LENGTH = 1024, BIT_STEPS = 3 };

/* Quotients of one job on few and on many threads, and of the loop. */
static void speed_up(const bench_job *one, const bench_job *many, const bench_job *loop_one,
                     const bench_job *loop_many, double *values, double *fractions) {
    double loop[BENCH_MOST_ROUNDS];
    bench_quotients(many, one, values);
    bench_quotients(loop_many, loop_one, loop);
    for (int r = 0; r < one->rounds; r++) fractions[r] = values[r] / loop[r];
}

static void add_speed_up(bench *b, const char *kind, int threads, const bench_job *one,
                         const bench_job *many, const bench_job *loop_one,
                         const bench_job *loop_many) {
    char name[96];
    double values[BENCH_MOST_ROUNDS], fractions[BENCH_MOST_ROUNDS];
    speed_up(one, many, loop_one, loop_many, values, fractions);
    snprintf(name, sizeof name, "%s on %d threads", kind, threads);
    bench_row row = {.section = "cores",
                     .name = name,
                     .unit = "x",
                     .series = kind,
                     .x = threads,
                     .values = values,
                     .count = one->rounds,
                     .bar = BENCH_BAR_CORES};
    if (one == loop_one) {
        row.bar = BENCH_NO_BAR;
    } else {
        row.reference = "the loop's speed-up";
        row.fractions = fractions;
    }
    bench_add(b, &row);
}

/* One kernel and the loop, in turns of their own: within a short round the machine's speed seldom changes. */
static void one_kernel(bench *b, const char *kind, const bench_case *c, int threads) {
    bench_job jobs[4] = {c->job, c->job, bench_peak_job(b, b->compute, 1),
                         bench_peak_job(b, b->compute, threads)};
    jobs[0].threads = 1;
    jobs[1].threads = threads;
    bench_progress("cores: %s on 1 and %d threads", kind, threads);
    bench_interleave(b, jobs, 4, 12);
    add_speed_up(b, kind, threads, &jobs[0], &jobs[1], &jobs[2], &jobs[3]);
}

static void register_loop(bench *b, int threads) {
    bench_job jobs[2] = {bench_peak_job(b, b->compute, 1), bench_peak_job(b, b->compute, threads)};
    bench_interleave(b, jobs, 2, 1);
    add_speed_up(b, "register-only loop", threads, &jobs[0], &jobs[1], &jobs[0], &jobs[1]);
}

static void kernels(bench *b, int threads) {
    hone_matrix w = bench_random_matrix(HONE_Q4_1, GEMM_OUT, GEMM_IN, 1);
    bench_case gemm = bench_matmul_case(b->compute, &w, ROWS, true),
               attention = bench_attention_case(b->compute, LENGTH, true),
               loss = bench_loss_case(b->compute);
    register_loop(b, threads);
    one_kernel(b, "gemm", &gemm, threads);
    one_kernel(b, "attention", &attention, threads);
    one_kernel(b, "loss", &loss, threads);
    bench_case_free(&gemm);
    bench_case_free(&attention);
    bench_case_free(&loss);
    free((void *)(uintptr_t)w.data);
}

/* A whole step of `hone train`, one process on one thread and one on `threads`. */
static void training(bench *b, int threads) {
    bench_runner runners[2];
    bench_job steps[2] = {{.work = 1}, {.work = 1}},
              loop[2] = {bench_peak_job(b, b->compute, 1), bench_peak_job(b, b->compute, threads)};
    int rounds = b->options.quick ? 1 : 4;
    bool good = true;
    for (int i = 0; i < 2; i++) {
        char options[128];
        snprintf(options, sizeof options,
                 "--batch-size 4 --max-seq-length 256 --no-save --iters %d --threads %d",
                 rounds + 1, i ? threads : 1);
        bench_prepare(b, &loop[i]);
        loop[i].calls *= 25;
        runners[i] = (bench_runner){0};
        good = good && bench_runner_hone(b, &runners[i], options);
    }
    for (int r = -1; r < rounds && good; r++)
        for (int i = 0; i < 2; i++) {
            bench_progress("cores: training, step %d of %d", r + 2, rounds + 1);
            double before = bench_sample(b, &loop[i]);
            good = good && bench_runner_step(&runners[i], 600);
            if (r < 0) continue;
            steps[i].seconds[r] = runners[i].seconds;
            loop[i].seconds[r] = 0.5 * (before + bench_sample(b, &loop[i]));
        }
    for (int i = 0; i < 2; i++) {
        bench_finish(&loop[i]);
        steps[i].rounds = loop[i].rounds = rounds;
        bench_runner_stop(&runners[i]);
    }
    if (good) {
        add_speed_up(b, "training step", threads, &steps[0], &steps[1], &loop[0], &loop[1]);
        return;
    }
    bench_row row = {.section = "cores", .name = "training step", .unit = "x"};
    row.bar = BENCH_BAR_CORES;
    bench_add_missing(b, row, runners[0].reason[0] ? runners[0].reason : runners[1].reason);
}

/* The adapter after a few steps on so many threads, as a file. */
static bool learn(bench *b, int threads, hone_buf *out, char *reason, size_t room) {
    char options[512], path[512];
    bench_runner r;
    hone_error err;
    snprintf(options, sizeof options,
             "--batch-size 1 --max-seq-length 256 --iters %d --threads %d --adapter-path "
             "%s/threads-%d",
             BIT_STEPS, threads, BENCH_FOLDER, threads);
    bool good = bench_runner_hone(b, &r, options);
    for (int i = 0; i < BIT_STEPS && good; i++) good = bench_runner_step(&r, 600);
    good = good && bench_runner_finish(&r);
    snprintf(reason, room, "%.200s", r.reason);
    bench_runner_stop(&r);
    if (!good) return false;
    snprintf(path, sizeof path, "%s/threads-%d/adapters.safetensors", BENCH_FOLDER, threads);
    bench_need(hone_file_read(path, 1 << 30, out, &err), &err);
    return true;
}

static void bits(bench *b, int threads) {
    char name[96], reason[256];
    hone_buf one = {0}, many = {0};
    bench_row row = {.section = "cores", .name = name, .unit = "", .bar = BENCH_BAR_BITS};
    snprintf(name, sizeof name, "the same adapter on %d threads", threads);
    bench_progress("cores: bits on 1 and %d threads", threads);
    if (learn(b, 1, &one, reason, sizeof reason) &&
        learn(b, threads, &many, reason, sizeof reason)) {
        bool same = one.size == many.size && memcmp(one.data, many.data, one.size) == 0;
        bench_add_value(b, row, same);
    } else {
        bench_add_missing(b, row, reason);
    }
    hone_buf_free(&one);
    hone_buf_free(&many);
}

void bench_cores(bench *b) {
    if (b->threads < 2) {
        bench_row row = {.section = "cores", .name = "speed-up", .unit = "x"};
        row.bar = BENCH_BAR_CORES;
        bench_add_missing(b, row, "one thread is all there is");
        return;
    }
    for (int threads = 2;; threads = HONE_MIN(2 * threads, b->threads)) {
        kernels(b, threads);
        training(b, threads);
        if (threads == b->threads) break;
    }
    bits(b, b->threads);
}
