/* Which devices the ranks of a run compute on. */
#ifndef FL_APP_RUN_DEVICE_H
#define FL_APP_RUN_DEVICE_H

#include "backend/device.h"

#include <stdbool.h>

/* What a rank says of its device. */
typedef struct fl_device_report {
    fl_device_memory memory;
    int node;   /* lowest rank of its node */
    bool shows; /* it computes on one */
} fl_device_report;

/* How many devices the ranks of the node compute on; *free = the bytes of the one that has least,
 * UINT64_MAX when there is none. */
int fl_devices_of_node(const fl_device_report *all, int size, int node, uint64_t *free);

/* The smallest share of a device's free bytes that a rank of the run has, where each of a node's
 * ranks has the same of each of its devices; *sharers = ranks of the device that has most.
 * UINT64_MAX and 0 without devices.  The same on every rank. */
uint64_t fl_device_share(const fl_device_report *all, int size, int *sharers);

#endif
