/* Dropout whose mask is a function of the stream and the element's number: nothing is stored, the
 * backward pass draws the same mask again. */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

enum { ELEMENT_GRAIN = 4096 };

typedef struct dropout_call {
    float *out;
    const float *x;
    fl_dropout dropout;
} dropout_call;

static void dropout(int64_t begin, int64_t end, void *arg)
{
    const dropout_call *call = arg;
    fl_isa_current()->vec->dropout(call->out + begin, call->x + begin, begin, end - begin,
                                   &call->dropout);
}

void fl_cpu_dropout(float *out, const float *x, int64_t n, float p, const fl_rng *rng,
                    bool accumulate)
{
    dropout_call call = {.out = out, .x = x};
    call.dropout = (fl_dropout){
        .rng = rng, .p = p, .factor = (float)(1.0 / (1.0 - (double)p)), .accumulate = accumulate};
    fl_parallel_for(n, ELEMENT_GRAIN, dropout, &call);
}
