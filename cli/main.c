/* cli/main: the program. Finds the verb in a table and runs it. */
#include "commands.h"
#include "common.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct verb {
    const char *name, *summary; /* summary NULL: not for people */
    int (*run)(int argc, const char **argv);
} verb;

static const verb verbs[] = {
    {"train", "fine-tune a model on your data", hone_cmd_train},
    {"generate", "let a model write, with or without an adapter", hone_cmd_generate},
    {"eval", "measure the kernels, alone and in real fine-tuning", hone_cmd_eval},
    {"data", "look at a data set as the trainer sees it", hone_cmd_data},
    {"tokenize", "turn text into tokens and back", hone_cmd_tokenize},
    {"models", "the models that hone knows, and where they are", hone_cmd_models},
    {"tune", "fit the kernels to this machine's caches", hone_cmd_tune},
    {"kernel-worker", NULL, hone_cmd_kernel_worker}, /* started by hone itself */
    {"info", "this machine, its kernels, a model's numbers", hone_cmd_info},
};
enum { VERB_COUNT = sizeof verbs / sizeof verbs[0] };

static int print_help(FILE *stream) {
    fprintf(stream, "hone fine-tunes language models on plain machines.\n\n"
                    "usage: hone VERB [OPTION]...\n\n");
    for (int i = 0; i < VERB_COUNT; i++)
        if (verbs[i].summary) fprintf(stream, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
    fprintf(stream, "\n`hone VERB --help` explains a verb, with examples; `hone --version` says "
                    "which hone this is.\n");
    return HONE_EXIT_OK;
}

static int print_version(void) {
    hone_machine_info machine;
    hone_error err;
    if (hone_machine_get_info(&machine, &err) != HONE_OK) return hone_cli_fail(NULL, &err);
    printf("hone %s (%s, %s)\n", machine.version, machine.tier, machine.compiler);
    return HONE_EXIT_OK;
}

static int unknown_verb(const char *word) {
    const char *names[VERB_COUNT];
    for (int i = 0; i < VERB_COUNT; i++) names[i] = verbs[i].name;
    const char *nearest = hone_cli_nearest(word, names, VERB_COUNT);
    if (word[0] == '-') return hone_cli_usage(NULL, "there is no option %s before the verb", word);
    if (nearest)
        return hone_cli_usage(NULL, "there is no verb \"%s\"; did you mean \"%s\"?", word, nearest);
    return hone_cli_usage(NULL, "there is no verb \"%s\"", word);
}

/* NULL when there is no such verb. */
static const verb *find_verb(const char *word) {
    for (int i = 0; i < VERB_COUNT; i++)
        if (strcmp(word, verbs[i].name) == 0) return &verbs[i];
    return NULL;
}

/* The value of --threads among a verb's arguments, 0 without: what it will ask the library for. */
static int threads_wanted(int argc, char **argv) {
    long threads = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = strncmp(argv[i], "--threads=", 10) == 0 ? argv[i] + 10 : NULL;
        if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc) value = argv[i + 1];
        if (value) threads = strtol(value, NULL, 10);
    }
    return threads >= 0 && threads <= INT_MAX ? (int)threads : 0;
}

/* `hone confined VERB ...` is how hone starts itself in a sandbox: the verb runs as always, but with no more threads
 * and system calls than training needs. No verb for people, so no help tells of it. */
static int run_confined(int argc, char **argv) {
    hone_error err;
    const verb *found = argc > 1 ? find_verb(argv[1]) : NULL;
    if (!found) return hone_cli_usage(NULL, "confined: expected a verb");
    if (hone_confine(threads_wanted(argc - 1, argv + 1), &err) != HONE_OK)
        return hone_cli_fail("confined", &err);
    return hone_cli_finish(found->name, found->run(argc - 1, (const char **)argv + 1));
}

int main(int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : "--help";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        return hone_cli_finish(NULL, print_help(stdout));
    if (strcmp(word, "--version") == 0) return hone_cli_finish(NULL, print_version());
    if (strcmp(word, "confined") == 0) return run_confined(argc - 1, argv + 1);
    const verb *found = find_verb(word);
    if (!found) return unknown_verb(word);
    return hone_cli_finish(word, found->run(argc - 1, (const char **)argv + 1));
}
