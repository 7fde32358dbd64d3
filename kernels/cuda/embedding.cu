/* Rows picked by number. */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/each.h"
#include "kernels/cuda/widen.h"

namespace FL_DEVICE
{

struct Embed {
    float *out;
    const void *table;
    fl_dtype dtype;
    const int32_t *ids;
    int64_t C;
    __device__ void operator()(int64_t i) const
    {
        int64_t t = i / C;
        out[i] = widen_plain(table, dtype, ids[t] * C + (i - t * C));
    }
};

struct Gather {
    float *out;
    const float *x;
    const int32_t *rows;
    int64_t C;
    __device__ void operator()(int64_t i) const
    {
        int64_t n = i / C;
        out[i] = x[rows[n] * C + (i - n * C)];
    }
};

/* Threads meet in rows that fill a batch up, and all write there what they have read. */
struct ScatterAdd {
    float *x;
    const float *in;
    const int32_t *rows;
    int64_t C;
    __device__ void operator()(int64_t i) const
    {
        int64_t n = i / C;
        x[rows[n] * C + (i - n * C)] += in[i];
    }
};

template <class To, class From> struct CopyRows {
    static constexpr int COUNT = chunk_count<To, From>();
    To to;
    From from;
    __device__ void operator()(const Chunk &at) const
    {
        float x[COUNT];
        load(x, from, at);
        store(to, x, at);
    }
};

void op_embedding(float *out, const fl_weight *table, const int32_t *ids, int64_t T)
{
    each(T * table->cols, Embed{out, table->data, table->dtype, ids, table->cols});
}

void op_gather_rows(float *out, const float *x, const int32_t *rows, int64_t N, int64_t C)
{
    each(N * C, Gather{out, x, rows, C});
}

void op_scatter_add_rows(float *x, const float *in, const int32_t *rows, int64_t N, int64_t C)
{
    each(N * C, ScatterAdd{x, in, rows, C});
}

void op_copy_rows(fl_act to, fl_act from, int64_t T, int64_t C)
{
    with_view(to, [&](auto out) {
        with_view(from, [&](auto in) {
            using Op = CopyRows<decltype(out), decltype(in)>;
            each_chunk(span_of(T, C, Op::COUNT, {to, from}), Op{out, in});
        });
    });
}

} // namespace FL_DEVICE
