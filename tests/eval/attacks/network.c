/* Sockets of every kind. */
int socket(int, int, int);
int socketpair(int, int, int, int *);

static bool attempt(const hone_host *host, int number, const char *path) {
    enum {
        UNIX = 1,
        INET = 2,
        INET6 = 10,
        NETLINK = 16,
        PACKET = 17,
        STREAM = 1,
        DATAGRAM = 2,
        RAW = 3
    };
    static const int kinds[][2] = {{INET, STREAM}, {INET6, STREAM}, {INET, DATAGRAM},
                                   {UNIX, STREAM}, {NETLINK, RAW},  {PACKET, RAW}};
    int pair[2];
    (void)host, (void)path;
    if (number < 6) return socket(kinds[number][0], kinds[number][1], 0) >= 0;
    return socketpair(UNIX, STREAM, 0, pair) == 0;
}
