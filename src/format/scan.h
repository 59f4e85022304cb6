/* format/scan: a cursor over JSON text in a mapped file. Private to the layer.
 *
 * Headers of 100 MB come from strangers: they are read in one pass, without building a tree, and
 * every message says at which byte of the file. Each function skips white space first.
 */
#ifndef HONE_FORMAT_SCAN_H
#define HONE_FORMAT_SCAN_H

#include "base/buf.h"

typedef struct hone_scan {
    const char *path; /* for messages */
    const char *text; /* [size] */
    size_t size;
    size_t at;   /* next byte */
    size_t base; /* where the text starts in the file */
} hone_scan;

/* "path: byte N: " and the message, for the place where the last thing began or the cursor is. */
hone_status hone_scan_fail(const hone_scan *scan, size_t at, hone_status status, hone_error *err,
                           const char *format, ...) HONE_PRINTF(5, 6);

/* Moves over `c` when it comes next. */
bool hone_scan_accept(hone_scan *scan, char c);
hone_status hone_scan_expect(hone_scan *scan, char c, hone_error *err);

/* A string, decoded into *out (replaced). Must be UTF-8 and hold no NUL. */
hone_status hone_scan_string(hone_scan *scan, hone_buf *out, hone_error *err);

/* An integer from 0 to SIZE_MAX, without fraction or exponent. */
hone_status hone_scan_size(hone_scan *scan, size_t *out, hone_error *err);

/* Any value, checked and dropped; nested at most 64 deep. */
hone_status hone_scan_skip(hone_scan *scan, hone_error *err);

/* Nothing but white space may be left. */
hone_status hone_scan_end(hone_scan *scan, hone_error *err);

#endif
