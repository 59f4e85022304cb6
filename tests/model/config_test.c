/* tests of model/config and of opening models: numbers that make no sense, tensors that are not there, and the same
 * model as a GGUF and as a Hugging Face folder. */
#include "model/model.h"

#include "format/bytes.h"

#include <math.h>
#include <unistd.h>

static const char *const golden = HONE_GOLDEN_DIR "/archs/llama";

/* A folder with the golden llama's weights and tokenizer and a changed config.json. */
static temp_folder folder_with(json_t *config) {
    temp_folder folder = temp_make();
    static const char *const files[] = {"model.safetensors", "tokenizer.json",
                                        "tokenizer_config.json"};
    for (size_t i = 0; i < 3; i++) {
        char *from = hone_path_join(golden, files[i]), *to = temp_path(&folder, files[i]);
        assert_int_equal(symlink(from, to), 0);
        free(from);
        free(to);
    }
    char *path = temp_path(&folder, "config.json");
    hone_error err = {0};
    assert_ok(hone_json_write(path, config, &err), err);
    free(path);
    return folder;
}

static json_t *golden_config(void) {
    json_t *config = NULL;
    hone_error err = {0};
    assert_ok(hone_json_read(HONE_GOLDEN_DIR "/archs/llama/config.json", 1 << 20, &config, &err),
              err);
    return config;
}

static void hostile_numbers_are_refused(void **state) {
    (void)state;
    const struct {
        const char *changes; /* merged into the golden config.json; null removes */
        hone_status status;
        const char *says;
    } cases[] = {
        {"{\"model_type\": \"mamba\"}", HONE_ERR_UNSUPPORTED, "\"mamba\""},
        {"{\"model_type\": null}", HONE_ERR_FORMAT, "model_type"},
        {"{\"model_type\": 7}", HONE_ERR_FORMAT, "model_type"},
        {"{\"num_hidden_layers\": 0}", HONE_ERR_FORMAT, "number of layers"},
        {"{\"num_hidden_layers\": -3}", HONE_ERR_FORMAT, "num_hidden_layers"},
        {"{\"num_hidden_layers\": 1000}", HONE_ERR_FORMAT, "layers"},
        {"{\"num_hidden_layers\": 99999999999}", HONE_ERR_FORMAT, "num_hidden_layers"},
        {"{\"num_hidden_layers\": 4}", HONE_ERR_FORMAT, "model.layers.3"},
        {"{\"hidden_size\": \"64\"}", HONE_ERR_FORMAT, "hidden_size"},
        {"{\"hidden_size\": 65}", HONE_ERR_FORMAT, "embed_tokens"},
        {"{\"hidden_size\": 2000000000}", HONE_ERR_FORMAT, "hidden_size"},
        {"{\"intermediate_size\": 161}", HONE_ERR_FORMAT, "gate_proj"},
        {"{\"num_attention_heads\": 0}", HONE_ERR_FORMAT, "num_attention_heads"},
        {"{\"num_attention_heads\": 5}", HONE_ERR_FORMAT, "no multiple"},
        {"{\"num_key_value_heads\": 0}", HONE_ERR_FORMAT, "head"},
        {"{\"head_dim\": 15}", HONE_ERR_FORMAT, "odd"},
        {"{\"head_dim\": 0}", HONE_ERR_FORMAT, "head size"},
        {"{\"vocab_size\": 0}", HONE_ERR_FORMAT, "vocabulary"},
        {"{\"vocab_size\": 513}", HONE_ERR_FORMAT, "embed_tokens"},
        {"{\"eos_token_id\": 512}", HONE_ERR_FORMAT, "eos_token_id"},
        {"{\"bos_token_id\": -2}", HONE_ERR_FORMAT, "bos_token_id"},
        {"{\"rms_norm_eps\": -1}", HONE_ERR_FORMAT, "epsilon"},
        {"{\"rms_norm_eps\": []}", HONE_ERR_FORMAT, "rms_norm_eps"},
        {"{\"max_position_embeddings\": 0}", HONE_ERR_FORMAT, "positions"},
        {"{\"max_position_embeddings\": 1}", HONE_ERR_FORMAT, "positions is 1, expected 2"},
        {"{\"hidden_act\": \"gelu\"}", HONE_ERR_UNSUPPORTED, "gelu"},
        {"{\"quantization\": {\"bits\": 4}}", HONE_ERR_UNSUPPORTED, "quantized"},
        {"{\"rope_parameters\": {\"rope_theta\": 0, \"rope_type\": \"default\"}}", HONE_ERR_FORMAT,
         "rope base"},
        {"{\"rope_parameters\": {\"rope_theta\": 1e4, \"rope_type\": \"yarn\"}}",
         HONE_ERR_UNSUPPORTED, "yarn"},
        {"{\"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 0.5}}", HONE_ERR_FORMAT,
         "factor"},
        {"{\"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 1}}",
         HONE_ERR_FORMAT, "ascend"},
        {"{\"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
         "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 0}}",
         HONE_ERR_FORMAT, "original_max_position_embeddings"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *config = golden_config(), *changes = json_loads(cases[i].changes, 0, NULL);
        assert_non_null(changes);
        json_object_update(config, changes);
        temp_folder folder = folder_with(config);
        hone_model *model = NULL;
        hone_error err = {0};
        hone_status status = hone_model_open(folder.path, NULL, &model, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].says))
            fail_msg("%s: status %d, \"%s\"; expected %d and \"%s\"", cases[i].changes, status,
                     err.message, cases[i].status, cases[i].says);
        assert_null(model);
        assert_non_null(strstr(err.message, folder.path));
        temp_remove(&folder);
        json_decref(config);
        json_decref(changes);
    }
}

