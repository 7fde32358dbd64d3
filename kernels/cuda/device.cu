/* The device of this rank: stream and errors. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/plans.h"

#include <stdio.h>

namespace FL_DEVICE
{

static cudaStream_t main_stream;
static int device_number;
static bool is_open, has_failed;
static fl_status failure;
static char failure_text[256];
static int num_processors = 1;
static enum { NO_CAPTURE, CAPTURING, SPOILT } capture;

/* ---- errors --------------------------------------------------------------------------------- */

void fail_op(fl_status code, const char *text)
{
    if (has_failed) return;
    if (capture != NO_CAPTURE) {
        capture = SPOILT;
        return;
    }
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
    return !has_failed && capture != SPOILT;
}

void begin_capture()
{
    capture = CAPTURING;
}

bool end_capture()
{
    bool is_whole = capture == CAPTURING;
    capture = NO_CAPTURE;
    return is_whole;
}

bool is_capturing()
{
    return capture != NO_CAPTURE;
}

bool may_interrupt()
{
    if (capture == NO_CAPTURE) return true;
    capture = SPOILT;
    return false;
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

const fl_device_ops device_ops = {FL_DEVICE_EMULATED, identity,     stream_handle, is_idle,
                                  alloc_host,         release_host, read_plans,    start_tuning,
                                  write_plans};

unsigned grid_for(int64_t items, int threads)
{
    int64_t blocks = (items + threads - 1) / threads, most = (int64_t)num_processors * 8;
    return (unsigned)(blocks < most ? blocks : most);
}

} // namespace FL_DEVICE
