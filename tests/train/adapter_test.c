/* tests of train/adapter: the file's layout byte by byte, mlx-lm's own adapter with the logits that MLX gave, and
 * adapters that must be refused. */
#define _GNU_SOURCE 1
#include "help.h"

#include "format/safetensors.h"
#include "train/adapter.h"

#include <jansson.h>
#include <math.h>

enum { HIDDEN = 64, KV = 32, RANK = 3 };

/* An adapter on k_proj of the last block whose elements tell their place: A[r][i] = 100 r + i, B[o][r] = -(100 r +
 * o). */
typedef struct made {
    hone_adapter adapter;
    hone_params params;
} made;

static void make_adapter(made *m, hone_model *model) {
    hone_error err;
    const char *const keys[] = {"self_attn.k_proj"};
    memset(m, 0, sizeof *m);
    assert_ok(hone_adapter_choose(&m->adapter, model, RANK, 1.5, 1, keys, 1, &err), err);
    assert_ok(hone_adapter_list(&m->adapter, model, &m->params, &err), err);
    assert_ok(hone_params_allocate(&m->params, model, &err), err);
    assert_int_equal(m->params.count, 2);
    const hone_param *a = &m->params.items[0], *b = &m->params.items[1];
    for (size_t r = 0; r < RANK; r++) {
        for (size_t i = 0; i < HIDDEN; i++)
            m->params.w[a->offset + r * HIDDEN + i] = (float)(100 * r + i) / 1000;
        for (size_t o = 0; o < KV; o++)
            m->params.w[b->offset + o * RANK + r] = -(float)(100 * r + o) / 1000;
    }
    hone_adapter_put(&m->adapter, model, &m->params);
}

static void free_adapter(made *m) {
    hone_params_close(&m->params);
    hone_adapter_free(&m->adapter);
}

static void the_file_is_laid_out_as_mlx_has_it(void **state) {
    (void)state;
    hone_error err;
    hone_model *model = open_tiny(TINY, 1);
    folder f;
    made m;
    make_folder(&f);
    make_adapter(&m, model);
    assert_ok(hone_adapter_write(&m.params, in(&f, "a"), &err), err);
    hone_buf file;
    assert_ok(hone_file_read(in(&f, "a"), 1 << 20, &file, &err), err);
    uint64_t header;
    memcpy(&header, file.data, sizeof header);
    json_t *json = json_loadb(file.data + 8, header, 0, NULL);
    const char *const names[] = {"model.layers.2.self_attn.k_proj.lora_a",
                                 "model.layers.2.self_attn.k_proj.lora_b"};
    const size_t shapes[2][2] = {{HIDDEN, RANK}, {RANK, KV}};
    assert_int_equal(json_object_size(json), 2);
    for (int t = 0; t < 2; t++) {
        const json_t *entry = json_object_get(json, names[t]),
                     *shape = json_object_get(entry, "shape");
        assert_string_equal(json_string_value(json_object_get(entry, "dtype")), "F32");
        assert_int_equal(json_array_size(shape), 2);
        for (size_t d = 0; d < 2; d++)
            assert_int_equal(json_integer_value(json_array_get(shape, d)), shapes[t][d]);
        size_t begin =
            (size_t)json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), 0));
        for (size_t row = 0; row < shapes[t][0]; row++)
            for (size_t col = 0; col < shapes[t][1]; col++) {
                float x;
                memcpy(&x, file.data + 8 + header + begin + (row * shapes[t][1] + col) * sizeof x,
                       sizeof x);
                float want =
                    t == 0 ? (float)(100 * col + row) / 1000 : -(float)(100 * row + col) / 1000;
                assert_true(x == want);
            }
    }
    json_decref(json);
    hone_buf_free(&file);
    free_adapter(&m);
    hone_model_free(&model);
    remove_folder(&f);
}

