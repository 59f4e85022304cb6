/* cases/run: the buffers of a run, its passes and its memory. Layer cases. */
#include "cases/internal.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void hone_case_declare(hone_case_run *run, size_t index, const char *name, hone_case_role role,
                       hone_case_pass pass, hone_dtype dtype, size_t rows, size_t cols,
                       double scale) {
    run->tensor[index] = (hone_case_tensor){.name = name,
                                            .role = role,
                                            .pass = pass,
                                            .dtype = dtype,
                                            .rows = rows,
                                            .cols = cols,
                                            .scale = scale,
                                            .group = dtype == HONE_AFFINE4 ? run->shape.group : 0};
}

static bool is_fixed(const hone_case_tensor *t) { return t->role == HONE_CASE_INPUT; }

/* Whole pages of a tensor, and the unused one behind them. */
static hone_status tensor_pages(hone_case_tensor *t, size_t *bytes, hone_error *err) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), usable;
    *bytes = 0;
    if (hone_case_tensor_bytes(t, &t->bytes) &&
        hone_size_align(HONE_MAX(t->bytes, 1), page, &usable) && hone_size_add(usable, page, bytes))
        return HONE_OK;
    return hone_fail(err, HONE_ERR_USAGE,
                     "case tensor %s: %zu x %zu elements of %s cannot be laid out", t->name,
                     t->rows, t->cols, hone_dtype_name(t->dtype));
}

static hone_status measure(hone_case_run *run, size_t bytes[HONE_CASE_SPACES], hone_error *err) {
    bytes[HONE_CASE_FIXED] = bytes[HONE_CASE_CHANGING] = 0;
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        hone_case_tensor *t = &run->tensor[i];
        size_t own = 0, *sum = &bytes[is_fixed(t) ? HONE_CASE_FIXED : HONE_CASE_CHANGING];
        if (!t->name) continue;
        HONE_TRY(tensor_pages(t, &own, err));
        if (!hone_size_add(*sum, own, sum)) return hone_fail_memory(err, t->name, own);
    }
    return HONE_OK;
}

static hone_status place(hone_case_tensor *t, bool guarded, hone_case_room *room, hone_error *err) {
    hone_case_space *space = &room->space[is_fixed(t) ? HONE_CASE_FIXED : HONE_CASE_CHANGING];
    size_t bytes = 0, page = (size_t)sysconf(_SC_PAGESIZE);
    HONE_TRY(tensor_pages(t, &bytes, err));
    if (bytes > space->bytes - space->used) return hone_fail_memory(err, t->name, bytes);
    char *at = space->base + space->used, *guard = at + bytes - page;
    space->used += bytes;
    t->data = guarded ? guard - t->bytes : at;
    if (room->guards && mprotect(guard, page, PROT_NONE) != 0)
        return hone_fail_memory(err, t->name, bytes);
    return HONE_OK;
}

/* Pages for a run alone. */
static hone_status own_room(hone_case_run *run, hone_case_room *room, hone_error *err) {
    size_t bytes[HONE_CASE_SPACES], all;
    HONE_TRY(measure(run, bytes, err));
    if (!hone_size_add(bytes[HONE_CASE_FIXED], bytes[HONE_CASE_CHANGING], &all))
        return hone_fail_memory(err, "a case", SIZE_MAX);
    void *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return hone_fail_memory(err, "a case", all);
    run->pages = p;
    run->page_bytes = all;
    *room = (hone_case_room){.guards = true};
    room->space[HONE_CASE_FIXED] = (hone_case_space){p, bytes[HONE_CASE_FIXED], 0};
    room->space[HONE_CASE_CHANGING] =
        (hone_case_space){(char *)p + bytes[HONE_CASE_FIXED], bytes[HONE_CASE_CHANGING], 0};
    return HONE_OK;
}

/* FNV-1a, eight bytes at a time. */
uint64_t hone_case_hash(const void *data, size_t bytes, uint64_t start) {
    uint64_t h = start ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, (const char *)data + i, HONE_MIN(bytes - i, 8));
        h = (h ^ word) * 0x100000001b3u;
        h ^= h >> 29;
    }
    return h;
}

