/* base/clock: time and memory of this process, as the operating system counts them. */
#ifndef HONE_BASE_CLOCK_H
#define HONE_BASE_CLOCK_H

#include <stddef.h>

double hone_clock_seconds(void);    /* monotonic */
size_t hone_memory_peak_rss(void);  /* bytes, highest so far (VmHWM) */
size_t hone_memory_rss(void);       /* bytes now */
size_t hone_memory_available(void); /* MemAvailable, lowered by a cgroup's limit; 0 if unknown */

#endif
