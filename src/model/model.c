/* model/model: opening and closing models, and the text functions of the public interface. */
#include "model/model.h"

#include "base/cpu.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

hone_compute hone_compute_resolve(hone_compute compute, unsigned features) {
    const unsigned native_bf16 = /* those that have a kernel */
        HONE_CPU_AVX512BF16 | HONE_CPU_AMX | HONE_CPU_NEONBF16;
    if (compute != HONE_COMPUTE_AUTO) return compute;
    return features & native_bf16 ? HONE_COMPUTE_BF16 : HONE_COMPUTE_F32;
}

/* The set of operations, from a file or built in, and the watch around it. */
static hone_status choose_ops(hone_model *model, hone_model_options *o, hone_error *err) {
    int sabotaged = HONE_SABOTAGE_NONE;
    if (o->kernels && o->ops)
        return hone_fail(err, HONE_ERR_USAGE,
                         "kernels from a file are a set of operations: choose no other (\"%s\")",
                         o->ops);
    const hone_op_set *ops = hone_op_set_find(o->ops ? o->ops : "fused");
    if (!ops)
        return hone_fail(err, HONE_ERR_USAGE,
                         "there is no set of operations \"%s\"; choose fused or naive", o->ops);
    if (o->kernels) {
        HONE_TRY(hone_plugin_open(o->kernels, &model->plugin, err));
        ops = hone_plugin_ops(model->plugin);
    }
    for (int op = 0; o->sabotage && op < HONE_OP_COUNT; op++)
        if (strcmp(o->sabotage, hone_op_names[op]) == 0) sabotaged = op;
    if (o->sabotage && sabotaged == HONE_SABOTAGE_NONE)
        return hone_fail(err, HONE_ERR_USAGE, "there is no kernel \"%s\" to make wrong",
                         o->sabotage);
    hone_watch_start(&model->watch, ops, sabotaged);
    model->ops = &model->watch.ops;
    o->ops = model->ops->name;
    return HONE_OK;
}

static hone_status resolve_options(hone_model *model, const hone_model_options *options,
                                   hone_error *err) {
    hone_model_options o = options ? *options : (hone_model_options){0};
    unsigned features;
    HONE_TRY(hone_cpu_features(&features, err));
    hone_kernels_select(features, &model->kernels);
    HONE_TRY(hone_kernels_tune(&model->kernels, &o.tuning, err));
    if (o.threads < 0 || o.threads > 4096)
        return hone_fail(err, HONE_ERR_USAGE,
                         "%d threads: expected 1 to 4096, or 0 for all processors", o.threads);
    if (o.threads == 0) o.threads = hone_parallel_default_threads();
    o.threads = HONE_MIN(o.threads, hone_parallel_most_threads());
    HONE_TRY(choose_ops(model, &o, err));
    if (o.weights && strcmp(o.weights, "bf16") != 0)
        return hone_fail(err, HONE_ERR_USAGE, "weights cannot be converted to \"%s\"; choose bf16",
                         o.weights);
    if (o.weights) o.weights = "bf16";
    o.compute = hone_compute_resolve(o.compute, features);
    model->compute = o.compute == HONE_COMPUTE_BF16 ? HONE_BF16 : HONE_F32;
    model->options = o;
    return HONE_OK;
}

static hone_status read_chat(hone_model *model, hone_error *err) {
    const char *source = hone_tokenizer_chat_template(model->tokenizer);
    if (!source) return HONE_OK;
    return hone_chat_template_parse(source, strlen(source), "the model's chat template",
                                    &model->chat, err);
}

hone_status hone_model_open(const char *path, const hone_model_options *options, hone_model **out,
                            hone_error *err) {
    *out = NULL;
    if (err) *err = (hone_error){0};
    hone_model *model = calloc(1, sizeof *model);
    if (!model) return hone_fail_memory(err, "a model", sizeof *model);
    hone_status status;
    HONE_TRY_GOTO(status, failed, resolve_options(model, options, err));
    HONE_TRY_GOTO(status, failed, hone_file_set_open(path, &model->set, err));
    HONE_TRY_GOTO(status, failed, hone_config_read(model->set, &model->config, err));
    HONE_TRY_GOTO(status, failed, hone_weights_read(model, err));
    HONE_TRY_GOTO(status, failed, hone_tokenizer_open(model->set, &model->tokenizer, err));
    HONE_TRY_GOTO(status, failed, read_chat(model, err));
    *out = model;
    return HONE_OK;
failed:
    hone_model_free(&model);
    return status;
}

int32_t hone_model_eos(const hone_model *model) {
    int32_t eos = hone_tokenizer_eos(model->tokenizer), other = model->config.eos;
    return eos < 0 && other < hone_tokenizer_vocab(model->tokenizer) ? other : eos;
}

void hone_model_free(hone_model **model) {
    if (!model || !*model) return;
    hone_model *m = *model;
    hone_chat_template_free(&m->chat);
    hone_tokenizer_free(&m->tokenizer);
    for (size_t i = 0; i < m->owned_count; i++) free(m->owned[i]);
    free(m->owned);
    hone_arena_close(&m->tiles);
    free(m->rope_cos);
    free(m->rope_sin);
    hone_file_set_free(&m->set);
    hone_plugin_close(&m->plugin);
    free(m);
    *model = NULL;
}