/* What reset restores and compare checks. */
static hone_status keep_start(hone_case_tensor *t, hone_error *err) {
    if (t->role == HONE_CASE_INPUT) {
        t->hash = hone_case_hash(t->data, t->bytes, 0);
    } else if (t->role != HONE_CASE_OUTPUT) {
        t->start = malloc(HONE_MAX(t->bytes, 1));
        if (!t->start) return hone_fail_memory(err, t->name, t->bytes);
        memcpy(t->start, t->data, t->bytes);
    }
    return HONE_OK;
}

bool hone_case_has(const hone_case *kind, const hone_op_set *set, hone_case_pass pass) {
    if (pass != HONE_CASE_REBUILD) return kind->pass[pass] != NULL;
    return kind == &hone_case_rms_norm && set->rms_norm_rebuild != NULL;
}

static void declare(hone_case_run *run, const hone_case *kind, const hone_case_shape *shape,
                    const hone_op_set *set) {
    *run = (hone_case_run){.kind = kind, .set = set, .shape = *shape};
    if (run->shape.magnitude == 0) run->shape.magnitude = 1;
    if (run->shape.rope_dim == 0) run->shape.rope_dim = run->shape.head_dim;
    kind->declare(run);
}

hone_status hone_case_measure(const hone_case *kind, const hone_case_shape *shape,
                              const hone_op_set *set, size_t bytes[HONE_CASE_SPACES],
                              hone_error *err) {
    hone_case_run run;
    declare(&run, kind, shape, set);
    return measure(&run, bytes, err);
}

hone_status hone_case_open(const hone_case *kind, const hone_case_shape *shape,
                           const hone_op_set *set, uint64_t seed, bool guarded,
                           hone_case_room *room, hone_case_run *run, hone_error *err) {
    hone_case_room own;
    hone_rng rng = hone_rng_make(seed);
    declare(run, kind, shape, set);
    if (!room) HONE_TRY(own_room(run, &own, err));
    if (!room) room = &own;
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        hone_case_tensor *t = &run->tensor[i];
        if (!t->name) continue;
        HONE_TRY(place(t, guarded, room, err));
        if (!room->filled && t->role != HONE_CASE_OUTPUT) hone_case_fill(t, &rng);
    }
    if (!room->filled && kind->fill) kind->fill(run, &rng);
    HONE_TRY(kind->bind(run, err));
    if (room->filled) return HONE_OK;
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        if (run->tensor[i].name) HONE_TRY(keep_start(&run->tensor[i], err));
    }
    hone_case_reset(run);
    return HONE_OK;
}

void hone_case_close(hone_case_run *run) {
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        hone_case_tensor *t = &run->tensor[i];
        free(t->start);
        free(t->values);
        free(t->want);
    }
    free(run->segments);
    if (run->pages) munmap(run->pages, run->page_bytes);
    *run = (hone_case_run){0};
}

void hone_case_reset_from(const hone_case_run *run, const hone_case_run *start, hone_team team) {
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        const char *from = start->tensor[i].start;
        size_t begin, end;
        hone_split(team, t->bytes, 4096, &begin, &end);
        if (from)
            memcpy((char *)t->data + begin, from + begin, end - begin);
        else if (t->name && t->role == HONE_CASE_OUTPUT)
            memset((char *)t->data + begin, 0xff, end - begin);
    }
}

void hone_case_reset(const hone_case_run *run) {
    hone_case_reset_from(run, run, (hone_team){.size = 1});
}

bool hone_case_forget(const hone_case_run *run, const hone_case_run *start) {
    bool same = true;
    for (size_t i = 0; i < HONE_CASE_TENSORS; i++) {
        const hone_case_tensor *t = &run->tensor[i];
        if (!t->name || t->role != HONE_CASE_RESIDUAL) continue;
        if (memcmp(t->data, start->tensor[i].start, t->bytes) != 0) same = false;
        if (!run->set->keeps_residual) memset(t->data, 0xff, t->bytes);
    }
    return same;
}

void hone_case_run_pass(const hone_case_run *run, hone_case_pass pass, hone_ctx *ctx,
                        hone_saved *saved) {
    if (!hone_ctx_planning(ctx)) hone_barrier(ctx->team);
    ctx->ops = run->set;
    run->kind->pass[pass](run, ctx, saved);
}

