/* Clients that are formulas: client k descends h_k (y - b_k), and in some tests a term that changes
 * from step to step, by plain SGD, a number of steps of its own, with the algorithm's hooks where a
 * trainer calls them.  The same formulas as tests/golden/golden_fedalg.py. */
#ifndef FL_TESTS_QUADRATIC_H
#define FL_TESTS_QUADRATIC_H

#include "fed/round.h"

typedef struct quadratic {
    const fl_backend_ops *ops;
    size_t count;
    const int64_t *steps; /* [num_clients] */
    const float *mask;    /* [count] factor on every gradient; NULL: 1 */
    bool drifts;          /* with the term that changes from step to step */
    float *weights, *grads;
} quadratic;

/* An fl_train_clients; context is a quadratic. */
fl_status quadratic_train(void *context, int64_t round, double learning_rate, fl_client_task *tasks,
                          size_t count);

double quadratic_curvature(uint32_t client, size_t i); /* h_k[i] */
double quadratic_target(uint32_t client, size_t i);    /* b_k[i] */
float quadratic_start(size_t i);                       /* a first adapter */

void quadratic_open(quadratic *out, size_t count, const int64_t *steps, bool drifts);
void quadratic_close(quadratic *q);

/* An adapter of two tensors with `count` (divisible by 4) elements, at quadratic_start. */
fl_status quadratic_adapter(fl_params *out, size_t count);

#endif
