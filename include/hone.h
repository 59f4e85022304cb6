/* hone: fine-tuning of real language models on a CPU, with fused kernels.
 *
 * This header is the whole public interface of libhone; the program `hone` uses nothing else.
 *
 * Conventions
 *  - Functions that can fail return hone_status and take a `hone_error *` last, which may be NULL.
 *    On failure it holds one sentence: what went wrong, where, what was expected, what to do.
 *  - The library never prints, never exits, never aborts on input.
 *  - hone_x_free(hone_x **) accepts NULL and clears the pointer.
 *  - Strings are UTF-8 and NUL-terminated; those that may hold NUL carry a length.
 */
#ifndef HONE_H
#define HONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library is built with hidden symbols; what is declared here is visible. */
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

typedef enum hone_status {
    HONE_OK = 0,
    HONE_ERR_USAGE,       /* an option or argument that makes no sense */
    HONE_ERR_IO,          /* the operating system refused: missing file, full disk, ... */
    HONE_ERR_FORMAT,      /* a file that is not what it claims to be */
    HONE_ERR_UNSUPPORTED, /* well-formed, but of a kind hone does not handle */
    HONE_ERR_MEMORY,      /* out of memory */
    HONE_ERR_LIMIT,       /* a stated limit was reached (size, nesting, steps, --mem-limit) */
    HONE_ERR_INTERRUPTED, /* a callback asked to stop */
    HONE_ERR_INTERNAL     /* a defect of hone itself */
} hone_status;

typedef struct hone_error {
    hone_status status;
    char message[1024]; /* one sentence, NUL-terminated; empty after success */
} hone_error;

/* ---- blocking ------------------------------------------------------------------------------- */

/* How work is cut to fit the caches. It changes time and a little scratch memory, never a bit of a result. A member
 * that is 0 stands for the kernels' own default. */
typedef struct hone_blocking {
    size_t packed_bytes; /* packed weights that a thread multiplies at a time: 16 KiB to 64 MiB */
    size_t loss_rows; /* rows whose logits the fused loss holds at a time, each thread: 8 to 512 */
} hone_blocking;

/* One for each type of compute: their kernels differ. All 0: the defaults. */
typedef struct hone_tuning {
    hone_blocking f32, bf16;
} hone_tuning;

/* ---- models --------------------------------------------------------------------------------- */

/* An opened model: weights (kept as they are on disk, memory-mapped), tokenizer, chat template, adapter.
 * Several may be open at once; one model serves one call at a time. */
typedef struct hone_model hone_model;

typedef enum hone_compute {
    HONE_COMPUTE_AUTO, /* bfloat16 where the CPU multiplies it natively, else float32 */
    HONE_COMPUTE_F32,  /* float32 throughout: agrees with PyTorch's float32 */
    HONE_COMPUTE_BF16  /* multiplies in bfloat16, accumulates in float32 */
} hone_compute;

typedef struct hone_model_options {
    int threads; /* 0: all processors this process may use */
    hone_compute compute;
    const char *ops; /* the set of operations: "fused" (NULL: the same) or "naive" */
    /* A shared object with kernels (hone_kernels.h) to be used instead; NULL: none. Its code runs in this process:
     * see hone_kernels_accepted. */
    const char *kernels;
    const char *sabotage; /* a kernel's name: its output is halved, as a control; NULL: none */
    const char
        *weights; /* NULL: as stored; "bf16": linear weights and embedding converted on opening */
    hone_tuning
        tuning; /* e.g. what hone_tuning_read found; the library reads no such file by itself */
} hone_model_options;

typedef struct hone_model_info {
    const char *path, *name, *architecture; /* owned by the model */
    const char *precision;                  /* of most of the weights: "q4_1", "bf16", ... */
    int layers, hidden, ffn, heads, kv_heads, head_dim, vocab, max_positions;
    bool tied_head;        /* the output head is the embedding */
    uint64_t parameters;   /* tied weights counted once */
    uint64_t weight_bytes; /* as stored */
    int threads;
    const char *compute; /* "f32" or "bf16" */
    const char *ops;     /* "fused", "naive" */
    const char *kernels; /* e.g. "AVX-512 BF16" */
} hone_model_info;

