/* The device of this rank: stream, errors, memory. */
#include "kernels/cuda/cuda.h"

#include <stdio.h>

namespace FL_DEVICE
{

static cudaStream_t main_stream;
static int device_number;
static bool is_open, has_failed;
static fl_status failure;
static char failure_text[256];
static int num_processors = 1;
static struct {
    void *data;
    size_t bytes;
} scratches[NUM_SCRATCH];

/* ---- errors --------------------------------------------------------------------------------- */

void fail_op(fl_status code, const char *text)
{
    if (has_failed) return;
    has_failed = true;
    failure = code;
    snprintf(failure_text, sizeof failure_text, "%s backend: %s", FL_DEVICE_NAME, text);
}

bool check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess) return true;
    char text[200];
    snprintf(text, sizeof text, "%s: %s", what, cudaGetErrorString(error));
    fail_op(error == cudaErrorMemoryAllocation ? FL_ERR_MEMORY : FL_ERR_INTERNAL, text);
    return false;
}

bool can_launch()
{
    return !has_failed;
}

void launched(const char *kernel)
{
    check(cudaGetLastError(), kernel);
}

fl_status op_status()
{
    return has_failed ? fl_fail(failure, "%s", failure_text) : FL_OK;
}

/* ---- opening -------------------------------------------------------------------------------- */

cudaStream_t stream()
{
    return main_stream;
}

/* Without a driver or a device this is no failure of the backend: it is just not there. */
bool op_present()
{
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) (void)cudaGetLastError();
    return error == cudaSuccess && count > 0;
}

fl_status op_open(int local_rank)
{
    if (is_open) return op_status();
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    FL_CHECK(error == cudaSuccess && count > 0, FL_ERR_UNSUPPORTED, "%s backend: no device: %s",
             FL_DEVICE_NAME, cudaGetErrorString(error));
    device_number = local_rank % count;
    is_open = check(cudaSetDevice(device_number), "choosing the device") &&
              check(cudaDeviceGetAttribute(&num_processors, cudaDevAttrMultiProcessorCount,
                                           device_number),
                    "asking the device") &&
              check(cudaStreamCreateWithFlags(&main_stream, cudaStreamNonBlocking), "its stream");
    return op_status();
}

/* ---- memory --------------------------------------------------------------------------------- */

fl_status op_alloc(void *out, size_t bytes)
{
    void *data = nullptr;
    FL_TRY(op_open(0));
    cudaError_t error = cudaMalloc(&data, bytes > 0 ? bytes : 1);
    if (error != cudaSuccess) {
        (void)cudaGetLastError(); // no memory is this call's failure, not the backend's
        return fl_fail(FL_ERR_MEMORY, "%s backend: %zu bytes of device memory: %s", FL_DEVICE_NAME,
                       bytes, cudaGetErrorString(error));
    }
    op_zero(data, bytes);
    memcpy(out, &data, sizeof data);
    return op_status();
}

void op_release(void *data)
{
    if (data) check(cudaFree(data), "cudaFree");
}

static void wait()
{
    check(cudaStreamSynchronize(main_stream), "waiting for the device");
}

static void transfer(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    if (bytes == 0 || !can_launch()) return;
    check(cudaMemcpyAsync(to, from, bytes, kind, main_stream), "a copy");
}

/* The host's pages may change as soon as this returns, so it waits. */
void op_copy_in(void *device, const void *host, size_t bytes)
{
    transfer(device, host, bytes, cudaMemcpyHostToDevice);
    if (bytes > 0 && can_launch()) wait();
}

/* After a failure the host gets zeros, never what was in its memory before. */
void op_copy_out(void *host, const void *device, size_t bytes)
{
    transfer(host, device, bytes, cudaMemcpyDeviceToHost);
    if (bytes > 0 && can_launch()) wait();
    if (bytes > 0 && !can_launch()) memset(host, 0, bytes);
}

void op_copy(void *to, const void *from, size_t bytes)
{
    transfer(to, from, bytes, cudaMemcpyDeviceToDevice);
}

void op_zero(void *data, size_t bytes)
{
    if (bytes == 0 || !can_launch()) return;
    check(cudaMemsetAsync(data, 0, bytes, main_stream), "zeros");
}

void *scratch(scratch_use use, size_t bytes)
{
    if (!can_launch()) return nullptr;
    if (bytes <= scratches[use].bytes) return scratches[use].data;
    wait();
    if (!check(cudaFree(scratches[use].data), "cudaFree")) return nullptr;
    scratches[use] = {nullptr, 0};
    void *data = nullptr;
    if (!check(cudaMalloc(&data, bytes), "scratch memory")) return nullptr;
    scratches[use] = {data, bytes};
    return data;
}

/* ---- for libraries beside the backend ------------------------------------------------------- */

/* NCCL, too, takes devices with the same number on the PCI bus for one. */
static fl_status identity(char *out, size_t size)
{
    check(cudaDeviceGetPCIBusId(out, (int)size, device_number), "the number of the device");
    return op_status();
}

static void *stream_handle()
{
    void *handle = nullptr;
    static_assert(sizeof main_stream <= sizeof handle, "a stream is a handle");
    memcpy(&handle, &main_stream, sizeof main_stream);
    return handle;
}

static bool is_idle()
{
    cudaError_t error = can_launch() ? cudaStreamQuery(main_stream) : cudaSuccess;
    if (error == cudaErrorNotReady) {
        (void)cudaGetLastError(); // no failure
        return false;
    }
    check(error, "work on the device");
    return true;
}

static fl_status alloc_host(void *out, size_t bytes)
{
    void *data = nullptr;
    cudaError_t error = cudaMallocHost(&data, bytes > 0 ? bytes : 1);
    if (error != cudaSuccess) {
        (void)cudaGetLastError(); // as in op_alloc
        return fl_fail(FL_ERR_MEMORY, "%s backend: %zu bytes of pinned host memory: %s",
                       FL_DEVICE_NAME, bytes, cudaGetErrorString(error));
    }
    memcpy(out, &data, sizeof data);
    return FL_OK;
}

static void release_host(void *data)
{
    if (data) check(cudaFreeHost(data), "cudaFreeHost");
}

const fl_device_ops device_ops = {FL_DEVICE_EMULATED, identity,    stream_handle, is_idle,
                                  alloc_host,         release_host};

unsigned grid_for(int64_t items, int threads)
{
    int64_t blocks = (items + threads - 1) / threads, most = (int64_t)num_processors * 8;
    return (unsigned)(blocks < most ? blocks : most);
}

} // namespace FL_DEVICE
