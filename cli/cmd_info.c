/* cli/cmd_info: what this machine offers, and the numbers of a model. */
#include "commands.h"
#include "common.h"

#include <stdlib.h>

static char *given_model;

static struct poptOption options[] = {
    {"model", 0, POPT_ARG_STRING, &given_model, 0,
     "also the numbers of this model: a file, a folder or a known name", "PATH"},
    POPT_TABLEEND,
};

static const hone_cli_verb verb = {
    .name = "info",
    .arguments = "[--model PATH]",
    .about = "Prints the version of hone, the processor, the kernels that are chosen for it, and "
             "memory.\n"
             "HONE_CPU=scalar|avx2|avx512|avx512bf16|amx chooses lesser kernels, HONE_THREADS "
             "fewer threads.",
    .examples = "  hone info\n"
                "  hone info --model SmolLM2-135M-Instruct.Q4_1.gguf\n",
    .options = options,
};

static void print_size(const char *name, size_t bytes) {
    double mib = (double)bytes / (1024 * 1024);
    if (bytes == 0)
        printf("%-12s unknown\n", name);
    else if (mib >= 1024)
        printf("%-12s %.1f GiB\n", name, mib / 1024);
    else if (mib >= 1)
        printf("%-12s %.1f MiB\n", name, mib);
    else
        printf("%-12s %zu KiB\n", name, bytes / 1024);
}

/* The blocking in use for one type of compute, and where it comes from. */
static void print_blocking(const char *compute, const hone_blocking *defaults,
                           const hone_blocking *tuned, bool found) {
    hone_blocking use = *defaults;
    char text[96];
    if (tuned->packed_bytes) use.packed_bytes = tuned->packed_bytes;
    if (tuned->loss_rows) use.loss_rows = tuned->loss_rows;
    bool differs = tuned->packed_bytes || tuned->loss_rows;
    printf("%-12s %s: %s (%s)\n", "blocking", compute, hone_cli_blocking(&use, text),
           differs ? "from `hone tune`"
           : found ? "default"
                   : "default; `hone tune` has not been run here");
}

static int print_machine(void) {
    hone_machine_info m;
    hone_error err;
    if (hone_machine_get_info(&m, &err) != HONE_OK) return hone_cli_fail(verb.name, &err);
    printf("%-12s %s (%s)\n", "hone", m.version, m.compiler);
    printf("%-12s %s, %d threads\n", "processor", m.cpu, m.threads);
    printf("%-12s %s (matrices: float32 %s, bfloat16 %s; vectors: %s)\n", "kernels", m.tier,
           m.gemm_f32, m.gemm_bf16, m.vectors);
    print_size("memory free", m.memory_available);
    print_size("L2 cache", m.l2_bytes);
    print_size("last level", m.last_level_bytes);
    bool found;
    hone_tuning tuning = hone_cli_tuning(verb.name, &found);
    print_blocking("f32", &m.defaults.f32, &tuning.f32, found);
    print_blocking("bf16", &m.defaults.bf16, &tuning.bf16, found);
    return HONE_EXIT_OK;
}

static void print_numbers(const hone_model *model) {
    hone_model_info i;
    char parameters[16];
    hone_model_get_info(model, &i);
    printf("\n%-12s %s\n", "model", i.path);
    if (i.name[0]) printf("%-12s %s\n", "name", i.name);
    printf("%-12s %s, %s parameters, %s\n", "kind", i.architecture,
           hone_cli_si((double)i.parameters, parameters), i.precision);
    print_size("weights", i.weight_bytes);
    printf("%-12s %d layers, hidden %d, feed-forward %d, %d heads of %d (%d for keys and values)\n",
           "shape", i.layers, i.hidden, i.ffn, i.heads, i.head_dim, i.kv_heads);
    printf("%-12s %d entries%s\n", "vocabulary", i.vocab,
           i.tied_head ? ", the head is the embedding" : "");
    printf("%-12s %d tokens\n", "context", i.max_positions);
    printf("%-12s %s, %s operations on %s\n", "computes in", i.compute, i.ops, i.kernels);
}

int hone_cmd_info(int argc, const char **argv) {
    hone_cli_arguments arguments;
    int code = hone_cli_parse(&verb, argc, argv, &arguments);
    if (code != HONE_CLI_GO) return code;
    code = print_machine();
    if (code == HONE_EXIT_OK && given_model) {
        hone_error err = {0};
        hone_model *model = NULL;
        char *path = hone_cli_resolve_model(given_model, &err);
        if (path && hone_model_open(path, NULL, &model, &err) == HONE_OK)
            print_numbers(model);
        else
            code = hone_cli_fail(verb.name, &err);
        hone_model_free(&model);
        free(path);
    }
    hone_cli_arguments_free(&arguments);
    return code;
}
