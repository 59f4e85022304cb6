/* cli/main: the program. Finds the verb in a table and runs it. */
#include "commands.h"
#include "common.h"

#include <string.h>

typedef struct verb {
    const char *name, *summary;
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
    {"info", "this machine, its kernels, a model's numbers", hone_cmd_info},
};
enum { VERB_COUNT = sizeof verbs / sizeof verbs[0] };

static int print_help(FILE *stream) {
    fprintf(stream, "hone fine-tunes language models on plain machines.\n\n"
                    "usage: hone VERB [OPTION]...\n\n");
    for (int i = 0; i < VERB_COUNT; i++)
        fprintf(stream, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
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

int main(int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : "--help";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        return hone_cli_finish(NULL, print_help(stdout));
    if (strcmp(word, "--version") == 0) return hone_cli_finish(NULL, print_version());
    for (int i = 0; i < VERB_COUNT; i++)
        if (strcmp(word, verbs[i].name) == 0)
            return hone_cli_finish(word, verbs[i].run(argc - 1, (const char **)argv + 1));
    return unknown_verb(word);
}
