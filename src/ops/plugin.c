/* ops/plugin: see plugin.h. Each operation of a plugin's set is a function here that lends the object's kernel a host
 * and takes back what it was lent. */
#include "ops/plugin.h"

#include "base/cpu.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct hone_plugin {
    hone_op_set ops;
    hone_kernel_set set; /* the object's, with NULL for what is inherited */
    void *object;
    char name[64];
    atomic_bool changed_mode;
};

/* ---- the host ---- */

static hone_ctx *ctx_of(const hone_host *host) { return host->inside; }

static void *host_scratch(const hone_host *host, size_t bytes) {
    return hone_arena_scratch(&ctx_of(host)->arena, bytes);
}

static void *host_save(const hone_host *host, size_t bytes) {
    return hone_arena_save(&ctx_of(host)->arena, bytes);
}

static size_t host_scratch_mark(const hone_host *host) {
    return hone_arena_get_mark(&ctx_of(host)->arena).scratch;
}

static void host_scratch_release(const hone_host *host, size_t mark) {
    hone_arena *arena = &ctx_of(host)->arena;
    if (mark <= arena->scratch) arena->scratch = mark;
}

static void host_barrier(const hone_host *host) {
    if (!host->planning) hone_barrier(ctx_of(host)->team);
}

static void host_matmul(const hone_host *host, const hone_matmul_args *args) {
    hone_matmul(ctx_of(host), args);
}

static void host_unpack(const hone_host *host, const hone_matrix *w, size_t row, size_t col,
                        size_t count, hone_dtype out, void *dst) {
    ctx_of(host)->kernels->unpack(w, row, col, count, out, dst);
}

/* One call of one kernel. */
typedef struct call {
    hone_plugin *plugin;
    hone_host host;
    hone_arena_mark mark;
    unsigned mode;
} call;

static call begin_call(hone_ctx *ctx) {
    return (call){.plugin = ctx->ops->inside,
                  .host = {.rank = ctx->team.rank,
                           .size = ctx->team.size,
                           .compute = ctx->compute,
                           .planning = hone_ctx_planning(ctx),
                           .inside = ctx,
                           .scratch = host_scratch,
                           .save = host_save,
                           .scratch_mark = host_scratch_mark,
                           .scratch_release = host_scratch_release,
                           .barrier = host_barrier,
                           .matmul = host_matmul,
                           .unpack = host_unpack},
                  .mark = hone_arena_get_mark(&ctx->arena),
                  .mode = hone_cpu_float_mode()};
}

/* `keeps`: what was saved stays, for backward. */
static void end_call(hone_ctx *ctx, const call *c, bool keeps) {
    hone_arena_release_scratch(&ctx->arena, c->mark);
    if (!keeps) hone_arena_release_saved(&ctx->arena, c->mark);
    if (hone_cpu_float_mode() != c->mode) {
        hone_cpu_set_float_mode(c->mode);
        atomic_store(&c->plugin->changed_mode, true);
    }
    host_barrier(&c->host);
}

/* ---- the set ---- */

#define OPERATION(name, type)                                                                      \
    static void name##_forward(hone_ctx *ctx, const type *args, hone_saved *saved) {               \
        call c = begin_call(ctx);                                                                  \
        c.plugin->set.name##_forward(&c.host, args, saved);                                        \
        end_call(ctx, &c, saved != NULL);                                                          \
    }                                                                                              \
    static void name##_backward(hone_ctx *ctx, const type *args, const hone_saved *saved) {        \
        call c = begin_call(ctx);                                                                  \
        c.plugin->set.name##_backward(&c.host, args, saved);                                       \
        end_call(ctx, &c, false);                                                                  \
    }
HONE_OPS(OPERATION)
#undef OPERATION

static void linear_cross_entropy(hone_ctx *ctx, const hone_linear_cross_entropy_args *args) {
    call c = begin_call(ctx);
    c.plugin->set.linear_cross_entropy(&c.host, args);
    end_call(ctx, &c, false);
}

static void rms_norm_rebuild(hone_ctx *ctx, const hone_rms_norm_args *args,
                             const hone_saved *saved) {
    call c = begin_call(ctx);
    c.plugin->set.rms_norm_rebuild(&c.host, args, saved);
    end_call(ctx, &c, false);
}

/* Puts the object's operations in place of the inherited ones. */
static void take_operations(hone_plugin *p) {
    const hone_kernel_set *set = &p->set;
    hone_op_set *ops = &p->ops;
#define TAKE(operation, type)                                                                      \
    if (set->operation##_forward) {                                                                \
        ops->operation##_forward = operation##_forward;                                            \
        ops->operation##_backward = operation##_backward;                                          \
    }
    HONE_OPS(TAKE)
#undef TAKE
    ops->keeps_residual = set->keeps_residual;
    ops->keeps_normed = set->keeps_normed;
    ops->separate_rope = set->separate_rope;
    if (set->rms_norm_forward)
        ops->rms_norm_rebuild = set->rms_norm_rebuild ? rms_norm_rebuild : NULL;
    /* The inherited composite would run in place of kernels that the object has. */
    if (set->linear_cross_entropy)
        ops->linear_cross_entropy = linear_cross_entropy;
    else if (set->cross_entropy_loss_forward || set->lora_linear_forward)
        ops->linear_cross_entropy = NULL;
}

