/* cli/cmd_eval: the main job: what the fused kernels bring, alone and in real fine-tuning. */
#define _POSIX_C_SOURCE 200809L
#include "commands.h"
#include "common.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { UNSET = INT_MIN };

static struct {
    int micro, macro, quick, unsafe, compare, plain, steps, trials, batch_size, seq_len;
    long seed;
    char *models, *data, *json, *html, *compiler, *flags, *output, *budget;
    const char **peers;
    double min_score, min_speedup, max_loss_diff;
} given = {.steps = UNSET,
           .trials = UNSET,
           .batch_size = UNSET,
           .seq_len = UNSET,
           .min_score = -1,
           .min_speedup = -1,
           .max_loss_diff = -1};

static struct poptOption options[] = {
    {"micro", 0, POPT_ARG_NONE, &given.micro, 0, "only level 1: each kernel against naive ones",
     NULL},
    {"macro", 0, POPT_ARG_NONE, &given.macro, 0, "only level 2: real models, really fine-tuned",
     NULL},
    {"quick", 0, POPT_ARG_NONE, &given.quick, 0,
     "fewer shapes, steps and controls, for searching:\n45 seconds", NULL},
    {"budget", 0, POPT_ARG_STRING, &given.budget, 0,
     "time that all of it may take, like 90s, 5m (the\ndefault) or 1h; what does not fit is listed",
     "TIME"},
    {"models", 0, POPT_ARG_STRING, &given.models, 0,
     "paths or names, default all that `hone models`\nshows as here", "A,B"},
    {"data", 0, POPT_ARG_STRING, &given.data, 0, "folder with train.jsonl, default WordNet's",
     "DIR"},
    {"peer", 0, POPT_ARG_ARGV, &given.peers, 0,
     "also trains with this command, which speaks like\n`hone train --json --lockstep` (peers/); "
     "may be repeated",
     "CMD"},
    {"steps", 0, POPT_ARG_INT, &given.steps, 0,
     "of fine-tuning with each set; default: until the\nintervals are within 2%, then loss curves "
     "of "
     "100 steps\nwith two seeds, as far as time allows",
     "N"},
    {"trials", 0, POPT_ARG_INT, &given.trials, 0,
     "pairs of samples of each kernel at least, default 8", "N"},
    {"batch-size", 0, POPT_ARG_INT, &given.batch_size, 0, "rows of a batch, default 1", "N"},
    {"seq-len", 0, POPT_ARG_INT, &given.seq_len, 0, "tokens of a row, default 256 (quick: 64)",
     "N"},
    {"seed", 0, POPT_ARG_LONG, &given.seed, 0,
     "of contents, hidden shapes, adapters and batches;\ndefault: drawn, and told in the report",
     "N"},
    {"compiler", 0, POPT_ARG_STRING, &given.compiler, 0, "for FILE.c: gcc or clang, default cc",
     "NAME"},
    {"flags", 0, POPT_ARG_STRING, &given.flags, 0,
     "for FILE.c, of optimization, default\n\"-O3 -march=native\"", "FLAGS"},
    {"output", 'o', POPT_ARG_STRING, &given.output, 0,
     "where FILE.c's compiled kernels go when they are\naccepted: for hone train --kernels",
     "FILE.so"},
    {"unsafe", 0, POPT_ARG_NONE, &given.unsafe, 0,
     "run FILE.c's kernels also where this system cannot\nconfine them", NULL},
    {"json", 0, POPT_ARG_STRING, &given.json, 0, "write the report there too (docs/evaluation.md)",
     "FILE"},
    {"html", 0, POPT_ARG_STRING, &given.html, 0,
     "write the report as a page with charts too, which\nneeds nothing else", "FILE"},
    {"compare", 0, POPT_ARG_NONE, &given.compare, 0,
     "measure nothing: say what changed from one file of\n--json to another", NULL},
    {"plain", 0, POPT_ARG_NONE, &given.plain, 0, "ASCII alone", NULL},
    {"min-score", 0, POPT_ARG_DOUBLE, &given.min_score, 0, "exit 3 when the overall score is lower",
     "X"},
    {"min-speedup", 0, POPT_ARG_DOUBLE, &given.min_speedup, 0,
     "exit 3 when the training speedup is lower\n"
     "(with --micro: the kernels')",
     "X"},
    {"max-loss-diff", 0, POPT_ARG_DOUBLE, &given.max_loss_diff, 0,
     "exit 3 when the losses of a model differ by more\nat the end", "X"},
    POPT_TABLEEND,
};
static const hone_cli_verb verb = {
    .name = "eval",
    .arguments = "[FILE.c] [OPTION]... | --compare A.json B.json",
    .about =
        "Measures the fused kernels against naive ones: level 1 each kernel alone, level 2 real "
        "models\n"
        "fine-tuned with both on the same batches. What cannot be run is listed as not tested.\n"
        "With FILE.c the candidate is that file of kernels (see hone_kernels.h): compiled and run "
        "in "
        "a\n"
        "sandbox, and measured beside the naive and the shipped ones.",
    .examples =
        "  hone eval                              both levels, at most five minutes on two cores\n"
        "  hone eval --micro --json kernels.json  the kernels alone, and a report for programs\n"
        "  hone eval --macro --models ./my-model  this model alone\n"
        "  hone eval --html report.html           with a page to look at\n"
        "  hone eval --compare old.json new.json  what changed\n"
        "  hone eval kernels.c --output fast.so   a file of kernels; for hone train --kernels "
        "fast.so\n",
    .options = options,
    .max_arguments = 2,
};

