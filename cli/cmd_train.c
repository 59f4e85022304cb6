/* cli/cmd_train: fine-tunes a model. Options and report lines are those of mlx_lm.lora where they mean the same. */
#include "commands.h"
#include "common.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- options ---- */

static struct {
    char *model, *data, *fine_tune_type, *adapter_path, *keys, *resume, *packing, *compute, *ops,
        *weights, *seed, *mem_limit, *kernels, *sabotage;
    int unsafe, train, test, mask_prompt, grad_checkpoint, json, lockstep, no_save, plan;
    int num_layers, batch_size, iters, val_batches, max_seq_length, grad_accumulation_steps;
    int steps_per_report, steps_per_eval, save_every, rank, threads;
    double learning_rate, weight_decay, scale;
    int argc;
    const char **argv; /* [argc] the command line */
} given;

#define NUMBER POPT_ARG_INT | POPT_ARGFLAG_SHOW_DEFAULT
#define REAL POPT_ARG_DOUBLE | POPT_ARGFLAG_SHOW_DEFAULT

static struct poptOption options[] = {
    {"model", 0, POPT_ARG_STRING, &given.model, 0,
     "a .gguf file, a Hugging Face folder, or a name that\n`hone models` knows (default: the model "
     "of `make run`)",
     "PATH"},
    {"data", 0, POPT_ARG_STRING, &given.data, 0,
     "folder with train.jsonl (valid.jsonl, test.jsonl),\nor one .jsonl file", "PATH"},
    {"train", 0, POPT_ARG_NONE, &given.train, 0, "train; needed only together with --test", NULL},
    {"test", 0, POPT_ARG_NONE, &given.test, 0,
     "the loss over test.jsonl; without --train nothing is\ntrained, and the adapter in "
     "--adapter-path is tested",
     NULL},
    {"fine-tune-type", 0, POPT_ARG_STRING, &given.fine_tune_type, 0, "lora (default) or full",
     "KIND"},
    {"adapter-path", 0, POPT_ARG_STRING, &given.adapter_path, 0,
     "folder to write to (default: adapters)", "DIR"},
    {"no-save", 0, POPT_ARG_NONE, &given.no_save, 0, "write nothing", NULL},
    {"resume-adapter-file", 0, POPT_ARG_STRING, &given.resume, 0,
     "start from this adapters.safetensors, or the one in\nthis folder; rank, scale, layers and "
     "keys "
     "are those of\nthe adapter_config.json beside it",
     "FILE"},
    {"num-layers", 0, NUMBER, &given.num_layers, 0, "adapters on the last so many blocks, -1: all",
     "N"},
    {"rank", 0, NUMBER, &given.rank, 0, "of the adapters", "N"},
    {"scale", 0, REAL, &given.scale, 0, "of the adapters: y += scale * (x A) B", "X"},
    {"keys", 0, POPT_ARG_STRING, &given.keys, 0,
     "linear layers that get one, like\nself_attn.q_proj,self_attn.v_proj (default: all)", "NAMES"},
    {"iters", 0, NUMBER, &given.iters, 0, "steps", "N"},
    {"batch-size", 0, NUMBER, &given.batch_size, 0, "rows of data in a batch", "N"},
    {"max-seq-length", 0, NUMBER, &given.max_seq_length, 0, "longer rows are cut to so many tokens",
     "N"},
    {"packing", 0, POPT_ARG_STRING, &given.packing, 0,
     "none (default): rows as long as they are; isolate:\nexactly batch-size x max-seq-length "
     "tokens, rows apart;\n"
     "concat: the same, one stream of text",
     "KIND"},
    {"mask-prompt", 0, POPT_ARG_NONE, &given.mask_prompt, 0, "learn only what the assistant says",
     NULL},
    {"grad-checkpoint", 0, POPT_ARG_NONE, &given.grad_checkpoint, 0,
     "compute activations again in backward instead of keeping them: less memory, more time", NULL},
    {"mem-limit", 0, POPT_ARG_STRING, &given.mem_limit, 0,
     "most memory of the whole process, like 400M or 1.5G:\nactivations are computed again as far "
     "as it takes;\nwhat cannot fit is refused with what could",
     "SIZE"},
    {"plan", 0, POPT_ARG_NONE, &given.plan, 0,
     "print the memory that the training would take, by\npurpose, and train nothing", NULL},
    {"grad-accumulation-steps", 0, NUMBER, &given.grad_accumulation_steps, 0, "batches in a step",
     "N"},
    {"learning-rate", 0, REAL, &given.learning_rate, 0, "of AdamW", "X"},
    {"weight-decay", 0, REAL, &given.weight_decay, 0, "of AdamW", "X"},
    {"seed", 0, POPT_ARG_STRING, &given.seed, 0,
     "of the adapters and of the order of rows (default: 0)", "N"},
    {"val-batches", 0, NUMBER, &given.val_batches, 0,
     "batches of valid.jsonl, -1: all, 0: no validation", "N"},
    {"steps-per-report", 0, NUMBER, &given.steps_per_report, 0, "steps between lines of the report",
     "N"},
    {"steps-per-eval", 0, NUMBER, &given.steps_per_eval, 0, "steps between validations", "N"},
    {"save-every", 0, NUMBER, &given.save_every, 0, "steps between saves, 0: only at the end", "N"},
    {"compute", 0, POPT_ARG_STRING, &given.compute, 0, "auto (default), f32 or bf16", "TYPE"},
    {"weights", 0, POPT_ARG_STRING, &given.weights, 0,
     "bf16: convert the weights when loading them", "TYPE"},
    {"threads", 0, POPT_ARG_INT, &given.threads, 0, "default: all processors", "N"},
    {"ops", 0, POPT_ARG_STRING, &given.ops, 0, "set of operations: fused (default) or naive",
     "NAME"},
    {"kernels", 0, POPT_ARG_STRING, &given.kernels, 0,
     "use these kernels, which `hone eval FILE.c --output\nFILE.so` has accepted on this machine",
     "FILE.so"},
    {"unsafe", 0, POPT_ARG_NONE, &given.unsafe, 0,
     "with --kernels: load them whoever wrote them; they can\ndo what you can", NULL},
    {"sabotage", 0, POPT_ARG_STRING | POPT_ARGFLAG_DOC_HIDDEN, &given.sabotage, 0,
     "halve what this kernel computes: a control", "KERNEL"},
    {"json", 0, POPT_ARG_NONE, &given.json, 0, "a JSON object a line, for programs", NULL},
    {"lockstep", 0, POPT_ARG_NONE, &given.lockstep, 0,
     "wait for a line on standard input before each step\nand end when it ends: for programs that "
     "run "
     "several\ntrainings in turns",
     NULL},
    POPT_TABLEEND,
};

