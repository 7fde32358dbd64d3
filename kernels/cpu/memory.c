/* The cpu backend's memory is the host's. */
#include "cpu.h"

#include <string.h>

bool fl_cpu_present(void)
{
    return true;
}

fl_status fl_cpu_open(int local_rank)
{
    (void)local_rank;
    return FL_OK;
}

/* Its ops cannot fail. */
fl_status fl_cpu_status(void)
{
    return FL_OK;
}

/* Rounding would only cost: its products have one speed. */
fl_status fl_cpu_set_compute(fl_dtype dtype)
{
    FL_CHECK(dtype == FL_F32, FL_ERR_UNSUPPORTED, "the cpu backend computes in float32 only");
    return FL_OK;
}

fl_dtype fl_cpu_act_dtype(void)
{
    return FL_F32;
}

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
