/* RMSNorm (Zhang and Sennrich 2019) over rows; the sample for new row-wise ops: a struct with the
 * arguments, a range function over rows, and the member of the table that cuts rows over threads.
 */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <math.h>

enum { ROW_GRAIN = 4 };

typedef struct rmsnorm_call {
    float *out, *rstd_out; /* forward: out[T,C], rstd[T] or NULL */
    const float *dout;     /* backward: [T,C] */
    const float *x, *w;    /* [T,C], [C] */
    const float *rstd;     /* backward: [T] */
    int64_t C;
    float eps;
} rmsnorm_call;

static void forward_rows(int64_t begin, int64_t end, void *arg)
{
    const rmsnorm_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t t = begin; t < end; t++) {
        const float *x = call->x + t * call->C;
        double mean = vec->sum_squares(x, call->C) / (double)call->C;
        float rstd = (float)(1.0 / sqrt(mean + (double)call->eps));
        if (call->rstd_out) call->rstd_out[t] = rstd;
        vec->rmsnorm_row(call->out + t * call->C, x, call->w, rstd, call->C);
    }
}

void fl_cpu_rmsnorm_fwd(float *out, float *rstd, const float *x, const float *w, int64_t T,
                        int64_t C, float eps)
{
    rmsnorm_call call = {.out = out, .rstd_out = rstd, .x = x, .w = w, .C = C, .eps = eps};
    fl_parallel_for(T, ROW_GRAIN, forward_rows, &call);
}

static void backward_rows(int64_t begin, int64_t end, void *arg)
{
    const rmsnorm_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t t = begin; t < end; t++) {
        int64_t at = t * call->C;
        vec->rmsnorm_bwd_row(call->out + at, call->dout + at, call->x + at, call->w, call->rstd[t],
                             call->C);
    }
}

void fl_cpu_rmsnorm_bwd(float *dx, const float *dout, const float *x, const float *w,
                        const float *rstd, int64_t T, int64_t C)
{
    rmsnorm_call call = {.out = dx, .dout = dout, .x = x, .w = w, .rstd = rstd, .C = C};
    fl_parallel_for(T, ROW_GRAIN, backward_rows, &call);
}
