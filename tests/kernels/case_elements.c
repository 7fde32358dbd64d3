/* Rows picked, norms, element-wise ops, dropout, RoPE, AdamW.  factor: epsilon, cap, probability or
 * factor of the op. */
#include "case.h"

/* ---- rows ----------------------------------------------------------------------------------- */

static void embedding(case_run *run)
{
    const kernel_case *c = run->row;
    fl_weight table = case_weight_of(run, c->weight, c->V, c->C);
    float *out = check_floats(c->T * c->C);
    run->ops->embedding(out, &table, case_numbers(run, c->T, c->V), c->T);
    case_result(run, "out", out, c->T * c->C, BOUND_EXACT);
}

/* Every second row, the last first. */
static const int32_t *some_rows(const kernel_case *c)
{
    int32_t *rows = (int32_t *)check_host(c->N);
    for (int64_t n = 0; n < c->N; n++)
        rows[n] = (int32_t)(c->T - 1 - 2 * n);
    return check_ints(rows, c->N);
}

static void gather_rows(case_run *run)
{
    const kernel_case *c = run->row;
    const float *x = case_floats(run, c->T * c->C, 1);
    float *out = check_floats(c->N * c->C);
    run->ops->gather_rows(out, x, some_rows(c), c->N, c->C);
    case_result(run, "out", out, c->N * c->C, BOUND_EXACT);
}

static void scatter_add_rows(case_run *run)
{
    const kernel_case *c = run->row;
    float *x = case_floats(run, c->T * c->C, 1), *in = case_floats(run, c->N * c->C, 1);
    run->ops->scatter_add_rows(x, in, some_rows(c), c->N, c->C);
    case_result(run, "x", x, c->T * c->C, BOUND_EXACT);
}

static void copy_rows(case_run *run)
{
    const kernel_case *c = run->row;
    fl_act from = case_act(run, c->T, c->C), to = case_blank(run, c->T, c->C);
    run->ops->copy_rows(to, from, c->T, c->C);
    case_result_act(run, "to", to, c->T, c->C, BOUND_EXACT);
}

/* ---- norms: activations x, out; then dout, dx ------------------------------------------------ */

static void rmsnorm_fwd(case_run *run)
{
    const kernel_case *c = run->row;
    fl_act x = case_act(run, c->T, c->G * c->C), out = case_blank(run, c->T, c->G * c->C);
    float *rstd = check_floats(c->T * c->G);
    const float *w = case_floats(run, c->C, 1);
    run->ops->rmsnorm_fwd(out, rstd, x, w, c->T, c->G, c->C, c->factor);
    case_result_act(run, "out", out, c->T, c->G * c->C, BOUND_SUM);
    case_result(run, "rstd", rstd, c->T * c->G, BOUND_SUM);
    if (out.dtype == x.dtype) { // in place
        run->ops->rmsnorm_fwd(x, NULL, x, w, c->T, c->G, c->C, c->factor);
        case_result_act(run, "x", x, c->T, c->G * c->C, BOUND_SUM);
    }
}

/* rstd need not be x's. */
static void rmsnorm_bwd(case_run *run)
{
    const kernel_case *c = run->row;
    fl_act x = case_act(run, c->T, c->G * c->C), dx = case_act(run, c->T, c->G * c->C);
    fl_act dout = case_act(run, c->T, c->G * c->C);
    const float *w = case_floats(run, c->C, 1), *rstd = case_floats(run, c->T * c->G, 2);
    run->ops->rmsnorm_bwd(dx, dout, x, w, rstd, c->T, c->G, c->C);
    case_result_act(run, "dx", dx, c->T, c->G * c->C, BOUND_SUM);
}

/* ---- element-wise --------------------------------------------------------------------------- */

static void add(case_run *run)
{
    const kernel_case *c = run->row;
    fl_act y = case_act(run, c->T, c->C), x = case_act(run, c->T, c->C);
    run->ops->add(y, x, c->T, c->C);
    case_result_act(run, "y", y, c->T, c->C, BOUND_EXACT);
}

