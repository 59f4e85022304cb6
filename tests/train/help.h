/* tests/train/help: temporary folders, and the tiny golden llama, with a chat template of the test's choice. */
#ifndef HONE_TESTS_TRAIN_HELP_H
#define HONE_TESTS_TRAIN_HELP_H

#include "support.h"

#include "base/file.h"
#include "model/model.h"

#include <unistd.h>

#define TINY HONE_GOLDEN_DIR "/archs/llama"

enum { TINY_EOS = 2, TINY_BOS = 1, TINY_VOCAB = 512 };

typedef struct folder {
    char path[64];
    char file[192]; /* what `in` made last */
} folder;

static inline void make_folder(folder *f) {
    strcpy(f->path, "/tmp/hone-test-XXXXXX");
    assert_non_null(mkdtemp(f->path));
}

static inline const char *in(folder *f, const char *name) {
    snprintf(f->file, sizeof f->file, "%s/%s", f->path, name);
    return f->file;
}

static inline const char *put(folder *f, const char *name, const char *text) {
    hone_error err;
    assert_ok(hone_file_write_atomic(in(f, name), text, strlen(text), &err), err);
    return f->file;
}

static inline void remove_folder(folder *f) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", f->path);
    assert_int_equal(system(command), 0);
}

static inline hone_model *open_tiny(const char *path, int threads) {
    hone_error err;
    hone_model *model;
    hone_model_options options = {.threads = threads, .compute = HONE_COMPUTE_F32};
    assert_ok(hone_model_open(path, &options, &model, &err), err);
    return model;
}

/* The tiny model with a chat template (JSON escapes are the caller's), in a folder of its own. */
static inline hone_model *open_tiny_chat(folder *f, const char *template_source) {
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json"};
    char source[256], *text = malloc(strlen(template_source) + 128);
    for (int i = 0; i < 3; i++) {
        snprintf(source, sizeof source, TINY "/%s", names[i]);
        unlink(in(f, names[i]));
        assert_int_equal(symlink(source, in(f, names[i])), 0);
    }
    sprintf(text, "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"chat_template\": \"%s\"}",
            template_source);
    put(f, "tokenizer_config.json", text);
    free(text);
    return open_tiny(f->path, 1);
}

#endif
