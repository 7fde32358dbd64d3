/* linear_fwd, linear_bwd and gemm.
 *
 * Tolerance: entries are in [-1, 1], so a sum of K products is a random walk of size 0.33 sqrt(K),
 * and the roundings of its partial sums add up to about 0.2 K eps when they form one chain.  The
 * worst of some 10^5 elements is three to four times larger than usual in both size and rounding:
 * 2 K eps.  8 eps covers what else is rounded (alpha, beta, the addition to C). */
#include "check.h"
#include "reference.h"

static double tolerance(int64_t K)
{
    return (double)(2 * K + 8) * CHECK_EPS;
}

static const struct {
    int64_t T, rows, cols;
} linear_cases[] = {
    {1, 1, 1},     {1, 33, 7},     {3, 5, 300},    {7, 31, 17},    {13, 64, 256},
    {14, 32, 257}, {15, 96, 64},   {16, 100, 512}, {37, 8, 129},   {64, 16, 520},
    {97, 40, 33},  {200, 65, 100}, {5, 1100, 70},  {210, 33, 600}, {0, 4, 4},
};
static const fl_dtype dtypes[] = {FL_F32, FL_BF16, FL_F16};

/* want[i] += base[i], rounded only in the comparison */
static void add_base(double *want, const float *base, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        want[i] += (double)base[i];
}

static void run_linear(const fl_backend_ops *ops, fl_dtype dtype, int64_t T, int64_t rows,
                       int64_t cols)
{
    float *x = check_random(1, T * cols), *dy = check_random(2, T * rows);
    float *w = check_random(3, rows * cols);
    fl_weight weight = check_weight(w, dtype, rows, cols);
    const float *x_in = check_copy(x, T * cols), *dy_in = check_copy(dy, T * rows);
    float *y = check_floats(T * rows), *y_sum = check_copy(dy, T * rows);
    float *dx = check_floats(T * cols), *dx_sum = check_copy(x, T * cols);
    dense_linear_fwd(ops, y, x_in, &weight, T, false);
    dense_linear_fwd(ops, y_sum, x_in, &weight, T, true);
    dense_linear_bwd(ops, dx, dy_in, &weight, T, false);
    dense_linear_bwd(ops, dx_sum, dy_in, &weight, T, true);

    double *want_y = check_host_double(T * rows), *want_dx = check_host_double(T * cols);
    double *wide_w = check_widen(w, rows * cols);
    ref_matmul(want_y, check_widen(x, T * cols), wide_w, T, rows, cols, false, true);
    ref_matmul(want_dx, check_widen(dy, T * rows), wide_w, T, cols, rows, false, false);
    check_close("linear_fwd", y, want_y, T * rows, tolerance(cols), 0);
    check_close("linear_bwd", dx, want_dx, T * cols, tolerance(rows), 0);
    add_base(want_y, dy, T * rows);
    add_base(want_dx, x, T * cols);
    check_close("linear_fwd accumulating", y_sum, want_y, T * rows, tolerance(cols), CHECK_EPS);
    check_close("linear_bwd accumulating", dx_sum, want_dx, T * cols, tolerance(rows), CHECK_EPS);
    check_release();
}

/* Rows [skip, rows) of a quantised matrix. */
static void run_quantised(const fl_backend_ops *ops, fl_format format, bool nested, int64_t T,
                          int64_t rows, int64_t cols, int64_t skip)
{
    check_quantised q = check_quantise(check_random(12, rows * cols), format, nested, rows, cols);
    int64_t N = rows - skip;
    fl_weight weight = {.quant = &q.quant, .first = skip * cols, .rows = N, .cols = cols};
    const float *x = check_random(1, T * cols), *dy = check_random(2, T * N);
    const float *x_in = check_copy(x, T * cols), *dy_in = check_copy(dy, T * N);
    float *y = check_floats(T * N), *dx = check_floats(T * cols);
    dense_linear_fwd(ops, y, x_in, &weight, T, false);
    dense_linear_bwd(ops, dx, dy_in, &weight, T, false);
    double *want_y = check_host_double(T * N), *want_dx = check_host_double(T * cols);
    const double *values = q.values + skip * cols;
    ref_matmul(want_y, check_widen(x, T * cols), values, T, N, cols, false, true);
    ref_matmul(want_dx, check_widen(dy, T * N), values, T, cols, N, false, false);
    check_close("linear_fwd quantised", y, want_y, T * N, tolerance(cols), 0);
    check_close("linear_bwd quantised", dx, want_dx, T * cols, tolerance(N), 0);
    float *row = check_floats(N); // the same bits alone
    if (T > 0) {
        dense_linear_fwd(ops, row, x_in + (T - 1) * cols, &weight, 1, false);
        check_same("linear_fwd quantised row", row, y + (T - 1) * N, (size_t)N * sizeof *row);
    }
    check_release();
}

static void test_quantised(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(linear_cases); i++) {
            int64_t T = linear_cases[i].T, rows = linear_cases[i].rows, cols = linear_cases[i].cols;
            run_quantised(ops, FL_INT8, false, T, rows, cols, 0);
            run_quantised(ops, FL_NF4, false, T, rows, cols, 0);
            run_quantised(ops, FL_NF4, true, T, rows, cols, rows / 3);
            run_quantised(ops, FL_INT8, false, T, rows, cols, rows / 2);
        }
    }
}

