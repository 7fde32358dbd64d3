/* Device memory: each allocation in pages of its own with untouchable pages around, its end at the
 * end of its last page, so that a kernel that runs over it ends with SIGSEGV too. */
#include "kernels/emu/emu.h"
#include "kernels/emu/stream.h"

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
    char *pages, *data;                /* between two guard pages; what the caller has */
    size_t page_bytes, bytes, counted; /* counted: of the device's memory */
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

/* The pages of device memory that these bytes lie on, where they are not open anyway: opening all
 * of it for every copy would cost more than the copy. */
static void protect(const void *data, size_t bytes, int protection)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data;
    uintptr_t first = at / page * page, end = (at + bytes + page - 1) / page * page;
    if (!opened) FL_ASSERT(mprotect((void *)first, end - first, protection) == 0);
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

/* ---- how much there is ---------------------------------------------------------------------- */

static size_t limit = (size_t)1 << 40, counted;

/* Takes `bytes` of what the device has. */
static bool count_in(size_t bytes)
{
    if (bytes > limit || counted > limit - bytes) return false;
    counted += bytes;
    return true;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    *total = limit;
    *free = counted < *total ? *total - counted : 0;
    return cudaSuccess;
}

/* ---- allocations ---------------------------------------------------------------------------- */

/* Inaccessible pages with a guard page on both sides, or NULL. */
static char *map_pages(size_t page_bytes, size_t page)
{
    void *pages =
        mmap(nullptr, page_bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return nullptr;
    char *begin = (char *)pages + page;
    if (mprotect(begin, page_bytes, PROT_READ | PROT_WRITE) == 0) return begin;
    munmap(pages, page_bytes + 2 * page);
    return nullptr;
}

static cudaError_t allocate(void **out, size_t bytes, size_t count)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t used = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t page_bytes = (used + page) / page * page;
    Allocation *a = (Allocation *)malloc(sizeof *a);
    char *begin = a && bytes <= SIZE_MAX / 2 ? map_pages(page_bytes, page) : nullptr;
    if (!begin) {
        free(a);
        return fail(cudaErrorMemoryAllocation, "out of memory");
    }
    memset(begin, 0xff, page_bytes); // as unknown as new memory of a device
    *a = {begin, begin + page_bytes - used, page_bytes, bytes, count, allocations};
    allocations = a;
    if (!opened) FL_ASSERT(mprotect(begin, page_bytes, PROT_NONE) == 0);
    *out = a->data;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    if (!may_wait("cudaMalloc")) return cudaErrorStreamCaptureUnsupported;
    if (!count_in(bytes)) return fail(cudaErrorMemoryAllocation, "out of memory");
    cudaError_t error = allocate(out, bytes, bytes);
    if (error != cudaSuccess) counted -= bytes;
    return error;
}

cudaError_t cudaFree(void *data)
{
    if (!may_wait("cudaFree")) return cudaErrorStreamCaptureUnsupported;
    if (!data) return cudaSuccess;
    catch_up();
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (Allocation **at = &allocations; *at; at = &(*at)->next) {
        Allocation *a = *at;
        if (a->data != data) continue;
        *at = a->next;
        counted -= a->counted;
        munmap(a->pages - page, a->page_bytes + 2 * page);
        free(a);
        return cudaSuccess;
    }
    return fail(cudaErrorInvalidValue, "cudaFree: not an allocation of the device");
}

/* The base only stands for the whole. */
cudaError_t pool_malloc(void **base, size_t bytes)
{
    if (!count_in(bytes)) return fail(cudaErrorMemoryAllocation, "out of memory");
    cudaError_t error = allocate(base, 0, bytes);
    if (error != cudaSuccess) counted -= bytes;
    return error;
}

cudaError_t pool_free(void *base)
{
    return cudaFree(base);
}

cudaError_t cut_block(void **out, void *, size_t, size_t bytes)
{
    return allocate(out, bytes, 0);
}

cudaError_t join_block(void *block)
{
    return cudaFree(block);
}

/* ---- pinned host memory --------------------------------------------------------------------- */

