/* One optimiser step of one client. */
#include "train/trainer_internal.h"

#include <math.h>

/* What is frozen has no gradient, but would decay. */
static void move_weights(const fl_trainer *t, const fl_train_slot *s, const fl_adamw *opt)
{
    unsigned frozen = s->job->frozen;
    if (!frozen) {
        t->ops->adamw(s->weights, s->m, s->v, s->grads, (int64_t)t->count, opt);
        return;
    }
    size_t at = 0;
    for (size_t i = 0; i < t->num_tensors; at += t->tensors[i++])
        if (!(frozen & (i % 2 == 0 ? FL_FACTOR_A : FL_FACTOR_B)))
            t->ops->adamw(s->weights + at, s->m + at, s->v + at, s->grads + at,
                          (int64_t)t->tensors[i], opt);
}

/* AdamW on the averaged, clipped gradient.  Returns the norm before clipping. */
static double update_weights(const fl_trainer *t, const fl_train_slot *s, int64_t step)
{
    const fl_train_config *c = t->config;
    double average = 1.0 / (double)c->gradient_accumulation_steps;
    double norm = sqrt(t->ops->sum_squares(s->grads, (int64_t)t->count)) * average;
    if (!isfinite(norm)) return norm;
    double clip = c->max_grad_norm > 0 ? c->max_grad_norm / (norm + 1e-6) : 1.0;
    fl_adamw opt = {.lr = s->job->learning_rate,
                    .beta1 = c->adam_beta1,
                    .beta2 = c->adam_beta2,
                    .eps = c->adam_epsilon,
                    .weight_decay = c->weight_decay,
                    .grad_scale = clip < 1.0 ? average * clip : average,
                    .step = step};
    move_weights(t, s, &opt);
    return norm;
}

double fl_trainer_finish_step(fl_trainer *t, const fl_train_slot *s, int64_t step, double *loss)
{
    static const fl_train_hooks none = {0};
    const fl_train_hooks *hooks = s->job->hooks ? s->job->hooks : &none;
    double copies = (double)t->config->gradient_accumulation_steps;
    if (hooks->after_backward)
        *loss += hooks->after_backward(hooks->context, s->weights, s->grads, copies);
    double norm = update_weights(t, s, step);
    if (hooks->after_step && isfinite(norm))
        hooks->after_step(hooks->context, s->weights, s->job->learning_rate);
    return norm;
}
