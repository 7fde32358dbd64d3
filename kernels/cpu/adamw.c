/* AdamW (Loshchilov and Hutter 2019) in the form of ops.h.  What depends on the step alone is
 * worked out once, in double; elements are updated in fp32, as the reference does. */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <math.h>

enum { ELEMENT_GRAIN = 8192 };

typedef struct adamw_call {
    float *p, *m, *v;
    const float *g;
    fl_adamw_factors factors;
} adamw_call;

static void update(int64_t begin, int64_t end, void *arg)
{
    const adamw_call *call = arg;
    fl_isa_current()->vec->adamw(call->p + begin, call->m + begin, call->v + begin, call->g + begin,
                                 end - begin, &call->factors);
}

void fl_cpu_adamw(float *p, float *m, float *v, const float *g, int64_t n, const fl_adamw *opt)
{
    double correction1 = 1.0 - pow(opt->beta1, (double)opt->step);
    double correction2 = 1.0 - pow(opt->beta2, (double)opt->step);
    adamw_call call = {.p = p, .m = m, .v = v, .g = g};
    call.factors = (fl_adamw_factors){
        .beta1 = (float)opt->beta1,
        .beta2 = (float)opt->beta2,
        .rest1 = (float)(1.0 - opt->beta1),
        .rest2 = (float)(1.0 - opt->beta2),
        .step_size = (float)(opt->lr * sqrt(correction2) / correction1),
        .eps = (float)opt->eps,
        .decay = (float)(opt->lr * opt->weight_decay),
        .grad_scale = (float)opt->grad_scale,
    };
    fl_parallel_for(n, ELEMENT_GRAIN, update, &call);
}