static const hone_cli_verb verb = {
    .name = "train",
    .arguments = "--data PATH [OPTION]...",
    .about = "Fine-tunes a model on a .jsonl file with one of these a line:\n"
             "  {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}, {\"role\": "
             "\"assistant\", \"content\": \"...\"}]}\n"
             "  {\"prompt\": \"...\", \"completion\": \"...\"}\n"
             "  {\"text\": \"...\"}\n"
             "and writes an adapter that mlx-lm reads too, or with --fine-tune-type full a Hugging "
             "Face folder.\n"
             "Ctrl-C saves what was learnt and stops; a second one stops at once.",
    .examples =
        "  hone train --data my-data --iters 200 --learning-rate 1e-4\n"
        "  hone train --model SmolLM2-135M-Instruct.Q4_1.gguf --data chats.jsonl --mask-prompt \\\n"
        "             --adapter-path my-adapter\n"
        "  hone train --data my-data --packing isolate --max-seq-length 4096 --mem-limit 1G "
        "--plan\n"
        "  hone generate --adapter-path my-adapter --prompt 'Define the noun \"kernel\".'\n",
    .options = options,
};

static void set_defaults(void) {
    hone_train_options d = hone_train_defaults();
    given.num_layers = d.num_layers;
    given.batch_size = d.batch_size;
    given.iters = d.iters;
    given.val_batches = d.val_batches;
    given.max_seq_length = d.max_seq_length;
    given.grad_accumulation_steps = d.grad_accumulation_steps;
    given.steps_per_report = 10;
    given.steps_per_eval = d.steps_per_eval;
    given.save_every = d.save_every;
    given.rank = d.lora_rank;
    given.scale = d.lora_scale;
    given.learning_rate = d.learning_rate;
    given.weight_decay = d.weight_decay;
}

