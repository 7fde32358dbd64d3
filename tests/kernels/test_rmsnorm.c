/* rmsnorm_fwd and rmsnorm_bwd; the test to copy for a new row-wise op.
 *
 * Tolerance: the sums are double, so an output carries only the roundings of rstd and of two
 * products, 3 eps relative (forward) and some eps of the terms that are subtracted (backward; terms
 * are below 2 * rstd, and rstd is below 6 for the shortest row). */
#include "check.h"
#include "reference.h"

static const struct {
    int64_t T, C;
} cases[] = {{1, 1}, {1, 3}, {2, 8}, {3, 17}, {5, 64}, {33, 100}, {4, 2049}, {0, 8}};

static const float eps = 1e-2f; // large, so that its place in the formula matters

static void run_forward(const fl_backend_ops *ops, int64_t T, int64_t C)
{
    const float *x = check_random(1, T * C), *w = check_random(2, C);
    const float *w_in = check_copy(w, C);
    float *out = check_floats(T * C), *rstd = check_floats(T);
    float *in_place = check_copy(x, T * C);
    dense_rmsnorm_fwd(ops, out, rstd, check_copy(x, T * C), w_in, T, C, eps);
    dense_rmsnorm_fwd(ops, in_place, NULL, in_place, w_in, T, C, eps);

    double *want = check_host_double(T * C), *want_rstd = check_host_double(T);
    ref_rmsnorm(want, check_widen(x, T * C), check_widen(w, C), T, C, (double)eps);
    for (int64_t t = 0; t < T; t++) {
        double sum = 0;
        for (int64_t c = 0; c < C; c++)
            sum += (double)x[t * C + c] * (double)x[t * C + c];
        want_rstd[t] = 1 / sqrt(sum / (double)C + (double)eps);
    }
    check_close("rmsnorm_fwd", out, want, T * C, 0x1p-126, 4 * CHECK_EPS);
    check_close("rmsnorm_fwd rstd", rstd, want_rstd, T, 0, 2 * CHECK_EPS);
    check_same("rmsnorm_fwd in place", in_place, out, (size_t)(T * C) * sizeof *out);
    check_release();
}

static void run_backward(const fl_backend_ops *ops, int64_t T, int64_t C)
{
    const float *x = check_random(1, T * C), *w = check_random(2, C);
    const float *dout = check_random(3, T * C), *old = check_random(4, T * C);
    const float *x_in = check_copy(x, T * C), *w_in = check_copy(w, C);
    float *out = check_floats(T * C), *rstd = check_floats(T), *dx = check_copy(old, T * C);
    dense_rmsnorm_fwd(ops, out, rstd, x_in, w_in, T, C, eps);
    dense_rmsnorm_bwd(ops, dx, check_copy(dout, T * C), x_in, w_in, rstd, T, C);

    double *want = check_host_double(T * C);
    ref_rmsnorm_bwd(want, check_widen(dout, T * C), check_widen(x, T * C), check_widen(w, C), T, C,
                    (double)eps);
    for (int64_t i = 0; i < T * C; i++)
        want[i] += (double)old[i];
    check_close("rmsnorm_bwd", dx, want, T * C, 40 * CHECK_EPS, 4 * CHECK_EPS);
    check_release();
}

static void test_forward(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(cases); i++)
            run_forward(ops, cases[i].T, cases[i].C);
    }
}

static void test_backward(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(cases); i++)
            run_backward(ops, cases[i].T, cases[i].C);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_backward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
