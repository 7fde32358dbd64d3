/* The part of CUDA's runtime that the kernels' host code calls, under its own names.  There is one
 * stream.  Calls do their work before they return, but for copies out of pinned host memory: those
 * are done as late as CUDA may do them, so that memory that was filled again too early is seen in
 * the copy.  What a captured stream takes (launches, products, copies and zeros inside the device)
 * goes into the graph; everything else fails and spoils the capture. */
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
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocDefault = 0 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };
typedef int cudaStream_t;
typedef struct Event *cudaEvent_t;
typedef struct Graph *cudaGraph_t, *cudaGraphExec_t;
struct cudaDeviceProp {
    struct {
        char bytes[16];
    } uuid;
};

cudaError_t cudaGetDeviceCount(int *count); /* 1 */
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int device);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
/* 0: the time of a device does not pass here. */
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t graph, unsigned flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaStreamQuery(cudaStream_t stream);
/* Every process has a device of its own. */
cudaError_t cudaDeviceGetPCIBusId(char *out, int size, int device);
cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *data);
cudaError_t cudaMemGetInfo(size_t *free, size_t *total);
cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags); /* pinned */
cudaError_t cudaMallocHost(void **out, size_t bytes);                /* likewise */
cudaError_t cudaFreeHost(void *data);

/* One allocation that is cut into blocks.  Here the whole is only counted against the device's
 * memory, and each block is an allocation with untouchable pages of its own, which is not counted
 * again: a kernel that runs over a block is found as ever. */
cudaError_t pool_malloc(void **base, size_t bytes);
cudaError_t pool_free(void *base);
cudaError_t cut_block(void **out, void *base, size_t at, size_t bytes);
cudaError_t join_block(void *block);

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
