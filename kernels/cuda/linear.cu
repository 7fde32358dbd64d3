/* The products of the table on the seam of gemm.h, in fp32 or with operands rounded to bf16.  What
 * is not stored as the product wants it is converted first, into scratch memory; frozen weights
 * some rows at a time. */
#include "kernels/cuda/linear.h"

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"
#include "kernels/cuda/widen.h"

namespace FL_DEVICE
{

enum : int64_t {
    SCRATCH_ELEMENTS = 1 << 26
}; /* of a widened weight at most, unless a row is longer */

static fl_dtype compute = FL_F32;

static __device__ __forceinline__ void put(float *out, float value)
{
    *out = value;
}

static __device__ __forceinline__ void put(__nv_bfloat16 *out, float value)
{
    *out = __float2bfloat16(value);
}

/* Elements of a weight from `begin` on, as floats of either kind. */
template <class Out> struct Convert {
    Out *out;
    Weight weight;
    int64_t begin;
    __device__ void operator()(int64_t i) const
    {
        put(out + i, widen(weight, begin + i));
    }
};

struct Round {
    __nv_bfloat16 *out;
    const float *x;
    __device__ void operator()(int64_t i) const
    {
        put(out + i, x[i]);
    }
};

struct AddBias {
    float *y;
    const float *bias;
    int64_t rows;
    __device__ void operator()(int64_t i) const
    {
        y[i] += bias[i % rows];
    }
};

/* Row-major C[M,N] = alpha op(A) op(B) + beta C is column-major C^T = op(B)^T op(A)^T. */
static void multiply(const Matrix &a, const Matrix &b, float *c, int64_t ldc, const Extent &size,
                     float alpha, float beta)
{
    fl_blas_gemm gemm = {};
    gemm.trans_a = b.is_transposed;
    gemm.trans_b = a.is_transposed;
    gemm.m = size.N;
    gemm.n = size.M;
    gemm.k = size.K;
    gemm.a = b.data;
    gemm.b = a.data;
    gemm.lda = b.stride;
    gemm.ldb = a.stride;
    gemm.ldc = ldc;
    gemm.dtype = compute;
    gemm.c = c;
    gemm.alpha = alpha;
    gemm.beta = beta;
    run_gemm(gemm);
}

fl_status op_set_compute(fl_dtype dtype)
{
    FL_CHECK(dtype == FL_F32 || dtype == FL_BF16, FL_ERR_UNSUPPORTED,
             "%s backend: products in float32 or bfloat16 only", FL_DEVICE_NAME);
    compute = dtype;
    return FL_OK;
}

/* Activations are fp32 also where products round their operands. */
fl_dtype op_act_dtype()
{
    return compute;
}

/* x[count] as the product takes it. */
static const void *operand(const float *x, int64_t count, scratch_use use)
{
    if (compute == FL_F32) return x;
    void *out = scratch(use, (size_t)count * sizeof(__nv_bfloat16));
    each(count, Round{static_cast<__nv_bfloat16 *>(out), x});
    return out;
}

/* Some rows of a frozen weight as the product takes them. */
struct Rows {
    int64_t begin, count;
    const void *data;
};

static bool is_ready(const fl_weight *w)
{
    return !w->quant && w->dtype == compute;
}

static int64_t rows_at_a_time(const fl_weight *w)
{
    int64_t fit = FL_DEVICE_WIDENED / (w->cols > 0 ? w->cols : 1);
    if (is_ready(w) || fit > w->rows) return w->rows;
    return fit > 0 ? fit : 1;
}

static Rows take_rows(const fl_weight *w, int64_t begin, int64_t step)
{
    int64_t count = w->rows - begin < step ? w->rows - begin : step, at = begin * w->cols;
    int64_t elements = count * w->cols;
    size_t size = fl_dtype_size(compute);
    if (is_ready(w)) return {begin, count, static_cast<const char *>(w->data) + (size_t)at * size};
    void *out = scratch(SCRATCH_WEIGHT, (size_t)elements * size);
    if (compute == FL_F32)
        each(elements, Convert<float>{static_cast<float *>(out), weight_of(w), at});
    else
        each(elements, Convert<__nv_bfloat16>{static_cast<__nv_bfloat16 *>(out), weight_of(w), at});
    return {begin, count, out};
}

void op_linear_fwd(fl_act y_out, fl_act x, const fl_weight *w, int64_t T, fl_act add)
{
    if (T == 0) return;
    float *y = dense(y_out, w->rows);
    bool accumulate = add.data != nullptr;
    if (accumulate && add.data != y_out.data) op_copy_rows(y_out, add, T, w->rows);
    const void *left = operand(dense(x, w->cols), T * w->cols, SCRATCH_LEFT);
    int64_t step = rows_at_a_time(w);
    for (int64_t begin = 0; begin < w->rows; begin += step) {
        Rows rows = take_rows(w, begin, step);
        multiply({left, w->cols, false}, {rows.data, w->cols, true}, y + begin, w->rows,
                 {T, rows.count, w->cols}, 1.0f, accumulate ? 1.0f : 0.0f);
    }
    if (w->bias) each(T * w->rows, AddBias{y, w->bias, w->rows});
}

void op_linear_bwd(fl_act dx_out, fl_act dy, const fl_weight *w, int64_t T, bool accumulate)
{
    if (T == 0) return;
    float *dx = dense(dx_out, w->cols);
    const void *left = operand(dense(dy, w->rows), T * w->rows, SCRATCH_LEFT);
    size_t size = fl_dtype_size(compute);
    int64_t step = rows_at_a_time(w);
    for (int64_t begin = 0; begin < w->rows; begin += step) {
        Rows rows = take_rows(w, begin, step);
        multiply({static_cast<const char *>(left) + (size_t)begin * size, w->rows, false},
                 {rows.data, w->cols, false}, dx, w->cols, {T, w->cols, rows.count}, 1.0f,
                 accumulate || begin > 0 ? 1.0f : 0.0f);
    }
}

void op_gemm(fl_act c_out, fl_act a, fl_act b, int64_t M, int64_t N, int64_t K, bool trans_a,
             bool trans_b, float alpha, float beta)
{
    if (M == 0 || N == 0) return;
    float *c = dense(c_out, N);
    if (K == 0 && beta == 0.0f) return op_zero(c, (size_t)(M * N) * sizeof *c);
    if (K == 0) return op_scale(c, beta, M * N);
    const void *left = operand(dense(a, trans_a ? M : K), M * K, SCRATCH_LEFT);
    const void *right = operand(dense(b, trans_b ? K : N), K * N, SCRATCH_RIGHT);
    multiply({left, trans_a ? M : K, trans_a}, {right, trans_b ? K : N, trans_b}, c, N, {M, N, K},
             alpha, beta);
}

} // namespace FL_DEVICE
