#include "support/quadratic.h"

#include <string.h>

double quadratic_curvature(uint32_t client, size_t i)
{
    return 0.5 + (double)((7 * client + 3 * i) % 11) / 16;
}

double quadratic_target(uint32_t client, size_t i)
{
    return (double)((5 * client + 11 * i) % 13) / 8 - 0.75;
}

float quadratic_start(size_t i)
{
    return (float)((9 * i) % 17) / 16 - 0.5f;
}

void quadratic_open(quadratic *out, size_t count, const int64_t *steps, bool drifts)
{
    const fl_backend_ops *ops = fl_backend_find("cpu");
    *out = (quadratic){.ops = ops, .count = count, .steps = steps, .drifts = drifts};
    FL_ASSERT(ops->alloc(&out->weights, count * sizeof(float)) == FL_OK);
    FL_ASSERT(ops->alloc(&out->grads, count * sizeof(float)) == FL_OK);
}

void quadratic_close(quadratic *q)
{
    q->ops->release(q->weights);
    q->ops->release(q->grads);
}

fl_status quadratic_adapter(fl_params *out, size_t count)
{
    const int64_t matrix[] = {4, (int64_t)count / 8}, vector[] = {(int64_t)count / 2};
    FL_TRY(fl_params_init(out, 2));
    FL_TRY(fl_params_add(out, "a", 2, matrix));
    FL_TRY(fl_params_add(out, "b", 1, vector));
    FL_TRY(fl_params_allocate(out));
    for (size_t i = 0; i < count; i++)
        out->data[i] = quadratic_start(i);
    return FL_OK;
}

fl_status quadratic_train(void *context, int64_t round, uint32_t client, double learning_rate,
                          const fl_train_hooks *hooks, const float *w, float *y,
                          fl_local_result *result)
{
    quadratic *q = context;
    (void)round;
    memcpy(q->weights, w, q->count * sizeof *w);
    for (int64_t step = 0; step < q->steps[client]; step++) {
        for (size_t i = 0; i < q->count; i++) {
            double slope = quadratic_curvature(client, i) *
                           ((double)q->weights[i] - quadratic_target(client, i));
            if (q->drifts) slope += (double)((size_t)(step + (int64_t)i) % 5) / 64;
            q->grads[i] = (float)slope * (q->mask ? q->mask[i] : 1.0f);
        }
        if (hooks && hooks->after_backward)
            hooks->after_backward(hooks->context, q->weights, q->grads, 1.0);
        q->ops->axpy(q->weights, q->grads, (float)-learning_rate, (int64_t)q->count);
        if (hooks && hooks->after_step)
            hooks->after_step(hooks->context, q->weights, learning_rate);
    }
    memcpy(y, q->weights, q->count * sizeof *y);
    *result = (fl_local_result){.loss = (double)client,
                                .tokens = 10,
                                .steps = q->steps[client],
                                .updates = q->steps[client],
                                .finite = true};
    return FL_OK;
}