/* The place of `word` in `words` (NULL: 0), or -1 after a message. */
static int choose(const char *option, const char *word, const char *const *words, int count) {
    for (int i = 0; i < count; i++)
        if (!word || strcmp(word, words[i]) == 0) return i;
    const char *nearest = hone_cli_nearest(word, words, count);
    hone_cli_usage(verb.name, "--%s: there is no \"%s\"; %s \"%s\"%s", option, word,
                   nearest ? "did you mean" : "the default is", nearest ? nearest : words[0],
                   nearest ? "?" : "");
    return -1;
}

static bool is_negative(int value, const char *option, int *code) {
    if (value < 0) *code = hone_cli_usage(verb.name, "--%s %d: expected 0 or more", option, value);
    return value < 0;
}

/* Whether --name stood on the command line. */
static bool was_given(const char *name) {
    size_t length = strlen(name);
    for (int i = 2; i < given.argc; i++) {
        const char *word = given.argv[i];
        if (strncmp(word, "--", 2) == 0 && strncmp(word + 2, name, length) == 0 &&
            (word[2 + length] == 0 || word[2 + length] == '='))
            return true;
    }
    return false;
}

static unsigned resume_takes(void) {
    return (was_given("rank") ? 0 : HONE_RESUME_RANK) |
           (was_given("scale") ? 0 : HONE_RESUME_SCALE) |
           (was_given("num-layers") ? 0 : HONE_RESUME_LAYERS);
}

/* Names what full fine-tuning passes over. --num-layers -1 is what it does. */
static void tell_of_adapters(void) {
    static const char *const names[] = {"rank", "scale", "keys", "num-layers"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (was_given(names[i]) && (i < 3 || given.num_layers != -1))
            fprintf(stderr, "--%s is of adapters: --fine-tune-type full trains every weight.\n",
                    names[i]);
}

/* Options that do not go with others. */
static int check_together(void) {
    if (given.kernels && given.ops)
        return hone_cli_usage(verb.name, "--kernels are a set of operations: leave out --ops");
    if (given.plan && given.test && !given.train)
        return hone_cli_usage(verb.name, "--plan: with --test alone nothing is trained");
    if (given.test && !given.train && (given.resume || given.mem_limit))
        return hone_cli_usage(verb.name, "--%s: with --test alone nothing is trained%s",
                              given.resume ? "resume-adapter-file" : "mem-limit",
                              given.resume ? "; --adapter-path names what is tested" : "");
    if (given.plan && given.resume && access(given.resume, R_OK) != 0)
        return hone_cli_usage(verb.name, "--resume-adapter-file %s: %s", given.resume,
                              strerror(errno));
    return HONE_CLI_GO;
}

static int read_options(hone_train_options *train, hone_model_options *model, const char **keys,
                        size_t key_count) {
    static const char *const kinds[] = {"lora", "full"}, *const packings[] = {"none", "isolate",
                                                                              "concat"};
    static const char *const sets[] = {"fused", "naive"};
    *train = hone_train_defaults();
    int code = HONE_CLI_GO, kind = choose("fine-tune-type", given.fine_tune_type, kinds, 2);
    int packing = choose("packing", given.packing, packings, 3),
        set = choose("ops", given.ops, sets, 2);
    if (kind < 0 || packing < 0 || set < 0) return HONE_EXIT_USAGE;
    if (!given.data)
        return hone_cli_usage(verb.name,
                              "--data is missing: a folder with train.jsonl, or a .jsonl file");
    if (given.adapter_path && !*given.adapter_path)
        return hone_cli_usage(verb.name, "--adapter-path: expected the name of a folder");
    if (!hone_cli_parse_compute(given.compute, &model->compute))
        return hone_cli_usage(verb.name, "--compute %s: expected auto, f32 or bf16", given.compute);
    if (is_negative(given.steps_per_report, "steps-per-report", &code) ||
        is_negative(given.threads, "threads", &code))
        return code;
    if (!hone_cli_parse_seed(given.seed, &train->seed))
        return hone_cli_usage(verb.name, "--seed %s: expected a whole number, 0 or more",
                              given.seed);
    if (given.mem_limit &&
        (!hone_cli_parse_size(given.mem_limit, &train->mem_limit) || train->mem_limit == 0))
        return hone_cli_usage(verb.name, "--mem-limit %s: expected a size, like 400M or 1.5G",
                              given.mem_limit);
    code = check_together();
    if (code != HONE_CLI_GO) return code;
    if (kind == 1) tell_of_adapters();
    if (given.iters < 1)
        return hone_cli_usage(verb.name, "--iters %d: expected 1 or more", given.iters);
    model->threads = given.threads;
    model->ops = given.kernels ? NULL : sets[set];
    model->kernels = given.kernels;
    model->sabotage = given.sabotage;
    model->weights = given.weights;
    train->data = given.data;
    train->adapter_path = given.no_save        ? NULL
                          : given.adapter_path ? given.adapter_path
                                               : "adapters";
    train->fine_tune_type = kind == 1 ? HONE_FINE_TUNE_FULL : HONE_FINE_TUNE_LORA;
    train->num_layers = given.num_layers;
    train->lora_rank = given.rank;
    train->lora_scale = given.scale;
    train->lora_keys = keys;
    train->lora_key_count = key_count;
    train->resume_adapter_file = given.resume;
    train->resume_takes = resume_takes();
    train->packing = (hone_packing)packing;
    train->mask_prompt = given.mask_prompt;
    train->grad_checkpoint = given.grad_checkpoint;
    train->iters = given.test && !given.train ? 0 : given.iters;
    train->batch_size = given.batch_size;
    train->max_seq_length = given.max_seq_length;
    train->grad_accumulation_steps = given.grad_accumulation_steps;
    train->steps_per_eval = given.steps_per_eval;
    train->val_batches = given.val_batches;
    train->save_every = given.save_every;
    train->learning_rate = given.learning_rate;
    train->weight_decay = given.weight_decay;
    train->test = given.test;
    return HONE_CLI_GO;
}

/* ---- report ---- */

typedef struct report {
    const hone_train_options *train;
    hone_model_info model;
    bool full;
    double loss_sum, seconds; /* since the last line */
    uint64_t labels, tokens, last_labels, skipped, truncated;
    int steps;
    hone_cli_progress progress, evaluation;
    bool write_failed, input_ended, told_skipped, told_truncated;
} report;

static const double mib = 1024.0 * 1024.0;

/* One object a line, flushed, so that who reads it is never behind. Takes over `value`. */
static void print_json(report *r, json_t *value) {
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text && (printf("%s\n", text) < 0 || !hone_cli_flush())) r->write_failed = true;
    free(text);
    json_decref(value);
}

