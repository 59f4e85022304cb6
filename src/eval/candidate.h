/* eval/candidate: from a kernel file to kernels that can be measured, and, when they were found right, to a shared
 * object that training may use. Layer eval. */
#ifndef HONE_EVAL_CANDIDATE_H
#define HONE_EVAL_CANDIDATE_H

#include "eval/workshop.h"

/* Compiles options->kernels in a sandbox and notes in report->candidate what it is. A file that does not compile is a
 * result: candidate.verdict says so, and there is no object. */
hone_status hone_candidate_compile(hone_workshop *workshop, const hone_eval_options *options,
                                   hone_eval_report *report, hone_error *err);

/* Whether everything that was measured speaks for the candidate: both levels were, nothing was wrong and no training
 * failed. Else candidate.verdict or .reason says what is missing. */
bool hone_candidate_judge(hone_eval_report *report);

/* Writes an accepted object to options->output and remembers it. */
hone_status hone_candidate_deliver(const hone_workshop *workshop, const hone_eval_options *options,
                                   const hone_eval_report *report, hone_error *err);

#endif
