/* The part of CUDA's runtime that the kernels' host code calls, under its own names.  Calls do
 * their work before they return; a stream is only a number. */
#ifndef FL_KERNELS_EMU_RUNTIME_H
#define FL_KERNELS_EMU_RUNTIME_H

#include <stddef.h>

namespace fl_emu
{

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorNotReady = 600,
    cudaErrorLaunchFailure = 719
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
enum { cudaStreamNonBlocking = 1 };
typedef int cudaStream_t;

cudaError_t cudaGetDeviceCount(int *count); /* 1 */
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
/* Every process has a device of its own. */
cudaError_t cudaDeviceGetPCIBusId(char *out, int size, int device);
cudaError_t cudaMallocHost(void **out, size_t bytes);
cudaError_t cudaFreeHost(void *data);
cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *data);
/* Both ends must lie inside one allocation where they are device memory, and outside all of them
 * where they are host memory. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *data, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaGetLastError(); /* of a launch; forgets it */
const char *cudaGetErrorString(cudaError_t error);
cudaError_t set_dynamic_shared(const void *kernel, int bytes);

/* A launch with more than 48 KB of dynamic shared memory must be announced, as on the device. */
template <class... P>
cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute, int bytes)
{
    return set_dynamic_shared((const void *)kernel, bytes);
}

/* Keeps the text for fl_emu_fault_text; returns `error`. */
cudaError_t fail(cudaError_t error, const char *format, ...) __attribute__((format(printf, 2, 3)));

} // namespace fl_emu

#endif
