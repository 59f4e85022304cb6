/* Processes and threads: bombs, and what would outlive the evaluation. */
#include <stdlib.h>
#include <threads.h>

int fork(void);
int vfork(void);
int setsid(void);
int daemon(int, int);

static int forever(void *unused) {
    (void)unused;
    for (;;) thrd_yield();
}

static bool attempt(const hone_host *host, int number, const char *path) {
    thrd_t thread;
    (void)host, (void)path;
    switch (number) {
    case 0:
        for (;;) (void)fork();
    case 1:
        while (thrd_create(&thread, forever, NULL) == thrd_success) {
        }
        return true;
    case 2:
        (void)setsid();
        return true;
    case 3:
        if (fork() == 0 && fork() == 0) forever(NULL);
        return true;
    case 4:
        (void)vfork();
        return true;
    case 5:
        return system("true") == 0;
    case 6:
        return daemon(0, 0) == 0;
    }
    return true;
}