/* A path need not be UTF-8, but JSON is: what is not ASCII becomes '?' in one that is not. */
static json_t *path_json(const char *path) {
    json_t *value = json_string(path);
    char *copy = value ? NULL : strdup(path);
    if (!copy) return value;
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    value = json_string(copy);
    free(copy);
    return value;
}

static json_t *real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

/* Bytes by purpose. */
static json_t *plan_json(const hone_train_plan *p) {
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:I, s:I}",
        "program", (json_int_t)p->program, "data", (json_int_t)p->data, "weights",
        (json_int_t)p->weights, "tables", (json_int_t)p->tables, "trained", (json_int_t)p->trained,
        "gradients", (json_int_t)p->gradients, "moments", (json_int_t)p->moments, "saving",
        (json_int_t)p->saving, "activations", (json_int_t)p->activations, "scratch",
        (json_int_t)p->scratch, "total", (json_int_t)p->total, "loss", (json_int_t)p->loss,
        "blocks", p->blocks, "blocks_recomputed", p->recomputed, "total_kept",
        (json_int_t)p->total_kept, "total_recomputed", (json_int_t)p->total_recomputed);
}

/* The start of a training, with what is used and what was planned for it. */
static json_t *with_plan(json_t *start, const hone_model_info *model, const hone_train_plan *plan) {
    if (start)
        json_object_update_new(start, json_pack("{s:o, s:s, s:i, s:s, s:s}", "model",
                                                path_json(model->path), "compute", model->compute,
                                                "threads", model->threads, "kernels",
                                                model->kernels, "ops", model->ops));
    if (!start || !plan) return start;
    json_object_update_new(start, json_pack("{s:o, s:i, s:i, s:o}", "planned_mib",
                                            real((double)plan->total / mib), "blocks", plan->blocks,
                                            "blocks_recomputed", plan->recomputed, "plan",
                                            plan_json(plan)));
    return start;
}

