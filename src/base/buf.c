/* base/buf: a growable byte buffer with a mandatory cap. */
#include "base/buf.h"

#include "base/size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

hone_buf hone_buf_make(size_t limit) {
    return (hone_buf){.limit = HONE_MIN(limit, SIZE_MAX - 1)}; /* room for the NUL */
}

void hone_buf_free(hone_buf *buf) {
    free(buf->data);
    *buf = hone_buf_make(buf->limit);
}

hone_status hone_buf_reserve(hone_buf *buf, size_t extra, hone_error *err) {
    if (extra > buf->limit - buf->size) {
        return hone_fail(err, HONE_ERR_LIMIT, "more than %zu bytes, the most that is allowed here",
                         buf->limit);
    }
    size_t need = buf->size + extra + 1;
    if (need <= buf->capacity) return HONE_OK;
    size_t doubled = buf->capacity <= buf->limit / 2 ? buf->capacity * 2 : buf->limit + 1;
    size_t capacity = HONE_MAX(HONE_MAX(need, doubled), HONE_MIN((size_t)64, buf->limit + 1));
    char *data = realloc(buf->data, capacity);
    if (data == NULL) return hone_fail_memory(err, "a buffer", capacity);
    buf->data = data;
    buf->capacity = capacity;
    buf->data[buf->size] = '\0';
    return HONE_OK;
}

hone_status hone_buf_append(hone_buf *buf, const void *data, size_t size, hone_error *err) {
    HONE_TRY(hone_buf_reserve(buf, size, err));
    if (size > 0) memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    buf->data[buf->size] = '\0';
    return HONE_OK;
}

hone_status hone_buf_append_str(hone_buf *buf, const char *text, hone_error *err) {
    return hone_buf_append(buf, text, strlen(text), err);
}

hone_status hone_buf_append_char(hone_buf *buf, char c, hone_error *err) {
    return hone_buf_append(buf, &c, 1, err);
}

hone_status hone_buf_printf(hone_buf *buf, hone_error *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0)
        return hone_fail(err, HONE_ERR_INTERNAL, "a text could not be formatted as \"%s\"", format);
    HONE_TRY(hone_buf_reserve(buf, (size_t)size, err));
    va_start(args, format);
    vsnprintf(buf->data + buf->size, (size_t)size + 1, format, args);
    va_end(args);
    buf->size += (size_t)size;
    return HONE_OK;
}
