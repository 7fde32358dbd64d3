/* Element-wise ops: sums, factors, caps, and the gated activations (Shazeer 2020). */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

/* A multiple of every vector length; large enough to be worth a thread. */
enum { ELEMENT_GRAIN = 8192 };

typedef struct elements_call {
    float *out, *out2;
    const float *x, *gate, *up;
    float factor;
} elements_call;

static void add(int64_t begin, int64_t end, void *arg)
{
    const elements_call *call = arg;
    fl_isa_current()->vec->add(call->out + begin, call->x + begin, end - begin);
}

void fl_cpu_add(float *y, const float *x, int64_t n)
{
    elements_call call = {.out = y, .x = x};
    fl_parallel_for(n, ELEMENT_GRAIN, add, &call);
}

static void scale(int64_t begin, int64_t end, void *arg)
{
    const elements_call *call = arg;
    float *x = call->out + begin;
    fl_isa_current()->vec->scale(x, x, call->factor, end - begin);
}

void fl_cpu_scale(float *x, float factor, int64_t n)
{
    elements_call call = {.out = x, .factor = factor};
    fl_parallel_for(n, ELEMENT_GRAIN, scale, &call);
}

static void softcap_fwd(int64_t begin, int64_t end, void *arg)
{
    const elements_call *call = arg;
    fl_isa_current()->vec->softcap(call->out + begin, call->factor, end - begin);
}

void fl_cpu_softcap_fwd(float *x, float cap, int64_t n)
{
    elements_call call = {.out = x, .factor = cap};
    fl_parallel_for(n, ELEMENT_GRAIN, softcap_fwd, &call);
}

static void softcap_bwd(int64_t begin, int64_t end, void *arg)
{
    const elements_call *call = arg;
    fl_isa_current()->vec->softcap_bwd(call->out + begin, call->x + begin, call->factor,
                                       end - begin);
}

void fl_cpu_softcap_bwd(float *d, const float *y, float cap, int64_t n)
{
    elements_call call = {.out = d, .x = y, .factor = cap};
    fl_parallel_for(n, ELEMENT_GRAIN, softcap_bwd, &call);
}

static void axpy(int64_t begin, int64_t end, void *arg)
{
    const elements_call *call = arg;
    fl_isa_current()->vec->axpy(call->out + begin, call->x + begin, call->factor, end - begin);
}

void fl_cpu_axpy(float *y, const float *x, float a, int64_t n)
{
    elements_call call = {.out = y, .x = x, .factor = a};
    fl_parallel_for(n, ELEMENT_GRAIN, axpy, &call);
}

static void swiglu_fwd(int64_t begin, int64_t end, void *arg)
{
    const elements_call *call = arg;
    fl_isa_current()->vec->swiglu_fwd(call->out + begin, call->gate + begin, call->up + begin,
                                      end - begin);
}

void fl_cpu_swiglu_fwd(float *out, const float *gate, const float *up, int64_t n)
{
    elements_call call = {.out = out, .gate = gate, .up = up};
    fl_parallel_for(n, ELEMENT_GRAIN, swiglu_fwd, &call);
}

static void swiglu_bwd(int64_t begin, int64_t end, void *arg)
{
    const elements_call *call = arg;
    fl_isa_current()->vec->swiglu_bwd(call->out + begin, call->out2 + begin, call->x + begin,
                                      call->gate + begin, call->up + begin, end - begin);
}

void fl_cpu_swiglu_bwd(float *dgate, float *dup, const float *dout, const float *gate,
                       const float *up, int64_t n)
{
    elements_call call = {.out = dgate, .out2 = dup, .x = dout, .gate = gate, .up = up};
    fl_parallel_for(n, ELEMENT_GRAIN, swiglu_bwd, &call);
}

static void geglu_fwd(int64_t begin, int64_t end, void *arg)
{
    const elements_call *call = arg;
    fl_isa_current()->vec->geglu_fwd(call->out + begin, call->gate + begin, call->up + begin,
                                     end - begin);
}

void fl_cpu_geglu_fwd(float *out, const float *gate, const float *up, int64_t n)
{
    elements_call call = {.out = out, .gate = gate, .up = up};
    fl_parallel_for(n, ELEMENT_GRAIN, geglu_fwd, &call);
}

static void geglu_bwd(int64_t begin, int64_t end, void *arg)
{
    const elements_call *call = arg;
    fl_isa_current()->vec->geglu_bwd(call->out + begin, call->out2 + begin, call->x + begin,
                                     call->gate + begin, call->up + begin, end - begin);
}

void fl_cpu_geglu_bwd(float *dgate, float *dup, const float *dout, const float *gate,
                      const float *up, int64_t n)
{
    elements_call call = {.out = dgate, .out2 = dup, .x = dout, .gate = gate, .up = up};
    fl_parallel_for(n, ELEMENT_GRAIN, geglu_bwd, &call);
}
