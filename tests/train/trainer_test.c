/* tests of train/trainer on the tiny golden llama: AdamW by its formula, batches however they are laid out, the
 * same bits on any number of threads, and steps that must not be made. */
#define _GNU_SOURCE 1
#include "help.h"

#include "train/data.h"
#include "train/full.h"
#include "train/hub.h"
#include "train/trainer.h"

#include <jansson.h>
#include <math.h>
#include <sys/stat.h>

enum { DOCUMENTS = 4, MOST = 64 };

static const size_t lengths[DOCUMENTS] = {11, 5, 17, 8};

static hone_train_options lora_options(void) {
    hone_train_options o = hone_train_defaults();
    o.num_layers = -1;
    o.lora_rank = 4;
    o.lora_scale = 2;
    o.learning_rate = 1e-2;
    return o;
}

static void open_trainer(hone_trainer *t, hone_model **model, int threads,
                         const hone_train_options *o) {
    hone_error err;
    *model = open_tiny(TINY, threads);
    assert_ok(hone_trainer_open(t, *model, o, &err), err);
}

static void close_trainer(hone_trainer *t, hone_model **model) {
    hone_trainer_close(t);
    hone_model_free(model);
}

/* Adds a document of `count` made-up tokens, and `padding` rows of padding after it in its segment. */
static void add_document(hone_batch *batch, size_t document, size_t padding) {
    size_t begin = batch->rows, count = lengths[document];
    for (size_t i = 0; i < count + padding; i++) {
        size_t at = batch->rows++;
        int32_t next = (int32_t)(3 + (document * 131 + (i + 1) * 37 + i * i) % 500);
        bool labelled = i + 1 < count && i % 5 != 3;
        batch->ids[at] =
            i < count ? (int32_t)(3 + (document * 131 + i * 37 + (i + 499) * (i + 499)) % 500) : 0;
        batch->labels[at] = labelled ? next : HONE_IGNORE;
        batch->positions[at] = (int32_t)i;
        batch->label_count += labelled;
    }
    batch->segments[batch->segment_count++] =
        (hone_segment){begin, batch->rows, begin, batch->rows};
}

/* Documents [first, first + count), each padded to the longest of all when `pad`. */
static hone_batch make_batch(size_t first, size_t count, bool pad) {
    hone_error err;
    hone_batch batch;
    assert_ok(hone_batch_open(&batch, (size_t)DOCUMENTS * MOST, &err), err);
    for (size_t d = first; d < first + count; d++)
        add_document(&batch, d, pad ? 17 - lengths[d] : 0);
    return batch;
}

static hone_step_result step(hone_trainer *t, const hone_batch *batches, size_t count) {
    hone_error err;
    hone_step_result result;
    assert_ok(hone_trainer_step(t, batches, count, &result, &err), err);
    return result;
}

static double relative(const float *a, const float *b, size_t n) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        difference += pow((double)a[i] - (double)b[i], 2);
        norm += pow((double)b[i], 2);
    }
    assert_true(norm > 0);
    return sqrt(difference / norm);
}

/* ---- the optimizer ---- */

/* torch.optim.AdamW's formula in float64, over the gradients that the trainer found. */
static void adamw_is_pytorchs(void **state) {
    (void)state;
    hone_model *model;
    hone_trainer t;
    hone_train_options o = lora_options();
    o.weight_decay = 0.1;
    open_trainer(&t, &model, 2, &o);
    size_t n = t.params.total;
    double *w = malloc(n * sizeof *w), *m = calloc(n, sizeof *m), *v = calloc(n, sizeof *v);
    for (size_t i = 0; i < n; i++) w[i] = (double)t.params.w[i];
    hone_batch batch = make_batch(0, DOCUMENTS, false);
    for (int k = 1; k <= 4; k++) {
        hone_step_result result = step(&t, &batch, 1);
        double squares = 0, difference = 0, moved = 0;
        for (size_t i = 0; i < n; i++) {
            double g = (double)t.params.g[i], before = w[i];
            squares += g * g;
            w[i] *= 1 - o.learning_rate * o.weight_decay;
            m[i] = o.beta1 * m[i] + (1 - o.beta1) * g;
            v[i] = o.beta2 * v[i] + (1 - o.beta2) * g * g;
            w[i] -= o.learning_rate * (m[i] / (1 - pow(o.beta1, k))) /
                    (sqrt(v[i] / (1 - pow(o.beta2, k))) + o.eps);
            difference += pow(w[i] - (double)t.params.w[i], 2);
            moved += pow(w[i] - before, 2);
        }
        assert_true(fabs(result.grad_norm - sqrt(squares)) <= 1e-6 * sqrt(squares));
        assert_true(sqrt(difference / moved) < 1e-5);
    }
    free(w);
    free(m);
    free(v);
    hone_batch_close(&batch);
    close_trainer(&t, &model);
}

