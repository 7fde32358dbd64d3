/* add, axpy, swiglu, rope, dropout, and the exponential of the cpu backend. */
#include "check.h"
#include "kernels/cpu/isa.h"
#include "reference.h"

static const int64_t sizes[] = {0, 1, 7, 31, 64, 1000, 20001};

static void test_add(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(sizes); i++) {
            int64_t n = sizes[i];
            const float *x = check_random(1, n), *y = check_random(2, n);
            float *sum = check_copy(y, n);
            dense_add(ops, sum, check_copy(x, n), n);
            double *want = check_host_double(n);
            for (int64_t j = 0; j < n; j++)
                want[j] = (double)x[j] + (double)y[j];
            check_close("add", sum, want, n, 0, CHECK_EPS);
            check_release();
        }
    }
}

/* a = -1 is exact but for the sum: algorithms take differences with it. */
static void test_axpy(void **state)
{
    (void)state;
    static const float factors[] = {-1, 0, 0.3f};
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++)
        for (int64_t i = 0; i < CHECK_COUNT(sizes) * CHECK_COUNT(factors); i++) {
            int64_t n = sizes[i / CHECK_COUNT(factors)];
            float a = factors[i % CHECK_COUNT(factors)];
            const float *x = check_random(1, n), *y = check_random(2, n);
            float *sum = check_copy(y, n);
            ops->axpy(sum, check_copy(x, n), a, n);
            double *want = check_host_double(n);
            for (int64_t j = 0; j < n; j++)
                want[j] = (double)y[j] + (double)a * (double)x[j];
            check_close("axpy", sum, want, n, CHECK_EPS, CHECK_EPS);
            check_release();
        }
}

/* Gates from -100 to 100: both tails of the sigmoid, where exp overflows and underflows. */
static float *wide_gates(int64_t n)
{
    float *gate = check_random(3, n);
    for (int64_t i = 0; i < n; i++)
        gate[i] *= i % 3 == 0 ? 100.0f : 5.0f;
    return gate;
}

/* Tolerance: exp has 2 ulp, the quotient and two products one rounding each; where exp(-z) is
 * infinite silu is zero instead of 3e-37 or less.  In the derivative 1 + z (1 - sigmoid) cancels
 * near z = -1.28, terms are of order 1 there. */
static void run_swiglu(const fl_backend_ops *ops, int64_t n)
{
    const float *gate = wide_gates(n), *up = check_random(4, n), *dout = check_random(5, n);
    const float *gate_in = check_copy(gate, n), *up_in = check_copy(up, n);
    const float *dout_in = check_copy(dout, n);
    float *out = check_floats(n), *dgate = check_floats(n), *dup = check_floats(n);
    dense_swiglu_fwd(ops, out, gate_in, up_in, n);
    dense_swiglu_bwd(ops, dgate, dup, dout_in, gate_in, up_in, n);

    double *wide_gate = check_widen(gate, n), *wide_up = check_widen(up, n);
    double *want = check_host_double(n), *want_gate = check_host_double(n);
    double *want_up = check_host_double(n);
    ref_swiglu(want, wide_gate, wide_up, n);
    ref_swiglu_bwd(want_gate, want_up, check_widen(dout, n), wide_gate, wide_up, n);
    check_close("swiglu_fwd", out, want, n, 3e-37, 8 * CHECK_EPS);
    check_close("swiglu_bwd dgate", dgate, want_gate, n, 10 * CHECK_EPS, 10 * CHECK_EPS);
    check_close("swiglu_bwd dup", dup, want_up, n, 3e-37, 8 * CHECK_EPS);

    // the aliases that ops.h allows
    float *in_place = check_copy(gate, n);
    dense_swiglu_fwd(ops, in_place, in_place, up_in, n);
    check_same("swiglu_fwd out = gate", in_place, out, (size_t)n * sizeof *out);
    float *gate2 = check_copy(gate, n), *up2 = check_copy(up, n), *dout2 = check_copy(dout, n);
    dense_swiglu_bwd(ops, gate2, up2, dout_in, gate2, up2, n);
    check_same("swiglu_bwd dgate = gate", gate2, dgate, (size_t)n * sizeof *out);
    check_same("swiglu_bwd dup = up", up2, dup, (size_t)n * sizeof *out);
    dense_swiglu_bwd(ops, dout2, up2, dout2, gate_in, check_copy(up, n), n);
    check_same("swiglu_bwd dgate = dout", dout2, dgate, (size_t)n * sizeof *out);
    float *dout3 = check_copy(dout, n);
    dense_swiglu_bwd(ops, gate2, dout3, dout3, gate_in, up_in, n);
    check_same("swiglu_bwd dup = dout", dout3, dup, (size_t)n * sizeof *out);
    check_release();
}

static void test_swiglu(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(sizes); i++)
            run_swiglu(ops, sizes[i]);
    }
}

