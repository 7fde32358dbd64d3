/* rmsnorm, rope and cross_entropy on activations of any type and layout.  Tolerances: those of
 * test_rmsnorm.c, test_elementwise.c and test_cross_entropy.c before the rounding to the result's
 * type. */
#include "check_act.h"
#include "reference.h"

/* dtype: result, incoming gradient, x. */
typedef struct rows_case {
    int64_t T, G, C;
    fl_dtype dtype[3];
} rows_case;

static const struct {
    int64_t T, G, C;
} shapes[] = {{1, 1, 3},    {5, 1, 64},  {3, 3, 24},  {2, 2, 13},
              {3, 1, 1000}, {2, 2, 576}, {1, 1, 9001}};

static void run_types(const fl_backend_ops *ops, check_act_fn *fn, rows_case *c, int count)
{
    for (int types = 0; types < 1 << count; types++) {
        bool narrow = false;
        for (int i = 0; i < count; i++) {
            c->dtype[i] = types >> i & 1 ? FL_BF16 : FL_F32;
            narrow = narrow || c->dtype[i] == FL_BF16;
        }
        if (check_takes(ops, narrow ? FL_BF16 : FL_F32)) check_act_layouts(ops, fn, c);
    }
}

/* ---- rmsnorm -------------------------------------------------------------------------------- */

static const float eps = 1e-2f;

static void norm_forward(check_act_run *run, const void *context)
{
    const rows_case *c = context;
    int64_t T = c->T, C = c->C, width = c->G * C;
    float *x = check_random(1, T * width), *w = check_random(2, C);
    fl_act in = check_act(x, c->dtype[1], T, width, run->layout);
    fl_act out = check_act(NULL, c->dtype[0], T, width, run->layout);
    float *w_in = check_act(w, FL_F32, 1, C, run->layout).data;
    fl_act rstd = check_act(NULL, FL_F32, T, c->G, (check_layout){0, false});
    run->ops->rmsnorm_fwd(out, rstd.data, in, w_in, T, c->G, C, eps);
    double *want = check_host_double(T * width), *want_rstd = check_host_double(T * c->G);
    ref_rmsnorm(want, check_widen(x, T * width), check_widen(w, C), T * c->G, C, (double)eps);
    for (int64_t i = 0; i < T * width; i++)
        want_rstd[i / C] += (double)x[i] * (double)x[i] / (double)C;
    for (int64_t i = 0; i < T * c->G; i++)
        want_rstd[i] = 1 / sqrt(want_rstd[i] + (double)eps);
    check_act_result(run, "rmsnorm_fwd", out, T, width, want, 0x1p-126, 4 * CHECK_EPS);
    check_act_result(run, "rmsnorm_fwd rstd", rstd, T, c->G, want_rstd, 0, 2 * CHECK_EPS);
    if (c->dtype[0] != c->dtype[1]) return;
    run->ops->rmsnorm_fwd(in, NULL, in, w_in, T, c->G, C, eps);
    check_act_result(run, "rmsnorm_fwd in place", in, T, width, want, 0x1p-126, 4 * CHECK_EPS);
}

static void norm_backward(check_act_run *run, const void *context)
{
    const rows_case *c = context;
    int64_t T = c->T, C = c->C, width = c->G * C, n = T * width;
    float *x = check_random(1, n), *w = check_random(2, C), *rstd = check_host(T * c->G);
    float *dout = check_random(3, n), *old = check_random(4, n);
    fl_act dx = check_act(old, c->dtype[0], T, width, run->layout);
    fl_act slope = check_act(dout, c->dtype[1], T, width, run->layout);
    fl_act in = check_act(x, c->dtype[2], T, width, run->layout);
    for (int64_t i = 0; i < T * c->G; i++) {
        double sum = 0;
        for (int64_t j = i * C; j < (i + 1) * C; j++)
            sum += (double)x[j] * (double)x[j];
        rstd[i] = (float)(1 / sqrt(sum / (double)C + (double)eps));
    }
    run->ops->rmsnorm_bwd(dx, slope, in, check_act(w, FL_F32, 1, C, run->layout).data,
                          check_copy(rstd, T * c->G), T, c->G, C);
    double *want = check_host_double(n);
    ref_rmsnorm_bwd(want, check_widen(dout, n), check_widen(x, n), check_widen(w, C), T * c->G, C,
                    (double)eps);
    for (int64_t i = 0; i < n; i++)
        want[i] += (double)old[i];
    check_act_result(run, "rmsnorm_bwd", dx, T, width, want, 40 * CHECK_EPS, 4 * CHECK_EPS);
}

