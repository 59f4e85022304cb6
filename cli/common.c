/* cli/common: see common.h. */
#define _POSIX_C_SOURCE 200809L
#include "common.h"

#include <ctype.h>
#include <errno.h>
#include <libgen.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- messages ---- */

static void print_name(const char *verb) { fprintf(stderr, verb ? "hone %s: " : "hone: ", verb); }

bool hone_cli_put_text(FILE *to, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)text[i],
                            next = i + 1 < size ? (unsigned char)text[i + 1] : 0;
        bool c1 = c == 0xc2 && next >= 0x80 && next < 0xa0; /* U+0080 to U+009F */
        bool control = c1 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
        if (putc(control ? '?' : c, to) == EOF) return false;
        i += c1;
    }
    return true;
}

static void print_sentence(const char *text) {
    hone_cli_put_text(stderr, text, strlen(text));
    fputc('\n', stderr);
}

int hone_cli_fail(const char *verb, const hone_error *err) {
    print_name(verb);
    print_sentence(err->message[0] ? err->message : "failed, for a reason that was not given");
    return err->status == HONE_ERR_USAGE ? HONE_EXIT_USAGE : HONE_EXIT_FAILURE;
}

int hone_cli_usage(const char *verb, const char *format, ...) {
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    print_name(verb);
    print_sentence(text);
    fprintf(stderr, "Try `hone %s%s--help`.\n", verb ? verb : "", verb ? " " : "");
    return HONE_EXIT_USAGE;
}

static int output_errno; /* of the first failure */

bool hone_cli_flush(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return true;
    if (output_errno == 0) output_errno = errno;
    return false;
}

int hone_cli_finish(const char *verb, int code) {
    if (hone_cli_flush()) return code;
    hone_error err = {.status = HONE_ERR_IO};
    snprintf(err.message, sizeof err.message, "cannot write to standard output: %s",
             strerror(output_errno));
    return hone_cli_fail(verb, &err);
}

int hone_cli_check_output(const char *verb, const char *path) {
    hone_error err = {.status = HONE_ERR_IO};
    char *copy = path ? strdup(path) : NULL;
    if (!copy) return HONE_CLI_GO;
    struct stat st;
    bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    errno = folder ? EISDIR : 0;
    if (folder || access(dirname(copy), W_OK | X_OK) != 0)
        snprintf(err.message, sizeof err.message, "%s: cannot be written there: %s", path,
                 strerror(errno));
    free(copy);
    return err.message[0] ? hone_cli_fail(verb, &err) : HONE_CLI_GO;
}

/* ---- options ---- */

enum { HELP_OPTION = 0x10000, HELP_COLUMN = 30 };

static int option_count(const struct poptOption *options) {
    int n = 0;
    while (options[n].longName) n++;
    return n;
}

/* A description; its further lines start below its first. Defaults of numbers are added. */
static void print_description(const struct poptOption *o) {
    for (const char *c = o->descrip; *c; c++) {
        putchar(*c);
        if (*c == '\n') printf("%*s", HELP_COLUMN, "");
    }
    if (o->argInfo & POPT_ARGFLAG_SHOW_DEFAULT) {
        bool whole = (o->argInfo & POPT_ARG_MASK) == POPT_ARG_INT;
        if (whole)
            printf(" (default: %d)", *(const int *)o->arg);
        else
            printf(" (default: %g)", *(const double *)o->arg);
    }
    putchar('\n');
}

static void print_help(const hone_cli_verb *verb) {
    printf("usage: hone %s %s\n\n%s\n", verb->name, verb->arguments, verb->about);
    if (option_count(verb->options)) printf("\nOptions:\n");
    for (const struct poptOption *o = verb->options; o->longName; o++) {
        char left[64], brief[8] = "";
        if (o->shortName) snprintf(brief, sizeof brief, "-%c, ", o->shortName);
        snprintf(left, sizeof left, "  %s--%s%s%s", brief, o->longName, o->argDescrip ? " " : "",
                 o->argDescrip ? o->argDescrip : "");
        if (strlen(left) >= HELP_COLUMN)
            printf("%s\n%*s", left, HELP_COLUMN, "");
        else
            printf("%-*s", HELP_COLUMN, left);
        print_description(o);
    }
    printf("  -h, --help                  this text\n");
    if (verb->examples) printf("\nExamples:\n%s", verb->examples);
}