static json_t *json_of(const hone_model_info *model, const hone_train_event *e) {
    double peak = (double)e->peak_rss / mib;
    switch (e->kind) {
    case HONE_TRAIN_START:
        return with_plan(json_pack("{s:s, s:i, s:I, s:I, s:I, s:o, s:o}", "event", "start", "iters",
                                   e->iters, "samples", (json_int_t)e->samples, "trainable",
                                   (json_int_t)e->trainable, "parameters",
                                   (json_int_t)e->parameters, "arena_mib",
                                   real((double)e->arena_bytes / mib), "peak_rss_mib", real(peak)),
                         model, e->plan);
    case HONE_TRAIN_STEP:
        return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "event", "step", "iter",
                         e->iter, "loss", real(e->loss), "tokens_per_sec",
                         real((double)e->tokens / e->seconds), "peak_rss_mib", real(peak),
                         "seconds", real(e->seconds), "learning_rate", real(e->learning_rate),
                         "grad_norm", real(e->grad_norm), "trained_tokens",
                         (json_int_t)e->trained_tokens);
    case HONE_TRAIN_VALIDATION:
    case HONE_TRAIN_TEST:
        return json_pack("{s:s, s:i, s:o, s:o, s:o}", "event",
                         e->kind == HONE_TRAIN_TEST ? "test" : "validation", "iter", e->iter,
                         "loss", real(e->loss), "seconds", real(e->seconds), "peak_rss_mib",
                         real(peak));
    case HONE_TRAIN_SAVED:
        return json_pack("{s:s, s:i, s:o}", "event", "saved", "iter", e->iter, "path",
                         path_json(e->path));
    case HONE_TRAIN_SAVE_FAILED:
        return json_pack("{s:s, s:i, s:o, s:o}", "event", "save_failed", "iter", e->iter, "path",
                         path_json(e->path), "problem", path_json(e->problem));
    case HONE_TRAIN_VALIDATING:
    case HONE_TRAIN_TESTING:
        break; /* for who watches */
    }
    return NULL;
}

/* Whether the training will write over an adapter that it does not go on from. */
static bool replaces_adapter(const hone_train_options *train) {
    char path[4096];
    if (!train->adapter_path || train->resume_adapter_file) return false;
    int size = snprintf(path, sizeof path, "%s/adapters.safetensors", train->adapter_path);
    return size < (int)sizeof path && access(path, F_OK) == 0;
}

static void print_start(const report *r, const hone_train_event *e) {
    double trainable = (double)e->trainable, all = (double)e->parameters;
    const hone_model_info *m = &r->model;
    printf("Model: %s, computing in %s on %d thread%s, %s kernels (%s)\n", m->path, m->compute,
           m->threads, m->threads == 1 ? "" : "s", m->kernels, m->ops);
    if (e->iters == 0) return;
    printf("Trainable parameters: %.3f%% (%.3fM/%.3fM)\n", 100 * trainable / all, trainable / 1e6,
           all / 1e6);
    printf("Starting training: %llu rows, %d iterations of %d x %d tokens%s\n",
           (unsigned long long)e->samples, e->iters, r->train->batch_size,
           hone_cli_row_length(r->train->max_seq_length, m),
           r->train->packing == HONE_PACKING_NONE ? " at most" : "");
    printf("Memory: %.0f MiB planned%s, %d of %d blocks run again in backward\n",
           (double)e->plan->total / mib, r->train->packing == HONE_PACKING_NONE ? " at most" : "",
           e->plan->recomputed, e->plan->blocks);
    if (replaces_adapter(r->train))
        printf("Adapter: the one in %s is replaced; --adapter-path names another folder\n",
               r->train->adapter_path);
}

static void print_step(report *r, const hone_train_event *e) {
    uint64_t labels = e->trained_tokens - r->last_labels;
    r->last_labels = e->trained_tokens;
    r->loss_sum += e->loss * (double)labels;
    r->labels += labels;
    r->tokens += e->tokens;
    r->seconds += e->seconds;
    r->steps++;
    bool due = given.steps_per_report > 0 && e->iter % given.steps_per_report == 0;
    if (due || e->iter == e->iters) {
        hone_cli_progress_clear(&r->progress);
        printf("Iter %d: Train loss %.3f, Learning Rate %.3e, It/sec %.3f, Tokens/sec %.3f, "
               "Trained Tokens %llu, "
               "Peak mem %.3f GB\n",
               e->iter, r->loss_sum / (double)r->labels, e->learning_rate, r->steps / r->seconds,
               (double)r->tokens / r->seconds, (unsigned long long)e->trained_tokens,
               (double)e->peak_rss / 1e9);
        r->loss_sum = r->seconds = 0;
        r->labels = r->tokens = 0;
        r->steps = 0;
    }
    if (e->iter < e->iters) {
        char what[96];
        snprintf(what, sizeof what, "step %d of %d, loss %.3f", e->iter, e->iters, e->loss);
        hone_cli_progress_show(&r->progress, what, (double)e->iter / e->iters);
    }
}

