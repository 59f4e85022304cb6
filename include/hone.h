/* hone: fine-tuning of real language models on a CPU, with fused kernels.
 *
 * This header is the whole public interface of libhone; the program `hone` uses nothing else.
 *
 * Conventions
 *  - Functions that can fail return hone_status and take a `hone_error *` last, which may be NULL.
 *    On failure it holds one sentence: what went wrong, where, what was expected, what to do.
 *  - The library never prints, never exits, never aborts on input.
 *  - hone_x_free(hone_x **) accepts NULL and clears the pointer.
 *  - Strings are UTF-8 and NUL-terminated; those that may hold NUL carry a length.
 */
#ifndef HONE_H
#define HONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum hone_status {
    HONE_OK = 0,
    HONE_ERR_USAGE,       /* an option or argument that makes no sense */
    HONE_ERR_IO,          /* the operating system refused: missing file, full disk, ... */
    HONE_ERR_FORMAT,      /* a file that is not what it claims to be */
    HONE_ERR_UNSUPPORTED, /* well-formed, but of a kind hone does not handle */
    HONE_ERR_MEMORY,      /* out of memory */
    HONE_ERR_LIMIT,       /* a stated limit was reached (size, nesting, steps, --mem-limit) */
    HONE_ERR_INTERRUPTED, /* a callback asked to stop */
    HONE_ERR_GATE,        /* a gate such as a minimum score was not met */
    HONE_ERR_INTERNAL     /* a defect of hone itself */
} hone_status;

typedef struct hone_error {
    hone_status status;
    char message[1024]; /* one sentence, NUL-terminated; empty after success */
} hone_error;

#ifdef __cplusplus
}
#endif
#endif
