/* eval/roof: what this machine does at best, for the roof over every kernel. Layer eval. */
#ifndef HONE_EVAL_ROOF_H
#define HONE_EVAL_ROOF_H

#include "eval/crew.h"
#include "eval/report.h"

/* Fills peak_f32, peak_bf16, cache_bandwidth and memory_bandwidth: the best of several samples, all threads of the crew
 * together. Takes about a fifth of a second. */
hone_status hone_roof_measure(hone_crew *crew, unsigned features, hone_noise *noise,
                              hone_error *err);

/* What the operations and bytes of a row's call take at the least, in seconds: by this roof, or by what the naive or
 * the shipped side of the same row has just done, whichever is faster, with a margin. */
double hone_roof_least_seconds(const hone_noise *noise, const hone_micro_row *row);

#endif
