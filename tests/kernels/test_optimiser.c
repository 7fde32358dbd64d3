/* adamw and sum_squares. */
#include "check.h"

static const int64_t sizes[] = {0, 1, 5, 33, 1000, 20001};

/* The formula of ops.h in double on the state that fp32 holds, step after step.  Tolerance: m, v
 * and p are rounded once more per operation: 4 eps of m and v, and for p 8 eps of the change plus
 * one rounding of p per product and sum. */
static void run_adamw(const fl_backend_ops *ops, int64_t n, fl_adamw opt)
{
    const float *p = check_random(1, n), *m = check_random(2, n), *g = check_random(4, n);
    float *v = check_random(3, n);
    double *want_p = check_host_double(n), *want_m = check_host_double(n);
    double *want_v = check_host_double(n);
    for (int64_t i = 0; i < n; i++)
        v[i] = v[i] * v[i];
    if (n > 4) v[4] = 0;
    for (int64_t i = 0; i < n; i++) {
        double grad = (double)g[i] * opt.grad_scale;
        want_m[i] = opt.beta1 * (double)m[i] + (1 - opt.beta1) * grad;
        want_v[i] = opt.beta2 * (double)v[i] + (1 - opt.beta2) * grad * grad;
        double correction1 = 1 - pow(opt.beta1, (double)opt.step);
        double correction2 = 1 - pow(opt.beta2, (double)opt.step);
        double next = (double)p[i] - opt.lr * sqrt(correction2) / correction1 * want_m[i] /
                                         (sqrt(want_v[i]) + opt.eps);
        want_p[i] = next - opt.lr * opt.weight_decay * next;
    }
    float *p_out = check_copy(p, n), *m_out = check_copy(m, n), *v_out = check_copy(v, n);
    ops->adamw(p_out, m_out, v_out, check_copy(g, n), n, &opt);
    check_close("adamw m", m_out, want_m, n, 4 * CHECK_EPS, 4 * CHECK_EPS);
    check_close("adamw v", v_out, want_v, n, 0x1p-126, 6 * CHECK_EPS);
    double change = 1000 * opt.lr; // |m| / sqrt(v) where v is smallest
    check_close("adamw p", p_out, want_p, n, 8 * change * CHECK_EPS, 4 * CHECK_EPS);
    check_release();
}

static void test_adamw(void **state)
{
    (void)state;
    const fl_adamw plain = {.lr = 1e-3,
                            .beta1 = 0.9,
                            .beta2 = 0.999,
                            .eps = 1e-8,
                            .weight_decay = 0,
                            .grad_scale = 1,
                            .step = 1};
    const fl_adamw decayed = {.lr = 2e-2,
                              .beta1 = 0.8,
                              .beta2 = 0.95,
                              .eps = 1e-3,
                              .weight_decay = 0.1,
                              .grad_scale = 0.37,
                              .step = 1000};
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(sizes); i++) {
            run_adamw(ops, sizes[i], plain);
            run_adamw(ops, sizes[i], decayed);
        }
    }
}

/* Squares of floats are exact in double; only sums round. */
static void test_sum_squares(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(sizes); i++) {
            int64_t n = sizes[i];
            const float *x = check_random(5, n);
            double want = 0;
            for (int64_t j = 0; j < n; j++)
                want += (double)x[j] * (double)x[j];
            double got = ops->sum_squares(check_copy(x, n), n);
            assert_true(fabs(got - want) <= 1e-13 * want);
            check_release();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_sum_squares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
