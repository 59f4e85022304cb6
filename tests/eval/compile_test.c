/* tests of eval/compile: what becomes of kernel files, honest and other ones. */
#include "eval/compile.h"

#include "attacks.h"
#include "eval/compile_check.h"
#include "eval/compile_object.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static temp_folder temp;
static char *source, *folder, *secret;
static const char secret_text[] = "s3cr3t_word_of_nobody 17;\n";

#define EXPORT                                                                                     \
    "const hone_kernel_set *hone_kernels_export(void) {\n"                                         \
    "    static const hone_kernel_set set = {.abi = HONE_KERNELS_ABI};\n"                          \
    "    return &set;\n}\n"
#define HEADER "#include <hone_kernels.h>\n"

static void need_confinement(void) {
    hone_sandbox_support support;
    hone_sandbox_probe(&support);
    if (!support.missing[0]) return;
    print_message("%s\n", support.missing);
    skip();
}

/* Compiles a text; the caller frees. */
static hone_compile_result compile(const char *text, const hone_compile_options *options) {
    hone_error err;
    hone_compile_result result;
    temp_write(source, text, strlen(text));
    assert_ok(hone_compile_kernels(source, options, folder, &result, &err), err);
    return result;
}

static void expect(const char *text, const hone_compile_options *options, hone_verdict verdict,
                   const char *said) {
    hone_compile_result r = compile(text, options);
    if (r.verdict != verdict || (said && !strstr(r.diagnostics, said)))
        fail_msg("%.300s\n%s instead of %s; expected \"%s\" in:\n%s", text,
                 hone_verdict_name(r.verdict), hone_verdict_name(verdict), said ? said : "",
                 r.diagnostics);
    if (strstr(r.diagnostics, "s3cr3t") && !strstr(text, "s3cr3t"))
        fail_msg("the secret is in the diagnostics:\n%s", r.diagnostics);
    assert_int_equal(r.object != NULL, verdict == HONE_VERDICT_OK);
    hone_compile_result_free(&r);
}

/* What a command prints, up to the first blank. */
static void first_word(const char *command, char word[128]) {
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    word[0] = 0;
    assert_int_equal(fscanf(pipe, "%127s", word), 1);
    assert_int_equal(pclose(pipe), 0);
}