hone_case_memory hone_case_plan(const hone_case_run *run, const hone_kernels *kernels,
                                int threads) {
    hone_case_memory memory = {0};
    hone_ctx ctx = {.team = {.size = threads},
                    .kernels = kernels,
                    .compute = run->shape.compute,
                    .arena = hone_arena_plan()};
    hone_saved saved = {0};
    static const hone_case_pass order[] = {HONE_CASE_FORWARD, HONE_CASE_REBUILD,
                                           HONE_CASE_BACKWARD};
    for (size_t i = 0; i < HONE_CASE_PASSES; i++) {
        hone_case_pass pass = order[i];
        if (!hone_case_has(run->kind, run->set, pass)) continue;
        for (size_t t = 0; t < HONE_CASE_TENSORS; t++) {
            const hone_case_tensor *tensor = &run->tensor[t];
            if (tensor->name && tensor->role == HONE_CASE_OUTPUT && tensor->pass == pass) {
                memory.outputs[pass] += tensor->bytes;
            }
        }
        hone_arena_restart_peak(&ctx.arena);
        hone_case_run_pass(run, pass, &ctx, &saved);
        memory.peak[pass] = memory.outputs[pass] + ctx.arena.peak;
        memory.arena = HONE_MAX(memory.arena, ctx.arena.peak);
    }
    ctx.arena = hone_arena_plan();
    hone_case_run_pass(run, HONE_CASE_FORWARD, &ctx, NULL);
    memory.arena = HONE_MAX(memory.arena, ctx.arena.peak);
    return memory;
}

/* ---- what several operations share ------------------------------------------------------- */

void hone_case_declare_linear(hone_case_run *run, size_t first, hone_case_linear_name name,
                              hone_case_pass pass, size_t in, size_t out) {
    static const char *const names[3][LINEAR_SLOTS] = {
        {"weight", "bias", "a", "b", "dweight", "dbias", "da", "db"},
        {"gate.weight", "gate.bias", "gate.a", "gate.b", "gate.dweight", "gate.dbias", "gate.da",
         "gate.db"},
        {"up.weight", "up.bias", "up.a", "up.b", "up.dweight", "up.dbias", "up.da", "up.db"}};
    const char *const *n = names[name];
    const size_t rank = run->shape.rank;
    const double small = 1 / sqrt((double)in);
    hone_case_declare(run, first + LINEAR_W, n[LINEAR_W], HONE_CASE_INPUT, pass, run->shape.weight,
                      out, in, small);
    if (run->shape.trained) {
        hone_case_declare(run, first + LINEAR_BIAS, n[LINEAR_BIAS], HONE_CASE_INPUT, pass, HONE_F32,
                          1, out, 0.5);
        hone_case_declare(run, first + LINEAR_DW, n[LINEAR_DW], HONE_CASE_ADDED, pass, HONE_F32,
                          out, in, 1);
        hone_case_declare(run, first + LINEAR_DBIAS, n[LINEAR_DBIAS], HONE_CASE_ADDED, pass,
                          HONE_F32, 1, out, 1);
    }
    if (rank > 0) {
        double b = 1 / sqrt((double)rank);
        hone_case_declare(run, first + LINEAR_A, n[LINEAR_A], HONE_CASE_INPUT, pass, HONE_F32, rank,
                          in, small);
        hone_case_declare(run, first + LINEAR_B, n[LINEAR_B], HONE_CASE_INPUT, pass, HONE_F32, out,
                          rank, b);
        if (!(run->shape.frozen & HONE_FROZEN_A))
            hone_case_declare(run, first + LINEAR_DA, n[LINEAR_DA], HONE_CASE_ADDED, pass, HONE_F32,
                              rank, in, 1);
        if (!(run->shape.frozen & HONE_FROZEN_B))
            hone_case_declare(run, first + LINEAR_DB, n[LINEAR_DB], HONE_CASE_ADDED, pass, HONE_F32,
                              out, rank, 1);
    }
}

#define LORA_SCALE 0.75f

void hone_case_bind_linear(hone_case_run *run, size_t first, int which) {
    run->linear[which] = (hone_linear){.weight = hone_case_matrix(&run->tensor[first + LINEAR_W]),
                                       .bias = hone_case_data(run, first + LINEAR_BIAS),
                                       .lora = {.rank = (int)run->shape.rank,
                                                .scale = LORA_SCALE,
                                                .a = hone_case_data(run, first + LINEAR_A),
                                                .b = hone_case_data(run, first + LINEAR_B),
                                                .da = hone_case_data(run, first + LINEAR_DA),
                                                .db = hone_case_data(run, first + LINEAR_DB)},
                                       .dweight = hone_case_data(run, first + LINEAR_DW),
                                       .dbias = hone_case_data(run, first + LINEAR_DBIAS)};
}

