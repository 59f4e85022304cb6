/* Sets from shared objects: what is refused, what is inherited, what a kernel is lent, and a mode that it changed. */
#include "ops/ops_help.h"
#include "temp.h"

#include "base/cpu.h"
#include "ops/plugin.h"

#include <sys/stat.h>

static temp_folder temp;

static int make_folder(void **state) {
    (void)state;
    temp = temp_make();
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    temp_remove(&temp);
    return 0;
}

/* Compiles a file of kernels; the path is the caller's. */
static char *build(const char *body) {
    static int count;
    char name[32], command[1024];
    snprintf(name, sizeof name, "k%d", ++count);
    char *object = temp_path(&temp, name);
    snprintf(command, sizeof command,
             HONE_TEST_CC " -shared -fPIC -x c - -I" HONE_SOURCE_DIR "/include -o %s", object);
    FILE *compiler = popen(command, "w");
    assert_non_null(compiler);
    fprintf(compiler, "#include <hone_kernels.h>\n%s\n", body);
    assert_int_equal(pclose(compiler), 0);
    return object;
}

#define SET(members)                                                                               \
    "static const hone_kernel_set set = {" members                                                 \
    "}; const hone_kernel_set *hone_kernels_export(void) { return &set; }"
#define FORWARD(name, type)                                                                        \
    "static void f(const hone_host *h, const " type                                                \
    " *a, hone_saved *s) { (void)h; (void)a; (void)s; }"
#define BACKWARD(name, type)                                                                       \
    "static void b(const hone_host *h, const " type                                                \
    " *a, const hone_saved *s) { (void)h; (void)a; (void)s; }"
#define NORM FORWARD("rms_norm", "hone_rms_norm_args") BACKWARD("rms_norm", "hone_rms_norm_args")

static void assert_refused(char *object, const char *why) {
    hone_plugin *plugin;
    hone_error err;
    assert_int_equal(hone_plugin_open(object, &plugin, &err), HONE_ERR_FORMAT);
    assert_null(plugin);
    if (!strstr(err.message, why)) fail_msg("\"%s\" does not say \"%s\"", err.message, why);
    assert_non_null(strstr(err.message, object));
    free(object);
}