static void check_good(const char *compiler) {
    const hone_compile_options options = {.compiler = compiler, .seconds = 120};
    char command[600], word[128];
    hone_compile_result r = compile(HEADER "#include <math.h>\n" EXPORT, &options);
    if (r.verdict != HONE_VERDICT_OK) fail_msg("%s", r.diagnostics);
    assert_string_equal(r.diagnostics, "");
    assert_memory_equal(r.flags, "-O3 -march=native ", 18);
    assert_null(strstr(r.flags, "fast-math"));
    assert_true(strlen(r.compiler) > 4);
    snprintf(command, sizeof command, "sha256sum %s", r.object);
    first_word(command, word);
    assert_string_equal(r.object_sha256, word);
    snprintf(command, sizeof command, "sha256sum %s", source);
    first_word(command, word);
    assert_string_equal(r.source_sha256, word);
    snprintf(command, sizeof command, "nm -D --defined-only %s | cut -d' ' -f3", r.object);
    first_word(command, word); /* of one line, or more would be exported */
    assert_string_equal(word, "hone_kernels_export");
    void *library = dlopen(r.object, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    assert_non_null(dlsym(library, "hone_kernels_export"));
    dlclose(library);
    hone_compile_result_free(&r);
}

static void test_good_ones(void **state) {
    (void)state;
    need_confinement();
    check_good(NULL);
    if (access("/usr/bin/clang", X_OK) == 0) check_good("/usr/bin/clang");
    const hone_compile_options options = {.flags = "-O1", .seconds = 120};
    expect("#if 0\n#endif\n/*\n#include \"x\"\n*/ // optimize \\\n#include \"x\"\n"
           "# /* a */ include /* b */ <hone_kernels.h> // c\n"
           "#in\\\nclude <std\\\nint.h>\n"
           "static const char *s = \"#include optimize /* \"; static const int c = '\"';\n"
           "#pragma GCC diagnostic push\n#pragma STDC FP_CONTRACT OFF\n" EXPORT,
           &options, HONE_VERDICT_OK, NULL);
#ifdef __x86_64__
    expect(HEADER "#include <immintrin.h>\n" EXPORT, &options, HONE_VERDICT_OK, NULL);
#endif
}

static void test_refused_before_compiling(void **state) {
    static const char *const cases[][2] = {
        {HEADER "\n#include \"other.h\"\n", "kernels.c:3: error: #include \"other.h\""},
        {HEADER "#include </etc/passwd>\n", "kernels.c:2: error"},
        {HEADER "#include <unistd.h>\n", "#include <unistd.h>"},
        {HEADER "  # include /* */ \"a\" \n", "kernels.c:2: error"},
        {HEADER "%:include \"a\"\n", "kernels.c:2: error"},
        {HEADER "#inc\\\nlude \"a\"\n", "kernels.c:2: error"},
        {HEADER "#define H <math.h>\n#include H\n", "kernels.c:3: error: #include H"},
        {HEADER "#include_next <math.h>\n", "#include_next"},
        {HEADER "#embed \"a\"\n", "#embed"},
        {HEADER "#line 3 \"a\"\n", "#line"},
        {HEADER "# 3 \"a\"\n", "kernels.c:2"},
        {HEADER "#pragma GCC optimize (\"fast-math\")\n",
         "kernels.c:2: error: #pragma GCC optimize"},
        {HEADER "#pragma clang fp reassociate(on)\n", "#pragma clang fp"},
        {HEADER "#pragma float_control(precise, off)\n", "#pragma float_control"},
        {HEADER "#pragma GCC dependency \"/etc/passwd\"\n", "#pragma GCC dependency"},
        {HEADER "\n__attribute__((optimize(\"fast-math\"))) int f(void);\n",
         "kernels.c:3: error: the attribute"},
        {HEADER "__attribute__((__optimize__(3))) int f(void);\n", "__optimize__"},
        {HEADER "const char *s = R\"(\")\"; __attribute__((optimize(\"O3\"))) int f(void);\n",
         "raw string"},
        {HEADER "__asm__(\"nop\");\n", "kernels.c:2: error: __asm__: assembly"},
        {HEADER "void f(void) { __asm volatile(\"nop\"); }\n", "__asm: assembly"},
        {HEADER "void f(void) { register int x asm(\"ebx\") = 1; (void)x; }\n", "asm: assembly"},
        {HEADER "#define OPEN \"/*\"\n#include <unistd.h>\n#define CLOSE \"*/\"\n",
         "kernels.c:3: error: #include <unistd.h>"},
        {HEADER "#define OPEN '/*'\n#include <unistd.h>\n#define CLOSE '*/'\n",
         "#include <unistd.h>"},
        {HEADER "#define OPEN \"\\\"/*\"\n#include <unistd.h>\n#define CLOSE \"*/\"\n",
         "#include <unistd.h>"},
    };
    (void)state;
    need_confinement();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect(cases[i][0], &(hone_compile_options){.seconds = 120}, HONE_VERDICT_COMPILE_ERROR,
               cases[i][1]);
    hone_buf far = hone_buf_make(4096); /* further to the right than a directive's text is kept */
    assert_int_equal(hone_buf_printf(&far, NULL, HEADER "#%2000s <unistd.h>\n", "include"),
                     HONE_OK);
    expect(far.data, &(hone_compile_options){.seconds = 120}, HONE_VERDICT_COMPILE_ERROR,
           "#include <unistd.h>");
    hone_buf_free(&far);
}

/* What macros and pasting hide from a look at the source is seen after preprocessing. */
static void test_hidden_flags(void **state) {
    const hone_compile_options options = {.flags = "-O1", .seconds = 120};
    (void)state;
    need_confinement();
    expect(HEADER "#define F _Pragma(\"GCC optimize(\\\"Ofast\\\")\")\n\nF\n" EXPORT, &options,
           HONE_VERDICT_COMPILE_ERROR, "kernels.c:4: error: #pragma GCC optimize");
    expect(HEADER "_Pragma(\"GCC optimize(\\\"Ofast\\\")\")\n" EXPORT, &options,
           HONE_VERDICT_COMPILE_ERROR, "kernels.c:2: error: #pragma GCC optimize");
    expect(HEADER
           "#define PASTE(a, b) a##b\n#define A __attribute__((PASTE(opti, mize)(\"fast-math\")))\n"
           "A int f(void);\n" EXPORT,
           &options, HONE_VERDICT_COMPILE_ERROR, "kernels.c:4: error: the attribute \"optimize\"");
    expect(HEADER "#define PASTE(a, b) a##b\nPASTE(__as, m__)(\"nop\");\n" EXPORT, &options,
           HONE_VERDICT_COMPILE_ERROR, "kernels.c:3: error: __asm__: assembly");
}

/* What the source does not show is seen in the object: `body` is a function's that the set's export calls. */
static void expect_object(const char *compiler, const char *outside, const char *body,
                          const char *said) {
    static const char *const flags[] = {"-O1", "-O3 -march=native"};
    char text[2048];
    snprintf(text, sizeof text,
             HEADER "#include <math.h>\n#include <stdlib.h>\n#include <string.h>\n"
                    "float sink(float x);\n%s\nfloat sink(float x) {\n%s\nreturn x;\n}\n" EXPORT,
             outside, body);
    for (int i = 0; i < 2; i++)
        expect(text,
               &(hone_compile_options){.compiler = compiler, .flags = flags[i], .seconds = 120},
               said ? HONE_VERDICT_COMPILE_ERROR : HONE_VERDICT_OK, said);
}

#define WORK "for (volatile int i = 0; i < 3; i++) continue;"

static void check_objects(const char *compiler) {
    static const char *const refused[][3] = {
        /* what lies outside, what a function does, what is said */
        {"static int calls;", "if (calls++ > 3) x = 0;", "written (calls"},
        {"static int first = 7;", "if (first++ > 3) x = 0;", "written (first"},
        {"static volatile float kept[4096];", "kept[5] += x; x = kept[6];", "written (kept"},
        {"__attribute__((visibility(\"default\"))) int seen = 0;", "", "written (seen"},
        {"static _Thread_local int mine;", "if (mine++ > 3) x = 0;", "threads have data"},
        {"", "void *p = malloc(99); *(volatile char *)p = 1; free(p);", "it needs malloc"},
        {"", "x = (float)atoi(getenv(\"HOME\"));", "it needs getenv"},
        {"int socket(int, int, int);", "x = (float)socket(1, 2, 3);", "it needs socket"},
        {"long syscall(long n, ...);", "x = (float)syscall(1);", "it needs syscall"},
        {"extern char **environ;", "x = environ[0][0];", "it needs environ"},
        {"", "x = lgammaf(x);", "it needs lgammaf"},
        {"__attribute__((constructor)) static void begin(void) { " WORK " }", "",
         ".init_array runs code"},
        {"__attribute__((destructor)) static void end(void) { " WORK " }", "", "runs code"},
        {"void _init(void); void _init(void) { " WORK " }", "", "_init or _fini runs code"},
        {"typedef int (*chosen)(void); static int nothing(void) { return 0; }\n"
         "__attribute__((used)) static chosen choose(void) { return nothing; }\n"
         "__attribute__((visibility(\"default\"), ifunc(\"choose\"))) int at_load(void);",
         "x = (float)at_load();", "indirect function"},
        {"__attribute__((section(\".text.more\"))) static const unsigned char words[4] = {0xc3};",
         "void (*run)(void);\nconst void *at = words;\nmemcpy(&run, &at, sizeof run);\nrun();",
         "executed (words)"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        expect_object(compiler, refused[i][0], refused[i][1], refused[i][2]);
    expect_object(compiler, "",
                  "double s, c; sincos(x, &s, &c); x += expf(x) + (float)(s * pow(c, 3));", NULL);
    expect_object(compiler, "",
                  "char b[99]; memset(b, (int)x, 99); memmove(b + 1, b, (size_t)x);\n"
                  "x += (float)strlen(b) + (float)memcmp(b, b + 50, (size_t)x);",
                  NULL);
    expect_object(compiler,
                  "static float twice(float x) { return 2 * x; }\n"
                  "static float (*const table[])(float) = {twice, sink, expf};",
                  "x = table[(int)x % 3](x);", NULL);
    /* A function of its own stays its own, whatever else is called so. */
    expect_object(compiler,
                  "__attribute__((visibility(\"default\"), noinline)) int system(const char *c);"
                  "int system(const char *c) { return c[0]; }",
                  "x = (float)system(\"ls\");", NULL);
#ifdef __x86_64__
    expect_object(
        compiler,
        "float __attribute__((vector_size(32))) _ZGVdN8v_expf(\n"
        "    float __attribute__((vector_size(32))));",
        "#ifdef __AVX2__\n_Alignas(32) float v[8] = {x};\n"
        "*(float __attribute__((vector_size(32))) *)v =\n"
        "    _ZGVdN8v_expf(*(float __attribute__((vector_size(32))) *)v);\nx = v[3];\n#endif",
        NULL);
#endif
}

/* Whole kernel files, which are measured elsewhere, pass. */
static void check_whole(const char *compiler) {
    static const char include[] = "#include \"rms_norm.h\"";
    const hone_compile_options options = {.compiler = compiler, .seconds = 120};
    hone_error err;
    hone_buf example = read_text(HONE_SOURCE_DIR "/examples/kernels.c"),
             text = read_text(ATTACKS "rms_norm.h"), honest = read_text(ATTACKS "honest.c");
    char *line = strstr(honest.data, include);
    assert_non_null(line);
    memset(line, ' ', sizeof include - 1);
    assert_ok(hone_buf_append(&text, honest.data, honest.size, &err), err);
    expect(example.data, &options, HONE_VERDICT_OK, NULL);
    expect(text.data, &options, HONE_VERDICT_OK, NULL);
    hone_buf_free(&example);
    hone_buf_free(&text);
    hone_buf_free(&honest);
}

static void test_objects(void **state) {
    (void)state;
    need_confinement();
    check_whole(NULL);
    if (access("/usr/bin/clang", X_OK) == 0) check_whole("/usr/bin/clang");
    check_objects(NULL);
    if (access("/usr/bin/clang", X_OK) == 0) check_objects("/usr/bin/clang");
}

/* The file itself may be anything: none of its bytes changed or missing leads astray. */
static void test_damaged_objects(void **state) {
    hone_error err;
    hone_buf object, why = hone_buf_make(HONE_DIAGNOSTICS_LIMIT);
    const hone_compile_options options = {.flags = "-O1", .seconds = 120};
    (void)state;
    need_confinement();
    hone_compile_result r = compile(HEADER "#include <math.h>\nfloat f(float x);\n"
                                           "float f(float x) { return expf(x); }\n" EXPORT,
                                    &options);
    if (r.verdict != HONE_VERDICT_OK) fail_msg("%s", r.diagnostics);
    assert_ok(hone_file_read(r.object, 1 << 20, &object, &err), err);
    assert_true(hone_check_object(object.data, object.size, &why));
    for (size_t size = 0; size < object.size / 2; size += size < 4096 ? 1 : 61) {
        char *cut = malloc(size + (size == 0)); /* so that a sanitizer sees a byte too many */
        memcpy(cut, object.data, size);
        if (size < 4096) assert_false(hone_check_object(cut, size, &why));
        (void)hone_check_object(cut, size, &why);
        free(cut);
    }
    for (size_t i = 0; i < object.size; i++)
        for (int k = 0; k < 3; k++) {
            char kept = object.data[i];
            object.data[i] = (char[]){(char)0xff, (char)(kept ^ 1), (char)0x7f}[k];
            why.size = 0;
            (void)hone_check_object(object.data, object.size, &why);
            object.data[i] = kept;
        }
    hone_buf_free(&why);
    hone_buf_free(&object);
    hone_compile_result_free(&r);
}

static void test_compiler_errors(void **state) {
    const hone_compile_options options = {.flags = "-O1", .seconds = 120};
    (void)state;
    need_confinement();
    expect(HEADER "int f(void) {\n    return x;\n}\n" EXPORT, &options, HONE_VERDICT_COMPILE_ERROR,
           "kernels.c:3:");
    expect(HEADER
           "int f(void);\nint g(void) { return f(); }\n"
           "const hone_kernel_set *hone_kernels_export(void) { return g() ? NULL : NULL; }\n",
           &options, HONE_VERDICT_COMPILE_ERROR, "f"); /* the linker's: f is nowhere */
    hone_buf many = hone_buf_make(HONE_SOURCE_LIMIT);
    (void)hone_buf_append_str(&many, HEADER, NULL);
    for (int i = 0; i < 3000; i++)
        (void)hone_buf_printf(&many, NULL, "int f%d(void) { return an_unknown_name_%d; }\n", i, i);
    hone_compile_result r = compile(many.data, &options);
    assert_int_equal(r.verdict, HONE_VERDICT_COMPILE_ERROR);
    assert_true(strlen(r.diagnostics) <= HONE_DIAGNOSTICS_LIMIT);
    assert_non_null(strstr(r.diagnostics, "an_unknown_name_0"));
    hone_compile_result_free(&r);
    hone_buf_free(&many);
}

/* The assembler reads files, too, and quotes in its messages what it cannot read as instructions. */
static void test_nothing_leaks(void **state) {
    static const char *const files[] = {"", "/etc/passwd", "/etc/shadow", "/dev/zero"};
    const hone_compile_options options = {.flags = "-O1", .seconds = 120, .any_code = true};
    char text[1024];
    (void)state;
    need_confinement();
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *file = files[i][0] ? files[i] : secret;
        snprintf(text, sizeof text, HEADER "__asm__(\".inc\" \"lude \\\"%s\\\"\");\n" EXPORT, file);
        expect(text, &options, HONE_VERDICT_COMPILE_ERROR, NULL);
        snprintf(text, sizeof text, HEADER "__asm__(\".inc\" \"bin \\\"%s\\\"\");\n" EXPORT, file);
        expect(text, &options, HONE_VERDICT_COMPILE_ERROR, NULL);
    }
}

/* Even if the look at the source were fooled: the compiler itself cannot open the file. */
static void test_compiler_cannot_read(void **state) {
    static const char *const readable[] = {"/usr/bin", "/bin", "/usr/include", "/etc/alternatives",
                                           NULL};
    static const char *const env[] = {"TMPDIR=.", NULL};
    hone_sandbox_options options = {
        .readable = readable, .system = true, .writable = folder, .env = env};
    char text[600];
    hone_error err;
    (void)state;
    need_confinement();
    char *input = temp_path(&temp, "out/input.c");
    snprintf(text, sizeof text, "#include \"%s\"\n", secret);
    temp_write(input, text, strlen(text));
    for (int confined = 0; confined < 2; confined++) {
        hone_buf said = hone_buf_make(HONE_DIAGNOSTICS_LIMIT), *into = &said;
        char *argv[] = {(char[]){"/usr/bin/cc"}, (char[]){"-S"}, (char[]){"input.c"}, NULL};
        hone_sandbox_child child;
        hone_ending ending;
        int pipe[2];
        const char *all[] = {"/", NULL};
        options.readable = confined ? readable : all;
        assert_int_equal(pipe2(pipe, O_CLOEXEC), 0);
        assert_ok(hone_sandbox_spawn(&options, argv, (const int[]){-1, pipe[1], pipe[1]}, NULL, 0,
                                     &child, &err),
                  err);
        close(pipe[1]);
        assert_ok(hone_sandbox_lead(&child, &(hone_sandbox_patience){.seconds = 120}, pipe, &into,
                                    1, &ending, &err),
                  err);
        close(pipe[0]);
        if (ending.exit_status != 1) fail_msg("%s: %s", ending.sentence, said.data);
        /* Allowed to read it, the compiler quotes it: that is what is prevented. */
        if ((strstr(said.data, "s3cr3t") != NULL) == confined)
            fail_msg("confined %d: %s", confined, said.data);
        hone_buf_free(&said);
    }
    assert_int_equal(unlink(input), 0);
    free(input);
}

static void test_bombs(void **state) {
    static const char macros[] = HEADER "#define A(x) x x x x x x x x x x x x x x x x\n"
                                        "#define B(x) A(A(x))\n#define C(x) B(B(x))\n"
                                        "static const int a[] = {C(C(1 + 1 +)) 1};\n" EXPORT;
    hone_compile_options options = {
        .flags = "-O0", .seconds = 120, .memory = (size_t)256 << 20, .any_code = true};
    (void)state;
    need_confinement();
    expect(macros, &options, HONE_VERDICT_COMPILE_LIMIT, NULL); /* memory or the size of a file */
    expect(HEADER "char a[1ul << 40] = {1};\n" EXPORT, &options, HONE_VERDICT_COMPILE_LIMIT, NULL);
    expect(HEADER "__asm__(\".rept 1000000000\\n.quad 1\\n.endr\");\n" EXPORT, &options,
           HONE_VERDICT_COMPILE_LIMIT, NULL);
    expect(HEADER "__asm__(\".fill 1000000000, 8, 1\");\n" EXPORT, &options,
           HONE_VERDICT_COMPILE_LIMIT, NULL);
    options.seconds = 0.05;
    options.memory = 0;
    options.output = (size_t)1 << 40;
    expect(macros, &options, HONE_VERDICT_COMPILE_LIMIT, "compiling was stopped");
}

static void test_sources_that_are_none(void **state) {
    hone_error err;
    hone_compile_result r;
    const hone_compile_options options = {.seconds = 120};
    char *fifo = temp_path(&temp, "fifo"), *large = malloc(HONE_SOURCE_LIMIT + 1);
    (void)state;
    need_confinement();
    temp_write(source, "int a;\nint b;\0int c;\n", 21);
    assert_ok(hone_compile_kernels(source, &options, folder, &r, &err), err);
    assert_int_equal(r.verdict, HONE_VERDICT_COMPILE_ERROR);
    assert_non_null(strstr(r.diagnostics, "kernels.c:2: error: a NUL byte"));
    hone_compile_result_free(&r);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(hone_compile_kernels(fifo, &options, folder, &r, &err), HONE_ERR_IO);
    hone_compile_result_free(&r);
    assert_int_equal(hone_compile_kernels(temp.path, &options, folder, &r, &err), HONE_ERR_IO);
    hone_compile_result_free(&r);
    memset(large, ' ', HONE_SOURCE_LIMIT + 1);
    temp_write(source, large, HONE_SOURCE_LIMIT + 1);
    assert_int_equal(hone_compile_kernels(source, &options, folder, &r, &err), HONE_ERR_LIMIT);
    hone_compile_result_free(&r);
    expect("", &options, HONE_VERDICT_OK,
           NULL); /* compiles; that it exports nothing is for who loads it */
    free(large);
    free(fifo);
}

static void test_flags(void **state) {
    static const char *const good[] = {"",
                                       "-O2",
                                       "-O3 -march=native\t-funroll-loops",
                                       "-mavx2 -mprefer-vector-width=256",
                                       "-fno-tree-vectorize --param=max-unroll-times=4",
                                       "-march=armv8.2-a+bf16"};
    static const char *const bad[] = {"-Ofast",
                                      "-O3 -ffast-math",
                                      "-funsafe-math-optimizations",
                                      "-fassociative-math",
                                      "-freciprocal-math",
                                      "-ffinite-math-only",
                                      "-fno-signed-zeros",
                                      "-ffp-contract=off",
                                      "-fexcess-precision=fast",
                                      "-mdaz-ftz",
                                      "-mrecip",
                                      "-mfpmath=387",
                                      "-m32",
                                      "-mx32",
                                      "-fplugin=x.so",
                                      "-specs=x",
                                      "-B/tmp",
                                      "-wrapper",
                                      "@file",
                                      "-I/etc",
                                      "-include",
                                      "-Wl,-z,now",
                                      "-Wa,-I/",
                                      "-L/",
                                      "-lgomp",
                                      "-o",
                                      "x.c",
                                      "-DX",
                                      "-fdump-tree-all",
                                      "-fprofile-use=/etc/x",
                                      "-fopenmp",
                                      "-ftree-parallelize-loops=4",
                                      "-fsplit-stack",
                                      "-save-temps",
                                      "-march=native;x",
                                      "-O3 -",
                                      "-fno-",
                                      "-f"};
    hone_error err;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_ok(hone_check_flags(good[i], &err), err);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (hone_check_flags(bad[i], &err) != HONE_ERR_USAGE) fail_msg("\"%s\" is allowed", bad[i]);
    assert_non_null(strstr(err.message, "\"-f\""));
}

/* This program as a compiler: tries to leave other things than files, and leaves folders. */
static int pretend(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("pretender 1.0") < 0;
    if (symlink("/etc/passwd", "kernels.i") == 0) fprintf(stderr, "a link\n");
    if (mkfifo("kernels.i", 0600) == 0) fprintf(stderr, "a FIFO\n");
    if (mknod("kernels.i", S_IFCHR | 0600, 0x103) == 0) fprintf(stderr, "a device\n");
    if (open("/etc/passwd", O_RDONLY) >= 0) fprintf(stderr, "a file read\n");
    if (open("../left", O_WRONLY | O_CREAT, 0600) >= 0) fprintf(stderr, "a file left\n");
    if (mkdir("kernels.i", 0700) != 0 || mkdir("kernels.i/deep", 0700) != 0)
        fprintf(stderr, "no folder\n");
    return 0;
}

static void test_no_compiler(void **state) {
    char self[4096];
    hone_error err;
    hone_compile_result r;
    (void)state;
    need_confinement();
    temp_write(source, HEADER EXPORT, strlen(HEADER EXPORT));
    assert_int_equal(hone_compile_kernels(source, &(hone_compile_options){.compiler = "no-such-cc"},
                                          folder, &r, &err),
                     HONE_ERR_IO);
    assert_non_null(strstr(err.message, "no-such-cc"));
    hone_compile_result_free(&r);
    assert_int_equal(hone_compile_kernels(source, &(hone_compile_options){.compiler = "/bin/false"},
                                          folder, &r, &err),
                     HONE_ERR_IO);
    hone_compile_result_free(&r);
    if (SANITIZED) return; /* the rest would run this program under a limit */
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    self[size > 0 ? size : 0] = 0;
    assert_int_equal(
        hone_compile_kernels(source, &(hone_compile_options){.compiler = self}, folder, &r, &err),
        HONE_ERR_IO);
    assert_non_null(strstr(err.message, "no regular file"));
    assert_string_equal(r.compiler, "pretender 1.0");
    assert_string_equal(r.diagnostics, "");
    hone_compile_result_free(&r);
}

/* Nothing but the last shared object is left where compilations took place. */
static int nothing_left(void **state) {
    (void)state;
    temp_folder out;
    snprintf(out.path, sizeof out.path, "%s", folder);
    char *object = temp_path(&out, "kernels.so");
    int left = temp_count(&out) - (access(object, F_OK) == 0);
    free(object);
    if (left) print_error("%d files are left\n", left);
    return left || waitpid(-1, NULL, WNOHANG) != -1 ? -1 : 0;
}

static int set_up(void **state) {
    hone_error err;
    (void)state;
    temp = temp_make();
    source = temp_path(&temp, "source.c");
    folder = temp_path(&temp, "out");
    secret = temp_path(&temp, "secret");
    temp_write(secret, secret_text, sizeof secret_text - 1);
    return hone_file_make_directories(folder, &err) == HONE_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    free(source);
    free(folder);
    free(secret);
    temp_remove(&temp);
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, nothing_left)

int main(int argc, char **argv) {
    if (argc > 1) return pretend(argc, argv);
    const struct CMUnitTest tests[] = {
        TEST(test_good_ones),     TEST(test_refused_before_compiling),
        TEST(test_objects),       TEST(test_damaged_objects),
        TEST(test_hidden_flags),  TEST(test_compiler_errors),
        TEST(test_nothing_leaks), TEST(test_compiler_cannot_read),
        TEST(test_bombs),         TEST(test_sources_that_are_none),
        TEST(test_flags),         TEST(test_no_compiler),
    };
    return cmocka_run_group_tests_name("eval/compile", tests, set_up, tear_down);
}
