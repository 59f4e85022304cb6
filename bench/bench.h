/* bench: the program behind the figures of the documents. What its files share.
 *
 * A section measures and adds rows to the report. Whatever is set in relation to something is measured in turns with
 * it (bench_interleave): the relation is the median of the quotients of one round, so that a clock that wanders, or a
 * neighbour who takes his share, counts for both sides. */
#ifndef HONE_BENCH_H
#define HONE_BENCH_H

#include "base/json.h"
#include "eval/worker.h"
#include "eval/loops/loops.h"
#include "ops/ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BENCH_MOST_ROUNDS = 41 };

typedef struct bench_options {
    int quick;
    int peer_limit; /* seconds that a peer may take for its first two steps, and for each one after */
    const char *hone, *model, *data; /* paths */
    const char *peers;               /* a virtual environment, or NULL */
    const char *json, *html;         /* files to write */
} bench_options;

typedef struct bench {
    bench_options options;
    hone_kernels kernels;
    int threads;
    hone_dtype compute;                    /* what training takes here unless told otherwise */
    const hone_loops *loops;               /* the best that this CPU runs */
    hone_loops_multiply_fn *multiply_bf16; /* NULL: the CPU has none */
    const char *multiply_bf16_name;
    json_t *rows; /* of the report, array */
} bench;

/* Prints the sentence and ends the program. */
void bench_need(hone_status status, const hone_error *err);
void *bench_memory(size_t bytes); /* 64-byte aligned, zeroed; ends the program when there is none */

/* ---- measuring (measure.c) ---- */

typedef void bench_body(hone_ctx *ctx, void *argument);

/* Something to time. Set the first part; bench_interleave fills the second. */
typedef struct bench_job {
    bench_body *body; /* called by every thread of a team, as a training step calls operations, */
    void (*alone)(void *argument); /* or, with threads of its own */
    void *argument;
    hone_dtype compute;
    int threads; /* of the team, 0: all */
    double work; /* of a call: FLOPs or bytes */

    size_t memory; /* bytes that it took from the arena */
    hone_arena arena;
    int calls; /* in a sample */
    int rounds;
    double seconds[BENCH_MOST_ROUNDS]; /* of a call, by round */
} bench_job;

/* Warms up, then takes turns: every round has one sample of each job, and another one begins. `patience` bounds
 * the whole in seconds (a quarter with --quick), five rounds at least (three). */
void bench_interleave(const bench *b, bench_job *jobs, int count, double patience);

/* Its parts, where turns are taken with something else: memory, warm-up and calls (seconds[0] is a call's time); one
 * sample, seconds of a call; the end. */
void bench_prepare(const bench *b, bench_job *job);
double bench_sample(const bench *b, bench_job *job);
void bench_finish(bench_job *job);

/* Quotients of the rounds: how many times as fast as `reference` the job did its work. */
void bench_quotients(const bench_job *job, const bench_job *reference, double *out);

/* Multiply-adds on registers: in `compute`, where the CPU has such instructions, else float32. */
bench_job bench_peak_job(const bench *b, hone_dtype compute, int threads);
const char *bench_peak_name(const bench *b, hone_dtype compute);

/* A copy that moves `bytes` in all (half of them read), a read of `bytes`. Free the buffers after use. */
typedef struct bench_buffers {
    char *from, *to;
    size_t bytes; /* of each */
} bench_buffers;
bench_buffers bench_copy_buffers(const bench *b, size_t bytes);
bench_buffers bench_read_buffers(const bench *b, size_t bytes);
void bench_buffers_free(bench_buffers *buffers);
bench_job bench_copy_job(bench_buffers *buffers, int threads);
bench_job bench_read_job(bench_buffers *buffers, int threads);

/* Normal numbers of F32 or BF16; random blocks of Q4_1 or Q8_0 that decode to numbers of about 1. */
void *bench_random(hone_dtype dtype, size_t n, double scale);
hone_matrix bench_random_matrix(hone_dtype dtype, size_t rows, size_t cols, double scale);

/* ---- the report (report.c, bars.c) ---- */

typedef enum bench_bar {
    BENCH_NO_BAR,
    BENCH_BAR_GEMM,
    BENCH_BAR_ROWS_BEYOND,
    BENCH_BAR_ROWS_INSIDE,
    BENCH_BAR_SILU_INSIDE,
    BENCH_BAR_LOSS_RATE,
    BENCH_BAR_LOSS_MEMORY,
    BENCH_BAR_ATTENTION_RATE,
    BENCH_BAR_ATTENTION_TIME,
    BENCH_BAR_ATTENTION_MEMORY,
    BENCH_BAR_TRAIN,
    BENCH_BAR_TRAIN_MEMORY,
    BENCH_BAR_CHECKPOINT,
    BENCH_BAR_CHECKPOINT_MEMORY,
    BENCH_BAR_FULL,
    BENCH_BAR_NAIVE,
    BENCH_BAR_LONG_MEMORY,
    BENCH_BAR_LONG_CHECKPOINT_MEMORY,
    BENCH_BAR_GENERATE,
    BENCH_BAR_PROMPT,
    BENCH_BAR_START,
    BENCH_BAR_CORES,
    BENCH_BAR_BITS,
    BENCH_BAR_AGREE,
    BENCH_BARS
} bench_bar;

