/* eval/compile_object: what a compiled kernel file may be made of. Layer eval; used by eval/compile. */
#ifndef HONE_EVAL_COMPILE_OBJECT_H
#define HONE_EVAL_COMPILE_OBJECT_H

#include "base/buf.h"

/* Looks at a shared object as the loader will: whether it has anything that can be written once it is loaded, calls
 * anything but mathematics and what moves memory, or runs code by being loaded. `bytes` may be anything at all. Appends
 * a line "kernels.c: error: ..." to `why` for what is not allowed, up to its limit. Whether there was nothing. */
bool hone_check_object(const char *bytes, size_t size, hone_buf *why);

#endif