static void test_rmsnorm(void **state)
{
    (void)state;
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++)
        for (int64_t i = 0; i < CHECK_COUNT(shapes); i++) {
            rows_case c = {.T = shapes[i].T, .G = shapes[i].G, .C = shapes[i].C};
            run_types(ops, norm_forward, &c, 2);
            run_types(ops, norm_backward, &c, 3);
        }
}

/* ---- rope ----------------------------------------------------------------------------------- */

static void turn(check_act_run *run, const void *context)
{
    enum { MAX_POS = 12 };
    static const int32_t pos[] = {0, 1, 11, 5};
    const rows_case *c = context;
    int64_t T = c->T, heads = c->G, D = c->C, half = D / 2, n = T * heads * D;
    float *cosine = check_host(MAX_POS * half), *sine = check_host(MAX_POS * half);
    for (int64_t i = 0; i < MAX_POS * half; i++) {
        double angle = (double)(i / half) * pow(100.0, -(double)(i % half) / (double)half);
        cosine[i] = (float)cos(angle);
        sine[i] = (float)sin(angle);
    }
    check_layout table = {0, run->layout.is_aligned};
    float *x = check_random(6, n);
    fl_act turned = check_act(x, c->dtype[0], T, heads * D, run->layout);
    float *cos_in = check_act(cosine, FL_F32, MAX_POS, half, table).data;
    float *sin_in = check_act(sine, FL_F32, MAX_POS, half, table).data;
    run->ops->rope(turned, check_ints(pos, T), cos_in, sin_in, T, heads, D, true);
    double *want = check_widen(x, n);
    ref_rope(want, pos, check_widen(cosine, MAX_POS * half), check_widen(sine, MAX_POS * half), T,
             heads, D, -1);
    check_act_result(run, "rope", turned, T, heads * D, want, 4 * CHECK_EPS, 0);
}

static void test_rope(void **state)
{
    (void)state;
    static const int64_t sizes[] = {2, 6, 16, 64, 80};
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++)
        for (int64_t i = 0; i < CHECK_COUNT(sizes); i++) {
            rows_case c = {.T = 4, .G = 3, .C = sizes[i]};
            run_types(ops, turn, &c, 1);
        }
}

/* ---- cross_entropy -------------------------------------------------------------------------- */

/* In place (fp32 with the logits' stride, bf16 with twice that), and into a matrix of its own. */
static void loss(check_act_run *run, const void *context)
{
    const rows_case *c = context;
    int64_t N = c->T, V = c->C;
    float *x = check_random(1, N * V), *weight = check_random(2, N);
    int32_t target[] = {(int32_t)(V - 1), 0, (int32_t)(V / 2)};
    for (int64_t i = 0; i < N * V; i++)
        x[i] *= 9;
    check_layout layout = {0, run->layout.is_aligned};
    fl_act in = check_act(x, FL_F32, N, V, layout), place = in;
    fl_act own = check_act(NULL, c->dtype[0], N, V, run->layout);
    place.dtype = c->dtype[0];
    place.stride = place.dtype == FL_BF16 ? 2 * V : V;
    double *losses = check_doubles(N);
    const int32_t *target_in = check_ints(target, N);
    const float *weight_in = check_copy(weight, N);
    run->ops->cross_entropy(losses, own, in.data, target_in, weight_in, N, V);
    run->ops->cross_entropy(losses, place, in.data, target_in, weight_in, N, V);
    double *want = check_host_double(N), *want_grad = check_host_double(N * V);
    ref_cross_entropy(want, want_grad, check_widen(x, N * V), target, check_widen(weight, N), N, V);
    check_act_result(run, "cross_entropy", own, N, V, want_grad, 2 * CHECK_EPS, 8 * CHECK_EPS);
    for (int64_t n = 0; n < N; n++) { // row by row: behind one in bf16 some logits are left
        fl_act row = fl_act_from(place, n, 0);
        row.stride = V;
        check_act_result(run, "cross_entropy in place", row, 1, V, want_grad + n * V, 2 * CHECK_EPS,
                         8 * CHECK_EPS);
    }
}

static void test_cross_entropy(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 33, 1000, 5003};
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++)
        for (int64_t i = 0; i < CHECK_COUNT(sizes); i++) {
            rows_case c = {.T = 3, .C = sizes[i]};
            run_types(ops, loss, &c, 1);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_cross_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
