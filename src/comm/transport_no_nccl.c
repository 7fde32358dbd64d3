/* What stands for transport_nccl.c in builds without NCCL's header. */
#include "comm/device_sum.h"

fl_status fl_device_sum_load(void)
{
    FL_FAIL(FL_ERR_UNSUPPORTED, "this build has no NCCL");
}

fl_status fl_device_sum_open(fl_device_sum **out, fl_transport *transport, int first,
                             const fl_device_queue *queue, fl_buf *why)
{
    (void)transport, (void)first, (void)queue;
    *out = NULL;
    return fl_buf_add_text(why, "this build has no NCCL");
}

fl_status fl_device_sum_reduce(fl_device_sum *sum, int64_t *values, size_t count)
{
    (void)sum, (void)values, (void)count;
    FL_FAIL(FL_ERR_INTERNAL, "sum between devices without NCCL");
}

void fl_device_sum_close(fl_device_sum *sum)
{
    (void)sum;
}
