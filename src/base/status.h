/* base/status: errors as values. Lowest layer.
 *
 * Every fallible function returns hone_status and takes `hone_error *err` (may be NULL) last.
 *   if (bad) return hone_fail(err, HONE_ERR_FORMAT, "%s: byte %zu: expected ..., got ...", ...);
 *   HONE_TRY(other_call(..., err));
 * A function with something to clean up keeps one exit:
 *   HONE_TRY_GOTO(status, done, other_call(..., err));  ...  done: free(...); return status;
 */
#ifndef HONE_BASE_STATUS_H
#define HONE_BASE_STATUS_H

#include <hone.h>
#include <stdarg.h>

#if defined(__GNUC__)
#define HONE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define HONE_PRINTF(fmt, args)
#endif

/* Fills *err (when not NULL) and returns `status`. A message too long is cut at the end. */
hone_status hone_fail(hone_error *err, hone_status status, const char *format, ...)
    HONE_PRINTF(3, 4);

/* Puts "prefix: " before the message already in *err: adds where to what. Returns err's status. */
hone_status hone_fail_prefix(hone_error *err, const char *format, ...) HONE_PRINTF(2, 3);

/* Out of memory while doing `what`, which wanted `bytes`. */
hone_status hone_fail_memory(hone_error *err, const char *what, size_t bytes);

/* Fails with "path: strerror(errno)" and the advice that fits (missing, permission, full disk). */
hone_status hone_fail_errno(hone_error *err, const char *doing, const char *path);

#define HONE_TRY(call)                                                                             \
    do {                                                                                           \
        hone_status try_status_ = (call);                                                          \
        if (try_status_ != HONE_OK) return try_status_;                                            \
    } while (0)

#define HONE_TRY_GOTO(status, label, call)                                                         \
    do {                                                                                           \
        (status) = (call);                                                                         \
        if ((status) != HONE_OK) goto label;                                                       \
    } while (0)

#endif
