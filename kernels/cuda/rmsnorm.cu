/* RMSNorm (Zhang and Sennrich 2019), the sample for new row-wise ops.  The threads of a team share
 * a row, which they keep in registers between its sum and its result: memory is read once. */
#include "kernels/cuda/act.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/warp.h"

namespace FL_DEVICE
{

/* A thread keeps 16 elements of each matrix; what is behind them in very long rows is read twice.
 */
enum { NORM_KEPT = 16, NORM_ROWS = 8, NORM_THREADS = 512 };

/* Short rows: a warp each. */
struct WarpTeam {
    enum { THREADS = NORM_ROWS * WARP_LANES };
    static __device__ int64_t row()
    {
        return (int64_t)blockIdx.x * NORM_ROWS + threadIdx.x / WARP_LANES;
    }
    static __device__ int member()
    {
        return (int)threadIdx.x % WARP_LANES;
    }
    static __device__ int size()
    {
        return WARP_LANES;
    }
    static __device__ double sum(double value)
    {
        return warp_reduce(value, Sum());
    }
};

/* Long rows: a block each. */
struct BlockTeam {
    enum { THREADS = NORM_THREADS };
    static __device__ int64_t row()
    {
        return blockIdx.x;
    }
    static __device__ int member()
    {
        return (int)threadIdx.x;
    }
    static __device__ int size()
    {
        return (int)blockDim.x;
    }
    static __device__ double sum(double value)
    {
        return block_reduce(value, 0.0, Sum());
    }
};

/* Rows of the kernels are groups: number i is group i % G of row i / G. */
struct NormShape {
    int64_t rows, G, C;
    bool is_aligned;
};

template <class E>
static __device__ __forceinline__ E *group_of(const View<E> &x, const NormShape &shape, int64_t i)
{
    int64_t t = i / shape.G;
    return x.data + t * x.stride + (i - t * shape.G) * shape.C;
}

template <class Out, class X> struct NormForward {
    static constexpr int COUNT = chunk_count<Out, X, View<float>>();
    Out out;
    X x;
    const float *w;
    float *rstd;
    float eps;
    NormShape shape;
};

template <class Dx, class Dout, class X> struct NormBackward {
    static constexpr int COUNT = chunk_count<Dx, Dout, X, View<float>>();
    Dx dx;
    Dout dout;
    X x;
    const float *w, *rstd;
    NormShape shape;
};

template <int COUNT> static __device__ __forceinline__ double squares(const float (&x)[COUNT])
{
    double sum = 0;
    FL_UNROLLED (i, COUNT)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

/* Reads w where the row's chunk is, and writes x * rstd * w there. */
template <class Args, class E, int COUNT>
static __device__ __forceinline__ void put_norm(const Args &args, E *out, const float (&x)[COUNT],
                                                float rstd, int64_t col)
{
    float y[COUNT];
    int64_t there = args.shape.C - col;
    load(y, args.w + col, there, args.shape.is_aligned);
    FL_UNROLLED (i, COUNT)
        y[i] = x[i] * rstd * y[i];
    store(out + col, y, there, args.shape.is_aligned);
}

/* All of a row is read before any of it is written, or by the thread that writes it: out may be x.
 */
template <class Team, class Args>
static __global__ void __launch_bounds__(Team::THREADS) rmsnorm_fwd_kernel(Args args)
{
    constexpr int COUNT = Args::COUNT, CHUNKS = NORM_KEPT / COUNT;
    const NormShape &shape = args.shape;
    int64_t i = Team::row(), C = shape.C;
    if (i >= shape.rows) return; // the whole team
    auto *x = group_of(args.x, shape, i);
    auto *out = group_of(args.out, shape, i);
    int begin = Team::member() * COUNT, step = Team::size() * COUNT;
    float kept[CHUNKS][COUNT], more[COUNT];
    FL_UNROLLED (k, CHUNKS)
        load(kept[k], x + begin + k * step, C - begin - k * step, shape.is_aligned);
    double sum = 0;
    FL_UNROLLED (k, CHUNKS)
        sum += squares(kept[k]);
    for (int64_t col = begin + CHUNKS * step; col < C; col += step) {
        load(more, x + col, C - col, shape.is_aligned);
        sum += squares(more);
    }
    sum = Team::sum(sum);
    float rstd = (float)(1.0 / sqrt(sum / (double)C + (double)args.eps));
    if (begin == 0 && args.rstd) args.rstd[i] = rstd;
    FL_UNROLLED (k, CHUNKS)
        put_norm(args, out, kept[k], rstd, begin + k * step);
    for (int64_t col = begin + CHUNKS * step; col < C; col += step) {
        load(more, x + col, C - col, shape.is_aligned);
        put_norm(args, out, more, rstd, col);
    }
}

/* x and w dout of a chunk; returns their sum of products. */
template <class Args, class D, class E, int COUNT>
static __device__ __forceinline__ double take_slope(const Args &args, const D *dout, const E *from,
                                                    float (&x)[COUNT], float (&d)[COUNT],
                                                    int64_t col)
{
    float w[COUNT];
    int64_t there = args.shape.C - col;
    load(x, from + col, there, args.shape.is_aligned);
    load(d, dout + col, there, args.shape.is_aligned);
    load(w, args.w + col, there, args.shape.is_aligned);
    double sum = 0;
    FL_UNROLLED (i, COUNT) {
        d[i] *= w[i];
        sum += (double)d[i] * (double)x[i];
    }
    return sum;
}

/* d becomes rstd (d - x slope), where slope = rstd^2 mean(w dout x): the part of the gradient that
 * goes through rstd. */
template <int COUNT>
static __device__ __forceinline__ void turn(float (&d)[COUNT], const float (&x)[COUNT], float rstd,
                                            float slope)
{
    FL_UNROLLED (i, COUNT)
        d[i] = rstd * (d[i] - x[i] * slope);
}

template <class Args, class E, int COUNT>
static __device__ __forceinline__ void add_to(const Args &args, E *dx, const float (&old)[COUNT],
                                              const float (&d)[COUNT], int64_t col)
{
    float sum[COUNT];
    FL_UNROLLED (i, COUNT)
        sum[i] = old[i] + d[i];
    store(dx + col, sum, args.shape.C - col, args.shape.is_aligned);
}

/* The old content of dx is read last, into the registers that held x. */
template <class Team, class Args>
static __global__ void __launch_bounds__(Team::THREADS) rmsnorm_bwd_kernel(Args args)
{
    constexpr int COUNT = Args::COUNT, CHUNKS = NORM_KEPT / COUNT;
    const NormShape &shape = args.shape;
    int64_t i = Team::row(), C = shape.C;
    if (i >= shape.rows) return;
    auto *x = group_of(args.x, shape, i);
    auto *dout = group_of(args.dout, shape, i);
    auto *dx = group_of(args.dx, shape, i);
    int begin = Team::member() * COUNT, step = Team::size() * COUNT;
    float kept[CHUNKS][COUNT], d[CHUNKS][COUNT], more[COUNT], more_d[COUNT];
    double sum = 0;
    FL_UNROLLED (k, CHUNKS)
        sum += take_slope(args, dout, x, kept[k], d[k], begin + k * step);
    for (int64_t col = begin + CHUNKS * step; col < C; col += step)
        sum += take_slope(args, dout, x, more, more_d, col);
    sum = Team::sum(sum);
    float rstd = args.rstd[i], slope = (float)(sum / (double)C * (double)rstd * (double)rstd);
    FL_UNROLLED (k, CHUNKS)
        turn(d[k], kept[k], rstd, slope);
    FL_UNROLLED (k, CHUNKS)
        load(kept[k], dx + begin + k * step, C - begin - k * step, shape.is_aligned);
    FL_UNROLLED (k, CHUNKS)
        add_to(args, dx, kept[k], d[k], begin + k * step);
    for (int64_t col = begin + CHUNKS * step; col < C; col += step) {
        take_slope(args, dout, x, more, more_d, col);
        turn(more_d, more, rstd, slope);
        load(more, dx + col, C - col, shape.is_aligned);
        add_to(args, dx, more, more_d, col);
    }
}

/* Threads of a block whose row has C elements. */
static int team_threads(int64_t C)
{
    int64_t warps = (C + NORM_KEPT * WARP_LANES - 1) / (NORM_KEPT * WARP_LANES);
    return warps * WARP_LANES < NORM_THREADS ? (int)warps * WARP_LANES : (int)NORM_THREADS;
}

/* Groups begin at multiples of C, where rows have more than one. */
static NormShape shape_of_norm(int64_t T, int64_t G, int64_t C, int count,
                               std::initializer_list<fl_act> all)
{
    return {T * G, G, C, is_aligned(all, count) && (G == 1 || C % count == 0)};
}

void op_rmsnorm_fwd(fl_act out, float *rstd, fl_act x, const float *w, int64_t T, int64_t G,
                    int64_t C, float eps)
{
    if (T == 0) return;
    with_view(out, [&](auto to) {
        with_view(x, [&](auto from) {
            using Args = NormForward<decltype(to), decltype(from)>;
            NormShape shape = shape_of_norm(T, G, C, Args::COUNT, {out, x, fl_f32(w, 0)});
            Args args = {to, from, w, rstd, eps, shape};
            auto by_warp = rmsnorm_fwd_kernel<WarpTeam, Args>;
            auto by_block = rmsnorm_fwd_kernel<BlockTeam, Args>;
            if (team_threads(C) == WARP_LANES)
                FL_LAUNCH(by_warp, (unsigned)((T * G + NORM_ROWS - 1) / NORM_ROWS),
                          WarpTeam::THREADS, 0, args);
            else
                FL_LAUNCH(by_block, (unsigned)(T * G), team_threads(C), 0, args);
        });
    });
}

template <class Args> static void run_backward(const Args &args)
{
    int64_t rows = args.shape.rows, C = args.shape.C;
    auto by_warp = rmsnorm_bwd_kernel<WarpTeam, Args>;
    auto by_block = rmsnorm_bwd_kernel<BlockTeam, Args>;
    if (team_threads(C) == WARP_LANES)
        FL_LAUNCH(by_warp, (unsigned)((rows + NORM_ROWS - 1) / NORM_ROWS), WarpTeam::THREADS, 0,
                  args);
    else
        FL_LAUNCH(by_block, (unsigned)rows, team_threads(C), 0, args);
}

void op_rmsnorm_bwd(fl_act dx, fl_act dout, fl_act x, const float *w, const float *rstd, int64_t T,
                    int64_t G, int64_t C)
{
    if (T == 0) return;
    with_view(dx, [&](auto to) {
        with_view(dout, [&](auto slope) {
            with_view(x, [&](auto from) {
                using Args = NormBackward<decltype(to), decltype(slope), decltype(from)>;
                run_backward(
                    Args{to, slope, from, w, rstd,
                         shape_of_norm(T, G, C, Args::COUNT, {dx, dout, x, fl_f32(w, 0)})});
            });
        });
    });
}

} // namespace FL_DEVICE
