/* cli/common: what the verbs share: options, messages, numbers, the terminal, signals.
 *
 * A verb describes itself in a hone_cli_verb and starts with
 *     hone_cli_arguments arguments;
 *     int code = hone_cli_parse(&verb, argc, argv, &arguments);
 *     if (code != HONE_CLI_GO) return code;
 * String options (POPT_ARG_STRING) are allocated by popt; hone_cli_arguments_free frees them.
 */
#ifndef HONE_CLI_COMMON_H
#define HONE_CLI_COMMON_H

#include <hone.h>
#include <popt.h>
#include <stdio.h>

enum {
    HONE_CLI_GO = -1, /* no exit status yet */
    HONE_EXIT_OK = 0,
    HONE_EXIT_FAILURE = 1,
    HONE_EXIT_USAGE = 2,
    HONE_EXIT_GATE = 3
};

/* ---- options ---- */

typedef struct hone_cli_verb {
    const char *name;      /* "train" */
    const char *arguments; /* what follows the name in the usage line: "--data DIR [OPTION]..." */
    const char *about;     /* a paragraph or two, wrapped */
    const char *examples;  /* lines indented by two spaces */
    struct poptOption *options; /* ends with POPT_TABLEEND; each with a description */
    int max_arguments;          /* arguments that are no options, at most */
} hone_cli_verb;

typedef struct hone_cli_arguments {
    const char *const *items; /* [count] arguments that are no options */
    int count;
    const hone_cli_verb *verb;
    const char **memory;
} hone_cli_arguments;

/* Reads the options. Prints the help for --help and -h (HONE_EXIT_OK), a sentence for what is wrong
 * (HONE_EXIT_USAGE, with the nearest option's name), else returns HONE_CLI_GO. Unless it returns HONE_CLI_GO
 * everything is freed already. */
int hone_cli_parse(const hone_cli_verb *verb, int argc, const char **argv,
                   hone_cli_arguments *arguments);
void hone_cli_arguments_free(hone_cli_arguments *arguments);

/* The word of `words` [count] that `word` was probably meant to be; NULL when none is near. */
const char *hone_cli_nearest(const char *word, const char *const *words, int count);

/* ---- messages ---- */

/* "hone VERB: sentence" on standard error; returns the exit status that belongs to the error. */
int hone_cli_fail(const char *verb, const hone_error *err);

/* The same for a mistake on the command line, with a hint at --help; returns HONE_EXIT_USAGE. */
int hone_cli_usage(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes text that may come from a file or a model: control characters, which would change a terminal, become '?', but
 * for line ends and tabs. False when that failed. */
bool hone_cli_put_text(FILE *to, const char *text, size_t size);

/* Flushes standard output: false when that failed now or before. */
bool hone_cli_flush(void);

/* Flushes standard output; a failed write (full disk, closed pipe) is HONE_EXIT_FAILURE, else `code`. */
int hone_cli_finish(const char *verb, int code);

/* HONE_CLI_GO when a file can be written at `path`, which may be NULL; else its failure, told: before the work is done,
 * not after it. */
int hone_cli_check_output(const char *verb, const char *path);

/* ---- numbers and words ---- */

/* "400M", "1.5G", "4096": bytes, K, M, G, T being powers of 1024. False when it is no size. */
bool hone_cli_parse_size(const char *text, size_t *out);

/* "90", "90s", "5m", "1.5h": seconds, more than 0. False when it is no time. */
bool hone_cli_parse_seconds(const char *text, double *out);

/* A whole number from 0 to 2^64 - 1; NULL is 0. */
bool hone_cli_parse_seed(const char *text, uint64_t *out);

/* Tokens of the longest row of --max-seq-length that the model has positions for. */
int hone_cli_row_length(int max_seq_length, const hone_model_info *model);

/* Three significant digits with k, M, G: "1.09M". Returns `out`. */
char *hone_cli_si(double value, char out[16]);

/* "48 ms", "3.2 s", "4 min 10 s". Returns `out`. */
char *hone_cli_duration(double seconds, char out[32]);

/* Splits "a,b" at commas; empty parts are left out. One block: free the array alone. NULL when out of memory. */
const char **hone_cli_split(const char *text, size_t *count);

/* ---- input ---- */

/* All of `path` ("-": standard input), at most `limit` bytes, NUL-terminated; the caller frees. NULL after a message
 * in *err. */
char *hone_cli_read(const char *path, size_t limit, size_t *size, hone_error *err);

/* A model's path: `name` where it exists, else the known model of that name or hub repository; NULL: the model that
 * `make run` fetches. The caller frees. NULL after a message in *err. */
char *hone_cli_resolve_model(const char *name, hone_error *err);

/* What `hone tune` kept for this machine; all 0 where there is nothing. A file that cannot be used is warned of on
 * standard error, and no reason to stop. *found (may be NULL): whether there is something. */
hone_tuning hone_cli_tuning(const char *verb, bool *found);

/* "256 KiB of packed weights, 128 rows of loss". Returns `out`. */
char *hone_cli_blocking(const hone_blocking *blocking, char out[96]);

/* "auto", "f32", "bf16"; false for another word. NULL is auto. */
bool hone_cli_parse_compute(const char *word, hone_compute *out);

/* ---- terminal ---- */

/* Whether `stream` is a terminal that takes colours: not with NO_COLOR, not with TERM=dumb. */
bool hone_cli_color(FILE *stream);

/* A line on standard error that is written over and over; nothing when that is no terminal. */
typedef struct hone_cli_progress {
    bool on, shown;
    double started, drawn; /* seconds */
} hone_cli_progress;

hone_cli_progress hone_cli_progress_start(void);
/* At most ten times a second. fraction 0..1; time left is estimated from it. */
void hone_cli_progress_show(hone_cli_progress *progress, const char *what, double fraction);
void hone_cli_progress_clear(hone_cli_progress *progress);

/* ---- signals ---- */

/* From now on SIGINT, SIGTERM and SIGHUP (unless nohup has it ignored) set a flag; a second one ends the program at
 * once. Writing to a closed pipe fails and ends nothing. */
void hone_cli_catch_signals(void);

/* The line to be written to standard error when the first of them comes; NULL, as at first: none. Static. */
void hone_cli_say_on_signal(const char *line);
bool hone_cli_interrupted(void);

#endif
