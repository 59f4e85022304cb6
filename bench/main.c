/* bench/main: options, and the sections in their order. */
#include "bench.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"

#include <fcntl.h>
#include <popt.h>
#include <unistd.h>

static const struct {
    const char *name, *about;
    bench_section_fn *run;
    bool by_default;
} sections[] = {
    {"machine", "register-only multiply-add rates, copy and read bandwidth", bench_machine, true},
    {"gemm", "matrix multiply at the training shapes beside oneDNN", bench_gemm, true},
    {"rows", "norms, rotary embedding, silu·mul, residual add, AdamW beside a copy", bench_rows,
     true},
    {"loss", "fused linear cross-entropy beside the multiply kernel; its memory", bench_loss, true},
    {"attention", "256, 1,024 and 4,096 tokens: rate, growth of time and memory", bench_attention,
     true},
    {"train", "tokens/s and memory of `hone train`, beside PyTorch with --peers", bench_train,
     true},
    {"long", "tokens/s and memory of 1 x 4,096 tokens", bench_long, true},
    {"generate", "one stream beside read bandwidth, a prompt of 512 tokens beside peak",
     bench_generate, true},
    {"start", "seconds until training's first step", bench_start, true},
    {"cores", "speed-up by threads beside a register-only loop's; the same bits", bench_cores,
     true},
    {"agree", "200 steps in bfloat16 and float32: how far losses lie apart (minutes)", bench_agree,
     false},
};
enum { SECTIONS = sizeof sections / sizeof *sections };

static bench_options given = {.peer_limit = 300,
                              .hone = BENCH_HONE,
                              .json = BENCH_FOLDER "/report.json",
                              .html = BENCH_FOLDER "/report.html"};
static int keep, markdown, help;
static const char *from;

static const struct poptOption options[] = {
    {"quick", 0, POPT_ARG_NONE, &given.quick, 0, "fewer repeats: to see that it works", NULL},
    {"peers", 0, POPT_ARG_STRING, &given.peers, 0,
     "virtual environment with PyTorch (peers/README.md): `train` runs it in turns with hone",
     "VENV"},
    {"peer-limit", 0, POPT_ARG_INT | POPT_ARGFLAG_SHOW_DEFAULT, &given.peer_limit, 0,
     "seconds that a peer may take for its first two steps, and for each one after", "S"},
    {"model", 0, POPT_ARG_STRING, &given.model, 0, "SmolLM2-135M (default: that of `make run`)",
     "PATH"},
    {"data", 0, POPT_ARG_STRING, &given.data, 0, "folder with train.jsonl (default: WordNet)",
     "DIR"},
    {"hone", 0, POPT_ARG_STRING | POPT_ARGFLAG_SHOW_DEFAULT, &given.hone, 0,
     "the program to measure", "PATH"},
    {"json", 0, POPT_ARG_STRING | POPT_ARGFLAG_SHOW_DEFAULT, &given.json, 0, "the report", "FILE"},
    {"html", 0, POPT_ARG_STRING | POPT_ARGFLAG_SHOW_DEFAULT, &given.html, 0,
     "the report with charts", "FILE"},
    {"keep", 0, POPT_ARG_NONE, &keep, 0,
     "keep what the JSON file has of sections that do not run now: to measure in pieces", NULL},
    {"from", 0, POPT_ARG_STRING, &from, 0, "measure nothing: text and page of this JSON file",
     "FILE"},
    {"markdown", 0, POPT_ARG_NONE, &markdown, 0,
     "the tables of the README from the JSON file (--from); nothing else", NULL},
    {"help", 'h', POPT_ARG_NONE, &help, 0, "this text", NULL},
    POPT_TABLEEND,
};

static void print_help(poptContext context) {
    printf("Measures hone on this machine: every figure beside what limits it, in turns, with its "
           "median, minimum\nand 95%% interval, and says which bars it meets.\n\n"
           "Sections (all but the last unless named):\n");
    for (int i = 0; i < SECTIONS; i++) printf("  %-10s %s\n", sections[i].name, sections[i].about);
    printf("\n");
    poptPrintHelp(context, stdout, 0);
    printf(
        "\nExamples:\n"
        "  make bench                                   all of it, about ten minutes on 2 cores\n"
        "  make bench ARGS='gemm attention'             two sections\n"
        "  make bench PEERS=/tmp/peers ARGS=train       training beside PyTorch\n"
        "  make bench ARGS='--keep cores'               one section of an earlier report anew\n"
        "  make bench ARGS=--markdown                   the README's tables from the last report\n"
        "\nHONE_THREADS and HONE_CPU count here as for hone. docs/benchmarks.md tells how each "
        "figure is made.\n");
}

static int section_index(const char *name) {
    for (int i = 0; i < SECTIONS; i++)
        if (strcmp(name, sections[i].name) == 0) return i;
    return -1;
}

