/* linear_fwd, linear_bwd, widen, gemm.  rows[0] and cols are the weight's. */
#include "case.h"

/* Activations: x, y, add.  accumulate: add is y; beta != 0: add is another matrix; factor != 0:
 * there is a bias. */
static void linear_fwd(case_run *run)
{
    const kernel_case *c = run->row;
    int64_t rows = c->rows[0];
    fl_weight w = case_weight_of(run, c->weight, rows, c->cols);
    fl_act x = case_act(run, c->T, c->cols), add = {0};
    fl_act y = c->accumulate ? case_act(run, c->T, rows) : case_blank(run, c->T, rows);
    if (c->accumulate) add = y;
    if (c->beta != 0) add = case_act(run, c->T, rows);
    if (c->factor != 0) w.bias = case_floats(run, rows, c->factor);
    run->ops->linear_fwd(y, x, &w, c->T, add);
    case_result_act(run, "y", y, c->T, rows, BOUND_SUM);
}

/* Activations: dy, dx. */
static void linear_bwd(case_run *run)
{
    const kernel_case *c = run->row;
    int64_t rows = c->rows[0];
    fl_weight w = case_weight_of(run, c->weight, rows, c->cols);
    fl_act dy = case_act(run, c->T, rows);
    fl_act dx = c->accumulate ? case_act(run, c->T, c->cols) : case_blank(run, c->T, c->cols);
    run->ops->linear_bwd(dx, dy, &w, c->T, c->accumulate);
    case_result_act(run, "dx", dx, c->T, c->cols, BOUND_SUM);
}

/* No activations; the same bits on every backend. */
static void widen(case_run *run)
{
    const kernel_case *c = run->row;
    int64_t rows = c->rows[0];
    fl_weight w = case_weight_of(run, c->weight, rows, c->cols);
    void *out = check_buffer(NULL, rows * c->cols, sizeof(uint16_t));
    run->ops->widen(out, &w);
    fl_act values = {.data = out, .dtype = FL_BF16, .stride = c->cols};
    case_result_act(run, "values", values, rows, c->cols, BOUND_EXACT);
}

/* Activations: a, b, c.  factor is alpha. */
static void gemm(case_run *run)
{
    const kernel_case *c = run->row;
    int64_t M = c->M, N = c->N, K = c->K;
    fl_act a = c->trans_a ? case_act(run, K, M) : case_act(run, M, K);
    fl_act b = c->trans_b ? case_act(run, N, K) : case_act(run, K, N);
    fl_act out = c->beta != 0 ? case_act(run, M, N) : case_blank(run, M, N);
    run->ops->gemm(out, a, b, M, N, K, c->trans_a, c->trans_b, c->factor, c->beta);
    case_result_act(run, "c", out, M, N, BOUND_SUM);
}

/* Every format, with sizes that cut blocks of NF4 and groups of its nested scales. */
#define WIDEN(format)                                                          \
    KERNEL_CASE(widen, widen, .rows = {1}, .cols = 2, .weight = format),       \
        KERNEL_CASE(widen, widen, .rows = {0}, .cols = 8, .weight = format),   \
        KERNEL_CASE(widen, widen, .rows = {33}, .cols = 70, .weight = format), \
        KERNEL_CASE(widen, widen, .rows = {150}, .cols = 130, .weight = format)
#define LINEAR(op, format)                                                                      \
    KERNEL_CASE(op, op, .T = 1, .rows = {1}, .cols = 2, .weight = format),                      \
        KERNEL_CASE(op, op, .T = 3, .rows = {5}, .cols = 300, .weight = format),                \
        KERNEL_CASE(op, op, .T = 37, .rows = {129}, .cols = 130, .weight = format,              \
                    .accumulate = true),                                                        \
        KERNEL_CASE(op, op, .T = 9, .rows = {33}, .cols = 70, .weight = format, .factor = 0.5f, \
                    .gap = 5),                                                                  \
        KERNEL_CASE(op, op, .T = 16, .rows = {64}, .cols = 128, .weight = format, .wide = 1,    \
                    .gap = 8),                                                                  \
        KERNEL_CASE(op, op, .T = 8, .rows = {24}, .cols = 40, .weight = format, .beta = 1,      \
                    .wide = 6),                                                                 \
        KERNEL_CASE(op, op, .T = 0, .rows = {3}, .cols = 8, .weight = format)

// clang-format off
const kernel_case case_products[] = {
    LINEAR(linear_fwd, WEIGHT_F32), LINEAR(linear_bwd, WEIGHT_F32),
    LINEAR(linear_fwd, WEIGHT_BF16), LINEAR(linear_bwd, WEIGHT_BF16),
    LINEAR(linear_fwd, WEIGHT_F16), LINEAR(linear_bwd, WEIGHT_F16),
    LINEAR(linear_fwd, WEIGHT_INT8), LINEAR(linear_bwd, WEIGHT_INT8),
    LINEAR(linear_fwd, WEIGHT_NF4), LINEAR(linear_bwd, WEIGHT_NF4),
    LINEAR(linear_fwd, WEIGHT_NF4_NESTED), LINEAR(linear_bwd, WEIGHT_NF4_NESTED),
    /* nested scales of more than one group, and on the emulated device more rows than are widened
     * at a time */
    KERNEL_CASE(linear_fwd, linear_fwd, .T = 3, .rows = {150}, .cols = 130,
                .weight = WEIGHT_NF4_NESTED),
    KERNEL_CASE(linear_bwd, linear_bwd, .T = 3, .rows = {150}, .cols = 130,
                .weight = WEIGHT_NF4_NESTED, .accumulate = true),
    WIDEN(WEIGHT_F32), WIDEN(WEIGHT_BF16), WIDEN(WEIGHT_F16),
    WIDEN(WEIGHT_INT8), WIDEN(WEIGHT_NF4), WIDEN(WEIGHT_NF4_NESTED),
    KERNEL_CASE(gemm, gemm, .M = 1, .N = 1, .K = 1, .factor = 1),
    KERNEL_CASE(gemm, gemm, .M = 5, .N = 33, .K = 70, .factor = 1),
    KERNEL_CASE(gemm, gemm, .M = 33, .N = 7, .K = 130, .factor = 2, .beta = 1, .trans_a = true),
    KERNEL_CASE(gemm, gemm, .M = 9, .N = 129, .K = 8, .factor = 0.5f, .beta = 0.25f,
                .trans_b = true),
    KERNEL_CASE(gemm, gemm, .M = 16, .N = 64, .K = 40, .factor = 1, .beta = -1, .trans_a = true,
                .trans_b = true),
    KERNEL_CASE(gemm, gemm, .M = 9, .N = 19, .K = 31, .factor = 1, .beta = 1, .trans_b = true,
                .gap = 3),
    KERNEL_CASE(gemm, gemm, .M = 16, .N = 64, .K = 32, .factor = 1, .gap = 8, .wide = 2),
    KERNEL_CASE(gemm, gemm, .M = 24, .N = 40, .K = 16, .factor = 1, .trans_a = true, .wide = 4),
    KERNEL_CASE(gemm, gemm, .M = 8, .N = 5, .K = 77, .factor = 1, .trans_a = true, .wide = 5,
                .beta = 1),
    KERNEL_CASE(gemm, gemm, .M = 4, .N = 3, .K = 0, .factor = 1),
    KERNEL_CASE(gemm, gemm, .M = 4, .N = 3, .K = 0, .factor = 1, .beta = 2),
    KERNEL_CASE(gemm, gemm, .M = 0, .N = 3, .K = 5, .factor = 1),
    {0},
};
