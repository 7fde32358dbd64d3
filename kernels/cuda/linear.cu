/* The products of the table on the seam of gemm.h; frozen weights that are not stored as the
 * product wants them are widened first, some rows at a time, into scratch memory. */
#include "kernels/cuda/linear.h"

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"
#include "kernels/cuda/widen.h"

namespace FL_DEVICE
{

enum : int64_t {
    SCRATCH_ELEMENTS = 1 << 26
}; /* of a widened weight at most, unless a row is longer */

struct Widen {
    float *out;
    Weight weight;
    int64_t begin;
    __device__ void operator()(int64_t i) const
    {
        out[i] = widen(weight, begin + i);
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
    gemm.dtype = FL_F32;
    gemm.c = c;
    gemm.alpha = alpha;
    gemm.beta = beta;
    run_gemm(gemm);
}

/* Some rows of a frozen weight as fp32. */
struct Rows {
    int64_t begin, count;
    const float *data;
};

static bool is_fp32(const fl_weight *w)
{
    return !w->quant && w->dtype == FL_F32;
}

static int64_t rows_at_a_time(const fl_weight *w)
{
    int64_t fit = SCRATCH_ELEMENTS / (w->cols > 0 ? w->cols : 1);
    if (is_fp32(w) || fit > w->rows) return w->rows;
    return fit > 0 ? fit : 1;
}

static Rows widen_rows(const fl_weight *w, int64_t begin, int64_t count)
{
    if (is_fp32(w)) return {begin, count, static_cast<const float *>(w->data) + begin * w->cols};
    int64_t elements = count * w->cols;
    auto *out = static_cast<float *>(scratch(SCRATCH_WEIGHT, (size_t)elements * sizeof(float)));
    each(elements, Widen{out, weight_of(w), begin * w->cols});
    return {begin, count, out};
}

void op_linear_fwd(float *y, const float *x, const fl_weight *w, int64_t T, bool accumulate)
{
    int64_t step = rows_at_a_time(w);
    for (int64_t begin = 0; begin < w->rows && T > 0; begin += step) {
        Rows rows = widen_rows(w, begin, w->rows - begin < step ? w->rows - begin : step);
        multiply({x, w->cols, false}, {rows.data, w->cols, true}, y + begin, w->rows,
                 {T, rows.count, w->cols}, 1.0f, accumulate ? 1.0f : 0.0f);
    }
    if (w->bias) each(T * w->rows, AddBias{y, w->bias, w->rows});
}

void op_linear_bwd(float *dx, const float *dy, const fl_weight *w, int64_t T, bool accumulate)
{
    int64_t step = rows_at_a_time(w);
    for (int64_t begin = 0; begin < w->rows && T > 0; begin += step) {
        Rows rows = widen_rows(w, begin, w->rows - begin < step ? w->rows - begin : step);
        multiply({dy + begin, w->rows, false}, {rows.data, w->cols, false}, dx, w->cols,
                 {T, w->cols, rows.count}, 1.0f, accumulate || begin > 0 ? 1.0f : 0.0f);
    }
}

void op_gemm(float *c, const float *a, const float *b, int64_t M, int64_t N, int64_t K,
             bool trans_a, bool trans_b, float alpha, float beta)
{
    if (M == 0 || N == 0) return;
    if (K == 0 && beta == 0.0f) return op_zero(c, (size_t)(M * N) * sizeof *c);
    if (K == 0) return op_scale(c, beta, M * N);
    multiply({a, trans_a ? M : K, trans_a}, {b, trans_b ? K : N, trans_b}, c, N, {M, N, K}, alpha,
             beta);
}

} // namespace FL_DEVICE