struct Pinned {
    char *data;
    size_t bytes;
    Pinned *next;
};

static Pinned *pinned;

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned)
{
    if (!may_wait("cudaHostAlloc")) return cudaErrorStreamCaptureUnsupported;
    char *data = (char *)malloc(bytes ? bytes : 1);
    if (!data) return fail(cudaErrorMemoryAllocation, "out of memory");
    pinned = new Pinned{data, bytes, pinned};
    *out = data;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    return cudaHostAlloc(out, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *data)
{
    catch_up();
    for (Pinned **at = &pinned; *at; at = &(*at)->next) {
        Pinned *found = *at;
        if (found->data != data) continue;
        *at = found->next;
        free(data);
        delete found;
        return cudaSuccess;
    }
    return fail(cudaErrorInvalidValue, "cudaFreeHost: not pinned memory");
}

static bool is_pinned(const void *data)
{
    for (const Pinned *p = pinned; p; p = p->next)
        if ((const char *)data >= p->data && (const char *)data < p->data + p->bytes) return true;
    return false;
}

/* ---- copies --------------------------------------------------------------------------------- */

/* One end of a copy. */
static bool is_right(const void *data, size_t bytes, bool on_device)
{
    const Allocation *a = find(data);
    if (!on_device) return !a;
    return a && (const char *)data >= a->data &&
           (size_t)(a->data + a->bytes - (const char *)data) >= bytes;
}

static void protect_ends(const void *to, const void *from, size_t bytes, int protection)
{
    if (find(to)) protect(to, bytes, protection);
    if (find(from)) protect(from, bytes, protection);
}

static bool is_right_copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    if (is_right(to, bytes, kind != cudaMemcpyDeviceToHost) &&
        is_right(from, bytes, kind != cudaMemcpyHostToDevice))
        return true;
    fail(cudaErrorInvalidValue, "cudaMemcpy: %zu bytes are not where they should be", bytes);
    return false;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t)
{
    if (bytes == 0) return cudaSuccess;
    if (kind != cudaMemcpyDeviceToDevice && !may_wait("a copy of host memory"))
        return cudaErrorStreamCaptureUnsupported;
    if (!is_right_copy(to, from, bytes, kind)) return cudaErrorInvalidValue;
    auto work = [=] {
        if (!is_right_copy(to, from, bytes, kind)) return; // freed since it was recorded
        protect_ends(to, from, bytes, PROT_READ | PROT_WRITE);
        memmove(to, from, bytes);
        protect_ends(to, from, bytes, PROT_NONE);
    };
    if (kind == cudaMemcpyHostToDevice && is_pinned(from))
        submit_late(work);
    else
        submit(work);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *data, int value, size_t bytes, cudaStream_t)
{
    if (bytes == 0) return cudaSuccess;
    if (!is_right(data, bytes, true))
        return fail(cudaErrorInvalidValue, "cudaMemset: %zu bytes are not in an allocation", bytes);
    submit([=] {
        if (!is_right(data, bytes, true)) return; // freed since it was recorded
        protect(data, bytes, PROT_READ | PROT_WRITE);
        memset(data, value, bytes);
        protect(data, bytes, PROT_NONE);
    });
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

cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}

/* One multiprocessor: few blocks where a kernel lets its grid depend on it. */
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int)
{
    *value = 1;
    return cudaSuccess;
}

/* One device, the same for all processes of a machine. */
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int)
{
    *out = {{"emulated device"}};
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *out, int size, int)
{
    snprintf(out, (size_t)size, "process %ld", (long)getpid());
    return cudaSuccess;
}

} // namespace fl_emu

const char *fl_emu_fault_text(void)
{
    return fl_emu::text;
}

void fl_emu_set_memory(size_t bytes)
{
    fl_emu::limit = bytes;
}

void fl_emu_memory_open(void)
{
    if (fl_emu::opened++ == 0) fl_emu::protect_all(PROT_READ | PROT_WRITE);
}

void fl_emu_memory_close(void)
{
    if (--fl_emu::opened == 0) fl_emu::protect_all(PROT_NONE);
}