/* One weight, worked out by hand: g = 0.5 twice, w = 1, lr 0.1, decay 0.01 (PyTorch 2: 0.899, then 0.798101). */
static void adamw_of_one_weight_by_hand(void **state) {
    (void)state;
    float w = 1, m = 0, v = 0;
    const float g = 0.5f;
    const double want[] = {0.899, 0.798101};
    hone_kernels kernels;
    hone_kernels_select(0, &kernels);
    for (int k = 0; k < 2; k++) {
        const hone_adamw a = {.n = 1,
                              .w = &w,
                              .m = &m,
                              .v = &v,
                              .g = &g,
                              .lr = 0.1,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .eps = 1e-8,
                              .weight_decay = 0.01,
                              .correction1 = 1 - pow(0.9, k + 1),
                              .correction2 = 1 - pow(0.999, k + 1),
                              .grad_scale = 1};
        kernels.adamw(&a);
        assert_true(fabs((double)w - want[k]) < 1e-6);
    }
}

/* ---- batches ---- */

static void a_padded_batch_equals_its_rows_alone(void **state) {
    (void)state;
    hone_error err;
    hone_model *models[2];
    hone_trainer t[2];
    hone_train_options o = lora_options();
    hone_batch plain = make_batch(0, DOCUMENTS, false), padded = make_batch(0, DOCUMENTS, true);
    assert_int_equal(padded.rows, DOCUMENTS * 17);
    assert_int_equal(padded.label_count, plain.label_count);
    for (int i = 0; i < 2; i++) open_trainer(&t[i], &models[i], 2, &o);
    double alone = 0, together;
    for (size_t d = 0; d < DOCUMENTS; d++) {
        double sum;
        hone_batch one = make_batch(d, 1, false);
        assert_ok(hone_trainer_loss(&t[0], &one, &sum, &err), err);
        alone += sum;
        hone_batch_close(&one);
    }
    assert_ok(hone_trainer_loss(&t[0], &padded, &together, &err), err);
    assert_true(fabs(alone - together) <= 1e-6 * alone);
    for (int k = 0; k < 3; k++) {
        hone_step_result a = step(&t[0], &plain, 1), b = step(&t[1], &padded, 1);
        assert_true(fabs(a.loss - b.loss) <= 1e-6 * a.loss);
        assert_true(fabs(a.grad_norm - b.grad_norm) <= 1e-5 * a.grad_norm);
    }
    assert_true(relative(t[0].params.w, t[1].params.w, t[0].params.total) < 1e-4);
    for (int i = 0; i < 2; i++) close_trainer(&t[i], &models[i]);
    hone_batch_close(&plain);
    hone_batch_close(&padded);
}

/* From the very first step on, before anything else has asked for positions. */
static void both_sets_of_operations_make_the_same_step(void **state) {
    (void)state;
    hone_error err;
    hone_step_result results[2];
    hone_train_options o = lora_options();
    hone_batch batch = make_batch(0, DOCUMENTS, false);
    for (int i = 0; i < 2; i++) {
        hone_trainer t;
        hone_model *model;
        const hone_model_options options = {.compute = HONE_COMPUTE_F32,
                                            .ops = i ? "naive" : "fused"};
        assert_ok(hone_model_open(TINY, &options, &model, &err), err);
        assert_ok(hone_trainer_open(&t, model, &o, &err), err);
        results[i] = step(&t, &batch, 1);
        close_trainer(&t, &model);
    }
    assert_true(fabs(results[0].loss - results[1].loss) <= 1e-5 * results[0].loss);
    assert_true(fabs(results[0].grad_norm - results[1].grad_norm) <= 1e-4 * results[0].grad_norm);
    hone_batch_close(&batch);
}

