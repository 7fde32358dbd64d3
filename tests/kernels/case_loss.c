/* Cross-entropy, argmax, sum of squares, AdamW. */
#include "case.h"

/* factor: spread of the logits.  The second row's target is far below the others, the third's far
 * above.  Where grad may stand in the logits' place (no gap) it does. */
static void cross_entropy(case_run *run)
{
    const kernel_case *c = run->row;
    int64_t N = c->N, V = c->V;
    float *host = check_random(++run->seed, N * V);
    int32_t *target = (int32_t *)check_host(N);
    for (int64_t i = 0; i < N * V; i++)
        host[i] *= c->factor;
    for (int64_t n = 0; n < N; n++)
        target[n] = (int32_t)(n % 2 ? n * 7 % V : V - 1 - n % V);
    if (N > 1) host[V + target[1]] = -10 * c->factor;
    if (N > 2) host[2 * V + target[2]] = 10 * c->factor;
    double *loss = check_doubles(N), *loss_only = check_doubles(N);
    const float *weight = case_floats(run, N, 1), *logits = check_copy(host, N * V);
    const int32_t *targets = check_ints(target, N);
    run->ops->cross_entropy(loss_only, (fl_act){0}, logits, targets, NULL, N, V);
    fl_act grad = c->gap ? case_blank(run, N, V)
                         : (fl_act){.data = check_copy(host, N * V), .dtype = run->dtype};
    if (!c->gap) {
        grad.stride = grad.dtype == FL_BF16 ? 2 * V : V;
        logits = grad.data;
    }
    run->ops->cross_entropy(loss, grad, logits, targets, weight, N, V);
    case_result_doubles(run, "loss without gradient", loss_only, N);
    case_result_doubles(run, "loss", loss, N);
    case_result_act(run, "grad", grad, N, V, BOUND_SUM);
}

/* Equal largest values, a row of one value, NaN. */
static void argmax(case_run *run)
{
    const kernel_case *c = run->row;
    int64_t N = c->N, V = c->V;
    float *host = check_random(++run->seed, N * V);
    for (int64_t v = V / 3; v < V && N > 1; v += 5)
        host[V + v] = 2;
    for (int64_t v = 0; v < V && N > 2; v++)
        host[2 * V + v] = -INFINITY;
    for (int64_t v = 0; v < V / 2 && N > 3; v++)
        host[3 * V + v] = NAN;
    int32_t *out = check_ints(NULL, N);
    run->ops->argmax(out, check_copy(host, N * V), N, V);
    case_result_ints(run, "out", out, N);
}

static void sum_squares(case_run *run)
{
    const kernel_case *c = run->row;
    double sum = run->ops->sum_squares(case_floats(run, c->N, 1), c->N);
    double *out = check_doubles(1);
    run->ops->copy_in(out, &sum, sizeof sum);
    case_result_doubles(run, "sum", out, 1);
}

/* T: the number of the step; factor: weight decay; beta: what the gradient is multiplied by. */
static void adamw(case_run *run)
{
    const kernel_case *c = run->row;
    fl_adamw opt = {.lr = 1e-2,
                    .beta1 = 0.9,
                    .beta2 = 0.999,
                    .eps = 1e-8,
                    .weight_decay = (double)c->factor,
                    .grad_scale = (double)c->beta,
                    .step = c->T};
    float *p = case_floats(run, c->N, 1), *m = case_floats(run, c->N, 0.1f);
    float *v = check_random(++run->seed, c->N);
    for (int64_t i = 0; i < c->N; i++)
        v[i] *= v[i];
    v = check_copy(v, c->N);
    run->ops->adamw(p, m, v, case_floats(run, c->N, 1), c->N, &opt);
    case_result(run, "p", p, c->N, BOUND_SUM);
    case_result(run, "m", m, c->N, BOUND_SUM);
    case_result(run, "v", v, c->N, BOUND_SUM);
}

// clang-format off
const kernel_case case_loss[] = {
    KERNEL_CASE(cross_entropy, cross_entropy, .N = 1, .V = 1, .factor = 1),
    KERNEL_CASE(cross_entropy, cross_entropy, .N = 5, .V = 2, .factor = 5),
    KERNEL_CASE(cross_entropy, cross_entropy, .N = 5, .V = 130, .factor = 4),
    KERNEL_CASE(cross_entropy, cross_entropy, .N = 3, .V = 1037, .factor = 10),
    KERNEL_CASE(cross_entropy, cross_entropy, .N = 4, .V = 131, .factor = 8, .gap = 5),
    KERNEL_CASE(cross_entropy, cross_entropy, .N = 4, .V = 128, .factor = 8, .gap = 8, .wide = 1),
    KERNEL_CASE(cross_entropy, cross_entropy, .N = 4, .V = 200, .factor = 1e4f),
    KERNEL_CASE(cross_entropy, cross_entropy, .N = 4, .V = 33, .factor = 1e30f),
    KERNEL_CASE(cross_entropy, cross_entropy, .N = 4, .V = 33, .factor = 0),
    KERNEL_CASE(cross_entropy, cross_entropy, .N = 0, .V = 9, .factor = 1),
    KERNEL_CASE(argmax, argmax, .N = 1, .V = 1),
    KERNEL_CASE(argmax, argmax, .N = 5, .V = 77),
    KERNEL_CASE(argmax, argmax, .N = 4, .V = 1037),
    KERNEL_CASE(argmax, argmax, .N = 0, .V = 9),
    KERNEL_CASE(sum_squares, sum_squares, .N = 0),
    KERNEL_CASE(sum_squares, sum_squares, .N = 1),
    KERNEL_CASE(sum_squares, sum_squares, .N = 331),
    KERNEL_CASE(sum_squares, sum_squares, .N = 20001),
    KERNEL_CASE(adamw, adamw, .N = 1, .T = 1, .beta = 1),
    KERNEL_CASE(adamw, adamw, .N = 701, .T = 1, .beta = 0.25f, .factor = 0.1f),
    KERNEL_CASE(adamw, adamw, .N = 300, .T = 1000, .beta = 1, .factor = 0.01f),
    KERNEL_CASE(adamw, adamw, .N = 0, .T = 1, .beta = 1),
    {0},
};
