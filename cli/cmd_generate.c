/* cli/cmd_generate: text from a model, as it is written. The closing lines are mlx-lm's. */
#include "commands.h"
#include "common.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PROMPT_LIMIT = 16 << 20 };

static struct {
    char *model, *adapter_path, *prompt, *system, *compute, *ops, *seed;
    int max_tokens, top_k, threads, raw, ignore_eos, quiet;
    double temperature, top_p, min_p;
} given;

#define NUMBER POPT_ARG_INT | POPT_ARGFLAG_SHOW_DEFAULT
#define REAL POPT_ARG_DOUBLE | POPT_ARGFLAG_SHOW_DEFAULT

static struct poptOption options[] = {
    {"model", 0, POPT_ARG_STRING, &given.model, 0,
     "a .gguf file, a Hugging Face folder, or a name that\n`hone models` knows (default: the model "
     "of `make run`)",
     "PATH"},
    {"adapter-path", 0, POPT_ARG_STRING, &given.adapter_path, 0,
     "folder of an adapter that `hone train` or mlx-lm wrote", "DIR"},
    {"prompt", 'p', POPT_ARG_STRING, &given.prompt, 0, "what the user says; -: read standard input",
     "TEXT"},
    {"system", 0, POPT_ARG_STRING, &given.system, 0, "what the system says before that", "TEXT"},
    {"raw", 0, POPT_ARG_NONE, &given.raw, 0, "continue the prompt as it is: no chat template",
     NULL},
    {"max-tokens", 'm', NUMBER, &given.max_tokens, 0, "stop after so many tokens", "N"},
    {"temp", 0, REAL, &given.temperature, 0, "0: always the likeliest token", "X"},
    {"top-p", 0, REAL, &given.top_p, 0, "only the likeliest tokens of this mass, 0: all", "X"},
    {"min-p", 0, REAL, &given.min_p, 0, "only tokens this likely beside the likeliest, 0: all",
     "X"},
    {"top-k", 0, NUMBER, &given.top_k, 0, "only so many of the likeliest tokens, 0: all", "N"},
    {"seed", 0, POPT_ARG_STRING, &given.seed, 0, "of the draw (default: 0)", "N"},
    {"ignore-eos", 0, POPT_ARG_NONE, &given.ignore_eos, 0, "go on after the end-of-sequence token",
     NULL},
    {"quiet", 'q', POPT_ARG_NONE, &given.quiet, 0, "the text alone", NULL},
    {"compute", 0, POPT_ARG_STRING, &given.compute, 0, "auto (default), f32 or bf16", "TYPE"},
    {"threads", 0, POPT_ARG_INT, &given.threads, 0, "default: all processors", "N"},
    {"ops", 0, POPT_ARG_STRING, &given.ops, 0, "set of operations: fused (default) or naive",
     "NAME"},
    POPT_TABLEEND,
};

static const hone_cli_verb verb = {
    .name = "generate",
    .arguments = "--prompt TEXT [OPTION]...",
    .about = "Lets a model answer a prompt, or with --raw continue it. The text appears as it is "
             "written; Ctrl-C ends it.",
    .examples =
        "  hone generate --prompt 'Why is the sky blue?'\n"
        "  hone generate --adapter-path adapters --prompt - --temp 0.7 --top-p 0.9 <question.txt\n"
        "  hone generate --model model.gguf --raw --prompt 'Once upon a time' --max-tokens 50\n",
    .options = options,
};

static hone_status no_memory(hone_error *err) {
    err->status = HONE_ERR_MEMORY;
    snprintf(err->message, sizeof err->message, "out of memory");
    return err->status;
}

/* The prompt as the template wants it; the template writes what begins a sequence itself. */
static hone_status render_chat(const hone_model *model, const char *prompt, size_t size,
                               char **text, size_t *text_size, hone_error *err) {
    json_t *messages = json_array(), *content = json_stringn(prompt, size);
    if (!content) {
        json_decref(messages);
        err->status = HONE_ERR_USAGE;
        snprintf(err->message, sizeof err->message, "the prompt is not UTF-8");
        return err->status;
    }
    int failed = 0;
    if (given.system)
        failed = json_array_append_new(
            messages, json_pack("{s:s, s:s}", "role", "system", "content", given.system));
    if (!failed)
        failed = json_array_append_new(messages,
                                       json_pack("{s:s, s:O}", "role", "user", "content", content));
    char *json = failed ? NULL : json_dumps(messages, 0);
    json_decref(content);
    json_decref(messages);
    if (!json) return no_memory(err);
    hone_status status = hone_render_chat(model, json, true, text, text_size, err);
    free(json);
    return status;
}

static hone_status prompt_ids(const hone_model *model, int32_t **ids, size_t *count,
                              hone_error *err) {
    bool standard = strcmp(given.prompt, "-") == 0;
    size_t size = strlen(given.prompt), text_size;
    char *read = standard ? hone_cli_read("-", PROMPT_LIMIT, &size, err) : NULL, *text = NULL;
    if (standard && !read) return err->status;
    const char *prompt = standard ? read : given.prompt;
    hone_status status;
    if (given.raw) {
        status = hone_tokenize(model, prompt, size, true, ids, count, err);
    } else {
        status = render_chat(model, prompt, size, &text, &text_size, err);
        if (status == HONE_OK)
            status = hone_tokenize(model, text, text_size, false, ids, count, err);
        hone_free(text);
    }
    free(read);
    return status;
}

