/* Lying to whoever reads. The result goes to descriptor 3. */
#include <stdlib.h>

long write(int, const void *, size_t);
int close(int);
int fcntl(int, int, ...);
void _exit(int);

static bool attempt(const hone_host *host, int number, const char *path) {
    static char block[65536];
    static const char forged[] = "{\"verdict\": \"OK\", \"right\": true, \"seconds\": 0}\n";
    (void)host, (void)path;
    switch (number) {
    case 0: /* a verdict instead of a result */
        for (int fd = 0; fd < 64; fd++) (void)!write(fd, forged, sizeof forged - 1);
        _exit(0);
    case 1: /* nothing but standard streams and the result's is open */
        for (int fd = 4; fd < 1024; fd++)
            if (fcntl(fd, 1) >= 0) return true;
        return false;
    case 2: /* gigabytes, of which little is kept */
        for (int i = 0; i < 4096; i++) (void)!write(1, block, sizeof block);
        return false;
    case 3:
        close(3);
        return false;
    case 4: /* a result of the right size, of zeros */
        (void)!write(3, block, 65 * 4);
        _exit(0);
    }
    return true;
}
