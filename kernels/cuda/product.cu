/* Products of rows: operands as the product takes them, and results in types that it does not
 * write. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/rows.h"

namespace FL_DEVICE
{

static fl_dtype compute = FL_F32;

fl_dtype compute_dtype()
{
    return compute;
}

fl_status op_set_compute(fl_dtype dtype)
{
    FL_CHECK(dtype == FL_F32 || dtype == FL_BF16, FL_ERR_UNSUPPORTED,
             "%s backend: products in float32 or bfloat16 only", FL_DEVICE_NAME);
    if (compute != dtype) forget_graphs();
    compute = dtype;
    return FL_OK;
}

/* Rounded once when they are written, and not again when they enter a product. */
fl_dtype op_act_dtype()
{
    return compute;
}

/* ---- operands ------------------------------------------------------------------------------- */

struct Convert {
    Rows out, x;
    int64_t cols;
    __device__ void operator()(int64_t i) const
    {
        int64_t t = i / cols;
        write_row(out, t, i - t * cols, read_row(x, t, i - t * cols));
    }
};

Matrix operand(fl_act x, int64_t T, int64_t cols, scratch_use use)
{
    if (x.dtype == compute) return {x.data, x.stride, false};
    void *out = scratch(use, (size_t)(T * cols) * fl_dtype_size(compute));
    each(T * cols, Convert{{out, cols, compute == FL_BF16}, rows_of(x), cols});
    return {out, cols, false};
}

size_t operand_scratch(const fl_scratch_need *need)
{
    return compute == FL_F32 ? 0 : (size_t)need->product * sizeof(__nv_bfloat16);
}

/* ---- results -------------------------------------------------------------------------------- */

/* d = sum + beta c + bias; sum.data NULL: zero */
struct Finish {
    Rows d, c, sum;
    const float *bias;
    float beta;
    int64_t N;
    __device__ void operator()(int64_t i) const
    {
        int64_t t = i / N, n = i - t * N;
        float value = sum.data ? read_row(sum, t, n) : 0.0f;
        if (beta != 0.0f) value += beta * read_row(c, t, n);
        if (bias) value += bias[n];
        write_row(d, t, n, value);
    }
};

static void finish(const Target &to, fl_act sum, int64_t M, int64_t N)
{
    each(M * N, Finish{rows_of(to.d), rows_of(to.c), rows_of(sum), to.bias, to.beta, N});
}

/* The library writes the type that it reads C in; it rounds no fp32 product, and adds a bias of
 * fp32 to results of fp32 alone, from addresses that suit its kernels. */
static bool can_write(const Target &to)
{
    if (to.beta != 0.0f && to.c.dtype != to.d.dtype) return false;
    if (to.d.dtype == FL_F32) return (uintptr_t)to.bias % 16 == 0;
    return compute == FL_BF16 && !to.bias;
}

/* Row-major D[M,N] = op(A) op(B) is column-major D^T = op(B)^T op(A)^T. */
static void call_library(const Matrix &a, const Matrix &b, const Extent &size, float alpha,
                         const Target &to)
{
    fl_blas_gemm gemm = {};
    gemm.trans_a = b.is_transposed;
    gemm.trans_b = a.is_transposed;
    gemm.m = size.N;
    gemm.n = size.M;
    gemm.k = size.K;
    gemm.a = b.data;
    gemm.b = a.data;
    gemm.c = to.c.data;
    gemm.d = to.d.data;
    gemm.lda = b.stride;
    gemm.ldb = a.stride;
    gemm.ldc = to.c.stride;
    gemm.ldd = to.d.stride;
    gemm.dtype = compute;
    gemm.type_d = to.d.dtype;
    gemm.bias = to.bias;
    gemm.alpha = alpha;
    gemm.beta = to.beta;
    run_gemm(gemm);
}

void multiply(const Matrix &a, const Matrix &b, const Extent &size, float alpha, const Target &to)
{
    if (size.M == 0 || size.N == 0) return;
    if (size.K == 0) return finish(to, {}, size.M, size.N);
    if (can_write(to)) return call_library(a, b, size, alpha, to);
    auto *sums =
        static_cast<float *>(scratch(SCRATCH_PRODUCT, (size_t)(size.M * size.N) * sizeof(float)));
    fl_act sum = fl_f32(sums, size.N);
    call_library(a, b, size, alpha, {sum, {}, 0.0f, nullptr});
    finish(to, sum, size.M, size.N);
}

/* A bias is added to bf16 in a pass of its own, and so is the last part of a dx. */
size_t product_scratch(const fl_scratch_need *need)
{
    int64_t width = need->biased;
    if (may_be_cut(need) && need->longest_row > width) width = need->longest_row;
    return compute == FL_F32 ? 0 : (size_t)(need->tokens * width) * sizeof(float);
}

void op_gemm(fl_act c, fl_act a, fl_act b, int64_t M, int64_t N, int64_t K, bool trans_a,
             bool trans_b, float alpha, float beta)
{
    Matrix left = operand(a, trans_a ? K : M, trans_a ? M : K, SCRATCH_LEFT);
    Matrix right = operand(b, trans_b ? N : K, trans_b ? K : N, SCRATCH_RIGHT);
    left.is_transposed = trans_a;
    right.is_transposed = trans_b;
    multiply(left, right, {M, N, K}, alpha, {c, c, beta, nullptr});
}

} // namespace FL_DEVICE
