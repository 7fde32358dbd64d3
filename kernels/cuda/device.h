/* What every source here begins with: CUDA itself under nvcc, its emulation under the host's
 * compiler.  The sources are the same; this is the only place that asks which it is.
 *
 * Rules that let one source be both: kernels are launched through FL_LAUNCH, shared memory is
 * declared with FL_SHARED or FL_SHARED_DYNAMIC and passed on as fl_shared<T>, shuffles take all
 * lanes, a block is whole warps, there are no float atomics.  FL_UNROLLED(i, count) is a loop over
 * 0
 * .. count-1 that must be unrolled because it indexes registers. */
#ifndef FL_KERNELS_CUDA_DEVICE_H
#define FL_KERNELS_CUDA_DEVICE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern "C" {
#include "backend/ops.h"
}

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

/* Names of the two builds, which are linked into one program. */
#define FL_DEVICE             fl_cuda
#define FL_DEVICE_NAME        "cuda"
#define FL_DEVICE_BACKEND     fl_backend_cuda
#define FL_DEVICE_COMPUTE     FL_BF16 /* tensor cores */
#define FL_DEVICE_EMULATED    false
#define FL_DEVICE_WIDENED     (1 << 26) /* elements of a weight that are converted at a time */
#define FL_DEVICE_LOSS_ROWS   1024 /* enough for whole waves of blocks in products of the head */
#define FL_DEVICE_REPLAY_ROWS 128  /* a tile of products */
#define FL_DEVICE_STAGE       ((size_t)64 << 20) /* bytes of a pinned buffer for copies */
#define FL_DEVICE_MARGIN      ((size_t)512 << 20) /* bytes that the driver takes later: code, graphs */
#define FL_DEVICE_TENSOR      "kernels/cuda/mma_ptx.h"

#define FL_LOOP                      _Pragma("unroll 1")
#define FL_UNROLLED(i, count)        _Pragma("unroll") for (int i = 0; i < (count); i++)
#define FL_SHARED(type, name, count) __shared__ type name[count]
#define FL_SHARED_DYNAMIC(type, name)                                  \
    extern __shared__ __align__(16) unsigned char fl_dynamic_shared[]; \
    type *const name = reinterpret_cast<type *>(fl_dynamic_shared)

namespace FL_DEVICE
{
/* One allocation that is cut into blocks. */
inline cudaError_t pool_malloc(void **base, size_t bytes)
{
    return cudaMalloc(base, bytes);
}
inline cudaError_t pool_free(void *base)
{
    return cudaFree(base);
}
inline cudaError_t cut_block(void **out, void *base, size_t at, size_t)
{
    *out = static_cast<char *>(base) + at;
    return cudaSuccess;
}
inline cudaError_t join_block(void *)
{
    return cudaSuccess;
}

template <class T> using fl_shared = T *;
template <class T> __device__ T *fl_part(T *array, int first, int)
{
    return array + first;
}
} // namespace FL_DEVICE

#define FL_LAUNCH(kernel, grid, block, bytes, ...)                                                \
    (FL_DEVICE::can_launch() ? (kernel<<<grid, block, bytes, FL_DEVICE::stream()>>>(__VA_ARGS__), \
                                FL_DEVICE::launched(#kernel))                                     \
                             : (void)0)

#else

#include "kernels/emu/emu.h"

#define FL_LOOP               /* the next loop is not unrolled */
#define FL_UNROLLED(i, count) for (int i = 0; i < (count); i++)

#define FL_DEVICE             fl_cuda_emu
#define FL_DEVICE_NAME        "cuda_emu"
#define FL_DEVICE_BACKEND     fl_backend_cuda_emu
#define FL_DEVICE_COMPUTE     FL_F32 /* comparable with the cpu */
#define FL_DEVICE_EMULATED    true
#define FL_DEVICE_WIDENED     (1 << 14) /* few, so that tests cut weights into pieces */
#define FL_DEVICE_LOSS_ROWS   256
#define FL_DEVICE_REPLAY_ROWS 16                /* what fills a batch up costs time */
#define FL_DEVICE_STAGE       ((size_t)1 << 16) /* and copies */
#define FL_DEVICE_MARGIN      ((size_t)0)
#define FL_DEVICE_TENSOR      "kernels/emu/tensor.h"

namespace FL_DEVICE
{
using namespace fl_emu;
template <class T> using fl_shared = Shared<T>;
template <class T> Shared<T> fl_part(const Shared<T> &array, int first, int count)
{
    return array.part(first, count);
}
} // namespace FL_DEVICE

#define FL_LAUNCH(kernel, grid, block, bytes, ...)                                                \
    (FL_DEVICE::can_launch() ? (fl_emu::launch(#kernel, grid, block, bytes, kernel, __VA_ARGS__), \
                                FL_DEVICE::launched(#kernel))                                     \
                             : (void)0)

#endif

namespace FL_DEVICE
{

enum { WARP_LANES = 32, MOST_THREADS = 1024 };
constexpr unsigned ALL_LANES = 0xffffffffu;

/* ---- the device (device.cu) ----------------------------------------------------------------- */

cudaStream_t stream();

/* The one place where errors of CUDA go: the first is kept, reported by the table's `status`, and
 * from then on nothing is launched or copied any more. */
bool check(cudaError_t error, const char *what);
bool can_launch();
void launched(const char *kernel);
void fail_op(fl_status code, const char *text);

/* What the stream is given between these goes into a graph and is not done.  A failure meanwhile,
 * or what a graph cannot hold, spoils the capture and is no failure of the backend; end_capture
 * tells whether that happened. */
void begin_capture();
bool end_capture();
bool is_capturing();
/* Asked by ops that wait, or take or give back memory: false after it has spoilt a capture. */
bool may_interrupt();
void forget_graphs(); /* of replay.cu: what they point to is not there any more */
void wait();          /* until the device has done everything */

/* Device memory that lives until the program ends and grows when more is asked for: contents are
 * lost then.  NULL after a failure, which has been recorded. */
enum scratch_use {
    SCRATCH_WEIGHT,
    SCRATCH_LEFT,
    SCRATCH_RIGHT,
    SCRATCH_PRODUCT, /* fp32 products whose result has another type */
    SCRATCH_PARTS,   /* partial sums of a row over its length, which are added up in order */
    SCRATCH_SPANS,   /* and of columns over spans of rows */
    SCRATCH_NARROW,  /* gradients of LoRA's t */
    SCRATCH_SUMS,
    SCRATCH_LIBRARY,
    NUM_SCRATCH
};
void *scratch(scratch_use use, size_t bytes);
/* The most that each is asked for. */
size_t weight_scratch(const fl_scratch_need *need);
size_t operand_scratch(const fl_scratch_need *need);
size_t product_scratch(const fl_scratch_need *need);
size_t parts_scratch(const fl_scratch_need *need);
size_t spans_scratch(const fl_scratch_need *need);
size_t narrow_scratch(const fl_scratch_need *need);
size_t sums_scratch(const fl_scratch_need *need);
size_t library_scratch(const fl_scratch_need *need);

/* Blocks that keep the device busy with `threads` each, no more than the work has. */
unsigned grid_for(int64_t items, int threads);

} // namespace FL_DEVICE

#endif
