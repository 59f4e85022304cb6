/* base/hash: see hash.h. */
#include "base/hash.h"

#include "base/buf.h"
#include "base/file.h"

#include <openssl/evp.h>
#include <stdio.h>

hone_status hone_sha256(const void *data, size_t size, char out[HONE_SHA256_TEXT],
                        hone_error *err) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_Digest(data ? data : "", size, digest, &length, EVP_sha256(), NULL) != 1 ||
        length != 32)
        return hone_fail(err, HONE_ERR_INTERNAL, "OpenSSL cannot compute a SHA-256");
    for (unsigned i = 0; i < length; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return HONE_OK;
}

hone_status hone_sha256_file(const char *path, size_t limit, char out[HONE_SHA256_TEXT],
                             hone_error *err) {
    hone_buf buf;
    HONE_TRY(hone_file_read(path, limit, &buf, err));
    hone_status status = hone_sha256(buf.data, buf.size, out, err);
    hone_buf_free(&buf);
    return status;
}