/* Opens a .gguf file, a .safetensors file beside its config.json, or a Hugging Face folder. `options` may
 * be NULL. *out is owned by the caller. */
hone_status hone_model_open(const char *path, const hone_model_options *options, hone_model **out,
                            hone_error *err);
void hone_model_free(hone_model **model);
void hone_model_get_info(const hone_model *model, hone_model_info *info);

/* How often a kernel ran since the model was opened. */
typedef struct hone_kernel_calls {
    const char *name; /* NULL past the last kernel; static */
    uint64_t forward, backward;
    bool inherited; /* from hone's own set: the file of kernels has none */
} hone_kernel_calls;
hone_kernel_calls hone_model_get_kernel_calls(const hone_model *model, int kernel);

/* Puts an mlx-lm adapter folder (adapter_config.json, adapters.safetensors) on the model. */
hone_status hone_model_load_adapter(hone_model *model, const char *folder, hone_error *err);

/* ---- text --------------------------------------------------------------------------------------- */

/* Frees what the functions below return in ** arguments. */
void hone_free(void *pointer);

/* Token ids of `size` bytes of text; add_special: with those the model's tokenizer puts around a text. */
hone_status hone_tokenize(const hone_model *model, const char *text, size_t size, bool add_special,
                          int32_t **ids, size_t *count, hone_error *err);

/* Text of token ids; NUL-terminated, *size bytes. */
hone_status hone_detokenize(const hone_model *model, const int32_t *ids, size_t count,
                            bool skip_special, char **text, size_t *size, hone_error *err);

/* Renders a JSON array of {"role", "content"} messages with the model's chat template. */
hone_status hone_render_chat(const hone_model *model, const char *messages_json,
                             bool add_generation_prompt, char **text, size_t *size,
                             hone_error *err);

/* ---- generation --------------------------------------------------------------------------------- */

typedef struct hone_generate_options {
    int max_tokens;      /* 0: 100 */
    double temperature;  /* 0: greedy */
    double top_p, min_p; /* 0: off */
    int top_k;           /* 0: off */
    uint64_t seed;
    bool ignore_eos; /* go on after the end-of-sequence token */
    bool no_cache;   /* run the whole sequence again for every token: slow, for comparison */
    /* Called with each piece of text as it becomes whole UTF-8; returning false stops. May be NULL. */
    bool (*on_text)(void *user, const char *text, size_t size);
    void *user;
} hone_generate_options;

typedef struct hone_generate_result {
    int32_t *ids; /* new tokens [count], the end-of-sequence token included; hone_free */
    size_t count;
    size_t prompt_count;
    double prompt_seconds;     /* up to the first new token, and what is prepared for the others */
    double generation_seconds; /* of the others, count - 1 */
} hone_generate_result;

/* Continues `ids`. result->ids is to be freed by the caller. */
hone_status hone_generate(hone_model *model, const int32_t *ids, size_t count,
                          const hone_generate_options *options, hone_generate_result *result,
                          hone_error *err);

/* Logits after the last of `ids`, float32 [vocab], hone_free; and, where nll is not NULL, the negative
 * log-likelihood of each following token, float32 [count - 1] into the caller's array. */
hone_status hone_logits(hone_model *model, const int32_t *ids, size_t count, float **logits,
                        float *nll, hone_error *err);

/* ---- training ----------------------------------------------------------------------------------- */

typedef enum hone_fine_tune { HONE_FINE_TUNE_LORA, HONE_FINE_TUNE_FULL } hone_fine_tune;

/* What a training that goes on from an adapter takes from the adapter_config.json beside it. */
enum { HONE_RESUME_RANK = 1, HONE_RESUME_SCALE = 2, HONE_RESUME_LAYERS = 4 };

typedef enum hone_packing {
    HONE_PACKING_NONE, /* batch_size samples a step, each as long as it is; nothing is padded */
    HONE_PACKING_ISOLATE, /* exactly batch_size x max_seq_length tokens a step; samples do not see each other */
    HONE_PACKING_CONCAT /* the same, one stream of text cut into rows: attention crosses samples */
} hone_packing;

