/* Activations as kernels take them (fl_act): element type, row stride, and chunks of a row that are
 * read and written up to 16 bytes at a time where addresses allow, with the same bits where they do
 * not.  An element is widened to fp32 when it is read and rounded once, to nearest, when written.
 */
#ifndef FL_KERNELS_CUDA_ACT_H
#define FL_KERNELS_CUDA_ACT_H

#include "kernels/cuda/device.h"

#include <initializer_list>

namespace FL_DEVICE
{

using bf16 = __nv_bfloat16;

enum { CHUNK_BYTES = 16, CHUNK_THREADS = 256 };

/* ---- elements ------------------------------------------------------------------------------- */

static __device__ __forceinline__ float read_element(float x)
{
    return x;
}

static __device__ __forceinline__ float read_element(bf16 x)
{
    return __bfloat162float(x);
}

static __device__ __forceinline__ void write_element(float *out, float x)
{
    *out = x;
}

static __device__ __forceinline__ void write_element(bf16 *out, float x)
{
    *out = __float2bfloat16(x);
}

/* What one access moves. */
template <class E, int COUNT> struct alignas(COUNT * sizeof(E)) Pack {
    E at[COUNT];
};

/* out = the first `there` of COUNT elements, zeros behind them.  is_aligned: from is, for a whole
 * chunk. */
template <int COUNT, class E>
static __device__ __forceinline__ void load(float (&out)[COUNT], const E *from, int64_t there,
                                            bool is_aligned)
{
    constexpr int MOST = CHUNK_BYTES / (int)sizeof(E), PIECE = COUNT < MOST ? COUNT : MOST;
    if (is_aligned && there >= COUNT) {
        FL_UNROLLED (p, COUNT / PIECE) {
            auto pack = reinterpret_cast<const Pack<E, PIECE> *>(from)[p];
            FL_UNROLLED (i, PIECE)
                out[p * PIECE + i] = read_element(pack.at[i]);
        }
        return;
    }
    FL_UNROLLED (i, COUNT)
        out[i] = i < there ? read_element(from[i]) : 0.0f;
}

template <int COUNT, class E>
static __device__ __forceinline__ void store(E *to, const float (&x)[COUNT], int64_t there,
                                             bool is_aligned)
{
    constexpr int MOST = CHUNK_BYTES / (int)sizeof(E), PIECE = COUNT < MOST ? COUNT : MOST;
    if (is_aligned && there >= COUNT) {
        FL_UNROLLED (p, COUNT / PIECE) {
            Pack<E, PIECE> pack;
            FL_UNROLLED (i, PIECE)
                write_element(&pack.at[i], x[p * PIECE + i]);
            reinterpret_cast<Pack<E, PIECE> *>(to)[p] = pack;
        }
        return;
    }
    FL_UNROLLED (i, COUNT)
        if (i < there) write_element(to + i, x[i]);
}

/* ---- matrices ------------------------------------------------------------------------------- */

template <class E> struct View {
    using Element = E;
    E *data;
    int64_t stride;
};

/* Elements of one chunk so that no matrix of the call needs an access of more than 16 bytes. */
template <class... V> __host__ __device__ constexpr int chunk_count()
{
    size_t largest = 1;
    for (size_t size : {sizeof(typename V::Element)...})
        largest = size > largest ? size : largest;
    return CHUNK_BYTES / (int)largest;
}

/* run(View of the type that x has) */
template <class Run> void with_view(fl_act x, const Run &run)
{
    if (x.dtype == FL_F32) return run(View<float>{static_cast<float *>(x.data), x.stride});
    if (x.dtype == FL_BF16) return run(View<bf16>{static_cast<bf16 *>(x.data), x.stride});
    fail_op(FL_ERR_INTERNAL, "activations are neither fp32 nor bf16");
}

/* x as a view of type V, whose elements it must have. */
template <class V> V view(fl_act x)
{
    using E = typename V::Element;
    if (x.dtype != (sizeof(E) == sizeof(float) ? FL_F32 : FL_BF16))
        fail_op(FL_ERR_INTERNAL, "activations of one call differ in type");
    return {static_cast<E *>(x.data), x.stride};
}

/* May chunks of `count` elements from the start of any row on be one access each? */
bool is_aligned(std::initializer_list<fl_act> all, int count);

/* ---- element-wise ops ----------------------------------------------------------------------- */

/* T rows of C elements in chunks; threads walk over them step by step. */
struct Span {
    int64_t T, C, chunks; /* of a row */
    int64_t step_rows, step_chunks;
    unsigned blocks;
    bool is_aligned;
};

/* Rows as they are, or one long row where no matrix has gaps. */
Span span_of_rows(int64_t T, int64_t C, int count, std::initializer_list<fl_act> all);
Span span_of(int64_t T, int64_t C, int count, std::initializer_list<fl_act> all);

/* Some elements of one row, from `col` on. */
struct Chunk {
    int64_t row, col, there;
    bool is_aligned;
};

template <int COUNT, class E>
static __device__ __forceinline__ void load(float (&out)[COUNT], const View<E> &x, const Chunk &at)
{
    load(out, x.data + at.row * x.stride + at.col, at.there, at.is_aligned);
}

template <int COUNT, class E>
static __device__ __forceinline__ void store(const View<E> &to, const float (&x)[COUNT],
                                             const Chunk &at)
{
    store(to.data + at.row * to.stride + at.col, x, at.there, at.is_aligned);
}

template <class Op>
static __global__ void __launch_bounds__(CHUNK_THREADS) chunks_kernel(Span span, Op op)
{
    int64_t first = (int64_t)blockIdx.x * CHUNK_THREADS + threadIdx.x;
    int64_t row = first / span.chunks, chunk = first - row * span.chunks;
    while (row < span.T) {
        int64_t col = chunk * Op::COUNT;
        op(Chunk{row, col, span.C - col, span.is_aligned});
        row += span.step_rows;
        chunk += span.step_chunks;
        if (chunk >= span.chunks) {
            chunk -= span.chunks;
            row++;
        }
    }
}

/* op(chunk) for all chunks of Op::COUNT elements, each once. */
template <class Op> void each_chunk(const Span &span, const Op &op)
{
    if (span.blocks > 0) FL_LAUNCH(chunks_kernel<Op>, span.blocks, CHUNK_THREADS, 0, span, op);
}

} // namespace FL_DEVICE

#endif
