/* cross_entropy: losses within 1e-7 (the errors of single exponentials, 1 ulp = 1.2e-7 at most,
 * average out in a sum that is kept in double); gradients within the 2 ulp of exp and three more
 * roundings, relative to the weight. */
#include "check.h"
#include "reference.h"

static const struct {
    int64_t N, V;
    float spread;
} cases[] = {
    {1, 1, 1}, {3, 2, 5}, {4, 33, 10}, {7, 1000, 30}, {2, 50257, 4}, {1, 100, 3000}, {0, 5, 1},
};

static void run_case(const fl_backend_ops *ops, int64_t N, int64_t V, float spread)
{
    float *x = check_random(1, N * V), *weight = check_random(2, N);
    for (int64_t i = 0; i < N * V; i++)
        x[i] *= spread;
    int32_t *target = NULL;
    assert_int_equal(fl_alloc(&target, (size_t)N, sizeof *target), FL_OK);
    for (int64_t n = 0; n < N; n++)
        target[n] = (int32_t)(n == 0 ? V - 1 : n * 7 % V);
    if (N > 1) weight[1] = 0;

    double *loss = check_doubles(N), *loss_only = check_doubles(N);
    float *logits = check_copy(x, N * V), *untouched = check_copy(x, N * V);
    const int32_t *target_in = check_ints(target, N);
    dense_cross_entropy(ops, loss, logits, target_in, check_copy(weight, N), N, V, true);
    dense_cross_entropy(ops, loss_only, untouched, target_in, NULL, N, V, false);

    double *want = check_host_double(N), *dlogits = check_host_double(N * V);
    ref_cross_entropy(want, dlogits, check_widen(x, N * V), target, check_widen(weight, N), N, V);
    double *got = check_host_double(N);
    ops->copy_out(got, loss, (size_t)N * sizeof *got);
    for (int64_t n = 0; n < N; n++) {
        if (!(fabs(got[n] - want[n]) <= 1e-7 * fmax(1, fabs(want[n]))))
            fail_msg("%s: loss %lld of V = %lld is %.12g, want %.12g", check_backend_name(),
                     (long long)n, (long long)V, got[n], want[n]);
    }
    check_same("loss with and without grad", loss, loss_only, (size_t)N * sizeof *loss);
    check_same("logits without grad", untouched, check_copy(x, N * V), (size_t)(N * V) * sizeof *x);
    check_close("cross_entropy grad", logits, dlogits, N * V, 2 * CHECK_EPS, 8 * CHECK_EPS);
    fl_free(target);
    check_release();
}

static void test_cases(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(cases); i++)
            run_case(ops, cases[i].N, cases[i].V, cases[i].spread);
    }
}

/* A model that has diverged must be seen: NaN in, NaN out. */
static void test_nan_is_kept(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        float x[40] = {0};
        x[17] = NAN;
        int32_t target = 3;
        double *loss = check_doubles(1), got = 0;
        dense_cross_entropy(ops, loss, check_copy(x, 40), check_ints(&target, 1), NULL, 1, 40,
                            false);
        ops->copy_out(&got, loss, sizeof got);
        assert_true(isnan(got));
        check_release();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_nan_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