static void accumulated_batches_equal_one_batch(void **state) {
    (void)state;
    hone_model *models[2];
    hone_trainer t[2];
    hone_train_options o = lora_options();
    hone_batch whole = make_batch(0, DOCUMENTS, false), parts[DOCUMENTS];
    for (size_t d = 0; d < DOCUMENTS; d++) parts[d] = make_batch(d, 1, false);
    for (int i = 0; i < 2; i++) open_trainer(&t[i], &models[i], 1, &o);
    hone_step_result a = step(&t[0], &whole, 1), b = step(&t[1], parts, DOCUMENTS);
    assert_int_equal(a.labels, b.labels);
    assert_int_equal(a.tokens, b.tokens);
    assert_true(fabs(a.loss - b.loss) <= 1e-6 * a.loss);
    assert_true(relative(t[1].params.g, t[0].params.g, t[0].params.total) < 1e-5);
    for (int i = 0; i < 2; i++) close_trainer(&t[i], &models[i]);
    for (size_t d = 0; d < DOCUMENTS; d++) hone_batch_close(&parts[d]);
    hone_batch_close(&whole);
}

static void threads_do_not_change_a_bit(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        hone_model *models[2];
        hone_trainer t[2];
        hone_train_options o = lora_options();
        o.fine_tune_type = kind ? HONE_FINE_TUNE_FULL : HONE_FINE_TUNE_LORA;
        hone_batch batch = make_batch(0, DOCUMENTS, false);
        for (int i = 0; i < 2; i++) open_trainer(&t[i], &models[i], i ? 3 : 1, &o);
        for (int k = 0; k < 3; k++) {
            hone_step_result a = step(&t[0], &batch, 1), b = step(&t[1], &batch, 1);
            assert_true(a.loss == b.loss && a.grad_norm == b.grad_norm);
        }
        assert_memory_equal(t[0].params.w, t[1].params.w, t[0].params.total * sizeof(float));
        for (int i = 0; i < 2; i++) close_trainer(&t[i], &models[i]);
        hone_batch_close(&batch);
    }
}

static void blocking_does_not_change_a_bit(void **state) {
    (void)state;
    static const hone_blocking blockings[] = {{0}, {16 << 10, 8}, {64 << 20, 512}};
    for (int kind = 0; kind < 8; kind++) {
        hone_train_options o = lora_options();
        o.fine_tune_type = kind & 1 ? HONE_FINE_TUNE_FULL : HONE_FINE_TUNE_LORA;
        hone_batch batch = make_batch(0, DOCUMENTS, false);
        hone_model *models[3];
        hone_trainer t[3];
        hone_error err;
        for (int i = 0; i < 3; i++) {
            const hone_model_options options = {.threads = 2,
                                                .compute =
                                                    kind & 2 ? HONE_COMPUTE_BF16 : HONE_COMPUTE_F32,
                                                .ops = kind & 4 ? "naive" : "fused",
                                                .tuning = {blockings[i], blockings[i]}};
            assert_ok(hone_model_open(TINY, &options, &models[i], &err), err);
            assert_ok(hone_trainer_open(&t[i], models[i], &o, &err), err);
            for (int k = 0; k < 2; k++) step(&t[i], &batch, 1);
        }
        for (int i = 1; i < 3; i++)
            assert_memory_equal(t[0].params.w, t[i].params.w, t[0].params.total * sizeof(float));
        for (int i = 0; i < 3; i++) close_trainer(&t[i], &models[i]);
        hone_batch_close(&batch);
    }
}

/* ---- what is trained ---- */

static void nothing_but_the_chosen_weights_changes(void **state) {
    (void)state;
    hone_model *model;
    hone_trainer t;
    hone_train_options o = lora_options();
    const char *const keys[] = {"self_attn.v_proj"};
    o.num_layers = 2;
    o.lora_keys = keys;
    o.lora_key_count = 1;
    open_trainer(&t, &model, 1, &o);
    assert_int_equal(t.params.count, 4);
    assert_int_equal(t.params.trained, 2 * 4 * (64 + 32));
    assert_string_equal(t.params.items[0].name, "model.layers.1.self_attn.v_proj.lora_a");
    hone_batch batch = make_batch(0, DOCUMENTS, false);
    step(&t, &batch, 1);
    for (size_t p = 0; p < t.params.count; p++) { /* B moves at once, A when B is no longer zero */
        const hone_param *item = &t.params.items[p];
        double sum = 0;
        for (size_t i = 0; i < item->rows * item->cols; i++)
            sum += fabs((double)t.params.g[item->offset + i]);
        assert_true(p % 2 ? sum > 0 : sum == 0);
    }
    hone_batch_close(&batch);
    close_trainer(&t, &model);
}

