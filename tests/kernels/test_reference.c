/* The backward formulas of reference.c against central differences of its forward formulas, all in
 * double: L = sum(weights * forward(x)), (L(x + h) - L(x - h)) / 2h against the gradient.
 *
 * Tolerance: with h = 1e-5 the truncation is of order h^2 = 1e-10 and the rounding eps/h = 2e-11
 * times L, which is of order 10 to 100 here; 1e-7 covers both. */
#include "check.h"
#include "reference.h"

static const double step = 1e-5, tolerance = 1e-7;

typedef double (*loss_fn)(const void *context);

static void check_gradient(const char *what, double *x, const double *gradient, int64_t count,
                           loss_fn loss, const void *context)
{
    for (int64_t i = 0; i < count; i++) {
        double old = x[i];
        x[i] = old + step;
        double above = loss(context);
        x[i] = old - step;
        double below = loss(context);
        x[i] = old;
        double difference = (above - below) / (2 * step);
        if (!(fabs(difference - gradient[i]) <= tolerance))
            fail_msg("%s: element %lld is %.12g, finite difference %.12g", what, (long long)i,
                     gradient[i], difference);
    }
}

static double *random_doubles(uint64_t seed, int64_t count)
{
    return check_widen(check_random(seed, count), count);
}

static double weighted_sum(const double *weights, const double *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += weights[i] * x[i];
    return sum;
}

typedef struct rmsnorm_context {
    double *out, *x, *w, *dout;
    int64_t T, C;
} rmsnorm_context;

static double rmsnorm_loss(const void *context)
{
    const rmsnorm_context *c = context;
    ref_rmsnorm(c->out, c->x, c->w, c->T, c->C, 1e-3);
    return weighted_sum(c->dout, c->out, c->T * c->C);
}

static void test_rmsnorm(void **state)
{
    (void)state;
    rmsnorm_context c = {.T = 3, .C = 7};
    int64_t count = c.T * c.C;
    c.out = check_host_double(count);
    c.x = random_doubles(1, count);
    c.w = random_doubles(2, c.C);
    c.dout = random_doubles(3, count);
    double *dx = check_host_double(count);
    ref_rmsnorm_bwd(dx, c.dout, c.x, c.w, c.T, c.C, 1e-3);
    check_gradient("rmsnorm dx", c.x, dx, count, rmsnorm_loss, &c);
    check_release();
}

typedef struct swiglu_context {
    double *out, *gate, *up, *dout;
    int64_t n;
} swiglu_context;

static double swiglu_loss(const void *context)
{
    const swiglu_context *c = context;
    ref_swiglu(c->out, c->gate, c->up, c->n);
    return weighted_sum(c->dout, c->out, c->n);
}

static void test_swiglu(void **state)
{
    (void)state;
    swiglu_context c = {.n = 23};
    c.out = check_host_double(c.n);
    c.gate = random_doubles(4, c.n);
    c.up = random_doubles(5, c.n);
    c.dout = random_doubles(6, c.n);
    for (int64_t i = 0; i < c.n; i++)
        c.gate[i] *= 8;
    double *dgate = check_host_double(c.n), *dup = check_host_double(c.n);
    ref_swiglu_bwd(dgate, dup, c.dout, c.gate, c.up, c.n);
    check_gradient("swiglu dgate", c.gate, dgate, c.n, swiglu_loss, &c);
    check_gradient("swiglu dup", c.up, dup, c.n, swiglu_loss, &c);
    check_release();
}

static double geglu_loss(const void *context)
{
    const swiglu_context *c = context;
    ref_geglu(c->out, c->gate, c->up, c->n);
    return weighted_sum(c->dout, c->out, c->n);
}

static void test_geglu(void **state)
{
    (void)state;
    swiglu_context c = {.n = 23};
    c.out = check_host_double(c.n);
    c.gate = random_doubles(14, c.n);
    c.up = random_doubles(15, c.n);
    c.dout = random_doubles(16, c.n);
    for (int64_t i = 0; i < c.n; i++)
        c.gate[i] *= 5;
    double *dgate = check_host_double(c.n), *dup = check_host_double(c.n);
    ref_geglu_bwd(dgate, dup, c.dout, c.gate, c.up, c.n);
    check_gradient("geglu dgate", c.gate, dgate, c.n, geglu_loss, &c);
    check_gradient("geglu dup", c.up, dup, c.n, geglu_loss, &c);
    check_release();
}