/* Names and defaults follow mlx_lm.lora where they mean the same. Start from hone_train_defaults(). */
typedef struct hone_train_options {
    const char
        *data; /* folder with train.jsonl (and valid.jsonl, test.jsonl), or one .jsonl file */
    const char *
        adapter_path; /* folder to write: the adapter, or after full fine-tuning the model; NULL: none */
    hone_fine_tune fine_tune_type;
    int num_layers;    /* LoRA on the last so many blocks; -1: all */
    int lora_rank;     /* 8 */
    double lora_scale; /* 20: y += scale * (x A) B */
    const char *const
        *lora_keys; /* e.g. "self_attn.q_proj"; NULL: every linear layer of the block */
    size_t lora_key_count;
    /* Start from this adapters.safetensors, or the one in this folder; NULL: a fresh adapter. Where an
     * adapter_config.json lies beside it, what it says is taken for the HONE_RESUME_ members of resume_takes, and for
     * lora_keys when NULL; what else it contradicts is HONE_ERR_USAGE. */
    const char *resume_adapter_file;
    unsigned resume_takes;
    hone_packing packing;
    bool mask_prompt; /* train on assistant turns (or completions) only */
    /* Keep only the blocks' inputs and run the blocks again in backward: less memory, more time. */
    bool grad_checkpoint;
    /* Most bytes for the whole process, 0: no limit. As many of the first blocks are run again in backward as it takes,
     * and where that is not enough, HONE_ERR_LIMIT with the smallest changes that would be. */
    size_t mem_limit;
    int iters, batch_size, max_seq_length, grad_accumulation_steps;
    int steps_per_eval, val_batches, save_every; /* 0: never; val_batches -1: all */
    double learning_rate, beta1, beta2, eps, weight_decay;
    uint64_t seed;
    bool test; /* after training, the loss over test.jsonl */
} hone_train_options;

hone_train_options hone_train_defaults(void);

/* The memory of a training at its peak, whole process, in bytes by purpose: `total` is the sum of those before it.
 * Pages of files that are mapped into memory count like any other. With packing "none", whose batches are as long as
 * their rows, it is that of a batch as long as the options allow. */
typedef struct hone_train_plan {
    size_t program;              /* program, libraries, tokenizer: resident when planned; and a
                                  * few MiB for what a first step adds */
    size_t data;                 /* the data set's index and rows, likewise; and the batches */
    size_t weights;              /* the model's, as stored */
    size_t tables;               /* its norms, biases and rotary embedding */
    size_t trained;              /* adapters, or float32 copies of all weights */
    size_t gradients;            /* of what is trained */
    size_t moments;              /* AdamW's two */
    size_t saving;               /* the copy that is written to disk */
    size_t activations, scratch; /* working memory: kept for backward, and not */
    size_t total;
    /* Working memory when the loss is computed, activations included: no more than the above. */
    size_t loss;
    int blocks, recomputed; /* blocks that backward visits, and of these those that it runs again */
    size_t total_kept, total_recomputed; /* with none run again; with grad_checkpoint */
} hone_train_plan;

/* Plans without taking any of the memory of training. The data set is opened; nothing is written. */
hone_status hone_train_plan_memory(hone_model *model, const hone_train_options *options,
                                   hone_train_plan *plan, hone_error *err);

typedef enum hone_train_event_kind {
    HONE_TRAIN_START,      /* data read, memory planned, before the first step */
    HONE_TRAIN_STEP,       /* after every optimizer step */
    HONE_TRAIN_VALIDATION, /* `loss`, `seconds` */
    HONE_TRAIN_TEST,       /* `loss`, `seconds` */
    HONE_TRAIN_SAVED,      /* `path` */
    /* A save before the last one failed: `path`, `problem`. The training goes on. */
    HONE_TRAIN_SAVE_FAILED,
    HONE_TRAIN_VALIDATING, /* before each batch of a validation: `batch`, `batches` */
    HONE_TRAIN_TESTING     /* before each batch of a test, likewise */
} hone_train_event_kind;

