/* Whether the devices of a run add with one another (comm/device_sum.h), and the words for it. */
#ifndef FL_FED_DEVICE_SUMS_H
#define FL_FED_DEVICE_SUMS_H

#include "backend/ops.h"
#include "comm/device_sum.h"

/* Words of the config: where every rank that trains has a device of its own; there and also on
 * emulated devices, which no library can reach, so that tests can put a double in the place of one;
 * nowhere. */
#define FL_DEVICE_SUMS_WORDS "auto|nccl|mpi"

/* *out: owned by the caller; NULL: the transport adds.  how: on rank 0 "NCCL on 4 devices" or
 * "through MPI: " and why, or nothing where no device is involved.  ops: of ranks that train, NULL
 * on the others.  Collective.  Errors: those of the transport. */
fl_status fl_device_sums_open(fl_device_sum **out, fl_transport *transport,
                              const fl_backend_ops *ops, const char *word, fl_buf *how);

#endif