static bool on_text(void *user, const char *text, size_t size) {
    (void)user;
    bool written = isatty(STDOUT_FILENO) ? hone_cli_put_text(stdout, text, size)
                                         : fwrite(text, 1, size, stdout) == size;
    return written && hone_cli_flush() && !hone_cli_interrupted();
}

static void print_figures(const hone_generate_result *r) {
    double prompt = (double)r->prompt_count / r->prompt_seconds;
    double generation = (double)(r->count - 1) / r->generation_seconds;
    printf("\n==========\n");
    printf("Prompt: %zu tokens, %.3f tokens-per-sec\n", r->prompt_count,
           r->prompt_seconds > 0 ? prompt : 0.0);
    printf("Generation: %zu tokens, %.3f tokens-per-sec\n", r->count,
           r->count > 1 && r->generation_seconds > 0 ? generation : 0.0);
    struct rusage used;
    if (getrusage(RUSAGE_SELF, &used) == 0)
        printf("Peak memory: %.3f GB\n", (double)used.ru_maxrss * 1024 / 1e9);
}

static hone_status generate(hone_model *model, const hone_generate_options *o, hone_error *err) {
    int32_t *ids = NULL;
    size_t count = 0;
    hone_generate_result result;
    if (given.adapter_path && hone_model_load_adapter(model, given.adapter_path, err) != HONE_OK)
        return err->status;
    hone_status status = prompt_ids(model, &ids, &count, err);
    if (status == HONE_OK) {
        hone_cli_catch_signals(); /* not before: nobody asks while standard input is read */
        if (!given.quiet) printf("==========\n");
        status = hone_generate(model, ids, count, o, &result, err);
        if (status == HONE_OK) {
            if (given.quiet)
                printf("\n");
            else
                print_figures(&result);
            hone_free(result.ids);
        }
    }
    hone_free(ids);
    return status;
}

static int read_options(hone_generate_options *o, hone_model_options *model) {
    if (!given.prompt)
        return hone_cli_usage(verb.name,
                              "--prompt is missing: the text to answer, or - for standard input");
    if (given.raw && given.system)
        return hone_cli_usage(verb.name,
                              "--system needs the chat template, which --raw leaves out");
    if (given.max_tokens < 1)
        return hone_cli_usage(verb.name, "--max-tokens %d: expected 1 or more", given.max_tokens);
    if (!(given.temperature >= 0 && given.temperature <= 100))
        return hone_cli_usage(verb.name, "--temp %g: expected 0 to 100", given.temperature);
    if (!(given.top_p >= 0 && given.top_p <= 1))
        return hone_cli_usage(verb.name, "--top-p %g: expected 0 to 1", given.top_p);
    if (!(given.min_p >= 0 && given.min_p <= 1))
        return hone_cli_usage(verb.name, "--min-p %g: expected 0 to 1", given.min_p);
    if (given.top_k < 0)
        return hone_cli_usage(verb.name, "--top-k %d: expected 0 or more", given.top_k);
    if (given.threads < 0)
        return hone_cli_usage(verb.name, "--threads %d: expected 0 or more", given.threads);
    if (!hone_cli_parse_seed(given.seed, &o->seed))
        return hone_cli_usage(verb.name, "--seed %s: expected a whole number, 0 or more",
                              given.seed);
    if (!hone_cli_parse_compute(given.compute, &model->compute))
        return hone_cli_usage(verb.name, "--compute %s: expected auto, f32 or bf16", given.compute);
    model->threads = given.threads;
    model->ops = given.ops;
    o->max_tokens = given.max_tokens;
    o->temperature = given.temperature;
    o->top_p = given.top_p;
    o->min_p = given.min_p;
    o->top_k = given.top_k;
    o->ignore_eos = given.ignore_eos;
    o->on_text = on_text;
    return HONE_CLI_GO;
}

int hone_cmd_generate(int argc, const char **argv) {
    hone_cli_arguments arguments;
    given.max_tokens = 100;
    int code = hone_cli_parse(&verb, argc, argv, &arguments);
    if (code != HONE_CLI_GO) return code;
    hone_generate_options generate_options = {0};
    hone_model_options model_options = {.tuning = hone_cli_tuning(verb.name, NULL)};
    hone_error err = {0};
    hone_model *model = NULL;
    char *path = NULL;
    code = read_options(&generate_options, &model_options);
    if (code == HONE_CLI_GO) {
        path = hone_cli_resolve_model(given.model, &err);
        code = HONE_EXIT_OK;
        if (!path || hone_model_open(path, &model_options, &model, &err) != HONE_OK ||
            generate(model, &generate_options, &err) != HONE_OK)
            code = hone_cli_fail(verb.name, &err);
    }
    hone_model_free(&model);
    free(path);
    hone_cli_arguments_free(&arguments);
    return code;
}
