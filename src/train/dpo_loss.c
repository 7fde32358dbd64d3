#include "train/dpo_loss.h"

#include <math.h>
#include <string.h>

/* log(1 + exp(z)) without overflow: -log s(-z). */
static double softplus(double z)
{
    return fmax(z, 0) + log1p(exp(-fabs(z)));
}

static double logistic(double z)
{
    double e = exp(-fabs(z));
    return z >= 0 ? 1 / (1 + e) : e / (1 + e);
}

static double smoothed(const fl_train_config *c, double h, double epsilon, double *slope)
{
    double z = c->dpo_beta * h;
    *slope = c->dpo_beta * (epsilon * logistic(z) - (1 - epsilon) * logistic(-z));
    return (1 - epsilon) * softplus(-z) + epsilon * softplus(z);
}

static double dpo(const fl_train_config *c, double h, double *slope)
{
    return smoothed(c, h, 0, slope);
}

static double cdpo(const fl_train_config *c, double h, double *slope)
{
    return smoothed(c, h, c->dpo_label_smoothing, slope);
}

static double ipo(const fl_train_config *c, double h, double *slope)
{
    double off = h - 1 / (2 * c->dpo_beta);
    *slope = 2 * off;
    return off * off;
}

static const fl_dpo_loss losses[] = {
    {.name = "dpo", .value = dpo},
    {.name = "cdpo", .value = cdpo},
    {.name = "ipo", .per_token = true, .value = ipo},
};

const fl_dpo_loss *fl_dpo_loss_find(const char *name)
{
    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++)
        if (strcmp(losses[i].name, name) == 0) return &losses[i];
    return NULL;
}
