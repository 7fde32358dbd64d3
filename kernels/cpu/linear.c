/* The products of the table, as descriptions for gemm.c. */
#include "cpu.h"
#include "gemm.h"
#include "isa.h"
#include "threads.h"

static fl_operand weight_operand(const fl_weight *w, bool k_inner)
{
    return (fl_operand){.data = w->data,
                        .dtype = w->dtype,
                        .stride = w->cols,
                        .k_inner = k_inner,
                        .quant = w->quant,
                        .first = w->first};
}

typedef struct bias_call {
    float *y;
    const fl_weight *w;
} bias_call;

static void add_bias(int64_t begin, int64_t end, void *arg)
{
    const bias_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t t = begin; t < end; t++)
        vec->add(call->y + t * call->w->rows, call->w->bias, call->w->rows);
}

/* B = W^T: column j of B is row j of W, stored along k. */
void fl_cpu_linear_fwd(float *y, const float *x, const fl_weight *w, int64_t T, bool accumulate)
{
    fl_product product = {
        .a = {.data = x, .dtype = FL_F32, .stride = w->cols, .k_inner = true},
        .b = weight_operand(w, true),
        .c = y,
        .stride = w->rows,
        .M = T,
        .N = w->rows,
        .K = w->cols,
        .alpha = 1.0f,
        .accumulate = accumulate,
    };
    fl_product_run(&product);
    bias_call call = {.y = y, .w = w};
    if (w->bias) fl_parallel_for(T, 16, add_bias, &call);
}

/* B = W as it is stored. */
void fl_cpu_linear_bwd(float *dx, const float *dy, const fl_weight *w, int64_t T, bool accumulate)
{
    fl_product product = {
        .a = {.data = dy, .dtype = FL_F32, .stride = w->rows, .k_inner = true},
        .b = weight_operand(w, false),
        .c = dx,
        .stride = w->cols,
        .M = T,
        .N = w->cols,
        .K = w->rows,
        .alpha = 1.0f,
        .accumulate = accumulate,
    };
    fl_product_run(&product);
}

void fl_cpu_gemm(float *c, const float *a, const float *b, int64_t M, int64_t N, int64_t K,
                 bool trans_a, bool trans_b, float alpha, float beta)
{
    // The product knows only beta 0 and 1; others are rare and cost a pass over C.
    const fl_vec_ops *vec = fl_isa_current()->vec;
    if (beta != 0.0f && beta != 1.0f) vec->scale(c, c, beta, M * N);
    fl_product product = {
        .a = {.data = a, .dtype = FL_F32, .stride = trans_a ? M : K, .k_inner = !trans_a},
        .b = {.data = b, .dtype = FL_F32, .stride = trans_b ? K : N, .k_inner = trans_b},
        .c = c,
        .stride = N,
        .M = M,
        .N = N,
        .K = K,
        .alpha = alpha,
        .accumulate = beta != 0.0f,
    };
    fl_product_run(&product);
}
