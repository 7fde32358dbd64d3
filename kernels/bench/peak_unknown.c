#include "peak.h"

double fl_bench_peak(void)
{
    return 0;
}