static void scale(case_run *run)
{
    const kernel_case *c = run->row;
    float *x = case_floats(run, c->N, 1);
    run->ops->scale(x, c->factor, c->N);
    case_result(run, "x", x, c->N, BOUND_EXACT);
}

static void axpy(case_run *run)
{
    const kernel_case *c = run->row;
    float *y = case_floats(run, c->N, 1), *x = case_floats(run, c->N, 1);
    run->ops->axpy(y, x, c->factor, c->N);
    case_result(run, "y", y, c->N, BOUND_SUM);
}

static void softcap_fwd(case_run *run)
{
    const kernel_case *c = run->row;
    float *x = case_floats(run, c->N, 3 * c->factor);
    run->ops->softcap_fwd(x, c->factor, c->N);
    case_result(run, "x", x, c->N, BOUND_SUM);
}

static void softcap_bwd(case_run *run)
{
    const kernel_case *c = run->row;
    fl_act d = case_act(run, c->T, c->C);
    const float *y = case_floats(run, c->T * c->C, c->factor);
    run->ops->softcap_bwd(d, y, c->factor, c->T, c->C);
    case_result_act(run, "d", d, c->T, c->C, BOUND_SUM);
}

static void dropout(case_run *run)
{
    const kernel_case *c = run->row;
    fl_rng rng = fl_rng_make(7, FL_PURPOSE_TEST, 1, 2, 3, 4);
    fl_act x = case_act(run, c->T, c->C);
    fl_act out = c->accumulate ? case_act(run, c->T, c->C) : case_blank(run, c->T, c->C);
    run->ops->dropout(out, x, c->T, c->C, c->factor, check_stream(&rng), c->accumulate);
    if (!c->accumulate) case_result_zeros(run, "mask", out, c->T, c->C);
    case_result_act(run, "out", out, c->T, c->C, BOUND_SUM);
    if (!c->accumulate) { // in place
        run->ops->dropout(x, x, c->T, c->C, c->factor, check_stream(&rng), false);
        case_result_act(run, "x", x, c->T, c->C, BOUND_SUM);
    }
}

static void gate_fwd(case_run *run, void (*op)(fl_act, fl_act, fl_act, int64_t, int64_t))
{
    const kernel_case *c = run->row;
    fl_act gate = case_act(run, c->T, c->C), up = case_act(run, c->T, c->C);
    fl_act out = case_blank(run, c->T, c->C);
    op(out, gate, up, c->T, c->C);
    op(gate, gate, up, c->T, c->C);
    case_result_act(run, "out", out, c->T, c->C, BOUND_SUM);
    case_result_act(run, "gate", gate, c->T, c->C, BOUND_SUM);
}

static void gate_bwd(case_run *run,
                     void (*op)(fl_act, fl_act, fl_act, fl_act, fl_act, int64_t, int64_t))
{
    const kernel_case *c = run->row;
    fl_act gate = case_act(run, c->T, c->C), up = case_act(run, c->T, c->C);
    fl_act dout = case_act(run, c->T, c->C);
    fl_act dgate = case_blank(run, c->T, c->C), dup = case_blank(run, c->T, c->C);
    op(dgate, dup, dout, gate, up, c->T, c->C);
    op(gate, dout, dout, gate, up, c->T, c->C);
    case_result_act(run, "dgate", dgate, c->T, c->C, BOUND_SUM);
    case_result_act(run, "dup", dup, c->T, c->C, BOUND_SUM);
    case_result_act(run, "gate", gate, c->T, c->C, BOUND_SUM);
    case_result_act(run, "dout", dout, c->T, c->C, BOUND_SUM);
}

static void swiglu_fwd(case_run *run)
{
    gate_fwd(run, run->ops->swiglu_fwd);
}

static void swiglu_bwd(case_run *run)
{
    gate_bwd(run, run->ops->swiglu_bwd);
}

static void geglu_fwd(case_run *run)
{
    gate_fwd(run, run->ops->geglu_fwd);
}

static void geglu_bwd(case_run *run)
{
    gate_bwd(run, run->ops->geglu_bwd);
}

