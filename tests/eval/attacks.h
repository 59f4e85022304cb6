/* tests/eval/attacks: compiling a file of attacks/. */
#ifndef HONE_TESTS_ATTACKS_H
#define HONE_TESTS_ATTACKS_H

#include "base/file.h"
#include "eval/compile.h"
#include "temp.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 }; /* this program reserves more addresses than any limit allows */
#else
enum { SANITIZED = 0 };
#endif

#define ATTACKS HONE_SOURCE_DIR "/tests/eval/attacks/"

static inline hone_buf read_text(const char *path) {
    hone_error err;
    hone_buf text;
    assert_ok(hone_file_read(path, 1 << 20, &text, &err), err);
    return text;
}

/* Compiles honest.h and then attacks/NAME.c in a folder NAME of `temp`, once; path of the object, which the caller
 * frees. */
static inline char *compile_attack(const temp_folder *temp, const char *name) {
    char file[512];
    snprintf(file, sizeof file, "%s/kernels.so", name);
    char *made = temp_path(temp, file);
    if (hone_file_exists(made)) return made;
    free(made);
    hone_error err;
    hone_compile_result result;
    hone_compile_options options = {.flags = "-O1", .seconds = 120, .any_code = true};
    snprintf(file, sizeof file, ATTACKS "%s.c", name);
    hone_buf text = read_text(ATTACKS "honest.h"), attack = read_text(file);
    assert_ok(hone_buf_append(&text, attack.data, attack.size, &err), err);
    snprintf(file, sizeof file, "%s.c", name);
    char *source = temp_path(temp, file), *folder = temp_path(temp, name);
    temp_write(source, text.data, text.size);
    assert_ok(hone_file_make_directories(folder, &err), err);
    assert_ok(hone_compile_kernels(source, &options, folder, &result, &err), err);
    if (result.verdict != HONE_VERDICT_OK)
        fail_msg("%s does not compile:\n%s", name, result.diagnostics);
    char *object = strdup(result.object);
    hone_compile_result_free(&result);
    hone_buf_free(&text);
    hone_buf_free(&attack);
    free(source);
    free(folder);
    return object;
}

#endif
