/* Sums of integers that lie in the memory of devices, added from device to device: NCCL, on top of
 * a transport.  All ranks of the transport open it together, those from `first` on have a device
 * each and add; the others only learn whether there is one.
 *
 * The library is opened when it is asked for, so that a program starts without it.  A build without
 * its header has the functions too, and fl_device_sum_open says so.
 */
#ifndef FL_COMM_DEVICE_SUM_H
#define FL_COMM_DEVICE_SUM_H

#include "comm/transport.h"

typedef struct fl_device_sum fl_device_sum;

/* The device that this rank has opened: the queue of its work, a cudaStream_t, and whether all that
 * was put into it is done. */
typedef struct fl_device_queue {
    void *stream;
    bool (*is_done)(void);
} fl_device_queue;

/* Opens the library; later calls do nothing.  Errors: FL_ERR_UNSUPPORTED, the text says what is
 * missing.  Not collective. */
fl_status fl_device_sum_load(void);

/* *out: owned by the caller, or NULL on all ranks when any of them cannot take part, `why` being
 * the reason in one line, the same on all.  `queue` is copied, NULL below `first`.  Collective.
 * Errors: those of the transport. */
fl_status fl_device_sum_open(fl_device_sum **out, fl_transport *transport, int first,
                             const fl_device_queue *queue, fl_buf *why);

/* values[count] in device memory of rank `first` becomes the element-wise sum modulo 2^64 over the
 * ranks from `first` on; at the others it stays as it is.  Returns when that is done and with it
 * all work that was in the queue before.  Collective over these ranks.  Errors: FL_ERR_COMM, after
 * which the others may wait for ever. */
fl_status fl_device_sum_reduce(fl_device_sum *sum, int64_t *values, size_t count);

/* Accepts NULL.  Collective where all is well; a rank that comes alone does not wait for long. */
void fl_device_sum_close(fl_device_sum *sum);

#endif