/* Tolerance: the argument of the sigmoid, up to about 90 where its value still counts, has five
 * roundings, which the exponential turns into a relative error of the value. */
static void run_geglu(const fl_backend_ops *ops, int64_t n)
{
    float *gate = check_random(3, n);
    const float *up = check_random(4, n), *dout = check_random(5, n);
    for (int64_t i = 0; i < n; i++)
        gate[i] *= i % 3 == 0 ? 30.0f : 4.0f;
    const float *gate_in = check_copy(gate, n), *up_in = check_copy(up, n);
    const float *dout_in = check_copy(dout, n);
    float *out = check_floats(n), *dgate = check_floats(n), *dup = check_floats(n);
    dense_geglu_fwd(ops, out, gate_in, up_in, n);
    dense_geglu_bwd(ops, dgate, dup, dout_in, gate_in, up_in, n);

    double *wide_gate = check_widen(gate, n), *wide_up = check_widen(up, n);
    double *want = check_host_double(n), *want_gate = check_host_double(n);
    double *want_up = check_host_double(n);
    ref_geglu(want, wide_gate, wide_up, n);
    ref_geglu_bwd(want_gate, want_up, check_widen(dout, n), wide_gate, wide_up, n);
    check_close("geglu_fwd", out, want, n, 10 * CHECK_EPS, 16 * CHECK_EPS);
    check_close("geglu_bwd dgate", dgate, want_gate, n, 40 * CHECK_EPS, 20 * CHECK_EPS);
    check_close("geglu_bwd dup", dup, want_up, n, 10 * CHECK_EPS, 16 * CHECK_EPS);
    float *in_place = check_copy(gate, n), *up2 = check_copy(up, n);
    dense_geglu_bwd(ops, in_place, up2, dout_in, in_place, up2, n);
    check_same("geglu_bwd dgate = gate", in_place, dgate, (size_t)n * sizeof *out);
    check_same("geglu_bwd dup = up", up2, dup, (size_t)n * sizeof *out);
    check_release();
}

static void test_geglu(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(sizes); i++)
            run_geglu(ops, sizes[i]);
    }
}

/* Tolerance: tanh within 4 ulp, three more roundings; the slope cancels towards the cap. */
static void run_softcap(const fl_backend_ops *ops, int64_t n)
{
    const float cap = 3.0f;
    float *x = check_random(7, n);
    const float *d = check_random(8, n);
    for (int64_t i = 0; i < n; i++)
        x[i] *= i % 4 == 0 ? 200.0f : i % 4 == 1 ? 0.01f : 6.0f;
    float *y = check_copy(x, n), *slope = check_copy(d, n), *scaled = check_copy(x, n);
    ops->softcap_fwd(y, cap, n);
    dense_softcap_bwd(ops, slope, y, cap, n);
    ops->scale(scaled, cap, n);
    double *want = check_widen(x, n), *want_d = check_widen(d, n), *product = check_widen(x, n);
    ref_softcap_bwd(want_d, want, (double)cap, n);
    ref_softcap(want, (double)cap, n);
    for (int64_t i = 0; i < n; i++)
        product[i] *= (double)cap;
    check_close("softcap_fwd", y, want, n, 0, 8 * CHECK_EPS);
    check_close("softcap_bwd", slope, want_d, n, 16 * CHECK_EPS, 4 * CHECK_EPS);
    check_close("scale", scaled, product, n, 0, CHECK_EPS);
    check_release();
}

static void test_softcap(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(sizes); i++)
            run_softcap(ops, sizes[i]);
    }
}

/* Tolerance: two products and a sum of numbers below 1. */
static void run_rope(const fl_backend_ops *ops, int64_t heads, int64_t D, bool inverse)
{
    enum { T = 9, MAX_POS = 40 };
    static const int32_t pos[T] = {0, 1, 2, 39, 0, 5, 6, 7, 7};
    int64_t count = T * heads * D, half = D / 2;
    float *cosine = check_host(MAX_POS * half), *sine = check_host(MAX_POS * half);
    for (int64_t i = 0; i < MAX_POS * half; i++) {
        double angle = (double)(i / half) * pow(100.0, -(double)(i % half) / (double)half);
        cosine[i] = (float)cos(angle);
        sine[i] = (float)sin(angle);
    }
    const float *x = check_random(6, count);
    float *turned = check_copy(x, count);
    dense_rope(ops, turned, check_ints(pos, T), check_copy(cosine, MAX_POS * half),
               check_copy(sine, MAX_POS * half), T, heads, D, inverse);
    double *want = check_widen(x, count);
    ref_rope(want, pos, check_widen(cosine, MAX_POS * half), check_widen(sine, MAX_POS * half), T,
             heads, D, inverse ? -1 : 1);
    check_close("rope", turned, want, count, 4 * CHECK_EPS, 0);
    check_release();
}

