/* AdamW (Loshchilov and Hutter 2019) in the form of ops.h. */
#include "backend/adamw.h"
#include "cpu.h"
#include "isa.h"
#include "threads.h"

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
    adamw_call call = {.p = p, .m = m, .v = v, .g = g, .factors = fl_adamw_prepare(opt)};
    fl_parallel_for(n, ELEMENT_GRAIN, update, &call);
}
