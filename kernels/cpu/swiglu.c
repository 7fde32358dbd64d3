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

/* Matrices [T, C], row by row. */
typedef struct rows_call {
    fl_act out, out2, x, gate, up;
    int64_t T, C, last; /* the last row has `last` elements, all others C */
    float factor;
} rows_call;

static float *row_of(fl_act x, int64_t t)
{
    return fl_cpu_floats(x) + t * x.stride;
}

static int64_t width(const rows_call *call, int64_t t)
{
    return t + 1 == call->T ? call->last : call->C;
}

/* Matrices without gaps are cut into rows of another length, whatever C is. */
static void for_rows(int64_t T, int64_t C, fl_range_fn run, rows_call *call)
{
    fl_act *all[] = {&call->out, &call->out2, &call->x, &call->gate, &call->up};
    bool dense = true;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        dense = dense && (!all[i]->data || all[i]->stride == C);
    int64_t n = T * C;
    call->T = dense ? (n + ELEMENT_GRAIN - 1) / ELEMENT_GRAIN : T;
    call->C = dense ? ELEMENT_GRAIN : C;
    call->last = dense ? n - (call->T - 1) * call->C : C;
    for (size_t i = 0; dense && i < sizeof all / sizeof all[0]; i++)
        all[i]->stride = call->C;
    fl_parallel_for(call->T, 1, run, call);
}

static void add(int64_t begin, int64_t end, void *arg)
{
    const rows_call *call = arg;
    for (int64_t t = begin; t < end; t++)
        fl_isa_current()->vec->add(row_of(call->out, t), row_of(call->x, t), width(call, t));
}

void fl_cpu_add(fl_act y, fl_act x, int64_t T, int64_t C)
{
    rows_call call = {.out = y, .x = x};
    for_rows(T, C, add, &call);
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
    const rows_call *call = arg;
    for (int64_t t = begin; t < end; t++)
        fl_isa_current()->vec->softcap_bwd(row_of(call->out, t), row_of(call->x, t), call->factor,
                                           width(call, t));
}

void fl_cpu_softcap_bwd(fl_act d, const float *y, float cap, int64_t T, int64_t C)
{
    rows_call call = {.out = d, .x = fl_f32(y, C), .factor = cap};
    for_rows(T, C, softcap_bwd, &call);
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
    const rows_call *call = arg;
    for (int64_t t = begin; t < end; t++)
        fl_isa_current()->vec->swiglu_fwd(row_of(call->out, t), row_of(call->gate, t),
                                          row_of(call->up, t), width(call, t));
}

void fl_cpu_swiglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F)
{
    rows_call call = {.out = out, .gate = gate, .up = up};
    for_rows(T, F, swiglu_fwd, &call);
}

static void swiglu_bwd(int64_t begin, int64_t end, void *arg)
{
    const rows_call *call = arg;
    for (int64_t t = begin; t < end; t++)
        fl_isa_current()->vec->swiglu_bwd(row_of(call->out, t), row_of(call->out2, t),
                                          row_of(call->x, t), row_of(call->gate, t),
                                          row_of(call->up, t), width(call, t));
}

void fl_cpu_swiglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                       int64_t F)
{
    rows_call call = {.out = dgate, .out2 = dup, .x = dout, .gate = gate, .up = up};
    for_rows(T, F, swiglu_bwd, &call);
}

static void geglu_fwd(int64_t begin, int64_t end, void *arg)
{
    const rows_call *call = arg;
    for (int64_t t = begin; t < end; t++)
        fl_isa_current()->vec->geglu_fwd(row_of(call->out, t), row_of(call->gate, t),
                                         row_of(call->up, t), width(call, t));
}

void fl_cpu_geglu_fwd(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F)
{
    rows_call call = {.out = out, .gate = gate, .up = up};
    for_rows(T, F, geglu_fwd, &call);
}

static void geglu_bwd(int64_t begin, int64_t end, void *arg)
{
    const rows_call *call = arg;
    for (int64_t t = begin; t < end; t++)
        fl_isa_current()->vec->geglu_bwd(row_of(call->out, t), row_of(call->out2, t),
                                         row_of(call->x, t), row_of(call->gate, t),
                                         row_of(call->up, t), width(call, t));
}

void fl_cpu_geglu_bwd(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                      int64_t F)
{
    rows_call call = {.out = dgate, .out2 = dup, .x = dout, .gate = gate, .up = up};
    for_rows(T, F, geglu_bwd, &call);
}
