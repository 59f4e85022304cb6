/* cli/cmd_tune: measures how work is best cut for this machine's caches, and keeps what it found. */
#define _POSIX_C_SOURCE 200809L
#include "commands.h"
#include "common.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { USUAL_SECONDS = 45, MOST_SECONDS = 60 };

static struct {
    char *compute;
    int threads, seconds, json, reset;
} given;

static struct poptOption options[] = {
    {"seconds", 0, POPT_ARG_INT | POPT_ARGFLAG_SHOW_DEFAULT, &given.seconds, 0,
     "it ends by then, 1 to 60; in a few seconds little\nis found", "N"},
    {"compute", 0, POPT_ARG_STRING, &given.compute, 0,
     "auto (default: what models compute in here),\nf32 or bf16; each is kept by itself", "TYPE"},
    {"threads", 0, POPT_ARG_INT, &given.threads, 0, "default: all processors", "N"},
    {"reset", 0, POPT_ARG_NONE, &given.reset, 0, "remove what was kept: back to the defaults",
     NULL},
    {"json", 0, POPT_ARG_NONE, &given.json, 0, "one JSON object at the end, for programs", NULL},
    POPT_TABLEEND,
};

static const hone_cli_verb verb = {
    .name = "tune",
    .arguments = "[OPTION]...",
    .about =
        "Tries a few ways of cutting work to fit this machine's caches, on the products and the "
        "loss of\n"
        "a real model's shapes, in turns with the defaults. What is clearly faster is kept in\n"
        "$HONE_HOME/tuning.json (default ~/.cache/hone), and `hone train`, `eval` and `generate` "
        "use it\n"
        "on this processor. Results stay the same to the last bit; only time changes. Nothing else "
        "should\n"
        "run meanwhile. That nothing is clearly faster is a good answer too.",
    .examples = "  hone tune             measure, show, keep\n"
                "  hone info             the blocking in use and where it comes from\n"
                "  hone tune --reset     forget it\n",
    .options = options,
};

/* ---- text ---- */

static hone_cli_progress bar;

static bool is_size(const hone_tune_trial *t) { return strcmp(t->constant, "packed_bytes") == 0; }

static const char *verdict(const hone_tune_trial *t) {
    if (isnan(t->gain)) return "too few measurements";
    return t->low > 1 ? "faster" : t->high < 1 ? "slower" : "no difference";
}

static void print_trial(void *user, const hone_tune_trial *t) {
    char value[24], base[24];
    (void)user;
    if (given.json) return;
    hone_cli_progress_clear(&bar);
    if (t->value == 0) {
        printf("%-36s", "all that was chosen, measured again");
    } else {
        const char *format = is_size(t) ? "%.0f KiB" : "%.0f";
        double unit = is_size(t) ? 1024 : 1;
        snprintf(value, sizeof value, format, (double)t->value / unit);
        snprintf(base, sizeof base, format, (double)t->base / unit);
        printf("%-12s %8s for %-9s ", t->constant, value, base);
    }
    if (isnan(t->gain))
        printf("%s\n", verdict(t));
    else
        printf("%.3fx  [%.3f, %.3f]  %s\n", t->gain, t->low, t->high, verdict(t));
    fflush(stdout);
}

static bool on_progress(void *user, const char *what, double fraction) {
    (void)user;
    if (!given.json) hone_cli_progress_show(&bar, what, fraction);
    return !hone_cli_interrupted();
}

static const char *word_of(hone_compute compute) {
    return compute == HONE_COMPUTE_BF16 ? "bf16" : "f32";
}

/* What that says depends on how small a gain could have been seen. */
static void print_nothing_faster(const hone_tune_result *r, const char *text) {
    double widest = 0;
    for (size_t i = 0; i < r->trial_count; i++)
        if (isfinite(r->trials[i].high - r->trials[i].low))
            widest = fmax(widest, r->trials[i].high - r->trials[i].low);
    printf("Nothing was clearly faster than the defaults: %s.\n", text);
    if (widest > 0)
        printf(
            "The intervals were up to %.1f%% wide: smaller gains are not seen, and a busy machine "
            "hides more.\n",
            100 * widest);
}

static void print_end(const hone_tune_result *r, const char *path) {
    hone_blocking use = {r->chosen.packed_bytes ? r->chosen.packed_bytes : r->base.packed_bytes,
                         r->chosen.loss_rows ? r->chosen.loss_rows : r->base.loss_rows};
    char text[96];
    hone_cli_blocking(&use, text);
    printf("\n%s, %d threads, %d rows, %.0f s\n", word_of(r->compute), r->threads, r->rows,
           r->seconds);
    if (r->chosen.packed_bytes == 0)
        print_nothing_faster(r, text);
    else
        printf("Chosen: %s: %.1f%% faster than the defaults.\n", text,
               100 * (r->trials[r->trial_count - 1].gain - 1));
    if (path) printf("Kept in %s\n", path);
}