/* Damerau-Levenshtein distance (optimal string alignment), words cut to 40 bytes. */
static int distance(const char *a, const char *b) {
    enum { MAX = 40 };
    int n = (int)strnlen(a, MAX), m = (int)strnlen(b, MAX), d[MAX + 1][MAX + 1];
    for (int i = 0; i <= n; i++)
        for (int j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

const char *hone_cli_nearest(const char *word, const char *const *words, int count) {
    const char *best = NULL;
    int best_distance = 1 + (int)strlen(word) / 3;
    for (int i = 0; i < count; i++) {
        int away = distance(word, words[i]);
        bool begins = strlen(word) >= 3 && strncmp(word, words[i], strlen(word)) == 0;
        if (begins && !best) best = words[i];
        if (away > best_distance) continue;
        best = words[i];
        best_distance = away - 1;
    }
    return best;
}

static int unknown_option(const hone_cli_verb *verb, const char *bad) {
    char word[64];
    const char *start = bad + strspn(bad, "-");
    snprintf(word, sizeof word, "%.*s", (int)strcspn(start, "="), start);
    int count = option_count(verb->options);
    const char **names = calloc((size_t)count + 1, sizeof *names);
    const char *nearest = NULL;
    if (names) {
        for (int i = 0; i < count; i++) names[i] = verb->options[i].longName;
        nearest = hone_cli_nearest(word, names, count);
    }
    free(names);
    if (nearest)
        return hone_cli_usage(verb->name, "there is no option %s; did you mean --%s?", bad,
                              nearest);
    return hone_cli_usage(verb->name, "there is no option %s", bad);
}

/* What --word or -w takes: POPT_ARG_INT, POPT_ARG_DOUBLE, ...; POPT_ARG_NONE for what is no option. */
static unsigned kind_of(const hone_cli_verb *verb, const char *word, size_t length) {
    for (const struct poptOption *o = verb->options; o->longName; o++)
        if (length == 2 && word[0] == '-' && word[1] == o->shortName)
            return o->argInfo & POPT_ARG_MASK;
        else if (length > 2 && strncmp(word, "--", 2) == 0 && strlen(o->longName) == length - 2 &&
                 strncmp(o->longName, word + 2, length - 2) == 0)
            return o->argInfo & POPT_ARG_MASK;
    return POPT_ARG_NONE;
}

/* popt names "--option=value", or the value alone where that stood apart: then the option is what stood before it.
 * `what` NULL: it is no number. */
static int bad_number(const hone_cli_verb *verb, int argc, const char **argv, const char *bad,
                      const char *what) {
    size_t length = strcspn(bad, "=");
    const char *option = NULL, *value = bad;
    if (bad[length]) {
        option = bad;
        value = bad + length + 1;
    }
    for (int i = 2; i < argc && !option; i++)
        if (strcmp(argv[i], bad) == 0) {
            option = argv[i - 1];
            length = strlen(option);
        }
    if (!option) return hone_cli_usage(verb->name, "%s: %s", bad, what ? what : "no number");
    if (!what)
        what = kind_of(verb, option, length) == POPT_ARG_INT ? "expected a whole number"
                                                             : "expected a number";
    return hone_cli_usage(verb->name, "%.*s %s: %s", (int)length, option, value, what);
}

/* popt takes an empty value, as of a variable that a script did not set, for 0, and 010 for 8. */
static int check_numbers(const hone_cli_verb *verb, int argc, const char **argv) {
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *word = argv[i];
        size_t length = strcspn(word, "=");
        unsigned kind = kind_of(verb, word, length);
        if (kind == POPT_ARG_NONE) continue;
        const char *value = word[length]   ? word + length + 1
                            : i + 1 < argc ? argv[++i] /* whatever it looks like */
                                           : "";
        bool number = kind == POPT_ARG_INT || kind == POPT_ARG_DOUBLE;
        if (number && !*value)
            return hone_cli_usage(verb->name, "%.*s: the value is empty", (int)length, word);
        if (kind == POPT_ARG_INT && value[0] == '0' && value[1] != '\0')
            return hone_cli_usage(verb->name,
                                  "%.*s %s: expected a whole number without a 0 in front",
                                  (int)length, word, value);
    }
    return HONE_CLI_GO;
}

static int bad_option(const hone_cli_verb *verb, poptContext context, int result, int argc,
                      const char **argv) {
    const char *bad = poptBadOption(context, 0);
    switch (result) {
    case POPT_ERROR_BADOPT:
        return unknown_option(verb, bad);
    case POPT_ERROR_NOARG:
        return hone_cli_usage(verb->name, "%s needs a value", bad);
    case POPT_ERROR_BADNUMBER:
        return bad_number(verb, argc, argv, bad, NULL);
    case POPT_ERROR_OVERFLOW:
        return bad_number(verb, argc, argv, bad, "the number is too large");
    default:
        return hone_cli_usage(verb->name, "%s: %s", bad, poptStrerror(result));
    }
}

/* Moves the arguments that are no options into arguments->memory. */
static int take_arguments(poptContext context, hone_cli_arguments *arguments) {
    const hone_cli_verb *verb = arguments->verb;
    const char **left = poptGetArgs(context);
    int count = 0;
    size_t text_size = 0;
    for (; left && left[count]; count++) text_size += strlen(left[count]) + 1;
    if (count > verb->max_arguments)
        return hone_cli_usage(verb->name, "\"%s\" is one argument too many",
                              left[verb->max_arguments]);
    /* popt frees its copies: ours follow the array, in the same block. */
    arguments->memory = malloc(((size_t)count + 1) * sizeof *arguments->memory + text_size);
    if (!arguments->memory) {
        hone_error err = {HONE_ERR_MEMORY, "out of memory"};
        return hone_cli_fail(verb->name, &err);
    }
    char *text = (char *)(arguments->memory + count + 1);
    for (int i = 0; i < count; i++) {
        size_t size = strlen(left[i]) + 1;
        arguments->memory[i] = memcpy(text, left[i], size);
        text += size;
    }
    arguments->memory[count] = NULL;
    arguments->items = arguments->memory;
    arguments->count = count;
    return HONE_CLI_GO;
}

int hone_cli_parse(const hone_cli_verb *verb, int argc, const char **argv,
                   hone_cli_arguments *arguments) {
    *arguments = (hone_cli_arguments){.verb = verb};
    struct poptOption table[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, verb->options, 0, NULL, NULL},
        {"help", 'h', POPT_ARG_NONE, NULL, HELP_OPTION, NULL, NULL},
        POPT_TABLEEND,
    };
    poptContext context = poptGetContext("hone", argc, argv, table, 0);
    int result = 0;
    /* Values of options' `val` other than help's are of no interest: popt has stored the arguments. */
    do result = poptGetNextOpt(context);
    while (result > 0 && result != HELP_OPTION);
    int code = HONE_CLI_GO;
    if (result == HELP_OPTION) {
        print_help(verb);
        code = HONE_EXIT_OK;
    } else if (result < -1) {
        code = bad_option(verb, context, result, argc, argv);
    } else {
        code = check_numbers(verb, argc, argv);
        if (code == HONE_CLI_GO) code = take_arguments(context, arguments);
    }
    if (code != HONE_CLI_GO) hone_cli_arguments_free(arguments);
    poptFreeContext(context);
    return code;
}