typedef struct hone_train_event {
    hone_train_event_kind kind;
    int iter, iters;  /* steps done, steps to do */
    double loss;      /* mean over the trained tokens of the step */
    double grad_norm; /* before the update */
    double learning_rate;
    double seconds;                 /* of this step, validation or test */
    uint64_t tokens;                /* processed in this step, padding not counted */
    uint64_t trained_tokens;        /* with a label, since the start */
    uint64_t trainable, parameters; /* START */
    uint64_t samples;               /* rows of train.jsonl */
    uint64_t skipped;               /* of them, so far in the first epoch: with nothing to learn */
    uint64_t truncated;             /* and cut to max_seq_length */
    uint64_t arena_bytes;           /* START: activations and scratch, planned */
    const hone_train_plan *plan;    /* START, when there are steps to do; else NULL */
    size_t peak_rss;                /* bytes, whole process, so far */
    const char *path;               /* SAVED, SAVE_FAILED */
    const char *problem;            /* SAVE_FAILED: one sentence */
    int batch, batches;             /* VALIDATING, TESTING: from 1; batches 0: not known */
} hone_train_event;

typedef struct hone_train_callbacks {
    /* Returning false stops after this step, with everything saved (HONE_ERR_INTERRUPTED). NULL: none. */
    bool (*on_event)(void *user, const hone_train_event *event);
    /* Called before each step; returning false stops in the same way. NULL: none. */
    bool (*before_step)(void *user, int iter);
    /* Asked before each batch of a validation or test; returning false stops in the same way. NULL: none. */
    bool (*keep_going)(void *user);
    void *user;
} hone_train_callbacks;

typedef struct hone_train_result {
    int iters;
    double final_loss; /* NaN: nothing was trained */
    double
        tokens_per_sec_median; /* over the steps, the first two left out where there are more than four */
    size_t peak_rss;
} hone_train_result;

/* Fine-tunes. The model keeps the adapter (or the trained weights) afterwards; an adapter that it had gives way to
 * the new one. With iters 0 nothing is trained or written: `test` alone. `callbacks` and `result` may be NULL. */
hone_status hone_train(hone_model *model, const hone_train_options *options,
                       const hone_train_callbacks *callbacks, hone_train_result *result,
                       hone_error *err);

/* A row of data as the trainer sees it. */
typedef struct hone_data_row {
    size_t index;       /* from 0, blank lines not counted */
    const int32_t *ids; /* [count], before anything is cut */
    const bool *learnt; /* [count]: whether the token is a target */
    size_t count;
    size_t kept,
        labels; /* tokens within max_seq_length, targets among them; 0 labels: the row is skipped */
    const char *fault; /* one sentence with file and line, and no tokens; NULL: the row is good */
} hone_data_row;

/* Shows every row of options->data (a .jsonl file, or train.jsonl in a folder) to on_row, whose false ends it. Of the
 * options, mask_prompt and max_seq_length count. Faulty rows are shown, too, and are no error here. */
hone_status hone_data_visit(const hone_model *model, const hone_train_options *options,
                            bool (*on_row)(void *user, const hone_data_row *row), void *user,
                            hone_error *err);

/* ---- this machine ------------------------------------------------------------------------------- */

typedef struct hone_machine_info {
    const char *version; /* of hone */
    const char *cpu;     /* model name */
    const char
        *tier; /* kernels in use: "scalar", "AVX2", "AVX-512", "AVX-512 BF16", "AMX BF16", ... */
    const char *gemm_f32, *gemm_bf16, *vectors; /* variants in use */
    const char *compiler;
    int threads;
    size_t memory_available, l2_bytes, last_level_bytes;
    hone_tuning defaults; /* of the kernels in use */
} hone_machine_info;

/* Strings are static. Fails when HONE_CPU names no tier. */
hone_status hone_machine_get_info(hone_machine_info *info, hone_error *err);

/* Where the program keeps this machine's tuning: $HONE_HOME/tuning.json, else below the user's cache. hone_free; NULL
 * when out of memory. */
char *hone_tuning_path(void);

/* Reads what hone_tuning_write wrote. *found is false and *tuning all 0 where there is no file, or it is of another
 * processor, other kernels or another version of hone. *tuning is all 0 after an error, too, so that who reads on has
 * the defaults. */
hone_status hone_tuning_read(const char *path, hone_tuning *tuning, bool *found, hone_error *err);

/* Writes it for this machine, atomically; missing folders are made. */
hone_status hone_tuning_write(const char *path, const hone_tuning *tuning, hone_error *err);

