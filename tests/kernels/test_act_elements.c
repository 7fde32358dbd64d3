/* add, copy_rows, softcap_bwd, dropout and the gates on activations of any type and layout.
 * Tolerances: those of test_elementwise.c before the rounding to the result's type. */
#include "check_act.h"
#include "reference.h"

/* dtype: result, operand. */
typedef struct elements_case {
    int64_t T, C;
    fl_dtype dtype[2];
    bool accumulate;
} elements_case;

static const struct {
    int64_t T, C;
} shapes[] = {{1, 1}, {3, 4}, {3, 17}, {5, 64}, {2, 1000}, {0, 8}, {700, 36}};

static void run_shapes(check_act_fn *fn, bool mixed, bool accumulate)
{
    static const fl_dtype types[][2] = {
        {FL_F32, FL_F32}, {FL_BF16, FL_BF16}, {FL_F32, FL_BF16}, {FL_BF16, FL_F32}};
    const fl_backend_ops *ops;
    for (int b = 0; (ops = check_backend(b)); b++)
        for (int64_t t = 0; t < (mixed ? 4 : 2); t++)
            for (int64_t i = 0; i < CHECK_COUNT(shapes); i++) {
                elements_case c = {.T = shapes[i].T, .C = shapes[i].C, .accumulate = accumulate};
                memcpy(c.dtype, types[t], sizeof c.dtype);
                if (check_takes(ops, t == 0 ? FL_F32 : FL_BF16)) check_act_layouts(ops, fn, &c);
            }
}

static void add(check_act_run *run, const void *context)
{
    const elements_case *c = context;
    int64_t T = c->T, C = c->C, n = T * C;
    float *x = check_random(1, n), *y = check_random(2, n);
    fl_act sum = check_act(y, c->dtype[0], T, C, run->layout);
    run->ops->add(sum, check_act(x, c->dtype[1], T, C, run->layout), T, C);
    double *want = check_widen(x, n);
    for (int64_t i = 0; i < n; i++)
        want[i] += (double)y[i];
    check_act_result(run, "add", sum, T, C, want, 0, CHECK_EPS);
}

static void test_add(void **state)
{
    (void)state;
    run_shapes(add, true, false);
}

/* Exact: half a unit in the last place is no tolerance for what bf16 holds. */
static void copy(check_act_run *run, const void *context)
{
    const elements_case *c = context;
    int64_t T = c->T, C = c->C;
    float *x = check_random(1, T * C);
    fl_act to = check_act(NULL, c->dtype[0], T, C, run->layout);
    fl_act from = check_act(x, c->dtype[0], T, C, run->layout);
    run->ops->copy_rows(to, from, T, C);
    double *want = check_widen(x, T * C);
    check_act_result(run, "copy_rows", to, T, C, want, 0, 0);
    check_act_result(run, "what copy_rows read", from, T, C, want, 0, 0);
    if (T > 0 && memcmp(run->first[0], run->first[1], (size_t)(T * C) * sizeof(float)) != 0)
        fail_msg("%s: copy_rows changes bits", check_backend_name());
}

static void test_copy_rows(void **state)
{
    (void)state;
    run_shapes(copy, false, false);
}

static void softcap(check_act_run *run, const void *context)
{
    const elements_case *c = context;
    int64_t T = c->T, C = c->C, n = T * C;
    float *d = check_random(1, n), *y = check_random(2, n);
    const double cap = 1.25;
    fl_act slope = check_act(d, c->dtype[0], T, C, run->layout);
    check_layout dense = {0, run->layout.is_aligned};
    run->ops->softcap_bwd(slope, check_act(y, FL_F32, T, C, dense).data, (float)cap, T, C);
    double *want = check_widen(d, n);
    for (int64_t i = 0; i < n; i++)
        want[i] *= 1 - (double)y[i] / cap * ((double)y[i] / cap);
    check_act_result(run, "softcap_bwd", slope, T, C, want, 16 * CHECK_EPS, 4 * CHECK_EPS);
}

static void test_softcap(void **state)
{
    (void)state;
    run_shapes(softcap, false, false);
}