/* A bar of its own: what is left of a validation says nothing about the training. */
static void show_batches(report *r, const hone_train_event *e) {
    char what[96];
    if (e->batch == 1) {
        hone_cli_progress_clear(&r->progress);
        r->evaluation = hone_cli_progress_start();
    }
    snprintf(what, sizeof what, e->batches > 0 ? "%s %d of %d" : "%s %d",
             e->kind == HONE_TRAIN_TESTING ? "testing" : "validating", e->batch, e->batches);
    hone_cli_progress_show(&r->evaluation, what,
                           e->batches > 0 ? (double)(e->batch - 1) / e->batches : 0);
}

static void clear_bars(report *r) {
    hone_cli_progress_clear(&r->progress);
    hone_cli_progress_clear(&r->evaluation);
}

/* Told on standard error whatever the report looks like. */
static void warn_of_save(report *r, const hone_train_event *e) {
    hone_error err = {.status = HONE_ERR_IO};
    clear_bars(r);
    snprintf(err.message, sizeof err.message,
             "warning: what was learnt in %d steps could not be saved, going on: %.800s", e->iter,
             e->problem);
    hone_cli_fail(verb.name, &err);
}

static void print_text(report *r, const hone_train_event *e) {
    bool shows = e->kind == HONE_TRAIN_STEP || e->kind == HONE_TRAIN_VALIDATING ||
                 e->kind == HONE_TRAIN_TESTING;
    if (!shows) clear_bars(r);
    switch (e->kind) {
    case HONE_TRAIN_START:
        print_start(r, e);
        break;
    case HONE_TRAIN_STEP:
        print_step(r, e);
        break;
    case HONE_TRAIN_VALIDATION: /* the one before the first step is called the first's */
        printf("Iter %d: Val loss %.3f, Val took %.3fs\n", e->iter > 0 ? e->iter : 1, e->loss,
               e->seconds);
        break;
    case HONE_TRAIN_TEST:
        printf("Test loss %.3f, Test ppl %.3f.\n", e->loss, exp(e->loss));
        break;
    case HONE_TRAIN_SAVED:
        printf("Iter %d: Saved %s to %s.\n", e->iter, r->full ? "the model" : "adapter weights",
               e->path);
        break;
    case HONE_TRAIN_SAVE_FAILED: /* told already */
        break;
    case HONE_TRAIN_VALIDATING:
    case HONE_TRAIN_TESTING:
        show_batches(r, e);
        break;
    }
    r->write_failed = r->write_failed || !hone_cli_flush();
}

/* Once each, when it first happens: the numbers of the whole epoch are `hone data`'s. */
static void tell_losses(report *r, const hone_train_event *e) {
    bool skipped = e->skipped > 0 && !r->told_skipped;
    bool truncated = e->truncated > 0 && !r->told_truncated;
    r->skipped = e->skipped;
    r->truncated = e->truncated;
    if (!skipped && !truncated) return;
    hone_cli_progress_clear(&r->progress);
    if (skipped)
        fprintf(stderr,
                "Rows with nothing to learn are skipped, %llu so far; `hone data` counts them.\n",
                (unsigned long long)e->skipped);
    if (truncated)
        fprintf(
            stderr,
            "Rows are cut to the tokens that --max-seq-length or the model allows, %llu so far; "
            "`hone data` counts them.\n",
            (unsigned long long)e->truncated);
    r->told_skipped = r->told_skipped || skipped;
    r->told_truncated = r->told_truncated || truncated;
}

static bool on_event(void *user, const hone_train_event *event) {
    report *r = user;
    tell_losses(r, event);
    if (event->kind == HONE_TRAIN_SAVE_FAILED) warn_of_save(r, event);
    if (given.json)
        print_json(r, json_of(&r->model, event));
    else
        print_text(r, event);
    return !r->write_failed && !hone_cli_interrupted();
}

/* Waits for a line of standard input. False at its end, or when a signal came: reading alone would go on after one. */
static bool next_line(void) {
    enum { GLANCE_MS = 200 }; /* a signal may come just before the wait begins */
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    for (char c = 0; c != '\n';) {
        int ready = poll(&input, 1, GLANCE_MS);
        if (hone_cli_interrupted()) return false;
        if (ready <= 0) continue;
        if (read(STDIN_FILENO, &c, 1) <= 0) return false;
    }
    return true;
}

