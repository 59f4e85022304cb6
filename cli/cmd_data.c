/* cli/cmd_data: a data set as the trainer sees it: faults, lengths, tokens, what is learnt. */
#include "commands.h"
#include "common.h"

#include <stdlib.h>

static struct {
    char *model, *data;
    int mask_prompt, max_seq_length, show, faults;
} given;

#define NUMBER POPT_ARG_INT | POPT_ARGFLAG_SHOW_DEFAULT

static struct poptOption options[] = {
    {"model", 0, POPT_ARG_STRING, &given.model, 0,
     "whose tokenizer and chat template are used\n(default: the model of `make run`)", "PATH"},
    {"data", 0, POPT_ARG_STRING, &given.data, 0, "folder with train.jsonl, or one .jsonl file",
     "PATH"},
    {"mask-prompt", 0, POPT_ARG_NONE, &given.mask_prompt, 0,
     "as in training: learn only what the assistant says", NULL},
    {"max-seq-length", 0, NUMBER, &given.max_seq_length, 0, "as in training", "N"},
    {"show", 0, NUMBER, &given.show, 0, "rows to print in full", "N"},
    {"faults", 0, NUMBER, &given.faults, 0, "faulty rows to name", "N"},
    POPT_TABLEEND,
};

static const hone_cli_verb verb = {
    .name = "data",
    .arguments = "--data PATH [OPTION]...",
    .about = "Reads a data set as `hone train` would: prints its first rows with what is learnt in "
             "them [between brackets],\n"
             "or in colour, names the rows that training would refuse, and sums up the lengths. "
             "Exit status 1: there are\n"
             "faulty rows, or there is nothing to learn.",
    .examples = "  hone data --data my-data --mask-prompt\n"
                "  hone data --data chats.jsonl --show 10 --max-seq-length 512\n",
    .options = options,
};

typedef struct summary {
    const hone_model *model;
    bool color;
    hone_error *err;
    hone_status status;
    size_t *lengths; /* [rows] of the good rows */
    size_t rows, capacity;
    size_t faults, skipped, cut;
    unsigned long long tokens, kept, labels;
} summary;

static bool out_of_memory(summary *s) {
    s->status = s->err->status = HONE_ERR_MEMORY;
    snprintf(s->err->message, sizeof s->err->message, "out of memory");
    return false;
}

/* A run of tokens that are all learnt or all not. */
static bool print_run(summary *s, const hone_data_row *row, size_t begin, size_t end) {
    char *text;
    size_t size;
    s->status =
        hone_detokenize(s->model, row->ids + begin, end - begin, false, &text, &size, s->err);
    if (s->status != HONE_OK) return false;
    const char *before = s->color ? "\033[32m" : "[", *after = s->color ? "\033[0m" : "]";
    if (row->learnt[begin]) fputs(before, stdout);
    hone_cli_put_text(stdout, text, size);
    if (row->learnt[begin]) fputs(after, stdout);
    hone_free(text);
    return true;
}

static bool print_row(summary *s, const hone_data_row *row) {
    printf("--- row %zu: %zu tokens, %zu learnt%s\n", row->index + 1, row->count, row->labels,
           row->kept < row->count ? ", cut" : "");
    for (size_t i = 0; i < row->kept;) {
        size_t end = i;
        while (end < row->kept && row->learnt[end] == row->learnt[i]) end++;
        if (!print_run(s, row, i, end)) return false;
        i = end;
    }
    putchar('\n');
    return true;
}

static bool on_row(void *user, const hone_data_row *row) {
    summary *s = user;
    if (row->fault) {
        if (s->faults++ < (size_t)given.faults) fprintf(stderr, "%s\n", row->fault);
        return !hone_cli_interrupted();
    }
    if (s->rows == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 1024;
        size_t *grown = realloc(s->lengths, capacity * sizeof *grown);
        if (!grown) return out_of_memory(s);
        s->lengths = grown;
        s->capacity = capacity;
    }
    s->lengths[s->rows++] = row->count;
    s->tokens += row->count;
    s->kept += row->kept;
    s->labels += row->labels;
    s->skipped += row->labels == 0;
    s->cut += row->kept < row->count;
    if (row->index < (size_t)given.show && !print_row(s, row)) return false;
    return !ferror(stdout) && !hone_cli_interrupted();
}

static int compare_sizes(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static void print_summary(summary *s) {
    if (given.show > 0 && s->rows > 0) printf("---\n");
    printf("%-18s %zu good, %zu faulty\n", "rows", s->rows, s->faults);
    if (s->rows == 0) return;
    qsort(s->lengths, s->rows, sizeof *s->lengths, compare_sizes);
    printf("%-18s %llu, %llu within the length, %llu learnt (%.1f%%)\n", "tokens", s->tokens,
           s->kept, s->labels, 100.0 * (double)s->labels / (double)(s->kept ? s->kept : 1));
    printf("%-18s shortest %zu, median %zu, mean %.1f, 95%% up to %zu, longest %zu\n",
           "length of a row", s->lengths[0], s->lengths[s->rows / 2],
           (double)s->tokens / (double)s->rows, s->lengths[s->rows * 95 / 100],
           s->lengths[s->rows - 1]);
    hone_model_info info;
    hone_model_get_info(s->model, &info);
    printf("%-18s %zu cut to %d tokens, %zu with nothing to learn\n", "of them", s->cut,
           hone_cli_row_length(given.max_seq_length, &info), s->skipped);
}

static int visit(hone_model *model, hone_error *err) {
    hone_train_options train = hone_train_defaults();
    summary s = {.model = model, .color = hone_cli_color(stdout), .err = err};
    train.data = given.data;
    train.mask_prompt = given.mask_prompt;
    train.max_seq_length = given.max_seq_length;
    hone_cli_catch_signals();
    hone_status status = hone_data_visit(model, &train, on_row, &s, err);
    if (status == HONE_OK) status = s.status;
    if (status == HONE_OK) print_summary(&s);
    free(s.lengths);
    if (status != HONE_OK) return hone_cli_fail(verb.name, err);
    if (s.faults > (size_t)given.faults)
        fprintf(stderr, "... and %zu more faulty rows\n", s.faults - (size_t)given.faults);
    return s.faults > 0 || s.labels == 0 || hone_cli_interrupted() ? HONE_EXIT_FAILURE
                                                                   : HONE_EXIT_OK;
}

int hone_cmd_data(int argc, const char **argv) {
    hone_cli_arguments arguments;
    given.max_seq_length = hone_train_defaults().max_seq_length;
    given.show = 3;
    given.faults = 20;
    int code = hone_cli_parse(&verb, argc, argv, &arguments);
    if (code != HONE_CLI_GO) return code;
    hone_error err = {0};
    hone_model *model = NULL;
    char *path = NULL;
    if (!given.data) {
        code = hone_cli_usage(verb.name,
                              "--data is missing: a folder with train.jsonl, or a .jsonl file");
    } else if (given.show < 0 || given.faults < 0) {
        code = hone_cli_usage(verb.name, "--show and --faults: expected 0 or more");
    } else {
        path = hone_cli_resolve_model(given.model, &err);
        if (!path || hone_model_open(path, NULL, &model, &err) != HONE_OK)
            code = hone_cli_fail(verb.name, &err);
        else
            code = visit(model, &err);
    }
    hone_model_free(&model);
    free(path);
    hone_cli_arguments_free(&arguments);
    return code;
}
