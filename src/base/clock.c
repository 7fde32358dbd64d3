#include "base/clock.h"

#include <sys/resource.h>
#include <time.h>

double fl_clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void fl_sleep_seconds(double seconds)
{
    if (!(seconds > 0)) return; /* NaN too */
    if (seconds > 1e9) seconds = 1e9;
    struct timespec span = {.tv_sec = (time_t)seconds};
    span.tv_nsec = (long)((seconds - (double)span.tv_sec) * 1e9);
    nanosleep(&span, NULL); /* not taken up again after a signal: the caller looks at its flags */
}

uint64_t fl_peak_memory_bytes(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return (uint64_t)usage.ru_maxrss * 1024; /* Linux counts in KiB */
}