/* The models of the evaluation's table and where they are. */
typedef struct hone_known_model {
    const char *name; /* as the report shows it, e.g. "SmolLM2-135M-Instruct 4-bit" */
    const char *hub;  /* repository on the hub, NULL if it comes another way */
    const char *size; /* "135M" */
    char *path;       /* where it is on this machine; NULL when it is not here */
} hone_known_model;

/* *models [*count], to be freed with hone_known_models_free. Looks in $HONE_HOME/models and the hub's cache. */
hone_status hone_known_models(hone_known_model **models, size_t *count, hone_error *err);
void hone_known_models_free(hone_known_model **models, size_t count);

/* The one that `wanted` means: its name, its hub name, its path, or the beginning of its own name in any case, whole
 * parts of it ("qwen3", "SmolLM2", "phi-3.5"). NULL when it is none of them, or more than one. */
const hone_known_model *hone_known_model_find(const hone_known_model *models, size_t count,
                                              const char *wanted);

/* ---- evaluation (libhone_lab) ------------------------------------------------------------------- */

enum { HONE_EVAL_MAX_PAIRS = 1024 };

typedef struct hone_eval_options {
    /* A file of kernels in C (hone_kernels.h) to be measured as the candidate, compiled and run in a sandbox; NULL: the
     * shipped kernels are. */
    const char *kernels;
    const char *compiler; /* gcc or clang; NULL: cc */
    const char *flags;    /* of optimization; NULL: "-O3 -march=native" */
    const char *output;   /* where the compiled kernels go when they were accepted; NULL: nowhere */
    bool unsafe;          /* go on where this system cannot confine foreign code */
    bool micro, macro;    /* both false: both */
    bool quick;           /* fewer shapes, steps and controls: for searching, 45 s */
    const char *const *models; /* paths to evaluate on; NULL: every known model that is here */
    size_t model_count;
    const char *data; /* folder with train.jsonl; NULL: $HONE_HOME/data/wordnet */
    const char *const
        *peers; /* [peer_count] commands that train like `hone train --json --lockstep` */
    size_t peer_count;
    double budget; /* seconds that all of it may take; 0: 300, or 41 when quick */
    int steps; /* of macro fine-tuning for each set; 0: as many as the figures take; at most HONE_EVAL_MAX_PAIRS */
    int trials;              /* interleaved micro pairs at least; 0: 8; 5 to HONE_EVAL_MAX_PAIRS */
    int batch_size, seq_len; /* of macro; 0: 1 and 256, or 64 when quick */
    uint64_t seed; /* of contents, shapes, adapters and order; 0: drawn, and told in the report */
    const char *
        worker; /* path of the `hone` program, which runs all that is measured in processes of its own */
    hone_tuning tuning; /* of micro, for both sets; the worker knows its own */
    bool plain;         /* lines in ASCII alone */
    /* One line of the running report (UTF-8, no newline) as it becomes known; returning false stops and marks the
     * rest as not tested. NULL: none. */
    bool (*on_line)(void *user, const char *line);
    /* What is running now and how far all of it is, 0..1: for a progress bar. Called at least twice a second while
     * a model is fine-tuned; returning false stops as above. NULL: none. */
    bool (*on_progress)(void *user, const char *what, double fraction);
    void *user;
} hone_eval_options;

typedef struct hone_eval_report hone_eval_report;

/* Level 1: each kernel against the naive baseline. Level 2: real models really fine-tuned with both. *out is
 * owned by the caller and exists, as far as it got, also after HONE_ERR_INTERRUPTED. */
hone_status hone_eval(const hone_eval_options *options, hone_eval_report **out, hone_error *err);
void hone_eval_report_free(hone_eval_report **report);

typedef struct hone_eval_score {
    bool valid;                   /* false: a kernel was wrong; overall is 0 */
    double micro, macro, overall; /* NaN where not measured */
    double
        kernel_speedup; /* over naive, geometric mean of the six kernels; NaN where not measured */
    double training_speedup; /* over naive, geometric mean of the models; NaN where not measured */
    int models_tested,
        rows_failed;   /* real models fine-tuned with both sets; trainings that failed */
    int models_listed; /* different models asked for (or known), tested or not */
    bool
        accepted; /* the file of kernels was found right in both levels; true for the built-in ones */
    double
        worst_loss_diff; /* between the candidate's and the naive losses over the last quarter of the steps, in the
                             * model where it is largest; NaN where not measured or a training failed */
} hone_eval_score;
hone_eval_score hone_eval_report_score(const hone_eval_report *report);