static hone_status check_set(const char *path, const hone_kernel_set *set, hone_error *err) {
    if (set->abi != HONE_KERNELS_ABI)
        return hone_fail(
            err, HONE_ERR_FORMAT,
            "%s: its kernels are of version %u of hone_kernels.h; expected %d: compile "
            "it again with this hone's",
            path, (unsigned)set->abi, HONE_KERNELS_ABI);
#define PAIR(operation, type)                                                                      \
    if (!set->operation##_forward != !set->operation##_backward)                                   \
        return hone_fail(err, HONE_ERR_FORMAT,                                                     \
                         "%s: of %s it has one pass alone; expected both, or neither to inherit",  \
                         path, #operation);
    HONE_OPS(PAIR)
#undef PAIR
    if (set->rms_norm_rebuild && !set->rms_norm_forward)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: it has rms_norm_rebuild without rms_norm, whose saved tensors it "
                         "would have to know",
                         path);
    if (set->rms_norm_forward && !set->rms_norm_rebuild && !set->keeps_normed)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: without rms_norm_rebuild keeps_normed has to be true", path);
    return HONE_OK;
}

/* dlerror's words without the path, which every message here begins with. */
static hone_status fail_load(const char *path, hone_error *err) {
    const char *words = dlerror();
    size_t length = strlen(path);
    if (!words) words = "it cannot be loaded";
    if (strncmp(words, path, length) == 0 && strncmp(words + length, ": ", 2) == 0)
        words += length + 2;
    return hone_fail(err, HONE_ERR_FORMAT, "%s: no shared object with kernels: %s", path, words);
}

static void copy_name(hone_plugin *p, const char *name) {
    size_t used = 0;
    for (; name && *name && used + 1 < sizeof p->name; name++)
        p->name[used++] = *name > ' ' && *name < 0x7f ? *name : '_';
    if (used == 0) snprintf(p->name, sizeof p->name, "file");
}

static hone_status load(hone_plugin *p, const char *path, hone_error *err) {
    const hone_kernel_set *(*export)(void);
    char here[4096]; /* a name without a slash would be searched for */
    if (snprintf(here, sizeof here, "%s%s", strchr(path, '/') ? "" : "./", path) >=
        (int)sizeof here)
        return hone_fail(err, HONE_ERR_USAGE, "%.80s...: the path is too long", path);
    struct stat info; /* opening a FIFO would wait for who writes into it */
    if (stat(here, &info) == 0 && !S_ISREG(info.st_mode))
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: no shared object with kernels: it is not a regular file", path);
    p->object = dlopen(here, RTLD_NOW | RTLD_LOCAL);
    if (!p->object) return fail_load(here, err);
    void *symbol = dlsym(p->object, "hone_kernels_export");
    if (!symbol)
        return hone_fail(err, HONE_ERR_FORMAT,
                         "%s: it exports no hone_kernels_export(); see hone_kernels.h", path);
    memcpy(&export, &symbol, sizeof export);
    const hone_kernel_set *set = export();
    if (!set)
        return hone_fail(err, HONE_ERR_FORMAT, "%s: hone_kernels_export() returned no set", path);
    HONE_TRY(check_set(path, set, err));
    p->set = *set;
    copy_name(p, set->name);
    p->ops = hone_ops_fused;
    p->ops.name = p->name;
    p->ops.inside = p;
    take_operations(p);
    return HONE_OK;
}

hone_status hone_plugin_open(const char *path, hone_plugin **out, hone_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out) return hone_fail_memory(err, "kernels from a file", sizeof **out);
    hone_status status = load(*out, path, err);
    if (status != HONE_OK) hone_plugin_close(out);
    return status;
}

void hone_plugin_close(hone_plugin **plugin) {
    if (!plugin || !*plugin) return;
    if ((*plugin)->object) dlclose((*plugin)->object);
    free(*plugin);
    *plugin = NULL;
}

const hone_op_set *hone_plugin_ops(const hone_plugin *plugin) { return &plugin->ops; }

bool hone_plugin_has(const hone_plugin *plugin, hone_op op) {
    const bool has[HONE_OP_COUNT] = {
#define HAS(operation, type) plugin->set.operation##_forward != NULL,
        HONE_OPS(HAS)
#undef HAS
    };
    return has[op];
}

bool hone_plugin_changed_mode(const hone_plugin *plugin) {
    return atomic_load(&plugin->changed_mode);
}