static void a_written_adapter_gives_the_same_logits_when_read(void **state) {
    (void)state;
    hone_error err;
    const int32_t ids[] = {1, 50, 400, 7, 300};
    hone_model *model = open_tiny(TINY, 1), *other = open_tiny(TINY, 1);
    folder f;
    made m;
    make_folder(&f);
    make_adapter(&m, model);
    assert_ok(hone_adapter_write(&m.params, in(&f, "adapters.safetensors"), &err), err);
    assert_ok(hone_adapter_write_config(&m.adapter, model, in(&f, "adapter_config.json"), &err),
              err);
    float *base, *adapted, *again;
    assert_ok(hone_logits(other, ids, 5, &base, NULL, &err), err);
    assert_ok(hone_logits(model, ids, 5, &adapted, NULL, &err), err);
    /* Twice: the second takes the place of the first. */
    assert_ok(hone_model_load_adapter(other, f.path, &err), err);
    size_t owned = other->owned_count;
    assert_ok(hone_model_load_adapter(other, f.path, &err), err);
    assert_int_equal(other->owned_count, owned);
    assert_ok(hone_logits(other, ids, 5, &again, NULL, &err), err);
    assert_memory_equal(again, adapted, TINY_VOCAB * sizeof *again);
    assert_memory_not_equal(base, adapted, TINY_VOCAB * sizeof *again);
    json_t *config = json_load_file(in(&f, "adapter_config.json"), 0, NULL);
    const json_t *lora = json_object_get(config, "lora_parameters");
    assert_string_equal(json_string_value(json_object_get(config, "fine_tune_type")), "lora");
    assert_int_equal(json_integer_value(json_object_get(config, "num_layers")), 1);
    assert_int_equal(json_integer_value(json_object_get(lora, "rank")), RANK);
    assert_true(json_real_value(json_object_get(lora, "scale")) == 1.5);
    assert_true(json_real_value(json_object_get(lora, "dropout")) == 0);
    assert_int_equal(json_array_size(json_object_get(lora, "keys")), 1);
    json_decref(config);
    hone_free(base);
    hone_free(adapted);
    hone_free(again);
    free_adapter(&m);
    hone_model_free(&model);
    hone_model_free(&other);
    remove_folder(&f);
}

/* ---- mlx-lm's adapter ---- */

/* MLX's 4-bit affine weights, groups of 32, as float32 tensors: w = code * scale + bias. */
static float *dequantize(const hone_file_set *set, const char *stem, size_t *rows, size_t *cols) {
    char name[160];
    const hone_tensor *t[3];
    const char *const parts[] = {"weight", "scales", "biases"};
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s.%s", stem, parts[i]);
        t[i] = hone_file_set_find(set, name);
        assert_non_null(t[i]);
    }
    *rows = t[0]->shape[0];
    *cols = t[0]->shape[1] * 8;
    float *w = malloc(*rows * *cols * sizeof *w);
    for (size_t i = 0; i < *rows * *cols; i++) {
        uint32_t word;
        float scale, bias;
        memcpy(&word, (const char *)t[0]->data + i / 8 * 4, 4);
        memcpy(&scale, (const char *)t[1]->data + i / 32 * 4, 4);
        memcpy(&bias, (const char *)t[2]->data + i / 32 * 4, 4);
        w[i] = (float)(word >> (i % 8 * 4) & 15) * scale + bias;
    }
    return w;
}

static void write_dequantized(const char *source, folder *f) {
    enum { MOST = 64 };
    hone_error err;
    hone_file_set *set;
    assert_ok(hone_file_set_open(source, &set, &err), err);
    hone_tensor_out tensors[MOST];
    char names[MOST][128];
    size_t count = 0;
    for (size_t i = 0; i < set->tensor_count; i++) {
        const hone_tensor *t = &set->tensors[i];
        size_t stem = strlen(t->name) - strlen(".weight");
        if (strcmp(t->name + stem, ".weight") != 0) continue;
        hone_tensor_out *out = &tensors[count];
        strcpy(names[count], t->name);
        *out = (hone_tensor_out){.name = names[count], .dtype = HONE_F32, .dims = t->dims};
        if (t->is_uint32) {
            char name[144];
            snprintf(name, sizeof name, "%.*s", (int)stem, t->name);
            out->data = dequantize(set, name, &out->shape[0], &out->shape[1]);
        } else {
            out->shape[0] = t->shape[0];
            out->data = memcpy(malloc(t->bytes), t->data, t->bytes);
        }
        count++;
    }
    assert_ok(hone_safetensors_write(in(f, "model.safetensors"), tensors, count, NULL, &err), err);
    for (size_t i = 0; i < count; i++) free((void *)tensors[i].data);
    hone_file_set_free(&set);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "config.json" : "tokenizer.json";
        char from[256];
        snprintf(from, sizeof from, TINY "/%s", name);
        assert_int_equal(symlink(from, in(f, name)), 0);
    }
}

