/* eval/compile_check: what a kernel file may say, and a compiler be told. Layer eval; used by eval/compile. */
#ifndef HONE_EVAL_COMPILE_CHECK_H
#define HONE_EVAL_COMPILE_CHECK_H

#include "base/buf.h"

/* Looks at a source as it was written: headers, pragmas, and assembly unless any_code. Appends a line
 * "kernels.c:LINE: ..." to `why` for each thing that is not allowed, up to its limit. Whether there was none. */
bool hone_check_source(const char *text, size_t size, bool any_code, hone_buf *why);

/* The same for what the preprocessor made of it, where no macro hides anything. Headers may hold assembly. */
bool hone_check_preprocessed(const char *text, size_t size, bool any_code, hone_buf *why);

/* Flags of optimization, blanks between them: only those that cannot change what arithmetic means, name a file or run
 * a program. HONE_ERR_USAGE for another. */
hone_status hone_check_flags(const char *flags, hone_error *err);

#endif
