/* What AdamW's update needs of a step: worked out once, in double, rounded to fp32 once; elements
 * are then updated in fp32, as the reference does.  For all backends, in C and in CUDA. */
#ifndef FL_BACKEND_ADAMW_H
#define FL_BACKEND_ADAMW_H

#include "backend/ops.h"

#include <math.h>

typedef struct fl_adamw_factors {
    float beta1, beta2, rest1, rest2; /* rest = 1 - beta */
    float step_size, eps, decay;      /* decay = lr * weight_decay */
    float grad_scale;
} fl_adamw_factors;

static inline fl_adamw_factors fl_adamw_prepare(const fl_adamw *opt)
{
    double correction1 = 1.0 - pow(opt->beta1, (double)opt->step);
    double correction2 = 1.0 - pow(opt->beta2, (double)opt->step);
    fl_adamw_factors f;
    f.beta1 = (float)opt->beta1;
    f.beta2 = (float)opt->beta2;
    f.rest1 = (float)(1.0 - opt->beta1);
    f.rest2 = (float)(1.0 - opt->beta2);
    f.step_size = (float)(opt->lr * sqrt(correction2) / correction1);
    f.eps = (float)opt->eps;
    f.decay = (float)(opt->lr * opt->weight_decay);
    f.grad_scale = (float)opt->grad_scale;
    return f;
}

#endif