static void check_logits(hone_model *model, const json_t *want) {
    hone_error err;
    const json_t *list = json_object_get(want, "ids"), *top = json_object_get(want, "top_ids");
    size_t count = json_array_size(list);
    int32_t ids[64];
    assert_in_range(count, 2, 64);
    for (size_t i = 0; i < count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    float *logits;
    assert_ok(hone_logits(model, ids, count, &logits, NULL, &err), err);
    double norm = 0;
    for (int i = 0; i < TINY_VOCAB; i++) norm += (double)logits[i] * (double)logits[i];
    assert_true(fabs(sqrt(norm) / json_number_value(json_object_get(want, "logits_l2")) - 1) <
                1e-5);
    for (size_t i = 0; i < json_array_size(top); i++) {
        double got = (double)logits[json_integer_value(json_array_get(top, i))];
        double expected = json_number_value(json_array_get(json_object_get(want, "top_logits"), i));
        if (!(fabs(got - expected) <= 2e-5 * fabs(expected)))
            fail_msg("logit %zu: %.8g, expected %.8g", i, got, expected);
    }
    hone_free(logits);
}

static void an_adapter_of_mlx_gives_the_logits_of_mlx(void **state) {
    (void)state;
    hone_error err;
    folder f;
    make_folder(&f);
    write_dequantized(HONE_GOLDEN_DIR "/archs/llama-mlx4/model.safetensors", &f);
    hone_model *model = open_tiny(f.path, 1);
    json_t *figures = json_load_file(HONE_GOLDEN_DIR "/archs/llama-mlx4/figures.json", 0, NULL);
    check_logits(model, json_object_get(figures, "base"));
    assert_ok(hone_model_load_adapter(model, HONE_GOLDEN_DIR "/archs/llama-mlx4-adapter", &err),
              err);
    check_logits(model, json_object_get(figures, "with_adapter"));
    json_decref(figures);
    hone_model_free(&model);
    remove_folder(&f);
}

/* ---- refusals ---- */

static const char good_config[] =
    "{\"fine_tune_type\": \"lora\", \"num_layers\": 1,"
    " \"lora_parameters\": {\"rank\": 3, \"scale\": 1.5, \"dropout\": 0}}";

static void expect_refusal(hone_model *model, folder *f, hone_status status, const char *sentence) {
    hone_error err = {0};
    const float *before = model->blocks[2].linear[HONE_LINEAR_K].lora.a;
    assert_int_equal(hone_model_load_adapter(model, f->path, &err), status);
    if (!strstr(err.message, sentence))
        fail_msg("\"%s\" does not say \"%s\"", err.message, sentence);
    assert_ptr_equal(model->blocks[2].linear[HONE_LINEAR_K].lora.a, before);
}

static void faulty_configurations_are_refused(void **state) {
    (void)state;
    const struct {
        const char *config;
        hone_status status;
        const char *sentence;
    } cases[] = {
        {"", HONE_ERR_FORMAT, "adapter_config.json"},
        {"{", HONE_ERR_FORMAT, "adapter_config.json: line 1"},
        {"[]", HONE_ERR_FORMAT, "lora_parameters"},
        {"{\"peft_type\": \"LORA\"}", HONE_ERR_UNSUPPORTED, "PEFT"},
        {"{\"fine_tune_type\": \"dora\", \"lora_parameters\": {\"rank\": 3, \"scale\": 1}}",
         HONE_ERR_UNSUPPORTED, "\"dora\""},
        {"{\"fine_tune_type\": 3, \"lora_parameters\": {\"rank\": 3}}", HONE_ERR_FORMAT,
         "fine_tune_type"},
        {"{\"lora_parameters\": 8}", HONE_ERR_FORMAT, "lora_parameters"},
        {"{\"lora_parameters\": {\"rank\": 0, \"scale\": 1}}", HONE_ERR_FORMAT, "\"rank\" is 0"},
        {"{\"lora_parameters\": {\"rank\": 1000000000000, \"scale\": 1}}", HONE_ERR_FORMAT,
         "\"rank\""},
        {"{\"lora_parameters\": {\"rank\": \"3\", \"scale\": 1}}", HONE_ERR_FORMAT, "\"rank\""},
        {"{\"lora_parameters\": {\"rank\": 3, \"scale\": 1e300}}", HONE_ERR_FORMAT, "scale"},
        {"{\"lora_parameters\": {\"rank\": 4, \"scale\": 1}}", HONE_ERR_FORMAT, "is to be [64, 4]"},
    };
    hone_error err;
    hone_model *model = open_tiny(TINY, 1);
    folder f;
    made m;
    make_folder(&f);
    make_adapter(&m, model);
    expect_refusal(model, &f, HONE_ERR_IO, "adapter_config.json");
    put(&f, "adapter_config.json", good_config);
    expect_refusal(model, &f, HONE_ERR_IO, "adapters.safetensors");
    assert_ok(hone_adapter_write(&m.params, in(&f, "adapters.safetensors"), &err), err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put(&f, "adapter_config.json", cases[i].config);
        expect_refusal(model, &f, cases[i].status, cases[i].sentence);
    }
    free_adapter(&m);
    hone_model_free(&model);
    remove_folder(&f);
}

static void faulty_tensors_are_refused(void **state) {
    (void)state;
#define K "model.layers.2.self_attn.k_proj."
    static float zeros[HIDDEN * 8], nan_a[HIDDEN * RANK];
    nan_a[100] = NAN;
    const hone_tensor_out a = {K "lora_a", HONE_F32, 2, {HIDDEN, RANK}, zeros};
    const hone_tensor_out b = {K "lora_b", HONE_F32, 2, {RANK, KV}, zeros};
    const struct {
        hone_tensor_out tensors[3];
        size_t count;
        const char *sentence;
    } cases[] = {
        {{a}, 1, K "lora_b is missing"},
        {{b}, 1, K "lora_a is missing"},
        {{a, b, {K "lora_c", HONE_F32, 2, {1, 1}, zeros}}, 3, "lora_c belongs to no linear layer"},
        {{a, b, {"model.layers.3.self_attn.k_proj.lora_a", HONE_F32, 2, {HIDDEN, RANK}, zeros}},
         3,
         "of 3 layers"},
        {{a, b, {"model.layers.-1.self_attn.k_proj.lora_a", HONE_F32, 2, {HIDDEN, RANK}, zeros}},
         3,
         "layers.-1"},
        {{a,
          b,
          {"model.layers.99999999999.self_attn.k_proj.lora_a", HONE_F32, 2, {HIDDEN, RANK}, zeros}},
         3,
         "99999999999"},
        {{a, b, {"lm_head.lora_a", HONE_F32, 2, {HIDDEN, RANK}, zeros}}, 3, "lm_head.lora_a"},
        {{{K "lora_a", HONE_F32, 2, {RANK, HIDDEN}, zeros}, b},
         2,
         "[3, 64]; for this model and rank it is to be [64, 3]"},
        {{{K "lora_a", HONE_F32, 1, {HIDDEN * RANK}, zeros}, b}, 2, "1D"},
        {{a, {K "lora_b", HONE_F32, 2, {RANK, KV + 1}, zeros}}, 2, "[3, 33]"},
        {{{K "lora_a", HONE_F32, 2, {HIDDEN, RANK}, nan_a}, b}, 2, "not finite"},
    };
    hone_error err;
    hone_model *model = open_tiny(TINY, 1);
    folder f;
    made m;
    make_folder(&f);
    make_adapter(&m, model);
    put(&f, "adapter_config.json", good_config);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = in(&f, "adapters.safetensors");
        assert_ok(hone_safetensors_write(path, cases[i].tensors, cases[i].count, NULL, &err), err);
        expect_refusal(model, &f, HONE_ERR_FORMAT, cases[i].sentence);
    }
    put(&f, "adapters.safetensors", "short");
    expect_refusal(model, &f, HONE_ERR_FORMAT, "adapters.safetensors");
    free_adapter(&m);
    hone_model_free(&model);
    remove_folder(&f);
}