void hone_model_get_info(const hone_model *model, hone_model_info *info) {
    const hone_config *c = &model->config;
    *info = (hone_model_info){
        .path = model->set->path,
        .name = c->name,
        .architecture = c->architecture,
        .precision = model->precision,
        .layers = c->layers,
        .hidden = c->hidden,
        .ffn = c->ffn,
        .heads = c->heads,
        .kv_heads = c->kv_heads,
        .head_dim = c->head_dim,
        .vocab = c->vocab,
        .max_positions = c->max_positions,
        .tied_head = c->tied_head,
        .parameters = model->parameters,
        .weight_bytes = model->weight_bytes,
        .threads = model->options.threads,
        .compute = hone_dtype_name(model->compute),
        .ops = model->ops->name,
        .kernels = hone_cpu_tier_name(model->kernels.features),
    };
}

hone_kernel_calls hone_model_get_kernel_calls(const hone_model *model, int kernel) {
    hone_op op = kernel >= 0 && kernel < HONE_OP_COUNT ? (hone_op)kernel : HONE_OP_COUNT;
    if (op == HONE_OP_COUNT) return (hone_kernel_calls){0};
    return (hone_kernel_calls){.name = hone_op_names[op],
                               .forward = model->watch.calls[op][0],
                               .backward = model->watch.calls[op][1],
                               .inherited = model->plugin && !hone_plugin_has(model->plugin, op)};
}

hone_status hone_model_need_positions(hone_model *model, size_t positions, hone_error *err) {
    if (positions <= model->rope_positions) return HONE_OK;
    if (positions > (size_t)model->config.max_positions)
        return hone_fail(err, HONE_ERR_LIMIT,
                         "%zu tokens of context, but the model was made for at most %d", positions,
                         model->config.max_positions);
    size_t wanted = HONE_MIN(HONE_MAX(positions, 2 * model->rope_positions),
                             (size_t)model->config.max_positions);
    size_t bytes = wanted * (size_t)(model->config.head_dim / 2) * sizeof(float);
    float *cos_table = malloc(bytes), *sin_table = malloc(bytes);
    if (!cos_table || !sin_table) {
        free(cos_table);
        free(sin_table);
        return hone_fail_memory(err, "rotary embedding tables", 2 * bytes);
    }
    hone_config_rope_table(&model->config, wanted, cos_table, sin_table);
    free(model->rope_cos);
    free(model->rope_sin);
    model->rope_cos = cos_table;
    model->rope_sin = sin_table;
    model->rope_positions = wanted;
    return HONE_OK;
}

/* ---- text ---- */

void hone_free(void *pointer) { free(pointer); }

hone_status hone_tokenize(const hone_model *model, const char *text, size_t size, bool add_special,
                          int32_t **ids, size_t *count, hone_error *err) {
    return hone_tokenizer_encode(model->tokenizer, text, size, add_special, ids, count, err);
}

hone_status hone_detokenize(const hone_model *model, const int32_t *ids, size_t count,
                            bool skip_special, char **text, size_t *size, hone_error *err) {
    return hone_tokenizer_decode(model->tokenizer, ids, count, skip_special, text, size, err);
}

/* The text of a token, "" when there is none: templates write bos_token and eos_token. */
static hone_status set_token(const hone_model *model, json_t *variables, const char *name,
                             int32_t id, hone_error *err) {
    char *text = NULL;
    size_t size = 0;
    if (id >= 0)
        HONE_TRY(hone_tokenizer_decode(model->tokenizer, &id, 1, false, &text, &size, err));
    int failed = json_object_set_new(variables, name, json_stringn(text ? text : "", size));
    free(text);
    return failed ? hone_fail_memory(err, "template variables", size) : HONE_OK;
}

hone_status hone_model_chat_variables(const hone_model *model, json_t *variables, hone_error *err) {
    HONE_TRY(set_token(model, variables, "bos_token", hone_tokenizer_bos(model->tokenizer), err));
    return set_token(model, variables, "eos_token", hone_tokenizer_eos(model->tokenizer), err);
}

hone_status hone_render_chat(const hone_model *model, const char *messages_json,
                             bool add_generation_prompt, char **text, size_t *size,
                             hone_error *err) {
    enum { MAX_CHAT_BYTES = 64 << 20 };
    *text = NULL;
    *size = 0;
    if (!model->chat)
        return hone_fail(err, HONE_ERR_UNSUPPORTED,
                         "%s: the model has no chat template; give plain text", model->set->path);
    json_t *messages = NULL, *variables = NULL;
    hone_buf buf = hone_buf_make(MAX_CHAT_BYTES);
    hone_status status;
    HONE_TRY_GOTO(
        status, done,
        hone_json_parse(messages_json, strlen(messages_json), "messages", &messages, err));
    variables = json_pack("{s:O, s:b}", "messages", messages, "add_generation_prompt",
                          (int)add_generation_prompt);
    if (!variables) HONE_TRY_GOTO(status, done, hone_fail_memory(err, "template variables", 0));
    HONE_TRY_GOTO(status, done, hone_model_chat_variables(model, variables, err));
    HONE_TRY_GOTO(status, done,
                  hone_chat_template_render(model->chat, variables, &buf, NULL, NULL, err));
    HONE_TRY_GOTO(status, done, hone_buf_append(&buf, "", 0, err));
    *text = buf.data;
    *size = buf.size;
    buf = hone_buf_make(0);
done:
    hone_buf_free(&buf);
    json_decref(variables);
    json_decref(messages);
    return status;
}
