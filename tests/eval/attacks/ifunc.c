/* Code that runs while the file is being linked into the process: nothing of the C library can be called yet. */
static long raw_call(long number) {
    long result = number;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = 0;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8) : "memory");
    result = x0;
#endif
    return result;
}

static int nothing(void) { return 0; }

typedef int (*chosen)(void);

__attribute__((used)) static chosen choose(void) {
    (void)raw_call(425 /* io_uring_setup */);
    return nothing;
}

__attribute__((visibility("default"), ifunc("choose"))) int chosen_at_load(void);

static bool attempt(const hone_host *host, int number, const char *path) {
    (void)host, (void)number, (void)path;
    return chosen_at_load() == 0;
}