static bool before_step(void *user, int iter) {
    report *r = user;
    (void)iter;
    if (given.lockstep) r->input_ended = !next_line();
    return !r->input_ended && !hone_cli_interrupted();
}

static bool keep_going(void *user) {
    (void)user;
    return !hone_cli_interrupted();
}

/* ---- the run ---- */

/* --test alone: the adapter that was asked for, or that an earlier training wrote to the usual folder. */
static hone_status load_adapter(hone_model *model, const hone_train_options *train,
                                hone_error *err) {
    struct stat st;
    const char *folder = given.adapter_path ? given.adapter_path : train->adapter_path;
    if (train->iters > 0 || !folder) return HONE_OK;
    if (given.adapter_path || stat(folder, &st) == 0)
        return hone_model_load_adapter(model, folder, err);
    fprintf(stderr, "no adapter in %s/: testing the model itself\n", folder);
    return HONE_OK;
}

/* Nobody asked to stop: the report has no place to go to, which hone_cli_finish tells. */
static int output_failed(const hone_train_options *train, const hone_train_result *result) {
    hone_error err = {.status = HONE_ERR_IO};
    if (!train->adapter_path || result->iters == 0) return HONE_EXIT_FAILURE;
    snprintf(err.message, sizeof err.message, "what was learnt in %d of %d steps is in %s",
             result->iters, train->iters, train->adapter_path);
    return hone_cli_fail(verb.name, &err);
}

static void print_plan(const hone_train_options *train, const hone_train_plan *p) {
    bool full = train->fine_tune_type == HONE_FINE_TUNE_FULL;
    const struct {
        const char *purpose;
        size_t bytes;
    } rows[] = {
        {"program, libraries, tokenizer", p->program},
        {"data set, batches", p->data},
        {"weights as stored", p->weights},
        {"norms, rotary embedding", p->tables},
        {full ? "weights in float32" : "adapters", p->trained},
        {"gradients", p->gradients},
        {"moments of AdamW", p->moments},
        {"adapters as written to disk", p->saving},
        {"activations kept for backward", p->activations},
        {"working memory beside them", p->scratch},
    };
    printf("%-50s %9s\n", "Memory by purpose, at the peak", "MiB");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].bytes > 0)
            printf("  %-48s %9.1f\n", rows[i].purpose, (double)rows[i].bytes / mib);
    printf("%-50s %9.1f\n", train->packing == HONE_PACKING_NONE ? "Total at most" : "Total",
           (double)p->total / mib);
    printf("\nWhile the loss is computed activations and working memory are %.1f MiB.\n",
           (double)p->loss / mib);
    printf("%d of %d blocks are run again in backward.\n", p->recomputed, p->blocks);
    printf("Without recomputation: %.1f MiB. With --grad-checkpoint: %.1f MiB.\n",
           (double)p->total_kept / mib, (double)p->total_recomputed / mib);
}

static int plan_only(hone_model *model, const hone_train_options *train) {
    hone_train_plan plan;
    hone_error err;
    if (hone_train_plan_memory(model, train, &plan, &err) != HONE_OK)
        return hone_cli_fail(verb.name, &err);
    if (!given.json) {
        print_plan(train, &plan);
        return HONE_EXIT_OK;
    }
    json_t *event = json_pack("{s:s}", "event", "plan");
    if (event) json_object_update_new(event, plan_json(&plan));
    print_json(&(report){.train = train}, event);
    return HONE_EXIT_OK;
}

/* {"rms_norm": [forward, backward], ...} */
static json_t *calls_json(const hone_model *model) {
    json_t *object = json_object();
    for (int k = 0; object; k++) {
        hone_kernel_calls calls = hone_model_get_kernel_calls(model, k);
        if (!calls.name) break;
        json_object_set_new(
            object, calls.name,
            json_pack("[I, I]", (json_int_t)calls.forward, (json_int_t)calls.backward));
    }
    return object;
}

static json_t *done_json(const report *r, const hone_model *model,
                         const hone_train_result *result) {
    return json_pack("{s:s, s:i, s:I, s:I, s:o, s:o, s:o, s:o}", "event", "done", "iters",
                     result->iters, "skipped", (json_int_t)r->skipped, "truncated",
                     (json_int_t)r->truncated, "tokens_per_sec_median",
                     real(result->tokens_per_sec_median), "peak_rss_mib",
                     real((double)result->peak_rss / mib), "final_loss", real(result->final_loss),
                     "kernel_calls", calls_json(model));
}

