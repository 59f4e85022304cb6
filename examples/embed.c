/* Fine-tunes a model for a few steps through the library, then lets it speak.
 *
 *   cc embed.c $(pkg-config --cflags --libs hone) -o embed
 *   ./embed MODEL.gguf FOLDER_WITH_train.jsonl [STEPS]
 */
#include <hone.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool on_event(void *user, const hone_train_event *e) {
    (void)user;
    if (e->kind == HONE_TRAIN_STEP)
        printf("step %d of %d: loss %.4f\n", e->iter, e->iters, e->loss);
    return true;
}

static bool on_text(void *user, const char *text, size_t size) {
    (void)user;
    return fwrite(text, 1, size, stdout) == size;
}

static int fail(const hone_error *err) {
    fprintf(stderr, "embed: %s\n", err->message);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: embed MODEL DATA [STEPS]\n"), 2;
    hone_error err;
    hone_model *model;
    if (hone_model_open(argv[1], NULL, &model, &err)) return fail(&err);

    hone_train_options train = hone_train_defaults();
    train.data = argv[2];
    train.iters = argc > 3 ? atoi(argv[3]) : 4;
    train.batch_size = 1;
    train.max_seq_length = 128;
    train.learning_rate = 1e-4;
    train.val_batches = 0;
    hone_train_callbacks callbacks = {.on_event = on_event};
    hone_train_result result;
    if (hone_train(model, &train, &callbacks, &result, &err)) return fail(&err);
    printf("%.1f tokens/s\n", result.tokens_per_sec_median);

    const char *prompt = "Water boils at";
    int32_t *ids;
    size_t count;
    if (hone_tokenize(model, prompt, strlen(prompt), true, &ids, &count, &err)) return fail(&err);
    hone_generate_options generate = {.max_tokens = 16, .on_text = on_text};
    hone_generate_result text;
    if (hone_generate(model, ids, count, &generate, &text, &err)) return fail(&err);
    printf("\n");
    hone_free(text.ids);
    hone_free(ids);
    hone_model_free(&model);
    return 0;
}