typedef struct bench_bar_info {
    const char *id, *text;
    enum { BENCH_OF_REFERENCE, BENCH_OF_PEAK, BENCH_VALUE } what; /* is compared */
    bool at_least;                                                /* else at most */
    double limit;
} bench_bar_info;
extern const bench_bar_info bench_bars[BENCH_BARS];

/* A figure. Only section, name and unit must be there. */
typedef struct bench_row {
    const char *section, *name, *unit;
    const char *series; /* lines of a chart; NULL: none */
    double x;           /* its place on the line: threads, tokens; 0: none */
    const double *values;
    int count;                     /* of values: 0 for what could not be measured, with a reason */
    double seconds, least_seconds; /* of one call: median, minimum; 0: not timed */
    const char *reference;         /* what it is a fraction of */
    const double *fractions;       /* [count], by round */
    double reference_value;        /* in the row's unit */
    const char *peak;              /* the machine's limit */
    const double *peak_fractions;  /* [count] */
    double intensity;              /* FLOPs by byte that has to be moved; 0: unknown */
    bench_bar bar;
    bool wrong;         /* what was computed is not right: the bar is not met */
    const char *reason; /* why there is no value, no reference; a remark; NULL: none */
} bench_row;
void bench_add(bench *b, const bench_row *row);

/* The usual row: a rate beside `reference` (NULL: none) and `peak` (NULL: none). `per` divides: 1e9 for GFLOP/s. */
void bench_add_rate(bench *b, bench_row row, const bench_job *job, const bench_job *reference,
                    const bench_job *peak, double per);
/* A figure without spread. */
void bench_add_value(bench *b, bench_row row, double value);
void bench_add_missing(bench *b, bench_row row, const char *reason);

/* One row as text on standard output. */
void bench_print_row(const json_t *row);
/* The table of bars, worst row of each, and the figures of training, for README. */
void bench_print_markdown(const json_t *report);
/* How many bars are met, on standard output. */
void bench_print_summary(const json_t *report);
/* Standard error, written over on a terminal. */
__attribute__((format(printf, 1, 2))) void bench_progress(const char *format, ...);
void bench_progress_clear(void);
bool bench_color(FILE *stream);

json_t *bench_report_json(const bench *b, double seconds);
hone_status bench_write_page(const char *path, const json_t *report, hone_error *err);

/* ---- sections ---- */

typedef void bench_section_fn(bench *b);
bench_section_fn bench_machine, bench_gemm, bench_rows, bench_loss, bench_attention, bench_train,
    bench_long, bench_generate, bench_start, bench_cores, bench_agree;

/* What several sections measure in their own way; free with bench_case_free. */
typedef struct bench_case {
    bench_job job;
    void *owned[24]; /* argument first */
    int owned_count;
} bench_case;
void *bench_own(bench_case *c, void *memory); /* returns it */
void bench_case_free(bench_case *c);

bench_case bench_matmul_case(hone_dtype compute, const hone_matrix *w, size_t rows, bool by_rows);
bench_case bench_attention_case(hone_dtype compute, size_t length, bool backward);
bench_case bench_loss_case(hone_dtype compute);

/* ---- trainings in processes of their own (runner.c) ---- */

/* `hone train` or a peer, led step by step: nothing of it runs while another has its turn. */
typedef struct bench_runner {
    hone_worker worker;
    char reason[256]; /* why it failed; empty while it has not */
    double seconds;   /* of the last step, as it says */
    double loss;
    double peak_mib; /* resident, highest so far, as it says */
} bench_runner;

/* Starts it and waits for its start event. `options` are words, space between them. False after a failure. */
bool bench_runner_hone(const bench *b, bench_runner *r, const char *options);
bool bench_runner_peer(const bench *b, bench_runner *r, const char *options);
/* One step. */
bool bench_runner_step(bench_runner *r, double limit);
/* Lets it end well, which writes what it learnt. */
bool bench_runner_finish(bench_runner *r);
void bench_runner_stop(bench_runner *r);

/* What a token costs at best, from the model's numbers: the products of its linear layers (forward and dX; full
 * fine-tuning: and dW), of the adapters, and of causal attention over `length` tokens. */
typedef struct bench_flops {
    double lora, full; /* of a trained token */
    double prompt;     /* of a prompt of 512 tokens, logits of the last alone */
    double weight_bytes;
} bench_flops;
hone_status bench_model_flops(const bench *b, int length, bench_flops *out, hone_error *err);

/* ---- oneDNN (onednn.c, where it is installed) ---- */

/* C [m, n] = A [m, k] op(w) with weights that it packed beforehand. */
typedef struct bench_onednn bench_onednn;
bench_onednn *bench_onednn_open(const bench *b, hone_dtype compute, size_t m, size_t n, size_t k,
                                const void *a, const hone_matrix *w, bool by_rows);
void bench_onednn_run(void *onednn);
const void *bench_onednn_result(const bench_onednn *o); /* [m, n], compute type */
void bench_onednn_close(bench_onednn *o);

#endif