static int train_model(hone_model *model, const hone_train_options *train) {
    report r = {.train = train, .full = train->fine_tune_type == HONE_FINE_TUNE_FULL};
    hone_error err;
    hone_train_result result;
    hone_model_get_info(model, &r.model);
    hone_cli_catch_signals();
    if (!given.json) r.progress = hone_cli_progress_start();
    hone_cli_say_on_signal(r.progress.on ? "\r\033[Kstopping after this step; again: at once\n"
                                         : "stopping after this step; again: at once\n");
    const hone_train_callbacks callbacks = {
        .on_event = on_event, .before_step = before_step, .keep_going = keep_going, .user = &r};
    hone_status status = load_adapter(model, train, &err);
    if (status == HONE_OK) status = hone_train(model, train, &callbacks, &result, &err);
    clear_bars(&r);
    if (status == HONE_ERR_INTERRUPTED && r.write_failed) return output_failed(train, &result);
    bool led_to_end = status == HONE_ERR_INTERRUPTED && r.input_ended && !hone_cli_interrupted();
    if (status != HONE_OK && !led_to_end) return hone_cli_fail(verb.name, &err);
    if (given.json) print_json(&r, done_json(&r, model, &result));
    return HONE_EXIT_OK;
}

/* ---- kernels ---- */

/* A copy of the kernels in memory that nobody can change any more, so that what is loaded is what was looked at. */
static struct {
    int fd; /* -1: none */
    char path[32];
} sealed = {.fd = -1};

/* Where a message begins with the copy's path, it is told about the user's. */
static int fail_model(hone_error *err) {
    size_t length = strlen(sealed.path);
    if (sealed.fd >= 0 && strncmp(err->message, sealed.path, length) == 0) {
        hone_error named = *err;
        snprintf(named.message, sizeof named.message, "%s%s", given.kernels, err->message + length);
        *err = named;
    }
    return hone_cli_fail(verb.name, err);
}

/* Kernels are code: those that nobody has looked at run with all that the user may do. */
static int check_kernels(hone_model_options *model) {
    hone_error err;
    bool accepted = false;
    if (given.unsafe && !given.kernels)
        return hone_cli_usage(verb.name, "--unsafe goes with --kernels");
    if (!given.kernels || given.unsafe) return HONE_CLI_GO;
    if (hone_kernels_accepted(given.kernels, &accepted, &sealed.fd, &err) != HONE_OK)
        return hone_cli_fail(verb.name, &err);
    snprintf(sealed.path, sizeof sealed.path, "/proc/self/fd/%d", sealed.fd);
    model->kernels = sealed.path;
    if (accepted) return HONE_CLI_GO;
    err = (hone_error){.status = HONE_ERR_UNSUPPORTED};
    snprintf(
        err.message, sizeof err.message,
        "%s: these kernels were not accepted on this machine; `hone eval KERNELS.c --output %s` "
        "measures and accepts them, --unsafe trusts them",
        given.kernels, given.kernels);
    return hone_cli_fail(verb.name, &err);
}

static int run(void) {
    hone_train_options train;
    hone_model_options model_options = {.tuning = hone_cli_tuning(verb.name, NULL)};
    hone_error err = {0};
    size_t key_count = 0;
    const char **keys = given.keys ? hone_cli_split(given.keys, &key_count) : NULL;
    int code = read_options(&train, &model_options, keys, key_count);
    if (code == HONE_CLI_GO) code = check_kernels(&model_options);
    char *path = code == HONE_CLI_GO ? hone_cli_resolve_model(given.model, &err) : NULL;
    hone_model *model = NULL;
    if (code == HONE_CLI_GO) {
        if (!path || hone_model_open(path, &model_options, &model, &err) != HONE_OK)
            code = fail_model(&err);
        else
            code = given.plan ? plan_only(model, &train) : train_model(model, &train);
    }
    hone_model_free(&model);
    if (sealed.fd >= 0) close(sealed.fd);
    free(path);
    free(keys);
    return code;
}

int hone_cmd_train(int argc, const char **argv) {
    hone_cli_arguments arguments;
    set_defaults();
    given.argc = argc;
    given.argv = argv;
    int code = hone_cli_parse(&verb, argc, argv, &arguments);
    if (code != HONE_CLI_GO) return code;
    code = run();
    hone_cli_arguments_free(&arguments);
    return code;
}
