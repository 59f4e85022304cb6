/* Code that runs when the file is loaded. */
int socket(int, int, int);

__attribute__((constructor)) static void begin(void) { (void)socket(2, 1, 0); }

static bool attempt(const hone_host *host, int number, const char *path) {
    (void)host, (void)number, (void)path;
    return true;
}
