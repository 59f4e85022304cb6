/* base/hash: SHA-256 (FIPS 180-4), by OpenSSL. */
#ifndef HONE_BASE_HASH_H
#define HONE_BASE_HASH_H

#include "base/status.h"

enum { HONE_SHA256_TEXT = 65 }; /* 64 hexadecimal digits and NUL */

hone_status hone_sha256(const void *data, size_t size, char out[HONE_SHA256_TEXT], hone_error *err);

/* Of a regular file of at most `limit` bytes. */
hone_status hone_sha256_file(const char *path, size_t limit, char out[HONE_SHA256_TEXT],
                             hone_error *err);

#endif
