/* Products with frozen weights.  What is not stored as the product wants it is widened first, into
 * scratch memory, some rows at a time. */
#include "kernels/cuda/linear.h"

#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"
#include "kernels/cuda/widen.h"

namespace FL_DEVICE
{

/* ---- weights as operands -------------------------------------------------------------------- */

/* Elements of a weight from `begin` on, as floats of either kind. */
template <class Out> struct Widen {
    Out *out;
    Weight weight;
    int64_t begin;
    __device__ void operator()(int64_t i) const
    {
        write_element(out + i, widen(weight, begin + i));
    }
};

static bool is_ready(const fl_weight *w)
{
    return !w->quant && w->dtype == compute_dtype();
}

static const void *element_of(const fl_weight *w, int64_t index)
{
    return static_cast<const char *>(w->data) + (size_t)index * fl_dtype_size(w->dtype);
}

bool can_join(const fl_weight *w, const fl_weight *next)
{
    if (w->cols != next->cols || is_ready(w) != is_ready(next)) return false;
    if (w->bias ? next->bias != w->bias + w->rows : next->bias != nullptr) return false;
    return !is_ready(w) || element_of(w, w->rows * w->cols) == next->data;
}

static int64_t rows_at_a_time(const Joined &joined)
{
    int64_t fit = FL_DEVICE_WIDENED / (joined.cols > 0 ? joined.cols : 1);
    if (is_ready(joined.w[0]) || fit > joined.rows) return joined.rows;
    return fit > 0 ? fit : 1;
}

template <class Out>
static void widen_rows(Out *out, const Joined &joined, int64_t begin, int64_t count)
{
    int64_t first = 0, cols = joined.cols; // row of the joined matrix that w[i] begins with
    for (int i = 0; i < joined.count; i++) {
        const fl_weight *w = joined.w[i];
        int64_t from = begin > first ? begin : first, end = begin + count;
        if (end > first + w->rows) end = first + w->rows;
        if (end > from)
            each((end - from) * cols,
                 Widen<Out>{out + (from - begin) * cols, weight_of(w), (from - first) * cols});
        first += w->rows;
    }
}

/* Rows begin .. begin+count-1 as the product takes them. */
static const void *take_rows(const Joined &joined, int64_t begin, int64_t count)
{
    if (is_ready(joined.w[0])) return element_of(joined.w[0], begin * joined.cols);
    size_t bytes = (size_t)(count * joined.cols) * fl_dtype_size(compute_dtype());
    void *out = scratch(SCRATCH_WEIGHT, bytes);
    if (compute_dtype() == FL_F32)
        widen_rows(static_cast<float *>(out), joined, begin, count);
    else
        widen_rows(static_cast<bf16 *>(out), joined, begin, count);
    return out;
}

bool may_be_cut(const fl_scratch_need *need)
{
    return need->stored != compute_dtype() && need->matrix > FL_DEVICE_WIDENED;
}

size_t weight_scratch(const fl_scratch_need *need)
{
    if (need->stored == compute_dtype()) return 0;
    int64_t most = FL_DEVICE_WIDENED > need->longest_row ? FL_DEVICE_WIDENED : need->longest_row;
    return (size_t)(need->matrix < most ? need->matrix : most) * fl_dtype_size(compute_dtype());
}

/* ---- products ------------------------------------------------------------------------------- */

void joined_fwd(const Joined &joined, fl_act y, fl_act x, int64_t T, fl_act add)
{
    if (T == 0) return;
    Matrix left = operand(x, T, joined.cols, SCRATCH_LEFT);
    const float *bias = joined.w[0]->bias;
    int64_t step = rows_at_a_time(joined);
    for (int64_t begin = 0; begin < joined.rows; begin += step) {
        int64_t count = joined.rows - begin < step ? joined.rows - begin : step;
        Matrix right = {take_rows(joined, begin, count), joined.cols, true};
        multiply(left, right, {T, count, joined.cols}, 1.0f,
                 {fl_act_from(y, 0, begin), fl_act_from(add, 0, begin), add.data ? 1.0f : 0.0f,
                  bias ? bias + begin : nullptr});
    }
}

/* Several pieces add up in fp32; a narrower dx is written once, behind them. */
void joined_bwd(const Joined &joined, fl_act dx, fl_act dy, int64_t T, bool accumulate)
{
    if (T == 0) return;
    Matrix left = operand(dy, T, joined.rows, SCRATCH_LEFT);
    size_t size = fl_dtype_size(compute_dtype());
    int64_t step = rows_at_a_time(joined), cols = joined.cols;
    bool is_summed = step < joined.rows && dx.dtype != FL_F32;
    Target to = {dx, dx, accumulate ? 1.0f : 0.0f, nullptr};
    if (is_summed) {
        void *sums = scratch(SCRATCH_PARTS, (size_t)(T * cols) * sizeof(float));
        if (!sums) return;
        to = {fl_f32(static_cast<float *>(sums), cols), {}, 0.0f, nullptr};
    }
    for (int64_t begin = 0; begin < joined.rows; begin += step) {
        int64_t count = joined.rows - begin < step ? joined.rows - begin : step;
        Matrix right = {take_rows(joined, begin, count), cols, false};
        Matrix piece = left;
        piece.data = static_cast<const char *>(left.data) + (size_t)begin * size;
        multiply(piece, right, {T, cols, count}, 1.0f, to);
        to.c = to.d;
        to.beta = 1.0f;
    }
    if (is_summed) (accumulate ? op_add : op_copy_rows)(dx, to.d, T, cols);
}

void op_widen(void *out, const fl_weight *w)
{
    each(w->rows * w->cols,
         Widen<__nv_bfloat16>{static_cast<__nv_bfloat16 *>(out), weight_of(w), 0});
}

void op_linear_fwd(fl_act y, fl_act x, const fl_weight *w, int64_t T, fl_act add)
{
    joined_fwd({{w}, 1, w->rows, w->cols}, y, x, T, add);
}

void op_linear_bwd(fl_act dx, fl_act dy, const fl_weight *w, int64_t T, bool accumulate)
{
    joined_bwd({{w}, 1, w->rows, w->cols}, dx, dy, T, accumulate);
}

} // namespace FL_DEVICE
