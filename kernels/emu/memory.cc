/* Device memory: each allocation in pages of its own with untouchable pages around, its end at the
 * end of its last page, so that a kernel that runs over it ends with SIGSEGV too. */
#include "kernels/emu/emu.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern "C" {
#include "base/status.h"
}

namespace fl_emu
{

enum : size_t { ALIGNMENT = 64 };

struct Allocation {
    char *pages, *data; /* between two guard pages; what the caller has */
    size_t page_bytes, bytes;
    Allocation *next;
};

static Allocation *allocations;
static int opened;
static cudaError_t launch_error;
static char text[512];

cudaError_t fail(cudaError_t error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    launch_error = error;
    return error;
}

cudaError_t cudaGetLastError()
{
    cudaError_t error = launch_error;
    launch_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaSuccess ? "no error" : text;
}

static void protect_all(int protection)
{
    for (Allocation *a = allocations; a; a = a->next)
        FL_ASSERT(mprotect(a->pages, a->page_bytes, protection) == 0);
}

/* The allocation in which `data` lies, or NULL. */
static Allocation *find(const void *data)
{
    for (Allocation *a = allocations; a; a = a->next)
        if ((const char *)data >= a->pages && (const char *)data < a->pages + a->page_bytes)
            return a;
    return nullptr;
}

/* Bytes around allocations that are not the caller's and are left as they were: 0xff.  What was
 * written is put right again, so that one launch is blamed. */
static bool is_whole(char *begin, size_t count)
{
    bool whole = true;
    for (size_t i = 0; i < count; i++)
        whole = whole && begin[i] == (char)0xff;
    if (!whole) memset(begin, 0xff, count);
    return whole;
}

void check_ends(const char *kernel)
{
    for (Allocation *a = allocations; a; a = a->next) {
        char *end = a->data + a->bytes, *last = a->pages + a->page_bytes;
        size_t before = (size_t)(a->data - a->pages);
        if (before > ALIGNMENT) before = ALIGNMENT;
        if (!is_whole(end, (size_t)(last - end)))
            fail(cudaErrorLaunchFailure, "%s: wrote behind the end of %zu bytes of device memory",
                 kernel, a->bytes);
        if (!is_whole(a->data - before, before))
            fail(cudaErrorLaunchFailure, "%s: wrote in front of %zu bytes of device memory", kernel,
                 a->bytes);
    }
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t used = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t page_bytes = (used + page) / page * page;
    Allocation *a = (Allocation *)malloc(sizeof *a);
    void *pages = bytes > SIZE_MAX / 2 ? MAP_FAILED
                                       : mmap(nullptr, page_bytes + 2 * page, PROT_NONE,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!a || pages == MAP_FAILED ||
        mprotect((char *)pages + page, page_bytes, PROT_READ | PROT_WRITE) != 0) {
        free(a);
        if (pages != MAP_FAILED) munmap(pages, page_bytes + 2 * page);
        return fail(cudaErrorMemoryAllocation, "out of memory");
    }
    char *begin = (char *)pages + page;
    memset(begin, 0xff, page_bytes); // as unknown as new memory of a device
    *a = {begin, begin + page_bytes - used, page_bytes, bytes, allocations};
    allocations = a;
    if (!opened) FL_ASSERT(mprotect(begin, page_bytes, PROT_NONE) == 0);
    *out = a->data;
    return cudaSuccess;
}

cudaError_t cudaFree(void *data)
{
    if (!data) return cudaSuccess;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (Allocation **at = &allocations; *at; at = &(*at)->next) {
        Allocation *a = *at;
        if (a->data != data) continue;
        *at = a->next;
        munmap(a->pages - page, a->page_bytes + 2 * page);
        free(a);
        return cudaSuccess;
    }
    return fail(cudaErrorInvalidValue, "cudaFree: not an allocation of the device");
}

/* One end of a copy. */
static bool is_right(const void *data, size_t bytes, bool on_device)
{
    const Allocation *a = find(data);
    if (!on_device) return !a;
    return a && (const char *)data >= a->data &&
           (size_t)(a->data + a->bytes - (const char *)data) >= bytes;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t)
{
    if (bytes == 0) return cudaSuccess;
    if (!is_right(to, bytes, kind != cudaMemcpyDeviceToHost) ||
        !is_right(from, bytes, kind != cudaMemcpyHostToDevice))
        return fail(cudaErrorInvalidValue, "cudaMemcpy: %zu bytes are not where they should be",
                    bytes);
    fl_emu_memory_open();
    memmove(to, from, bytes);
    fl_emu_memory_close();
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *data, int value, size_t bytes, cudaStream_t)
{
    if (bytes == 0) return cudaSuccess;
    if (!is_right(data, bytes, true))
        return fail(cudaErrorInvalidValue, "cudaMemset: %zu bytes are not in an allocation", bytes);
    fl_emu_memory_open();
    memset(data, value, bytes);
    fl_emu_memory_close();
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}

/* One multiprocessor: few blocks where a kernel lets its grid depend on it. */
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int)
{
    *value = 1;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    *stream = 1;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *out, int size, int)
{
    snprintf(out, (size_t)size, "process %ld", (long)getpid());
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    *out = malloc(bytes);
    return *out ? cudaSuccess : fail(cudaErrorMemoryAllocation, "out of memory");
}

cudaError_t cudaFreeHost(void *data)
{
    free(data);
    return cudaSuccess;
}

/* ---- narrow floats -------------------------------------------------------------------------- */

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float __bfloat162float(__nv_bfloat16 value)
{
    return float_of((uint32_t)value.bits << 16);
}

__nv_bfloat16 __float2bfloat16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return {0x7fff}; // NaN
    return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

/* Sign, exponent and fraction moved to their places; 2^112 makes up for the other bias, also for
 * subnormals. */
float __half2float(__half value)
{
    uint32_t sign = (uint32_t)(value.bits & 0x8000) << 16, rest = value.bits & 0x7fffu;
    if (rest >= 0x7c00) return float_of(sign | 0x7f800000 | rest << 13);
    float size = float_of(rest << 13) * 0x1p112f;
    return sign ? -size : size;
}

} // namespace fl_emu

const char *fl_emu_fault_text(void)
{
    return fl_emu::text;
}

void fl_emu_memory_open(void)
{
    if (fl_emu::opened++ == 0) fl_emu::protect_all(PROT_READ | PROT_WRITE);
}

void fl_emu_memory_close(void)
{
    if (--fl_emu::opened == 0) fl_emu::protect_all(PROT_NONE);
}