double hone_case_linear_size(const hone_case_run *run, size_t first, size_t tensor, double x,
                             double dy) {
    const hone_case_tensor *w = &run->tensor[first + LINEAR_W];
    double sum = x * dy * sqrt((double)hone_case_rows(&run->shape));
    if (tensor == first + LINEAR_DW) return sum;
    if (tensor == first + LINEAR_DBIAS) return sum / x;
    if (tensor == first + LINEAR_DB) return (double)LORA_SCALE * sum;
    if (tensor == first + LINEAR_DA)
        return (double)LORA_SCALE * sum * sqrt((double)w->rows / (double)run->shape.rank);
    return 0;
}

hone_ref_linear hone_case_ref_linear(const hone_case_run *run, size_t first) {
    const hone_case_tensor *t = run->tensor + first;
    if (run->shape.compute == HONE_BF16) { /* weights take part in the product as bfloat16 */
        for (size_t i = 0; i < t[LINEAR_W].rows * t[LINEAR_W].cols; i++) {
            double *w = &t[LINEAR_W].values[i];
            *w = (double)hone_bf16_to_f32(hone_f32_to_bf16((float)*w));
        }
    }
    return (hone_ref_linear){.in = t[LINEAR_W].cols,
                             .out = t[LINEAR_W].rows,
                             .rank = run->shape.rank,
                             .w = t[LINEAR_W].values,
                             .bias = t[LINEAR_BIAS].values,
                             .scale = (double)LORA_SCALE,
                             .a = t[LINEAR_A].values,
                             .b = t[LINEAR_B].values};
}

hone_ref_linear_gradients hone_case_ref_gradients(const hone_case_run *run, size_t first) {
    const hone_case_tensor *t = run->tensor + first;
    return (hone_ref_linear_gradients){.dw = t[LINEAR_DW].want,
                                       .dbias = t[LINEAR_DBIAS].want,
                                       .da = t[LINEAR_DA].want,
                                       .db = t[LINEAR_DB].want};
}

void hone_case_fill_rope(const hone_case_run *run, size_t cosine, size_t sine) {
    const hone_case_tensor *t = &run->tensor[cosine];
    float *c = t->data, *s = hone_case_data(run, sine);
    for (size_t p = 0; p < t->rows; p++) {
        for (size_t i = 0; i < t->cols; i++) {
            double angle = (double)p * pow(10000.0, -(double)i / (double)t->cols);
            c[p * t->cols + i] = (float)cos(angle);
            s[p * t->cols + i] = (float)sin(angle);
        }
    }
}

static int32_t draw_label(const hone_case_run *run, size_t row, hone_rng *rng) {
    size_t vocab = run->shape.vocab, low = row + 1 == hone_case_rows(&run->shape) ? vocab / 2 : 0;
    return (int32_t)(low + (size_t)hone_rng_below(rng, vocab - low));
}

void hone_case_fill_labels(const hone_case_run *run, size_t labels, hone_rng *rng) {
    int32_t *label = hone_case_data(run, labels);
    for (size_t r = 0; r < hone_case_rows(&run->shape); r++) {
        bool ignored =
            run->shape.labels == HONE_LABELS_ALL_IGNORED ||
            (run->shape.labels == HONE_LABELS_SOME_IGNORED && hone_rng_below(rng, 3) == 0);
        label[r] = ignored ? HONE_IGNORE : draw_label(run, r, rng);
    }
}

void hone_case_redraw_labels(const hone_case_run *run, size_t labels, hone_rng *rng) {
    int32_t *label = hone_case_data(run, labels);
    for (size_t r = 0; r < hone_case_rows(&run->shape); r++)
        if (label[r] != HONE_IGNORE) label[r] = draw_label(run, r, rng);
}

float hone_case_loss_scale(const hone_case_run *run, size_t labels) {
    const int32_t *label = hone_case_data(run, labels);
    size_t counted = 0;
    for (size_t r = 0; r < hone_case_rows(&run->shape); r++) counted += label[r] != HONE_IGNORE;
    return 1.0f / (float)HONE_MAX(counted, 1);
}