static void test_rope(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int inverse = 0; inverse < 2; inverse++) {
            run_rope(ops, 1, 2, inverse);
            run_rope(ops, 3, 6, inverse);
            run_rope(ops, 2, 64, inverse);
            run_rope(ops, 2, 80, inverse);
        }
    }
}

/* The mask is exactly the documented one; kept values carry the roundings of 1/(1-p) and of one
 * product, accumulated ones one more. */
static void run_dropout(const fl_backend_ops *ops, int64_t n, float p)
{
    fl_rng rng = fl_rng_make(7, FL_PURPOSE_TEST, 1, 2, 3, 4);
    const float *x = check_random(8, n), *old = check_random(9, n);
    double *want = check_host_double(n), *want_sum = check_host_double(n);
    for (int64_t i = 0; i < n; i++) {
        uint32_t words[4];
        fl_rng_block(&rng, (uint64_t)(i / 4), words);
        bool keep = (float)(words[i % 4] >> 8) * 0x1p-24f >= p;
        want[i] = keep ? (double)x[i] / (1 - (double)p) : 0;
        want_sum[i] = want[i] + (double)old[i];
    }
    const float *x_in = check_copy(x, n);
    float *out = check_floats(n), *sum = check_copy(old, n), *in_place = check_copy(x, n);
    dense_dropout(ops, out, x_in, n, p, check_stream(&rng), false);
    dense_dropout(ops, sum, x_in, n, p, check_stream(&rng), true);
    dense_dropout(ops, in_place, in_place, n, p, check_stream(&rng), false);
    check_close("dropout", out, want, n, 0x1p-149, 3 * CHECK_EPS);
    check_close("dropout accumulating", sum, want_sum, n, 3 * CHECK_EPS / (1 - (double)p),
                CHECK_EPS);
    check_same("dropout in place", in_place, out, (size_t)n * sizeof *out);
    check_release();
}

/* The share of zeros is p within five standard deviations. */
static void check_share(const fl_backend_ops *ops, float p)
{
    enum { N = 100000 };
    fl_rng rng = fl_rng_make(11, FL_PURPOSE_TEST, 0, 0, 0, 0);
    float *x = check_host(N);
    for (int64_t i = 0; i < N; i++)
        x[i] = 1;
    float *out = check_copy(x, N);
    dense_dropout(ops, out, out, N, p, check_stream(&rng), false);
    ops->copy_out(x, out, N * sizeof *x);
    double zeros = 0;
    for (int64_t i = 0; i < N; i++)
        zeros += x[i] == 0;
    double deviation = sqrt(N * (double)p * (1 - (double)p));
    assert_true(fabs(zeros - N * (double)p) <= 5 * deviation);
    check_release();
}

static void test_dropout(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        for (int64_t i = 0; i < CHECK_COUNT(sizes); i++) {
            run_dropout(ops, sizes[i], 0.0f);
            run_dropout(ops, sizes[i], 0.05f);
            run_dropout(ops, sizes[i], 0.9f);
        }
        check_share(ops, 0.05f);
        check_share(ops, 0.5f);
    }
}

/* Distance from one float to the next at the size of x. */
static double ulp_at(double x)
{
    int exponent;
    frexp(x, &exponent);
    return ldexp(1, exponent - 24 < -149 ? -149 : exponent - 24);
}

static void run_exp(const fl_vec_ops *vec)
{
    enum { N = 4000001 };
    float *x = check_host(N), *y = check_host(N);
    for (int64_t i = 0; i < N; i++) // -106 to 90: from 0 over the subnormals to infinity
        x[i] = (float)(-106.0 + 196.0 * (double)i / (N - 1));
    vec->exp(y, x, N);
    double worst = 0;
    for (int64_t i = 0; i < N; i++) {
        double want = exp((double)x[i]);
        if (want > 0x1.ffffffp127) {
            assert_true(isinf(y[i]));
            continue;
        }
        worst = fmax(worst, fabs((double)y[i] - want) / ulp_at(want));
    }
    print_message("exp, %s: largest error %.3f ulp\n", check_backend_name(), worst);
    assert_true(worst <= 2.0);
    check_release();
}

static void test_exp(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++) {
        if (ops != &fl_backend_cpu) continue;
        const fl_vec_ops *vec = fl_isa_current()->vec;
        run_exp(vec);
        const float special[] = {0, -0.0f, INFINITY, -INFINITY, NAN, 1000, -1000};
        float y[CHECK_COUNT(special)];
        vec->exp(y, special, CHECK_COUNT(special));
        assert_true(y[0] == 1 && y[1] == 1 && isinf(y[2]) && y[3] == 0 && isnan(y[4]));
        assert_true(isinf(y[5]) && y[6] == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),     cmocka_unit_test(test_axpy),
        cmocka_unit_test(test_swiglu),  cmocka_unit_test(test_geglu),
        cmocka_unit_test(test_softcap), cmocka_unit_test(test_rope),
        cmocka_unit_test(test_dropout), cmocka_unit_test(test_exp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
