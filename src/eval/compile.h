/* eval/compile: from a stranger's kernel file to a shared object. Layer eval.
 *
 * The source is looked at before and after preprocessing and refused where it asks for more than hone_kernels.h allows,
 * with a sentence for its author, and so is the shared object: it may keep nothing between calls and call mathematics
 * alone. What protects this machine is that the compiler runs in a sandbox that can read its own files and write into
 * one folder, and nothing else, and that kernels do. */
#ifndef HONE_EVAL_COMPILE_H
#define HONE_EVAL_COMPILE_H

#include "eval/sandbox.h"

typedef struct hone_compile_options {
    const char *compiler; /* a path, or a name to be found in PATH: gcc or clang. NULL: "cc" */
    const char *flags;    /* of optimization, blanks between them. NULL: "-O3 -march=native" */
    double seconds;       /* 0: 30 */
    size_t memory;        /* bytes of each of the compiler's processes; 0: 2 GiB */
    size_t output;        /* bytes of each file it writes; 0: 64 MiB */
    bool unsafe;          /* see hone_sandbox_options */
    /* Neither assembly in the source nor the object is looked at: for tests of what runs it, which has to hold without
     * this check. */
    bool any_code;
    bool (*keep_waiting)(void *user); /* see hone_sandbox_patience; NULL: wait */
    void *user;
} hone_compile_options;

typedef struct hone_compile_result {
    hone_verdict verdict; /* OK, COMPILE_ERROR or COMPILE_LIMIT */
    char *object;         /* path of the shared object; NULL unless OK */
    char *flags;          /* all that the compiler was given, but for file names */
    char *compiler;       /* its first line for --version */
    char *diagnostics;    /* what it, or the check, said: at most 64 KiB; "" when nothing */
    char source_sha256[65], object_sha256[65]; /* hexadecimal; "" where there is none */
    double seconds;
} hone_compile_result;

enum { HONE_SOURCE_LIMIT = 1 << 20, HONE_DIAGNOSTICS_LIMIT = 64 << 10 };

/* Compiles `source` to folder/kernels.so; `folder` exists, and holds nothing else of ours afterwards. HONE_OK also when
 * the source is refused or does not compile: that is in *result, whose diagnostics name it "kernels.c". Fails for flags
 * that are not allowed, files that cannot be read or written, and where the sandbox is not complete. *result is to be
 * freed in any case. */
hone_status hone_compile_kernels(const char *source, const hone_compile_options *options,
                                 const char *folder, hone_compile_result *result, hone_error *err);
void hone_compile_result_free(hone_compile_result *result);

#endif