/* The bias comes on top of the product, whatever T and whether it accumulates or not. */
static void run_bias(const fl_backend_ops *ops, int64_t T, int64_t rows, int64_t cols)
{
    fl_weight weight = check_weight(check_random(3, rows * cols), FL_F32, rows, cols);
    const float *x = check_copy(check_random(1, T * cols), T * cols);
    const float *bias = check_random(10, rows), *old = check_random(11, T * rows);
    float *plain = check_floats(T * rows), *y = check_floats(T * rows);
    float *sum = check_copy(old, T * rows);
    dense_linear_fwd(ops, plain, x, &weight, T, false);
    weight.bias = check_copy(bias, rows);
    dense_linear_fwd(ops, y, x, &weight, T, false);
    dense_linear_fwd(ops, sum, x, &weight, T, true);
    float *host = check_host(T * rows);
    ops->copy_out(host, plain, (size_t)(T * rows) * sizeof *host);
    double *want = check_widen(host, T * rows);
    for (int64_t i = 0; i < T * rows; i++)
        want[i] += (double)bias[i % rows];
    check_close("linear_fwd with bias", y, want, T * rows, 0, CHECK_EPS);
    add_base(want, old, T * rows);
    check_close("linear_fwd with bias, accumulating", sum, want, T * rows, tolerance(cols), 0);
    check_release();
}

static void test_bias(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        run_bias(ops, 1, 1, 3);
        run_bias(ops, 37, 50, 20);
        run_bias(ops, 130, 33, 64);
    }
}

static void test_linear(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(linear_cases); i++) {
            for (int64_t d = 0; d < CHECK_COUNT(dtypes); d++)
                run_linear(ops, dtypes[d], linear_cases[i].T, linear_cases[i].rows,
                           linear_cases[i].cols);
        }
    }
}

/* A forward pass of LoRA, its backward passes, and corners. */
static const struct {
    int64_t M, N, K;
    float alpha, beta;
} gemm_cases[] = {
    {100, 8, 300, 1, 0},   {100, 300, 8, 2, 1}, {8, 300, 100, 0.5f, 1}, {300, 16, 100, 1, 0.25f},
    {64, 200, 520, -1, 0}, {1, 1, 1, 3, -1},    {33, 47, 5, 1, 1},      {16, 129, 259, 1, 1},
    {130, 48, 64, 1, 0},   {2, 3, 0, 1, 0.5f},  {5, 4, 0, 1, 0},        {0, 3, 2, 1, 0},
    {3, 0, 2, 1, 0},       {193, 70, 31, 1, 0},
};

static void run_gemm(const fl_backend_ops *ops, int64_t index, bool trans_a, bool trans_b)
{
    int64_t M = gemm_cases[index].M, N = gemm_cases[index].N, K = gemm_cases[index].K;
    float alpha = gemm_cases[index].alpha, beta = gemm_cases[index].beta;
    const float *a = check_random(4, M * K), *b = check_random(5, K * N);
    const float *old = check_random(6, M * N);
    float *c = beta != 0 ? check_copy(old, M * N) : check_floats(M * N); // beta 0: not read
    dense_gemm(ops, c, check_copy(a, M * K), check_copy(b, K * N), M, N, K, trans_a, trans_b, alpha,
               beta);
    double *want = check_host_double(M * N);
    ref_matmul(want, check_widen(a, M * K), check_widen(b, K * N), M, N, K, trans_a, trans_b);
    for (int64_t i = 0; i < M * N; i++)
        want[i] = (double)alpha * want[i] + (double)beta * (double)old[i];
    double scale = fmax(1, fabs((double)alpha));
    check_close("gemm", c, want, M * N, scale * tolerance(K), CHECK_EPS);
    check_release();
}

static void test_gemm(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(gemm_cases); i++) {
            for (int trans = 0; trans < 4; trans++)
                run_gemm(ops, i, trans & 1, trans & 2);
        }
    }
}

/* Row t of linear_fwd and linear_bwd has the same bits in a batch of any size. */
static void run_rows(const fl_backend_ops *ops, fl_dtype dtype, int64_t rows, int64_t cols)
{
    static const int64_t batch[] = {1, 2, 5, 14, 16, 29, 65};
    int64_t T = 230;
    float *w = check_random(7, rows * cols);
    fl_weight weight = check_weight(w, dtype, rows, cols);
    const float *x = check_copy(check_random(8, T * cols), T * cols);
    const float *dy = check_copy(check_random(9, T * rows), T * rows);
    float *y = check_floats(T * rows), *dx = check_floats(T * cols);
    dense_linear_fwd(ops, y, x, &weight, T, false);
    dense_linear_bwd(ops, dx, dy, &weight, T, false);
    for (int64_t i = 0; i < CHECK_COUNT(batch); i++) {
        int64_t n = batch[i], at = T - n;
        float *part_y = check_floats(n * rows), *part_dx = check_floats(n * cols);
        dense_linear_fwd(ops, part_y, x + at * cols, &weight, n, false);
        dense_linear_bwd(ops, part_dx, dy + at * rows, &weight, n, false);
        check_same("linear_fwd rows", part_y, y + at * rows, (size_t)(n * rows) * sizeof *y);
        check_same("linear_bwd rows", part_dx, dx + at * cols, (size_t)(n * cols) * sizeof *dx);
    }
    check_release();
}

static void test_rows_are_independent(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        run_rows(ops, FL_F32, 40, 700);
        run_rows(ops, FL_BF16, 97, 130);
        run_rows(ops, FL_F16, 8, 300);
        run_rows(ops, FL_F32, 1300, 33);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_bias),
        cmocka_unit_test(test_quantised),
        cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_rows_are_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
