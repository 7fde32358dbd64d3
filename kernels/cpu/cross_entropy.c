/* Softmax with cross-entropy over rows, in place, and argmax. */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <math.h>
#include <string.h>

enum { PIECE = 1024 };

typedef struct logits_call {
    double *loss;
    float *logits; /* [N,V] */
    const int32_t *target;
    const float *weight;
    int64_t V;
    bool grad;
} logits_call;

/* The sum of exp(row - max), piece by piece in the L1 cache; `keep` leaves the exponentials in the
 * row.  Both ways give the same bits. */
static double exp_sum(float *row, float max, int64_t V, bool keep)
{
    const fl_vec_ops *vec = fl_isa_current()->vec;
    double sum = 0;
    for (int64_t v = 0; v < V; v += PIECE) {
        int64_t count = V - v < PIECE ? V - v : PIECE;
        float copy[PIECE], *piece = row + v;
        if (!keep) piece = memcpy(copy, piece, (size_t)count * sizeof(float));
        sum += vec->exp_shift(piece, max, count);
    }
    return sum;
}

static void loss_rows(int64_t begin, int64_t end, void *arg)
{
    const logits_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t n = begin; n < end; n++) {
        float *row = call->logits + n * call->V;
        int32_t target = call->target[n];
        float max = vec->max(row, call->V);
        double correct = (double)row[target] - (double)max;
        double sum = exp_sum(row, max, call->V, call->grad);
        call->loss[n] = log(sum) - correct;
        if (!call->grad) continue;
        double weight = (double)call->weight[n];
        double at_target = weight * ((double)row[target] / sum - 1.0);
        vec->scale(row, row, (float)(weight / sum), call->V);
        row[target] = (float)at_target;
    }
}

void fl_cpu_cross_entropy(double *loss, float *logits, const int32_t *target, const float *weight,
                          int64_t N, int64_t V, bool grad)
{
    logits_call call = {
        .loss = loss, .logits = logits, .target = target, .weight = weight, .V = V, .grad = grad};
    fl_parallel_for(N, 1, loss_rows, &call);
}

typedef struct argmax_call {
    int32_t *out;
    const float *logits; /* [N,V] */
    int64_t V;
} argmax_call;

static void argmax_rows(int64_t begin, int64_t end, void *arg)
{
    const argmax_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t n = begin; n < end; n++) {
        const float *row = call->logits + n * call->V;
        float max = vec->max(row, call->V);
        int64_t at = 0;
        while (at < call->V && row[at] != max)
            at++;
        call->out[n] = at < call->V ? (int32_t)at : 0; // all NaN: no maximum
    }
}

void fl_cpu_argmax(int32_t *out, const float *logits, int64_t N, int64_t V)
{
    argmax_call call = {.out = out, .logits = logits, .V = V};
    fl_parallel_for(N, 1, argmax_rows, &call);
}