static hone_cli_progress bar;

static bool on_line(void *user, const char *line) {
    (void)user;
    hone_cli_progress_clear(&bar);
    puts(line);
    return hone_cli_flush() && !hone_cli_interrupted();
}

static bool on_progress(void *user, const char *what, double fraction) {
    (void)user;
    hone_cli_progress_show(&bar, what, fraction);
    return !hone_cli_interrupted();
}

static int check_numbers(void) {
    const struct {
        const char *name;
        int value, least, most;
    } numbers[] = {{"steps", given.steps, 1, HONE_EVAL_MAX_PAIRS},
                   {"trials", given.trials, 5, HONE_EVAL_MAX_PAIRS},
                   {"batch-size", given.batch_size, 1, INT_MAX},
                   {"seq-len", given.seq_len, 2, INT_MAX}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].value == UNSET) continue;
        if (numbers[i].value < numbers[i].least)
            return hone_cli_usage(verb.name, "--%s %d: expected %d or more", numbers[i].name,
                                  numbers[i].value, numbers[i].least);
        if (numbers[i].value > numbers[i].most)
            return hone_cli_usage(verb.name, "--%s %d: expected %d at most", numbers[i].name,
                                  numbers[i].value, numbers[i].most);
    }
    if (given.seed < 0)
        return hone_cli_usage(verb.name, "--seed %ld: expected 0 or more", given.seed);
    return HONE_CLI_GO;
}

/* `value` is NaN when it was not measured: then the gate is not met either. */
static bool gate(const char *name, double value, double least) {
    if (least < 0 || value >= least) return true;
    if (isfinite(value))
        fprintf(stderr, "hone eval: %s is %.3f, less than %g\n", name, value, least);
    else
        fprintf(stderr, "hone eval: %s was not measured, so it does not reach %g\n", name, least);
    return false;
}

static bool loss_gate(double value, double most) {
    if (most < 0 || value <= most) return true;
    if (isfinite(value))
        fprintf(stderr, "hone eval: the loss difference is %.4f, more than %g\n", value, most);
    else
        fprintf(stderr, "hone eval: the loss difference was not measured, so it is not within %g\n",
                most);
    return false;
}

static int verdict(const hone_eval_report *report) {
    hone_eval_score score = hone_eval_report_score(report);
    bool micro_only = given.micro && !given.macro;
    bool met = gate("the overall score", score.overall, given.min_score);
    met &= micro_only ? gate("the kernels' speedup", score.kernel_speedup, given.min_speedup)
                      : gate("the training speedup", score.training_speedup, given.min_speedup);
    met &= loss_gate(score.worst_loss_diff, given.max_loss_diff);
    if (!met) return HONE_EXIT_GATE;
    bool untested = !micro_only && given.models && score.models_tested < score.models_listed;
    untested |= (given.micro || !given.macro) && !isfinite(score.micro);
    untested |= given.output && !score.accepted;
    return !score.valid || score.rows_failed || untested ? HONE_EXIT_FAILURE : HONE_EXIT_OK;
}

