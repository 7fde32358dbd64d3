/* Dropout whose mask is a function of the stream and the element's number: nothing is stored, the
 * backward pass draws the same mask again. */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

enum { ELEMENT_GRAIN = 4096 };

typedef struct dropout_call {
    fl_act out, x;
    int64_t C;
    fl_dropout dropout;
} dropout_call;

static void dropout(int64_t begin, int64_t end, void *arg)
{
    const dropout_call *call = arg;
    fl_isa_current()->vec->dropout(fl_cpu_floats(call->out) + begin, fl_cpu_floats(call->x) + begin,
                                   begin, end - begin, &call->dropout);
}

static void dropout_rows(int64_t begin, int64_t end, void *arg)
{
    const dropout_call *call = arg;
    for (int64_t t = begin; t < end; t++)
        fl_isa_current()->vec->dropout(fl_cpu_floats(call->out) + t * call->out.stride,
                                       fl_cpu_floats(call->x) + t * call->x.stride, t * call->C,
                                       call->C, &call->dropout);
}

void fl_cpu_dropout(fl_act out, fl_act x, int64_t T, int64_t C, float p, const fl_rng *rng,
                    bool accumulate)
{
    dropout_call call = {.out = out, .x = x, .C = C};
    call.dropout = (fl_dropout){
        .rng = rng, .p = p, .factor = (float)(1.0 / (1.0 - (double)p)), .accumulate = accumulate};
    if (out.stride == C && x.stride == C) {
        fl_parallel_for(T * C, ELEMENT_GRAIN, dropout, &call);
        return;
    }
    FL_ASSERT(C % 4 == 0);
    fl_parallel_for(T, 1, dropout_rows, &call);
}