void hone_cli_arguments_free(hone_cli_arguments *arguments) {
    if (!arguments->verb) return;
    for (struct poptOption *o = arguments->verb->options; o->longName; o++)
        if ((o->argInfo & POPT_ARG_MASK) == POPT_ARG_STRING) {
            char **value = o->arg;
            free(*value);
            *value = NULL;
        }
    free(arguments->memory);
    *arguments = (hone_cli_arguments){0};
}

/* ---- numbers and words ---- */

int hone_cli_row_length(int max_seq_length, const hone_model_info *model) {
    return max_seq_length < model->max_positions ? max_seq_length : model->max_positions;
}

bool hone_cli_parse_size(const char *text, size_t *out) {
    char *end;
    if (!isdigit((unsigned char)text[0])) return false;
    errno = 0;
    double value = strtod(text, &end);
    if (strspn(text, "0123456789.") != (size_t)(end - text)) return false; /* 0x10, 1e3 */
    static const char units[] = "KMGT";
    if (*end && *end != 'B') {
        const char *unit = strchr(units, toupper((unsigned char)*end));
        if (!unit) return false;
        value = ldexp(value, 10 * (int)(unit - units + 1));
        end++;
        if (*end == 'i') end++;
    }
    if (*end == 'B') end++;
    if (*end || errno || !(value < ldexp(1, 63))) return false;
    *out = (size_t)value;
    return true;
}

