/* eval/accept: which compiled kernels this machine's evaluations have found right. Layer eval.
 *
 * A record lies in $HONE_HOME/kernels/SHA256.json, named by the hash of the shared object, so that it holds for these
 * very bytes wherever they lie. It tells the verdict and the CPU that it was found on, and holds for no other: what was
 * measured there is another program's work here, and -march=native may not even run. */
#ifndef HONE_EVAL_ACCEPT_H
#define HONE_EVAL_ACCEPT_H

#include "eval/report.h"

/* Notes that the report's candidate, whose object has this hash, was accepted. */
hone_status hone_accept_kernels(const char *sha256, const hone_eval_report *report,
                                hone_error *err);

#endif