/* config.json states the rotary embedding for transformers 4 and mlx-lm, and for transformers 5. */
static void check_rope(folder *f, double theta, bool llama3) {
    json_t *config = json_load_file(in(f, "config.json"), 0, NULL);
    const json_t *parameters = json_object_get(config, "rope_parameters"),
                 *scaling = json_object_get(config, "rope_scaling");
    assert_true(json_number_value(json_object_get(config, "rope_theta")) == theta);
    assert_true(json_number_value(json_object_get(parameters, "rope_theta")) == theta);
    assert_string_equal(json_string_value(json_object_get(parameters, "rope_type")),
                        llama3 ? "llama3" : "default");
    if (!llama3) assert_true(json_is_null(scaling));
    for (int i = 0; i < 2 && llama3; i++) { /* the figures of the golden config.json */
        const json_t *object = i ? parameters : scaling;
        assert_string_equal(json_string_value(json_object_get(object, "rope_type")), "llama3");
        assert_true(json_number_value(json_object_get(object, "factor")) == 8);
        assert_true(json_number_value(json_object_get(object, "low_freq_factor")) == 1);
        assert_true(json_number_value(json_object_get(object, "high_freq_factor")) == 4);
        const json_t *original = json_object_get(object, "original_max_position_embeddings");
        assert_int_equal(json_integer_value(original), 64);
    }
    json_decref(config);
}

/* What a reader that knows rope_scaling alone (or rope_parameters alone) makes of the folder. */
static void check_logits_without(folder *f, const char *key, const int32_t ids[5],
                                 const float *want) {
    hone_error err;
    float *logits;
    json_t *config = json_load_file(in(f, "config.json"), 0, NULL);
    json_t *changed = json_copy(config);
    json_object_del(changed, key);
    assert_int_equal(json_dump_file(changed, in(f, "config.json"), 0), 0);
    hone_model *model = open_tiny(f->path, 1);
    assert_ok(hone_logits(model, ids, 5, &logits, NULL, &err), err);
    assert_memory_equal(logits, want, TINY_VOCAB * sizeof *logits);
    hone_free(logits);
    hone_model_free(&model);
    assert_int_equal(json_dump_file(config, in(f, "config.json"), 0), 0);
    json_decref(changed);
    json_decref(config);
}

static void linear_scaling_is_written_in_both_spellings(void **state) {
    (void)state;
    hone_error err;
    folder f;
    make_folder(&f);
    hone_model *model = open_tiny(TINY, 1);
    model->config.rope_scaling = HONE_ROPE_LINEAR;
    model->config.rope_factor = 2.5;
    assert_ok(hone_hub_write_config(model, f.path, &err), err);
    json_t *config = json_load_file(in(&f, "config.json"), 0, NULL);
    const char *const keys[] = {"rope_scaling", "rope_parameters"};
    for (int i = 0; i < 2; i++) {
        const json_t *object = json_object_get(config, keys[i]);
        assert_string_equal(json_string_value(json_object_get(object, "rope_type")), "linear");
        assert_true(json_number_value(json_object_get(object, "factor")) == 2.5);
    }
    json_decref(config);
    hone_model_free(&model);
    remove_folder(&f);
}

