/* RMSNorm (Zhang and Sennrich 2019) over rows; the sample for new row-wise ops: a struct with the
 * arguments, a range function over rows, and the member of the table that cuts rows over threads.
 */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <math.h>

enum { ROW_GRAIN = 4 };

typedef struct rmsnorm_call {
    fl_act out;        /* [T,G*C] */
    float *rstd_out;   /* forward: [T,G] or NULL */
    fl_act dout;       /* backward: [T,G*C] */
    fl_act x;          /* [T,G*C] */
    const float *w;    /* [C] */
    const float *rstd; /* backward: [T,G] */
    int64_t G, C;
    float eps;
} rmsnorm_call;

/* Group number `i` of all. */
static float *group_of(const rmsnorm_call *call, fl_act x, int64_t i)
{
    return fl_cpu_floats(x) + i / call->G * x.stride + i % call->G * call->C;
}

static void forward_rows(int64_t begin, int64_t end, void *arg)
{
    const rmsnorm_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t t = begin; t < end; t++) {
        const float *x = group_of(call, call->x, t);
        double mean = vec->sum_squares(x, call->C) / (double)call->C;
        float rstd = (float)(1.0 / sqrt(mean + (double)call->eps));
        if (call->rstd_out) call->rstd_out[t] = rstd;
        vec->rmsnorm_row(group_of(call, call->out, t), x, call->w, rstd, call->C);
    }
}

void fl_cpu_rmsnorm_fwd(fl_act out, float *rstd, fl_act x, const float *w, int64_t T, int64_t G,
                        int64_t C, float eps)
{
    rmsnorm_call call = {.out = out, .rstd_out = rstd, .x = x, .w = w, .G = G, .C = C, .eps = eps};
    fl_parallel_for(T * G, ROW_GRAIN, forward_rows, &call);
}

static void backward_rows(int64_t begin, int64_t end, void *arg)
{
    const rmsnorm_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t t = begin; t < end; t++) {
        vec->rmsnorm_bwd_row(group_of(call, call->out, t), group_of(call, call->dout, t),
                             group_of(call, call->x, t), call->w, call->rstd[t], call->C);
    }
}

void fl_cpu_rmsnorm_bwd(fl_act dx, fl_act dout, fl_act x, const float *w, const float *rstd,
                        int64_t T, int64_t G, int64_t C)
{
    rmsnorm_call call = {.out = dx, .dout = dout, .x = x, .w = w, .rstd = rstd, .G = G, .C = C};
    fl_parallel_for(T * G, ROW_GRAIN, backward_rows, &call);
}