static int evaluate(hone_eval_options *o) {
    hone_eval_report *report = NULL;
    hone_error err;
    bar = hone_cli_progress_start();
    hone_status status = hone_eval(o, &report, &err);
    hone_cli_progress_clear(&bar);
    if (!report) return hone_cli_fail(verb.name, &err);
    int code = status == HONE_OK ? verdict(report) : HONE_EXIT_FAILURE;
    if (given.json && hone_eval_report_write_json(report, given.json, &err) != HONE_OK)
        code = hone_cli_fail(verb.name, &err);
    if (given.html && hone_eval_report_write_html(report, given.html, &err) != HONE_OK)
        code = hone_cli_fail(verb.name, &err);
    hone_eval_report_free(&report);
    return code;
}

/* Without the option the library's default, which is 0. */
static int or_default(int value) { return value == UNSET ? 0 : value; }

static size_t count_words(const char **words) {
    size_t count = 0;
    while (words && words[count]) count++;
    return count;
}

static int run(const char *kernels) {
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    hone_error memory = {HONE_ERR_MEMORY, "out of memory"};
    size_t count = 0;
    const char **models = given.models ? hone_cli_split(given.models, &count) : NULL;
    if (given.models && !models) return hone_cli_fail(verb.name, &memory);
    self[size > 0 ? size : 0] = 0;
    hone_eval_options o = {.kernels = kernels,
                           .compiler = given.compiler,
                           .flags = given.flags,
                           .output = given.output,
                           .unsafe = given.unsafe,
                           .micro = given.micro,
                           .macro = given.macro,
                           .quick = given.quick,
                           .peers = given.peers,
                           .peer_count = count_words(given.peers),
                           .models = models,
                           .model_count = count,
                           .data = given.data,
                           .steps = or_default(given.steps),
                           .trials = or_default(given.trials),
                           .batch_size = or_default(given.batch_size),
                           .seq_len = or_default(given.seq_len),
                           .seed = (uint64_t)given.seed,
                           .worker = size > 0 ? self : "hone",
                           .tuning = hone_cli_tuning(verb.name, NULL),
                           .plain = given.plain,
                           .on_line = on_line,
                           .on_progress = on_progress};
    int code = HONE_CLI_GO;
    if (given.budget && !hone_cli_parse_seconds(given.budget, &o.budget))
        code = hone_cli_usage(verb.name, "--budget %s: expected a time, like 90s, 5m or 1h",
                              given.budget);
    else if (given.models && count == 0)
        code = hone_cli_usage(verb.name, "--models: expected a path or a name");
    const char *outputs[] = {given.json, given.html, given.output};
    for (size_t i = 0; i < 3 && code == HONE_CLI_GO; i++)
        code = hone_cli_check_output(verb.name, outputs[i]);
    if (code == HONE_CLI_GO) code = evaluate(&o);
    free(models);
    return code;
}

static int compare(const hone_cli_arguments *arguments) {
    hone_eval_changes *changes = NULL;
    hone_error err;
    if (arguments->count != 2)
        return hone_cli_usage(verb.name, "--compare: expected two files of --json, found %d",
                              arguments->count);
    if (given.micro || given.macro || given.models || given.html || given.min_score >= 0 ||
        given.min_speedup >= 0 || given.max_loss_diff >= 0)
        return hone_cli_usage(verb.name, "--compare measures nothing: beside it only --json and "
                                         "--plain have a meaning");
    if (hone_eval_compare(arguments->items[0], arguments->items[1], &changes, &err) != HONE_OK)
        return hone_cli_fail(verb.name, &err);
    hone_eval_changes_print(changes, given.plain, on_line, NULL);
    int code = HONE_EXIT_OK;
    if (given.json && hone_eval_changes_write_json(changes, given.json, &err) != HONE_OK)
        code = hone_cli_fail(verb.name, &err);
    hone_eval_changes_free(&changes);
    return hone_cli_finish(verb.name, code);
}

int hone_cmd_eval(int argc, const char **argv) {
    hone_cli_arguments arguments;
    int code = hone_cli_parse(&verb, argc, argv, &arguments);
    if (code != HONE_CLI_GO) return code;
    const char *kernels = arguments.count > 0 ? arguments.items[0] : NULL;
    if (given.compare)
        code = compare(&arguments);
    else if (arguments.count > 1)
        code = hone_cli_usage(verb.name, "%s: expected one file at most", arguments.items[1]);
    else if (!kernels && (given.compiler || given.flags || given.output || given.unsafe))
        code = hone_cli_usage(
            verb.name, "--compiler, --flags, --output and --unsafe go with a file of kernels");
    if (code == HONE_CLI_GO) code = check_numbers();
    hone_cli_catch_signals();
    if (code == HONE_CLI_GO) code = run(kernels);
    hone_cli_arguments_free(&arguments);
    return code;
}