static void options_are_checked(void **state) {
    (void)state;
    const struct {
        hone_model_options options;
        const char *says;
    } cases[] = {{{.threads = -1}, "threads"},
                 {{.ops = "fast"}, "\"fast\""},
                 {{.weights = "int2"}, "\"int2\""}};
    for (size_t i = 0; i < 3; i++) {
        hone_model *model = NULL;
        hone_error err = {0};
        assert_int_equal(hone_model_open(golden, &cases[i].options, &model, &err), HONE_ERR_USAGE);
        assert_non_null(strstr(err.message, cases[i].says));
    }
}

/* Published configs carry rope_theta and rope_scaling at the top; transformers 5 nests them. */
static void both_spellings_of_rope_mean_the_same(void **state) {
    (void)state;
    json_t *config = NULL;
    hone_error err = {0};
    hone_config nested, flat;
    assert_ok(
        hone_json_read(HONE_GOLDEN_DIR "/archs/llama3-rope/config.json", 1 << 20, &config, &err),
        err);
    hone_file_set *set = NULL;
    assert_ok(hone_file_set_open(HONE_GOLDEN_DIR "/archs/llama3-rope", &set, &err), err);
    assert_ok(hone_config_read(set, &nested, &err), err);
    hone_file_set_free(&set);
    json_t *scaling = json_incref(json_object_get(config, "rope_parameters"));
    json_object_set(config, "rope_theta", json_object_get(scaling, "rope_theta"));
    json_object_set_new(config, "rope_scaling", scaling);
    json_object_del(config, "rope_parameters");
    temp_folder folder = folder_with(config);
    assert_ok(hone_file_set_open(folder.path, &set, &err), err);
    assert_ok(hone_config_read(set, &flat, &err), err);
    hone_file_set_free(&set);
    assert_int_equal(flat.rope_scaling, HONE_ROPE_LLAMA3);
    enum { POSITIONS = 200, HALF = 8 };
    float a[2][POSITIONS * HALF], b[2][POSITIONS * HALF];
    hone_config_rope_table(&nested, POSITIONS, a[0], a[1]);
    hone_config_rope_table(&flat, POSITIONS, b[0], b[1]);
    assert_memory_equal(a, b, sizeof a);
    /* By hand: theta 5e5, dimension 16. i=0: wavelength 2 pi < 64/4, untouched. i=7: 6.1e5 > 64/1, divided by 8. */
    assert_true(fabs((double)a[0][HALF] - cos(1.0)) < 1e-6);
    assert_true(fabs((double)a[1][POSITIONS * HALF - 1] - sin(199 * pow(5e5, -14.0 / 16) / 8)) <
                1e-6);
    temp_remove(&folder);
    json_decref(config);
}

