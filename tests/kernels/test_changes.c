/* largest_change and add_change: every backend gives the same doubles and integers, so nothing here
 * has a tolerance. */
#include "check.h"

#include <float.h>

static const int64_t sizes[] = {0, 1, 5, 33, 1000, 20001};

/* Integers in backend memory; 8 bytes like a double. */
static int64_t *sums_of(const fl_backend_ops *ops, const int64_t *host, int64_t n)
{
    double *out = check_doubles(n);
    ops->copy_in(out, host, (size_t)n * sizeof *host);
    return (int64_t *)out;
}

static void expect_sums(const fl_backend_ops *ops, const int64_t *got, const int64_t *want,
                        int64_t n)
{
    int64_t *host = (int64_t *)check_host_double(n);
    ops->copy_out(host, got, (size_t)n * sizeof *host);
    for (int64_t i = 0; i < n; i++)
        if (host[i] != want[i])
            fail_msg("%s: sum[%lld] is %lld, not %lld", check_backend_name(), (long long)i,
                     (long long)host[i], (long long)want[i]);
}

/* Values over many binades, on top of sums that are not zero. */
static void run_add(const fl_backend_ops *ops, int64_t n, bool has_from, double factor)
{
    float *y = check_random(1, n), *from = check_random(2, n);
    int64_t *want = (int64_t *)check_host_double(n), *start = (int64_t *)check_host_double(n);
    for (int64_t i = 0; i < n; i++) {
        y[i] = ldexpf(y[i], (int)(i % 40) - 30);
        start[i] = want[i] = (i % 7 - 3) * (INT64_C(1) << (i % 50));
        double change = (double)y[i] - (has_from ? (double)from[i] : 0.0);
        want[i] += (int64_t)nearbyint(change * factor);
    }
    int64_t *sum = sums_of(ops, start, n);
    ops->add_change(sum, check_copy(y, n), has_from ? check_copy(from, n) : NULL, factor, n);
    expect_sums(ops, sum, want, n);
    check_release();
}

static void test_add(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++)
        for (int64_t i = 0; i < CHECK_COUNT(sizes); i++) {
            run_add(ops, sizes[i], true, ldexp(123.0 / 7, 40));
            run_add(ops, sizes[i], false, ldexp(1, 51));
            run_add(ops, sizes[i], true, 1.0);
        }
}

/* Ties go to even numbers, and nothing is rounded before the product. */
static void test_rounding(void **state)
{
    (void)state;
    enum { N = 10 };
    const float y[N] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0.75f, -0.25f, 0x1p-149f, 1.0f};
    const float from[N] = {0, 0, 0, 0, 0, 0, 0.25f, 0.25f, 0, -0x1p-30f};
    const int64_t zeros[N] = {0}, want[N] = {0, 2, 2, 0, -2, -2, 0, 0, 0, 1};
    const int64_t fine[N] = {INT64_C(1) << 51,
                             INT64_C(3) << 51,
                             INT64_C(5) << 51,
                             -(INT64_C(1) << 51),
                             -(INT64_C(3) << 51),
                             -(INT64_C(5) << 51),
                             INT64_C(1) << 51,
                             -(INT64_C(1) << 51),
                             0,
                             (INT64_C(1) << 52) + (INT64_C(1) << 22)};
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        int64_t *sum = sums_of(ops, zeros, N);
        ops->add_change(sum, check_copy(y, N), check_copy(from, N), 1.0, N);
        expect_sums(ops, sum, want, N);
        sum = sums_of(ops, zeros, N);
        ops->add_change(sum, check_copy(y, N), check_copy(from, N), 0x1p52, N);
        expect_sums(ops, sum, fine, N);
        check_release();
    }
}

/* Just below 2^62, where a double has steps of 512, and sums that wrap into the sign. */
static void test_limits(void **state)
{
    (void)state;
    enum { N = 4 };
    const float below = nextafterf(1024, 0);
    const float y[N] = {below, -below, below, -1023}, from[N] = {0, 0, -below, 0};
    const int64_t start[N] = {INT64_C(1) << 61, -(INT64_C(1) << 61), 0, INT64_MAX};
    const double factor = 0x1p51;
    int64_t want[N];
    for (int i = 0; i < N; i++)
        want[i] = start[i] + (int64_t)(((double)y[i] - (double)from[i]) * factor);
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        int64_t *sum = sums_of(ops, start, N);
        ops->add_change(sum, check_copy(y, N), check_copy(from, N), factor, N);
        expect_sums(ops, sum, want, N);
        check_release();
    }
}

static double largest(const fl_backend_ops *ops, const float *y, const float *from, int64_t n)
{
    double got = ops->largest_change(check_copy(y, n), from ? check_copy(from, n) : NULL, n);
    check_release();
    return got;
}

/* The one that is largest may stand anywhere, and differ from others in its last bit. */
static void test_largest(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++)
        for (int64_t i = 0; i < CHECK_COUNT(sizes); i++) {
            int64_t n = sizes[i];
            double want = 0;
            float *host = check_random(3, n), *y = check_host(n), *from = check_host(n);
            for (int64_t j = 0; j < n; j++) {
                y[j] = host[j];
                from[j] = host[n - 1 - j];
                want = fmax(want, fabs((double)y[j] - (double)from[j]));
            }
            double got = ops->largest_change(check_copy(y, n), check_copy(from, n), n);
            assert_true(got == want);
            for (int64_t j = 0; j < n; j += n / 3 + 1) {
                y[j] = nextafterf(2.0f, 3.0f);
                assert_true(ops->largest_change(check_copy(y, n), NULL, n) == (double)y[j]);
                y[j] = -y[j];
                assert_true(ops->largest_change(check_copy(y, n), NULL, n) == -(double)y[j]);
                y[j] = 0;
            }
            check_release();
        }
}

/* The largest finite numbers are finite, also their difference. */
static void test_not_finite(void **state)
{
    (void)state;
    enum { N = 700 };
    static const float values[] = {NAN, INFINITY, -INFINITY};
    static const int64_t places[] = {0, 31, 256, N - 1};
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        float y[N] = {0}, from[N] = {0};
        y[3] = FLT_MAX;
        from[3] = -FLT_MAX;
        assert_true(largest(ops, y, from, N) == 2 * (double)FLT_MAX);
        for (int64_t p = 0; p < CHECK_COUNT(places); p++)
            for (int64_t v = 0; v < CHECK_COUNT(values); v++) {
                y[places[p]] = values[v];
                assert_true(largest(ops, y, from, N) == (double)INFINITY);
                assert_true(largest(ops, y, NULL, N) == (double)INFINITY);
                assert_true(largest(ops, from, y, N) == (double)INFINITY);
                y[places[p]] = 0;
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_limits),     cmocka_unit_test(test_largest),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
