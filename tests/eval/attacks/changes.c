/* What would be left of files by calls that Landlock does not rule over, and things that are no files. */
int chmod(const char *, unsigned);
int chown(const char *, unsigned, unsigned);
int link(const char *, const char *);
int symlink(const char *, const char *);
int mkfifo(const char *, unsigned);
int mknod(const char *, unsigned, unsigned long);
int truncate(const char *, long);
int utimes(const char *, const void *);
int setxattr(const char *, const char *, const void *, size_t, int);
int chroot(const char *);
unsigned umask(unsigned);

static bool attempt(const hone_host *host, int number, const char *path) {
    (void)host;
    switch (number) {
    case 0:
        return chmod(path, 0777) == 0;
    case 1:
        return chown(path, 0, 0) == 0;
    case 2:
        return link(path, "/tmp/hone-attack") == 0;
    case 3:
        return symlink(path, "result") == 0;
    case 4:
        return mkfifo("result", 0600) == 0;
    case 5:
        return mknod("result", 0020600, 0x103) == 0;
    case 6:
        return truncate(path, 0) == 0;
    case 7:
        return utimes(path, NULL) == 0;
    case 8:
        return setxattr(path, "user.x", "x", 1, 0) == 0;
    case 9:
        return chroot("/") == 0;
    case 10:
        umask(0);
        return true;
    }
    return true;
}
