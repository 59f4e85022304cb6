/* eval/kernel_worker: the process that runs kernels for level 1. It carries out the orders of eval/desk.
 *
 * This code is trusted until it has loaded a set of kernels from a file. It then shares its memory with them, so it
 * keeps no time, compares nothing and judges nothing: it only lets them fill buffers. */
#define _GNU_SOURCE 1
#include "base/cpu.h"
#include "base/parallel.h"
#include "eval/desk.h"
#include "ops/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct set {
    hone_case_run run;
    hone_arena arena;
} set;

typedef struct worker {
    const char *name; /* of a built-in set, or a path */
    hone_desk *desk;
    char *base[HONE_CASE_SPACES];
    size_t bytes[HONE_CASE_SPACES];
    hone_kernels kernels;
    hone_plugin *plugin; /* NULL: a built-in set */
    const hone_op_set *ops;
    set sets[HONE_DESK_MAX_SETS];
    int count;
    bool overflow;
} worker;

/* What a thread keeps from forward to backward. */
typedef struct thread_state {
    hone_ctx ctx[HONE_DESK_MAX_SETS];
    hone_saved saved[HONE_DESK_MAX_SETS];
} thread_state;

/* ---- orders ---- */

static hone_status load(worker *w, const hone_desk_order *order, hone_desk_answer *answer,
                        hone_error *err) {
    hone_kernels_select(order->features & hone_cpu_detect(), &w->kernels);
    HONE_TRY(hone_kernels_tune(&w->kernels, &order->tuning, err));
    w->ops = hone_op_set_find(w->name);
    if (!w->ops) {
        HONE_TRY(hone_plugin_open(w->name, &w->plugin, err));
        w->ops = hone_plugin_ops(w->plugin);
    }
    snprintf(answer->set_name, sizeof answer->set_name, "%s", w->ops->name);
    for (int op = 0; op < HONE_OP_COUNT; op++)
        answer->has[op] = !w->plugin || hone_plugin_has(w->plugin, (hone_op)op);
    answer->keeps_residual = w->ops->keeps_residual;
    answer->rebuilds = w->ops->rms_norm_rebuild != NULL;
    answer->has_loss =
        w->ops->linear_cross_entropy &&
        (!w->plugin || w->ops->linear_cross_entropy != hone_ops_fused.linear_cross_entropy);
    return HONE_OK;
}

/* Maps a space anew: whole, accessible and without a trace of earlier guards. */
static hone_status map_space(worker *w, int space, hone_error *err) {
    static const int fds[HONE_CASE_SPACES] = {HONE_DESK_FIXED_FD, HONE_DESK_CHANGING_FD};
    int access = space == HONE_CASE_FIXED ? PROT_READ : PROT_READ | PROT_WRITE;
    int fixed = w->base[space] ? MAP_FIXED : 0;
    void *p = mmap(w->base[space], w->bytes[space], access, MAP_SHARED | fixed, fds[space], 0);
    if (p == MAP_FAILED) return hone_fail_memory(err, "the shared tensors", w->bytes[space]);
    w->base[space] = p;
    return HONE_OK;
}

static void close_sets(worker *w) {
    for (int i = 0; i < w->count; i++) {
        hone_case_close(&w->sets[i].run);
        hone_arena_close(&w->sets[i].arena);
    }
    w->count = 0;
}

/* Each page is there before the clock runs. */
static void touch(const hone_case_tensor *t) {
    enum { PAGE = 4096 };
    for (size_t i = 0; i < t->bytes; i += PAGE) {
        volatile char *p = (char *)t->data + i;
        char byte = *p;
        if (t->role != HONE_CASE_INPUT) *p = byte;
    }
}

static hone_status open_set(worker *w, const hone_desk_order *order, hone_case_room *room,
                            hone_desk_answer *answer, hone_team team, hone_error *err) {
    set *s = &w->sets[w->count++];
    *s = (set){0};
    HONE_TRY(hone_case_open(hone_case_at(order->kind), &order->shape, w->ops, 0, order->guarded,
                            room, &s->run, err));
    for (int i = 0; i < HONE_CASE_TENSORS; i++)
        if (s->run.tensor[i].name) touch(&s->run.tensor[i]);
    answer->memory = hone_case_plan(&s->run, &w->kernels, team.size);
    HONE_TRY(hone_arena_open(&s->arena, answer->memory.arena, false, err));
    memset(s->arena.base, 0xff, s->arena.capacity); /* what is read before it is written is NaN */
    return HONE_OK;
}