/* The report as JSON (docs/evaluation.md gives the schema), written atomically. */
hone_status hone_eval_report_write_json(const hone_eval_report *report, const char *path,
                                        hone_error *err);

/* The report as one page with charts that needs nothing else, written atomically. */
hone_status hone_eval_report_write_html(const hone_eval_report *report, const char *path,
                                        hone_error *err);

/* What changed from one report file to another. Both are taken for foreign: HONE_ERR_FORMAT names the place that is
 * malformed. *out is owned by the caller. */
typedef struct hone_eval_changes hone_eval_changes;
hone_status hone_eval_compare(const char *a, const char *b, hone_eval_changes **out,
                              hone_error *err);
void hone_eval_changes_free(hone_eval_changes **changes);
/* As lines: see hone_eval_options. False when on_line said so. */
bool hone_eval_changes_print(const hone_eval_changes *changes, bool plain,
                             bool (*on_line)(void *user, const char *line), void *user);
hone_status hone_eval_changes_write_json(const hone_eval_changes *changes, const char *path,
                                         hone_error *err);

/* Whether hone_eval has accepted this shared object of kernels on this machine: it is known by its contents. *copy: of
 * what was looked at, in memory that nobody can change any more, to be loaded as /proc/self/fd/<*copy> whatever has
 * become of the file since; the caller closes it. -1 on failure. */
hone_status hone_kernels_accepted(const char *path, bool *accepted, int *copy, hone_error *err);

/* ---- confinement (libhone_lab) ------------------------------------------------------------------ */

/* To be called by a process before it loads kernels that are not trusted: starts the team of `threads` (0: all
 * processors) that training will use, and gives up every system call that computing and files do not need. A later one
 * ends the process with SIGSYS, so it cannot have more threads, programs, sockets or signals any more. Cannot be
 * undone. */
hone_status hone_confine(int threads, hone_error *err);

/* The process that hone_eval starts as "PROGRAM confined kernel-worker --threads N KERNELS" to run kernels: those of a
 * built-in set ("naive", "fused") or of a shared object (a path), on descriptors that it hands over. Returns when it is
 * told to end. */
hone_status hone_kernel_worker(const char *kernels, int threads, hone_error *err);

/* ---- tuning (libhone_lab) ----------------------------------------------------------------------- */

/* One value of one constant against what was the best before. */
typedef struct hone_tune_trial {
    const char *constant; /* "packed_bytes", "loss_rows"; "all": what was chosen, together */
    size_t value, base;   /* 0 for "all" */
    /* Time with `base` over time with `value`: more than 1 is faster. The median over pairs and its 95% interval; NaN
     * when there were too few. */
    double gain, low, high;
    int pairs;
} hone_tune_trial;

typedef struct hone_tune_options {
    hone_compute compute; /* whose blocking; AUTO: that in which models compute here */
    int threads;          /* 0: all processors */
    double seconds;       /* it ends by then; 0: 45. 1 to 60 */
    void (*on_trial)(void *user,
                     const hone_tune_trial *trial); /* as they become known; NULL: none */
    /* Called before each of many short measurements, fraction 0..1 of the time; returning false stops. NULL: none. */
    bool (*on_progress)(void *user, const char *what, double fraction);
    void *user;
} hone_tune_options;

enum { HONE_TUNE_MAX_TRIALS = 16 };

typedef struct hone_tune_result {
    hone_compute compute; /* F32 or BF16 */
    int threads, rows;    /* of the products and of the loss */
    hone_blocking base;   /* the defaults */
    hone_blocking chosen; /* all 0: nothing was clearly faster than the defaults */
    hone_tune_trial trials[HONE_TUNE_MAX_TRIALS];
    size_t trial_count;
    double seconds;
} hone_tune_result;

/* Measures blockings on this machine, on products and losses with the shapes of SmolLM2-135M. What is chosen was
 * clearly faster than the defaults twice, the second time in fresh measurements of its own, the trial "all". Writes
 * nothing. HONE_ERR_INTERRUPTED when on_progress said so. */
hone_status hone_tune(const hone_tune_options *options, hone_tune_result *result, hone_error *err);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