/* The base is that of rope_parameters, else that of the root, else transformers' default. */
static void the_rope_base_is_looked_for_in_the_root_too(void **state) {
    (void)state;
    const struct {
        const char *parameters;
        double root, want; /* root 0: none */
    } cases[] = {{"{\"rope_type\": \"default\"}", 50000, 50000},
                 {"{\"rope_type\": \"default\", \"rope_theta\": null}", 50000, 50000},
                 {"{\"rope_type\": \"default\", \"rope_theta\": 20000}", 50000, 20000},
                 {"{\"rope_type\": \"default\"}", 0, 10000},
                 {"{\"rope_type\": \"linear\", \"factor\": 2}", 70000, 70000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *config = golden_config();
        json_object_set_new(config, "rope_parameters", json_loads(cases[i].parameters, 0, NULL));
        if (cases[i].root > 0) json_object_set_new(config, "rope_theta", json_real(cases[i].root));
        temp_folder folder = folder_with(config);
        hone_file_set *set = NULL;
        hone_config read;
        hone_error err = {0};
        assert_ok(hone_file_set_open(folder.path, &set, &err), err);
        assert_ok(hone_config_read(set, &read, &err), err);
        assert_true(read.rope_theta == cases[i].want);
        assert_int_equal(read.rope_scaling, i == 4 ? HONE_ROPE_LINEAR : HONE_ROPE_PLAIN);
        hone_file_set_free(&set);
        temp_remove(&folder);
        json_decref(config);
    }
}

/* ---- the golden llama as a GGUF, made here ---- */

static void put_string(hone_buf *out, const char *text) {
    uint64_t size = strlen(text);
    put(out, &size, sizeof size);
    put(out, text, size);
}

static void put_u32_value(hone_buf *out, const char *key, uint32_t type, const void *value) {
    put_string(out, key);
    put(out, &type, sizeof type);
    put(out, value, 4);
}

static void put_int(hone_buf *out, const char *key, uint32_t value) {
    put_u32_value(out, key, 4, &value);
}

static void put_tokenizer(hone_buf *out) {
    json_t *root = NULL;
    hone_error err = {0};
    assert_ok(hone_json_read(HONE_GOLDEN_DIR "/archs/llama/tokenizer.json", 1 << 24, &root, &err),
              err);
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    const char *tokens[512] = {0}, *token;
    json_t *id;
    json_object_foreach(vocab, token, id) tokens[json_integer_value(id)] = token;
    const uint32_t string = 8, f32 = 6, i32 = 5, array = 9;
    const uint64_t count = 512;
    put_string(out, "tokenizer.ggml.model");
    put(out, &string, 4);
    put_string(out, "llama");
    put_string(out, "tokenizer.ggml.tokens");
    put(out, &array, 4), put(out, &string, 4), put(out, &count, 8);
    for (int i = 0; i < 512; i++) put_string(out, tokens[i]);
    put_string(out, "tokenizer.ggml.scores");
    put(out, &array, 4), put(out, &f32, 4), put(out, &count, 8);
    for (int i = 0; i < 512; i++) {
        float score = (float)-i;
        put(out, &score, 4);
    }
    put_string(out, "tokenizer.ggml.token_type");
    put(out, &array, 4), put(out, &i32, 4), put(out, &count, 8);
    for (int i = 0; i < 512; i++) {
        int32_t type = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
        put(out, &type, 4);
    }
    json_decref(root);
}

/* GGUF's name of a tensor of the golden model; permuted_heads: its rows are stored for interleaved rope. */
static void gguf_name(const char *name, char out[64], size_t *permuted_heads) {
    static const char *const pairs[][2] = {
        {"input_layernorm", "attn_norm"}, {"post_attention_layernorm", "ffn_norm"},
        {"self_attn.q_proj", "attn_q"},   {"self_attn.k_proj", "attn_k"},
        {"self_attn.v_proj", "attn_v"},   {"self_attn.o_proj", "attn_output"},
        {"mlp.gate_proj", "ffn_gate"},    {"mlp.up_proj", "ffn_up"},
        {"mlp.down_proj", "ffn_down"}};
    int layer;
    *permuted_heads = 0;
    if (strcmp(name, "model.embed_tokens.weight") == 0) snprintf(out, 64, "token_embd.weight");
    if (strcmp(name, "model.norm.weight") == 0) snprintf(out, 64, "output_norm.weight");
    if (strcmp(name, "lm_head.weight") == 0) snprintf(out, 64, "output.weight");
    if (sscanf(name, "model.layers.%d.", &layer) != 1) return;
    for (size_t i = 0; i < 9; i++) {
        if (!strstr(name, pairs[i][0])) continue;
        snprintf(out, 64, "blk.%d.%s.weight", layer, pairs[i][1]);
        if (i == 2) *permuted_heads = 4;
        if (i == 3) *permuted_heads = 2;
    }
}

static void put_tensor_data(hone_buf *out, const hone_tensor *t, size_t heads) {
    size_t row = t->shape[t->dims - 1] * sizeof(float), rows = t->bytes / row,
           dim = heads ? rows / heads : 0;
    for (size_t r = 0; r < rows; r++) {
        /* Stored row (head, pair i, side j) is Hugging Face's row (head, j, i). */
        size_t within = dim ? r % dim : 0,
               from = dim ? r / dim * dim + (within % 2) * (dim / 2) + within / 2 : r;
        put(out, (const char *)t->data + from * row, row);
    }
    put_zeros(out, (32 - out->size % 32) % 32);
}

/* factor: the key of a rope factor of 4, or NULL; typed: the kind of scaling is said, too. */
static void write_gguf(const hone_file_set *set, const char *path, const char *factor, bool typed) {
    hone_buf out = hone_buf_make(SIZE_MAX);
    const uint32_t string = 8, f32 = 6, version = 3;
    const uint64_t tensors = set->tensor_count, keys = 13 + (typed ? 1 : 0) + (factor ? 1 : 0);
    put(&out, "GGUF", 4), put(&out, &version, 4), put(&out, &tensors, 8), put(&out, &keys, 8);
    put_string(&out, "general.architecture");
    put(&out, &string, 4);
    put_string(&out, "llama");
    put_int(&out, "llama.block_count", 3);
    put_int(&out, "llama.embedding_length", 64);
    put_int(&out, "llama.feed_forward_length", 160);
    put_int(&out, "llama.attention.head_count", 4);
    put_int(&out, "llama.attention.head_count_kv", 2);
    put_int(&out, "llama.context_length", 256);
    const float eps = 1e-5f, theta = 10000;
    put_u32_value(&out, "llama.attention.layer_norm_rms_epsilon", f32, &eps);
    put_u32_value(&out, "llama.rope.freq_base", f32, &theta);
    const float four = 4;
    if (factor) put_u32_value(&out, factor, f32, &four);
    if (typed) {
        put_string(&out, "llama.rope.scaling.type");
        put(&out, &string, 4);
        put_string(&out, "linear");
    }
    put_tokenizer(&out);
    uint64_t offset = 0;
    for (size_t i = 0; i < set->tensor_count; i++) {
        const hone_tensor *t = &set->tensors[i];
        char name[64] = "";
        size_t heads;
        gguf_name(t->name, name, &heads);
        put_string(&out, name);
        uint32_t dims = (uint32_t)t->dims, type = 0;
        put(&out, &dims, 4);
        for (int d = t->dims - 1; d >= 0; d--) {
            uint64_t size = t->shape[d];
            put(&out, &size, 8);
        }
        put(&out, &type, 4), put(&out, &offset, 8);
        offset += (t->bytes + 31) / 32 * 32;
    }
    put_zeros(&out, (32 - out.size % 32) % 32);
    for (size_t i = 0; i < set->tensor_count; i++) {
        char name[64];
        size_t heads;
        gguf_name(set->tensors[i].name, name, &heads);
        put_tensor_data(&out, &set->tensors[i], heads);
    }
    temp_write(path, out.data, out.size);
    hone_buf_free(&out);
}

static void gguf_and_hugging_face_folder_give_the_same_logits(void **state) {
    (void)state;
    temp_folder folder = temp_make();
    char *path = temp_path(&folder, "llama.gguf");
    hone_file_set *set = NULL;
    hone_error err = {0};
    assert_ok(hone_file_set_open(golden, &set, &err), err);
    write_gguf(set, path, NULL, false);
    hone_file_set_free(&set);
    int32_t ids[50];
    for (int i = 0; i < 50; i++) ids[i] = 3 + i * 37 % 500;
    float *logits[2], nll[2][49];
    for (int i = 0; i < 2; i++) {
        hone_model *model = NULL;
        hone_model_options options = {.threads = 1, .compute = HONE_COMPUTE_F32};
        assert_ok(hone_model_open(i ? path : golden, &options, &model, &err), err);
        assert_ok(hone_logits(model, ids, 50, &logits[i], nll[i], &err), err);
        hone_model_free(&model);
    }
    assert_memory_equal(logits[0], logits[1], 512 * sizeof(float));
    assert_memory_equal(nll[0], nll[1], sizeof nll[0]);
    hone_free(logits[0]);
    hone_free(logits[1]);
    free(path);
    temp_remove(&folder);
}

/* A factor alone is linear scaling; so it was written before there was a kind. */
static void linear_rope_is_read_however_it_is_written(void **state) {
    (void)state;
    static const struct {
        const char *factor;
        bool typed;
    } files[] = {{NULL, false},
                 {"llama.rope.scaling.factor", true},
                 {"llama.rope.scaling.factor", false},
                 {"llama.rope.scale_linear", false}};
    temp_folder folder = temp_make();
    char *path = temp_path(&folder, "llama.gguf");
    hone_file_set *set = NULL;
    hone_error err = {0};
    assert_ok(hone_file_set_open(golden, &set, &err), err);
    int32_t ids[9] = {3, 40, 77, 114, 151, 188, 225, 262, 299};
    float *logits[4];
    for (int i = 0; i < 4; i++) {
        hone_model *model = NULL;
        hone_model_options options = {.threads = 1, .compute = HONE_COMPUTE_F32};
        write_gguf(set, path, files[i].factor, files[i].typed);
        assert_ok(hone_model_open(path, &options, &model, &err), err);
        assert_ok(hone_logits(model, ids, 9, &logits[i], NULL, &err), err);
        hone_model_free(&model);
    }
    assert_memory_not_equal(logits[0], logits[1], 512 * sizeof(float));
    assert_memory_equal(logits[1], logits[2], 512 * sizeof(float));
    assert_memory_equal(logits[1], logits[3], 512 * sizeof(float));
    for (int i = 0; i < 4; i++) hone_free(logits[i]);
    hone_file_set_free(&set);
    free(path);
    temp_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_numbers_are_refused),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(both_spellings_of_rope_mean_the_same),
        cmocka_unit_test(the_rope_base_is_looked_for_in_the_root_too),
        cmocka_unit_test(gguf_and_hugging_face_folder_give_the_same_logits),
        cmocka_unit_test(linear_rope_is_read_however_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
