/* eval/roof: what this machine does at best, for the roof over every kernel. Layer eval. */
#ifndef HONE_EVAL_ROOF_H
#define HONE_EVAL_ROOF_H

#include "eval/crew.h"
#include "eval/report.h"

/* Fills peak_f32, peak_bf16, cache_bandwidth and memory_bandwidth: the best of several samples, all threads of the crew
 * together. Takes about a fifth of a second. */
hone_status hone_roof_measure(hone_crew *crew, unsigned features, hone_noise *noise,
                              hone_error *err);

#endif