static void what_is_no_set_is_refused(void **state) {
    (void)state;
    char *text = temp_path(&temp, "text");
    FILE *file = fopen(text, "w");
    assert_true(file && fputs("no object", file) >= 0 && fclose(file) == 0);
    assert_refused(text, "no shared object with kernels");
    assert_refused(temp_path(&temp, "absent"), "no shared object with kernels");
    char *fifo = temp_path(&temp, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_refused(fifo, "it is not a regular file");
    assert_refused(build("int other;"), "exports no hone_kernels_export()");
    assert_refused(build("const hone_kernel_set *hone_kernels_export(void) { return 0; }"),
                   "returned no set");
    assert_refused(build(SET(".abi = 7")), "of version 7 of hone_kernels.h; expected 2");
    assert_refused(build(NORM SET(".abi = 2, .keeps_normed = true, .rms_norm_forward = f")),
                   "of rms_norm it has one pass alone");
    assert_refused(build(NORM SET(".abi = 2, .keeps_normed = true, .rms_norm_rebuild = b")),
                   "rms_norm_rebuild without rms_norm");
    assert_refused(build(NORM SET(".abi = 2, .rms_norm_forward = f, .rms_norm_backward = b")),
                   "keeps_normed has to be true");
}

static hone_plugin *open_built(const char *body) {
    hone_plugin *plugin;
    hone_error err;
    char *object = build(body);
    if (hone_plugin_open(object, &plugin, &err) != HONE_OK) fail_msg("%s", err.message);
    free(object);
    return plugin;
}

static void what_it_leaves_out_is_inherited(void **state) {
    (void)state;
    hone_plugin *none = open_built(SET(".abi = 2, .name = \"a b\\n\"")),
                *norm =
                    open_built(NORM SET(".abi = 2, .keeps_normed = true, .rms_norm_forward = f, "
                                        ".rms_norm_backward = b")),
                *linear = open_built(
                    FORWARD("lora_linear", "hone_lora_linear_args")
                        BACKWARD("lora_linear", "hone_lora_linear_args")
                            SET(".abi = 2, .lora_linear_forward = f, .lora_linear_backward = b"));
    const hone_op_set *ops = hone_plugin_ops(none);
    assert_string_equal(ops->name, "a_b_");
#define SAME(operation, type)                                                                      \
    assert_true(ops->operation##_forward == hone_ops_fused.operation##_forward &&                  \
                ops->operation##_backward == hone_ops_fused.operation##_backward);                 \
    assert_false(hone_plugin_has(none, HONE_OP_##operation));
    HONE_OPS(SAME)
#undef SAME
    assert_true(ops->linear_cross_entropy == hone_ops_fused.linear_cross_entropy);
    assert_true(ops->rms_norm_rebuild == hone_ops_fused.rms_norm_rebuild);

    ops = hone_plugin_ops(norm);
    assert_string_equal(ops->name, "file");
    assert_true(hone_plugin_has(norm, HONE_OP_rms_norm));
    assert_false(hone_plugin_has(norm, HONE_OP_lora_linear));
    assert_true(ops->rms_norm_forward != hone_ops_fused.rms_norm_forward && ops->keeps_normed);
    assert_null(ops->rms_norm_rebuild); /* the fused one does not know what this norm has saved */
    assert_non_null(ops->linear_cross_entropy);

    ops = hone_plugin_ops(linear);
    assert_null(ops->linear_cross_entropy); /* it would run in place of the file's linear layer */
    hone_plugin_close(&none);
    hone_plugin_close(&norm);
    hone_plugin_close(&linear);
    assert_null(linear);
    hone_plugin_close(&linear);
}

/* Sums each row of x by way of saved memory, scratch, the barrier and the team; turns on flushing when told by eps. */
#define SUMS                                                                                       \
    "static void f(const hone_host *h, const hone_rms_norm_args *a, hone_saved *s) {\n"            \
    "    float *kept = h->save(h, a->rows * 4);\n"                                                 \
    "    size_t mark = h->scratch_mark(h), begin, end;\n"                                          \
    "    float *sum = h->scratch(h, a->rows * 4);\n"                                               \
    "    if (h->planning) return;\n"                                                               \
    "    hone_share(h, a->rows, 3, &begin, &end);\n"                                               \
    "    for (size_t r = begin; r < end; r++) {\n"                                                 \
    "        sum[r] = 0;\n"                                                                        \
    "        for (size_t i = 0; i < a->hidden; i++) sum[r] += a->x[r * a->hidden + i];\n"          \
    "    }\n"                                                                                      \
    "    h->barrier(h);\n"                                                                         \
    "    if (h->rank == 0)\n"                                                                      \
    "        for (size_t r = 0; r < a->rows; r++) ((float *)a->y)[r] = kept[r] = sum[r];\n"        \
    "    h->scratch_release(h, mark);\n"                                                           \
    "    if (s) s->slot[0] = kept;\n"                                                              \
    "    if (a->eps > 1) {\n"                                                                      \
    "#ifdef __x86_64__\n"                                                                          \
    "        __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8000);\n"                         \
    "#endif\n"                                                                                     \
    "    }\n"                                                                                      \
    "}\n"                                                                                          \
    "static void b(const hone_host *h, const hone_rms_norm_args *a, const hone_saved *s) {\n"      \
    "    const float *kept = s->slot[0];\n"                                                        \
    "    h->save(h, 64);\n"                                                                        \
    "    if (!h->planning && h->rank == 0)\n"                                                      \
    "        for (size_t r = 0; r < a->rows; r++) a->dx[r] = 2 * kept[r];\n"                       \
    "}\n" SET(".abi = 2, .keeps_normed = true, .rms_norm_forward = f, .rms_norm_backward = b")

enum { ROWS = 10, HIDDEN = 3 };

typedef struct problem {
    const hone_op_set *set;
    hone_rms_norm_args args;
    size_t saved, scratch; /* left by each thread: the last one's */
} problem;

static void body(hone_ctx *ctx, void *argument) {
    problem *p = argument;
    hone_saved saved = {{0}};
    ctx->ops = p->set;
    p->set->rms_norm_forward(ctx, &p->args, &saved);
    if (ctx->team.rank == 0) p->saved = ctx->arena.saved;
    p->set->rms_norm_backward(ctx, &p->args, &saved);
    if (ctx->team.rank == 0 && p->saved != ctx->arena.saved) p->saved = SIZE_MAX;
    if (ctx->team.rank == 0) p->scratch = ctx->arena.scratch;
}

static void kernels_are_lent_memory_and_a_team(void **state) {
    (void)state;
    hone_plugin *plugin = open_built(SUMS);
    hone_kernels kernels;
    hone_kernels_select(0, &kernels);
    float x[ROWS * HIDDEN], gamma[HIDDEN] = {1, 1, 1};
    for (int i = 0; i < ROWS * HIDDEN; i++) x[i] = (float)i;
    for (int threads = 1; threads <= 3; threads++) {
        float y[ROWS] = {0}, dx[ROWS] = {0};
        problem p = {
            .set = hone_plugin_ops(plugin),
            .args = {.rows = ROWS, .hidden = HIDDEN, .x = x, .gamma = gamma, .y = y, .dx = dx}};
        ops_run(&kernels, HONE_F32, threads, body, &p);
        for (int r = 0; r < ROWS; r++) {
            assert_true(y[r] == (float)(9 * r + 3));
            assert_true(dx[r] == 2 * y[r]);
        }
        assert_int_equal(p.saved, 64); /* what backward saves is given back */
        assert_int_equal(p.scratch, 0);
        assert_false(hone_plugin_changed_mode(plugin));
    }
#ifdef __x86_64__
    float y[ROWS], dx[ROWS];
    unsigned before = hone_cpu_float_mode();
    problem p = {
        .set = hone_plugin_ops(plugin),
        .args = {
            .rows = ROWS, .hidden = HIDDEN, .x = x, .gamma = gamma, .y = y, .dx = dx, .eps = 2}};
    ops_run(&kernels, HONE_F32, 1, body, &p);
    assert_true(hone_plugin_changed_mode(plugin));
    assert_int_equal(hone_cpu_float_mode(), before);
#endif
    hone_plugin_close(&plugin);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_set_is_refused),
        cmocka_unit_test(what_it_leaves_out_is_inherited),
        cmocka_unit_test(kernels_are_lent_memory_and_a_team),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
