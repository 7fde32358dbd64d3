#include "train/schedule.h"

#include <math.h>

double fl_cosine_lr(double lr_0, double lr_min, int64_t t, int64_t T)
{
    const double pi = 3.14159265358979323846;
    return lr_min + 0.5 * (lr_0 - lr_min) * (1.0 + cos(pi * (double)t / (double)T));
}