static bench open_bench(void) {
    bench b = {.options = given, .threads = hone_parallel_default_threads(), .rows = json_array()};
    hone_error err;
    unsigned features = 0;
    bench_need(hone_cpu_features(&features, &err), &err);
    hone_kernels_select(features, &b.kernels);
    b.loops = hone_loops_select(features);
    b.multiply_bf16 = hone_loops_select_bf16(features, &b.multiply_bf16_name);
    return b;
}

/* Paths under hone's own folder; they stay for the life of the program. */
static void find_inputs(bench *b) {
    char *home = hone_path_home();
    if (home && !b->options.model)
        b->options.model = hone_path_join(home, "models/SmolLM2-135M-Instruct.Q4_1.gguf");
    if (home && !b->options.data) b->options.data = hone_path_join(home, "data/wordnet");
    free(home);
}

/* A .gguf file as after a start of the machine: hone then reads it into the large pages that it asks for (base/file),
 * where another program may have left it in small ones. */
static void drop_from_cache(const char *path) {
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

/* What the library chooses; without a model to ask, what the CPU is made for. */
static hone_dtype default_compute(const bench *b) {
    hone_model *model = NULL;
    hone_model_info info;
    if (!b->options.model || hone_model_open(b->options.model, NULL, &model, NULL) != HONE_OK)
        return b->multiply_bf16 ? HONE_BF16 : HONE_F32;
    hone_model_get_info(model, &info);
    hone_dtype compute = strcmp(info.compute, "bf16") == 0 ? HONE_BF16 : HONE_F32;
    hone_model_free(&model);
    return compute;
}

/* Rows of an earlier report whose section is not to run. */
static void keep_rows(bench *b, const bool *wanted) {
    json_t *report = NULL;
    hone_error err;
    if (!hone_file_exists(given.json)) return;
    bench_need(hone_json_read(given.json, 64 << 20, &report, &err), &err);
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(report, "rows"), i, row) {
        const char *section = json_string_value(json_object_get(row, "section"));
        int index = section ? section_index(section) : -1;
        if (index >= 0 && !wanted[index]) json_array_append(b->rows, row);
    }
    json_decref(report);
}

static void write_page(const json_t *report) {
    hone_error err;
    hone_status status = bench_write_page(given.html, report, &err);
    if (status == HONE_OK)
        printf("page: %s\n", given.html);
    else
        fprintf(stderr, "bench: no page: %s\n", err.message);
}

static int show(void) {
    json_t *report = NULL, *row;
    size_t i;
    hone_error err;
    bench_need(hone_json_read(from ? from : given.json, 64 << 20, &report, &err), &err);
    if (markdown) {
        bench_print_markdown(report);
    } else {
        json_array_foreach(json_object_get(report, "rows"), i, row) bench_print_row(row);
        bench_print_summary(report);
        write_page(report);
    }
    json_decref(report);
    return EXIT_SUCCESS;
}

static int measure(const bool *wanted) {
    hone_error err;
    double start = hone_clock_seconds();
    bench b = open_bench();
    find_inputs(&b);
    drop_from_cache(b.options.model);
    b.compute = default_compute(&b);
    printf("%s, %s, %d threads, computing in %s\n", hone_cpu_model(),
           hone_cpu_tier_name(b.kernels.features), b.threads, hone_dtype_name(b.compute));
    if (keep) keep_rows(&b, wanted);
    for (int i = 0; i < SECTIONS; i++)
        if (wanted[i]) sections[i].run(&b);
    json_t *report = bench_report_json(&b, hone_clock_seconds() - start);
    if (!report) bench_need(hone_fail_memory(&err, "the report", 0), &err);
    bench_print_summary(report);
    bench_need(hone_json_write(given.json, report, &err), &err);
    printf("report: %s\n", given.json);
    write_page(report);
    json_decref(report);
    json_decref(b.rows);
    return EXIT_SUCCESS;
}

static int run(poptContext context) {
    int code = poptGetNextOpt(context);
    if (code < -1) {
        fprintf(stderr, "bench: %s: %s; try --help\n", poptBadOption(context, 0),
                poptStrerror(code));
        return 2;
    }
    if (help) {
        print_help(context);
        return EXIT_SUCCESS;
    }
    bool wanted[SECTIONS], some = false;
    for (int i = 0; i < SECTIONS; i++) wanted[i] = sections[i].by_default;
    for (const char *name; (name = poptGetArg(context)) != NULL; some = true) {
        int index = section_index(name);
        if (index < 0) {
            fprintf(stderr, "bench: there is no section \"%s\"; try --help\n", name);
            return 2;
        }
        if (!some) memset(wanted, 0, sizeof wanted);
        wanted[index] = true;
    }
    return from || markdown ? show() : measure(wanted);
}

int main(int argc, char **argv) {
    poptContext context = poptGetContext("bench", argc, (const char **)argv, options, 0);
    poptSetOtherOptionHelp(context, "[OPTION]... [SECTION]...");
    int code = run(context);
    poptFreeContext(context);
    return code;
}
