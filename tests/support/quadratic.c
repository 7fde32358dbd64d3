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

static void train_one(const quadratic *q, double learning_rate, fl_client_task *task)
{
    const fl_train_hooks *hooks = task->hooks;
    int64_t steps = q->steps[task->client];
    memcpy(q->weights, task->w, q->count * sizeof *q->weights);
    for (int64_t step = 0; step < steps; step++) {
        for (size_t i = 0; i < q->count; i++) {
            double slope = quadratic_curvature(task->client, i) *
                           ((double)q->weights[i] - quadratic_target(task->client, i));
            if (q->drifts) slope += (double)((size_t)(step + (int64_t)i) % 5) / 64;
            q->grads[i] = (float)slope * (q->mask ? q->mask[i] : 1.0f);
        }
        if (hooks && hooks->after_backward)
            hooks->after_backward(hooks->context, q->weights, q->grads, 1.0);
        q->ops->axpy(q->weights, q->grads, (float)-learning_rate, (int64_t)q->count);
        if (hooks && hooks->after_step)
            hooks->after_step(hooks->context, q->weights, learning_rate);
    }
    memcpy(task->y, q->weights, q->count * sizeof *q->weights);
    task->result = (fl_local_result){.loss = (double)task->client,
                                     .tokens = 10,
                                     .steps = steps,
                                     .updates = steps,
                                     .finite = true};
}

fl_status quadratic_train(void *context, int64_t round, double learning_rate, fl_client_task *tasks,
                          size_t count)
{
    (void)round;
    for (size_t c = 0; c < count; c++)
        train_one(context, learning_rate, &tasks[c]);
    return FL_OK;
}
