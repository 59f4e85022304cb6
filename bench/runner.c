/* bench/runner: trainings in processes of their own, and what a token of the model costs. */
#include "bench.h"

enum { MOST_WORDS = 64, LORA_RANK = 8, PROMPT = 512 };

static bool failed(bench_runner *r, const hone_error *err) {
    snprintf(r->reason, sizeof r->reason, "%.250s", err->message);
    bench_runner_stop(r);
    return false;
}

/* The next event of this kind; others are passed over. */
static bool wait_for(bench_runner *r, const char *kind, double limit) {
    hone_error err;
    for (;;) {
        json_t *event = NULL;
        hone_patience patience = {.seconds = limit};
        hone_status status = hone_worker_event(&r->worker, &patience, &event, &err);
        if (status == HONE_ERR_LIMIT) {
            snprintf(r->reason, sizeof r->reason, "stopped after %.0f s", limit);
            bench_runner_stop(r);
            return false;
        }
        if (status != HONE_OK) return failed(r, &err);
        bool found = strcmp(json_string_value(json_object_get(event, "event")), kind) == 0;
        r->seconds = json_number_value(json_object_get(event, "seconds"));
        r->loss = json_number_value(json_object_get(event, "loss"));
        const json_t *peak = json_object_get(event, "peak_rss_mib");
        if (json_is_number(peak)) r->peak_mib = json_number_value(peak);
        json_decref(event);
        if (found) return true;
    }
}

/* Splits `text` in place. */
static void add_words(const char **argv, int *count, char *text) {
    for (char *rest = NULL, *word = strtok_r(text, " ", &rest); word && *count < MOST_WORDS - 1;
         word = strtok_r(NULL, " ", &rest))
        argv[(*count)++] = word;
    argv[*count] = NULL;
}

static bool start(bench_runner *r, const char *name, const char **argv, double limit) {
    hone_error err;
    if (hone_worker_start(&r->worker, name, (char *const *)(uintptr_t)argv, NULL, &err) != HONE_OK)
        return failed(r, &err);
    return wait_for(r, "start", limit);
}

/* hone and its peers take the same options, but for what only hone has. */
static bool start_training(const bench *b, bench_runner *r, const char *name, const char **argv,
                           int count, const char *options, double limit) {
    char usual[] = "--packing concat --num-layers -1 --learning-rate 1e-4 --json --lockstep",
         own[512];
    *r = (bench_runner){0};
    argv[count++] = "--model";
    argv[count++] = b->options.model;
    argv[count++] = "--data";
    argv[count++] = b->options.data;
    snprintf(own, sizeof own, "%s", options);
    add_words(argv, &count, usual);
    add_words(argv, &count, own);
    return start(r, name, argv, limit);
}

bool bench_runner_hone(const bench *b, bench_runner *r, const char *options) {
    const char *argv[MOST_WORDS] = {b->options.hone, "train", "--val-batches", "0",
                                    "--save-every",  "0"};
    return start_training(b, r, "hone", argv, 6, options, 120);
}

bool bench_runner_peer(const bench *b, bench_runner *r, const char *options) {
    char python[1024], threads[32];
    const char *argv[MOST_WORDS] = {python, BENCH_PEER, "--threads", threads};
    snprintf(python, sizeof python, "%s/bin/python", b->options.peers);
    snprintf(threads, sizeof threads, "%d", b->threads);
    return start_training(b, r, "PyTorch", argv, 4, options, b->options.peer_limit);
}

bool bench_runner_step(bench_runner *r, double limit) {
    hone_error err;
    if (hone_worker_go(&r->worker, &err) != HONE_OK) return failed(r, &err);
    return wait_for(r, "step", limit);
}

bool bench_runner_finish(bench_runner *r) {
    hone_error err;
    hone_patience patience = {.seconds = 60};
    if (hone_worker_finish(&r->worker, &patience, &err) != HONE_OK) return failed(r, &err);
    bench_runner_stop(r);
    return true;
}

void bench_runner_stop(bench_runner *r) { hone_worker_stop(&r->worker); }

hone_status bench_model_flops(const bench *b, int length, bench_flops *out, hone_error *err) {
    hone_model *model = NULL;
    hone_model_info i;
    HONE_TRY(hone_model_open(b->options.model, NULL, &model, err));
    hone_model_get_info(model, &i);
    double h = i.hidden, q = (double)i.heads * i.head_dim, kv = (double)i.kv_heads * i.head_dim,
           f = i.ffn, layers = i.layers;
    double linear = layers * (2 * h * q + 2 * h * kv + 3 * h * f), head = (double)i.vocab * h;
    double adapters = layers * LORA_RANK * (2 * (h + q) + 2 * (h + kv) + 3 * (h + f));
    double product = layers * q * (length + 1); /* one causal product of attention, by token */
    *out = (bench_flops){
        .lora = 4 * (linear + head) + 6 * adapters + 7 * product,
        .full = 6 * (linear + head) + 7 * product,
        .prompt = PROMPT * (2 * linear + 2 * layers * q * (PROMPT + 1)) + 2 * head,
        .weight_bytes = (double)i.weight_bytes,
    };
    hone_model_free(&model);
    return HONE_OK;
}
