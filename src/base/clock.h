/* Time and memory of this process. */
#ifndef FL_BASE_CLOCK_H
#define FL_BASE_CLOCK_H

#include <stdint.h>

double fl_clock_seconds(void);         /* monotonic, arbitrary start */
void fl_sleep_seconds(double seconds); /* a signal may end it early */
uint64_t fl_peak_memory_bytes(void);   /* largest resident set so far */

#endif
