/* bench/generate: one stream of text beside the rate at which its weights can be read, and a prompt of 512 tokens
 * beside the register-only loop, both through the library. */
#include "bench.h"

#include "base/cpu.h"

enum { PROMPT = 512, SHORT = 16, NEW = 65 };

typedef struct stream {
    hone_model *model;
    int32_t ids[PROMPT];
    int prompt, new_tokens;
    hone_generate_result result;
} stream;

/* Tokens of real text, as many as wanted. */
static void fill_ids(stream *s) {
    static const char text[] = "The quick brown fox jumps over the lazy dog, and so it goes on. ";
    int32_t *ids;
    size_t count;
    hone_error err;
    bench_need(hone_tokenize(s->model, text, sizeof text - 1, false, &ids, &count, &err), &err);
    for (size_t i = 0; i < PROMPT; i++) s->ids[i] = ids[i % count];
    hone_free(ids);
}

static void run(stream *s) {
    hone_error err;
    hone_generate_options options = {.max_tokens = s->new_tokens, .ignore_eos = true};
    bench_need(hone_generate(s->model, s->ids, (size_t)s->prompt, &options, &s->result, &err),
               &err);
    hone_free(s->result.ids);
}

/* In turns with `reference`; what a call's time is comes from the library's own clock. */
static void measure(bench *b, stream *s, bench_job *job, bench_job *reference, bool prompt) {
    int rounds = b->options.quick ? 3 : 15;
    run(s);
    bench_prepare(b, reference);
    reference->calls *= 4;
    for (int r = 0; r < rounds; r++) {
        double before = bench_sample(b, reference);
        run(s);
        job->seconds[r] = prompt ? s->result.prompt_seconds : s->result.generation_seconds;
        reference->seconds[r] = 0.5 * (before + bench_sample(b, reference));
    }
    job->rounds = reference->rounds = rounds;
    bench_finish(reference);
}

static void one_stream(bench *b, stream *s, const bench_flops *flops) {
    bench_buffers buffers =
        bench_read_buffers(b, HONE_MAX(4 * hone_cpu_last_level_bytes(), (size_t)256 << 20));
    bench_job job = {0}, reference = bench_read_job(&buffers, 0);
    bench_progress("generate: one stream");
    s->prompt = SHORT;
    s->new_tokens = NEW;
    measure(b, s, &job, &reference, false);
    job.work = (double)(s->result.count - 1); /* the first is the prompt's */
    reference.work /= flops->weight_bytes;    /* tokens, if a token were a read of the weights */
    bench_row row = {.section = "generate",
                     .name = "one stream",
                     .unit = "tokens/s",
                     .series = "stream",
                     .reference = "read bandwidth / weights",
                     .bar = BENCH_BAR_GENERATE};
    bench_add_rate(b, row, &job, &reference, NULL, 1);
    bench_buffers_free(&buffers);
}

static void long_prompt(bench *b, stream *s, const bench_flops *flops) {
    double rates[BENCH_MOST_ROUNDS], of_peak[BENCH_MOST_ROUNDS];
    bench_job job = {.work = flops->prompt}, reference = bench_peak_job(b, b->compute, 0);
    bench_progress("generate: prompt");
    s->prompt = PROMPT;
    s->new_tokens = 1;
    measure(b, s, &job, &reference, true);
    bench_quotients(&job, &reference, of_peak);
    for (int r = 0; r < job.rounds; r++) rates[r] = PROMPT / job.seconds[r];
    bench_row row = {.section = "generate",
                     .name = "prompt of 512 tokens",
                     .unit = "tokens/s",
                     .series = "prompt",
                     .values = rates,
                     .count = job.rounds,
                     .peak = bench_peak_name(b, b->compute),
                     .peak_fractions = of_peak,
                     .bar = BENCH_BAR_PROMPT};
    bench_add(b, &row);
}

void bench_generate(bench *b) {
    stream s = {.model = NULL};
    hone_error err;
    bench_flops flops;
    hone_model_options options = {.threads = b->threads};
    hone_status status = bench_model_flops(b, PROMPT, &flops, &err);
    if (status == HONE_OK) status = hone_model_open(b->options.model, &options, &s.model, &err);
    if (status != HONE_OK) {
        bench_row row = {.section = "generate", .name = "one stream", .unit = "tokens/s"};
        row.bar = BENCH_BAR_GENERATE;
        bench_add_missing(b, row, err.message);
        row.name = "prompt of 512 tokens";
        row.bar = BENCH_BAR_PROMPT;
        bench_add_missing(b, row, err.message);
        return;
    }
    fill_ids(&s);
    one_stream(b, &s, &flops);
    long_prompt(b, &s, &flops);
    hone_model_free(&s.model);
}
