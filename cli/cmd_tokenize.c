/* cli/cmd_tokenize: text to token ids and back. */
#include "commands.h"
#include "common.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_LIMIT = 64 << 20 };

static struct {
    char *model;
    int decode, ids, special;
} given;

static struct poptOption options[] = {
    {"model", 0, POPT_ARG_STRING, &given.model, 0,
     "a .gguf file, a Hugging Face folder, or a name that\n`hone models` knows (default: the model "
     "of `make run`)",
     "PATH"},
    {"ids", 0, POPT_ARG_NONE, &given.ids, 0, "the ids alone, on one line", NULL},
    {"special", 0, POPT_ARG_NONE, &given.special, 0, "with the tokens that begin and end a text",
     NULL},
    {"decode", 0, POPT_ARG_NONE, &given.decode, 0,
     "TEXT holds ids, between blanks or commas: print their text", NULL},
    POPT_TABLEEND,
};

static const hone_cli_verb verb = {
    .name = "tokenize",
    .arguments = "[OPTION]... [TEXT|-]",
    .about = "Prints the tokens of a text (default: of standard input), one a line: id and text.",
    .examples = "  hone tokenize 'Hello, world!'\n"
                "  hone tokenize --ids - <book.txt | hone tokenize --decode -\n",
    .options = options,
    .max_arguments = 1,
};

/* A token's text on one line: what a terminal would act on is shown as an escape. */
static void print_visible(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n')
            printf("\\n");
        else if (c == '\t')
            printf("\\t");
        else if (c == '\\')
            printf("\\\\");
        else if (c < 0x20 || c == 0x7f)
            printf("\\x%02x", c);
        else if (c == 0xc2 && i + 1 < size && (unsigned char)text[i + 1] < 0xa0)
            printf("\\x%02x\\x%02x", c, (unsigned char)text[++i]); /* U+0080 to U+009F */
        else
            putchar(c);
    }
}

static hone_status print_tokens(const hone_model *model, const int32_t *ids, size_t count,
                                hone_error *err) {
    for (size_t i = 0; i < count; i++) {
        if (given.ids) {
            printf("%s%d", i ? " " : "", (int)ids[i]);
            continue;
        }
        char *text;
        size_t size;
        hone_status status = hone_detokenize(model, &ids[i], 1, false, &text, &size, err);
        if (status != HONE_OK) return status;
        printf("%7d  ", (int)ids[i]);
        print_visible(text, size);
        putchar('\n');
        hone_free(text);
    }
    if (given.ids) putchar('\n');
    return HONE_OK;
}

static hone_status encode(const hone_model *model, const char *text, size_t size, hone_error *err) {
    int32_t *ids;
    size_t count;
    hone_status status = hone_tokenize(model, text, size, given.special, &ids, &count, err);
    if (status != HONE_OK) return status;
    status = print_tokens(model, ids, count, err);
    hone_free(ids);
    return status;
}

static hone_status bad_ids(hone_error *err, const char *at) {
    err->status = HONE_ERR_USAGE;
    snprintf(err->message, sizeof err->message, "\"%.20s\": expected token ids, numbers from 0 on",
             at);
    return err->status;
}

/* Numbers between blanks, commas or brackets. */
static hone_status read_ids(const char *text, int32_t **ids, size_t *count, hone_error *err) {
    *ids = malloc((strlen(text) / 2 + 1) * sizeof **ids);
    *count = 0;
    if (!*ids) {
        err->status = HONE_ERR_MEMORY;
        snprintf(err->message, sizeof err->message, "out of memory");
        return err->status;
    }
    for (const char *at = text; *(at += strspn(at, " \t\r\n,[]"));) {
        char *end;
        errno = 0;
        long value = strtol(at, &end, 10);
        if (!isdigit((unsigned char)*at) || errno || value > INT32_MAX) return bad_ids(err, at);
        if (*end && !strchr(" \t\r\n,[]", *end)) return bad_ids(err, at);
        (*ids)[(*count)++] = (int32_t)value;
        at = end;
    }
    return HONE_OK;
}

static hone_status decode(const hone_model *model, const char *text, hone_error *err) {
    int32_t *ids;
    size_t count, size;
    char *decoded;
    hone_status status = read_ids(text, &ids, &count, err);
    if (status == HONE_OK) status = hone_detokenize(model, ids, count, false, &decoded, &size, err);
    if (status == HONE_OK) {
        fwrite(decoded, 1, size, stdout);
        hone_free(decoded);
    }
    free(ids);
    return status;
}

static hone_status run(const char *argument, hone_error *err) {
    bool standard = !argument || strcmp(argument, "-") == 0;
    size_t size = standard ? 0 : strlen(argument);
    char *text = standard ? hone_cli_read("-", TEXT_LIMIT, &size, err) : NULL;
    if (standard && !text) return err->status;
    char *path = hone_cli_resolve_model(given.model, err);
    hone_model *model = NULL;
    hone_status status = path ? hone_model_open(path, NULL, &model, err) : err->status;
    const char *input = standard ? text : argument;
    if (status == HONE_OK)
        status = given.decode ? decode(model, input, err) : encode(model, input, size, err);
    hone_model_free(&model);
    free(path);
    free(text);
    return status;
}

int hone_cmd_tokenize(int argc, const char **argv) {
    hone_cli_arguments arguments;
    int code = hone_cli_parse(&verb, argc, argv, &arguments);
    if (code != HONE_CLI_GO) return code;
    hone_error err = {0};
    if (given.decode && (given.ids || given.special))
        code = hone_cli_usage(verb.name,
                              "--decode prints text; --ids and --special are for the other way");
    else
        code = run(arguments.count ? arguments.items[0] : NULL, &err) == HONE_OK
                   ? HONE_EXIT_OK
                   : hone_cli_fail(verb.name, &err);
    hone_cli_arguments_free(&arguments);
    return code;
}
