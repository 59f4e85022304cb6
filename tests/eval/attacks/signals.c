/* Signals: not to be stopped by them, and stopping others with them. */
#include <signal.h>
#include <time.h>

unsigned alarm(unsigned);
int getppid(void);
unsigned ualarm(unsigned, unsigned);

static void ignore(int number) { (void)number; }

static bool attempt(const hone_host *host, int number, const char *path) {
    sigset_t set;
    timer_t timer;
    (void)host, (void)path;
    switch (number) {
    case 0:
        sigfillset(&set);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGTERM, ignore);
        for (;;) (void)time(NULL);
    case 1:
        signal(SIGALRM, ignore);
        return true;
    case 2:
        alarm(1);
        return true;
    case 3:
        kill(-1, 9);
        return true;
    case 4:
        kill(getppid(), 9);
        return true;
    case 5:
        raise(SIGTERM);
        return true;
    case 6:
        ualarm(1, 1); /* setitimer */
        return true;
    case 7:
        timer_create(CLOCK_MONOTONIC, NULL, &timer);
        return true;
    case 8:
        killpg(0, 9);
        return true;
    case 9:
        kill(1, 9);
        return true;
    case 10:
        signal(SIGSEGV, ignore);
        return true;
    }
    return true;
}
