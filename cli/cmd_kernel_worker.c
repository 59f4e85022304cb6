/* cli/cmd_kernel_worker: the process in which `hone eval` runs a set of kernels. No verb for people: it is started by
 * hone itself, in a sandbox. */
#include "commands.h"
#include "common.h"

static struct { int threads; } given;

static struct poptOption options[] = {
    {"threads", 0, POPT_ARG_INT, &given.threads, 0, "of the team", "N"},
    POPT_TABLEEND,
};

static const hone_cli_verb verb = {
    .name = "kernel-worker",
    .arguments = "KERNELS --threads N",
    .about = "Runs kernels for `hone eval`, which starts it and tells it what to do.",
    .examples = "  hone eval --micro\n",
    .options = options,
    .max_arguments = 1,
};

static int run(const hone_cli_arguments *arguments) {
    hone_error err;
    if (arguments->count != 1 || given.threads < 1)
        return hone_cli_usage(verb.name, "expected a set of kernels and --threads");
    if (hone_kernel_worker(arguments->items[0], given.threads, &err) != HONE_OK)
        return hone_cli_fail(verb.name, &err);
    return HONE_EXIT_OK;
}

int hone_cmd_kernel_worker(int argc, const char **argv) {
    hone_cli_arguments arguments;
    int code = hone_cli_parse(&verb, argc, argv, &arguments);
    if (code != HONE_CLI_GO) return code;
    code = run(&arguments);
    hone_cli_arguments_free(&arguments);
    return code;
}
