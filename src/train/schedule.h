/* Learning rate over the rounds of a run. */
#ifndef FL_TRAIN_SCHEDULE_H
#define FL_TRAIN_SCHEDULE_H

#include <stdint.h>

/* lr(t) = lr_min + 0.5 (lr_0 - lr_min) (1 + cos(pi t / T)) for round t = 0..T-1: constant inside a
 * round, never quite lr_min.  It rises where lr_0 < lr_min (as the reference's does). */
double fl_cosine_lr(double lr_0, double lr_min, int64_t t, int64_t T);

#endif
