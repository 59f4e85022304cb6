/* eval/compare: two report files, and what changed from the first to the second. Layer eval. The public functions are
 * hone_eval_compare and what follows it in <hone.h>. */
#ifndef HONE_EVAL_COMPARE_H
#define HONE_EVAL_COMPARE_H

#include "base/json.h"

/* The comparison of two checked reports as schema.h and docs/evaluation.md describe it: a new reference. The names
 * stand for the files. */
hone_status hone_compare_reports(const json_t *a, const char *a_name, const json_t *b,
                                 const char *b_name, json_t **out, hone_error *err);

#endif