/* Rows with gaps are whole blocks of the stream. */
static void drop(check_act_run *run, const void *context)
{
    const elements_case *c = context;
    int64_t T = c->T, C = c->C, n = T * C;
    const float p = 0.3f;
    if (C % 4 != 0 && run->layout.gap > 0) return;
    fl_rng rng = fl_rng_make(7, FL_PURPOSE_TEST, 1, 2, 3, 4);
    float *x = check_random(1, n), *old = check_random(2, n);
    fl_act out = check_act(c->accumulate ? old : NULL, c->dtype[0], T, C, run->layout);
    fl_act in = check_act(x, c->dtype[1], T, C, run->layout);
    run->ops->dropout(out, in, T, C, p, check_stream(&rng), c->accumulate);
    double *want = check_host_double(n);
    for (int64_t i = 0; i < n; i++) {
        uint32_t words[4];
        fl_rng_block(&rng, (uint64_t)(i / 4), words);
        bool keep = (float)(words[i % 4] >> 8) * 0x1p-24f >= p;
        want[i] =
            (keep ? (double)x[i] / (1 - (double)p) : 0) + (c->accumulate ? (double)old[i] : 0);
    }
    check_act_result(run, "dropout", out, T, C, want, c->accumulate ? 6 * CHECK_EPS : 0x1p-149,
                     3 * CHECK_EPS);
}

static void test_dropout(void **state)
{
    (void)state;
    run_shapes(drop, false, false);
    run_shapes(drop, true, true);
}

/* ---- gates ---------------------------------------------------------------------------------- */

typedef struct gate_ops {
    void (*fwd)(fl_act out, fl_act gate, fl_act up, int64_t T, int64_t F);
    void (*bwd)(fl_act dgate, fl_act dup, fl_act dout, fl_act gate, fl_act up, int64_t T,
                int64_t F);
    void (*ref_fwd)(double *out, const double *gate, const double *up, int64_t n);
    void (*ref_bwd)(double *dgate, double *dup, const double *dout, const double *gate,
                    const double *up, int64_t n);
} gate_ops;

/* Backward as the decoder calls it: dgate takes the place of dout. */
static void run_gate(check_act_run *run, const elements_case *c, const gate_ops *gate)
{
    int64_t T = c->T, F = c->C, n = T * F;
    float *z = check_random(1, n), *u = check_random(2, n), *d = check_random(3, n);
    for (int64_t i = 0; i < n; i++)
        z[i] *= i % 3 == 0 ? 30.0f : 4.0f;
    fl_act z_in = check_act(z, c->dtype[0], T, F, run->layout);
    fl_act u_in = check_act(u, c->dtype[0], T, F, run->layout);
    fl_act d_in = check_act(d, c->dtype[0], T, F, run->layout);
    fl_act out = check_act(NULL, c->dtype[0], T, F, run->layout);
    fl_act dup = check_act(NULL, c->dtype[0], T, F, run->layout);
    gate->fwd(out, z_in, u_in, T, F);
    gate->bwd(d_in, dup, d_in, z_in, u_in, T, F);
    double *want = check_host_double(n), *want_gate = check_host_double(n);
    double *want_up = check_host_double(n), *wide_z = check_widen(z, n),
           *wide_u = check_widen(u, n);
    gate->ref_fwd(want, wide_z, wide_u, n);
    gate->ref_bwd(want_gate, want_up, check_widen(d, n), wide_z, wide_u, n);
    check_act_result(run, "gate forward", out, T, F, want, 10 * CHECK_EPS, 16 * CHECK_EPS);
    check_act_result(run, "dgate", d_in, T, F, want_gate, 40 * CHECK_EPS, 20 * CHECK_EPS);
    check_act_result(run, "dup", dup, T, F, want_up, 10 * CHECK_EPS, 16 * CHECK_EPS);
}

static void swiglu(check_act_run *run, const void *context)
{
    run_gate(run, context,
             &(gate_ops){run->ops->swiglu_fwd, run->ops->swiglu_bwd, ref_swiglu, ref_swiglu_bwd});
}

static void geglu(check_act_run *run, const void *context)
{
    run_gate(run, context,
             &(gate_ops){run->ops->geglu_fwd, run->ops->geglu_bwd, ref_geglu, ref_geglu_bwd});
}

static void test_gates(void **state)
{
    (void)state;
    run_shapes(swiglu, false, false);
    run_shapes(geglu, false, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),     cmocka_unit_test(test_copy_rows),
        cmocka_unit_test(test_softcap), cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_gates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
