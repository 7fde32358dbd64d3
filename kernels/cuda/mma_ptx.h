/* The functions of mma.h on a device.  What touches shared memory is not moved over other accesses
 * to memory. */
#ifndef FL_KERNELS_CUDA_MMA_PTX_H
#define FL_KERNELS_CUDA_MMA_PTX_H

#include "kernels/cuda/device.h"

namespace FL_DEVICE
{

static __device__ __forceinline__ unsigned shared_address(const void *place)
{
    return (unsigned)__cvta_generic_to_shared(place);
}

static __device__ __forceinline__ void multiply_add(float (&sum)[4], const uint32_t (&a)[4],
                                                    uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ void load_matrices(uint32_t (&out)[4], const __nv_bfloat16 *tile,
                                                     int at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(tile + at))
                 : "memory");
}

static __device__ __forceinline__ void load_transposed(uint32_t (&out)[4],
                                                       const __nv_bfloat16 *tile, int at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(tile + at))
                 : "memory");
}

static __device__ __forceinline__ void copy_async(__nv_bfloat16 *tile, int at,
                                                  const __nv_bfloat16 *from, bool is_there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(tile + at)),
                 "l"(__cvta_generic_to_global(from)), "r"(is_there ? 16 : 0)
                 : "memory");
}

static __device__ __forceinline__ void copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int OPEN> static __device__ __forceinline__ void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(OPEN) : "memory");
}

static __device__ __forceinline__ void store_pair(__nv_bfloat16 *tile, int at, uint32_t pair)
{
    *reinterpret_cast<uint32_t *>(tile + at) = pair;
}

static __device__ __forceinline__ uint4 load_eight(const __nv_bfloat16 *tile, int at)
{
    return *reinterpret_cast<const uint4 *>(tile + at);
}

static __device__ __forceinline__ uint32_t pack_pair(float low, float high)
{
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t *>(&pair);
}

} // namespace FL_DEVICE

#endif