static hone_status open_sets(worker *w, const hone_desk_order *order, hone_desk_answer *answer,
                             hone_team team, hone_error *err) {
    hone_case_room room = {.filled = true, .guards = true};
    close_sets(w);
    w->overflow = false;
    for (int space = 0; space < HONE_CASE_SPACES; space++) {
        HONE_TRY(map_space(w, space, err));
        room.space[space] = (hone_case_space){.base = w->base[space], .bytes = w->bytes[space]};
    }
    for (int i = 0; i < order->sets; i++) HONE_TRY(open_set(w, order, &room, answer, team, err));
    return HONE_OK;
}

static void run_pass(worker *w, const hone_desk_order *order, hone_team team, thread_state *state) {
    if (order->alone) team = (hone_team){.size = 1};
    for (int i = 0; i < w->count; i++) {
        if (order->pass == HONE_CASE_FORWARD) {
            state->saved[i] = (hone_saved){0};
            state->ctx[i] = (hone_ctx){.team = team,
                                       .kernels = &w->kernels,
                                       .compute = order->shape.compute,
                                       .arena = w->sets[i].arena};
        }
        hone_case_run_pass(&w->sets[i].run, order->pass, &state->ctx[i],
                           order->unsaved ? NULL : &state->saved[i]);
        if (team.rank == 0 && state->ctx[i].arena.overflow) w->overflow = true;
    }
}

/* ---- the service ---- */

/* What one thread does alone, and its answer but for `done`. */
static hone_status carry_out(worker *w, const hone_desk_order *order, hone_desk_answer *answer,
                             hone_team team, hone_error *err) {
    if (order->verb == HONE_DESK_LOAD) return load(w, order, answer, err);
    if (order->verb == HONE_DESK_OPEN) return open_sets(w, order, answer, team, err);
    return HONE_OK;
}

static void answer_order(worker *w, const hone_desk_order *order, hone_team team, unsigned number) {
    hone_desk_answer answer = {0};
    hone_error err = {0};
    answer.done = carry_out(w, order, &answer, team, &err) == HONE_OK;
    snprintf(answer.message, sizeof answer.message, "%.*s", (int)sizeof answer.message - 1,
             err.message);
    answer.overflow = w->overflow;
    answer.changed_mode = w->plugin && hone_plugin_changed_mode(w->plugin);
    w->desk->answer = answer;
    hone_desk_post(&w->desk->answered, number);
}

/* All threads wait for the next order by themselves: waking one after the other would take its time. */
static void serve(hone_team team, void *argument) {
    worker *w = argument;
    thread_state state;
    hone_parallel_pin(team);
    for (unsigned seen = 0;;) {
        hone_desk_wait(&w->desk->called, seen, -1);
        seen = atomic_load(&w->desk->called);
        hone_desk_order order = w->desk->order;
        if (order.verb == HONE_DESK_PASS && (!order.alone || team.rank == 0))
            run_pass(w, &order, team, &state);
        hone_barrier(team);
        if (team.rank == 0) answer_order(w, &order, team, seen);
        if (order.verb == HONE_DESK_END) return;
    }
}

hone_status hone_kernel_worker(const char *kernels, int threads, hone_error *err) {
    void *desk = mmap(NULL, sizeof(hone_desk), PROT_READ | PROT_WRITE, MAP_SHARED, HONE_DESK_FD, 0);
    if (desk == MAP_FAILED)
        return hone_fail(err, HONE_ERR_USAGE, "a kernel worker is started by hone_eval alone");
    close(HONE_DESK_FD);
    worker *w = calloc(1, sizeof *w);
    if (!w) return hone_fail_memory(err, "a kernel worker", sizeof *w);
    w->name = kernels;
    w->desk = desk;
    memcpy(w->bytes, w->desk->bytes, sizeof w->bytes);
    hone_parallel(threads, serve, w);
    close_sets(w);
    hone_plugin_close(&w->plugin);
    free(w);
    munmap(desk, sizeof(hone_desk));
    return HONE_OK;
}