static double softcap_loss(const void *context)
{
    const swiglu_context *c = context;
    memcpy(c->out, c->gate, (size_t)c->n * sizeof *c->out);
    ref_softcap(c->out, 1.5, c->n);
    return weighted_sum(c->dout, c->out, c->n);
}

static void test_softcap(void **state)
{
    (void)state;
    swiglu_context c = {.n = 19};
    c.out = check_host_double(c.n);
    c.gate = random_doubles(17, c.n);
    c.dout = random_doubles(18, c.n);
    for (int64_t i = 0; i < c.n; i++)
        c.gate[i] *= 4;
    double *slope = random_doubles(18, c.n);
    ref_softcap_bwd(slope, c.gate, 1.5, c.n);
    check_gradient("softcap", c.gate, slope, c.n, softcap_loss, &c);
    check_release();
}

typedef struct attention_context {
    double *out, *q, *k, *v, *dout;
    const fl_attn_shape *shape;
} attention_context;

static double attention_loss(const void *context)
{
    const attention_context *c = context;
    ref_attention(c->out, NULL, c->q, c->k, c->v, c->shape);
    return weighted_sum(c->dout, c->out, c->shape->T * c->shape->H * c->shape->D);
}

static void check_attention(int64_t window, float softcap)
{
    static const int32_t cu[] = {0, 3, 3, 8, 9};
    fl_attn_shape shape = {.cu = cu, .S = 4, .T = 9, .H = 4, .KV = 2, .D = 6, .scale = 0.7f};
    shape.window = window;
    shape.softcap = softcap;
    int64_t q_count = shape.T * shape.H * shape.D, k_count = shape.T * shape.KV * shape.D;
    attention_context c = {.shape = &shape};
    c.out = check_host_double(q_count);
    c.q = random_doubles(7, q_count);
    c.k = random_doubles(8, k_count);
    c.v = random_doubles(9, k_count);
    c.dout = random_doubles(10, q_count);
    double *dq = check_host_double(q_count), *dk = check_host_double(k_count);
    double *dv = check_host_double(k_count);
    ref_attention_bwd(dq, dk, dv, c.dout, c.q, c.k, c.v, &shape);
    check_gradient("attention dq", c.q, dq, q_count, attention_loss, &c);
    check_gradient("attention dk", c.k, dk, k_count, attention_loss, &c);
    check_gradient("attention dv", c.v, dv, k_count, attention_loss, &c);
    check_release();
}

static void test_attention(void **state)
{
    (void)state;
    check_attention(0, 0);
    check_attention(2, 0);
    check_attention(0, 0.9f);
    check_attention(3, 0.5f);
}

typedef struct loss_context {
    double *loss, *logits, *weight;
    const int32_t *target;
    int64_t N, V;
} loss_context;

static double cross_entropy_loss(const void *context)
{
    const loss_context *c = context;
    ref_cross_entropy(c->loss, NULL, c->logits, c->target, NULL, c->N, c->V);
    return weighted_sum(c->weight, c->loss, c->N);
}

static void test_cross_entropy(void **state)
{
    (void)state;
    static const int32_t target[] = {0, 10, 4};
    loss_context c = {.N = 3, .V = 11, .target = target};
    c.loss = check_host_double(c.N);
    c.logits = random_doubles(11, c.N * c.V);
    c.weight = random_doubles(12, c.N);
    double *dlogits = check_host_double(c.N * c.V);
    ref_cross_entropy(c.loss, dlogits, c.logits, target, c.weight, c.N, c.V);
    check_gradient("cross_entropy dlogits", c.logits, dlogits, c.N * c.V, cross_entropy_loss, &c);
    check_release();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm),   cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_geglu),     cmocka_unit_test(test_softcap),
        cmocka_unit_test(test_attention), cmocka_unit_test(test_cross_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