/* ---- choosing, beginning ---- */

static void keys_and_layers_choose_linear_layers(void **state) {
    (void)state;
    hone_error err;
    hone_model *model = open_tiny(TINY, 1);
    hone_adapter adapter;
    const char *const keys[] = {"mlp.down_proj", "q_proj"};
    assert_ok(hone_adapter_choose(&adapter, model, 8, 20, 2, keys, 2, &err), err);
    for (int l = 0; l < 3; l++)
        for (int i = 0; i < HONE_LINEAR_COUNT; i++)
            assert_int_equal(adapter.chosen[l * HONE_LINEAR_COUNT + i],
                             l >= 1 && (i == HONE_LINEAR_DOWN || i == HONE_LINEAR_Q));
    hone_adapter_free(&adapter);
    for (int layers = -1; layers <= 16; layers += 17) {
        assert_ok(hone_adapter_choose(&adapter, model, 8, 20, layers, NULL, 0, &err), err);
        assert_int_equal(adapter.num_layers, 3);
        for (int i = 0; i < 3 * HONE_LINEAR_COUNT; i++) assert_true(adapter.chosen[i]);
        hone_adapter_free(&adapter);
    }
    const char *const wrong[] = {"self_attn.qkv_proj"};
    assert_int_equal(hone_adapter_choose(&adapter, model, 8, 20, 2, wrong, 1, &err),
                     HONE_ERR_USAGE);
    assert_non_null(strstr(err.message, "self_attn.qkv_proj"));
    assert_int_equal(hone_adapter_choose(&adapter, model, 0, 20, 2, NULL, 0, &err), HONE_ERR_USAGE);
    assert_int_equal(hone_adapter_choose(&adapter, model, 8, NAN, 2, NULL, 0, &err),
                     HONE_ERR_USAGE);
    assert_int_equal(hone_adapter_choose(&adapter, model, 8, 20, 0, NULL, 0, &err), HONE_ERR_USAGE);
    hone_model_free(&model);
}