static void rope(case_run *run)
{
    enum { POSITIONS = 50 };
    const kernel_case *c = run->row;
    int64_t half = c->D / 2, width = c->H * c->D;
    fl_act x = case_act(run, c->T, width);
    const int32_t *pos = case_numbers(run, c->T, POSITIONS);
    const float *cos_table = case_floats(run, POSITIONS * half, 1);
    const float *sin_table = case_floats(run, POSITIONS * half, 1);
    run->ops->rope(x, pos, cos_table, sin_table, c->T, c->H, c->D, c->inverse);
    case_result_act(run, "x", x, c->T, width, BOUND_SUM);
}

/* ---- rows ----------------------------------------------------------------------------------- */

#define GATES(op)                                                                             \
    KERNEL_CASE(op, op, .T = 1, .C = 1), KERNEL_CASE(op, op, .T = 3, .C = 37),                \
        KERNEL_CASE(op, op, .T = 5, .C = 64), KERNEL_CASE(op, op, .T = 4, .C = 33, .gap = 5), \
        KERNEL_CASE(op, op, .T = 3, .C = 264, .gap = 16), KERNEL_CASE(op, op, .T = 0, .C = 8)

// clang-format off
const kernel_case case_elements[] = {
    KERNEL_CASE(embedding, embedding, .T = 1, .V = 1, .C = 1),
    KERNEL_CASE(embedding, embedding, .T = 9, .V = 131, .C = 33),
    KERNEL_CASE(embedding, embedding, .T = 5, .V = 7, .C = 64, .weight = WEIGHT_BF16),
    KERNEL_CASE(embedding, embedding, .T = 5, .V = 7, .C = 13, .weight = WEIGHT_F16),
    KERNEL_CASE(embedding, embedding, .T = 0, .V = 3, .C = 8),
    KERNEL_CASE(gather_rows, gather_rows, .T = 1, .N = 1, .C = 1),
    KERNEL_CASE(gather_rows, gather_rows, .T = 20, .N = 9, .C = 35),
    KERNEL_CASE(gather_rows, gather_rows, .T = 20, .N = 0, .C = 8),
    KERNEL_CASE(scatter_add_rows, scatter_add_rows, .T = 1, .N = 1, .C = 1),
    KERNEL_CASE(scatter_add_rows, scatter_add_rows, .T = 20, .N = 9, .C = 35),
    KERNEL_CASE(copy_rows, copy_rows, .T = 1, .C = 1),
    KERNEL_CASE(copy_rows, copy_rows, .T = 7, .C = 72),
    KERNEL_CASE(copy_rows, copy_rows, .T = 7, .C = 33, .gap = 3),
    KERNEL_CASE(copy_rows, copy_rows, .T = 3, .C = 64, .gap = 8),
    KERNEL_CASE(copy_rows, copy_rows, .T = 0, .C = 8),
    KERNEL_CASE(rmsnorm_fwd, rmsnorm_fwd, .T = 1, .G = 1, .C = 1, .factor = 1e-2f),
    KERNEL_CASE(rmsnorm_fwd, rmsnorm_fwd, .T = 9, .G = 1, .C = 33, .factor = 1e-5f),
    KERNEL_CASE(rmsnorm_fwd, rmsnorm_fwd, .T = 9, .G = 1, .C = 264, .factor = 1e-5f, .gap = 24),
    KERNEL_CASE(rmsnorm_fwd, rmsnorm_fwd, .T = 5, .G = 3, .C = 80, .factor = 1e-6f, .gap = 7),
    KERNEL_CASE(rmsnorm_fwd, rmsnorm_fwd, .T = 4, .G = 1, .C = 130, .factor = 1e-5f, .wide = 1),
    KERNEL_CASE(rmsnorm_fwd, rmsnorm_fwd, .T = 4, .G = 2, .C = 16, .factor = 1e-5f, .wide = 2),
    KERNEL_CASE(rmsnorm_fwd, rmsnorm_fwd, .T = 0, .G = 1, .C = 8, .factor = 1e-5f),
    KERNEL_CASE(rmsnorm_bwd, rmsnorm_bwd, .T = 1, .G = 1, .C = 1),
    KERNEL_CASE(rmsnorm_bwd, rmsnorm_bwd, .T = 9, .G = 1, .C = 33),
    KERNEL_CASE(rmsnorm_bwd, rmsnorm_bwd, .T = 9, .G = 1, .C = 264, .gap = 24),
    KERNEL_CASE(rmsnorm_bwd, rmsnorm_bwd, .T = 5, .G = 3, .C = 80, .gap = 7),
    KERNEL_CASE(rmsnorm_bwd, rmsnorm_bwd, .T = 4, .G = 1, .C = 130, .wide = 3),
    KERNEL_CASE(rmsnorm_bwd, rmsnorm_bwd, .T = 4, .G = 2, .C = 16, .wide = 4),
    KERNEL_CASE(rmsnorm_bwd, rmsnorm_bwd, .T = 0, .G = 1, .C = 8),
    KERNEL_CASE(add, add, .T = 1, .C = 1),
    KERNEL_CASE(add, add, .T = 5, .C = 264),
    KERNEL_CASE(add, add, .T = 5, .C = 33, .gap = 6, .wide = 1),
    KERNEL_CASE(add, add, .T = 5, .C = 64, .gap = 8, .wide = 2),
    KERNEL_CASE(add, add, .T = 0, .C = 8),
    KERNEL_CASE(scale, scale, .N = 1, .factor = 0.3f),
    KERNEL_CASE(scale, scale, .N = 1001, .factor = -7),
    KERNEL_CASE(scale, scale, .N = 0, .factor = 2),
    KERNEL_CASE(axpy, axpy, .N = 1, .factor = 0.3f),
    KERNEL_CASE(axpy, axpy, .N = 1001, .factor = -0.7f),
    KERNEL_CASE(axpy, axpy, .N = 0, .factor = 2),
    KERNEL_CASE(softcap_fwd, softcap_fwd, .N = 1, .factor = 30),
    KERNEL_CASE(softcap_fwd, softcap_fwd, .N = 517, .factor = 0.8f),
    KERNEL_CASE(softcap_fwd, softcap_fwd, .N = 0, .factor = 1),
    KERNEL_CASE(softcap_bwd, softcap_bwd, .T = 1, .C = 1, .factor = 30),
    KERNEL_CASE(softcap_bwd, softcap_bwd, .T = 4, .C = 129, .factor = 0.8f),
    KERNEL_CASE(softcap_bwd, softcap_bwd, .T = 4, .C = 129, .factor = 0.8f, .gap = 129),
    KERNEL_CASE(dropout, dropout, .T = 1, .C = 1, .factor = 0.1f),
    KERNEL_CASE(dropout, dropout, .T = 3, .C = 33, .factor = 0.5f),
    KERNEL_CASE(dropout, dropout, .T = 5, .C = 64, .factor = 0.1f, .gap = 8),
    KERNEL_CASE(dropout, dropout, .T = 5, .C = 36, .factor = 0.1f, .gap = 3),
    KERNEL_CASE(dropout, dropout, .T = 5, .C = 36, .factor = 0, .accumulate = true),
    KERNEL_CASE(dropout, dropout, .T = 5, .C = 64, .factor = 0.3f, .accumulate = true, .wide = 2),
    KERNEL_CASE(dropout, dropout, .T = 5, .C = 68, .factor = 0.3f, .accumulate = true, .gap = 4),
    KERNEL_CASE(dropout, dropout, .T = 0, .C = 8, .factor = 0.1f),
    GATES(swiglu_fwd), GATES(swiglu_bwd), GATES(geglu_fwd), GATES(geglu_bwd),
    KERNEL_CASE(rope, rope, .T = 1, .H = 1, .D = 2),
    KERNEL_CASE(rope, rope, .T = 7, .H = 3, .D = 16, .inverse = true),
    KERNEL_CASE(rope, rope, .T = 5, .H = 2, .D = 80, .gap = 9),
    KERNEL_CASE(rope, rope, .T = 3, .H = 2, .D = 128, .gap = 16, .inverse = true),
    KERNEL_CASE(rope, rope, .T = 3, .H = 1, .D = 6),
    KERNEL_CASE(rope, rope, .T = 0, .H = 1, .D = 8),
    {0},
};
