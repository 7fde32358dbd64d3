/* The cpu backend's memory is the host's. */
#include "cpu.h"

#include <string.h>

fl_status fl_cpu_alloc(void *out, size_t bytes)
{
    return fl_alloc(out, bytes, 1);
}

void fl_cpu_release(void *data)
{
    fl_free(data);
}

void fl_cpu_copy_in(void *device, const void *host, size_t bytes)
{
    fl_cpu_copy(device, host, bytes);
}

void fl_cpu_copy_out(void *host, const void *device, size_t bytes)
{
    fl_cpu_copy(host, device, bytes);
}

void fl_cpu_copy(void *to, const void *from, size_t bytes)
{
    if (bytes > 0) memcpy(to, from, bytes);
}

void fl_cpu_zero(void *data, size_t bytes)
{
    if (bytes > 0) memset(data, 0, bytes);
}