static void a_begins_uniform_and_b_zero(void **state) {
    (void)state;
    hone_error err;
    hone_model *model = open_tiny(TINY, 1);
    hone_adapter adapter;
    hone_params params = {0};
    assert_ok(hone_adapter_choose(&adapter, model, 16, 20, -1, NULL, 0, &err), err);
    assert_ok(hone_adapter_list(&adapter, model, &params, &err), err);
    assert_ok(hone_params_allocate(&params, model, &err), err);
    hone_adapter_init(&params, 7);
    for (size_t p = 0; p < params.count; p++) {
        const hone_param *item = &params.items[p];
        double bound = 1 / sqrt((double)item->cols), squares = 0, largest = 0;
        size_t n = item->rows * item->cols;
        for (size_t i = 0; i < n; i++) {
            double x = (double)params.w[item->offset + i];
            squares += x * x;
            largest = fmax(largest, fabs(x));
        }
        if (p % 2 == 1) {
            assert_true(squares == 0);
            continue;
        }
        assert_true(largest <= bound && largest > 0.98 * bound);
        assert_true(fabs(squares / (double)n - bound * bound / 3) <
                    0.1 * bound * bound / 3); /* variance of U(+-b) */
    }
    hone_params_close(&params);
    hone_adapter_free(&adapter);
    hone_model_free(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_is_laid_out_as_mlx_has_it),
        cmocka_unit_test(a_written_adapter_gives_the_same_logits_when_read),
        cmocka_unit_test(an_adapter_of_mlx_gives_the_logits_of_mlx),
        cmocka_unit_test(faulty_configurations_are_refused),
        cmocka_unit_test(faulty_tensors_are_refused),
        cmocka_unit_test(keys_and_layers_choose_linear_layers),
        cmocka_unit_test(a_begins_uniform_and_b_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
