/* base/status: errors as values. */
#include "base/status.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Names from files end up in messages, messages end up on terminals: nothing that a terminal would
 * obey, and nothing that is not UTF-8, may pass. The result is never longer than the source. */
static void copy_printable(char *out, size_t capacity, const char *text) {
    size_t size = strlen(text), used = 0;
    for (size_t at = 0; at < size;) {
        uint32_t code = 0;
        size_t length = hone_utf8_decode(text + at, size - at, &code);
        bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
        size_t add = length == 0 || control ? 1 : length;
        if (used + add >= capacity) break;
        if (length == 0 || control) {
            out[used] = '?';
        } else {
            memcpy(out + used, text + at, length);
        }
        used += add;
        at += length == 0 ? 1 : length;
    }
    out[used] = '\0';
}

static void fill(hone_error *err, hone_status status, const char *format, va_list args) {
    char text[sizeof err->message + 4]; /* room for a code point that straddles the end */
    vsnprintf(text, sizeof text, format, args);
    err->status = status;
    copy_printable(err->message, sizeof err->message, text);
}

hone_status hone_fail(hone_error *err, hone_status status, const char *format, ...) {
    if (err == NULL) return status;
    va_list args;
    va_start(args, format);
    fill(err, status, format, args);
    va_end(args);
    return status;
}

hone_status hone_fail_prefix(hone_error *err, const char *format, ...) {
    if (err == NULL) return HONE_ERR_INTERNAL;
    char old[sizeof err->message];
    memcpy(old, err->message, sizeof old);
    va_list args;
    va_start(args, format);
    fill(err, err->status, format, args);
    va_end(args);
    size_t used = strlen(err->message);
    if (used + 2 < sizeof err->message) {
        memcpy(err->message + used, ": ", 3);
        copy_printable(err->message + used + 2, sizeof err->message - used - 2, old);
    }
    return err->status;
}

hone_status hone_fail_memory(hone_error *err, const char *what, size_t bytes) {
    return hone_fail(
        err, HONE_ERR_MEMORY,
        "out of memory: %s needs %zu bytes; close other programs or use a smaller model or batch",
        what, bytes);
}

static const char *advice(int code) {
    switch (code) {
    case ENOENT:
        return "; check the path";
    case EACCES:
    case EPERM:
        return "; check who owns it and its permissions";
    case ENOSPC:
    case EDQUOT:
        return "; free some space or choose another folder";
    case EROFS:
        return "; choose a folder that can be written";
    case EMFILE:
    case ENFILE:
        return "; raise the limit of open files (ulimit -n)";
    case EFBIG:
        return "; raise the limit of file sizes (ulimit -f)";
    default:
        return "";
    }
}

hone_status hone_fail_errno(hone_error *err, const char *doing, const char *path) {
    int code = errno;
    return hone_fail(err, code == ENOMEM ? HONE_ERR_MEMORY : HONE_ERR_IO, "%s: cannot %s: %s%s",
                     path, doing, strerror(code), advice(code));
}