/* ---- JSON ---- */

static json_t *real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *blocking_json(const hone_blocking *b) {
    return json_pack("{s:I, s:I}", "packed_bytes", (json_int_t)b->packed_bytes, "loss_rows",
                     (json_int_t)b->loss_rows);
}

static int print_json(const hone_tune_result *r, const char *path) {
    json_t *trials = json_array();
    for (size_t i = 0; trials && i < r->trial_count; i++) {
        const hone_tune_trial *t = &r->trials[i];
        json_array_append_new(trials,
                              json_pack("{s:s, s:I, s:I, s:o, s:[o, o], s:i}", "constant",
                                        t->constant, "value", (json_int_t)t->value, "base",
                                        (json_int_t)t->base, "gain", real(t->gain), "interval",
                                        real(t->low), real(t->high), "pairs", t->pairs));
    }
    json_t *chosen = r->chosen.packed_bytes ? blocking_json(&r->chosen) : json_null();
    json_t *root =
        json_pack("{s:s, s:i, s:i, s:f, s:o, s:o, s:o, s:s?}", "compute", word_of(r->compute),
                  "threads", r->threads, "rows", r->rows, "seconds", r->seconds, "defaults",
                  blocking_json(&r->base), "chosen", chosen, "trials", trials, "path", path);
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(root);
    if (!text) {
        hone_error err = {HONE_ERR_MEMORY, "the result cannot be written as JSON"};
        return hone_cli_fail(verb.name, &err);
    }
    puts(text);
    free(text);
    return HONE_EXIT_OK;
}

/* ---- the work ---- */

/* What was kept for the other type of compute stays; a file that cannot be used is written anew. */
static hone_status keep(const char *path, const hone_tune_result *r, hone_error *err) {
    hone_tuning tuning;
    bool found;
    (void)hone_tuning_read(path, &tuning, &found, NULL);
    *(r->compute == HONE_COMPUTE_BF16 ? &tuning.bf16 : &tuning.f32) = r->chosen;
    return hone_tuning_write(path, &tuning, err);
}

static int tune(const char *path, hone_compute compute) {
    hone_tune_options o = {.compute = compute,
                           .threads = given.threads,
                           .seconds = given.seconds,
                           .on_trial = print_trial,
                           .on_progress = on_progress};
    hone_tune_result result;
    hone_error err;
    hone_cli_catch_signals();
    bar = hone_cli_progress_start();
    hone_status status = hone_tune(&o, &result, &err);
    hone_cli_progress_clear(&bar);
    if (status != HONE_OK) return hone_cli_fail(verb.name, &err);
    bool kept = keep(path, &result, &err) == HONE_OK;
    int code = HONE_EXIT_OK;
    if (given.json)
        code = print_json(&result, kept ? path : NULL);
    else
        print_end(&result, kept ? path : NULL);
    return kept ? code
                : hone_cli_fail(verb.name, &err); /* what was measured is shown all the same */
}

static int reset(const char *path) {
    if (unlink(path) == 0) {
        printf("Removed %s: the defaults are used.\n", path);
        return HONE_EXIT_OK;
    }
    if (errno == ENOENT) {
        printf("Nothing was kept in %s: the defaults are used.\n", path);
        return HONE_EXIT_OK;
    }
    hone_error err = {.status = HONE_ERR_IO};
    snprintf(err.message, sizeof err.message, "cannot remove %s: %s", path, strerror(errno));
    return hone_cli_fail(verb.name, &err);
}

static int run(void) {
    hone_compute compute;
    if (!hone_cli_parse_compute(given.compute, &compute))
        return hone_cli_usage(verb.name, "--compute %s: expected auto, f32 or bf16", given.compute);
    if (given.seconds < 1 || given.seconds > MOST_SECONDS)
        return hone_cli_usage(verb.name, "--seconds %d: expected 1 to %d", given.seconds,
                              MOST_SECONDS);
    if (given.threads < 0)
        return hone_cli_usage(verb.name, "--threads %d: expected 0 or more", given.threads);
    char *path = hone_tuning_path();
    if (!path) {
        hone_error err = {HONE_ERR_MEMORY, "out of memory"};
        return hone_cli_fail(verb.name, &err);
    }
    int code = given.reset ? reset(path) : tune(path, compute);
    free(path);
    return code;
}

int hone_cmd_tune(int argc, const char **argv) {
    hone_cli_arguments arguments;
    given.seconds = USUAL_SECONDS;
    int code = hone_cli_parse(&verb, argc, argv, &arguments);
    if (code != HONE_CLI_GO) return code;
    code = run();
    hone_cli_arguments_free(&arguments);
    return code;
}
