/* cli/cmd_models: the models that hone knows by name, and where they are on this machine. */
#include "commands.h"
#include "common.h"

#include <jansson.h>
#include <stdlib.h>

static int list_json;
static struct poptOption options[] = {
    {"json", 0, POPT_ARG_NONE, &list_json, 0, "a JSON array instead of a table", NULL},
    POPT_TABLEEND,
};
static const hone_cli_verb verb = {
    .name = "models",
    .arguments = "[OPTION]...",
    .about =
        "Lists the models that hone knows by name and where they are on this machine. Their "
        "names,\n"
        "or the beginnings of these (SmolLM2, qwen3), can be given to --model and --models in "
        "place\n"
        "of a path. Looked for in $HONE_HOME/models (default ~/.cache/hone/models) and in the\n"
        "Hugging Face hub's cache ($HF_HUB_CACHE, $HF_HOME/hub).",
    .options = options,
};

static int print_json(const hone_known_model *models, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s?, s:s, s:s?}", "name", models[i].name,
                                              "hub", models[i].hub, "size", models[i].size, "path",
                                              models[i].path));
    char *text = list ? json_dumps(list, JSON_INDENT(2)) : NULL;
    json_decref(list);
    if (!text) {
        hone_error err = {HONE_ERR_MEMORY, "the list cannot be written as JSON"};
        return hone_cli_fail(verb.name, &err);
    }
    puts(text);
    free(text);
    return HONE_EXIT_OK;
}

static void print_table(const hone_known_model *models, size_t count) {
    for (size_t i = 0; i < count; i++)
        printf("%-44s %5s  %s\n", models[i].name, models[i].size,
               models[i].path ? models[i].path : "not here");
}

int hone_cmd_models(int argc, const char **argv) {
    hone_cli_arguments arguments;
    int code = hone_cli_parse(&verb, argc, argv, &arguments);
    if (code != HONE_CLI_GO) return code;
    hone_known_model *models = NULL;
    size_t count = 0;
    hone_error err;
    code = HONE_EXIT_OK;
    if (hone_known_models(&models, &count, &err) != HONE_OK)
        code = hone_cli_fail(verb.name, &err);
    else if (list_json)
        code = print_json(models, count);
    else
        print_table(models, count);
    hone_known_models_free(&models, count);
    hone_cli_arguments_free(&arguments);
    return code;
}