static void a_full_model_is_written_and_opened_again(void **state) {
    (void)state;
    hone_error err;
    const int32_t ids[] = {1, 50, 400, 7, 300};
    const char *const sources[] = {TINY,
                                   HONE_GOLDEN_DIR "/archs/llama3-rope"}; /* own head, tied head */
    for (int i = 0; i < 2; i++) {
        folder f;
        hone_trainer t;
        hone_train_options o = lora_options();
        make_folder(&f);
        o.fine_tune_type = HONE_FINE_TUNE_FULL;
        o.adapter_path = f.path;
        o.learning_rate = 1e-3;
        hone_model *model = open_tiny(sources[i], 1), *again;
        float *before, *trained, *reread;
        assert_ok(hone_logits(model, ids, 5, &before, NULL, &err), err);
        assert_ok(hone_trainer_open(&t, model, &o, &err), err);
        hone_batch batch = make_batch(0, DOCUMENTS, false);
        step(&t, &batch, 1);
        assert_ok(hone_trainer_save(&t, false, &err), err);
        hone_trainer_close(&t);
        assert_ok(hone_logits(model, ids, 5, &trained, NULL, &err), err);
        again = open_tiny(f.path, 1);
        assert_ok(hone_logits(again, ids, 5, &reread, NULL, &err), err);
        assert_memory_equal(trained, reread, TINY_VOCAB * sizeof *reread);
        assert_memory_not_equal(trained, before, TINY_VOCAB * sizeof *reread);
        check_rope(&f, i == 1 ? 5e5 : 1e4, i == 1);
        check_logits_without(&f, "rope_parameters", ids, trained);
        check_logits_without(&f, "rope_scaling", ids, trained);
        hone_model_info info;
        hone_model_get_info(again, &info);
        assert_int_equal(info.tied_head, i == 1);
        /* The same model once more: the second training goes on from the first. */
        assert_ok(hone_trainer_open(&t, model, &o, &err), err);
        float *second;
        assert_ok(hone_logits(model, ids, 5, &second, NULL, &err), err);
        assert_memory_equal(second, trained, TINY_VOCAB * sizeof *second);
        hone_trainer_close(&t);
        hone_free(before);
        hone_free(trained);
        hone_free(reread);
        hone_free(second);
        hone_batch_close(&batch);
        hone_model_free(&model);
        hone_model_free(&again);
        remove_folder(&f);
    }
}

static void a_loss_that_is_not_finite_changes_no_weight(void **state) {
    (void)state;
    hone_error err;
    hone_model *model;
    hone_trainer t;
    hone_train_options o = lora_options();
    o.learning_rate = 1000;
    o.lora_scale = 1e6;
    open_trainer(&t, &model, 2, &o);
    hone_batch batch = make_batch(0, DOCUMENTS, false);
    float *before = malloc(t.params.total * sizeof *before);
    hone_status status = HONE_OK;
    for (int k = 0; k < 50 && status == HONE_OK; k++) {
        hone_step_result result;
        memcpy(before, t.params.w, t.params.total * sizeof *before);
        status = hone_trainer_step(&t, &batch, 1, &result, &err);
    }
    assert_int_equal(status, HONE_ERR_LIMIT);
    assert_non_null(strstr(err.message, "lower learning rate"));
    assert_memory_equal(before, t.params.w, t.params.total * sizeof *before);
    free(before);
    hone_batch_close(&batch);
    close_trainer(&t, &model);
}

/* ---- files for other tools ---- */

static void expect_refused(const char *source, const char *target, const char *says) {
    hone_error err;
    hone_trainer t;
    hone_train_options o = lora_options();
    o.fine_tune_type = HONE_FINE_TUNE_FULL;
    o.adapter_path = target;
    hone_model *model = open_tiny(source, 1);
    assert_int_equal(hone_trainer_open(&t, model, &o, &err), HONE_ERR_USAGE);
    if (!strstr(err.message, says)) fail_msg("\"%s\", expected \"%s\"", err.message, says);
    hone_model_free(&model);
}

static void a_model_is_not_written_over_itself(void **state) {
    (void)state;
    folder f, link;
    make_folder(&f);
    make_folder(&link);
    hone_model *model = open_tiny_chat(&f, "x");
    hone_model_free(&model);
    assert_int_equal(symlink(f.path, in(&link, "other-name")), 0);
    expect_refused(f.path, f.path, "is the model's own folder");
    expect_refused(f.path, link.file, "is the model's own folder");
    expect_refused(in(&f, "model.safetensors"), f.path, "is the model's own folder");
    remove_folder(&f);
    remove_folder(&link);
}

static void a_folder_of_shards_is_not_written_into(void **state) {
    (void)state;
    folder f;
    make_folder(&f);
    put(&f, "model.safetensors.index.json", "{\"weight_map\": {}}");
    expect_refused(TINY, f.path, "model.safetensors.index.json");
    remove_folder(&f);
}