bool hone_cli_parse_seconds(const char *text, double *out) {
    char *end;
    if (!isdigit((unsigned char)text[0])) return false;
    double value = strtod(text, &end);
    if (strspn(text, "0123456789.") != (size_t)(end - text)) return false;
    double unit = *end == 'h' ? 3600 : *end == 'm' ? 60 : 1;
    if (*end == 'h' || *end == 'm' || *end == 's') end++;
    *out = value * unit;
    return *end == 0 && value > 0 && *out < 1e9;
}

bool hone_cli_parse_seed(const char *text, uint64_t *out) {
    char *end;
    *out = 0;
    if (!text) return true;
    if (!isdigit((unsigned char)text[0])) return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end || errno) return false;
    *out = value;
    return true;
}

char *hone_cli_si(double value, char out[16]) {
    static const char *const units[] = {"", "k", "M", "G", "T"};
    int unit = 0;
    while (fabs(value) >= 999.5 && unit < 4) {
        value /= 1000;
        unit++;
    }
    int decimals = fabs(value) >= 99.95 ? 0 : fabs(value) >= 9.995 ? 1 : 2;
    snprintf(out, 16, "%.*f%s", unit == 0 && value == floor(value) ? 0 : decimals, value,
             units[unit]);
    return out;
}

char *hone_cli_duration(double seconds, char out[32]) {
    long whole = seconds < 1e9 ? lround(seconds) : 1000000000L;
    if (seconds < 0.9995)
        snprintf(out, 32, "%.0f ms", seconds * 1e3);
    else if (seconds < 59.95)
        snprintf(out, 32, "%.1f s", seconds);
    else if (whole < 3600)
        snprintf(out, 32, "%ld min %ld s", whole / 60, whole % 60);
    else
        snprintf(out, 32, "%ld h %ld min", whole / 3600, whole % 3600 / 60);
    return out;
}

const char **hone_cli_split(const char *text, size_t *count) {
    size_t size = strlen(text) + 1, parts = 1;
    for (const char *c = text; *c; c++) parts += *c == ',';
    const char **list = malloc(parts * sizeof *list + size);
    if (!list) return NULL;
    char *copy = memcpy((char *)(list + parts), text, size);
    *count = 0;
    for (char *rest = NULL, *word = strtok_r(copy, ",", &rest); word;
         word = strtok_r(NULL, ",", &rest))
        list[(*count)++] = word;
    return list;
}

bool hone_cli_parse_compute(const char *word, hone_compute *out) {
    static const char *const words[] = {"auto", "f32", "bf16"};
    static const hone_compute values[] = {HONE_COMPUTE_AUTO, HONE_COMPUTE_F32, HONE_COMPUTE_BF16};
    for (int i = 0; i < 3; i++)
        if (strcmp(word ? word : "auto", words[i]) == 0) {
            *out = values[i];
            return true;
        }
    return false;
}

/* ---- input ---- */

static char *read_failed(hone_error *err, hone_status status, char *memory, const char *path,
                         const char *why) {
    free(memory);
    err->status = status;
    snprintf(err->message, sizeof err->message, "%s: %s",
             strcmp(path, "-") == 0 ? "standard input" : path, why);
    return NULL;
}

char *hone_cli_read(const char *path, size_t limit, size_t *size, hone_error *err) {
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (!file) return read_failed(err, HONE_ERR_IO, NULL, path, strerror(errno));
    char *text = NULL;
    size_t used = 0, capacity = 0;
    const char *why = NULL;
    for (;;) {
        if (capacity - used < 2) {
            capacity = capacity ? 2 * capacity : 1 << 14;
            char *grown = realloc(text, capacity);
            if (!grown) {
                why = "out of memory";
                break;
            }
            text = grown;
        }
        size_t got = fread(text + used, 1, capacity - used - 1, file);
        used += got;
        if (used > limit) why = "longer than is allowed here";
        if (ferror(file)) why = strerror(errno);
        if (why || got == 0) break;
    }
    if (!standard) fclose(file);
    if (why) return read_failed(err, HONE_ERR_IO, text, path, why);
    text[used] = 0;
    *size = used;
    return text;
}

