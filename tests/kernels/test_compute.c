/* Products with operands rounded to bf16 (set_compute): what ops.h says is rounded is rounded in
 * the reference too, so what is left is the fp32 sum: the tolerance of test_gemm.c. */
#include "check.h"
#include "reference.h"

static const struct {
    int64_t T, rows, cols;
} cases[] = {{1, 1, 1}, {3, 5, 300}, {7, 31, 17}, {37, 8, 129}, {97, 40, 33}, {64, 300, 70}};

static double tolerance(int64_t K)
{
    return (double)(2 * K + 8) * CHECK_EPS;
}

static double *rounded(const double *x, int64_t count)
{
    double *out = check_host_double(count);
    for (int64_t i = 0; i < count; i++)
        out[i] = (double)fl_bf16_to_f32(fl_f32_to_bf16((float)x[i]));
    return out;
}

/* values: of the weight, before rounding */
static void run_linear(const fl_backend_ops *ops, const fl_weight *w, const double *values,
                       int64_t T)
{
    int64_t rows = w->rows, cols = w->cols;
    const float *x = check_random(1, T * cols), *dy = check_random(2, T * rows);
    float *y = check_floats(T * rows), *dx = check_floats(T * cols),
          *sum = check_copy(dy, T * rows);
    const float *x_in = check_copy(x, T * cols);
    dense_linear_fwd(ops, y, x_in, w, T, false);
    dense_linear_fwd(ops, sum, x_in, w, T, true);
    dense_linear_bwd(ops, dx, check_copy(dy, T * rows), w, T, false);
    const double *left = rounded(check_widen(x, T * cols), T * cols);
    const double *left_dy = rounded(check_widen(dy, T * rows), T * rows);
    const double *right = rounded(values, rows * cols);
    double *want_y = check_host_double(T * rows), *want_dx = check_host_double(T * cols);
    ref_matmul(want_y, left, right, T, rows, cols, false, true);
    ref_matmul(want_dx, left_dy, right, T, cols, rows, false, false);
    check_close("linear_fwd in bf16", y, want_y, T * rows, tolerance(cols), 0);
    check_close("linear_bwd in bf16", dx, want_dx, T * cols, tolerance(rows), 0);
    for (int64_t i = 0; i < T * rows; i++)
        want_y[i] += (double)dy[i]; // what is added to is not rounded
    check_close("linear_fwd in bf16, accumulating", sum, want_y, T * rows, tolerance(cols),
                CHECK_EPS);
}

static void run_formats(const fl_backend_ops *ops, int64_t T, int64_t rows, int64_t cols)
{
    static const fl_dtype dtypes[] = {FL_F32, FL_BF16, FL_F16};
    for (int64_t d = 0; d < CHECK_COUNT(dtypes); d++) {
        float *host = check_random(3, rows * cols);
        fl_weight w = check_weight(host, dtypes[d], rows, cols);
        run_linear(ops, &w, check_widen(host, rows * cols), T);
        check_release();
    }
    for (fl_format format = FL_INT8; format <= FL_NF4; format++) {
        check_quantised q = check_quantise(check_random(4, rows * cols), format, false, rows, cols);
        fl_weight w = {.quant = &q.quant, .rows = rows, .cols = cols};
        run_linear(ops, &w, q.values, T);
        check_release();
    }
}

static void run_gemm(const fl_backend_ops *ops, int64_t M, int64_t N, int64_t K, int trans)
{
    const float *a = check_random(5, M * K), *b = check_random(6, K * N);
    const float *old = check_random(7, M * N);
    float *c = check_copy(old, M * N);
    bool trans_a = trans & 1, trans_b = trans & 2;
    dense_gemm(ops, c, check_copy(a, M * K), check_copy(b, K * N), M, N, K, trans_a, trans_b, 2, 1);
    double *want = check_host_double(M * N);
    ref_matmul(want, rounded(check_widen(a, M * K), M * K), rounded(check_widen(b, K * N), K * N),
               M, N, K, trans_a, trans_b);
    for (int64_t i = 0; i < M * N; i++)
        want[i] = 2 * want[i] + (double)old[i];
    check_close("gemm in bf16", c, want, M * N, 2 * tolerance(K), CHECK_EPS);
    check_release();
}

static void test_bf16(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        if (ops->set_compute(FL_BF16) != FL_OK) {
            assert_ptr_equal(ops, &fl_backend_cpu);
            continue;
        }
        for (int64_t i = 0; i < CHECK_COUNT(cases); i++) {
            run_formats(ops, cases[i].T, cases[i].rows, cases[i].cols);
            for (int trans = 0; trans < 4; trans++)
                run_gemm(ops, cases[i].T, cases[i].rows, cases[i].cols, trans);
        }
        assert_int_equal(ops->set_compute(FL_F32), FL_OK);
    }
}

static void test_refused(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++)
        assert_int_equal(ops->set_compute(FL_F16), FL_ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