/* What cannot be copied in the end stops the training before it begins. */
static void files_that_cannot_be_copied_are_found_at_the_start(void **state) {
    (void)state;
    static const char *const names[] = {"config.json", "tokenizer_config.json",
                                        "generation_config.json"};
    hone_error err;
    for (int i = 0; i < 3; i++) {
        folder f, target;
        make_folder(&f);
        make_folder(&target);
        hone_model *model = open_tiny_chat(&f, "x");
        const char *nowhere = "/nonexistent/hone";
        assert_ok(hone_hub_check(model, nowhere, &err), err);
        unlink(in(&f, names[i]));
        put(&f, names[i], "{\"a\": ");
        assert_int_equal(hone_hub_check(model, target.path, &err), HONE_ERR_FORMAT);
        assert_non_null(strstr(err.message, f.file));
        unlink(f.file);
        if (i == 0) /* the one that must be there */
            assert_int_not_equal(hone_hub_check(model, target.path, &err), HONE_OK);
        assert_int_equal(mkdir(f.file, 0700), 0); /* unreadable as a file, to root too */
        assert_int_not_equal(hone_hub_check(model, target.path, &err), HONE_OK);
        assert_non_null(strstr(err.message, f.file));
        hone_model_free(&model);
        remove_folder(&f);
        remove_folder(&target);
    }
}

/* The tokenizer that is written for a GGUF gives the golden tokens. */
static void a_gguf_tokenizer_becomes_the_same_tokenizer_json(void **state) {
    (void)state;
    hone_error err;
    char *home = hone_path_home(),
         *path = hone_path_join(home, "models/SmolLM2-135M-Instruct.Q4_1.gguf");
    bool here = hone_file_exists(path);
    if (here) {
        folder f;
        hone_tokenizer *tokenizer;
        make_folder(&f);
        hone_model *model = open_tiny(path, 1);
        assert_ok(hone_hub_check(model, f.path, &err), err);
        assert_ok(hone_hub_write_config(model, f.path, &err), err);
        assert_ok(hone_hub_write_tokenizer(model, f.path, &err), err);
        assert_ok(hone_tokenizer_open_folder(f.path, &tokenizer, &err), err);
        assert_string_equal(hone_tokenizer_chat_template(tokenizer),
                            hone_tokenizer_chat_template(model->tokenizer));
        assert_int_equal(hone_tokenizer_eos(tokenizer), hone_tokenizer_eos(model->tokenizer));
        json_t *golden =
            json_load_file(HONE_GOLDEN_DIR "/smollm2-tokens.json", JSON_ALLOW_NUL, NULL);
        const json_t *list = json_object_get(golden, "strings");
        assert_true(json_array_size(list) > 200);
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *text = json_object_get(json_array_get(list, i), "text");
            const json_t *want = json_object_get(json_array_get(list, i), "ids");
            int32_t *ids;
            size_t count;
            assert_ok(hone_tokenizer_encode(tokenizer, json_string_value(text),
                                            json_string_length(text), false, &ids, &count, &err),
                      err);
            assert_int_equal(count, json_array_size(want));
            for (size_t k = 0; k < count; k++)
                assert_int_equal(ids[k], json_integer_value(json_array_get(want, k)));
            free(ids);
        }
        json_t *config = json_load_file(in(&f, "config.json"), 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(config, "num_hidden_layers")), 30);
        assert_true(json_is_true(json_object_get(config, "tie_word_embeddings")));
        check_rope(&f, 100000, false);
        assert_true(json_number_value(json_object_get(config, "rms_norm_eps")) == 1e-5);
        json_decref(config);
        json_decref(golden);
        hone_tokenizer_free(&tokenizer);
        hone_model_free(&model);
        remove_folder(&f);
    } else {
        print_message("%s is not here: run tools/fetch-model\n", path);
    }
    free(path);
    free(home);
    if (!here) skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_is_pytorchs),
        cmocka_unit_test(adamw_of_one_weight_by_hand),
        cmocka_unit_test(a_padded_batch_equals_its_rows_alone),
        cmocka_unit_test(both_sets_of_operations_make_the_same_step),
        cmocka_unit_test(accumulated_batches_equal_one_batch),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(blocking_does_not_change_a_bit),
        cmocka_unit_test(nothing_but_the_chosen_weights_changes),
        cmocka_unit_test(a_full_model_is_written_and_opened_again),
        cmocka_unit_test(linear_scaling_is_written_in_both_spellings),
        cmocka_unit_test(a_loss_that_is_not_finite_changes_no_weight),
        cmocka_unit_test(a_model_is_not_written_over_itself),
        cmocka_unit_test(a_folder_of_shards_is_not_written_into),
        cmocka_unit_test(files_that_cannot_be_copied_are_found_at_the_start),
        cmocka_unit_test(a_gguf_tokenizer_becomes_the_same_tokenizer_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
