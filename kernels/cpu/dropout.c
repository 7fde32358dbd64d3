/* Dropout whose mask is a function of the stream and the element's number: nothing is stored, the
 * backward pass draws the same mask again. */
#include "cpu.h"
#include "threads.h"

enum { ELEMENT_GRAIN = 4096 };

typedef struct dropout_call {
    float *out;
    const float *x;
    const fl_rng *rng;
    float p, factor;
    bool accumulate;
} dropout_call;

static void dropout(int64_t begin, int64_t end, void *arg)
{
    const dropout_call *call = arg;
    for (int64_t i = begin; i < end; i += 4) { // ranges start at multiples of 4
        uint32_t words[4];
        fl_rng_block(call->rng, (uint64_t)i / 4, words);
        int64_t count = end - i < 4 ? end - i : 4;
        for (int64_t j = 0; j < count; j++) {
            float uniform = (float)(words[j] >> 8) * 0x1p-24f;
            float kept = uniform >= call->p ? call->x[i + j] * call->factor : 0.0f;
            call->out[i + j] = call->accumulate ? call->out[i + j] + kept : kept;
        }
    }
}

void fl_cpu_dropout(float *out, const float *x, int64_t n, float p, const fl_rng *rng,
                    bool accumulate)
{
    dropout_call call = {.out = out,
                         .x = x,
                         .rng = rng,
                         .p = p,
                         .factor = (float)(1.0 / (1.0 - (double)p)),
                         .accumulate = accumulate};
    fl_parallel_for(n, ELEMENT_GRAIN, dropout, &call);
}
