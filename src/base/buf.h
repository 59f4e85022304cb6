/* base/buf: a growable byte buffer with a mandatory cap. */
#ifndef HONE_BASE_BUF_H
#define HONE_BASE_BUF_H

#include "base/status.h"

typedef struct hone_buf {
    char *data;      /* owned; always NUL-terminated once anything was appended */
    size_t size;     /* bytes in use, the NUL not counted */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* size may not exceed this */
} hone_buf;

hone_buf hone_buf_make(size_t limit);
void hone_buf_free(hone_buf *buf);

/* Fail with HONE_ERR_LIMIT past the cap, HONE_ERR_MEMORY when the system has no more. */
hone_status hone_buf_append(hone_buf *buf, const void *data, size_t size, hone_error *err);
hone_status hone_buf_append_str(hone_buf *buf, const char *text, hone_error *err);
hone_status hone_buf_append_char(hone_buf *buf, char c, hone_error *err);
hone_status hone_buf_printf(hone_buf *buf, hone_error *err, const char *format, ...)
    HONE_PRINTF(3, 4);
hone_status hone_buf_reserve(hone_buf *buf, size_t extra, hone_error *err);

#endif
