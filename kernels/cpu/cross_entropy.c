/* Softmax with cross-entropy over rows, and argmax. */
#include "cpu.h"
#include "isa.h"
#include "threads.h"

#include <math.h>
#include <string.h>

enum { PIECE = 1024 };

typedef struct logits_call {
    double *loss;
    const float *logits; /* [N,V] */
    fl_act grad;         /* data NULL: none */
    const int32_t *target;
    const float *weight;
    int64_t V;
} logits_call;

/* The sum of exp(row - max), piece by piece in the L1 cache; the exponentials are left in `kept`
 * (which may be row) unless it is NULL.  Both ways give the same bits. */
static double exp_sum(const float *row, float max, int64_t V, float *kept)
{
    const fl_vec_ops *vec = fl_isa_current()->vec;
    double sum = 0;
    for (int64_t v = 0; v < V; v += PIECE) {
        int64_t count = V - v < PIECE ? V - v : PIECE;
        float copy[PIECE], *piece = kept ? kept + v : copy;
        if (piece != row + v) memcpy(piece, row + v, (size_t)count * sizeof(float));
        sum += vec->exp_shift(piece, max, count);
    }
    return sum;
}

static void loss_rows(int64_t begin, int64_t end, void *arg)
{
    const logits_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t n = begin; n < end; n++) {
        const float *row = call->logits + n * call->V;
        float *grad = fl_cpu_floats(fl_act_from(call->grad, n, 0));
        int32_t target = call->target[n];
        float max = vec->max(row, call->V);
        double correct = (double)row[target] - (double)max;
        double sum = exp_sum(row, max, call->V, grad);
        call->loss[n] = log(sum) - correct;
        if (!grad) continue;
        double weight = (double)call->weight[n];
        double at_target = weight * ((double)grad[target] / sum - 1.0);
        vec->scale(grad, grad, (float)(weight / sum), call->V);
        grad[target] = (float)at_target;
    }
}

void fl_cpu_cross_entropy(double *loss, fl_act grad, const float *logits, const int32_t *target,
                          const float *weight, int64_t N, int64_t V)
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
