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
    fl_act y;
    const fl_weight *w;
} bias_call;

static void add_bias(int64_t begin, int64_t end, void *arg)
{
    const bias_call *call = arg;
    const fl_vec_ops *vec = fl_isa_current()->vec;
    for (int64_t t = begin; t < end; t++)
        vec->add(fl_cpu_floats(call->y) + t * call->y.stride, call->w->bias, call->w->rows);
}

static fl_operand act_operand(fl_act x, bool k_inner)
{
    return (fl_operand){
        .data = fl_cpu_floats(x), .dtype = FL_F32, .stride = x.stride, .k_inner = k_inner};
}

/* B = W^T: column j of B is row j of W, stored along k. */
void fl_cpu_linear_fwd(fl_act y, fl_act x, const fl_weight *w, int64_t T, fl_act add)
{
    if (add.data && add.data != y.data) fl_cpu_copy_rows(y, add, T, w->rows);
    fl_product product = {
        .a = act_operand(x, true),
        .b = weight_operand(w, true),
        .c = fl_cpu_floats(y),
        .stride = y.stride,
        .M = T,
        .N = w->rows,
        .K = w->cols,
        .alpha = 1.0f,
        .accumulate = add.data != NULL,
    };
    fl_product_run(&product);
    bias_call call = {.y = y, .w = w};
    if (w->bias) fl_parallel_for(T, 16, add_bias, &call);
}

/* B = W as it is stored. */
void fl_cpu_linear_bwd(fl_act dx, fl_act dy, const fl_weight *w, int64_t T, bool accumulate)
{
    fl_product product = {
        .a = act_operand(dy, true),
        .b = weight_operand(w, false),
        .c = fl_cpu_floats(dx),
        .stride = dx.stride,
        .M = T,
        .N = w->cols,
        .K = w->rows,
        .alpha = 1.0f,
        .accumulate = accumulate,
    };
    fl_product_run(&product);
}

typedef struct widen_call {
    uint16_t *out;
    const fl_weight *w;
} widen_call;

static void widen_elements(int64_t begin, int64_t end, void *arg)
{
    enum { PIECE = 256 };
    const widen_call *call = arg;
    const fl_weight *w = call->w;
    float values[PIECE];
    for (int64_t at = begin; at < end; at += PIECE) {
        int64_t count = end - at < PIECE ? end - at : PIECE;
        if (w->quant)
            fl_dequantise(values, w->quant, w->first + at, count);
        else
            fl_to_f32(values, (const char *)w->data + (size_t)at * fl_dtype_size(w->dtype),
                      w->dtype, (size_t)count);
        (void)fl_from_f32(call->out + at, FL_BF16, values, (size_t)count);
    }
}

void fl_cpu_widen(void *out, const fl_weight *w)
{
    widen_call call = {.out = out, .w = w};
    fl_parallel_for(w->rows * w->cols, 4096, widen_elements, &call);
}

/* The product knows only beta 0 and 1; others are rare and cost a pass over C. */
static void scale_rows(fl_act c, float beta, int64_t M, int64_t N)
{
    for (int64_t i = 0; i < M; i++)
        fl_cpu_scale(fl_cpu_floats(c) + i * c.stride, beta, N);
}

void fl_cpu_gemm(fl_act c, fl_act a, fl_act b, int64_t M, int64_t N, int64_t K, bool trans_a,
                 bool trans_b, float alpha, float beta)
{
    if (beta != 0.0f && beta != 1.0f) scale_rows(c, beta, M, N);
    fl_product product = {
        .a = act_operand(a, !trans_a),
        .b = act_operand(b, trans_b),
        .c = fl_cpu_floats(c),
        .stride = c.stride,
        .M = M,
        .N = N,
        .K = K,
        .alpha = alpha,
        .accumulate = beta != 0.0f,
    };
    fl_product_run(&product);
}