char *hone_cli_resolve_model(const char *name, hone_error *err) {
    struct stat st;
    if (name && stat(name, &st) == 0) return strdup(name);
    hone_known_model *models = NULL;
    size_t count = 0;
    if (hone_known_models(&models, &count, err) != HONE_OK) return NULL;
    /* the first of the table is the one that `make run` fetches */
    const hone_known_model *model = name ? hone_known_model_find(models, count, name) : models;
    char *path = model && model->path ? strdup(model->path) : NULL;
    bool known = model != NULL;
    hone_known_models_free(&models, count);
    if (path) return path;
    err->status = HONE_ERR_IO;
    if (!name)
        snprintf(err->message, sizeof err->message,
                 "no model: give one with --model PATH, or fetch the small one with `make run`");
    else if (known)
        snprintf(err->message, sizeof err->message,
                 "%s: this model is not on this machine; give the path of a copy", name);
    else
        snprintf(err->message, sizeof err->message,
                 "%s: no such file or folder, and no model of that name; `hone models` lists those "
                 "it knows",
                 name);
    return NULL;
}

hone_tuning hone_cli_tuning(const char *verb, bool *found) {
    hone_tuning tuning = {0};
    hone_error err = {.status = HONE_OK};
    bool is_here = false;
    char *path = hone_tuning_path();
    if (path && hone_tuning_read(path, &tuning, &is_here, &err) != HONE_OK) {
        size_t size = strlen(err.message);
        snprintf(err.message + size, sizeof err.message - size,
                 "; going on with the defaults (`hone tune` writes it anew, `hone tune --reset` "
                 "removes it)");
        hone_cli_fail(verb, &err);
    }
    free(path);
    if (found) *found = is_here;
    return tuning;
}

char *hone_cli_blocking(const hone_blocking *blocking, char out[96]) {
    snprintf(out, 96, "%zu KiB of packed weights, %zu rows of loss", blocking->packed_bytes / 1024,
             blocking->loss_rows);
    return out;
}

/* ---- terminal ---- */

bool hone_cli_color(FILE *stream) {
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (no_color && *no_color) return false;
    if (!term || strcmp(term, "dumb") == 0) return false;
    return isatty(fileno(stream));
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

hone_cli_progress hone_cli_progress_start(void) {
    const char *term = getenv("TERM");
    bool on = isatty(fileno(stderr)) && term && strcmp(term, "dumb") != 0;
    return (hone_cli_progress){.on = on, .started = now()};
}

void hone_cli_progress_show(hone_cli_progress *progress, const char *what, double fraction) {
    enum { WIDTH = 24 };
    double time = now();
    if (!progress->on || (progress->shown && time - progress->drawn < 0.1)) return;
    progress->drawn = time;
    progress->shown = true;
    char bar[WIDTH + 1], left[32] = "";
    int full = (int)(fraction * WIDTH);
    for (int i = 0; i < WIDTH; i++) bar[i] = i < full ? '#' : '.';
    bar[WIDTH] = 0;
    double elapsed = time - progress->started;
    if (fraction > 0.01 && elapsed > 1) hone_cli_duration(elapsed / fraction - elapsed, left);
    fprintf(stderr, "\r\033[K[%s] %3.0f%% %s%s%s", bar, 100 * fraction, what,
            left[0] ? ", left: " : "", left);
    fflush(stderr);
}

void hone_cli_progress_clear(hone_cli_progress *progress) {
    if (!progress->shown) return;
    fprintf(stderr, "\r\033[K");
    fflush(stderr);
    progress->shown = false;
}

/* ---- signals ---- */

static volatile sig_atomic_t interrupted;
static struct timespec first_signal;

static const char *volatile signal_line;

void hone_cli_say_on_signal(const char *line) { signal_line = line; }

/* A second signal stops at once. One that comes within a second of the first is the same: timeout(1) and terminals send
 * it to the process and to its group. */
static void on_signal(int number) {
    int error = errno;
    const char *line = signal_line;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double passed = (double)(now.tv_sec - first_signal.tv_sec) +
                    1e-9 * (double)(now.tv_nsec - first_signal.tv_nsec);
    if (!interrupted) {
        first_signal = now;
        interrupted = 1;
        if (line && write(STDERR_FILENO, line, strlen(line)) < 0)
            errno = error; /* no one to tell */
    } else if (passed > 1) {
        signal(number, SIG_DFL);
        raise(number);
    }
    errno = error;
}

void hone_cli_catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction before;
    bool nohup = sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler == SIG_IGN;
    if (!nohup) sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a write then fails instead, and there is time to save */
}

bool hone_cli_interrupted(void) { return interrupted != 0; }
